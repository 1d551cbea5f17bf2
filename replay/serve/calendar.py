"""The market clock and calendar as far as a session tells them, and New York's usual hours beyond."""

from __future__ import annotations

import datetime

import numpy as np

from replay.data.times import NEW_YORK, in_new_york, ns_of
from replay.events import CLOSED, OPEN, PHASE
from replay.serve.market import Market

OPENS, CLOSES = (9, 30), (16, 0)


def local(ns: int) -> datetime.datetime:
    """New York's time, to the microsecond below."""
    return datetime.datetime.fromtimestamp(ns // 10**9, NEW_YORK).replace(microsecond=ns % 10**9 // 1000)


class Calendar:
    """Trading days: those whose phases the session holds, with their hours; weekdays from 9:30 to 16:00 elsewhere (no holidays)."""

    def __init__(self, market: Market):
        self.market = market
        self._known: dict[datetime.date, list[int]] = {}
        if market.session.manifest.counts.get("phase"):
            rows = market.events
            for n in np.flatnonzero(rows.kind == PHASE).tolist():
                when, side = int(rows[n].ts_event), int(rows[n].side)
                day = self._known.setdefault(local(when).date(), [0, 0])
                if side == OPEN:
                    day[0] = day[0] or when
                elif side == CLOSED and day[0]:
                    day[1] = when

    def hours(self, day: datetime.date) -> tuple[int, int] | None:
        """Open and close of a day, ns; None where it has no trading."""
        usual = None if day.weekday() >= 5 else (in_new_york(day, *OPENS), in_new_york(day, *CLOSES))
        known = self._known.get(day)
        if known is None or not known[0]:
            return usual
        return known[0], known[1] or (usual[1] if usual else known[0])

    def days(self, start: datetime.date, end: datetime.date) -> list[dict]:
        """Calendar entries from `start` to `end`."""
        out, day = [], start
        while day <= end:
            hours = self.hours(day)
            if hours:
                opens, closes = local(hours[0]), local(hours[1])
                settles = day + datetime.timedelta(days=3 if day.weekday() == 4 else 1)
                out.append(
                    {
                        "date": day.isoformat(),
                        "open": f"{opens:%H:%M}",
                        "close": f"{closes:%H:%M}",
                        "session_open": "0400",
                        "session_close": "2000",
                        "settlement_date": settles.isoformat(),
                    }
                )
            day += datetime.timedelta(days=1)
        return out

    def clock(self) -> dict:
        """The clock: session time, whether the session is open, and the next open and close."""
        now, is_open = self.market.now, self.market.phase() == OPEN
        nexts = {0: None, 1: None}
        day = local(now).date()
        for _ in range(14):
            hours = self.hours(day)
            for k in range(2):
                if hours and nexts[k] is None and hours[k] > now:
                    nexts[k] = hours[k]
            if hours and not is_open and hours[0] <= now < hours[1]:
                nexts[0] = now  # it opens any moment: the phase is on its way
            day += datetime.timedelta(days=1)
        return {
            "timestamp": local(now).isoformat(),
            "is_open": is_open,
            "next_open": local(nexts[0]).isoformat(),
            "next_close": local(nexts[1]).isoformat(),
        }


def ns_of_text(text: str) -> int:
    """A date or RFC 3339 time as ns, to the nanosecond. Raises `ValueError`.

    >>> ns_of_text("2026-03-02T14:30:00.000366123Z"), ns_of_text("2026-03-02")
    (1772461800000366123, 1772409600000000000)
    """
    if len(text) == 10:
        return ns_of(datetime.datetime.combine(datetime.date.fromisoformat(text), datetime.time(), datetime.UTC))
    head, dot, rest = text.replace(" ", "+").partition(".")
    if not dot:
        when = datetime.datetime.fromisoformat(head)
        return ns_of(when if when.tzinfo else when.replace(tzinfo=datetime.UTC))
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    when = datetime.datetime.fromisoformat(head + rest[len(digits) :])
    return ns_of(when if when.tzinfo else when.replace(tzinfo=datetime.UTC)) + int(digits[:9].ljust(9, "0"))
