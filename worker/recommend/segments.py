"""What readers of an age, an income or a gender like, learned from the stream.

A profile's probabilities are soft membership: the click of a reader who is a woman with
probability 0.7 counts 0.7 for women and 0.3 for men.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

AGE_BOUNDS = np.array([25.0, 35.0, 45.0, 55.0, 65.0])
"""Inner bounds of the age bands, in years."""

TRUST_AFTER = 20.0
"""Clicks of a segment on a tag, expected if it were like everybody, that halve the doubt."""


def segment_lift(
    tag_counts: Mapping[str, NDArray[np.float64]], names: Sequence[str], num_segments: int
) -> NDArray[np.float32]:
    """Return the lift of each segment on each tag, (S, G) float32, a third each of a mean.

    In natural logs: 0.7 means twice as often as everybody; 0 is neutral or not known. It is a
    third, so that the sum over gender, income and age is their mean.
    """
    table = np.zeros((len(names), num_segments + 1))
    for number, name in enumerate(names):
        counts = tag_counts.get(name)
        if counts is not None and len(counts) == num_segments + 1:
            table[number] = counts
    total = table.sum(axis=0)
    if total[-1] <= 0:
        return np.zeros((num_segments, len(names)), dtype=np.float32)
    expected = table[:, -1:] * (total[:-1] / total[-1])  # (G, S)
    lift = np.log((table[:, :-1] + TRUST_AFTER) / (expected + TRUST_AFTER)) / 3.0
    table32: NDArray[np.float32] = lift.T.astype(np.float32)
    return table32
