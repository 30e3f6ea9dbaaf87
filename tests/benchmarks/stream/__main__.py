"""`python -m tests.benchmarks.stream`: measure, print a table, write JSON and plots."""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.stream.contestants import CONTESTANTS
from tests.benchmarks.stream.ground import Ground
from tests.benchmarks.stream.models import Models
from tests.benchmarks.stream.throughput import run
from tests.benchmarks.stream.workload import generated
from tests.kafka_broker import kafka_broker

def main(arguments=None):
    p = argparse.ArgumentParser()
    p.add_argument("--contestants", default="ours,hand-written")
    p.add_argument("--articles", type=int, default=5000)
    p.add_argument("--readers", type=int, default=20000)
    p.add_argument("--clicks", type=int, default=100000)
    p.add_argument("--textbook-clicks", type=int, default=2000)
    o = p.parse_args(arguments)
    models = Models(Path(".frontpage/benchmark"))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="frontpage-bench-")))
        broker = stack.enter_context(kafka_broker(directory))
        print(broker.kind)
        ground = Ground(broker.bootstrap_servers, broker.kind, directory)
        w = generated(num_articles=o.articles, num_readers=o.readers, num_clicks=o.clicks)
        clicks = ground.preload(w)
        few = ground.preload(w.first(o.textbook_clicks))
        cats = {}
        for name in o.contestants.split(","):
            c = CONTESTANTS[name]
            b = models.bundle(c.model)
            if c.model not in cats:
                cats[c.model] = ground.catalogue(w, b)
            r = run(ground, c, few if name == "textbook" else clicks, cats[c.model], b)
            print(r, r.clicks_per_s, r.us_per_click)

main()
