"""`python -m tests.benchmarks.stream`: measure, print tables, write JSON and plots."""

import argparse
import json
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis

from schemas.errors import FrontpageError
from tests.benchmarks.stream.contestants import CONTESTANTS, Contestant
from tests.benchmarks.stream.ground import DUMP, Clicks, Ground
from tests.benchmarks.stream.growth import by_articles, by_readers, first_click_s
from tests.benchmarks.stream.latency import latency
from tests.benchmarks.stream.machine import machine
from tests.benchmarks.stream.models import TWO_STAGE, Models
from tests.benchmarks.stream.options import STANDARD_ARTICLES, STANDARD_READERS, parse
from tests.benchmarks.stream.pair import us_per_click
from tests.benchmarks.stream.plots import plot
from tests.benchmarks.stream.report import report
from tests.benchmarks.stream.results import Results
from tests.benchmarks.stream.throughput import Run, run
from tests.benchmarks.stream.workload import Workload, generated, of_reading_set
from tests.kafka_broker import kafka_broker
from worker.stream_evaluation.live_services import stopped_like_ctrl_c

START_ARTICLES = 10_000
ARTICLE_COUNTS = (1_000, 10_000, 100_000)
READER_COUNTS = (10_000, 100_000)
MANY_READERS = 1_000_000
PACED = ("ours", "hand-written")
"""Those that answer at once: Quix Streams does at its checkpoints, the textbook one is too slow."""


def main(arguments: list[str] | None = None) -> None:
    """Measure what the options ask for."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(stopped_like_ctrl_c())
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="frontpage-benchmark-")))
        broker = stack.enter_context(kafka_broker(directory))
        ground = Ground(broker.bootstrap_servers, broker.kind, directory)
        results = Benchmark(options, ground).measure()
    document = json.dumps(results.document(), indent=2, default=str)
    (options.out / "results.json").write_text(document + "\n", encoding="utf-8")
    for title, runs in (("articles", results.by_articles), ("readers", results.by_readers)):
        if len(runs) > 1:
            plot(runs, title, options.out / f"{title}.png")
    sys.stdout.write("\n" + report(results))


class Benchmark:
    """Go through the parts that the options name."""

    def __init__(self, options: argparse.Namespace, ground: Ground) -> None:
        self._options = options
        self._ground = ground
        self._models = Models(options.out, options.bundle)
        self._catalogues: dict[str, Path] = {}
        self._clicks: dict[int, Clicks] = {}
        self._workload = _workload(options)
        self._contestants = [CONTESTANTS[name] for name in options.contestants]

    def measure(self) -> Results:
        """Measure all of it."""
        options, ground, models = self._options, self._ground, self._models
        results = self._empty()
        parts = set(options.parts)
        able = [each for each in self._contestants if each.is_installed]
        for _ in range(options.repeats if "throughput" in parts else 0):
            results.runs += [self._run(each) for each in able]
        if "workers" in parts:
            results.by_workers = {1: self._shared(1), 2: self._shared(2)}
        if "stages" in parts:
            results.profiles = [
                self._run(each, profiled=True) for each in able if each.name in PACED
            ]
        if "latency" in parts:
            paced = [each for each in able if each.name in PACED]
            results.latencies = [
                latency(
                    ground,
                    each,
                    self._workload,
                    self._catalogue(each.model),
                    models.bundle(each.model),
                    rate=options.rate,
                    seconds=options.seconds,
                )
                for each in paced
            ]
        if "start" in parts:
            _say("start: ours")
            results.first_click_s = first_click_s(ground, models, START_ARTICLES)
        num = options.growth_clicks
        if "articles" in parts:
            _say("growth: articles")
            counts = list(ARTICLE_COUNTS)
            results.by_articles = by_articles(ground, models, counts, options.readers, num)
        if "readers" in parts:
            _say("growth: readers")
            counts = [*READER_COUNTS, *([MANY_READERS] if options.long else [])]
            results.by_readers = by_readers(ground, models, counts, options.articles, num)
        return results

    def _empty(self) -> Results:
        options, workload = self._options, self._workload
        size = f"{len(workload.articles):,} articles, {workload.num_readers:,} readers"
        return Results(
            {
                "machine": machine(),
                "broker": self._ground.kind,
                "workload": f"{workload.name}: {size}, {len(workload.clicks):,} clicks",
                "options": vars(options),
            },
            options.dataset is None
            and (options.articles, options.readers) == (STANDARD_ARTICLES, STANDARD_READERS),
            left_out=[
                f"{each.name}: {each.needs} is not installed (pip install 'frontpage[bench]')"
                for each in self._contestants
                if not each.is_installed
            ],
        )

    def _run(self, contestant: Contestant, *, profiled: bool = False) -> Run:
        found = run(
            self._ground,
            contestant,
            self._preloaded(contestant),
            self._catalogue(contestant.model),
            self._models.bundle(contestant.model),
            profiled=profiled,
        )
        kind = " (profiled)" if profiled else ""
        _say(
            f"{contestant.name}{kind}: {found.num_clicks:,} clicks in {found.seconds:.1f} s, "
            f"{found.clicks_per_s:,.0f} a second, CPU {found.us_per_click:,.0f} µs a click"
        )
        return found

    def _shared(self, num_workers: int) -> float:
        bundle = self._models.bundle(TWO_STAGE)
        workload = self._workload.first(self._options.growth_clicks)
        catalogue = self._catalogue(TWO_STAGE)
        cost = us_per_click(self._ground, workload, catalogue, bundle, num_workers)
        _say(f"{num_workers} of ours: CPU {cost:,.0f} µs a click")
        return cost

    def _preloaded(self, contestant: Contestant) -> Clicks:
        options = self._options
        size = options.textbook_clicks if contestant.name == "textbook" else options.clicks
        if size not in self._clicks:
            self._clicks[size] = self._ground.preload(self._workload.first(size))
        return self._clicks[size]

    def _catalogue(self, model: str) -> Path:
        if model not in self._catalogues:
            bundle = self._models.bundle(model)
            catalogue = self._ground.catalogue(self._workload, bundle)
            if self._options.warm_clicks and model == TWO_STAGE:
                catalogue = self._warmed(catalogue, bundle)
            self._catalogues[model] = catalogue
        return self._catalogues[model]

    def _warmed(self, catalogue: Path, bundle: Path) -> Path:
        """Let a worker take other clicks of the same kind; return a copy of its Redis."""
        warmed = catalogue.with_name("warmed.rdb")
        clicks = self._ground.preload(_workload(self._options, warm=True))

        def keep(client: redis.Redis) -> None:
            client.save()
            directory: Any = client.config_get("dir")
            shutil.copyfile(Path(directory["dir"]) / DUMP, warmed)

        run(self._ground, CONTESTANTS["ours"], clicks, catalogue, bundle, look=keep)
        _say(f"warmed up with {clicks.num_clicks:,} clicks")
        return warmed


def _workload(options: argparse.Namespace, warm: bool = False) -> Workload:
    """Return what is measured with, or the clicks of the day before to warm up with."""
    if options.dataset is not None:
        return of_reading_set(options.dataset, options.clicks)
    return generated(
        num_articles=options.articles,
        num_readers=options.readers,
        num_clicks=options.warm_clicks if warm else options.clicks,
        seed=options.seed,
        day=0 if warm or not options.warm_clicks else 1,
    )


def _say(text: str) -> None:
    sys.stderr.write(f"▸ {text}\n")


if __name__ == "__main__":
    try:
        main()
    except FrontpageError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
