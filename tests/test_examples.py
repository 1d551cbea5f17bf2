"""What each example strategy does on rows made by hand: when it enters, when it lets go, and that it never holds more than it may."""

from collections import Counter

import numpy as np
import pytest
from test_golden import BARS, MONTH

from replay import events as ev
from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.data.synth import by_hand, equity_day, l2_book
from replay.engine import Engine
from replay.strategy import examples, load
from replay.trader.orders import EXEC_TRADE
from replay.trader.output import OUT_NEW, OUT_REPORT

SECOND = 10**9
STEP = SECOND // 10  # between rows
CALM = [10_000 + d for d in (0, 1, 0, -1)] * 40  # 16 s within a tick
RISE = [10_000 + 2 * k for k in range(30)]
PRINTS = [(k, 10) for k in range(0, 220, 5)]

REVERSION = {"horizon": "2s", "window": "8s", "entry_z": 4.0, "exit_z": 1.2}
MOMENTUM = {"burst": "2s", "window": "8s", "entry_z": 4.0, "take_bps": 10.0, "stop_bps": 5.0, "max_hold": "3s"}
BREAKOUT = {"window": "8s", "trail": "2s", "recent": "2s"}


def day(mids, trades=()):
    return by_hand(mids, STEP, dict(trades))


def run(session, name, **given):
    return Engine(session, [load(name, given)]).run()


def reports(engine):
    out = engine.output()
    return out[(out.kind == OUT_REPORT) & (out["flags"] >> 8 == EXEC_TRADE)]


def fills(session, name, **given):
    """(seconds from the start, signed lots) of each; orders reach the venue after 1 ms, reports us after another."""
    return [
        ((int(r.ts_recv) - session.manifest.start_ns) / SECOND, int(r.side) * int(r.b))
        for r in reports(run(session, name, **given))
    ]


def mirrored(mids):
    return [20_000 - mid for mid in mids]


def both_ways(mids, name, want, trades=(), **given):
    """The same with prices turned over: everything sold is bought."""
    assert fills(day(mids, trades), name, **given) == want
    assert fills(day(mirrored(mids), trades), name, **given) == [(t, -lots) for t, lots in want]


# --- mean reversion ---------------------------------------------------------------------------------------------------------
def test_reversion_fades_a_jump_and_is_out_when_it_has_come_back():
    both_ways(CALM + [10_030] * 10 + CALM, "mean_reversion", [(16.002, -100), (17.002, 100)], **REVERSION)


def test_reversion_is_out_when_the_jump_has_left_its_horizon():
    both_ways(CALM + [10_030] * 40 + CALM, "mean_reversion", [(16.002, -100), (18.002, 100)], **REVERSION)


def test_reversion_holds_no_longer_than_it_may():
    mids = CALM + [10_030] * 40 + CALM
    both_ways(mids, "mean_reversion", [(16.002, -100), (16.502, 100)], max_hold="500ms", **REVERSION)


def test_reversion_is_stopped_and_waits_until_it_is_calm():
    mids = CALM + [10_030] * 5 + [10_060] * 10 + CALM  # z stays beyond entry_z after the stop
    both_ways(mids, "mean_reversion", [(16.002, -100), (16.502, 100)], stop_bps=20.0, **REVERSION)


def test_reversion_counts_an_hour_on_bars_by_their_closes():
    """Decided at a close that came late, let go at the close an hour later that came at once: sixty bars, not sixty-one."""
    closes = [10_000] * 20 + [10_030, 10_000] * 50
    rows = ev.empty(len(closes))
    rows.kind[:], rows["flags"][:], rows.id[:] = ev.BAR, ev.LAST, 10_000
    rows.ts_event[:] = 1_772_461_800 * SECOND + 60 * SECOND * (1 + np.arange(len(closes)))
    rows.ts_recv[:] = rows.ts_event + np.where(np.arange(len(closes)) < 30, 4 * STEP, 0)
    for name in "abcd":
        rows[name][:] = closes
    session = Session.from_rows(rows, [Instrument(symbol="A", tick_size="0.01")], bar_intervals_ns=(60 * SECOND,))
    given = {"horizon": "1m", "window": "15m", "entry_z": 3.0, "exit_z": 1e-9, "max_hold": "60m", "stop_bps": 1e6}
    (bought, _), (sold, _) = fills(session, "mean_reversion", **given)[:2]
    assert 60 * 60 - 1 < sold - bought <= 60 * 60


def test_reversion_does_nothing_where_nothing_stands_out():
    assert fills(day(CALM + CALM), "mean_reversion", **REVERSION) == []


# --- micro-momentum ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("then", "out"), [
    ([10_030] * 10 + [10_045] * 60, 17.001),  # the take-profit at 10,040 rests at the venue: the quote reaches it
    ([10_030] * 10 + [10_015] * 60, 17.001),  # the stop at 10,024
    ([10_030] * 100, 19.002),  # neither: after three seconds
], ids=["take", "stop", "time"])  # fmt: skip
def test_momentum_rides_a_burst_within_its_bracket(then, out):
    mids = CALM + then
    burst = [*PRINTS, (158, 300)]
    both_ways(mids, "micro_momentum", [(16.002, 100), (out, -100)], burst, **MOMENTUM)
    assert int(run(day(mids, burst), "micro_momentum", **MOMENTUM).trader.header.live) == 0


def test_momentum_needs_volume_and_price():
    assert fills(day(CALM + [10_030] * 100, PRINTS), "micro_momentum", **MOMENTUM) == []
    assert fills(day(CALM + CALM, [*PRINTS, (158, 300)]), "micro_momentum", **MOMENTUM) == []


# --- breakout ---------------------------------------------------------------------------------------------------------------
def test_breakout_goes_with_what_leaves_its_range_until_it_falls_back():
    # with k steps of two ticks among its twenty, the recent variance is (20 + 3k) / 20 and the window's (80 + 3k) / 80: 1.44 times at k = 5
    assert fills(day(CALM + RISE + [10_010] * 30), "breakout", **BREAKOUT) == [(16.502, 100), (19.002, -100)]
    assert fills(day(CALM + mirrored(RISE) + [9_990] * 30), "breakout", **BREAKOUT) == [(16.502, -100), (19.002, 100)]


def test_breakout_wants_more_than_a_new_extreme():
    assert fills(day(CALM + RISE), "breakout", expand=2.5, **BREAKOUT) == []
    assert fills(day(CALM + CALM), "breakout", **BREAKOUT) == []


def test_breakout_only_watches_at_first_and_is_flat_in_time():
    assert fills(day(CALM[:20] + RISE + [10_058] * 20), "breakout", **BREAKOUT) == []
    climb = CALM + [10_000 + 2 * k for k in range(100)]
    assert fills(day(climb), "breakout", trade_for="20s", **BREAKOUT) == [(16.502, 100), (20.002, -100)]


def test_breakout_starts_anew_after_a_night():
    session = day(CALM + RISE[:4] + [10_006] * 10 + RISE)
    rows = session.events.copy()
    for name in ("ts_event", "ts_recv"):
        rows[name][len(CALM) + 4 :] += 15 * 3600 * SECOND
    assert fills(Session.from_rows(rows, session.instruments), "breakout", **BREAKOUT) == []
    assert fills(session, "breakout", **BREAKOUT) != []


# --- buy and hold -----------------------------------------------------------------------------------------------------------
def test_buy_and_hold_buys_once_when_it_may():
    rows = day(CALM).events
    rows.kind[5], rows.side[5] = ev.PHASE, ev.OPEN  # closed up to here
    session = Session.from_rows(rows, [Instrument(symbol="A", tick_size="0.01")])
    engine = run(session, "buy_and_hold", qty=30)
    out = engine.output()
    assert [(int(r.ts_recv) - session.manifest.start_ns, int(r.side), int(r.b)) for r in out[out.kind == OUT_NEW]] == [
        (6 * STEP, 1, 30)
    ]
    assert int(engine.trader.region("positions")[0].qty) == 30


# --- all --------------------------------------------------------------------------------------------------------------------
ON_BARS = {"sma_cross"}
CASES = [(name, "bars" if name in ON_BARS else "quotes", {}) for name in examples()] + [
    (name, "bars", given) for name, given in BARS.items()
]


@pytest.fixture(scope="module")
def made_up():
    return {"quotes": equity_day(n_events=20_000, seed=3), "bars": Session.open(MONTH)}


@pytest.mark.parametrize(("name", "what", "given"), CASES)
def test_no_example_holds_more_than_it_may(made_up, name, what, given):
    strategy = load(name, given)
    most = strategy.values.get("max_position", strategy.values["qty"])
    engine = Engine(made_up[what], [strategy]).run()
    held = Counter()
    for r in reports(engine):
        held[int(r.instrument)] += int(r.side) * int(r.b)
        assert abs(held[int(r.instrument)]) <= most
    assert len(held) == len(made_up[what].instruments)


@pytest.mark.parametrize("name", BARS)
def test_bars_of_a_longer_interval_add_nothing(made_up, name):
    month = made_up["bars"]
    days = month.slice(end=month.manifest.start_ns + 3 * 86_400 * SECOND)
    minutes = days.events[(days.events.kind != ev.BAR) | (days.events.side == 0)]
    minutes["flags"][:] |= ev.LAST
    alone = Session.from_rows(minutes, days.instruments, bar_intervals_ns=month.manifest.bar_intervals_ns[:1])
    assert fills(days, name, **BARS[name]) == fills(alone, name, **BARS[name]) != []


@pytest.mark.parametrize(("name", "given"), [
    ("mean_reversion", {"horizon": "1s", "window": "10s"}), ("breakout", BREAKOUT), ("buy_and_hold", {}),
    ("micro_momentum", {"burst": "1s", "window": "10s", "take_bps": 1.0, "stop_bps": 1.0}),
])  # fmt: skip
def test_a_book_will_do(name, given):
    assert len(reports(run(l2_book(20_000, seed=5), name, **given))) > 0
