"""Reproducible chance: the same seed gives the same draws on any machine and any numpy."""

import zlib

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Chance:
    """One stream of draws, named by what it decides.

    Only raw 64-bit words are taken from numpy, since those are stable between its versions while
    its distributions are not. A stream per purpose keeps one decision from shifting the others.

    >>> bool((Chance(7, "ages").uniform(3) == Chance(7, "ages").uniform(3)).all())
    True
    """

    def __init__(self, seed: int, purpose: str) -> None:
        sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])
        self._bits = np.random.PCG64(sequence)

    def uniform(self, size: int) -> Floats:
        """Draw `size` numbers from [0, 1): (size,) float64."""
        words = np.asarray(self._bits.random_raw(size), dtype=np.uint64)
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, size: int) -> Floats:
        """Draw `size` standard normal numbers: (size,) float64.

        Source: Box and Muller (1958).
        """
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(size)))
        return np.asarray(radius * np.cos(2.0 * np.pi * self.uniform(size)), dtype=np.float64)

    def integers(self, high: int, size: int) -> Ints:
        """Draw `size` integers from 0 to `high` - 1: (size,) int64."""
        return (self.uniform(size) * high).astype(np.int64)

    def choices(self, weights: Floats, size: int) -> Ints:
        """Draw `size` indices in proportion to `weights` (n,): (size,) int64."""
        return pick_each(np.broadcast_to(weights, (size, len(weights))), self.uniform(size))

    def permutation(self, size: int) -> Ints:
        """Shuffle 0 .. `size` - 1: (size,) int64."""
        return np.argsort(self.uniform(size), kind="stable").astype(np.int64)


def pick(weights: Floats, point: float) -> int:
    """Choose the index at `point` (in [0, 1)) of the cumulated `weights` (n,).

    An index of weight zero is never chosen.

    >>> pick(np.array([1.0, 0.0, 3.0]), 0.25)
    2
    """
    cumulated = weights.cumsum()
    index = int(cumulated.searchsorted(point * cumulated[-1], side="right"))
    if index == len(weights):  # the product was rounded up to the total
        index = int(cumulated.searchsorted(cumulated[-1], side="left"))
    return index


def pick_each(weights: Floats, points: Floats) -> Ints:
    """Choose an index per row of `weights` (m, n) at `points` (m,): (m,) int64."""
    cumulated = weights.cumsum(axis=1)
    totals = cumulated[:, -1:]
    above = cumulated > np.minimum(points[:, None] * totals, np.nextafter(totals, 0.0))
    return np.asarray(above.argmax(axis=1), dtype=np.int64)
