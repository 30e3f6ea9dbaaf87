"""Profiles and front pages built the plain way: record by record, from the arrays of one reader.

What the worker writes must equal, byte for byte, what msgspec makes of these.
"""

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from schemas.bundle import Manifest
from schemas.records import (
    AgeEstimate,
    GenderEstimate,
    IncomeEstimate,
    Profile,
    Reason,
    Recommendation,
    RecommendedItem,
)
from schemas.timestamps import from_ms
from worker.catalogue import Catalogue
from worker.model import Estimates
from worker.page_json import CO_CLICKED, EXPLORED, TAGS
from worker.profile_json import PROFILE_TAGS
from worker.reading import Reading
from worker.recommend.features import SOURCES
from worker.recommend.pages import Ranked


def plain_profiles(
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
    shares = interests.astype(np.float64).round(4)
    tops = []
    for row in shares:
        at = np.flatnonzero(row)
        ranked = sorted((-row[tag], names[tag]) for tag in at.tolist())
        tops.append({name: -float(share) for share, name in ranked[:PROFILE_TAGS]})
    return tops


def plain_recommendations(
    user_ids: list[str],
    recommendation_ids: list[str],
    ranked: Ranked,
    interests: NDArray[np.float32],
    catalogue: Catalogue,
    manifest: Manifest,
    now: datetime,
) -> list[Recommendation]:
    """Build the readers' front pages, each item with its reasons, strongest first."""
    rows = ranked.rows.tolist()
    scores = ranked.scores.astype(np.float64).round(4).tolist()
    explored = ranked.explored.tolist()
    linked = ranked.linked.tolist()
    by_feature = ranked.shares
    # One by one: `sum` may go pairwise, to another last bit.
    sums = np.stack(
        [by_feature[:, :, list(columns)].cumsum(axis=2)[:, :, -1] for columns in SOURCES.values()],
        axis=2,
    )
    shares = sums.astype(np.float64).round(4).tolist()
    pages = []
    for i, user_id in enumerate(user_ids):
        parts = zip(rows[i], scores[i], shares[i], linked[i], explored[i], strict=True)
        pages.append(
            Recommendation(
                recommendation_id=recommendation_ids[i],
                user_id=user_id,
                items=[_item(catalogue, interests[i], *each) for each in parts if each[0] >= 0],
                model_version=manifest.model_version,
                generated_at=now,
            )
        )
    return pages


def _item(
    catalogue: Catalogue,
    interests: NDArray[np.float32],
    row: int,
    score: float,
    shares: list[float],
    linked: int,
    explored: bool,
) -> RecommendedItem:
    article = catalogue.articles[row]
    reasons = []
    for source, share in zip(SOURCES, shares, strict=True):
        if not share:
            continue
        if source == TAGS:
            reasons += _tag_reasons(catalogue, interests, row, share)
        elif source == CO_CLICKED and linked >= 0:
            name = f"{CO_CLICKED}:{catalogue.articles[linked].article_id}"
            reasons.append(Reason(name=name, weight=share))
        else:
            reasons.append(Reason(name=source, weight=share))
    if explored:
        reasons.append(Reason(name=EXPLORED, weight=0.0))
    reasons.sort(key=lambda reason: reason.weight, reverse=True)
    return RecommendedItem(
        article_id=article.article_id, score=score, tags=article.tags, reasons=reasons
    )


def _tag_reasons(
    catalogue: Catalogue, interests: NDArray[np.float32], row: int, share: float
) -> list[Reason]:
    tags = [tag for tag in catalogue.tags[row].tolist() if tag >= 0]
    liked = [(tag, float(interests[tag])) for tag in tags if interests[tag] > 0]
    total = 0.0  # stays so only without a share
    for _, interest in liked:  # as `sum` adds no more from Python 3.12 on
        total += interest
    return [
        Reason(name=f"tag:{catalogue.tag_names[tag]}", weight=round(share * interest / total, 4))
        for tag, interest in liked
    ]
