"""Two runs' fills matched one to one, and the gap between their PnL put down to what differs: exact, in integers.

The PnL of a strategy in a symbol is the sum over its fills of side x lots x (final mark - price), less fees. So the gap of run B over
run A is, to the last unit, the sum of

- slippage: matched lots, at the price of B instead of A's. Of it `decided` is what the mid had moved between the views that the two decided
  on (their feed legs, and what they computed), and `on_the_way` the rest: what happened from there to the fill (the entry leg, the venue);
- missed: lots that only A traded; extra: lots that only B traded; each valued at its run's final mark;
- valuation: matched lots, at the final mark of B instead of A's (none where both saw the same session to its end);
- fees, and rounding: what the ledger's whole units of 1e-8 leave over.

Lots match that are of one strategy, symbol and side and whose orders were decided at the same instant; of the rest those that traded
within `WITHIN_NS` of each other, in order of time. A fill may match parts of several.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import msgspec
import pyarrow as pa

from replay.data.instruments import Instrument
from replay.errors import BadInput
from replay.runs.result import Result
from replay.summary import money
from replay.trader.limits import MONEY

WITHIN_NS = 60 * 10**9


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """The gap of one strategy in one symbol, or of all (names ""). Lots, and money in which `gap` = `pnl_b` - `pnl_a` is the sum of
    the parts from `slippage` to `rounding`; `decided` and `on_the_way` are the parts of `slippage`."""

    strategy: str
    symbol: str
    fills_a: int
    fills_b: int
    matched_lots: int
    missed_lots: int
    extra_lots: int
    pnl_a: Decimal
    pnl_b: Decimal
    gap: Decimal
    slippage: Decimal
    missed: Decimal
    extra: Decimal
    valuation: Decimal
    fees: Decimal
    rounding: Decimal
    decided: Decimal
    on_the_way: Decimal


class Fill(NamedTuple):
    """Part of a fill: when its order was decided, when it traded (ns), lots and ticks; `mid2` is the mid on which it was decided, in half
    ticks."""

    decided: int
    ts: int
    lots: int
    px: int
    mid2: int = 0


def match(a: list[Fill], b: list[Fill]) -> Iterator[tuple[Fill | None, Fill | None]]:
    """Pairs of equal lots of one strategy, symbol and side; None stands where the other has nothing.

    >>> pairs = list(match([Fill(0, 10, 100, 5)], [Fill(0, 11, 60, 5), Fill(0, 12, 40, 6)]))
    >>> [(x.lots, x.px - y.px) for x, y in pairs]
    [(60, 0), (40, -1)]
    >>> list(match([Fill(0, 10, 1, 5)], [Fill(1, 10 + 2 * WITHIN_NS, 1, 5)])) == [(Fill(0, 10, 1, 5), None), (None, Fill(1, 10 + 2 * WITHIN_NS, 1, 5))]
    True
    """
    by_decision: dict[int, tuple[list[Fill], list[Fill]]] = defaultdict(lambda: ([], []))
    for k, fills in enumerate((a, b)):
        for fill in fills:
            by_decision[fill.decided][k].append(fill)
    left: tuple[list[Fill], list[Fill]] = ([], [])
    for ours, theirs in by_decision.values():
        for pair in _in_order(ours, theirs, 1 << 62):
            if None in pair:
                left[pair[0] is None].append(pair[0] or pair[1])
            else:
                yield pair
    yield from _in_order(*(sorted(fills, key=lambda f: f.ts) for fills in left), WITHIN_NS)


def _in_order(a: list[Fill], b: list[Fill], within: int) -> Iterator[tuple[Fill | None, Fill | None]]:
    """The oldest of both match if no more than `within` lies between them, else the older one has no match."""
    a, b = a[::-1], b[::-1]
    while a and b:
        x, y = a.pop(), b.pop()
        if abs(x.ts - y.ts) > within:
            if x.ts < y.ts:
                b.append(y)
                yield x, None
            else:
                a.append(x)
                yield None, y
            continue
        lots = min(x.lots, y.lots)
        for rest, of in ((a, x), (b, y)):
            if of.lots > lots:
                rest.append(of._replace(lots=of.lots - lots))
        yield x._replace(lots=lots), y._replace(lots=lots)
    yield from ((x, None) for x in reversed(a))
    yield from ((None, y) for y in reversed(b))


def track(a: Result, b: Result) -> list[Gap]:
    """The gaps of run `b` over run `a`, the last of all together. Raises `BadInput` where a symbol's steps differ in the two."""
    steps = {i.symbol: i for i in a.manifest.instruments}
    for i in b.manifest.instruments:
        if steps.setdefault(i.symbol, i).tick_value() != i.tick_value() or steps[i.symbol].tick_size != i.tick_size:
            raise BadInput(f"{i.symbol}: its tick or lot differs in the two runs: they cannot be compared fill by fill")
    held = [{(h.strategy, h.symbol): h for h in run.summary.positions} for run in (a, b)]
    fills = [_fills(run, steps) for run in (a, b)]
    gaps = [
        _gap(key, steps[key[1]], [h.get(key) for h in held], [f.get(key, {}) for f in fills])
        for key in sorted({*held[0], *held[1]})
    ]
    sums = {
        name: sum((getattr(g, name) for g in gaps), 0) for name in Gap.__struct_fields__ if name not in ("strategy", "symbol")
    }
    whole = {name: Decimal(value) if Gap.__annotations__[name] == "Decimal" else value for name, value in sums.items()}
    return [*gaps, Gap(strategy="", symbol="", **whole)]


def _gap(key: tuple[str, str], i, held: list, fills: list[dict[str, list[Fill]]]) -> Gap:
    marks = [0 if h is None else int(2 * h.mark / Decimal(i.tick_size)) for h in held]  # twice the final mark, ticks
    lots, half_ticks = (
        dict.fromkeys(("matched", "missed", "extra"), 0),
        dict.fromkeys(("slippage", "missed", "extra", "valuation", "decided", "on_the_way"), 0),
    )
    for side, sign in (("buy", 1), ("sell", -1)):
        for x, y in match(*(f.get(side, []) for f in fills)):
            if y is None:
                lots["missed"] += x.lots
                half_ticks["missed"] -= sign * x.lots * (marks[0] - 2 * x.px)
            elif x is None:
                lots["extra"] += y.lots
                half_ticks["extra"] += sign * y.lots * (marks[1] - 2 * y.px)
            else:
                lots["matched"] += x.lots
                half_ticks["slippage"] += sign * x.lots * 2 * (x.px - y.px)
                half_ticks["decided"] += sign * x.lots * (x.mid2 - y.mid2)
                half_ticks["valuation"] += sign * x.lots * (marks[1] - marks[0])
    half_ticks["on_the_way"] = half_ticks["slippage"] - half_ticks["decided"]
    value = Fraction(*i.tick_value()) / 2
    parts = {name: round(n * value) for name, n in half_ticks.items()}
    pnl, fees = ([int(getattr(h, name) * MONEY) if h else 0 for h in held] for name in ("pnl", "fees"))
    parts["fees"] = fees[0] - fees[1]
    parts["rounding"] = pnl[1] - pnl[0] - sum(parts[name] for name in ("slippage", "missed", "extra", "valuation", "fees"))
    return Gap(
        strategy=key[0],
        symbol=key[1],
        fills_a=held[0].fills if held[0] else 0,
        fills_b=held[1].fills if held[1] else 0,
        **{f"{name}_lots": n for name, n in lots.items()},
        pnl_a=money(pnl[0]),
        pnl_b=money(pnl[1]),
        gap=money(pnl[1] - pnl[0]),
        **{name: money(n) for name, n in parts.items()},
    )


def _fills(run: Result, steps: dict[str, Instrument]) -> dict[tuple[str, str], dict[str, list[Fill]]]:
    """A run's fills by (strategy, symbol) and side, oldest first."""
    orders, fills = run.table("orders"), run.table("fills")
    decided = dict(zip(orders["order"].to_pylist(), orders["ts_sent"].cast(pa.int64()).to_pylist(), strict=True))
    mids = dict(zip(orders["order"].to_pylist(), orders["decision_mid"].to_pylist(), strict=True))
    names = ("strategy", "symbol", "side", "order", "last_qty_lots", "last_px_ticks")
    found: dict = defaultdict(lambda: defaultdict(list))
    for ts, *row in zip(fills["ts_event"].cast(pa.int64()).to_pylist(), *(fills[n].to_pylist() for n in names), strict=True):
        strategy, symbol, side, order, lots, px = row
        mid2 = round(2 * mids[order] / float(steps[symbol].tick_size))
        found[strategy, symbol][side].append(Fill(decided[order], ts, lots, px, mid2))
    return found
