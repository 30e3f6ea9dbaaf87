"""One set of Kafka security settings for the two clients: aiokafka in Faust, and librdkafka."""

import ssl
from typing import TYPE_CHECKING, Any

from schemas.errors import SettingsError
from worker.settings import PREFIX, Settings

if TYPE_CHECKING:
    from faust.types.auth import CredentialsT


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


def faust_credentials(settings: Settings) -> "CredentialsT | None":
    """Return Faust's broker credentials; None for a plain connection.

    Raises:
        SettingsError: when a certificate or key file cannot be read.
    """
    # Imported here: what only publishes needs no Faust, whose import takes as long as all the rest.
    from faust import SASLCredentials, SSLCredentials

    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return None
    context = _ssl_context(settings) if protocol.endswith("SSL") else None
    if protocol == "SSL":
        return SSLCredentials(context=context)
    return SASLCredentials(
        username=settings.kafka_username,
        password=settings.kafka_password,
        ssl_context=context,
        mechanism=settings.kafka_sasl_mechanism,
    )


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=str(settings.kafka_ca_file) if settings.kafka_ca_file else None
        )
        if settings.kafka_cert_file:
            context.load_cert_chain(str(settings.kafka_cert_file), str(settings.kafka_key_file))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"{PREFIX}KAFKA_CA_FILE, …_CERT_FILE, …_KEY_FILE: {error}") from error
    return context
