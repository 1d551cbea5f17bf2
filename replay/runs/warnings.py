"""What somebody who reads a run's figures must be told: sentences, each true of this run and none made from a setting alone.

A further warning is a function of engine and tables that yields sentences, and a place in `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from replay.data.times import utc_text
from replay.engine import Engine

MOST = 5  #: of one kind told one by one


def warnings(engine: Engine, tables: dict[str, pa.Table]) -> tuple[str, ...]:
    """All of them, the gravest first."""
    return tuple(text for source in SOURCES for text in source(engine, tables))


def _lost_stops(engine: Engine, tables: dict[str, pa.Table]) -> Iterator[str]:
    """Positions that were held without the stop they had."""
    table = tables["unprotected"]
    since, until = (table[c].cast(pa.int64()).to_pylist() for c in ("since", "until"))
    rows = table.drop_columns(["since", "until"]).to_pylist()
    last = int(engine.trader.header.now)
    held = [(last if b is None else b) - a for a, b in zip(since, until, strict=True)]
    # those that are without one still come first, then the longest
    order = sorted(range(len(rows)), key=lambda k: (until[k] is not None, -held[k], since[k]))
    for k in order[:MOST]:
        r, how = rows[k], rows[k]["state"].lower()
        end = f"until {utc_text(until[k])}" if until[k] is not None else "to the end"
        yield (
            f"{r['strategy']} {r['symbol']}: lost its stop: {'long' if r['side'] == 'buy' else 'short'} {r['qty']:g} held without one "
            f"since {utc_text(since[k])} {end}, {_duration(held[k])} (order {r['order']} {how}{_because(r['reason'])})"
        )
    if len(order) > MOST:
        yield f"and {len(order) - MOST:,} more times a position lost its stop: table unprotected"


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _duration(ns: int) -> str:
    """In the two largest units.

    >>> _duration(90_000 * 10**9), _duration(61 * 10**9), _duration(2_000_000)
    ('1 d 1 h', '1 min 1 s', '0.002 s')
    """
    seconds = ns / 1e9
    for size, unit, small, less in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = int(seconds % size // small)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {less}" if rest else "")
    return f"{seconds:g} s"


def _data(engine: Engine, tables: dict[str, pa.Table]) -> Iterator[str]:
    """What orders were sent in, and its data do not hold."""
    m = engine.session.manifest
    orders = tables["orders"]
    used = set(pc.unique(orders["symbol"].cast(pa.string())).to_pylist())
    level = {i.symbol: level for i, level in zip(m.instruments, m.levels, strict=True)}
    size = {i.symbol: most for i, most in zip(m.instruments, m.max_size, strict=True)}
    without = sorted(s for s in used if level[s] == "bars" and size[s] == 0)
    if without:
        yield f"{_some(without)}: bars without volume, of which no order can get a share"
    touched = sorted(s for s in used if level[s] == "l1")
    if touched and not m.counts.get("quote"):
        yield f"{_some(touched)}: prints alone were recorded, no quotes"
    if touched and not m.counts.get("trade"):
        yield f"{_some(touched)}: quotes alone were recorded, no prints"


def _some(symbols: list[str]) -> str:
    return ", ".join(symbols[:MOST]) + (f" and {len(symbols) - MOST} more" if len(symbols) > MOST else "")


SOURCES = (_lost_stops, _data)
