"""The trader's books against the broker's: what differs, as events for the trader and sentences for people.

Orders are brought to what the broker shows, always: its word on an order of ours is the truth. Positions and cash that no order
explains, and orders and positions that are not ours, follow a policy: `adopt` books the difference as a transfer (an ACCOUNT event), `halt`
leaves it and halts the trader until an operator resumes it.
"""

from __future__ import annotations

from typing import NamedTuple

from replay.events import ACCOUNT
from replay.live import broker as B
from replay.live.broker import Books, Seen
from replay.live.desk import Desk, pack
from replay.live.ids import Name, parse
from replay.live.reports import order_of
from replay.trader.layout import ACTIVE, NO_REQUEST
from replay.trader.orders import FREE, NEW, TERMINAL

ADOPT, HALT = "adopt", "halt"
LATE_NS = 2_000_000_000  #: how long the broker's books may show what has just ended


class Outcome(NamedTuple):
    """What a comparison of positions and cash found: sentences, the events that policy asks for, the differences by themselves, so
    that two comparisons can be compared, and whether the trader is to halt."""

    found: list[str]
    events: list[bytes]
    differences: dict[object, tuple[int, int]]
    halts: bool


def working(desk: Desk, name_of) -> list[str]:
    """ClOrdIDs of every order that the trader holds to be working, or waits for an answer about."""
    rows = desk.trader.region("orders")
    state = rows["state"]
    at_work = (state != FREE) & (state != NEW) & ((TERMINAL[state] == 0) | (rows["request"] != NO_REQUEST))
    return [name_of(handle) for handle in rows["handle"][at_work].tolist()]


def strangers(desk: Desk, books: Books) -> list[Seen]:
    """Orders of this run that work at the broker and are over, or unknown, for the trader: what the end of a lost journal leaves, or a
    request that arrived after it was given up."""
    out = []
    for seen in books.open:
        name = parse(seen.cl_ord_id)
        o = None if name is None else known(desk, name)
        if seen.state == B.OPEN and (o is None or (TERMINAL[int(o.state)] and int(o.t_last) < books.asked_ns - LATE_NS)):
            out.append(seen)
    return out


def known(desk: Desk, name: Name):
    """The trader's row of a ClOrdID; None where it has no such order, or another under that handle (an epoch whose end was lost)."""
    o = order_of(desk, name.handle)
    return o if o is not None and desk.epoch_of(name.handle) == name.epoch else None


def balances(desk: Desk, books: Books, policy: str, now: int, cash_tolerance: int) -> Outcome:
    """Positions and cash, after every order was brought up to date. `cash_tolerance`: what is left alone, in 1e-8."""
    found, events, differences = [*books.foreign], [], {}
    instruments = desk.build.manifest.instruments
    positions = desk.trader.region("positions")
    for k, i in enumerate(instruments):
        have, (theirs, px) = int(positions[k].qty), books.positions.get(k, (0, 0))
        if have == theirs or k in books.unknown:
            continue
        differences[k] = have, theirs
        found.append(f"{i.symbol}: the trader has {have:,} lots, the broker {theirs:,}")
        if policy == ADOPT:
            at = px or int(desk.trader.region("views")[k].mark2) // 2
            events.append(pack(ACCOUNT, now, now, k, a=_currency(desk, k), c=theirs - have, d=at))
    currency = _currency(desk, 0)
    mine = int(desk.trader.region("currencies")[currency].cash)
    # a position that is taken over was not paid for by us: its cost is no difference in cash
    if abs(books.cash - mine) > cash_tolerance:
        name = desk.build.manifest.currencies[currency]
        differences[name] = mine, books.cash
        found.append(f"{name}: the trader has {mine / 1e8:,.2f}, the broker {books.cash / 1e8:,.2f}")
        if policy == ADOPT:
            events.append(pack(ACCOUNT, now, now, 0, a=currency, b=books.cash - mine))
    halts = policy == HALT and bool(differences or books.foreign) and int(desk.header.state) == ACTIVE
    return Outcome(found, events, differences, halts)


def _currency(desk: Desk, instrument: int) -> int:
    return int(desk.trader.region("instruments")[instrument].currency)
