"""What a batch of a few readers costs: `python -m tests.benchmarks.small_batches`.

Pages and lessons together, as CPU milliseconds per batch, median over repeats, by readers in the
batch and articles on offer: what light load costs, where nothing is shared by many readers. Each
batch is seen from another moment, after another change of the statistics, as in a stream.
"""

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from schemas.history import article_ref, merge, pack_entry
from tests.benchmarks.hydrating import HISTORY_SIZE, entries_of, usual_bundle
from tests.benchmarks.ranking import NOW_MS, build
from worker.batch_lessons import BatchLessons
from worker.eye import Eye
from worker.front_pages import FrontPages
from worker.model import Model, load_model

PAGE = 10
STATISTICS_CLICKS = 60_000
MEAN_CLICKS = 20
NUM_WORDS = 20
SECOND_MS = 1000


class SmallBatches:
    """A worker's heart that has seen a stream, and readers who each click once more."""

    def __init__(self, model: Model, num_articles: int, num_clicks: int) -> None:
        self._recommender, catalogue = build(
            num_articles, num_clicks, model.manifest.row_width, NUM_WORDS
        )
        eye = Eye(catalogue, model, 14.0)
        self._pages = FrontPages(model, self._recommender, eye, PAGE)
        self._lessons = BatchLessons(catalogue, self._recommender, eye)
        self._num_articles = num_articles
        self._random = np.random.default_rng(5)
        self._now_ms = NOW_MS

    def histories(self, num_readers: int) -> list[bytes]:
        """Return the readers' histories; the newest click of each is the one that counts."""
        self._now_ms += SECOND_MS
        found = []
        for length in self._random.geometric(1 / MEAN_CLICKS, num_readers).tolist():
            row = int(self._random.zipf(1.3)) % self._num_articles
            new = pack_entry(self._now_ms, None, article_ref(f"a{row}"))
            older = entries_of(length, self._num_articles, self._random)
            found.append(merge(None, [*older, new], HISTORY_SIZE))
        return found

    def run(self, histories: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Do what the pipeline does; return the pages, and what the click log is told."""
        self._recommender.statistics.num_changes += 1
        now = datetime.fromtimestamp(self._now_ms / 1000, UTC)
        users = [f"u{at}" for at in range(len(histories))]
        pages = list(self._pages.make(users, histories, self._now_ms, now))
        told = self._lessons.clicks(
            histories, [[0]] * len(histories), [page.membership for page in pages], self._now_ms
        )
        return [page.recommendation for page in pages], told

    def milliseconds(self, num_readers: int, repeats: int) -> float:
        """Return what a batch costs, the median over repeats."""
        taken = []
        for _ in range(repeats):
            histories = self.histories(num_readers)
            start = time.thread_time()
            self.run(histories)
            taken.append(time.thread_time() - start)
        return float(np.median(taken[1:])) * 1e3


def main() -> None:
    """Print one line per number of articles and readers, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--articles", type=int, nargs="+", default=[5000, 50_000])
    parser.add_argument("--readers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        model = load_model(options.bundle or usual_bundle(Path(temporary)))
    rows = []
    for num_articles in options.articles:
        batches = SmallBatches(model, num_articles, STATISTICS_CLICKS)
        for num_readers in options.readers:
            spent = batches.milliseconds(num_readers, options.repeats)
            rows.append({"articles": num_articles, "readers": num_readers, "batch_ms": spent})
    if options.json:
        print(json.dumps({"rows": rows}))  # noqa: T201
        return
    for row in rows:
        print(  # noqa: T201
            f"{row['articles']:7,} articles, {row['readers']:3} readers: "
            f"{row['batch_ms']:6.2f} ms a batch"
        )


if __name__ == "__main__":
    main()
