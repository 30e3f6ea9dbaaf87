"""Which record is on which topic, in which direction, with an example: the contract as data."""

from typing import Any, Literal

import msgspec

from schemas import records, topics


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The messages of a topic, as the worker sees them."""

    topic: str
    """The usual name; each can be renamed by FRONTPAGE_TOPIC_…"""
    record: type[msgspec.Struct]
    direction: Literal["in", "out"]
    key: str
    """Whose id is the key."""
    empty: str | None = None
    """What a message without a value means; None where it means nothing."""
    is_traced: bool = False
    """Whether headers may carry a trace context: read of what comes in, and on what goes out where
    one led to it."""
    example: dict[str, Any]


_MOMENT = "2026-11-23T08:00:00Z"

MESSAGES = (
    Message(
        topic=topics.ARTICLES,
        record=records.Article,
        direction="in",
        key="article_id",
        empty="The article is withdrawn: it is recommended no more until it is published again.",
        example={
            "article_id": "a17",
            "title": "Rates fall",
            "body": "The central bank …",
            "tags": ["economy"],
            "published_at": _MOMENT,
            "language": "en",
        },
    ),
    Message(
        topic=topics.CLICKS,
        record=records.Click,
        direction="in",
        key="user_id",
        is_traced=True,
        example={
            "event_id": "e9",
            "user_id": "42",
            "article_id": "a17",
            "timestamp": 1795507200000,
        },
    ),
    Message(
        topic=topics.VISITS,
        record=records.Visit,
        direction="in",
        key="user_id",
        is_traced=True,
        example={"user_id": "42", "timestamp": 1795507200000},
    ),
    Message(
        topic=topics.IMPRESSIONS,
        record=records.Impression,
        direction="in",
        key="user_id",
        example={
            "user_id": "42",
            "timestamp": 1795507200000,
            "candidates": ["a23", "a17"],
            "clicked": ["a17"],
            "impression_id": "i3",
        },
    ),
    Message(
        topic=topics.PREFERENCES,
        record=records.Preferences,
        direction="in",
        key="user_id",
        empty="Everything that the reader did not want is lifted.",
        is_traced=True,
        example={
            "user_id": "42",
            "timestamp": 1795507200000,
            "blocked_tags": ["football"],
            "blocked_articles": ["a23"],
            "profiling": True,
        },
    ),
    Message(
        topic=topics.READER_LABELS,
        record=records.ReaderLabel,
        direction="in",
        key="user_id",
        empty="The reader's labels are withdrawn.",
        example={"user_id": "42", "age": 37, "gender": "female", "income_group": 4},
    ),
    Message(
        topic=topics.ERASURES,
        record=records.Erasure,
        direction="in",
        key="user_id",
        empty="Means nothing; it lets compaction remove a request that nothing needs any more.",
        example={"user_id": "42", "requested_at": _MOMENT},
    ),
    Message(
        topic=topics.PROFILES,
        record=records.Profile,
        direction="out",
        key="user_id",
        empty="Nothing is known of the reader any more: erased, or objects to profiling.",
        is_traced=True,
        example={
            "user_id": "42",
            "age": {"years": 61.4, "sd": 7.2},
            "income": {"group": 1, "probabilities": [0.3, 0.7]},
            "gender": {"female": 0.88},
            "tags": {"economy": 0.6, "local": 0.4},
            "num_clicks": 29,
            "num_known": 29,
            "first_click": "2026-10-27T07:35:04Z",
            "last_click": _MOMENT,
            "model_version": "0681385950a9",
            "updated_at": _MOMENT,
        },
    ),
    Message(
        topic=topics.RECOMMENDATIONS,
        record=records.Recommendation,
        direction="out",
        key="user_id",
        empty="The reader was erased.",
        is_traced=True,
        example={
            "recommendation_id": "9d2c",
            "user_id": "42",
            "items": [
                {
                    "article_id": "a23",
                    "score": 1.4,
                    "tags": ["economy"],
                    "reasons": [
                        {"name": "trending", "weight": 0.9},
                        {"name": "tag:economy", "weight": 0.5},
                    ],
                }
            ],
            "model_version": "0681385950a9",
            "generated_at": _MOMENT,
        },
    ),
    Message(
        topic=topics.SERVED_FEATURES,
        record=records.ServedFeatures,
        direction="out",
        key="user_id",
        empty="The reader was erased.",
        is_traced=True,
        example={
            "recommendation_id": "9d2c",
            "seen_from": _MOMENT,
            "features": {"trending-1h": 0.4, "fresh": 0.2},
            "items": [{"article_id": "a23", "values": [2.0, 1.0], "weights": [0.4, 0.6]}],
        },
    ),
    Message(
        topic=topics.DEAD_LETTERS,
        record=records.DeadLetter,
        direction="out",
        key="as received",
        example={
            "reason": "malformed",
            "topic": "clicks",
            "partition": 0,
            "offset": 7,
            "size": 12,
            "truncated": False,
        },
    ),
)
"""In the order of the dataflow. Of a dead letter the record is in the headers; key and value are as
they were received."""
