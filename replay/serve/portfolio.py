"""Cash, positions and buying power of one account, and their JSON."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction

from replay.data.times import utc_text
from replay.serve.market import Market
from replay.serve.orders import Assets, Order, rounded, text

MARGIN = Decimal("0.5")  # initial requirement of a US equity; crypto is paid in full
MAINTENANCE = Decimal("0.3")
SHORT_MARGIN_PX = Decimal("1.03")  # a short reserves the ask and 3 %
MARGIN_EQUITY = Decimal(2_000)  # below it: no leverage and no short sales


@dataclasses.dataclass(slots=True)
class Position:
    """`qty` in lots with a sign; `cost` in lots x ticks with the same sign, exact."""

    qty: int = 0
    cost: Fraction = Fraction(0)


class Portfolio:
    """What an account holds, valued at what its clients have seen of the market."""

    def __init__(self, assets: Assets, market: Market, capital: Decimal):
        self.assets, self.market = assets, market
        self.cash = self.initial = capital
        self.positions: dict[int, Position] = {}

    def qty(self, k: int) -> int:
        """Lots held, with a sign."""
        p = self.positions.get(k)
        return p.qty if p else 0

    def fill(self, k: int, signed: int, px: int) -> None:
        """Book a fill of `signed` lots at `px` ticks."""
        self.cash -= self.assets.value(k, signed * px)
        p = self.positions.setdefault(k, Position())
        if p.qty * signed >= 0:
            p.cost += signed * px
        elif abs(signed) <= abs(p.qty):
            p.cost -= p.cost * abs(signed) / abs(p.qty)
        else:
            p.cost = Fraction((p.qty + signed) * px)
        p.qty += signed
        if p.qty == 0:
            del self.positions[k]

    # --- values ------------------------------------------------------------------------------------------------------------
    def _value(self, k: int, lots_ticks: Fraction | int) -> Decimal:
        if isinstance(lots_ticks, Fraction):
            return self.assets.value(k, lots_ticks.numerator) / lots_ticks.denominator
        return self.assets.value(k, lots_ticks)

    def worth(self, k: int) -> Decimal:
        """The market value of a position, with a sign."""
        return self._value(k, self.qty(k) * self.market.price(k))

    def equity(self) -> Decimal:
        return self.cash + sum((self.worth(k) for k in self.positions), Decimal(0))

    def multiplier(self) -> int:
        return 2 if self.equity() >= MARGIN_EQUITY else 1

    def margin(self, requirement: Decimal) -> Decimal:
        """What positions bind: `requirement` of equities, all of crypto."""
        return sum((abs(self.worth(k)) * (1 if self.assets.is_crypto(k) else requirement) for k in self.positions), Decimal(0))

    def buying_power(self, working: list[Order]) -> Decimal:
        """What new positions in equities may cost; `working` orders reserve theirs."""
        free = self.equity() - self.margin(MARGIN) if self.multiplier() == 2 else self.cash
        return max(Decimal(0), free * self.multiplier() - self.reserved(working))

    def cash_power(self, working: list[Order]) -> Decimal:
        """What may be spent on what cannot be bought on margin."""
        return max(Decimal(0), min(self.cash, self.equity() - self.margin(MARGIN)) - self.reserved(working))

    def reserved(self, working: list[Order]) -> Decimal:
        """What open orders may still cost: those that close a position cost nothing, as far as there is one."""
        cover = {(k, -1 if p.qty > 0 else 1): abs(p.qty) for k, p in self.positions.items()}
        total = Decimal(0)
        for o in working:
            if o.second:
                continue
            key, leaves = (o.instrument, o.side), o.qty - o.cum
            closing = min(cover.get(key, 0), leaves)
            if closing:
                cover[key] -= closing
            if closing < leaves:
                total += o.lot_cost * (leaves - closing)
        return total

    def lot_cost(self, k: int, side: int, px: int | None) -> Decimal:
        """What opening a lot costs: long at the limit or the ask; short at the dearer of the limit and the ask and 3 %."""
        ask = self.market.touch(k).ask_px or self.market.price(k)
        if side > 0:
            return self._value(k, px or ask)
        return max(self._value(k, px or 0), self._value(k, ask) * SHORT_MARGIN_PX)

    # --- JSON --------------------------------------------------------------------------------------------------------------
    def position_view(self, k: int, available: int) -> dict:
        """One position; `available` lots are not held by orders."""
        a, p = self.assets, self.positions[k]
        i, price = a.instruments[k], self.market.price(k)
        cost, worth = self._value(k, p.cost), self.worth(k)
        gain = worth - cost
        share = rounded(gain / abs(cost)) if cost else "0"
        return {
            "asset_id": a.ids[k],
            "symbol": a.position_symbol(k),
            "exchange": "" if a.is_crypto(k) else "NASDAQ",
            "asset_class": a.asset_class(k),
            "asset_marginable": not a.is_crypto(k),
            "avg_entry_price": rounded(a.price(k, p.cost / p.qty)),
            "qty": text(i.qty(p.qty)),
            "qty_available": text(i.qty(available)),
            "side": "long" if p.qty > 0 else "short",
            "market_value": rounded(worth),
            "cost_basis": rounded(cost),
            "unrealized_pl": rounded(gain),
            "unrealized_plpc": share,
            "unrealized_intraday_pl": rounded(gain),
            "unrealized_intraday_plpc": share,
            "current_price": text(a.price(k, price)),
            "lastday_price": text(a.price(k, price)),
            "change_today": "0",
        }

    def account_view(self, number: str, ident: str, working: list[Order]) -> dict:
        """The account."""
        equity, power = self.equity(), self.buying_power(working)
        values = [self.worth(k) for k in self.positions]
        long, short = sum((v for v in values if v > 0), Decimal(0)), sum((v for v in values if v < 0), Decimal(0))
        blocked = dict.fromkeys(("trading_blocked", "transfers_blocked", "account_blocked", "trade_suspended_by_user"), False)
        start = self.market.session.manifest.start_ns
        return {
            "id": ident,
            "account_number": number,
            "status": "ACTIVE",
            "crypto_status": "ACTIVE",
            "currency": "USD",
            "created_at": utc_text(start),
            "balance_asof": utc_text(start)[:10],
            "multiplier": str(self.multiplier()),
            "shorting_enabled": equity >= MARGIN_EQUITY,
            "cash": rounded(self.cash, 2),
            "equity": rounded(equity, 2),
            "portfolio_value": rounded(equity, 2),
            "last_equity": rounded(self.initial, 2),
            "long_market_value": rounded(long, 2),
            "short_market_value": rounded(short, 2),
            "position_market_value": rounded(long - short, 2),
            "initial_margin": rounded(self.margin(MARGIN), 2),
            "maintenance_margin": rounded(self.margin(MAINTENANCE), 2),
            "last_maintenance_margin": "0",
            "buying_power": rounded(power, 2),
            "regt_buying_power": rounded(power, 2),
            "non_marginable_buying_power": rounded(self.cash_power(working), 2),
            "options_buying_power": "0",
            "options_approved_level": 0,
            "options_trading_level": 0,
            "sma": "0",
            "accrued_fees": "0",
            "intraday_adjustments": "0",
            "pending_reg_taf_fees": "0",
            "pending_transfer_in": "0",
            "pending_transfer_out": "0",
            **blocked,
        }
