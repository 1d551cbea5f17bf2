"""Resting orders against market data: what the market's rows do to our place in the queue.

`realistic`: prints fill at most their size; orders of ours at one price share one queue; only prints move the queue forward
(risk-averse), and it never is longer than what is displayed; a touch that comes to our price fills us up to its displayed size.

`hftbacktest`: the rules of its no-partial-fill exchange, exactly: full fills, sizes of touch and print ignored.
"""

from __future__ import annotations

from replay.events import BAR, CLEAR, CLOSED, DEPTH, EVENT, FILLS, HALTED, LAST, OPEN, PHASE, QUOTE, SETS_LAST, STATUS, TRADE
from replay.kernel.fixed import log
from replay.kernel.memory import apart, at, entry, fn, hot
from replay.kernel.touch import display_level, px_of, sz_of
from replay.trader.layout import GTC, LEVEL_BARS, LEVEL_L1, LEVEL_L2, LIMIT, MARKET, REDUCE_ONLY, STOP, STOP_LIMIT
from replay.trader.orders import EXEC_EXPIRED
from replay.venue.bars import close_on_orders
from replay.venue.book import apply_row, display_quote, set_phase
from replay.venue.layout import (
    HFTBACKTEST,
    PROB_LOG,
    PROB_LOG2,
    PROB_POWER,
    PROB_POWER2,
    RISK_AVERSE,
    bars,
    books,
    header,
    orders,
)
from replay.venue.matching import arrive, consume, take
from replay.venue.reports import fill, report
from replay.venue.resting import reducible, trades, unlink


@fn
def finish(vb, v, b, slot):
    """Take a completely filled order off the book."""
    apart()
    if orders(vb, v)[slot].leaves == 0:
        unlink(vb, v, b, slot)


@fn
def touch_came(vb, v, b, side, ts):
    """The displayed other side may have reached resting orders of `side`: they trade at their own price, up to its size.

    Market orders waiting for liquidity trade at its price.
    """
    apart()
    table = orders(vb, v)
    other = -side
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        following = o.next
        if sz_of(b, other) == 0 or side * (o.px - px_of(b, other)) < 0:
            return
        if o.type == MARKET or o.type == STOP:
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
            report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, 0)
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
            if through < 0 or o.type == MARKET or o.type == STOP:
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
def elect(vb, v, b, e):
    """Stops whose price a print reached become market or limit orders, in arrival order."""
    apart()
    table = orders(vb, v)
    while True:
        chosen = -1
        slot = b.stops
        while slot >= 0:
            o = table[slot]
            if o.side * (e.a - o.stop_px) >= 0 and (chosen < 0 or o.seq < table[chosen].seq):
                chosen = slot
            slot = o.next
        if chosen < 0:
            return
        unlink(vb, v, b, chosen)
        table[chosen].type = LIMIT if table[chosen].type == STOP_LIMIT else MARKET
        arrive(vb, v, b, chosen, e.ts_event, False)


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
                report(vb, v, o, ts, EXEC_EXPIRED, 0, 0, 0)
            slot = following


# --- hftbacktest's exchange -------------------------------------------------------------------------------------------------
@fn
def front_probability(v, front, back):
    """Probability that a cancel at our price was behind us (its five probability models); both arguments are not negative."""
    apart()
    if v.queue == PROB_LOG:
        f = log(1.0 + front)
        k = log(1.0 + back)
        return k / (k + f) if k + f > 0.0 else 1.0
    if v.queue == PROB_LOG2:
        d = log(1.0 + back + front)
        return log(1.0 + back) / d if d > 0.0 else 1.0
    if v.queue == PROB_POWER:
        f = power(front, v.queue_n)
        k = power(back, v.queue_n)
        return k / (k + f) if k + f > 0.0 else 1.0
    if front + back <= 0.0:
        return 1.0
    if v.queue == PROB_POWER2:
        return power(back, v.queue_n) / power(back + front, v.queue_n)
    return 1.0 - power(front / (front + back), v.queue_n)


@fn
def power(x, n):
    """x to a small whole power by multiplication, the same bits everywhere."""
    apart()
    out = 1.0
    for _ in range(int(n)):
        out *= x
    return out


@hot
def hft_depth(vb, v, b, side, px, was, size):
    """A depth change at one price moves the queue of our orders there."""
    table = orders(vb, v)
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        if o.px == px:
            if v.queue == RISK_AVERSE:
                o.ahead_f = min(o.ahead_f, float(size))
            else:
                hft_canceled(v, o, was, size)
        slot = o.next


@fn
def hft_canceled(v, o, was, size):
    """What left our price without a print was ahead of us or behind, as the model says."""
    apart()
    chg = float(was - size) - o.traded_f
    o.traded_f = 0.0
    if chg < 0.0:
        o.ahead_f = min(o.ahead_f, float(size))
    else:
        front = o.ahead_f
        back = float(was) - front
        p = front_probability(v, max(front, 0.0), max(back, 0.0))
        est = front - (1.0 - p) * chg + min(back - p * chg, 0.0)
        o.ahead_f = min(est, float(size))


@fn
def hft_best(vb, v, b, side, ts):
    """The best of the other side improved to or through our price: full fill at our price."""
    apart()
    table = orders(vb, v)
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        following = o.next
        if sz_of(b, -side) == 0 or side * (o.px - px_of(b, -side)) < 0:
            return
        hft_fill(vb, v, b, slot, ts)
        slot = following


@fn
def hft_fill(vb, v, b, slot, ts):
    apart()
    o = orders(vb, v)[slot]
    qty = o.leaves
    b.position += o.side * qty
    fill(vb, v, o, ts, qty, o.px, True)
    unlink(vb, v, b, slot)


@hot
def hft_print(vb, v, b, e):
    table = orders(vb, v)
    side = -e.side
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        following = o.next
        through = side * (o.px - e.a)
        if through < 0:
            return
        if through == 0:
            o.ahead_f -= float(e.b)
            o.traded_f += float(e.b)
        # its "round(-ahead / lot) > 0" in whole lots is: more than half a lot past the front
        if through > 0 or o.ahead_f < -0.5:
            hft_fill(vb, v, b, slot, e.ts_event)
        slot = following


@fn
def hft_quote(vb, v, b, e):
    """An L1 quote under hftbacktest's rules: both sides as levels of their own."""
    apart()
    bid_was = b.bid_sz if b.bid_px == e.a else 0
    ask_was = b.ask_sz if b.ask_px == e.c else 0
    display_quote(b, e)
    hft_depth(vb, v, b, 1, b.bid_px, bid_was, b.bid_sz)
    hft_depth(vb, v, b, -1, b.ask_px, ask_was, b.ask_sz)


# --- one row of market data where orders of ours rest -------------------------------------------------------------------------
@hot
def concerns_level(b, k, rank):
    """Whether an L2 row of side `k`, already displayed, can concern an order of ours: at its price, or crossed by the touch."""
    if rank <= b.best_rank[k] and rank >= b.worst_rank[k]:
        return True
    return (b.ask_sz > 0 and b.best_rank[0] >= b.ask_px) or (b.bid_sz > 0 and b.best_rank[1] >= -b.bid_px)


@hot
def concerns_trade(b, e):
    """Whether a print reaches an order of ours."""
    return b.best_rank[0] >= e.a or b.best_rank[1] >= -e.a or b.stops >= 0


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
        return
    if e.c != CLEAR:
        queue_shown(vb, v, b, e.side, e.a, e.b)
    if e.flags & LAST:
        came(vb, v, b, e.ts_event)


@fn
def came(vb, v, b, ts):
    """After a message: whom the touch reached."""
    apart()
    if trades(b):
        touch_came(vb, v, b, 1, ts)
        touch_came(vb, v, b, -1, ts)


@fn
def on_row(vb, v, b, e):
    """Any other row while orders of ours rest in its instrument."""
    apart()
    if e.kind == PHASE:
        set_phase(vb, v, e.side)
        table = books(vb, v)
        for k in range(v.books_n):
            if e.side == CLOSED:
                expire_day(vb, v, table[k], e.ts_event)
            elif v.profile != HFTBACKTEST and table[k].n_resting > 0:
                came(vb, v, table[k], e.ts_event)  # what was displayed before the open may trade now
    elif e.kind == STATUS:
        b.status = HALTED if e.side == HALTED else 0
        if v.profile != HFTBACKTEST:
            came(vb, v, b, e.ts_event)
    elif e.kind == QUOTE and b.level == LEVEL_L1:
        if v.profile == HFTBACKTEST:
            hft_quote(vb, v, b, e)
            hft_best(vb, v, b, 1, e.ts_event)
            hft_best(vb, v, b, -1, e.ts_event)
            return
        display_quote(b, e)
        v.c_crossed += b.crossed
        if not b.crossed:
            queue_shown(vb, v, b, 1, e.a, e.b)  # as the feed shows it: what we took is no sign that nobody stands there
            queue_shown(vb, v, b, -1, e.c, e.d)
        if e.flags & LAST:
            came(vb, v, b, e.ts_event)
    elif e.kind == TRADE:
        if v.profile == HFTBACKTEST:
            if e.side != 0:
                hft_print(vb, v, b, e)
        elif e.flags & FILLS and b.phase == OPEN and b.status != HALTED:
            printed(vb, v, b, e)
        if e.flags & SETS_LAST:
            b.last_px = e.a
            if b.stops >= 0 and b.phase == OPEN and b.status != HALTED:
                elect(vb, v, b, e)
    elif e.kind == BAR and b.level == LEVEL_BARS and e.side == bars(vb, v)[e.instrument].interval:
        close_on_orders(vb, v, b, e)


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
