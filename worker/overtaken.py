"""Whoever may have been overtaken looks whether somebody else has stored something newer.

A worker that is frozen, or loses its partitions, after a batch is stored and before it is sent,
sends what its successor has replaced by then, and a compacted topic keeps the older profile. So who
is late, or has another place in the consumer group by then, sends what Redis holds after it.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas import keys
from worker.delivery import Update
from worker.reader_store import PageUpdate, ReaderUpdate
from worker.redis_client import Client, get_many


class Moment(NamedTuple):
    """When something began, and in which generation of the consumer group."""

    at_s: float
    generation: int


class Overtaken:
    """Tell whether another worker may have come between, and what is newer.

    generation: of the consumer group; another one with every rebalance. late_s: less than it takes
    the brokers to give a silent worker's partitions to others.
    """

    def __init__(
        self,
        client: Client,
        generation: Callable[[], int],
        late_s: float,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._generation = generation
        self._late_s = late_s
        self._clock_s = clock_s

    def now(self) -> Moment:
        """Return what `is_possible` compares with; to be asked before anything is read."""
        return Moment(self._clock_s(), self._generation())

    def is_possible(self, began: Moment) -> bool:
        """Tell whether readers may have been somebody else's since then."""
        is_late = self._clock_s() - began.at_s >= self._late_s
        return is_late or self._generation() != began.generation

    async def newer(self, sent: Sequence[Update]) -> list[Update]:
        """Return, to be sent, what Redis holds of those of whom it is not what was sent.

        Of an erased reader it holds nothing, and nothing is returned.
        """
        latest = {update.user_id: update for update in sent}
        names = [kind(user_id) for kind in (keys.profile, keys.recs) for user_id in latest]
        held = await get_many(self._client, names)
        size = len(latest)
        found: list[Update] = []
        for update, profile, page in zip(latest.values(), held[:size], held[size:], strict=True):
            if page is None or page == update.recommendation:
                continue
            if profile is None:
                found.append(PageUpdate(update.user_id, None, page))
            else:
                found.append(ReaderUpdate(update.user_id, None, b"", profile, page, ()))
        return found
