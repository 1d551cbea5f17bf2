"""Imported rows into their session's order: by arrival, bars of one time together, phases where they belong, messages ended.

Works on rows in the order of their files, of which those dropped have kind 0 and those whose message's end nobody stated carry
`UNFLAGGED`. All passes go block by block over memory maps; what is held in memory is a few words a row.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from replay.data.columns import UNFLAGGED
from replay.data.hours import Hours, phase_rows
from replay.data.manifest import Calendar
from replay.data.session import BLOCK
from replay.errors import BadInput
from replay.events import BAR, DEPTH, EVENT, LAST, ORDER, QUOTE, TRADE


def arrange(raw: np.recarray, calendar: Calendar | None, lengths: Sequence[int], anomalies: Counter[str]) -> np.recarray:
    """The session's rows, in a memory map of an unnamed file. Counts what it drops and finds missing. Raises `BadInput` for none left."""
    _pass_on_last(raw)
    index = _order(raw)
    if not len(index):
        found = ", ".join(f"{what} {n}" for what, n in anomalies.items())
        raise BadInput(f"no row is left of {len(raw)}: {found}: check the files and the calendar")
    repeats = np.concatenate([_repeats(raw, index, lo, anomalies) for lo in range(0, len(index), BLOCK)])
    index = index[~repeats]
    phases, at = None, np.zeros(0, np.int64)
    if calendar is not None:
        if missing := _missing_bars(raw, index, Hours(calendar), lengths):
            anomalies["missing_bars"] += missing
        phases = phase_rows(calendar)
        at = _place_phases(raw, index, phases)
    out = _gather(raw, index, phases, at)
    _end_messages(out)
    return out


def _pass_on_last(raw: np.recarray) -> None:
    """Where the end of a stated message was dropped, the row before it ends it."""
    for lo in range(0, len(raw), BLOCK):
        part = raw[lo : lo + BLOCK]
        for k in (lo + np.flatnonzero((part.kind == 0) & (part["flags"] & (LAST | UNFLAGGED) == LAST))).tolist():
            while k > 0 and raw.kind[k - 1] == 0 and not raw["flags"][k - 1] & LAST:
                k -= 1
            if k > 0 and raw.kind[k - 1] and not raw["flags"][k - 1] & (LAST | UNFLAGGED):
                raw["flags"][k - 1] |= LAST


def _order(raw: np.recarray) -> np.ndarray:
    """The rows kept, by arrival; bars first at equal times, by interval and instrument; else as they stood."""
    index = np.flatnonzero(raw.kind)
    recv = raw.ts_recv[index]
    bars = raw.kind[index] == BAR
    if bars.any():
        tie = np.where(bars, (raw.side[index].astype(np.int64) << 32) + raw.instrument[index], 1 << 62)
        return index[np.lexsort((tie, recv))]
    return index[np.argsort(recv, kind="stable")]


def _repeats(raw: np.recarray, index: np.ndarray, lo: int, anomalies: Counter[str]) -> np.ndarray:
    """Which of the block's rows from `lo` repeat the row before and are to be dropped."""
    rows = _rows(raw, index[max(lo - 1, 0) : lo + BLOCK])
    drop = np.zeros(len(rows), bool)
    same = np.ones(len(rows) - 1, bool)
    for name in ("kind", "instrument", "side", "ts_event"):
        same &= rows[name][1:] == rows[name][:-1]
    equal = same & (rows.ts_recv[1:] == rows.ts_recv[:-1])
    for word in ("id", "a", "b", "c", "d"):
        equal &= rows[word][1:] == rows[word][:-1]
    kind = rows.kind[1:]
    for what, where in (
        ("dropped_repeated_bar", same & (kind == BAR)),
        ("dropped_repeated_trade", equal & (kind == TRADE) & (rows.id[1:] != 0)),
        ("repeated_row", equal & ((kind == QUOTE) | (kind == TRADE) & (rows.id[1:] == 0))),
    ):
        if n := int(np.count_nonzero(where)):
            anomalies[what] += n
        if what.startswith("dropped_"):
            drop[1:] |= where
    return drop if lo == 0 else drop[1:]


def _missing_bars(raw: np.recarray, index: np.ndarray, hours: Hours, lengths: Sequence[int]) -> int:
    bars = index[raw.kind[index] == BAR]
    which = raw.side[bars].astype(np.int64) << 32 | raw.instrument[bars]
    by_series = np.argsort(which, kind="stable")
    series, starts = np.unique(which[by_series], return_index=True)
    parts = np.split(raw.ts_event[bars][by_series], starts[1:])
    return sum(
        int(hours.missing_bars(np.sort(part), lengths[k >> 32]).sum()) for k, part in zip(series.tolist(), parts, strict=False)
    )


def _place_phases(raw: np.recarray, index: np.ndarray, phases: np.recarray) -> np.ndarray:
    """How many rows go before each phase: those of earlier times, and bars that close with it. Sets when each is received."""
    times = raw.ts_event[index]
    at = np.searchsorted(np.maximum.accumulate(times), phases.ts_event, "left")
    bars = np.flatnonzero(raw.kind[index] == BAR)
    if len(bars):
        bars = bars[np.argsort(times[bars], kind="stable")]
        k = np.searchsorted(times[bars], phases.ts_event, "right") - 1
        at = np.where((k >= 0) & (times[bars[k]] == phases.ts_event), np.maximum(at, bars[k] + 1), at)
    at = np.maximum.accumulate(at)
    before = raw.ts_recv[index[np.maximum(at - 1, 0)]]
    phases.ts_recv[:] = np.maximum(phases.ts_event, np.where(at > 0, before, 0))
    return at


def _gather(raw: np.recarray, index: np.ndarray, phases: np.recarray | None, at: np.ndarray) -> np.recarray:
    """Rows and phases in their order, a block at a time."""
    with tempfile.TemporaryFile() as f:
        f.truncate((len(index) + len(at)) * EVENT.itemsize)
        out = np.memmap(f, EVENT, "r+").view(np.recarray)
    done = 0
    for k, end in enumerate([*at.tolist(), len(index)]):
        for lo in range(done, end, BLOCK):
            hi = min(lo + BLOCK, end)
            out[lo + k : hi + k] = _rows(raw, index[lo:hi])
        if k < len(at):
            out[end + k] = phases[k]
        done = end
    return out


def _end_messages(rows: np.recarray) -> None:
    """Set LAST where a message ends and nobody stated it; on bars always."""
    for now, then in _pairs(rows):
        together = (now.ts_event == then.ts_event) & (now.ts_recv == then.ts_recv) & (now.kind == then.kind)
        bars = now.kind == BAR
        book = (now.kind == DEPTH) | (now.kind == ORDER)
        ends = ~(together & (bars | book & (now.instrument == then.instrument)))
        now["flags"] = np.where(
            bars | (now["flags"] & UNFLAGGED != 0),
            now["flags"] & ~np.uint16(LAST | UNFLAGGED) | ends * np.uint16(LAST),
            now["flags"],
        )
    last = rows[-1:]
    if last.kind[0] == BAR or last["flags"][0] & UNFLAGGED:
        last["flags"] = last["flags"] & ~np.uint16(UNFLAGGED) | np.uint16(LAST)


def _rows(raw: np.recarray, index: np.ndarray) -> np.recarray:
    """Rows by their numbers, without a copy where they stand together."""
    first, last = int(index[0]), int(index[-1])
    together = last - first == len(index) - 1 and bool((index[1:] > index[:-1]).all())
    return raw[first : last + 1] if together else raw[index]


def _pairs(rows: np.recarray) -> Iterator[tuple[np.recarray, np.recarray]]:
    """Blocks of rows and of the rows after them; the last row only as one after."""
    for lo in range(0, len(rows) - 1, BLOCK):
        hi = min(lo + BLOCK, len(rows) - 1)
        yield rows[lo:hi], rows[lo + 1 : hi + 1]
