"""Time as clients see it: calendar and clock, intervals of bars, the account's history, sessions moved to now."""

import datetime
import time
import warnings
from decimal import Decimal

import exchange_calendars
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("aiohttp")
from test_serve_rules import SECOND, START, Desk, quotes

from replay import events as ev
from replay.data import synth
from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.data.times import NEW_YORK, in_new_york
from replay.serve.bars import Frame, midnight
from replay.serve.calendar import local
from replay.serve.redate import moved
from replay.serve.server import HOLD_S, Server

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 24 * 3600 * SECOND
STOCK = Instrument(symbol="A", tick_size="0.01")


def prints(days, every=600, first=datetime.date(2026, 2, 26)):
    """Ten-minute prints of several days: 100.00 and a cent more each time; 10 shares each."""
    opens = [in_new_york(first + datetime.timedelta(days=k), 9, 30) for k in days]
    times = np.concatenate([t + SECOND * np.arange(0, 6 * 3600, every) for t in opens])
    rows = ev.empty(len(times))
    rows.kind[:], rows["flags"][:], rows.side[:] = ev.TRADE, ev.LAST | ev.PRINT, 1
    rows.ts_event[:] = rows.ts_recv[:] = times
    rows.a[:], rows.b[:] = 10_000 + np.arange(len(times)), 10
    return Session.from_rows(rows, [STOCK])


# --- calendar and clock --------------------------------------------------------------------------------------------------------
def test_the_calendar_is_the_exchange_s():
    """Holidays and early closes of three years: the package's own, whatever part of them is asked for."""
    desk = Desk(quotes(STOCK))
    told = desk.ask("GET", "/v2/calendar", start="2025-01-01", end="2027-12-31")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about the package
        calendar = exchange_calendars.get_calendar("XNYS", start="2025-01-01", end="2027-12-31")
    wanted = [
        (str(d.date()), *(f"{t.tz_convert('America/New_York'):%H:%M}" for t in (calendar.opens[d], calendar.closes[d])))
        for d in calendar.sessions
    ]
    assert [(d["date"], d["open"], d["close"]) for d in told] == wanted
    assert {d["close"] for d in told} == {"16:00", "13:00"}
    settles = {d["date"]: d["settlement_date"] for d in told}
    assert (settles["2026-04-02"], settles["2026-03-02"]) == ("2026-04-06", "2026-03-03")  # over Good Friday
    by_settlement = desk.ask("GET", "/v2/calendar", start="2026-04-06", end="2026-04-06", date_type="SETTLEMENT")
    assert [d["date"] for d in by_settlement] == ["2026-04-02"]


def test_the_session_s_own_hours_go_before_the_exchange_s():
    day = synth.bar_days(n_events=900, seed=7)
    desk = Desk(day)
    m = day.manifest
    first = local(m.start_ns).date().isoformat()
    (told,) = desk.ask("GET", "/v2/calendar", start=first, end=first)
    assert (told["open"], told["close"]) == ("09:30", "16:00")


def test_the_clock_looks_ahead():
    """Open: closes today, opens on the next trading day. Closed: both lie ahead, over a holiday too."""
    desk = Desk(quotes(STOCK))
    clock = desk.rest.calendar.clock
    assert clock()["is_open"] and clock()["next_close"] == "2026-03-02T16:00:00-05:00"
    assert clock()["next_open"] == "2026-03-03T09:30:00-05:00"
    market = desk.server.market
    market.now, market.phase = in_new_york(datetime.date(2026, 4, 2), 20), lambda: ev.CLOSED
    told = clock()
    assert (told["next_open"], told["next_close"]) == ("2026-04-06T09:30:00-04:00", "2026-04-06T16:00:00-04:00")
    market.now = in_new_york(datetime.date(2026, 4, 6), 9, 30)  # the phase is on its way
    assert clock()["next_open"] > clock()["timestamp"]


def test_the_newer_clock_and_calendar():
    desk = Desk(quotes(STOCK))
    (told,) = desk.ask("GET", "/v3/clock", markets="XNYS")["clocks"]
    assert (told["phase"], told["is_market_day"], told["phase_until"]) == ("core", True, "2026-03-02T16:00:00-05:00")
    assert told["market"]["mic"] == "XNYS"
    phases = [("08:00", "pre"), ("16:30", "post"), ("22:00", "closed")]
    for clock, phase in phases:
        (told,) = desk.ask("GET", "/v3/clock", time=f"2026-03-02T{clock}:00-05:00")["clocks"]
        assert told["phase"] == phase and told["phase_until"] > told["timestamp"], told
    days = desk.ask("GET", "/v3/calendar/{market}", args={"market": "NYSE"}, start="2026-11-26", end="2026-11-27")
    (half,) = days["calendar"]
    assert (half["date"], half["core_end"]) == ("2026-11-27", "2026-11-27T13:00:00-05:00")
    desk.refused(lambda: desk.ask("GET", "/v3/clock", markets="XLON"), "are not served", 501, 50110000)


def test_time_passes_at_a_pace_from_the_first_request_on():
    clock = [100.0]
    server = Server(quotes(STOCK), speed=60.0, clock=lambda: clock[0])
    clock[0] += 5
    server.catch_up()
    assert server.market.now < START  # nobody is there yet
    server.attend()
    clock[0] += 2
    server.catch_up()
    assert server.market.now - START == pytest.approx(120 * SECOND, abs=2)
    held = Server(quotes(STOCK), speed=60.0, clock=lambda: clock[0])
    held.hold()  # somebody looked, long ago
    clock[0] += 2 * HOLD_S
    held.hold()  # by a client that asks what this server is, and may yet subscribe
    held.attend()
    clock[0] += 1
    held.hold()  # which does not hold it for ever
    clock[0] -= 1
    clock[0] += HOLD_S - 1
    held.catch_up()
    assert held.market.now < START
    clock[0] += 1
    held.catch_up()
    clock[0] += 2
    held.catch_up()
    assert held.market.now - START == pytest.approx(120 * SECOND, abs=2)
    full = Server(quotes(STOCK), speed="max")
    full.attend()
    assert not full.started  # as fast as it is read: not before somebody reads


# --- bars ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "rule"),
    [("7Min", None), ("1Hour", "1h"), ("4H", None), ("1Day", "1D"), ("1Week", "W-MON"), ("1Month", "MS"), ("3M", "QS")],
)
def test_intervals_are_pandas(text, rule):
    """Where they begin, against pandas in New York's time over a change of the clocks; minutes and hours start again at midnight."""
    first, last = (in_new_york(datetime.date(2026, month, day)) for month, day in ((3, 2), (3, 20)))
    got = [pd.Timestamp(t, tz="UTC").tz_convert("America/New_York") for t in Frame.of(text).starts(first, last, NEW_YORK)]
    if rule is None:
        step = Frame.of(text).step
        starts = [midnight(int(t.value)) for t in got]
        assert all((t.value - s) % step == 0 for t, s in zip(got, starts, strict=True))
        assert got == sorted(got) and len(set(starts)) == 19
        return
    begins = {"W-MON": "2026-03-02", "MS": "2026-03-01", "QS": "2026-01-01"}.get(rule, "2026-03-02")
    wanted = pd.date_range(begins, "2026-03-20", freq=rule, tz="America/New_York")
    assert [t for t in got if t <= wanted[-1]] == list(wanted)


def test_bars_of_days_weeks_and_months():
    desk = Desk(prints([0, 1, 4, 5]))  # Thursday 26 and Friday 27 February, Monday and Tuesday
    desk.server.advance(None)
    ask = lambda **q: desk.ask("GET", "/v2/stocks/bars", symbols="A", **q)["bars"].get("A", [])  # noqa: E731
    got = {
        tf: [(b["t"][:10], b["o"], b["c"], b["v"]) for b in ask(timeframe=tf, start="2026-02-01")]
        for tf in ("1Day", "1Week", "1M")
    }
    n = 36
    day = lambda k: (round(100 + k * n / 100, 2), round(100 + (k * n + n - 1) / 100, 2))  # noqa: E731
    dates = ("2026-02-26", "2026-02-27", "2026-03-02", "2026-03-03")
    *whole, last = got["1Day"]
    assert whole == [(d, *day(k), 10 * n) for k, d in enumerate(dates[:3])]
    assert last[:2] == ("2026-03-03", day(3)[0])  # the minute of the last print is not over
    assert [b[0] for b in got["1Week"]] == ["2026-02-23", "2026-03-02"]
    assert [b[0] for b in got["1M"]] == ["2026-02-01", "2026-03-01"]
    assert got["1M"][0] == ("2026-02-01", day(0)[0], day(1)[1], 20 * n)


def test_a_date_is_a_whole_day_and_no_start_is_today():
    desk = Desk(prints([0, 1, 4, 5]))
    desk.server.advance(None)
    ask = lambda **q: [t["t"][:10] for t in desk.ask("GET", "/v2/stocks/trades", symbols="A", **q)["trades"].get("A", [])]  # noqa: E731
    assert ask(start="2026-02-27", end="2026-02-27") == ["2026-02-27"] * 36
    assert ask(start="2026-02-27", end="2026-03-02") == ["2026-02-27"] * 36 + ["2026-03-02"] * 36
    assert set(ask()) == {"2026-03-03"}


def test_the_newest_first():
    """sort=desc page by page is sort=asc backwards: bars, trades and quotes."""
    desk = Desk(prints([0, 1]))
    desk.server.advance(None)
    for what, more in (("bars", {"timeframe": "1Min"}), ("trades", {})):
        both = []
        for sort in ("asc", "desc"):
            query, rows = {"symbols": "A", "start": "2026-02-26", "sort": sort, "limit": "7", **more}, []
            while True:
                page = desk.ask("GET", f"/v2/stocks/{what}", **query)
                rows += page["bars" if what == "bars" else what].get("A", [])
                if not page["next_page_token"]:
                    break
                query["page_token"] = page["next_page_token"]
            both.append(rows)
        assert both[0] == both[1][::-1] and len(both[0]) > 60


def test_one_symbol_s_own_paths():
    desk = Desk(prints([0, 1, 4, 5]))
    desk.server.advance(None)
    for what, one in (("bars", "bar"), ("trades", "trade")):
        told = desk.ask("GET", f"/v2/stocks/{{symbol}}/{what}/latest", args={"symbol": "A"})
        assert told == {"symbol": "A", one: desk.ask("GET", f"/v2/stocks/{what}/latest", symbols="A")[what]["A"]}
    shot = desk.ask("GET", "/v2/stocks/{symbol}/snapshot", args={"symbol": "A"})
    assert shot["prevDailyBar"]["t"] < shot["dailyBar"]["t"] and shot["symbol"] == "A"
    path = "/v2/stocks/{symbol}/quotes/latest"
    desk.refused(lambda: desk.ask("GET", path, args={"symbol": "A"}), "no quote found for A", 404, 40410000)


# --- the account's history -------------------------------------------------------------------------------------------------------
def test_the_portfolio_s_history():
    """Windows of the period, as of the end of each, against the equity that the account had."""
    rows = ev.empty(3600)
    rows.kind[:], rows["flags"][:] = ev.QUOTE, ev.LAST
    rows.ts_event[:] = rows.ts_recv[:] = START + SECOND * np.arange(3600)
    rows.a[:] = 10_000 + np.arange(3600) // 60
    rows.b[:], rows.c[:], rows.d[:] = 500, rows.a + 1, 500
    desk = Desk(Session.from_rows(rows, [STOCK]))
    desk.order("buy", 100)
    for _ in range(3000):
        desk.wait(1)
    bought = Decimal("100.01")
    ask = lambda **q: desk.ask("GET", "/v2/account/portfolio/history", **q)  # noqa: E731
    told = ask(period="1D", timeframe="5Min")
    assert (told["timeframe"], told["base_value"]) == ("5Min", 100_000.0)
    assert told["timestamp"] == [START // SECOND + 300 * k for k in range(11)]
    for k, equity in enumerate(told["equity"][1:10], 1):
        price = Decimal(10_000 + 5 * k + 4) / 100  # of the minute before the window's end
        assert abs(Decimal(str(equity)) - (100_000 + 100 * (price - bought))) <= 1, k
    assert told["profit_loss"][-1] == pytest.approx(told["equity"][-1] - 100_000, abs=0.01)
    assert len(ask(period="1D", timeframe="1H")["equity"]) == 1 and len(ask(period="1A")["equity"]) == 1
    assert ask(period="1A")["timeframe"] == "1D" and ask(period="1W")["timeframe"] == "15Min"
    desk.refused(lambda: ask(period="1D", start="2026-03-01", end="2026-03-02"), "only two", 400, 40010000)


# --- moved to now ------------------------------------------------------------------------------------------------------------------
def test_a_session_moved_to_now_is_the_same_but_for_its_times():
    day = synth.bar_days(n_events=900, seed=7)
    now = time.time_ns()
    again = moved(day, now)
    shift = now - day.manifest.start_ns
    a, b = day.events, again.events
    assert again.manifest.start_ns == now and np.all(b.ts_event - a.ts_event == shift) and np.all(b.ts_recv - a.ts_recv == shift)
    same = [name for name in a.dtype.names if name not in ("ts_event", "ts_recv")]
    market = a.kind != ev.PHASE
    assert all(np.array_equal(a[name][market], b[name][market]) for name in same)
    desk = Desk(again)
    today = datetime.datetime.fromtimestamp(now / 1e9, NEW_YORK).date().isoformat()
    (told,) = desk.ask("GET", "/v2/calendar", start=today, end=today)
    assert told["date"] == today and desk.rest.calendar.clock()["is_open"]


def test_session_time_is_this_machine_s_clock():
    clock = [50.0]
    server = Server(moved(quotes(STOCK), time.time_ns()), live=True, clock=lambda: clock[0])
    server.wake()
    clock[0] += 3
    server.catch_up()
    assert abs(server.market.now - time.time_ns() - 3 * SECOND) < 2 * SECOND
