"""What ranking costs a reader, beside scoring every article: `python -m tests.benchmarks.ranking`.

5,000 live articles with tags and vectors, readers with Zipf histories, statistics of 60,000 clicks.
Both sides in one run, as microseconds per reader in batches of 128 and as a ratio.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from schemas.encoded import EncodedArticle
from schemas.history import article_ref, merge, pack_entry
from worker.catalogue import Catalogue
from worker.reading import Reading, read, tag_interests
from worker.recommend.learn import count_click
from worker.recommend.options import Options
from worker.recommend.pages import Tastes
from worker.recommend.recommender import Recommender
from worker.recommend.statistics import Statistics
from worker.terms import NUM_TERMS

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
WIDTH = 64
BATCH = 128


def build(
    num_articles: int, num_clicks: int, width: int = WIDTH, num_words: int = 0
) -> tuple[Recommender, Catalogue]:
    """Return a recommender that has seen a stream. num_words: of each article."""
    random = np.random.default_rng(0)
    catalogue = Catalogue(width, np.dtype("<f4"))
    for number in range(num_articles):
        tags = [f"t{tag}" for tag in random.choice(60, 3, replace=False)]
        row = random.normal(size=width).astype("<f4").tobytes()
        age_ms = int(random.integers(1, 500) * HOUR_MS)
        terms = (random.zipf(1.2, num_words) % NUM_TERMS).astype("<u2").tobytes()
        catalogue.put(EncodedArticle(f"a{number}", "v", row, tags, NOW_MS - age_ms, "en", terms))
    statistics = Statistics()
    recommender = Recommender(catalogue, statistics, Options())
    items = statistics.number(catalogue.refs())
    for at in range(num_clicks):
        picked = items[random.zipf(1.3, 6) % num_articles]
        count_click(
            statistics.items, statistics.co, int(picked[0]), NOW_MS - HOUR_MS + at, picked[1:]
        )
    statistics.fit()
    return recommender, catalogue


def batch(catalogue: Catalogue, mean_clicks: int, seed: int) -> tuple[Reading, Tastes]:
    """Return a batch of readers with geometric history lengths."""
    random = np.random.default_rng(seed)
    histories = []
    for _ in range(BATCH):
        length = int(random.geometric(1 / mean_clicks))
        clicked = random.zipf(1.3, length) % len(catalogue)
        entries = [
            pack_entry(NOW_MS - int(at) * HOUR_MS, f"e{at}", article_ref(f"a{row}"))
            for at, row in enumerate(clicked.tolist(), start=1)
        ]
        histories.append(merge(None, entries, 1024))
    reading = read(histories, catalogue, 64)
    interests = tag_interests(reading, catalogue, 14.0)
    return reading, Tastes(interests, np.zeros_like(interests), None)


def microseconds(run: Callable[[], object], repeats: int) -> float:
    """Return the median over repeats, per reader of a batch."""
    run()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) / BATCH * 1e6


def main() -> None:
    """Print one line a history length, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--articles", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    recommender, catalogue = build(options.articles, 60_000)
    everything = np.arange(len(catalogue))
    rows = []
    for mean_clicks in (2, 8, 32, 128):
        reading, tastes = batch(catalogue, mean_clicks, mean_clicks)
        ranked = microseconds(lambda r=reading, t=tastes: recommender.rank(r, t, NOW_MS, 10), 30)  # type: ignore[misc]
        alone_reading, alone_tastes = (
            read([merge(None, [pack_entry(NOW_MS, None, article_ref("a1"))], 8)], catalogue, 64),
            Tastes(tastes.interests[:1], tastes.affinity[:1], None),
        )
        brute = BATCH * microseconds(
            lambda r=alone_reading, t=alone_tastes: recommender.score(r, t, NOW_MS, everything),  # type: ignore[misc]
            10,
        )
        rows.append({"mean_clicks": mean_clicks, "ranked_us": ranked, "everything_us": brute})
    if options.json:
        print(json.dumps({"articles": options.articles, "batch": BATCH, "rows": rows}))  # noqa: T201
        return
    for row in rows:
        ratio = row["everything_us"] / row["ranked_us"]
        print(  # noqa: T201
            f"{row['mean_clicks']:4} clicks: {row['ranked_us']:7.1f} us a reader, "
            f"everything {row['everything_us']:8.1f} us, ratio {ratio:.0f}"
        )


if __name__ == "__main__":
    main()
