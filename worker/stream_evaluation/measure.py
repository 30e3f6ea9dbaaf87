"""Let a recommender go through a stream: the three protocols."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from worker.stream_evaluation.audience import Audience
from worker.stream_evaluation.metrics import PAGE_LENGTH, impression_figures
from worker.stream_evaluation.pages import PageFigures, PageMeter
from worker.stream_evaluation.protocol import (
    Floats,
    Ints,
    LoadedStream,
    PlacesTies,
    Shown,
    StreamRecommender,
)

ProtocolName = Literal["prequential", "last-click", "time-split"]

PROTOCOLS: tuple[ProtocolName, ...] = ("prequential", "last-click", "time-split")

FEWEST_CLICKS = 5
"""Distinct clicks of a reader whose last one is held out."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a recommender did at S scored clicks and I scored impressions.

    Attributes:
        users: (S,) int64. times_ms: (S,) int64.
        ranks: (S,) float64 of the clicked article from 0, infinite off the page.
        num_before: (S,) int64, how many articles the reader had clicked.
        pages: (S, 10) int64 articles served, -1 beyond the last.
        page_figures: (S, 3) float64, see `pages.PageFigures`.
        num_known: articles that could be served at the end.
        impression_users: (I,) int64.
        impression_figures: (I, 4) float64, see `metrics.impression_figures`.
    """

    users: Ints
    times_ms: Ints
    ranks: Floats
    num_before: Ints
    pages: Ints
    page_figures: Floats
    num_known: int
    impression_users: Ints
    impression_figures: Floats


Advance = Callable[[int], object]
"""Told of every click that is done."""


def measure(
    stream: LoadedStream,
    recommender: StreamRecommender,
    protocol: ProtocolName = "prequential",
    advance: Advance = lambda _: None,
) -> Measured:
    """Return what a fresh recommender does on a stream under a protocol.

    Raises:
        ValueError: when it serves more than was asked for, or an article twice.
    """
    run = {"prequential": prequential, "last-click": last_click, "time-split": time_split}
    return run[protocol](stream, recommender, advance)


def prequential(
    stream: LoadedStream, recommender: StreamRecommender, advance: Advance = lambda _: None
) -> Measured:
    """Serve before every click, then learn from it; the first tenth of the clicks warms up.

    A click is scored where it could be foreseen: the reader has not clicked the article before,
    it is known (see `Audience.is_known`), and no impression has told of the click already.
    Impressions after the warm-up are scored; all are learned from, at their time and before the
    clicks of the same time.

    Source: Gama, Sebastião, Rodrigues, "On evaluating stream learning algorithms", 2013.
    """
    session = _Session(stream, recommender)
    begin = stream.num_clicks // 10
    impressions = iter(stream.impressions)
    coming = next(impressions, None)
    told: set[tuple[int, int]] = set()
    for at, (user, article, now_ms) in enumerate(_clicks(stream)):
        while coming is not None and coming.time_ms <= now_ms:
            session.impression(coming, scored=at >= begin)
            told.update((coming.user, each) for each in coming.clicked)
            coming = next(impressions, None)
        audience = session.audience
        if (
            at >= begin
            and (user, article) not in told
            and not audience.has_clicked(user, article)
            and audience.is_known(article, now_ms)
        ):
            session.serve(user, article, now_ms)
        session.learn(user, article, now_ms)
        advance(1)
    while coming is not None:
        session.impression(coming)
        coming = next(impressions, None)
    return session.measured()


def learn(
    stream: LoadedStream, recommender: StreamRecommender, advance: Advance = lambda _: None
) -> None:
    """Let a recommender learn from a whole stream, impressions included; nothing is scored."""
    session = _Session(stream, recommender)
    impressions = iter(stream.impressions)
    coming = next(impressions, None)
    for user, article, now_ms in _clicks(stream):
        while coming is not None and coming.time_ms <= now_ms:
            session.impression(coming, scored=False)
            coming = next(impressions, None)
        session.learn(user, article, now_ms)
        advance(1)
    while coming is not None:
        session.impression(coming, scored=False)
        coming = next(impressions, None)


def last_click(
    stream: LoadedStream, recommender: StreamRecommender, advance: Advance = lambda _: None
) -> Measured:
    """Hold out the last article of every reader with at least five; learn the rest, then serve.

    The last article is the one whose first click comes last; all the reader's clicks on it are
    held out. Each reader is served at the time of that first click, from all other clicks, later
    ones of other readers included. Impressions are left out: they would tell of the clicks that
    are held out.
    """
    first: dict[tuple[int, int], int] = {}
    for user, article, now_ms in _clicks(stream):
        first.setdefault((user, article), now_ms)
    distinct: dict[int, int] = {}
    last: dict[int, tuple[int, int]] = {}
    for (user, article), now_ms in first.items():
        distinct[user] = distinct.get(user, 0) + 1
        last[user] = (article, now_ms)
    held = {user: each for user, each in last.items() if distinct[user] >= FEWEST_CLICKS}
    session = _Session(stream, recommender)
    for user, article, now_ms in _clicks(stream):
        if user not in held or held[user][0] != article:
            session.learn(user, article, now_ms)
        advance(1)
    for user, (article, now_ms) in sorted(held.items(), key=lambda each: each[1][1]):
        session.serve(user, article, now_ms)
    return session.measured()


def time_split(
    stream: LoadedStream, recommender: StreamRecommender, advance: Advance = lambda _: None
) -> Measured:
    """Learn nine tenths of the clicks; then serve every reader who clicks something new, once.

    Served at the time of the reader's first click, after the split, on an article that they had
    not clicked before. An article that was not known at the split is a miss, and counts as one:
    the recommender is to be built with what is `known_at_split`, or it offers what cannot hit.
    Impressions are left out, as for `last_click`.
    """
    session = _Session(stream, recommender)
    split = _split(stream)
    split_ms = _split_ms(stream)
    served: set[int] = set()
    for at, (user, article, now_ms) in enumerate(_clicks(stream)):
        if at < split:
            session.learn(user, article, now_ms)
        elif user not in served and not session.audience.has_clicked(user, article):
            served.add(user)
            known = session.audience.is_known(article, split_ms)
            session.serve(user, article, now_ms, can_hit=known)
        advance(1)
    return session.measured()


def known_at_split(stream: LoadedStream) -> LoadedStream:
    """Return a stream whose articles from after the split of `time_split` are never published.

    To freeze a recommender is to freeze its catalogue, too: it does not see what is new.
    """
    later = stream.published_ms >= _split_ms(stream)
    return replace(stream, published_ms=np.where(later, _NEVER_PUBLISHED_MS, stream.published_ms))


_NEVER_PUBLISHED_MS = 253_402_300_799_999  # the last of the year 9999


def _split(stream: LoadedStream) -> int:
    return stream.num_clicks * 9 // 10


def _split_ms(stream: LoadedStream) -> int:
    return int(stream.times_ms[_split(stream)]) if stream.num_clicks else 0


class _Session:
    """A recommender on its way through a stream, and what was measured of it."""

    def __init__(self, stream: LoadedStream, recommender: StreamRecommender) -> None:
        self.audience = Audience(stream.published_ms)
        self._recommender = recommender
        self._places_ties = recommender if isinstance(recommender, PlacesTies) else None
        self._meter = PageMeter(stream)
        self._moments: list[tuple[int, int, int]] = []
        self._ranks: list[float] = []
        self._pages: list[Ints] = []
        self._page_figures: list[PageFigures] = []
        self._impression_users: list[int] = []
        self._impression_figures: list[Floats] = []
        self._end_ms = int(stream.times_ms[-1]) if stream.num_clicks else 0

    def serve(self, user: int, article: int, now_ms: int, *, can_hit: bool = True) -> None:
        """Ask for a page and note where the article that is about to be clicked stands on it."""
        served: Sequence[int]
        if self._places_ties is not None:
            rank, served = self._places_ties.place(user, article, now_ms, PAGE_LENGTH)
        else:
            served = self._recommender.rank(user, now_ms, PAGE_LENGTH)
            rank = float(served.index(article)) if article in served else np.inf
        if len(served) > PAGE_LENGTH or len(set(served)) < len(served):
            raise ValueError(f"a page must hold at most {PAGE_LENGTH} articles, each once")
        page = np.full(PAGE_LENGTH, -1, dtype=np.int64)
        page[: len(served)] = served
        self._moments.append((user, now_ms, self.audience.num_clicked(user)))
        self._ranks.append(rank if can_hit else np.inf)
        self._pages.append(page)
        self._page_figures.append(self._meter.measure(page[: len(served)], user, self.audience))

    def learn(self, user: int, article: int, now_ms: int) -> None:
        """Let the recommender learn from a click."""
        self._recommender.learn(user, article, now_ms)
        self.audience.add(user, article)

    def impression(self, shown: Shown, *, scored: bool = True) -> None:
        """Score an impression, unless all of it or none was clicked, and learn from it."""
        user, now_ms, articles, clicked = shown
        if scored and 0 < len(clicked) < len(articles):
            scores = np.asarray(self._recommender.score(user, articles, now_ms), dtype=np.float64)
            was_clicked = np.isin(articles, clicked).astype(np.float64)
            self._impression_users.append(user)
            self._impression_figures.append(impression_figures(scores, was_clicked))
        self._recommender.shown(user, articles, clicked, now_ms)

    def measured(self) -> Measured:
        """Return everything as arrays."""
        moments = np.array(self._moments, dtype=np.int64).reshape(-1, 3)
        return Measured(
            users=moments[:, 0],
            times_ms=moments[:, 1],
            ranks=np.array(self._ranks, dtype=np.float64),
            num_before=moments[:, 2],
            pages=np.array(self._pages, dtype=np.int64).reshape(-1, PAGE_LENGTH),
            page_figures=np.array(self._page_figures, dtype=np.float64).reshape(-1, 3),
            num_known=self.audience.num_known(self._end_ms),
            impression_users=np.array(self._impression_users, dtype=np.int64),
            impression_figures=np.array(self._impression_figures).reshape(-1, 4),
        )


def _clicks(stream: LoadedStream) -> Iterator[tuple[int, int, int]]:
    return zip(
        stream.users.tolist(), stream.articles.tolist(), stream.times_ms.tolist(), strict=True
    )
