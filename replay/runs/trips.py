"""Round trips: fills put together from flat to flat, the unit that win rate and expectancy count."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa


class Units(NamedTuple):
    """What a tick, a lot, and a tick on a lot are worth, one value an instrument."""

    tick: np.ndarray
    lot: np.ndarray
    money: np.ndarray


def trips(fills: pa.Table, marks: np.ndarray, units: Units) -> pa.Table:
    """One row for each round trip of one strategy in one symbol, in order of their first fill.

    A fill that turns a position over ends one trip and starts the next, its fee shared by quantity. `marks` are the final prices in
    ticks, by instrument: a trip that is open at the end is valued at its mark.
    """
    strategy, symbol, side = (fills[c].combine_chunks() for c in ("strategy", "symbol", "side"))
    instrument = np.asarray(symbol.indices).astype(np.int64)
    n_instruments = max(1, len(marks))
    group = np.asarray(strategy.indices).astype(np.int64) * n_instruments + instrument
    sign = 1 - 2 * np.asarray(side.indices).astype(np.int64)
    order = np.argsort(group, kind="stable")
    g, k = group[order], instrument[order]
    lots, px = (sign * np.asarray(fills["last_qty_lots"]))[order], np.asarray(fills["last_px_ticks"])[order]
    fee, ts = np.asarray(fills["fee"])[order], np.asarray(fills["ts_recv"].cast(pa.int64()))[order]
    if not len(g):
        return _table(strategy, symbol, *([np.zeros(0)] * 12))
    first = np.r_[True, np.diff(g) != 0]
    after = _within(first, lots)
    before = after - lots
    turned = before * after < 0
    # the part of a turning fill that closes comes first, the part that opens behind it
    rows = np.repeat(np.arange(len(g)), 1 + turned)
    second = np.r_[False, rows[1:] == rows[:-1]]
    part = np.where(turned[rows], np.where(second, after[rows], -before[rows]), lots[rows])
    begins = (before[rows] == 0) | second
    fee = fee[rows] * np.abs(part / lots[rows])
    px, ts, k, g = px[rows], ts[rows], k[rows], g[rows]
    starts = np.flatnonzero(begins)
    direction = np.sign(part[starts])
    held = _within(begins, part)
    entering = part * np.repeat(direction, np.diff(np.r_[starts, len(part)])) > 0

    def total(x: np.ndarray) -> np.ndarray:
        return np.add.reduceat(x, starts)

    opened, closed = total(np.where(entering, part, 0)), total(np.where(entering, 0, part))
    left = opened + closed
    paid = total(part * px) - left * marks[k[starts]]
    with np.errstate(invalid="ignore", divide="ignore"):
        px_in = total(np.where(entering, part * px, 0)) / opened
        px_out = total(np.where(entering, 0, part * px)) / closed
    ends = np.r_[starts[1:], len(part)] - 1
    gross, fees = 0.0 - paid * units.money[k[starts]], total(fee)
    largest = np.maximum.reduceat(np.abs(held), starts)
    by_time = np.argsort(ts[starts], kind="stable")
    tick, lot = units.tick[k[starts]], units.lot[k[starts]]
    n_fills = np.diff(np.r_[starts, len(part)])
    columns = (
        g[starts] // n_instruments,
        k[starts],
        direction,
        largest * lot,
        ts[starts],
        ts[ends],
        px_in * tick,
        px_out * tick,
        gross,
        fees,
        n_fills,
        left,
    )
    return _table(strategy, symbol, *(c[by_time] for c in columns))


def _table(strategy, symbol, s, k, direction, qty, ts_in, ts_out, px_in, px_out, gross, fees, n, left) -> pa.Table:
    time, is_open = pa.timestamp("ns", tz="UTC"), left != 0
    return pa.table(
        {
            "strategy": pa.DictionaryArray.from_arrays(s.astype(np.int32), strategy.dictionary),
            "symbol": pa.DictionaryArray.from_arrays(k.astype(np.int32), symbol.dictionary),
            "side": pa.DictionaryArray.from_arrays((direction < 0).astype(np.int32), pa.array(["buy", "sell"])),
            "qty": qty,
            "ts_in": pa.array(ts_in.astype(np.int64)).cast(time),
            "ts_out": pa.array(ts_out.astype(np.int64), mask=is_open).cast(time),
            "px_in": px_in,
            "px_out": pa.array(px_out, mask=~np.isfinite(px_out)),
            "gross": gross,
            "fees": fees,
            "net": gross - fees,
            "fills": n.astype(np.int64),
            "open": pa.array(is_open),
        }
    )


def _within(first: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Running sum of `amount` that starts anew wherever `first` is set."""
    total = np.cumsum(amount)
    starts = np.flatnonzero(first)
    return total - np.repeat(total[starts] - amount[starts], np.diff(np.r_[starts, len(amount)]))
