"""Stops that are elected: by prints, or where there are none by what is displayed."""

from __future__ import annotations

from replay.kernel.ladder import EMPTY, set_level, size_at
from replay.kernel.memory import apart, fn
from replay.kernel.touch import px_of, side_ladder, sync, sz_of
from replay.trader.layout import LEVEL_L2, LIMIT, MARKET, STOP_LIMIT
from replay.venue.layout import HFTBACKTEST, UNPRINTED, orders
from replay.venue.matching import arrive
from replay.venue.resting import unlink


@fn
def spend(vb, v, b, e, side):
    """What a print used up of the displays of `side`: all that was better than its price, and where it hit that side as much as its size at
    its price. The next display says what is there."""
    apart()
    hit = e.b if e.side != side else 0
    if b.level == LEVEL_L2:
        l = side_ladder(vb, v, e.instrument, side)
        rank = side * e.a
        while l.best != EMPTY and l.best > rank:
            set_level(vb, l, l.best, 0)
        if l.best == rank:
            set_level(vb, l, rank, max(0, size_at(vb, l, rank) - hit))
        sync(vb, b, l, side)
        return
    better = side * (px_of(b, side) - e.a)
    left = 0 if better > 0 else max(0, sz_of(b, side) - hit) if better == 0 else sz_of(b, side)
    if side > 0:
        b.bid_sz = left
    else:
        b.ask_sz = left


@fn
def reached(vb, v, b, buy_px, sell_px):
    """The oldest stop that has been reached, where `buy_px` is what buy stops go by and `sell_px` what sell stops do; -1: none."""
    apart()
    table = orders(vb, v)
    chosen = -1
    slot = b.stops
    while slot >= 0:
        o = table[slot]
        px = buy_px if o.side > 0 else sell_px
        if px != UNPRINTED and o.side * (px - o.stop_px) >= 0 and (chosen < 0 or o.seq < table[chosen].seq):
            chosen = slot
        slot = o.next
    return chosen


@fn
def release(vb, v, b, slot, ts):
    """A stop becomes a market or limit order."""
    apart()
    unlink(vb, v, b, slot)
    o = orders(vb, v)[slot]
    o.type = LIMIT if o.type == STOP_LIMIT else MARKET
    arrive(vb, v, b, slot, ts, False)


@fn
def elect(vb, v, b, e):
    """Stops whose price a print reached become market or limit orders, in arrival order. What the print used up is gone before."""
    apart()
    table = orders(vb, v)
    spent = 0
    while True:
        slot = reached(vb, v, b, e.a, e.a)
        if slot < 0:
            return
        side = table[slot].side
        bit = 1 if side > 0 else 2
        if v.profile != HFTBACKTEST and not b.by_print and spent & bit == 0:
            spent |= bit
            spend(vb, v, b, e, -side)
        release(vb, v, b, slot, e.ts_event)


@fn
def elect_by_display(vb, v, b, ts):
    """Where there are no prints: stops whose price the touch that they would trade at reached, of a sale the bid, of a purchase the ask."""
    apart()
    ask = b.ask_px if b.ask_sz > 0 else UNPRINTED
    bid = b.bid_px if b.bid_sz > 0 else UNPRINTED
    while True:
        slot = reached(vb, v, b, ask, bid)
        if slot < 0:
            return
        release(vb, v, b, slot, ts)
