"""Run a contestant with its stages counted: `python -m tests.benchmarks.stream.profiled OUT -m …`.

SIGRTMIN adds a line of JSON to OUT: CPU seconds by stage and by thread, and calls, up to now.
"""

import json
import runpy
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.stream.stages import Clock, install


def main() -> None:
    """Wrap, then run the module that follows."""
    out, flag, module, *arguments = sys.argv[1:]
    if flag != "-m":
        raise SystemExit("usage: profiled OUT -m MODULE …")
    clock = Clock()
    missing = install(clock)
    statistics: dict[str, int] = {}
    _watch_producer(statistics)

    def note(*_: Any) -> None:
        line = {
            "seconds": clock.seconds(),
            "calls": dict(clock.calls) | statistics,
            "threads": thread_seconds(),
            "process_s": time.process_time(),
            "missing": missing,
        }
        with Path(out).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    signal.signal(signal.SIGRTMIN, note)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")


def thread_seconds() -> dict[str, float]:
    """Return the CPU seconds of each kind of thread: by its name in Python, or else in Linux."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: dict[str, float] = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            ns = int((task / "schedstat").read_text().split()[0])
            system = (task / "comm").read_text().strip()
        except OSError:
            continue  # it has ended
        name = names.get(int(task.name), system)
        kind = "librdkafka" if system.startswith("rdk:") else name.rstrip("0123456789-_")
        found[kind] = found.get(kind, 0.0) + ns / 1e9
    return found


def _watch_producer(statistics: dict[str, int]) -> None:
    """Let librdkafka's producer tell how many requests it has sent."""
    from worker import emitter

    connect = emitter.connect_producer

    def watch(text: str) -> None:
        brokers = json.loads(text)["brokers"].values()
        statistics["kafka producer"] = sum(broker["tx"] for broker in brokers)

    def connect_watched(config: dict[str, Any]) -> Any:
        return connect({**config, "statistics.interval.ms": 500, "stats_cb": watch})

    emitter.connect_producer = connect_watched


if __name__ == "__main__":
    main()
