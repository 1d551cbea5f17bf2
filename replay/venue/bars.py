"""Execution on bars, for an instrument whose finest data they are. Both fill profiles share these rules.

A bar is two events at the venue: its open, an interval before its row stands in the session, of which the open alone is used; and
its close, at the row, when all of it is known. An order that arrives within the first second of a bar takes part in it, a later
one in the next: it *meets* that bar's open, and then stands in the bar until it is finished.

At the open market orders, stops that it reaches, and limit orders trade, at the open: a limit order that meets its first open
where that is at its price or better, one that stood in an earlier bar where it is better. At the close, in the order of the path
the price is assumed to have taken, stops that the bar reached trade at their price and limit orders that it went through by a
tick at theirs. A bar that reaches a stop and a limit order of one side fills the stop only. Market orders and stops slip.
"""

from __future__ import annotations

from replay.events import EVENT
from replay.kernel.fixed import mul_div
from replay.kernel.memory import apart, at, entry, fn, hot
from replay.trader.layout import FOK, IOC, POST_ONLY, REDUCE_ONLY
from replay.trader.orders import EXEC_EXPIRED, EXEC_NEW, EXEC_REJECTED
from replay.venue.book import close_bar
from replay.venue.layout import FRESH, IN_BAR, SITS_OUT, bars, books, header, orders
from replay.venue.reports import fill, report
from replay.venue.resting import NEVER, link_resting, meets_own, own_market, reducible, trades, unlink


@fn
def slipped(v, px, side):
    """`px` moved against an order of `side` by the profile's slippage, rounded up to a tick; a positive price stays positive."""
    apart()
    worse = px - side * mul_div(-abs(px), v.slippage_ppm, 1_000_000)
    return max(worse, 1) if px > 0 else worse


@fn
def room(v, r, volume):
    """Lots our orders may still have of the bar, if `volume` is what trades in it."""
    apart()
    if v.participation_ppm == 0:
        return NEVER
    return max(0, mul_div(volume, v.participation_ppm, 1_000_000) - r.taken)


@fn
def trade(vb, v, b, r, o, ts, px, volume, maker):
    """Fill an order at `px` as far as the bar's volume, reduce-only and fill-or-kill allow."""
    apart()
    qty = min(o.leaves, room(v, r, volume))
    if o.flags & REDUCE_ONLY:
        qty = min(qty, reducible(b, o))
    if qty == 0 or (o.tif == FOK and qty < o.leaves):
        return
    r.taken += qty
    b.position += o.side * qty
    fill(vb, v, o, ts, qty, px, maker)


@fn
def stays(b, o):
    """Whether an order that has had its chance may go on waiting."""
    apart()
    return o.tif != IOC and o.tif != FOK and not (o.flags & REDUCE_ONLY and reducible(b, o) == 0)


@fn
def meet(vb, v, b, r, o, ts):
    """An order meets an open at which the venue trades. What it trades depends on the open and on nothing later, so the volume is
    the last bar's. Returns whether the order lives on."""
    apart()
    fresh = o.waits == FRESH
    o.waits = IN_BAR
    gain = o.side * (o.px - r.open_px)
    if gain > 0 or (gain == 0 and fresh):
        if fresh and o.flags & POST_ONLY:
            report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, 0)
            return False
        if not meets_own(vb, v, b, o, r.open_px):
            market = abs(o.px) == NEVER
            px = slipped(v, r.open_px, o.side) if market else r.open_px
            trade(vb, v, b, r, o, ts, px, r.volume, not fresh and not market)
    if o.leaves == 0:
        return False
    if not stays(b, o):
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, 0)
        return False
    return True


@hot
def opened(b, r, ts):
    """Whether an order that arrives now still gets the open of the bar."""
    return 0 <= ts - r.open_ts <= r.first_ns and trades(b)


@fn
def settle(vb, v, b, slot, ts):
    """Wait among the resting orders, unless it would trade with one of them."""
    apart()
    o = orders(vb, v)[slot]
    opposed = own_market(vb, v, b, o) if abs(o.px) == NEVER else meets_own(vb, v, b, o, o.px)
    if opposed:
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, 0)
    else:
        link_resting(vb, v, b, slot)


@hot
def join_bar(vb, v, b, slot, ts):
    """An acknowledged order, new, replaced or elected before the bar's path: it meets the open that has just been, or waits for
    the next."""
    o = orders(vb, v)[slot]
    r = bars(vb, v)[o.instrument]
    o.waits = FRESH
    if not opened(b, r, ts) or meet(vb, v, b, r, o, ts):
        settle(vb, v, b, slot, ts)


@hot
def arrive_on_bars(vb, v, b, slot, ts):
    """A new order, or a stop whose price was reached before it came."""
    o = orders(vb, v)[slot]
    if o.flags & REDUCE_ONLY and reducible(b, o) == 0:
        report(vb, v, o, ts, EXEC_REJECTED, 0, 0, 0)
        return
    report(vb, v, o, ts, EXEC_NEW, 0, 0, 0)
    join_bar(vb, v, b, slot, ts)


@hot
def stop_on_bars(vb, v, b, o, ts):
    """A stop, new or replaced, takes part in the bar that has just opened, or in the next."""
    o.waits = IN_BAR if opened(b, bars(vb, v)[o.instrument], ts) else FRESH


@fn
def reached(vb, v, b, side, px, everyone):
    """The stop of `side` that a price moving to `px` elects first: nearest, then oldest; of those in the bar, or of `everyone`."""
    apart()
    table = orders(vb, v)
    chosen = -1
    slot = b.stops
    while slot >= 0:
        o = table[slot]
        if o.side == side and side * (px - o.stop_px) >= 0 and (everyone or o.waits == IN_BAR):
            nearer = 1 if chosen < 0 else side * (table[chosen].stop_px - o.stop_px)
            if nearer > 0 or (nearer == 0 and o.seq < table[chosen].seq):
                chosen = slot
        slot = o.next
    return chosen


@hot
def open_bar(b, r, e):
    """The bar of a row opens; of the row only time and open are used."""
    r.open_ts = e.ts_event - r.ns
    r.open_px = e.a
    r.taken = 0
    b.last_px = e.a


@entry
def open_on_orders(vb, address):
    """The bar of the row at `address` opens on an instrument where orders of ours rest."""
    v = header(vb)
    e = at(address, 1, EVENT)[0]
    b = books(vb, v)[e.instrument]
    r = bars(vb, v)[e.instrument]
    open_bar(b, r, e)
    ts = r.open_ts
    table = orders(vb, v)
    if not trades(b):
        for k in range(3):
            slot = b.stops if k == 2 else b.resting[k]
            while slot >= 0:
                if table[slot].waits == IN_BAR:
                    table[slot].waits = SITS_OUT
                slot = table[slot].next
        return 0
    for side in (1, -1):
        while True:
            slot = reached(vb, v, b, side, e.a, True)
            if slot < 0:
                break
            unlink(vb, v, b, slot)
            table[slot].waits = FRESH
            settle(vb, v, b, slot, ts)
    for k in range(2):
        slot = b.resting[k]
        while slot >= 0:
            following = table[slot].next
            if not meet(vb, v, b, r, table[slot], ts):
                unlink(vb, v, b, slot)
            slot = following
    slot = b.stops
    while slot >= 0:
        table[slot].waits = IN_BAR
        slot = table[slot].next
    return 0


@fn
def close_on_orders(vb, v, b, e):
    """A bar closes on an instrument where orders of ours rest: what its path from open to close does to those that stood in it.

    The path visits the extreme nearer to the open first, the low where both are as near.
    """
    apart()
    high = max(e.b, e.a, e.d)
    low = min(e.c, e.a, e.d)
    first = 1 if high - e.a < e.a - low else -1
    stopped = 0
    for k in range(2):
        side = first if k == 0 else -first
        if stops_in_path(vb, v, b, e, side, high if side > 0 else low):
            stopped |= 1 if side > 0 else 2
    for k in range(2):
        side = -first if k == 0 else first  # on the way up sell orders trade, on the way down buy orders
        if stopped & (1 if side > 0 else 2) == 0:
            limits_in_path(vb, v, b, e, side, low if side > 0 else high)
    close_bar(vb, v, b, e)


@fn
def stops_in_path(vb, v, b, e, side, extreme):
    """Stops of `side` on the way to an extreme of the bar. Returns whether there was one."""
    apart()
    table = orders(vb, v)
    r = bars(vb, v)[e.instrument]
    found = False
    while True:
        slot = reached(vb, v, b, side, extreme, False)
        if slot < 0:
            return found
        found = True
        o = table[slot]
        unlink(vb, v, b, slot)
        px = slipped(v, side * max(side * o.stop_px, side * e.a), side)  # a stop moved past the open trades no better than it
        o.waits = FRESH
        if side * (o.px - px) >= 0:
            trade(vb, v, b, r, o, e.ts_event, px, e.id, False)
        if o.leaves > 0:
            if stays(b, o):
                settle(vb, v, b, slot, e.ts_event)
            else:
                report(vb, v, o, e.ts_event, EXEC_EXPIRED, 0, 0, 0)


@fn
def limits_in_path(vb, v, b, e, side, extreme):
    """Limit orders of `side` that the bar went through on the way to an extreme."""
    apart()
    table = orders(vb, v)
    r = bars(vb, v)[e.instrument]
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        following = o.next
        if side * (o.px - extreme) <= 0:
            return
        if abs(o.px) != NEVER and o.waits == IN_BAR:
            trade(vb, v, b, r, o, e.ts_event, o.px, e.id, True)
            if o.leaves == 0:
                unlink(vb, v, b, slot)
            elif not stays(b, o):
                unlink(vb, v, b, slot)
                report(vb, v, o, e.ts_event, EXEC_EXPIRED, 0, 0, 0)
        slot = following
