"""What counting everybody's clicks costs: `python -m tests.benchmarks.counting`.

CPU time a click of what every worker does with each click of the log, and of what goes on the log;
generated clicks as in the stream benchmark, more articles than co-click slots, nothing learned.
"""

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np

from schemas.encoded import EncodedArticle
from schemas.history import ENTRY_BYTES, HEADER_BYTES, article_ref, merge, pack_entry
from tests.benchmarks.stream.workload import Workload, generated
from worker.catalogue import Catalogue
from worker.counting import counted_positions
from worker.reader_store import READERS_PER_CALL
from worker.recommend.click_log import pack_untaught
from worker.recommend.learn import WINDOW
from worker.recommend.statistics import Statistics
from worker.recommend.warm import warm_up
from worker.terms import article_terms

CLICKS_PER_BATCH = 2000
NUM_SEGMENTS = 14


def batches(workload: Workload) -> Iterator[list[tuple[bytes | None, bytes, list[bytes]]]]:
    """Yield batches of readers: the history before, the one after, and the new entries."""
    held: dict[str, bytes] = {}
    for start in range(0, len(workload.clicks), CLICKS_PER_BATCH):
        fresh: dict[str, list[bytes]] = {}
        for click in workload.clicks[start : start + CLICKS_PER_BATCH]:
            entry = pack_entry(click.timestamp, click.event_id, article_ref(click.article_id))
            fresh.setdefault(click.user_id, []).append(entry)
        before = {user_id: held.get(user_id) for user_id in fresh}
        held |= {user_id: merge(before[user_id], new, 1024) for user_id, new in fresh.items()}
        yield [(before[user_id], held[user_id], new) for user_id, new in fresh.items()]


def main() -> None:
    """Print one line a step, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--articles", type=int, default=5000)
    parser.add_argument("--clicks", type=int, default=30_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warm_up()
    workload = generated(
        num_articles=options.articles, num_readers=20_000, num_clicks=options.clicks
    )
    catalogue = Catalogue(0, np.dtype("<f4"))
    for each in workload.articles:
        tags = each.tags or []
        terms = article_terms(each.title, each.body, tags)
        catalogue.put(EncodedArticle(each.article_id, "", b"", tags, None, None, terms))
    statistics = Statistics()
    spent = dict.fromkeys(("positions", "pack", "count"), 0.0)
    for batch in batches(workload):
        memberships = np.random.default_rng(0).random((len(batch), NUM_SEGMENTS), np.float32)
        begin = time.process_time()
        counted = [counted_positions(*each) for each in batch]
        found = time.process_time()
        readers = [at for at, positions in enumerate(counted) if positions]
        told = pack_untaught(
            [
                batch[at][1][HEADER_BYTES:][: (max(counted[at]) + 1 + WINDOW) * ENTRY_BYTES]
                for at in readers
            ],
            [counted[at] for at in readers],
            memberships[readers],
        )
        packed = time.process_time()
        for start in range(0, len(told), READERS_PER_CALL):
            statistics.apply(b"".join(told[start : start + READERS_PER_CALL]), catalogue)
        applied = time.process_time()
        spent["positions"] += found - begin
        spent["pack"] += packed - found
        spent["count"] += applied - packed
    costs = {step: seconds / len(workload.clicks) * 1e6 for step, seconds in spent.items()}
    if options.json:
        print(json.dumps({"articles": options.articles, "us_a_click": costs}))  # noqa: T201
        return
    for step, cost in costs.items():
        print(f"{step:10} {cost:6.2f} us of CPU a click")  # noqa: T201


if __name__ == "__main__":
    main()
