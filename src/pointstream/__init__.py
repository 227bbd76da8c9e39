"""pointstream: a membership points ledger that runs as an exactly-once stream worker on Kafka."""
