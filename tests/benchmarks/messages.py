"""What messages cost a reader: `python -m tests.benchmarks.messages`.

Profile and front page as JSON, from arrays: record by record as before, and what ships. 1,000
articles of up to six tags, pages of ten items. Both sides take turns; CPU time, microseconds per
reader, the median and the least of all turns.
"""

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import numpy as np

from schemas.records import Recommendation
from tests.plain_messages import plain_profiles, plain_recommendations
from tests.random_pages import MANIFEST, NOW_MS, Batch, batch, catalogue
from worker.catalogue import Catalogue
from worker.page_json import PageWriter
from worker.profile_json import ProfileWriter

NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
_encode = msgspec.json.Encoder().encode


def sides(news: Catalogue, of: Batch) -> dict[str, Callable[[], list[bytes]]]:
    """Return what is compared, by what it makes; each returns JSON."""
    profiles, pages = (
        ProfileWriter(news, MANIFEST.model_version),
        PageWriter(news, MANIFEST.model_version),
    )
    seen = (of.user_ids, of.reading, of.estimates, of.interests)
    shown = (of.user_ids, of.recommendation_ids, of.ranked, of.interests)
    return {
        "plain profiles": lambda: [
            _encode(each) for each in plain_profiles(*seen, news, MANIFEST, NOW)
        ],
        "profiles": lambda: profiles.write(*seen, NOW),
        "plain pages": lambda: [
            _encode(each) for each in plain_recommendations(*shown, news, MANIFEST, NOW)
        ],
        "pages": lambda: pages.write(*shown, NOW),
    }


def main() -> None:
    """Print a line for each size of batches and message, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 1000])
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    news = catalogue([f"a{at}" for at in range(1000)], [f"t{at}" for at in range(60)], 0)
    rows = []
    for size in options.batches:
        compared = sides(news, batch(news, [f"user-{at}" for at in range(size)], 1, scale=0.2))
        made = {name: run() for name, run in compared.items()}
        assert made["plain profiles"] == made["profiles"] and made["plain pages"] == made["pages"]
        items = [
            item
            for page in made["pages"]
            for item in msgspec.json.decode(page, type=Recommendation).items
        ]
        taken: dict[str, list[float]] = {name: [] for name in compared}
        for _ in range(options.turns):
            for name, run in compared.items():
                start = time.process_time()
                run()
                taken[name].append((time.process_time() - start) / size * 1e6)
        rows.append(
            {
                "batch": size,
                "reasons": float(np.mean([len(item.reasons) for item in items])),
                "us": {name: [float(np.median(us)), min(us)] for name, us in taken.items()},
            }
        )
    if options.json:
        print(json.dumps(rows))  # noqa: T201
        return
    for row in rows:
        print(f"batches of {row['batch']}, {row['reasons']:.1f} reasons an item")  # noqa: T201
        for name, (median, least) in row["us"].items():  # type: ignore[attr-defined]
            print(f"  {name:15} {median:6.1f} us, at least {least:6.1f}")  # noqa: T201


if __name__ == "__main__":
    main()
