"""Which clicks count, and how the click log carries them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.history import HEADER_BYTES, article_ref, merge, pack_entry
from schemas.showings import IMPRESSION_BYTES, pack_showings
from worker.counting import counted_impressions, counted_positions
from worker.recommend.click_log import Learned, pack_clicks, pack_impression, pack_untaught
from worker.recommend.features import NUM_FEATURES, NUM_STEPS
from worker.recommend.log_reader import unpack

Clicks = list[tuple[int, str]]
clicks_of_a_reader = st.lists(st.tuples(st.integers(1, 50), st.sampled_from("abcde")), max_size=20)


def entries(clicks: Clicks) -> list[bytes]:
    return [pack_entry(time, f"{time}{name}", article_ref(name)) for time, name in clicks]


def counted_refs(held: bytes | None, clicks: Clicks, limit: int = 64) -> tuple[bytes, list[bytes]]:
    fresh = entries(clicks)
    merged = merge(held, fresh, limit)
    body = merged[HEADER_BYTES:]
    positions = counted_positions(held, merged, fresh)
    return merged, [body[16 * at + 10 : 16 * at + 16] for at in positions]


def test_the_first_click_on_an_article_counts_and_no_later_one() -> None:
    held, counted = counted_refs(None, [(1, "a"), (2, "b"), (3, "a")])
    assert sorted(counted) == sorted([article_ref("a"), article_ref("b")])
    assert counted_refs(held, [(4, "a")])[1] == []
    assert counted_refs(held, [(4, "c")])[1] == [article_ref("c")]


def test_a_click_older_than_the_history_holds_does_not_count() -> None:
    held = merge(None, entries([(10, "a"), (11, "b")]), 2)
    assert counted_refs(held, [(1, "c")], limit=2)[1] == []


@given(clicks_of_a_reader, st.integers(0, 20))
def test_each_article_counts_once_however_the_clicks_are_delivered(
    clicks: Clicks, cut: int
) -> None:
    held: bytes | None = None
    counted: list[bytes] = []
    # Delivered in two parts, the first of them twice.
    for part in (clicks[:cut], clicks[:cut], clicks[cut:]):
        if part:
            held, more = counted_refs(held, part)
            counted += more
    assert sorted(counted) == sorted({article_ref(name) for _, name in clicks})


@given(clicks_of_a_reader, clicks_of_a_reader, st.integers(1, 64))
def test_what_counts_is_what_the_definition_says(old: Clicks, new: Clicks, limit: int) -> None:
    held = merge(None, entries(old), limit) if old else None
    for fresh in (entries(new), entries(new[:1]), entries(old[:1]), entries(new[:1]) * 2):
        merged = merge(held, fresh, limit)
        before = cut(held)
        refs = {entry[10:] for entry in before}
        oldest: dict[bytes, bytes] = {}
        for entry in sorted(set(fresh) & set(cut(merged)) - set(before)):
            if entry[10:] not in refs:
                oldest.setdefault(entry[10:], entry)
        expected = [at for at, entry in enumerate(cut(merged)) if entry in oldest.values()]
        assert counted_positions(held, merged, fresh) == expected


def cut(packed: bytes | None) -> list[bytes]:
    body = (packed or b"")[HEADER_BYTES:]
    return [body[at : at + 16] for at in range(0, len(body), 16)]


def test_bytes_that_only_look_like_an_article_do_not_hide_it() -> None:
    # The six bytes of the reference stand across two entries, not at an entry's end.
    ref = article_ref("a")
    one = pack_entry(int.from_bytes(ref[3:] + b"\0\0\0", "big"), None, b"\1" * 3 + b"\2" * 3)
    two = pack_entry(2**48 - 1, None, b"\3" * 3 + ref[:3])
    held = merge(None, [one, two], 8)
    assert ref in held
    assert counted_refs(held, [(1, "a")])[1] == [ref]


def test_what_is_packed_is_unpacked() -> None:
    body = b"".join(sorted(entries([(1, "a"), (2, "b"), (3, "c")]), reverse=True))
    member = np.array([0.0, 1.0, 0.5], dtype=np.float32)
    gradient = np.zeros((NUM_STEPS, NUM_FEATURES))
    gradient[0], gradient[9, 4] = 0.25, -1.5
    learned = Learned(gradient, np.arange(NUM_FEATURES) / 8)
    packed = pack_clicks(body, [0, 2], member, learned, 3, 1)
    without = pack_clicks(body, [1], member, None, 0, 0)
    clicks, lessons, impressions = unpack(packed + without)
    assert clicks.times_ms.tolist() == [3, 2, 1] * 2
    refs = [int.from_bytes(article_ref(name), "big") for name in "cba"]
    assert clicks.refs.tolist() == refs * 2
    assert clicks.counted.tolist() == [2, 0, 4]
    assert clicks.ends.tolist() == [3, 3, 6]
    assert clicks.readers.tolist() == [0, 0, 1]
    assert clicks.memberships == pytest.approx(np.stack([member, member]), abs=1 / 255)
    assert clicks.num_segments.tolist() == [3, 3]
    (taught,) = lessons
    assert (taught.length, taught.gap) == (3, 1)
    assert all(map(np.array_equal, taught.learned, learned))
    assert not impressions


def test_readers_of_different_models_are_unpacked_together() -> None:
    (entry,) = entries([(1, "a")])
    members = [np.ones(size, dtype=np.float32) for size in (2, 0, 3)]
    packed = [pack_clicks(entry, [0], member, None, 0, 0) for member in members]
    clicks = unpack(b"".join(packed)).clicks
    assert clicks.num_segments.tolist() == [2, 0, 3]
    assert clicks.memberships.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=6), min_size=1, max_size=8))
def test_many_readers_are_packed_as_one_by_one_and_their_oldest_clicks_count_first(
    counted: list[list[int]],
) -> None:
    random = np.random.default_rng(0)
    held = [
        b"".join(entries([(99 - at, "a") for at in range(max(own) + 1 + reader)]))
        for reader, own in enumerate(counted)
    ]
    members = random.random((len(counted), 3), dtype=np.float32)
    one_by_one = [
        pack_clicks(body, own, member, None, 0, 0)
        for body, own, member in zip(held, counted, members, strict=True)
    ]
    assert pack_untaught(held, counted, members) == one_by_one
    clicks = unpack(b"".join(one_by_one)).clicks
    starts = np.cumsum([0, *(len(body) // 16 for body in held)]).tolist()
    expected = [
        (start + at, end, reader)
        for reader, (own, start, end) in enumerate(
            zip(counted, starts[:-1], starts[1:], strict=True)
        )
        for at in sorted(own, reverse=True)
    ]
    columns = (clicks.counted, clicks.ends, clicks.readers)
    assert list(zip(*(each.tolist() for each in columns), strict=True)) == expected


@pytest.mark.parametrize("cut", [2, 9, 30])
def test_a_cut_off_entry_is_refused(cut: int) -> None:
    packed = pack_clicks(entries([(1, "a")])[0], [0], np.ones(2, dtype=np.float32), None, 0, 0)
    with pytest.raises(ValueError):
        unpack(packed[:cut])


def test_an_entry_that_does_not_fit_is_refused() -> None:
    (entry,) = entries([(1, "a")])
    member = np.ones(2, dtype=np.float32)
    good = pack_clicks(entry, [0], member, None, 0, 0)
    assert len(unpack(good * 2).clicks.counted) == 2
    learned = Learned(np.ones((NUM_STEPS, NUM_FEATURES)), np.ones(NUM_FEATURES))
    of_fewer = pack_clicks(entry, [0], member, learned, 0, 0)
    broken = {
        "counts what it does not hold": [pack_clicks(entry, [1], member, None, 0, 0)],
        "sizes": [good[:7] + b"\3" + good[8:], good[:11] + b"\2" + good[12:]],
        "no such kind": [
            pack_clicks(entry, [0], member, None, 5, 0),
            pack_clicks(entry, [0], member, None, 0, 3),
        ],
        "cut off": [bytes(4), b"\0\0\0\1\3", good[:-1], good[:3]],
        "teaches does not fit": [of_fewer[:9] + b"\7" + of_fewer[10:]],
        "not finite": [
            pack_clicks(entry, [0], member, learned._replace(spread=learned.spread * np.inf), 0, 0)
        ],
    }
    for message, each in broken.items():
        for packed in each:
            with pytest.raises(ValueError, match=message):
                unpack(good + packed)


def test_another_format_is_passed_over() -> None:
    packed = pack_clicks(entries([(1, "a")])[0], [0], np.ones(2, dtype=np.float32), None, 0, 0)
    other = packed[:4] + b"\x63" + packed[5:]
    assert len(unpack(other + packed).clicks.refs) == 1


Impressions = list[tuple[int, list[str]]]
impressions_of_a_reader = st.lists(
    st.tuples(st.integers(1, 9), st.lists(st.sampled_from("abcde"), min_size=1, unique=True)),
    max_size=12,
)


def show(held: bytes | None, shown: Impressions, limit: int) -> tuple[bytes, Impressions]:
    packed = [pack_showings(time, None, names) for time, names in shown]
    fresh = {each[0][:IMPRESSION_BYTES]: what for each, what in zip(packed, shown, strict=True)}
    merged = merge(held, [entry for each in packed for entry in each], limit)
    return merged, counted_impressions(held, limit, fresh)


@given(impressions_of_a_reader, st.integers(0, 12), st.integers(1, 64))
def test_an_impression_never_counts_twice(shown: Impressions, cut: int, limit: int) -> None:
    held: bytes | None = None
    counted: Impressions = []
    for part in (shown[:cut], shown[:cut], shown[cut:], shown):
        held, more = show(held, part, limit)
        counted += more
    distinct = {(time, tuple(names)) for time, names in shown}
    found = [(time, tuple(names)) for time, names in counted]
    assert len(found) == len(set(found)) and set(found) <= distinct
    # However many come at once, and where there is room for all of them, each counts.
    assert {(time, tuple(names)) for time, names in show(None, shown, limit)[1]} == distinct
    if limit >= sum(len(names) for _, names in distinct):
        assert set(found) == distinct


def test_an_impression_older_than_what_is_kept_does_not_count() -> None:
    held, counted = show(None, [(5, ["a", "b"]), (6, ["a"])], 2)
    assert len(counted) == 2  # the first was cut, not off
    assert show(held, [(5, ["a", "b"]), (1, ["c"])], 2)[1] == []


def test_what_was_shown_is_packed_and_unpacked() -> None:
    refs = np.array([int.from_bytes(article_ref(name), "big") for name in "abc"])
    clicked = np.array([False, True, False])
    clicks = pack_clicks(entries([(1, "a")])[0], [0], np.ones(2, dtype=np.float32), None, 0, 0)
    gradient = np.arange(NUM_FEATURES) / 8
    packed = pack_impression(refs, clicked, gradient)
    without = pack_impression(refs[:1], clicked[:1], None)
    told = unpack(packed + clicks + without)
    assert len(told.clicks.counted) == 1
    first, second = told.impressions
    assert first.refs.tolist() == refs.tolist()
    assert first.clicked.tolist() == clicked.tolist()
    assert first.gradient is not None and first.gradient.tolist() == gradient.tolist()
    assert (second.refs.tolist(), second.gradient) == (refs[:1].tolist(), None)
    for broken in (packed[:20], packed[:-1], b"\0\0\0\1\2"):
        with pytest.raises(ValueError):
            unpack(broken)
    # As a worker of before passed over it: by the first byte.
    unknown = packed[:4] + b"\1" + packed[5:]
    assert len(unpack(unknown + packed).impressions) == 1
