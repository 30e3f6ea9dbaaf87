"""What the baselines do for every article of a stream, as compiled loops."""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.stream_evaluation.protocol import Floats, Ints

LOWEST = -1e300
"""Below every other score: nobody has clicked the article, or it has nothing for the reader."""


@compiled
def place(
    scores: Floats,
    published_ms: Ints,
    num_readers: Ints,
    now_ms: int,
    own: Ints,
    marks: Ints,
    mark: int,
    article: int,
    page: Ints,
) -> float:
    """Fill a page from the best candidate on; return where an article stands among them.

    Candidates are the articles that are known (see `Audience.is_known`) but for the reader's own.
    Articles with equal scores share the middle of their ranks, and go on the page in a random
    order that `mark` decides.

    scores, published_ms, num_readers: (N,). own: (H,) articles. marks: (N,) scratch; mark: a
    number that was not used with it before. article: the number of one, or -1. page: (k,) filled
    with -1.
    """
    for each in own:
        marks[each] = mark
    target = scores[article] if article >= 0 else 0.0
    above = 0
    equal = 0
    is_candidate = False
    filled = 0
    best = np.zeros(len(page))
    lots = np.zeros(len(page), dtype=np.uint64)
    for item in range(len(scores)):
        if marks[item] == mark or not (num_readers[item] > 0 or published_ms[item] < now_ms):
            continue
        score = scores[item]
        if item == article:
            is_candidate = True
        elif score > target:
            above += 1
        elif score == target:
            equal += 1
        if filled == len(page) and score < best[filled - 1]:
            continue
        lot = _lot(np.uint64(item) ^ (np.uint64(mark) << np.uint64(32)))
        at = filled
        while at > 0 and (score > best[at - 1] or (score == best[at - 1] and lot > lots[at - 1])):
            at -= 1
        if at == len(page):
            continue
        filled = min(filled + 1, len(page))
        for below in range(filled - 1, at, -1):
            best[below] = best[below - 1]
            lots[below] = lots[below - 1]
            page[below] = page[below - 1]
        best[at] = score
        lots[at] = lot
        page[at] = item
    return above + equal / 2.0 if is_candidate else np.inf


@compiled
def add_cosines(together: NDArray[np.float32], num_readers: Ints, last: Ints, out: Floats) -> None:
    """Write into `out`, (N,), the sums of the cosines of each article with the `last`, (H,).

    together: (N, N) how often two were read together. num_readers: (N,) of each.
    """
    out[:] = 0.0
    for read in last:
        for item in range(len(out)):
            if together[read, item] > 0.0:
                product = float(num_readers[read]) * float(num_readers[item])
                out[item] += together[read, item] / np.sqrt(product)


@compiled
def add_interests(
    heights: Floats, history: Ints, offsets: Ints, ids: Ints, interests: Floats, out: Floats
) -> None:
    """Write into `out`, (N,), the heights plus the logarithm of each article's fit to a reader.

    The fit is the cosine of the article's tags with those of the history, (H,), up to what all
    articles have in common. Without any common tag the article goes last.

    heights: (N,). offsets, ids: see `pages.TagTable`. interests: (G,) scratch.
    """
    interests[:] = 0.0
    for read in history:
        begin, end = offsets[read], offsets[read + 1]
        for at in range(begin, end):
            interests[ids[at]] += 1.0 / np.sqrt(float(end - begin))
    for item in range(len(out)):
        begin, end = offsets[item], offsets[item + 1]
        fit = 0.0
        for at in range(begin, end):
            fit += interests[ids[at]] / np.sqrt(float(end - begin))
        out[item] = heights[item] + np.log2(fit) if fit > 0.0 else LOWEST


@compiled
def _lot(number: np.uint64) -> np.uint64:
    """Draw a number for a number: the finaliser of splitmix64.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))
