"""Features of a series of numbers: moving averages, moments, returns, realised volatility."""

from __future__ import annotations

import math

from replay.kernel.fixed import log
from replay.kernel.memory import fn, hot
from replay.trader.rows import (
    EMA,
    HIGHEST,
    LOWEST,
    MEAN,
    MEAN_N,
    RETURN,
    RETURN_ZSCORE,
    SESSION_RETURN,
    VARIANCE,
    VARIANCE_N,
    ZSCORE,
    ZSCORE_N,
)
from replay.trader.windows import (
    ANCHOR,
    BASE,
    BLOCKS,
    BUCKET,
    EDGE,
    FIRST,
    OWN,
    POSITION,
    RETURN_SLOTS,
    RING,
    K,
    closes_begin,
    closes_roll,
    count_mean,
    count_moments,
    extremes_add,
    extremes_roll,
    full,
    join,
    mean_roll,
    moments_add,
    moments_roll,
    slot_of,
    squares_roll,
    width_of,
)

# own words of a realised volatility
_PREVIOUS, _SCALE, _LAST = OWN, OWN + 1, OWN + 2
# own words of moments
_ORIGIN, _NEWEST = OWN, OWN + 1
# a z-score of returns: the closes that returns are over stand behind the moments of the returns
_CLOSES = RING + 3 * K


@fn
def observe(f, words, fwords, now, x):
    """Add the observation `x` (float64) at `now` to a row of a series. Cost O(1), O(64) where a bucket ends."""
    code = f.code
    at = f.word
    if code == EMA:
        _ema(f, words, fwords, at, x)
    elif code == SESSION_RETURN:
        if words[at] == 0:
            words[at] = 1
            fwords[at + 1] = x
        _ratio(f, x, fwords[at + 1], True)
    elif code == RETURN:
        _observe_return(f, words, fwords, at, now, x)
    elif code == MEAN:
        if now >= words[at + EDGE]:
            mean_roll(words, fwords, at, now, f.p0)
        slot = slot_of(words, at, 2)
        words[slot] += 1
        fwords[slot + 1] += x
        _show_mean(f, words, fwords, at)
    elif code <= ZSCORE:
        _observe_moments(f, words, fwords, at, now, x)
    elif code == MEAN_N:
        mean, ready = count_mean(words, fwords, at, f.p0, x)
        f.value = mean
        f.ready = 1 if ready else 0
    elif code <= ZSCORE_N:
        _count_moments(f, words, fwords, at, x)
    elif code == RETURN_ZSCORE:
        _observe_return_zscore(f, words, fwords, at, now, x)
    elif code == HIGHEST or code == LOWEST:
        sign = 1 if code == HIGHEST else -1
        if now >= words[at + EDGE]:
            extremes_roll(words, fwords, at, now, f.p0, sign)
        extremes_add(words, fwords, slot_of(words, at, 2), x, sign)
        _show_extreme(f, words, fwords, at, sign)
    else:
        _observe_square(f, words, fwords, at, now, x)


@fn
def advance(f, words, fwords, now):
    """Roll a row of a series to `now` without an observation: other events of the instrument move its window too."""
    code = f.code
    if code in (EMA, SESSION_RETURN) or MEAN_N <= code <= ZSCORE_N:
        return
    at = f.word
    edge = words[at + EDGE]
    if now < edge or edge == 0:
        return
    if code == RETURN:
        closes_roll(words, fwords, at, now, f.p0)
        _show_return(f, words, fwords, at)
    elif code == MEAN:
        mean_roll(words, fwords, at, now, f.p0)
        _show_mean(f, words, fwords, at)
    elif code <= ZSCORE or code == RETURN_ZSCORE:
        moments_roll(words, fwords, at, now, f.p0)
        _show_moments(f, words, fwords, at)
    elif code == HIGHEST or code == LOWEST:
        sign = 1 if code == HIGHEST else -1
        extremes_roll(words, fwords, at, now, f.p0, sign)
        _show_extreme(f, words, fwords, at, sign)
    else:
        fwords[at + _PREVIOUS] = fwords[at + _LAST]
        squares_roll(words, fwords, at, now, f.p0)
        _show_squares(f, words, fwords, at)


@hot
def _ema(f, words, fwords, at, x):
    n = words[at] + 1
    words[at] = n
    if n == 1:
        fwords[at + 1] = 2.0 / (float(f.p0) + 1.0)
    if f.p1 == 1 and n <= f.p0:
        fwords[at + 2] += x
        f.value = fwords[at + 2] / float(n)
    elif n == 1:
        f.value = x
    else:
        f.value = f.value + fwords[at + 1] * (x - f.value)
    if n >= f.p0:
        f.ready = 1


@hot
def _ratio(f, x, reference, ready):
    """Show a simple return; a price at or below zero has none."""
    if x > 0.0 and reference > 0.0:
        f.value = x / reference - 1.0
        f.ready = 1 if ready else 0
    else:
        f.ready = 0


@fn
def _close(words, fwords, at, now, span, x):
    """Take `x` into the closes at `at`."""
    if words[at + EDGE] == 0:
        closes_begin(words, fwords, at, now, span, x)
    elif now >= words[at + EDGE]:
        closes_roll(words, fwords, at, now, span)
    fwords[at + RING + words[at + BUCKET] % RETURN_SLOTS] = x


@hot
def _observe_return(f, words, fwords, at, now, x):
    _close(words, fwords, at, now, f.p0, x)
    _show_return(f, words, fwords, at)


@hot
def _observe_return_zscore(f, words, fwords, at, now, x):
    """A return is a sample once there is a price its interval ago; a price at or below zero gives none."""
    if x <= 0.0:
        advance(f, words, fwords, now)
        return
    closes = at + _CLOSES
    _close(words, fwords, closes, now, f.p1, x)
    if words[closes + BUCKET] - words[closes + FIRST] >= RETURN_SLOTS - 1:
        _observe_moments(f, words, fwords, at, now, x / fwords[closes + BASE] - 1.0)


@hot
def _show_return(f, words, fwords, at):
    bucket = words[at + BUCKET]
    x = fwords[at + RING + bucket % RETURN_SLOTS]
    _ratio(f, x, fwords[at + BASE], bucket - words[at + FIRST] >= RETURN_SLOTS - 1)


@hot
def _show_mean(f, words, fwords, at):
    slot = slot_of(words, at, 2)
    n = words[at + BASE] + words[slot]
    if n > 0:
        f.value = (fwords[at + BASE + 1] + fwords[slot + 1]) / float(n)
        f.ready = 1 if full(words, at) else 0
    else:
        f.ready = 0


@hot
def _show_extreme(f, words, fwords, at, sign):
    slot = slot_of(words, at, 2)
    here, before = words[slot] > 0, words[at + BASE] > 0
    x, y = fwords[slot + 1], fwords[at + BASE + 1]
    if here and not (before and sign * (y - x) > 0.0):
        f.value = x
    elif before:
        f.value = y
    f.ready = 1 if (here or before) and full(words, at) else 0


@hot
def _observe_moments(f, words, fwords, at, now, x):
    if words[at + EDGE] == 0:  # deviations from the first value: prices are large, their differences small and exact
        fwords[at + _ORIGIN] = x
    if now >= words[at + EDGE]:
        moments_roll(words, fwords, at, now, f.p0)
    y = x - fwords[at + _ORIGIN]
    fwords[at + _NEWEST] = y
    moments_add(words, fwords, slot_of(words, at, 3), y)
    _show_moments(f, words, fwords, at)


@hot
def _show_moments(f, words, fwords, at):
    slot = slot_of(words, at, 3)
    n, mean, m2 = join(
        words[at + BASE], fwords[at + BASE + 1], fwords[at + BASE + 2], words[slot], fwords[slot + 1], fwords[slot + 2]
    )
    if n > 0:
        _show_deviation(f, fwords[at + _NEWEST], mean, m2 / float(n))
        f.ready = 1 if full(words, at) else 0
    else:
        f.ready = 0


@hot
def _show_deviation(f, y, mean, variance):
    if f.code == VARIANCE or f.code == VARIANCE_N:
        f.value = variance
    elif variance > 0.0:
        f.value = (y - mean) / math.sqrt(variance)
    else:  # no spread: the newest value is the mean
        f.value = 0.0


@hot
def _count_moments(f, words, fwords, at, x):
    if words[at + POSITION] == 0 and words[at + BLOCKS] == 0:
        fwords[at + ANCHOR] = x
    y = x - fwords[at + ANCHOR]
    mean, variance, ready = count_moments(words, fwords, at, f.p0, y)
    _show_deviation(f, y, mean, variance)
    f.ready = 1 if ready else 0


@hot
def _observe_square(f, words, fwords, at, now, x):
    if x <= 0.0:  # no logarithm: such a price is not observed
        advance(f, words, fwords, now)
        return
    if words[at + EDGE] == 0:
        fwords[at + _LAST] = x
        scale = 1.0
        if f.p1 > 0:
            scale = math.sqrt(float(f.p1) / float(K * width_of(f.p0)))
        fwords[at + _SCALE] = scale
    if now >= words[at + EDGE]:
        fwords[at + _PREVIOUS] = fwords[at + _LAST]
        squares_roll(words, fwords, at, now, f.p0)
    if x != fwords[at + _LAST]:
        r = log(x / fwords[at + _PREVIOUS])
        fwords[slot_of(words, at, 1)] = r * r
        fwords[at + _LAST] = x
    _show_squares(f, words, fwords, at)


@hot
def _show_squares(f, words, fwords, at):
    f.value = math.sqrt(fwords[at + BASE] + fwords[slot_of(words, at, 1)]) * fwords[at + _SCALE]
    f.ready = 1 if full(words, at) else 0
