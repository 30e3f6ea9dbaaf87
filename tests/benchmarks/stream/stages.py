"""CPU time by stage: functions wrapped from outside, each counted without those it calls.

Time is that of the thread alone, so that waiting costs nothing, and a coroutine is counted only
while it runs. What is not in a wrapped function, such as the event loop, stays with its thread.
"""

import functools
import importlib
import inspect
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

STAGES = {
    "decode": [
        "worker.pipeline:sort_records",
        "tests.benchmarks.stream.contestants.parts:sort_records",
    ],
    "read": ["worker.reader_store:ReaderStore.read", "worker.click_log:ClickLog.follow_and_get"],
    "merge": [
        "worker.renewals:Renewals._make",
        "tests.benchmarks.stream.contestants.parts:Parts.renew",
    ],
    "learn": [
        "worker.click_log:ClickLog.checkpoint",
        "worker.batch_lessons:BatchLessons.clicks",
        "worker.recommend.recommender:Recommender.lessons",
    ],
    "count": ["worker.recommend.statistics:Statistics.apply"],
    "fit": ["worker.click_log:fit_item_model"],
    "infer": ["worker.eye:Eye.see"],
    "rank": ["worker.recommend.recommender:Recommender.rank"],
    "messages": [
        "worker.front_pages:FrontPages.make",
        "worker.profile_json:ProfileWriter.write",
        "worker.page_json:PageWriter.write",
    ],
    "write": ["worker.reader_store:ReaderStore.write"],
    "emit": [
        "worker.delivery:Delivery._emit",
        "worker.emitter:Emitter.send",
        "worker.emitter:Emitter.delivered",
    ],
    "commit": ["worker.transport:Consumer.commit"],
}
"""Functions by stage. Reading is of readers and of the click log; what everybody's clicks teach is
`learn` (lessons, checkpoints), `count` and `fit` (of the item model)."""

ROUND_TRIPS = {
    "redis": [
        "redis.asyncio.client:Redis.execute_command",
        "redis.asyncio.client:Pipeline.execute",
    ],
    "batches": [
        "worker.pipeline:Pipeline._process",
        "tests.benchmarks.stream.contestants.parts:Parts.take",
    ],
}
"""Functions whose calls are counted."""


class Clock:
    """Count CPU seconds by stage, and calls."""

    def __init__(self, now_ns: Callable[[], int] = time.thread_time_ns) -> None:
        self._now_ns = now_ns
        self._local = threading.local()
        self._ledgers: list[dict[str, int]] = []
        self.calls: dict[str, int] = defaultdict(int)

    def seconds(self) -> dict[str, float]:
        """Return the CPU seconds of each stage, over all threads."""
        total: dict[str, float] = defaultdict(float)
        for ledger in list(self._ledgers):
            for stage, ns in list(ledger.items()):
                total[stage] += ns / 1e9
        return dict(total)

    def enter(self, stage: str) -> None:
        """Begin a stage within the current one, if any."""
        local = self._local
        if not hasattr(local, "stack"):
            local.stack, local.ledger, local.mark = [], defaultdict(int), 0
            self._ledgers.append(local.ledger)
        now = self._now_ns()
        if local.stack:
            local.ledger[local.stack[-1]] += now - local.mark
        local.stack.append(stage)
        local.mark = now

    def leave(self) -> None:
        """End the stage begun last."""
        local = self._local
        now = self._now_ns()
        local.ledger[local.stack.pop()] += now - local.mark
        local.mark = now

    def timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """Return the function with its time counted: plain, generator or coroutine function."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args: Any, **kwargs: Any) -> Any:
                return await _Driven(self, stage, function(*args, **kwargs))

            return coroutine
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
                found = function(*args, **kwargs)
                while True:
                    self.enter(stage)
                    try:
                        value = next(found)
                    except StopIteration:
                        return
                    finally:
                        self.leave()
                    yield value

            return generator

        @functools.wraps(function)
        def plain(*args: Any, **kwargs: Any) -> Any:
            self.enter(stage)
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        return plain

    def counted(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return the function with its calls counted, each when it is done.

        Of a small stream all may be one batch, and it has begun when counting does.
        """

        async def count_when_done(result: Awaitable[Any]) -> Any:
            try:
                return await result
            finally:
                self.calls[name] += 1

        @functools.wraps(function)
        def counting(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if inspect.isawaitable(result):
                return count_when_done(result)
            self.calls[name] += 1
            return result

        return counting


class _Driven:
    """Await a coroutine, counting it while it runs."""

    def __init__(self, clock: Clock, stage: str, coroutine: Any) -> None:
        self._clock, self._stage, self._coroutine = clock, stage, coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        step, value = self._coroutine.send, None
        while True:
            self._clock.enter(self._stage)
            try:
                yielded = step(value)
            except StopIteration as end:
                return end.value
            finally:
                self._clock.leave()
            try:
                step, value = self._coroutine.send, (yield yielded)
            except BaseException as error:
                step, value = self._coroutine.throw, error


def install(clock: Clock) -> list[str]:
    """Wrap what `STAGES` and `ROUND_TRIPS` name; return what there is no more."""
    missing = []
    for names, wrap in ((STAGES, clock.timed), (ROUND_TRIPS, clock.counted)):
        for label, places in names.items():
            missing += [place for place in places if not _replace(place, wrap, label)]
    return missing


def _replace(place: str, wrap: Callable[..., Callable[..., Any]], label: str) -> bool:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    try:
        owner: Any = importlib.import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        setattr(owner, name, wrap(getattr(owner, name), label))
    except (ImportError, AttributeError):
        return False
    return True
