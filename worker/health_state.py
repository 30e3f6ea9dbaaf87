"""Whether a worker lives and whether it is ready, from what it has noted; no I/O.

A restart helps a worker that hangs. It does not help when Redis or Kafka is away, and workers that
are restarted all the time make the return of either harder: a worker that tries again and again to
reach what does not answer is alive, and says what it waits for.
"""

import time
from collections.abc import Callable
from typing import NamedTuple


class Verdict(NamedTuple):
    """An answer to a probe."""

    is_well: bool
    status: str
    why: tuple[str, ...] = ()
    """What is waited for, or is missing; fixed words."""


class HealthState:
    """What a worker notes of its progress.

    stall_s: how long without progress is too long while messages wait.
    """

    def __init__(self, stall_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_s = stall_s
        self._clock = clock
        self._well_at = clock()
        self._tries: dict[str, str] = {}
        self.has_catalogue = False
        self.has_partitions = False
        """Whether the group has said which are its own. A spare worker has none, and is ready."""
        self.is_stopping = False

    def stored(self, place: str) -> None:
        """Note that a batch is done. place: its topic."""
        self._well_at = self._clock()
        self._tries.pop(place, None)

    def tries_again(self, place: str, dependency: str) -> None:
        """Note that a batch waits for a service that does not answer."""
        self._tries[place] = dependency

    def is_live(self, num_waiting: int, brokers_answer: bool) -> Verdict:
        """Tell whether the worker gets on; to be asked every few seconds, or it looks stalled.

        num_waiting: messages for it that are not stored yet.
        """
        now = self._clock()
        if not num_waiting:
            self._well_at = now
        if now - self._well_at <= self._stall_s:
            return Verdict(True, "live")
        waits_for = set(self._tries.values())
        if not brokers_answer:
            waits_for.add("kafka")
        if waits_for:
            return Verdict(True, "waiting", tuple(sorted(waits_for)))
        return Verdict(False, "stalled")

    def is_ready(self) -> Verdict:
        """Tell whether the worker has all it needs to process messages."""
        missing = [
            name
            for name, is_there in (
                ("catalogue", self.has_catalogue),
                ("partitions", self.has_partitions),
                ("time: it is stopping", not self.is_stopping),
            )
            if not is_there
        ]
        return Verdict(not missing, "not ready" if missing else "ready", tuple(missing))
