"""From what was measured to a document: every figure with its 95 % interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from worker.stream_evaluation.bootstrap import Figure, coverage, means
from worker.stream_evaluation.measure import Measured, ProtocolName
from worker.stream_evaluation.metrics import IMPRESSION_FIGURES, RANK_FIGURES, rank_figures
from worker.stream_evaluation.protocol import Floats, Ints

GROUPS = ("overall", "first_five", "later")
"""All scored clicks; those of readers who had clicked fewer than five articles; the others."""

FIRST_CLICKS = 5

PAGE_FIGURES = ("novelty", "intra_list_diversity", "tag_calibration")

SLIDING_CLICKS = 2_000
"""Scored clicks of one point of the figures over time."""

NUM_POINTS = 200

Document = dict[str, Any]


def as_document(
    dataset: str,
    protocol: ProtocolName,
    model: Measured,
    baselines: Mapping[str, Measured],
    ablations: Mapping[str, Measured],
) -> Document:
    """Return all figures, each as {"value", "low", "high"}, null where it is not defined.

    `model`, and each of `baselines` and `ablations` under its name, holds `overall`,
    `first_five` and `later` with hr@10, mrr@10 and ndcg@10; `impressions` where there are any;
    coverage@10, novelty, intra_list_diversity and tag_calibration. `over_time`, of the
    prequential protocol alone, is a list of points: the number of scored clicks up to it
    (`num_scored`), its moment (`time_ms`), and `ndcg@10` of the last 2,000 by recommender.
    """
    return {
        "dataset": dataset,
        "protocol": protocol,
        "num_scored": len(model.ranks),
        "model": figures_of(model),
        "baselines": {name: figures_of(each) for name, each in baselines.items()},
        "ablations": {name: figures_of(each) for name, each in ablations.items()},
        "over_time": (
            over_time({"model": model, **baselines}) if protocol == "prequential" else []
        ),
    }


def figures_of(measured: Measured) -> Document:
    """Return the figures of one recommender."""
    figures = rank_figures(measured.ranks)
    is_first = measured.num_before < FIRST_CLICKS
    members = {"overall": np.full(len(is_first), True), "first_five": is_first, "later": ~is_first}
    columns = [np.where(members[group][:, None], figures, np.nan) for group in GROUPS]
    found = iter(means(measured.users, np.hstack([*columns, measured.page_figures])))
    result: Document = {group: {name: next(found) for name in RANK_FIGURES} for group in GROUPS}
    if len(measured.impression_users):
        result["impressions"] = _named(
            IMPRESSION_FIGURES, measured.impression_users, measured.impression_figures
        )
    result["coverage@10"] = coverage(measured.users, measured.pages, measured.num_known)
    result.update({name: next(found) for name in PAGE_FIGURES})
    return result


def over_time(
    recommenders: Mapping[str, Measured], sliding: int = SLIDING_CLICKS
) -> list[Document]:
    """Return ndcg@10 over a sliding window of scored clicks, at up to 200 moments of the stream.

    All recommenders were scored on the same clicks. A stream shorter than the window is one point.
    """
    one = next(iter(recommenders.values()))
    size = len(one.ranks)
    if not size:
        return []
    ends = np.unique(np.linspace(min(sliding, size), size, NUM_POINTS).astype(np.int64))
    at_10 = RANK_FIGURES.index("ndcg@10")
    lines = {
        name: _sliding_mean(rank_figures(each.ranks)[:, at_10], ends, sliding)
        for name, each in recommenders.items()
    }
    return [
        {
            "num_scored": int(end),
            "time_ms": int(one.times_ms[end - 1]),
            "ndcg@10": {name: round(float(line[at]), 5) for name, line in lines.items()},
        }
        for at, end in enumerate(ends)
    ]


def _named(names: tuple[str, ...], users: Ints, columns: Floats) -> dict[str, Figure]:
    return dict(zip(names, means(users, columns), strict=True))


def _sliding_mean(values: Floats, ends: Ints, sliding: int) -> Floats:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    begins = np.maximum(ends - sliding, 0)
    result: Floats = (sums[ends] - sums[begins]) / (ends - begins)
    return result
