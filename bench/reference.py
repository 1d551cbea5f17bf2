"""What the workloads must give, computed without an engine: loops over the rows that share nothing with the core but its record type."""

from __future__ import annotations

import numpy as np

from replay.events import DEPTH, EVENT, LAST, QUOTE
from replay.kernel.memory import at, entry, entry_of

I64 = np.dtype("i8")
SPAN = 1 << 16  #: prices (ticks) the reference book holds


@entry
def _touch_l2(rows_at, n, bids_at, asks_at, out_at):
    rows = at(rows_at, n, EVENT)
    bids = at(bids_at, SPAN, I64)
    asks = at(asks_at, SPAN, I64)
    out = at(out_at, 2 * n, I64)
    bid = 0
    ask = SPAN - 1
    for i in range(n):
        e = rows[i]
        if e.kind == DEPTH:
            if e.side > 0:
                bids[e.a] = e.b
                bid = max(bid, e.a)
                while bid > 0 and bids[bid] == 0:
                    bid -= 1
            else:
                asks[e.a] = e.b
                ask = min(ask, e.a)
                while ask < SPAN - 1 and asks[ask] == 0:
                    ask += 1
        out[2 * i] = bid
        out[2 * i + 1] = ask if ask < SPAN - 1 else 0
    return 0


def touches(rows: np.ndarray) -> np.ndarray:
    """Best bid and ask (ticks, 0 where there is none) of the row's instrument after each row, from rows in arrival order: [n, 2]."""
    n = len(rows)
    out = np.zeros((n, 2), np.int64)
    if (rows["kind"] == DEPTH).any():
        sizes = np.zeros((2, SPAN), np.int64)
        assert 0 < rows["a"].max() < SPAN - 1
        entry_of(_touch_l2)(rows.ctypes.data, n, sizes[0].ctypes.data, sizes[1].ctypes.data, out.ctypes.data)
        return out
    by = np.argsort(rows["instrument"], kind="stable")  # one instrument's rows after another
    quote = rows["kind"][by] == QUOTE
    first = np.r_[True, np.diff(rows["instrument"][by].astype(np.int64)) != 0]
    at_quote = np.maximum.accumulate(np.where(quote | first, np.arange(n), 0))
    seen = quote[at_quote]
    source = by[at_quote]
    out[by, 0] = np.where(seen, rows["a"][source], 0)
    out[by, 1] = np.where(seen, rows["c"][source], 0)
    return out


def null(rows: np.ndarray) -> dict[str, int]:
    """W1: wakes and checksum, the sum of both touches in ticks at every wake.

    ours: at the end of each message. hftbacktest: once a receive time, never the last one. NautilusTrader reads the touch in its quote
    handler (L1) or after each level that leaves both sides present (L2), and only counts trades.
    """
    both = touches(rows)
    total = both.sum(axis=1)
    market = np.isin(rows["kind"], (1, 2, 3))
    ours = (rows["flags"] & LAST > 0) & market
    hft = np.r_[np.diff(rows["ts_recv"]) != 0, False]
    own = rows["kind"] != 2
    return {
        "wakes": int(ours.sum()),
        "checksum": int(total[ours].sum()),
        "hft_wakes": int(hft.sum()),
        "hft_checksum": int(total[hft].sum()),
        "nautilus_checksum": int(total[own & (both > 0).all(axis=1)].sum()),
    }


@entry
def _cross(rows_at, n, state_at, latency, out_at):
    """EMA cross of each instrument; state: [instruments, 8] of float64 as int64 words is avoided by keeping floats apart."""
    rows = at(rows_at, n, EVENT)
    out = at(out_at, 8, I64)
    f = at(state_at, 1 << 16, np.dtype("f8"))
    for i in range(n):
        e = rows[i]
        if e.kind != QUOTE or e.b == 0 or e.d == 0:
            continue
        k = 4 * e.instrument
        mid = 0.5 * (e.a + e.c)
        f[k] += 1.0
        if f[k] == 1.0:
            f[k + 1] = mid
            f[k + 2] = mid
            continue
        f[k + 1] += 2.0 / 1001.0 * (mid - f[k + 1])
        f[k + 2] += 2.0 / 5001.0 * (mid - f[k + 2])
        if f[k] <= 5000.0:
            continue
        want = 100.0 if f[k + 1] > f[k + 2] else -100.0
        if want == f[k + 3]:
            continue
        out[0] += 1
        change = int(want - f[k + 3])
        f[k + 3] = want
        out[1] += change
        # the book in force at the venue when the order arrives: the newest quote with ts_event not after it
        j = i
        due = e.ts_recv + latency
        j_best = i
        while j < n and rows[j].ts_event <= due:
            if rows[j].kind == QUOTE and rows[j].instrument == e.instrument:
                j_best = j
            j += 1
        q = rows[j_best]
        out[2] -= change * (q.c if change > 0 else q.a)
    return 0


def ema_cross(rows: np.ndarray, latency_ns: int) -> dict[str, int]:
    """W2: orders, the final position of all instruments together and the cash of all fills (ticks x lots), each order filled in
    full at the touch the venue shows when it arrives. Venue times must not go back within an instrument."""
    assert rows["instrument"].max() < 1 << 14
    state, out = np.zeros(1 << 16), np.zeros(8, np.int64)
    entry_of(_cross)(rows.ctypes.data, len(rows), state.ctypes.data, latency_ns, out.ctypes.data)
    return {"orders": int(out[0]), "position": int(out[1]), "cash": int(out[2])}
