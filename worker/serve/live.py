"""Readers who are watched: one poller asks Redis for all of them at once, and tells who changed.

Two keys a reader, four times a second, in one MGET: exact whatever happened meanwhile, on a single
server and on a cluster, and for a hundred readers some 600 KB that Redis sends. Keyspace
notifications would have to be switched on, are lost while a connection is away, and on a cluster
come from each node alone.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from worker.redis_client import ERRORS
from worker.serve.pages import StoredPages
from worker.serve.problems import Kind, ProblemError

POLL_S = 0.25
MAX_WATCHERS = 1000

logger = logging.getLogger(__name__)


class State(NamedTuple):
    """What is stored of a reader."""

    profile: bytes | None
    page: bytes | None


class Watch:
    """A reader who is watched, by one or more.

    state: the latest; None before the first look. changed: one for each who watches, set when
    the state has changed. Nobody falls behind by more than one state, however slowly they read.
    """

    def __init__(self) -> None:
        self.state: State | None = None
        self.changed: set[asyncio.Event] = set()

    def set(self, state: State) -> None:
        """Take what was read, and wake who watches if it is new."""
        if state != self.state:
            self.state = state
            for each in self.changed:
                each.set()


class Poller:
    """Look after the readers who are watched."""

    def __init__(self, pages: StoredPages) -> None:
        self._pages = pages
        self._watches: dict[str, Watch] = {}
        self._num_watchers = 0
        self._answers = True
        self.stopping = False

    @contextmanager
    def watching(self, user_id: str) -> Iterator[tuple[Watch, asyncio.Event]]:
        """Watch a reader meanwhile; the event is set whenever something is new.

        Raises:
            ProblemError: when too many watch already.
        """
        if self._num_watchers >= MAX_WATCHERS:
            raise ProblemError(Kind.BUSY)
        watch = self._watches.setdefault(user_id, Watch())
        changed = asyncio.Event()
        watch.changed.add(changed)
        self._num_watchers += 1
        try:
            yield watch, changed
        finally:
            self._num_watchers -= 1
            watch.changed.discard(changed)
            if not watch.changed:
                self._watches.pop(user_id, None)

    async def look(self) -> None:
        """Ask once for everybody who is watched."""
        user_ids = list(self._watches)
        if not user_ids:
            return
        states = await self._pages.both(user_ids)
        for user_id, state in zip(user_ids, states, strict=True):
            watch = self._watches.get(user_id)
            if watch is not None:
                watch.set(State(*state))

    async def run(self) -> None:
        """Look again and again, for as long as the server runs."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.look()
                self._answers = True
            except (*ERRORS, OSError) as error:
                if self._answers:  # once, and not four times a second
                    logger.warning("changes are not seen: %s", type(error).__name__)
                self._answers = False

    def stop(self) -> None:
        """Let every stream end."""
        self.stopping = True
        for watch in self._watches.values():
            for changed in watch.changed:
                changed.set()
