"""Limits as a person writes them: a TOML file or keyword arguments, checked, then laid out in the trader's units."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec

from replay.data.instruments import MAX_INT, Instrument
from replay.errors import UNREADABLE, BadInput

MONEY = Decimal(10) ** 8
SHARE = Decimal(10) ** 6
MOST, MOST_S, MOST_COUNT = 10**18, 10**9, 10**6  #: of an amount; of seconds; of what is kept one by one


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every limit is optional; 0 or empty means none. Quantities in units (shares, coins), money in the base currency, shares
    as fractions of equity, times in seconds. `Limits()` is the profile ``open``.

    >>> Limits(max_position=500, collar_bps=20).max_position
    500
    """

    allow: tuple[str, ...] = ()
    max_order_qty: Decimal = Decimal(0)
    max_order_notional: Decimal = Decimal(0)
    max_position: Decimal = Decimal(0)
    max_position_notional: Decimal = Decimal(0)
    max_position_share: Decimal = Decimal(0)
    max_gross: Decimal = Decimal(0)
    max_net: Decimal = Decimal(0)
    max_leverage: Decimal = Decimal(0)
    collar_bps: int = 0
    max_spread_bps: int = 0
    max_orders: int = 0
    order_window_s: Decimal = Decimal(60)
    max_messages: int = 0
    message_window_s: Decimal = Decimal(60)
    max_risk_per_trade: Decimal = Decimal(0)
    max_risk_share: Decimal = Decimal(0)
    max_quote_age_s: Decimal = Decimal(0)
    max_daily_loss: Decimal = Decimal(0)
    max_total_loss: Decimal = Decimal(0)
    max_drawdown: Decimal = Decimal(0)
    max_drawdown_share: Decimal = Decimal(0)
    reject_spike: int = 0
    reject_window_s: Decimal = Decimal(60)
    halt_escalate_s: Decimal = Decimal(0)
    flatten: bool = False
    account_rules: bool = False

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, (int, Decimal)) and not (Decimal(value).is_finite() and value >= 0):
                raise ValueError(f"{name} must be a number of at least 0, got {value}")
            most = MOST_COUNT if name in _COUNTS else MOST_S if name.endswith("_s") else MOST
            if isinstance(value, (int, Decimal)) and value > most:
                raise ValueError(f"{name} must be at most {most:,}, got {value}: leave it out for no limit")

    @staticmethod
    def load(path: str | Path) -> Limits:
        """Read limits from TOML. Raises `BadInput` for a missing file, an unknown name or a wrong type."""
        try:
            with open(path, "rb") as f:
                return msgspec.convert(tomllib.load(f, parse_float=Decimal), Limits, strict=False)
        except OSError as e:
            raise BadInput(f"limits {path}: {e.strerror or e}: name a TOML file with limits, or leave --limits out") from None
        except UNREADABLE as e:
            raise BadInput(f"limits {path}: {e}: correct it; docs/limits.md lists every limit with its unit") from None

    def check_of_strategy(self) -> None:
        """Raise `BadInput` if a limit is set that is not one of a strategy's own."""
        for name, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            if name not in OF_A_STRATEGY and getattr(self, name) != default:
                raise BadInput(
                    f"strategy limits: {name} is a limit of the account: set it there; a strategy's own are {', '.join(OF_A_STRATEGY)}"
                )

    def row(self, instrument: Instrument) -> dict[str, int]:
        """The limits of one instrument in lots, 1e-8 money, 1e-6 shares and ns. A quantity is rounded down to whole lots."""
        lot = Decimal(instrument.lot_size)
        ns = {n: int(getattr(self, n.removesuffix("ns") + "s") * 10**9) for n in _NS}
        return {
            "max_order_qty": _at_least_one(self.max_order_qty, self.max_order_qty / lot),
            "max_position": _at_least_one(self.max_position, self.max_position / lot),
            **{n: _at_least_one(getattr(self, n), getattr(self, n) * MONEY) for n in _MONEY},
            **{n: _at_least_one(getattr(self, n), getattr(self, n) * SHARE) for n in _SHARE},
            **{n: int(getattr(self, n)) for n in _COUNTS},
            "flatten": int(self.flatten),
            "account_rules": int(self.account_rules),
            **ns,
        }


OF_A_STRATEGY = ("max_order_qty", "max_order_notional", "max_position", "max_position_notional", "max_position_share")
_NS = ("order_window_ns", "message_window_ns", "max_quote_age_ns", "reject_window_ns", "halt_escalate_ns")
_MONEY = [
    "max_order_notional",
    "max_position_notional",
    "max_gross",
    "max_net",
    "max_risk_per_trade",
    "max_daily_loss",
    "max_total_loss",
    "max_drawdown",
]
_COUNTS = ("collar_bps", "max_spread_bps", "max_orders", "max_messages", "reject_spike")
_SHARE = ["max_position_share", "max_leverage", "max_risk_share", "max_drawdown_share"]


def _at_least_one(wanted: Decimal, value: Decimal) -> int:
    """A limit below one unit still is a limit: it must not become 0, which means none."""
    return min(max(1, int(value)), MAX_INT - 1) if wanted else 0
