"""Market hours: the days of an exchange's calendar, frozen into the manifest and replayed as PHASE rows.

The calendars are those of the package exchange_calendars, under their ISO 10383 names (``XNYS`` New York, ``XNAS``, ``XLON``,
``24/7``...), with holidays and early closes. A run needs neither the package nor its opinion of the past: what it said at import stands in
the session.
"""

from __future__ import annotations

import difflib
import warnings

import numpy as np

from replay.data.manifest import Calendar
from replay.data.times import SECOND, trading_day
from replay.errors import BadInput
from replay.events import CLOSED, LAST, OPEN, PHASE, empty

DAY_NS = 86_400 * SECOND


def market_hours(name: str, start_ns: int, end_ns: int) -> Calendar:
    """The trading days of calendar `name` that lie, at least in part, between two times. Raises `BadInput` for an unknown name.

    >>> import datetime
    >>> from replay.data.times import in_new_york
    >>> day = datetime.date(2025, 7, 3)  # closes at 13:00
    >>> hours = market_hours("XNYS", in_new_york(day), in_new_york(day, 23))
    >>> hours.days == ((20250703, in_new_york(day, 9, 30), in_new_york(day, 13)),)
    True
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about what the package does with it
        import exchange_calendars as xc
        import pandas as pd

        try:
            name = xc.resolve_alias(name)
        except xc.errors.InvalidCalendarName:
            names = xc.get_calendar_names()
            near = difflib.get_close_matches(name.upper(), names, 3) or ["XNYS", "XLON", "24/7"]
            raise BadInput(f"--calendar {name}: no such calendar, such as {', '.join(near)}: see exchange_calendars") from None
        # a day to either side: a session may be named by a day that UTC does not have yet, and a calendar must not be empty
        first, last = (pd.Timestamp(ns).normalize() + pd.Timedelta(days=7 * k) for ns, k in ((start_ns, -1), (end_ns, 1)))
        calendar = xc.get_calendar(name, start=first, end=last)
        days = [trading_day(d.date()) for d in calendar.sessions]
        opens, closes = calendar.opens_nanos.tolist(), calendar.closes_nanos.tolist()
    held = [(d, o, c) for d, o, c in zip(days, opens, closes, strict=True) if c >= start_ns and o <= end_ns]
    return Calendar(name=name, days=tuple(held))


class Hours:
    """Questions to the days of a calendar, answered for arrays of times (int64 ns)."""

    def __init__(self, calendar: Calendar):
        self.days, self.opens, self.closes = np.array(calendar.days, np.int64).reshape(-1, 3).T.copy()

    def holds(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Whether the market was open from `start` to `end`, both included, within one day."""
        if not len(self.days):
            return np.zeros(len(start), bool)
        day = np.searchsorted(self.opens, start, "right") - 1
        return (day >= 0) & (end <= self.closes[day])

    def daily_close(self, end: np.ndarray) -> np.ndarray:
        """The close of the trading day a daily bar is of, whose nominal end (midnight) is `end`; `end` where there is none, or is one."""
        if not len(self.days):
            return end
        k = np.searchsorted(self.closes, end, "left") - 1  # the last close before it
        close = self.closes[k]
        return np.where((k >= 0) & (end - close < DAY_NS) & ~np.isin(end, self.closes), close, end)

    def missing_bars(self, ends: np.ndarray, interval_ns: int) -> np.ndarray:
        """How many bars of one symbol are missing inside sessions, per day of the calendar, from its first bar to its last.

        `ends` are the closes of its bars, without repeats. Of bars of a day, a day without one misses one; of longer ones nobody knows.
        """
        missing = np.zeros(len(self.days), np.int64)
        if not len(self.days):
            return missing
        day = np.searchsorted(self.closes, ends, "left")  # the session a bar closes in, or with
        known = day < len(self.days)
        day = np.minimum(day, len(self.days) - 1)
        known &= ends == self.closes[day] if interval_ns >= DAY_NS else ends > self.opens[day]
        ends, day = ends[known], day[known]
        if not len(ends) or interval_ns > DAY_NS:
            return missing
        if interval_ns == DAY_NS:
            missing[day[0] : day[-1] + 1] = 1
            missing[day] = 0
            return missing
        days = np.arange(day[0], day[-1] + 1)
        for k, mine in zip(days.tolist(), np.split(ends, np.searchsorted(day, days[1:])), strict=True):
            missing[k] = max(self._slots(k, interval_ns, mine, k == day[0], k == day[-1]) - len(mine), 0)
        return missing

    def _slots(self, k: int, interval_ns: int, mine: np.ndarray, first: bool, last: bool) -> int:
        """How many bars day `k` has room for, on the grid that its bars keep to, or from its open where it has none."""
        opens, closes = self.opens[k], self.closes[k]
        on_grid = mine[mine < closes]
        phase = int((on_grid[0] - opens) % interval_ns) if len(on_grid) else 0
        one = opens + (phase or interval_ns)  # where the first ends
        count = 1 + int(-((one - closes) // interval_ns)) if closes > one else 1
        if first:
            count -= int(-((one - mine[0]) // interval_ns))
        if last:
            count -= int((closes - mine[-1]) // interval_ns) + int((closes - mine[-1]) % interval_ns > 0)
        return count


def phase_rows(calendar: Calendar) -> np.recarray:
    """Two rows a day, OPEN and CLOSED, received when they happen."""
    rows = empty(2 * len(calendar.days))
    rows.ts_event[:] = [t for _, opens, closes in calendar.days for t in (opens, closes)]
    rows.ts_recv[:] = rows.ts_event
    rows.id[:] = np.repeat([day for day, _, _ in calendar.days], 2) if calendar.days else []
    rows.kind[:], rows["flags"][:], rows.side[:] = PHASE, LAST, [OPEN, CLOSED] * len(calendar.days)
    return rows
