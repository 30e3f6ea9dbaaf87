"""Which tags women, men, age bands and income groups like: counted over the training readers."""

from collections.abc import Sequence

import numpy as np

from export.data import Floats, Ints, ReaderData
from schemas.bundle import TagAffinity

AGE_BOUNDS = (25.0, 35.0, 45.0, 55.0, 65.0)
MAX_TAGS = 2_000

_EVIDENCE = 20.0  # clicks: with this many expected, a lift counts half


def learn_tag_affinity(data: ReaderData, max_clicks: int, max_tags: int = MAX_TAGS) -> TagAffinity:
    """Count the tags of the newest clicks of each training reader, segment by segment.

    lift = log((c + k) / (e + k)), where c are a segment's clicks on a tag, e those expected if
    the segment clicked like all readers, and k draws it to 0 where there is little evidence.
    """
    readers = data.readers_of("train")
    clicked = [data.clicks[data.newest(reader, max_clicks)] for reader in readers]
    tags = _frequent_tags(data.tags, clicked, max_tags)
    counts = _tag_counts(data.tags, clicked, tags)
    sizes = np.array([len(articles) for articles in clicked], dtype=np.float64)
    age, gender, income = data.age[readers], data.gender[readers], data.income[readers]
    bands = np.where(np.isnan(age), -1, np.searchsorted(AGE_BOUNDS, age, side="right"))
    return TagAffinity(
        tags=tags,
        num_income_groups=len(data.income_groups),
        age_bounds=list(AGE_BOUNDS),
        gender=_lift(counts, sizes, [gender == 1, gender == 0]),
        income=_lift(counts, sizes, [income == group for group in range(len(data.income_groups))]),
        age=_lift(counts, sizes, [bands == band for band in range(len(AGE_BOUNDS) + 1)]),
    )


def _frequent_tags(
    article_tags: Sequence[list[str]], clicked: list[Ints], max_tags: int
) -> list[str]:
    """Return the tags with the most clicks, most first, ties by name."""
    totals: dict[str, int] = {}
    flat = np.concatenate(clicked) if clicked else np.zeros(0, dtype=np.int64)
    for article, times in zip(*np.unique(flat, return_counts=True), strict=True):
        for tag in article_tags[article]:
            totals[tag] = totals.get(tag, 0) + int(times)
    return sorted(totals, key=lambda tag: (-totals[tag], tag))[:max_tags]


def _tag_counts(article_tags: Sequence[list[str]], clicked: list[Ints], tags: list[str]) -> Floats:
    """Count each reader's clicks on each tag: (R, tags)."""
    column = {tag: number for number, tag in enumerate(tags)}
    columns = [[column[tag] for tag in names if tag in column] for names in article_tags]
    counts = np.zeros((len(clicked), len(tags)))
    for row, articles in zip(counts, clicked, strict=True):
        for article in articles:
            row[columns[article]] += 1.0
    return counts


def _lift(
    counts: Floats, sizes: Floats, segments: Sequence[np.ndarray[tuple[int], np.dtype[np.bool_]]]
) -> list[list[float]]:
    """Return the shrunk log-lift of each segment over the readers whose segment is known."""
    everyone = np.logical_or.reduce(segments)
    share = counts[everyone].sum(0) / max(float(sizes[everyone].sum()), 1.0)
    rows = []
    for members in segments:
        expected = share * sizes[members].sum()
        lift = np.log((counts[members].sum(0) + _EVIDENCE) / (expected + _EVIDENCE))
        rows.append([round(float(value), 4) for value in lift])
    return rows
