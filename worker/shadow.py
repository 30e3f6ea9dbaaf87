"""A second model beside the one that is served: what it says of a sample of readers is compared.

It serves nobody: its estimates become sums over readers, and nothing else. It needs articles in
vectors of its own, which it makes when it first meets them, from the texts in Redis, and keeps so
many of. A model that fails is given up; the worker goes on.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from schemas.encoded import EncodedArticle
from schemas.errors import BundleError
from schemas.history import article_ref
from schemas.records import Article, Profile
from schemas.tokenizer import article_text
from worker.bundle_watch import load_and_try
from worker.catalogue import Catalogue
from worker.eye import Eye
from worker.metrics import Metrics
from worker.model import Estimates, Model
from worker.reader_store import ReaderUpdate
from worker.reading import read
from worker.redis_client import is_transient

READERS = 64
"""Most of a batch that are compared."""

NEW_ARTICLES = 256
"""Most that are encoded for a batch; readers who need more wait for a later one."""

KEPT_ARTICLES = 20_000
"""Vectors that are kept; when there are more, they are all made anew as they are needed."""

NO_MATTER_DAYS = 14.0
"""Half-life of interests, which are not compared."""

Texts = Callable[[Sequence[str]], Awaitable[list[bytes | None]]]

_article_decoder = msgspec.json.Decoder(Article)
_profile_decoder = msgspec.json.Decoder(Profile)

logger = logging.getLogger(__name__)


class Shadow:
    """Compare a second model with what was served.

    share: of batches that are compared, 0 to 1. served: gives the catalogue of the model that is
    served. texts: gives the JSON of articles by id.
    """

    def __init__(
        self,
        bundle: Path,
        share: float,
        served: Callable[[], Catalogue],
        texts: Texts,
        metrics: Metrics,
    ) -> None:
        self._bundle = bundle
        self._share = share
        self._served = served
        self._texts = texts
        self._metrics = metrics
        self._offered: asyncio.Queue[list[ReaderUpdate]] = asyncio.Queue(1)
        self._has_model = False

    def offer(self, updates: Sequence[object]) -> None:
        """Look at a batch that has been served, if it is drawn and there is time for it."""
        if not self._has_model or self._offered.full() or random.random() >= self._share:
            return
        # Of a reader who objects there is no profile, and nothing is inferred here either.
        profiled = [each for each in updates if isinstance(each, ReaderUpdate) and each.profile]
        if profiled:
            self._offered.put_nowait(profiled[:READERS])

    async def run(self) -> None:
        """Load the model and compare, for as long as the worker runs or the model works."""
        try:
            model = await asyncio.to_thread(load_and_try, self._bundle)
            self._metrics.shadows(model.manifest)
            self._has_model = True
            logger.info("model %s is compared, and not served", model.manifest.model_version)
            await self._compare_all(model)
        except Exception as error:
            # Whatever it is: nothing that is served depends on it.
            why = str(error) if isinstance(error, BundleError) else type(error).__name__
            logger.error("no model is compared: %s", " ".join(why.split()))
            self._metrics.shadow_failed()
        finally:
            self._has_model = False

    async def _compare_all(self, model: Model) -> None:
        catalogue = _catalogue(model)
        while True:
            updates = await self._offered.get()
            if len(catalogue) > KEPT_ARTICLES:
                catalogue = _catalogue(model)
            try:
                updates, missing = self._choose(updates, catalogue, model)
                texts = await self._texts(missing)
            except Exception as error:
                if not is_transient(error):
                    raise
                continue
            await asyncio.to_thread(self._compare, updates, texts, catalogue, model)

    def _choose(
        self, updates: Sequence[ReaderUpdate], catalogue: Catalogue, model: Model
    ) -> tuple[list[ReaderUpdate], list[str]]:
        """Return whom to compare, and the ids of articles that have to be encoded for it."""
        served = self._served()
        reading = read([each.history for each in updates], served, model.manifest.max_clicks)
        chosen: list[ReaderUpdate] = []
        missing: dict[str, None] = {}
        for update, rows in zip(updates, reading.window_rows().tolist(), strict=True):
            names = [served.articles[row].article_id for row in rows if row >= 0]
            needed = {name: None for name in names if article_ref(name) not in catalogue}
            if len(missing | needed) <= NEW_ARTICLES:
                missing |= needed
                chosen.append(update)
        return chosen, list(missing)

    def _compare(
        self,
        updates: Sequence[ReaderUpdate],
        texts: Sequence[bytes | None],
        catalogue: Catalogue,
        model: Model,
    ) -> None:
        """Encode what is missing, estimate, and add up the differences; runs in a thread."""
        began = time.thread_time()
        num_articles = _learn(texts, catalogue, model)
        eye = Eye(catalogue, model, NO_MATTER_DAYS)
        found = eye.see([each.history for each in updates]).estimates
        assert found is not None
        # An article whose text is gone is not there to be encoded: who clicked it is left out.
        profiles = [_profile_decoder.decode(each.profile) for each in updates]
        window = model.manifest.max_clicks
        known = read([each.history for each in updates], catalogue, window).known.sum(axis=1)
        same = [
            at for at, profile in enumerate(profiles) if known[at] >= min(profile.num_known, window)
        ]
        self._add([profiles[at] for at in same], Estimates(*(each[same] for each in found)))
        self._metrics.shadow_took(time.thread_time() - began, num_articles)

    def _add(self, profiles: Sequence[Profile], found: Estimates) -> None:
        """Add up how far the two models differ."""
        if not profiles:
            return
        years = np.array([each.age.years for each in profiles])
        self._metrics.shadow_ages(len(profiles), float(np.abs(found.age_years - years).sum()))
        female = np.array([each.gender.female for each in profiles])
        agree = (found.female >= 0.5) == (female >= 0.5)
        self._metrics.shadow_agrees("gender", int(agree.sum()), len(profiles))
        # Models of other income groups have nothing to agree about.
        groups = {len(each.income.probabilities) for each in profiles}
        if groups == {found.income.shape[1]}:
            served = np.array([each.income.group for each in profiles])
            agree = found.income.argmax(axis=1) == served
            self._metrics.shadow_agrees("income_group", int(agree.sum()), len(profiles))


def _catalogue(model: Model) -> Catalogue:
    return Catalogue(model.manifest.row_width, model.row_dtype)


def _learn(texts: Sequence[bytes | None], catalogue: Catalogue, model: Model) -> int:
    """Encode articles into a catalogue; return how many had a text."""
    articles = [_article_decoder.decode(text) for text in texts if text is not None]
    if not articles:
        return 0
    reads_tags = model.manifest.reads_tags
    words = [
        article_text(each.title, each.body, each.tags if reads_tags else None) for each in articles
    ]
    for article, row in zip(articles, model.encode(words), strict=True):
        catalogue.put(EncodedArticle(article.article_id, "", row.tobytes(), [], None))
    return len(articles)
