"""Whether an account may send an order: money, shares, short sales, wash trades. Alpaca's rules, and none of the venue's."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from replay.serve.errors import ApiError
from replay.serve.orders import Order, text
from replay.serve.portfolio import MARGIN_EQUITY, Portfolio
from replay.serve.ticket import Ticket

CENT = Decimal("0.01")
LEAST_USD = Decimal(10)  #: what an order of a pair quoted in USD must cost at least

#: (existing, new) on opposite sides: True is always a potential wash trade, False only where their limits cross
ALWAYS = {
    "market": {"market": True, "limit": True, "stop": True, "stop_limit": True},
    "limit": {"market": True, "limit": False, "stop": True, "stop_limit": False},
    "stop": {"market": True, "limit": True, "stop": True, "stop_limit": True},
    "stop_limit": {"market": True, "limit": False, "stop": True, "stop_limit": False},
}


def held(k: int, side: int, working: Iterable[Order]) -> int:
    """Lots that working orders of a side hold; the two legs of a pair hold once."""
    return sum(o.leaves for o in working if o.instrument == k and o.side == side and not o.second)


def wash_trade(new: Order, working: Iterable[Order]) -> None:
    """An order that could trade with one of the account's own is refused; complex orders are exempt."""
    if new.cls:
        return
    for old in working:
        if old.instrument != new.instrument or old.side == new.side or old.cls or old.status == "held":
            continue
        always = ALWAYS[old.type][new.type]
        if always or new.side * (new.limit_px - old.limit_px) >= 0:
            why = "market/stop" if always and old.type != "limit" else "limit"
            raise ApiError.forbidden(
                "potential wash trade detected. use complex orders",
                existing_order_id=old.id,
                reject_reason=f"opposite side {why} order exists",
            )


def exits(p: Portfolio, o: Order, t: Ticket) -> None:
    """The stated intent is the real one; brackets and OTO are entries, whose exits lie a cent or more on their sides of the base price:
    the entry's limit, else the ask of a purchase and the bid of a sale. Raises `ApiError`."""
    side, inferred = ("buy" if o.side > 0 else "sell"), "open" if o.opening else "close"
    if t.intent is not None and t.intent != f"{side}_to_{inferred}":
        raise ApiError.refused(f"position intent mismatch, inferred: {side}_to_{inferred}, specified: {t.intent}")
    if t.cls not in ("bracket", "oto"):
        return
    if not o.opening or o.type not in ("market", "limit"):
        raise ApiError.refused(f"{t.cls} orders must be entry orders")
    k, touch = o.instrument, p.market.touch(o.instrument)
    base = t.limit_px or (touch.ask_px if o.side > 0 else touch.bid_px) or p.market.price(k)
    if not base:
        return
    for name, px, way in (("take_profit.limit_price", t.take_px, o.side), ("stop_loss.stop_price", t.loss_px, -o.side)):
        if px is not None and way * (p.assets.price(k, px) - p.assets.price(k, base)) < CENT:
            relation = ">= base_price + 0.01" if way > 0 else "<= base_price - 0.01"
            raise ApiError.refused(f"{name} must be {relation}", base_price=text(p.assets.price(k, base)))


def may_send(p: Portfolio, o: Order, working: list[Order], replaced: Order | None = None) -> None:
    """Raise `ApiError` where the account may not send `o` (in the place of `replaced`) beside its `working` orders."""
    others = [w for w in working if w is not replaced]
    wash_trade(o, others)
    k, i, pos = o.instrument, p.assets.instruments[o.instrument], p.qty(o.instrument)
    if pos * o.side < 0:
        available = max(0, abs(pos) - held(k, o.side, others))
        if o.qty > available:
            raise ApiError.forbidden(
                f"insufficient qty available for order (requested: {text(i.qty(o.qty))}, available: {text(i.qty(available))})",
                available=text(i.qty(available)),
                existing_qty=text(i.qty(abs(pos))),
                held_for_orders=text(i.qty(abs(pos) - available)),
                related_orders=[w.id for w in others if w.instrument == k and w.side == o.side and not w.second],
                symbol=p.assets.symbols[k],
            )
        return
    if o.side < 0 and p.assets.is_crypto(k):
        base = i.base
        raise ApiError.forbidden(f"insufficient balance for {base} (requested: {text(i.qty(o.qty))}, available: 0)", symbol=base)
    if o.side < 0 and (o.notional is not None or i.qty(o.qty) % 1):
        raise ApiError.refused("fractional orders cannot be sold short")
    if o.side < 0 and p.equity() < MARGIN_EQUITY:
        raise ApiError.forbidden("account is not allowed to short")
    if o.cls == "oco":
        raise ApiError.refused("oco orders must be exit orders")
    cost = o.lot_cost * o.qty
    if p.assets.is_crypto(k) and i.currency == "USD" and 0 < cost < LEAST_USD:
        raise ApiError.forbidden(f"cost basis must be >= minimal amount of order {LEAST_USD}")
    power = p.cash_power(others) if p.assets.is_crypto(k) else p.buying_power(others)
    if cost > power:
        figures = {"buying_power": text(round(power, 2)), "cost_basis": text(round(cost, 2))}
        raise ApiError.forbidden("insufficient buying power", **figures)


def lots_for(p: Portfolio, k: int, notional: Decimal) -> int:
    """Whole lots that `notional` buys at the ask."""
    px = p.market.touch(k).ask_px or p.market.price(k)
    return int(notional / p.assets.value(k, px)) if px else 0
