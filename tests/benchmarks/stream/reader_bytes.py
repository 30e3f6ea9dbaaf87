"""What a reader takes of Redis: profile, history of 32 clicks, recommendations."""

from statistics import median
from typing import Any, NamedTuple, cast

import redis

from schemas.history import ENTRY_BYTES, HEADER_BYTES, seal, unpack

CLICKS = 32
SAMPLE = 200

_SCRATCH_DB = 15


class ReaderBytes(NamedTuple):
    """Medians of `MEMORY USAGE`, which counts key, value and Redis's own bookkeeping."""

    profile: float
    history: float
    recommendations: float
    num_readers: int
    """How many were looked at."""

    @property
    def total(self) -> float:
        """Return the sum of the three."""
        return self.profile + self.history + self.recommendations


def reader_bytes(client: redis.Redis) -> ReaderBytes | None:
    """Measure readers of `CLICKS` clicks or more, their histories cut to so many; None without."""
    names = _long_histories(client)
    if not names:
        return None
    rows = [_of_reader(client, name) for name in names]
    profiles, histories, pages = zip(*rows, strict=True)
    return ReaderBytes(median(profiles), median(histories), median(pages), len(rows))


def _long_histories(client: redis.Redis) -> list[str]:
    found: list[str] = []
    least = HEADER_BYTES + CLICKS * ENTRY_BYTES
    batch: list[bytes] = []
    for name in client.scan_iter("history:*", 1000):
        batch.append(name)
        if len(batch) == 500:
            found += _of_length(client, batch, least)
            batch = []
        if len(found) >= SAMPLE:
            return found[:SAMPLE]
    return (found + _of_length(client, batch, least))[:SAMPLE]


def _of_length(client: redis.Redis, names: list[bytes], least: int) -> list[str]:
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.strlen(name)
    sizes = pipeline.execute()
    return [name.decode() for name, size in zip(names, sizes, strict=True) if size >= least]


def _of_reader(client: redis.Redis, name: str) -> tuple[int, int, int]:
    user = name.removeprefix("history:")
    body = unpack(cast("bytes", client.get(name)))
    ttl_ms = client.pttl(name)
    # In another database of the same Redis: the same name, time to live and allocator.
    pipeline: Any = client.pipeline(transaction=False)
    pipeline.memory_usage(f"profile:{user}", 0)
    pipeline.memory_usage(f"recs:{user}", 0)
    pipeline.execute_command("SELECT", _SCRATCH_DB)
    pipeline.set(name, seal(body[: CLICKS * ENTRY_BYTES]), px=ttl_ms)
    pipeline.memory_usage(name, 0)
    pipeline.delete(name)
    pipeline.execute_command("SELECT", 0)
    replies: list[Any] = pipeline.execute()
    return int(replies[0]), int(replies[4]), int(replies[1])
