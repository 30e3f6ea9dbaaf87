"""Recommenders that are easy to make: what any other must beat."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from worker.stream_evaluation.audience import Audience
from worker.stream_evaluation.kernels import LOWEST, add_cosines, add_interests, place
from worker.stream_evaluation.pages import TagTable
from worker.stream_evaluation.protocol import Floats, LoadedStream

HALF_LIVES_H = {"1 h": 1.0, "6 h": 6.0, "1 d": 24.0, "1 w": 168.0, "4 w": 672.0, "all": np.inf}

LAST_CLICKS = 10
"""How many of the reader's newest clicks co-clicks look at."""

MOST_CO_CLICKED = 20_000
"""The pairs of more articles than this would take more than 1.6 GB."""

_MS_PER_HOUR = 3_600_000.0


class Baseline:
    """Put every known article in the order of a score; see `protocol.StreamRecommender`.

    Repeated clicks of a reader on an article change nothing.
    """

    def __init__(self, stream: LoadedStream) -> None:
        self._audience = Audience(stream.published_ms)
        self._marks = np.zeros(stream.num_articles, dtype=np.int64)
        self._mark = 0

    def scores(self, user: int, now_ms: int) -> Floats:
        """Return the score of every article for a reader: (N,) float64."""
        raise NotImplementedError

    def count(self, user: int, article: int, now_ms: int) -> None:
        """Learn from a reader's first click on an article, which the audience does not hold yet."""

    def rank(self, user: int, now_ms: int, k: int) -> Sequence[int]:
        """Return the best articles, ties in random order."""
        return self.place(user, -1, now_ms, k)[1]

    def place(self, user: int, article: int, now_ms: int, k: int) -> tuple[float, Sequence[int]]:
        """Return the middle rank of an article and the page; see `protocol.PlacesTies`."""
        audience = self._audience
        page = np.full(k, -1, dtype=np.int64)
        self._mark += 1
        rank = place(
            self.scores(user, now_ms),
            audience.published_ms,
            audience.num_readers,
            now_ms,
            audience.history(user),
            self._marks,
            self._mark,
            article,
            page,
        )
        return rank, page[page >= 0].tolist()

    def score(self, user: int, articles: Sequence[int], now_ms: int) -> Sequence[float]:
        """Return the scores of some articles."""
        found: list[float] = self.scores(user, now_ms)[np.asarray(articles, np.int64)].tolist()
        return found

    def learn(self, user: int, article: int, now_ms: int) -> None:
        """Count a click."""
        if not self._audience.has_clicked(user, article):
            self.count(user, article, now_ms)
            self._audience.add(user, article)

    def shown(
        self, user: int, articles: Sequence[int], clicked: Sequence[int], now_ms: int
    ) -> None:
        """Learn nothing from an impression."""


class Chance(Baseline):
    """Put articles in random order, a new one each time."""

    def __init__(self, stream: LoadedStream, seed: int = 0) -> None:
        super().__init__(stream)
        self._rng = np.random.default_rng(seed)
        self._size = stream.num_articles

    def scores(self, user: int, now_ms: int) -> Floats:  # noqa: ARG002 chance looks at nothing
        """Draw a number for every article."""
        return self._rng.random(self._size)


class Popularity(Baseline):
    """Put the most clicked first; a click counts half after every half-life.

    half_life_h: in hours; infinite for all clicks alike.
    """

    def __init__(self, stream: LoadedStream, half_life_h: float) -> None:
        super().__init__(stream)
        self._half_life_ms = half_life_h * _MS_PER_HOUR
        self._counts = np.zeros(stream.num_articles)
        self._last_ms = np.zeros(stream.num_articles)
        # The logarithm of the count that would have faded to this one since time 0. It needs no
        # fading, since all fade alike, and neither underflows nor, asked about a moment before
        # the newest click, overflows.
        self._heights = np.full(stream.num_articles, LOWEST)

    def scores(self, user: int, now_ms: int) -> Floats:  # noqa: ARG002 the same order at all times
        """Return the logarithms of the fading counts, up to what all have in common."""
        return self._heights

    def count(self, user: int, article: int, now_ms: int) -> None:  # noqa: ARG002
        """Let the count fade until now and add one."""
        faded = 2.0 ** ((self._last_ms[article] - now_ms) / self._half_life_ms)
        count = self._counts[article] * faded + 1.0
        self._counts[article], self._last_ms[article] = count, now_ms
        self._heights[article] = np.log2(count) + now_ms / self._half_life_ms


class TaggedPopularity(Popularity):
    """Multiply popularity by how much of the reader's tags an article has."""

    def __init__(self, stream: LoadedStream, half_life_h: float = HALF_LIVES_H["1 w"]) -> None:
        super().__init__(stream, half_life_h)
        self._tags = TagTable(stream)
        self._interests = np.zeros(self._tags.num_tags)
        self._scores = np.zeros(stream.num_articles)

    def scores(self, user: int, now_ms: int) -> Floats:  # noqa: ARG002
        """Return the logarithms of the products."""
        history = self._audience.history(user)
        tags = self._tags
        add_interests(self._heights, history, tags.offsets, tags.ids, self._interests, self._scores)
        return self._scores


class Newest(Baseline):
    """Put the newest first, those without a time of publication last."""

    def __init__(self, stream: LoadedStream) -> None:
        super().__init__(stream)
        self._published = stream.published_ms.astype(np.float64)

    def scores(self, user: int, now_ms: int) -> Floats:  # noqa: ARG002 the same at all times
        """Return the times of publication."""
        return self._published


class CoClicks(Baseline):
    """Put first what was read together with the reader's last ten articles.

    Two articles are counted together when a reader clicks one within ten clicks of the other;
    the count is divided by the root of the product of their readers.

    Source: Sarwar, Karypis, Konstan, Riedl, "Item-based collaborative filtering recommendation
    algorithms", WWW 2001.
    """

    def __init__(self, stream: LoadedStream) -> None:
        super().__init__(stream)
        size = stream.num_articles
        self._together: NDArray[np.float32] = np.zeros((size, size), dtype=np.float32)
        self._scores = np.zeros(size)

    def scores(self, user: int, now_ms: int) -> Floats:  # noqa: ARG002
        """Add up the cosines with the last ten."""
        last = self._audience.history(user)[-LAST_CLICKS:]
        add_cosines(self._together, self._audience.num_readers, last, self._scores)
        return self._scores

    def count(self, user: int, article: int, now_ms: int) -> None:  # noqa: ARG002
        """Count the article together with the last ten."""
        last = self._audience.history(user)[-LAST_CLICKS:]
        self._together[article, last] += 1.0
        self._together[last, article] += 1.0


class ClickThrough(Baseline):
    """Put first what was clicked most often when it was shown, in impressions up to now.

    (clicks + p) / (shown + 1) with p the share of everything shown that was clicked.
    """

    def __init__(self, stream: LoadedStream) -> None:
        super().__init__(stream)
        self._shown = np.zeros(stream.num_articles)
        self._clicked = np.zeros(stream.num_articles)

    def scores(self, user: int, now_ms: int) -> Floats:  # noqa: ARG002 the same at all times
        """Return the smoothed ratios."""
        shown = self._shown.sum()
        rate = self._clicked.sum() / shown if shown else 0.0
        ratios: Floats = (self._clicked + rate) / (self._shown + 1.0)
        return ratios

    def shown(
        self,
        user: int,  # noqa: ARG002
        articles: Sequence[int],
        clicked: Sequence[int],
        now_ms: int,  # noqa: ARG002
    ) -> None:
        """Count an impression."""
        self._shown[list(articles)] += 1.0
        self._clicked[list(clicked)] += 1.0


def baselines_of(stream: LoadedStream) -> dict[str, Callable[[], Baseline]]:
    """Return how to make each baseline that the stream has the data for.

    To be made one by one: co-clicks hold a table of all pairs of articles.
    """
    made: dict[str, Callable[[], Baseline]] = {"random": partial(Chance, stream)}
    for name, half_life_h in HALF_LIVES_H.items():
        made[f"popularity {name}"] = partial(Popularity, stream, half_life_h)
    if (stream.published_ms >= 0).any():
        made["newest"] = partial(Newest, stream)
    if stream.num_articles <= MOST_CO_CLICKED:
        made["co-clicks"] = partial(CoClicks, stream)
    if stream.has_tags:
        made["tags × popularity"] = partial(TaggedPopularity, stream)
    if stream.impressions:
        made["click-through"] = partial(ClickThrough, stream)
    return made
