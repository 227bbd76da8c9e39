"""What is suspicious: windows, baselines, distances and detectors, as pure calculation.

Nothing here reads or writes a state, a clock or a log: the ledger keeps what is counted.
"""
