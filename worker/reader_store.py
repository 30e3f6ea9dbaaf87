"""Readers in Redis: read histories, write what was made of them, each in one round trip.

A write is a compare-and-set on the history: of two workers that own a reader for a moment, the
slower one is told, reads again and merges. So no update is lost and none is undone. Whoever read a
reader before an erasure is told as well.
"""

import struct
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from hashlib import sha1
from typing import NamedTuple, TypeAlias

import msgspec
from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError

from schemas import keys
from schemas.encoded import EncodedArticle
from schemas.history import HEADER_BYTES
from schemas.records import Profile, Recommendation
from worker.click_log import MAX_ENTRIES
from worker.erasure_marks import Marks
from worker.redis_client import Client, get_many
from worker.scripts import WRITE_PAGES, WRITE_READERS, WRITE_SHOWINGS

Get: TypeAlias = Callable[[Sequence[str]], Awaitable[list[bytes | None]]]

MODELS_REMEMBERED = 4
"""Under whose versions who waits for an article is looked for: that served now, and three more."""

READERS_PER_CALL = 128
"""Readers per script call: while it runs, Redis serves nobody else."""

_SCRIPT_SHA = sha1(WRITE_READERS.encode(), usedforsecurity=False).hexdigest()
_encoded_decoder = msgspec.msgpack.Decoder(EncodedArticle)


class ReaderUpdate(NamedTuple):
    """What is to be stored of one reader."""

    user_id: str
    held: bytes | None
    """The history that was read, or its header."""
    history: bytes
    profile: bytes
    """Empty of a reader who objects to profiling."""
    recommendation: bytes
    unknown: Sequence[bytes]
    """References of clicked articles that are not known yet and would change the profile."""
    told: bytes = b""
    """What the click log is told of the reader."""
    served: bytes | None = None
    """The record of the page's features, if they are logged."""
    preferences: bytes | None = None
    """Those that were read, and that the page heeds."""
    mark: bytes | None = None
    """That of an erasure, as it was read."""


class ShownUpdate(NamedTuple):
    """What a reader was shown, to be stored."""

    user_id: str
    held: bytes | None
    """The showings that were read."""
    showings: bytes
    told: bytes
    """What the click log is told of it."""
    mark: bytes | None = None
    """That of an erasure, as it was read."""


class PageUpdate(NamedTuple):
    """A front page made without a new click."""

    user_id: str
    held: bytes | None
    """The history it was made from."""
    recommendation: bytes
    """Empty where preferences alone are to be stored."""
    served: bytes | None = None
    preferences_held: bytes | None = None
    """Those that were read."""
    preferences: bytes | None = None
    """Those that the page heeds, to be stored."""
    mark: bytes | None = None
    """That of an erasure, as it was read."""


class Held(NamedTuple):
    """What Redis holds of some readers, and of some articles."""

    histories: list[bytes | None]
    showings: list[bytes | None]
    preferences: list[bytes | None]
    marks: Sequence[bytes | None]
    """Until when each reader has been erased; see `worker.erasure_marks`."""
    articles: list[EncodedArticle]
    """Those of the articles asked for that are there."""

    def of(self, part: slice) -> "Held":
        """Return what is held of some of the readers."""
        return Held(
            self.histories[part],
            self.showings[part],
            self.preferences[part],
            self.marks[part],
            [],
        )


class WriteResult(NamedTuple):
    """Which updates were not stored, and which missing articles have come since."""

    lost: set[str]
    """Readers whom somebody else has changed meanwhile."""
    appeared: set[bytes]
    """References, of those unknown to an update, that are in Redis after all."""


class ReaderStore:
    """Histories, profiles and recommendations of readers."""

    def __init__(self, client: Client, ttl_ms: int, model_version: str) -> None:
        self._client = client
        self._ttl_ms = ttl_ms
        self._model_version = model_version
        # Readers wait for an article under the model that did not know it; see `begin`.
        self._versions = [model_version]
        # One script call may only touch keys of one slot of a cluster.
        self.is_cluster = isinstance(client, RedisCluster)
        self._readers_per_call = 1 if self.is_cluster else READERS_PER_CALL
        # Asking for two more keys costs 5 us a reader, so not before anybody has one.
        self._reads_beside = False
        # Nor for marks before anybody has been erased.
        self._marks = Marks(client)

    async def begin(self, now_ms: int) -> None:
        """Note that this model is served, and look under those before it for who waits, too."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.zadd(keys.MODELS_SERVED, {self._model_version: now_ms})
        pipeline.zremrangebyrank(keys.MODELS_SERVED, 0, -1 - MODELS_REMEMBERED)
        pipeline.pexpire(keys.MODELS_SERVED, self._ttl_ms)
        pipeline.zrange(keys.MODELS_SERVED, 0, -1)
        served = [version.decode() for version in (await pipeline.execute())[-1]]
        self._versions = list(dict.fromkeys([self._model_version, *served]))

    async def read(
        self, user_ids: Sequence[str], article_refs: Sequence[bytes], get: Get | None = None
    ) -> Held:
        """Return what is held of readers and articles, in one round trip.

        get: reads the values of keys, in place of a command of its own.
        """
        size = len(user_ids)
        names = [keys.KEPT_BESIDE, keys.ERASURE_SECRET, *map(keys.history, user_ids)]
        if self._reads_beside:
            names += [*map(keys.showings, user_ids), *map(keys.preferences, user_ids)]
        first_mark = len(names)
        names += self._marks.names(user_ids)
        first_article = len(names)
        names += [keys.encoded(ref, self._model_version) for ref in article_refs]
        values = await (get_many(self._client, names) if get is None else get(names))
        misses_beside = bool(values[0]) and not self._reads_beside
        self._reads_beside = self._reads_beside or misses_beside
        if await self._marks.learn(values[1]) or misses_beside:
            return await self.read(user_ids, article_refs, get)
        articles = [_encoded_decoder.decode(raw) for raw in values[first_article:] if raw]
        beside = values[2 + size : first_mark] or [None] * (2 * size)
        marks = values[first_mark:first_article] or [None] * size
        return Held(values[2 : 2 + size], beside[:size], beside[size:], marks, articles)

    async def _note_beside(self) -> None:
        """Let every worker read showings and preferences; before the first of them is there."""
        self._reads_beside = True
        await self._client.set(keys.KEPT_BESIDE, b"1", px=self._ttl_ms)

    async def write(self, updates: Sequence[ReaderUpdate]) -> WriteResult:
        """Store the updates; say which lost a race and which missing articles have come."""
        try:
            return await self._write(updates)
        except NoScriptError:
            # A restarted or failed-over Redis has forgotten the script.
            await self._client.script_load(WRITE_READERS)
            return await self._write(updates)

    async def _write(self, updates: Sequence[ReaderUpdate]) -> WriteResult:
        pipeline = self._client.pipeline(transaction=False)
        # Registering comes before the profile: who is erased afterwards is found there, too. The
        # look comes after it: whoever stores the article looks for waiting readers after storing
        # it, so one of the two sees the other.
        waiting: dict[bytes, list[str]] = {}
        for update in updates:
            for ref in update.unknown:
                waiting.setdefault(ref, []).append(update.user_id)
        for ref, readers in waiting.items():
            name = keys.waiting(ref, self._model_version)
            pipeline.sadd(name, *readers)
            pipeline.pexpire(name, self._ttl_ms)
        starts = range(0, len(updates), self._readers_per_call)
        for start in starts:
            part = updates[start : start + self._readers_per_call]
            names, values = _script_arguments(part)
            if not self.is_cluster:
                names.append(keys.CLICK_LOG)
            marks, expected = self._guard(part)
            names += marks
            # By name: redis-py refuses `evalsha` in a cluster's pipeline, where one slot is fine.
            pipeline.execute_command(
                "EVALSHA",
                _SCRIPT_SHA,
                len(names),
                *names,
                self._ttl_ms,
                MAX_ENTRIES,
                *values,
                *expected,
            )
        for ref in waiting:
            pipeline.exists(keys.encoded(ref, self._model_version))
        replies = (await pipeline.execute())[2 * len(waiting) :]
        lost = {
            updates[start + number - 1].user_id
            for start, reply in zip(starts, replies, strict=False)
            for number in reply
        }
        # Somebody was faster; or has preferences that outlived the note that there are any.
        self._reads_beside = self._reads_beside or bool(lost)
        await self._leave_waiting(
            [each for each in updates if each.unknown and each.user_id in lost]
        )
        found = replies[len(starts) :]
        return WriteResult(lost, {ref for ref, known in zip(waiting, found, strict=True) if known})

    async def write_showings(self, updates: Sequence[ShownUpdate]) -> list[int]:
        """Store what was shown; return the indices of readers changed by somebody else meanwhile.

        On a single server the click log is told in the same call.
        """
        lost: list[int] = []
        await self._note_beside()
        script = self._client.register_script(WRITE_SHOWINGS)
        for start in range(0, len(updates), self._readers_per_call):
            part = updates[start : start + self._readers_per_call]
            names = [keys.showings(update.user_id) for update in part]
            if not self.is_cluster:
                names.append(keys.CLICK_LOG)
            values: list[bytes] = []
            for update in part:
                values += ((update.held or b"")[:HEADER_BYTES], update.showings, update.told)
            marks, expected = self._guard(part)
            reply = await script(
                keys=names + marks, args=[self._ttl_ms, MAX_ENTRIES, *values, *expected]
            )
            lost += [start + number - 1 for number in reply]
        return lost

    async def write_pages(self, pages: Sequence[PageUpdate]) -> list[int]:
        """Store front pages and what they heed.

        Returns the indices of those whose reader has clicked, or wished otherwise, meanwhile.
        """
        lost: list[int] = []
        if any(page.preferences != page.preferences_held for page in pages):
            await self._note_beside()
        script = self._client.register_script(WRITE_PAGES)
        for start in range(0, len(pages), self._readers_per_call):
            part = pages[start : start + self._readers_per_call]
            names: list[str] = []
            values: list[bytes] = []
            for page in part:
                user_id = page.user_id
                names += (keys.history(user_id), keys.recs(user_id), keys.preferences(user_id))
                values += (
                    (page.held or b"")[:HEADER_BYTES],
                    page.recommendation,
                    page.preferences_held or b"",
                    page.preferences or b"",
                )
            marks, expected = self._guard(part)
            reply = await script(keys=names + marks, args=[self._ttl_ms, *values, *expected])
            lost += [start + number - 1 for number in reply]
        self._reads_beside = self._reads_beside or bool(lost)
        return lost

    def _guard(
        self, part: Sequence[ReaderUpdate | ShownUpdate | PageUpdate]
    ) -> tuple[list[str], list[bytes | int]]:
        return self._marks.guard([each.user_id for each in part], [each.mark for each in part])

    async def _leave_waiting(self, updates: Sequence[ReaderUpdate]) -> None:
        """Take back what was registered of readers who were not stored: they may be erased."""
        pending: dict[bytes, list[str]] = {}
        for update in updates:
            for ref in update.unknown:
                pending.setdefault(ref, []).append(update.user_id)
        if pending:
            await self.done_waiting(pending)

    async def waiting(self, refs: Sequence[bytes]) -> dict[bytes, set[str]]:
        """Return, by article, the readers who clicked it before it was known."""
        pipeline = self._client.pipeline(transaction=False)
        names = [(ref, version) for ref in refs for version in self._versions]
        for ref, version in names:
            pipeline.smembers(keys.waiting(ref, version))
        found: dict[bytes, set[str]] = {}
        for (ref, _), members in zip(names, await pipeline.execute(), strict=True):
            if members:
                found.setdefault(ref, set()).update(member.decode() for member in members)
        return found

    async def done_waiting(self, served: Mapping[bytes, Collection[str]]) -> None:
        """Forget that these readers wait for these articles."""
        pipeline = self._client.pipeline(transaction=False)
        for ref, user_ids in served.items():
            for version in self._versions if user_ids else ():
                pipeline.srem(keys.waiting(ref, version), *user_ids)
        await pipeline.execute()

    async def set_aside(self, user_id: str, unreadable: bytes) -> None:
        """Keep a history that is not of a known format, so that the reader can start afresh."""
        await self._client.set(keys.unreadable(user_id), unreadable, px=self._ttl_ms)

    async def profile(self, user_id: str) -> Profile | None:
        """Return a reader's profile."""
        raw = await self._client.get(keys.profile(user_id))
        return None if raw is None else msgspec.json.decode(raw, type=Profile)

    async def recommendation(self, user_id: str) -> Recommendation | None:
        """Return a reader's front page."""
        raw = await self._client.get(keys.recs(user_id))
        return None if raw is None else msgspec.json.decode(raw, type=Recommendation)


def _script_arguments(updates: Sequence[ReaderUpdate]) -> tuple[list[str], tuple[bytes, bytes]]:
    names: list[str] = []
    values: list[bytes] = []
    for update in updates:
        names += keys.written(update.user_id)
        values += (
            (update.held or b"")[:HEADER_BYTES],
            update.history,
            update.profile,
            update.recommendation,
            update.told,
            update.preferences or b"",
        )
    return names, (struct.pack(f">{len(values)}I", *map(len, values)), b"".join(values))
