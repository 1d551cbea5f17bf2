"""The figures of a run against other people's arithmetic: pandas on its fills and on the session's bars, empyrical on its equity."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import replay
from replay import GTC, IOC, POST_ONLY, REDUCE_ONLY, Strategy
from replay import events as ev
from replay.data.hours import market_hours, phase_rows
from replay.data.instruments import Instrument
from replay.data.session import Session, end_bar_messages
from replay.data.synth import by_hand
from replay.engine import Engine
from replay.runs.explain import explain
from replay.runs.tables import tables
from replay.show import render
from replay.strategy import load
from replay.summary import Summary
from replay.trader.limits import Limits

A = Instrument(symbol="A", tick_size="0.01", currency="USD")
HALF_HOUR = 1_800 * 10**9


def weeks(days=30, volume=10_000_000, seed=3):
    """Half-hour bars of New York's hours over some weeks, rows exactly on the half-hours, a random walk."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2026-02-02", tz="UTC").value
    hours = market_hours("XNYS", start, start + days * 7 // 5 * 86_400 * 10**9)
    rows, px = [], 10_000
    for _, opens, closes in hours.days:
        for ts in range(opens + HALF_HOUR, closes + 1, HALF_HOUR):
            close = px + int(rng.integers(-60, 61))
            rows.append((ts, px, max(px, close) + 5, min(px, close) - 5, close))
            px = close
    made = ev.empty(len(rows))
    made.ts_recv[:], made.a[:], made.b[:], made.c[:], made.d[:] = np.array(rows).T
    made.ts_event[:], made.kind[:], made.id[:] = made.ts_recv - HALF_HOUR, ev.BAR, volume
    made = np.concatenate([made, phase_rows(hours)])
    # a day opens before its first bar and closes behind its last
    made = made[np.lexsort((made["kind"] == ev.PHASE, made["ts_recv"]))].view(np.recarray)
    end_bar_messages(made)
    return Session.from_rows(made, [A], name="weeks", bar_intervals_ns=[HALF_HOUR], calendar=hours)


class Turns(Strategy):
    """Long and short in turn, every few bars, in changing sizes."""

    n: int = 0

    def on_start(self, ctx):
        self.seen = 0

    def on_bar(self, ctx, b):
        self.seen += 1
        if self.seen % 5 == 0:
            ctx.target(0, (20, -35, 50, 0)[self.seen // 5 % 4])


@pytest.fixture(scope="module")
def run():
    return replay.run(weeks(), Turns, commission="0.01/share,1bps")


def test_equity_is_what_fills_fees_and_closes_make_it(run):
    """Every row: initial cash, less what was paid, with the position at the last close, all of them up to that minute."""
    fills, equity = run.to_pandas("fills"), run.to_pandas("equity")
    bars = weeks().events
    bars = bars[bars.kind == ev.BAR]
    sign = np.where(fills.side.astype(str) == "buy", 1, -1)
    at = equity.ts.dt.tz_convert(None)
    heard = fills.ts_recv.dt.tz_convert(None)
    assert len(fills) > 60 and len(equity) > 200 and (equity.ts.diff().dropna() > pd.Timedelta(0)).all()
    for k, ts in enumerate(at):
        done = (heard <= ts).to_numpy()
        close = bars.d[bars.ts_recv <= pd.Timestamp(ts).value]
        position = (sign * fills.last_qty)[done].sum()
        cash = 10_000 - (sign * fills.last_qty * fills.last_px + fills.fee)[done].sum()
        mark = close[-1] / 100 if len(close) else 0
        assert equity.equity[k] == pytest.approx(cash + position * mark, abs=1e-6), ts
        assert equity.gross[k] == pytest.approx(abs(position * mark), abs=1e-6)
    assert np.allclose(equity.drawdown, equity.equity.cummax() - equity.equity, atol=1e-9)


def daily(run):
    """Returns of New York's days from the table `equity` alone."""
    equity = run.to_pandas("equity").set_index("ts").equity
    local = equity.index.tz_convert("America/New_York")
    ends = equity.groupby(local.date).last()
    dates = sorted(
        {pd.Timestamp(o, tz="UTC").tz_convert("America/New_York").date() for _, o, _ in weeks().manifest.calendar.days}
    )
    ends = ends.reindex(dates).ffill().fillna(10_000)
    return pd.concat([pd.Series([10_000.0]), ends]).pct_change().iloc[1:]


def test_statistics_are_those_of_empyrical(run):
    empyrical = pytest.importorskip("empyrical")
    r, returns = run.summary.returns, daily(run)
    assert (r.days, r.days_a_year, r.days_by) == (len(returns), 252, "the calendar XNYS") and r.days > 20
    values = returns.to_numpy(float)
    assert r.sharpe == pytest.approx(empyrical.sharpe_ratio(values, annualization=252), rel=1e-9)
    assert r.sortino == pytest.approx(empyrical.sortino_ratio(values, annualization=252), rel=1e-9)
    assert r.annualised_return == pytest.approx(empyrical.annual_return(values, annualization=252), rel=1e-9)
    assert r.total_return == pytest.approx(empyrical.cum_returns_final(values), rel=1e-9)
    minutes = run.to_pandas("equity").equity.pct_change().fillna(0).to_numpy()
    assert -r.drawdown_share == pytest.approx(empyrical.max_drawdown(minutes), rel=0.05)  # between two minutes it may be deeper


def test_sums_agree_to_the_cent_between_tables_and_summary(run):
    s, x = run.summary, run.summary.statistics
    fills, trips, orders = (run.to_pandas(n) for n in ("fills", "trips", "orders"))
    cents = {
        "fees": (s.fees, x.fees, fills.fee.sum(), orders.fees.sum(), trips.fees.sum(), sum(p.fees for p in s.positions)),
        "net": (s.pnl, x.net, trips.net.sum(), s.equity - 10_000, sum(p.pnl for p in s.positions)),
        "slippage": (x.slippage, fills.slippage.sum(), sum(p.statistics.slippage for p in s.parts)),
        "notional": (x.notional, fills.notional.sum(), (fills.last_px * fills.last_qty).sum()),
    }
    for name, values in cents.items():
        assert len({round(float(v), 2) for v in values}) == 1, (name, values)
    assert s.fills == len(fills) == sum(p.fills for p in s.positions)
    assert sum(p.bought_lots - p.sold_lots - p.position_lots for p in s.positions) == 0
    assert s.orders == len(orders) == s.filled + s.canceled + s.expired + s.rejected + len(s.open)


# --- orders: what they were meant to cost, what replaces made of them, why they ended -----------------------------------------
class Scripted(Strategy):
    """Does what its class says at the n-th quote."""

    acts = {}

    def on_start(self, ctx):
        self.n, self.h = 0, {}

    def on_quote(self, ctx, q):
        self.n += 1
        if self.n in self.acts:
            self.acts[self.n](ctx, self.h)


def scripted(mids, acts, trades=None, **options):
    return replay.run(by_hand(mids, trades=trades or {}), type("Scripted", (Scripted,), {"acts": acts}), **options)


def test_slippage_is_against_the_price_an_order_was_meant_to_have():
    def start(ctx, h):
        h["limit"] = ctx.limit(0, 1, 900, GTC)
        h["stop"] = ctx.stop(0, -1, 850, GTC)

    def move(ctx, h):
        ctx.replace(h["limit"], 2, 1010)
        ctx.replace(h["stop"], 1, 990)

    mids = [1000] * 5 + [1004] * 4 + [980] * 6
    run = scripted(mids, {1: start, 2: lambda ctx, h: ctx.market(0, 3), 4: move}, trades={10: 5, 11: 5, 12: 5})
    orders, fills = (run.to_pandas(n).set_index("order") for n in ("orders", "fills"))
    tick = float(run.manifest.instruments[0].tick_size)
    limit, stop, market = orders.loc[1], orders.loc[2], orders.loc[3]
    assert (limit.order_qty, round(limit.limit_px / tick), limit.n_replaced, limit.replaces) == (2, 1010, 1, 1)
    assert (round(stop.stop_px / tick), stop.n_replaced, market.n_replaced) == (990, 1, 0)
    meant = {1: 1010 * tick, 2: 990 * tick, 3: market.decision_mid}
    assert {k: round(v, 9) for k, v in fills.intended_px.groupby(level=0).first().items()} == {
        k: round(v, 9) for k, v in meant.items() if k in fills.index
    }
    assert set(fills.index) == {1, 2, 3}
    sign = np.where(fills.side.astype(str) == "buy", 1, -1)
    cost = sign * (fills.last_px - fills.intended_px) * fills.last_qty
    assert np.allclose(cost, fills.slippage)
    assert (fills.slippage[fills.index == 1] <= 0).all()  # a limit order never pays more than its limit


def test_an_order_says_why_it_ended():
    def far(ctx, h):
        ctx.limit(0, 1, 900, IOC)
        ctx.limit(0, 1, 1100, GTC, POST_ONLY)
        ctx.limit(0, 1, 1100, GTC, REDUCE_ONLY)
        h["resting"] = ctx.limit(0, 1, 900, GTC)

    run = scripted([1000] * 12, {2: far, 5: lambda ctx, h: ctx.cancel(h["resting"])})
    orders = run.to_pandas("orders")
    found = list(zip(orders.state.astype(str), orders.reason.astype(object).where(orders.reason.notna(), None), strict=True))
    assert found[:2] == [("EXPIRED", "not_at_once"), ("EXPIRED", "would_take")] and found[-1] == ("CANCELED", None)
    s = run.summary
    assert sum(s.expirations.values()) == s.expired and s.expirations["would_take"] == 1
    assert sum(s.rejections.values()) == s.rejected


def test_every_end_that_the_venue_decides_has_a_reason():
    run = replay.run(
        replay.data.synth.equity_day(n_events=6_000, seed=4), "passive_quoting", {"qty": 20, "max_position": 100}, latency="5s"
    )
    orders = run.to_pandas("orders")
    ended = orders[orders.state.isin(["EXPIRED", "REJECTED"])]
    assert len(ended) > 3 and ended.reason.notna().all()
    text = "\n".join(str(line) for line in render(run.summary).renderables)
    assert f"expired: {next(iter(run.summary.expirations))}" in text


def test_an_explanation_names_the_reason_and_the_price_an_order_was_meant_to_have(tmp_path):
    by_hand([1000] * 12).save(tmp_path / "s")
    (tmp_path / "s.py").write_text(
        "from replay import IOC, POST_ONLY, GTC, State, Strategy\n\n\nclass Three(Strategy):\n    n: State[int] = 0\n\n"
        "    def on_quote(self, ctx, q):\n        self.n += 1\n        if self.n == 2:\n"
        "            ctx.limit(0, 1, 1100, GTC, POST_ONLY)\n            ctx.limit(0, 1, 1010, IOC)\n            ctx.market(0, 1)\n"
    )
    run = replay.run(str(tmp_path / "s"), str(tmp_path / "s.py"), out=tmp_path / "run")
    assert any("expired (would_take)" in text for text in explain(run, 1).reports)
    limit, market = explain(run, 2).cost, explain(run, 3).cost
    assert (limit.intended, limit.intended_px) == (
        "its limit",
        pytest.approx(10.10),
    ) and limit.slippage_bps < 0 < limit.decision_bps
    assert (market.intended, market.intended_px) == ("mid at decision", pytest.approx(10.00)) and market.slippage_bps > 0


# --- what is said, and what is denied -----------------------------------------------------------------------------------------
def left_out(engine):
    return " ".join(Summary.of(engine, tables(engine)).left_out)


def test_what_was_charged_or_limited_is_not_denied():
    assert "the venue charges none" in left_out(Engine(weeks(5), [load(Turns)]).run())
    for fee in ("alpaca", "0.01/share", "1bps"):
        run = replay.run(weeks(5), Turns, commission=fee)
        assert run.summary.fees > 0 and not any("fees" in x for x in run.summary.left_out), fee
    own = Engine(weeks(5), [load(Turns)], strategy_limits=[Limits(max_position=Decimal(30))])
    assert "limits" not in left_out(own.run())


def test_bars_without_volume_are_said():
    run = replay.run(weeks(5, volume=0), Turns)
    assert any("A: bars without volume" in text for text in run.summary.warnings)
    assert not replay.run(weeks(5), Turns).summary.warnings
