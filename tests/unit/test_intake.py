"""Sorting a chunk: nothing raises, nothing is lost."""

import json
from typing import NamedTuple

from schemas.decode import decode_click
from schemas.history import article_ref, pack_entry
from schemas.preferences import unpack_preferences
from schemas.records import REPUBLISHED_FROM, DeadLetter
from schemas.showings import pack_showings
from schemas.topics import Topics
from worker.intake import PackedImpression, decoder_of, empty_decoder_of, sort_records

NOW_MS = 1_800_000_000_000


class Record(NamedTuple):
    value: bytes | None
    key: bytes | None = b"k"
    topic: str = "clicks"
    partition: int = 3
    offset: int = 0
    timestamp: int = NOW_MS
    headers: tuple[tuple[str, bytes], ...] = ()


def click(user: str, article: str, timestamp: int, **more: object) -> Record:
    fields = {"user_id": user, "article_id": article, "timestamp": timestamp, **more}
    return Record(json.dumps(fields).encode())


def test_clicks_are_grouped_by_reader() -> None:
    records = [click("u", "a", 1), click("v", "a", 5), click("u", "b", 2, event_id="e")]
    intake = sort_records(records, decode_click, NOW_MS)
    assert intake.clicks == {
        "u": [
            pack_entry(1, None, article_ref("a")),
            pack_entry(2, "e", article_ref("b")),
        ],
        "v": [pack_entry(5, None, article_ref("a"))],
    }
    assert intake.newest_ms == 5


def test_bad_messages_keep_their_place_and_bytes() -> None:
    intake = sort_records([Record(b"\xff", b"key", offset=7)], decode_click, NOW_MS)
    (bad,) = intake.bad
    assert (bad.key, bad.value) == (b"key", b"\xff")
    assert (bad.letter.topic, bad.letter.partition, bad.letter.offset) == ("clicks", 3, 7)


def test_a_letter_of_a_republished_message_says_so_and_repeats_no_other_header() -> None:
    def letter(*headers: tuple[str, bytes]) -> DeadLetter:
        (bad,) = sort_records([Record(b"{", headers=headers)], decode_click, NOW_MS).bad
        return bad.letter

    assert letter(("trace", b"\xff"), (REPUBLISHED_FROM, b"dead-letters[1]@7")) == DeadLetter(
        reason="malformed",
        topic="clicks",
        partition=3,
        offset=0,
        size=1,
        republished_from="dead-letters[1]@7",
    )
    for forged in (b"", b"\xff", b"dead-letters[1]@7\n", b"jane@example.org"):
        assert letter((REPUBLISHED_FROM, forged)).republished_from is None


def test_a_decoder_that_fails_unforeseen_costs_one_message() -> None:
    def decode(raw: bytes | None, now_ms: int) -> None:
        raise KeyError(raw, now_ms)

    assert [bad.letter.reason for bad in sort_records([Record(b"")], decode, 0).bad] == ["invalid"]


def test_the_latest_of_an_articles_messages_counts() -> None:
    raw = [{"article_id": "a", "title": title} for title in ("old", "new")]
    records = [Record(json.dumps(each).encode(), topic="articles") for each in raw]
    intake = sort_records(records, decoder_of("articles", Topics()), NOW_MS)
    assert intake.articles["a"].title == "new"


def news(article_id: str) -> Record:
    raw = json.dumps({"article_id": article_id, "title": "news"}).encode()
    return Record(raw, article_id.encode(), "articles")


def gone(key: bytes | None) -> Record:
    return Record(None, key, "articles")


def test_an_article_without_a_value_is_withdrawn_until_it_comes_again() -> None:
    topics = Topics()
    decode, decode_empty = decoder_of("articles", topics), empty_decoder_of("articles", topics)
    records = [news("a"), news("b"), gone(b"a"), gone(b"c"), gone(b"b"), news("b")]
    intake = sort_records(records, decode, NOW_MS, decode_empty)
    assert (list(intake.articles), list(intake.withdrawn)) == (["b"], ["a", "c"])
    assert intake.bad == []


def test_nothing_is_withdrawn_without_a_usable_key() -> None:
    topics = Topics()
    decode, decode_empty = decoder_of("articles", topics), empty_decoder_of("articles", topics)
    records = [gone(None), gone(b""), gone(b"\xff"), gone(b"x" * 513), Record(b"", b"a")]
    intake = sort_records(records, decode, NOW_MS, decode_empty)
    reasons = [bad.letter.reason for bad in intake.bad]
    assert reasons == ["empty", "empty", "malformed", "invalid", "empty"]
    assert not intake.withdrawn


def test_on_a_topic_shared_with_clicks_nothing_is_withdrawn() -> None:
    # There the key may be a reader's.
    topics = Topics(articles="events", clicks="events")
    assert empty_decoder_of("events", topics) is None
    assert empty_decoder_of("clicks", Topics()) is None
    intake = sort_records([gone(b"a")], decoder_of("events", topics), NOW_MS, None)
    assert [bad.letter.reason for bad in intake.bad] == ["empty"]


def shown(user: str, timestamp: int, candidates: list[str], **more: object) -> Record:
    fields = {"user_id": user, "timestamp": timestamp, "candidates": candidates, "clicked": []}
    return Record(json.dumps({**fields, **more}).encode(), topic="impressions")


def test_impressions_are_grouped_by_reader_and_each_comes_once() -> None:
    first = shown("u", 5, ["a", "b", "a"], clicked=["b", "elsewhere"])
    records = [
        first,
        first,
        shown("u", 5, ["c"]),
        shown("v", 7, ["a"], impression_id="i"),
        shown("v", 7, ["a", "b"], impression_id="i", clicked=["a"]),  # the first one counts
    ]
    intake = sort_records(records, decoder_of("impressions", Topics()), NOW_MS)
    packed = pack_showings(5, None, ["a", "b"])
    assert list(intake.impressions["u"].values()) == [
        PackedImpression(5, packed, [False, True]),
        PackedImpression(5, pack_showings(5, None, ["c"]), [False]),
    ]
    assert [each.clicked for each in intake.impressions["v"].values()] == [[False]]
    assert (intake.newest_ms, intake.bad, intake.clicks) == (7, [], {})


def test_impressions_without_consent_or_articles_are_skipped() -> None:
    records = [shown("u", 5, ["a"], consent=False), shown("u", 6, [])]
    intake = sort_records(records, decoder_of("impressions", Topics()), NOW_MS)
    assert (intake.impressions, intake.num_skipped, intake.newest_ms) == ({}, 2, 0)


def wish(user: str, timestamp: int, *tags: str) -> Record:
    fields = {"user_id": user, "timestamp": timestamp, "blocked_tags": tags}
    return Record(json.dumps(fields).encode(), user.encode(), "preferences")


def test_the_newest_preferences_of_a_reader_count() -> None:
    topics = Topics()
    decode, decode_empty = (
        decoder_of("preferences", topics),
        empty_decoder_of("preferences", topics),
    )
    lifted = Record(None, b"w", "preferences", timestamp=8)
    ahead = Record(None, b"x", "preferences", timestamp=NOW_MS + 10**9)
    records = [wish("u", 7, "b", "a"), wish("u", 5), wish("v", 3, "c"), wish("w", 6, "d"), lifted]
    intake = sort_records([*records, ahead], decode, NOW_MS, decode_empty)
    found = {user: unpack_preferences(packed) for user, packed in intake.preferences.items()}
    told = {user: each and (each.timestamp, each.blocked_tags) for user, each in found.items()}
    assert told == {"u": (7, ["a", "b"]), "v": (3, ["c"]), "w": (8, []), "x": (NOW_MS, [])}
    # Read again from the beginning, old wishes must not turn back what the news are seen from.
    assert (intake.newest_ms, intake.bad) == (0, [])


def test_clicks_without_consent_are_skipped() -> None:
    intake = sort_records([click("u", "a", 1, consent=False)], decode_click, NOW_MS)
    assert (intake.clicks, intake.bad, intake.num_skipped) == ({}, [], 1)


def erasure(user: str, requested_at: int, sent: int = NOW_MS) -> Record:
    raw = json.dumps({"user_id": user, "requested_at": requested_at}).encode()
    return Record(raw, user.encode(), "erasures", timestamp=sent)


def test_erasures_count_from_their_request_or_their_message() -> None:
    topics = Topics()
    decode, decode_empty = decoder_of("erasures", topics), empty_decoder_of("erasures", topics)
    records = [
        erasure("u", 5),
        erasure("u", 7),
        erasure("u", 6),
        erasure("fast clock", NOW_MS + 9, NOW_MS - 1),
        Record(None, b"v", "erasures"),  # lets compaction remove an erasure: nothing to do
        Record(None, None, "erasures"),
        erasure("x" * 600, 5),
    ]
    intake = sort_records(records, decode, NOW_MS, decode_empty)
    assert intake.erasures == {"u": 7, "fast clock": NOW_MS - 1}
    assert [bad.letter.reason for bad in intake.bad] == ["empty", "invalid"]
    assert (intake.num_skipped, intake.newest_ms) == (1, 0)


def test_when_a_message_dated_ahead_was_sent_is_noted() -> None:
    records = [click("u", "a", NOW_MS), click("v", "a", NOW_MS + 5), click("v", "a", NOW_MS - 5)]
    assert sort_records(records, decode_click, NOW_MS).sent_ms == {"v": {NOW_MS + 5: NOW_MS}}
    visit = {"user_id": "u", "timestamp": NOW_MS + 3}
    for topic, more in (
        ("visits", {}),
        ("impressions", {"candidates": ["a"], "clicked": []}),
        ("preferences", {}),
    ):
        record = Record(json.dumps({**visit, **more}).encode(), topic=topic)
        intake = sort_records([record], decoder_of(topic, Topics()), NOW_MS)
        assert intake.sent_ms == {"u": {NOW_MS + 3: NOW_MS}}, topic
        unknown = record._replace(timestamp=-1)
        assert sort_records([unknown], decoder_of(topic, Topics()), NOW_MS).sent_ms == {}
