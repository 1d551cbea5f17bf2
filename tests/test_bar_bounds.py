"""What no rule may break on bars: every fill lies in a bar that traded there and then, pairs of exits leave nothing behind, money is kept."""

import collections
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_bars import CALM, CASE, MINUTE, SECOND, T0, case_of, fast_run, session_of

from replay import GTC, Strategy
from replay import events as ev
from replay.data.hours import bar_opens, phase_rows
from replay.data.instruments import Instrument
from replay.data.manifest import Calendar
from replay.data.session import Session, end_bar_messages
from replay.engine import Engine
from replay.strategy import load
from replay.trader.orders import EXEC_TRADE
from replay.trader.output import OUT_REPORT
from replay.venue.setup import Profile

HOUR = 60 * MINUTE
DAY_NS = 24 * HOUR
#: three days with a night between them, the second closes early
DAYS = tuple((20260302 + k, T0 + k * DAY_NS, T0 + k * DAY_NS + (390 if k != 1 else 210) * MINUTE) for k in range(3))


def opens_of(session):
    """When each BAR row opens; 0 for other rows."""
    rows, m = session.events, session.manifest
    out, bars = np.zeros(len(rows), np.int64), np.flatnonzero(rows.kind == ev.BAR)
    intervals = np.array(m.bar_intervals_ns, np.int64)[rows.side[bars]]
    out[bars] = bar_opens(
        rows.ts_event[bars], intervals, rows.side[bars].astype(np.int64) << 32 | rows.instrument[bars], m.calendar
    )
    return out


def bound(session, fills, capped):
    """Assert that every fill (ts, instrument, qty, px) lies inside of the bar of its time, and all of a bar in its volume."""
    rows, opens, traded = session.events, opens_of(session), collections.Counter()
    for ts, i, qty, px in fills:
        own = session.manifest.bar_intervals_ns.index(session.manifest.finest_bar_ns[i])
        inside = np.flatnonzero(
            (rows.kind == ev.BAR) & (rows.instrument == i) & (rows.side == own) & (opens <= ts) & (ts < rows.ts_event)
        )
        assert len(inside) == 1, (ts - T0, i, "no bar is being built then")
        bar = rows[inside[0]]
        low, high = min(bar.c, bar.a, bar.d), max(bar.b, bar.a, bar.d)
        assert low <= px <= high, (ts - T0, px, low, high)
        traded[int(inside[0])] += qty
    if capped:
        assert all(qty <= rows.id[k] for k, qty in traded.items()), traded


@CALM
@given(CASE)
def test_every_fill_lies_in_its_bar(case):
    *_, session, steps, slip, share = case_of(case)
    _, reports = fast_run(session, steps, slip, share)
    for i in range(2):
        fills = [(ts, i, qty, px) for ts, _, what, qty, px, _ in reports[i] if what == "trade"]
        bound(session, fills, share > 0 and session.manifest.max_size[i] > 0)


def days_of(interval_ns, bars, calendar=True, volume=1000):
    """A session of three days: `bars` are (close, open, high, low, close price) of one symbol."""
    closes = sorted(bars)
    phases = phase_rows(Calendar(name="three days", days=DAYS)) if calendar else ev.empty(0)
    rows = ev.empty(len(bars))
    rows["flags"][:] = ev.LAST
    for r, (ts, *ohlc) in zip(rows, closes, strict=True):
        r.ts_event = r.ts_recv = ts
        r.kind, r.id, (r.a, r.b, r.c, r.d) = ev.BAR, volume, ohlc
    both = np.concatenate([rows, phases])
    both = both[np.lexsort((both["kind"] == ev.PHASE, both["ts_event"]))].view(np.recarray)
    end_bar_messages(both)
    held = Calendar(name="three days", days=DAYS) if calendar else None
    return Session.from_rows(
        both, [Instrument(symbol="A", tick_size="0.01")], name="days", bar_intervals_ns=[interval_ns], calendar=held
    )


class AtEveryClose(Strategy):
    """Buys one at the close of every bar."""

    def on_start(self, ctx):
        self.sent = []

    def on_bar(self, ctx, b):
        self.sent.append((b.ts_event, ctx.market(0, 1)))


def fills_of(engine):
    """(ts, instrument, qty, px) of each fill, at the venue: a report takes a millisecond."""
    return [(int(r.ts_recv) - 10**6, int(r.instrument), int(r.b), int(r.c)) for r in traded(engine)]


def traded(engine):
    """The reports of fills."""
    out = engine.output()
    return out[(out.kind == OUT_REPORT) & (out["flags"] >> 8 == EXEC_TRADE)]


def hourly(start):
    """Hour bars of the three days from `start` ns after each open on, the last cut short by the close."""
    out, px = [], 10_000
    for _, opens, closes in DAYS:
        ends = list(range(opens + start, closes, HOUR)) + [closes]
        for end in [e for e in ends if e > opens]:
            out.append((end, px, px + 5, px - 5, px))
            px += 10
    return out


@pytest.mark.parametrize(
    ("interval", "bars"),
    [
        (DAY_NS, [(closes, 10_000 + 10 * k, 10_020 + 10 * k, 9_990, 10_000) for k, (_, _, closes) in enumerate(DAYS)]),
        (HOUR, hourly(HOUR)),  # 09:30, 10:30 ... and half an hour
        (HOUR, hourly(HOUR // 2)),  # half an hour, 10:00, 11:00 ...
        (7 * DAY_NS, [(DAYS[0][2] - 4 * DAY_NS, 9_000, 9_000, 9_000, 9_000), (DAYS[2][2], 10_000, 10_020, 9_990, 10_000)]),
    ],
    ids=["days", "hours from the open", "whole hours", "weeks"],
)
def test_an_order_of_a_close_gets_the_next_open_when_the_market_opens(interval, bars):
    session = days_of(interval, bars)
    got = fills_of(Engine(session, [load(AtEveryClose)], Profile(slippage_ppm=0)).run())
    assert len(got) == len(bars) - 1
    bound(session, got, True)
    ends = [b[0] for b in bars]
    for (ts, _, _, px), before, bar in zip(got, ends, bars[1:], strict=False):
        own = max(opens for _, opens, _ in DAYS if opens < bar[0]) if interval < 2 * DAY_NS else DAYS[0][1]
        assert px == bar[1] and ts == max(before + 1_000_000, own), (px, ts - T0)


def test_a_bar_that_began_before_the_session_does_not_open_in_it():
    early = [
        (DAYS[0][1] - HOUR // 2, 50, 50, 50, 50),
        (DAYS[0][1] + HOUR // 2, 60, 100, 60, 100),
    ]  # 08:00 to 09:00, 09:00 to 10:00
    bars = [*early, *((DAYS[0][1] + HOUR // 2 + k * HOUR, 100 + k, 110, 90, 100 + k) for k in range(1, 5))]
    got = fills_of(Engine(days_of(HOUR, bars), [load(AtEveryClose)], Profile(slippage_ppm=0, participation_ppm=0)).run())
    assert [px for *_, px in got] == [101, 101, 102, 103, 104]
    assert min(ts for ts, *_ in got) == DAYS[0][1] + HOUR // 2 + 1_000_000 - 1_000_000


class Brackets(Strategy):
    """One random bracket after another, the next when the last is over; notes its position at each report."""

    def on_start(self, ctx):
        self.random, self.side, self.over, self.held, self.reports = random.Random(1), 1, True, False, []

    def on_bar(self, ctx, b):
        if self.over:
            self.side, self.over, self.held = self.random.choice([1, -1]), False, False
            target, stop = (b.close + self.side * self.random.randint(2, 12), b.close - self.side * self.random.randint(2, 12))
            ctx.bracket(0, self.side * 10, 0, target, stop, GTC)

    def on_order(self, ctx, r):
        self.held = self.held or ctx.position(0) != 0
        self.over = self.held and ctx.position(0) == 0
        self.reports.append((ctx.position(0), self.side))


WALK = st.lists(
    st.tuples(st.integers(-8, 8), st.integers(0, 9), st.integers(0, 9), st.integers(-6, 6), st.sampled_from([200, 1000])),
    min_size=20,
    max_size=60,
)


def walk_of(drawn):
    out, px = [], 1000
    for k, (gap, up, down, move, volume) in enumerate(drawn):
        opens, closes = px + gap, px + gap + move
        out.append((0, 0, k * MINUTE, opens, max(opens, closes) + up, min(opens, closes) - down, closes, volume))
        px = closes
    return out


@CALM
@given(WALK, st.sampled_from([0, 100_000]))
def test_a_pair_of_exits_never_turns_the_position_and_money_is_kept(drawn, share):
    session = session_of(walk_of(drawn))
    strategy = load(Brackets)
    engine = Engine(session, [strategy], Profile(participation_ppm=share)).run()
    me = strategy.instance
    for position, side in me.reports:
        assert position * side >= 0, (position, side)
    fills = fills_of(engine)
    bound(session, fills, share > 0)
    assert int(engine.trader.header.c_flatten) == 0
    assert not me.over or int(engine.trader.header.live) == 0
    sides = [int(r.side) for r in traded(engine)]
    cash = -sum(side * qty * px for side, (_, _, qty, px) in zip(sides, fills, strict=True))
    held = sum(side * qty for side, (_, _, qty, _) in zip(sides, fills, strict=True))
    marks = {int(r.ts_event): int(r.d) for r in session.events if r.kind == ev.BAR}
    equity = (cash + held * marks[max(marks)]) * 10**6
    assert int(engine.trader.header.equity) - int(engine.trader.header.initial) == equity


class Seen(Strategy):
    """Holds with a stop; notes its position at each bar, and each report."""

    def on_start(self, ctx):
        self.n, self.at_bars, self.said = 0, [], []

    def on_bar(self, ctx, b):
        self.n += 1
        self.at_bars.append((b.ts_event, ctx.position(0)))
        if self.n == 1:
            ctx.market(0, 10)
        if self.n == 2:
            ctx.stop(0, -10, 9_950, GTC)

    def on_order(self, ctx, r):
        self.said.append((ctx.now, ctx.position(0)))


@pytest.mark.parametrize("interval", [SECOND, MINUTE, 5 * MINUTE, HOUR, DAY_NS])
@pytest.mark.parametrize("name", ["realistic", "hftbacktest"])
def test_what_happened_inside_a_bar_is_known_when_the_bar_is_seen(name, interval):
    flat, fall = (10_000, 10_010, 9_990, 10_000), (10_000, 10_010, 9_850, 9_860)
    bars = [(0, 0, k * interval, *ohlc, 1000) for k, ohlc in enumerate([flat, flat, flat, fall, fall])]
    strategy = load(Seen)
    Engine(session_of(bars, (), (interval,)), [strategy], Profile(name=name)).run()
    me = strategy.instance
    assert [p for _, p in me.at_bars] == [0, 10, 10, 0, 0]
    assert me.said[-1][1] == 0 and T0 + 3 * interval < me.said[-1][0] < T0 + 4 * interval
