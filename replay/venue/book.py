"""The venue's book: what the feed displays, less what our own orders have taken since it was last displayed."""

from __future__ import annotations

from replay.events import CLEAR, DEPTH, HALTED, LAST, PHASE, QUOTE, SETS_LAST, STATUS, TRADE
from replay.kernel import ladder
from replay.kernel.memory import at, fn, hot
from replay.trader.layout import LEVEL_L1, LEVEL_L2


@hot
def px_of(b, side):
    """Price of the touch on a side: +1 bid, -1 ask."""
    return b.bid_px if side > 0 else b.ask_px


@hot
def sz_of(b, side):
    return b.bid_sz if side > 0 else b.ask_sz


@hot
def side_ladder(vb, v, instrument, side):
    return at(vb + v.ladders_at, v.ladders_n, ladder.LADDER)[2 * instrument + (0 if side > 0 else 1)]


@fn
def sync(vb, v, b, instrument, side):
    """Copy the best level of a side into the touch."""
    l = side_ladder(vb, v, instrument, side)
    px = 0
    size = 0
    if l.best != ladder.EMPTY:
        px = side * l.best
        size = ladder.size_at(vb, l, l.best)
    if side > 0:
        b.bid_px = px
        b.bid_sz = size
    else:
        b.ask_px = px
        b.ask_sz = size


@hot
def display_quote(b, e):
    """An L1 quote. A side repeated unchanged displays nothing new: what we took of it stays taken."""
    if e.a != b.fed_bid_px or e.b != b.fed_bid_sz:
        b.fed_bid_px = e.a
        b.fed_bid_sz = e.b
        b.bid_px = e.a
        b.bid_sz = e.b
    if e.c != b.fed_ask_px or e.d != b.fed_ask_sz:
        b.fed_ask_px = e.c
        b.fed_ask_sz = e.d
        b.ask_px = e.c
        b.ask_sz = e.d
    b.crossed = 1 if e.a > e.c and e.b > 0 and e.d > 0 else 0


@fn
def display_level(vb, v, b, e):
    """An L2 row. Returns the size that was at its price."""
    instrument = e.instrument
    if e.c == CLEAR:
        if e.side >= 0:
            ladder.clear(vb, side_ladder(vb, v, instrument, 1))
            sync(vb, v, b, instrument, 1)
        if e.side <= 0:
            ladder.clear(vb, side_ladder(vb, v, instrument, -1))
            sync(vb, v, b, instrument, -1)
        return 0
    l = side_ladder(vb, v, instrument, e.side)
    rank = e.side * e.a
    was = ladder.set_level(vb, l, rank, e.b)
    if rank >= l.best or rank == e.side * px_of(b, e.side):
        sync(vb, v, b, instrument, e.side)
    if e.flags & LAST and b.bid_sz > 0 and b.ask_sz > 0 and b.bid_px >= b.ask_px:
        # the newer side is right: what it crosses on the other is gone
        v.c_crossed += ladder.uncross(vb, side_ladder(vb, v, instrument, -e.side), -e.side * px_of(b, e.side))
        sync(vb, v, b, instrument, -e.side)
    return was


@hot
def apply_row(vb, v, b, e):
    """A row of market data on an instrument where none of our orders rests."""
    if e.kind == QUOTE:
        if b.level == LEVEL_L1:
            display_quote(b, e)
            v.c_crossed += b.crossed
    elif e.kind == TRADE:
        if e.flags & SETS_LAST:
            b.last_px = e.a
    elif e.kind == DEPTH:
        if b.level == LEVEL_L2:
            display_level(vb, v, b, e)
    elif e.kind == PHASE:
        b.phase = e.side
    elif e.kind == STATUS:
        b.status = HALTED if e.side == HALTED else 0
