"""The published language: every record that comes in or goes out, the words and bytes it uses.

The pydantic models here are the source of the wire contract; `schemas/` is generated from them.
What lives here is shape only: fields, limits, closed lists of words, topic names, how bytes become
events and how events become bytes. What a record *means* (points, lots, refunds) belongs to
`ledger` and `rules`. Nothing here reads a clock, touches Kafka, logs or keeps state.
"""
