"""What readers said of themselves, in place of what a model infers: does knowing it help?

Measured three ways beside each other: with what is true, with what is true of another reader,
and with what is inferred. If the first is no better than the second, attributes do not help.
"""

from typing import Literal

import numpy as np

from schemas.errors import FrontpageError
from schemas.reading_set import Reader, ReadingSet
from worker.model import Estimates
from worker.stream_evaluation.protocol import LoadedStream

Attributes = Literal["true attributes", "shuffled attributes"]
ATTRIBUTES: tuple[Attributes, ...] = ("true attributes", "shuffled attributes")

SHUFFLE_SEED = 0
TOLD_SD_YEARS = 1.0
UNTOLD_AGE = (40.0, 15.0)
"""Mean and deviation, in years, of an age that was not told."""


class ToldAttributes:
    """The labels of a set's readers as if a model had been certain of them.

    Of what a reader has not told, a flat guess. shuffled: each labelled reader gets another's.

    Raises:
        FrontpageError: when an income group is not one of the set's.
    """

    def __init__(self, stream: LoadedStream, reading_set: ReadingSet, *, shuffled: bool) -> None:
        self._num_incomes = reading_set.info.num_income_groups
        number = {user_id: user for user, user_id in enumerate(stream.user_ids)}
        readers = [each for each in reading_set.readers() if each.user_id in number and _told(each)]
        users = np.array([number[each.user_id] for each in readers], dtype=np.int64)
        if shuffled:
            order = np.random.default_rng(SHUFFLE_SEED).permutation(len(users))
            users[order] = users[np.roll(order, 1)]
        for each in readers:
            if each.income_group is not None and not 0 <= each.income_group < self._num_incomes:
                raise FrontpageError(
                    f"{stream.name}: an income group is not one of {self._num_incomes}"
                )
        self._readers = dict(zip(users.tolist(), readers, strict=True))

    def __len__(self) -> int:
        return len(self._readers)

    def of(self, user: int) -> Estimates:
        """Return what is known of one reader, as a batch of one."""
        reader = self._readers.get(user)
        age, sd = UNTOLD_AGE
        income = np.full((1, self._num_incomes), 1.0 / self._num_incomes, dtype=np.float32)
        female = 0.5
        if reader is not None:
            if reader.age is not None:
                age, sd = reader.age, TOLD_SD_YEARS
            if reader.income_group is not None:
                income = np.eye(self._num_incomes, dtype=np.float32)[[reader.income_group]]
            if reader.gender is not None:
                female = float(reader.gender == "female")
        one = np.ones(1, dtype=np.float32)
        return Estimates(one * age, one * sd, income, one * female)


def _told(reader: Reader) -> bool:
    return (reader.age, reader.gender, reader.income_group) != (None, None, None)
