"""Tiny reading sets on disk, for the tests of training and evaluation."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

YOUNG = "gaming console streamer esports level boss quest guild"
OLD = "pension garden museum opera retirement grandchild orchard choir"
SHARED = "today report people city week news according government"


def write_reading_set(
    out: Path,
    *,
    articles: Iterable[dict[str, Any]],
    users: Iterable[dict[str, Any]],
    clicks: Iterable[dict[str, Any]],
    **info: Any,
) -> Path:
    """Write the records as they are."""
    out.mkdir(parents=True)
    (out / "dataset.json").write_bytes(msgspec.json.encode({"name": "tiny", **info}))
    for name, records in (("articles", articles), ("users", users), ("clicks", clicks)):
        with gzip.open(out / f"{name}.jsonl.gz", "wb") as file:
            file.writelines(msgspec.json.encode(record) + b"\n" for record in records)
    return out


def write_easy_set(out: Path, *, num_readers: int = 120, seed: int = 0) -> Path:
    """Write a set in which old women and young men read plainly different words."""
    rng = np.random.default_rng(seed)
    articles = []
    for number in range(60):
        own = (YOUNG if number % 2 else OLD).split()
        words = [*rng.choice(own, 8), *rng.choice(SHARED.split(), 12)]
        articles.append(
            {
                "article_id": f"a{number}",
                "title": " ".join(words[:4]),
                "body": " ".join(words[4:]),
                "tags": ["play" if number % 2 else "rest"],
            }
        )
    users, clicks = [], []
    for number in range(num_readers):
        young = number % 2
        users.append(
            {
                "user_id": f"u{number}",
                "age": float(rng.normal(25 if young else 65, 4)),
                "gender": "male" if young else "female",
                "income_group": int(young),
                "split": ("train", "train", "valid", "test")[number // 2 % 4],
            }
        )
        for step, pick in enumerate(rng.choice(30, 6, replace=False)):
            clicks.append(
                {
                    "user_id": f"u{number}",
                    "article_id": f"a{2 * pick + young}",
                    "timestamp": 1_700_000_000_000 + step * 3_600_000,
                    "event_id": f"e{number}-{step}",
                }
            )
    return write_reading_set(
        out, articles=articles, users=users, clicks=clicks, num_income_groups=2
    )
