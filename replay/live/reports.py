"""What a broker says of an order, made into the trader's events. A function of the trader's state and of what was said.

Fills that a look-up found carry exec_ids below zero. Once an order has one of those, a fill told later by the stream is judged by its
cumulative quantity: it may be the same fill under its other name.

A fill that was taken back or corrected before we heard of it is no news: a look-up shows what is left of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from replay.events import MAKER, REPORT
from replay.live import broker as B
from replay.live.broker import Looked, Seen, Update
from replay.live.desk import Desk, pack
from replay.trader.layout import CANCELING, REPLACING, SLOT_MASK, STOP
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
    EXEC_TRADE,
    SUBMITTED,
    TERMINAL,
    UNKNOWN,
)

_ENDS = {B.CANCELED: EXEC_CANCELED, B.REJECTED: EXEC_REJECTED, B.EXPIRED: EXEC_EXPIRED}


def order_of(desk: Desk, handle: int):
    """The trader's row of an order, None where it is not known (any more)."""
    rows = desk.trader.region("orders")
    slot = handle & SLOT_MASK
    return rows[slot] if handle > 0 and slot < len(rows) and int(rows[slot].handle) == handle else None


def _event(
    o, exec_type: int, now: int, ts: int, exec_id: int = 0, qty: int = 0, px: int = 0, cum: int = 0, maker: bool = False
) -> bytes:
    flags = exec_type << 8 | (MAKER if maker else 0)
    return pack(REPORT, ts or now, now, int(o.instrument), int(o.side), flags, exec_id, int(o.handle), qty, px, cum)


def _booked(desk: Desk, o) -> Iterator:
    """The order's fills that the trader remembers, newest first."""
    ring, k = desk.trader.region("fills"), int(o.exec_seq)
    while k >= 0:
        f = ring[k & (len(ring) - 1)]
        if int(f.seq) != k or int(f.handle) != int(o.handle):
            return
        yield f
        k = int(f.older)


def of_update(desk: Desk, handle: int, u: Update, now: int) -> list[bytes]:
    """The events of one report; none where it tells what a look-up has told before."""
    o = order_of(desk, handle)
    if o is None:
        return []
    qty, px = u.last_qty, u.last_px
    if u.exec_type == EXEC_TRADE and u.cum <= int(o.cum) and any(int(f.exec_id) < 0 for f in _booked(desk, o)):
        return []
    if u.exec_type in (EXEC_BUST, EXEC_CORRECT):
        fill = next((f for f in _booked(desk, o) if int(f.exec_id) == u.exec_id), None)
        if fill is None and int(o.cum) + qty <= u.cum:
            return []
        if fill is not None and u.exec_type == EXEC_BUST:
            qty, px = int(fill.qty), int(fill.px)
    if u.exec_type == EXEC_REPLACED:  # granted as asked
        qty, px = int(o.new_qty), int(o.px) if int(o.type) == STOP else int(o.new_px)
    return [_event(o, u.exec_type, now, u.ts, u.exec_id, qty, px, u.cum, u.maker)]


def of_look(desk: Desk, handle: int, looked: Looked, now: int) -> Iterator[bytes]:
    """The events that bring the trader's order to what a look-up shows, to be taken one by one: each is made when the one before it
    has been taken."""
    o = order_of(desk, handle)
    if o is None:
        return
    seen = looked.seen
    if seen is None:
        if not TERMINAL[int(o.state)]:
            yield _event(o, EXEC_GONE, now, 0, cum=int(o.cum))
        return
    yield from _fills(o, seen, now)
    if seen.state == B.PENDING:
        return
    if seen.state in _ENDS and not TERMINAL[int(o.state)]:
        yield _event(o, _ENDS[seen.state], now, 0, cum=seen.cum)
    elif seen.state == B.OPEN and int(o.state) in (SUBMITTED, UNKNOWN):
        yield _event(o, EXEC_NEW, now, 0)
    if not seen.settled or int(o.t_last) >= looked.asked_ns:
        return  # what is asked for may be on its way
    # a request that left no trace was not granted
    if int(o.request) == REPLACING:
        moved = seen.stop_px if int(o.type) == STOP else seen.px
        if seen.state == B.OPEN and (seen.qty, moved) == (int(o.new_qty), int(o.new_px)):
            yield _event(o, EXEC_REPLACED, now, 0, 0, int(o.new_qty), int(o.px) if int(o.type) == STOP else moved, seen.cum)
        else:
            yield _event(o, EXEC_REPLACE_REJECTED, now, 0, cum=seen.cum)
    elif int(o.request) == CANCELING:
        kind = EXEC_CANCELED if seen.state == B.CANCELED else EXEC_CANCEL_REJECTED
        yield _event(o, kind, now, 0, cum=seen.cum)


def _fills(o, seen: Seen, now: int) -> Iterator[bytes]:
    for f in seen.fills:
        missing = min(f.qty, min(f.cum, seen.cum) - int(o.cum))
        if missing > 0:
            yield _event(o, EXEC_TRADE, now, f.ts, f.exec_id, missing, f.px, f.cum)
    qty = seen.cum - int(o.cum)
    if qty <= 0:
        return
    # no execution says how these traded: at what they must have cost for the average to be what the broker says, in whole ticks
    ticks = seen.paid - int(o.paid)
    low, dear = divmod(ticks, qty)
    for k, (lots, px) in enumerate(((qty - dear, low), (dear, low + 1))):
        if lots:
            yield _event(o, EXEC_TRADE, now, 0, -(int(o.cum) << 1 | k) - 1, lots, px, int(o.cum) + lots)
