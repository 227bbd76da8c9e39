"""Running the job: the broker, settings, topics, supervision, streams to feed it and its proofs.

Here lives what an operator, a test or the bench does with a programme from outside its partition
tasks. No decision about points is made here, and nothing in here runs inside a transaction: the
ledger and the engine are used, never changed. What a person types and reads is in `cli`.
"""
