"""Recommenders over made-up news, and what a test does with them."""

import numpy as np

from schemas.history import HEADER_BYTES, article_ref
from tests.unit.catalogues import article, catalogue
from worker.catalogue import Catalogue
from worker.reading import Reading, read, tag_interests
from worker.recommend.learn import count_click
from worker.recommend.options import Options, Selection
from worker.recommend.pages import Ranked, Tastes
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics

PLAIN = Options(
    selection=Selection(diversity=0.0, max_per_tag=0, explore_share=0.0), freshness_ms=0
)
NOBODY = bytes(HEADER_BYTES)


def recommender(news: Catalogue, options: Options = PLAIN) -> Recommender:
    return Recommender(news, Statistics(64), options)


def see(news: Catalogue, *histories: bytes) -> tuple[Reading, Tastes]:
    reading = read(list(histories), news, 16)
    interests = tag_interests(reading, news, 14.0)
    return reading, Tastes(interests, np.zeros_like(interests), None)


def shown(found: Ranked, news: Catalogue, reader: int = 0) -> list[str]:
    return [news.articles[row].article_id for row in found.rows[reader] if row >= 0]


def click(made: Recommender, article_id: str, time_ms: int, num: int = 1) -> None:
    (item,) = made.statistics.number(
        np.array([int.from_bytes(article_ref(article_id), "big")], dtype=np.int64)
    )
    for _ in range(num):
        count_click(
            made.statistics.items,
            made.statistics.co,
            int(item),
            time_ms,
            np.empty(0, dtype=np.int64),
        )


def many(num: int, seed: int = 0) -> Catalogue:
    random = np.random.default_rng(seed)
    return catalogue(
        *(
            article(
                f"a{i}",
                [f"t{tag}" for tag in random.choice(8, random.integers(0, 4), replace=False)],
                age_h=float(random.integers(1, 500)),
                language=str(random.choice(["en", "de"])),
                value=float(i),
            )
            for i in range(num)
        )
    )
