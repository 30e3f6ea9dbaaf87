"""Compile what the first click will need: `python -m worker.recommend.warm`.

Compiling takes half a minute, once after an installation; a worker that did it at its first
click would miss its heartbeats.
"""

import numpy as np

from schemas.encoded import EncodedArticle
from schemas.history import HEADER_BYTES, article_ref, merge, pack_entry
from schemas.timestamps import from_ms
from worker.affinity import membership
from worker.batch_lessons import pack_counted
from worker.catalogue import Catalogue
from worker.model import no_estimates
from worker.page_json import PageWriter
from worker.profile_json import ProfileWriter
from worker.reading import read, tag_interests
from worker.recommend.click_log import pack_impression
from worker.recommend.item_model import fit_item_model
from worker.recommend.options import Options
from worker.recommend.pages import Tastes
from worker.recommend.reader_features import most_alike
from worker.recommend.recommender import Recommender
from worker.recommend.segments import AGE_BOUNDS
from worker.recommend.statistics import Statistics
from worker.windows import gather


def warm_up() -> None:
    """Run every compiled function once, on next to nothing."""
    catalogue = Catalogue(2, np.dtype("<f4"))
    for name in "abc":
        row = np.ones(2, dtype="<f4").tobytes()
        catalogue.put(EncodedArticle(name, "", row, ["t"], 1, None))
    statistics = Statistics(slots=2)
    recommender = Recommender(catalogue, statistics, Options())
    entries = [pack_entry(time, None, article_ref(name)) for time, name in ((3, "a"), (4, "b"))]
    history = merge(None, entries, 8)
    reading = read([bytes(HEADER_BYTES), history], catalogue, 4)
    interests = tag_interests(reading, catalogue, 1.0)
    for dtype in ("<f4", "<i4"):  # the rows of either architecture
        gather(reading, np.arange(2), np.ones((len(catalogue), 2), dtype=dtype), 4)
    tastes = Tastes(interests, np.zeros_like(interests), np.ones((2, 2), dtype=np.float32))
    ranked = recommender.rank(reading, tastes, 10, 2, np.zeros(2, dtype=np.int64))
    names, now = ["a", "b"], from_ms(0)
    PageWriter(catalogue, "").write(names, names, ranked, interests, now)
    estimates = no_estimates(2, 1)
    for each in estimates:
        each[:] = 0.5
    ProfileWriter(catalogue, "").write(names, reading, estimates, interests, now)
    membership(estimates, AGE_BOUNDS)
    _, lesson = recommender.lessons(reading, tastes, 10, np.array([0, 2]))
    with recommender.rehearsal() as learn:
        learn([lesson])
        recommender.lessons(reading, tastes, 10, np.array([0, 2]))
    most_alike(np.ones((1, 2), dtype=np.float32), np.zeros((1, 1), dtype=np.int64))
    statistics.apply(pack_counted(history, [0, 1], lesson, np.ones(2, dtype=np.float32)), catalogue)
    shown = (np.array([1, 2]), np.array([True, False]))
    _, gradient = recommender.impression_lessons(reading, tastes, 10, [shown, shown])
    refs = catalogue.refs()[shown[0]]
    statistics.apply(pack_impression(refs, shown[1], gradient), catalogue)
    statistics.snapshot()
    square, both = np.ones((2, 2), dtype=np.float32), np.arange(2)
    counts = statistics.to_fit()._replace(slots=both, together=square, clicks=square[0])
    statistics.install(fit_item_model(counts), counts)


if __name__ == "__main__":
    warm_up()
