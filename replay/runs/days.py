"""The days that a recording is counted in, and how many of them a year has: what daily returns and annualised figures stand on.

Days come from the session's calendar, else from its phases, else from the data:

- A day of a market that closes ends half-way between its close and the next opening, so that what is traded before and after hours
  belongs to the day it is next to.
- Where one day follows another without a break of `BREAK_NS` (24/7, futures), it ends with the minute after that moment, because a bar
  that closes then may be heard a little later. The first and last day of a recording, where less than half of one was recorded, is
  counted with the day beside it: six minutes around midnight are one day.
- Without a calendar, the data are cut where nothing is heard for `SILENCE_NS` (and a bar's interval). A stretch of up to 24 hours is a day;
  a longer one is cut at midnight UTC.

A year has 365 days where both Saturdays and Sundays are among them, else 252.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from replay.data.manifest import Manifest
from replay.data.session import Session, blocks
from replay.events import OPEN, PHASE

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
LATER = 1 << 62  #: the last day ends with the data
BREAK_NS = HOUR_NS  #: a market that is closed for less trades around the clock
SILENCE_NS = 4 * HOUR_NS
GRACE_NS = 60 * 10**9 + 1
BY_DATA = "the data, which have no calendar"


@dataclass(frozen=True, eq=False)
class Days:
    """`ends_ns`: what is earlier than the k-th, and no earlier than the one before it, belongs to day k. `by`: where they come from."""

    ends_ns: np.ndarray
    a_year: int
    by: str

    @property
    def a_month(self) -> int:
        return 21 if self.a_year == 252 else 30

    def __len__(self) -> int:
        return len(self.ends_ns)


def days_of(session: Session, end_ns: int | None = None) -> Days:
    """The days of a session, up to `end_ns` where it was not replayed to its end. Cost: a few looks at the rows for each hour recorded;
    with phases but no calendar one pass."""
    m = session.manifest
    first, last = _heard(session)
    m = msgspec.structs.replace(m, start_ns=first, end_ns=last if end_ns is None else max(first, min(last, end_ns)))
    if m.calendar is not None and m.calendar.days:
        dates, opens, closes = np.array(m.calendar.days, np.int64).T
        recorded = (closes >= m.start_ns) & (opens < m.end_ns)
        ends = _ends(opens[recorded], closes[recorded], m)
        weekdays = np.arange(7) if m.calendar.name == "24/7" else _weekdays(dates)
        return Days(ends, _a_year(weekdays), f"the calendar {m.calendar.name}")
    if m.counts.get("phase", 0):
        dates, opens, closes = _phases(session, m)
        return Days(_ends(opens, closes, m), _a_year(_weekdays(dates)), "the session's phases")
    opens, closes = _stretches(session, m)
    return Days(_ends(opens, closes, m), _a_year(((opens + closes) // 2 // DAY_NS + 3) % 7), BY_DATA)


def _heard(session: Session) -> tuple[int, int]:
    """When the first and the last row came that is none of the market's hours."""
    rows = session.events
    first, last = 0, len(rows) - 1
    while first < last and rows[first]["kind"] == PHASE:
        first += 1
    while last > first and rows[last]["kind"] == PHASE:
        last -= 1
    return int(rows[first]["ts_recv"]), int(rows[last]["ts_recv"])


def _a_year(weekdays: np.ndarray) -> int:
    """Days a year, from the weekdays (0: Monday) that are traded on."""
    return 365 if {5, 6} <= set(weekdays.tolist()) else 252


def _weekdays(dates: np.ndarray) -> np.ndarray:
    """Of trading days as YYYYMMDD; none where they are numbered otherwise."""
    found = []
    for date in dates.tolist():
        try:
            day = np.datetime64(f"{date // 10_000:04}-{date // 100 % 100:02}-{date % 100:02}", "D")
        except ValueError:
            continue
        found.append((int(day.astype(np.int64)) + 3) % 7)
    return np.array(found, np.int64)


def _ends(opens: np.ndarray, closes: np.ndarray, m: Manifest) -> np.ndarray:
    """When each day ends, of days from their opening to their close."""
    if len(opens) < 2:
        return np.array([LATER])
    closed = opens[1:] - closes[:-1]
    goes_on = closed < BREAK_NS
    ends = np.where(goes_on, opens[1:] + GRACE_NS, closes[:-1] + closed // 2)
    half = (closes - opens) // 2
    longest = max(m.bar_intervals_ns, default=0)
    if goes_on[0] and closes[0] - (m.start_ns - longest) < half[0]:
        ends = ends[1:]
    if len(ends) and goes_on[-1] and m.end_ns - opens[-1] < half[-1] and longest < half[-1]:
        ends = ends[:-1]
    return np.append(ends, LATER)


def _phases(session: Session, m: Manifest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(trading day, opening, close) from the PHASE rows; a day that closes in between, as for lunch, is one."""
    told = [b[b.kind == PHASE] for b in blocks(session.events)]
    rows = np.concatenate([np.array([(r.id, r.side, r.ts_recv) for r in part], np.int64).reshape(-1, 3) for part in told])
    if m.phase_at_start == OPEN and rows[0, 1] != OPEN:  # a slice
        rows = np.concatenate([[[rows[0, 0], OPEN, m.start_ns]], rows])
    opening = rows[:, 1] == OPEN
    if not opening.any():
        return np.zeros(1, np.int64), np.array([m.start_ns]), np.array([m.end_ns])
    first = np.flatnonzero(opening)
    first = first[np.r_[True, np.diff(rows[first, 0]) != 0]]
    # a day closes with the last phase before the next day's first that is no opening
    closes = [
        int(part[-1, 2]) if len(part) else int(end)
        for part, end in (
            (rows[a:b][rows[a:b, 1] != OPEN], rows[b, 2] if b < len(rows) else m.end_ns)
            for a, b in zip(first, np.r_[first[1:], len(rows)], strict=True)
        )
    ]
    closes_ns = np.array(closes, np.int64)
    known = (rows[first, 2] < m.end_ns) & (closes_ns >= m.start_ns)
    return rows[first, 0][known], rows[first, 2][known], closes_ns[known]


def _stretches(session: Session, m: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """(beginning, end) of the days of a recording that says nothing of its market's hours."""
    recv = session.events.ts_recv
    n = max(1, int(np.searchsorted(recv, m.end_ns, "right")))
    bar = max((ns for ns, level in zip(m.finest_bar_ns, m.levels, strict=True) if level == "bars"), default=0)
    hours = np.arange(m.start_ns // HOUR_NS, m.end_ns // HOUR_NS + 2) * HOUR_NS
    first = np.unique(np.searchsorted(recv, hours, "right"))
    first = first[(first > 0) & (first < n)]
    first = first[np.asarray(recv[first]) - np.asarray(recv[first - 1]) >= SILENCE_NS + bar]
    starts, stops = np.asarray(recv[np.r_[0, first]]) - bar, np.asarray(recv[np.r_[first - 1, n - 1]])
    days: list[list[int]] = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if days and start // DAY_NS == days[-1][0] // DAY_NS and stop - days[-1][0] <= DAY_NS:
            days[-1][1] = stop  # it was quiet in the middle of a day
        elif stop - start <= DAY_NS:
            days.append([start, stop])
        else:
            days += _cut(recv, start, stop, bar)
    opens, closes = np.array(days, np.int64).T
    return opens, closes


def _cut(recv: np.ndarray, start: int, stop: int, bar: int) -> list[list[int]]:
    """A stretch of more than a day, at midnights; parts of less than half a day at its ends go with their neighbours. A row of
    midnight itself, such as the bar that closes then, is of the day before."""
    midnights = np.arange((start + bar - 1) // DAY_NS, (stop - 1) // DAY_NS + 2) * DAY_NS
    heard = np.diff(np.searchsorted(recv, midnights, "right")) > 0
    days = [[int(a), int(a) + DAY_NS] for a in midnights[:-1][heard]]
    if len(days) > 1 and days[0][1] - start < DAY_NS // 2:
        days[:2] = [[start, days[1][1]]]
    if len(days) > 1 and stop - days[-1][0] < DAY_NS // 2 > bar:
        days[-2:] = [[days[-2][0], stop]]
    return days
