"""The worker's own code path behind the evaluation's interface, one click at a time.

Histories are merged and packed, readers are hydrated, ranked and counted by the functions that
the worker calls for a batch; the click log's entries are packed and unpacked on the way.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from schemas.bundle import LearnedBlend
from schemas.encoded import EncodedArticle
from schemas.history import article_ref, merge, pack_entry
from schemas.tokenizer import article_text
from worker.articles import KEPT_CHARACTERS
from worker.batch_lessons import BatchLessons, before_click, members, pack_counted
from worker.catalogue import Catalogue
from worker.counting import counted_positions
from worker.eye import Eye
from worker.model import Model, load_model
from worker.reading import Reading
from worker.recommend.features import SOURCES
from worker.recommend.options import Options
from worker.recommend.pages import Tastes
from worker.recommend.recommender import Recommender
from worker.recommend.state import BlendState
from worker.recommend.statistics import Statistics
from worker.settings import Settings
from worker.stream_evaluation.attributes import ToldAttributes
from worker.stream_evaluation.protocol import LoadedStream
from worker.terms import article_terms

ABLATIONS = tuple(SOURCES)
"""Each source that can be left out."""

DEFAULTS = Settings()


def build_recommender(
    stream: LoadedStream,
    bundle: Path | None,
    without: str | None = None,
    told: ToldAttributes | None = None,
    learned: LearnedBlend | None = None,
) -> "WorkerRecommender":
    """Return the worker's recommender for a stream.

    bundle: for inferred profiles, and the weights to begin with. without: a source to leave out.
    told: what is known of readers in place of what would be inferred. learned: weights to begin
    with in place of the bundle's.

    Raises:
        BundleError: when the bundle cannot be served.
    """
    options = Options(sources={without: False} if without else {})
    model = None if bundle is None else load_model(bundle)
    return WorkerRecommender(stream, model, options, told, learned)


class WorkerRecommender:
    """See `protocol.StreamRecommender`."""

    def __init__(
        self,
        stream: LoadedStream,
        model: Model | None,
        options: Options,
        told: ToldAttributes | None = None,
        learned: LearnedBlend | None = None,
    ) -> None:
        self._told = told
        self._catalogue = _catalogue(stream, model)
        if learned is None and model is not None:
            learned = model.blend
        self._statistics = Statistics(options=options.blend, learned=learned)
        # A stream that is read faster than it was written has no clock to go by.
        exact = msgspec.structs.replace(options, freshness_ms=0)
        self._recommender = Recommender(self._catalogue, self._statistics, exact)
        self._eye = Eye(self._catalogue, model, DEFAULTS.tag_half_life_days)
        self._lessons = BatchLessons(self._catalogue, self._recommender, self._eye, None)
        self._refs = [article_ref(article_id) for article_id in stream.article_ids]
        self._histories: dict[int, bytes] = {}

    @property
    def blend(self) -> BlendState:
        """What the blend has learned."""
        return self._statistics.blend

    def rank(self, user: int, now_ms: int, k: int) -> Sequence[int]:
        """Return the page of a reader, as served but for exploration."""
        reading, tastes = self._see(user, self._histories.get(user, b""))
        ranked = self._recommender.rank(reading, tastes, now_ms, k)
        return [row for row in ranked.rows[0].tolist() if row >= 0]

    def score(self, user: int, articles: Sequence[int], now_ms: int) -> Sequence[float]:
        """Return the scores of an impression's candidates."""
        reading, tastes = self._see(user, self._histories.get(user, b""))
        rows = np.asarray(articles, dtype=np.int64)
        scores, _ = self._recommender.score(reading, tastes, now_ms, rows)
        return [float(score) for score in scores]

    def learn(self, user: int, article: int, now_ms: int) -> None:
        """Count a click and learn from it."""
        merged, counted = self._merge(user, [(article, now_ms)])
        if not counted:
            return
        reading, tastes = self._see(user, before_click(merged, min(counted)))
        clicked = np.array([article], dtype=np.int64)
        (lesson,) = self._recommender.lessons(reading, tastes, now_ms, clicked)
        self._apply([pack_counted(merged, counted, lesson, members(tastes)[0])])

    def freeze(self) -> None:
        """Learn no more; clicks are counted as before."""
        self._statistics.freeze()

    def learn_batch(self, clicks: Sequence[tuple[int, int, int]]) -> None:
        """Learn from clicks that come at once, as a worker does when it has much to catch up with.

        clicks: user, article and time of each. Who teaches are the first by time, where a worker
        takes the first by time of the first 512 readers. What is told of readers is not used.
        """
        by_user: dict[int, list[tuple[int, int]]] = {}
        for user, article, time_ms in clicks:
            by_user.setdefault(user, []).append((article, time_ms))
        merged = [self._merge(user, fresh) for user, fresh in by_user.items()]
        histories = [history for history, _ in merged]
        told = self._lessons.clicks(
            histories,
            [counted for _, counted in merged],
            list(members(self._eye.see(histories).tastes)),
            max(time_ms for _, _, time_ms in clicks),
            num_clicks=len(clicks),
        )
        self._apply(told)

    def _merge(self, user: int, fresh: Sequence[tuple[int, int]]) -> tuple[bytes, list[int]]:
        """Return a reader's history with new articles and times, and which of it counts."""
        held = self._histories.get(user)
        entries = [pack_entry(time_ms, None, self._refs[article]) for article, time_ms in fresh]
        merged = merge(held, entries, DEFAULTS.history_size)
        self._histories[user] = merged
        return merged, counted_positions(held, merged, entries)

    def _apply(self, told: Sequence[bytes]) -> None:
        for entry in told:
            self._statistics.apply(entry, self._catalogue)
            if self._statistics.is_full:
                self._statistics.forget_oldest(self._catalogue.refs())
            if self._statistics.fit_is_due:
                self._statistics.fit()

    def shown(
        self, user: int, articles: Sequence[int], clicked: Sequence[int], now_ms: int
    ) -> None:
        """Count an impression and learn from it."""
        reading, tastes = self._see(user, self._histories.get(user, b""))
        rows = np.asarray(articles, dtype=np.int64)
        was_clicked = np.isin(rows, np.asarray(clicked, dtype=np.int64))
        self._recommender.learn_impression(reading, tastes, now_ms, rows, was_clicked)

    def _see(self, user: int, history: bytes) -> tuple[Reading, Tastes]:
        told = None if self._told is None else self._told.of(user)
        seen = self._eye.see([history], told)
        return seen.reading, seen.tastes


def _catalogue(stream: LoadedStream, model: Model | None) -> Catalogue:
    if model is None:
        catalogue = Catalogue(0, np.dtype("<f4"))
        rows = [b""] * len(stream.article_ids)
    else:
        catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
        texts = [
            article_text(
                title,
                None if body is None else body[:KEPT_CHARACTERS],
                list(tags) if model.manifest.reads_tags else None,
            )
            for title, body, tags in zip(stream.titles, stream.bodies, stream.tags, strict=True)
        ]
        rows = [row.tobytes() for row in model.encode(texts)]
    for at, (article_id, row) in enumerate(zip(stream.article_ids, rows, strict=True)):
        tags, published_ms = list(stream.tags[at]), int(stream.published_ms[at])
        catalogue.put(
            EncodedArticle(
                article_id,
                "",
                row,
                tags,
                None if published_ms < 0 else published_ms,
                stream.languages[at],
                article_terms(stream.titles[at], stream.bodies[at], tags),
            )
        )
    return catalogue
