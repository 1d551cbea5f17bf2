"""An order as Alpaca knows it: its fields, its states, and the JSON that shows it."""

from __future__ import annotations

import dataclasses
import uuid
from decimal import Decimal
from fractions import Fraction

from replay.data.instruments import Instrument
from replay.data.times import utc_text

NAMESPACE = uuid.UUID("6f1e5a0c-5b0e-4f52-9d27-3a4f7f0e8c11")  # of everything the server names: same run, same ids

#: states that end an order
ENDED = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})
CANNOT_REPLACE = frozenset({"accepted", "pending_new", "pending_cancel", "pending_replace"})

TYPES = ("market", "limit", "stop", "stop_limit")
TIFS = ("day", "gtc", "ioc", "fok")
CLASSES = ("", "simple", "bracket", "oco", "oto")


@dataclasses.dataclass(slots=True, eq=False)
class Order:
    """Quantities in lots, prices in ticks, times in ns. `base`: lots that orders it replaced had traded; the venue counts from there."""

    id: str
    client_order_id: str
    instrument: int
    side: int
    type: str
    tif: str
    qty: int
    limit_px: int | None
    stop_px: int | None
    created_at: int
    number: int = 0  # orders of an account count up
    cls: str = ""
    notional: Decimal | None = None
    extended_hours: bool = False
    status: str = "pending_new"
    handle: int = 0
    base: int = 0
    cum: int = 0
    paid: int = 0  # sum of lots x ticks
    updated_at: int = 0
    filled_at: int | None = None
    canceled_at: int | None = None
    expired_at: int | None = None
    failed_at: int | None = None
    replaced_at: int | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    lot_cost: Decimal = Decimal(0)  # what opening one lot was said to cost when it came: the account reserves that
    opening: bool = True  # whether it opens or adds to a position, as known when it came
    before: str = ""  # the state to go back to where a cancel or replace is refused
    first_byte_ns: int = 0  # steady clock: when the first byte of its request came
    market_ns: int = 0  # steady clock: when the newest market data before that was written to its account's sockets
    entry: Order | None = None  # of a child its entry
    other: Order | None = None  # of a pair the other leg
    legs: list[Order] = dataclasses.field(default_factory=list)
    fills: list[Fill] = dataclasses.field(default_factory=list)

    @property
    def leaves(self) -> int:
        return 0 if self.status in ENDED else self.qty - self.cum

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def parent(self) -> Order | None:
        """The order under whose legs a query shows it: its entry, or the take-profit of its pair."""
        return self.entry or (self.other if self.other is not None and self.other.legs == [self] else None)

    @property
    def second(self) -> bool:
        """Whether it is the second leg of a pair, which holds no shares and no money of its own."""
        return self.other is not None and (self.other.legs == [self] or (self.entry is not None and self.entry.legs[-1] is self))


@dataclasses.dataclass(slots=True, eq=False)
class Fill:
    """A fill of an order in lots and ticks, 0 lots once it was taken back: its name on the stream, and its account activity."""

    order: Order
    execution_id: str
    activity: dict
    qty: int
    px: int


class Assets:
    """The session's instruments as the broker names them.

    A pair whose base is money is crypto, `BTC/USDT` in orders and `BTCUSDT` in positions; everything else is a US equity.
    """

    def __init__(self, instruments: tuple[Instrument, ...]):
        self.instruments = instruments
        self.symbols = [f"{i.base}/{i.currency}" if i.base else i.symbol for i in instruments]
        self.ids = [str(uuid.uuid5(NAMESPACE, f"asset {s}")) for s in self.symbols]
        self._index = {s: k for k, s in enumerate(self.symbols)}
        self._index |= {s.replace("/", ""): k for k, s in enumerate(self.symbols)}
        self._index |= {name: k for k, name in enumerate(self.ids)}

    def find(self, symbol: str) -> int | None:
        """The instrument of a symbol or asset id."""
        return self._index.get(symbol)

    def is_crypto(self, k: int) -> bool:
        return self.instruments[k].base is not None

    def position_symbol(self, k: int) -> str:
        return self.symbols[k].replace("/", "")

    def price(self, k: int, ticks: int | Fraction) -> Decimal:
        i = self.instruments[k]
        if isinstance(ticks, Fraction):
            return Decimal(ticks.numerator) / Decimal(ticks.denominator) * Decimal(i.tick_size)
        return i.price(ticks)

    def value(self, k: int, lots_ticks: int) -> Decimal:
        """The worth of lots x ticks."""
        i = self.instruments[k]
        return Decimal(lots_ticks) * Decimal(i.tick_size) * Decimal(i.lot_size) * Decimal(i.multiplier)

    def asset_class(self, k: int) -> str:
        return "crypto" if self.is_crypto(k) else "us_equity"

    def view(self, k: int) -> dict:
        """The asset as JSON."""
        i, crypto = self.instruments[k], self.is_crypto(k)
        out = {
            "id": self.ids[k],
            "class": self.asset_class(k),
            "exchange": "CRYPTO" if crypto else "NASDAQ",
            "symbol": self.symbols[k],
            "name": self.symbols[k],
            "status": "active",
            "tradable": True,
            "marginable": not crypto,
            "shortable": not crypto,
            "easy_to_borrow": not crypto,
            "fractionable": Decimal(i.lot_size) < 1,
            "attributes": [],
        }
        if crypto:
            out |= {"min_order_size": text(i.qty(i.min_qty)), "min_trade_increment": i.lot_size, "price_increment": i.tick_size}
        else:
            out["maintenance_margin_requirement"] = 30
        return out


def text(value: Decimal | int) -> str:
    """A decimal as the API writes it: no exponent, no trailing zeros.

    >>> text(Decimal("100.10")), text(Decimal("1E+2")), text(Decimal("-0.00"))
    ('100.1', '100', '0')
    """
    out = format(Decimal(value), "f")
    if "." in out:
        out = out.rstrip("0").rstrip(".")
    return "0" if out in ("-0", "") else out


def average(assets: Assets, o: Order) -> Decimal | None:
    """The average price of an order's fills."""
    return None if o.cum == 0 else assets.price(o.instrument, Fraction(o.paid, o.cum))


def rounded(value: Decimal, digits: int = 9) -> str:
    return text(round(value, digits))


def view(assets: Assets, o: Order, nested: bool = True) -> dict:
    """The order as JSON, with its legs where `nested`."""
    k, i = o.instrument, assets.instruments[o.instrument]
    paid = average(assets, o)
    side = "buy" if o.side > 0 else "sell"
    return {
        "id": o.id,
        "client_order_id": o.client_order_id,
        "created_at": utc_text(o.created_at),
        "updated_at": utc_text(o.updated_at or o.created_at),
        "submitted_at": utc_text(o.created_at),
        "filled_at": _when(o.filled_at),
        "expired_at": _when(o.expired_at),
        "canceled_at": _when(o.canceled_at),
        "failed_at": _when(o.failed_at),
        "replaced_at": _when(o.replaced_at),
        "replaced_by": o.replaced_by,
        "replaces": o.replaces,
        "asset_id": assets.ids[k],
        "symbol": assets.symbols[k],
        "asset_class": assets.asset_class(k),
        "notional": None if o.notional is None else text(o.notional),
        "qty": text(i.qty(o.qty)) if o.notional is None else None,
        "filled_qty": text(i.qty(o.cum)),
        "filled_avg_price": None if paid is None else rounded(paid),
        "order_class": o.cls,
        "order_type": o.type,
        "type": o.type,
        "side": side,
        "position_intent": f"{side}_to_{'open' if o.opening else 'close'}",
        "time_in_force": o.tif,
        "limit_price": None if o.limit_px is None else text(i.price(o.limit_px)),
        "stop_price": None if o.stop_px is None else text(i.price(o.stop_px)),
        "status": o.status,
        "extended_hours": o.extended_hours,
        "legs": [view(assets, leg) for leg in o.legs] if nested and o.legs else None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": None,
    }


def activity(assets: Assets, o: Order, ident: str, ts: int, qty: int, px: int) -> dict:
    """A fill that has just been booked, as the account's activities show it."""
    i, done = assets.instruments[o.instrument], o.status == "filled"
    return {
        "id": ident,
        "activity_type": "FILL",
        "transaction_time": utc_text(ts),
        "type": "fill" if done else "partial_fill",
        "price": text(i.price(px)),
        "qty": text(i.qty(qty)),
        "side": "buy" if o.side > 0 else "sell",
        "symbol": assets.symbols[o.instrument],
        "leaves_qty": text(i.qty(o.qty - o.cum)),
        "cum_qty": text(i.qty(o.cum)),
        "order_id": o.id,
        "order_status": "filled" if done else "partially_filled",
    }


def _when(ns: int | None) -> str | None:
    return None if ns is None else utc_text(ns)
