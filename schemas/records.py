"""The messages on the topics and the values in Redis, one frozen record each.

JSON on the wire. Rules of evolution: unknown fields are ignored, new fields have defaults, a
field's type never changes. `schemas/json_schema/` is generated from here (`python -m
schemas.json_schema`) and tested to be current.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from schemas.timestamps import Timestamp

MAX_ID_BYTES = 512
"""Longest accepted reader, article or event id, in UTF-8 bytes."""

_ID_SCHEMA: dict[str, Any] = {"description": f"At most {MAX_ID_BYTES} bytes of UTF-8."}
Id = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_ID_BYTES, extra_json_schema=_ID_SCHEMA)
]
Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Article(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of news, as published on the `articles` topic (key: article_id).

    A later message with the same article_id replaces the earlier one.
    """

    article_id: Id
    title: str | None = None
    body: str | None = None
    tags: list[str] | None = None
    published_at: Timestamp | None = None
    language: str | None = None


class Click(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A reader opened an article; the `clicks` topic (key: user_id).

    Two clicks with the same reader, event_id, article_id and timestamp are one click. Without an
    event_id, reader, article and timestamp identify it. A click with `consent` false is never
    used.
    """

    user_id: Id
    article_id: Id
    timestamp: Timestamp
    event_id: Id | None = None
    session_id: str | None = None
    consent: bool = True


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """A reader opens the front page; the `visits` topic (key: user_id).

    Answered by a new `Recommendation`, made with what everybody has clicked up to now: for a
    reader who has not clicked for a while, and for one who has never clicked.
    """

    user_id: Id
    timestamp: Timestamp


MAX_IMPRESSION_ARTICLES = 1000


class Impression(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader was shown at one moment, and what of it was clicked; topic `impressions`.

    One message, sent when it is known what was clicked: of several with the same reader, timestamp
    and impression_id the first counts. Without an impression_id the candidates identify it. The
    clicks are sent on `clicks`, too: an impression is not a click. One with `consent` false is
    never used. Of a reading set, a line of `impressions.jsonl.gz`.
    """

    user_id: Id
    timestamp: Timestamp
    candidates: Annotated[list[Id], msgspec.Meta(max_length=MAX_IMPRESSION_ARTICLES)]
    """Ids of the articles shown."""
    clicked: list[str]
    """Of the candidates; others are ignored."""
    impression_id: Id | None = None
    consent: bool = True


MAX_TAG_CHARACTERS = 128
"""Longest tag; an article's longer ones are cut."""

MAX_BLOCKED_TAGS = 64
MAX_BLOCKED_ARTICLES = 256
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TAG_CHARACTERS)]


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader does not want; the `preferences` topic (key: user_id) and Redis.

    Of several the one with the newest timestamp holds, and it holds whole. Empty lists and
    profiling, or a message without a value (which counts from its own time), lift everything.
    Answered by a new `Recommendation`. The key must be the user_id as it is, or nothing could be
    lifted.
    """

    user_id: Id
    timestamp: Timestamp
    blocked_tags: Annotated[list[Tag], msgspec.Meta(max_length=MAX_BLOCKED_TAGS)] = []
    """Written as the articles' tags are."""
    blocked_articles: Annotated[list[Id], msgspec.Meta(max_length=MAX_BLOCKED_ARTICLES)] = []
    profiling: bool = True
    """Whether age, income and gender may be inferred. If not, there is no `Profile`, and pages
    follow from what the reader reads alone."""


class AgeEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Age in years: the mean and standard deviation of a normal distribution."""

    years: float
    sd: Annotated[float, msgspec.Meta(gt=0.0)]


class IncomeEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The most probable income group (0-based) and the probability of each group."""

    group: Annotated[int, msgspec.Meta(ge=0)]
    probabilities: list[Probability]


class GenderEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The probability that the reader is a woman."""

    female: Probability


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Who the model thinks a reader is: `profile:{user_id}` in Redis and the `profiles` topic.

    A pure function of the reader's history and the model, but for `updated_at`. `tags` are the
    reader's own interests: weights that sum to 1, most read first, recent clicks count more.
    `num_clicks` counts the clicks held in the history; `num_known` those whose article is known,
    which are the ones the estimates rest on (the newest of them, up to the model's window). On the
    topic, no value says that nothing is known of the reader any more.
    """

    user_id: str
    age: AgeEstimate
    income: IncomeEstimate
    gender: GenderEstimate
    tags: dict[str, float]
    num_clicks: int
    num_known: int
    first_click: datetime
    last_click: datetime
    model_version: str
    updated_at: datetime


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One named share of an item's score, such as `tag:economy` 0.4."""

    name: str
    weight: float


class RecommendedItem(msgspec.Struct, frozen=True, kw_only=True):
    """A recommended article with its tags, its score and what the score is made of.

    The weights of `reasons` add up to `score`, up to rounding.
    """

    article_id: str
    score: float
    tags: list[str]
    reasons: list[Reason]


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """A reader's front page, best first: the `recommendations` topic (key: user_id) and Redis.

    `recommendation_id` is a function of the reader, the history and the model, so that a
    consumer can recognise a repeated one.
    """

    recommendation_id: str
    user_id: str
    items: list[RecommendedItem]
    model_version: str
    generated_at: datetime


class ServedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a page with the values of its features, in the order of the page's `features`."""

    article_id: str
    values: list[float]
    weights: list[float] = []
    """The page's weights, and what the article's age and last click add to them."""


class ServedFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """What a page was ranked by; the `served-features` topic (key: user_id), where it is logged.

    For training on what was served: `features` names each feature with its weight for this
    reader; an item's values times its own weights add up to its score. `seen_from` is the moment
    that the news were seen from.
    """

    recommendation_id: str
    seen_from: datetime
    features: dict[str, float]
    items: list[ServedItem]


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """A reader asked to be forgotten; the `erasures` topic (key: user_id).

    Everything of the reader that is dated up to then is deleted and never used, whatever is
    replayed. What comes later begins anew.
    """

    user_id: Id
    requested_at: Timestamp


class ReaderLabel(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader told of themselves in a form; the `reader-labels` topic (key: user_id).

    A later message with the same key replaces the earlier one; one without a value, or without
    any label, withdraws it. The key must be the user_id as it is, or nothing could be withdrawn.
    """

    user_id: Id
    age: Annotated[float, msgspec.Meta(gt=0.0, le=120.0)] | None = None
    """Age in years."""
    gender: Literal["female", "male"] | None = None
    income_group: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Counts from 0, lowest first."""


REPUBLISHED_FROM = "republished-from"
"""The header of a message that was a dead letter and was sent again: where the letter stands."""

PLACE = re.compile(r"[A-Za-z0-9._-]{1,249}\[[0-9]{1,10}\]@[0-9]{1,19}")
"""Where a message stands: topic[partition]@offset."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Why a message was put aside; the headers of a message on the `dead-letters` topic.

    Key and value are the original bytes. `truncated` says that together they were longer than
    `MAX_MESSAGE_BYTES` and only their beginnings are kept; `topic`, `partition` and `offset` point
    at the whole. `size` is that of the value, in bytes. `republished-from` is there where the
    message had been a dead letter before: that letter's topic[partition]@offset.
    """

    reason: str
    topic: str
    partition: int
    offset: int
    size: int = 0
    truncated: bool = False
    republished_from: str | None = msgspec.field(default=None, name=REPUBLISHED_FROM)

    def headers(self) -> list[tuple[str, bytes]]:
        """Return Kafka headers, one per field.

        >>> DeadLetter(reason="malformed", topic="clicks", partition=0, offset=7).headers()[0]
        ('reason', b'malformed')
        """
        headers = [
            ("reason", self.reason.encode()),
            ("topic", self.topic.encode()),
            ("partition", str(self.partition).encode()),
            ("offset", str(self.offset).encode()),
            ("size", str(self.size).encode()),
            ("truncated", b"true" if self.truncated else b"false"),
        ]
        if self.republished_from is not None:
            headers.append((REPUBLISHED_FROM, self.republished_from.encode()))
        return headers

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, bytes | None]]) -> "DeadLetter":
        """Read the record back from Kafka headers; others among them are ignored.

        >>> letter = DeadLetter(reason="oversized", topic="clicks", partition=3, offset=9, size=2)
        >>> DeadLetter.from_headers(letter.headers()) == letter
        True

        Raises:
            msgspec.ValidationError: when a header is missing or of the wrong type.
        """
        own = {name: value for name, value in headers if name in cls.__struct_encode_fields__}
        try:
            fields = {name: value.decode() for name, value in own.items() if value is not None}
        except UnicodeDecodeError as error:
            raise msgspec.ValidationError("a header is not UTF-8") from error
        return msgspec.convert(fields, cls, strict=False)


MAX_MESSAGE_BYTES = 1_000_000
"""Longest accepted message value; a longer one is dead-lettered as `oversized`."""

WIRE_RECORDS = (
    Article,
    Click,
    Visit,
    Impression,
    Preferences,
    Profile,
    Recommendation,
    ServedFeatures,
    Erasure,
    ReaderLabel,
    DeadLetter,
)
