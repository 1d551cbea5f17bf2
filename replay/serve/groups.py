"""Brackets, one-cancels-other and one-triggers-other: the broker's own orders around a client's.

- `bracket`: an entry, and once it is filled completely a pair of a take-profit limit and a stop;
- `oto`: an entry and one of the two; `oco`: the pair alone, its take-profit is the parent.

Until then the children are ``held``. Both orders of a pair work at the venue, but the stop stays ``held`` to clients until it trades, as Alpaca
shows it. What one trades, the other is smaller by; when one ends otherwise, so does the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from replay.serve.orders import Order
from replay.serve.ticket import Ticket

if TYPE_CHECKING:
    from replay.serve.account import Account


def attach(account: Account, o: Order, t: Ticket) -> None:
    """Give a new order its legs."""
    if t.cls == "oco":
        stop = _child(account, o, o.side, t, None)
        o.legs, o.other, stop.other = [stop], stop, o
        return
    exits = [px for px in (t.take_px, t.loss_px) if px is not None] if t.cls else []
    o.legs = [_child(account, o, -o.side, t, t.take_px if px is t.take_px else None) for px in exits]
    for leg in o.legs:
        leg.entry = o
    if len(o.legs) == 2:
        o.legs[0].other, o.legs[1].other = o.legs[1], o.legs[0]


def _child(account: Account, o: Order, side: int, t: Ticket, take_px: int | None) -> Order:
    if take_px is not None:
        leg = account.name(o.instrument, side, "limit", o.tif, o.qty, take_px, None)
    else:
        kind = "stop" if t.loss_limit_px is None else "stop_limit"
        leg = account.name(o.instrument, side, kind, o.tif, o.qty, t.loss_limit_px, t.loss_px)
    leg.cls, leg.status, leg.opening = o.cls, "held", False
    return leg


def after(account: Account, o: Order) -> None:
    """An order has changed: its group follows."""
    if o.entry is None and o.legs and o.cls in ("bracket", "oto"):
        _entry_changed(account, o)
    if o.cls == "oco" and o.legs and not o.legs[0].handle and not o.legs[0].ended and o.status in ("new", "partially_filled"):
        account.route(o.legs[0])
    other = o.other
    if other is None or other.ended:
        return
    if o.status == "filled" or (o.ended and o.status != "replaced"):
        account.withdraw(other)
    elif o.cum:
        account.amend(other, other.cum + o.leaves)


def _entry_changed(account: Account, o: Order) -> None:
    if o.status == "filled":
        for leg in o.legs:
            if leg.status == "held" and not leg.handle:
                if leg.type == "limit" or leg.other is None:
                    leg.status = "pending_new"
                account.route(leg)
    elif o.ended and o.status != "replaced":
        for leg in o.legs:
            if not leg.ended:
                account.withdraw(leg)


def hand_over(old: Order, new: Order) -> None:
    """A replacement takes its order's place in the group."""
    new.entry, new.other, new.legs = old.entry, old.other, old.legs
    if new.other:
        new.other.other = new
    for leg in new.legs:
        if leg.entry is old:
            leg.entry = new
    if new.entry:
        new.entry.legs = [new if leg is old else leg for leg in new.entry.legs]
    elif new.other and new.other.legs == [old]:
        new.other.legs = [new]
    old.legs, old.entry, old.other = [], None, None
