"""The features of articles alone, at one moment: compiled, in passes over all that is on offer.

Feature by feature, in blocks that stay in the cache: so the same arithmetic is done for several
articles at a time.
"""

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.elementwise import exp2_each, log_each
from worker.recommend.features import (
    AGE,
    AGES_MS,
    APPEAL,
    CLICK_THROUGH,
    HALF_LIVES_H,
    HALF_LIVES_MS,
    HOT_TERMS,
    KIND,
    NEWCOMER_HALF_LIVES_H,
    NEWCOMERS,
    NUM_ARTICLE,
    NUM_HALF_LIVES,
    NUM_QUIETS,
    SHOWN,
    SINCE_LAST,
    UNCLICKED,
)
from worker.recommend.state import NEVER_MS, Items, TermLists, Terms
from worker.recommend.subjects import appeals_of, heats_of

SOON_MS = 600_000.0
_FLOOR = 0.01  # of a click: what keeps the logarithm of an unclicked article's count finite
_LOG_FLOOR = np.float32(np.log(_FLOOR))
_LONG_AGO_MS = 3.0e9
_FADED = -30.0
"""What has halved thirty times is nothing, and most of an archive has."""

PLACE_BITS = 24
"""Of the keys by which articles are put in order: the lowest are their places."""

BLOCK = 256
"""Articles that are gone through at a time."""

_OLDEST_MS = (1 << (63 - PLACE_BITS)) - 1
_AGES = np.asarray(AGES_MS, dtype=np.int64)
_NEWCOMER_FADES = tuple(HALF_LIVES_H.index(hours) for hours in NEWCOMER_HALF_LIVES_H)


@compiled
def measure(
    items: Items,
    offered: NDArray[np.int32],
    published_ms: NDArray[np.int64],
    terms: TermLists,
    known: Terms,
    now_ms: int,
    out: NDArray[np.float32],
    kind: NDArray[np.int32],
    age_keys: NDArray[np.int64],
    means: NDArray[np.float64],
    variances: NDArray[np.float64],
) -> None:
    """Write the features of M articles on offer as they are, (A, M), and what they usually are.

    offered: (M,) of N articles. kind: (N,), filled for these; see `moment.Moment`. age_keys:
    (M,), in whose order the newest are first. means, variances: (A,), over the articles on offer.
    """
    num = len(offered)
    squares = np.zeros(NUM_ARTICLE)
    means[:] = 0.0
    out[KIND] = 1.0
    if num:
        clicked = np.empty(num, dtype=np.int64)
        num_clicked = 0
        for place in range(num):
            if items.last_ms[offered[place]] != NEVER_MS:
                clicked[num_clicked] = place
                num_clicked += 1
        _measure_clicks(items, offered, clicked[:num_clicked], now_ms, out, means, squares)
        num_dated = _measure_ages(items, offered, published_ms, now_ms, out, kind, age_keys)
        any_shown = _measure_showings(items, len(published_ms), offered, out, means, squares)
        heats_of(known.heat, terms.starts, terms.numbers, offered, out[HOT_TERMS])
        out[APPEAL] = 0.0
        if any_shown:
            starts, numbers = terms.starts, terms.numbers
            appeals_of(items.appeal, known.appeal, starts, numbers, offered, out[APPEAL])
        for feature in (AGE, HOT_TERMS, APPEAL):
            _add_up(out[feature], feature, means, squares)
        for feature in range(NUM_ARTICLE):
            # Of undated articles the age is not known: they stand in the middle.
            count = max(num_dated, 1) if feature == AGE else num
            means[feature] /= count
            variances[feature] = max(squares[feature] / count - means[feature] ** 2, 0.0)
    variances[KIND] = 1.0


@compiled
def _add_up(
    values: NDArray[np.float32],
    feature: int,
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Add to sums and squares, (A,), of a feature; in four parts, which are done at once."""
    a = b = c = d = e = f = g = h = 0.0
    whole = len(values) // 4 * 4
    for at in range(0, whole, 4):
        one, two, three, four = values[at], values[at + 1], values[at + 2], values[at + 3]
        a += one
        b += two
        c += three
        d += four
        e += one * one
        f += two * two
        g += three * three
        h += four * four
    for at in range(whole, len(values)):
        a += values[at]
        e += values[at] * values[at]
    sums[feature] += (a + b) + (c + d)
    squares[feature] += (e + f) + (g + h)


@compiled
def _add_alike(
    value: np.float32,
    num: int,
    feature: int,
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    sums[feature] += num * np.float64(value)
    squares[feature] += num * np.float64(value * value)


@compiled
def _add_rungs(times_ms: NDArray[np.float64], worth: int, out: NDArray[np.int64]) -> None:
    """Add how many of the bounds of ages each time has passed, so many times."""
    for bound in range(len(_AGES)):
        for at in range(len(times_ms)):
            out[at] += worth if times_ms[at] > _AGES[bound] else 0


@compiled
def _measure_clicks(
    items: Items,
    offered: NDArray[np.int32],
    clicked: NDArray[np.int64],
    now_ms: int,
    out: NDArray[np.float32],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Write what follows from clicks. clicked: places, among those on offer, with any."""
    never = np.float32(np.log(_LONG_AGO_MS + SOON_MS / 10.0))
    out[:NUM_HALF_LIVES] = _LOG_FLOOR
    out[NEWCOMERS : NEWCOMERS + len(_NEWCOMER_FADES)] = _LOG_FLOOR
    out[SINCE_LAST] = never
    out[UNCLICKED] = 1.0
    num_others = out.shape[1] - len(clicked)
    for h in range(NUM_HALF_LIVES):
        _add_alike(_LOG_FLOOR, num_others, h, sums, squares)
    for h in range(len(_NEWCOMER_FADES)):
        _add_alike(_LOG_FLOOR, num_others, NEWCOMERS + h, sums, squares)
    _add_alike(never, num_others, SINCE_LAST, sums, squares)
    _add_alike(np.float32(1.0), num_others, UNCLICKED, sums, squares)
    quiet_ms, fade, faded = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    scratch = np.empty(BLOCK, dtype=np.int64)
    for start in range(0, len(clicked), BLOCK):
        places = clicked[start : start + BLOCK]
        num = len(places)
        for at in range(num):
            quiet_ms[at] = max(now_ms - items.last_ms[offered[places[at]]], 0)
            out[UNCLICKED, places[at]] = 0.0
        for h in range(NUM_HALF_LIVES):
            halved = -1.0 / HALF_LIVES_MS[h]
            for at in range(num):
                halvings = quiet_ms[at] * halved
                faded[at] = halvings
                fade[at] = halvings if halvings >= _FADED else _FADED
            exp2_each(fade[:num], scratch)
            for at in range(num):
                fade[at] = fade[at] if faded[at] >= _FADED else 0.0
            for at in range(num):
                faded[at] = items.counts[offered[places[at]], h] * fade[at] + _FLOOR
            _write_logs(faded[:num], scratch, places, h, out, sums, squares)
            for n in range(len(_NEWCOMER_FADES)):
                if _NEWCOMER_FADES[n] == h:
                    for at in range(num):
                        count = items.newcomers[offered[places[at]], n]
                        faded[at] = count * fade[at] + _FLOOR
                    _write_logs(faded[:num], scratch, places, NEWCOMERS + n, out, sums, squares)
        for at in range(num):
            faded[at] = quiet_ms[at] + SOON_MS / 10.0
        _write_logs(faded[:num], scratch, places, SINCE_LAST, out, sums, squares)


@compiled
def _write_logs(
    values: NDArray[np.float64],
    scratch: NDArray[np.int64],
    places: NDArray[np.int64],
    feature: int,
    out: NDArray[np.float32],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Write the logarithms of a block's values to places of a feature, and add them up."""
    log_each(values, scratch)
    logs = np.empty(len(values), dtype=np.float32)
    for at in range(len(values)):
        logs[at] = values[at]
        out[feature, places[at]] = logs[at]
    _add_up(logs, feature, sums, squares)


@compiled
def _measure_ages(
    items: Items,
    offered: NDArray[np.int32],
    published_ms: NDArray[np.int64],
    now_ms: int,
    out: NDArray[np.float32],
    kind: NDArray[np.int32],
    keys: NDArray[np.int64],
) -> int:
    """Write ages, 0 where not known, kinds, and keys; return how many ages are known."""
    num_dated = 0
    age_ms, quiet_ms, since_ms = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    scratch, kinds = np.empty(BLOCK, dtype=np.int64), np.empty(BLOCK, dtype=np.int64)
    for start in range(0, len(offered), BLOCK):
        num = min(BLOCK, len(offered) - start)
        for at in range(num):
            item = offered[start + at]
            last_ms, first_ms, since = items.last_ms[item], items.first_ms[item], published_ms[item]
            kinds[at] = NUM_QUIETS - 1 if last_ms == NEVER_MS else 0
            quiet_ms[at] = now_ms - last_ms if last_ms != NEVER_MS else 0
            age_ms[at] = now_ms - first_ms
            # Age and place in one number. Beyond 17 years, all are equally old.
            keys[start + at] = (min(now_ms - first_ms, _OLDEST_MS) << PLACE_BITS) + start + at
            since_ms[at] = since if since >= 0 else first_ms
        _add_rungs(quiet_ms[:num], 1, kinds)
        _add_rungs(age_ms[:num], NUM_QUIETS, kinds)
        for at in range(num):
            kind[offered[start + at]] = kinds[at]
            dated = since_ms[at] > 0.0
            num_dated += dated
            age = now_ms - since_ms[at]
            age_ms[at] = ((age if age > 0.0 else 0.0) + SOON_MS) if dated else 1.0
        log_each(age_ms[:num], scratch)
        for at in range(num):
            out[AGE, start + at] = age_ms[at]
    return num_dated


@compiled
def _measure_showings(
    items: Items,
    size: int,
    offered: NDArray[np.int32],
    out: NDArray[np.float32],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> bool:
    """Write what follows from impressions; return whether there are any.

    The rate is that of all articles, on offer or not.
    """
    shown = 0.0
    clicked = 0.0
    for item in range(size):
        shown += items.shown[item, 0]
        clicked += items.shown[item, 1]
    out[SHOWN] = 0.0
    out[CLICK_THROUGH] = 0.0
    if not shown:
        return False
    rate = (clicked + 1.0) / (shown + 10.0)
    scratch = np.empty(BLOCK, dtype=np.int64)
    times, through = np.empty(BLOCK), np.empty(BLOCK)
    places = np.empty(BLOCK, dtype=np.int64)
    num = 0
    for place in range(len(offered)):
        item = offered[place]
        if items.shown[item, 0] > 0.0:
            # Smoothed by ten showings of the average article.
            smoothed = (items.shown[item, 1] + 10.0 * rate) / (items.shown[item, 0] + 10.0)
            through[num] = smoothed / rate
            times[num] = items.shown[item, 0] + 1.0
            places[num] = place
            num += 1
        if num == BLOCK or (num and place == len(offered) - 1):
            _write_logs(times[:num], scratch, places, SHOWN, out, sums, squares)
            _write_logs(through[:num], scratch, places, CLICK_THROUGH, out, sums, squares)
            num = 0
    return True
