"""W4's bars: ten symbols, five years of five-minute bars of 78 a day.

The same draws in the same order as the peers' harness makes (its make_data.py: a lognormal walk a symbol, prices rounded to cents), so that
its results are known on them. NumPy does not promise the streams of its distributions: whether the bars are the harness's is
told by their hash.
"""

from __future__ import annotations

import hashlib
import io

import numpy as np

from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.events import BAR, LAST, empty

SYMBOLS, DAYS, PER_DAY, MINUTES = 10, 1260, 78, 5
INTERVAL_NS = MINUTES * 60 * 10**9
ROW = np.dtype([("ts", "i8"), ("open", "f8"), ("high", "f8"), ("low", "f8"), ("close", "f8"), ("volume", "f8")])


def walk(n_days: int = DAYS, seed: int = 20261124) -> np.ndarray:
    """Bars as the harness stores them: [symbols, bars] of ROW, times of the close, prices in units."""
    draw = np.random.default_rng(seed)
    days = np.busday_offset("2021-11-01", np.arange(n_days), roll="forward").astype("datetime64[ns]").astype(np.int64)
    starts = days + (14 * 60 + 30) * 60 * 10**9
    n, step = n_days * PER_DAY, 0.012 / np.sqrt(PER_DAY)
    out = np.zeros((SYMBOLS, n), ROW)
    out["ts"] = (starts[:, None] + np.arange(1, PER_DAY + 1) * INTERVAL_NS).ravel()
    for bars in out:
        close = 100.0 * np.exp(np.cumsum(draw.standard_normal(n) * step) - 0.5 * step * step * np.arange(n))
        opening = np.r_[100.0, close[:-1] * np.exp(draw.standard_normal(n - 1) * step * 0.05)]
        above = np.exp(np.abs(draw.standard_normal(n)) * step * 0.4)
        below = np.exp(-np.abs(draw.standard_normal(n)) * step * 0.4)
        high, low = np.maximum(opening, close) * above, np.minimum(opening, close) * below
        opening, close = np.round(opening, 2), np.round(close, 2)
        bars["open"], bars["close"] = opening, close
        bars["high"] = np.maximum(np.round(high, 2), np.maximum(opening, close))
        bars["low"] = np.minimum(np.round(low, 2), np.minimum(opening, close))
        bars["volume"] = np.floor(np.exp(draw.normal(9, 0.7, n)))
    return out


def hash_of(bars: np.ndarray) -> str:
    """What the harness knows its file by: the start of the sha256 of the .npy."""
    file = io.BytesIO()
    np.save(file, bars)
    return hashlib.sha256(file.getvalue()).hexdigest()[:16]


def session(bars: np.ndarray) -> Session:
    """Rows of all symbols by time, in cents; the bars of one close time are one message, seen as they close."""
    flat = bars.T.ravel()
    rows = empty(len(flat))
    rows.kind[:], rows.ts_event[:], rows.ts_recv[:] = BAR, flat["ts"], flat["ts"]
    rows.instrument[:] = np.tile(np.arange(SYMBOLS), bars.shape[1])
    rows["flags"][SYMBOLS - 1 :: SYMBOLS] = LAST
    rows.id[:] = flat["volume"]
    for word, name in zip("abcd", ("open", "high", "low", "close"), strict=True):
        rows[word] = np.round(flat[name] * 100)
    instruments = [Instrument(symbol=f"S{k}", tick_size="0.01") for k in range(SYMBOLS)]
    return Session.from_rows(rows, instruments, name="bars5m", bar_intervals_ns=[INTERVAL_NS])


def sma_cross(rows: np.ndarray, fast: int = 20, slow: int = 50, qty: int = 100) -> dict[str, int]:
    """W4 without an engine, in exact cents: 100 held where the last `fast` closes average above the last `slow`, changed at the next open."""
    orders = fills = cash = position = value = 0
    for k in range(int(rows["instrument"].max()) + 1):
        bars = rows[rows["instrument"] == k]
        total = np.r_[0, np.cumsum(bars["d"])]
        first = max(fast, slow)
        newest = total[first:]
        above = (newest - total[first - fast : len(total) - fast]) * slow > (
            newest - total[first - slow : len(total) - slow]
        ) * fast
        change = np.diff(np.r_[np.zeros(first, np.int64), above.astype(np.int64)])
        orders += int(np.abs(change).sum())
        change = change[:-1]  # an order on the last bar finds no open
        fills += int(np.abs(change).sum())
        held = int(change.sum()) * qty
        cash -= int((change * bars["a"][1:]).sum()) * qty
        position += held
        value += held * int(bars["d"][-1])
    return {"orders": orders, "fills": fills, "position": position, "pnl_cents": cash + value}
