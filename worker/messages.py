"""From arrays to records: `Profile` and `ServedFeatures`; see `worker.page_json` for the pages."""

from datetime import datetime
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import Manifest
from schemas.history import HEADER_BYTES
from schemas.records import (
    AgeEstimate,
    GenderEstimate,
    IncomeEstimate,
    Profile,
    ServedFeatures,
    ServedItem,
)
from schemas.timestamps import from_ms
from worker.catalogue import Catalogue
from worker.model import Estimates
from worker.reading import Reading
from worker.recommend.features import FEATURES
from worker.recommend.pages import Ranked

PROFILE_TAGS = 10
"""Tag interests listed in a profile."""


def profiles(
    user_ids: list[str],
    reading: Reading,
    estimates: Estimates,
    interests: NDArray[np.float32],
    catalogue: Catalogue,
    manifest: Manifest,
    now: datetime,
) -> list[Profile]:
    """Build the readers' profiles. Probabilities are rounded to 4 decimals, years to 2."""
    ages = estimates.age_years.astype(np.float64).round(2).tolist()
    sds = np.maximum(estimates.age_sd.astype(np.float64), 0.01).round(2).tolist()
    incomes = estimates.income.astype(np.float64).round(4).tolist()
    groups = estimates.income.argmax(axis=1).tolist()
    female = estimates.female.astype(np.float64).round(4).tolist()
    num_clicks = reading.num_clicks.tolist()
    num_known = reading.known.sum(axis=1).tolist()
    newest = reading.newest_ms.tolist()
    oldest = reading.oldest_ms.tolist()
    tags = _top_tags(interests, catalogue.tag_names)
    return [
        Profile(
            user_id=user_id,
            age=AgeEstimate(years=ages[i], sd=sds[i]),
            income=IncomeEstimate(group=groups[i], probabilities=incomes[i]),
            gender=GenderEstimate(female=female[i]),
            tags=tags[i],
            num_clicks=num_clicks[i],
            num_known=num_known[i],
            first_click=from_ms(oldest[i]),
            last_click=from_ms(newest[i]),
            model_version=manifest.model_version,
            updated_at=now,
        )
        for i, user_id in enumerate(user_ids)
    ]


def _top_tags(interests: NDArray[np.float32], names: list[str]) -> list[dict[str, float]]:
    """Return each reader's strongest tags, most read first, from interests (B, G)."""
    reader, tag = np.nonzero(interests)  # few of the cells: round and sort no others
    shares = interests[reader, tag].astype(np.float64).round(4)
    listed = np.flatnonzero(shares)
    reader, tag, shares = reader[listed], tag[listed], shares[listed]
    # Equal shares in the order of their names: tag numbers differ from worker to worker.
    place = np.zeros(len(names), dtype=np.int64)
    place[tag] = 1
    named = sorted(np.flatnonzero(place).tolist(), key=names.__getitem__)
    place[named] = np.arange(len(named))
    # By reader, share (at most 1) and name, in one number: a third of the time of three keys.
    descending = 10_000 - np.rint(shares * 10_000).astype(np.int64)
    order = np.argsort(((reader << 16) + descending) * len(names) + place[tag])
    num_tags = np.bincount(reader, minlength=len(interests))
    ends = np.cumsum(num_tags)
    nth = np.arange(len(order)) - (ends - num_tags)[reader]  # `reader` ascends, sorted or not
    top = order[nth < PROFILE_TAGS]
    ranked = zip([names[number] for number in tag[top].tolist()], shares[top].tolist(), strict=True)
    return [dict(islice(ranked, num)) for num in np.minimum(num_tags, PROFILE_TAGS).tolist()]


def served_features(
    recommendation_ids: list[str], ranked: Ranked, catalogue: Catalogue, now_ms: int
) -> list[ServedFeatures]:
    """Build the records of what each page was ranked by."""
    rows = ranked.rows.tolist()
    values = ranked.features.astype(np.float64).round(4).tolist()
    weights = ranked.weights.round(4).tolist()
    of_reader = ranked.reader_weights.round(4).tolist()
    return [
        ServedFeatures(
            recommendation_id=recommendation_id,
            seen_from=from_ms(now_ms),
            features=dict(zip(FEATURES, of_reader[i], strict=True)),
            items=[
                ServedItem(
                    article_id=catalogue.articles[row].article_id,
                    values=values[i][place],
                    weights=weights[i][place],
                )
                for place, row in enumerate(rows[i])
                if row >= 0
            ],
        )
        for i, recommendation_id in enumerate(recommendation_ids)
    ]


def recommendation_id(history: bytes, model_version: str) -> str:
    """Identify what a front page was made from: the history's checksum and the model."""
    return f"{history[1:HEADER_BYTES].hex()}-{model_version}"
