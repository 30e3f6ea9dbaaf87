"""What goes into the pipeline beside clicks, and what comes out of it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.recommend.readers import Kind


class Ranked(NamedTuple):
    """The pages of B readers, best first.

    Attributes:
        rows: (B, k) int64 catalogue rows, -1 where there is no more.
        scores: (B, k) float32, comparable within a page; a difference of 1 is e times as likely.
        features: (B, k, F) float32, scaled.
        weights: (B, k, F) float64, of each article for the reader.
        reader_weights: (B, F) float64, those for any article.
        linked: (B, k) int64 row of the clicked article that it is most co-clicked with, or -1.
        explored: (B, k) bool, whether it is shown to learn about it.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    features: NDArray[np.float32]
    weights: NDArray[np.float64]
    reader_weights: NDArray[np.float64]
    linked: NDArray[np.int64]
    explored: NDArray[np.bool_]

    @property
    def shares(self) -> NDArray[np.float64]:
        """What of the score comes from each feature, (B, k, F); they add up to it."""
        return self.features * self.weights


class Tastes(NamedTuple):
    """What the profiles of B readers say of G tags.

    Attributes:
        interests: (B, G) float32, the reader's own interest in each tag.
        affinity: (B, G) float32, what readers like this one like, as the bundle knows it.
        membership: (B, S) float32 in the segments of readers; None without inferred profiles.
    """

    interests: NDArray[np.float32]
    affinity: NDArray[np.float32]
    membership: NDArray[np.float32] | None


class Lesson(NamedTuple):
    """What the blend learns from a click; see `lessons.learn_click`.

    Attributes:
        gradient: (NUM_STEPS, F).
        spread: (F,).
        kind: the reader's.
    """

    gradient: NDArray[np.float64]
    spread: NDArray[np.float64]
    kind: Kind
