"""The days that figures are counted in, against what exchange_calendars and pandas say of the same market."""

import warnings

import numpy as np
import pandas as pd
import pytest

from replay import events as ev
from replay.data.hours import market_hours, phase_rows
from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.runs.days import BY_DATA, LATER, days_of

A = Instrument(symbol="A", tick_size="0.01")
HOUR = pd.Timedelta(hours=1)


def session(times, bar_ns=0, calendar=None, phases=False):
    """Prints, or bars that close, at these times; with a calendar's name in the manifest, or its phases among the rows."""
    ts = pd.DatetimeIndex(times).tz_convert("UTC").as_unit("ns").asi8
    rows = ev.empty(len(ts))
    rows.ts_event[:], rows.ts_recv[:], rows["flags"][:] = ts - bar_ns, ts, ev.LAST | ev.PRINT
    rows.kind[:] = ev.BAR if bar_ns else ev.TRADE
    rows.a[:], rows.b[:], rows.c[:], rows.d[:], rows.id[:] = 100, 100, 100, 100, 5
    hours = market_hours(calendar, int(ts[0]), int(ts[-1])) if calendar else None
    if phases:
        rows = np.concatenate([rows, phase_rows(hours)])
        rows = rows[np.argsort(rows["ts_recv"], kind="stable")].view(np.recarray)
    return Session.from_rows(rows, [A], bar_intervals_ns=[bar_ns] if bar_ns else [], calendar=None if phases else hours)


def every(start, end, minutes):
    return pd.date_range(start, end, freq=f"{minutes}min", tz="UTC")


def within(times, zone, start, end, weekdays=range(5)):
    """Those of `times` that are from `start` to `end` by the clock of a zone, on these weekdays."""
    local = times.tz_convert(zone)
    clock = local.hour * 60 + local.minute
    lo, hi = (int(t[:2]) * 60 + int(t[3:]) for t in (start, end))
    return times[(clock > lo) & (clock <= hi) & np.isin(local.day_of_week, list(weekdays))]


YEAR = every("2025-11-03", "2026-03-28", 30)
NEW_YORK = within(YEAR, "America/New_York", "09:30", "16:00")


@pytest.mark.parametrize("phases", [False, True])
def test_new_york_has_252_days_and_its_holidays_are_none(phases):
    days = days_of(session(NEW_YORK, calendar="XNYS", phases=phases))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about what the package does with it
        import exchange_calendars as xc

        calendar = xc.get_calendar("XNYS")
        expected = calendar.sessions_in_range("2025-11-03", "2026-03-27")
        opens = calendar.opens[expected]
    assert (len(days), days.a_year) == (len(expected), 252)
    # the close, and what follows it, is of the day; what comes before the next opening is of the next
    index = np.searchsorted(days.ends_ns, [(o + k * HOUR).value for o in opens for k in (-2, 0, 6, 8)], "right")
    assert index.reshape(-1, 4).tolist() == [[k] * 4 for k in range(len(expected))]
    assert ("XNYS" in days.by) != phases


CONTINUOUS = every("2026-01-10", "2026-02-20 23:30", 30)


@pytest.mark.parametrize(("calendar", "phases"), [("24/7", False), ("24/7", True), (None, False)])
def test_a_market_without_days_off_has_365(calendar, phases):
    days = days_of(session(CONTINUOUS[1:], calendar=calendar, phases=phases))
    assert (len(days), days.a_year) == (42, 365)
    assert (days.by == BY_DATA) == (calendar is None)


@pytest.mark.parametrize(("calendar", "phases"), [("24/7", False), ("24/7", True), (None, False)])
def test_six_minutes_around_midnight_are_one_day(calendar, phases):
    times = pd.date_range("2026-01-10 23:57", "2026-01-11 00:03", freq="1s", tz="UTC")
    assert len(days_of(session(times, calendar=calendar, phases=phases))) == 1


@pytest.mark.parametrize(("bar", "times"), [
    (1, pd.date_range("2026-01-01", periods=60, freq="D", tz="UTC")),  # closes at midnight
    (1, pd.date_range("2026-01-01 06:00", periods=60, freq="D", tz="UTC")),
])  # fmt: skip
def test_daily_bars_around_the_clock_are_a_day_each(bar, times):
    s = session(times, bar_ns=24 * HOUR.value)
    assert (len(days_of(s)), days_of(s).a_year) == (60, 365)


@pytest.mark.parametrize(
    ("times", "per_week", "bar_h"),
    [
        (NEW_YORK, 5, 0),
        (within(YEAR, "America/New_York", "04:00", "20:00"), 5, 0),  # to 1:00 UTC
        (within(YEAR, "Australia/Sydney", "10:00", "16:00"), 5, 0),  # from 23:00 UTC
        (within(YEAR, "Asia/Tokyo", "09:00", "15:00"), 5, 0),
        (within(YEAR, "Asia/Jerusalem", "09:30", "17:30", (6, 0, 1, 2, 3)), 5, 0),  # Sunday to Thursday
        (
            YEAR[
                (YEAR.day_of_week < 4)
                | ((YEAR.day_of_week == 4) & (YEAR.hour < 22))
                | ((YEAR.day_of_week == 6) & (YEAR.hour >= 22))
            ],
            5,
            0,
        ),
        (within(YEAR, "America/New_York", "15:30", "16:00"), 5, 24),  # daily bars
    ],
    ids=["new york", "extended hours", "sydney", "tokyo", "tel aviv", "currencies", "daily bars"],
)
def test_without_a_calendar_the_data_say_when_a_day_is_over(times, per_week, bar_h):
    days = days_of(session(times, bar_ns=bar_h * HOUR.value))
    assert days.a_year == 252 and days.by == BY_DATA
    weeks = (times[-1] - times[0]) / pd.Timedelta(days=7)
    assert abs(len(days) - per_week * weeks) < 5.1
    if bar_h:
        assert len(days) == len(times)


def test_a_slice_has_the_days_it_holds():
    for phases in (False, True):
        whole = session(NEW_YORK, calendar="XNYS", phases=phases)
        start, end = (pd.Timestamp(t, tz="UTC").value for t in ("2026-01-06 16:00", "2026-01-09 16:00"))
        assert len(days_of(whole.slice(start, end))) == 4
        assert len(days_of(whole.slice(start, start + HOUR.value))) == 1


def test_what_was_not_replayed_is_no_day():
    s = session(NEW_YORK, calendar="XNYS")
    assert len(days_of(s, pd.Timestamp("2025-11-07 16:00", tz="UTC").value)) == 5
    assert days_of(s, s.manifest.start_ns).ends_ns.tolist() == [LATER]


def test_rows_at_midnight_are_of_the_day_before():
    times = pd.date_range("2026-01-01", periods=40, freq="D", tz="UTC")
    days = days_of(session(times, bar_ns=24 * HOUR.value))
    late = times.as_unit("ns").asi8 + 2_000_000  # a bar that is heard 2 ms after it closed
    assert np.searchsorted(days.ends_ns, late, "right").tolist() == list(range(40))
