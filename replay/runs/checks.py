"""What the risk check saw, limit by limit. No check is computed here: the trader's own is asked, on a copy of its state.

A check says its figure only where it refuses. So on the copy every limit is lifted but one, and that one is set to its smallest
value: the refusal then names the figure. A check that passes even then has a figure of at most one unit, or is not asked of this order.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from replay.kernel.arena import Arena
from replay.kernel.memory import entry_of
from replay.summary import money
from replay.trader import layout as T
from replay.trader import reasons as R
from replay.trader import risk
from replay.trader.orders import FREE

MILLION = 1_000_000

#: limit -> (the refusal it leads to, what its figure counts, whether an order that only reduces is asked)
PROBED = {
    "max_quote_age_ns": (R.STALE_FEED, "ns", False),
    "collar_bps": (R.COLLAR, "bps", True),
    "max_spread_bps": (R.MAX_SPREAD, "bps", True),
    "max_order_qty": (R.MAX_ORDER_QTY, "lots", True),
    "max_order_notional": (R.MAX_ORDER_NOTIONAL, "money", True),
    "max_position": (R.MAX_POSITION, "lots", False),
    "max_position_notional": (R.MAX_POSITION_NOTIONAL, "money", False),
    "max_position_share": (R.MAX_POSITION_SHARE, "money", False),
    "max_gross": (R.MAX_GROSS, "money", False),
    "max_net": (R.MAX_NET, "money", False),
    "max_leverage": (R.BUYING_POWER, "money", False),
    "max_risk_per_trade": (R.RISK_PER_TRADE, "money", True),
    "max_risk_share": (R.RISK_PER_TRADE, "money", True),
}
OF_EQUITY = ("max_position_share", "max_leverage", "max_risk_share")  #: their bound is a share of equity
#: limit -> (ring of times, how many were written, the window)
RATES = {
    "max_orders": ("order_times", "n_sent", "order_window_ns"),
    "max_messages": ("message_times", "n_messages", "message_window_ns"),
}


class Check(msgspec.Struct, frozen=True):
    """One limit in force: `figure` <= `bound` passes; in `unit`: lots, money, bps, ns or count.

    `figure` None: the check was not asked, `note` says why. With `at_most` the figure is that or less.
    """

    limit: str
    figure: int | Decimal | None
    bound: int | Decimal
    unit: str
    at_most: bool = False
    note: str = ""


class Asked(msgspec.Struct, frozen=True):
    """What the check was asked: arguments of `replay.trader.risk.check`, and what came of the event later.

    `first`: the ordinal of the first order the same event opened that this check did not know of; `messages` and `orders`: how many of
    each left after it.
    """

    strategy: int
    instrument: int
    side: int
    qty: int
    px: int
    stop_px: int
    kind: int
    tif: int
    flags: int
    stop_loss: int
    first: int
    messages: int = 0
    orders: int = 0


def checks(trader: Arena, asked: Asked) -> list[Check]:
    """Every limit in force with the figure that the check saw. `trader`: its state after the event; it is not changed."""
    then = trader.fork()
    _take_back(then, asked.first)
    limits = then.region("limits")
    account, own = limits[0].copy(), limits[asked.instrument].copy()
    for name in T.LIMIT_NAMES:
        if name != "max_quote_age_ns":  # it also says which price is the reference
            limits[name] = 0
    view = then.region("views")[asked.instrument]
    others = 0 if asked.flags & T.REDUCE_ONLY else int(view.buying if asked.side > 0 else view.selling)
    reducing = asked.qty + others <= -asked.side * int(view.pos)
    found = []
    for name, (reason, unit, of_reducing) in PROBED.items():
        bound = int(own[name])
        if not bound:
            continue
        smallest, equity = 1, max(int(then.header.equity), 0)
        if name in OF_EQUITY:
            smallest, bound = max(1, equity // MILLION), equity * bound // MILLION
        if reducing and not of_reducing:
            found.append(_check(name, None, bound, unit, note="not asked: it only reduces the position"))
        elif name == "max_spread_bps" and asked.kind != T.MARKET:
            found.append(_check(name, None, bound, unit, note="asked of market orders"))
        elif reason == R.RISK_PER_TRADE and not asked.stop_loss:
            found.append(_check(name, None, bound, unit, note="asked of brackets with a stop"))
        else:
            code, figure = _probe(then, asked, name)
            if code == reason:
                found.append(_check(name, figure, bound, unit))
            elif code == R.OK:
                found.append(_check(name, smallest, bound, unit, at_most=True))
            else:
                found.append(_check(name, None, bound, unit, note=f"not reached: {R.REASON_NAMES[code]}"))
    return [*found, *_rates(then, asked, account)]


def _check(name: str, figure: int | None, bound: int, unit: str, at_most: bool = False, note: str = "") -> Check:
    if unit == "money":
        figure, bound = None if figure is None else money(figure), money(bound)
    return Check(name.removesuffix("_ns"), figure, bound, unit, at_most, note)


def _take_back(then: Arena, first: int) -> None:
    """Uncount what the event's orders from the ordinal `first` on expose."""
    h, views, positions = then.header, then.region("views"), then.region("positions")
    for o in then.region("orders"):
        if o.state != FREE and o.handle >> T.SLOT_BITS >= first:
            side = "buying" if o.side > 0 else "selling"
            views[o.instrument][side] -= o.exposed
            positions[(1 + o.strategy) * h.n_instruments + o.instrument][side] -= o.exposed


def _probe(then: Arena, asked: Asked, name: str) -> tuple[int, int]:
    """What the check answers, and its figure, with one limit at its smallest."""
    twin = then.fork()
    for k in (0, asked.instrument):
        twin.region("limits")[k][name] = 1
    return _ask(twin, asked), int(twin.header.figure)


def _ask(then: Arena, asked: Asked) -> int:
    a = asked
    check = entry_of(risk.check)
    return check(then.base, a.strategy, a.instrument, a.side, a.qty, a.px, a.stop_px, a.kind, a.tif, a.flags, a.stop_loss)


def _rates(then: Arena, asked: Asked, account) -> list[Check]:
    """The throttles: what was sent within the window, and this."""
    found, new = [], 2 if asked.flags & risk.PAIR else 1
    for name, (ring, written, window) in RATES.items():
        most = int(account[name])
        if most:
            later = asked.orders if name == "max_orders" else asked.messages
            sent, since = int(then.header[written]), int(then.header.now) - int(account[window])
            times = then.region(ring)
            known = range(max(0, sent - most), sent - later)
            found.append(_check(name, sum(int(times[k % most]) > since for k in known) + new, most, "count"))
    return found
