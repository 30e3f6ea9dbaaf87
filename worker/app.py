"""The composition root: settings in, a Faust app out. Nothing is connected before it starts.

articles ────┐
clicks ──────┤
visits ──────┼─► agent ─► gatherer ─► pipeline.process(chunks) ─► Redis, Kafka ─► commit
impressions ─┤
preferences ─┤
erasures ────┘
"""

import asyncio
import gc
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import faust
import msgspec
from faust.types import StreamT
from yarl import URL

from schemas.errors import SettingsError, WorkerFaultError
from worker import faults
from worker.article_store import ArticleStore
from worker.bundle_watch import BundleWatch
from worker.chunks import Chunk
from worker.click_log import ClickLog
from worker.consumer_group import has_worked_before
from worker.delivery import Delivery
from worker.emitter import Emitter
from worker.erasure_store import ErasureStore
from worker.erasures import Erasures
from worker.gathering import Gatherer
from worker.health_state import HealthState
from worker.kafka_security import consumer_config, librdkafka_config
from worker.lag import Lag
from worker.logs import set_up_logging
from worker.metrics import Metrics
from worker.model import Model
from worker.operations import Operations, listen
from worker.overtaken import Overtaken
from worker.pipeline import Pipeline
from worker.recommend.options import read_options
from worker.recommend.statistics import Statistics
from worker.recommend.warm import warm_up
from worker.redis_client import Client, connect
from worker.serving import Workshop, catalogue_of
from worker.settings import PREFIX, Settings
from worker.shadow import Shadow
from worker.transport import CODEC, Consumer, NoTables

FOLLOW_INTERVAL_S = 0.5
"""How soon an article that another worker encoded is known here."""

DRAIN_S = 6.0
"""How long a stopping worker waits for the chunk in progress and its commit."""

NEW_OBJECTS_PER_COLLECTION = 80_000
"""Ten for each click of a large batch; all but some exceptions go by counting references."""

LAST_RESORT_S = 9.0
"""When a stopping worker leaves without more ado: container platforms kill after 10 s."""

logger = logging.getLogger(__name__)


class App(faust.App):
    """A Faust app that knows its catalogue before the first click and drains before it stops."""

    pipeline: Pipeline
    gatherers: Sequence[Gatherer] = ()
    redis: Client
    consumer_config: Mapping[str, Any]
    metrics: Metrics
    operations: Operations
    health: HealthState
    bundles: BundleWatch
    shadow: Shadow | None
    has_lost_state: Callable[[], bool]

    async def on_start(self) -> None:
        """Load the catalogue, then let Faust start consuming."""
        await self.operations.start()
        num_articles = await self.pipeline.load_catalogue()
        logger.info("catalogue: %d articles", num_articles)
        self.health.has_catalogue = True
        if await asyncio.to_thread(self.has_lost_state):
            logger.warning(
                "Redis is empty, but clicks have been processed before: histories hold what comes "
                "from now on; stop the workers and run `frontpage rebuild`"
            )
        leave_alone_what_stays()
        await super().on_start()

    async def on_started(self) -> None:
        """Process what comes, and follow the catalogue, from now on."""
        for gatherer in self.gatherers:
            self.add_future(self._process(gatherer))
        self.add_future(self._run("catalogue", self.pipeline.follow_catalogue(FOLLOW_INTERVAL_S)))
        self.add_future(self._run("operations", self.operations.look()))
        self.add_future(self._run("bundle", self.bundles.follow()))
        if self.shadow is not None:
            self.add_future(self.shadow.run())
        await super().on_started()

    async def _process(self, gatherer: Gatherer) -> None:
        fault = None
        try:
            await gatherer.run()
        except Exception as error:
            # A fault of ours. Going on would leave a gap that is never committed: stop, so that
            # the operator sees it and the chunks are delivered again.
            fault = without_text(error, gatherer.place)
        if fault is not None:
            await self.crash(fault)

    async def _run(self, name: str, work: Awaitable[None]) -> None:
        fault = None
        try:
            await work
        except Exception as error:
            fault = without_text(error, name)
        if fault is not None:
            await self.crash(fault)

    async def drain(self, *_: Any, **__: Any) -> None:
        """Finish the chunks in progress and commit them; a crash leaves both to the next."""
        self.health.is_stopping = True
        if self.crashed:
            return
        for gatherer in self.gatherers:
            gatherer.stop()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.pipeline.idle()
                if self.consumer.assignment():
                    await self.consumer.commit()
        except TimeoutError:
            logger.warning("stopped with a chunk in progress: it will be delivered again")

    async def on_stop(self) -> None:
        """Stop within the time that container platforms give, whatever does not answer."""
        # Without brokers a commit and leaving the group may take for ever. What is not committed
        # is delivered again, so leaving at once costs nothing but the repetition.
        watchdog = threading.Timer(LAST_RESORT_S, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Close Redis."""
        await super().on_shutdown()
        await self.operations.stop()
        await self.redis.aclose()


def build_app(settings: Settings, model: Model) -> App:
    """Put the worker together; what ranks is compiled by then."""
    listening = listen(settings)
    warm_up()
    redis = connect(settings)
    options = read_options(settings.recommend_file, settings.market)
    if settings.wait_for_fits:
        options = msgspec.structs.replace(options, freshness_ms=0)
    statistics = Statistics(settings.co_click_slots, options.blend, learned=model.blend)
    catalogue = catalogue_of(model)
    click_log = ClickLog(redis, statistics, catalogue, settings.ttl_ms, settings.wait_for_fits)
    app = _faust_app(settings)
    client_config = librdkafka_config(settings)
    metrics, health = Metrics(), HealthState(settings.stall_s)
    lag = Lag(client_config, settings.app_id)
    workshop = Workshop(settings, options, redis, statistics, click_log, metrics)
    emitter = Emitter(client_config)
    shadow = None
    if settings.shadow_bundle is not None:
        shadow = Shadow(
            settings.shadow_bundle,
            settings.shadow_share,
            lambda: pipeline.serving.catalogue,
            ArticleStore(redis, settings.ttl_ms, "").texts,
            metrics,
        )
    pipeline = Pipeline(
        topics=settings.topics,
        serving=workshop.build(model, catalogue),
        click_log=click_log,
        delivery=Delivery(emitter, settings.topics, metrics),
        erasures=Erasures(
            ErasureStore(redis, settings.ttl_ms, settings.marks_ttl_ms),
            lambda: Emitter(client_config),
            settings.topics,
            log_features=settings.log_features,
        ),
        metrics=metrics,
        health=health,
        # Half of it: a worker is silent from its last heartbeat on, which is up to a third ago.
        overtaken=Overtaken(
            redis, lambda: app.consumer_generation_id, settings.session_timeout_s / 2
        ),
        is_pending=lambda topic: _consumer(app).has_unstored(topic),
        compare=(lambda _: None) if shadow is None else shadow.offer,
        is_traced=settings.trace,
    )

    def num_articles() -> int:
        return len(pipeline.serving.catalogue)

    metrics.serves(model.manifest)
    metrics.watch(lag.by_partition, num_articles, lambda: emitter.num_failures)
    app.operations = Operations(listening, settings.http_token, metrics, health, lag)
    app.health = health

    async def take_up(new: Model) -> None:
        serving = workshop.build(new)
        await pipeline.exchange(serving)
        statistics.begin_with(new.blend)
        metrics.serves(new.manifest, swapped=True)
        version = new.manifest.model_version
        logger.info("model %s is served, with %d articles", version, num_articles())
        leave_alone_what_stays()

    app.shadow = shadow
    app.bundles = BundleWatch(settings.bundle, model, take_up, metrics)
    app.pipeline = pipeline
    app.redis = redis
    app.has_lost_state = lambda: click_log.found_nothing and has_worked_before(settings)
    app.consumer_config, app.metrics = consumer_config(settings), metrics
    app.on_before_shutdown.connect(app.drain)

    async def note_partitions(*_: Any, **__: Any) -> None:
        lag.follow(_consumer(app))
        health.has_partitions = True

    app.on_partitions_assigned.connect(note_partitions, weak=False)
    gatherers: list[Gatherer] = []
    # One agent per topic: articles are encoded while clicks go on.
    for topic in dict.fromkeys(
        (
            settings.topic_articles,
            settings.topic_clicks,
            settings.topic_visits,
            settings.topic_impressions,
            settings.topic_preferences,
            settings.topic_erasures,
        )
    ):
        channel = app.topic(topic, key_serializer="raw", value_serializer=CODEC)
        # Clicks may be merged in any order; the later message of an article is the one that counts.
        at_once = 2 if topic != settings.topic_articles else 1
        gatherers.append(Gatherer(pipeline.process, settings.batch_size, at_once))
        app.agent(channel, name=topic)(_receiver(gatherers[-1]))
    app.gatherers = gatherers
    return app


def leave_alone_what_stays() -> None:
    """Let the garbage collector look no more at modules and articles that are there by now.

    It looked at all of them every few thousand clicks: a tenth of a second, in which no click is
    answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])
    gc.enable()


def _consumer(app: App) -> Consumer:
    consumer = app.consumer
    assert isinstance(consumer, Consumer), "the broker URL names another transport"
    return consumer


def _receiver(gatherer: Gatherer) -> Any:
    async def receive(chunks: StreamT[Chunk]) -> None:
        async for chunk in chunks:
            await gatherer.put(chunk)

    return receive


def without_text(error: Exception, place: str) -> WorkerFaultError:
    """Return what may be logged of an exception, and where it was raised."""
    return WorkerFaultError(f"{place}: {faults.without_text(error)}")


def _faust_app(settings: Settings) -> App:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{PREFIX}DATA_DIR: {error.strerror}") from error
    servers = [server.strip() for server in settings.kafka_bootstrap.split(",")]
    return App(
        settings.app_id,
        broker=[URL(f"chunked://{server}") for server in servers],
        broker_session_timeout=settings.session_timeout_s,
        broker_commit_interval=settings.commit_interval_s,
        broker_max_poll_records=settings.batch_size,
        stream_buffer_maxsize=settings.max_pending_chunks,
        # The rest keeps Faust out of the way of decision 3 of the design.
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        store="memory://",
        TableManager=NoTables,
        datadir=settings.data_dir,
        web_enabled=False,
        autodiscover=False,
    )


def check_kafka(settings: Settings) -> None:
    """Fail unless the brokers answer and every topic that the worker uses exists.

    Raises:
        UnavailableError: names what is missing.
    """
    topics = settings.topics
    # Labels are read by `frontpage snapshot` alone; an installation may do without them.
    needless = {topics.reader_labels}
    if not settings.log_features:
        needless.add(topics.served_features)
    used = [name for name in topics.all() if name not in needless]
    Emitter(librdkafka_config(settings)).check(used)


def run_app(app: App, settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; exit with 1 after a crash."""
    set_up_logging(settings.log_level, settings.log_format)
    worker = app.Worker(
        quiet=True,
        override_logging=False,
        redirect_stdouts=False,
        loop=asyncio.new_event_loop(),
    )
    worker.spinner = None  # writes control characters, also into log files
    worker.execute_from_commandline()
