"""The baseline every model is measured beside: a bag of words with a linear model per head.

TF-IDF over all the text of a reader's clicks, then logistic regression for gender, multinomial
logistic regression for income and ridge regression for age. Nothing in it is random.

Source: Joachims, "Text Categorization with Support Vector Machines", ECML 1998, for a text as a
bag of weighted words; Hoerl and Kennard, "Ridge Regression", Technometrics 1970.
"""

import warnings
from copy import deepcopy
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression, Ridge

from export.bundle_model import Estimates
from export.data import MISSING, Floats, Ints, ReaderData
from export.evaluation.constant import Constant

MOST_READERS = 20_000
"""Training readers, evenly chosen where there are more, so that time and memory stay bounded."""
MOST_CLICKS = 1_000
MOST_WORDS = 50_000

# Thai, Lao, Burmese, Khmer, Japanese, Chinese: scripts without spaces between words.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
WORDS = rf"[{_UNSPACED}]|[^\W{_UNSPACED}]{{2,}}"
"""Two letters or digits and more, as scikit-learn has it; of the scripts that put no space
between words, each character."""

_FEWEST_READERS = 3  # training readers who must have met a word; 1 where that leaves none
_STRENGTHS = tuple(10.0**power for power in (-3, -2, -1, -0.5, 0, 0.5, 1, 1.5, 2))
_DEFAULT_STRENGTH = 1.0  # where valid has no labels to choose by
_PATIENCE = 2  # strengths in a row that may do worse on valid
_ITERATIONS = 300
_TOLERANCE = 1e-5  # of the gradient; with 1e-4 the log-loss still moves by 0.003
_NOT_COUNTED = -1
_TINY = 1e-7

Rows = Any  # scipy.sparse matrix (readers, words); scipy ships no types


class Baseline:
    """Learn from the train and valid readers of a set, as the model does.

    How strongly to regularise is chosen on valid by fits without it.

    The texts are those of `data`, so the baseline reads what the encoder reads. A head without
    labels, or with one class, answers with the statistics of the training readers.
    """

    def __init__(self, data: ReaderData, most_readers: int = MOST_READERS) -> None:
        train = _evenly(data.readers_of("train"), most_readers)
        valid = _evenly(data.readers_of("valid"), most_readers)
        self._constant = Constant(data)
        self._words = _Words(data, train)
        known, tuning = self._words.rows(train), self._words.rows(valid)
        both = np.concatenate([train, valid])
        rows = sparse.vstack([known, tuning], format="csr")
        self._gender = _fit_classes(known, data.gender[train], tuning, data.gender[valid])
        self._income = _fit_classes(known, data.income[train], tuning, data.income[valid])
        self._age, self._age_sd = _fit_age(known, data.age[train], tuning, data.age[valid])
        if len(valid):
            for model, label in ((self._gender, data.gender), (self._income, data.income)):
                _refit(model, rows, label[both], label[both] != MISSING)
            _refit(self._age, rows, data.age[both], ~np.isnan(data.age[both]))

    def estimate(self, data: ReaderData, readers: Ints, num_clicks: int | None = None) -> Estimates:
        """Estimate from the newest 1,000 clicks, of the first `num_clicks` where given."""
        assert data is self._words.data, "a baseline is for the set it was fitted on"
        result = self._constant.estimate(data, readers)
        if len(readers) == 0:
            return result
        rows = self._words.rows(readers, num_clicks)
        if self._gender is not None:
            result.female[:] = self._gender.predict_proba(rows)[:, 1]
        if self._income is not None:
            # A group that no training reader is in keeps its small share of the prior.
            seen = self._income.classes_
            share = result.income[:, seen].sum(axis=1, keepdims=True)
            result.income[:, seen] = share * self._income.predict_proba(rows)
        if self._age is not None:
            result.age_years[:] = self._age.predict(rows)
        if self._age_sd is not None:
            result.age_sd[:] = self._age_sd
        return result


class _Words:
    """The words of readers, weighted; every article is taken apart once, when it is asked for.

    Words are chosen by what training readers read: no word of the test split gets in.
    """

    def __init__(self, data: ReaderData, train: Ints) -> None:
        self.data = data
        self._row_of = np.full(len(data.texts), _NOT_COUNTED, dtype=np.int64)
        articles = np.unique(data.clicks[self._spans(train)[0]])
        self._row_of[articles] = np.arange(len(articles))
        counter = CountVectorizer(token_pattern=WORDS)
        try:
            self._counts = counter.fit_transform(data.texts[int(at)] for at in articles)
            words = counter.get_feature_names_out()
        except ValueError:  # not one word in any article
            self._counts, words = sparse.csr_matrix((len(articles), 1)), np.array([""])
        kept = _frequent(self._read(train))
        self._counts = self._counts[:, kept].astype(np.float64)
        self._counter = CountVectorizer(token_pattern=WORDS, vocabulary=words[kept])
        self._weights = TfidfTransformer(sublinear_tf=True).fit(self._read(train))

    def rows(self, readers: Ints, num_clicks: int | None = None) -> Rows:
        """Return a row of unit length for each reader."""
        if len(readers) == 0:
            return sparse.csr_matrix((0, self._counts.shape[1]))
        return self._weights.transform(self._read(readers, num_clicks))

    def _read(self, readers: Ints, num_clicks: int | None = None) -> Rows:
        """Count each word in the text of a reader's clicks."""
        at, offsets = self._spans(readers, num_clicks)
        articles = self.data.clicks[at]
        self._count(np.unique(articles[self._row_of[articles] == _NOT_COUNTED]))
        shape = (len(readers), self._counts.shape[0])
        clicks = sparse.csr_matrix((np.ones(len(at)), self._row_of[articles], offsets), shape=shape)
        return clicks @ self._counts

    def _count(self, missing: Ints) -> None:
        if len(missing):
            found = self._counter.transform(self.data.texts[int(at)] for at in missing)
            self._row_of[missing] = self._counts.shape[0] + np.arange(len(missing))
            self._counts = sparse.vstack([self._counts, found], format="csr")

    def _spans(self, readers: Ints, num_clicks: int | None = None) -> tuple[Ints, Ints]:
        """Return where the clicks of the readers are, and where each reader's begin and end."""
        begins, ends = self.data.offsets[readers], self.data.offsets[readers + 1]
        if num_clicks is not None:
            ends = np.minimum(ends, begins + num_clicks)
        begins = np.maximum(begins, ends - MOST_CLICKS)
        spans = [np.arange(begin, end) for begin, end in zip(begins, ends, strict=True)]
        return np.concatenate(spans), np.concatenate([[0], np.cumsum(ends - begins)])


def _evenly(readers: Ints, most: int) -> Ints:
    if len(readers) <= most:
        return readers
    return readers[np.linspace(0, len(readers) - 1, most).astype(np.int64)]


def _frequent(read: Rows) -> Ints:
    """Return the words that enough readers met, at most 50,000, those read most."""
    num_readers = np.asarray((read > 0).sum(axis=0)).ravel()
    enough = _FEWEST_READERS if (num_readers >= _FEWEST_READERS).any() else 1
    total = np.where(num_readers >= enough, np.asarray(read.sum(axis=0)).ravel(), 0.0)
    most = np.argsort(-total, kind="stable")[:MOST_WORDS]
    # One column at least, if an empty one: the linear models then answer with the intercept.
    return np.sort(most[: max(1, int((total > 0).sum()))])


def _fit_classes(rows: Rows, label: Ints, tuning: Rows, tuning_label: Ints) -> Any:
    """Fit a logistic regression by log-loss on the tuning readers; None with one class."""
    has_label, can_tune = label != MISSING, tuning_label != MISSING
    if len(np.unique(label[has_label])) < 2:
        return None
    model = LogisticRegression(max_iter=_ITERATIONS, tol=_TOLERANCE, warm_start=True)
    best, best_loss, worse = None, np.inf, 0
    for strength in _STRENGTHS if can_tune.any() else (_DEFAULT_STRENGTH,):
        model.set_params(C=strength)
        with warnings.catch_warnings():
            # The last digits of the loss do not matter here.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows[has_label], label[has_label])
        loss = _log_loss(model, tuning[can_tune], tuning_label[can_tune])
        best, best_loss, worse = (
            (deepcopy(model), loss, 0) if loss < best_loss else (best, best_loss, worse + 1)
        )
        if worse == _PATIENCE:
            break
    return best


def _refit(model: Any, rows: Rows, label: Ints | Floats, known: Any) -> None:
    """Fit a chosen model anew on more readers."""
    if model is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows[known], label[known])


def _log_loss(model: Any, rows: Rows, label: Ints) -> float:
    if rows.shape[0] == 0:
        return 0.0
    probability = np.zeros((len(label), int(max(label.max(), model.classes_.max())) + 1))
    probability[:, model.classes_] = model.predict_proba(rows)
    return float(-np.log(np.maximum(probability[np.arange(len(label)), label], _TINY)).mean())


def _fit_age(rows: Rows, age: Floats, tuning: Rows, tuning_age: Floats) -> tuple[Any, float | None]:
    """Fit a ridge regression by absolute error on the tuning readers.

    Returns the model and its root mean square error there; None where there are no labels.
    """
    has_label, can_tune = ~np.isnan(age), ~np.isnan(tuning_age)
    if not has_label.any():
        return None, None
    if not can_tune.any():
        return _ridge(_DEFAULT_STRENGTH).fit(rows[has_label], age[has_label]), None
    best, best_error, sd = None, np.inf, None
    for strength in _STRENGTHS:
        model = _ridge(strength).fit(rows[has_label], age[has_label])
        gap = model.predict(tuning[can_tune]) - tuning_age[can_tune]
        if np.abs(gap).mean() < best_error:
            best, best_error, sd = model, np.abs(gap).mean(), float(np.sqrt((gap**2).mean()))
    return best, sd


def _ridge(strength: float) -> Any:
    return Ridge(alpha=1.0 / strength, solver="sparse_cg", tol=1e-4)
