"""Erase readers from Redis, for good: what is held of them goes, a mark comes.

Of two workers one sees the other: the mark comes in the same script that deletes, the scripts that
write compare the mark, and a reader is put into the sets of those who wait for an article before
their history is written, and taken out of them after the mark is there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from schemas import keys
from schemas.history import HEADER_BYTES
from worker.bygone import later_entries, later_preferences
from worker.erasure_marks import Marks, time_of_mark
from worker.erasure_scripts import ERASE_READER
from worker.redis_client import Client, get_many

SETS_PER_CALL = 1000


class Left(NamedTuple):
    """What is still held of some readers after their erasure, as it is later than that."""

    history: set[str]
    preferences: set[str]


class ErasureStore:
    """Erase readers, and tell who else has been erased.

    ttl_ms: how long keys live. marks_ttl_ms: how long it is remembered that somebody was erased;
    None for ever.
    """

    def __init__(self, client: Client, ttl_ms: int, marks_ttl_ms: int | None) -> None:
        self._client = client
        self._ttl_ms = ttl_ms
        self._marks_ttl_ms = marks_ttl_ms
        self._marks = Marks(client, marks_ttl_ms)

    async def erase(self, times_ms: Mapping[str, int], now_ms: int) -> Left:
        """Erase what the readers did up to these times; again does no harm.

        Of a reader who came back before the erasure was processed, what is later stays, but for
        profile and page, which are to be made anew.
        """
        await self._marks.draw()
        await self.note_withdrawal()
        left = Left(set(), set())
        pending = list(times_ms)
        while pending:
            lost = set(await self._erase(pending, times_ms, now_ms, left))
            pending = [user_id for user_id in pending if user_id in lost]
        await self._leave_waiting(times_ms)
        return left

    async def _erase(
        self, user_ids: Sequence[str], times_ms: Mapping[str, int], now_ms: int, left: Left
    ) -> list[str]:
        """Erase readers in two round trips; return those who have changed between them."""
        size = len(user_ids)
        kinds = (keys.history, keys.showings, keys.preferences)
        names = self._marks.names(user_ids)
        names += [kind(user_id) for kind in kinds for user_id in user_ids]
        held = await get_many(self._client, names)
        pipeline = self._client.pipeline(transaction=False)
        asked = []
        for at, user_id in enumerate(user_ids):
            mark, history, showings, wishes = held[at::size]
            erased_ms = times_ms[user_id]
            if time_of_mark(mark) >= erased_ms:  # done before: what is held is later
                kept = (history or b"", showings or b"", wishes or b"")
            else:
                kept = (
                    later_entries(history, erased_ms, now_ms),
                    later_entries(showings, erased_ms, now_ms),
                    later_preferences(wishes, erased_ms, now_ms),
                )
                own = (names[at], *keys.of_reader(user_id))
                values: tuple[bytes | int, ...] = (
                    b"" if self._marks_ttl_ms is None else self._marks_ttl_ms,
                    self._ttl_ms,
                    mark or b"",
                    erased_ms,
                    *((history or b"")[:HEADER_BYTES], kept[0]),
                    *((showings or b"")[:HEADER_BYTES], kept[1]),
                    *(wishes or b"", kept[2]),
                )
                # By name, and with its text: rare, and a cluster's pipeline refuses `eval`.
                pipeline.execute_command("EVAL", ERASE_READER, len(own), *own, *values)
                asked.append(user_id)
            for group, packed in ((left.history, kept[0]), (left.preferences, kept[2])):
                (group.add if packed else group.discard)(user_id)
        replies = await pipeline.execute() if asked else []
        return [user_id for user_id, is_done in zip(asked, replies, strict=True) if not is_done]

    async def _leave_waiting(self, user_ids: Iterable[str]) -> None:
        """Take readers out of the sets of those who wait for an article."""
        members = list(user_ids)
        names: list[bytes] = []
        async for name in self._client.scan_iter(match=keys.WAITING, count=SETS_PER_CALL):
            names.append(name)
            if len(names) == SETS_PER_CALL:
                await self._remove(names, members)
                names.clear()
        await self._remove(names, members)

    async def _remove(self, names: Sequence[bytes], members: Sequence[str]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.srem(name, *members)
        if names:
            await pipeline.execute()

    async def note_withdrawal(self) -> None:
        """Let everybody who is about to send something of a reader look again."""
        await self._client.incr(keys.WITHDRAWALS)

    async def num_withdrawals(self) -> int:
        """Return how often something has been taken back."""
        held: Any = await self._client.get(keys.WITHDRAWALS)
        return int(held or 0)

    async def drop_profiles(self, user_ids: Sequence[str]) -> None:
        """Delete profiles alone."""
        await self.note_withdrawal()
        pipeline = self._client.pipeline(transaction=False)
        for user_id in user_ids:
            pipeline.delete(keys.profile(user_id))
        await pipeline.execute()

    async def without(self, user_ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the readers who have no profile, and those who have no page."""
        names = [kind(user_id) for kind in (keys.profile, keys.recs) for user_id in user_ids]
        held = await get_many(self._client, names)
        found = [
            [user_id for user_id, raw in zip(user_ids, part, strict=True) if raw is None]
            for part in (held[: len(user_ids)], held[len(user_ids) :])
        ]
        return found[0], found[1]

    async def marks(self, user_ids: Sequence[str]) -> list[int]:
        """Return until when each reader has been erased, epoch milliseconds; -1 of the others."""
        secret: Any = await self._client.get(keys.ERASURE_SECRET)
        if not secret:
            return [-1] * len(user_ids)
        names = [keys.erased(user_id, secret) for user_id in user_ids]
        return [time_of_mark(mark) for mark in await get_many(self._client, names)]
