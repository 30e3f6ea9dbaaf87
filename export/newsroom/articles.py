"""The articles of a newsroom: topic, language, time, popularity and text of each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from export.newsroom.chance import Chance, Floats, Ints
from export.newsroom.clock import DESK_HOURS, moments, to_rfc3339
from export.newsroom.tastes import TASTES, TOPICS
from export.newsroom.text import DRAWS_PER_ARTICLE, Text, compose

Progress = Callable[[str, int, int], None]
REPORT_EVERY = 100  # articles or readers between two calls of progress
_ZIPF_EXPONENT = 0.8  # popularity ~ 1 / (rank + 10)^0.8: the top tenth gets about a third
_ZIPF_OFFSET = 10.0
_TWO_TAGS, _THREE_TAGS = 0.45, 0.15


@dataclass(frozen=True, eq=False)
class Articles:
    """The articles in order of publication; arrays are (N,)."""

    ids: tuple[str, ...]
    topics: Ints  # index of the main topic
    languages: Ints  # index into the languages of the newsroom
    published_ms: Ints  # epoch milliseconds
    popularity: Floats
    tags: tuple[tuple[str, ...], ...]  # the main topic first
    texts: tuple[Text, ...]

    def rows(self, languages: tuple[str, ...]) -> list[dict[str, object]]:
        """Give the articles as a reading set stores them."""
        return [
            {
                "article_id": article_id,
                "title": text.title,
                "body": text.body,
                "tags": tags,
                "published_at": to_rfc3339(published_ms),
                "language": languages[language],
            }
            for article_id, text, tags, published_ms, language in zip(
                self.ids,
                self.texts,
                self.tags,
                self.published_ms.tolist(),
                self.languages.tolist(),
                strict=True,
            )
        ]


def language_shares(num_languages: int) -> Floats:
    """Share of each language among articles and readers: the first leads, (L,) float64."""
    if num_languages == 1:
        return np.ones(1)
    rest = np.full(num_languages - 1, 0.4 / (num_languages - 1))
    return np.concatenate([[0.6], rest])


def write_articles(
    num_articles: int,
    languages: tuple[str, ...],
    start_ms: int,
    num_days: int,
    seed: int,
    progress: Progress,
) -> Articles:
    """Write `num_articles` over `num_days`; the first appears at `start_ms`."""
    num = num_articles
    published = start_ms + np.sort(
        moments(Chance(seed, "article times"), DESK_HOURS, num_days, num)
    )
    published[0] = start_ms  # so that there is something to read from the first minute
    topics = Chance(seed, "article topics").integers(len(TOPICS), num)
    written_in = Chance(seed, "article languages").choices(language_shares(len(languages)), num)
    rank = Chance(seed, "article ranks").permutation(num)
    tag_draws = Chance(seed, "article tags").uniform(num * 2).reshape(num, 2)
    tags = tuple(
        _tags(topic, *draws)
        for topic, draws in zip(topics.tolist(), tag_draws.tolist(), strict=True)
    )
    text_draws = Chance(seed, "article texts").uniform(num * DRAWS_PER_ARTICLE)
    texts = []
    for index, draws in enumerate(text_draws.reshape(num, DRAWS_PER_ARTICLE).tolist()):
        texts.append(compose(languages[int(written_in[index])], tags[index], draws))
        if (index + 1) % REPORT_EVERY == 0 or index + 1 == num:
            progress("articles", index + 1, num)
    return Articles(
        ids=tuple(f"a{index:05d}" for index in range(1, num + 1)),
        topics=topics,
        languages=written_in,
        published_ms=published,
        popularity=np.power(rank + _ZIPF_OFFSET, -_ZIPF_EXPONENT).astype(np.float64),
        tags=tags,
        texts=tuple(texts),
    )


def _tags(topic: int, how_many: float, which: float) -> tuple[str, ...]:
    """Add none, one or both of the kindred topics to the main one."""
    kin = TASTES[topic].kin
    first = int(which * len(kin))
    if how_many < _THREE_TAGS:
        return (TOPICS[topic], kin[first], kin[1 - first])
    if how_many < _THREE_TAGS + _TWO_TAGS:
        return (TOPICS[topic], kin[first])
    return (TOPICS[topic],)
