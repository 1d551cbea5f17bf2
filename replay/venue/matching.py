"""Our orders at the venue: arrival, taking displayed liquidity, resting, cancel and replace. Profile `realistic`, and the arrival
rules of `hftbacktest`.

`realistic`: an order takes what is displayed and no more, walking levels where the data has them; what it took is gone until the
feed displays that price anew. The rest of a market order stays and takes each fresh display; IOC and FOK rests expire.
"""

from __future__ import annotations

from replay.events import OPEN, REPORT
from replay.kernel import ladder
from replay.kernel.memory import apart, entry, fn, hot
from replay.kernel.touch import px_of, side_ladder, sync, sz_of
from replay.trader.layout import (
    CMD_CANCEL,
    CMD_NEW,
    FOK,
    IOC,
    LEVEL_BARS,
    LEVEL_L1,
    LEVEL_L3,
    LIMIT,
    MARKET,
    POST_ONLY,
    REDUCE_ONLY,
    SLOT_MASK,
    STOP,
)
from replay.trader.orders import (
    EXEC_BUST,
    EXEC_CANCEL_REJECTED,
    EXEC_CANCELED,
    EXEC_CORRECT,
    EXEC_EXPIRED,
    EXEC_GONE,
    EXEC_NEW,
    EXEC_REJECTED,
    EXEC_REPLACE_REJECTED,
    EXEC_REPLACED,
    WHY_FILL_BUSTED,
    WHY_NEVER_ARRIVED,
    WHY_NOT_AT_ONCE,
    WHY_NOTHING_LEFT,
    WHY_PLANNED_FAULT,
    WHY_REDUCE_ONLY,
    WHY_SELF_TRADE,
    WHY_TOO_LATE,
    WHY_VENUE_CLOSED,
    WHY_WOULD_TAKE,
)
from replay.venue.bars import arrive_on_bars, join_bar, opened, stop_on_bars
from replay.venue.faults import redeliver, strikes
from replay.venue.layout import (
    BUST,
    CORRECT,
    HFTBACKTEST,
    LOOK_UP,
    PULL,
    PULL_ALL,
    REJECT,
    UNPRINTED,
    bars,
    books,
    header,
    orders,
    reports,
    requests,
)
from replay.venue.reports import fill, report
from replay.venue.resting import (
    NEVER,
    aside,
    link_resting,
    link_stop,
    meets,
    meets_own,
    own_market,
    reducible,
    stands,
    trades,
    unlink,
)


@fn
def take(vb, v, b, o, ts):
    """Trade against the displayed other side as far as price, size and reduce-only allow, and no further than an order of our own
    that is as good as the level: an exchange does not let one account trade with itself."""
    apart()
    other = -o.side
    while o.leaves > 0 and sz_of(b, other) > 0 and o.side * (o.px - px_of(b, other)) >= 0:
        px = px_of(b, other)
        if meets_own(vb, v, b, o, px):
            if o.stop_px == 0:
                return
            aside(vb, v, b, o, px, ts)
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


@hot
def displayed(vb, v, b, o):
    """Displayed lots at the order's own price; -1 where the data cannot know (L1, behind the touch; prints alone)."""
    if b.by_print:
        return -1
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
    o.passive = stands(b, o)
    link_resting(vb, v, b, slot)


@fn
def arrive(vb, v, b, slot, ts, new):
    """An order enters the book: take, then rest or expire. A stop that is elected (`new` false) was acknowledged before: what a
    new order is rejected for ends it as expired."""
    apart()
    refusal = EXEC_REJECTED if new else EXEC_EXPIRED
    o = orders(vb, v)[slot]
    marketable = meets(b, o.side, o.px)
    if marketable and o.flags & POST_ONLY:
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_WOULD_TAKE)
        return
    if v.profile == HFTBACKTEST:
        if marketable:
            qty = o.leaves
            b.position += o.side * qty
            fill(vb, v, o, ts, qty, px_of(b, -o.side), False)
        elif o.tif == IOC or o.tif == FOK or o.type == MARKET:
            report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_NOT_AT_ONCE)
        else:
            if new:
                report(vb, v, o, ts, EXEC_NEW, 0, 0, 0)
            rest(vb, v, b, slot)
        return
    if o.flags & REDUCE_ONLY and reducible(b, o) == 0:
        report(vb, v, o, ts, refusal, 0, 0, WHY_REDUCE_ONLY)
        return
    if o.tif == FOK and not b.by_print and available(vb, v, b, o) < o.leaves:
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_NOT_AT_ONCE)
        return
    if new:
        report(vb, v, o, ts, EXEC_NEW, 0, 0, 0)
    if trades(b):
        take(vb, v, b, o, ts)
    if o.leaves == 0:
        return
    # what is left may not wait where it would trade with an order of ours; a market order waits for others' displays
    opposed = own_market(vb, v, b, o) if abs(o.px) == NEVER else meets_own(vb, v, b, o, o.px)
    if (o.tif == IOC or o.tif == FOK) and not b.by_print:  # on prints alone "at once" is the next print
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_NOT_AT_ONCE)
        return
    if opposed and o.stop_px != 0:
        aside(vb, v, b, o, b.last_px if abs(o.px) == NEVER and b.last_px != UNPRINTED else o.px, ts)
        opposed = False
    if opposed or (o.flags & REDUCE_ONLY and reducible(b, o) == 0):
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_SELF_TRADE if opposed else WHY_REDUCE_ONLY)
        return
    rest(vb, v, b, slot)


@hot
def stop_met(b, side, stop_px):
    """Whether a stop that arrives has been reached: by the last print, where there are none by the touch that it would trade at."""
    if b.by_display:
        return sz_of(b, -side) > 0 and trades(b) and side * (px_of(b, -side) - stop_px) >= 0
    return b.last_px != UNPRINTED and side * (b.last_px - stop_px) >= 0


@hot
def late_on_bars(vb, v, b, r, ts):
    """Whether an order on bars arrives too late for the bar that has opened: the last price is that bar's open, which was before it."""
    return b.level == LEVEL_BARS and not opened(b, bars(vb, v)[r.instrument], ts)


@hot
def open_new(vb, v, b, r, ts):
    """A new order reaches the venue."""
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
    o.passive = 0
    closed = b.phase != OPEN
    shut = (closed and b.level != LEVEL_BARS) or b.level == LEVEL_L3
    if shut or (v.windows_n != 0 and strikes(vb, v, REJECT, ts, r.instrument, CMD_NEW, r.handle, 0) >= 0):
        report(vb, v, o, ts, EXEC_REJECTED, 0, 0, WHY_VENUE_CLOSED if shut else WHY_PLANNED_FAULT)
    elif r.type >= STOP and (closed or late_on_bars(vb, v, b, r, ts) or not stop_met(b, o.side, o.stop_px)):
        report(vb, v, o, ts, EXEC_NEW, 0, 0, 0)
        link_stop(vb, v, b, slot)
        if b.level == LEVEL_BARS:
            stop_on_bars(vb, v, b, o, ts)
    elif b.level == LEVEL_BARS:
        arrive_on_bars(vb, v, b, slot, ts)
    else:
        arrive(vb, v, b, slot, ts, True)


@fn
def change(vb, v, b, r, ts):
    """A replace: new total quantity and price; a total that has traded ends the order. Time priority survives only a smaller quantity at the same price."""
    apart()
    slot = r.handle & SLOT_MASK
    o = orders(vb, v)[slot]
    px = o.px if o.type == MARKET or o.type == STOP else r.px
    if r.qty <= o.cum:
        # it has traded what it is to be: it ends with that (FIX: OrderQty replaced up to CumQty)
        unlink(vb, v, b, slot)
        report(vb, v, o, ts, EXEC_CANCELED, 0, 0, WHY_NOTHING_LEFT)
        report(vb, v, o, ts, EXEC_REPLACE_REJECTED, 0, 0, WHY_NOTHING_LEFT)
        return
    if not o.stopped and abs(px) != NEVER and meets_own(vb, v, b, o, px):
        report(vb, v, o, ts, EXEC_REPLACE_REJECTED, 0, 0, WHY_SELF_TRADE)
        return
    report(vb, v, o, ts, EXEC_REPLACED, r.qty, r.px, 0)
    leaves = r.qty - o.cum
    if o.stopped:
        o.px = px
        o.stop_px = r.stop_px
        o.leaves = leaves
        if b.level == LEVEL_BARS:
            stop_on_bars(vb, v, b, o, ts)
    elif px == o.px and leaves <= o.leaves:
        o.leaves = leaves
    else:
        unlink(vb, v, b, slot)
        o.px = px
        o.leaves = leaves
        v.seq += 1
        o.seq = v.seq
        if b.level == LEVEL_BARS:
            join_bar(vb, v, b, slot, ts)
            return
        marketable = meets(b, o.side, o.px)
        if marketable and o.flags & POST_ONLY:
            report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_WOULD_TAKE)
            return
        if marketable and v.profile == HFTBACKTEST:
            b.position += o.side * leaves
            fill(vb, v, o, ts, leaves, px_of(b, -o.side), False)
            return
        if trades(b):
            take(vb, v, b, o, ts)
        if o.leaves > 0:
            rest(vb, v, b, slot)


@fn
def of_unknown(vb, v, o, r, ts, exec_type):
    """A report about an order that is not there (any more), said through whatever is in its slot."""
    handle = o.handle
    cum = o.cum
    instrument = o.instrument
    side = o.side
    o.handle = r.handle
    if handle != r.handle:
        o.cum = 0
    o.instrument = r.instrument
    o.side = r.side
    report(vb, v, o, ts, exec_type, 0, 0, WHY_TOO_LATE if v.answering == 0 else WHY_NEVER_ARRIVED)
    o.handle = handle
    o.cum = cum
    o.instrument = instrument
    o.side = side


@fn
def look_up(vb, v, r, ts):
    """We ask what became of an order: every report of it that was lost comes again, then how it stands, and what a request that
    never arrived came to (`type` says which it was)."""
    apart()
    v.answering = 1
    redeliver(vb, v, r.handle, ts)
    o = orders(vb, v)[r.handle & SLOT_MASK]
    live = o.handle == r.handle and o.live
    if live:
        report(vb, v, o, ts, EXEC_NEW, 0, 0, 0)
    if r.type == CMD_NEW:
        of_unknown(vb, v, o, r, ts, EXEC_GONE)
    elif r.type >= 0:
        exec_type = EXEC_CANCEL_REJECTED if r.type == CMD_CANCEL else EXEC_REPLACE_REJECTED
        of_unknown(vb, v, o, r, ts, exec_type)
    v.answering = 0


@fn
def pull_all(vb, v, r, ts):
    """The venue takes out what rests, of one instrument or of all."""
    apart()
    table = orders(vb, v)
    for slot in range(v.orders_n):
        o = table[slot]
        if o.live and (r.instrument < 0 or o.instrument == r.instrument):
            if strikes(vb, v, PULL, ts, o.instrument, CMD_NEW, o.handle, 0) >= 0:
                unlink(vb, v, books(vb, v)[o.instrument], slot)
                report(vb, v, o, ts, EXEC_CANCELED, 0, 0, WHY_PLANNED_FAULT)


@fn
def amend(vb, v, r, ts):
    """The venue takes a fill back, or names another price for it. An order that still rests has the lots to trade again; of one that
    is finished nobody trades the rest. An order that nobody knows any more stays as it is."""
    apart()
    o = orders(vb, v)[r.handle & SLOT_MASK]
    if o.handle != r.handle:
        return
    v.answering = 1  # nothing goes wrong with that
    tail = v.report_tail
    exec_id = v.exec_id
    if r.kind == CORRECT:
        report(vb, v, o, ts, EXEC_CORRECT, r.qty, r.px + o.side, 0)
    else:
        o.cum -= r.qty
        books(vb, v)[r.instrument].position -= o.side * r.qty
        if o.live:
            o.leaves += r.qty
        report(vb, v, o, ts, EXEC_BUST, r.qty, r.px, 0)
    named(vb, v, tail, exec_id + 1, r.stop_px)
    if r.kind == BUST and not o.live:
        report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_FILL_BUSTED)
    v.answering = 0


@fn
def named(vb, v, tail, was, exec_id):
    """Give the report with id `was`, among those up to `tail`, the id of the fill it is about."""
    ring = reports(vb, v)
    for k in range(v.report_head, tail + 1):
        if ring[k & (v.reports_n - 1)].id == was and ring[k & (v.reports_n - 1)].kind == REPORT:
            ring[k & (v.reports_n - 1)].id = exec_id


@entry
def on_request(vb, ts):
    """The oldest request in flight reaches the venue at `ts`."""
    v = header(vb)
    r = requests(vb, v)[v.request_head & (v.requests_n - 1)]
    v.request_head += 1
    if r.kind == LOOK_UP:
        look_up(vb, v, r, ts)
        return 0
    if r.kind == PULL_ALL:
        pull_all(vb, v, r, ts)
        return 0
    if r.kind == BUST or r.kind == CORRECT:
        amend(vb, v, r, ts)
        return 0
    v.c_requests += 1
    b = books(vb, v)[r.instrument]
    if r.kind == CMD_NEW:
        open_new(vb, v, b, r, ts)
        return 0
    slot = r.handle & SLOT_MASK
    o = orders(vb, v)[slot]
    if o.handle != r.handle or not o.live:
        # too late: it has traded or expired, and that report is on its way
        of_unknown(vb, v, o, r, ts, EXEC_CANCEL_REJECTED if r.kind == CMD_CANCEL else EXEC_REPLACE_REJECTED)
        v.c_cancel_rejected += 1
    elif r.kind == CMD_CANCEL:
        unlink(vb, v, b, slot)
        report(vb, v, o, ts, EXEC_CANCELED, 0, 0, 0)
    else:
        change(vb, v, b, r, ts)
    return 0
