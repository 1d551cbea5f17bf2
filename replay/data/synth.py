"""Made-up sessions that look like a market, the same everywhere from the same seed.

They are what the tests, the benchmarks and a first try run on. What is modelled: activity high at the open and the close, and in
bursts; volatility in the same bursts; a spread that returns to its mean in ticks; heavy-tailed sizes in round lots; trades at the
displayed touch and never above the displayed size; the quote after a trade showing what is left; one FIFO feed with lognormal
latency. Nothing is tuned to a real instrument, and a strategy that earns money here has shown nothing.

The only source of chance is the raw 64-bit output of PCG64, whose stream NumPy guarantees (it does not guarantee the streams of the
distributions built on it). Everything after it is integer arithmetic and tables of integers.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.data.times import SECOND, date_of, in_new_york, ns_of, trading_day
from replay.data.walks import LOTS, SPAN, TOP, book_walk, quote_walk
from replay.errors import BadInput
from replay.events import BAR, CLOSED, EVENT, LAST, OPEN, PHASE, PRINT, QUOTE, TRADE, empty
from replay.kernel.memory import entry_of

MINUTES = 390  #: of a regular US trading day


def equity_day(
    symbols: Sequence[str] = ("AAPL", "MSFT"), n_events: int = 50_000, seed: int = 1, day: str = "2026-03-02"
) -> Session:
    """One regular US trading day of quotes and trades: `n_events` rows, two of them the phases at 09:30 and 16:00 New York.

    Rows are shared equally between the symbols. Raises `BadInput` for fewer than 10 rows a symbol or a malformed day.
    Cost: ~0.5 us a row.

    >>> s = equity_day(n_events=1000, seed=7)
    >>> s.manifest.n_events, s.manifest.counts["phase"], s.manifest.levels
    (1000, 2, ('l1', 'l1'))
    """
    share, rest = divmod(n_events - 2, max(len(symbols), 1))
    counts = [share + (k < rest) for k in range(len(symbols))]
    return _equities(f"equity-day-{seed}", symbols, counts, seed, day)


def many_symbols(n_symbols: int = 500, n_events: int = 2_000_000, seed: int = 1, day: str = "2026-03-02") -> Session:
    """A trading day of a whole list: symbol k (``S000``, ``S001``...) has a share of the rows that falls like 1 / (k + 10).

    Raises `BadInput` for fewer than 10 rows a symbol. Cost: ~0.8 us a row.

    >>> many_symbols(20, 10_000).manifest.n_events
    10000
    """
    weights = [10**6 // (k + 10) for k in range(n_symbols)]
    spare = n_events - 2 - 10 * n_symbols
    counts = [10 + spare * w // sum(weights) for w in weights]
    if counts:
        counts[0] += n_events - 2 - sum(counts)
    return _equities(f"many-symbols-{seed}", [f"S{k:03d}" for k in range(n_symbols)], counts, seed, day)


def l2_book(n_events: int = 100_000, seed: int = 1) -> Session:
    """A book of one pair, BTCUSDT, from 2026-03-02 00:00 UTC: a snapshot message, then changed levels (1 to 8 a message) and trades.

    After a trade comes the message with what it left of its level; the book is never crossed and no side is ever empty. Raises
    `BadInput` for fewer rows than the snapshot has. Cost: ~0.2 us a row.

    >>> s = l2_book(5000)
    >>> s.manifest.levels, min(s.manifest.max_levels[0]) >= 100
    (('l2',), True)
    """
    if n_events < 2 * TOP + 1:
        raise BadInput(
            f"l2_book: n_events must be at least {2 * TOP + 1}, the rows of the snapshot, got {n_events}: ask for more"
        )
    pair = Instrument(symbol="BTCUSDT", tick_size="0.1", lot_size="0.001", currency="USDT", base="BTC")
    rows = empty(n_events)
    words = raw_words(seed, 0, 2 * n_events)
    # quiet and busy stretches of 512 messages: mean gaps of 2 to 32 ms
    busy = np.repeat(raw_words(seed, 1, n_events // 512 + 1) & 15, 512)[:n_events] + 1
    gaps = _table(_exponential(2_000_000), raw_words(seed, 2, n_events)) * busy // 1000 * 1000 + 1000
    sizes = np.zeros(2 * SPAN, np.int64)
    start = ns_of(datetime.datetime(2026, 3, 2, tzinfo=datetime.UTC))
    done = entry_of(book_walk)(
        rows.ctypes.data, n_events, words.ctypes.data, gaps.ctypes.data, LOTS.ctypes.data, sizes.ctypes.data, 650_000, start
    )
    assert done == n_events
    receive(rows, seed)
    return Session.from_rows(rows, [pair], name=f"l2-book-{seed}")


def bar_days(
    symbols: Sequence[str] = ("AAPL", "MSFT"), n_events: int = 50_000, seed: int = 1, day: str = "2026-03-02", minutes: int = 5
) -> Session:
    """Bars of `minutes` of regular US trading days, from `day` on, weekends left out and holidays not: whole days, at most `n_events` rows
    with two phases a day. Raises `BadInput` where that is less than a day. Cost: ~0.3 us a row.

    >>> s = bar_days(n_events=1000, seed=7)
    >>> s.manifest.counts, s.manifest.levels
    ({'bar': 936, 'phase': 12}, ('bars', 'bars'))
    """
    name, n, per_day = f"bar-days-{seed}", len(symbols), MINUTES // minutes
    n_days = n_events // (n * per_day + 2)
    if not symbols or n_days < 1 or per_day * minutes != MINUTES:
        raise BadInput(f"{name}: a day has {n * per_day + 2} rows and {MINUTES} minutes, got {n_events} rows: ask for more")
    date, dates = date_of(day, name), []
    while len(dates) < n_days:
        if date.weekday() < 5:
            dates.append(date)
        date += datetime.timedelta(1)
    times = np.array([in_new_york(d, 9, 30) for d in dates])[:, None] + np.arange(1, per_day + 1) * minutes * 60 * SECOND
    out = empty(n_days * (n * per_day + 2))
    by_day = out.reshape(n_days, -1)
    by_day["ts_event"][:, 0], by_day["side"][:, 0] = times[:, 0] - minutes * 60 * SECOND, OPEN
    by_day["ts_event"][:, -1], by_day["side"][:, -1] = times[:, -1], CLOSED  # behind the bars that close then
    for k in (0, -1):
        by_day["kind"][:, k], by_day["id"][:, k] = PHASE, [trading_day(d) for d in dates]
    bars = by_day[:, 1:-1].reshape(n_days, per_day, n)
    bars["kind"], bars["instrument"], bars["ts_event"] = BAR, np.arange(n), times[:, :, None]
    for k in range(n):
        w = raw_words(seed, 4 * k + 8, n_days * per_day).reshape(n_days, per_day)
        move, gap = (w & 63) - (w >> 6 & 63), (w >> 12 & 3) - (w >> 14 & 3)
        close = np.cumsum(move).reshape(w.shape)
        close += max(4_000 + (seed * 977 + k * 331) % 20_000, 100 - int(close.min()))
        opening = np.r_[close.flat[0] - move.flat[0], close.flat[:-1]].reshape(w.shape) + gap
        row = bars[:, :, k]
        row["a"], row["d"], row["id"] = opening, close, 100 * LOTS[w >> 32 & 255] * (1 + (w >> 40 & 15))
        row["b"] = np.maximum(opening, close) + (w >> 16 & 31)
        row["c"] = np.minimum(opening, close) - (w >> 21 & 31)
    out["flags"] = LAST
    bars["flags"][:, :, :-1] = 0
    receive(out, seed)
    return Session.from_rows(
        out, [Instrument(symbol=s, tick_size="0.01") for s in symbols], name=name, bar_intervals_ns=[minutes * 60 * SECOND]
    )


def by_hand(mids: Sequence[int], every_ns: int = SECOND, trades: Mapping[int, int] = MappingProxyType({})) -> Session:
    """The rows a test of a strategy wants: symbol A, one quote every so often from 2026-03-02 14:30 UTC on, 1,000 lots a tick to either
    side of each mid (in ticks); `trades`: quote -> lots that a buyer takes at its ask, at the same time.

    >>> by_hand([10_000, 10_001, 10_030], SECOND // 10, {1: 500}).manifest.counts
    {'quote': 3, 'trade': 1}
    """
    start = ns_of(datetime.datetime(2026, 3, 2, 14, 30, tzinfo=datetime.UTC))
    rows = empty(len(mids) + len(trades))
    n = 0
    for k, mid in enumerate(mids):
        r = rows[n]
        r.kind, r.a, r.b, r.c, r.d = QUOTE, mid - 1, 1000, mid + 1, 1000
        if k in trades:
            r = rows[n + 1]
            r.kind, r.side, r.a, r.b = TRADE, 1, mid + 1, trades[k]
        made = 1 + (k in trades)
        rows["ts_event"][n : n + made] = start + k * every_ns
        n += made
    if n != len(rows):
        raise BadInput(f"by_hand: trades stand after quotes 0 to {len(mids) - 1}, got {max(trades)}: correct it")
    rows["ts_recv"][:], rows["flags"][:] = rows["ts_event"], LAST | PRINT
    return Session.from_rows(rows, [Instrument(symbol="A", tick_size="0.01")], name="by-hand")


def _equities(name: str, symbols: Sequence[str], counts: Sequence[int], seed: int, day: str) -> Session:
    if not symbols or min(counts) < 10:
        raise BadInput(
            f"{name}: at least one symbol and 10 rows for each are needed, got {len(symbols)} symbols: ask for more rows"
        )
    date = date_of(day, name)
    opens, closes = in_new_york(date, 9, 30), in_new_york(date, 16)
    rows = np.zeros(sum(counts), EVENT)
    walk = entry_of(quote_walk)
    k = 0
    for index, n in enumerate(counts):
        words = raw_words(seed, 4 * index + 8, 2 * n)
        pace = _pace(raw_words(seed, 4 * index + 9, MINUTES))
        times, minute = _times(raw_words(seed, 4 * index + 10, n), pace, opens)
        at_row = pace[minute]
        mid = 4_000 + int(words[0] & 0x7FFF)
        spread = 1 + int(words[1] & 3)
        walk(
            rows.ctypes.data + 64 * k,
            n,
            words.ctypes.data,
            times.ctypes.data,
            at_row.ctypes.data,
            LOTS.ctypes.data,
            index,
            mid,
            spread,
        )
        k += n
    by_time = np.argsort(rows["ts_event"], kind="stable")
    out = empty(len(rows) + 2)
    np.take(rows, by_time, out=out[1:-1], mode="clip")
    for r, t, phase in ((out[0], opens, OPEN), (out[-1], closes, CLOSED)):
        r.ts_event, r.kind, r.side, r.id = t, PHASE, phase, trading_day(date)
        r["flags"] = LAST
    receive(out, seed)
    return Session.from_rows(out, [Instrument(symbol=s, tick_size="0.01") for s in symbols], name=name)


def raw_words(seed: int, stream: int, n: int) -> np.ndarray:
    """`n` raw 64-bit words, of a stream of its own for each (seed, stream), as int64."""
    return np.random.PCG64(np.random.SeedSequence((seed, stream))).random_raw(n).view(np.int64)


def _pace(words: np.ndarray) -> np.ndarray:
    """Activity of each minute, in percent of normal: shocks that fade with a half-life of five minutes."""
    level, out = 100, np.empty(len(words), np.int64)
    for k, w in enumerate(words.tolist()):
        shock = 40 + (w >> 8 & 255) if w & 15 == 0 else (w >> 4 & 15) - 8
        level = max(level + (100 - level) // 8 + shock, 30)
        out[k] = level
    return out


def _times(words: np.ndarray, pace: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Rising times over the day, dense where `pace` is high and towards both ends; and the minute each is in."""
    from_noon = np.abs(2 * np.arange(MINUTES) - (MINUTES - 1))
    density = np.cumsum(pace * (100 + 300 * from_noon**2 // MINUTES**2))
    minute = np.searchsorted(density, (words & 0x7FFFFFFF) % density[-1], side="right")
    times = start + minute * 60 * SECOND + ((words >> 31 & 0xFFFFFFFF) * 60_000_000 >> 32) * 1000
    # the last second stays free for quotes that follow a trade
    times = np.minimum(np.sort(times), start + (MINUTES * 60 - 1) * SECOND)
    return times, (times - start) // (60 * SECOND)


def receive(rows: np.recarray, seed: int) -> None:
    """Set ts_recv: one latency a message, ~0.4 ms with a tail to ~4 ms, and no message overtakes another."""
    first = np.empty(len(rows), bool)
    first[0] = True
    np.not_equal(rows["ts_event"][1:], rows["ts_event"][:-1], out=first[1:])
    latency = _table(_LATENCY, raw_words(seed, 3, len(rows)))
    message = np.cumsum(first) - 1
    rows["ts_recv"] = np.maximum.accumulate(rows["ts_event"] + latency[first][message])


def _table(table: np.ndarray, words: np.ndarray) -> np.ndarray:
    return table[words & (len(table) - 1)]


def _exponential(mean: int) -> np.ndarray:
    """1,024 quantiles of an exponential distribution, in whole ns."""
    return np.array([round(-math.log1p(-(k + 0.5) / 1024) * mean) for k in range(1024)])


# rounded to 100 ns: far coarser than any difference between two libraries' exp
NORMAL = statistics.NormalDist()
_LATENCY = np.array([round(4000 * math.exp(0.7 * NORMAL.inv_cdf((k + 0.5) / 4096))) * 100 for k in range(4096)])
