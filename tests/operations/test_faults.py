"""Faults are told by name, and each name has its line in the runbooks."""

from __future__ import annotations

from pathlib import Path

from pointstream.engine import errors as of_engine
from pointstream.ledger import errors as of_ledger
from pointstream.operations.metrics.faults import FAULTS, OTHER, Faults

RUNBOOKS = (Path(__file__).parents[2] / "deploy" / "runbooks.md").read_text()


def kinds(base: type[Exception]) -> set[type[Exception]]:
    """What can be raised of a family: its leaves."""
    below = base.__subclasses__()
    return set().union(*map(kinds, below)) if below else {base}


def test_every_fault_of_ours_is_told_by_its_name(tmp_path: Path) -> None:
    """One that counts as `other` reads like a mistake of the program."""
    # A message in a later form ends the process as StateTooNew does.
    ours = (kinds(of_engine.EngineError) | kinds(of_ledger.LedgerError)) - {of_ledger.MessageTooNew}
    names = {kind.__name__ for kind in ours if kind.__module__.startswith("pointstream.")}
    names.add(of_ledger.StateCorrupt.__name__)
    faults = Faults(tmp_path)

    faults.add(of_engine.StateTooNew("form 2"))
    faults.add(of_engine.StateBarred("half there"))
    faults.add(ZeroDivisionError())

    assert names <= set(FAULTS)
    assert Faults(tmp_path).counts == {"StateTooNew": 1, "StateBarred": 1, OTHER: 1}


def test_every_fault_has_its_line_in_the_runbooks() -> None:
    """Who is woken up by one finds what to do."""
    assert [name for name in (*FAULTS, OTHER) if f"`{name}`" not in RUNBOOKS] == []
