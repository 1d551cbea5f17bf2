"""Market hours: days, early closes, phases in their place, bars that are missing."""

import datetime

import numpy as np
import pytest

from replay import events as ev
from replay.data.canonical import import_canonical
from replay.data.hours import Hours, market_hours, phase_rows
from replay.data.manifest import Calendar, Manifest
from replay.data.session import Session
from replay.data.times import in_new_york

S = 10**9
FIVE = 300 * S


def day(text):
    return datetime.date.fromisoformat(text)


def bars_file(folder, days, symbol="AAPL", skip=(), extra=()):
    """5-minute bars from 09:30 to the close, stamped at their close."""
    text = "ts_event,open,high,low,close,volume\n"
    for d, hour in days:
        t = in_new_york(day(d), 9, 30)
        ends = [e for e in range(t + FIVE, in_new_york(day(d), hour) + 1, FIVE) if (e - t) // FIVE not in skip]
        text += "".join(f"{e},1.01,1.02,1.00,1.01,10\n" for e in [*ends, *(in_new_york(day(d), *x) for x in extra)])
    (folder / f"{symbol}.csv").write_text(text)


@pytest.mark.parametrize(("d", "hour", "bars"), [("2025-07-03", 13, 42), ("2025-11-28", 13, 42), ("2025-07-02", 16, 78)])
def test_early_closes(tmp_path, d, hour, bars):
    bars_file(tmp_path, [(d, hour)])
    m = import_canonical([tmp_path], interval_ns=FIVE, calendar="XNYS").manifest
    number = int(d.replace("-", ""))
    assert m.calendar == Calendar("XNYS", ((number, in_new_york(day(d), 9, 30), in_new_york(day(d), hour)),))
    assert m.counts == {"bar": bars, "phase": 2} and m.anomalies == {}
    assert Manifest.decode(m.encode(), "").calendar == m.calendar


def test_the_bars_of_the_close_come_before_the_phase(tmp_path):
    days = [("2025-07-02", 16), ("2025-07-03", 13), ("2025-07-07", 16)]  # a half-day, a holiday and a weekend
    for symbol in ("AAPL", "MSFT"):
        bars_file(tmp_path, days, symbol)
    s = import_canonical([tmp_path], interval_ns=FIVE, calendar="XNYS")
    s.check()
    e = s.events
    assert s.manifest.counts == {"bar": 2 * (78 + 42 + 78), "phase": 6} and s.order is None
    phases = np.flatnonzero(e.kind == ev.PHASE)
    assert e.side[phases].tolist() == [ev.OPEN, ev.CLOSED] * 3 and e.id[phases].tolist()[::2] == [20250702, 20250703, 20250707]
    for k in phases[1::2].tolist():
        assert e.kind[k - 2 : k].tolist() == [ev.BAR] * 2 and (e.ts_event[k - 2 : k] == e.ts_event[k]).all()
        assert e["flags"][k - 1] & ev.LAST and not e["flags"][k - 2] & ev.LAST
    assert (e.kind[phases[::2] + 1] == ev.BAR).all()
    assert s.slice(symbols=["AAPL"]).manifest.calendar == s.manifest.calendar


def test_missing_bars_are_counted_between_a_symbol_s_first_and_last_day(tmp_path):
    bars_file(tmp_path, [("2025-07-01", 16), ("2025-07-03", 13)], "AAPL", skip=(5, 20))
    bars_file(tmp_path, [("2025-07-02", 16)], "MSFT")
    s = import_canonical([tmp_path], interval_ns=FIVE, calendar="XNYS")
    assert s.manifest.anomalies == {"missing_bars": 2 + 78 + 2}
    ends = s.events.ts_event[(s.events.kind == ev.BAR) & (s.events.instrument == 0)]
    assert Hours(s.manifest.calendar).missing_bars(ends, FIVE).tolist() == [2, 78, 2]


def test_rows_outside_hours_stand_or_go(tmp_path):
    bars_file(tmp_path, [("2025-07-03", 13)], extra=((13, 5), (9, 0)))
    stands = import_canonical([tmp_path], interval_ns=FIVE, calendar="XNYS").manifest
    assert stands.counts["bar"] == 44 and stands.anomalies == {"rows_out_of_order": 1, "outside_hours": 2}
    goes = import_canonical([tmp_path], interval_ns=FIVE, calendar="XNYS", market_hours_only=True).manifest
    assert goes.counts["bar"] == 42 and goes.anomalies == {"rows_out_of_order": 1, "dropped_outside_hours": 2}


def test_a_bar_that_begins_before_the_open_is_outside(tmp_path):
    t = in_new_york(day("2025-07-03"), 9, 30)
    (tmp_path / "A.csv").write_text(
        "ts_event,open,high,low,close,volume\n" + "".join(f"{t + k * FIVE},1,1,1,1,1\n" for k in (0, 1))
    )
    assert import_canonical([tmp_path], interval_ns=FIVE, calendar="XNYS").manifest.anomalies["outside_hours"] == 1


def test_phases_stand_among_quotes_in_venue_order_and_arrival(tmp_path):
    opens, closes = in_new_york(day("2025-07-03"), 9, 30), in_new_york(day("2025-07-03"), 13)
    times = (opens - 5, opens, opens + 5, closes - 1, closes, closes + 9)
    (tmp_path / "A.csv").write_text("ts_event,ts_recv,price,size\n" + "".join(f"{t},{t + 40},1.5,1\n" for t in times))
    s = import_canonical([tmp_path], calendar="XNYS")
    s.check()
    assert s.events.kind.tolist() == [ev.TRADE, ev.PHASE, *[ev.TRADE] * 3, ev.PHASE, ev.TRADE, ev.TRADE]
    assert s.order is None and s.events.ts_recv[[1, 5]].tolist() == [opens + 35, closes + 39]


def test_daily_bars_close_with_their_day(tmp_path):
    text = "ts_event,open,high,low,close,volume\n" + "".join(f"2025-07-0{k},1,1,1,1,1\n" for k in (1, 2, 3, 4, 5, 7))
    (tmp_path / "A.csv").write_text(text)
    how = {"interval_ns": 86_400 * S, "label": "open", "timezone": "America/New_York"}
    s = import_canonical([tmp_path], calendar="XNYS", **how)
    bars = s.events.ts_event[s.events.kind == ev.BAR].tolist()
    closes = [in_new_york(day(f"2025-07-0{k}"), hour) for k, hour in ((1, 16), (2, 16), (3, 13), (5, 0), (6, 0), (7, 16))]
    assert bars == closes and s.manifest.anomalies == {"outside_hours": 2}  # a bar of the holiday, one of Saturday


def test_a_calendar_without_a_day_in_the_session(tmp_path):
    t = in_new_york(day("2025-07-05"), 12)
    (tmp_path / "A.csv").write_text(f"ts_event,price,size\n{t},1.5,1\n")
    m = import_canonical([tmp_path], calendar="XNYS").manifest
    assert m.calendar.days == () and m.counts == {"trade": 1} and m.anomalies == {"outside_hours": 1}
    assert market_hours("NYSE", t, t).name == "XNYS"


def test_a_manifest_without_a_calendar_is_read():
    rows = ev.empty(1)
    rows.kind[:], rows["flags"][:], rows.a[:], rows.b[:] = ev.TRADE, ev.LAST, 5, 5
    from replay.data.instruments import Instrument

    m = Session.from_rows(rows, [Instrument(symbol="A", tick_size="1")]).manifest
    text = m.encode().replace(b',\n "calendar": null', b"")
    assert b"calendar" not in text and Manifest.decode(text, "") == m


def test_a_market_that_never_closes_begins_days_and_ends_none(tmp_path):
    start = int(np.datetime64("2025-08-20T22:00", "ns").astype(np.int64))
    text = "ts_event,open,high,low,close,volume\n"
    text += "".join(f"{start + k * FIVE},1.01,1.02,1.00,1.01,10\n" for k in range(1, 12 * 28))
    (tmp_path / "BTCUSDT.csv").write_text(text)
    e = import_canonical([tmp_path], interval_ns=FIVE, calendar="24/7").events
    phases = e[e.kind == ev.PHASE]
    assert phases.side.tolist() == [ev.OPEN] * 3 and phases.id.tolist() == [20250820, 20250821, 20250822]


def test_a_day_that_goes_over_into_the_next_does_not_close():
    a, b, c = 0, 86_400 * S, 2 * 86_400 * S
    fri, sat = (20250822, a, b), (20250823, b, c)
    assert phase_rows(Calendar("24/5", (fri, (20250825, 3 * b, 4 * b)))).side.tolist() == [ev.OPEN, ev.CLOSED] * 2
    assert phase_rows(Calendar("x", (fri, sat, (20250825, 3 * b, 3 * b + S)))).side.tolist() == [ev.OPEN] * 2 + [
        ev.CLOSED,
        ev.OPEN,
        ev.CLOSED,
    ]
