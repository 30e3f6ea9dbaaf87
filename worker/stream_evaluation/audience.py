"""What is known of a stream so far: who has clicked what, and which articles can be served."""

import numpy as np

from worker.stream_evaluation.protocol import Ints

_FIRST_CAPACITY = 16


class Audience:
    """Distinct clicks up to now: a reader and an article count once, however often they meet.

    Attributes:
        published_ms: (N,) int64, negative where not known.
        num_readers: (N,) int64, how many readers have clicked each article.
        num_pairs: distinct clicks of everybody.
    """

    def __init__(self, published_ms: Ints) -> None:
        self.published_ms = published_ms
        self.num_readers = np.zeros(len(published_ms), dtype=np.int64)
        self.num_pairs = 0
        self._held: dict[int, Ints] = {}  # with room to grow
        self._sizes: dict[int, int] = {}
        self._pairs: set[int] = set()

    def add(self, user: int, article: int) -> bool:
        """Count a click; return whether it is the reader's first on the article."""
        pair = user * len(self.published_ms) + article
        if pair in self._pairs:
            return False
        self._pairs.add(pair)
        size = self._sizes.get(user, 0)
        held = self._held.get(user)
        if held is None or size == len(held):
            grown = np.empty(max(_FIRST_CAPACITY, 2 * size), dtype=np.int64)
            if held is not None:
                grown[:size] = held
            self._held[user] = held = grown
        held[size] = article
        self._sizes[user] = size + 1
        self.num_readers[article] += 1
        self.num_pairs += 1
        return True

    def has_clicked(self, user: int, article: int) -> bool:
        """Say whether a reader has clicked an article."""
        return user * len(self.published_ms) + article in self._pairs

    def num_clicked(self, user: int) -> int:
        """Count the articles that a reader has clicked."""
        return self._sizes.get(user, 0)

    def history(self, user: int) -> Ints:
        """Return the articles that a reader has clicked, in the order of the first clicks."""
        held = self._held.get(user)
        return np.empty(0, dtype=np.int64) if held is None else held[: self._sizes[user]]

    def is_known(self, article: int, now_ms: int) -> bool:
        """Say whether an article can be served: published before now, or clicked by anybody.

        One without a time of publication always can.
        """
        return bool(self.num_readers[article] > 0 or self.published_ms[article] < now_ms)

    def num_known(self, now_ms: int) -> int:
        """Count the articles that can be served."""
        return int(np.count_nonzero((self.num_readers > 0) | (self.published_ms < now_ms)))
