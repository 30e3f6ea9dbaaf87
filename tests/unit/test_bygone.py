"""What was done before an erasure: told apart from what came later, whatever clocks say."""

from schemas.history import article_ref, merge, pack_entry
from schemas.preferences import pack_preferences
from schemas.records import Preferences
from worker.bygone import (
    CLOCKS_DIFFER_MS,
    Sieve,
    later_entries,
    later_preferences,
    lifts_nothing,
)
from worker.intake import PackedImpression

LATE = article_ref("late")
ENTRIES = [pack_entry(time, None, LATE) for time in (5, 6, 9)]
NOW_MS = 10**9


def wish(time_ms: int, *tags: str, profiling: bool = True) -> bytes:
    return pack_preferences(
        Preferences(user_id="u", timestamp=time_ms, blocked_tags=list(tags), profiling=profiling)
    )


def test_clicks_of_before_an_erasure_are_left_out() -> None:
    clicks = {"u": ENTRIES, "v": ENTRIES}
    sieve = Sieve({})
    assert (sieve.clicks(clicks, [b"5", None]), sieve.erased) == (
        {"u": ENTRIES[1:], "v": ENTRIES},
        {"u"},
    )


def test_a_click_dated_ahead_of_its_message_counts_from_the_message() -> None:
    clicks = {"u": ENTRIES, "v": ENTRIES}
    sieve = Sieve({"u": {9: 4}})
    assert (sieve.clicks(clicks, [b"5", b"8"]), sieve.erased) == (
        {"u": ENTRIES[1:2], "v": ENTRIES[2:]},
        {"u", "v"},
    )


def test_where_nobody_has_been_erased_nothing_is_touched() -> None:
    clicks = {"u": ENTRIES}
    assert Sieve({"u": {9: 4}}).clicks(clicks, [None]) is clicks


def test_impressions_of_before_an_erasure_are_left_out() -> None:
    shown = {bytes([time]): PackedImpression(time, [], []) for time in (5, 6)}
    assert Sieve({}).impressions({"u": shown}, [None]) == {"u": shown}
    assert Sieve({}).impressions({"u": shown}, [b"5"]) == {"u": {b"\x06": shown[b"\x06"]}}
    assert Sieve({"u": {6: 5}}).impressions({"u": shown}, [b"5"]) == {"u": {}}


def test_of_what_is_held_stays_what_is_later_by_more_than_clocks_differ() -> None:
    late = pack_entry(5 + CLOCKS_DIFFER_MS + 1, None, LATE)
    ahead = pack_entry(NOW_MS + 1, None, LATE)
    held = merge(None, [*ENTRIES, late, ahead], 8)
    assert later_entries(held, 5, NOW_MS) == merge(None, [late], 8)
    assert later_entries(merge(None, ENTRIES, 8), 5, NOW_MS) == b""
    assert later_entries(None, 5, NOW_MS) == b""
    early, later = wish(6, "a"), wish(5 + CLOCKS_DIFFER_MS + 1, "a")
    assert [later_preferences(each, 5, NOW_MS) for each in (None, early, later)] == [
        b"",
        b"",
        later,
    ]


def test_the_tombstone_of_preferences_lifts_nothing() -> None:
    assert lifts_nothing(wish(9), None, None)
    assert not lifts_nothing(wish(9, "a"), None, None)
    assert not lifts_nothing(wish(9, profiling=False), None, None)
    assert not lifts_nothing(wish(9), None, wish(8, "a"))
    assert not lifts_nothing(wish(9), b"history", None)
    assert not lifts_nothing(None, None, None)  # a visit
