"""The HTTP API and the page: Redis read, Kafka written to, and nothing kept here."""
