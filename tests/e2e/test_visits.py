"""Visits: a page for whoever comes, made from what everybody has clicked, in any worker."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Message

from schemas.records import Recommendation, ServedFeatures
from tests.e2e.installation import Installation, installation
from tests.kafka_broker import TestBroker

NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000


@pytest.fixture
def site(kafka: TestBroker, bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as found:
        yield found


def publish(site: Installation, num_articles: int = 30) -> None:
    site.produce(
        site.settings.topic_articles,
        *(
            (
                f"a{i}".encode(),
                json.dumps(
                    {
                        "article_id": f"a{i}",
                        "title": f"news number {i}",
                        "tags": [f"t{i % 3}"],
                        "published_at": NOW_MS - (i + 2) * HOUR_MS,
                    }
                ).encode(),
            )
            for i in range(num_articles)
        ),
    )


def click(site: Installation, article_id: str, num_readers: int) -> None:
    clicks = [
        {"user_id": f"u{i}", "article_id": article_id, "timestamp": NOW_MS - HOUR_MS + i}
        for i in range(num_readers)
    ]
    site.produce(
        site.settings.topic_clicks,
        *((str(each["user_id"]).encode(), json.dumps(each).encode()) for each in clicks),
    )


def visit(site: Installation, user_id: str, time_ms: int = NOW_MS) -> Recommendation:
    """Send a visit; return the page that answers it."""
    message = {"user_id": user_id, "timestamp": time_ms}
    site.produce(site.settings.topic_visits, (user_id.encode(), json.dumps(message).encode()))
    return answer(site, time_ms)


def answer(site: Installation, time_ms: int) -> Recommendation:
    """Return the page that answers what was sent with a time of its own."""

    def answers(messages: list[bytes]) -> list[Recommendation]:
        pages = [msgspec.json.decode(raw, type=Recommendation) for raw in messages]
        return [page for page in pages if page.recommendation_id.endswith(f"-{time_ms}")]

    found = site.read_topic(
        site.settings.topic_recommendations,
        lambda messages: bool(answers([message.value() or b"" for message in messages])),
    )
    return answers([message.value() or b"" for message in found])[-1]


def test_a_reader_who_never_clicked_gets_what_is_hot(site: Installation) -> None:
    site.start_worker()
    publish(site)
    click(site, "a20", 12)
    site.wait_until_stored()
    page = visit(site, "newcomer")
    assert page.user_id == "newcomer" and len(page.items) == 10
    assert page.items[0].article_id == "a20"
    assert any(reason.name == "trending" for reason in page.items[0].reasons)
    site.wait_until_stored()
    assert site.recommendations()["newcomer"] == page
    assert "newcomer" not in site.profiles()


def test_statistics_outlive_the_worker_and_are_shared(site: Installation) -> None:
    first = site.start_worker()
    publish(site)
    click(site, "a25", 12)
    click(site, "a25", 12)  # the same clicks again: they count once
    site.wait_until_stored()
    before = visit(site, "one", NOW_MS + 1)
    first.stop()
    site.start_worker()
    site.start_worker()
    after = visit(site, "two", NOW_MS + 2)
    assert before.items[0].article_id == after.items[0].article_id == "a25"
    assert abs(before.items[0].score - after.items[0].score) < 0.01


def test_a_reader_who_comes_back_is_shown_news_and_nothing_read(site: Installation) -> None:
    site.start_worker()
    publish(site)
    click(site, "a5", 3)
    site.wait_until_stored()
    assert site.recommendations()["u0"].items[0].article_id != "a5"
    for reader in range(3):
        page = visit(site, f"u{reader}", NOW_MS + 10 + reader)
        assert "a5" not in {item.article_id for item in page.items}
    bad = [b"rubbish", json.dumps({"user_id": "u1"}).encode(), b""]
    site.produce(site.settings.topic_visits, *((None, value) for value in bad))
    letters = site.read_topic(
        site.settings.topic_dead_letters, lambda messages: len(messages) == len(bad)
    )
    assert {message.value() for message in letters} <= {*bad, None}


def test_what_a_page_was_ranked_by_is_logged_where_asked_for(site: Installation) -> None:
    site.start_worker(log_features=True)
    publish(site)
    click(site, "a5", 1)
    site.wait_until_stored()
    page = site.recommendations()["u0"]
    shown = [item.article_id for item in page.items]

    def records(messages: list[Message]) -> list[ServedFeatures]:
        found = [msgspec.json.decode(each.value() or b"", type=ServedFeatures) for each in messages]
        # An earlier page, from before its articles were known, may have the same id.
        return [each for each in found if [item.article_id for item in each.items] == shown]

    found = site.read_topic(site.settings.topic_served_features, lambda got: bool(records(got)))
    served = records(found)[-1]
    assert served.recommendation_id == page.recommendation_id
    for logged, item in zip(served.items, page.items, strict=True):
        assert len(logged.weights) == len(served.features)
        parts = zip(logged.weights, logged.values, strict=True)
        assert abs(sum(weight * value for weight, value in parts) - item.score) < 0.01
