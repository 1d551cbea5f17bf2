"""What is left of a run: tables against a plain reading of what the trader said, figures against pandas, the folder, the configuration."""

import json
from decimal import Decimal

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import replay
from replay.data.synth import equity_day
from replay.errors import BadInput, StrategyError
from replay.runs.config import Chosen, RunConfig
from replay.runs.days import Days
from replay.runs.result import Result
from replay.runs.statistics import Trading, returns
from replay.runs.trips import Units, trips
from replay.strategy import Strategy
from replay.trader.limits import Limits

DAY = equity_day(n_events=6_000, seed=4)
BUSY = [("ema_cross", {"fast": 20, "slow": 60, "warmup": 60, "qty": 30}), ("passive_quoting", {"qty": 20, "max_position": 100})]


@pytest.fixture(scope="module")
def busy():
    return replay.run(DAY, BUSY, limits={"max_position": 90})


# --- tables -----------------------------------------------------------------------------------------------------------------
def test_tables_hold_what_the_summary_counts(busy):
    s, t = busy.summary, busy.tables
    assert t["orders"].num_rows == s.orders > 100 and t["fills"].num_rows == s.fills > 20
    assert t["refusals"].num_rows == s.refused > 0
    states = t["orders"]["state"].to_pylist()
    assert (states.count("FILLED"), states.count("CANCELED"), states.count("EXPIRED")) == (s.filled, s.canceled, s.expired)
    assert float(s.pnl) == pytest.approx(sum(t["trips"]["net"].to_pylist()), abs=1e-6)
    assert {(p.strategy, p.symbol): float(p.pnl) for p in s.positions} == pytest.approx(
        {(p.strategy, p.symbol): p.statistics.net for p in s.parts}, abs=1e-6
    )


def test_orders_agree_with_their_fills(busy):
    orders, fills = busy.to_pandas("orders"), busy.to_pandas("fills")
    by = fills.groupby("order")
    orders = orders.set_index("order")
    traded = orders[orders.cum_qty > 0]
    pd.testing.assert_series_equal(by.last_qty.sum(), traded.cum_qty, check_names=False)
    average = (fills.last_qty * fills.last_px).groupby(fills.order).sum() / by.last_qty.sum()
    pd.testing.assert_series_equal(average, traded.avg_px, check_names=False)
    assert (orders.ts_sent < orders.ts_ack.fillna(pd.Timestamp.max.tz_localize("UTC"))).all()
    assert (fills.ts_event < fills.ts_recv).all()
    sign = fills.side.map({"buy": 1, "sell": -1}).astype(int)
    position = (sign * fills.last_qty).groupby([fills.strategy, fills.symbol], observed=True).cumsum()
    pd.testing.assert_series_equal(position, fills.position, check_names=False)
    limit = fills.order.map(orders.limit_px)
    meant = limit.where(limit.notna(), fills.order.map(orders.decision_mid))
    pd.testing.assert_series_equal(meant, fills.intended_px, check_names=False)
    cost = sign * (fills.last_px - meant) * fills.last_qty
    pd.testing.assert_series_equal(cost, fills.slippage, check_names=False)
    assert orders.decision_mid.between(orders.decision_bid, orders.decision_ask).all()


def test_equity_is_sampled_as_it_is_from_each_full_minute_on(busy):
    equity = busy.to_pandas("equity")
    assert equity.ts.is_monotonic_increasing and equity.equity.iloc[-1] == float(busy.summary.equity)
    assert (equity.ts.iloc[1:-1].astype("int64") % 60_000_000_000 == 0).all()
    # what an independent replay has after the last event up to the minute
    again = RunConfig(limits=Limits(max_position=Decimal(90))).engine(DAY, [replay.strategy.load(s, p) for s, p in BUSY])
    minute = equity.iloc[len(equity) // 2]
    while (
        again.venue.header.local_i < DAY.manifest.n_events
        and DAY.events.ts_recv[int(again.venue.header.local_i)] <= minute.ts.value
    ):
        again.advance(1)
    assert float(Decimal(int(again.trader.header.equity)) / 10**8) == minute.equity


def _naive_trips(fills):
    """(strategy, symbol) -> [[signed entry lots, net], ...] by walking the fills one by one."""
    held, found = {}, {}
    for strategy, symbol, signed, px in fills:
        key = (strategy, symbol)
        position, cash = held.get(key, (0, 0))
        if position * (position + signed) < 0:
            found.setdefault(key, []).append((position > 0, cash + position * px))
            position, cash, signed = 0, 0, position + signed
        position, cash = position + signed, cash - signed * px
        if position == 0:
            found.setdefault(key, []).append((signed < 0, cash))
            cash = 0
        held[key] = (position, cash)
    return found, {key: value for key, value in held.items() if value[0]}


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(-3, 3).filter(bool), st.integers(90, 110)), max_size=40)
)
def test_trips_against_a_walk(rows):
    n = len(rows)
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    signed = np.array(columns[2], np.int64)
    table = pa.table(
        {
            "strategy": pa.DictionaryArray.from_arrays(np.array(columns[0], np.int32), pa.array(["x", "y"])),
            "symbol": pa.DictionaryArray.from_arrays(np.array(columns[1], np.int32), pa.array(["A", "B"])),
            "side": pa.DictionaryArray.from_arrays((signed < 0).astype(np.int32), pa.array(["buy", "sell"])),
            "last_qty_lots": np.abs(signed),
            "last_px_ticks": np.array(columns[3], np.int64),
            "fee": np.abs(signed) * 0.5,
            "ts_recv": pa.array(np.arange(n), pa.int64()).cast(pa.timestamp("ns", tz="UTC")),
        }
    )
    made = trips(table, np.array([100.0, 101.0]), Units(np.ones(2), np.ones(2), np.ones(2)))
    closed, still = _naive_trips([("xy"[s], "AB"[i], q, px) for s, i, q, px in rows])
    for key, wanted in closed.items():
        got = [t for t in made.to_pylist() if (t["strategy"], t["symbol"]) == key and not t["open"]]
        assert [(t["side"] == "buy", t["gross"]) for t in got] == wanted
    for (strategy, symbol), (position, cash) in still.items():
        (got,) = [t for t in made.to_pylist() if (t["strategy"], t["symbol"]) == (strategy, symbol) and t["open"]]
        assert got["gross"] == cash + position * (100 if symbol == "A" else 101)
    assert sum(t["fees"] for t in made.to_pylist()) == pytest.approx(np.abs(signed).sum() * 0.5)


# --- figures ----------------------------------------------------------------------------------------------------------------
def test_statistics_against_pandas(busy):
    trips_, fills = busy.to_pandas("trips"), busy.to_pandas("fills")
    trading = Trading(busy.tables, 1)
    parts = [("PassiveQuoting", symbol) for symbol in ("AAPL", "MSFT")]
    for (strategy, symbol), got in [((None, None), trading.all()), *((part, trading.of(*part)) for part in parts)]:
        t = trips_[((trips_.strategy == strategy) | (strategy is None)) & ((trips_.symbol == symbol) | (symbol is None))]
        f = fills[((fills.strategy == strategy) | (strategy is None)) & ((fills.symbol == symbol) | (symbol is None))]
        net = t[~t.open].net
        assert (got.trips, got.wins) == (len(net), (net > 0).sum()) and got.trips > 3
        assert got.win_rate == pytest.approx((net > 0).mean()) and got.expectancy == pytest.approx(net.mean())
        assert got.profit_factor == pytest.approx(net[net > 0].sum() / -net[net < 0].sum())
        assert got.notional == pytest.approx((f.last_px * f.last_qty).sum())
        assert got.holding_s == pytest.approx((t.ts_out - t.ts_in)[~t.open].dt.total_seconds().mean())


def _equity(days, values):
    ts = pd.date_range("2026-01-05", periods=days, freq="D", tz="UTC") + pd.Timedelta(hours=21)
    drawdown = np.maximum.accumulate(np.r_[1000.0, values]) - np.r_[1000.0, values]
    equity = pa.table(
        {
            "ts": pa.array(ts.insert(0, ts[0] - pd.Timedelta(hours=6)), pa.timestamp("ns", tz="UTC")),
            "equity": np.r_[1000.0, values],
            "drawdown": drawdown,
        }
    )
    return {"equity": equity, "prices": pa.table({"ts": pa.array(ts, pa.timestamp("ns", tz="UTC"))})}, drawdown.max()


def midnights(tables, a_year):
    day = 86_400 * 10**9
    return Days((np.asarray(tables["prices"]["ts"].cast(pa.int64())) // day + 1) * day, a_year, "midnights")


def test_returns_against_pandas():
    rng = np.random.default_rng(5)
    daily = rng.normal(0.001, 0.01, 60)
    values = 1000 * np.cumprod(1 + daily)
    made, drawdown = _equity(60, values)
    got = returns(made, midnights(made, 365), float(drawdown))
    s = pd.Series(daily)
    assert got.sharpe == pytest.approx(s.mean() / s.std() * np.sqrt(365))
    assert returns(made, midnights(made, 252), float(drawdown)).sharpe == pytest.approx(s.mean() / s.std() * np.sqrt(252))
    assert got.sortino == pytest.approx(s.mean() / np.sqrt((s.clip(upper=0) ** 2).mean()) * np.sqrt(365))
    assert got.total_return == pytest.approx(values[-1] / 1000 - 1)
    assert got.annualised_return == pytest.approx((values[-1] / 1000) ** (365 / 60) - 1)
    assert got.drawdown_share == pytest.approx(drawdown / pd.Series(values).cummax()[np.argmax(made["equity"]["drawdown"]) - 1])
    few, most = _equity(19, values[:19])
    short = returns(few, midnights(few, 365), float(most))
    assert short.sharpe is None and short.total_return is not None and short.days == 19


# --- the folder -------------------------------------------------------------------------------------------------------------
def test_a_folder_holds_the_same(busy, tmp_path):
    busy.save(tmp_path / "run")
    again = Result.open(tmp_path / "run")
    assert again.manifest == busy.manifest and again.digest == busy.digest
    for name in busy.names:
        assert again.table(name).equals(busy.table(name)), name
    assert again.sql("select count(*) as n from orders").to_pylist() == [{"n": busy.summary.orders}]
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["digest"] == busy.digest
    busy.save(tmp_path / "run")  # again over itself
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_folder_that_is_no_run_is_refused(busy, tmp_path):
    for path, why in ((tmp_path, "no run is here"), (tmp_path / "none", "no run is here")):
        with pytest.raises(BadInput, match=why):
            Result.open(path)
    DAY.save(tmp_path / "session")
    with pytest.raises(BadInput, match="not the manifest of a run"):
        Result.open(tmp_path / "session")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(BadInput, match="something that is no run is there"):
        busy.save(tmp_path / "mine")
    busy.save(tmp_path / "run")
    (tmp_path / "run" / "fills.parquet").write_bytes(b"not parquet")
    with pytest.raises(BadInput, match="fills.parquet has been changed since it was written"):
        Result.open(tmp_path / "run").table("fills")
    text = (tmp_path / "run" / "manifest.json").read_text()
    (tmp_path / "run" / "manifest.json").write_text(text.replace('"version": 1', '"version": 99', 1))
    with pytest.raises(BadInput, match="run version 1 expected, got 99"):
        Result.open(tmp_path / "run")
    with pytest.raises(BadInput, match="no table 'trades'"):
        busy.table("trades")
    with pytest.raises(BadInput, match="sql: "):
        busy.sql("select nothing from nowhere")


def test_a_run_without_a_single_order(tmp_path):
    class Silent(Strategy):
        def on_quote(self, ctx, q):
            pass

    run = replay.run(DAY, Silent, out=tmp_path / "run")
    s = run.summary
    assert (s.orders, s.statistics.trips, s.statistics.win_rate, s.returns.drawdown) == (0, 0, None, 0.0)
    assert Result.open(tmp_path / "run").table("prices").num_rows > 0


def test_a_strategy_that_raises_at_once():
    class Broken(Strategy):
        def on_quote(self, ctx, q):
            raise ValueError("no")

    with pytest.raises(StrategyError, match="Broken: on_quote at event"):
        replay.run(DAY, Broken)


# --- configuration ----------------------------------------------------------------------------------------------------------
def test_a_configuration_survives_its_text(tmp_path):
    config = RunConfig(
        session="s'x",
        strategies=(Chosen(source="a.py:B", parameters={"n": 3, "x": 0.5, "on": True, "w": "60s"}), Chosen(source="ema_cross")),
        limits=Limits(allow=("AAPL", "MSFT"), max_leverage=Decimal("1.5"), flatten=True),
        initial_capital=Decimal("10000.5"),
        warmup="5d",
        from_="2026-03-02",
    )
    (tmp_path / "run.toml").write_text(config.to_toml())
    assert RunConfig.load(tmp_path / "run.toml") == config
    assert msgspec.convert(msgspec.to_builtins(config), RunConfig) == config


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("latecy = '1ms'", "latecy"),
        ("seed = 'x'", "seed"),
        ("[[strategy]]\nname = 'x'", "unknown field `name`"),
        ("= 3", "line 1"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, text, why):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(BadInput, match=why):
        RunConfig.load(tmp_path / "run.toml")


def test_an_unknown_option_in_python_is_named():
    with pytest.raises(BadInput, match="option 'latecy'"):
        replay.run(latecy="1ms")


# --- warm-up ----------------------------------------------------------------------------------------------------------------
def test_warm_up_feeds_the_strategy_and_blocks_its_orders():
    parameters = {"fast": 20, "slow": 60, "warmup": 60, "qty": 30}
    whole = replay.run(DAY, "ema_cross", parameters)
    warmed = replay.run(DAY, "ema_cross", parameters, from_="2026-03-02T17:00", warmup="2h")
    cold = replay.run(DAY, "ema_cross", parameters, from_="2026-03-02T17:00")
    begin = pd.Timestamp("2026-03-02T17:00", tz="UTC")
    assert warmed.to_pandas("orders").ts_sent.min() >= begin
    assert set(warmed.to_pandas("refusals").reason) == {"warmup"} and (warmed.to_pandas("refusals").ts < begin).all()
    late = whole.to_pandas("orders").query("ts_sent > '2026-03-02T18:00Z'")
    assert len(late) and warmed.to_pandas("orders").ts_sent.isin(late.ts_sent).sum() >= len(late) - 2
    assert cold.digest != warmed.digest
    with pytest.raises(BadInput, match="nothing is left to trade"):
        replay.run(DAY, "ema_cross", warmup="10h")
