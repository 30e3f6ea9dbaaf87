"""The pure heart of the worker: histories in, profiles, front pages and lessons out.

No Kafka, no Redis, no clock: the same histories, catalogue, statistics and model give the same
result.
"""

import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.history import ENTRY_BYTES, HEADER_BYTES, REF_BYTES, TIME_BYTES, read_entries
from schemas.records import Profile, Recommendation, ServedFeatures
from worker import messages
from worker.affinity import AffinityTable, membership
from worker.catalogue import Catalogue
from worker.intake import PackedImpression
from worker.model import Estimates, Model
from worker.reading import Reading, read, tag_interests, unknown_refs
from worker.recommend.barred import Limits
from worker.recommend.click_log import Learned, pack_clicks, pack_impression
from worker.recommend.learn import WINDOW
from worker.recommend.pages import Lesson, Tastes
from worker.recommend.recommender import Recommender
from worker.recommend.segments import AGE_BOUNDS

READERS_PER_RUN = 128
"""Bounds memory: 128 readers of 64 clicks gather 4 MB of article vectors at a time."""

CELLS_PER_RUN = 4_000_000
"""Bounds the (readers × tags) tables of one run."""

NO_MODEL_WINDOW = 64
"""The newest clicks that interests and languages are taken from where no model says."""

_NO_HISTORY = bytes(HEADER_BYTES)


class FrontPage(NamedTuple):
    """What follows from a reader's history."""

    profile: Profile
    recommendation: Recommendation
    served: ServedFeatures | None
    """What the page was ranked by, if that is logged."""
    unknown: list[bytes]
    """References of clicked articles that are not known yet and would change the profile."""


class Seen(NamedTuple):
    """A batch of readers as the model sees them."""

    reading: Reading
    estimates: Estimates | None
    tastes: Tastes


class Eye:
    """See readers as arrays, and as a model sees them.

    model: None sees no more than what they have read. tag_half_life_days: of their interests.
    """

    def __init__(
        self, catalogue: Catalogue, model: Model | None, tag_half_life_days: float
    ) -> None:
        self._catalogue = catalogue
        self._model = model
        self._tag_half_life_days = tag_half_life_days
        self._affinity = AffinityTable(model.affinity) if model and model.affinity else None

    def see(self, histories: Sequence[bytes], told: Estimates | None = None) -> Seen:
        """See a batch; a reader without a click has a history of `b""`.

        told: what is known of the readers, in place of what would be inferred.
        """
        window = NO_MODEL_WINDOW if self._model is None else self._model.manifest.max_clicks
        reading = read([each or _NO_HISTORY for each in histories], self._catalogue, window)
        interests = tag_interests(reading, self._catalogue, self._tag_half_life_days)
        nothing = np.zeros_like(interests)
        if told is not None:
            estimates = told
        elif self._model is not None:
            estimates = self._infer(self._model, reading)
        else:
            return Seen(reading, None, Tastes(interests, nothing, None))
        affinity = self._affinity.of(estimates, self._catalogue) if self._affinity else nothing
        member = membership(estimates, AGE_BOUNDS)
        return Seen(reading, estimates, Tastes(interests, affinity, member))

    def _infer(self, model: Model, reading: Reading) -> Estimates:
        rows = reading.window_rows()  # (R, N)
        vectors = self._catalogue.rows[rows]  # (R, N, W)
        vectors[rows < 0] = 0
        return model.estimate(
            vectors, reading.window_ages_hours(), reading.known.astype(np.float32)
        )


class FrontPages:
    """Infer profiles and rank articles for batches of readers."""

    def __init__(
        self,
        model: Model,
        recommender: Recommender,
        num_recommendations: int,
        tag_half_life_days: float,
        log_features: bool = False,
    ) -> None:
        self._model = model
        self._recommender = recommender
        self._catalogue = recommender.catalogue
        self._num_recommendations = num_recommendations
        self._eye = Eye(recommender.catalogue, model, tag_half_life_days)
        self._log_features = log_features

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
        catalogue, manifest = self._catalogue, self._model.manifest
        seen = self._eye.see(histories)
        assert seen.estimates is not None
        version = manifest.model_version
        ids = [messages.recommendation_id(each or _NO_HISTORY, version) for each in histories]
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
        profiles = messages.profiles(
            user_ids, seen.reading, seen.estimates, seen.tastes.interests, catalogue, manifest, now
        )
        pages = messages.recommendations(
            user_ids, ids, ranked, seen.tastes.interests, catalogue, manifest, now
        )
        missing = unknown_refs(seen.reading, histories)
        served: Sequence[ServedFeatures | None] = [None] * len(pages)
        if self._log_features:
            served = messages.served_features(pages, ranked, news_ms)
        yield from map(FrontPage, profiles, pages, served, missing)

    def count(
        self, histories: Sequence[bytes], counted: Sequence[Sequence[int]], news_ms: int
    ) -> list[bytes]:
        """Return what the click log is told of each reader, `b""` where nothing counts.

        counted: positions, in the merged history, of the new clicks that count. The blend learns
        from the newest of them, seen with what the reader had read before it.
        """
        told = [b""] * len(histories)
        readers = [i for i, positions in enumerate(counted) if positions]
        for part in self._runs(len(readers)):
            group = readers[part]
            newest = [min(counted[i]) for i in group]
            before = [before_click(histories[i], at) for i, at in zip(group, newest, strict=True)]
            seen = self._eye.see(before)
            clicked = self._clicked_rows([histories[i] for i in group], newest)
            lessons = self._recommender.lessons(seen.reading, seen.tastes, news_ms, clicked)
            assert seen.tastes.membership is not None
            for i, lesson, member in zip(group, lessons, seen.tastes.membership, strict=True):
                told[i] = pack_counted(histories[i], counted[i], lesson, member)
        return told

    def count_impressions(
        self, before: Sequence[bytes], impressions: Sequence[PackedImpression], news_ms: int
    ) -> list[bytes]:
        """Return what the click log is told of each impression, `b""` where no article is known.

        before: what the reader of each had clicked until then.
        """
        told: list[bytes] = []
        for part in self._runs(len(impressions)):
            seen = self._eye.see(before[part])
            shown = []
            for each in impressions[part]:
                refs = read_entries(b"".join(each.showings))[1]
                rows = self._catalogue.find(refs)
                known = rows >= 0
                clicked = np.array(each.clicked, dtype=np.bool_)
                shown.append((rows[known], clicked[known], refs[known]))
            gradients = self._recommender.impression_lessons(
                seen.reading, seen.tastes, news_ms, [(rows, clicked) for rows, clicked, _ in shown]
            )
            told += [
                pack_impression(refs, clicked, gradient) if len(refs) else b""
                for (_, clicked, refs), gradient in zip(shown, gradients, strict=True)
            ]
        return told

    def _clicked_rows(self, histories: list[bytes], positions: list[int]) -> NDArray[np.int64]:
        refs = np.array(
            [
                int.from_bytes(packed[end - REF_BYTES : end], "big")
                for packed, end in (
                    (packed, HEADER_BYTES + (at + 1) * ENTRY_BYTES)
                    for packed, at in zip(histories, positions, strict=True)
                )
            ],
            dtype=np.int64,
        )
        return self._catalogue.find(refs)

    def _runs(self, num_readers: int) -> Iterator[slice]:
        cells = max(len(self._catalogue.tag_names), 1)
        step = min(READERS_PER_RUN, max(1, CELLS_PER_RUN // cells))
        for start in range(0, num_readers, step):
            yield slice(start, start + step)


def before_click(history: bytes, at: int) -> bytes:
    """Return what a reader had read before the newest click that counts; its sum is left out.

    Of other clicks at the very same time, too: they were there before it, and where it is packed
    among them says nothing.

    >>> from schemas.history import article_ref, merge, num_clicks, pack_entry
    >>> clicks = [pack_entry(time, None, article_ref(name)) for time, name in ((1, "a"), (2, "b"))]
    >>> tied = merge(None, [*clicks, pack_entry(2, None, article_ref("c"))], 8)
    >>> [num_clicks(before_click(tied, at)) for at in range(3)]
    [2, 2, 0]
    """
    entries = [
        history[start : start + ENTRY_BYTES]
        for start in range(HEADER_BYTES, HEADER_BYTES + (at + 1) * ENTRY_BYTES, ENTRY_BYTES)
    ]
    click = entries.pop()
    tied = [
        entry
        for entry in entries
        if entry[:TIME_BYTES] == click[:TIME_BYTES] and entry[-REF_BYTES:] != click[-REF_BYTES:]
    ]
    older = history[HEADER_BYTES + (at + 1) * ENTRY_BYTES :]
    return _NO_HISTORY + b"".join(tied) + older


def pack_counted(
    history: bytes, counted: Sequence[int], lesson: Lesson, member: NDArray[np.float32]
) -> bytes:
    """Pack the counted clicks of one reader with the clicks before them that count with them."""
    end = HEADER_BYTES + (max(counted) + 1 + WINDOW) * ENTRY_BYTES
    learned = Learned(lesson.gradient, lesson.spread) if lesson.gradient.any() else None
    return pack_clicks(history[HEADER_BYTES:end], counted, member, learned, *lesson.kind)
