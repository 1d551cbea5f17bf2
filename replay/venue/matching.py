"""Our orders at the venue: arrival, taking displayed liquidity, resting, cancel and replace. Profile `realistic`, and the arrival
rules of `hftbacktest`.

`realistic`: an order takes what is displayed and no more, walking levels where the data has them; what it took is gone until the
feed displays that price anew. The rest of a market order stays and takes each fresh display; IOC and FOK rests expire.
"""

from __future__ import annotations

from replay.events import HALTED, OPEN
from replay.kernel import ladder
from replay.kernel.memory import apart, entry, fn, hot
from replay.kernel.touch import px_of, side_ladder, sync, sz_of
from replay.trader.layout import (
    CMD_CANCEL,
    CMD_NEW,
    FOK,
    IOC,
    LEVEL_L1,
    LIMIT,
    MARKET,
    POST_ONLY,
    REDUCE_ONLY,
    SLOT_MASK,
    STOP,
)
from replay.trader.orders import (
    EXEC_CANCEL_REJECTED,
    EXEC_CANCELED,
    EXEC_EXPIRED,
    EXEC_NEW,
    EXEC_REJECTED,
    EXEC_REPLACE_REJECTED,
    EXEC_REPLACED,
)
from replay.venue.layout import HFTBACKTEST, NOBODY, UNPRINTED, books, header, orders, requests
from replay.venue.reports import fill, report

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
def bound_resting(b, table, k, o):
    """A new order widens the range of ranks that rest on its side."""
    apart()
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
def take(vb, v, b, o, ts):
    """Trade against the displayed other side as far as price, size and reduce-only allow, and no further than an order of our own
    that is as good as the level: an exchange does not let one account trade with itself."""
    apart()
    other = -o.side
    while o.leaves > 0 and sz_of(b, other) > 0 and o.side * (o.px - px_of(b, other)) >= 0:
        px = px_of(b, other)
        if meets_own(vb, v, b, o, px):
            return
        qty = min(o.leaves, sz_of(b, other))
        if o.flags & REDUCE_ONLY:
            qty = min(qty, reducible(b, o))
            if qty == 0:
                return
        consume(vb, v, b, o.instrument, other, qty)
        b.position += o.side * qty
        fill(vb, v, o, ts, qty, px, False)


@fn
def consume(vb, v, b, instrument, side, qty):
    """Take `qty` off the touch of a side."""
    apart()
    if b.level == LEVEL_L1:
        if not b.taken:
            b.taken = 1
            b.fed_bid_px = b.bid_px
            b.fed_bid_sz = b.bid_sz
            b.fed_ask_px = b.ask_px
            b.fed_ask_sz = b.ask_sz
        if side > 0:
            b.bid_sz -= qty
        else:
            b.ask_sz -= qty
        return
    l = side_ladder(vb, v, instrument, side)
    ladder.set_level(vb, l, l.best, sz_of(b, side) - qty)
    sync(vb, b, l, side)


@fn
def available(vb, v, b, o):
    """Lots displayed at prices the order accepts: what a fill-or-kill may count on."""
    apart()
    other = -o.side
    if sz_of(b, other) == 0 or o.side * (o.px - px_of(b, other)) < 0:
        return 0
    if b.level == LEVEL_L1:
        total = 0 if meets_own(vb, v, b, o, px_of(b, other)) else sz_of(b, other)
        return min(total, reducible(b, o)) if o.flags & REDUCE_ONLY else total
    l = side_ladder(vb, v, o.instrument, other)
    total = 0
    rank = l.best
    while rank != ladder.EMPTY and o.side * o.px + rank >= 0 and total < o.leaves and not meets_own(vb, v, b, o, other * rank):
        total += ladder.size_at(vb, l, rank)
        rank = ladder.next_worse(vb, l, rank)
    return min(total, reducible(b, o)) if o.flags & REDUCE_ONLY else total


@fn
def displayed(vb, v, b, o):
    """Displayed lots at the order's own price; -1 where the data cannot know (L1, behind the touch)."""
    apart()
    if b.level != LEVEL_L1:
        return ladder.size_at(vb, side_ladder(vb, v, o.instrument, o.side), o.side * o.px)
    better = o.side * (o.px - px_of(b, o.side))
    if sz_of(b, o.side) == 0 or better > 0:
        return 0
    return sz_of(b, o.side) if better == 0 else -1


@fn
def rest(vb, v, b, slot):
    """Stand in the queue at the order's price."""
    apart()
    o = orders(vb, v)[slot]
    o.ahead = displayed(vb, v, b, o)
    o.ahead_f = float(max(o.ahead, 0))
    o.traded_f = 0.0
    link_resting(vb, v, b, slot)


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


@fn
def arrive(vb, v, b, slot, ts, new):
    """An order enters the book: take, then rest or expire. A stop that is elected (`new` false) was acknowledged before: what a
    new order is rejected for ends it as expired."""
    apart()
    refusal = EXEC_REJECTED if new else EXEC_EXPIRED
    o = orders(vb, v)[slot]
    other = -o.side
    marketable = sz_of(b, other) > 0 and o.side * (o.px - px_of(b, other)) >= 0
    if marketable and o.flags & POST_ONLY:
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, 0)
        return
    if v.profile == HFTBACKTEST:
        if marketable:
            qty = o.leaves
            b.position += o.side * qty
            fill(vb, v, o, ts, qty, px_of(b, other), False)
        elif o.tif == IOC or o.tif == FOK or o.type == MARKET:
            report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, 0)
        else:
            if new:
                report(vb, v, o, ts, EXEC_NEW, 0, 0, 0)
            rest(vb, v, b, slot)
        return
    if o.flags & REDUCE_ONLY and reducible(b, o) == 0:
        report(vb, v, o, ts, refusal, 0, 0, 0)
        return
    if o.tif == FOK and available(vb, v, b, o) < o.leaves:
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, 0)
        return
    if new:
        report(vb, v, o, ts, EXEC_NEW, 0, 0, 0)
    if trades(b):
        take(vb, v, b, o, ts)
    if o.leaves == 0:
        return
    # what is left may not wait where it would trade with an order of ours; a market order waits for others' displays
    opposed = own_market(vb, v, b, o) if abs(o.px) == NEVER else meets_own(vb, v, b, o, o.px)
    if opposed or o.tif == IOC or o.tif == FOK or (o.flags & REDUCE_ONLY and reducible(b, o) == 0):
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, 0)
        return
    rest(vb, v, b, slot)


@fn
def open_new(vb, v, b, r, ts):
    """A new order reaches the venue."""
    apart()
    slot = r.handle & SLOT_MASK
    o = orders(vb, v)[slot]
    v.seq += 1
    o.handle = r.handle
    o.instrument = r.instrument
    o.side = r.side
    o.type = r.type
    o.tif = r.tif
    o.flags = r.flags
    o.px = r.px if r.type == LIMIT or r.type > STOP else r.side * NEVER
    o.stop_px = r.stop_px
    o.leaves = r.qty
    o.cum = 0
    o.seq = v.seq
    o.live = 0
    o.stopped = 0
    if b.phase != OPEN:
        report(vb, v, o, ts, EXEC_REJECTED, 0, 0, 0)
    elif r.type >= STOP and (b.last_px == UNPRINTED or o.side * (b.last_px - o.stop_px) < 0):
        report(vb, v, o, ts, EXEC_NEW, 0, 0, 0)
        o.stopped = 1
        o.live = 1
        o.prev = -1
        o.next = b.stops
        if b.stops >= 0:
            orders(vb, v)[b.stops].prev = slot
        b.stops = slot
        b.n_resting += 1
        v.resting += 1
    else:
        arrive(vb, v, b, slot, ts, True)


@fn
def change(vb, v, b, r, ts):
    """A replace: new total quantity and price. Time priority survives only a smaller quantity at the same price."""
    apart()
    slot = r.handle & SLOT_MASK
    o = orders(vb, v)[slot]
    px = o.px if o.type == MARKET or o.type == STOP else r.px
    if r.qty <= o.cum or (not o.stopped and abs(px) != NEVER and meets_own(vb, v, b, o, px)):
        report(vb, v, o, ts, EXEC_REPLACE_REJECTED, 0, 0, 0)
        return
    report(vb, v, o, ts, EXEC_REPLACED, r.qty, r.px, 0)
    leaves = r.qty - o.cum
    if o.stopped:
        o.px = px
        o.stop_px = r.stop_px
        o.leaves = leaves
    elif px == o.px and leaves <= o.leaves:
        o.leaves = leaves
    else:
        unlink(vb, v, b, slot)
        o.px = px
        o.leaves = leaves
        v.seq += 1
        o.seq = v.seq
        marketable = sz_of(b, -o.side) > 0 and o.side * (o.px - px_of(b, -o.side)) >= 0
        if marketable and o.flags & POST_ONLY:
            report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, 0)
            return
        if marketable and v.profile == HFTBACKTEST:
            b.position += o.side * leaves
            fill(vb, v, o, ts, leaves, px_of(b, -o.side), False)
            return
        if marketable and trades(b):
            take(vb, v, b, o, ts)
        if o.leaves > 0:
            rest(vb, v, b, slot)


@entry
def on_request(vb, ts):
    """The oldest request in flight reaches the venue at `ts`."""
    v = header(vb)
    r = requests(vb, v)[v.request_head & (v.requests_n - 1)]
    v.request_head += 1
    v.c_requests += 1
    b = books(vb, v)[r.instrument]
    if r.kind == CMD_NEW:
        open_new(vb, v, b, r, ts)
        return 0
    slot = r.handle & SLOT_MASK
    o = orders(vb, v)[slot]
    if o.handle != r.handle or not o.live:
        # too late: it has traded or expired, and that report is on its way
        o_handle = o.handle
        o.handle = r.handle
        report(vb, v, o, ts, EXEC_CANCEL_REJECTED if r.kind == CMD_CANCEL else EXEC_REPLACE_REJECTED, 0, 0, 0)
        o.handle = o_handle
        v.c_cancel_rejected += 1
    elif r.kind == CMD_CANCEL:
        unlink(vb, v, b, slot)
        report(vb, v, o, ts, EXEC_CANCELED, 0, 0, 0)
    else:
        change(vb, v, b, r, ts)
    return 0
