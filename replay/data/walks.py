"""The random walks behind `replay.data.synth`: one instrument's quotes and trades, or one instrument's book, in integers only.

Both take raw 64-bit words drawn beforehand, a pair for each step, and cut them into small uniform integers: nothing here rounds, so the
rows are the same bits compiled, interpreted, and on every machine.
"""

from __future__ import annotations

import numpy as np

from replay.events import CLEAR, DEPTH, EVENT, LAST, PRINT, QUOTE, SET, SNAPSHOT, TRADE
from replay.kernel.memory import at, entry, fn

I64 = np.dtype("i8")
ROUND_LOT = 100
SPAN = 4096  #: ticks the book of `book_walk` can wander over
TOP = 100  #: levels a side in its first snapshot

#: sizes in round lots, by 8 random bits: half are 1 or 2, one in 256 is 60
LOTS = np.repeat(
    np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 40, 60]), np.array([90, 48, 30, 22, 16, 12, 10, 8, 6, 5, 4, 2, 2, 1])
)
assert len(LOTS) == 256


@fn
def _bits(w, start, count):
    """`count` bits of the word `w` from bit `start`, as an integer >= 0."""
    return (w >> start) & ((np.int64(1) << count) - 1)


@fn
def _fill(r, t, kind, side, flags, instrument, number, a, b, c, d):
    r.ts_event = t
    r.ts_recv = t
    r.kind = kind
    r.side = side
    r.flags = flags
    r.instrument = instrument
    r.id = number
    r.a = a
    r.b = b
    r.c = c
    r.d = d


@entry
def quote_walk(rows_at, n, words_at, times_at, pace_at, lots_at, instrument, mid, spread):
    """Fill `n` rows of quotes and trades at `times` (rising), around the price `mid` (ticks) with a mean `spread` (ticks).

    `pace` is the market's activity at each row in percent of normal: prices move more often where it is high. About one row in
    seven is a trade; the row after it is the quote with what the trade left. Returns the last mid price.
    """
    rows = at(rows_at, n, EVENT)
    words = at(words_at, 2 * n, I64)
    times = at(times_at, n, I64)
    pace = at(pace_at, n, I64)
    lots = at(lots_at, 256, I64)
    bid = max(mid - spread // 2, 2)
    ask = bid + spread
    bid_sz = ROUND_LOT * lots[_bits(words[0], 40, 8)]
    ask_sz = ROUND_LOT * lots[_bits(words[0], 48, 8)]
    trades = 0
    after_trade = True  # the first row is a quote, as it stands
    t = times[0] - 1
    for i in range(n):
        w = words[2 * i]
        v = words[2 * i + 1]
        # a quote follows its trade by microseconds
        t = max(t + 1, t + 800 + _bits(v, 0, 14) if after_trade and i > 0 else times[i])
        up = _bits(w, 0, 1) == 1
        size = ROUND_LOT * lots[_bits(w, 8, 8)]
        dice = _bits(w, 16, 10)
        if not after_trade and dice < 170 and i < n - 1:
            shown = ask_sz if up else bid_sz
            if _bits(w, 32, 2) == 0:
                size = 1 + _bits(w, 34, 6)  # an odd lot
            size = min(size, shown)
            trades += 1
            _fill(rows[i], t, TRADE, 1 if up else -1, LAST | PRINT, instrument, trades, ask if up else bid, size, 0, 0)
            if up:
                ask_sz -= size
            else:
                bid_sz -= size
            after_trade = True
            continue
        if not after_trade:
            if _bits(v, 14, 10) * 100 < 90 * pace[i]:  # the price moves, both sides or one
                step = 1 if up else -1
                if bid + step >= 2:
                    bid += step
                    ask += step
                    bid_sz = size
                    ask_sz = ROUND_LOT * lots[_bits(v, 24, 8)]
            elif ask - bid > 1 and _bits(v, 32, 6) < 20 * (ask - bid) // spread:  # too wide: one side improves
                if up:
                    bid += 1
                    bid_sz = size
                else:
                    ask -= 1
                    ask_sz = size
            elif _bits(v, 38, 6) < 8 and ask - bid < 2 * spread and bid > 2:  # one side steps back
                if up:
                    ask += 1
                    ask_sz = size
                else:
                    bid -= 1
                    bid_sz = size
            elif up:
                ask_sz = size
            else:
                bid_sz = size
        if bid_sz == 0:  # sold through: the next level shows
            bid = max(bid - 1, 1)
            bid_sz = size
        if ask_sz == 0:
            ask += 1
            ask_sz = size
        _fill(rows[i], t, QUOTE, 0, LAST, instrument, i + 1, bid, bid_sz, ask, ask_sz)
        after_trade = False
    return (bid + ask) // 2


@fn
def _next_level(sizes, px, step):
    """The first price from `px` on, going by `step`, with a size; the ends of `sizes` hold one for ever."""
    while sizes[px] == 0:
        px += step
    return px


@entry
def book_walk(rows_at, n, words_at, gaps_at, lots_at, sizes_at, base, t):
    """Fill `n` rows of a book of one instrument: a snapshot message, then messages of changed levels and trades.

    `sizes` is room for 2 x `SPAN` int64 zeros (bids, then asks, by price - `base`); `gaps` the time from message to message. Prices
    stay within ``base .. base + SPAN``; the levels at both ends are never touched, so that no side is ever empty. Returns rows.
    """
    rows = at(rows_at, n, EVENT)
    words = at(words_at, 2 * n, I64)
    gaps = at(gaps_at, n, I64)
    lots = at(lots_at, 256, I64)
    bids = at(sizes_at, SPAN, I64)
    asks = at(sizes_at + 8 * SPAN, SPAN, I64)
    bid = SPAN // 2
    ask = bid + 1
    _fill(rows[0], t, DEPTH, 0, SNAPSHOT, 0, 1, 0, 0, CLEAR, 0)
    i = 1
    for k in range(TOP):
        far = k == TOP - 1
        bid_at = 1 if far else bid - k
        ask_at = SPAN - 2 if far else ask + k
        bids[bid_at] = 10 * lots[_bits(words[2 * i], 8, 8)]
        asks[ask_at] = 10 * lots[_bits(words[2 * i], 16, 8)]
        _fill(rows[i], t, DEPTH, 1, SNAPSHOT, 0, 1, base + bid_at, bids[bid_at], SET, 0)
        _fill(rows[i + 1], t, DEPTH, -1, SNAPSHOT | (LAST if far else 0), 0, 1, base + ask_at, asks[ask_at], SET, 0)
        i += 2
    seq = 1
    trades = 0
    while i < n:
        w = words[2 * i]
        t += gaps[i]
        up = _bits(w, 0, 1) == 1
        touch = ask if up else bid
        near = asks if up else bids
        inside = 16 < touch < SPAN - 16
        if _bits(w, 1, 4) < 3 and n - i >= 2 and inside:
            size = min(lots[_bits(w, 8, 8)] * (1 + _bits(w, 16, 3)), near[touch])
            trades += 1
            _fill(rows[i], t, TRADE, 1 if up else -1, LAST | PRINT, 0, trades, base + touch, size, 0, 0)
            near[touch] -= size
            i += 1
            t += 1 + _bits(w, 19, 12)
            seq += 1
            _fill(rows[i], t, DEPTH, -1 if up else 1, LAST, 0, seq, base + touch, near[touch], SET, 0)
            i += 1
            ask = _next_level(asks, ask, 1)
            bid = _next_level(bids, bid, -1)
            continue
        seq += 1
        count = min(1 + _bits(w, 32, 3) * _bits(w, 35, 1), n - i)
        for k in range(count):
            x = words[2 * i]
            y = words[2 * i + 1]
            s = 1 if _bits(y, 0, 1) else -1  # the side of the level changed: +1 bid
            size = 10 * lots[_bits(y, 8, 8)]
            away = min(_bits(y, 16, 3) + _bits(y, 19, 3), _bits(y, 22, 3)) + _bits(y, 25, 6) * (_bits(y, 31, 4) == 0)
            px = bid - away if s > 0 else ask + away
            if ask - bid > 1 and _bits(x, 40, 3) < 5:  # the gap closes from either side
                px = bid + 1 if s > 0 else ask - 1
            elif _bits(y, 35, 3) == 0 and (px != bid or bid > 16) and (px != ask or ask < SPAN - 16):
                size = 0
            px = min(max(px, 2), SPAN - 3)
            if s > 0:
                px = min(px, ask - 1)
                bids[px] = size
                bid = _next_level(bids, max(bid, px), -1)
            else:
                px = max(px, bid + 1)
                asks[px] = size
                ask = _next_level(asks, min(ask, px), 1)
            _fill(rows[i], t, DEPTH, s, LAST if k == count - 1 else 0, 0, seq, base + px, size, SET, 0)
            i += 1
    return i
