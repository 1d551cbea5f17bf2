"""Our orders that stand at the venue: lists by side and price, stops apart; what may trade, and with whom it must not."""

from __future__ import annotations

from replay.events import HALTED, OPEN
from replay.kernel.memory import apart, fn, hot
from replay.kernel.touch import px_of, sz_of
from replay.trader.layout import FOK, IOC, LIMIT, POST_ONLY, STOP_LIMIT
from replay.trader.orders import EXEC_CANCELED, WHY_SELF_TRADE
from replay.venue.layout import HFTBACKTEST, NOBODY, UNPRINTED, orders
from replay.venue.reports import report

NEVER = 1 << 60  # price of a market order in the resting list: ahead of every limit


@fn
def link_resting(vb, v, b, slot):
    """Put an order into its side's list: best price first, then arrival."""
    apart()
    table = orders(vb, v)
    o = table[slot]
    k = 0 if o.side > 0 else 1
    rank = o.side * o.px
    prev = -1
    cur = b.resting[k]
    while cur >= 0 and table[cur].side * table[cur].px >= rank:
        prev = cur
        cur = table[cur].next
    o.prev = prev
    o.next = cur
    if prev < 0:
        b.resting[k] = slot
    else:
        table[prev].next = slot
    if cur >= 0:
        table[cur].prev = slot
    b.n_resting += 1
    v.resting += 1
    o.live = 1
    b.attends |= takes_displays(o)
    bound_resting(b, table, k, o)


@fn
def link_stop(vb, v, b, slot):
    """Put an order that waits for its stop price with the others that do."""
    apart()
    table = orders(vb, v)
    o = table[slot]
    o.stopped = 1
    o.live = 1
    o.prev = -1
    o.next = b.stops
    if b.stops >= 0:
        table[b.stops].prev = slot
    b.stops = slot
    b.attends |= b.by_display
    b.n_resting += 1
    v.resting += 1


@hot
def bound_resting(b, table, k, o):
    """A new order widens the range of ranks that rest on its side."""
    rank = o.side * o.px
    b.best_rank[k] = max(b.best_rank[k], rank)
    b.worst_rank[k] = min(b.worst_rank[k], rank)


@fn
def unlink(vb, v, b, slot):
    """Take an order off the book, resting or stop."""
    apart()
    table = orders(vb, v)
    o = table[slot]
    if o.prev >= 0:
        table[o.prev].next = o.next
    elif o.stopped:
        b.stops = o.next
    else:
        b.resting[0 if o.side > 0 else 1] = o.next
    if o.next >= 0:
        table[o.next].prev = o.prev
    b.n_resting -= 1
    v.resting -= 1
    o.live = 0
    if not o.stopped:
        k = 0 if o.side > 0 else 1
        head = b.resting[k]
        if head < 0:
            b.best_rank[k] = NOBODY
            b.worst_rank[k] = -NOBODY
        elif o.prev < 0:
            b.best_rank[k] = table[head].side * table[head].px
        elif o.next < 0:
            b.worst_rank[k] = o.side * table[o.prev].px
    o.stopped = 0


# --- who comes to whom --------------------------------------------------------------------------------------------------------
@hot
def offered(b, side):
    """The price at which an order of `side` would trade now: what the other side displays, and where there are prints alone the last;
    UNPRINTED where there is none."""
    if b.by_print:
        return b.last_px
    return px_of(b, -side) if sz_of(b, -side) > 0 else UNPRINTED


@hot
def meets(b, side, px):
    """Whether an order of `side` at `px` could trade now."""
    at = offered(b, side)
    return at != UNPRINTED and side * (px - at) >= 0


@hot
def takes_displays(o):
    """Whether a limit order has not yet stood where nobody was: it is no offer that others come to."""
    return not o.passive and (o.type == LIMIT or o.type == STOP_LIMIT)


@fn
def stands(b, o):
    """Whether an order that comes to rest is one that others come to: the other side is displayed beyond its price, or where it
    displays nothing the last print was beyond it. One that may never take is."""
    apart()
    if o.flags & POST_ONLY:
        return 1
    at = offered(b, o.side)
    if at == UNPRINTED:
        at = b.last_px
    beyond = trades(b) and at != UNPRINTED and o.side * (o.px - at) < 0
    return 1 if beyond and o.tif != IOC and o.tif != FOK else 0


@fn
def observe(vb, v, b):
    """After a display or print: limit orders that it left alone, being beyond their price, are from now on those that others come to."""
    apart()
    table = orders(vb, v)
    b.attends = 1 if b.by_display and b.stops >= 0 else 0
    for k in range(2):
        slot = b.resting[k]
        while slot >= 0:
            o = table[slot]
            if takes_displays(o):
                o.passive = stands(b, o)
                b.attends |= takes_displays(o)
            slot = o.next


@fn
def stand_down(vb, v, b):
    """Trading stops: nobody comes to an order until it has stood again. What then is displayed through its price it takes."""
    apart()
    table = orders(vb, v)
    for k in range(2):
        slot = b.resting[k]
        while slot >= 0:
            o = table[slot]
            o.passive = 1 if o.flags & POST_ONLY else 0
            b.attends |= takes_displays(o)
            slot = o.next


@fn
def reducible(b, o):
    """Lots a reduce-only order may still trade."""
    apart()
    return max(0, -o.side * b.position)


@hot
def trades(b):
    """Whether orders may trade: the session is open, the instrument not halted, its quote not crossed."""
    return b.phase == OPEN and b.status != HALTED and not b.crossed


@fn
def meets_own(vb, v, b, o, px):
    """Whether the order at `px` would trade with an order of our own that rests. hftbacktest's exchange does not look."""
    apart()
    opposite = b.resting[1 if o.side > 0 else 0]
    return v.profile != HFTBACKTEST and opposite >= 0 and o.side * (px - orders(vb, v)[opposite].px) >= 0


@fn
def aside(vb, v, b, o, px, ts):
    """A stop that is reached goes first: what of ours rests on the other side and would trade with it at `px` is cancelled, the entry it
    protects above all (self-trade prevention as exchanges name it: cancel resting)."""
    apart()
    table = orders(vb, v)
    while meets_own(vb, v, b, o, px):
        slot = b.resting[1 if o.side > 0 else 0]
        unlink(vb, v, b, slot)
        report(vb, v, table[slot], ts, EXEC_CANCELED, 0, 0, WHY_SELF_TRADE)


@fn
def own_market(vb, v, b, o):
    """Whether a market order of ours waits on the other side."""
    apart()
    opposite = b.resting[1 if o.side > 0 else 0]
    return v.profile != HFTBACKTEST and opposite >= 0 and abs(orders(vb, v)[opposite].px) == NEVER
