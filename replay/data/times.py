"""Wall-clock dates to nanoseconds UTC, for importers and generators. Exact: no float touches a time."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

from replay.errors import BadInput

NEW_YORK = ZoneInfo("America/New_York")
SECOND = 10**9
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def ns_of(when: datetime.datetime) -> int:
    """An aware datetime as ns since 1970 UTC.

    >>> ns_of(datetime.datetime(2013, 10, 7, 9, 30, tzinfo=NEW_YORK))
    1381152600000000000
    """
    d = when - _EPOCH
    return (d.days * 86_400 + d.seconds) * SECOND + d.microseconds * 1000


def date_of(day: str, where: str) -> datetime.date:
    """``2013-10-07`` or ``20131007`` as a date. Raises `BadInput`, naming `where`, for anything else."""
    try:
        return datetime.date.fromisoformat(day)
    except (TypeError, ValueError):
        raise BadInput(f"{where}: a day must look like 2026-03-02, got {day!r}: correct it") from None


def in_new_york(day: datetime.date, hour: int = 0, minute: int = 0) -> int:
    """The ns UTC at which the clocks of New York show `hour`:`minute` on `day`."""
    return ns_of(datetime.datetime(day.year, day.month, day.day, hour, minute, tzinfo=NEW_YORK))


def trading_day(day: datetime.date) -> int:
    """The day as the integer a PHASE row carries.

    >>> trading_day(datetime.date(2026, 3, 2))
    20260302
    """
    return day.year * 10_000 + day.month * 100 + day.day


def utc_text(ns: int) -> str:
    """ns since 1970 as UTC text, to the last ns that is not zero, at least to the second.

    >>> utc_text(1_381_152_600_000_000_000), utc_text(1_381_152_600_001_500_000)
    ('2013-10-07T13:30:00Z', '2013-10-07T13:30:00.0015Z')
    """
    seconds, rest = divmod(int(ns), SECOND)
    text = (_EPOCH + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"
