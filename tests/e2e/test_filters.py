"""What is not shown: to anybody, or to one reader; from when on, and in every worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, installation, wait_until
from tests.e2e.test_visits import NOW_MS, click, publish, visit
from tests.kafka_broker import TestBroker


@pytest.fixture
def site(kafka: TestBroker, bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as found:
        yield found


def page(site: Installation, user_id: str, time_ms: int) -> set[str]:
    return {item.article_id for item in visit(site, user_id, time_ms).items}


def test_a_withdrawn_article_vanishes_until_it_is_published_again(site: Installation) -> None:
    first = site.start_worker()
    publish(site, 8)
    click(site, "a0", 3)
    site.wait_until_stored()
    every = {f"a{i}" for i in range(8)}
    assert page(site, "newcomer", NOW_MS + 1) == every
    before = site.histories()
    site.produce(site.settings.topic_articles, (b"a3", None), (b"a0", None), (b"\xff", None))
    site.wait_until_stored()
    assert page(site, "newcomer", NOW_MS + 2) == every - {"a0", "a3"}
    assert not site.redis.exists("article:{a3}")
    # Clicks on it stay where they are.
    assert site.histories() == before
    first.stop()
    site.start_worker()
    site.start_worker()
    for at in range(8):  # on all partitions, so by both workers
        assert page(site, f"r{at}", NOW_MS + 3) == every - {"a0", "a3"}
    publish(site, 8)
    site.wait_until_stored()
    # Half a second until the other worker knows.
    times = iter(range(NOW_MS + 4, NOW_MS + 1000))
    wait_until("a3 is back", lambda: "a3" in page(site, "u0", next(times)))
    assert page(site, "u0", next(times)) == every - {"a0"}  # clicked, and withdrawn no more
    # What does not say which article is bad.
    (letter,) = site.read_topic(site.settings.topic_dead_letters, bool)
    assert dict(letter.headers() or [])["reason"] == b"malformed"
