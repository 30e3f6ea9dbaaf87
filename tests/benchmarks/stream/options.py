"""The options of `python -m tests.benchmarks.stream`."""

import argparse
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.stream.contestants import CONTESTANTS

PARTS = ("throughput", "stages", "latency", "start", "articles", "readers", "workers")
STANDARD_ARTICLES, STANDARD_READERS = 5_000, 20_000


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.stream",
        description="Measure the worker beside others that do the same work on the same clicks.",
    )
    add = parser.add_argument
    add("--parts", type=_listed(PARTS), default=list(PARTS), help=f"Of: {', '.join(PARTS)}.")
    add(
        "--contestants",
        type=_listed(tuple(CONTESTANTS)),
        default=list(CONTESTANTS),
        help=f"Of: {', '.join(CONTESTANTS)}.",
    )
    add("--articles", type=_count, default=STANDARD_ARTICLES, help="Live articles.")
    add("--readers", type=_count, default=STANDARD_READERS)
    add("--clicks", type=_count, default=100_000, help="Clicks of a throughput run.")
    add("--textbook-clicks", type=_count, default=2_000, help="The same for the textbook one.")
    add("--growth-clicks", type=_count, default=20_000, help="Clicks of a run about growth.")
    add(
        "--warm-clicks",
        type=int,
        default=0,
        help="Generated clicks that readers and statistics hold before a run; 0: it begins cold.",
    )
    add("--seed", type=int, default=0)
    add("--dataset", type=Path, help="A reading set in place of generated data.")
    add("--rate", type=float, default=2_000.0, help="Clicks a second, for latency.")
    add("--seconds", type=float, default=15.0, help="How long latency is measured.")
    add("--repeats", type=_count, default=1, help="Throughput runs, in turn; medians count.")
    add("--long", action="store_true", help="A million readers, too.")
    add("--bundle", type=Path, help="A model of yours in place of one trained for this.")
    add("--out", type=Path, default=Path(".frontpage/benchmark"), help="Results, plots, models.")
    options = parser.parse_args(arguments)
    if options.dataset is not None and options.warm_clicks:
        parser.error("--warm-clicks goes with generated data")
    return options


def _listed(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parsed(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"no such: {', '.join(sorted(unknown))}")
        return names

    return parsed


def _count(text: str) -> int:
    value = int(text.replace(",", "").replace("_", ""))
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
