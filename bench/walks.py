"""The benchmark's made-up events, in integers only: the same bits from the same seed on every machine.

They are of the same kind as those of the peers' harness (its make_data.py names the properties): one instrument at a tick of 0.01
around 150.00, one message a row, venue and receive times strictly rising, latency lognormal around 0.8 ms. L1: a quarter of the rows
are trades, a quote changes one side, the spread is 1 to 3 ticks, and no side shows fewer than 200, so that an order for 200 fills at
the touch under every engine's rules. L2: levels around the touch, a tenth trades; a trade never is larger than what is displayed,
the row after it shows what it left, and the book is never crossed. Unlike there, the rules of the walk and the source of chance are
ours: raw words of PCG64, whose stream NumPy guarantees.
"""

from __future__ import annotations

import math
import statistics

import numpy as np

from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.data.walks import LOTS
from replay.events import DEPTH, EVENT, LAST, PRINT, QUOTE, SET, SNAPSHOT, TRADE, empty
from replay.kernel.memory import at, entry, entry_of, fn

VERSION = 1  #: of the rows a seed gives; stored results name it
I64 = np.dtype("i8")
START = 1_772_461_800_000_000_000  # 2026-03-02 14:30 UTC
DAY_NS = 23_400_000_000_000
BASE, SPAN, TOP = 12_952, 4096, 20
INSTRUMENT = Instrument(symbol="SYN", tick_size="0.01")

_NORMAL = statistics.NormalDist()
# whole units far coarser than any difference between two libraries' exp and log
_LATENCY = np.array(
    [min(max(round(8000 * math.exp(0.6 * _NORMAL.inv_cdf((k + 0.5) / 4096))), 3000), 50_000) * 100 for k in range(4096)]
)
_GAPS = np.array([round(-math.log1p(-(k + 0.5) / 4096) * 1_000_000) for k in range(4096)])


@fn
def _bits(w, start, count):
    return (w >> start) & ((1 << count) - 1)


@fn
def _row(r, t, recv, kind, side, flags, number, a, b, c, d):
    r.ts_event = t
    r.ts_recv = recv
    r.kind = kind
    r.side = side
    r.flags = flags
    r.instrument = 0
    r.id = number
    r.a = a
    r.b = b
    r.c = c
    r.d = d


@entry
def quotes(rows_at, n, words_at, times_at, recv_at, lots_at):
    """`n` rows of quotes and trades. Returns the number of trades."""
    rows = at(rows_at, n, EVENT)
    words = at(words_at, n, I64)
    times = at(times_at, n, I64)
    recv = at(recv_at, n, I64)
    lots = at(lots_at, 256, I64)
    bid = 15_000
    ask = 15_002
    bid_sz = 500
    ask_sz = 500
    owed = 0  # the side a trade has used up: its quote must follow
    trades = 0
    for i in range(n):
        w = words[i]
        up = _bits(w, 0, 1) == 1
        size = 100 * lots[_bits(w, 1, 8)]
        if i > 0 and owed == 0 and _bits(w, 9, 10) < 277:
            trades += 1
            size = min(100 if _bits(w, 19, 2) < 3 else size, ask_sz if up else bid_sz)
            _row(rows[i], times[i], recv[i], TRADE, 1 if up else -1, LAST | PRINT, trades, ask if up else bid, size, 0, 0)
            if up:
                ask_sz -= size
                owed = -1 if ask_sz < 200 else 0
            else:
                bid_sz -= size
                owed = 1 if bid_sz < 200 else 0
            continue
        side = owed if owed != 0 else (1 if up else -1)
        spread = ask - bid
        step = 0  # of that side's price, outward
        fresh = 200 + size
        if owed != 0:
            step = 1 if spread < 3 and _bits(w, 21, 8) < 92 else 0
        elif _bits(w, 21, 10) < 61:
            step = 1 if spread == 1 or (spread == 2 and _bits(w, 31, 3) < 3) else -1
        else:
            shown = bid_sz if side > 0 else ask_sz
            fresh = shown + 100 if shown < 300 or (_bits(w, 31, 1) == 1 and shown < 6000) else shown - 100
        owed = 0
        if side > 0:
            bid -= step
            bid_sz = fresh
        else:
            ask += step
            ask_sz = fresh
        _row(rows[i], times[i], recv[i], QUOTE, 0, LAST, i + 1, bid, bid_sz, ask, ask_sz)
    return trades


@fn
def _next_level(sizes, px, step):
    while sizes[px] == 0:
        px += step
    return px


@entry
def levels(rows_at, n, words_at, times_at, recv_at, lots_at, sizes_at):
    """A snapshot message of 2 x TOP rows, then one level or one trade a row. `sizes`: 2 x SPAN zeros. Returns the number of trades."""
    rows = at(rows_at, n, EVENT)
    words = at(words_at, n, I64)
    times = at(times_at, n, I64)
    recv = at(recv_at, n, I64)
    lots = at(lots_at, 256, I64)
    bids = at(sizes_at, SPAN, I64)
    asks = at(sizes_at + 8 * SPAN, SPAN, I64)
    bid = SPAN // 2
    ask = bid + 1
    first = 2 * TOP
    for k in range(first):
        s = 1 if k & 1 == 0 else -1
        away = k >> 1 if k < first - 2 else SPAN // 2 - 2  # the last level of each side is far away and never touched
        px = bid - away if s > 0 else ask + away
        size = 100 * lots[_bits(words[k], 0, 8)]
        if s > 0:
            bids[px] = size
        else:
            asks[px] = size
        last = LAST if k == first - 1 else 0
        _row(rows[k], times[0], recv[0], DEPTH, s, SNAPSHOT | last, 1, BASE + px, size, SET, 0)
    trades = 0
    owed = 0
    trade_size = 0
    for i in range(first, n):
        w = words[i]
        s = 1 if _bits(w, 0, 1) == 1 else -1
        size = 100 * lots[_bits(w, 1, 8)]
        if owed != 0:  # what the trade left of its level
            s = owed
            owed = 0
            px = bid if s > 0 else ask
            size = (bids[px] if s > 0 else asks[px]) - trade_size
            if size == 0 and not 64 < px < SPAN - 64:
                size = 100
        elif _bits(w, 9, 10) < 98:
            px = bid if s > 0 else ask
            trade_size = min(100 if _bits(w, 19, 1) else size, bids[px] if s > 0 else asks[px])
            trades += 1
            owed = s
            _row(rows[i], times[i], recv[i], TRADE, -s, LAST | PRINT, trades, BASE + px, trade_size, 0, 0)
            continue
        else:
            away = min(_bits(w, 20, 4), _bits(w, 24, 4))
            px = bid - away if s > 0 else ask + away
            shown = bids[px] if s > 0 else asks[px]
            inside = 64 < px < SPAN - 64
            if ask - bid > 1 and _bits(w, 28, 5) < 2 + 8 * (ask - bid - 1):
                px = bid + 1 if s > 0 else ask - 1
            elif shown > 0 and _bits(w, 33, 2) < 2:
                drop = 100 * (1 + _bits(w, 35, 2))
                size = shown - drop if shown > drop or not inside else 0
                size = max(size, 0 if inside else 100)
            else:
                size = shown + size
        if s > 0:
            bids[px] = size
            bid = _next_level(bids, max(bid, px), -1)
        else:
            asks[px] = size
            ask = _next_level(asks, min(ask, px), 1)
        _row(rows[i], times[i], recv[i], DEPTH, s, LAST, i + 1, BASE + px, size, SET, 0)
    return trades


def _words(seed: int, stream: int, n: int) -> np.ndarray:
    return np.random.PCG64(np.random.SeedSequence((seed, stream, VERSION))).random_raw(n).view(np.int64)


def _times(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Venue times over one day, three in ten gaps short, and receive times; both strictly rising."""
    w = _words(seed, 1, n)
    gaps = _GAPS[w & 4095]
    gaps[(w >> 12 & 1023) < 307] //= 50
    scale = DAY_NS // max(int(gaps.sum()) // 1000, 1)
    event = START + np.cumsum(np.maximum(gaps * scale // 1000, 1000))
    k = np.arange(n)
    return event, np.maximum.accumulate(event + _LATENCY[w >> 22 & 4095] - k) + k


def _walk(walk, n: int, seed: int, stream: int, *more: int) -> np.recarray:
    rows, words = empty(n), _words(seed, stream, n)
    event, recv = _times(n, seed)
    entry_of(walk)(rows.ctypes.data, n, words.ctypes.data, event.ctypes.data, recv.ctypes.data, LOTS.ctypes.data, *more)
    return rows


def l1(n: int, seed: int) -> Session:
    """`n` rows of quotes and trades."""
    return Session.from_rows(_walk(quotes, n, seed, 2), [INSTRUMENT], name=f"bench-l1-{seed}-v{VERSION}")


def l2(n: int, seed: int) -> Session:
    """`n` rows of levels and trades, the first 2 x TOP of them a snapshot."""
    sizes = np.zeros(2 * SPAN, np.int64)
    rows = _walk(levels, n, seed, 3, sizes.ctypes.data)
    return Session.from_rows(rows, [INSTRUMENT], name=f"bench-l2-{seed}-v{VERSION}")
