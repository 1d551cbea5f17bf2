"""Whole runs on bars: the known result of the SMA cross, `on_bars`, real recordings."""

import csv
import datetime
from decimal import Decimal

import pytest
from recordings import recording

from bench import bars, workloads
from replay import Each, State, Strategy
from replay import events as ev
from replay.data import synth
from replay.data.instruments import Instrument
from replay.data.session import Session, end_bar_messages
from replay.data.times import in_new_york, trading_day
from replay.engine import Engine
from replay.errors import BadInput
from replay.kernel.memory import JIT
from replay.runs.config import Chosen, RunConfig
from replay.strategy import load
from replay.trader.output import OUT_REPORT
from replay.venue.setup import Profile

MINUTE = 60 * 10**9


@pytest.mark.skipif(not JIT, reason="a million bars")
def test_the_known_result_of_the_sma_cross():
    source = workloads.bars_source()
    assert source.known == workloads.KNOWN_W4, (
        "NumPy made other bars than the peers' harness has: the result is not known on them"
    )
    engine = workloads.build(workloads.CASES["w4"], source.session).run()
    got = workloads.check("w4", engine, workloads.expected("w4", source))
    assert (got["orders"], got["fills"], got["pnl_cents"]) == (22_142, 22_142, 1_152_700)
    assert engine.digest == "b73643af7ae64dbd"


@pytest.mark.parametrize(("fast", "slow"), [(20, 50), (3, 7), (7, 3), (1, 2)])
def test_sma_cross_against_arithmetic(fast, slow):
    session = bars.session(bars.walk(4, 7))
    strategy = load("sma_cross", {"fast": fast, "slow": slow})
    engine = Engine(session, [strategy], workloads.FREE, capital={"USD": Decimal(0)}).run()
    want = bars.sma_cross(session.events, fast, slow)
    assert {k: v for k, v in workloads.outcome(engine).items() if k in want} == want and want["fills"] > 20


class Heard(Strategy):
    """Notes what wakes it."""

    bars: Each[int] = 0
    times: State[int] = 0

    def on_start(self, ctx):
        self.said = []

    def on_bar(self, ctx, b):
        self.bars[b.instrument] += 1
        self.said.append((b.ts_event, b.instrument))

    def on_bars(self, ctx):
        self.times += 1
        self.said.append((ctx.now, "all"))


def heard(session):
    strategy = load(Heard)
    Engine(session, [strategy]).run()
    return strategy.instance


def test_on_bars_comes_once_all_bars_of_a_close_are_in():
    session = synth.bar_days(("A", "B", "C"), 1_000, seed=3)
    me = heard(session)
    assert me.bars == [312] * 3 and me.times == 312
    for k in range(0, len(me.said), 4):
        a, b, c, (now, every) = me.said[k : k + 4]
        assert a[0] == b[0] == c[0] <= now and (a[1], b[1], c[1], every) == (0, 1, 2, "all")


def test_a_slice_of_some_symbols_keeps_the_end_of_its_messages():
    session = synth.bar_days(("A", "B", "C"), 1_000, seed=3)
    some = session.slice(symbols=("A", "B"))
    some.check()
    assert int((some.events["flags"] & ev.LAST).sum()) == 312 + 8
    assert heard(some).times == 312
    assert heard(session.slice(symbols=("C",))).times == 312


def test_bars_of_one_message_share_their_times_and_no_other_kind():
    session = synth.bar_days(("A", "B"), 1_000, seed=3)
    rows = session.events.copy()
    rows.kind[2] = ev.BAR_EXT
    Session.from_rows(rows, session.instruments, bar_intervals_ns=[5 * MINUTE])
    rows.kind[2] = ev.QUOTE
    with pytest.raises(BadInput, match="while a message of bars is open"):
        Session.from_rows(rows, session.instruments, bar_intervals_ns=[5 * MINUTE])
    for intervals in ([5 * MINUTE, 5 * MINUTE], [0]):
        with pytest.raises(BadInput, match="different bar intervals"):
            Session.from_rows(session.events, session.instruments, bar_intervals_ns=intervals)


def test_costs_of_a_configuration():
    p = RunConfig(slippage="2.5bps", participation=Decimal("0.05"), commission="0.005/share,maker=-0.2bps,taker=5bps").profile()
    assert (p.slippage_ppm, p.participation_ppm) == (250, 50_000)
    assert (p.maker_fee_ppm, p.taker_fee_ppm, p.fee_per_lot) == (-20, 500, 500_000)
    lots = [Instrument(symbol="A", tick_size="0.01", lot_size=size) for size in ("1", "0.001")]
    assert RunConfig(commission="0.005/share").profile(lots[1:]).fee_per_lot == 500
    for wrong in (
        {"slippage": "5"},
        {"slippage": "-1bps"},
        {"slippage": "0.001bps"},
        {"participation": Decimal("1.1")},
        {"commission": "5"},
    ):
        with pytest.raises(BadInput, match="expected"):
            RunConfig(**wrong).profile()
    with pytest.raises(BadInput, match="lots of 0.001, 1"):
        RunConfig(commission="0.005/share").profile(lots)


def test_a_commission_a_share_is_charged():
    session = synth.bar_days(n_events=2_000, seed=3)
    chosen = (Chosen(source="sma_cross", parameters={"fast": 5, "slow": 9}),)
    engine = RunConfig(strategies=chosen, commission="0.005/share", slippage="0", participation=Decimal(0)).engine(session).run()
    out = engine.output()
    lots = int(out.b[out.kind == OUT_REPORT].sum())
    assert lots > 1_000 and int(engine.trader.region("currencies")[0].fees) == lots * 500_000


SYMBOLS = ("SPY", "AAPL", "MSFT", "NVDA", "XLF")


def real_bars():
    """Five-minute bars of 2025 and 2026 as a session; prices rounded to cents, times of the open in New York."""
    days, made = set(), []
    for i, symbol in enumerate(SYMBOLS):
        with recording(f"us_equity_intraday_2025/data/{symbol}_5min.csv").open() as f:
            for line in csv.DictReader(f):
                when = datetime.datetime.fromisoformat(line["datetime"])
                if datetime.time(9, 30) <= when.time() < datetime.time(16):
                    close = in_new_york(when.date(), when.hour, when.minute) + 5 * MINUTE
                    days.add(when.date())
                    made.append(
                        (
                            close,
                            0,
                            i,
                            *(round(float(line[k]) * 100) for k in ("open", "high", "low", "close")),
                            int(float(line["volume"])),
                        )
                    )
    made += [(in_new_york(d, 9, 30), 1, ev.OPEN, trading_day(d)) for d in days]
    made += [(in_new_york(d, 16), 1, ev.CLOSED, trading_day(d)) for d in days]
    rows = ev.empty(len(made))
    for r, (ts, phase, *words) in zip(rows, sorted(made, key=lambda m: m[:3]), strict=True):
        r.ts_event = r.ts_recv = ts
        if phase:
            r.kind, r.side, r.id = ev.PHASE, *words
        else:
            r.kind, (r.instrument, r.a, r.b, r.c, r.d, r.id) = ev.BAR, words
    rows["flags"][:] = ev.LAST
    end_bar_messages(rows)
    return Session.from_rows(
        rows, [Instrument(symbol=s, tick_size="0.01") for s in SYMBOLS], name="real", bar_intervals_ns=[5 * MINUTE]
    )


def test_real_bars_of_five_symbols():
    session = real_bars()
    assert session.manifest.levels == ("bars",) * 5 and session.manifest.counts["bar"] > 75_000
    runs = [Engine(session, [load("sma_cross")], profile).run() for profile in (Profile(), workloads.FREE)]
    costly, free = (workloads.counts(e) for e in runs)
    assert costly["fills"] > 1_000 and abs(costly["fills"] - free["fills"]) < 20
    assert int(runs[0].trader.header.equity) < int(runs[1].trader.header.equity)  # slippage costs
    out = runs[1].output()
    fills = out[(out.kind == OUT_REPORT) & (out.b > 0)]
    opens = {(int(r.ts_event) - 5 * MINUTE, int(r.instrument)): int(r.a) for r in session.events[session.events.kind == ev.BAR]}
    at = fills.ts_recv // (5 * MINUTE) * (5 * MINUTE)
    assert all(opens[int(t), int(f.instrument)] == int(f.c) for t, f in zip(at, fills, strict=True))
    assert int((fills.ts_recv - at).max()) == 2_000_000  # there and back
