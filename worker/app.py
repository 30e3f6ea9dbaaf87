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
from collections.abc import Sequence
from typing import Any

import faust
from faust.types import StreamT
from yarl import URL

from schemas.errors import SettingsError, WorkerFaultError
from worker import faults
from worker.article_store import ArticleStore
from worker.articles import Articles
from worker.batch_lessons import BatchLessons
from worker.catalogue import Catalogue
from worker.click_log import ClickLog
from worker.emitter import Emitter
from worker.erasure_store import ErasureStore
from worker.erasures import Erasures
from worker.eye import Eye
from worker.front_pages import FrontPages
from worker.gathering import Gatherer
from worker.impressions import Impressions
from worker.kafka_security import faust_credentials, librdkafka_config
from worker.model import Model
from worker.pipeline import Pipeline
from worker.reader_store import ReaderStore
from worker.recommend.options import read_options
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics
from worker.recommend.warm import warm_up
from worker.redis_client import Client, connect
from worker.renewals import Renewals
from worker.settings import PREFIX, Settings
from worker.transport import CODEC, Chunk, Consumer, NoTables

FOLLOW_INTERVAL_S = 0.5
"""How soon an article that another worker encoded is known here."""

METADATA_MAX_AGE_MS = 5_000

DRAIN_S = 6.0
"""How long a stopping worker waits for the chunk in progress and its commit."""

NEW_OBJECTS_PER_COLLECTION = 20_000
"""About what a batch of clicks creates; all but some exceptions go by counting references."""

LAST_RESORT_S = 9.0
"""When a stopping worker leaves without more ado: container platforms kill after 10 s."""

logger = logging.getLogger(__name__)


class App(faust.App):
    """A Faust app that knows its catalogue before the first click and drains before it stops."""

    pipeline: Pipeline
    gatherers: Sequence[Gatherer] = ()
    redis: Client
    fetch_wait_s: float

    async def on_start(self) -> None:
        """Load the catalogue, then let Faust start consuming."""
        num_articles = await self.pipeline.load_catalogue()
        logger.info("catalogue: %d articles", num_articles)
        leave_alone_what_stays()
        await super().on_start()

    async def on_started(self) -> None:
        """Process what comes, and follow the catalogue, from now on."""
        for gatherer in self.gatherers:
            self.add_future(self._process(gatherer))
        self.add_future(self._follow_catalogue())
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

    async def _follow_catalogue(self) -> None:
        fault = None
        try:
            await self.pipeline.follow_catalogue(FOLLOW_INTERVAL_S)
        except Exception as error:
            fault = without_text(error, "catalogue")
        if fault is not None:
            await self.crash(fault)

    async def drain(self, *_: Any, **__: Any) -> None:
        """Finish the chunks in progress and commit them; a crash leaves both to the next."""
        if self.crashed:
            return
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.pipeline.idle()
                if self.consumer.assignment():
                    await self.consumer.commit()
        except TimeoutError:
            logger.warning("stopped with a chunk in progress: it will be delivered again")

    async def on_stop(self) -> None:
        """Stop within the time that container platforms give, whatever does not answer."""
        # Without brokers aiokafka commits and leaves its group for ever. What is not committed
        # is delivered again, so leaving at once costs nothing but the repetition.
        watchdog = threading.Timer(LAST_RESORT_S, os._exit, (1,))
        watchdog.daemon = True
        watchdog.start()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Close Redis."""
        await super().on_shutdown()
        await self.redis.aclose()


def build_app(settings: Settings, model: Model) -> App:
    """Put the worker together; what ranks is compiled by then."""
    warm_up()
    redis = connect(settings)
    version = model.manifest.model_version
    catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
    options = read_options(settings.recommend_file, settings.market)
    statistics = Statistics(settings.co_click_slots, options.blend, learned=model.blend)
    recommender = Recommender(catalogue, statistics, options)
    eye = Eye(catalogue, model, settings.tag_half_life_days)
    app = _faust_app(settings)
    client_config = librdkafka_config(settings)
    front_pages = FrontPages(
        model, recommender, eye, settings.num_recommendations, settings.log_features
    )
    lessons = BatchLessons(catalogue, recommender, eye)
    readers = ReaderStore(redis, settings.ttl_ms, version)
    click_log = ClickLog(redis, statistics, catalogue, settings.ttl_ms, settings.wait_for_fits)
    pipeline = Pipeline(
        topics=settings.topics,
        articles=Articles(model, catalogue, ArticleStore(redis, settings.ttl_ms, version)),
        catalogue=catalogue,
        front_pages=front_pages,
        renewals=Renewals(front_pages, lessons, readers, settings.history_size),
        impressions=Impressions(lessons, readers, click_log),
        readers=readers,
        click_log=click_log,
        emitter=Emitter(client_config),
        erasures=Erasures(
            ErasureStore(redis, settings.ttl_ms, settings.marks_ttl_ms),
            lambda: Emitter(client_config, compression="none"),
            settings.topics,
            log_features=settings.log_features,
        ),
        is_pending=lambda topic: _consumer(app).has_unstored(topic),
    )
    app.pipeline = pipeline
    app.redis = redis
    app.fetch_wait_s = settings.fetch_wait_s
    app.on_before_shutdown.connect(app.drain)
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
        broker_credentials=faust_credentials(settings),
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 3,
        broker_commit_interval=settings.commit_interval_s,
        broker_max_poll_records=settings.batch_size,
        consumer_auto_offset_reset="earliest",
        # aiokafka does not ask for the new leader when a partition without a commit has moved:
        # it goes on asking the old one until its metadata is this old (by default 5 minutes).
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
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


def run_app(app: App, log_level: str) -> None:
    """Run until SIGTERM or SIGINT; exit with 1 after a crash."""
    _set_up_logging(log_level)
    worker = app.Worker(
        quiet=True,
        override_logging=False,
        redirect_stdouts=False,
        loop=asyncio.new_event_loop(),
    )
    worker.spinner = None  # writes control characters, also into log files
    worker.execute_from_commandline()


def _set_up_logging(level: str) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if level != "DEBUG":
        for noisy in ("faust", "mode", "aiokafka"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Sparing(10.0))


class Sparing(logging.Filter):
    """Let a message of the Kafka client pass once in a while.

    aiokafka logs every failed connection: 5,000 lines for 11 s without a broker.
    """

    def __init__(self, interval_s: float) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record passes."""
        if not record.name.startswith("aiokafka"):
            return True
        kind = (record.name, str(record.msg))
        passes = record.created - self._last.get(kind, -self._interval_s) >= self._interval_s
        if passes:
            self._last[kind] = record.created
        return passes
