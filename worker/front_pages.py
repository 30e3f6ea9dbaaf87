"""The pure heart of the worker: histories in, profiles and front pages out.

No Kafka, no Redis, no clock: the same histories, catalogue and model give the same result.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from schemas.records import Profile, Recommendation
from worker import messages
from worker.affinity import AffinityTable
from worker.catalogue import Catalogue
from worker.model import Estimates, Model
from worker.ranking import Ranked, Shortlists, Weights, rank, shortlist
from worker.reading import (
    MS_PER_HOUR,
    Reading,
    languages_read,
    read,
    tag_interests,
    unknown_refs,
)

READERS_PER_RUN = 128
"""Bounds memory: 128 readers of 64 clicks gather 4 MB of article vectors at a time."""

CELLS_PER_RUN = 4_000_000
"""Bounds the (readers × tags) and (readers × articles) tables of one run."""


class FrontPage(NamedTuple):
    """What follows from a reader's history."""

    profile: Profile
    recommendation: Recommendation
    unknown: list[bytes]
    """References of clicked articles that are not known yet and would change the profile."""


class FrontPages:
    """Infer profiles and rank articles for batches of readers."""

    def __init__(
        self,
        model: Model,
        catalogue: Catalogue,
        weights: Weights,
        num_recommendations: int,
        tag_half_life_days: float,
    ) -> None:
        self._model = model
        self._catalogue = catalogue
        self._weights = weights
        self._num_recommendations = num_recommendations
        self._tag_half_life_days = tag_half_life_days
        self._affinity = AffinityTable(model.affinity) if model.affinity else None
        self._shortlists: tuple[int, int, Shortlists] | None = None

    def make(
        self, user_ids: Sequence[str], histories: Sequence[bytes], news_ms: int, now: datetime
    ) -> Iterator[FrontPage]:
        """Yield each reader's front page; histories must not be empty.

        news_ms: the moment the news are seen from, epoch milliseconds: nothing published after
        it is recommended, and freshness counts back from it.
        """
        cells = max(len(self._catalogue), len(self._catalogue.tag_names), 1)
        step = min(READERS_PER_RUN, max(1, CELLS_PER_RUN // cells))
        for start in range(0, len(user_ids), step):
            part = slice(start, start + step)
            yield from self._make(list(user_ids[part]), list(histories[part]), news_ms, now)

    def _make(
        self, user_ids: list[str], histories: list[bytes], news_ms: int, now: datetime
    ) -> Iterator[FrontPage]:
        catalogue, manifest = self._catalogue, self._model.manifest
        reading = read(histories, catalogue, manifest.max_clicks)
        estimates = self._infer(reading)
        interests = tag_interests(reading, catalogue, self._tag_half_life_days)
        ranked = self._rank(reading, estimates, interests, news_ms)
        profiles = messages.profiles(
            user_ids, reading, estimates, interests, catalogue, manifest, now
        )
        pages = messages.recommendations(user_ids, histories, ranked, catalogue, manifest, now)
        missing = unknown_refs(reading, histories)
        yield from map(FrontPage, profiles, pages, missing)

    def _infer(self, reading: Reading) -> Estimates:
        rows = reading.window_rows()  # (R, N)
        vectors = self._catalogue.rows[rows]  # (R, N, W)
        vectors[rows < 0] = 0
        return self._model.estimate(
            vectors, reading.window_ages_hours(), reading.known.astype(np.float32)
        )

    def _rank(
        self,
        reading: Reading,
        estimates: Estimates,
        interests: np.ndarray[tuple[int, int], np.dtype[np.float32]],
        news_ms: int,
    ) -> Ranked:
        catalogue = self._catalogue
        if self._affinity is None:
            affinity = np.zeros_like(interests)
        else:
            affinity = self._affinity.of(estimates, catalogue)
        # The strongest interest counts 1, whether the reader has two interests or twenty.
        strongest = interests.max(axis=1, initial=0.0, keepdims=True)
        scale = np.where(strongest > 0, strongest, 1.0)
        reader_of = np.repeat(np.arange(len(reading.present)), reading.num_clicks)
        known = reading.rows >= 0
        return rank(
            catalogue,
            self._current_shortlists(news_ms),
            (interests / scale).astype(np.float32),
            affinity,
            (reader_of[known], reading.rows[known]),
            languages_read(reading, catalogue),
            self._weights,
            self._num_recommendations,
        )

    def _current_shortlists(self, news_ms: int) -> Shortlists:
        # Freshness is only as fine as its half-life: a hundredth of it is soon enough.
        step_ms = self._weights.fresh_half_life_h * MS_PER_HOUR / 100
        kept = self._shortlists
        if kept and kept[0] == self._catalogue.num_changes and abs(news_ms - kept[1]) < step_ms:
            return kept[2]
        fresh = shortlist(self._catalogue, news_ms, self._weights.fresh_half_life_h)
        self._shortlists = (self._catalogue.num_changes, news_ms, fresh)
        return fresh
