"""The exact Bayes posterior of a reader's age, gender and income group from the clicks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.newsroom.chance import Floats, Ints
from export.newsroom.truth import NewsroomTruth


@dataclass(frozen=True, eq=False)
class Posterior:
    """What can be known of a reader; `joint` is (A, 2, G) and sums to 1."""

    ages: Floats  # (A,) years
    joint: Floats

    @property
    def age(self) -> Floats:
        """Probability of each age: (A,)."""
        return np.asarray(self.joint.sum(axis=(1, 2)), dtype=np.float64)

    @property
    def age_years(self) -> float:
        """Median age in years: the guess of least expected absolute error."""
        return float(self.ages[int(self.age.cumsum().searchsorted(0.5))])

    @property
    def age_sd_years(self) -> float:
        """Standard deviation of the age in years."""
        mean = float(self.age @ self.ages)
        return float(np.sqrt(self.age @ (self.ages - mean) ** 2))

    @property
    def female(self) -> float:
        """Probability that the reader is female."""
        return float(self.joint[:, 0].sum())

    @property
    def income(self) -> Floats:
        """Probability of each income group: (G,)."""
        return np.asarray(self.joint.sum(axis=(0, 1)), dtype=np.float64)


def posterior(
    truth: NewsroomTruth,
    articles: Sequence[int] | Ints,
    clicked_at_ms: Sequence[int] | Ints,
) -> Posterior:
    """Weigh every age, gender and income group by how well it explains a reader's clicks.

    `articles`: (T,) article indices, all of the reader's clicks so far in time order;
    `clicked_at_ms`: (T,) epoch milliseconds. Exact: p(reader | clicks) is proportional to
    p(reader) times the product of softmax(topic logits of such a reader) over the topics that had
    an article left for the reader at each click; the choice within a topic cancels.

    Raises:
        ValueError: where such clicks cannot have happened (twice on one article, before its
            publication, or out of order).
    """
    chosen = np.asarray(articles, dtype=np.int64)
    at_ms = np.asarray(clicked_at_ms, dtype=np.int64)
    topics = truth.article_topics[chosen]
    available = _available(truth, chosen, topics, at_ms)
    log_joint = np.log(truth.prior)
    log_joint += truth.topic_logits @ np.bincount(
        topics, minlength=len(truth.tables.topics)
    ).astype(np.float64)
    # Nearly always every topic is available: one normaliser serves all the clicks.
    menus, times = np.unique(available, axis=0, return_counts=True)
    for menu, count in zip(menus, times, strict=True):
        log_joint -= count * np.log(np.exp(truth.topic_logits[..., menu]).sum(axis=-1))
    joint = np.exp(log_joint - log_joint.max())
    return Posterior(ages=truth.ages, joint=joint / joint.sum())


def _available(
    truth: NewsroomTruth, chosen: Ints, topics: Ints, at_ms: Ints
) -> npt.NDArray[np.bool_]:
    """Say which topics had an article left for the reader at each click: (T, K) bool."""
    if len(chosen) != len(at_ms):
        raise ValueError(f"{len(chosen)} articles but {len(at_ms)} times")
    if len(np.unique(chosen)) != len(chosen):
        raise ValueError("a reader clicks an article once at most")
    if (np.diff(at_ms) < 0).any():
        raise ValueError("the clicks must be in time order")
    if (truth.published_ms[chosen] >= at_ms).any():
        raise ValueError("an article was clicked before it was published")
    clicked = np.zeros((len(chosen), len(truth.tables.topics)), dtype=np.int64)
    clicked[np.arange(len(chosen)), topics] = 1
    return np.asarray(truth.num_live(at_ms) - (clicked.cumsum(axis=0) - clicked) > 0)
