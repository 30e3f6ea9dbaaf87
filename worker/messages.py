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
    ServedFeatures,
    ServedItem,
)
from schemas.timestamps import from_ms
from worker.catalogue import Catalogue
from worker.model import Estimates
from worker.reading import Reading
from worker.recommend.features import FEATURES, SOURCES
from worker.recommend.pages import Ranked

PROFILE_TAGS = 10
"""Tag interests listed in a profile."""

TAGS = "tags"
CO_CLICKED = "co-clicked"
EXPLORED = "explored"


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
    recommendation_ids: list[str],
    ranked: Ranked,
    interests: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    catalogue: Catalogue,
    manifest: Manifest,
    now: datetime,
) -> list[Recommendation]:
    """Build the readers' front pages, each item with its reasons, strongest first."""
    # Turned into Python numbers for the whole batch: item by item it is half of the cost.
    rows = ranked.rows.tolist()
    scores = ranked.scores.astype(np.float64).round(4).tolist()
    explored = ranked.explored.tolist()
    linked = ranked.linked.tolist()
    by_feature = ranked.shares
    sums = np.stack(
        [by_feature[:, :, list(columns)].sum(axis=2) for columns in SOURCES.values()], axis=2
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


def served_features(
    pages: list[Recommendation], ranked: Ranked, now_ms: int
) -> list[ServedFeatures]:
    """Build the records of what each page was ranked by."""
    values = ranked.features.astype(np.float64).round(4).tolist()
    weights = ranked.weights.round(4).tolist()
    of_reader = ranked.reader_weights.round(4).tolist()
    return [
        ServedFeatures(
            recommendation_id=page.recommendation_id,
            seen_from=from_ms(now_ms),
            features=dict(zip(FEATURES, of_reader[i], strict=True)),
            items=[
                ServedItem(
                    article_id=item.article_id,
                    values=values[i][place],
                    weights=weights[i][place],
                )
                for place, item in enumerate(page.items)
            ],
        )
        for i, page in enumerate(pages)
    ]


def recommendation_id(history: bytes, model_version: str) -> str:
    """Identify what a front page was made from: the history's checksum and the model."""
    return f"{history[1:HEADER_BYTES].hex()}-{model_version}"


def _item(
    catalogue: Catalogue,
    interests: np.ndarray[tuple[int], np.dtype[np.float32]],
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
    reasons.sort(key=_by_weight, reverse=True)
    return RecommendedItem(
        article_id=article.article_id, score=score, tags=article.tags, reasons=reasons
    )


def _tag_reasons(
    catalogue: Catalogue,
    interests: np.ndarray[tuple[int], np.dtype[np.float32]],
    row: int,
    share: float,
) -> list[Reason]:
    """Divide what the tags are worth by how much the reader likes each of them."""
    tags = [tag for tag in catalogue.tags[row].tolist() if tag >= 0]
    liked = [(tag, float(interests[tag])) for tag in tags if interests[tag] > 0]
    total = sum(interest for _, interest in liked)  # not 0, or there would be no share
    return [
        Reason(name=f"tag:{catalogue.tag_names[tag]}", weight=round(share * interest / total, 4))
        for tag, interest in liked
    ]


_by_weight = attrgetter("weight")
