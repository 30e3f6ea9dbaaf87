"""Sorting a chunk: nothing raises, nothing is lost."""

import json
from typing import NamedTuple

from schemas.decode import decode_click
from schemas.history import article_ref, pack_entry
from schemas.topics import Topics
from worker.intake import decoder_of, sort_records

NOW_MS = 1_800_000_000_000


class Record(NamedTuple):
    value: bytes | None
    key: bytes | None = b"k"
    topic: str = "clicks"
    partition: int = 3
    offset: int = 0


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


def test_a_decoder_that_fails_unforeseen_costs_one_message() -> None:
    def decode(raw: bytes | None, now_ms: int) -> None:
        raise KeyError(raw, now_ms)

    assert [bad.letter.reason for bad in sort_records([Record(b"")], decode, 0).bad] == ["invalid"]


def test_the_latest_of_an_articles_messages_counts() -> None:
    raw = [{"article_id": "a", "title": title} for title in ("old", "new")]
    records = [Record(json.dumps(each).encode(), topic="articles") for each in raw]
    intake = sort_records(records, decoder_of("articles", Topics()), NOW_MS)
    assert intake.articles["a"].title == "new"


def test_clicks_without_consent_are_skipped() -> None:
    intake = sort_records([click("u", "a", 1, consent=False)], decode_click, NOW_MS)
    assert (intake.clicks, intake.bad, intake.num_skipped) == ({}, [], 1)
