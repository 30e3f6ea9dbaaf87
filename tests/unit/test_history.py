"""The merge laws of the packed history, which all replay safety rests on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import history

clicks = st.tuples(
    st.integers(0, 2**48 - 1),
    st.one_of(st.none(), st.text(min_size=1, max_size=8)),
    st.sampled_from(["a", "b", "c", "d"]),
).map(lambda click: history.pack_entry(click[0], click[1], history.article_ref(click[2])))
few = st.lists(clicks, max_size=12)
limits = st.integers(1, 8)


@given(few, few, limits)
def test_merging_is_commutative(left: list[bytes], right: list[bytes], limit: int) -> None:
    one = history.merge(history.merge(None, left, limit), right, limit)
    other = history.merge(history.merge(None, right, limit), left, limit)
    assert one == other


@given(few, few, few, limits)
def test_merging_is_associative(
    first: list[bytes], second: list[bytes], third: list[bytes], limit: int
) -> None:
    step_by_step = history.merge(None, first, limit)
    step_by_step = history.merge(history.merge(step_by_step, second, limit), third, limit)
    assert step_by_step == history.merge(None, first + second + third, limit)


@given(few, limits)
def test_merging_is_idempotent(entries: list[bytes], limit: int) -> None:
    once = history.merge(None, entries, limit)
    assert history.merge(once, entries, limit) == once


@given(few, limits)
def test_the_newest_distinct_clicks_are_kept_newest_first(entries: list[bytes], limit: int) -> None:
    packed = history.merge(None, entries, limit)
    times, refs = history.read_entries(history.unpack(packed))
    expected = sorted(set(entries), reverse=True)[:limit]
    assert history.unpack(packed) == b"".join(expected)
    assert history.num_clicks(packed) == len(expected) == len(times) == len(refs)
    assert times.tolist() == [int.from_bytes(entry[:6], "big") for entry in expected]
    assert refs.tolist() == [int.from_bytes(entry[10:], "big") for entry in expected]


@given(few, few)
def test_merging_leaves_its_inputs_alone(left: list[bytes], right: list[bytes]) -> None:
    packed, before = history.merge(None, left, 8), list(right)
    copy = bytes(packed)
    history.merge(packed, right, 8)
    assert (packed, right) == (copy, before)


@given(few, few)
def test_the_header_tells_histories_apart(left: list[bytes], right: list[bytes]) -> None:
    one, other = history.merge(None, left, 8), history.merge(None, right, 8)
    same_header = one[: history.HEADER_BYTES] == other[: history.HEADER_BYTES]
    assert same_header == (one == other)


def test_two_clicks_without_event_id_on_one_article_are_two() -> None:
    ref = history.article_ref("a")
    entries = [history.pack_entry(1, None, ref), history.pack_entry(2, None, ref)]
    assert history.num_clicks(history.merge(None, entries, 8)) == 2


@pytest.mark.parametrize("packed", [b"\x02" + bytes(23), b"\x01" + bytes(20)])
def test_an_unknown_format_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="format 1"):
        history.merge(packed, [], 8)


def test_of_no_history_nothing_is_read() -> None:
    times, refs = history.read_entries(history.unpack(None))
    assert times.dtype == refs.dtype == np.int64
    assert len(times) == len(refs) == 0


@given(few, st.integers(0, 2**48 - 1))
def test_what_was_clicked_before_a_moment(entries: list[bytes], timestamp_ms: int) -> None:
    held = history.merge(None, entries, 64)
    times, _ = history.read_entries(history.unpack(held))
    for moment in (timestamp_ms, *times.tolist()):
        found = history.before(held, moment)
        earlier, _ = history.read_entries(found[history.HEADER_BYTES :])
        assert earlier.tolist() == [time for time in times.tolist() if time < moment]


def plainly_merged(packed: bytes | None, entries: list[bytes], limit: int) -> bytes:
    """What a history is by its definition."""
    held = history.unpack(packed)
    known = {held[at : at + 16] for at in range(0, len(held), 16)}
    return history.seal(b"".join(sorted(known | set(entries), reverse=True)[:limit]))


many = st.lists(clicks, max_size=80)


@given(many, few, st.integers(0, 80), st.sampled_from([1, 3, 8, 40, 64, 1024]))
def test_however_it_is_merged_the_bytes_are_the_same(
    old: list[bytes], new: list[bytes], repeated: int, limit: int
) -> None:
    held = history.merge(None, old, limit)
    # None, one and some that are new, held, or older than all that is held.
    for entries in (new, new[:1], old[repeated : repeated + 1], new + old[repeated:]):
        assert history.merge(held, entries, limit) == plainly_merged(held, entries, limit)
        smaller = max(1, limit // 2)  # after another `history_size`
        assert history.merge(held, entries, smaller) == plainly_merged(held, entries, smaller)


@given(many, clicks)
def test_a_click_newer_than_all_is_put_first(old: list[bytes], entry: bytes) -> None:
    newest = b"\xff" * 6 + entry[6:]
    held = history.merge(None, old, 1024)
    assert history.merge(held, [newest], 1024) == plainly_merged(held, [newest], 1024)
