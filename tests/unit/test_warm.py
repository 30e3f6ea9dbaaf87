"""Nothing is left to be compiled when the first click comes."""

import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
from numba.core.registry import CPUDispatcher
from worker.recommend.warm import warm_up


def compiled():
    return {
        (name, called): len(each.signatures)
        for name, module in sys.modules.items()
        for called, each in vars(module).items()
        if name.startswith("worker.") and isinstance(each, CPUDispatcher)
    }


from tests.benchmarks.ranking import NOW_MS, batch, build

recommender, catalogue = build(64, 300, num_words=20)
warm_up()
before = compiled()
reading, tastes = batch(catalogue, 8, 1)
clicked = np.arange(len(tastes.interests)) % 64
recommender.rank(reading, tastes, NOW_MS, 5, np.arange(len(clicked)))
with recommender.rehearsal() as learn:
    learn(recommender.lessons(reading, tastes, NOW_MS, clicked))
    recommender.lessons(reading, tastes, NOW_MS, clicked)
assert compiled() == before, set(compiled().items()) - set(before.items())
print("warm")
"""


def test_a_worker_that_is_warm_compiles_nothing_for_its_first_pages_and_lessons() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("warm"), done.stderr
