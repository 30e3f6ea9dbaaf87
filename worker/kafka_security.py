"""The Kafka settings, as librdkafka takes them."""

from typing import Any

from worker.settings import Settings


def librdkafka_config(settings: Settings) -> dict[str, Any]:
    """Return the connection part of a confluent-kafka client's configuration."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap,
        "security.protocol": settings.kafka_security_protocol.lower(),
        # Errors reach the caller through results; the library's own stderr would bypass logging.
        "log_level": 2,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_username
        config["sasl.password"] = settings.kafka_password
    if settings.kafka_ca_file:
        config["ssl.ca.location"] = str(settings.kafka_ca_file)
    if settings.kafka_cert_file:
        config["ssl.certificate.location"] = str(settings.kafka_cert_file)
        config["ssl.key.location"] = str(settings.kafka_key_file)
    return config


def consumer_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration of a member of the workers' group that commits by itself."""
    session_ms = round(settings.session_timeout_s * 1000)
    return {
        **librdkafka_config(settings),
        "group.id": settings.app_id,
        "client.id": "frontpage",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "session.timeout.ms": session_ms,
        "heartbeat.interval.ms": session_ms // 3,
        # Heartbeats go on in C, whatever Python does: this is what tells that it hangs.
        "max.poll.interval.ms": 2 * session_ms,
        # Topics with equally many partitions are divided alike: what a reader does goes to one.
        "partition.assignment.strategy": "range",
        "fetch.wait.max.ms": round(settings.fetch_wait_s * 1000),
        # By default a full queue is not looked at again for a second.
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 2 * settings.batch_size,
        "queued.max.messages.kbytes": 16_384,
        # So that partitions come side by side: what was clicked last week is not to be counted when
        # another partition is still a month behind. By default one comes after another. What a
        # producer sent at once comes whole, however large; and for a partition it is 64 KiB a round
        # trip to the broker: 13 MB/s where that takes 5 ms.
        "max.partition.fetch.bytes": 65_536,
        "reconnect.backoff.max.ms": 1000,
        "topic.metadata.refresh.interval.ms": 5000,
    }
