"""The stream benchmark's own logic: what it is fed with, how it counts, what it says."""

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from schemas.decode import decode_click
from schemas.records import Click
from schemas.timestamps import to_ms
from tests.benchmarks.stream.contestants import CONTESTANTS
from tests.benchmarks.stream.figures import percentile
from tests.benchmarks.stream.machine import processor
from tests.benchmarks.stream.options import PARTS, parse
from tests.benchmarks.stream.report import report
from tests.benchmarks.stream.results import Results
from tests.benchmarks.stream.stages import ROUND_TRIPS, STAGES, Clock, install
from tests.benchmarks.stream.targets import Target, growth, targets
from tests.benchmarks.stream.throughput import Run
from tests.benchmarks.stream.watch import RedisUse
from tests.benchmarks.stream.workload import generated, message, of_reading_set, zipf
from tests.tiny_sets import write_easy_set

NO_REDIS = RedisUse(40, 20, 0.5, {"get": 20, "set": 20})


def ran(contestant: str, clicks_per_s: float, us_per_click: float = 50.0) -> Run:
    return Run(
        contestant, 1000, 1000 / clicks_per_s, us_per_click / 1000, 300.0, 2.0, NO_REDIS, None
    )


def results(*runs: Run) -> Results:
    machine = {"processor": "p", "cores": 2, "python": "3"}
    return Results({"machine": machine, "broker": "b", "workload": "w"}, True, list(runs))


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, each) for each in (0, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 50) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_the_same_seed_gives_the_same_workload_and_another_seed_another() -> None:
    sizes = {"num_articles": 30, "num_readers": 20, "num_clicks": 200}
    one, again, other = (generated(**sizes, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.clicks != other.clicks
    assert len(one.articles) == 30 and len(one.clicks) == 200


def test_another_day_has_other_clicks_of_the_same_kind() -> None:
    sizes = {"num_articles": 30, "num_readers": 20, "num_clicks": 2000}
    first, second = generated(**sizes), generated(**sizes, day=1)
    assert first.articles == second.articles
    assert to_ms(first.clicks[-1].timestamp) < to_ms(second.clicks[0].timestamp)
    events = {click.event_id for click in (*first.clicks, *second.clicks)}
    assert len(events) == 4000
    most = [Counter(click.article_id for click in each.clicks) for each in (first, second)]
    assert most[0].most_common(1)[0][0] == most[1].most_common(1)[0][0]


def test_generated_clicks_are_good_and_in_time_order() -> None:
    workload = generated(num_articles=10, num_readers=5, num_clicks=100)
    known = {article.article_id for article in workload.articles}
    times = [click.timestamp for click in workload.clicks]
    assert times == sorted(times)
    for click in workload.clicks:
        decoded = decode_click(message(click), 1_900_000_000_000)
        assert isinstance(decoded, Click) and decoded.article_id in known
    assert workload.first(7).clicks == workload.clicks[:7]
    assert workload.first(1000) is workload


def test_zipf_draws_every_number_and_some_more_often() -> None:
    random = np.random.default_rng(0)
    counts = np.bincount(zipf(random, 50, 1.0, 20_000), minlength=50)
    assert len(counts) == 50 and counts.min() > 0
    assert 5 < counts.max() / np.median(counts) < 40
    even = np.bincount(zipf(random, 50, 0.0, 20_000), minlength=50)
    assert even.max() / even.min() < 1.5


def test_a_reading_set_is_cut_to_its_first_clicks(tmp_path: Path) -> None:
    directory = write_easy_set(tmp_path / "set", num_readers=4)
    workload = of_reading_set(directory, 12)
    assert (workload.name, len(workload.clicks), workload.num_readers) == ("tiny", 12, 2)


def test_a_stage_is_counted_without_the_stages_in_it() -> None:
    ticks = iter(range(0, 10**12, 10**9))  # each look at the clock is a second later
    clock = Clock(lambda: next(ticks))
    inner = clock.timed(lambda: 7, "inner")
    outer = clock.timed(lambda: inner() + 1, "outer")
    assert outer() == 8
    assert clock.seconds() == {"outer": 2.0, "inner": 1.0}


def test_a_generator_and_a_coroutine_are_counted_only_while_they_run() -> None:
    ticks = iter(range(0, 10**12, 10**9))
    clock = Clock(lambda: next(ticks))

    def numbers(end: int) -> Iterator[int]:
        yield from range(end)

    async def wait(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def refuse() -> None:
        await asyncio.sleep(0)
        raise KeyError("refused")

    assert list(clock.timed(numbers, "numbers")(2)) == [0, 1]
    assert clock.seconds() == {"numbers": 3.0}  # two values, and the end
    assert asyncio.run(clock.timed(wait, "wait")(5)) == 5
    assert clock.seconds()["wait"] == 2.0  # before the pause and after it
    with pytest.raises(KeyError, match="refused"):
        asyncio.run(clock.timed(refuse, "refuse")())
    with pytest.raises(ZeroDivisionError):
        clock.timed(lambda: 1 / 0, "divide")()


def test_every_function_that_is_to_be_counted_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(function: object, label: str) -> object:
        del label
        return function

    clock = Clock()
    monkeypatch.setattr(clock, "timed", leave)
    monkeypatch.setattr(clock, "counted", leave)
    assert install(clock) == []
    assert STAGES and ROUND_TRIPS


def test_what_redis_has_done_since() -> None:
    later = RedisUse(50, 25, 0.75, {"get": 20, "set": 25, "mget": 5})
    assert later.since(NO_REDIS) == RedisUse(10, 5, 0.25, {"set": 5, "mget": 5})


def test_targets_are_met_missed_or_not_measured() -> None:
    found = {
        target.name: target.verdict
        for target in targets(
            results(ran("ours", 2000.0), ran("textbook", 10.0), ran("quix", 1500))
        )
    }
    assert found["ours ÷ textbook Faust"] == "met"
    assert found["ours ÷ Quix Streams"] == "missed"
    assert found["ours ÷ hand-written loop"] == "not measured"
    assert found["one worker, 5,000 articles, 20,000 readers"] == "missed"
    assert found["Redis per reader"] == "not measured"
    assert Target("x", 3.0, 3.0, "s").verdict == "met"


def test_growth_compares_exactly_the_two_sizes() -> None:
    runs = [(10, ran("ours", 1.0, 50.0)), (1000, ran("ours", 1.0, 75.0))]
    assert growth(runs, 10, 1000) == pytest.approx(1.5)
    assert growth(runs, 10, 10_000) is None


def test_the_report_and_the_document_say_what_was_measured_and_left_out() -> None:
    found = results(ran("ours", 2000.0), ran("ours", 3000.0), ran("ours", 9000.0))
    found.left_out.append("quix: quixstreams is not installed")
    text = report(found)
    assert "| ours | 1,000 | 3,000 |" in text  # the median
    assert "left out: quix" in text
    assert "not measured" in text
    document = found.document()
    assert [run["clicks_per_s"] for run in document["runs"]] == pytest.approx([2000, 3000, 9000])
    assert document["runs"][0]["redis"]["commands"] == 40


def test_options_name_what_there_is() -> None:
    options = parse(["--parts", "start,latency", "--contestants", "ours", "--clicks", "1,000"])
    assert options.parts == ["start", "latency"] and options.clicks == 1000
    assert parse([]).parts == list(PARTS) and parse([]).contestants == list(CONTESTANTS)
    for wrong in (["--parts", "x"], ["--contestants", "ours,x"], ["--clicks", "0"]):
        with pytest.raises((SystemExit, argparse.ArgumentTypeError)):
            parse(wrong)


def test_the_processor_is_named_where_the_system_tells(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU\nmodel name\t: Some CPU\n")
    assert processor(cpuinfo) == "Some CPU"
    assert processor(tmp_path / "none")
