"""From arrays to what people read: `Profile` and `Recommendation` records."""

from datetime import datetime
from operator import attrgetter

import numpy as np

from schemas.bundle import Manifest
from schemas.history import HEADER_BYTES
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
from worker.ranking import Ranked
from worker.reading import Reading

PROFILE_TAGS = 10
"""Tag interests listed in a profile."""

READERS_LIKE_YOU = "readers-like-you"
FRESH = "fresh"


def profiles(
    user_ids: list[str],
    reading: Reading,
    estimates: Estimates,
    interests: np.ndarray[tuple[int, int], np.dtype[np.float32]],
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


def _top_tags(
    interests: np.ndarray[tuple[int, int], np.dtype[np.float32]], names: list[str]
) -> list[dict[str, float]]:
    shares = interests.astype(np.float64).round(4)
    tops = []
    for row in shares:
        at = np.flatnonzero(row)
        # Equal shares in the order of their names: tag numbers differ from worker to worker.
        ranked = sorted((-row[tag], names[tag]) for tag in at.tolist())
        tops.append({name: -float(share) for share, name in ranked[:PROFILE_TAGS]})
    return tops


def recommendations(
    user_ids: list[str],
    histories: list[bytes],
    ranked: Ranked,
    catalogue: Catalogue,
    manifest: Manifest,
    now: datetime,
) -> list[Recommendation]:
    """Build the readers' front pages, each item with its reasons, strongest first."""
    # Rounded and turned into Python numbers for the whole batch: per item it is half of the cost.
    rows = ranked.rows.tolist()
    from_tags = ranked.from_tags.astype(np.float64).round(4).tolist()
    from_affinity = ranked.from_affinity.astype(np.float64).round(4).tolist()
    from_freshness = ranked.from_freshness.astype(np.float64).round(4).tolist()
    scores = ranked.scores.astype(np.float64).round(4).tolist()
    pages = []
    for i, user_id in enumerate(user_ids):
        shares = zip(
            rows[i], scores[i], from_tags[i], from_affinity[i], from_freshness[i], strict=True
        )
        pages.append(
            Recommendation(
                recommendation_id=recommendation_id(histories[i], manifest.model_version),
                user_id=user_id,
                items=[_item(catalogue, *each) for each in shares if each[0] >= 0],
                model_version=manifest.model_version,
                generated_at=now,
            )
        )
    return pages


def recommendation_id(history: bytes, model_version: str) -> str:
    """Identify what a front page was made from: the history's checksum and the model."""
    return f"{history[1:HEADER_BYTES].hex()}-{model_version}"


def _item(
    catalogue: Catalogue,
    row: int,
    score: float,
    from_tags: list[float],
    from_affinity: float,
    from_freshness: float,
) -> RecommendedItem:
    article = catalogue.articles[row]
    reasons = [
        Reason(name=f"tag:{tag}", weight=share)
        for tag, share in zip(article.tags, from_tags, strict=False)
        if share
    ]
    if from_affinity:
        reasons.append(Reason(name=READERS_LIKE_YOU, weight=from_affinity))
    if from_freshness:
        reasons.append(Reason(name=FRESH, weight=from_freshness))
    reasons.sort(key=_by_weight, reverse=True)
    return RecommendedItem(
        article_id=article.article_id, score=score, tags=article.tags, reasons=reasons
    )


_by_weight = attrgetter("weight")
