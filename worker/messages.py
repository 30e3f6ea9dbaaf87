"""What a page was ranked by, from arrays to records, and what a page is identified by.

See `worker.page_json` and `worker.profile_json` for the pages and the profiles.
"""

import numpy as np

from schemas.history import HEADER_BYTES
from schemas.records import ServedFeatures, ServedItem
from schemas.timestamps import from_ms
from worker.catalogue import Catalogue
from worker.recommend.features import FEATURES
from worker.recommend.pages import Ranked


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
