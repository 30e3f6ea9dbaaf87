"""The pure heart of the worker: histories in, profiles and front pages out.

No Kafka, no Redis, no clock: the same histories, catalogue, statistics and model give the same
result.
"""

import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker import messages
from worker.eye import NO_HISTORY, Eye
from worker.model import Model
from worker.page_json import PageWriter
from worker.profile_json import ProfileWriter
from worker.profiling import objections
from worker.reading import unknown_refs
from worker.recommend.barred import Limits
from worker.recommend.recommender import Recommender

READERS_PER_RUN = 512
"""Bounds memory. More readers fill the runs of the model better: seeing one costs a tenth less than
with 128."""

CELLS_PER_RUN = 4_000_000
"""Bounds the (readers × tags) tables of one run."""


_json = msgspec.json.Encoder()


class FrontPage(NamedTuple):
    """What follows from a reader's history."""

    profile: bytes
    """The JSON of a `Profile`; `b""` of a reader who objects to profiling."""
    recommendation: bytes
    """The JSON of a `Recommendation`."""
    served: bytes | None
    """The JSON of a `ServedFeatures`, what the page was ranked by; if that is logged."""
    unknown: list[bytes]
    """References of clicked articles that are not known yet and would change the profile."""
    membership: NDArray[np.float32]
    """(S,) in the segments of readers."""


class FrontPages:
    """Infer profiles and rank articles for batches of readers."""

    def __init__(
        self,
        model: Model,
        recommender: Recommender,
        eye: Eye,
        num_recommendations: int,
        log_features: bool = False,
    ) -> None:
        self._model = model
        self._recommender = recommender
        self._catalogue = recommender.catalogue
        self._eye = eye
        self._num_recommendations = num_recommendations
        self._log_features = log_features
        self._profiles = ProfileWriter(recommender.catalogue, model.manifest.model_version)
        self._pages = PageWriter(recommender.catalogue, model.manifest.model_version)

    def prepare(self) -> None:
        """Do what the first page would have to wait for."""
        self._recommender.lay_out()

    def make(
        self,
        user_ids: Sequence[str],
        histories: Sequence[bytes],
        news_ms: int,
        now: datetime,
        visits_ms: Sequence[int] | None = None,
        limits: Limits | None = None,
    ) -> Iterator[FrontPage]:
        """Yield each reader's front page; a reader without a click has a history of `b""`.

        news_ms: the moment the news are seen from, epoch milliseconds: nothing published after
        it is recommended, and counts of clicks fade up to it. visits_ms: when the readers came,
        if it is not a click that the pages follow from. limits: what is kept of the readers beside
        their clicks.
        """
        for part in self._runs(len(user_ids)):
            visits = None if visits_ms is None else visits_ms[part]
            yield from self._make(
                list(user_ids[part]),
                list(histories[part]),
                news_ms,
                now,
                visits,
                None if limits is None else limits.of(part),
            )

    def _make(
        self,
        user_ids: list[str],
        histories: list[bytes],
        news_ms: int,
        now: datetime,
        visits_ms: Sequence[int] | None,
        limits: Limits | None,
    ) -> Iterator[FrontPage]:
        objecting = None if limits is None else objections(limits.preferences)
        seen = self._eye.see(histories, objecting=objecting)
        assert seen.estimates is not None
        version = self._model.manifest.model_version
        ids = [messages.recommendation_id(each or NO_HISTORY, version) for each in histories]
        if visits_ms is not None:
            ids = [f"{each}-{visit_ms}" for each, visit_ms in zip(ids, visits_ms, strict=True)]
        seeds = [
            zlib.crc32(f"{user_id} {each}".encode())
            for user_id, each in zip(user_ids, ids, strict=True)
        ]
        ranked = self._recommender.rank(
            seen.reading,
            seen.tastes,
            news_ms,
            self._num_recommendations,
            np.array(seeds, dtype=np.int64),
            limits,
        )
        interests = seen.tastes.interests
        profiles = self._profiles.write(user_ids, seen.reading, seen.estimates, interests, now)
        if objecting is not None:
            profiles = [b"" if no else each for no, each in zip(objecting, profiles, strict=True)]
        pages = self._pages.write(user_ids, ids, ranked, interests, now)
        missing = unknown_refs(seen.reading, histories)
        served: Sequence[bytes | None] = [None] * len(pages)
        if self._log_features:
            records = messages.served_features(ids, ranked, self._catalogue, news_ms)
            served = [_json.encode(each) for each in records]
        assert seen.tastes.membership is not None
        yield from map(FrontPage, profiles, pages, served, missing, seen.tastes.membership)

    def _runs(self, num_readers: int) -> Iterator[slice]:
        cells = max(len(self._catalogue.tag_names), 1)
        step = min(READERS_PER_RUN, max(1, CELLS_PER_RUN // cells))
        for start in range(0, num_readers, step):
            yield slice(start, start + step)
