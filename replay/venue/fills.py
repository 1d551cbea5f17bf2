"""Resting orders against market data: what the market's rows do to our place in the queue.

`realistic`: prints fill at most their size; orders of ours at one price share one queue; only prints move the queue forward
(risk-averse), and it never is longer than what is displayed; a touch that comes to our price fills us up to its displayed size.

Where there are prints and no quotes, prints are what executes (`printed_alone`). The rules of `hftbacktest` are in `replay.venue.hft`.
"""

from __future__ import annotations

from replay.events import BAR, CLEAR, CLOSED, DEPTH, EVENT, FILLS, HALTED, LAST, OPEN, PHASE, QUOTE, SETS_LAST, STATUS, TRADE
from replay.kernel.memory import apart, at, entry, fn, hot
from replay.kernel.touch import display_level, px_of, sz_of
from replay.trader.layout import (
    FOK,
    GTC,
    IOC,
    LEVEL_BARS,
    LEVEL_L1,
    LEVEL_L2,
    MARKET,
    REDUCE_ONLY,
    STOP,
)
from replay.trader.orders import EXEC_EXPIRED, WHY_NOT_AT_ONCE, WHY_REDUCE_ONLY, WHY_SESSION_CLOSED
from replay.venue.book import apply_row, close_bar, display_quote, set_phase
from replay.venue.hft import hft_best, hft_depth, hft_print, hft_quote
from replay.venue.layout import (
    HFTBACKTEST,
    books,
    header,
    orders,
)
from replay.venue.matching import consume, take
from replay.venue.reports import fill, report
from replay.venue.resting import meets_own, observe, reducible, stand_down, trades, unlink
from replay.venue.stops import elect, elect_by_display


@fn
def finish(vb, v, b, slot):
    """Take a completely filled order off the book."""
    apart()
    if orders(vb, v)[slot].leaves == 0:
        unlink(vb, v, b, slot)


@fn
def touch_came(vb, v, b, side, ts):
    """The displayed other side may have reached orders of `side`: those that others come to trade at their own price, those that
    wait for displays, market orders and what is left of marketable limit orders, at its price; all up to its size."""
    apart()
    table = orders(vb, v)
    other = -side
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        following = o.next
        if sz_of(b, other) == 0 or side * (o.px - px_of(b, other)) < 0:
            return
        if o.type == MARKET or o.type == STOP or not o.passive:
            take(vb, v, b, o, ts)
        else:
            while o.leaves > 0 and sz_of(b, other) > 0 and side * (o.px - px_of(b, other)) >= 0:
                qty = min(o.leaves, sz_of(b, other))
                if o.flags & REDUCE_ONLY:
                    qty = min(qty, reducible(b, o))
                    if qty == 0:
                        break
                consume(vb, v, b, o.instrument, other, qty)
                b.position += side * qty
                fill(vb, v, o, ts, qty, o.px, True)
        if o.leaves > 0 and o.flags & REDUCE_ONLY and reducible(b, o) == 0:
            unlink(vb, v, b, slot)
            report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_REDUCE_ONLY)
        else:
            finish(vb, v, b, slot)
        slot = following


@fn
def queue_shown(vb, v, b, side, px, size):
    """The display at our price changed: nobody is ahead of us who is not displayed."""
    apart()
    table = orders(vb, v)
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        if o.px == px and (o.ahead < 0 or size < o.ahead):
            o.ahead = size
        elif b.level == LEVEL_L1 and (size == 0 or side * (o.px - px) > 0):
            o.ahead = 0  # the touch has fallen behind our price: nobody is displayed there
        slot = o.next


@fn
def printed(vb, v, b, e):
    """A print: it eats the queue at its price from the front, market first and our own in their order, and no more than its size."""
    apart()
    side = -e.side  # resting orders on the side the aggressor hit
    table = orders(vb, v)
    volume = e.b
    taken = 0  # of the print, by our own orders
    for k in range(2):
        s = 1 if k == 0 else -1
        if side != 0 and s != side:
            continue
        slot = b.resting[k]
        while slot >= 0 and volume > taken:
            o = table[slot]
            following = o.next
            through = s * (o.px - e.a)
            if through < 0 or o.type == MARKET or o.type == STOP or not o.passive:
                if through < 0:
                    break
                slot = following
                continue
            if through > 0:
                eaten = 0
            else:
                eaten = min(max(o.ahead, 0), volume - taken) if o.ahead >= 0 else volume - taken
                if o.ahead > 0:
                    o.ahead -= eaten
            qty = min(o.leaves, volume - taken - eaten)
            if o.flags & REDUCE_ONLY:
                qty = min(qty, reducible(b, o))
            if qty > 0:
                taken += qty
                b.position += s * qty
                fill(vb, v, o, e.ts_event, qty, o.px, True)
                finish(vb, v, b, slot)
            slot = following


@fn
def printed_alone(vb, v, b, e):
    """A print where nothing is displayed: it is what executes. Orders that take trade at its price, whoever was its aggressor; those
    that others come to at their own, where it goes through that: how many stand before them at a price is not known. All together
    trade no more than its size. IOC and FOK orders get one print."""
    apart()
    table = orders(vb, v)
    left = e.b
    for k in range(2):
        s = 1 if k == 0 else -1
        slot = b.resting[k]
        while slot >= 0:
            o = table[slot]
            following = o.next
            through = s * (o.px - e.a)
            taker = o.type == MARKET or o.type == STOP or not o.passive
            px = e.a if taker else o.px
            qty = 0
            if (taker and through >= 0) or (through > 0 and e.side != s):
                qty = min(o.leaves, left)
            if o.flags & REDUCE_ONLY:
                qty = min(qty, reducible(b, o))
            if o.tif == FOK and qty < o.leaves:
                qty = 0
            if qty > 0 and not (taker and meets_own(vb, v, b, o, px)):
                left -= qty
                b.position += s * qty
                fill(vb, v, o, e.ts_event, qty, px, not taker)
            over = o.tif == IOC or o.tif == FOK or (through >= 0 and o.flags & REDUCE_ONLY and reducible(b, o) == 0)
            if o.leaves > 0 and over:
                unlink(vb, v, b, slot)
                report(vb, v, o, e.ts_event, EXEC_EXPIRED, 0, 0, WHY_NOT_AT_ONCE)
            else:
                finish(vb, v, b, slot)
            slot = following


@fn
def expire_day(vb, v, b, ts):
    """The session closed: day orders expire."""
    apart()
    table = orders(vb, v)
    for k in range(3):
        slot = b.stops if k == 2 else b.resting[k]
        while slot >= 0:
            o = table[slot]
            following = o.next
            if o.tif != GTC:
                unlink(vb, v, b, slot)
                report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, WHY_SESSION_CLOSED)
            slot = following


# --- one row of market data where orders of ours rest -------------------------------------------------------------------------
@hot
def concerns_level(b, k, rank):
    """Whether an L2 row of side `k`, already displayed, can concern an order of ours: at its price, or crossed by the touch."""
    if (rank <= b.best_rank[k] and rank >= b.worst_rank[k]) or b.attends:
        return True
    return (b.ask_sz > 0 and b.best_rank[0] >= b.ask_px) or (b.bid_sz > 0 and b.best_rank[1] >= -b.bid_px)


@hot
def concerns_trade(b, e):
    """Whether a print reaches an order of ours."""
    return b.best_rank[0] >= e.a or b.best_rank[1] >= -e.a or b.stops >= 0 or b.attends


@fn
def on_level(vb, v, b, e, was):
    """An L2 row that concerns us, already displayed; `was`: the size before at its price."""
    apart()
    if v.profile == HFTBACKTEST:
        if e.c != CLEAR:
            hft_depth(vb, v, b, e.side, e.a, was, e.b)
        if b.ask_sz > 0 and b.best_rank[0] >= b.ask_px:
            hft_best(vb, v, b, 1, e.ts_event)
        if b.bid_sz > 0 and b.best_rank[1] >= -b.bid_px:
            hft_best(vb, v, b, -1, e.ts_event)
        if b.by_display and b.stops >= 0 and trades(b):
            elect_by_display(vb, v, b, e.ts_event)
        return
    if e.c != CLEAR:
        queue_shown(vb, v, b, e.side, e.a, e.b)
    if e.flags & LAST:
        shown(vb, v, b, e.ts_event)


@fn
def came(vb, v, b, ts):
    """Whom the touch reached."""
    apart()
    if trades(b):
        if b.by_display and b.stops >= 0:
            elect_by_display(vb, v, b, ts)
        touch_came(vb, v, b, 1, ts)
        touch_came(vb, v, b, -1, ts)


@fn
def shown(vb, v, b, ts):
    """After a message that displayed something: whom the touch reached, and who stood beyond it."""
    apart()
    came(vb, v, b, ts)
    if b.attends and trades(b):
        observe(vb, v, b)


@fn
def on_row(vb, v, b, e):
    """Any other row while orders of ours rest in its instrument."""
    apart()
    if e.kind == PHASE:
        set_phase(vb, v, e.side)
        table = books(vb, v)
        for k in range(v.books_n):
            if e.side != OPEN:
                stand_down(vb, v, table[k])
            if e.side == CLOSED:
                expire_day(vb, v, table[k], e.ts_event)
            elif v.profile != HFTBACKTEST and table[k].n_resting > 0:
                came(vb, v, table[k], e.ts_event)  # what was displayed before the open may trade now
    elif e.kind == STATUS:
        b.status = HALTED if e.side == HALTED else 0
        if b.status == HALTED:
            stand_down(vb, v, b)
        if v.profile != HFTBACKTEST:
            came(vb, v, b, e.ts_event)
    elif e.kind == QUOTE and b.level == LEVEL_L1:
        if v.profile == HFTBACKTEST:
            hft_quote(vb, v, b, e)
            hft_best(vb, v, b, 1, e.ts_event)
            hft_best(vb, v, b, -1, e.ts_event)
            if b.by_display and b.stops >= 0 and trades(b):
                elect_by_display(vb, v, b, e.ts_event)
            return
        display_quote(b, e)
        v.c_crossed += b.crossed
        if not b.crossed:
            queue_shown(vb, v, b, 1, e.a, e.b)  # as the feed shows it: what we took is no sign that nobody stands there
            queue_shown(vb, v, b, -1, e.c, e.d)
        if e.flags & LAST:
            shown(vb, v, b, e.ts_event)
    elif e.kind == TRADE:
        if v.profile == HFTBACKTEST:
            if e.side != 0:
                hft_print(vb, v, b, e)
        elif e.flags & FILLS and b.phase == OPEN and b.status != HALTED:
            if b.by_print:
                printed_alone(vb, v, b, e)
            else:
                printed(vb, v, b, e)
        if e.flags & SETS_LAST:
            b.last_px = e.a
            if b.by_print and b.attends and trades(b):
                observe(vb, v, b)
            if b.stops >= 0 and b.phase == OPEN and b.status != HALTED:
                elect(vb, v, b, e)
    elif e.kind == BAR and b.level == LEVEL_BARS:
        close_bar(vb, v, b, e)


@hot
def feed_row(vb, v, b, e):
    """One row of the recording at the venue. Rows that cannot concern an order of ours only update the book."""
    kind = e.kind
    if kind == DEPTH and b.level == LEVEL_L2:
        k = 0 if e.side > 0 else 1
        rank = e.side * e.a
        was = display_level(vb, v, b, e)
        if concerns_level(b, k, rank):
            on_level(vb, v, b, e, was)
    elif kind == TRADE and not concerns_trade(b, e):
        if e.flags & SETS_LAST:
            b.last_px = e.a
    elif b.n_resting == 0 and kind != PHASE:
        apply_row(vb, v, b, e)
    else:
        on_row(vb, v, b, e)


@entry
def feed(vb, address):
    """`feed_row` for whoever drives a venue without the replay loop."""
    v = header(vb)
    e = at(address, 1, EVENT)[0]
    feed_row(vb, v, books(vb, v)[e.instrument], e)
    return 0
