"""What the market did, in at most a few thousand bars a symbol: the background of a run's charts, kept so that a run can be read
without its session."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from replay.data.session import Session
from replay.events import BAR, EVENT, QUOTE, SETS_LAST, TRADE
from replay.kernel.memory import at, entry, entry_of, link

MOST = 2000  #: bars a symbol
CELLS = 1 << 20  #: buckets looked at, all symbols
SECOND = 10**9
INTERVALS = [SECOND * s for s in (1, 5, 15, 30, 60, 120, 300, 900, 1800, 3600, 4 * 3600, 86_400, 7 * 86_400)]
EMPTY = -(1 << 62)
I64 = np.dtype("i8")


@entry
def gather(events, n, wanted, table, cells, t0, interval):
    """Fill `table`, [column][bucket][open, high, low, close] of `cells` rows, from the session's; `wanted[instrument]` is packed
    first row << 8 | kind, -1 none. Returns -1, or the index of a session row that would be written outside `table`."""
    for i in range(n):
        e = at(events + 64 * i, 1, EVENT)[0]
        if e.kind > BAR:
            continue
        want = at(wanted, e.instrument + 1, I64)[e.instrument]
        if want < 0 or (want & 255) != e.kind:
            continue
        if e.kind == QUOTE:
            if e.b <= 0 or e.d <= 0 or e.a > e.c:
                continue
            px2 = e.a + e.c
        elif e.kind == TRADE:
            if e.flags & SETS_LAST == 0:
                continue
            px2 = 2 * e.a
        else:
            px2 = 2 * e.d
        # a bar that closes on the hour belongs to the hour before
        bucket = (e.ts_recv - (1 if e.kind == BAR else 0) - t0) // interval
        cell = (want >> 8) + bucket
        if bucket < 0 or cell >= cells:
            return i
        row = at(table + 32 * cell, 4, I64)
        if row[0] == EMPTY:
            row[0] = px2
            row[1] = px2
            row[2] = px2
        row[1] = max(row[1], px2)
        row[2] = min(row[2], px2)
        row[3] = px2
    return -1


def prices(session: Session, symbols: list[str]) -> pa.Table:
    """`ts` (a bucket's end), `symbol`, `open`, `high`, `low`, `close` for each bucket in which the symbol's price was heard.

    The buckets are the finest of a second to a week that leave at most `MOST` for the symbol with most. Cost: one pass over the rows,
    about 2 ns each, and another where the first guess was too fine.
    """
    m = session.manifest
    names = [i.symbol for i in m.instruments]
    kinds = {"l1": QUOTE, "l2": TRADE, "l3": TRADE, "bars": BAR, "none": TRADE}
    span = m.end_ns - m.start_ns + 1
    asked = set(symbols)
    chosen = [k for k, name in enumerate(names) if name in asked]
    finest = next((k for k, x in enumerate(INTERVALS) if span // x < CELLS // max(1, len(chosen))), len(INTERVALS) - 1)
    for interval in INTERVALS[finest:]:
        t0 = (m.start_ns - 1) // interval * interval  # a bar that closes with the first row belongs to the bucket before
        n = (m.end_ns - t0) // interval + 2
        table = np.full((len(chosen), n, 4), EMPTY, np.int64)
        wanted = np.full(len(names), -1, np.int64)
        for column, k in enumerate(chosen):
            wanted[k] = (column * n) << 8 | kinds[m.levels[k]]
        link(gather)
        rows = session.events
        address = rows.ctypes.data, len(rows), wanted.ctypes.data, table.ctypes.data, len(chosen) * n, t0, interval
        outside = entry_of(gather)(*address)
        assert outside < 0, f"row {outside} of the session lies outside the {n} buckets of its prices"
        heard = table[:, :, 0] != EMPTY
        if not len(chosen) or heard.sum(axis=1).max() <= MOST:
            break
    column, bucket = np.nonzero(heard)
    tick = np.array([float(m.instruments[k].tick_size) for k in chosen]) / 2
    figures = table[column, bucket] * tick[column][:, None] if len(chosen) else np.zeros((0, 4))
    return pa.table(
        {
            "ts": pa.array(t0 + (bucket + 1) * interval, pa.int64()).cast(pa.timestamp("ns", tz="UTC")),
            "symbol": pa.DictionaryArray.from_arrays(column.astype(np.int32), pa.array([names[k] for k in chosen], pa.string())),
            **{name: figures[:, j] for j, name in enumerate(("open", "high", "low", "close"))},
        }
    )
