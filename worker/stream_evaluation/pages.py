"""What a page is like, clicked or not: novelty, diversity, fit to the reader's tags."""

from typing import NamedTuple

import numpy as np

from worker.compiled import compiled
from worker.stream_evaluation.audience import Audience
from worker.stream_evaluation.protocol import Floats, Ints, LoadedStream

CALIBRATION_ALPHA = 0.01
"""How much of the reader's distribution is mixed into the page's, so that no tag has none."""


class PageFigures(NamedTuple):
    """The figures of one page; NaN where not defined.

    Attributes:
        novelty: mean surprise of its articles in bits, −log2 of their share of all clicks.
        diversity: mean over pairs of 1 − Jaccard of their tags, 0 to 1.
        calibration: Kullback-Leibler divergence of the reader's tags from the page's, in nats.
    """

    novelty: float
    diversity: float
    calibration: float


class TagTable:
    """The tags of N articles as numbers, in one array.

    Attributes:
        offsets: (N + 1,) int64 where each article's tags begin in `ids`.
        ids: sorted within each article.
        num_tags: how many different ones there are.
    """

    def __init__(self, stream: LoadedStream) -> None:
        numbers: dict[str, int] = {}
        ids: list[int] = []
        offsets = [0]
        for tags in stream.tags:
            ids += sorted(numbers.setdefault(tag, len(numbers)) for tag in tags)
            offsets.append(len(ids))
        self.offsets: Ints = np.array(offsets, dtype=np.int64)
        self.ids: Ints = np.array(ids, dtype=np.int64)
        self.num_tags = len(numbers)


class PageMeter:
    """Measure pages as they are served."""

    def __init__(self, stream: LoadedStream) -> None:
        self._tags = TagTable(stream)
        self._own = np.zeros(self._tags.num_tags)
        self._served = np.zeros(self._tags.num_tags)

    def measure(self, page: Ints, user: int, audience: Audience) -> PageFigures:
        """Return the figures of a page, (P,) int64, for what everybody has clicked up to now.

        A share is (clicks + 1) / (all clicks + N): an article that nobody has clicked is
        surprising, not infinitely so. Each article spreads a weight of 1 over its tags.

        Source: Castells, Hurley, Vargas, "Novelty and Diversity in Recommender Systems", 2015;
        Ziegler et al., "Improving Recommendation Lists Through Topic Diversification", WWW 2005;
        Steck, "Calibrated Recommendations", RecSys 2018.
        """
        tags = self._tags
        novelty = _novelty(page, audience.num_readers, audience.num_pairs)
        if tags.num_tags == 0:
            return PageFigures(novelty, np.nan, np.nan)
        return PageFigures(
            novelty,
            _diversity(page, tags.offsets, tags.ids),
            _calibration(
                page, audience.history(user), tags.offsets, tags.ids, self._own, self._served
            ),
        )


@compiled
def _novelty(page: Ints, num_readers: Ints, num_pairs: int) -> float:
    if len(page) == 0:
        return np.nan
    total = 0.0
    for article in page:
        total -= np.log2((num_readers[article] + 1.0) / (num_pairs + len(num_readers)))
    return total / len(page)


@compiled
def _diversity(page: Ints, offsets: Ints, ids: Ints) -> float:
    total = 0.0
    num_pairs = 0
    for one in range(len(page)):
        first, first_end = offsets[page[one]], offsets[page[one] + 1]
        if first == first_end:
            continue
        for other in range(one):
            second, second_end = offsets[page[other]], offsets[page[other] + 1]
            if second == second_end:
                continue
            at, common = first, 0
            union = first_end - first + second_end - second
            while at < first_end and second < second_end:
                if ids[at] == ids[second]:
                    common += 1
                    at += 1
                    second += 1
                elif ids[at] < ids[second]:
                    at += 1
                else:
                    second += 1
            total += 1.0 - common / (union - common)
            num_pairs += 1
    return total / num_pairs if num_pairs else np.nan


@compiled
def _spread(articles: Ints, offsets: Ints, ids: Ints, out: Floats) -> int:
    num_tagged = 0
    for article in articles:
        begin, end = offsets[article], offsets[article + 1]
        for at in range(begin, end):
            out[ids[at]] += 1.0 / (end - begin)
        num_tagged += end > begin
    return num_tagged


@compiled
def _calibration(
    page: Ints, history: Ints, offsets: Ints, ids: Ints, own: Floats, served: Floats
) -> float:
    num_own = _spread(history, offsets, ids, own)
    num_served = _spread(page, offsets, ids, served)
    divergence = 0.0
    for article in history:
        for at in range(offsets[article], offsets[article + 1]):
            tag = ids[at]
            if own[tag] > 0.0:
                share = own[tag] / num_own
                other = served[tag] / num_served if num_served else 0.0
                mixed = (1.0 - CALIBRATION_ALPHA) * other + CALIBRATION_ALPHA * share
                divergence += share * np.log(share / mixed)
            own[tag] = 0.0  # both are left as they were found
    for article in page:
        for at in range(offsets[article], offsets[article + 1]):
            served[ids[at]] = 0.0
    return divergence if num_own and num_served else np.nan
