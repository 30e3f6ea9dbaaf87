"""The readers of a newsroom: who they are, what is known of them, how much they read."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.newsroom.articles import language_shares
from export.newsroom.chance import Chance, Ints, pick_each
from export.newsroom.truth import GENDERS, NewsroomTruth
from schemas.reading_set import Split

_ACTIVITY_SIGMA = 0.8  # spread of the log of the number of clicks: a few readers click most
_BUSIEST = 10  # nobody clicks more than this times the mean
_UNKNOWN = 0.05  # share of readers who did not tell, separately for each label


@dataclass(frozen=True, eq=False)
class Readers:
    """The readers; arrays are (R,), `told` is (R, 3) for age, gender and income group."""

    ids: tuple[str, ...]
    ages: Ints  # index into the truth's ages
    genders: Ints  # index into GENDERS
    incomes: Ints
    languages: Ints  # index of the language a reader prefers
    num_clicks: Ints  # how many the reader would like to make
    told: npt.NDArray[np.bool_]

    def rows(self, truth: NewsroomTruth) -> list[dict[str, object]]:
        """Give the readers as a reading set stores them."""
        return [
            {
                "user_id": user_id,
                "age": truth.tables.ages[int(self.ages[index])] if self.told[index, 0] else None,
                "gender": GENDERS[int(self.genders[index])] if self.told[index, 1] else None,
                "income_group": int(self.incomes[index]) if self.told[index, 2] else None,
                "split": split_of(user_id),
            }
            for index, user_id in enumerate(self.ids)
        ]


def invent_readers(
    num_readers: int,
    clicks_per_reader_mean: float,
    num_languages: int,
    truth: NewsroomTruth,
    seed: int,
) -> Readers:
    """Draw readers from the truth's prior; language and activity do not depend on who they are."""
    num = num_readers
    by_age = truth.prior.sum(axis=1)  # (A, G)
    ages = Chance(seed, "reader ages").choices(by_age.sum(axis=1), num)
    genders = Chance(seed, "reader genders").choices(np.array(truth.tables.gender_prior), num)
    incomes = pick_each(by_age[ages], Chance(seed, "reader incomes").uniform(num))
    languages = Chance(seed, "reader languages").choices(language_shares(num_languages), num)
    # exp(mu + sigma z) has the mean exp(mu + sigma^2 / 2).
    mu = np.log(clicks_per_reader_mean) - _ACTIVITY_SIGMA**2 / 2
    wish = np.exp(mu + _ACTIVITY_SIGMA * Chance(seed, "reader activity").normal(num))
    wish = np.minimum(wish, _BUSIEST * clicks_per_reader_mean)
    untold = Chance(seed, "labels untold").uniform(num * 3).reshape(num, 3)
    return Readers(
        ids=tuple(f"r{index:05d}" for index in range(1, num + 1)),
        ages=ages,
        genders=genders,
        incomes=incomes,
        languages=languages,
        num_clicks=np.maximum(1, np.rint(wish)).astype(np.int64),
        told=untold >= _UNKNOWN,
    )


def split_of(user_id: str) -> Split:
    """Assign a reader to train, valid or test (80/10/10) by a hash of the id alone.

    >>> split_of("r00001") == split_of("r00001")
    True
    """
    slot = int.from_bytes(hashlib.sha256(user_id.encode()).digest()[:8], "big") % 10
    if slot < 8:
        return "train"
    return "valid" if slot == 8 else "test"
