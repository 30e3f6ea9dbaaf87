"""What it costs to know a reader before a page is ranked: `python -m tests.benchmarks.hydrating`.

By history length, as CPU microseconds per reader, median over repeats: merging one new click and
telling whether it counts; and seeing the merged histories with a bundle (`--bundle DIR`; without
one, a model of the usual sizes trained for a moment, which costs as much as a good one).

The new click is newer than all that is held ("newest"), or anywhere among it ("late").
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from schemas.encoded import EncodedArticle
from schemas.history import article_ref, merge, pack_entry
from worker.catalogue import Catalogue
from worker.counting import counted_positions
from worker.eye import Eye
from worker.front_pages import READERS_PER_RUN
from worker.model import Model, load_model

NOW_MS = 1_800_000_000_000
MINUTE_MS = 60_000
HISTORY_SIZE = 1024
MIXED = "1-1000"
"""Lengths of a log-normal distribution, some tens in the mean."""


def catalogue_of(model: Model, num_articles: int, num_tags: int) -> Catalogue:
    """Return a catalogue of random rows."""
    random = np.random.default_rng(0)
    catalogue = Catalogue(model.manifest.row_width, model.row_dtype)
    for number in range(num_articles):
        tags = [f"t{tag}" for tag in random.choice(num_tags, 3, replace=False)]
        row = random.normal(size=model.manifest.row_width).astype(model.row_dtype).tobytes()
        catalogue.put(EncodedArticle(f"a{number}", "v", row, tags, NOW_MS, "en"))
    return catalogue


def entries_of(num_clicks: int, num_articles: int, random: np.random.Generator) -> list[bytes]:
    """Return the clicks of one reader, the last of them the newest."""
    clicked = random.zipf(1.3, num_clicks) % num_articles
    ages = np.sort(random.exponential(3000.0, num_clicks))[::-1]
    return [
        pack_entry(NOW_MS - int(age * MINUTE_MS), f"e{at}", article_ref(f"a{row}"))
        for at, (age, row) in enumerate(zip(ages.tolist(), clicked.tolist(), strict=True))
    ]


def microseconds(run: Callable[[], object], repeats: int, num_readers: int) -> float:
    """Return the median over repeats, per reader."""
    run()
    taken = []
    for _ in range(repeats):
        start = time.thread_time()
        run()
        taken.append(time.thread_time() - start)
    return float(np.median(taken)) / num_readers * 1e6


def merge_all(held: list[bytes], fresh: list[list[bytes]]) -> list[bytes]:
    """Do what the pipeline does of every reader of a batch before it infers."""
    merged = []
    for packed, entries in zip(held, fresh, strict=True):
        merged.append(merge(packed, entries, HISTORY_SIZE))
        counted_positions(packed, merged[-1], entries)
    return merged


def measure(
    eye: Eye, sizes: list[int], num_articles: int, repeats: int, seed: int
) -> dict[str, float]:
    """Measure a batch of readers with so many clicks each."""
    random = np.random.default_rng(seed)
    clicks = [entries_of(size, num_articles, random) for size in sizes]
    at = [int(random.integers(size)) for size in sizes]
    newest = [merge(None, each[:-1], HISTORY_SIZE) for each in clicks]
    others = [
        merge(None, each[:i] + each[i + 1 :], HISTORY_SIZE)
        for each, i in zip(clicks, at, strict=True)
    ]
    late = [[each[i]] for each, i in zip(clicks, at, strict=True)]
    last = [each[-1:] for each in clicks]
    merged = merge_all(newest, last)
    parts = [merged[i : i + READERS_PER_RUN] for i in range(0, len(merged), READERS_PER_RUN)]

    def timed(run: Callable[[], object]) -> float:
        return microseconds(run, repeats, len(sizes))

    return {
        "newest_us": timed(lambda: merge_all(newest, last)),
        "late_us": timed(lambda: merge_all(others, late)),
        "see_us": timed(lambda: [eye.see(part) for part in parts]),
    }


def usual_bundle(directory: Path) -> Path:
    """Train next to nothing on a small newsroom."""
    from export.bundle_writer import train_bundle
    from export.newsroom import generate_newsroom
    from export.options import TrainingOptions

    generate_newsroom(directory / "set", num_articles=400, num_readers=300, seed=7)
    options = TrainingOptions(epochs=1, max_clicks=64)
    train_bundle(directory / "set", directory / "bundle", options, measure=False)
    return directory / "bundle"


def main() -> None:
    """Print one line a history length, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--articles", type=int, default=5000)
    parser.add_argument("--tags", type=int, default=60)
    parser.add_argument("--readers", type=int, default=1400)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        model = load_model(options.bundle or usual_bundle(Path(temporary)))
    catalogue = catalogue_of(model, options.articles, options.tags)
    eye = Eye(catalogue, model, 14.0)
    random = np.random.default_rng(1)
    mixed = np.clip(random.lognormal(2.6, 1.4, options.readers), 1, 1000).astype(int)
    batches = {str(size): [size] * options.readers for size in (1, 8, 64, 512)}
    batches[MIXED] = mixed.tolist()
    rows = [
        {"clicks": name} | measure(eye, sizes, options.articles, options.repeats, number)
        for number, (name, sizes) in enumerate(batches.items())
    ]
    if options.json:
        print(json.dumps({"window": model.manifest.max_clicks, "rows": rows}))  # noqa: T201
        return
    for row in rows:
        print(  # noqa: T201
            f"{row['clicks']:>6} clicks: merge {row['newest_us']:6.1f} us a reader, "
            f"late {row['late_us']:6.1f} us, see {row['see_us']:6.1f} us"
        )


if __name__ == "__main__":
    main()
