"""Made-up months of bars: 1-minute and 5-minute bars of five US symbols in the hours of New York, the same everywhere from the same seed.

What is modelled, on a price every five seconds: a market that all symbols follow, each with a beta and moves of its own; volatility that
comes in days and in bursts that fade over half an hour, is highest at the open and rises again before the close; moves with fat tails,
and now and then a jump in one symbol that reverts in part; drifts of half an hour; a gap overnight; the bounce between bid and ask; volume
that follows the same curve and the same bursts. Levels and daily volatilities are near those of the symbols they are named after;
nothing else about them is real, and a strategy that earns money here has shown nothing.

As in `replay.data.synth` the only source of chance is raw 64-bit words; from there on all is integers.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

import numpy as np

from replay.data.hours import market_hours, phase_rows
from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.data.synth import NORMAL, raw_words, receive
from replay.data.times import SECOND, in_new_york
from replay.errors import BadInput
from replay.events import BAR, EVENT, LAST, empty

MINUTE = 60 * SECOND
STEPS = 12  #: prices a minute
CENT = 1 << 20  #: a cent in the units prices are kept in; returns are in units of 2**-40
Z = 1024  #: a standard deviation in the tables of chance
STEP_BPS = 2**40 // (
    10_000 * 68 * Z
)  #: the return of a step per unit of Z and basis point of daily volatility; 68 is sqrt(4680 steps)
DAY_BPS = 2**40 // (10_000 * Z)


@dataclass(frozen=True)
class _Stock:
    symbol: str
    cents: int
    beta: int  # percent
    own: int  # daily volatility apart from the market's, in basis points
    volume: int  # shares in an ordinary minute at noon


STOCKS = (
    _Stock("AAPL", 26_400, 105, 105, 60_000),
    _Stock("MSFT", 40_500, 95, 100, 32_000),
    _Stock("NVDA", 18_600, 175, 170, 260_000),
    _Stock("SPY", 68_900, 100, 8, 110_000),
    _Stock("XLF", 5_350, 85, 60, 75_000),
)
MARKET_BPS = 85  #: daily volatility of the market


def bars_month(month: str = "2026-02", seed: int = 1) -> Session:
    """A calendar month of 1- and 5-minute bars, the latter made of the former, with phases; `month` as ``2026-02``.

    Raises `BadInput` for a malformed month. Cost: ~1 s a month, most of it for the calendar.

    >>> s = bars_month()
    >>> s.manifest.counts, s.manifest.bar_intervals_ns == (60 * 10**9, 300 * 10**9)
    ({'bar': 44460, 'phase': 38}, True)
    """
    try:
        first = datetime.date.fromisoformat(f"{month}-01")
    except ValueError:
        raise BadInput(f"a month must look like 2026-02, got {month!r}: correct it") from None
    after = (first + datetime.timedelta(days=31)).replace(day=1)
    hours = market_hours("XNYS", in_new_york(first), in_new_york(after) - 1)
    parts, closes = [], np.array([s.cents * CENT for s in STOCKS], np.int64)
    for k, (_, opens, ends) in enumerate(hours.days):
        minutes = (ends - opens) // MINUTE
        prices, volumes, closes = _day(minutes, closes, seed, k)
        one = np.stack([prices[:, 0], prices.max(axis=1), prices.min(axis=1), prices[:, -1], volumes])
        parts += [_rows(_bars(one, 1), opens, 1, 0), _rows(_bars(one, 5), opens, 5, 1)]
    rows = np.concatenate([*parts, phase_rows(hours)])
    # bars before the phase of the same time, by interval and symbol
    order = np.lexsort((rows["instrument"], rows["side"], rows["kind"], rows["ts_event"]))
    out = empty(len(rows))
    np.take(rows, order, out=out, mode="clip")
    ends = (out.kind[1:] != BAR) | (out.kind[:-1] != BAR) | (out.ts_event[1:] != out.ts_event[:-1])
    out["flags"][:-1] = np.where(ends, LAST, 0)
    receive(out, seed)
    return Session.from_rows(
        out,
        [Instrument(symbol=s.symbol, tick_size="0.01") for s in STOCKS],
        name=f"bars-month-{seed}",
        bar_intervals_ns=(MINUTE, 5 * MINUTE),
        calendar=hours,
    )


def _day(minutes: int, closes: np.ndarray, seed: int, day: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prices in cents (minute, step, symbol), volumes (minute, symbol) and the exact closes of one day after `closes`."""
    n, stocks = minutes * STEPS, len(STOCKS)
    streams = iter(range(1000 + 100 * day, 1100 + 100 * day))

    def chance(count: int) -> np.ndarray:
        return raw_words(seed, next(streams), count)

    of_day = chance(2 + stocks)
    mood = 70 + (int(of_day[0]) & 63)  # percent of an ordinary day's volatility
    shape, flow = _curve(minutes, 52, 150, 20, 45, 12), _curve(minutes, 62, 330, 18, 260, 7)
    market = _activity(chance(minutes))
    drift = np.repeat(_fat(chance(minutes // 30 + 1)) * STEP_BPS * MARKET_BPS // 25, 30 * STEPS)[:n]
    moves = _moves(chance(n), market * shape * mood // 10_000, MARKET_BPS) + drift
    gap = _fat(of_day[1:]) * DAY_BPS * 3 // 5
    prices, volumes, ends = np.empty((n, stocks), np.int64), np.empty((minutes, stocks), np.int64), closes.copy()
    for k, stock in enumerate(STOCKS):
        own = _activity(chance(minutes))
        steps = _moves(chance(n), own * shape * mood // 10_000, stock.own) + _jumps(chance(minutes), stock.own)
        opening = _grown(closes[k], (gap[0] * MARKET_BPS * stock.beta // 100 + gap[1 + k] * stock.own))
        path = _grown(opening, np.cumsum(steps + moves * stock.beta // 100))
        ends[k] = path[-1]
        bounce = chance(n) & 1
        prices[:, k] = np.maximum(path // CENT + bounce, 1)
        noise = _SIZES[chance(minutes) & 1023]
        volumes[:, k] = stock.volume * flow // 100 * (market + own) // 200 * noise // Z
    return prices.reshape(minutes, STEPS, stocks), volumes, ends


def _curve(minutes: int, noon: int, at_open: int, fall: int, at_close: int, rise: int) -> np.ndarray:
    """Percent of normal by minute: `noon`, more by `at_open` at first, halved after `fall` minutes; likewise before the close."""
    m = np.arange(minutes)
    return noon + at_open * fall // (fall + m) + at_close * rise // (rise + minutes - 1 - m)


def _activity(chances: np.ndarray) -> np.ndarray:
    """Percent of normal by minute: shocks that fade with a half-life of half an hour."""
    level, out = 110 << 8, np.empty(len(chances), np.int64)
    for k, w in enumerate(chances.tolist()):
        level += ((45 << 8) - level) // 43 + (((w >> 8 & 127) + 20 << 8) if w & 63 == 0 else (w >> 4 & 255) * 4 - 510)
        out[k] = level = max(level, 20 << 8)
    return out >> 8


def _moves(chances: np.ndarray, percent: np.ndarray, bps: int) -> np.ndarray:
    """A return a step, of fat tails, at `percent` of normal in each minute, for a daily volatility of `bps`."""
    return _fat(chances) * np.repeat(percent, STEPS) // 100 * (STEP_BPS * bps)


def _jumps(chances: np.ndarray, bps: int) -> np.ndarray:
    """Returns by step: about one minute in 300 holds a jump of 15 to 46 % of a day's volatility, half of which is taken back in 10 minutes."""
    out = np.zeros((len(chances) + 10) * STEPS, np.int64)
    for k, w in enumerate(chances.tolist()):
        if w % 300 == 0:
            size = (15 + (w >> 20 & 31)) * bps * DAY_BPS * Z // 100 * (1 if w >> 30 & 1 else -1)
            out[k * STEPS] += size
            out[k * STEPS + 1 : k * STEPS + 121] -= size // 240
    return out[: len(chances) * STEPS]


def _fat(chances: np.ndarray) -> np.ndarray:
    return _FAT[chances & 4095]


def _grown(price: np.ndarray, by: np.ndarray) -> np.ndarray:
    """`price` and its return `by` of it, with room for any move below half."""
    return price + ((price >> 16) * (by >> 8) >> 16)


def _bars(one: np.ndarray, minutes: int) -> np.ndarray:
    """1-minute bars (open high low close volume; minute; symbol) put together to bars of `minutes`."""
    o, h, l, c, v = (x.reshape(-1, minutes, len(STOCKS)) for x in one)
    return np.stack([o[:, 0], h.max(axis=1), l.min(axis=1), c[:, -1], v.sum(axis=1)])


def _rows(bars: np.ndarray, opens: int, minutes: int, interval: int) -> np.ndarray:
    _, n, stocks = bars.shape
    rows = np.zeros((n, stocks), EVENT)
    rows["ts_event"] = opens + np.arange(1, n + 1)[:, None] * minutes * MINUTE
    rows["kind"], rows["side"], rows["instrument"] = BAR, interval, np.arange(stocks)
    rows["a"], rows["b"], rows["c"], rows["d"], rows["id"] = bars
    return rows.reshape(-1)


#: quantiles of a normal made fat: the outer 1 % lie 1.5 times as far out; and of sizes around their mean, lognormal
_QUANTILES = [NORMAL.inv_cdf((k + 0.5) / 4096) for k in range(4096)]
_FAT = np.array([round(z * (1 + z * z / 10) * 760) for z in _QUANTILES])
_SIZES = np.array([round(Z * math.exp(0.45 * _QUANTILES[4 * k + 2] - 0.1)) for k in range(1024)])
