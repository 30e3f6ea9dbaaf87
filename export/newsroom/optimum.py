"""The best that any model can do on a newsroom: the exact posterior, scored like a model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.newsroom.chance import Floats, Ints
from export.newsroom.posterior import Posterior, posterior
from export.newsroom.truth import GENDERS, NewsroomTruth, load_truth
from schemas.reading_set import Reader, ReadingSet, Split
from schemas.timestamps import to_ms


@dataclass(frozen=True, eq=False)
class History:
    """A reader with all clicks in time order."""

    user: Reader
    articles: Ints  # (T,) indices into the truth's articles
    clicked_at_ms: Ints  # (T,)

    def posterior(self, truth: NewsroomTruth, num_clicks: int | None = None) -> Posterior:
        """Weigh what the first `num_clicks` (all where None) tell about the reader."""
        return posterior(truth, self.articles[:num_clicks], self.clicked_at_ms[:num_clicks])


@dataclass(frozen=True)
class OptimumScore:
    """What the exact posterior reaches after a number of clicks, and the prior beside it.

    `age_mae_constant`: years, of one guess for all; `income_log_loss_prior`: nats, of the prior.
    """

    num_clicks: int
    num_readers: int
    gender_auc: float
    gender_accuracy: float
    age_mae_years: float
    age_mae_constant: float
    income_accuracy: float
    income_accuracy_constant: float
    income_log_loss: float
    income_log_loss_prior: float


def load_histories(directory: Path, truth: NewsroomTruth, split: Split) -> list[History]:
    """Read the readers of a split who clicked, with their clicks, ordered by reader id.

    Raises:
        ReadingSetError: where the reading set is damaged.
    """
    reading_set = ReadingSet(directory)
    users = {user.user_id: user for user in reading_set.readers() if user.split == split}
    clicks: dict[str, list[tuple[int, int]]] = {}
    for click in reading_set.clicks():
        if click.user_id in users:
            clicks.setdefault(click.user_id, []).append(
                (truth.article_index[click.article_id], to_ms(click.timestamp))
            )
    histories = []
    for user_id in sorted(clicks):
        articles, at_ms = np.array(clicks[user_id], dtype=np.int64).T
        histories.append(History(users[user_id], articles, at_ms))
    return histories


def score_optimum(
    directory: Path, *, split: Split = "test", num_clicks: tuple[int, ...] = (1, 5, 20)
) -> list[OptimumScore]:
    """Score the exact posterior on a newsroom's readers after each of `num_clicks`.

    At n, the readers with at least n clicks are scored on their first n. No model can be expected
    to do better on the same clicks; a score above it is luck or a leak.

    Raises:
        ReadingSetError: where `directory` is not a generated newsroom.
        ValueError: where no reader has so many clicks.
    """
    truth = load_truth(directory)
    histories = load_histories(directory, truth, split)
    return [_score(truth, histories, num) for num in num_clicks]


def _score(truth: NewsroomTruth, histories: list[History], num_clicks: int) -> OptimumScore:
    read_enough = [history for history in histories if len(history.articles) >= num_clicks]
    known = [(history.user, history.posterior(truth, num_clicks)) for history in read_enough]
    genders = [(post.female, user.gender) for user, post in known if user.gender is not None]
    ages = [(post.age_years, user.age) for user, post in known if user.age is not None]
    incomes = [
        (post.income, user.income_group) for user, post in known if user.income_group is not None
    ]
    if not (genders and ages and incomes):
        raise ValueError(f"no reader with labels has {num_clicks} clicks")
    female = np.array([guess for guess, _ in genders])
    is_female = np.array([gender == GENDERS[0] for _, gender in genders])
    guessed_age, age = np.array(ages, dtype=np.float64).T
    income = np.stack([guess for guess, _ in incomes])
    group = np.array([group for _, group in incomes])
    prior = Posterior(truth.ages, truth.prior)
    rows = np.arange(len(group))
    return OptimumScore(
        num_clicks=num_clicks,
        num_readers=len(known),
        gender_auc=area_under_curve(female, is_female),
        gender_accuracy=float(((female > 0.5) == is_female).mean()),
        age_mae_years=float(np.abs(guessed_age - age).mean()),
        age_mae_constant=float(np.abs(prior.age_years - age).mean()),
        income_accuracy=float((income.argmax(axis=1) == group).mean()),
        income_accuracy_constant=float((prior.income.argmax() == group).mean()),
        income_log_loss=float(-np.log(income[rows, group]).mean()),
        income_log_loss_prior=float(-np.log(prior.income[group]).mean()),
    )


def area_under_curve(scores: Floats, positive: npt.NDArray[np.bool_]) -> float:
    """Give the probability that a positive scores above a negative; ties count half.

    `scores`: (n,), `positive`: (n,) bool; nan where one of the two kinds is missing.

    >>> area_under_curve(np.array([0.9, 0.2, 0.2]), np.array([True, True, False]))
    0.75
    """
    above, below = scores[positive][:, None], scores[~positive][None, :]
    if above.size == 0 or below.size == 0:
        return float("nan")
    return float(((above > below) + 0.5 * (above == below)).mean())
