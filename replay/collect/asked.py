"""What a download is asked for: texts of the command line as times, and the spans it is fetched in."""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Iterator
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from replay.data.hours import market_hours
from replay.data.times import NEW_YORK, SECOND, date_of, ns_of
from replay.errors import BadInput

UTC = ZoneInfo("UTC")
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
BARS, TRADES, QUOTES = "bars", "trades", "quotes"
KINDS = (QUOTES, TRADES, BARS)  #: in the order in which rows of one time are put
_UNITS = {"min": MINUTE, "m": MINUTE, "t": MINUTE, "hour": HOUR, "h": HOUR, "day": DAY, "d": DAY}
_PERIODS = {
    "d": "days",
    "day": "days",
    "w": "weeks",
    "week": "weeks",
    "mo": "months",
    "month": "months",
    "y": "years",
    "year": "years",
}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A download: `start` and `end` in ns UTC, the end not included; `steps_ns`: lengths of bars, else (0,); `period`: as it was written, else empty."""

    broker: str
    symbols: tuple[str, ...]
    kinds: tuple[str, ...]
    start: int
    end: int
    steps_ns: tuple[int, ...] = (0,)
    period: str = ""
    feed: str = ""
    adjustment: str = ""

    @property
    def crypto(self) -> bool:
        """Whether the symbols are pairs; a download has one sort only."""
        return "/" in self.symbols[0]

    @property
    def zone(self) -> ZoneInfo:
        """Whose midnight ends a day: New York's for stocks, UTC's for pairs."""
        return UTC if self.crypto else NEW_YORK

    def same_data(self, other: Asked) -> bool:
        """Whether one goes on with the other: all but symbols and times is equal."""
        names = ("broker", "kinds", "steps_ns", "feed", "adjustment", "crypto")
        return all(getattr(self, n) == getattr(other, n) for n in names)


class Span(NamedTuple):
    """A stretch fetched in one go: ``start <= t < end``; `label` names the day or month it lies in."""

    start: int
    end: int
    label: str


def step_text(step_ns: int) -> str:
    """The length of a bar: ``5m``, ``4h``, ``1d``.

    >>> step_text(5 * MINUTE), step_text(4 * HOUR), step_text(DAY)
    ('5m', '4h', '1d')
    """
    unit, ns = next(u for u in (("d", DAY), ("h", HOUR), ("m", MINUTE)) if step_ns % u[1] == 0)
    return f"{step_ns // ns}{unit}"


def frequency(text: str) -> int:
    """``5min``, ``1h``, ``1d`` as ns. Raises `BadInput`.

    >>> frequency("5min") == 5 * MINUTE, frequency("1Day") == DAY
    (True, True)
    """
    m = re.fullmatch(r"(\d{1,2})(min|m|t|hour|h|day|d)", text.strip().lower())
    ns = int(m[1]) * _UNITS[m[2]] if m else 0
    if not ns or ns > DAY or DAY % ns:
        raise BadInput(f"--frequency: expected a part of a day such as 1min, 5min, 1h or 1d, got {text!r}")
    return ns


def before(now: datetime.datetime, period: str) -> datetime.datetime:
    """The midnight (of `now`'s zone) a period before `now`. Raises `BadInput`.

    >>> before(datetime.datetime(2026, 8, 31, 15, tzinfo=NEW_YORK), "6months").isoformat()
    '2026-02-28T00:00:00-05:00'
    """
    m = re.fullmatch(r"(\d{1,4})\s*([a-z]+?)s?", period.strip().lower())
    unit = _PERIODS.get(m[2]) if m else None
    if unit is None or int(m[1]) < 1:
        raise BadInput(f"--period: expected a length such as 6months, 2weeks, 30days or 1year, got {period!r}")
    n, midnight = int(m[1]), datetime.datetime(now.year, now.month, now.day, tzinfo=now.tzinfo)
    if unit in ("days", "weeks"):
        day = midnight.date() - datetime.timedelta(**{unit: n})
        return datetime.datetime(day.year, day.month, day.day, tzinfo=now.tzinfo)
    months = now.year * 12 + now.month - 1 - n * (12 if unit == "years" else 1)
    year, month = divmod(months, 12)
    return midnight.replace(year=year, month=month + 1, day=min(now.day, calendar.monthrange(year, month + 1)[1]))


def moment(text: str, option: str, zone: ZoneInfo) -> int:
    """A day (its midnight in `zone`) or an ISO time (UTC unless it says otherwise) as ns. Raises `BadInput`.

    >>> moment("2026-03-02", "--from", NEW_YORK) == moment("2026-03-02T05:00", "--from", UTC)
    True
    """
    if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text):
        return ns_of(datetime.datetime.combine(date_of(text, option), datetime.time(), zone))
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option}: expected a day such as 2026-03-02 or a time such as 2026-03-02T14:30, got {text!r}") from None
    return ns_of(when if when.tzinfo else when.replace(tzinfo=datetime.UTC))


def spans(asked: Asked, kind: str) -> Iterator[Span]:
    """The stretches that are fetched apart: months of bars, days of trades and quotes; of stocks only days of trading."""
    days = None
    if kind != BARS and not asked.crypto:
        days = {
            datetime.date(d // 10_000, d // 100 % 100, d % 100) for d, _, _ in market_hours("XNYS", asked.start, asked.end).days
        }
    at = datetime.datetime.fromtimestamp(asked.start / SECOND, asked.zone).date()
    if kind == BARS:
        at = at.replace(day=1)
    while (start := _midnight(at, asked.zone)) < asked.end:
        then = (
            (at.replace(day=28) + datetime.timedelta(days=4)).replace(day=1) if kind == BARS else at + datetime.timedelta(days=1)
        )
        if days is None or at in days:
            label = f"{at:%Y-%m}" if kind == BARS else at.isoformat()
            span = Span(max(start, asked.start), min(_midnight(then, asked.zone), asked.end), label)
            if span.start < span.end:
                yield span
        at = then


def _midnight(day: datetime.date, zone: ZoneInfo) -> int:
    return ns_of(datetime.datetime.combine(day, datetime.time(), zone))
