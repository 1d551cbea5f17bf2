"""A session moved to another time, for bots that look at their own clock."""

from __future__ import annotations

import datetime

import msgspec
import numpy as np

from replay.data.session import Session
from replay.data.times import NEW_YORK, trading_day
from replay.events import PHASE


def moved(session: Session, start_ns: int) -> Session:
    """The session, every time of it moved by the same amount, so that its first row comes at `start_ns`. The rows are copied; a calendar's days
    become those that New York then has. Raises `BadInput`."""
    m = session.manifest
    shift = start_ns - m.start_ns
    rows = session.events.copy()
    rows.ts_event += shift
    rows.ts_recv += shift
    for n in np.flatnonzero(rows.kind == PHASE).tolist():
        rows.id[n] = _day(int(rows.ts_event[n]))
    calendar = m.calendar
    if calendar is not None:
        days = tuple((_day(o + shift), o + shift, c + shift) for _, o, c in calendar.days)
        calendar = msgspec.structs.replace(calendar, days=days)
    return Session.from_rows(
        rows,
        m.instruments,
        name=m.name,
        clock_shift_ns=m.clock_shift_ns,
        bar_intervals_ns=m.bar_intervals_ns,
        inferred=m.inferred,
        sources=m.sources,
        sliced_phase=m.sliced_phase,
        calendar=calendar,
    )


def _day(ns: int) -> int:
    return trading_day(datetime.datetime.fromtimestamp(ns // 10**9, NEW_YORK).date())
