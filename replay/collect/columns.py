"""Parts as batches of an import's columns.

- a bar's time becomes that of its close; one that had not closed at the end of the download is left out (`unfinished_bars`);
- where a tick or lot is stated (stocks: a cent, or a hundredth of one where a price is below a dollar; a share), prices between two
  ticks are rounded (`rounded_prices`): a bid down, an ask up, anything else to the nearest; a print that was rounded sets no last price and
  fills no order; parts of a share are cut off (`rounded_sizes`). That is what the same messages become live (`replay.live.alpaca.wire`);
- what a print may do follows from its sale conditions, as live;
- a trade that was cancelled or replaced later stands as it was seen then; the later correction, which stands at the time of the trade it
  corrects, is left out (`later_corrections`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from replay.collect.asked import BARS, QUOTES, TRADES
from replay.data.canonical import Table
from replay.data.columns import Columns
from replay.data.conditions import print_flags
from replay.data.steps import fraction, multiples
from replay.data.tables import Batch
from replay.events import FILLS, LAST, SETS_LAST

_PRICES = {BARS: ("open", "high", "low", "close"), TRADES: ("price",), QUOTES: ("bid_px", "ask_px")}
_SIZES = {BARS: ("volume",), TRADES: ("size",), QUOTES: ("bid_sz", "ask_sz")}
_WAYS = {"bid_px": np.floor, "ask_px": np.ceil}


def table_of(name: str, path: Path, reader: Columns, symbol: str, kind: str, step_ns: int, end: int) -> Table:
    """A part for `replay.data.canonical.assemble`. `step_ns`: of bars; `end`: of the download, ns."""
    return name, path, partial(_batches, path, reader, symbol, kind, step_ns, end)


def _batches(
    path: Path, reader: Columns, symbol: str, kind: str, step_ns: int, end: int, told: Callable[[int, int], None]
) -> Iterator[Batch]:
    with pq.ParquetFile(path) as f:
        base = 0
        for batch in f.iter_batches():
            table = _left(pa.Table.from_batches([batch]), reader, kind, end - step_ns)
            if len(table):
                arrays = _arrays(table, reader, symbol, kind, step_ns)
                yield Batch(path, base, arrays, {name: name for name in arrays})
            base += len(batch)
            told(base, f.metadata.num_rows)


def _left(table: pa.Table, reader: Columns, kind: str, last: int) -> pa.Table:
    """The rows that are used."""
    gone = np.zeros(len(table), bool)
    if kind == BARS:
        gone = table["t"].to_numpy() > last
        reader.count("unfinished_bars", gone)
    elif kind == TRADES:
        gone = np.array([u == "corrected" for u in table["update"].to_pylist()], bool)
        reader.count("later_corrections", gone)
    return table.filter(pa.array(~gone)) if gone.any() else table


def _arrays(table: pa.Table, reader: Columns, symbol: str, kind: str, step_ns: int) -> dict[str, pa.Array]:
    stated = reader.stated(symbol)
    out: dict[str, object] = {"ts_event": table["t"].to_numpy() + step_ns, "symbol": [symbol] * len(table)}
    whole = np.ones(len(table), bool)
    for name in _PRICES[kind]:
        out[name], whole_too = _rounded(table[name].to_numpy(), stated.get("tick_size"), _WAYS.get(name, np.rint))
        whole &= whole_too
    reader.count("rounded_prices", ~whole)
    cut = np.zeros(len(table), bool)
    for name in _SIZES[kind]:
        out[name], as_it_was = _rounded(table[name].to_numpy(), stated.get("lot_size"), np.floor)
        cut |= ~as_it_was
    reader.count("rounded_sizes", cut)
    if kind == BARS:
        out["interval"] = [f"{step_ns}ns"] * len(table)
    elif kind == TRADES:
        conditions = table["conditions"].combine_chunks().fill_null("").dictionary_encode()
        may = np.array([print_flags(c, True) for c in conditions.dictionary.to_pylist()], np.int64)[conditions.indices.to_numpy()]
        out["flags"] = np.where(whole, may, may & ~(SETS_LAST | FILLS)) | LAST
        out["order_id"], out["side"] = table["id"].to_numpy(), table["side"].combine_chunks()
    return {name: v if isinstance(v, pa.Array) else pa.array(v) for name, v in out.items()}


def _rounded(values: np.ndarray, step: object, way: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(values on the grid of `step`, whether each was on it); as they are where no step is stated. NaN stays."""
    if step is None:
        return values, np.ones(len(values), bool)
    num, den = fraction(str(step))
    steps, good = multiples(np.nan_to_num(values), num, den)
    good |= np.isnan(values)
    return np.where(good, values, way(np.where(good, steps, values * den / num)) * num / den), good
