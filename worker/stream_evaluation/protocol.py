"""What is measured, and on what: the recommender's interface and a reading set as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from schemas.reading_set import ReadingSet
from schemas.records import Article
from schemas.timestamps import to_ms

UNKNOWN_MS = -1
"""The time of publication where it is not known."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class StreamRecommender(Protocol):
    """Whatever is measured. Users and articles are numbers; times are epoch milliseconds."""

    def rank(self, user: int, now_ms: int, k: int) -> Sequence[int]:
        """Return the page that is served: at most `k` known articles, best first.

        Never one that the reader has clicked.
        """
        ...

    def score(self, user: int, articles: Sequence[int], now_ms: int) -> Sequence[float]:
        """Return one number for each candidate of an impression; more is better."""
        ...

    def learn(self, user: int, article: int, now_ms: int) -> None:
        """Learn from a click: every one in order, repeats included."""
        ...

    def shown(
        self, user: int, articles: Sequence[int], clicked: Sequence[int], now_ms: int
    ) -> None:
        """Learn from an impression, after it was scored."""
        ...


@runtime_checkable
class PlacesTies(Protocol):
    """A recommender whose scores tie, and who says where among its equals an article stands."""

    def place(self, user: int, article: int, now_ms: int, k: int) -> tuple[float, Sequence[int]]:
        """Return the middle rank of an article, from 0, and the page that is served.

        The rank is infinite where the article is not a candidate.
        """
        ...


class Shown(NamedTuple):
    """An impression: what a reader was shown at a moment and what of it was clicked."""

    user: int
    time_ms: int
    articles: tuple[int, ...]
    clicked: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedStream:
    """A reading set in memory: N articles, U users, C clicks.

    Attributes:
        name: the set's.
        article_ids, titles, bodies, languages: (N,) as in the file.
        tags: (N,) tuples of distinct tags, empty where there are none.
        published_ms: (N,) int64, `UNKNOWN_MS` where not known.
        user_ids: (U,) in the order of their first click; readers of impressions alone follow.
        users, articles, times_ms: (C,) int64, the clicks in time order.
        impressions: in time order; empty where the set has none.
        num_left_out: clicks without consent or on articles that the set does not hold.
    """

    name: str
    article_ids: tuple[str, ...]
    titles: tuple[str | None, ...]
    bodies: tuple[str | None, ...]
    languages: tuple[str | None, ...]
    tags: tuple[tuple[str, ...], ...]
    published_ms: Ints
    user_ids: tuple[str, ...]
    users: Ints
    articles: Ints
    times_ms: Ints
    impressions: tuple[Shown, ...] = ()
    num_left_out: int = 0

    @property
    def num_articles(self) -> int:
        """Count the articles."""
        return len(self.article_ids)

    @property
    def num_clicks(self) -> int:
        """Count the clicks, repeats included."""
        return len(self.users)

    @property
    def has_tags(self) -> bool:
        """Say whether any article has a tag."""
        return any(self.tags)


def load_stream(
    reading_set: ReadingSet, *, limit: int | None = None, shuffle_within_reader: int | None = None
) -> LoadedStream:
    """Load a reading set.

    limit: only the first so many clicks, and the impressions until the last of them.
    shuffle_within_reader: a seed; puts each reader's articles in random order among the times of
    the reader's own clicks, which keeps when and what everybody reads, and takes away the order.

    Raises:
        ReadingSetError: when a file is missing or a line is bad.
    """
    articles: dict[str, Article] = {each.article_id: each for each in reading_set.articles()}
    number = {article_id: at for at, article_id in enumerate(articles)}
    users: dict[str, int] = {}
    rows: list[tuple[int, int, int]] = []
    num_left_out = 0
    for click in reading_set.clicks():
        article = number.get(click.article_id)
        if article is None or not click.consent:
            num_left_out += 1
            continue
        if limit is not None and len(rows) == limit:
            break
        rows.append((users.setdefault(click.user_id, len(users)), article, to_ms(click.timestamp)))
    clicks = np.array(rows, dtype=np.int64).reshape(-1, 3)
    clicks = clicks[np.argsort(clicks[:, 2], kind="stable")]
    if shuffle_within_reader is not None:
        clicks[:, 1] = _shuffled(clicks[:, 0], clicks[:, 1], shuffle_within_reader)
    until_ms = int(clicks[-1, 2]) if len(clicks) else 0
    impressions = _impressions(reading_set, number, users, until_ms if limit is not None else None)
    return LoadedStream(
        name=reading_set.info.name,
        article_ids=tuple(articles),
        titles=tuple(each.title for each in articles.values()),
        bodies=tuple(each.body for each in articles.values()),
        languages=tuple(each.language for each in articles.values()),
        tags=tuple(tuple(dict.fromkeys(each.tags or ())) for each in articles.values()),
        published_ms=np.array([_published_ms(each) for each in articles.values()], dtype=np.int64),
        user_ids=tuple(users),
        users=clicks[:, 0].copy(),
        articles=clicks[:, 1].copy(),
        times_ms=clicks[:, 2].copy(),
        impressions=impressions,
        num_left_out=num_left_out,
    )


def _published_ms(article: Article) -> int:
    # A time before 1970 must not read as "not known".
    return UNKNOWN_MS if article.published_at is None else max(0, to_ms(article.published_at))


def _shuffled(users: Ints, articles: Ints, seed: int) -> Ints:
    rng = np.random.default_rng(seed)
    by_user = np.argsort(users, kind="stable")
    bounds = np.flatnonzero(np.diff(users[by_user])) + 1
    result = articles.copy()
    for own in np.split(by_user, bounds):
        result[own] = articles[rng.permutation(own)]
    return result


def _impressions(
    reading_set: ReadingSet, number: dict[str, int], users: dict[str, int], until_ms: int | None
) -> tuple[Shown, ...]:
    found = []
    for each in reading_set.impressions():
        time_ms = to_ms(each.timestamp)
        if until_ms is not None and time_ms > until_ms:
            continue
        candidates = dict.fromkeys(number[name] for name in each.candidates if name in number)
        clicked = {number[name] for name in each.clicked if name in number}
        found.append(
            Shown(
                users.setdefault(each.user_id, len(users)),
                time_ms,
                tuple(candidates),
                tuple(article for article in candidates if article in clicked),
            )
        )
    return tuple(sorted(found, key=lambda each: each.time_ms))
