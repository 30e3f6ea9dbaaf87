"""Settings: a wrong one stops the start and names its variable."""

from pathlib import Path

import pytest

from schemas.errors import SettingsError
from worker.kafka_security import librdkafka_config
from worker.settings import Settings, read_settings


def test_everything_has_a_default() -> None:
    assert read_settings({"PATH": "/bin"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FRONTPAGE_BATCH_SIZE", "many"),
        ("FRONTPAGE_BATCH_SIZE", "0"),
        ("FRONTPAGE_TTL_DAYS", "-1"),
        ("FRONTPAGE_LOG_LEVEL", "LOUD"),
        ("FRONTPAGE_KAFKA_BOOTSTRAP", "no-port"),
        ("FRONTPAGE_REDIS_URL", "http://x"),
        ("FRONTPAGE_TOPIC_CLICKS", "white space"),
        ("FRONTPAGE_KAFKA_CA_FILE", "/does/not/exist"),
        ("FRONTPAGE_REDIS_CLUSTER", "perhaps"),
        ("FRONTPAGE_BATCHSIZE", "10"),
        ("FRONTPAGE_TTL_DAYS", "inf"),
        ("FRONTPAGE_TTL_DAYS", "1e-12"),
        ("FRONTPAGE_SESSION_TIMEOUT_S", "0.0005"),
    ],
)
def test_a_wrong_setting_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        read_settings({variable: value})


def test_sasl_needs_a_user() -> None:
    with pytest.raises(SettingsError, match="FRONTPAGE_KAFKA_USERNAME"):
        read_settings({"FRONTPAGE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"})


def test_a_topic_is_not_both_read_and_written() -> None:
    with pytest.raises(SettingsError, match="FRONTPAGE_TOPIC_"):
        read_settings({"FRONTPAGE_TOPIC_PROFILES": "clicks"})
    with pytest.raises(SettingsError, match="FRONTPAGE_TOPIC_"):
        read_settings({"FRONTPAGE_TOPIC_READER_LABELS": "articles"})


def test_kafka_clients_get_the_security_settings() -> None:
    settings = Settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_username="u",
        kafka_password="p",
    )
    config = librdkafka_config(settings)
    assert config["security.protocol"] == "sasl_ssl"
    assert config["sasl.mechanism"] == "SCRAM-SHA-512"
    assert config["sasl.username"] == "u" and config["sasl.password"] == "p"


def test_paths_are_paths(tmp_path: Path) -> None:
    assert read_settings({"FRONTPAGE_BUNDLE": str(tmp_path)}).bundle == tmp_path
