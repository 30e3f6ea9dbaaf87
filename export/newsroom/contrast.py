"""Two readers of a newsroom who differ in everything: what a demo shows side by side."""

from collections import Counter
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from export.newsroom.histories import History, load_histories
from export.newsroom.posterior import Posterior
from export.newsroom.truth import GENDERS, NewsroomTruth, load_truth

_PLENTY_OF_CLICKS = 20
_MIN_YEARS_APART = 25
_MIN_INCOME_APART = 0.5  # of the way from the lowest group to the highest


@dataclass(frozen=True)
class _Known:
    """A reader whose labels are all told, and what the clicks tell.

    Incomes are on a scale from 0 (lowest group) to 1 (highest).
    """

    user_id: str
    posterior: Posterior
    age: float
    gender: str
    income: float
    guessed_income: float


def two_contrasting_readers(directory: Path) -> tuple[str, str]:
    """Pick two readers of the test split: the younger, poorer one and the older, richer one.

    They differ in gender, by 25 years or more, and by half of the income scale or more; both have
    many clicks and read the newsroom's main language; of such pairs it is the one whose posteriors
    are furthest apart, in the right direction. The same newsroom always gives the same two.

    Raises:
        ReadingSetError: where `directory` is not a generated newsroom.
        ValueError: where there are no two such readers, as in a very small newsroom.
    """
    truth = load_truth(directory)
    main_language = Counter(truth.article_languages).most_common(1)[0][0]
    candidates = [
        (history, known)
        for history in load_histories(directory, truth, "test")
        if _language(truth, history) == main_language
        and (known := _know(truth, history)) is not None
    ]
    for least in (_PLENTY_OF_CLICKS, _PLENTY_OF_CLICKS // 2, 1):
        readers = [known for history, known in candidates if len(history.articles) >= least]
        pairs = [pair for pair in permutations(readers, 2) if _differ(*pair)]
        if pairs:
            younger, older = max(pairs, key=lambda pair: _contrast(*pair))
            return younger.user_id, older.user_id
    raise ValueError(f"no two readers of {directory} differ enough; generate more readers")


def _language(truth: NewsroomTruth, history: History) -> str:
    read = Counter(truth.article_languages[int(index)] for index in history.articles)
    return read.most_common(1)[0][0]


def _know(truth: NewsroomTruth, history: History) -> _Known | None:
    user = history.user
    if user.age is None or user.gender is None or user.income_group is None:
        return None
    posterior = history.posterior(truth)
    highest = truth.num_income_groups - 1
    return _Known(
        user_id=user.user_id,
        posterior=posterior,
        age=user.age,
        gender=user.gender,
        income=user.income_group / highest,
        guessed_income=float(posterior.income @ np.arange(highest + 1)) / highest,
    )


def _differ(younger: _Known, older: _Known) -> bool:
    return (
        younger.gender != older.gender
        and older.age - younger.age >= _MIN_YEARS_APART
        and older.income - younger.income >= _MIN_INCOME_APART
    )


def _contrast(younger: _Known, older: _Known) -> float:
    """Add up how far apart the posteriors are, each in the direction of the truth: at most 3."""
    span = float(younger.posterior.ages[-1] - younger.posterior.ages[0])
    female = younger.posterior.female - older.posterior.female
    return (
        (older.posterior.age_years - younger.posterior.age_years) / span
        + (older.guessed_income - younger.guessed_income)
        + (female if younger.gender == GENDERS[0] else -female)
    )
