"""How orders are done: slots, requests, reports. A state machine without I/O; the table is `replay.trader.orders.TRANSITIONS`.

A handle is ordinal << 20 | slot: unique for ever, found without a search, and the same order in every run because the ordinal
counts. A replace chain keeps one handle. Slots of finished orders are reused oldest first, after `tombstone_ns` and once the venue
has answered what was asked about them.
"""

from __future__ import annotations

from replay.kernel.memory import apart, at, entry, fn, hot
from replay.trader import reasons as R
from replay.trader.layout import (
    ACTIVE,
    CANCELING,
    CMD_CANCEL,
    CMD_NEW,
    CMD_REPLACE,
    COMMAND,
    ENGINE,
    FILL,
    KILLED,
    NO_GROUP,
    NO_REQUEST,
    OCO_LEG,
    REPLACING,
    SLOT_BITS,
    SLOT_MASK,
    STOP,
    STOP_LOSS,
    header,
    limits,
    orders,
    positions,
    strategies,
    views,
    words,
)
from replay.trader.ledger import on_fill
from replay.trader.orders import (
    ACCEPTED,
    CANCELED,
    EXEC_BUST,
    EXEC_CANCEL_REJECTED,
    EXEC_CANCELED,
    EXEC_CORRECT,
    EXEC_GONE,
    EXEC_REJECTED,
    EXEC_REPLACE_REJECTED,
    EXEC_REPLACED,
    EXEC_TRADE,
    EXPIRED,
    FILLED,
    FREE,
    ILLEGAL,
    N_EXECS,
    NEW,
    PARTIAL,
    SAME,
    SUBMITTED,
    TERMINAL,
    TRANSITIONS,
    UNKNOWN,
)
from replay.trader.output import OUT_CANCEL, OUT_NEW, OUT_REPLACE, OUT_REPORT, chain, emit
from replay.trader.risk import halt, on_reject


# --- slots and exposure -----------------------------------------------------------------------------------------------------
@hot
def expected(o):
    """Whether a report of a finished order is still to come: a fill the venue has told of, or the answer to a request."""
    return o.exposed != 0 or o.request != NO_REQUEST


@fn
def room(tb, h, n):
    """Whether `n` orders can be opened: slots past their tombstone beside the reserve, and commands that fit."""
    beside = h.orders_n - h.reserve - h.live
    if n > beside or not spare(tb, h):
        return False
    table = orders(tb, h)
    slot = h.free_head
    for _ in range(n):
        if slot < 0:
            return False
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


@fn
def worst(tb, h, o):
    """Lots of a working order that may still trade: the larger leg of a replace. Of a one-cancels-other pair one leg counts."""
    if (o.group == STOP_LOSS or o.group == OCO_LEG) and o.sibling != 0 and o.handle > o.sibling:
        s = orders(tb, h)[o.sibling & SLOT_MASK]
        if s.handle == o.sibling and not TERMINAL[s.state]:
            return 0
    total = o.qty
    if o.request == REPLACING:
        total = max(total, o.new_qty)
    if o.waiting == REPLACING:
        total = max(total, o.next_qty)
    return total - o.cum


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


@hot
def find(tb, h, handle):
    """Slot of a handle that is still known, -1 otherwise."""
    slot = handle & SLOT_MASK
    if handle <= 0 or slot >= h.orders_n:
        return -1
    return slot if orders(tb, h)[slot].handle == handle else -1


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
        if l.max_orders > 0:
            words(tb, h.order_times_at, h.order_times_n)[h.n_sent % l.max_orders] = h.now
        h.n_sent += 1
        h.c_new += 1
        strategies(tb, h)[o.strategy].orders += 1
        emit(h, o.strategy, OUT_NEW, o.side, o.type << 8 | o.tif << 4 | o.flags, o.instrument, o.intent_id, o.handle, qty, px, stop_px)
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
        close_order(tb, h, o, CANCELED)
    elif o.request == NO_REQUEST:
        o.request = CANCELING
        send(tb, o.handle & SLOT_MASK, CMD_CANCEL, 0, movable_px(o))
    elif o.request == REPLACING:
        o.waiting = CANCELING
        expose(tb, h, o, worst(tb, h, o))  # what waited there is given up


@fn
def replace(tb, h, o, qty, px):
    """Ask for a new quantity and price (`movable_px`); the latest further wish waits behind what is outstanding."""
    apart()
    if o.request == NO_REQUEST:
        o.request = REPLACING
        o.new_qty = qty
        o.new_px = px
        send(tb, o.handle & SLOT_MASK, CMD_REPLACE, qty, px)
    elif o.request == REPLACING and o.waiting != CANCELING:
        o.waiting = REPLACING
        o.next_qty = qty
        o.next_px = px
    expose(tb, h, o, worst(tb, h, o))


@fn
def answered(tb, h, o):
    """The outstanding request has its answer: send what waited."""
    apart()
    o.request = NO_REQUEST
    wanted = o.waiting
    o.waiting = NO_REQUEST
    if wanted == CANCELING or (wanted == REPLACING and h.state == KILLED):
        cancel(tb, h, o)
    elif wanted == REPLACING and o.next_qty > o.cum and (h.state == ACTIVE or o.next_qty < o.qty):
        replace(tb, h, o, o.next_qty, o.next_px)
    expose(tb, h, o, worst(tb, h, o))


@fn
def cancel_all(tb, h, instrument, strategy):
    """Cancel every working order (of one instrument or strategy where not negative); returns how many were asked."""
    apart()
    table = orders(tb, h)
    n = 0
    for slot in range(h.orders_n):
        o = table[slot]
        if o.state == FREE or TERMINAL[o.state] or o.request == CANCELING or o.waiting == CANCELING:
            continue
        if o.flags & ENGINE and strategy >= 0:
            continue  # the flattener is nobody's to cancel but the operator's
        if (instrument < 0 or o.instrument == instrument) and (strategy < 0 or o.strategy == strategy):
            cancel(tb, h, o)
            n += 1
    return n


# --- reports ----------------------------------------------------------------------------------------------------------------
@fn
def fill_row(tb, h, o, exec_id):
    """Index of the fill with this exec_id among the order's fills, -1 if new."""
    ring = at(tb + h.fills_at, h.fills_n, FILL)
    s = o.exec_seq
    while s >= 0:
        f = ring[s & (h.fills_n - 1)]
        if f.seq != s or f.handle != o.handle:
            return -1
        if f.exec_id == exec_id:
            return s & (h.fills_n - 1)
        s = f.older
    return -1


@fn
def book_fill(tb, h, o, exec_id, qty, px):
    """A new fill: remembered for duplicates and busts, booked, taken off the exposure."""
    apart()
    ring = at(tb + h.fills_at, h.fills_n, FILL)
    f = ring[h.n_fills & (h.fills_n - 1)]
    f.exec_id = exec_id
    f.handle = o.handle
    f.qty = qty
    f.px = px
    f.seq = h.n_fills
    f.older = o.exec_seq
    o.exec_seq = h.n_fills
    h.n_fills += 1
    o.cum += qty
    o.paid += qty * px
    strategies(tb, h)[o.strategy].fills += 1
    on_fill(tb, h, o.instrument, o.strategy, o.side * qty, px)


@fn
def correct_fill(tb, h, o, e, bust):
    """Undo a fill, and for a correction book it anew; True if it was news. Illegal: not known (any more), or more than the order."""
    apart()
    k = fill_row(tb, h, o, e.id)
    qty = 0 if bust else e.b
    px = 0 if bust else e.c
    if k < 0 or qty < 0:
        return illegal(tb, h, R.ILLEGAL_REPORT)
    f = at(tb + h.fills_at, h.fills_n, FILL)[k]
    if f.qty == qty and f.px == px:
        h.c_duplicate += 1
        return False
    if o.cum + qty - f.qty > most_of(o):
        return illegal(tb, h, R.ILLEGAL_REPORT)
    if f.qty > 0:
        on_fill(tb, h, o.instrument, o.strategy, -o.side * f.qty, f.px)
    if qty > 0:
        on_fill(tb, h, o.instrument, o.strategy, o.side * qty, px)
    o.cum += qty - f.qty
    o.paid += qty * px - f.qty * f.px
    f.qty = qty
    f.px = px
    h.c_busts += 1
    if not TERMINAL[o.state]:
        o.state = PARTIAL if o.cum > 0 else ACCEPTED
        traded(tb, h, o)
    return True


@fn
def most_of(o):
    """Lots the venue may have traded of an order, finished or not: the larger leg of a replace that is out."""
    return max(o.qty, o.new_qty) if o.request == REPLACING else o.qty


@fn
def traded(tb, h, o):
    """A working order's quantities changed: it is finished, or counts with what is left."""
    if o.cum >= most_of(o):
        expose(tb, h, o, 0)
        close_order(tb, h, o, FILLED)
    else:
        expose(tb, h, o, worst(tb, h, o))


@fn
def illegal(tb, h, reason):
    """A report that cannot be: nothing is booked, the trader halts until somebody reconciles."""
    apart()
    h.c_illegal += 1
    halt(tb, h, reason)
    return False


@fn
def on_trade_report(tb, h, o, e, to):
    if fill_row(tb, h, o, e.id) >= 0:
        h.c_duplicate += 1
        return False
    if to == ILLEGAL or e.b <= 0 or o.cum + e.b > most_of(o):
        return illegal(tb, h, R.ILLEGAL_REPORT)
    book_fill(tb, h, o, e.id, e.b, e.c)
    if TERMINAL[o.state]:
        h.c_late += 1  # it crossed our cancel, or came behind it
        expose(tb, h, o, max(0, o.exposed - e.b))
    else:
        o.state = PARTIAL
        traded(tb, h, o)
    return True


@fn
def granted(o, e):
    """Take over the replace that a report grants; False if it is not the one that is out."""
    px = o.px if o.type == STOP else o.new_px  # a report names the limit price, which a stop has not
    if o.request != REPLACING or e.b != o.new_qty or e.c != px:
        return False
    o.qty = o.new_qty
    o.px = px
    if o.type == STOP:
        o.stop_px = o.new_px
    return True


@fn
def on_replaced(tb, h, o, e):
    apart()
    if not granted(o, e):
        h.c_duplicate += 1
        return False
    conclude(tb, h, o)
    return True


@fn
def after_the_end(h, o, e, kind):
    """A report, not of a fill, about a finished order: no news, but perhaps the answer its slot waits for."""
    apart()
    if kind == EXEC_CANCEL_REJECTED or kind == EXEC_REPLACE_REJECTED:
        h.c_too_late += 1  # our request crossed the order's end, which another report told
    else:
        h.c_duplicate += 1
    cancel_answered = o.request == CANCELING and (kind == EXEC_CANCEL_REJECTED or kind == EXEC_CANCELED)
    replace_answered = o.request == REPLACING and (kind == EXEC_REPLACE_REJECTED or (kind == EXEC_REPLACED and granted(o, e)))
    if cancel_answered or replace_answered or kind == EXEC_GONE:
        o.request = NO_REQUEST
    return False


@fn
def conclude(tb, h, o):
    """The outstanding request has its answer: the order is finished if it has traded all it could, else what waited goes out."""
    apart()
    if o.cum >= o.qty:
        o.request = NO_REQUEST
        expose(tb, h, o, 0)
        close_order(tb, h, o, FILLED)
    else:
        answered(tb, h, o)


@fn
def on_refused_request(tb, h, o, request):
    """A cancel or replace was rejected: usually because the order just finished, which another report says."""
    if o.request != request:
        h.c_duplicate += 1
        return False
    conclude(tb, h, o)
    return True


@fn
def on_report(tb, h, e):
    """Apply one report; True if it was news. `e` is a REPORT record."""
    slot = find(tb, h, e.a)
    kind = e.flags >> 8
    if slot < 0:
        h.c_unknown += 1
        return illegal(tb, h, R.UNKNOWN_ORDER)
    o = orders(tb, h)[slot]
    h.strategy = o.strategy
    if kind >= N_EXECS:
        h.c_unknown += 1
        return illegal(tb, h, R.UNKNOWN_STATUS)
    to = int(TRANSITIONS[o.state, kind])
    news = apply_report(tb, h, o, e, kind, to)
    if news:
        o.t_last = h.now
        chain(h, (o.handle >> SLOT_BITS) << 16 | kind << 8 | o.state, e.b, e.c, 0, 0)
    emit(h, o.strategy, OUT_REPORT, o.side, (kind << 8) | (e.flags & 0xFF), e.instrument, e.id, e.a, e.b, e.c, o.state << 1 | news)
    return news


@fn
def apply_report(tb, h, o, e, kind, to):
    """The transition itself."""
    if kind == EXEC_TRADE:
        return on_trade_report(tb, h, o, e, to)
    if to == ILLEGAL:
        return illegal(tb, h, R.ILLEGAL_REPORT)
    if kind == EXEC_BUST or kind == EXEC_CORRECT:
        return correct_fill(tb, h, o, e, kind == EXEC_BUST)
    if TERMINAL[o.state]:
        return after_the_end(h, o, e, kind)
    if kind == EXEC_REPLACED:
        return on_replaced(tb, h, o, e)
    if kind == EXEC_CANCEL_REJECTED:
        return on_refused_request(tb, h, o, CANCELING)
    if kind == EXEC_REPLACE_REJECTED:
        return on_refused_request(tb, h, o, REPLACING)
    if to == SAME:
        h.c_duplicate += 1
        return False
    if TERMINAL[to]:
        if kind == EXEC_REJECTED:
            on_reject(tb, h)
        # fills the venue has told of that have not reached us yet still count
        expose(tb, h, o, max(0, min(e.d, most_of(o)) - o.cum))
        if kind == EXEC_GONE or (kind == EXEC_CANCELED and o.request == CANCELING):
            o.request = NO_REQUEST
        close_order(tb, h, o, to)
        return True
    if to == UNKNOWN and o.state == UNKNOWN:
        h.c_duplicate += 1
        return False
    o.state = PARTIAL if to == ACCEPTED and o.cum > 0 else to
    return True
