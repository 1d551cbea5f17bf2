"""Market hours: the days of an exchange's calendar, frozen into the manifest and replayed as PHASE rows.

The calendars are those of the package exchange_calendars, under their ISO 10383 names (``XNYS`` New York, ``XNAS``, ``XLON``,
``24/7``...), with holidays and early closes. A run needs neither the package nor its opinion of the past: what it said at import stands in
the session.
"""

from __future__ import annotations

import difflib
import warnings
from itertools import pairwise

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


def bar_opens(closes: np.ndarray, interval_ns: np.ndarray, series: np.ndarray, calendar: Calendar | None) -> np.ndarray:
    """When bars that close at `closes` open, by the rules of docs/assumptions.md; all arrays int64, `series` tells bars of different
    instruments or intervals apart. What `replay.venue.stream` does while it replays, for all bars at once.

    >>> noon = 12 * 3600 * SECOND  # a day of 5 hours; an hour's bar, half an hour, a day
    >>> day = Calendar(name="", days=((1, noon, noon + 5 * 3600 * SECOND),))
    >>> closes = noon + np.array([3600, 5400, 18_000]) * SECOND
    >>> (bar_opens(closes, np.array([3600, 3600, 86_400]) * SECOND, np.array([0, 0, 1]), day) - noon) // SECOND
    array([   0, 3600,    0])
    """
    before = before_in_series(closes, closes, series)
    start = np.maximum(closes - interval_ns, before)
    hours = Hours(calendar) if calendar is not None else None
    if hours is None or not len(hours.days):
        return start
    day = np.searchsorted(hours.opens, closes, "left") - 1  # the last that began before the close
    of_day = (day >= 0) & (hours.closes[day] > closes - interval_ns)
    first = np.minimum(np.searchsorted(hours.opens, start, "left"), day)
    long = np.maximum(before, hours.opens[first])
    follows = (start == before) & (before == closes - interval_ns)
    short = np.where((closes > hours.closes[day]) | follows, start, np.maximum(start, hours.opens[day]))
    return np.where(of_day, np.where(interval_ns >= DAY_NS, long, short), start)


def before_in_series(values: np.ndarray, closes: np.ndarray, series: np.ndarray) -> np.ndarray:
    """Of each bar the value of the bar before it in its series, of an earlier close; very low where there is none."""
    order = np.lexsort((closes, series))
    v, t, s = values[order], closes[order], series[order]
    first = np.flatnonzero(np.r_[True, (t[1:] != t[:-1]) | (s[1:] != s[:-1])]) if len(t) else np.zeros(0, np.int64)
    of = np.searchsorted(first, np.arange(len(t)), "right") - 1  # bars of one series and one close count as one
    last = np.r_[first[1:], len(t)] - 1
    same = np.r_[False, s[first[1:]] == s[first[1:] - 1]] if len(first) else np.zeros(0, bool)
    previous = np.where(same, np.r_[-(1 << 62), v[last[:-1]]] if len(first) else 0, -(1 << 62))
    out = np.empty(len(t), np.int64)
    out[order] = previous[of]
    return out


def has_days(calendar: Calendar) -> bool:
    """Whether its market ever closes: where every day goes over into the next, nothing ends with a day."""
    days = calendar.days
    whole = all(closes - opens >= DAY_NS for _, opens, closes in days)
    return not whole or any(a[2] < b[1] for a, b in pairwise(days))


def phase_rows(calendar: Calendar) -> np.recarray:
    """OPEN and CLOSED of every day, received when they happen. A day that goes over into the next one does not close, and neither does
    a market without days: each OPEN there only begins a day.

    >>> days = ((20250820, 0, DAY_NS), (20250821, DAY_NS, 2 * DAY_NS))
    >>> phase_rows(Calendar(name="24/7", days=days)).side.tolist() == [OPEN, OPEN]
    True
    """
    rows = empty(2 * len(calendar.days))
    rows.ts_event[:] = [t for _, opens, closes in calendar.days for t in (opens, closes)]
    rows.ts_recv[:] = rows.ts_event
    rows.id[:] = np.repeat([day for day, _, _ in calendar.days], 2) if calendar.days else []
    rows.kind[:], rows["flags"][:], rows.side[:] = PHASE, LAST, [OPEN, CLOSED] * len(calendar.days)
    closes = rows.side == CLOSED
    goes_over = closes & np.append(rows.ts_event[:-1] == rows.ts_event[1:], not has_days(calendar))
    return rows[~goes_over]
