"""What a client asks for: the JSON of an order or of a replacement, read and refused as Alpaca would."""

from __future__ import annotations

import dataclasses
from decimal import Decimal, InvalidOperation

from replay.errors import BadInput
from replay.serve.errors import ApiError
from replay.serve.orders import CLASSES, TIFS, TYPES, Assets

#: known to Alpaca and not simulated here
NOT_SIMULATED = {"type": ("trailing_stop",), "time_in_force": ("opg", "cls"), "order_class": ("mleg",)}
MAX_ID = 128
INTENTS = {1: ("buy_to_open", "buy_to_close"), -1: ("sell_to_open", "sell_to_close")}
#: what an order may say; anything else is read by nobody
FIELDS = frozenset(
    [
        "symbol",
        "qty",
        "notional",
        "side",
        "type",
        "time_in_force",
        "limit_price",
        "stop_price",
        "trail_price",
        "trail_percent",
        "extended_hours",
        "client_order_id",
        "order_class",
        "legs",
        "take_profit",
        "stop_loss",
        "position_intent",
        "advanced_instructions",
    ]
)


@dataclasses.dataclass(frozen=True, slots=True)
class Ticket:
    """A well-formed order: lots and ticks. `notional`: money instead of `qty` (0 then), still to be turned into lots."""

    instrument: int
    side: int
    type: str
    tif: str
    qty: int
    notional: Decimal | None
    limit_px: int | None
    stop_px: int | None
    cls: str
    take_px: int | None
    loss_px: int | None
    loss_limit_px: int | None
    extended_hours: bool
    client_order_id: str | None
    intent: str | None


MOST_PLACES = 30  #: in front of a number's point, or behind it


def number(value, name: str) -> Decimal | None:
    """A positive number of the request, written as a JSON number or as text; None where it is not there."""
    if value is None or value == "":
        return None
    try:
        out = Decimal(str(value))
    except InvalidOperation:
        out = Decimal("NaN")
    if (
        isinstance(value, bool)
        or not out.is_finite()
        or abs(out.adjusted()) > MOST_PLACES
        or out.as_tuple().exponent < -MOST_PLACES
    ):
        raise ApiError.field(f"{name} must be a number")
    if out <= 0:
        raise ApiError.field(f"{name} must be > 0")
    return out


def choice(body: dict, name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    value = body.get(name, default)
    if value is None:
        raise ApiError.field(f"{name} is required")
    if value in NOT_SIMULATED.get(name, ()):
        raise ApiError.refused(f"{name} {value} is not simulated")
    if value not in allowed:
        raise ApiError.field(f"invalid {name}: {value}")
    return value


def ticks(assets: Assets, k: int, value, name: str) -> int | None:
    """A price of the request, in ticks. US equities: two decimals from 1 dollar on, four below."""
    px = number(value, name)
    if px is None:
        return None
    decimals = -px.normalize().as_tuple().exponent
    finest = decimals <= (2 if px >= 1 else 4)
    try:
        if finest or assets.is_crypto(k):
            return assets.instruments[k].ticks(px)
    except BadInput:
        pass
    raise ApiError.refused(f"invalid {name} {px}. sub-penny increment does not fulfill minimum pricing criteria")


def lots(assets: Assets, k: int, value, tif: str) -> int:
    """A quantity of the request, in lots."""
    qty = number(value, "qty")
    if qty is None:
        return 0
    i = assets.instruments[k]
    fractional = qty != qty.to_integral_value()
    if fractional and not assets.is_crypto(k):
        if tif != "day":
            raise ApiError.refused("fractional orders must be DAY orders")
        if Decimal(i.lot_size) >= 1:
            raise ApiError.forbidden(f'asset "{assets.symbols[k]}" is not fractionable')
    try:
        n = i.lots(qty)
    except BadInput:
        raise ApiError.refused(f"qty increment must be {i.lot_size}") from None
    if n < i.min_qty:
        raise ApiError.refused(f"qty must be at least {i.qty(i.min_qty)}")
    return n


def client_id(body: dict) -> str | None:
    coid = body.get("client_order_id")
    if coid in (None, ""):
        return None
    if not isinstance(coid, str) or len(coid) > MAX_ID:
        raise ApiError.field(f"client_order_id must be no more than {MAX_ID} characters")
    return coid


def parse(assets: Assets, body: object) -> Ticket:
    """The order a request body describes. Raises `ApiError`."""
    if not isinstance(body, dict):
        raise ApiError(400, 40010000, "request body format is invalid")
    coid = client_id(body)
    symbol = body.get("symbol")
    if not symbol:
        raise ApiError.field("symbol is required")
    k = assets.find(symbol) if isinstance(symbol, str) else None
    if k is None or (assets.is_crypto(k) and symbol == assets.position_symbol(k)):  # pairs want their slash
        raise ApiError.refused(f'asset "{symbol}" not found')
    side = 1 if choice(body, "side", ("buy", "sell")) == "buy" else -1
    cls = choice(body, "order_class", CLASSES, "")
    cls = "" if cls == "simple" else cls
    profit, loss = _leg(body, "take_profit"), _leg(body, "stop_loss")
    kind = choice(body, "type", TYPES, "limit" if cls == "oco" else None)
    tif = choice(body, "time_in_force", TIFS)
    notional, qty = number(body.get("notional"), "notional"), body.get("qty")
    if notional is None and qty in (None, ""):
        raise ApiError.field("qty or notional is required")
    if notional is not None and qty not in (None, ""):
        raise ApiError.field("only one of qty or notional is accepted")
    limit_px = ticks(assets, k, body.get("limit_price"), "limit_price")
    stop_px = ticks(assets, k, body.get("stop_price"), "stop_price")
    take_px = ticks(assets, k, profit.get("limit_price"), "take_profit.limit_price")
    if cls == "oco" and limit_px is None:
        limit_px = take_px
    t = Ticket(
        k,
        side,
        kind,
        tif,
        0 if notional is not None else lots(assets, k, qty, tif),
        notional,
        limit_px,
        stop_px,
        cls,
        take_px,
        ticks(assets, k, loss.get("stop_price"), "stop_loss.stop_price"),
        ticks(assets, k, loss.get("limit_price"), "stop_loss.limit_price"),
        bool(body.get("extended_hours") or False),
        coid,
        _intent(body, side),
    )
    _prices(t)
    _venue_rules(assets, t)
    _complex(t, {name for name in ("take_profit", "stop_loss") if body.get(name)})
    return t


def _intent(body: dict, side: int) -> str | None:
    """What the client says the order does to its position."""
    intent = body.get("position_intent")
    if intent in (None, ""):
        return None
    if intent not in INTENTS[side]:
        raise ApiError.field("invalid position_intent specified")
    return intent


def _leg(body: dict, name: str) -> dict:
    leg = body.get(name) or {}
    if not isinstance(leg, dict):
        raise ApiError.field(f"{name} must be an object")
    return leg


def _prices(t: Ticket) -> None:
    """Every type has its prices and no others."""
    wants_limit, wants_stop = t.type in ("limit", "stop_limit"), t.type in ("stop", "stop_limit")
    for wanted, px, name in ((wants_limit, t.limit_px, "limit price"), (wants_stop, t.stop_px, "stop price")):
        if wanted and px is None:
            raise ApiError.field(f"{t.type} orders require {name}")
        if not wanted and px is not None:
            raise ApiError.field(f"{t.type} orders must not have {name}")


def _venue_rules(assets: Assets, t: Ticket) -> None:
    if assets.is_crypto(t.instrument):
        if t.type == "stop":
            raise ApiError.field("invalid type for crypto order: stop")
        if t.tif not in ("gtc", "ioc"):
            raise ApiError.field("invalid crypto time_in_force")
        if t.cls:
            raise ApiError.refused("crypto orders must be simple")
    if t.notional is not None:
        if not assets.is_crypto(t.instrument) and t.tif != "day":
            raise ApiError.refused("notional orders must be DAY orders")
        if Decimal(assets.instruments[t.instrument].lot_size) >= 1:
            raise ApiError.forbidden(f'asset "{assets.symbols[t.instrument]}" is not fractionable')
        if t.notional < 1:
            raise ApiError.forbidden("cost basis must be >= minimal amount of order 1")
    if t.extended_hours and (t.type != "limit" or t.tif not in ("day", "gtc")):
        raise ApiError.refused("extended hours order must be DAY or GTC limit orders")


def _complex(t: Ticket, given: set[str]) -> None:
    """Brackets, OCO, OTO."""
    if not t.cls:
        if given:
            raise ApiError.refused(f"simple orders must not have {sorted(given)[0]}")
        return
    if t.tif not in ("day", "gtc"):
        raise ApiError.refused("complex orders only support DAY and GTC time in force")
    if t.extended_hours:
        raise ApiError.refused("complex orders do not support extended hours")
    if t.notional is not None:
        raise ApiError.refused("complex orders do not support notional")
    needs = {"bracket": {"take_profit", "stop_loss"}, "oco": {"take_profit", "stop_loss"}}.get(t.cls)
    if needs and given != needs and not (t.cls == "oco" and given == {"stop_loss"} and t.limit_px is not None):
        raise ApiError.refused(f"{t.cls} orders require take_profit and stop_loss")
    if t.cls == "oto" and len(given) != 1:
        raise ApiError.refused("oto orders require either take_profit or stop_loss")
    if t.cls == "oco" and t.type != "limit":
        raise ApiError.refused("oco orders must be limit orders")
    if "take_profit" in given and t.take_px is None:
        raise ApiError.field("take_profit.limit_price is required")
    if "stop_loss" in given and t.loss_px is None:
        raise ApiError.field("stop_loss.stop_price is required")
    exit_side = t.side if t.cls == "oco" else -t.side
    take = t.limit_px if t.cls == "oco" else t.take_px
    if take is not None and t.loss_px is not None and -exit_side * (take - t.loss_px) <= 0:
        relation = ">" if exit_side < 0 else "<"
        raise ApiError.refused(f"{t.cls} orders require take_profit.limit_price {relation} stop_loss.stop_price")
