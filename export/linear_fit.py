"""Fits the linear path: ridge regressions of every label on the pieces that a reader clicked.

On a few hundred or thousand readers no network trained by gradient steps reached the convex
optimum (measured; see docs/experiments.md), so the linear part of the evidence is solved for, and
the network learns what to make of it. It must not learn on scores that have seen the reader's own
label: each training reader's scores come from a fit without a fifth of the readers, the reader's.

Source: Wolpert, "Stacked Generalization", 1992.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from export.data import Floats, Ints, ReaderData
from export.data_files import scratch_directory
from export.disk_arrays import load_array, new_array, save_array
from export.distributed import barrier, is_main
from export.linear_evidence import ARTICLES_PER_CHUNK, FLOORS, Evidence, chunks
from export.linear_targets import linear_targets
from schemas.errors import TrainingError

NUM_FOLDS = 5
MOST_READERS = 20_000
"""Readers a fit is made on; more cost memory and hardly help a linear model."""

_STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
_FEW_READERS = 1_500
_TOLERANCE = 1e-3

Float32s = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Weights of H scores, and the scores of A articles by the fit of each fold.

    `row` (V + buckets,) int32 says which of the n + 1 rows is a piece's or pair's, 0 for those
    that are not used; `rarity` (n + 1,), `weights` (n + 1, H) and `centre` (H,) make the scores in
    serving. `scores` (folds + 1, A, H): without each fold's readers, and last by all. `fold` (R,):
    whose scores a reader is trained on.
    """

    vocabulary_size: int
    names: list[str]
    row: NDArray[np.int32]
    rarity: Float32s
    weights: Float32s
    centre: Float32s
    scores: Float32s
    fold: Ints


def fit_linear(
    data: ReaderData, tokens: NDArray[np.int32], vocabulary_size: int, limit: int, seed: int
) -> LinearFit:
    """Fit on the newest `limit` clicks of training readers; several processes share one fit.

    tokens: (A, T) int32. The strength of each regression is chosen on held-out folds.

    Raises:
        TrainingError: when there is no training reader.
    """
    if len(data.readers_of("train")) == 0:
        raise TrainingError(f"{data.name}: no reader in the train split has labels and clicks")
    targets, names = linear_targets(data)
    fold = _folds(data, seed)
    with scratch_directory() as directory:
        paths = [directory / f"{name}.npy" for name in ("row", "rarity", "weights", "centre")]
        table_path = directory / "scores.npy"
        if is_main():
            articles = Evidence(data, tokens, vocabulary_size, np.flatnonzero(fold < NUM_FOLDS))
            fits = _fits(articles, targets, fold, limit)
            shape = (NUM_FOLDS + 1, len(tokens), len(names))
            centre, scale = _write_scores(articles, fits, new_array(table_path, shape, np.float32))
            compact = _compact(articles.rarity, fits[-1] * scale)
            for path, values in zip(paths, (*compact, centre), strict=True):
                save_array(path, values)
        barrier()
        # Small, and used at every step: in memory. The scores stay on disk.
        row = load_array(paths[0], np.int32).copy()
        rarity, weights, centre = (load_array(path, np.float32).copy() for path in paths[1:])
        scores = load_array(table_path, np.float32)
        return LinearFit(vocabulary_size, names, row, rarity, weights, centre, scores, fold)


def _compact(rarity: Float32s, weights: Float32s) -> tuple[NDArray[np.int32], Float32s, Float32s]:
    """Return the row of each column (F,), and rarity and weights of the used ones after a 0."""
    used = np.flatnonzero(rarity)
    row = np.zeros(len(rarity), dtype=np.int32)
    row[used] = np.arange(1, len(used) + 1)
    nothing = np.zeros((1, weights.shape[1]), dtype=np.float32)
    kept = np.concatenate([nothing, weights[used]]).astype(np.float32)
    return row, np.concatenate([[np.float32(0.0)], rarity[used]]).astype(np.float32), kept


def _fits(articles: Evidence, targets: Floats, fold: Ints, limit: int) -> list[Float32s]:
    """Return the weights (F, H) without each fold, then those of all readers.

    Where rarity begins, and how strong each regression is, is chosen on held-out folds.
    """
    own, wanted = fold[articles.readers], targets[articles.readers]
    best = -np.inf
    for floor in FLOORS:
        articles.choose(floor)
        evidence = articles.of_readers(limit)
        some, quality = _strengths(evidence, wanted, own)
        if quality > best:
            best, chosen, kept, strengths = quality, floor, evidence, some
    articles.choose(chosen)
    rows = [own != number for number in range(NUM_FOLDS)]
    rows.append(np.ones(len(own), dtype=np.bool_))
    return [_ridge(kept[some], wanted[some], strengths) for some in rows]


def _strengths(evidence: sp.csr_array, targets: Floats, fold: Ints) -> tuple[Floats, float]:
    """Return, per target, the strength whose fits follow the held readers' labels best.

    And the share of the variance they explain, on average; targets without signal add no noise to
    that. Of few readers every fold is held once; of many one is enough.
    """
    num_held = NUM_FOLDS if len(fold) <= _FEW_READERS else 1
    quality = np.zeros((len(_STRENGTHS), targets.shape[1]))
    for number in range(num_held):
        held = fold == number
        for at, strength in enumerate(_STRENGTHS):
            same = np.full(targets.shape[1], strength)
            guesses = evidence[held] @ _ridge(evidence[~held], targets[~held], same)
            quality[at] += [
                _correlation(guesses[:, column], targets[held, column])
                for column in range(targets.shape[1])
            ]
    chosen = np.asarray(np.take(_STRENGTHS, quality.argmax(0)), dtype=np.float64)
    return chosen, float(np.square(quality.max(0) / num_held).mean())


def _correlation(guess: Float32s, truth: Floats) -> float:
    """Return Pearson's r over the labelled readers; 0 where it is not defined."""
    known = ~np.isnan(truth)
    if known.sum() < 3 or np.ptp(guess[known]) == 0.0 or np.ptp(truth[known]) == 0.0:
        return 0.0
    return float(np.corrcoef(guess[known], truth[known])[0, 1])


def _ridge(evidence: sp.csr_array, targets: Floats, strengths: Floats) -> Float32s:
    """Regress each target on the evidence of the readers who have it: (F, H).

    Targets with the same holes and strength are solved together; one without labels has weights 0.
    """
    weights = np.zeros((evidence.shape[1], targets.shape[1]), dtype=np.float32)
    together: dict[tuple[bytes, float], list[int]] = {}
    for column in range(targets.shape[1]):
        holes = np.isnan(targets[:, column]).tobytes()
        together.setdefault((holes, float(strengths[column])), []).append(column)
    for (_, strength), columns in together.items():
        known = ~np.isnan(targets[:, columns[0]])
        if known.sum() < 2:
            continue
        wanted = targets[known][:, columns]
        model = Ridge(alpha=strength, solver="lsqr", tol=_TOLERANCE)
        model.fit(evidence[known], wanted - wanted.mean(0))
        weights[:, columns] = np.reshape(model.coef_, (len(columns), -1)).T
    return weights


def _write_scores(
    articles: Evidence, fits: list[Float32s], table: Float32s
) -> tuple[Float32s, Float32s]:
    """Fill the scores of all articles, of zero mean and unit variance; return centre and scale."""
    for part in chunks(np.arange(len(articles.tokens)), ARTICLES_PER_CHUNK):
        features = articles.features(part)
        for scores, weights in zip(table, fits, strict=True):
            scores[part] = features @ weights
    sample = articles.clicked
    spread = np.mean([scores[sample].std(0) for scores in table[:NUM_FOLDS]], axis=0)
    scale = (1.0 / np.maximum(spread, 1e-6)).astype(np.float32)
    scale[spread < 1e-6] = 0.0  # a target without labels
    centre = (table[NUM_FOLDS][sample].mean(0) * scale).astype(np.float32)
    for scores in table:
        for part in chunks(np.arange(len(scores)), ARTICLES_PER_CHUNK):
            scores[part] = scores[part] * scale - centre
    return centre, scale


def _folds(data: ReaderData, seed: int) -> Ints:
    """Return each reader's fold (R,); who takes no part in the fit has the last number."""
    fold = np.full(len(data.user_ids), NUM_FOLDS, dtype=np.int64)
    chosen = np.random.default_rng(seed).permutation(data.readers_of("train"))[:MOST_READERS]
    fold[chosen] = np.arange(len(chosen)) % NUM_FOLDS
    return fold
