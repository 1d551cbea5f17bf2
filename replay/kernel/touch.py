"""Reading and feeding the touch of a book. The venue's book and our view have the same field names, so one code serves both."""

from __future__ import annotations

from replay.events import CLEAR, LAST
from replay.kernel import ladder
from replay.kernel.memory import apart, at, fn, hot


@hot
def px_of(b, side):
    """Price of the touch on a side: +1 bid, -1 ask."""
    return b.bid_px if side > 0 else b.ask_px


@hot
def sz_of(b, side):
    """Size of the touch on a side; 0 where there is none."""
    return b.bid_sz if side > 0 else b.ask_sz


@hot
def side_ladder(base, h, instrument, side):
    """The ladder of one side of an L2 instrument."""
    return at(base + h.ladders_at, h.ladders_n, ladder.LADDER)[2 * instrument + (0 if side > 0 else 1)]


@hot
def sync(base, b, l, side):
    """Copy the best level of a side into the touch; the best level always lies in the ladder's window."""
    px = 0
    size = 0
    if l.best != ladder.EMPTY:
        px = side * l.best
        size = at(base + l.cells, l.width, ladder.I64)[l.best - l.start]
    if side > 0:
        b.bid_px = px
        b.bid_sz = size
    else:
        b.ask_px = px
        b.ask_sz = size


@hot
def display_level(base, h, b, e):
    """An L2 row: set, remove or clear. Returns the size that was at its price.

    At the end of a message a crossed book is put right: the newer side is true, what it crosses on the other is gone.
    """
    instrument = e.instrument
    if e.c == CLEAR:
        return _clear(base, h, b, e)
    side = e.side
    l = side_ladder(base, h, instrument, side)
    rank = side * e.a
    best = l.best
    was = ladder.set_level(base, l, rank, e.b)
    if rank >= best:
        sync(base, b, l, side)
    if e.flags & LAST and b.bid_px >= b.ask_px and b.bid_sz > 0 and b.ask_sz > 0:
        _uncross(base, h, b, instrument, side)
    return was


@fn
def _clear(base, h, b, e):
    apart()
    for k in range(2):
        side = 1 - 2 * k
        if e.side != -side:
            l = side_ladder(base, h, e.instrument, side)
            ladder.clear(base, l)
            sync(base, b, l, side)
    return 0


@fn
def _uncross(base, h, b, instrument, side):
    apart()
    l = side_ladder(base, h, instrument, -side)
    h.c_crossed += ladder.uncross(base, l, -side * px_of(b, side))
    sync(base, b, l, -side)
