"""How far bars are apart: what it tells of their interval where nobody said it, and where it contradicts what was said.

Bars are as far apart as they are long, but for those that are missing and for nights. So the smallest distance tells the interval where it
is also the commonest, and all shorter than a night are its multiples.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from replay.data.questions import Question
from replay.data.times import SECOND
from replay.errors import BadInput
from replay.events import BAR

if TYPE_CHECKING:
    from replay.data.columns import Columns

HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
NIGHT = 6 * HOUR  #: distances above it may be those of a closed market
TOLD_BY = 4  #: distances that it takes to take their word for an interval
SHARE = 4  #: bars closer than they are long, above one in so many distances: they are shorter
PROOF = 1000  #: odds against bars that are missing leaving only multiples of a longer interval


def told(times: np.ndarray) -> int:
    """The interval of bars at `times` (ns, sorted, without repeats), by their distances; 0 where these do not tell.

    >>> told(np.array([0, 60, 120, 180, 360]) * SECOND) // SECOND, told(np.array([0, 60, 200]) * SECOND)
    (60, 0)
    """
    gaps = np.diff(times)
    if len(gaps) < 2:
        return 0
    least = int(gaps.min())
    at_least = gaps == least
    if least >= 23 * HOUR:  # days are 23 and 25 hours long where clocks change
        days = np.rint(gaps / DAY)
        least, at_least = int(days.min()) * DAY, days == days.min()
        fits = True
    else:
        fits = not (gaps[gaps < NIGHT] % least).any()
    return least if fits and 2 * int(at_least.sum()) >= len(gaps) and at_least.sum() >= 2 else 0


def settle(rows: np.recarray, path: Path, reader: Columns, said_by: str) -> None:
    """In place: the intervals of the bars of one file that nobody said, and their closes; and hold those that were said against the rows.

    `said_by`: "option" or "column"; those of a "form" are certain. Raises `Question` or `BadInput`.
    """
    bars = np.flatnonzero(rows.kind == BAR)
    if not len(bars):
        return
    lengths = {k: length for length, k in reader.intervals.items()}
    which = rows.instrument[bars].astype(np.int64) << 8 | rows.side[bars].astype(np.int64) + 1
    order = np.lexsort((rows.ts_event[bars], which))
    series, starts = np.unique(which[order], return_index=True)
    for key, mine in zip(series.tolist(), np.split(bars[order], starts[1:]), strict=True):
        symbol = reader.names[key >> 8]
        times = np.unique(rows.ts_event[mine])
        length = lengths.get((key & 255) - 1, 0)
        if length and said_by != "form":
            _hold(path, symbol, times, length, reader, said_by == "option")
        elif not length:
            _infer(rows, mine, path, symbol, times, reader)


def _infer(rows: np.recarray, mine: np.ndarray, path: Path, symbol: str, times: np.ndarray, reader: Columns) -> None:
    length = told(times)
    if not length or len(times) <= TOLD_BY:
        gaps = np.diff(times)
        seen = f"times are {int(gaps.min()) // SECOND} s apart: " if len(gaps) else ""
        raise Question(
            f"{path}: how long its bars are is not said; {seen}add --interval, such as 5m, or a column interval",
            {"--interval": length_text(length or int(gaps.min(initial=1 << 62))) if len(gaps) else "5m"},
        )
    reader.infer(f"{symbol}.interval")
    rows.side[mine] = reader.interval_code(length)
    if reader.label_open:
        unknown = mine[rows.ts_recv[mine] == rows.ts_event[mine]]
        rows.ts_event[mine] += length
        rows.ts_recv[unknown] = rows.ts_event[unknown]


def _hold(path: Path, symbol: str, times: np.ndarray, length: int, reader: Columns, stated: bool) -> None:
    gaps = np.diff(times)
    close = gaps < (length if length < DAY else length - HOUR)
    found = told(times)
    longer = found > length and (found / length) ** min(len(gaps), 64) >= PROOF
    if SHARE * int(close.sum()) > len(gaps) or longer:
        seen = length_text(found or int(gaps.min()))
        text = f"{path}: {symbol}: rows are {seen} apart, its bars are said to be of {length_text(length)}: "
        if not stated:
            raise BadInput(text + "correct its column interval, or leave it out by --columns 'interval=' and say --interval")
        if len(times) > TOLD_BY and found:
            raise Question(text + "leave --interval out, each file's rows tell it", {"--interval": None})
        raise Question(text + f"say --interval {seen}", {"--interval": seen})
    if close.any():
        reader.anomalies["bars_closer_than_interval"] += int(close.sum())


def length_text(ns: int) -> str:
    """A duration as an option takes it.

    >>> length_text(300 * SECOND), length_text(DAY), length_text(90 * SECOND), length_text(300)
    ('5m', '1d', '90s', '300ns')
    """
    for unit, per in (("d", DAY), ("h", HOUR), ("m", 60 * SECOND), ("s", SECOND), ("ms", 10**6), ("us", 1000)):
        if ns >= per and ns % per == 0:
            return f"{ns // per}{unit}"
    return f"{ns}ns"
