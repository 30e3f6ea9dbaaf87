"""Entries of the click log, and statistics made of them."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from schemas.history import article_ref, pack_entry
from worker.recommend.click_log import Learned, pack_clicks
from worker.recommend.features import NUM_ARTICLE, NUM_FEATURES, NUM_STEPS
from worker.recommend.statistics import Statistics
from worker.terms import MAX_TERMS, article_terms, unpack_terms

NONE: NDArray[np.int64] = np.empty(0, dtype=np.int64)


def number(name: str) -> int:
    return int.from_bytes(article_ref(name), "big")


def entry(time: int, *names: str, gradient: bool = True) -> bytes:
    """Pack a click on the first article after clicks on the others."""
    body = b"".join(pack_entry(time - at, None, article_ref(each)) for at, each in enumerate(names))
    member = np.array([0.8, 0.2], dtype=np.float32)
    return pack_clicks(body, [0], member, lesson() if gradient else None, 1, 0)


def lesson() -> Learned:
    steps = np.linspace(-1, 1, NUM_STEPS * NUM_FEATURES).reshape(NUM_STEPS, NUM_FEATURES)
    steps[1:, NUM_ARTICLE:] = 0.0
    return Learned(steps, np.ones(NUM_FEATURES))


class Known:
    """Thirty articles, of which every fourth is about the same."""

    tags: ClassVar = {number(f"a{i}"): (f"t{i % 4}",) for i in range(30)}

    def tags_of(self, refs: NDArray[np.int64]) -> list[Sequence[str]]:
        return [self.tags.get(ref, ()) for ref in refs.tolist()]

    def terms_of(self, refs: NDArray[np.int64]) -> NDArray[np.int32]:
        terms = [unpack_terms(article_terms(None, None, tags)) for tags in self.tags_of(refs)]
        return np.array(terms).reshape(-1, MAX_TERMS)


def stream(num: int, seed: int = 0) -> list[bytes]:
    random = np.random.default_rng(seed)
    names = [f"a{i}" for i in range(30)]
    return [
        entry(10_000 * (at + 1), *random.choice(names, random.integers(1, 6), replace=False))
        for at in range(num)
    ]


def apply(statistics: Statistics, log: list[bytes]) -> Statistics:
    for each in log:
        statistics.apply(each, Known())
    return statistics
