"""Execution on bars, for an instrument whose finest data they are. Both fill profiles share these rules.

A bar is three events at the venue: its open, of which the open alone decides; its path, a moment before its close, when all of it is
known; and its close, at the row. An order that arrives within the first second of a bar takes part in it, a later one in the next:
it *meets* that bar's open, and then stands in the bar until it is finished.

At the open market orders, stops that it reaches, and limit orders trade, at the open: a limit order that meets its first open
where that is at its price or better, one that stood in an earlier bar where it is better. On the path what the volume left over of
these trades on, at the open's price; then stops that the bar reached trade at their price and limit orders that it went through by
a tick at theirs, in the order of the path the price is assumed to have taken. A bar that reaches a stop and a limit order of one
side fills the stop only. Market orders and stops slip. Whatever trades, trades at a price between the bar's low and its high.
"""

from __future__ import annotations

from replay.events import EVENT
from replay.kernel.fixed import mul_div
from replay.kernel.memory import apart, at, entry, fn, hot
from replay.trader.layout import FOK, IOC, POST_ONLY, REDUCE_ONLY, STOP
from replay.trader.orders import (
    EXEC_EXPIRED,
    EXEC_NEW,
    EXEC_REJECTED,
    WHY_NOT_AT_ONCE,
    WHY_REDUCE_ONLY,
    WHY_SELF_TRADE,
    WHY_WOULD_TAKE,
)
from replay.venue.layout import FRESH, IN_BAR, SITS_OUT, UNPRINTED, bars, books, header, orders
from replay.venue.reports import fill, report
from replay.venue.resting import NEVER, aside, link_resting, meets_own, own_market, reducible, trades, unlink


@fn
def slipped(v, r, px, side):
    """`px` moved against an order of `side` by the profile's slippage, rounded up to a tick, as far as the bar went."""
    apart()
    worse = px - side * mul_div(-abs(px), v.slippage_ppm, 1_000_000)
    return min(worse, r.high) if side > 0 else max(worse, r.low)


@fn
def room(v, r, volume):
    """Lots our orders may still have of the bar, if a share of `volume` is ours; never more than traded in it."""
    apart()
    if v.participation_ppm == 0 or r.uncapped:
        return NEVER
    return max(0, min(mul_div(volume, v.participation_ppm, 1_000_000), r.traded) - r.taken)


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


@hot
def unmet(o):
    """Why an order that does not stay ends."""
    return WHY_NOT_AT_ONCE if o.tif == IOC or o.tif == FOK else WHY_REDUCE_ONLY


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
            report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_WOULD_TAKE)
            return False
        if not meets_own(vb, v, b, o, r.open_px):
            market = abs(o.px) == NEVER
            px = slipped(v, r, r.open_px, o.side) if market else r.open_px
            trade(vb, v, b, r, o, ts, px, r.volume, not fresh and not market)
    if o.leaves == 0:
        return False
    if not stays(b, o):
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, unmet(o))
        return False
    return True


@hot
def opened(b, r, ts):
    """Whether an order that arrives now still gets the open of the bar."""
    return 0 <= ts - r.open_ts <= r.first_ns and trades(b)


@fn
def opposed(vb, v, b, o):
    """Whether an order that is to wait would trade with one of ours. A market order that waits for volume trades at the market: a
    limit order behind the last price does not meet it, and before the first price every one may."""
    apart()
    if abs(o.px) == NEVER:
        return own_market(vb, v, b, o)
    table = orders(vb, v)
    slot = b.resting[1 if o.side > 0 else 0]
    while slot >= 0 and abs(table[slot].px) == NEVER:
        if b.last_px == UNPRINTED or o.side * (o.px - b.last_px) >= 0:
            return True
        slot = table[slot].next
    return slot >= 0 and o.side * (o.px - table[slot].px) >= 0


@fn
def settle(vb, v, b, slot, ts):
    """Wait among the resting orders, unless it would trade with one of them; a stop that was triggered goes first."""
    apart()
    o = orders(vb, v)[slot]
    if o.type == STOP:
        aside(vb, v, b, o, b.last_px, ts)
    if opposed(vb, v, b, o):
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_SELF_TRADE)
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
        report(vb, v, o, ts, EXEC_REJECTED, 0, 0, WHY_REDUCE_ONLY)
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
def open_bar(b, r, e, ts):
    """The bar of a row opens at `ts`. Of the row only the open decides anything; its range and volume bound what trades."""
    r.open_ts = ts
    r.open_px = e.a
    r.high = max(e.b, e.a, e.d)
    r.low = min(e.c, e.a, e.d)
    r.traded = e.id
    r.close_ts = e.ts_event
    r.taken = 0
    b.last_px = e.a


@entry
def open_on_orders(vb, address, ts):
    """The bar of the row at `address` opens at `ts` on an instrument where orders of ours rest."""
    v = header(vb)
    e = at(address, 1, EVENT)[0]
    b = books(vb, v)[e.instrument]
    r = bars(vb, v)[e.instrument]
    open_bar(b, r, e, ts)
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
            aside(vb, v, b, table[slot], e.a, ts)
            settle(vb, v, b, slot, ts)
    for k in range(2):
        behind = stop_waits(vb, v, b, 1 if k == 0 else -1)
        slot = b.resting[k]
        while slot >= 0:
            following = table[slot].next
            if behind and abs(table[slot].px) != NEVER:
                table[slot].waits = IN_BAR
            elif not meet(vb, v, b, r, table[slot], ts):
                unlink(vb, v, b, slot)
            slot = following
    slot = b.stops
    while slot >= 0:
        table[slot].waits = IN_BAR
        slot = table[slot].next
    return 0


@entry
def path_on_orders(vb, address, ts):
    """What the path of the bar of the row at `address`, from open to close, does at `ts` to the orders of ours that stand in it.

    It visits the extreme nearer to the open first, the low where both are as near.
    """
    v = header(vb)
    e = at(address, 1, EVENT)[0]
    b = books(vb, v)[e.instrument]
    r = bars(vb, v)[e.instrument]
    first = 1 if r.high - r.open_px < r.open_px - r.low else -1
    stopped = (1 if stop_waits(vb, v, b, 1) else 0) | (2 if stop_waits(vb, v, b, -1) else 0)
    for side in (1, -1):
        rests_in_path(vb, v, b, r, side, ts, stopped & (1 if side > 0 else 2) != 0)
    for k in range(2):
        side = first if k == 0 else -first
        if stops_in_path(vb, v, b, r, side, ts):
            stopped |= 1 if side > 0 else 2
    for k in range(2):
        side = -first if k == 0 else first  # on the way up sell orders trade, on the way down buy orders
        if stopped & (1 if side > 0 else 2) == 0:
            limits_in_path(vb, v, b, r, side, ts)
    return 0


@fn
def stop_waits(vb, v, b, side):
    """Whether a stop of ours that was triggered waits at the market for volume. No limit order of its side trades
    meanwhile: it may be the other exit of the same position, and nobody has heard of the trigger yet."""
    apart()
    table = orders(vb, v)
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0 and abs(table[slot].px) == NEVER:
        if table[slot].type == STOP:
            return True
        slot = table[slot].next
    return False


@fn
def rests_in_path(vb, v, b, r, side, ts, behind):
    """Orders of `side` that the open reached, and the share of the last bar's volume did not fill, trade on at the open's price;
    `behind` a stop that waits, market orders alone."""
    apart()
    table = orders(vb, v)
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        following = o.next
        if side * (o.px - r.open_px) <= 0:
            return
        market = abs(o.px) == NEVER
        if o.waits == IN_BAR and (market or not behind) and not meets_own(vb, v, b, o, r.open_px):
            px = slipped(v, r, r.open_px, side) if market else r.open_px
            trade(vb, v, b, r, o, ts, px, r.traded, not market)
            retire(vb, v, b, slot, ts)
        slot = following


@fn
def retire(vb, v, b, slot, ts):
    """Take a resting order off the book once it has traded whole, or may not wait any longer."""
    apart()
    o = orders(vb, v)[slot]
    if o.leaves == 0:
        unlink(vb, v, b, slot)
    elif not stays(b, o):
        unlink(vb, v, b, slot)
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, unmet(o))


@fn
def stops_in_path(vb, v, b, r, side, ts):
    """Stops of `side` on the way to the bar's extreme. Returns whether there was one."""
    apart()
    table = orders(vb, v)
    found = False
    while True:
        slot = reached(vb, v, b, side, r.high if side > 0 else r.low, False)
        if slot < 0:
            return found
        found = True
        o = table[slot]
        unlink(vb, v, b, slot)
        # a stop moved past the open trades no better than it
        px = slipped(v, r, side * max(side * o.stop_px, side * r.open_px), side)
        o.waits = FRESH
        if side * (o.px - px) >= 0:
            trade(vb, v, b, r, o, ts, px, r.traded, False)
        if o.leaves > 0:
            if stays(b, o):
                settle(vb, v, b, slot, ts)
            else:
                report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, unmet(o))


@fn
def limits_in_path(vb, v, b, r, side, ts):
    """Limit orders of `side`, better than the open, that the bar went through."""
    apart()
    table = orders(vb, v)
    extreme = r.low if side > 0 else r.high
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        following = o.next
        if side * (o.px - extreme) <= 0:
            return
        if o.waits == IN_BAR and side * (o.px - r.open_px) <= 0:
            trade(vb, v, b, r, o, ts, o.px, r.traded, True)
            retire(vb, v, b, slot, ts)
        slot = following
