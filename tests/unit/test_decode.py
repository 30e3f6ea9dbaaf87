"""What comes in from Kafka: every message is a record or has a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decode import (
    MAX_AHEAD_MS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
    decode_article,
    decode_click,
    decode_erasure,
    decode_impression,
    decode_no_preferences,
    decode_preferences,
    decode_reader_label,
)
from schemas.errors import InvalidMessageError
from schemas.records import MAX_ID_BYTES, MAX_MESSAGE_BYTES, Article, Click, Erasure, ReaderLabel
from schemas.timestamps import to_ms
from worker.intake import Decoder

NOW_MS = 1_800_000_000_000
CLICK = {"user_id": "u", "article_id": "a", "timestamp": NOW_MS, "event_id": "e"}


def click_bytes(**changes: object) -> bytes:
    return json.dumps({**CLICK, **changes}).encode()


def reason_of(raw: bytes | None) -> str:
    with pytest.raises(InvalidMessageError) as caught:
        decode_click(raw, NOW_MS)
    return caught.value.reason


@pytest.mark.parametrize(
    "timestamp",
    [1_600_000_000_000, "2020-09-13T12:26:40Z", "2020-09-13T14:26:40.000+02:00"],
)
def test_timestamps_are_rfc3339_or_epoch_milliseconds(timestamp: object) -> None:
    click = decode_click(click_bytes(timestamp=timestamp), NOW_MS)
    assert isinstance(click, Click)
    assert to_ms(click.timestamp) == 1_600_000_000_000


def test_unknown_fields_are_ignored() -> None:
    assert isinstance(decode_click(click_bytes(tomorrow={"x": [1]}), NOW_MS), Click)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b" " * (MAX_MESSAGE_BYTES + 1), "oversized"),
        (b"{", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b'{"user_id":"\xff"}', "malformed"),
        (b"[" * 100_000, "invalid"),
        (b'{"x":' + b"[" * 100_000, "malformed"),
        (b"null", "invalid"),
        (b"[]", "invalid"),
        (click_bytes(user_id=7), "invalid"),
        (click_bytes(user_id=""), "invalid"),
        (click_bytes(user_id=None), "invalid"),
        (click_bytes(user_id="ü" * (MAX_ID_BYTES // 2 + 1)), "invalid"),
        (click_bytes(user_id="\ud800"), "malformed"),
        (click_bytes(article_id="x" * 10_000), "invalid"),
        (click_bytes(timestamp="2020-09-13T12:26:40"), "invalid"),
        (click_bytes(timestamp="yesterday"), "invalid"),
        (click_bytes(timestamp=1.5), "invalid"),
        (click_bytes(timestamp=float("nan")), "malformed"),
        (click_bytes(timestamp=-1), "timestamp"),
        (click_bytes(timestamp=10**18), "timestamp"),
        (click_bytes(timestamp="0001-01-01T00:00:00Z"), "timestamp"),
        (click_bytes(timestamp=NOW_MS + MAX_AHEAD_MS + 1), "future"),
        (b'{"event":"interaction","id":"1"}', "invalid"),
        (b'{"event":"unheard-of"}', "invalid"),
    ],
)
def test_a_bad_message_has_a_reason(raw: bytes | None, reason: str) -> None:
    assert reason_of(raw) == reason


def test_a_click_up_to_a_day_ahead_is_taken() -> None:
    assert decode_click(click_bytes(timestamp=NOW_MS + MAX_AHEAD_MS), NOW_MS)


def test_the_detail_never_quotes_the_message() -> None:
    with pytest.raises(InvalidMessageError) as caught:
        decode_click(click_bytes(user_id=["secret"]), NOW_MS)
    assert "secret" not in str(caught.value)
    for raw in (b'{"event":"secret"}', b'{"event":"a - at `$.x"}'):
        with pytest.raises(InvalidMessageError) as caught:
            decode_click(raw, NOW_MS)
        assert str(caught.value) == "invalid: not one of the possible values - at `$.event`"
    with pytest.raises(InvalidMessageError, match=r"possible values - at `\$\.gender`"):
        decode_reader_label(b"u", b'{"user_id":"u","gender":"secret"}')


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(raw: bytes) -> None:
    for decode in (decode_click, decode_article, decode_erasure):
        try:
            decode(raw, NOW_MS)
        except InvalidMessageError as error:
            assert error.reason


def test_articles_and_clicks_may_share_a_topic() -> None:
    article = json.dumps({"article_id": "a", "title": "T"}).encode()
    for decode in (decode_click, decode_article):
        assert isinstance(decode(article, NOW_MS), Article)
        assert isinstance(decode(click_bytes(), NOW_MS), Click)


def test_an_article_may_be_published_later() -> None:
    raw = json.dumps({"article_id": "a", "published_at": NOW_MS * 2}).encode()
    assert isinstance(decode_article(raw, NOW_MS), Article)


def test_an_erasure_is_decoded() -> None:
    raw = json.dumps({"user_id": "u", "requested_at": "2020-01-01T00:00:00Z"}).encode()
    assert isinstance(decode_erasure(raw, NOW_MS), Erasure)


METARANK_INTERACTION = {
    "event": "interaction",
    "id": "e1",
    "timestamp": "1599391467000",
    "user": "user1",
    "session": "session1",
    "type": "purchase",
    "item": "item1",
    "fields": [],
}


@pytest.mark.parametrize("decode", [decode_click, decode_article])
def test_a_metarank_interaction_is_a_click(decode: Decoder) -> None:
    click = decode(json.dumps(METARANK_INTERACTION).encode(), NOW_MS)
    assert click == Click(
        user_id="user1",
        article_id="item1",
        timestamp=1_599_391_467_000,
        event_id="e1",
        session_id="session1",
    )


def test_a_metarank_interaction_without_user_is_the_sessions() -> None:
    click = decode_click(json.dumps({**METARANK_INTERACTION, "user": None}).encode(), NOW_MS)
    assert isinstance(click, Click)
    assert click.user_id == "session1"


def test_a_metarank_item_is_an_article() -> None:
    item = {
        "event": "item",
        "id": "81f46c34-a4bb-469c-8708-f8127cd67d27",
        "item": "item1",
        "timestamp": "2020-09-06T12:24:27Z",
        "fields": [
            {"name": "title", "value": "A title"},
            {"name": "genres", "value": ["drama", "comedy"]},
            {"name": "price", "value": 9.5},
        ],
    }
    article = decode_article(json.dumps(item).encode(), NOW_MS)
    assert isinstance(article, Article)
    assert (article.article_id, article.title) == ("item1", "A title")
    assert article.tags == ["drama", "comedy"]
    assert article.published_at is not None
    assert to_ms(article.published_at) == 1_599_395_067_000


@pytest.mark.parametrize("event", ["user", "ranking"])
def test_other_metarank_events_are_skipped(event: str) -> None:
    assert decode_click(json.dumps({"event": event, "id": "1"}).encode(), NOW_MS) is None


@pytest.mark.parametrize("changes", [{"type": "impression"}, {"type": "dislike"}])
def test_metarank_interactions_that_are_no_clicks_are_skipped(changes: dict[str, str]) -> None:
    raw = json.dumps({**METARANK_INTERACTION, **changes}).encode()
    assert decode_click(raw, NOW_MS) is None


@pytest.mark.parametrize("user", [None, ""])
def test_a_metarank_interaction_of_nobody_is_refused(user: str | None) -> None:
    raw = json.dumps({**METARANK_INTERACTION, "user": user, "session": user}).encode()
    assert reason_of(raw) == "invalid"


def test_a_metarank_update_of_other_fields_does_not_wipe_an_article() -> None:
    item = {"event": "item", "id": "x", "item": "a", "timestamp": "1599391467000"}
    fields = [{"name": "price", "value": 9.5}]
    assert decode_article(json.dumps({**item, "fields": fields}).encode(), NOW_MS) is None


def test_a_huge_metarank_timestamp_is_refused() -> None:
    assert reason_of(json.dumps({**METARANK_INTERACTION, "timestamp": "9" * 5000}).encode())


def test_an_article_may_name_its_author() -> None:
    told = {"article_id": "a", "title": "T", "author": {"user_id": "x"}, "user_id": "x"}
    raw = json.dumps({**told, "timestamp": NOW_MS}).encode()
    assert isinstance(decode_article(raw, NOW_MS), Article)


def test_tags_are_cut() -> None:
    raw = json.dumps({"article_id": "a", "tags": ["x" * 1000] + [str(i) for i in range(999)]})
    article = decode_article(raw.encode(), NOW_MS)
    assert isinstance(article, Article) and article.tags is not None
    assert len(article.tags) == MAX_TAGS
    assert article.tags[0] == "x" * MAX_TAG_CHARACTERS


@pytest.mark.parametrize(
    ("key", "raw", "reason"),
    [
        (None, None, "empty"),
        (b"\xff", b"{}", "malformed"),
        (b"u", b"{", "malformed"),
        (b"u", b" " * (MAX_MESSAGE_BYTES + 1), "oversized"),
        (b"u", b'{"user_id":"v","age":30}', "invalid"),
        (None, b'{"user_id":"u","age":30}', "invalid"),
        (b"u", b'{"user_id":"u","age":0}', "invalid"),
        (b"u", b'{"user_id":"u","age":121}', "invalid"),
        (b"u", b'{"user_id":"u","gender":"f"}', "invalid"),
        (b"u", b'{"user_id":"u","income_group":-1}', "invalid"),
    ],
)
def test_a_bad_label_has_a_reason(key: bytes | None, raw: bytes | None, reason: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        decode_reader_label(key, raw)
    assert caught.value.reason == reason


def test_a_label_without_a_value_is_withdrawn() -> None:
    assert decode_reader_label(b"u", None) == ReaderLabel(user_id="u")
    assert decode_reader_label(b"u", b'{"user_id":"u","age":30}').age == 30.0


IMPRESSION = {"user_id": "u", "timestamp": NOW_MS, "candidates": ["a", "b"], "clicked": ["b"]}


def test_an_impression_needs_no_id() -> None:
    found = decode_impression(json.dumps({**IMPRESSION, "page": "front"}).encode(), NOW_MS)
    assert (found.candidates, found.clicked, found.impression_id) == (["a", "b"], ["b"], None)
    assert found.consent


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": ""}, "invalid"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": NOW_MS + 25 * 3_600_000}, "future"),
        ({"candidates": None}, "invalid"),
        ({"candidates": ["a", ""]}, "invalid"),
        ({"candidates": ["ä" * 257]}, "invalid"),
        ({"candidates": ["a"] * 1001}, "invalid"),
        ({"clicked": "b"}, "invalid"),
        ({"impression_id": "x" * 513}, "invalid"),
    ],
)
def test_a_bad_impression_has_a_reason(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        decode_impression(json.dumps({**IMPRESSION, **changes}).encode(), NOW_MS)
    assert caught.value.reason == reason


def test_preferences_say_what_is_blocked() -> None:
    raw = b'{"user_id":"u","timestamp":5,"blocked_tags":["ad"],"more":1}'
    found = decode_preferences(raw, NOW_MS)
    assert (found.blocked_tags, found.blocked_articles) == (["ad"], [])
    emptied = decode_no_preferences(b"u", 7)
    assert (emptied.user_id, emptied.timestamp, emptied.blocked_tags) == ("u", 7, [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": ""}, "invalid"),
        ({"timestamp": NOW_MS + 25 * 3_600_000}, "future"),
        ({"blocked_tags": "ad"}, "invalid"),
        ({"blocked_tags": [""]}, "invalid"),
        ({"blocked_tags": ["x" * 129]}, "invalid"),
        ({"blocked_tags": [str(i) for i in range(65)]}, "invalid"),
        ({"blocked_tags": ["\ud800"]}, "malformed"),
        ({"blocked_articles": [str(i) for i in range(257)]}, "invalid"),
        ({"blocked_articles": ["ä" * 257]}, "invalid"),
    ],
)
def test_bad_preferences_have_a_reason(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        decode_preferences(json.dumps({"user_id": "u", "timestamp": 5, **changes}).encode(), NOW_MS)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("key", "timestamp_ms", "reason"),
    [(None, 5, "empty"), (b"\xff", 5, "malformed"), (b"u", -1, "timestamp")],
)
def test_nothing_is_lifted_without_a_key_and_a_time(
    key: bytes | None, timestamp_ms: int, reason: str
) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        decode_no_preferences(key, timestamp_ms)
    assert caught.value.reason == reason
