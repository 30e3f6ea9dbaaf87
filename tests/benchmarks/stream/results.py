"""Everything one run of the benchmark has measured, and the document that is written of it."""

import math
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from tests.benchmarks.stream.figures import ratio
from tests.benchmarks.stream.latency import Latency
from tests.benchmarks.stream.throughput import Run


@dataclass
class Results:
    """What was measured; what was not is empty or None."""

    facts: dict[str, Any]
    """The machine, the broker and the options."""
    is_standard: bool
    """Whether throughput is of 5,000 generated articles and 20,000 readers."""
    runs: list[Run] = field(default_factory=list)
    profiles: list[Run] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    by_articles: list[tuple[int, Run]] = field(default_factory=list)
    by_readers: list[tuple[int, Run]] = field(default_factory=list)
    by_workers: dict[int, float] = field(default_factory=dict)
    """CPU microseconds a click by number of workers."""
    first_click_s: float | None = None
    left_out: list[str] = field(default_factory=list)

    def contestants(self) -> list[str]:
        """Name those whose throughput was measured, in order."""
        return list(dict.fromkeys(run.contestant for run in self.runs))

    def of(self, contestant: str) -> list[Run]:
        """Return a contestant's runs."""
        return [run for run in self.runs if run.contestant == contestant]

    def clicks_per_s(self, contestant: str) -> float | None:
        """Return the median throughput of a contestant."""
        runs = self.of(contestant)
        return median(run.clicks_per_s for run in runs) if runs else None

    def us_per_click(self, contestant: str) -> float | None:
        """Return the median CPU of a contestant."""
        runs = self.of(contestant)
        return median(run.us_per_click for run in runs) if runs else None

    @property
    def two_workers(self) -> float | None:
        """Return the CPU per click of two workers in terms of one's."""
        return ratio(self.by_workers.get(2), self.by_workers.get(1))

    def document(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        plain = asdict(self)
        # JSON knows no infinity.
        plain["latencies"] = [
            {name: None if value == math.inf else value for name, value in asdict(each).items()}
            for each in self.latencies
        ]
        for name in ("runs", "profiles"):
            plain[name] = [_run(run) for run in getattr(self, name)]
        for name in ("by_articles", "by_readers"):
            plain[name] = [{"count": count, **_run(run)} for count, run in getattr(self, name)]
        return plain


def _run(run: Run) -> dict[str, Any]:
    named = {
        "redis": run.redis._asdict(),
        "reader_bytes": run.reader_bytes and run.reader_bytes._asdict(),
        "clicks_per_s": run.clicks_per_s,
        "us_per_click": run.us_per_click,
    }
    return asdict(run) | named
