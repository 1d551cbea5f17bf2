"""How orders are done: slots and requests. What the venue answers is in `replay.trader.reports`.

A handle is ordinal << 20 | slot: unique for ever, found without a search, and the same order in every run because the ordinal
counts. A replace chain keeps one handle. Slots of finished orders are reused oldest first, after `tombstone_ns` and once the venue
has answered what was asked about them.
"""

from __future__ import annotations

from replay.kernel.memory import apart, at, entry, fn, hot
from replay.trader.layout import (
    ACTIVE,
    CANCELING,
    CMD_CANCEL,
    CMD_NEW,
    CMD_REPLACE,
    COMMAND,
    ENDED,
    ENGINE,
    KILLED,
    MARKET,
    NO_GROUP,
    NO_REQUEST,
    OCO_LEG,
    REDUCE_ONLY,
    REPLACING,
    SLOT_BITS,
    SLOT_MASK,
    STOP,
    header,
    limits,
    orders,
    positions,
    strategies,
    views,
    words,
)
from replay.trader.orders import (
    CANCELED,
    EXPIRED,
    FILLED,
    FREE,
    NEW,
    SUBMITTED,
    finished,
)
from replay.trader.output import OUT_CANCEL, OUT_NEW, OUT_REPLACE, chain, emit, emit_seen
from replay.trader.timers import arm


# --- slots and exposure -----------------------------------------------------------------------------------------------------
@hot
def expected(o):
    """Whether a report of a finished order is still to come: a fill the venue has told of, or the answer to a request."""
    return o.exposed != 0 or o.request != NO_REQUEST


@hot
def room(tb, h, n):
    """Whether `n` orders can be opened: slots past their tombstone beside the reserve, and commands that fit."""
    beside = h.orders_n - h.reserve - h.live
    if n > beside or not spare(tb, h):
        return False
    table = orders(tb, h)
    slot = h.free_head
    for _ in range(n):
        o = table[slot]
        if expected(o) or (o.handle != 0 and h.now - o.t_last < h.tombstone_ns):
            return False
        slot = o.next
    return h.cmd_n + n <= h.commands_n - h.orders_n


@fn
def spare(tb, h):
    """Whether one order can be opened by the engine itself, which does not wait for a tombstone: the head of the free list then
    is a slot nothing is expected for. What is kept of the commands is one cancel an order."""
    apart()
    if h.cmd_n >= h.commands_n - h.orders_n:
        return False
    table = orders(tb, h)
    for _ in range(h.orders_n):  # a slot that something is expected for goes to the back of the line
        head = h.free_head
        if head < 0 or not expected(table[head]) or head == h.free_tail:
            break
        h.free_head = table[head].next
        table[h.free_tail].next = head
        table[head].next = -1
        h.free_tail = head
    return h.free_head >= 0 and not expected(table[h.free_head])


@entry
def open_order(tb, strategy, instrument, side, qty, px, stop_px, kind, tif, flags, intent_id):
    """Take a slot for an order in state NEW (not sent, not exposed) and return its handle. `room` was asked before."""
    h = header(tb)
    table = orders(tb, h)
    slot = h.free_head
    o = table[slot]
    h.free_head = o.next
    if h.free_head < 0:
        h.free_tail = -1
    h.ordinal += 1
    h.live += 1
    o.handle = h.ordinal << SLOT_BITS | slot
    o.px = px
    o.stop_px = stop_px
    o.qty = qty
    o.cum = 0
    o.paid = 0
    o.exposed = 0
    o.new_qty = 0
    o.new_px = 0
    o.intent_id = intent_id
    o.exec_seq = -1
    o.undone = 0
    o.undone_ts = 0
    o.t_sent = h.now
    o.t_last = h.now
    o.sibling = 0
    o.second = 0
    o.group_qty = 0
    o.instrument = instrument
    o.strategy = strategy
    o.state = NEW
    o.side = side
    o.type = kind
    o.tif = tif
    o.flags = flags
    o.request = NO_REQUEST
    o.waiting = NO_REQUEST
    o.group = NO_GROUP
    v = views(tb, h)[instrument]
    o.prev = -1
    o.next = v.orders
    if v.orders >= 0:
        table[v.orders].prev = slot
    v.orders = slot
    return o.handle


@fn
def close_order(tb, h, o, state):
    """An order is finished: off the instrument's list, its slot to the end of the free list. A request that is out stays noted."""
    apart()
    table = orders(tb, h)
    slot = o.handle & SLOT_MASK
    o.state = state
    o.waiting = NO_REQUEST
    v = views(tb, h)[o.instrument]
    if o.prev >= 0:
        table[o.prev].next = o.next
    else:
        v.orders = o.next
    if o.next >= 0:
        table[o.next].prev = o.prev
    o.next = -1
    o.prev = -1
    if h.free_tail >= 0:
        table[h.free_tail].next = slot
    else:
        h.free_head = slot
    h.free_tail = slot
    h.live -= 1
    if state == FILLED:
        h.c_filled += 1
    elif state == CANCELED:
        h.c_canceled += 1
    elif state == EXPIRED:
        h.c_expired += 1
    else:
        h.c_rejected += 1


@fn
def expose(tb, h, o, lots):
    """Count `lots` of the order against the limits."""
    change = lots - o.exposed
    if change == 0:
        return
    o.exposed = lots
    v = views(tb, h)[o.instrument]
    p = positions(tb, h)[(1 + o.strategy) * h.n_instruments + o.instrument]
    if o.side > 0:
        v.buying += change
        p.buying += change
    else:
        v.selling += change
        p.selling += change


@hot
def find(tb, h, handle):
    """Slot of a handle that is still known, -1 otherwise."""
    slot = handle & SLOT_MASK
    if handle == 0 or slot >= h.orders_n:
        return -1
    return slot if orders(tb, h)[slot].handle == handle else -1


@fn
def left(o):
    """Lots an order may still trade by itself: the larger leg of a replace."""
    total = o.qty
    if o.request == REPLACING:
        total = max(total, o.new_qty)
    if o.waiting == REPLACING:
        total = max(total, o.next_qty)
    return total - o.cum


@fn
def partner(tb, h, o):
    """Slot of the other leg of a pair that is not finished, -1 where there is none."""
    if o.group <= ENDED:
        return -1
    slot = find(tb, h, o.sibling)
    return slot if slot >= 0 and not finished(orders(tb, h)[slot].state) else -1


@fn
def is_exit(o):
    """Whether an order is there only to reduce: of a bracket or pair, or reduce-only and no market order, which closes at once."""
    return o.group > ENDED or (o.flags & (REDUCE_ONLY | ENGINE) == REDUCE_ONLY and o.type != MARKET)


@fn
def worst(tb, h, o):
    """Lots of a working order that may still trade. Of a one-cancels-other pair the leg that was opened first counts, with the larger of both."""
    slot = partner(tb, h, o)
    if slot < 0:
        return left(o)
    return 0 if o.handle > o.sibling else max(left(o), left(orders(tb, h)[slot]))


@fn
def recount(tb, h, o):
    """What an order, or its pair, counts with after a request about it."""
    slot = partner(tb, h, o)
    if slot < 0:
        expose(tb, h, o, left(o))
        return
    expose(tb, h, o, worst(tb, h, o))
    other = orders(tb, h)[slot]
    if other.state != NEW:
        expose(tb, h, other, worst(tb, h, other))


@hot
def movable_px(o):
    """The price of an order that a replace moves."""
    return o.stop_px if o.type == STOP else o.px


@hot
def wanted_qty(o):
    """The quantity an order is to have once everything asked for is granted."""
    if o.waiting == REPLACING:
        return o.next_qty
    return o.new_qty if o.request == REPLACING else o.qty


@hot
def wanted_px(o):
    """The same of its price (`movable_px`)."""
    if o.waiting == REPLACING:
        return o.next_px
    return o.new_px if o.request == REPLACING else movable_px(o)


# --- requests ---------------------------------------------------------------------------------------------------------------
@entry
def send(tb, slot, kind, qty, px):
    """Put one command into the outbox, count it, chain it into the digest. `px` is what a replace moves; see `movable_px`."""
    h = header(tb)
    o = orders(tb, h)[slot]
    stop_px = o.stop_px
    if o.type == STOP:
        stop_px = px
        px = o.px
    c = at(tb + h.commands_at, h.commands_n, COMMAND)[h.cmd_n]
    h.cmd_n += 1
    c.handle = o.handle
    c.ordinal = o.handle >> SLOT_BITS
    c.qty = qty
    c.px = px
    c.stop_px = stop_px
    c.instrument = o.instrument
    c.strategy = o.strategy
    c.kind = kind
    c.side = o.side
    c.type = o.type
    c.tif = o.tif
    c.flags = o.flags
    c.ts = h.now
    o.t_last = h.now
    l = limits(tb, h)[0]
    caller = h.strategy
    h.strategy = o.strategy  # the output records are its own, whoever runs now
    if l.max_messages > 0:
        words(tb, h.message_times_at, h.message_times_n)[h.n_messages % l.max_messages] = h.now
    h.n_messages += 1
    h.attend = 1
    chain(h, c.ordinal << 8 | kind << 4 | (o.side + 1), o.instrument << 16 | o.type << 8 | o.tif << 4 | o.flags, qty, px, stop_px)
    if kind == CMD_NEW:
        if l.max_quote_age_ns > 0:
            arm(tb, h, h.now + l.max_quote_age_ns + 1)
        if l.max_orders > 0:
            words(tb, h.order_times_at, h.order_times_n)[h.n_sent % l.max_orders] = h.now
        h.n_sent += 1
        h.c_new += 1
        strategies(tb, h)[o.strategy].orders += 1
        emit(
            h,
            o.strategy,
            OUT_NEW,
            o.side,
            o.type << 8 | o.tif << 4 | o.flags,
            o.instrument,
            o.intent_id,
            o.handle,
            qty,
            px,
            stop_px,
        )
        v = views(tb, h)[o.instrument]
        emit_seen(h, v, 0, o.handle, v.bid_px, v.ask_px)
    elif kind == CMD_REPLACE:
        h.c_replace += 1
        emit(h, o.strategy, OUT_REPLACE, o.side, 0, o.instrument, 0, o.handle, qty, px, stop_px)
    else:
        h.c_cancel += 1
        emit(h, o.strategy, OUT_CANCEL, o.side, 0, o.instrument, 0, o.handle, o.qty - o.cum, px, 0)
    h.strategy = caller
    return 0


@fn
def submit(tb, h, o):
    """Send an order that was opened: pending in every view and limit from here on."""
    o.state = SUBMITTED
    o.t_sent = h.now
    expose(tb, h, o, worst(tb, h, o))
    send(tb, o.handle & SLOT_MASK, CMD_NEW, o.qty, movable_px(o))


@fn
def cancel(tb, h, o):
    """Ask for an order's cancellation; one request is outstanding at a time, a cancel waits behind a replace."""
    apart()
    if o.state == NEW:
        expose(tb, h, o, 0)
        close_order(tb, h, o, CANCELED)
    elif o.request == NO_REQUEST:
        o.request = CANCELING
        o.waiting = NO_REQUEST
        send(tb, o.handle & SLOT_MASK, CMD_CANCEL, 0, movable_px(o))
    elif o.request == REPLACING:
        o.waiting = CANCELING
        recount(tb, h, o)  # what waited there is given up


@fn
def replace(tb, h, o, qty, px):
    """Ask for a new quantity and price (`movable_px`); the latest further wish waits behind what is outstanding."""
    apart()
    if o.request == NO_REQUEST:
        o.request = REPLACING
        o.waiting = NO_REQUEST
        o.new_qty = qty
        o.new_px = px
        send(tb, o.handle & SLOT_MASK, CMD_REPLACE, qty, px)
    elif o.request == REPLACING and o.waiting != CANCELING:
        o.waiting = REPLACING
        o.next_qty = qty
        o.next_px = px
    recount(tb, h, o)


@fn
def answered(tb, h, o):
    """The outstanding request has its answer: send what waited."""
    apart()
    o.request = NO_REQUEST
    wanted = o.waiting
    o.waiting = NO_REQUEST
    if wanted == CANCELING or (wanted == REPLACING and (h.state == KILLED or o.next_qty <= o.cum)):
        cancel(tb, h, o)  # of a total that has traded meanwhile nothing is left
    elif wanted == REPLACING and (h.state == ACTIVE or o.next_qty < o.qty or ENDED < o.group < OCO_LEG):
        replace(tb, h, o, o.next_qty, o.next_px)
    recount(tb, h, o)


@fn
def cancel_all(tb, h, instrument, strategy):
    """Cancel every working order (of one instrument or strategy where not negative); returns how many were asked."""
    apart()
    table = orders(tb, h)
    n = 0
    for slot in range(h.orders_n):
        o = table[slot]
        if o.state == FREE or finished(o.state) or o.request == CANCELING or o.waiting == CANCELING:
            continue
        if o.flags & ENGINE and strategy >= 0:
            continue  # the flattener is nobody's to cancel but the operator's
        if (instrument < 0 or o.instrument == instrument) and (strategy < 0 or o.strategy == strategy):
            cancel(tb, h, o)
            n += 1
    return n
