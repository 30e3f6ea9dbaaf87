"""A trace goes with a click from a request to the page that follows from it, through real Kafka."""

import re
import time
from pathlib import Path

import msgspec
from confluent_kafka import Message

from tests.e2e.installation import Installation, installation, wait_until
from tests.integration.serving_site import served
from tests.kafka_broker import TestBroker

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def headers(site: Installation, topic: str, user_id: str) -> list[tuple[str, bytes]] | None:
    """Return the headers of a reader's first message on a topic."""

    def is_there(found: list[Message]) -> bool:
        return any(each.key() == user_id.encode() for each in found)

    found = site.read_topic(topic, is_there)
    return next(each.headers() for each in found if each.key() == user_id.encode())  # type: ignore[return-value]


async def test_the_trace_of_a_click_arrives_on_the_recommendation(
    kafka: TestBroker, bundle: Path, tmp_path: Path
) -> None:
    with installation(kafka.bootstrap_servers, bundle, tmp_path, trace=True) as site:
        worker, topics = site.start_worker(log_level="DEBUG"), site.settings.topics
        site.produce(topics.articles, (b"a", b'{"article_id":"a","title":"A","tags":["economy"]}'))
        traced = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "shop=7"}
        invalid = {"traceparent": f"00-{'0' * 32}-{PARENT}-01", "tracestate": "shop=7"}
        settings = msgspec.structs.replace(site.settings, bundle=tmp_path / "none")
        async with served(settings) as client:
            for user_id, sent in (("traced", traced), ("untraced", {}), ("invalid", invalid)):
                click = {
                    "user_id": user_id,
                    "article_id": "a",
                    "timestamp": time.time_ns() // 10**6,
                }
                async with client.post("/v1/clicks", json=click, headers=sent) as response:
                    assert response.status == 202
        wait_until("pages are there", lambda: len(site.recommendations()) == 3)

        assert headers(site, topics.clicks, "traced") == [
            (name, value.encode()) for name, value in traced.items()
        ]
        found = headers(site, topics.recommendations, "traced")
        assert found is not None
        (parent_name, parent), state = found
        assert (parent_name, state) == ("traceparent", ("tracestate", b"shop=7"))
        span = re.fullmatch(f"00-{TRACE}-([0-9a-f]{{16}})-01", parent.decode())
        assert span is not None and span[1] != PARENT
        assert headers(site, topics.profiles, "traced") == found
        for user_id in ("untraced", "invalid"):
            assert headers(site, topics.clicks, user_id) is None
            assert headers(site, topics.recommendations, user_id) is None
        wait_until("the span is logged", lambda: span[1] in worker.log_path.read_text())
        (line,) = [each for each in worker.log_path.read_text().splitlines() if span[1] in each]
        assert f'"parent_span_id": "{PARENT}"' in line and "traced" not in line
