"""The stack of the demo and the tests: real Kafka-protocol and Redis servers on loopback ports."""
