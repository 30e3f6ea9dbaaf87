"""What `frontpage top` makes of what workers say, and how it is shown."""

import re
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from schemas.bundle import Manifest
from schemas.records import DeadLetter
from schemas.topics import Topics
from worker.chunks import Record
from worker.intake import BadMessage, decoder_of, sort_records
from worker.metrics import REASONS, STAGES, Metrics
from worker.top.figures import History, TopicFigures, WorkerFigures
from worker.top.scrape import Scrape, Silence, parse
from worker.top.screen import Look, columns, render
from worker.top.state import Frame, RedisFigures, lateness, with_attention
from worker.top.trends import TagTrend, Trends

WORKERS = ("http://127.0.0.1:9464", "http://127.0.0.1:9465")
SIZES = [(80, 24), (100, 30), (120, 40), (200, 50)]


class Worker:
    """The real metrics of a worker that a test has do things."""

    def __init__(self, model: str = "13e555f56384") -> None:
        self.metrics = Metrics()
        self.waiting = {("clicks", number): 0 for number in range(4)}
        self.metrics.watch(lambda: self.waiting, lambda: 2004, lambda: 0)
        self.metrics.serves(cast("Manifest", SimpleNamespace(model_version=model)))

    def works(self, num_clicks: int) -> None:
        intake = sort_records([], decoder_of("clicks", Topics()), 0)
        entries = {"u": [b""] * num_clicks}
        now_ms = time.time_ns() // 1_000_000
        records = [Record("clicks", 0, at, now_ms, None, None) for at in range(num_clicks)]
        self.metrics.sorted_out(records, intake._replace(clicks=entries))
        self.metrics.sent(num_clicks, num_clicks, [])
        with self.metrics.stage("compute"):
            pass

    def refuses(self, reason: str) -> None:
        place = {"topic": "clicks", "partition": 0, "offset": 0}
        letter = DeadLetter(reason=reason, size=0, truncated=False, **place)
        self.metrics.sent(0, 0, [BadMessage(None, None, letter)])

    def says(self, at_s: float, status: str = "ready") -> Scrape:
        return Scrape(at_s, parse(self.metrics.text().decode()), status)


def frame(workers: list[WorkerFigures], total: Any, **more: Any) -> Frame:
    return with_attention(
        Frame(
            time_ms=0,
            workers=workers,
            total=total,
            redis=more.pop("redis", RedisFigures(memory_bytes=12_000_000)),
            trends=more.pop("trends", None),
            clicks_per_s=more.pop("clicks_per_s", [1.0, 5.0, 10.0]),
            waiting=[0, 3, 1],
        )
    )


def busy() -> Frame:
    """Two workers of whom one does not answer, some lag, some letters, many tags."""
    worker, history = Worker(), History()
    worker.works(100)
    history.take({WORKERS[0]: worker.says(0.0), WORKERS[1]: Silence("does not answer")})
    worker.works(1000)
    worker.refuses("malformed")
    worker.metrics.failed("redis")
    worker.waiting = {("clicks", 0): 0, ("clicks", 3): 12_000}
    said = history.take({WORKERS[0]: worker.says(2.0), WORKERS[1]: Silence("does not answer")})
    tags = [TagTrend(f"tag-{number}", 0.3 / (number + 1), 0.1) for number in range(40)]
    return frame(*said, trends=Trends([TagTrend("\x1b[2J新闻", 0.5, 0.1), *tags], 0))


def test_rates_are_over_the_last_seconds_and_add_up_over_workers() -> None:
    first, second, history = Worker(), Worker(), History()
    first.works(50_000)  # before anybody looked
    _, total = history.take(dict(zip(WORKERS, (first.says(0.0), second.says(0.0)), strict=True)))
    assert total.clicks_per_s is None and total.topics["clicks"].messages_per_s is None
    for at_s, num in ((2.0, 10), (4.0, 200), (6.0, 400), (8.0, 400)):
        first.works(num)
        second.works(2 * num)
        workers, total = history.take(
            dict(zip(WORKERS, (first.says(at_s), second.says(at_s)), strict=True))
        )
    # From 4 to 8 s: what came in the 2 s before is older than the window.
    assert [each.figures and each.figures.clicks_per_s for each in workers] == [200.0, 400.0]
    assert (total.clicks_per_s, total.pages_per_s) == (600.0, 600.0)
    clicks = total.topics["clicks"]
    assert (clicks.messages_per_s, clicks.batch_messages) == (600.0, 600.0)
    assert clicks.batches_per_s == 1.0
    assert total.articles == 2004 and total.models == ["13e555f56384"]
    assert total.stages["compute"].mean_s is not None and total.stages["emit"].mean_s is None


def test_rates_survive_a_worker_that_starts_again_and_one_that_is_away() -> None:
    worker, history = Worker(), History()
    worker.works(1000)
    history.take({WORKERS[0]: worker.says(0.0)})
    workers, total = history.take({WORKERS[0]: Silence("does not answer")})
    assert workers[0] == WorkerFigures(WORKERS[0], "does not answer", None)
    assert (total.clicks_per_s, total.articles) == (None, None)
    again = Worker()
    again.works(40)
    _, total = history.take({WORKERS[0]: again.says(4.0)})
    assert total.clicks_per_s == 10.0


def test_what_should_not_happen_is_counted_over_a_minute() -> None:
    worker, history = Worker(), History()
    worker.refuses("malformed")
    history.take({WORKERS[0]: worker.says(0.0)})
    for at_s in range(2, 100, 2):
        if at_s == 10:
            worker.refuses("malformed")
        _, total = history.take({WORKERS[0]: worker.says(float(at_s))})
        expected = 1 if 10 <= at_s <= 68 else 0
        letters = total.dead_letters["malformed"]
        assert (letters.last_minute, letters.total) == (expected, 1 + (at_s >= 10)), at_s
    assert set(total.dead_letters) == set(REASONS)
    assert set(total.errors) == {"redis", "kafka", "other"}


def topic(
    num: int, rate: float | None, growth: float | None, age_s: float | None = None
) -> TopicFigures:
    return TopicFigures(7, rate, {"0": num}, growth, None, None, age_s)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (topic(0, 100.0, 0.0), None),
        (topic(0, 100.0, 0.0, 4.0), None),
        (topic(9, 100.0, 0.0, 17.0), "done 17 s after it came"),
        (topic(400, 100.0, 50.0), None),
        (topic(4000, None, None), None),
        (topic(4000, 100.0, 50.0), "4,000 wait, and 50 more each second"),
        (topic(4000, 100.0, -400.0), "4,000 wait, done in 10 s"),
        (topic(3, 0.0, 0.0), "3 wait and none is done"),
    ],
)
def test_a_topic_is_behind_when_what_waits_takes_long(
    found: TopicFigures, said: str | None
) -> None:
    assert lateness(found) == said


def test_all_that_wants_attention_is_named() -> None:
    assert busy().attention == [
        "worker 127.0.0.1:9465: does not answer",
        "Redis: 1 retry in the last minute",
        "1 dead letter in the last minute: malformed",
        "clicks: 12,000 wait, and 6,000 more each second",
    ]
    well, history = Worker(), History()
    history.take({WORKERS[0]: well.says(0.0)})
    said = history.take({WORKERS[0]: well.says(2.0)})
    assert frame(*said).attention == []
    assert "all well, no clicks" in render(frame(*said), Look(80, 24, False, True))[1]
    redis = RedisFigures(problem="does not answer")
    assert frame(*said, redis=redis).attention == ["Redis: does not answer"]
    other = Worker("another")
    both = history.take({WORKERS[0]: well.says(4.0, "waiting: redis"), WORKERS[1]: other.says(4.0)})
    assert frame(*both).attention == [
        "worker 127.0.0.1:9464: waiting: redis",
        "workers serve 2 models: 13e555f56384, another",
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colours", [False, True])
def test_a_frame_fits_the_window_and_says_the_same_without_colours(
    size: tuple[int, int], colours: bool
) -> None:
    lines = render(busy(), Look(*size, colours, True))
    plain = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines]
    assert len(lines) <= size[1]
    assert all(columns(line) <= size[0] for line in plain)
    assert ("\x1b[" in "".join(lines)) == colours
    text = "\n".join(plain)
    for said in (
        "1 of 2 workers",
        "does not answer",
        "12,000",
        "compute",
        "dead: malformed",
        "tag-0",
    ):
        assert said in text
    # What a message says must not move the cursor.
    assert "\x1b[2J" not in text and "?[2J新闻" in text


def test_everything_is_seen_in_the_smallest_window() -> None:
    text = "\n".join(render(busy(), Look(80, 24, False, True)))
    assert "make the window higher" not in text
    for said in ("TOPIC", "WORKER", "STAGE", *STAGES, "TROUBLE", "HOT TAGS"):
        assert said in text
    assert render(busy(), Look(80, 12, False, True))[-1] == "… make the window higher"


def test_without_unicode_all_of_it_is_ascii() -> None:
    lines = render(busy(), Look(80, 24, False, False))
    assert "".join(lines).isascii()
    assert any(line.startswith("clicks 500/s") for line in lines)


def test_of_the_first_frame_no_rate_is_known() -> None:
    said = History().take({WORKERS[0]: Worker().says(0.0)})
    lines = render(frame(*said, clicks_per_s=[]), Look(80, 24, False, True))
    assert lines[2].startswith("clicks -/s")
