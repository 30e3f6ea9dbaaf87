"""Kafka with SASL over TLS and Redis with a password: settings pass through to both clients."""

import os
import time
from json import dumps
from pathlib import Path
from typing import Any

import pytest
import redis

from schemas.errors import UnavailableError
from tests.e2e.installation import installation
from tests.kafka_broker import BrokerUnavailableError, kafka_broker
from worker.app import check_kafka
from worker.commands import with_redis
from worker.local.redis_server import start_redis
from worker.redis_client import check
from worker.settings import Settings


def test_a_worker_uses_sasl_over_tls(bundle: Path, tmp_path: Path) -> None:
    try:
        with kafka_broker(tmp_path / "kafka", security="sasl_ssl") as kafka:
            facts = kafka.facts
            security: dict[str, Any] = {
                "kafka_security_protocol": "SASL_SSL",
                "kafka_sasl_mechanism": facts["mechanism"],
                "kafka_username": facts["username"],
                "kafka_password": facts["password"],
                "kafka_ca_file": Path(facts["ca_file"]),
            }
            with installation(kafka.bootstrap_servers, bundle, tmp_path, **security) as site:
                now_ms = int(time.time() * 1000)
                click = {"user_id": "u", "article_id": "a", "timestamp": now_ms}
                site.start_worker()
                site.produce(site.settings.topic_clicks, (b"u", dumps(click).encode()))
                site.wait_until_stored()
                assert site.profiles()["u"].num_clicks == 1
    except BrokerUnavailableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def test_redis_with_a_password(tmp_path: Path) -> None:
    with start_redis(tmp_path) as server:
        admin = redis.Redis(port=server.port)
        admin.config_set("requirepass", "hush-hush")
        admin.close()
        address = f"127.0.0.1:{server.port}/0"
        with_redis(Settings(redis_url=f"redis://:hush-hush@{address}"), check)
        with pytest.raises(UnavailableError, match="FRONTPAGE_REDIS_URL") as caught:
            with_redis(Settings(redis_url=f"redis://:not-it@{address}"), check)
        assert "not-it" not in str(caught.value)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UnavailableError, match="FRONTPAGE_KAFKA_BOOTSTRAP"):
        check_kafka(Settings(kafka_bootstrap="127.0.0.1:1"))
    with pytest.raises(UnavailableError, match="FRONTPAGE_REDIS_URL"):
        with_redis(Settings(redis_url="redis://127.0.0.1:1"), check)
