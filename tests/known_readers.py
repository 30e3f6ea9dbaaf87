"""Readers and estimators whose figures are known, for the tests of evaluation."""

from pathlib import Path
from typing import Any

import numpy as np

from export.bundle_model import BundleModel, Estimates
from export.data import Ints, ReaderData, load_reader_data
from schemas.bundle import Manifest
from schemas.reading_set import ReadingSet
from tests.tiny_sets import write_reading_set


class Oracle(BundleModel):
    """Knows every reader with ten clicks; sees less with fewer."""

    def __init__(self, income_groups: list[str]) -> None:
        self.manifest = Manifest(
            architecture="two-stage",
            model_version="0123456789ab",
            graphs={},
            files={},
            vocabulary_size=100,
            article_tokens=16,
            row_width=4,
            max_clicks=8,
            income_groups=income_groups,
            age_mean_years=44.0,
            age_sd_years=12.0,
            created_at="2026-01-01T00:00:00+00:00",
            training={
                "dataset": "a|set",
                "licence": "MIT",
                "prior": {"income": [0.8, 0.2], "female": 0.3},
            },
        )

    def estimate(self, data: ReaderData, readers: Ints, num_clicks: int | None = None) -> Estimates:
        clicks = np.minimum(data.num_clicks()[readers], num_clicks or 10)
        known = np.minimum(clicks / 10.0, 1.0)[:, None]
        right = np.eye(len(data.income_groups))[data.income[readers]]
        return Estimates(
            age_years=(data.age[readers] + 10.0 - clicks).astype(np.float32),
            age_sd=np.full(len(readers), 3.0, dtype=np.float32),
            income=(known * right + (1 - known) / right.shape[1]).astype(np.float32),
            female=(known[:, 0] * data.gender[readers] + (1 - known[:, 0]) / 2).astype(np.float32),
        )


def labelled_set(path: Path, users: list[dict[str, Any]], num_clicks: int = 3) -> ReaderData:
    """Readers who all clicked the same articles."""
    return load_reader_data(
        ReadingSet(
            write_reading_set(
                path,
                articles=[{"article_id": f"a{n}", "title": f"word{n} news"} for n in range(30)],
                users=users,
                clicks=[
                    {"user_id": user["user_id"], "article_id": f"a{n}", "timestamp": n}
                    for user in users
                    for n in range(num_clicks)
                ],
                num_income_groups=2,
            )
        )
    )
