"""The marks of erased readers: until when what they did is not to be used.

A mark is a time, under a name that is a keyed hash of the reader's id: it says that somebody was
erased, and not who. The key of the hash, the secret, is drawn when the first reader is erased.
As long as there is none, no worker asks for marks; afterwards they are read in the same command as
the histories, and the scripts that write compare them.
"""

import secrets
from collections.abc import Sequence
from typing import Any

from redis.asyncio import RedisCluster

from schemas import keys
from worker.redis_client import Client


class Marks:
    """What a worker knows of the marks: the secret of their names.

    ttl_ms: how long a mark lives; None for ever.
    """

    def __init__(self, client: Client, ttl_ms: int | None = None) -> None:
        self._client = client
        self._ttl_ms = ttl_ms
        # A script on one node of a cluster cannot look whether there is a secret by now: there it
        # is drawn at once.
        self._is_cluster = isinstance(client, RedisCluster)
        self._secret = b""

    async def learn(self, secret: bytes | None) -> bool:
        """Take note of the secret that was read; tell whether it is news, and marks were missed."""
        if secret is None and self._is_cluster:
            await self.draw()
            return True
        known, self._secret = self._secret, secret or b""
        return self._secret != known

    async def draw(self) -> None:
        """Make sure that there is a secret, and that it lives as long as a mark made now."""
        # In hexadecimal, for whoever looks into Redis.
        drawn = secrets.token_hex(16).encode()
        await self._client.set(keys.ERASURE_SECRET, drawn, nx=True)
        held: Any = await self._client.get(keys.ERASURE_SECRET)
        self._secret = held or b""
        if self._ttl_ms is not None:
            await self._client.pexpire(keys.ERASURE_SECRET, self._ttl_ms)

    def names(self, user_ids: Sequence[str]) -> list[str]:
        """Name the readers' marks; nothing as long as there are none."""
        secret = self._secret
        return [keys.erased(user_id, secret) for user_id in user_ids] if secret else []

    def guard(
        self, user_ids: Sequence[str], marks: Sequence[bytes | None]
    ) -> tuple[list[str], list[bytes | int]]:
        """Return what `GUARD` takes off the ends of KEYS and ARGV.

        marks: those that were read, of each reader.
        """
        names = self.names(user_ids)
        # In one argument: each costs the client a microsecond.
        read = b"".join((mark or b"") + b"," for mark in marks) if any(marks) else b""
        values: list[bytes | int] = [read, self._secret, len(names), int(not self._is_cluster)]
        return names if self._is_cluster else [*names, keys.ERASURE_SECRET], values


def time_of_mark(mark: bytes | None) -> int:
    """Return when a reader was erased, epoch milliseconds; -1 of one who was not."""
    return int(mark) if mark else -1
