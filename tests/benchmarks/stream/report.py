"""What is printed: tables in Markdown, so that they can go into the docs as they are."""

from collections.abc import Iterable, Sequence

from tests.benchmarks.stream.results import Results
from tests.benchmarks.stream.targets import targets
from tests.benchmarks.stream.throughput import Run

STAGE_ORDER = (
    "fetch",
    "decode",
    "read",
    "merge",
    "learn",
    "count",
    "fit",
    "infer",
    "rank",
    "messages",
    "write",
    "emit",
    "commit",
    "elsewhere",
)


def report(results: Results) -> str:
    """Return all tables of what was measured."""
    facts = results.facts
    parts = [
        f"{facts['machine']['processor']}, {facts['machine']['cores']} cores, "
        f"Python {facts['machine']['python']}; broker: {facts['broker']}; {facts['workload']}"
    ]
    parts += [f"left out: {reason}" for reason in results.left_out]
    if results.runs:
        parts.append(_throughput(results))
    if results.profiles:
        parts += [_stages(results.profiles), _round_trips(results.profiles)]
    if results.latencies:
        parts.append(_latency(results))
    for title, runs in (("articles", results.by_articles), ("readers", results.by_readers)):
        if runs:
            parts.append(_growth(title, runs))
    if results.by_workers:
        costs = [(str(count), number(us)) for count, us in results.by_workers.items()]
        parts.append(table(("workers", "CPU µs/click, all together"), costs))
    rows = [
        (
            target.name,
            f"{'≥' if target.at_least else '≤'} {target.bound:,g} {target.unit}",
            "-" if target.measured is None else f"{number(target.measured)} {target.unit}",
            target.verdict,
        )
        for target in targets(results)
    ]
    parts.append(table(("target", "bound", "measured", ""), rows))
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all but the first column are numbers, to the right.

    >>> print(table(("who", "us"), [("ours", "12")]))
    | who | us |
    |---|--:|
    | ours | 12 |
    """
    rule = "|---|" + "--:|" * (len(head) - 1)
    lines = [head, *rows]
    written = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([written[0], rule, *written[1:]])


def number(value: float) -> str:
    """Write a figure with as many digits as mean something.

    >>> number(12345.6), number(99.96), number(0.1234)
    ('12,346', '100.0', '0.12')
    """
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _throughput(results: Results) -> str:
    rows = []
    for name in results.contestants():
        run = results.of(name)[-1]
        size = run.reader_bytes
        rows.append(
            (
                name,
                f"{run.num_clicks:,}",
                number(results.clicks_per_s(name) or 0),
                number(results.us_per_click(name) or 0),
                number(run.redis.cpu_s / run.num_clicks * 1e6),
                f"{run.redis.commands / run.num_clicks:.2f}",
                number(max(each.peak_mb for each in results.of(name))),
                number(size.total) if size else "-",
                f"{run.start_s:.1f}",
            )
        )
    return table(
        (
            "contestant",
            "clicks",
            "clicks/s",
            "CPU µs/click",
            "of Redis",
            "Redis commands/click",
            "peak MB",
            "Redis bytes/reader",
            "start s",
        ),
        rows,
    )


def stages_us(run: Run) -> dict[str, float]:
    """Return microseconds per click by stage, fetching and what is left over included.

    librdkafka's own threads, which fetch and send, count as emission.
    """
    assert run.profile is not None
    stages = dict(run.profile.stages_us)
    threads = run.profile.threads_us
    stages["fetch"] = threads.get("fetching", 0.0)
    stages["emit"] = stages.get("emit", 0.0) + threads.get("librdkafka", 0.0)
    stages["elsewhere"] = max(0.0, sum(threads.values()) - sum(stages.values()))
    return stages


def _stages(profiles: list[Run]) -> str:
    found = [stages_us(run) for run in profiles]
    rows = [
        (stage, *(number(each.get(stage, 0.0)) for each in found))
        for stage in STAGE_ORDER
        if any(stage in each for each in found)
    ]
    rows.append(("all, profiled", *(number(run.us_per_click) for run in profiles)))
    native = [run.profile.threads_us.get("python", 0.0) for run in profiles if run.profile]
    rows.append(("of that in threads of BLAS", *map(number, native)))
    return table(("CPU µs/click by stage", *(run.contestant for run in profiles)), rows)


def _round_trips(profiles: list[Run]) -> str:
    rows = []
    for run in profiles:
        assert run.profile is not None
        calls = run.profile.calls
        batches = calls.get("batches", 0)
        each = [
            f"{calls[name] / batches:.1f}" if batches and name in calls else "-"
            for name in ("redis", "kafka producer")
        ]
        size = number(run.num_clicks / batches) if batches else "-"
        rows.append((run.contestant, str(batches), size, *each))
    head = ("round trips per batch", "batches", "clicks each", "Redis", "Kafka out")
    return table(head, rows)


def _latency(results: Results) -> str:
    rows = [
        (
            each.contestant,
            number(each.rate),
            *(
                f"{value:.1f}"
                for value in (
                    each.redis_p50_ms,
                    each.redis_p99_ms,
                    each.recommendation_p50_ms,
                    each.recommendation_p99_ms,
                )
            ),
            number(each.us_per_click),
            str(each.num_unanswered),
        )
        for each in results.latencies
    ]
    return table(
        (
            "latency, ms",
            "clicks/s",
            "Redis p50",
            "p99",
            "recommendation p50",
            "p99",
            "CPU µs/click",
            "unanswered",
        ),
        rows,
    )


def _growth(title: str, runs: list[tuple[int, Run]]) -> str:
    first = runs[0][1].us_per_click
    rows = [
        (
            f"{count:,}",
            number(run.us_per_click),
            f"{run.us_per_click / first:.2f} ×",
            number(run.peak_mb),
        )
        for count, run in runs
    ]
    return table((title, "CPU µs/click", "to the first", "peak MB"), rows)
