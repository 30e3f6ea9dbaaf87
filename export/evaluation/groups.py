"""What the model card draws: reliability curves, and errors by group of readers."""

from typing import Any

import numpy as np

from export.bundle_model import Estimates
from export.data import MISSING, Floats, Ints, ReaderData
from export.evaluation.figures import figures_of
from export.metrics import NUM_BINS, bins_of
from export.tag_affinity import AGE_BOUNDS

FIGURES = (("age", "mae"), ("gender", "accuracy"), ("income", "log_loss"))
"""What is given of each group."""

FEWEST_READERS = 5
"""A smaller group has no figures: they would tell of single readers."""

_RESAMPLES = 200


def reliability(estimates: Estimates, data: ReaderData, readers: Ints) -> dict[str, Any]:
    """Return the points of the reliability curves of gender and of the most probable income group.

    For each of ten bins that holds readers: `predicted`, the mean probability; `observed`, the
    share that was right; `readers`.

    Source: DeGroot and Fienberg, "The Comparison and Evaluation of Forecasters", 1983.
    """
    gender, income = data.gender[readers], data.income[readers]
    has_gender, has_income = gender != MISSING, income != MISSING
    guess = estimates.income.argmax(axis=1)
    return {
        "gender": _curve(estimates.female[has_gender].astype(np.float64), gender[has_gender] == 1),
        "income": _curve(
            estimates.income.max(axis=1)[has_income].astype(np.float64),
            (guess == income)[has_income],
        ),
    }


def by_group(estimates: dict[str, Estimates], data: ReaderData, readers: Ints) -> dict[str, Any]:
    """Return age error, gender accuracy and income log-loss by age band, gender and income group.

    Under attribute and group: `readers`, and of each of the `estimates` its figures.
    """
    return {
        attribute: {
            name: {
                "readers": int(members.sum()),
                **{
                    whose: _of_group(each, data, readers, members)
                    for whose, each in estimates.items()
                },
            }
            for name, members in groups.items()
        }
        for attribute, groups in _groups(data, readers).items()
    }


def _groups(data: ReaderData, readers: Ints) -> dict[str, dict[str, Any]]:
    """Return who is in which group: (B,) of bool each."""
    age, income, gender = data.age[readers], data.income[readers], data.gender[readers]
    bands = np.where(np.isnan(age), MISSING, np.searchsorted(AGE_BOUNDS, age, side="right"))
    return {
        "age": {name: bands == band for band, name in enumerate(age_bands())},
        "gender": {"female": gender == 1, "male": gender == 0},
        "income": {label: income == group for group, label in enumerate(data.income_groups)},
    }


def age_bands() -> list[str]:
    """Name the age bands.

    >>> age_bands()
    ['0-24', '25-34', '35-44', '45-54', '55-64', '65-']
    """
    bounds = [int(bound) for bound in AGE_BOUNDS]
    inner = [f"{low}-{high - 1}" for low, high in zip([0, *bounds], bounds, strict=False)]
    return [*inner, f"{bounds[-1]}-"]


def _of_group(estimates: Estimates, data: ReaderData, readers: Ints, members: Any) -> Any:
    chosen = np.flatnonzero(members) if members.sum() >= FEWEST_READERS else np.empty(0, np.int64)
    part = Estimates(
        age_years=estimates.age_years[chosen],
        age_sd=estimates.age_sd[chosen],
        income=estimates.income[chosen],
        female=estimates.female[chosen],
    )
    figures = figures_of(part, data, readers[chosen], _RESAMPLES)
    return {head: {name: figures[head][name]} for head, name in FIGURES}


def _curve(probability: Floats, right: Any) -> list[dict[str, Any]]:
    bins = bins_of(probability)
    return [
        {
            "predicted": round(float(probability[bins == each].mean()), 5),
            "observed": round(float(right[bins == each].mean()), 5),
            "readers": int((bins == each).sum()),
        }
        for each in range(NUM_BINS)
        if (bins == each).any()
    ]
