"""What the linear path is fitted to: every label as numbers that a linear model can follow."""

import numpy as np

from export.data import Floats, ReaderData

GENDER = "gender"

_AGE_THRESHOLDS = 9


def linear_targets(data: ReaderData) -> tuple[Floats, list[str]]:
    """Return targets (R, H), NaN where the label is missing, and their names, gender first.

    Gender: 1 for women, -1 for men. Age: standardised, and whether it is above each of nine
    quantiles. Income: the standardised number of the group, and which group it is. Gender keeps
    its column without labels; age and income have columns only where training readers have labels.
    """
    train = data.readers_of("train")
    gender = np.where(data.gender >= 0, 2.0 * data.gender - 1.0, np.nan)
    columns = {GENDER: gender}
    ages = data.age[train]
    ages = ages[~np.isnan(ages)]
    if len(ages):
        columns["age"] = _standardised(data.age, ages)
        for bound in np.unique(np.quantile(ages, _inner(_AGE_THRESHOLDS))):
            above = np.where(data.age > bound, 1.0, -1.0)
            columns[f"age>{bound:g}"] = np.where(np.isnan(data.age), np.nan, above)
    income = np.where(data.income >= 0, data.income.astype(np.float64), np.nan)
    groups = income[train]
    groups = groups[~np.isnan(groups)]
    if len(groups):
        columns["income"] = _standardised(income, groups)
        for group in range(len(data.income_groups)):
            same = np.where(income == group, 1.0, -1.0)
            columns[f"income={group}"] = np.where(np.isnan(income), np.nan, same)
    return np.stack(list(columns.values()), axis=1), list(columns)


def head_of(name: str) -> str:
    """Return which head a target is of.

    >>> head_of("age>37"), head_of("income=4")
    ('age', 'income')
    """
    return name.replace("=", ">").partition(">")[0]


def _inner(count: int) -> Floats:
    """Return `count` shares that cut the whole into like parts."""
    return np.arange(1, count + 1) / (count + 1.0)


def _standardised(values: Floats, known: Floats) -> Floats:
    return np.asarray((values - known.mean()) / max(float(known.std()), 1e-6))
