"""The PostgreSQL sink, with a broker, workers, Kafka Connect and a database that are real."""
