"""The known truth of a newsroom: every probability that its clicks were drawn from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from export.newsroom.chance import Floats, Ints
from export.newsroom.tastes import TASTES, TOPICS
from schemas.errors import ReadingSetError
from schemas.reading_set import ReadingSet
from schemas.timestamps import to_ms

FILE_NAME = "truth.json"
GENDERS = ("female", "male")
YOUNGEST, OLDEST = 18, 80
_DECIMALS = 6  # rounded before the first draw: the file holds exactly what generated the clicks


class Tables(msgspec.Struct, frozen=True):
    """Hold the probabilities as `truth.json` does; logits are of the choice between topics.

    Shapes: A ages, G income groups, K topics. Priors are weights that need not sum to 1.
    """

    topics: tuple[str, ...]
    ages: tuple[int, ...]  # (A,) years
    genders: tuple[str, ...]
    age_prior: list[float]  # (A,)
    gender_prior: list[float]  # (2,)
    income_prior: list[list[float]]  # (A, G), given the age
    base_logits: list[float]  # (K,)
    age_logits: list[list[float]]  # (A, K)
    gender_logits: list[list[float]]  # (2, K)
    income_logits: list[list[float]]  # (G, K)


@dataclass(frozen=True, eq=False)
class NewsroomTruth:
    """The probability tables, and the articles that could be chosen, in order of publication.

    A reader first chooses a topic (softmax of the reader's topic logits over the topics that have
    a published article the reader has not clicked), then an article of it in a way that does not
    depend on age, gender or income. So a posterior needs only the topics and what was available.
    """

    tables: Tables
    article_ids: tuple[str, ...]
    article_topics: Ints  # (N,) index of each article's main topic
    article_languages: tuple[str, ...]
    published_ms: Ints  # (N,) epoch milliseconds, ascending

    @property
    def num_income_groups(self) -> int:
        """Number of income groups."""
        return len(self.tables.income_logits)

    @cached_property
    def ages(self) -> Floats:
        """The grid of ages in years: (A,) float64."""
        return np.array(self.tables.ages, dtype=np.float64)

    @cached_property
    def prior(self) -> Floats:
        """Joint prior of age, gender and income group: (A, 2, G) float64, sums to 1."""
        age = np.array(self.tables.age_prior)
        gender = np.array(self.tables.gender_prior)
        income = np.array(self.tables.income_prior)
        income = income / income.sum(axis=1, keepdims=True)
        joint = age[:, None, None] * gender[None, :, None] * income[:, None, :]
        return np.asarray(joint / joint.sum(), dtype=np.float64)

    @cached_property
    def topic_logits(self) -> Floats:
        """Topic logits of every kind of reader: (A, 2, G, K) float64."""
        return np.asarray(
            np.array(self.tables.base_logits)
            + np.array(self.tables.age_logits)[:, None, None, :]
            + np.array(self.tables.gender_logits)[None, :, None, :]
            + np.array(self.tables.income_logits)[None, None, :, :],
            dtype=np.float64,
        )

    @cached_property
    def article_index(self) -> dict[str, int]:
        """Index of each article id."""
        return {article_id: index for index, article_id in enumerate(self.article_ids)}

    @cached_property
    def num_published(self) -> Ints:
        """Articles per topic once the first n are published: (N + 1, K) int64."""
        counts = np.zeros((len(self.article_ids) + 1, len(self.tables.topics)), dtype=np.int64)
        counts[np.arange(1, len(counts)), self.article_topics] = 1
        return counts.cumsum(axis=0)

    def num_live(self, at_ms: Ints) -> Ints:
        """Count the articles per topic published before each of `at_ms` (T,): (T, K) int64."""
        return self.num_published[np.searchsorted(self.published_ms, at_ms, side="left")]


def build_tables(num_income_groups: int) -> Tables:
    """Work out the probability tables from the tastes for this number of income groups."""
    ages = np.arange(YOUNGEST, OLDEST + 1, dtype=np.float64)
    incomes = np.arange(num_income_groups) * 9.0 / max(1, num_income_groups - 1)
    # Working age is the most frequent; the youngest and the oldest read less news.
    age_prior = 1.0 / (1.0 + np.exp(-(ages - 20.0) / 3.0)) / (1.0 + np.exp((ages - 66.0) / 6.0))
    # Incomes rise until about 50 and fall again, with a wide spread at every age.
    usual = 2.8 + 2.8 * np.exp(-0.5 * ((ages - 50.0) / 15.0) ** 2)
    income_prior = np.exp(-0.5 * ((incomes[None, :] - usual[:, None]) / 3.6) ** 2)
    income_prior /= income_prior.sum(axis=1, keepdims=True)
    female = np.array([taste.female for taste in TASTES])
    return Tables(
        topics=TOPICS,
        ages=tuple(range(YOUNGEST, OLDEST + 1)),
        genders=GENDERS,
        age_prior=_rounded(age_prior / age_prior.sum()),
        gender_prior=[0.5, 0.5],
        income_prior=_rounded(income_prior),
        base_logits=[taste.base for taste in TASTES],
        age_logits=_rounded(np.stack([taste.age.at(ages) for taste in TASTES], axis=1)),
        gender_logits=_rounded(np.stack([female, -female])),
        income_logits=_rounded(np.stack([taste.income.at(incomes) for taste in TASTES], axis=1)),
    )


def load_truth(directory: Path) -> NewsroomTruth:
    """Read the truth of a generated newsroom.

    Raises:
        ReadingSetError: where `directory` is not a newsroom that `generate_newsroom` wrote.
    """
    path = directory / FILE_NAME
    try:
        tables = msgspec.json.decode(path.read_bytes(), type=Tables)
    except OSError as error:
        raise ReadingSetError(f"{path}: {error.strerror}; is it a generated newsroom?") from error
    except msgspec.DecodeError as error:
        raise ReadingSetError(f"{path}: {error}") from error
    topic_of = {topic: index for index, topic in enumerate(tables.topics)}
    articles = list(ReadingSet(directory).articles())
    topics, published_ms = [], []
    for article in articles:
        main = article.tags[0] if article.tags else None
        if main not in topic_of or article.published_at is None:
            raise ReadingSetError(f"{directory}: {article.article_id} is not of this newsroom")
        topics.append(topic_of[main])
        published_ms.append(to_ms(article.published_at))
    return NewsroomTruth(
        tables=tables,
        article_ids=tuple(article.article_id for article in articles),
        article_topics=np.array(topics, dtype=np.int64),
        article_languages=tuple(article.language or "" for article in articles),
        published_ms=np.array(published_ms, dtype=np.int64),
    )


def _rounded(values: Floats) -> Any:
    return values.round(_DECIMALS).tolist()
