"""What is left of a stream that was replayed in bulk: `python -m tests.benchmarks.replayed DIR`.

A worker that has much to catch up with learns from thousands of clicks at once. The first part of a
reading set is learned one click at a time or in batches, from partitions that take turns; then the
clicks that follow are ranked, each before it is counted, one at a time. What differs is what the
batches taught; whether learning goes on after them is to be told apart from it (`--frozen`).
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from schemas.reading_set import ReadingSet
from worker.stream_evaluation.metrics import PAGE_LENGTH
from worker.stream_evaluation.model import build_recommender
from worker.stream_evaluation.protocol import LoadedStream, load_stream

Click = tuple[int, int, int]


def main() -> None:
    """Print a line for each size of batches, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--share", type=float, default=0.3, help="replayed, of all clicks")
    parser.add_argument("--ranked", type=int, default=2000, help="clicks ranked after that")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument(
        "--run", type=int, default=640, help="clicks until the next partition's turn"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 100, 2000, 8000])
    parser.add_argument("--frozen", action="store_true", help="learn no more after the replay")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    stream = load_stream(ReadingSet(options.dataset))
    rows = []
    for size in options.batches:
        ndcg = ndcg_after(stream, size, options)
        rows.append({"batch": size, "ndcg@10": ndcg})
        if not options.json:
            print(f"batches of {size:5}: ndcg@10 {ndcg:.4f}", flush=True)  # noqa: T201
    if options.json:
        print(json.dumps({"dataset": stream.name, "share": options.share, "rows": rows}))  # noqa: T201


def ndcg_after(stream: LoadedStream, size: int, options: argparse.Namespace) -> float:
    """Return the mean nDCG@10 of the clicks after those that were replayed in batches of a size."""
    columns = (stream.users.tolist(), stream.articles.tolist(), stream.times_ms.tolist())
    clicks: list[Click] = list(zip(*columns, strict=True))
    cut = int(len(clicks) * options.share)
    recommender = build_recommender(stream, None)
    if size == 1:
        for click in clicks[:cut]:
            recommender.learn(*click)
    else:
        for batch in batches(clicks[:cut], size, options.partitions, options.run):
            recommender.learn_batch(batch)
    if options.frozen:
        recommender.freeze()
    clicked = {(user, article) for user, article, _ in clicks[:cut]}
    gains = []
    for user, article, time_ms in clicks[cut : cut + options.ranked]:
        if (user, article) not in clicked:
            page = list(recommender.rank(user, time_ms, PAGE_LENGTH))
            gains.append(1 / np.log2(page.index(article) + 2) if article in page else 0.0)
        clicked.add((user, article))
        recommender.learn(user, article, time_ms)
    return float(np.mean(gains))


def batches(
    clicks: Sequence[Click], size: int, num_partitions: int, run: int
) -> Iterator[list[Click]]:
    """Yield batches as they are fetched: so many clicks of a partition, then of the next.

    A reader's clicks are in one partition.
    """
    partitions = [
        [each for each in clicks if each[0] % num_partitions == at] for at in range(num_partitions)
    ]
    fetched: list[Click] = []
    for start in range(0, max(map(len, partitions)), run):
        for partition in partitions:
            fetched += partition[start : start + run]
    for start in range(0, len(fetched), size):
        yield fetched[start : start + size]


if __name__ == "__main__":
    main()
