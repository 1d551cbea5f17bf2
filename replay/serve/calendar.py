"""The market clock and calendar: the session's own hours on its days, the exchange's (XNYS, with holidays and early closes) elsewhere."""

from __future__ import annotations

import datetime
import threading
from typing import NamedTuple

import numpy as np

from replay.data.hours import market_hours
from replay.data.times import NEW_YORK, SECOND, in_new_york, ns_of
from replay.events import CLOSED, OPEN, PHASE
from replay.serve.market import Market

EXCHANGE = "XNYS"
FIRST_YEAR, LAST_YEAR = 1970, 2050
PRE_OPENS, POST_CLOSES = (4, 0), (20, 0)
SETTLES_IN_ONE = datetime.date(2024, 5, 28)  #: trades from this day on settle a business day later, two before


def local(ns: int) -> datetime.datetime:
    """New York's time, to the microsecond below."""
    return datetime.datetime.fromtimestamp(ns // 10**9, NEW_YORK).replace(microsecond=ns % 10**9 // 1000)


class _Exchange:
    """The exchange's hours by date, read from the package's calendar in stretches of years: a stretch takes a second."""

    def __init__(self):
        self._lock = threading.Lock()
        self._hours: dict[datetime.date, tuple[int, int]] = {}
        self._years: set[int] = set()

    def load(self, first: int, last: int) -> None:
        """Know the years `first` to `last`, and those between them and the years that are known."""
        first, last = max(first, FIRST_YEAR), min(last, LAST_YEAR)
        with self._lock:
            if self.knows(first, last):
                return
            first, last = min({first, *self._years}), max({last, *self._years})
            days = market_hours(
                EXCHANGE, in_new_york(datetime.date(first, 1, 1)), in_new_york(datetime.date(last, 12, 31), 23)
            ).days
            self._hours.update({_date(day): (opens, closes) for day, opens, closes in days})
            self._years.update(range(first, last + 1))

    def knows(self, first: int, last: int) -> bool:
        """Whether those years have been read."""
        return self._years.issuperset(range(max(first, FIRST_YEAR), min(last, LAST_YEAR) + 1))

    def hours(self, day: datetime.date) -> tuple[int, int] | None:
        """Open and close, ns; None where the exchange is closed that day."""
        if day.year not in self._years:
            self.load(day.year, day.year)
        return self._hours.get(day)


_EXCHANGE = _Exchange()  # what an exchange did is the same for every server of a process


def _date(day: int) -> datetime.date:
    return datetime.date(day // 10_000, day // 100 % 100, day % 100)


class Day(NamedTuple):
    """A trading day: the core session, and the hours before and after it; ns."""

    date: datetime.date
    opens: int
    closes: int
    pre_opens: int
    post_closes: int
    settles: datetime.date


class Calendar:
    """Trading days: those whose phases the session holds, with their hours; elsewhere those of the exchange."""

    def __init__(self, market: Market):
        self.market = market
        self._known: dict[datetime.date, tuple[int, int]] = {}
        if market.session.manifest.counts.get("phase"):
            rows = market.events
            opened = 0
            for n in np.flatnonzero(rows.kind == PHASE).tolist():
                when, side = int(rows[n].ts_event), int(rows[n].side)
                if side == OPEN:
                    opened = opened or when
                elif side == CLOSED and opened:
                    self._know(opened, when)
                    opened = 0
            if opened:
                self._know(opened, 0)

    def _know(self, opens: int, closes: int) -> None:
        day = local(opens).date()
        first = self._known.get(day, (opens, 0))[0]
        self._known[day] = (first, closes)

    def load(self) -> None:
        """Read the exchange's calendar around the session, which takes a second or more the first time. From any thread."""
        _EXCHANGE.load(*self._around)

    @property
    def loaded(self) -> bool:
        return _EXCHANGE.knows(*self._around)

    @property
    def _around(self) -> tuple[int, int]:
        m = self.market.session.manifest
        return local(m.start_ns).year, local(m.end_ns).year + 1

    def hours(self, day: datetime.date) -> tuple[int, int] | None:
        """Open and close of a day, ns; None where it has no trading."""
        known = self._known.get(day)
        if known is None:
            return _EXCHANGE.hours(day)
        if known[1]:
            return known
        usual = _EXCHANGE.hours(day)  # the recording ends before the close
        return known[0], usual[1] if usual and usual[1] > known[0] else self.market.session.manifest.end_ns

    def day(self, day: datetime.date) -> Day | None:
        """A trading day; None where it is none."""
        hours = self.hours(day)
        if hours is None:
            return None
        settles = day
        for _ in range(1 if day >= SETTLES_IN_ONE else 2):
            settles = self.following(settles)
        return Day(
            day,
            *hours,
            min(in_new_york(day, *PRE_OPENS), hours[0]),
            max(in_new_york(day, *POST_CLOSES), hours[1]),
            settles,
        )

    def following(self, day: datetime.date) -> datetime.date:
        """The trading day after `day`."""
        for _ in range(14):
            day += datetime.timedelta(days=1)
            if self.hours(day):
                break
        return day

    def span(self, start: datetime.date, end: datetime.date) -> list[Day]:
        """The trading days from `start` to `end`, both included."""
        _EXCHANGE.load(start.year, end.year)
        found = (self.day(start + datetime.timedelta(days=k)) for k in range((end - start).days + 1))
        return [d for d in found if d is not None]

    def days(self, start: datetime.date, end: datetime.date, settling: bool = False) -> list[dict]:
        """Calendar entries of the trading days from `start` to `end`, or of those that settle then."""
        if settling:
            every = self.span(start - datetime.timedelta(days=14), end)
            chosen = [d for d in every if start <= d.settles <= end]
        else:
            chosen = self.span(start, end)
        return [
            {
                "date": d.date.isoformat(),
                "open": f"{local(d.opens):%H:%M}",
                "close": f"{local(d.closes):%H:%M}",
                "session_open": f"{local(d.pre_opens):%H%M}",
                "session_close": f"{local(d.post_closes):%H%M}",
                "settlement_date": d.settles.isoformat(),
            }
            for d in chosen
        ]

    def nexts(self, now: int) -> tuple[int, int]:
        """The next open and the next close after `now`, ns."""
        opens = closes = 0
        day = local(now).date() - datetime.timedelta(days=1)  # a session over midnight
        while not (opens and closes):
            hours = self.hours(day)
            if hours:
                opens = opens or (hours[0] if hours[0] > now else 0)
                closes = closes or (hours[1] if hours[1] > now else 0)
            day += datetime.timedelta(days=1)
            if day.year > LAST_YEAR:
                return opens or now + SECOND, closes or now + SECOND
        return opens, closes

    def clock(self) -> dict:
        """The clock: session time, whether the session is open, and the next open and close, which are after it."""
        now, is_open = self.market.now, self.market.phase() == OPEN
        opens, closes = self.nexts(now)
        today = self.hours(local(now).date())
        if today and not is_open and today[0] <= now < today[1]:
            opens = now + SECOND  # it opens any moment: the phase is on its way
        return {
            "timestamp": local(now).isoformat(),
            "is_open": is_open,
            "next_open": local(opens).isoformat(),
            "next_close": local(closes).isoformat(),
        }


def ns_of_text(text: str, zone: datetime.tzinfo = datetime.UTC) -> int:
    """A date (its midnight in `zone`) or RFC 3339 time as ns, to the nanosecond. Raises `ValueError`.

    >>> ns_of_text("2026-03-02T14:30:00.000366123Z"), ns_of_text("2026-03-02")
    (1772461800000366123, 1772409600000000000)
    >>> ns_of_text("2026-03-02", NEW_YORK), ns_of_text("2026-03-02 14:30:00 00:00")
    (1772427600000000000, 1772461800000000000)
    """
    if len(text) == 10:
        return ns_of(datetime.datetime.combine(datetime.date.fromisoformat(text), datetime.time(), zone))
    text = f"{text[:10]}T{text[11:]}".replace(" ", "+")  # a plus sign that was not escaped
    head, dot, rest = text.partition(".")
    if not dot:
        when = datetime.datetime.fromisoformat(head)
        return ns_of(when if when.tzinfo else when.replace(tzinfo=datetime.UTC))
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    when = datetime.datetime.fromisoformat(head + rest[len(digits) :])
    return ns_of(when if when.tzinfo else when.replace(tzinfo=datetime.UTC)) + int(digits[:9].ljust(9, "0"))
