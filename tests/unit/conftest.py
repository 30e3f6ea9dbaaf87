"""A generated newsroom, once for all tests of it."""

import pytest

from export.newsroom import (
    NewsroomReport,
    NewsroomTruth,
    generate_newsroom,
    load_histories,
    load_truth,
)
from export.newsroom.histories import History
from schemas.reading_set import Split


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> NewsroomReport:
    return generate_newsroom(
        tmp_path_factory.mktemp("newsroom") / "set", num_articles=800, num_readers=1200
    )


@pytest.fixture(scope="session")
def truth(generated: NewsroomReport) -> NewsroomTruth:
    return load_truth(generated.path)


@pytest.fixture(scope="session")
def histories(generated: NewsroomReport, truth: NewsroomTruth) -> list[History]:
    splits: tuple[Split, ...] = ("train", "valid", "test")
    return [h for split in splits for h in load_histories(generated.path, truth, split)]
