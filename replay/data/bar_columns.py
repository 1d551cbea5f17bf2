"""Bars of columns: how long they are, and whether their times are those of their starts or their ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from replay.data.headers import plain
from replay.data.hours import DAY_NS
from replay.data.questions import Question
from replay.data.reading import Reading
from replay.data.spacing import length_text
from replay.data.tables import Batch, Times
from replay.errors import BadInput
from replay.events import BAR
from replay.trader.specs import duration_ns

if TYPE_CHECKING:
    from replay.data.columns import Columns

_NS_AT_LEAST = 10**9  #: a number of an interval column that is smaller is in a unit nobody said
_DURATION = re.compile(r"(\d*)\s*([A-Za-z]+)")
_UNITS = {
    unit: short
    for short, units in {
        "ns": "ns", "us": "us", "ms": "ms", "s": "s sec secs second seconds", "m": "m min mins minute minutes t",
        "h": "h hr hrs hour hours", "d": "d day days daily",
    }.items()
    for unit in units.split()
}  # fmt: skip


def place_bars(batch: Batch, rows: np.recarray, times: Times, reader: Columns, reading: Reading) -> None:
    """Bars: the index of their interval as side, -1 where nobody said it, and the time of their close."""
    bars = rows.kind == BAR
    if "interval" in batch.arrays:
        try:
            ns = batch.codes(
                "interval", lambda text: _interval(text, reading.interval_ns), "a duration such as 300s, 5m, 1h or 1d"
            )
        except BadInput as e:
            called = batch.names["interval"]
            raise Question(f"{e}, or leave it out by --columns '{called}=' and say --interval", renamed={called: ""}) from None
    else:
        ns = np.full(len(rows), reading.interval_ns)
    _ask_for_label(batch, times, int(ns[bars].min()), reading)
    if reading.label == "open":
        rows.ts_event[bars] += ns[bars]
    for length in np.unique(ns[bars]).tolist():
        if len(reader.intervals) == 62 and length not in reader.intervals:
            raise BadInput(f"{batch.path}: more than 62 lengths of bars: import them apart")
        rows.side[bars & (ns == length)] = reader.interval_code(length) if length else -1


def _ask_for_label(batch: Batch, times: Times, shortest: int, reading: Reading) -> None:
    """Ask what the times of bars are, where they cannot be what is said of them, or nothing is. `shortest` 0: not known."""
    called, label = batch.names["ts_event"], reading.label
    if times.dates and 0 < shortest < DAY_NS:
        raise without_clock(batch, f"bars of {length_text(shortest)} need")
    daily = (times.dates or times.midnights) and (shortest == 0 or shortest >= DAY_NS) and len(times.ns) > 0
    if daily and label != "open" and (times.dates or reading.sessions):
        what = "dates, each the day that a bar is of" if times.dates else "midnights, when no session ends"
        raise Question(f"{batch.path}: {called} holds {what}, not the time of its end: add --label open", {"--label": "open"})
    if label is None and (called.strip().lower() != "ts_event" or (daily and times.naive and shortest)):
        start = "open" in called.lower() or "start" in called.lower() or daily
        raise Question(
            f"{batch.path}: whether {called} is the time of a bar's start or of its end is not said: add "
            f"--label open or --label close", {"--label": "open" if start or "close" not in called.lower() else "close"},
        )  # fmt: skip


def _interval(text: str, otherwise: int) -> int | None:
    if not text:
        return otherwise
    try:
        if text.isdigit():
            return int(text) if int(text) >= _NS_AT_LEAST else None
        found = _DURATION.fullmatch(text)
        if found is None:
            return duration_ns(text)
        count, unit = found.groups()
        return duration_ns((count or "1") + _UNITS[unit if unit == "M" else unit.lower()])
    except (ValueError, KeyError):
        return None


def without_clock(batch: Batch, who: str) -> BadInput:
    """What to say of a column of dates that has to hold times."""
    called = batch.names["ts_event"]
    text = f"{batch.path}: {called} holds dates without a time of day, which {who}: "
    clock = next((name for name in batch.unread if plain(name) == "time"), None)
    if clock is None:
        return BadInput(text + "name the column that holds it time, and this one date, by --columns")
    return Question(
        text + f"read it with {clock}, as in --columns '{called}=date,{clock}=time'", renamed={called: "date", clock: "time"}
    )
