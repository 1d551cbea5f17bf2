"""Features of a series of numbers: moving averages, moments, extremes, returns, realised volatility."""

from __future__ import annotations

import math

from replay.kernel.fixed import log
from replay.kernel.memory import fn, hot
from replay.trader.rows import (
    BAR_CLOSE,
    EMA,
    HIGHEST,
    LOWEST,
    MEAN,
    RETURN,
    RETURN_ZSCORE,
    SESSION_RETURN,
    VARIANCE,
    ZSCORE,
)
from replay.trader.windows import (
    BASE,
    CELL,
    CELL_WORDS,
    EDGE,
    FIRST,
    HIGHS,
    LOWS,
    LULL,
    MOMENTS,
    OWN,
    RING,
    SEEN,
    TOTALS,
    A,
    N,
    arrive,
    clear,
    closes_add,
    closes_roll,
    covered,
    moments_add,
    open_cell,
    settle,
    watch,
)

# own words of a realised volatility: the newest price, when it was, the factor to a year
_LAST, _LAST_AT, _SCALE = OWN, OWN + 1, OWN + 2
# own words of moments
_ORIGIN, _NEWEST, _BEGUN = OWN, OWN + 1, OWN + 2


@fn
def observe(f, words, fwords, now, x):
    """Add the observation `x` (float64) at `now` to a row of a series. Amortised cost O(1)."""
    code = f.code
    at = f.word
    if code == EMA:
        _ema(f, words, fwords, at, x)
    elif code == SESSION_RETURN:
        if words[at] == 0:
            words[at] = 1
            fwords[at + 1] = x
        _ratio(f, x, fwords[at + 1])
    elif code == RETURN:
        closes_add(words, fwords, at, now, f.p0, f.grain, f.cells, f.count, x)
        _show_return(f, words, fwords, at)
    elif code == MEAN:
        arrive(TOTALS, f, words, fwords, at, now)
        sums = open_cell(f, words, at, now)
        words[sums] += 1
        fwords[sums + 1] += x
        settle(TOTALS, f, words, fwords, at)
        _show_mean(f, words, fwords, at, now)
    elif code <= ZSCORE:
        _observe_moments(f, words, fwords, at, now, x)
    elif code == RETURN_ZSCORE:
        _observe_return_zscore(f, words, fwords, at, now, x)
    elif code == HIGHEST:
        _observe_extreme(HIGHS, f, words, fwords, at, now, x)
    elif code == LOWEST:
        _observe_extreme(LOWS, f, words, fwords, at, now, x)
    else:
        _observe_square(f, words, fwords, at, now, x)


@fn
def advance(f, words, fwords, now):
    """Bring a row of a series to `now` without an observation: other events of the instrument move its window too. Not that of bars:
    its clock are the closes of the bars."""
    code = f.code
    if code >= EMA or f.source == BAR_CLOSE:
        return
    at = f.word
    if code == RETURN:
        _advance_return(f, words, fwords, at, now)
    elif code == MEAN:
        if watch(TOTALS, f, words, fwords, at, now):
            _show_mean(f, words, fwords, at, now)
    elif code == HIGHEST:
        if watch(HIGHS, f, words, fwords, at, now):
            _show_extreme(f, words, fwords, at, now)
    elif code == LOWEST:
        if watch(LOWS, f, words, fwords, at, now):
            _show_extreme(f, words, fwords, at, now)
    elif code <= ZSCORE or code == RETURN_ZSCORE:
        if code == RETURN_ZSCORE:
            _hear(f, words, closes_of(f), now)
        if watch(MOMENTS, f, words, fwords, at, now):
            _show_moments(f, words, fwords, at, now)
    elif watch(TOTALS, f, words, fwords, at, now):
        _show_squares(f, words, fwords, at, now)


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
def _ratio(f, x, reference):
    """Show a simple return; a price at or below zero has none."""
    if x > 0.0 and reference > 0.0:
        f.value = x / reference - 1.0
        f.ready = 1
    else:
        f.ready = 0


@hot
def _show_return(f, words, fwords, at):
    if words[at + BASE + 1] == 0:
        f.ready = 0
    else:
        _ratio(f, fwords[words[at + CELL] + A], fwords[at + BASE])


@hot
def _advance_return(f, words, fwords, at, now):
    if f.count or words[at + CELL] == 0:
        return
    if now >= words[at + EDGE]:
        if now - words[at + SEEN] > max(f.p0, LULL):
            clear(words, at)
            f.ready = 0
            return
        closes_roll(words, fwords, at, now, f.p0, f.grain, f.cells)
        _show_return(f, words, fwords, at)
    words[at + SEEN] = now


@hot
def closes_of(f):
    """Offset of the closes that the returns of a z-score are over: behind the ring of the returns."""
    return f.word + RING + CELL_WORDS * f.cells


@hot
def _hear(f, words, closes, now):
    """An event that is no price of these closes: it says that the feed lives."""
    if words[closes + CELL] != 0 and now - words[closes + SEEN] <= max(f.p1, LULL):
        words[closes + SEEN] = now


@hot
def _observe_return_zscore(f, words, fwords, at, now, x):
    """A return is a sample once there is a price its interval ago; a price at or below zero gives none."""
    closes = closes_of(f)
    if x <= 0.0:
        advance(f, words, fwords, now)
        return
    closes_add(words, fwords, closes, now, f.p1, f.grain_1, f.cells_1, f.count, x)
    if words[closes + BASE + 1] == 1:
        _observe_moments(f, words, fwords, at, now, x / fwords[closes + BASE] - 1.0)
    else:
        watch(MOMENTS, f, words, fwords, at, now)
        f.ready = 0


@hot
def _show_mean(f, words, fwords, at, now):
    cell = words[at + CELL]
    n = words[at + BASE] + words[cell + N]
    if n > 0:
        f.value = (fwords[at + BASE + 1] + fwords[cell + A]) / float(n)
    f.ready = 1 if n > 0 and covered(f, words, at, now) else 0


@hot
def _observe_extreme(kind, f, words, fwords, at, now, x):
    arrive(kind, f, words, fwords, at, now)
    sums = open_cell(f, words, at, now)
    sign = 1 if kind == HIGHS else -1
    if words[sums] == 0 or sign * (x - fwords[sums + 1]) > 0.0:
        fwords[sums + 1] = x
    words[sums] += 1
    settle(kind, f, words, fwords, at)
    _show_extreme(f, words, fwords, at, now)


@hot
def _show_extreme(f, words, fwords, at, now):
    cell = words[at + CELL]
    here, before = words[cell + N] > 0, words[at + BASE] > 0
    x, y = fwords[cell + A], fwords[at + BASE + 1]
    sign = 1 if f.code == HIGHEST else -1
    if here and not (before and sign * (y - x) > 0.0):
        f.value = x
    elif before:
        f.value = y
    f.ready = 1 if (here or before) and covered(f, words, at, now) else 0


@hot
def _observe_moments(f, words, fwords, at, now, x):
    if words[at + _BEGUN] == 0:  # deviations from the first value: prices are large, their differences small and exact
        words[at + _BEGUN] = 1
        fwords[at + _ORIGIN] = x
    arrive(MOMENTS, f, words, fwords, at, now)
    y = x - fwords[at + _ORIGIN]
    fwords[at + _NEWEST] = y
    moments_add(words, fwords, open_cell(f, words, at, now), y)
    settle(MOMENTS, f, words, fwords, at)
    _show_moments(f, words, fwords, at, now)


@hot
def _show_moments(f, words, fwords, at, now):
    cell = words[at + CELL]
    old, new = words[at + BASE], words[cell + N]
    n = old + new
    if n > 0:
        mean, m2 = fwords[cell + A], fwords[cell + A + 1]
        if new == 0:
            mean, m2 = fwords[at + BASE + 1], fwords[at + BASE + 2]
        elif old > 0:  # as `windows.fold`
            d = mean - fwords[at + BASE + 1]
            share = float(new) / float(n)
            mean = fwords[at + BASE + 1] + d * share
            m2 = fwords[at + BASE + 2] + m2 + d * d * float(old) * share
        _show_deviation(f, fwords[at + _NEWEST], mean, m2 / float(n))
    f.ready = 1 if n > 0 and covered(f, words, at, now) else 0


@hot
def _show_deviation(f, y, mean, variance):
    if f.code == VARIANCE:
        f.value = variance
    elif variance > 0.0:
        f.value = (y - mean) / math.sqrt(variance)
    else:  # no spread: the newest value is the mean
        f.value = 0.0


@hot
def _observe_square(f, words, fwords, at, now, x):
    """The return since the observation before, if the window has been watched since then."""
    if x <= 0.0:  # no logarithm: such a price is not observed
        advance(f, words, fwords, now)
        return
    if fwords[at + _LAST] == 0.0:
        fwords[at + _SCALE] = math.sqrt(float(f.p1) / float(f.p0)) if f.p1 > 0 else 1.0
    last = fwords[at + _LAST]
    fwords[at + _LAST] = x
    if f.count:
        if last > 0.0:
            _add_square(f, words, fwords, at, now, x, last)
        return
    arrive(TOTALS, f, words, fwords, at, now)
    if last > 0.0 and words[at + FIRST] <= words[at + _LAST_AT]:
        _add_square(f, words, fwords, at, now, x, last)
    else:
        _show_squares(f, words, fwords, at, now)
    words[at + _LAST_AT] = now


@fn
def _add_square(f, words, fwords, at, now, x, last):
    if f.count:
        arrive(TOTALS, f, words, fwords, at, now)
    sums = open_cell(f, words, at, now)
    words[sums] += 1
    if x != last:
        r = log(x / last)
        fwords[sums + 1] += r * r
    settle(TOTALS, f, words, fwords, at)
    _show_squares(f, words, fwords, at, now)


@hot
def _show_squares(f, words, fwords, at, now):
    cell = words[at + CELL]
    f.value = math.sqrt(fwords[at + BASE + 1] + fwords[cell + A]) * fwords[at + _SCALE]
    f.ready = 1 if covered(f, words, at, now) else 0
