"""Changes to JSON that a fuzzer of bytes hardly finds: other types, limits, nesting, odd text."""

import json
import random
from typing import Any

NAMES = (
    "user_id",
    "article_id",
    "event_id",
    "timestamp",
    "requested_at",
    "published_at",
    "candidates",
    "clicked",
    "impression_id",
    "blocked_tags",
    "blocked_articles",
    "profiling",
    "consent",
    "tags",
    "title",
    "body",
    "language",
    "age",
    "gender",
    "income_group",
    "event",
    "id",
    "item",
    "user",
    "session",
    "type",
    "fields",
    "name",
    "value",
    "tomorrow",
)

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    0.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    10**30,
    10**400,
    1_800_000_000_000,
    1_800_086_400_001,
    253_402_300_799_999,
    253_402_300_800_000,
    "",
    "0",
    "a",
    "{a}%:*?[x]",
    "\x00",
    "\n",
    "\u2028",
    "\ud800",
    "\udfff\ud800",
    "漢" * 171,
    "ä" * 257,
    "x" * 512,
    "x" * 513,
    "2020-01-01T00:00:00Z",
    "2020-01-01T00:00:00",
    "2020-01-01T24:00:00Z",
    "2016-12-31T23:59:60Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999999-23:59",
    "9" * 5000,
    "item",
    "interaction",
    "ranking",
    [],
    {},
    [[]],
    [None, 1, "a"],
    ["a"] * 65,
)


def mutated(raw: bytes, seed: int) -> bytes:
    """Return the message with one change, of JSON where it is such; else as it is."""
    draw = random.Random(seed)
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    try:
        return json.dumps(_changed(told, draw), ensure_ascii=draw.random() < 0.5).encode(
            errors="surrogatepass"
        )
    except (ValueError, RecursionError):
        return raw


def _changed(told: Any, draw: random.Random) -> Any:
    if isinstance(told, dict) and told and draw.random() < 0.9:
        name = draw.choice([*told])
        match draw.randrange(5):
            case 0:
                told.pop(name)
            case 1:
                told[draw.choice(NAMES)] = told[name]
            case 2:
                told[draw.choice(NAMES)] = draw.choice(ODD)
            case _:
                told[name] = _changed(told[name], draw)
        return told
    if isinstance(told, list) and told and draw.random() < 0.8:
        at = draw.randrange(len(told))
        match draw.randrange(3):
            case 0:
                return told * draw.choice((0, 2, 300))
            case 1:
                told.append(draw.choice(ODD))
            case _:
                told[at] = _changed(told[at], draw)
        return told
    if draw.random() < 0.1:
        for _ in range(draw.choice((1, 10, 600))):
            told = [told] if draw.random() < 0.5 else {draw.choice(NAMES): told}
        return told
    return draw.choice(ODD)
