"""The venue's book: what the feed displays, less what our own orders have taken since it was last displayed."""

from __future__ import annotations

from replay.events import BAR, DEPTH, HALTED, PHASE, QUOTE, SETS_LAST, STATUS, TRADE
from replay.kernel.memory import apart, fn, hot
from replay.kernel.touch import display_level
from replay.trader.layout import LEVEL_BARS, LEVEL_L1, LEVEL_L2
from replay.venue.layout import bars, books


@hot
def display_quote(b, e):
    """An L1 quote. A side repeated unchanged displays nothing new: what we took of it stays taken."""
    if b.taken:
        _display_fresh(b, e)
    else:
        b.bid_px = e.a
        b.bid_sz = e.b
        b.ask_px = e.c
        b.ask_sz = e.d
    b.crossed = (e.a > e.c) & (e.b > 0) & (e.d > 0)


@fn
def _display_fresh(b, e):
    """`display_quote` where we have taken something of what was displayed last."""
    apart()
    if e.a != b.fed_bid_px or e.b != b.fed_bid_sz:
        b.fed_bid_px = b.bid_px = e.a
        b.fed_bid_sz = b.bid_sz = e.b
    if e.c != b.fed_ask_px or e.d != b.fed_ask_sz:
        b.fed_ask_px = b.ask_px = e.c
        b.fed_ask_sz = b.ask_sz = e.d
    b.taken = b.bid_sz != b.fed_bid_sz or b.ask_sz != b.fed_ask_sz


@fn
def set_phase(vb, v, phase):
    """A session phase concerns every instrument."""
    apart()
    table = books(vb, v)
    for k in range(v.books_n):
        table[k].phase = phase


@hot
def close_bar(vb, v, b, e):
    """A bar has closed. Where the next one opened at that instant, its open is the last price."""
    r = bars(vb, v)[e.instrument]
    if e.side == r.interval:
        r.volume = e.id
        r.closed_ts = e.ts_event
        if r.open_ts < e.ts_event:
            b.last_px = e.d


@hot
def apply_row(vb, v, b, e):
    """A row of market data on an instrument where none of our orders rests."""
    kind = e.kind
    if kind == QUOTE:
        if b.level == LEVEL_L1:
            display_quote(b, e)
            v.c_crossed += b.crossed
    elif kind == TRADE:
        if e.flags & SETS_LAST:
            b.last_px = e.a
    elif kind == DEPTH:
        if b.level == LEVEL_L2:
            display_level(vb, v, b, e)
    elif kind == BAR:
        if b.level == LEVEL_BARS:
            close_bar(vb, v, b, e)
    elif kind == PHASE:
        set_phase(vb, v, e.side)
    elif kind == STATUS:
        b.status = HALTED if e.side == HALTED else 0
