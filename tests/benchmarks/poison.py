"""What rubbish on the topic of clicks costs: `python -m tests.benchmarks.poison`.

A worker catches up with a topic of good clicks, and with one of as many messages of which a share
is bad (see `tests/faults/poison.py`), in turn, so that both see the same machine. Printed are
messages a second, and good clicks a second, each with its ratio to clean: how rubbish slows the
stream, and what it leaves for readers. A bad message is copied to the dead letters, not ranked for.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
from itertools import cycle
from pathlib import Path
from uuid import uuid4

from tests.benchmarks.stream.contestants import CONTESTANTS
from tests.benchmarks.stream.ground import PARTITIONS, Clicks, Ground
from tests.benchmarks.stream.models import TWO_STAGE, Models
from tests.benchmarks.stream.throughput import run
from tests.benchmarks.stream.workload import Workload, generated
from tests.faults.poison import Poisoner, poison
from tests.kafka_broker import kafka_broker
from worker.local.topics import create_topics

SEED = 1
PAIR = ("clean", "poisoned")


def main() -> None:
    """Measure both, and print a line for each run and the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--share", type=float, default=0.1, help="bad, of all messages")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bundle", type=Path, help="the model; without, one is trained")
    parser.add_argument("--out", type=Path, default=Path(".frontpage/bench"), help="for the model")
    options = parser.parse_args()
    bundle = Models(options.out, options.bundle).bundle(TWO_STAGE)
    workload = generated(num_articles=5_000, num_readers=20_000, num_clicks=options.messages)
    seconds: dict[str, list[float]] = {name: [] for name in PAIR}
    with tempfile.TemporaryDirectory() as name, kafka_broker(Path(name)) as broker:
        ground = Ground(broker.bootstrap_servers, broker.kind, Path(name))
        catalogue = ground.catalogue(workload, bundle)
        topics = {
            "clean": publish(ground, broker.bootstrap_servers, workload, 0.0),
            "poisoned": publish(ground, broker.bootstrap_servers, workload, options.share),
        }
        for _ in range(options.repeats):
            for kind in PAIR:
                found = run(ground, CONTESTANTS["ours"], topics[kind], catalogue, bundle)
                seconds[kind].append(found.seconds)
                sys.stderr.write(
                    f"▸ {kind}: {options.messages:,} messages in {found.seconds:.1f} s, "
                    f"CPU {found.us_per_click:.0f} µs a message\n"
                )
    rates = {kind: options.messages / statistics.median(seconds[kind]) for kind in PAIR}
    ratio = rates["poisoned"] / rates["clean"]
    result = {
        "messages": options.messages,
        "share": options.share,
        "messages_per_s": {kind: round(rate) for kind, rate in rates.items()},
        "ratio_of_messages": round(ratio, 3),
        "ratio_of_good_clicks": round(ratio * (1.0 - options.share), 3),
    }
    print(json.dumps(result))  # noqa: T201


def publish(ground: Ground, bootstrap_servers: str, workload: Workload, share: float) -> Clicks:
    """Put as many messages on a topic of their own as there are clicks, a share of them bad."""
    topic = f"clicks-{uuid4().hex[:8]}"
    config = {topic: {"max.message.bytes": "4000000"}}  # some are larger than a worker takes
    create_topics(bootstrap_servers, {topic: PARTITIONS}, config=config)
    poisoner = Poisoner(ground.client_config)
    draw = random.Random(SEED)
    bad = poison(SEED, cycle(workload.clicks))
    for click in workload.clicks:
        key = click.user_id.encode()
        if draw.random() < share:
            poisoner.poison(topic, next(bad), key)
        else:
            poisoner.click(topic, click, key)
    poisoner.flush()
    return Clicks(topic, len(workload.clicks), poisoner.ends)


if __name__ == "__main__":
    main()
