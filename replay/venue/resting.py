"""Our orders that stand at the venue: lists by side and price, stops apart; what may trade, and with whom it must not."""

from __future__ import annotations

from replay.events import HALTED, OPEN
from replay.kernel.memory import apart, fn, hot
from replay.venue.layout import HFTBACKTEST, NOBODY, orders

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
def own_market(vb, v, b, o):
    """Whether a market order of ours waits on the other side."""
    apart()
    opposite = b.resting[1 if o.side > 0 else 0]
    return v.profile != HFTBACKTEST and opposite >= 0 and abs(orders(vb, v)[opposite].px) == NEVER
