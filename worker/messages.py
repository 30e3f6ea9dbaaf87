"""From arrays to what people read: `Profile` and `Recommendation` records."""

from datetime import datetime

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
    places = [np.flatnonzero(rows >= 0).tolist() for rows in ranked.rows]
    return [
        Recommendation(
            recommendation_id=recommendation_id(histories[i], manifest.model_version),
            user_id=user_id,
            items=[_item(ranked, catalogue, i, j) for j in places[i]],
            model_version=manifest.model_version,
            generated_at=now,
        )
        for i, user_id in enumerate(user_ids)
    ]


def recommendation_id(history: bytes, model_version: str) -> str:
    """Identify what a front page was made from: the history's checksum and the model."""
    return f"{history[1:HEADER_BYTES].hex()}-{model_version}"


def _item(ranked: Ranked, catalogue: Catalogue, reader: int, place: int) -> RecommendedItem:
    row = int(ranked.rows[reader, place])
    article = catalogue.articles[row]
    shares = [
        (f"tag:{catalogue.tag_names[tag]}", float(share))
        for tag, share in zip(
            catalogue.tags[row].tolist(), ranked.from_tags[reader, place].tolist(), strict=True
        )
        if share
    ]
    shares.append((READERS_LIKE_YOU, float(ranked.from_affinity[reader, place])))
    shares.append((FRESH, float(ranked.from_freshness[reader, place])))
    reasons = [Reason(name=name, weight=round(share, 4)) for name, share in shares]
    reasons = [reason for reason in reasons if reason.weight]
    reasons.sort(key=lambda reason: -reason.weight)
    return RecommendedItem(
        article_id=article.article_id,
        score=round(sum(share for _, share in shares), 4),
        tags=article.tags,
        reasons=reasons,
    )
