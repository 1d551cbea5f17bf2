"""What may be asked of each path: the query parameters of Alpaca's API descriptions with the values they may have. Anything else is 400.

A parameter's rule is a tuple of its values, a pattern, or a range of whole numbers; None leaves its value to the endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from replay.serve.errors import ApiError

Rule = tuple[str, ...] | re.Pattern[str] | range | None
Rules = Mapping[str, Rule]

YES_NO = ("true", "false")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+ -]\d\d:?\d\d)?)?")
SORT = ("asc", "desc")
FEEDS = ("iex", "otc", "sip", "boats")
LATEST_FEEDS = ("delayed_sip", "iex", "otc", "sip", "boats", "overnight")
ADJUSTMENT = re.compile(r"(raw|split|dividend|spin-off|all)(,(raw|split|dividend|spin-off|all))*")
INSENSITIVE = frozenset({"true", "false"})

_PAGE: Rules = {"start": TIME, "end": TIME, "limit": range(1, 10_001), "page_token": None, "sort": SORT}
_STOCK: Rules = {**_PAGE, "feed": FEEDS, "asof": re.compile(r"-|\d{4}-\d\d-\d\d"), "currency": ("USD",)}
_BARS: Rules = {"timeframe": None}

STOCK_PAGE: Mapping[str, Rules] = {
    "bars": {**_STOCK, **_BARS, "adjustment": ADJUSTMENT},
    "trades": _STOCK,
    "quotes": _STOCK,
}
CRYPTO_PAGE: Mapping[str, Rules] = {"bars": {**_PAGE, **_BARS}, "trades": _PAGE, "quotes": _PAGE}
STOCK_LATEST: Rules = {"feed": LATEST_FEEDS, "currency": ("USD",)}
SYMBOLS: Rules = {"symbols": None}

ORDERS: Rules = {
    "status": ("open", "closed", "all"),
    "limit": range(1, 501),
    "after": TIME,
    "until": TIME,
    "direction": SORT,
    "nested": YES_NO,
    "symbols": None,
    "side": ("buy", "sell"),
    "asset_class": None,
    "before_order_id": None,
    "after_order_id": None,
}
ACTIVITIES: Rules = {
    "date": TIME,
    "until": TIME,
    "after": TIME,
    "direction": SORT,
    "page_size": range(1, 101),
    "page_token": None,
}
EVERY_ACTIVITY: Rules = {**ACTIVITIES, "activity_types": None, "category": ("trade_activity", "non_trade_activity")}
PORTFOLIO: Rules = {
    "period": re.compile(r"[1-9]\d{0,3}[DWMA]"),
    "timeframe": ("1Min", "5Min", "15Min", "1H", "1D"),
    "intraday_reporting": ("market_hours", "extended_hours", "continuous"),
    "start": TIME,
    "end": TIME,
    "pnl_reset": ("no_reset", "per_day"),
    "extended_hours": YES_NO,
    "cashflow_types": None,
}
ASSETS: Rules = {
    "status": ("active", "inactive", "all"),
    "asset_class": ("us_equity", "us_option", "crypto", "crypto_perp"),
    "exchange": None,
    "attributes": None,
}
CALENDAR: Rules = {"start": TIME, "end": TIME, "date_type": ("TRADING", "SETTLEMENT")}


def bad(message: str) -> ApiError:
    """A question that cannot be."""
    return ApiError(400, 40010000, message)


def unknown(query: Mapping[str, str], rules: Rules) -> list[str]:
    """The names nobody reads.

    >>> unknown({"start": "2026-03-02", "colour": "red"}, CALENDAR)
    ['colour']
    """
    return [name for name in query if name not in rules]


def examine(query: Mapping[str, str], rules: Rules) -> None:
    """Raises `ApiError` for a parameter the path does not have, and for a value that it cannot have. An empty one counts as left out.

    >>> examine({"start": "2026-03-02", "date_type": "SETTLEMENT"}, CALENDAR)
    >>> examine({"limit": "-1"}, ORDERS)
    Traceback (most recent call last):
    ...
    replay.serve.errors.ApiError: limit must be a whole number from 1 to 500, got -1
    """
    names = unknown(query, rules)
    if names:
        raise bad(f"unexpected query parameter: {', '.join(n[:64] for n in names[:8])}: there are {', '.join(rules) or 'none'}")
    for name, value in query.items():
        rule = rules[name]
        if not value or rule is None:
            continue
        if isinstance(rule, range):
            if not (value.isascii() and value.isdigit() and int(value[:12]) in rule):
                raise bad(f"{name} must be a whole number from {rule.start} to {rule.stop - 1}, got {value[:64]}")
        elif isinstance(rule, tuple):
            if (value.lower() if INSENSITIVE.issuperset(rule) else value) not in rule:
                raise bad(f"invalid {name}: {value[:64]}: expected one of {', '.join(rule)}")
        elif not rule.fullmatch(value):
            raise bad(f"invalid {name}: {value[:64]}")


def yes(query: Mapping[str, str], name: str) -> bool:
    """Whether a parameter says true."""
    return query.get(name, "").lower() == "true"
