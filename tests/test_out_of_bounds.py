"""What is out of bounds is refused, raised or ends the run in one line: instruments and handles that there are not, data that execute
nothing, and money that no integer holds. Nothing reads beyond a table, nothing wraps."""

from decimal import Decimal

import numpy as np
import pytest

from replay import Strategy
from replay import events as ev
from replay.check.worker import _asked
from replay.data import synth
from replay.data.instruments import Instrument
from replay.data.session import Session, end_bar_messages
from replay.engine import Engine
from replay.errors import BadInput, StrategyError
from replay.plain import PlainStrategy
from replay.runs.tables import tables
from replay.show import said_by
from replay.strategy import load
from replay.summary import Summary
from replay.trader.reasons import NO_EXECUTION, UNKNOWN_INSTRUMENT, UNKNOWN_ORDER
from replay.venue.setup import Profile

MINUTE = 60 * 10**9
BAD = (-(1 << 62), -2, -1, 2, 7, 1 << 31, 1 << 32, 1 << 62)
ASKS = (
    "market({k}, 5)",
    "limit({k}, 5, 100)",
    "stop({k}, -5, 100)",
    "stop_limit({k}, -5, 100, 99)",
    "bracket({k}, 5, 0, 110, 90)",
)
ASKS += ("oco({k}, -5, 110, 90)", "target({k}, 5)", "cancel_all({k})")
READS = ("book({k}).bid_px", "mark({k})", "position({k})", "account_position({k})", "fast({k})")
TEXT = """from replay import State, Strategy, compiled, ema
{mark}
class Mine(Strategy):
    done: State[int] = 0
    sum: State[int] = 0

    def features(self):
        return {{"fast": ema("mid", 20)}}

    def on_quote(self, ctx, q):
        if self.done == 0:
{body}
            self.done = 1
"""


def strategy(tmp_path, mark, lines):
    path = tmp_path / f"mine{len(list(tmp_path.iterdir()))}.py"
    path.write_text(TEXT.format(mark=mark, body="\n".join("            " + x for x in lines)))
    return load(str(path))


def day():
    return synth.equity_day(("A", "B"), 400, seed=3)


@pytest.mark.parametrize("mark", ["", "@compiled"])
def test_an_instrument_that_there_is_not_is_refused_in_every_call(tmp_path, mark):
    calls = [a.format(k=k) for a in ASKS for k in BAD if not (k == -1 and a.startswith("cancel_all"))]
    run = Engine(day(), [strategy(tmp_path, mark, [f"self.sum += ctx.{c}" for c in calls])]).run()
    refused = run.output()[run.output().kind == 35]
    assert len(refused) == len(calls) and set(refused["flags"].tolist()) == {UNKNOWN_INSTRUMENT}
    assert set(refused.a.tolist()) == set(BAD) and set(refused.b.tolist()) == {2}
    made = tables(run)
    assert set(made["refusals"]["symbol"].to_pylist()) == {""}
    summary = Summary.of(run, made)
    assert (
        summary.refusals["unknown_instrument"].count == len(calls)
        and "there are 2" in summary.refusals["unknown_instrument"].first
    )
    assert len(list(said_by(run.output(), run.session.instruments, ["Mine"]))) >= len(calls)


@pytest.mark.parametrize("mark", ["", "@compiled"])
def test_a_handle_that_there_is_not_is_refused(tmp_path, mark):
    handles = (0, -31, -1, 1, (1 << 20) | 1023, (1 << 40) | 77, 1 << 62, -(1 << 62))
    asks = [f"self.sum += ctx.{c.format(h=h)}" for c in ("cancel({h})", "replace({h}, 5, 100)") for h in handles]
    reads = [
        f"self.sum += int(ctx.{c}({h}))" for c in ("state", "order_px", "cum_qty", "leaves_qty", "is_settled") for h in handles
    ]
    run = Engine(day(), [strategy(tmp_path, mark, asks + reads)]).run()
    refused = run.output()[run.output().kind == 35]
    assert len(refused) == len(asks) and set(refused["flags"].tolist()) == {UNKNOWN_ORDER}
    assert set(tables(run)["refusals"]["symbol"].to_pylist()) == {""}


@pytest.mark.parametrize("mark", ["", "@compiled"])
@pytest.mark.parametrize("read", READS)
def test_reading_an_instrument_that_there_is_not_raises(tmp_path, mark, read):
    for k in (-1, 2, 1 << 40):
        with pytest.raises(StrategyError, match="no such instrument|index out of|no such place"):
            Engine(day(), [strategy(tmp_path, mark, [f"self.sum += int(ctx.{read.format(k=k)})"])]).run()


# --- data that execute nothing ---------------------------------------------------------------------------------------------------
def test_orders_on_single_orders_and_on_no_data_are_refused_and_the_summary_says_so(tmp_path):
    rows = ev.empty(40)
    for k, r in enumerate(rows):
        r.ts_event = r.ts_recv = 10**18 + k * 10**9
        r.kind, r["flags"] = (ev.ORDER, ev.LAST) if k % 2 else (ev.QUOTE, ev.LAST)
        if k % 2:
            r.side, r.a, r.b, r.c, r.id = 1, 100 - k, 10, ev.ADD, k + 1
        else:
            r.instrument, r.a, r.b, r.c, r.d = 1, 100, 10, 101, 10
    of = [Instrument(symbol=s, tick_size="0.01") for s in "LQN"]
    session = Session.from_rows(rows, of, name="orders")
    calls = [
        f"self.sum += ctx.{c}"
        for k in (0, 2)
        for c in (f"market({k}, 5)", f"limit({k}, -5, 100)", f"bracket({k}, 5, 0, 110, 90)")
    ]
    run = Engine(session, [strategy(tmp_path, "", calls)]).run()
    refused = run.output()[run.output().kind == 35]
    assert refused["flags"].tolist() == [NO_EXECUTION] * 6
    summary = Summary.of(run, tables(run))
    assert any(x.startswith("L, N: no data that execute orders") for x in summary.left_out), summary.left_out
    assert "without prints quotes elect stops in Q" in summary.profile


# --- money -------------------------------------------------------------------------------------------------------------------------
class Buys(Strategy):
    def __init__(self, lots):
        self.lots, self.answers, self.equity = lots, [], []

    def on_bar(self, ctx, b):
        self.equity.append(ctx.equity)
        self.answers.append(ctx.market(0, self.lots))


def rupiah(prices, lots, capital=10**9, **instrument):
    """Bars of a minute at these prices, a purchase a bar; a tick on a lot is worth 0.001."""
    rows = ev.empty(len(prices))
    for k, (r, px) in enumerate(zip(rows, prices, strict=True)):
        r.ts_event = r.ts_recv = 10**18 + (k + 1) * MINUTE
        r.kind, r.a, r.b, r.c, r.d, r.id = ev.BAR, px, px, px, px, 10**6
    end_bar_messages(rows)
    of = [Instrument(symbol="BTCIDR", tick_size="1", lot_size="0.001", currency="IDR", **instrument)]
    session = Session.from_rows(rows, of, name="rupiah", bar_intervals_ns=[MINUTE])
    buys = Buys(lots)
    profile = Profile(slippage_ppm=0, participation_ppm=0)
    return buys, Engine(session, [PlainStrategy(Buys, buys, {}, {})], profile, capital={"IDR": Decimal(capital)})


@pytest.mark.parametrize("lots", [400, -400])
def test_an_order_beyond_what_is_counted_is_refused_and_equity_stays_what_it_is(lots):
    buys, engine = rupiah([1_600_000_000] * 120, lots)
    engine.run()
    assert set(buys.equity) == {10**9 * 10**8}
    taken = sum(a > 0 for a in buys.answers)
    # 2**61 units at a price of 1.6e9 on a thousandth of a coin
    assert taken == (2**62 - 1) // 10**5 // 2 // (1_600_000_000 * 400) and set(buys.answers[taken:]) == {-33}


def test_a_position_whose_worth_outgrows_the_integers_ends_the_run_with_the_cause():
    buys, engine = rupiah([1_600_000_000] * 40 + [3_100_000_000, 3_300_000_000, 10], 400)
    with pytest.raises(BadInput, match=r"BTCIDR passed 2\*\*62.*trade less"):
        engine.run()
    assert max(buys.equity) < 2**62 and min(buys.equity) > 0


def test_equity_that_outgrows_the_integers_ends_the_run():
    buys, engine = rupiah([1_600_000_000] * 40 + [2_900_000_000] * 5, 400, capital=Decimal("9e9"))
    engine.run()
    assert buys.equity[-1] == int(engine.trader.header.equity) < 2**62


def test_bounds_follow_from_the_instrument():
    low, high = (rupiah([100] * 4 + [later] * 4, 1)[1] for later in (100, 10**12))
    for engine in (low, high):
        engine.advance(3)
    assert _asked(low) == _asked(high)
    np.asarray(high.trader.region("instruments"))["max_px"] = 1000
    assert _asked(low) != _asked(high)
