"""What a run is fed with: articles, and clicks in time order, generated or of a reading set."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from export.newsroom.articles import write_articles
from export.newsroom.text import LANGUAGES
from schemas.reading_set import ReadingSet
from schemas.records import Article, Click

START_MS = 1_767_571_200_000
"""2026-01-05: when the first article is published. Clicks begin when the last one is."""

ARTICLE_DAYS = 28
CLICK_HOURS = 24.0
READER_EXPONENT = 0.6
"""The busiest of 20,000 readers has 0.8 % of the clicks, and as good as none more than 1,024."""

ARTICLE_EXPONENT = 0.8
"""The most read of 5,000 articles has 4 % of the clicks."""

_MS_PER_HOUR = 3_600_000
_json = msgspec.json.Encoder()


@dataclass(frozen=True)
class Workload:
    """Articles and clicks."""

    name: str
    articles: list[Article]
    clicks: list[Click]
    num_readers: int

    def first(self, num_clicks: int) -> "Workload":
        """Return the same with its first clicks only."""
        if num_clicks >= len(self.clicks):
            return self
        return Workload(self.name, self.articles, self.clicks[:num_clicks], self.num_readers)


def generated(
    *,
    num_articles: int,
    num_readers: int,
    num_clicks: int,
    seed: int = 0,
    day: int = 0,
    reader_exponent: float = READER_EXPONENT,
) -> Workload:
    """Invent articles, and readers who click them by Zipf's law; the same for the same arguments.

    day: of the clicks; on each the same readers click, and the same articles are as popular.
    reader_exponent: 0 lets all readers click alike.
    """
    texts = write_articles(
        num_articles, LANGUAGES, START_MS, ARTICLE_DAYS, seed, lambda *_: None
    ).rows(LANGUAGES)
    articles = [msgspec.convert(row, Article) for row in texts]
    kinds = np.random.default_rng(seed)
    ranks = kinds.permutation(num_readers), kinds.permutation(num_articles)
    random = np.random.default_rng([seed, day])
    readers = ranks[0][zipf(random, num_readers, reader_exponent, num_clicks)]
    clicked = ranks[1][zipf(random, num_articles, ARTICLE_EXPONENT, num_clicks)]
    begin_ms = START_MS + (ARTICLE_DAYS + day) * 24 * _MS_PER_HOUR
    offsets = np.sort(random.integers(0, round(CLICK_HOURS * _MS_PER_HOUR), num_clicks))
    clicks = [
        Click(
            user_id=reader_id(reader),
            article_id=articles[article].article_id,
            timestamp=begin_ms + at_ms,
            event_id=f"e{day}-{number:08d}",
        )
        for number, (reader, article, at_ms) in enumerate(
            zip(readers.tolist(), clicked.tolist(), offsets.tolist(), strict=True)
        )
    ]
    return Workload("generated", articles, clicks, num_readers)


def of_reading_set(directory: Path, num_clicks: int) -> Workload:
    """Read the articles and the first clicks of a reading set."""
    reading_set = ReadingSet(directory)
    clicks = list(islice(reading_set.clicks(), num_clicks))
    num_readers = len({click.user_id for click in clicks})
    return Workload(reading_set.info.name, list(reading_set.articles()), clicks, num_readers)


def reader_id(number: int) -> str:
    """Name a generated reader."""
    return f"r{number:07d}"


def zipf(
    random: np.random.Generator, size: int, exponent: float, num_draws: int
) -> NDArray[np.int64]:
    """Draw numbers k below `size`, in proportion to k + 1 to the power of -exponent."""
    weights = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    ranks = np.searchsorted(np.cumsum(weights / weights.sum()), random.random(num_draws))
    drawn: NDArray[np.int64] = np.minimum(ranks, size - 1)
    return drawn


def message(click: Click) -> bytes:
    """Return a click as it is on the wire."""
    return _json.encode(click)
