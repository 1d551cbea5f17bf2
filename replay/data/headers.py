"""Names of columns: which of a file's are canonical, what the others may be, and tables of several symbols side by side.

A name counts as canonical whatever its case and the blanks or brackets about it. Any other is a question, asked for all at once with what
each may be; one that means nothing here would be left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from replay.data.questions import Question
from replay.errors import BadInput

COLUMNS = (
    *("ts_event", "ts_recv", "date", "time", "symbol", "kind", "side", "price", "size", "bid_px", "bid_sz", "ask_px", "ask_sz"),
    *("open", "high", "low", "close", "volume", "interval", "action", "order_id", "conditions", "exchange", "flags"),
)
OHLC = frozenset(("open", "high", "low", "close"))
_MEANT = {
    "ts_event": "datetime date_time date time timestamp open_time opentime ts t unix unix_timestamp event_time exchange_timestamp "
    "exchange_time transact_time trade_time sip_timestamp participant_timestamp timestamp_utc gmt_time local_time",
    "ts_recv": "local_timestamp receive_time received_at recv_time received ts_received receive_timestamp",
    "symbol": "ticker sym instrument pair s code market contract",
    "open": "o open_price", "high": "h high_price", "low": "l low_price", "close": "c close_price",
    "volume": "vol v base_volume volume_base vol.",
    "price": "px p last last_price trade_price rate",
    "size": "qty quantity amount sz shares last_size trade_size q",
    "bid_px": "bid bid_price bidprice best_bid best_bid_price bp bidpx", "bid_sz": "bid_size bidsize bid_qty bid_amount bs best_bid_qty",
    "ask_px": "ask ask_price askprice best_ask best_ask_price ap offer askpx", "ask_sz": "ask_size asksize ask_qty ask_amount as best_ask_qty",
    "order_id": "id trade_id tradeid tid trade_number",
    "side": "aggressor_side taker_side aggressor",
    "conditions": "condition sale_condition sale_conditions cond conds",
    "exchange": "venue",
}  # fmt: skip
MEANT = {word: column for column, words in _MEANT.items() for word in words.split()}
_OF_TRADES = frozenset(("price", "size", "bid_px", "bid_sz", "ask_px", "ask_sz", "order_id", "side"))
_NUMBER = re.compile(r"[-+]?\d[\d.:T -]*")
_PAIR = re.compile(r"\('([^']*)', '([^']*)'\)")
_FIELDS = frozenset(("open", "high", "low", "close", "adj_close", "volume", "dividends", "stock_splits", "capital_gains"))


MOST_NAMED = 12  #: columns that an error names, or leaves out one by one


class Wanted(NamedTuple):
    """Columns to read, by their position in the file: what each is, and how the file calls it; of one symbol where several stand side by
    side, else None."""

    columns: dict[int, tuple[str, str]]
    symbol: str | None = None


def plain(name: str) -> str:
    """A name without what does not matter.

    >>> plain("  <OPEN> "), plain("Bid Px")
    ('open', 'bid_px')
    """
    return re.sub(r"[\s_]+", "_", name.strip(" \t\"'<>\ufeff").lower())


def columns_of(path: Path, held: Sequence[str], names: dict[str, str], dated: bool = False) -> list[Wanted]:
    """Which of the file's columns `held` to read, and as what, by `names` (file's name, or ``*`` -> canonical, "" leaves out).

    One `Wanted`, or one a symbol of a table that has several side by side. `dated`: the first column has times, whatever it is called.
    Raises `Question`, `BadInput`.
    """
    pairs = [(m[1], m[2]) if (m := _PAIR.fullmatch(name)) else None for name in held]
    if sum(p is not None for p in pairs) > 1:
        return _side_by_side(path, held, pairs, names)
    return [Wanted(_wanted(path, held, names, dated))]


def _wanted(path: Path, held: Sequence[str], names: dict[str, str], dated: bool) -> dict[int, tuple[str, str]]:
    called = [name.strip() for name in held]
    missing = [name for name in names if name not in called and name not in held and name != "*"]
    if missing:
        raise BadInput(f"{path}: no column {missing[0]!r} to rename, the file has {', '.join(called)}: correct --columns")
    known = {k: c for k, name in enumerate(called) if (c := plain(name)) in COLUMNS}
    if not {"date", "time"} <= set(known.values()) or "ts_event" in known.values():
        known = {k: c for k, c in known.items() if c not in ("date", "time")}  # a date alone is a time, or something else
    wanted: dict[int, tuple[str, str]] = {}
    unknown = []
    for k, name in enumerate(called):
        to = names.get(held[k], names.get(name, known.get(k, names.get("*"))))
        if to is None:
            unknown.append(k)
        elif to and any(to == other for other, _ in wanted.values()):
            raise BadInput(f"{path}: two columns are {to}, the second is {name!r}: correct --columns")
        elif to:
            wanted[k] = (to, name)
    if unknown:
        raise _unknown(path, called, unknown, {to for to, _ in wanted.values()}, dated)
    held_now = {to for to, _ in wanted.values()}
    if "ts_event" not in held_now and not {"date", "time"} <= held_now:
        raise BadInput(
            f"{path}: no column ts_event, the file has {', '.join(called)}: name the column of times, as in --columns date=ts_event, or "
            f"two of them date and time"
        )
    return wanted


def _unknown(path: Path, called: Sequence[str], unknown: Sequence[int], taken: set[str], dated: bool) -> Question:
    names = [called[k] for k in unknown]
    if len(unknown) == len(called) and all(_NUMBER.fullmatch(name) for name in names):
        return Question(
            f"{path}: its first line holds values ({', '.join(names[:4])}), names are expected there: add a line of names"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return Question(f"{path}: two columns are called {twice!r}: rename one in the file")
    bars = bool(OHLC & (taken | {MEANT.get(plain(name), "") for name in names}))
    renamed, taken = {}, set(taken)
    if {"date", "time"} <= {plain(name) for name in names} and "ts_event" not in taken:
        renamed = {name: plain(name) for name in names if plain(name) in ("date", "time")}
        taken.add("ts_event")
    for name in names:
        if name not in renamed:
            to = _meant(name, bars)
            if (
                not name
                and called[0] == ""
                and dated
                and "ts_event" not in taken
                and not any(_meant(n, bars) == "ts_event" for n in names if n)
            ):
                to = "ts_event"
            renamed[name] = "" if to in taken else to
            taken |= {to} - {""}
    what = ", ".join(f"{n!r}" for n in names[:MOST_NAMED]) + (
        f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    )
    if list(renamed.values()).count("") > MOST_NAMED:
        renamed = {n: to for n, to in renamed.items() if to} | {"*": ""}
    said = ",".join(f"{n}={to}" for n, to in renamed.items())
    near = next((f", the nearest expected is {to}" for to in renamed.values() if to), "") if len(names) == 1 else ""
    return Question(
        f"{path}: unknown column{'s' if len(names) > 1 else ''} {what}{near}: say what each is, or leave it out (NAME=), as in --columns '{said}'",
        renamed=renamed,
    )  # fmt: skip


def _meant(name: str, bars: bool) -> str:
    """What a column may be, "" for nothing that is read."""
    low = plain(name)
    to = low if low in COLUMNS else MEANT.get(low, "")
    if low in ("date", "time"):
        to = "ts_event"
    if not to:
        near = difflib.get_close_matches(low, COLUMNS, 1, 0.8)
        to = near[0] if near else ""
    return "" if bars and to in _OF_TRADES else to


def _side_by_side(
    path: Path, held: Sequence[str], pairs: Sequence[tuple[str, str] | None], names: dict[str, str]
) -> list[Wanted]:
    """A table of (field, symbol) columns beside one of times, as the downloader yfinance writes it."""
    fields = max((0, 1), key=lambda k: sum(plain(p[k]) in _FIELDS for p in pairs if p))
    times = [k for k, p in enumerate(pairs) if p is None]
    if len(times) != 1:
        raise BadInput(
            f"{path}: one column of times expected beside those of the symbols, got {len(times)}: write it without others"
        )
    out: dict[str, dict[int, tuple[str, str]]] = {}
    for k, pair in enumerate(pairs):
        if pair is not None:
            field, symbol = plain(pair[fields]), pair[1 - fields]
            of = out.setdefault(symbol, {times[0]: ("ts_event", held[times[0]].strip() or "Date")})
            if (to := names.get(held[k], field)) in COLUMNS:
                of[k] = (to, held[k])
    return [Wanted(columns, symbol) for symbol, columns in out.items()]
