"""Laws that must hold of anything: of erasing, of packing, of ranking."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import history
from schemas.encoded import EncodedArticle
from schemas.preferences import newest, pack_preferences, time_of, unpack_preferences
from schemas.records import Preferences
from schemas.showings import IMPRESSION_BYTES, pack_showings
from schemas.timestamps import MAX_RFC3339_MS, from_ms, to_ms
from tests.unit.catalogues import HOUR_MS, NOW_MS, article, catalogue
from tests.unit.catalogues import history as history_of
from tests.unit.recommenders import PLAIN, click, recommender, see, shown
from worker.bygone import CLOCKS_DIFFER_MS, Sieve, later_entries
from worker.recommend.options import Options

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
times_ms = st.integers(0, MAX_RFC3339_MS)
# Close to each other, and to an erasure, so that both sides of it are tried.
near_ms = st.integers(0, 9).map(lambda step: step * CLOCKS_DIFFER_MS // 2)
near = st.tuples(near_ms, st.sampled_from("abc"), st.sampled_from("xyz")).map(
    lambda each: history.pack_entry(each[0], each[1], history.article_ref(each[2]))
)
few = st.lists(near, max_size=10)
EVER_MS = MAX_RFC3339_MS


def erased(packed: bytes, at_ms: int) -> bytes:
    return later_entries(packed, at_ms, EVER_MS)


def merged(entries: list[bytes], held: bytes | None = None) -> bytes:
    return history.merge(held, entries, 1024) if entries or held else b""


@settings(deadline=None)
@given(few, near_ms, near_ms)
def test_erasing_twice_is_erasing_up_to_the_later(
    entries: list[bytes], one_ms: int, other_ms: int
) -> None:
    held = merged(entries)
    both = erased(erased(held, one_ms), other_ms)
    assert both == erased(held, max(one_ms, other_ms))
    assert erased(both, min(one_ms, other_ms)) == both


@settings(deadline=None)
@given(few, few, near_ms)
def test_erasing_is_a_bound_on_the_set(left: list[bytes], right: list[bytes], at_ms: int) -> None:
    """What is erased before clicks are merged, or after it, is the same."""
    whole = erased(merged(left + right), at_ms)
    parts = [erased(merged(each), at_ms) for each in (left, right)]
    union = merged([], parts[0])
    body = history.unpack(parts[1])
    union = merged([body[at : at + 16] for at in range(0, len(body), 16)], union)
    assert union == whole


@settings(deadline=None)
@given(few, near_ms)
def test_clicks_that_come_after_an_erasure_end_as_if_they_had_come_before(
    entries: list[bytes], at_ms: int
) -> None:
    """But for the minute by which clocks may differ, whichever is processed first."""
    mark = str(at_ms).encode()
    kept = Sieve({}).clicks({"u": entries}, [mark])["u"]
    after, before = merged(kept), erased(merged(entries), at_ms)
    assert erased(after, at_ms) == before
    within = {each for each in kept if int.from_bytes(each[:6], "big") <= at_ms + CLOCKS_DIFFER_MS}
    assert merged([each for each in kept if each not in within]) == before
    assert all(int.from_bytes(each[:6], "big") > at_ms for each in kept)


@settings(deadline=None)
@given(times_ms, st.none() | texts, texts)
def test_a_packed_click_is_read_back(time_ms: int, event_id: str | None, article_id: str) -> None:
    ref = history.article_ref(article_id)
    packed = history.merge(None, [history.pack_entry(time_ms, event_id, ref)], 8)
    found_ms, refs = history.read_entries(history.unpack(packed))
    assert (found_ms.tolist(), refs.tolist()) == ([time_ms], [int.from_bytes(ref, "big")])
    assert history.seal(history.unpack(packed)) == packed


@settings(deadline=None)
@given(times_ms, times_ms, st.none() | texts, st.none() | texts, texts, texts)
def test_packed_clicks_are_ordered_by_time(
    one_ms: int, other_ms: int, event: str | None, another: str | None, left: str, right: str
) -> None:
    one = history.pack_entry(one_ms, event, history.article_ref(left))
    other = history.pack_entry(other_ms, another, history.article_ref(right))
    assert one_ms == other_ms or (one < other) == (one_ms < other_ms)


@settings(deadline=None)
@given(times_ms, st.none() | texts, st.lists(texts, min_size=1, max_size=6, unique=True))
def test_the_showings_of_an_impression_share_how_they_begin(
    time_ms: int, impression_id: str | None, article_ids: list[str]
) -> None:
    packed = pack_showings(time_ms, impression_id, article_ids)
    assert {each[:IMPRESSION_BYTES] for each in packed} == {packed[0][:IMPRESSION_BYTES]}
    refs = [each[IMPRESSION_BYTES:] for each in packed]
    assert refs == [history.article_ref(each) for each in article_ids]


@settings(deadline=None)
@given(times_ms, st.integers(-14 * 60, 14 * 60))
def test_a_moment_is_the_same_in_every_zone(time_ms: int, offset_minutes: int) -> None:
    moment = from_ms(time_ms)
    assert to_ms(moment) == time_ms
    day = timedelta(days=1)
    if datetime.min.replace(tzinfo=UTC) + day < moment < datetime.max.replace(tzinfo=UTC) - day:
        zone = timezone(timedelta(minutes=offset_minutes))
        assert to_ms(moment.astimezone(zone)) == time_ms


wishes = st.builds(
    Preferences,
    user_id=st.just("u"),
    timestamp=st.integers(0, 3),
    blocked_tags=st.lists(texts, max_size=3),
    blocked_articles=st.lists(texts, max_size=3),
    profiling=st.booleans(),
).map(pack_preferences)
held_wishes = st.one_of(st.none(), st.just(b""), st.just(b"rubbish"), wishes)


@settings(deadline=None)
@given(held_wishes, held_wishes, wishes)
def test_the_newest_wish_holds_in_any_order_and_grouping(
    one: bytes | None, other: bytes | None, third: bytes
) -> None:
    found = newest(newest(one, other), third)
    assert found == newest(one, newest(other, third)) == newest(third, newest(other, one))
    assert newest(found, third) == newest(found, one) == found
    assert time_of(found) == max(map(time_of, (one, other, third)))


@settings(deadline=None)
@given(wishes)
def test_packed_preferences_are_read_back(packed: bytes) -> None:
    found = unpack_preferences(packed)
    assert found is not None and pack_preferences(found) == packed


ages = st.none() | st.integers(-5, 2_000).map(float)
articles = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["p", "q", "r", "漢"]), max_size=3, unique=True),
        ages,
        st.sampled_from([None, "en", "de"]),
        st.floats(-2, 2, width=32),
    ),
    min_size=1,
    max_size=40,
)
readers = st.lists(
    st.lists(st.tuples(st.integers(0, 45), st.integers(0, 900)), max_size=12),
    min_size=1,
    max_size=4,
)
popular = st.lists(st.tuples(st.integers(0, 39), st.integers(0, 300)), max_size=15)


def made(told: list[tuple[list[str], float | None, str | None, float]]) -> list[EncodedArticle]:
    return [
        article(f"a{i}", tags, age_h=age, language=language, value=value)
        for i, (tags, age, language, value) in enumerate(told)
    ]


@pytest.mark.parametrize("options", [PLAIN, Options()], ids=["plain", "default"])
@settings(max_examples=40, deadline=None)
@given(told=articles, who=readers, clicks=popular, places=st.integers(1, 12))
def test_a_page_holds_what_may_be_shown_once_and_says_why(
    options: Options,
    told: list[tuple[list[str], float | None, str | None, float]],
    who: list[list[tuple[int, int]]],
    clicks: list[tuple[int, int]],
    places: int,
) -> None:
    news = catalogue(*made(told))
    ranker = recommender(news, options)
    for number, hours in clicks:
        if number < len(told):
            click(ranker, f"a{number}", NOW_MS - hours * HOUR_MS)
    histories = [history_of(*((f"a{i}", float(hours)) for i, hours in each)) for each in who]
    found = ranker.rank(*see(news, *histories), NOW_MS, places)
    # What somebody has clicked is out, whatever it says of itself.
    out = {number for number, _ in clicks}
    ahead = {
        f"a{i}"
        for i, (_, age, *_) in enumerate(told)
        if age is not None and age < 0 and i not in out
    }
    assert np.isfinite(found.scores[found.rows >= 0]).all()
    assert np.allclose(
        found.shares.sum(axis=2)[found.rows >= 0], found.scores[found.rows >= 0], atol=1e-3
    )
    for at, each in enumerate(who):
        page = shown(found, news, at)
        read = {f"a{i}" for i, _ in each}
        assert len(page) == len({*page}) <= places
        assert not {*page} & (read | ahead)
    # A reader's page does not depend on who else is in the batch, nor on their order.
    back = ranker.rank(*see(news, *histories[::-1]), NOW_MS, places)
    if options is PLAIN:
        assert [shown(back, news, at) for at in range(len(who))][::-1] == [
            shown(found, news, at) for at in range(len(who))
        ]
