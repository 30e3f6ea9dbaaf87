"""What a batch of clicks or impressions teaches, and what the click log is told of it.

Everything in a batch counts, but only its first few clicks and impressions teach. A lesson compares
what happened with what was known then, and what is known is what was counted before the batch: of
the thousandth click of a batch, a thousand clicks are missing. Such lessons are wrong. And taken at
the same weights lessons add up far beyond what they say together: a large batch teaches in groups,
each by the weights as the groups before it leave them; see docs/experiments.md.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from schemas.history import ENTRY_BYTES, HEADER_BYTES, REF_BYTES, TIME_BYTES, read_entries
from worker.catalogue import Catalogue
from worker.eye import NO_HISTORY, Eye
from worker.intake import PackedImpression
from worker.recommend.click_log import Learned, pack_clicks, pack_impression, pack_untaught
from worker.recommend.learn import WINDOW
from worker.recommend.pages import Lesson, Tastes
from worker.recommend.readers import Kind
from worker.recommend.recommender import Recommender

LESSONS = 16
"""Most clicks, and most impressions, that teach by the same weights."""

MOST_LESSONS = 64
"""Of the clicks of a batch, at once."""

CLICKS_PER_LESSON = 125
"""Of a large batch, and beside `LESSONS_PER_S`: what a backlog teaches is not to depend on how fast
it is worked off."""

LESSONS_PER_S = 100.0
"""Where batches are small and come fast, nearly every click would teach, and lessons take longer
than pages do."""

SAME_MOMENT_MS = 60_000
"""Within such a time the news look the same."""

_ENTRY_TIME = slice(0, TIME_BYTES)
_ENTRY_REF = slice(ENTRY_BYTES - REF_BYTES, ENTRY_BYTES)


class BatchLessons:
    """Learn from batches of readers what all workers are told.

    per_s: lessons a second of clicks, and as many of impressions; None: however many there are.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        recommender: Recommender,
        eye: Eye,
        per_s: float | None = LESSONS_PER_S,
    ) -> None:
        self._catalogue = catalogue
        self._recommender = recommender
        self._eye = eye
        self._for_clicks = Allowance(per_s)
        self._for_impressions = Allowance(per_s)

    def clicks(
        self,
        histories: Sequence[bytes],
        counted: Sequence[Sequence[int]],
        memberships: Sequence[NDArray[np.float32]],
        now_ms: int,
        objecting: NDArray[np.bool_] | None = None,
        num_clicks: int = 1,
    ) -> list[bytes]:
        """Return what the click log is told of each reader, `b""` where nothing counts.

        counted: positions, in the merged history, of the new clicks that count; of a reader who
        teaches, the first of them does, seen with what the reader had read before it.
        memberships: (S,) each, in the segments of readers, after all of it. now_ms: no lesson is
        seen from later, whatever the time of its click. objecting: see `Eye.see`. num_clicks: of
        the batch that these readers are the first part of; 0 of a later part, which teaches
        nothing: it would lack more.
        """
        first = {i: max(positions) for i, positions in enumerate(counted) if positions}
        times_ms = {i: min(_time_of(histories[i], at), now_ms) for i, at in first.items()}
        learned: dict[int, tuple[Lesson, NDArray[np.float32]]] = {}
        most = self._for_clicks.take(min(lessons_of(num_clicks), len(first)), num_clicks)
        groups = _moments(times_ms, now_ms, most)
        with self._recommender.rehearsal() as learn:
            by_these_weights: list[Lesson] = []
            for group, moment_ms in groups:
                if len(by_these_weights) + len(group) > LESSONS:
                    learn(by_these_weights)
                    by_these_weights = []
                seen = self._eye.see(
                    [before_click(histories[i], first[i]) for i in group],
                    objecting=None if objecting is None else objecting[group],
                )
                clicked = self._catalogue.find(
                    np.array([_ref_of(histories[i], first[i]) for i in group], dtype=np.int64)
                )
                lessons = self._recommender.lessons(seen.reading, seen.tastes, moment_ms, clicked)
                learned |= zip(group, zip(lessons, members(seen.tastes), strict=True), strict=True)
                by_these_weights += lessons
        told = [b""] * len(histories)
        for i, (lesson, member) in learned.items():
            told[i] = pack_counted(histories[i], counted[i], lesson, member)
        untaught = [i for i in first if i not in learned]
        if untaught:
            packed = pack_untaught(
                [_counting(histories[i], first[i]) for i in untaught],
                [counted[i] for i in untaught],
                np.array([memberships[i] for i in untaught]),
            )
            for i, each in zip(untaught, packed, strict=True):
                told[i] = each
        return told

    def impressions(
        self,
        before: Sequence[bytes],
        impressions: Sequence[PackedImpression],
        now_ms: int,
        objecting: NDArray[np.bool_] | None = None,
        most: int = LESSONS,
    ) -> list[bytes]:
        """Return what the click log is told of each impression, `b""` where no article is known.

        before: what the reader of each had clicked until then. now_ms, objecting: as for `clicks`.
        most: so many teach.
        """
        shown = [self._known(each) for each in impressions]
        gradients: dict[int, NDArray[np.float64] | None] = {}
        times_ms = {
            i: min(each.time_ms, now_ms)
            for i, each in enumerate(impressions)
            if 0 < np.count_nonzero(shown[i][1]) < len(shown[i][1])
        }
        most = self._for_impressions.take(min(most, len(times_ms)))
        for group, moment_ms in _moments(times_ms, now_ms, most):
            seen = self._eye.see(
                [before[i] for i in group],
                objecting=None if objecting is None else objecting[group],
            )
            learned = self._recommender.impression_lessons(
                seen.reading, seen.tastes, moment_ms, [shown[i][:2] for i in group]
            )
            gradients |= zip(group, learned, strict=True)
        return [
            pack_impression(refs, clicked, gradients.get(i)) if len(refs) else b""
            for i, (_, clicked, refs) in enumerate(shown)
        ]

    def _known(
        self, impression: PackedImpression
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Return the rows of the known articles of an impression, which were clicked, and refs."""
        refs = read_entries(b"".join(impression.showings))[1]
        rows = self._catalogue.find(refs)
        known = rows >= 0
        return rows[known], np.array(impression.clicked, dtype=np.bool_)[known], refs[known]


def lessons_of(num: int) -> int:
    """Return how many of so many clicks that come at once teach, at most.

    >>> [lessons_of(num) for num in (0, 1, 2000, 4000, 8000, 99_999)]
    [0, 16, 16, 32, 64, 64]
    """
    return min(max(LESSONS, num // CLICKS_PER_LESSON), MOST_LESSONS) if num else 0


class Allowance:
    """So many lessons a second, and one for `CLICKS_PER_LESSON` clicks.

    All of a group or none: one lesson takes 0.7 ms, sixteen together 2.4. per_s: None for however
    many.
    """

    def __init__(self, per_s: float | None, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock_s = clock_s
        self._saved = float(LESSONS)
        self._last_s = clock_s()

    def take(self, wanted: int, num_clicks: int = 0) -> int:
        """Return how many of those wanted there may be: all, or as many groups as there can be.

        num_clicks: that have come.

        >>> times_s = iter([0.0, 0.0, 0.0, 0.02, 0.05, 0.05])
        >>> allowance = Allowance(100.0, lambda: next(times_s))
        >>> allowance.take(20), allowance.take(4), allowance.take(4), allowance.take(4)
        (16, 0, 0, 4)
        >>> allowance.take(64, 8000)
        64
        """
        if self._per_s is None:
            return wanted
        now_s = self._clock_s()
        more = (now_s - self._last_s) * self._per_s + num_clicks / CLICKS_PER_LESSON
        self._saved = min(self._saved + more, MOST_LESSONS)
        self._last_s = now_s
        if self._saved < wanted:
            wanted = int(self._saved) // LESSONS * LESSONS
        self._saved -= wanted
        return wanted


def _moments(times_ms: dict[int, int], now_ms: int, most: int) -> Iterator[tuple[list[int], int]]:
    """Yield the first keys by time, in groups of about the same time, and that time.

    At most `LESSONS` are a group.

    >>> minute = 60_000
    >>> list(_moments({0: 5 * minute, 1: 0, 2: 5 * minute + 1}, 9 * minute, 16))
    [([1], 0), ([0, 2], 300001)]
    >>> list(_moments({0: 5 * minute}, 5 * minute + 7, 16))
    [([0], 300007)]
    """
    order = sorted(times_ms, key=lambda key: (times_ms[key], key))[:most]
    begins = [0]
    for at, key in enumerate(order):
        is_later = times_ms[key] - times_ms[order[begins[-1]]] > SAME_MOMENT_MS
        if is_later or at - begins[-1] == LESSONS:
            begins.append(at)
    for begin, end in pairwise([*begins, len(order)] if order else []):
        # Seen from the last of them: what came in between may have been clicked by another.
        last_ms = times_ms[order[end - 1]]
        # From now, if that is the same: the pages are, and what they were made from is kept.
        yield order[begin:end], now_ms if now_ms - last_ms <= SAME_MOMENT_MS else last_ms


def before_click(history: bytes, at: int) -> bytes:
    """Return what a reader had read before the click at a position; its sum is left out.

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
        if entry[_ENTRY_TIME] == click[_ENTRY_TIME] and entry[_ENTRY_REF] != click[_ENTRY_REF]
    ]
    older = history[HEADER_BYTES + (at + 1) * ENTRY_BYTES :]
    return NO_HISTORY + b"".join(tied) + older


def pack_counted(
    history: bytes, counted: Sequence[int], lesson: Lesson, member: NDArray[np.float32]
) -> bytes:
    """Pack the counted clicks of one reader and what the first of them teaches."""
    learned, kind = None, Kind(0, 0)
    if lesson.gradient.any():
        learned, kind = Learned(lesson.gradient, lesson.spread), lesson.kind
    return pack_clicks(_counting(history, max(counted)), counted, member, learned, *kind)


def _counting(history: bytes, first: int) -> bytes:
    """Return the entries from the newest to a click, and those before it that count with it."""
    return history[HEADER_BYTES : HEADER_BYTES + (first + 1 + WINDOW) * ENTRY_BYTES]


def members(tastes: Tastes) -> NDArray[np.float32]:
    """Return how far readers belong to each segment, (B, S); S is 0 where nothing is inferred."""
    if tastes.membership is None:
        return np.zeros((len(tastes.interests), 0), dtype=np.float32)
    return tastes.membership


def _time_of(history: bytes, at: int) -> int:
    start = HEADER_BYTES + at * ENTRY_BYTES
    return int.from_bytes(history[start : start + TIME_BYTES], "big")


def _ref_of(history: bytes, at: int) -> int:
    end = HEADER_BYTES + (at + 1) * ENTRY_BYTES
    return int.from_bytes(history[end - REF_BYTES : end], "big")
