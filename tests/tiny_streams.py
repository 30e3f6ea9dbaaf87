"""Streams of a few clicks, made by hand, and the recommenders that go through them."""

from collections.abc import Sequence

import numpy as np

from worker.stream_evaluation.protocol import UNKNOWN_MS, LoadedStream, Shown

HOUR_MS = 3_600_000

Clicked = tuple[int, int, int]
"""User, article, time in ms."""


def stream_of(
    clicks: Sequence[Clicked],
    *,
    num_articles: int,
    published_ms: Sequence[int] | None = None,
    tags: Sequence[tuple[str, ...]] | None = None,
    impressions: Sequence[Shown] = (),
) -> LoadedStream:
    """Return a stream of these clicks; articles are published before anything unless given."""
    columns = np.array(clicks, dtype=np.int64).reshape(-1, 3)
    users = [each[0] for each in clicks] + [each.user for each in impressions]
    published = [UNKNOWN_MS] * num_articles if published_ms is None else published_ms
    return LoadedStream(
        name="tiny",
        article_ids=tuple(f"a{number}" for number in range(num_articles)),
        titles=(None,) * num_articles,
        bodies=(None,) * num_articles,
        languages=(None,) * num_articles,
        tags=((),) * num_articles if tags is None else tuple(tags),
        published_ms=np.array(published, dtype=np.int64),
        user_ids=tuple(f"u{number}" for number in range(max(users, default=-1) + 1)),
        users=columns[:, 0],
        articles=columns[:, 1],
        times_ms=columns[:, 2],
        impressions=tuple(impressions),
    )


class Recorder:
    """Serve the same page to everybody, and write down everything that is asked and told."""

    def __init__(self, page: Sequence[int] = (), scores: Sequence[float] = ()) -> None:
        self.page, self.scores = list(page), scores
        self.calls: list[tuple[object, ...]] = []

    def rank(self, user: int, now_ms: int, k: int) -> Sequence[int]:
        self.calls.append(("rank", user, now_ms))
        return self.page[:k]

    def score(self, user: int, articles: Sequence[int], now_ms: int) -> Sequence[float]:
        self.calls.append(("score", user, now_ms))
        return [self.scores[article] for article in articles]

    def learn(self, user: int, article: int, now_ms: int) -> None:
        self.calls.append(("learn", user, article, now_ms))

    def shown(
        self, user: int, articles: Sequence[int], clicked: Sequence[int], now_ms: int
    ) -> None:
        self.calls.append(("shown", user, tuple(articles), tuple(clicked), now_ms))

    def of(self, kind: str) -> list[tuple[object, ...]]:
        return [call[1:] for call in self.calls if call[0] == kind]
