"""The targets, and what was measured of each: met, missed, or not measured."""

from statistics import median
from typing import Literal, NamedTuple

from tests.benchmarks.stream.figures import ratio
from tests.benchmarks.stream.results import Results
from tests.benchmarks.stream.throughput import Run

Verdict = Literal["met", "missed", "not measured"]


class Target(NamedTuple):
    """A bound on one figure."""

    name: str
    bound: float
    measured: float | None
    """None where this run of the benchmark did not measure it."""
    unit: str = ""
    at_least: bool = False

    @property
    def verdict(self) -> Verdict:
        """Say whether it is met."""
        if self.measured is None:
            return "not measured"
        within = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        return "met" if within else "missed"


def targets(results: Results) -> list[Target]:
    """Return every target with what was measured."""
    speed = {name: results.clicks_per_s(name) for name in results.contestants()}
    ours = speed.get("ours")
    paced = {each.contestant: each for each in results.latencies}.get("ours")
    redis_p50, redis_p99, page_p99 = (
        (None, None, None)
        if paced is None
        else (paced.redis_p50_ms, paced.redis_p99_ms, paced.recommendation_p99_ms)
    )
    sizes = [run.reader_bytes.total for run in results.of("ours") if run.reader_bytes is not None]
    standard = ours if results.is_standard else None
    large = [run.peak_mb for count, run in results.by_articles if count >= 100_000]
    return [
        Target("ours ÷ textbook Faust", 100, ratio(ours, speed.get("textbook")), "×", True),
        Target("ours ÷ hand-written loop", 0.9, ratio(ours, speed.get("hand-written")), "×", True),
        Target("ours ÷ Quix Streams", 2, ratio(ours, speed.get("quix")), "×", True),
        Target("one worker, 5,000 articles, 20,000 readers", 25_000, standard, "clicks/s", True),
        Target("click → Redis, p50", 10, redis_p50, "ms"),
        Target("click → Redis, p99", 50, redis_p99, "ms"),
        Target(
            "click → recommendation, p99",
            75,
            page_p99,
            "ms",
        ),
        Target("Redis per reader", 1_100, median(sizes) if sizes else None, "bytes"),
        Target(
            "cost, 1,000 → 100,000 articles", 1.5, growth(results.by_articles, 1_000, 100_000), "×"
        ),
        Target(
            "cost, 10,000 → 1,000,000 readers",
            1.2,
            growth(results.by_readers, 10_000, 1_000_000),
            "×",
        ),
        Target("start to first click, 10,000 articles", 3, results.first_click_s, "s"),
        Target("memory, 100,000 articles", 400, max(large) if large else None, "MB"),
        Target("CPU per click, two workers ÷ one", 1.1, results.two_workers, "×"),
    ]


def growth(runs: list[tuple[int, Run]], few: int, many: int) -> float | None:
    """Return by how much the CPU per click grows; None unless both sizes were measured."""
    cost = {count: run.us_per_click for count, run in runs}
    return ratio(cost.get(many), cost.get(few))
