"""The figures of one ranking: where the clicked article stands, how an impression is ordered."""

import numpy as np

from worker.stream_evaluation.protocol import Floats

PAGE_LENGTH = 10
"""Articles of the page that is measured."""

RANK_FIGURES = ("hr@10", "mrr@10", "ndcg@10")
IMPRESSION_FIGURES = ("auc", "mrr", "ndcg@5", "ndcg@10")


def rank_figures(ranks: Floats) -> Floats:
    """Return (S, 3) hit, reciprocal rank and nDCG at 10 of ranks (S,).

    A rank counts from 0, may be a half (the middle of a tie) and is infinite off the page.

    >>> rank_figures(np.array([0.0, 2.0, np.inf])).tolist()
    [[1.0, 1.0, 1.0], [1.0, 0.3333333333333333, 0.5], [0.0, 0.0, 0.0]]

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002,
    with the one relevant article of a click.
    """
    hit = ranks < PAGE_LENGTH
    place = np.where(hit, ranks, 0.0)
    return np.stack([hit, hit / (place + 1.0), hit / np.log2(place + 2.0)], axis=1)


def impression_figures(scores: Floats, clicked: Floats) -> Floats:
    """Return (4,) AUC, MRR, nDCG@5 and nDCG@10 of one impression's candidates.

    scores: (C,); clicked: (C,) 1 or 0, at least one of each. MRR is, as MIND defines it, the mean
    of 1 / rank over all clicked candidates. Equal scores count as every order of them does on
    average, so the order in which the candidates are listed cannot help.

    >>> impression_figures(np.array([3.0, 2.0, 1.0]), np.array([0.0, 1.0, 0.0])).round(3).tolist()
    [0.5, 0.5, 0.631, 0.631]
    >>> impression_figures(np.zeros(2), np.array([1.0, 0.0])).round(3).tolist()
    [0.5, 0.75, 0.815, 0.815]

    Source: Wu et al., "MIND: A Large-scale Dataset for News Recommendation", ACL 2020, and its
    published evaluation.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], clicked[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(starts, len(ordered)))
    num_clicked = hits.sum()

    # Each place of a tie holds the tie's mean: what it holds over all orders.
    expected = np.repeat(np.add.reduceat(hits, starts) / sizes, sizes)
    positive = np.add.reduceat(hits, starts)
    negative = sizes - positive
    below = negative.sum() - negative.cumsum()
    auc = (positive * (below + negative / 2.0)).sum() / (num_clicked * negative.sum())

    places = np.arange(1, len(ordered) + 1)
    discount = 1.0 / np.log2(places + 1.0)
    gains = [
        (expected * discount)[:k].sum() / discount[: min(k, int(num_clicked))].sum()
        for k in (5, 10)
    ]
    return np.array([auc, (expected / places).sum() / num_clicked, *gains])
