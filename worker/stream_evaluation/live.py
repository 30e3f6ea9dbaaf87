"""A running worker behind the evaluation's interface: a message, its answer, the next message.

A page is asked for with a visit, and a click is told as a click; both are answered on the topic of
recommendations, under an id that follows from the reader's history. The worker sends the answer to
a click after the click is in the history and on the click log, which it reads before it ranks
again: whoever has the answer knows that the next page has been made with the click.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import redis
from tqdm import tqdm

from schemas import keys
from schemas.bundle import load_manifest
from schemas.errors import FrontpageError, UnavailableError
from schemas.history import HEADER_BYTES, article_ref, merge, pack_entry
from schemas.records import Article, Click, Recommendation, Visit
from worker.kafka_security import librdkafka_config
from worker.messages import recommendation_id
from worker.replay import Progress
from worker.settings import Settings
from worker.stream_evaluation.live_exchange import Exchange
from worker.stream_evaluation.live_services import LiveWorker, live_worker
from worker.stream_evaluation.protocol import LoadedStream

ANSWER_S = 120.0
"""Longest wait for an answer: a fit of the item model takes seconds of it."""

_NO_HISTORY = bytes(HEADER_BYTES)
_pages = msgspec.json.Decoder(Recommendation)


@contextmanager
def live_recommender(
    stream: LoadedStream, bundle: Path, kafka: Settings | None
) -> Iterator["LiveRecommender"]:
    """Start a worker, tell it the articles, and stop everything in the end.

    kafka: whose brokers to use; None starts one.

    Raises:
        BundleError: when the bundle cannot be served.
        FrontpageError: when a worker of today would not take the clicks.
        UnavailableError: when anything does not start or ends before its time.
    """
    version = load_manifest(bundle).model_version
    check_times(stream)
    with live_worker(bundle, kafka) as worker:
        recommender = LiveRecommender(stream, worker, version)
        try:
            recommender.publish_articles()
            yield recommender
        finally:
            recommender.close()


def check_times(stream: LoadedStream) -> None:
    """Refuse a stream whose clicks a worker of today would refuse.

    Raises:
        FrontpageError: when clicks are dated ahead, or not after 1970.
    """
    # A worker sees the news from its own clock at the latest, and takes 0 for no time.
    if stream.num_clicks and not 0 < stream.times_ms[0] <= stream.times_ms[-1] < time.time() * 1000:
        raise FrontpageError("--live needs clicks after 1970 and before now")


class LiveRecommender:
    """See `protocol.StreamRecommender`; impressions have no topic yet."""

    def __init__(self, stream: LoadedStream, worker: LiveWorker, model_version: str) -> None:
        self._stream = stream
        self.worker = worker
        self._version = model_version
        self._settings = worker.settings
        self._refs = [article_ref(article_id) for article_id in stream.article_ids]
        self._rows = {article_id: row for row, article_id in enumerate(stream.article_ids)}
        self._histories: dict[int, bytes] = {}
        self._exchange = Exchange(worker)

    def publish_articles(self) -> None:
        """Publish the articles, and wait until the worker holds all of them."""
        stream = self._stream
        for row, article_id in enumerate(stream.article_ids):
            published_ms = int(stream.published_ms[row])
            article = Article(
                article_id=article_id,
                title=stream.titles[row],
                body=stream.bodies[row],
                tags=list(stream.tags[row]),
                published_at=None if published_ms < 0 else published_ms,
                language=stream.languages[row],
            )
            self._exchange.send(self._settings.topic_articles, article_id, article)
            if row == 0:
                # What is sent before librdkafka knows the topic waits aside, and may come after
                # what is sent later.
                self._exchange.flush()
        self._wait_for_articles()
        self._check_order()

    def rank(self, user: int, now_ms: int, k: int) -> Sequence[int]:
        """Let the reader visit; return the page that comes."""
        if k != self._settings.num_recommendations:
            raise ValueError(f"the worker makes pages of {self._settings.num_recommendations}")
        user_id = self._stream.user_ids[user]
        self._exchange.send(
            self._settings.topic_visits, user_id, Visit(user_id=user_id, timestamp=now_ms)
        )
        page = self._answer(user_id, f"{self._page_id(user)}-{now_ms}")
        return [self._rows[item.article_id] for item in page.items]

    def learn(self, user: int, article: int, now_ms: int) -> None:
        """Publish a click, and wait until it is stored and on the click log."""
        entry = pack_entry(now_ms, None, self._refs[article])
        held = self._histories.get(user)
        self._histories[user] = merge(held, [entry], self._settings.history_size)
        user_id, article_id = self._stream.user_ids[user], self._stream.article_ids[article]
        click = Click(user_id=user_id, article_id=article_id, timestamp=now_ms)
        self._exchange.send(self._settings.topic_clicks, user_id, click)
        self._answer(user_id, self._page_id(user))

    def score(self, user: int, articles: Sequence[int], now_ms: int) -> Sequence[float]:
        """Fail: no message asks a worker for scores."""
        raise NotImplementedError

    def shown(
        self, user: int, articles: Sequence[int], clicked: Sequence[int], now_ms: int
    ) -> None:
        """Fail: no message tells a worker of impressions."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connections."""
        self._exchange.close()

    def _page_id(self, user: int) -> str:
        return recommendation_id(self._histories.get(user, _NO_HISTORY), self._version)

    def _answer(self, user_id: str, wanted: str) -> Recommendation:
        key = user_id.encode()
        deadline = time.monotonic() + ANSWER_S
        while True:
            message = self._exchange.next_message()
            if message is not None and message.key() == key:
                page = _pages.decode(message.value() or b"")
                if page.recommendation_id == wanted:
                    return page
            elif message is None and time.monotonic() > deadline:
                raise UnavailableError(f"the worker gave no answer within {ANSWER_S:.0f} s")

    def _wait_for_articles(self) -> None:
        self._exchange.flush()
        total = self._stream.num_articles
        progress = Progress(
            librdkafka_config(self._settings), self._settings.app_id, self._exchange.ends
        )
        try:
            with tqdm(None, "articles", total, unit="", file=sys.stderr, leave=False) as bar:
                while left := progress.num_left():
                    bar.update(total - left - bar.n)
                    self._exchange.next_message()
        finally:
            progress.close()

    def _check_order(self) -> None:
        client = redis.Redis.from_url(self._settings.redis_url)
        try:
            held: list[bytes] = cast("Any", client.zrange(keys.CATALOGUE_INDEX, 0, -1))
        finally:
            client.close()
        # By their order articles are numbered, and by the numbers drawn.
        if [name.decode() for name in held] != list(self._stream.article_ids):
            raise UnavailableError("the worker has not taken the articles as they were sent")
