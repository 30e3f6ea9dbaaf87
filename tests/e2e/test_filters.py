"""What is not shown: to anybody, or to one reader; from when on, and in every worker."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import Installation, installation, wait_until
from tests.e2e.test_visits import HOUR_MS, NOW_MS, answer, click, publish, visit
from tests.kafka_broker import TestBroker
from worker.recommend.log_reader import unpack


@pytest.fixture
def site(kafka: TestBroker, bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    with installation(kafka.bootstrap_servers, bundle, tmp_path) as found:
        yield found


def page(site: Installation, user_id: str, time_ms: int) -> set[str]:
    return {item.article_id for item in visit(site, user_id, time_ms).items}


def show(
    site: Installation, user_id: str, articles: list[str], clicked: list[str], *times_ms: int
) -> None:
    messages = [
        {"user_id": user_id, "timestamp": time_ms, "candidates": articles, "clicked": clicked}
        for time_ms in times_ms
    ]
    site.produce(
        site.settings.topic_impressions,
        *((user_id.encode(), json.dumps(each).encode()) for each in messages),
    )


def test_what_is_clicked_when_shown_rises_for_everybody(site: Installation) -> None:
    first = site.start_worker()
    publish(site, 8)
    site.wait_until_stored()
    every = [f"a{i}" for i in range(8)]
    assert visit(site, "newcomer", NOW_MS + 1).items[0].article_id != "a5"
    for _ in range(2):  # sent twice, counted once
        for at in range(9):
            show(site, f"r{at}", [*every, "unknown"], ["a5"], NOW_MS)
    bad = [b"rubbish", json.dumps({"user_id": "r1", "candidates": []}).encode()]
    site.produce(site.settings.topic_impressions, *((b"r1", value) for value in bad))
    site.wait_until_stored()
    top = visit(site, "newcomer", NOW_MS + 2).items[0]
    assert top.article_id == "a5"
    assert "click-through" in {reason.name for reason in top.reasons}
    assert not site.histories()  # impressions are not clicks
    letters = site.read_topic(
        site.settings.topic_dead_letters, lambda messages: len(messages) == len(bad)
    )
    assert sorted(dict(each.headers() or [])["reason"] for each in letters) == [
        b"invalid",
        b"malformed",
    ]
    counted = site.redis.xrange("{statistics}:log")
    told = [each for _, fields in counted for each in unpack(fields[b"clicks"]).impressions]
    assert len(told) == 9 and all(len(each.refs) == 8 for each in told)
    first.stop()
    site.start_worker()
    assert visit(site, "newcomer", NOW_MS + 3).items[0] == top


def test_what_a_reader_was_shown_five_times_in_vain_vanishes(site: Installation) -> None:
    site.start_worker()
    publish(site, 8)
    site.wait_until_stored()
    every = {f"a{i}" for i in range(8)}
    times = [NOW_MS - hours * HOUR_MS for hours in range(6)]
    show(site, "u0", ["a1", "a2"], [], *times[:4])
    show(site, "u0", ["a1", "a2"], [], times[3])  # sent again
    site.wait_until_stored()
    assert page(site, "u0", NOW_MS + 1) == every
    show(site, "u0", ["a1"], [], times[4])
    site.wait_until_stored()
    assert page(site, "u0", NOW_MS + 2) == every - {"a1"}
    assert page(site, "u1", NOW_MS + 3) == every
    # The page that follows from a click heeds it, too.
    click(site, "a0", 2)
    site.wait_until_stored()
    found = {
        user: {item.article_id for item in each.items}
        for user, each in site.recommendations().items()
    }
    assert found == {"u0": every - {"a0", "a1"}, "u1": every - {"a0"}}
    assert not site.redis.exists("showings:{u1}")


def wish(
    site: Installation, user_id: str, time_ms: int, tags: list[str], articles: list[str]
) -> set[str]:
    """Send preferences; return the page that answers them."""
    message = {"user_id": user_id, "timestamp": time_ms, "blocked_tags": tags}
    raw = json.dumps({**message, "blocked_articles": articles}).encode()
    site.produce(site.settings.topic_preferences, (user_id.encode(), raw))
    return {item.article_id for item in answer(site, time_ms).items}


def test_what_a_reader_opted_out_of_vanishes_at_once_and_for_good(site: Installation) -> None:
    first = site.start_worker()
    publish(site, 12)  # tagged t0, t1, t2 in turn
    site.wait_until_stored()
    every = {f"a{i}" for i in range(12)}
    untagged = {f"a{i}" for i in range(12) if i % 3 != 1}
    times = iter(range(NOW_MS - 1000, NOW_MS))
    old = next(times)
    assert wish(site, "u0", next(times), ["t1"], ["a0"]) == untagged - {"a0"}
    # An older wish comes late: it is answered, and changes nothing.
    assert wish(site, "u0", old, [], []) == untagged - {"a0"}
    click(site, "a2", 2)
    site.wait_until_stored()
    pages = site.recommendations()
    assert {item.article_id for item in pages["u0"].items} == untagged - {"a0", "a2"}
    assert {item.article_id for item in pages["u1"].items} & {"a0", "a1"}
    first.stop()
    site.start_worker()
    assert page(site, "u0", NOW_MS + 1) == untagged - {"a0", "a2"}
    assert wish(site, "u0", next(times), ["t0"], []) == {f"a{i}" for i in range(12) if i % 3} - {
        "a2"
    }
    # Without a value it is lifted; what is not understood is bad.
    bad = [(b"u0", b"{}"), (b"\xff", None)]
    site.produce(site.settings.topic_preferences, *bad, (b"u0", None))
    site.wait_until_stored()
    assert len(page(site, "u0", NOW_MS + 2) & (every - untagged)) > 1
    letters = site.read_topic(site.settings.topic_dead_letters, lambda found: len(found) == 2)
    reasons = {dict(each.headers() or [])["reason"] for each in letters}
    assert reasons == {b"invalid", b"malformed"}


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
