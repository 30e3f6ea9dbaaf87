"""The Kafka security settings, as librdkafka takes them."""

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
