"""Fits the linear path: ridge regressions of every label on what a reader clicked.

On a few hundred or thousand readers no network trained by gradient steps reached the convex
optimum (measured; see docs/experiments.md), so the linear part of the evidence is solved for, and
the network learns what to make of it. It must not learn on scores that have seen the reader's own
label: each reader's scores come from a fit without a fifth of the readers, the reader's.

Source: Wolpert, "Stacked Generalization", 1992.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from export.data import Floats, Ints, ReaderData
from export.data_files import scratch_directory
from export.disk_arrays import load_array, new_array
from export.distributed import barrier, is_main
from export.kernel import Float32s, similarity, solve
from export.linear_evidence import ARTICLES_PER_CHUNK, Evidence, chunks
from export.linear_targets import head_of, linear_targets
from schemas.errors import TrainingError

NUM_FOLDS = 5
MOST_READERS = 16_000
"""Readers a fit is made on: how alike any two are takes 1 GB then, and a fit holds three such."""

_STRENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2)
_PATIENCE = 5.0  # times the best so far, beyond which no stronger one is tried
_FEW_READERS = 4_000
_SPELLING, _WHOLE = 0.1, 0.25
"""How much letters and whole articles count beside pieces and pairs, which count 1."""

_LEAST_SPREAD = 1e-5  # of a reader's likeness to itself


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Weights of H scores, and the scores of A articles by the fit of each fold.

    `row` (V + buckets,) int32 says which of the n + 1 rows is a piece's or pair's, 0 for those
    that are not used; `rarity` (n + 1,), `weights` (n + 1, H) and `centre` (H,) make the scores
    in serving. So do the weights of whole articles: `whole_row` (buckets,) int32 says which of
    the W + 1 rows may be an article's, and is it where `whole_number` (W + 1,) is the article's;
    `whole_weights` (W + 1, H). `scores` (folds + 1, A, H): without each fold's readers, and last
    by all. `fold` (R,): by which of them a reader is judged.
    """

    vocabulary_size: int
    names: list[str]
    row: NDArray[np.int32]
    rarity: Float32s
    weights: Float32s
    centre: Float32s
    whole_row: NDArray[np.int32]
    whole_number: Ints
    whole_weights: Float32s
    scores: Float32s
    fold: Ints


def fit_linear(
    data: ReaderData,
    tokens: NDArray[np.int32],
    spelling: sp.csr_array,
    limit: int,
    seed: int,
    with_valid: bool = True,
) -> LinearFit:
    """Fit on the newest `limit` clicks of train and valid; several processes share one fit.

    tokens: (A, T) int32. spelling: (V, G), the letters that pieces share. Readers of valid are
    judged by fits without them, as those of train are; without `with_valid` none is fitted on.

    Raises:
        TrainingError: when there is no training reader.
    """
    train = data.readers_of("train")
    if len(train) == 0:
        raise TrainingError(f"{data.name}: no reader in the train split has labels and clicks")
    targets, names = linear_targets(data)
    readers = np.concatenate([train, data.readers_of("valid")]) if with_valid else train
    fold = _folds(len(data.user_ids), readers, seed)
    with scratch_directory() as directory:
        tables, scores = directory / "tables.npz", directory / "scores.npy"
        if is_main():
            articles = Evidence(data, tokens, spelling.shape[0], np.flatnonzero(fold < NUM_FOLDS))
            fits = _fits(articles, spelling, targets, names, fold, limit)
            shape = (NUM_FOLDS + 1, len(tokens), len(names))
            table = new_array(scores, shape, np.float32)
            centre, scale = _write_scores(articles, fits, limit, table)
            written: dict[str, Any] = _compact(articles, fits[-1] * scale)
            np.savez(tables, centre=centre, **written)
        barrier()
        # The tables are small, and used at every step: in memory. The scores stay on disk.
        with np.load(tables, allow_pickle=False) as kept:
            return LinearFit(
                vocabulary_size=spelling.shape[0],
                names=names,
                scores=load_array(scores, np.float32),
                fold=fold,
                **kept,
            )


def _folds(num_readers: int, readers: Ints, seed: int) -> Ints:
    """Return each reader's fold (R,); who takes no part in the fit has the last number."""
    fold = np.full(num_readers, NUM_FOLDS, dtype=np.int64)
    chosen = np.random.default_rng(seed).permutation(readers)[:MOST_READERS]
    fold[chosen] = np.arange(len(chosen)) % NUM_FOLDS
    return fold


def _fits(
    articles: Evidence,
    spelling: sp.csr_array,
    targets: Floats,
    names: Sequence[str],
    fold: Ints,
    limit: int,
) -> list[Float32s]:
    """Return the weights (V + buckets + W, H) without each fold, then those of all readers."""
    own, wanted = fold[articles.readers], targets[articles.readers]
    counted, known = articles.of_readers(limit)
    size = articles.vocabulary_size
    parts = ((counted, 1.0), (counted[:, :size] @ spelling, _SPELLING), (known, _WHOLE))
    similar, scales = np.zeros((len(own), len(own)), dtype=np.float32), []
    for features, share in parts:
        one = similarity(sp.csr_array(features))
        own_likeness = float(np.trace(one, dtype=np.float64)) / len(one)
        spread = own_likeness - float(one.mean(dtype=np.float64))
        # Where readers are all alike, what is left is rounding.
        scales.append(share / spread if spread > _LEAST_SPREAD * own_likeness else 0.0)
        one *= np.float32(scales[-1])
        similar += one
        del one
    strengths = _strengths(similar, wanted, own, [head_of(name) for name in names])
    fits = []
    for number in range(NUM_FOLDS + 1):
        some = np.flatnonzero(own != number)  # the last time, all
        among = similar[np.ix_(some, some)] if len(some) < len(own) else similar
        found = solve(among, wanted[some], strengths)
        weights = counted[some].T @ found * scales[0]
        weights[:size] += spelling @ (spelling.T @ (counted[some][:, :size].T @ found)) * scales[1]
        whole = known[some].T @ found * scales[2]
        fits.append(np.concatenate([weights, whole]).astype(np.float32))
    return fits


def _strengths(similar: Float32s, targets: Floats, fold: Ints, heads: Sequence[str]) -> Floats:
    """Return, per target, the strength whose fits follow held readers' labels best.

    Targets of one head share it: that of the largest mean correlation. Of few readers every fold
    is held once; of many one is enough. It is chosen on all of them, because it grows with their
    number: of 3,000 blogs' readers 0.2 was best, of 12,000 0.8.
    """
    best: dict[str, tuple[float, float]] = {}
    for strength in _STRENGTHS:
        quality = _quality(similar, targets, fold, strength)
        of_head = {
            head: float(quality[[each == head for each in heads]].mean())
            for head in dict.fromkeys(heads)
        }
        for head, value in of_head.items():
            if head not in best or value > best[head][0]:
                best[head] = value, strength
        if all(strength > _PATIENCE * best[head][1] for head in of_head):
            break
    return np.array([best[head][1] for head in heads])


def _quality(similar: Float32s, targets: Floats, fold: Ints, strength: float) -> Floats:
    """Return, per target, the mean correlation of guesses with the labels of held readers."""
    strengths = np.full(targets.shape[1], strength)
    num_held = NUM_FOLDS if len(fold) <= _FEW_READERS else 1
    quality = np.zeros(targets.shape[1])
    for number in range(num_held):
        held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        found = solve(similar[np.ix_(rest, rest)], targets[rest], strengths)
        guesses = similar[np.ix_(held, rest)] @ found
        for column, guess in enumerate(guesses.T):
            quality[column] += _correlation(guess, targets[held, column]) / num_held
    return quality


def _correlation(guess: Floats, truth: Floats) -> float:
    """Return Pearson's r over the labelled readers; 0 where it is not defined."""
    known = ~np.isnan(truth)
    if known.sum() < 3 or np.ptp(guess[known]) == 0.0 or np.ptp(truth[known]) == 0.0:
        return 0.0
    return float(np.corrcoef(guess[known], truth[known])[0, 1])


def _write_scores(
    articles: Evidence, fits: list[Float32s], limit: int, table: Float32s
) -> tuple[Float32s, Float32s]:
    """Fill the scores of all articles; return centre and scale.

    Over clicks, and not over articles, the mean is 0 and the variance 1: what everybody reads must
    not be evidence for one side.
    """
    for part in chunks(np.arange(len(articles.tokens)), ARTICLES_PER_CHUNK):
        features = sp.csr_array(sp.hstack([articles.features(part), articles.whole(part)]))
        for scores, weights in zip(table, fits, strict=True):
            scores[part] = features @ weights
    clicks = articles.clicks(limit)
    sample = np.flatnonzero(clicks)
    share = clicks[sample] / clicks.sum()
    means = [share @ scores[sample] for scores in table]
    spreads = [
        np.sqrt(share @ np.square(scores[sample] - mean))
        for scores, mean in zip(table[:NUM_FOLDS], means[:NUM_FOLDS], strict=True)
    ]
    spread = np.mean(spreads, axis=0)
    scale = np.where(spread < 1e-6, 0.0, 1.0 / np.maximum(spread, 1e-6)).astype(np.float32)
    # Each fit by its own mean: the difference of two means would be evidence on every click.
    centres = [(mean * scale).astype(np.float32) for mean in means]
    for scores, centre in zip(table, centres, strict=True):
        for part in chunks(np.arange(len(scores)), ARTICLES_PER_CHUNK):
            scores[part] = scores[part] * scale - centre
    return centres[NUM_FOLDS], scale


def _compact(articles: Evidence, weights: Float32s) -> dict[str, NDArray[Any]]:
    """Return the tables of serving, whose first rows are 0 and stand for what is not used."""
    counted = len(articles.rarity)
    used = np.flatnonzero(articles.rarity)
    numbers, rarity, buckets = articles.wholes
    row = np.zeros(counted, dtype=np.int32)
    row[used] = np.arange(1, len(used) + 1)
    whole_row = np.zeros(buckets, dtype=np.int32)
    whole_row[numbers % buckets] = np.arange(1, len(numbers) + 1)
    return {
        "row": row,
        "rarity": np.insert(articles.rarity[used], 0, 0.0),
        "weights": np.insert(weights[used], 0, 0.0, axis=0),
        "whole_row": whole_row,
        "whole_number": np.insert(numbers, 0, 0),
        "whole_weights": np.insert(rarity[:, None] * weights[counted:], 0, 0.0, axis=0),
    }
