"""All that depends on the model, in one record: built beside the one in use, exchanged as a whole.

What everybody clicks does not depend on it: statistics and click log are the worker's for good.
"""

from typing import NamedTuple

from worker.article_store import ArticleStore
from worker.articles import Articles
from worker.batch_lessons import LESSONS_PER_S, BatchLessons
from worker.catalogue import Catalogue
from worker.click_log import ClickLog
from worker.eye import Eye
from worker.front_pages import FrontPages
from worker.impressions import Impressions
from worker.metrics import Metrics
from worker.model import Model
from worker.reader_store import ReaderStore
from worker.recommend.options import Options
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics
from worker.redis_client import Client
from worker.renewals import Renewals
from worker.settings import Settings
from worker.welcomes import Welcomes


class Serving(NamedTuple):
    """A model, and what works with its vectors and under its version."""

    model: Model
    catalogue: Catalogue
    articles: Articles
    front_pages: FrontPages
    renewals: Renewals
    welcomes: Welcomes
    impressions: Impressions
    readers: ReaderStore


class Workshop:
    """Build what serves a model."""

    def __init__(
        self,
        settings: Settings,
        options: Options,
        redis: Client,
        statistics: Statistics,
        click_log: ClickLog,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._options = options
        self._redis = redis
        self._statistics = statistics
        self._click_log = click_log
        self._metrics = metrics

    def build(self, model: Model, catalogue: Catalogue | None = None) -> Serving:
        """Return what serves a model; its catalogue is empty, unless one is given."""
        settings, redis, version = self._settings, self._redis, model.manifest.model_version
        if catalogue is None:
            catalogue = catalogue_of(model)
        recommender = Recommender(catalogue, self._statistics, self._options)
        eye = Eye(catalogue, model, settings.tag_half_life_days)
        front_pages = FrontPages(
            model, recommender, eye, settings.num_recommendations, settings.log_features
        )
        per_s = None if settings.wait_for_fits else LESSONS_PER_S
        lessons = BatchLessons(catalogue, recommender, eye, per_s)
        readers = ReaderStore(redis, settings.ttl_ms, version)
        return Serving(
            model,
            catalogue,
            Articles(model, catalogue, ArticleStore(redis, settings.ttl_ms, version)),
            front_pages,
            Renewals(front_pages, lessons, readers, settings.history_size, self._metrics),
            Welcomes(front_pages, readers, self._metrics),
            Impressions(lessons, readers, self._click_log),
            readers,
        )


def catalogue_of(model: Model) -> Catalogue:
    """Return an empty catalogue with room for a model's rows."""
    return Catalogue(model.manifest.row_width, model.row_dtype)
