"""What is learned of subjects, that is of the terms of articles: compiled.

Which are hot: of an article that nobody has clicked yet, its subject may be known. And which are
clicked when they are shown: most articles are shown too rarely for a click-through of their own.
"""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.state import NEVER_MS, Items, Terms

TERM_HALF_LIVES_MS = np.array([24.0, 672.0]) * 3_600_000.0
"""Now, and usually."""

APPEAL_RATE = 0.05
FIRST_SQUARES = 1.0
"""Of the gradients of an appeal, before any: what keeps the first steps short."""


COOL_EVERY = 1024
"""Clicks after which the heat of all terms is looked at again."""


@compiled
def heat_terms(known: Terms, terms: NDArray[np.int32], time_ms: int) -> None:
    """Count a click for each term of an article, (T,)."""
    fade = np.empty(2)
    last_ms = known.all_last_ms[0]
    apart_ms = 0 if last_ms == NEVER_MS else time_ms - last_ms
    for h in range(2):
        fade[h] = 2.0 ** (-abs(apart_ms) / TERM_HALF_LIVES_MS[h])
        if apart_ms >= 0:
            known.all_clicks[h] = known.all_clicks[h] * fade[h] + 1.0
        else:
            known.all_clicks[h] += fade[h]
    known.all_last_ms[0] = max(last_ms, time_ms)
    for at in range(len(terms)):
        term = terms[at]
        if term < 0:
            break
        last_ms = known.last_ms[term]
        apart_ms = 0 if last_ms == NEVER_MS else time_ms - last_ms
        for h in range(2):
            faded = np.float32(2.0 ** (-abs(apart_ms) / TERM_HALF_LIVES_MS[h]))
            if apart_ms >= 0:
                known.clicks[term, h] = known.clicks[term, h] * faded + np.float32(1.0)
            else:
                known.clicks[term, h] += faded
        known.last_ms[term] = max(last_ms, time_ms)
        known.heat[term] = _heat(known, term)


@compiled
def heat_clicks(
    known: Terms, terms: NDArray[np.int32], times_ms: NDArray[np.int64], num_before: int
) -> None:
    """Count clicks, (C,), on articles with terms (C, T); so many have been counted before."""
    for click in range(len(times_ms)):
        heat_terms(known, terms[click], times_ms[click])
        if (num_before + click + 1) % COOL_EVERY == 0:
            cool_terms(known)


@compiled
def cool_terms(known: Terms) -> None:
    """See all terms from the last click of anybody, not each from its own."""
    for term in range(len(known.heat)):
        if known.last_ms[term] != NEVER_MS:
            known.heat[term] = _heat(known, term)


@compiled
def _heat(known: Terms, term: int) -> float:
    apart_ms = max(known.all_last_ms[0] - known.last_ms[term], 0)
    now = float(known.clicks[term, 0])
    usually = float(known.clicks[term, 1])
    if apart_ms:
        now *= 2.0 ** (-apart_ms / TERM_HALF_LIVES_MS[0])
        usually *= 2.0 ** (-apart_ms / TERM_HALF_LIVES_MS[1])
    expected = known.all_clicks[0] * usually / known.all_clicks[1]
    # Smoothed by three clicks: one click on a rare word is not a trend.
    return float(np.log((now + 3.0) / (expected + 3.0)))


@compiled
def heat_of(heat: NDArray[np.float32], terms: NDArray[np.int32]) -> float:
    """Return the mean heat, (V,), of an article's terms, (T,)."""
    total = 0.0
    num = 0
    for at in range(len(terms)):
        if terms[at] < 0:
            break
        total += heat[terms[at]]
        num += 1
    return total / max(num, 1)


@compiled
def appeal_of(own: float, appeal: NDArray[np.float32], terms: NDArray[np.int32]) -> float:
    """Return how much likelier than others an article with terms (T,) is clicked when shown.

    In logits: its own part, and the sum of its terms' by the root of their number. appeal: (V, 2)
    of all terms.
    """
    total = 0.0
    num = 0
    for at in range(len(terms)):
        if terms[at] < 0:
            break
        total += appeal[terms[at], 0]
        num += 1
    return float(own + total / np.sqrt(max(num, 1)))


@compiled
def learn_appeal(
    items: Items,
    known: Terms,
    terms: NDArray[np.int32],
    shown: NDArray[np.int64],
    clicked: NDArray[np.bool_],
) -> None:
    """Learn from an impression: articles (C,), with terms (C, T), and which were clicked (C,).

    Each click is a choice among itself and what was not clicked: a softmax of the appeals.
    """
    num = len(shown)
    share = np.empty(num)
    for chosen in range(num):
        if not clicked[chosen]:
            continue
        total = 0.0
        for at in range(num):
            if clicked[at] and at != chosen:
                share[at] = 0.0
                continue
            share[at] = np.exp(appeal_of(items.appeal[shown[at], 0], known.appeal, terms[at]))
            total += share[at]
        for at in range(num):
            step = (1.0 if at == chosen else 0.0) - share[at] / total
            _move(items.appeal[shown[at]], step)
            num_terms = 0
            while num_terms < terms.shape[1] and terms[at, num_terms] >= 0:
                num_terms += 1
            for place in range(num_terms):
                _move(known.appeal[terms[at, place]], step / np.sqrt(num_terms))


@compiled
def _move(appeal: NDArray[np.float32], step: float) -> None:
    # AdaGrad, as for the blend.
    appeal[1] += step * step
    appeal[0] += APPEAL_RATE * step / np.sqrt(appeal[1] + FIRST_SQUARES)
