"""The dataflow, on one screen: what happens between fetched chunks and their commit.

    chunks ─► sort_records ─► articles: encode once ─► Redis, catalogue ─► readers who waited
                         ├─► withdrawn articles: Redis, catalogue
                         ├─► clicks: read histories ─► merge ─► infer ─► rank ─► learn
                         │           ─► Redis (compare and set, click log)
                         │           ─► profiles, recommendations
                         ├─► visits, preferences: read histories ─► infer ─► rank
                         │           ─► Redis (compare and set) ─► recommendations
                         ├─► impressions: read histories ─► learn ─► Redis (click log)
                         ├─► erasures: Redis (mark and delete) ─► tombstones
                         └─► bad: dead letters
    ─► Kafka ─► wait for every delivery ─► take back what is erased meanwhile ─► chunk.stored

The next batch of clicks begins when the one before is on its way to Kafka. At least once, and
harmless to repeat: whatever fails on the way, all of it is done again, and a history is a set.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from schemas.history import ENTRY_BYTES, REF_BYTES
from schemas.preferences import time_of
from schemas.topics import Topics
from worker.bygone import Sieve
from worker.chunks import Chunk, Record, place_of
from worker.click_log import ClickLog
from worker.delivery import Delivery, Update
from worker.erasures import Erasures
from worker.gate import Gate
from worker.gathering import Turn
from worker.health_state import HealthState
from worker.intake import BadMessage, Intake, decoder_of, empty_decoder_of, sort_records
from worker.metrics import Metrics
from worker.overtaken import Moment, Overtaken
from worker.reader_store import Held
from worker.redis_client import dependency_of, is_transient
from worker.serving import Serving
from worker.tracing import Span, begin_spans

MAX_BACKOFF_S = 5.0
READERS_PER_RENEWAL = 1000
OTHERS_FIRST_S = 1.0
PATIENCE_S = 0.01

logger = logging.getLogger(__name__)


class Pipeline:
    """Turn chunks of articles and clicks into stored profiles and emitted front pages."""

    def __init__(
        self,
        *,
        topics: Topics,
        serving: Serving,
        click_log: ClickLog,
        delivery: Delivery,
        erasures: Erasures,
        metrics: Metrics,
        health: HealthState,
        overtaken: Overtaken,
        is_pending: Callable[[str], bool] = lambda _: False,
        compare: Callable[[Sequence[Update]], None] = lambda _: None,
        is_traced: bool = False,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._topics = topics
        self._serving = serving
        self._gate = Gate()
        self._click_log = click_log
        self._delivery = delivery
        self._erasures = erasures
        self._metrics = metrics
        self._health = health
        self._overtaken = overtaken
        self._is_pending = is_pending
        self._compare = compare
        self._is_traced = is_traced
        self._first_topics = (topics.articles, topics.erasures)
        self._clock_ms = clock_ms
        self._newest_click_ms = 0
        self._num_in_progress = 0
        self._idle = asyncio.Condition()

    async def load_catalogue(self) -> int:
        """Learn every article that is in Redis; return how many."""
        await self._serving.readers.begin(self._clock_ms())
        await self._follow()
        await self._click_log.follow()
        self._serving.front_pages.prepare()
        return len(self._serving.catalogue)

    @property
    def serving(self) -> Serving:
        """The model that is served now, and what depends on it."""
        return self._serving

    async def exchange(self, serving: Serving) -> None:
        """Serve another model: with the next batch, when those in progress are stored."""
        await serving.readers.begin(self._clock_ms())
        await serving.articles.follow()  # encodes what this model has not seen yet
        serving.front_pages.prepare()
        async with self._gate.change():
            self._serving = serving
            self._click_log.look_in(serving.catalogue)

    async def idle(self) -> None:
        """Wait until nothing is in progress."""
        async with self._idle:
            await self._idle.wait_for(lambda: not self._num_in_progress)

    async def process(self, chunks: Sequence[Chunk], turn: Turn) -> None:
        """Store everything that follows from some chunks of a topic, however long it takes.

        Redis and Kafka may be away meanwhile. turn: of the topic.
        """
        self._num_in_progress += 1
        try:
            await self._process_until_stored(chunks, turn)
        finally:
            self._num_in_progress -= 1
            async with self._idle:
                self._idle.notify_all()

    async def _let_others_go_first(self) -> None:
        # A click costs the same again when its article comes after it, and one of before an erasure
        # is taken in for nothing. Where they have piled up, as after a start, articles and erasures
        # first; a stream of them delays no click for long.
        for _ in range(round(OTHERS_FIRST_S / PATIENCE_S)):
            if not any(map(self._is_pending, self._first_topics)):
                return
            await asyncio.sleep(PATIENCE_S)

    async def _process_until_stored(self, chunks: Sequence[Chunk], turn: Turn) -> None:
        attempt = 0
        while True:
            try:
                await self._process(chunks, turn)
                for chunk in chunks:
                    chunk.set_stored()
                self._health.stored(chunks[0].topic)
                return
            except Exception as error:
                if not is_transient(error):
                    raise
                attempt += 1
                self._metrics.failed(dependency_of(error))
                self._health.tries_again(chunks[0].topic, dependency_of(error))
                delay_s = random.uniform(0.5, 1.0) * min(MAX_BACKOFF_S, 0.1 * 2**attempt)
                logger.warning(
                    "%s: %s; again in %.1f s", place_of(chunks), type(error).__name__, delay_s
                )
                await asyncio.sleep(delay_s)

    async def _process(self, chunks: Sequence[Chunk], turn: Turn) -> None:
        async with turn.work:
            if chunks[0].topic not in self._first_topics:
                # In turn: a batch that looks a moment later would overtake one that waits here.
                await self._let_others_go_first()
            num_withdrawals, began = self._erasures.num_withdrawals, self._overtaken.now()
            records = [record for chunk in chunks for record in chunk.records]
            intake = self._sort(records)
            spans = begin_spans(intake.causes)
            sieve = Sieve(intake.sent_ms)
            async with self._gate.work():
                updates = await self._take(intake, sieve)
        # Next in line from here on: nothing is awaited in between.
        async with turn.delivery:
            await self._deliver(updates, intake.bad, began, spans)
        await self._erasures.look_again(updates, sieve.erased, num_withdrawals)
        self._compare(updates)
        self._metrics.sorted_out(records, intake)

    def _sort(self, records: Sequence[Record]) -> Intake:
        topic = records[0].topic
        decode = decoder_of(topic, self._topics)
        decode_empty = empty_decoder_of(topic, self._topics)
        with self._metrics.stage("decode"):
            now_ms, is_traced = self._clock_ms(), self._is_traced
            return sort_records(records, decode, now_ms, decode_empty, is_traced=is_traced)

    async def _take(self, intake: Intake, sieve: Sieve) -> list[Update]:
        """Store what follows; return what is to be emitted."""
        updates: list[Update] = []
        self._newest_click_ms = max(self._newest_click_ms, intake.newest_ms)
        if intake.erasures:
            returned = await self._erasures.take(intake.erasures)
            updates += await self._update({user_id: [] for user_id in sorted(returned)}, sieve)
        if intake.articles:
            refs = await self._serving.articles.take(intake.articles.values())
            await self._serve_waiting(refs)
        if intake.withdrawn:
            await self._serving.articles.withdraw(intake.withdrawn)
        if intake.clicks:
            updates += await self._update(intake.clicks, sieve)
        if intake.visits:
            updates += await self._welcome(intake.visits, {}, sieve)
        if intake.preferences:
            times_ms = {user_id: time_of(wish) for user_id, wish in intake.preferences.items()}
            updates += await self._welcome(times_ms, intake.preferences, sieve)
        if intake.impressions:
            _, news_ms = self._moment()
            await self._serving.impressions.take(intake.impressions, news_ms, sieve)
        return updates

    async def _update(self, clicks: dict[str, list[bytes]], sieve: Sieve) -> list[Update]:
        """Merge the clicks, by reader, and renew these readers' profiles and front pages.

        Returns what was stored, for Kafka.
        """
        renewed: list[Update] = []
        pending = clicks
        new = {entry[ENTRY_BYTES - REF_BYTES :] for entries in clicks.values() for entry in entries}
        missing = {ref for ref in new if ref not in self._serving.catalogue}
        appeared: set[bytes] = set()
        while pending:
            user_ids = list(pending)
            held = await self._read(user_ids, list(missing))
            for article in held.articles:
                self._serving.catalogue.put(article)
            pending = sieve.clicks(pending, held.marks)
            updates, results = await self._serving.renewals.store(pending, held, *self._moment())
            lost: set[str] = set().union(*(result.lost for result in results))
            stored = [update for update in updates if update.user_id not in lost]
            if self._serving.readers.is_cluster:
                await self._click_log.append(update.told for update in stored)
            renewed += stored
            served = {update.user_id for update in stored}
            await self._serving.readers.done_waiting(dict.fromkeys(appeared, served))
            # Once more for those whom another worker changed meanwhile, and for those who
            # clicked an article that came meanwhile.
            missing = set().union(*(result.appeared for result in results))
            appeared |= missing
            again = lost | {
                update.user_id for update in updates if not missing.isdisjoint(update.unknown)
            }
            pending = {user_id: pending[user_id] for user_id in again}
        return renewed

    async def _read(self, user_ids: Sequence[str], article_refs: Sequence[bytes] = ()) -> Held:
        """Return what is held of readers and articles; what all have clicked is counted by then."""
        with self._metrics.stage("read"):
            get = self._click_log.follow_and_get
            return await self._serving.readers.read(user_ids, article_refs, get)

    def _moment(self) -> tuple[int, int]:
        """Return what time it is, and from when the news are seen: epoch milliseconds."""
        now_ms = self._clock_ms()
        return now_ms, min(self._newest_click_ms or now_ms, now_ms)

    async def _welcome(
        self, times_ms: dict[str, int], wishes: dict[str, bytes], sieve: Sieve
    ) -> list[Update]:
        """Answer visits and wishes, until nobody is left whom another worker changed meanwhile.

        times_ms: when each reader came or wished. wishes: preferences to be stored, unless newer
        ones are held. Returns what was stored, for Kafka.
        """
        answers: list[Update] = []
        pending: Mapping[str, int] = times_ms
        while pending:
            held = await self._read(list(pending))
            if any(held.marks) and (erased := sieve.visitors(list(pending), pending, wishes, held)):
                pending = {name: pending[name] for name in pending if name not in erased}
                continue
            made = await self._serving.welcomes.store(pending, wishes, held, *self._moment())
            # Whoever reads the preferences from now on stores no profile of theirs.
            await self._erasures.drop_profiles(made.unprofiled)
            answers += made.stored
            pending = {name: pending[name] for name in made.lost}
        return answers

    async def follow_catalogue(self, interval_s: float) -> None:
        """Learn what other workers encode, for as long as the worker runs."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                async with self._gate.work():
                    await self._follow()
                    await self._click_log.follow()
                await self._click_log.checkpoint()
            except Exception as error:
                if not is_transient(error):
                    raise
                self._metrics.failed(dependency_of(error))
                logger.warning("catalogue not renewed: %s", type(error).__name__)

    async def _follow(self) -> None:
        await self._serving.articles.follow()
        await self._serve_waiting(self._serving.articles.unserved)
        self._serving.articles.unserved.clear()

    async def _serve_waiting(self, refs: Sequence[bytes]) -> None:
        """Renew the readers who clicked these articles before they were known, each once."""
        waiting = await self._serving.readers.waiting(refs)
        user_ids = sorted(set().union(*waiting.values()))
        for start in range(0, len(user_ids), READERS_PER_RENEWAL):
            part = user_ids[start : start + READERS_PER_RENEWAL]
            num_withdrawals, sieve = self._erasures.num_withdrawals, Sieve({})
            began = self._overtaken.now()
            updates = await self._update({user_id: [] for user_id in part}, sieve)
            await self._deliver(updates, (), began)
            await self._erasures.look_again(updates, sieve.erased, num_withdrawals)
        await self._serving.readers.done_waiting(waiting)

    async def _deliver(
        self,
        updates: Sequence[Update],
        bad: Collection[BadMessage],
        began: Moment,
        spans: Mapping[str, Span] | None = None,
    ) -> None:
        """Send what was stored and what is bad, and wait until all of it has arrived.

        began: before anything was read; see `Overtaken`.
        """
        await self._delivery.deliver(updates, bad, spans)
        while updates and self._overtaken.is_possible(began):
            began = self._overtaken.now()
            await self._delivery.deliver(await self._overtaken.newer(updates))
