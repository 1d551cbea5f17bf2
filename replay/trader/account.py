"""What brokers of US stocks refuse an account, refused here in the call; and how a position is turned all the same.

A broker takes no order through zero, and none for more than is held and free: shares that a working order may sell are not free. So
under `account_rules` a market order that closes waits, held (state NEW), until what it is to close is free; one that turns a position
is made of two: an order that closes, and, when that has traded, what is left of the order itself. Its handle is the one the call
returned: it is not done before the last of it is, and counts in full against the limits from the call on.
"""

from __future__ import annotations

from replay.events import OPEN
from replay.kernel.memory import apart, entry, fn
from replay.trader.layout import (
    ACTIVE,
    DRAIN,
    ENGINE,
    KILLED,
    MARKET,
    NO_GROUP,
    REPLACING,
    SLOT_MASK,
    STOP,
    TURN,
    WAITING,
    header,
    limits,
    orders,
    views,
)
from replay.trader.oms import cancel, expose, find, open_order, spare, submit
from replay.trader.orders import NEW, finished


@fn
def not_free(v, side, qty):
    """Lots of the position that an order of `side` may close, where it is for more; -1 where it is not, or closes nothing."""
    apart()
    closes = -side * v.pos
    working = v.buying if side > 0 else v.selling
    return max(closes - working, 0) if closes > 0 and qty + working > closes else -1


@fn
def washes(tb, h, v, side, px, kind):
    """Whether the broker takes an order for a wash trade with one of ours: opposite sides, of which one is a market or stop order, or
    whose limits cross."""
    apart()
    table = orders(tb, h)
    slot = v.orders
    while slot >= 0:
        o = table[slot]
        if o.side != side and (o.state != NEW or o.group == WAITING):
            if kind == MARKET or kind == STOP or o.type == MARKET or o.type == STOP:
                return True
            if side * (px - o.px) >= 0 or (o.request == REPLACING and side * (px - o.new_px) >= 0):
                return True
        slot = o.next
    return False


@fn
def start(tb, h, o):
    """Send an order that was opened; under the account's rules a market order when what it closes is free."""
    if o.type == MARKET and limits(tb, h)[0].account_rules:
        o.group = WAITING
        h.waiting = 1
        expose(tb, h, o, o.qty)
        advance(tb, o.handle & SLOT_MASK)
    else:
        submit(tb, h, o)


@entry
def advance(tb, slot):
    """An order waits: send it where nothing is in its way, else as much as is free to close, by an order of its own."""
    h = header(tb)
    o = orders(tb, h)[slot]
    v = views(tb, h)[o.instrument]
    closes = -o.side * v.pos
    free = closes - held(tb, h, v, o.side)
    if closes <= 0 and h.state != ACTIVE and o.flags & ENGINE == 0:
        cancel(tb, h, o)  # what is left would open a position
    elif closes <= 0 or free >= o.qty:
        o.group = NO_GROUP
        submit(tb, h, o)
    elif free > 0 and spare(tb, h):
        handle = open_order(tb, o.strategy, o.instrument, o.side, free, 0, 0, MARKET, o.tif, o.flags, 0)
        child = orders(tb, h)[handle & SLOT_MASK]
        child.group = TURN
        child.sibling = o.handle
        o.qty -= free
        expose(tb, h, o, o.qty)
        submit(tb, h, child)
    return 0


@fn
def held(tb, h, v, side):
    """Lots that orders of a side which have been sent may still trade."""
    apart()
    table = orders(tb, h)
    lots = 0
    slot = v.orders
    while slot >= 0:
        o = table[slot]
        if o.side == side and o.state != NEW:
            lots += o.exposed
        slot = o.next
    return lots


@fn
def turned(tb, h, o):
    """An order that closes for another has changed: where it came to nothing, so does the other."""
    apart()
    k = find(tb, h, o.sibling)
    if finished(o.state) and o.cum < o.qty and k >= 0 and orders(tb, h)[k].state == NEW:
        cancel(tb, h, orders(tb, h)[k])


@fn
def advance_all(tb, h, instrument):
    """Something in an instrument has changed: its orders that wait go on, oldest first; after a kill none but the flattener's, and none
    while the venue is closed."""
    apart()
    v = views(tb, h)[instrument]
    table = orders(tb, h)
    last = 0
    for _ in range(h.orders_n):
        oldest = -1
        slot = v.orders
        while slot >= 0:
            o = table[slot]
            if o.group == WAITING and o.state == NEW and o.handle > last and (oldest < 0 or o.handle < table[oldest].handle):
                oldest = slot
            slot = o.next
        if oldest < 0:
            return
        o = table[oldest]
        last = o.handle
        if (h.state == KILLED and o.flags & ENGINE == 0) or h.mode == DRAIN or v.phase != OPEN:
            cancel(tb, h, o)
        else:
            advance(tb, oldest)
