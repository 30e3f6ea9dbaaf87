"""Random readers and ranked pages, as the arrays that messages are made of."""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.bundle import Manifest
from schemas.encoded import EncodedArticle
from schemas.history import HEADER_BYTES, article_ref, merge, pack_entry
from worker.catalogue import Catalogue
from worker.model import Estimates
from worker.reading import Reading, read, tag_interests
from worker.recommend.features import NUM_FEATURES
from worker.recommend.pages import Ranked

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
MANIFEST = msgspec.convert(
    {
        "architecture": "two-stage",
        "model_version": "v1",
        "graphs": {},
        "files": {},
        "vocabulary_size": 1,
        "article_tokens": 1,
        "row_width": 1,
        "max_clicks": 16,
        "income_groups": ["low", "middle", "high"],
        "age_mean_years": 40.0,
        "age_sd_years": 10.0,
        "created_at": "",
    },
    Manifest,
)


class Batch(NamedTuple):
    """Readers with what is estimated of them and what they are offered."""

    user_ids: list[str]
    recommendation_ids: list[str]
    reading: Reading
    estimates: Estimates
    interests: NDArray[np.float32]
    ranked: Ranked


def article(article_id: str, tags: list[str]) -> EncodedArticle:
    return EncodedArticle(article_id, "v1", np.ones(1, dtype="<f4").tobytes(), tags, None)


def catalogue(article_ids: list[str], tags: list[str], seed: int, most_tags: int = 6) -> Catalogue:
    """Return articles with up to `most_tags` of the tags each."""
    random = np.random.default_rng(seed)
    found = Catalogue(1, np.dtype("<f4"))
    for article_id in article_ids:
        drawn = random.choice(
            max(len(tags), 1), random.integers(0, min(len(tags), most_tags) + 1), replace=False
        )
        found.put(article(article_id, [tags[each] for each in drawn]))
    return found


def batch(
    catalogue: Catalogue, user_ids: list[str], seed: int, k: int = 10, scale: float = 0.5
) -> Batch:
    """Return readers of up to 20 clicks, some without any, and pages of up to `k` items.

    Two thirds of the features weigh something, of either sign; `scale` is how much.
    """
    random = np.random.default_rng(seed)
    num = len(user_ids)
    histories = []
    for _ in user_ids:
        entries = [
            pack_entry(NOW_MS - int(at) * HOUR_MS, f"e{at}", article_ref(article_id))
            for at in range(random.integers(0, 21))
            for article_id in [catalogue.articles[random.integers(len(catalogue))].article_id]
        ]
        histories.append(merge(None, entries, 64) if entries else bytes(HEADER_BYTES))
    reading = read(histories, catalogue, 16)
    shape = (num, k)
    rows = random.integers(0, len(catalogue), shape)
    rows[random.random(num) < 0.1, k // 2 :] = -1
    rows[random.random(num) < 0.05] = -1
    features = (random.normal(size=(*shape, NUM_FEATURES)) * scale).astype(np.float32)
    features[random.random(features.shape) < 1 / 3] = 0.0
    features[random.random(shape) < 0.05] = 0.0
    weights = random.choice([-1.0, 0.0, 0.0001, 0.25, 0.5, 1.0], features.shape)
    linked = np.where(random.random(shape) < 0.5, random.integers(0, len(catalogue), shape), -1)
    ranked = Ranked(
        rows,
        (features * weights).sum(axis=2).astype(np.float32),
        features,
        weights,
        random.normal(size=(num, NUM_FEATURES)),
        linked,
        random.random(shape) < 0.1,
    )
    estimates = Estimates(
        random.uniform(15, 80, num).astype(np.float32),
        random.uniform(0, 12, num).astype(np.float32),
        random.dirichlet(np.ones(3), num).astype(np.float32),
        random.random(num).astype(np.float32),
    )
    ids = [f"{number:08x}-v1" for number in range(num)]
    return Batch(user_ids, ids, reading, estimates, tag_interests(reading, catalogue, 14.0), ranked)
