"""Alpaca's messages as ours and back. Prices and sizes go through the decimal text of the number; ticks and lots inside."""

from __future__ import annotations

import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from hashlib import blake2b

from replay.data.conditions import print_flags
from replay.data.instruments import MONEY, Instrument
from replay.data.times import trading_day
from replay.errors import BadInput
from replay.events import BAR, HALTED, LAST, QUOTE, STATUS, TRADE, TRADING
from replay.live import broker as B
from replay.live.broker import Execution, Hours, Seen, Update
from replay.live.desk import Command, pack
from replay.live.head import BAR_NS
from replay.trader import layout as T
from replay.trader.orders import (
    EXEC_BUST,
    EXEC_CANCEL_REJECTED,
    EXEC_CANCELED,
    EXEC_CORRECT,
    EXEC_EXPIRED,
    EXEC_NEW,
    EXEC_REJECTED,
    EXEC_REPLACE_REJECTED,
    EXEC_REPLACED,
    EXEC_TRADE,
)

TYPES = ("market", "limit", "stop", "stop_limit")
TIFS = ("day", "gtc", "ioc", "fok")


class Unknown(ReferenceError):
    """A message of a kind that is not known: it may mean anything, so the trader halts."""


class Scale:
    """One instrument's numbers. A price between two ticks is rounded as the caller says and counted in `off_tick`.

    >>> aapl = Scale(0, Instrument(symbol="AAPL", tick_size="0.01"))
    >>> aapl.ticks(189.12), aapl.ticks("189.1249"), aapl.off_tick, aapl.text(18912)
    (18912, 18912, 1, '189.12')
    """

    def __init__(self, index: int, instrument: Instrument):
        self.index, self.instrument = index, instrument
        self.bar_ns, self.bar_side = BAR_NS, 0  # the interval of the bars that are heard, and its index in the manifest
        self.tick, self.lot = Decimal(instrument.tick_size), Decimal(instrument.lot_size)
        self.off_tick = 0
        self._known: dict[tuple, tuple[int, bool]] = {}

    def rounded(self, x: float | str, way: str = ROUND_HALF_EVEN) -> tuple[int, bool]:
        """(ticks, whether `x` is a whole number of them)."""
        found = self._known.get((x, way))
        if found is None:
            steps = Decimal(str(x)) / self.tick
            whole = steps.to_integral_value(way)
            if len(self._known) > 1 << 16:
                self._known.clear()
            found = self._known[x, way] = (int(whole), whole == steps)
        self.off_tick += not found[1]
        return found

    def ticks(self, x: float | str, way: str = ROUND_HALF_EVEN) -> int:
        """`x` in ticks."""
        return self.rounded(x, way)[0]

    def lots(self, x: float | str | None) -> int:
        """`x` in whole lots, rounded down: a fraction of a lot cannot be shown."""
        return int((Decimal(str(x or 0)) / self.lot).to_integral_value(ROUND_FLOOR))

    def exact_lots(self, x: str) -> int:
        """A quantity of ours. Raises `BadInput` where it is no multiple of the lot."""
        return self.instrument.lots(Decimal(str(x or 0)))

    def whole_lots(self, x: str) -> tuple[int, Decimal]:
        """A quantity of the account as whole lots, towards zero, and what is beyond them.

        >>> Scale(0, Instrument(symbol="AAPL", tick_size="0.01")).whole_lots("-10.5")
        (-10, Decimal('-0.5'))
        """
        lots = int(Decimal(str(x)) / self.lot)
        return lots, (Decimal(str(x)) - lots * self.lot).normalize() + 0

    def text(self, ticks: int) -> str:
        """A price as requests carry it."""
        return format(self.instrument.price(ticks), "f")

    def qty_text(self, lots: int) -> str:
        """A quantity as requests carry it."""
        return format(self.instrument.qty(lots), "f")


def stamp_ns(t: object) -> int:
    """A msgpack timestamp or RFC 3339 text as ns UTC.

    >>> stamp_ns("2026-03-02T14:30:00.000366123Z")
    1772461800000366123
    """
    if not isinstance(t, str):
        return t.seconds * 1_000_000_000 + t.nanoseconds
    whole, _, rest = t.partition(".")
    digits = rest.rstrip("Z").split("+")[0].split("-")[0] if rest else ""
    zone = t[len(whole) + 1 + len(digits) :] if rest else ""
    base = datetime.datetime.fromisoformat((whole + zone).replace("Z", "+00:00"))
    return int(base.timestamp()) * 1_000_000_000 + int(digits[:9].ljust(9, "0") or 0)


def id_of(text: str) -> int:
    """A text id as a number above zero, the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1 | 1


# --- market data --------------------------------------------------------------------------------------------------------------
def market_event(m: dict, s: Scale, recv: int, head: dict | None = None, flags: int = 0) -> bytes | None:
    """A market-data message as an event received at `recv`; None for a kind the trader has no use for. `head`: what lockstep adds.

    A bar has no `LAST`: the caller knows which is the last of its minute.
    """
    kind = m["T"]
    if kind == "q":
        bid_sz, ask_sz = s.lots(m["bs"]), s.lots(m["as"])
        bid = s.ticks(m["bp"], ROUND_FLOOR) if bid_sz else 0
        ask = s.ticks(m["ap"], ROUND_CEILING) if ask_sz else 0
        seq, flags = (head["id"], head["flags"]) if head else (0, flags | LAST)
        return pack(QUOTE, stamp_ns(m["t"]), recv, s.index, 0, flags, seq, bid, bid_sz, ask, ask_sz)
    if kind == "t":
        px, whole = s.rounded(m["p"])
        side = head["side"] if head else {"B": 1, "S": -1}.get(m.get("tks", ""), 0)
        said = head["flags"] if head else flags | print_flags(m.get("c") or (), whole) | LAST
        ident = head["id"] if head else int(m["i"])
        return pack(TRADE, stamp_ns(m["t"]), recv, s.index, side, said, ident, px, s.lots(m["s"]))
    if kind == "b":
        o, h, l, c = (s.ticks(m[k]) for k in "ohlc")
        said, side = (head["flags"], head["side"]) if head else (flags, s.bar_side)
        return pack(BAR, stamp_ns(m["t"]) + s.bar_ns, recv, s.index, side, said, s.lots(m["v"]), o, h, l, c)
    if kind == "s" and m["sc"] in STATUS_CODES:
        return pack(STATUS, stamp_ns(m["t"]), recv, s.index, STATUS_CODES[m["sc"]], LAST | flags)
    return None


#: status codes of the tapes (2 and 3: A and B; letters: C and O) that stop and resume trading; the others only remark
STATUS_CODES = {"2": HALTED, "H": HALTED, "P": HALTED, "Q": HALTED, "3": TRADING, "T": TRADING}


# --- orders -------------------------------------------------------------------------------------------------------------------
EVENTS = {
    "new": EXEC_NEW,
    "fill": EXEC_TRADE,
    "partial_fill": EXEC_TRADE,
    "canceled": EXEC_CANCELED,
    "expired": EXEC_EXPIRED,
    "rejected": EXEC_REJECTED,
    "replaced": EXEC_REPLACED,
    "order_cancel_rejected": EXEC_CANCEL_REJECTED,
    "order_replace_rejected": EXEC_REPLACE_REJECTED,
    "trade_bust": EXEC_BUST,
    "trade_correct": EXEC_CORRECT,
}
#: told on the way to one of the above, or about an order that does not trade now and still may: no news for the trader
PASSING = frozenset(
    (
        "accepted",
        "accepted_for_bidding",
        "calculated",
        "done_for_day",
        "held",
        "pending_cancel",
        "pending_new",
        "pending_replace",
        "pending_review",
        "restated",
        "stopped",
        "suspended",
    )
)
#: the statuses of the API description. Only those of the last group are ends: "an order may be canceled up until the point it
#: reaches a state of either filled, canceled, or expired"
STATES = {
    "new": B.OPEN,
    "partially_filled": B.OPEN,
    "accepted": B.OPEN,
    "accepted_for_bidding": B.OPEN,
    "held": B.OPEN,
    "stopped": B.OPEN,
    "suspended": B.OPEN,
    "done_for_day": B.OPEN,  # it goes on with the next trading day
    "calculated": B.OPEN,  # the same, before its settlement is worked out; where it has filled, its quantity says so
    "pending_new": B.PENDING,
    "pending_cancel": B.PENDING,
    "pending_replace": B.PENDING,
    "pending_review": B.PENDING,
    "filled": B.FILLED,
    "canceled": B.CANCELED,
    "replaced": B.CANCELED,  # of a chain the newest order is asked about; one that was replaced by none of ours is gone
    "expired": B.EXPIRED,
    "rejected": B.REJECTED,
}


def update(data: dict, s: Scale, base: int) -> Update | None:
    """A `trade_updates` message; `base` is what the other orders of the chain have traded. None where it is no news. A fill that is
    taken back or corrected goes by its own exec_id. Raises `Unknown`."""
    event, order = data["event"], data["order"]
    if order["status"] not in STATES:
        raise Unknown(f"order status {order['status']!r} of {order['client_order_id']}")
    kind = EVENTS.get(event)
    if kind is None:
        if event in PASSING:
            return None
        raise Unknown(f"order update {event!r} of {order.get('client_order_id')}")
    ts = stamp_ns(data.get("timestamp") or order["updated_at"])
    cum = base + s.exact_lots(order["filled_qty"])
    amends = kind in (EXEC_BUST, EXEC_CORRECT)
    exec_id = id_of(data["previous_execution_id"] if amends else data.get("execution_id") or f"{order['id']} {event}")
    qty, px = (s.exact_lots(data["qty"]), s.ticks(data["price"])) if kind in (EXEC_TRADE, EXEC_CORRECT) else (0, 0)
    return Update(order["client_order_id"], kind, qty, px, cum, exec_id, ts)


def seen(order: dict, s: Scale, base: int = 0, base_paid: int = 0, fills: tuple[Execution, ...] = ()) -> Seen:
    """An order of a look-up; `base` and `base_paid`: lots, and lots x ticks, traded by earlier orders of the chain. Raises `Unknown`."""
    state = STATES.get(order["status"])
    if state is None:
        raise Unknown(f"order status {order['status']!r} of {order.get('client_order_id')}")
    cum = s.exact_lots(order["filled_qty"])
    paid = int((Decimal(order.get("filled_avg_price") or 0) * cum / s.tick).to_integral_value(ROUND_HALF_EVEN))
    px, stop_px = (s.ticks(order.get(k) or 0) for k in ("limit_price", "stop_price"))
    qty = base + s.exact_lots(order["qty"])
    return Seen(order["client_order_id"], order["id"], s.index, state, qty, px, stop_px, base + cum, base_paid + paid, fills)


def execution(activity: dict, s: Scale, base: int) -> Execution:
    """A FILL of the account's activities."""
    cum = base + s.exact_lots(activity["cum_qty"])
    return Execution(
        -id_of(activity["id"]),
        s.exact_lots(activity["qty"]),
        s.ticks(activity["price"]),
        cum,
        stamp_ns(activity["transaction_time"]),
    )


def new_order(c: Command, s: Scale, cl_ord_id: str, extended: bool) -> dict:
    """The body of POST /orders. Raises `BadInput` for what this broker has no order for."""
    if c.flags & T.POST_ONLY:
        raise BadInput("post-only orders are not known to Alpaca: leave the flag out")
    crypto = s.instrument.base is not None
    if crypto and (c.tif == T.FOK or c.type == T.STOP):
        raise BadInput("crypto pairs have no fill-or-kill and no plain stop orders at Alpaca: use IOC, or a stop with a limit")
    body = {
        "symbol": s.instrument.symbol,
        "qty": s.qty_text(c.qty),
        "side": "buy" if c.side > 0 else "sell",
        "type": TYPES[c.type],
        "time_in_force": "gtc" if crypto and c.tif == T.DAY else TIFS[c.tif],  # a market that never closes has no days
        "client_order_id": cl_ord_id,
    }
    if c.type in (T.LIMIT, T.STOP_LIMIT):
        body["limit_price"] = s.text(c.px)
    if c.type in (T.STOP, T.STOP_LIMIT):
        body["stop_price"] = s.text(c.stop_px)
    if extended and c.type == T.LIMIT and c.tif in (T.DAY, T.GTC):
        body["extended_hours"] = True
    return body


def replacement(c: Command, s: Scale, traded: int, cl_ord_id: str) -> dict:
    """The body of PATCH /orders/{id}; the quantity is the new order's own, `traded` is what the chain has traded so far."""
    body = {"qty": s.qty_text(c.qty - traded), "client_order_id": cl_ord_id}
    if c.type in (T.LIMIT, T.STOP_LIMIT):
        body["limit_price"] = s.text(c.px)
    if c.type in (T.STOP, T.STOP_LIMIT):
        body["stop_price"] = s.text(c.stop_px)
    return body


def hours(clock: dict, before: int, after: int) -> Hours:
    """The market clock, asked at `before` and answered at `after`, ns of our clock."""
    now = stamp_ns(clock["timestamp"])
    change = stamp_ns(clock["next_close" if clock["is_open"] else "next_open"])
    day = trading_day(datetime.date.fromisoformat(clock["timestamp"][:10]))
    return Hours(clock["is_open"], day, change - now, now - (before + after) // 2, after - before)


def money(text: str | float) -> int:
    """An amount in 1e-8, rounded down.

    >>> money("100000.129999999")
    10000012999999
    """
    return int((Decimal(str(text)) * MONEY).to_integral_value(ROUND_FLOOR))
