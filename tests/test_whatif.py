"""What a run hangs on, and its features over time: rows equal to runs made by hand, values equal to what the strategy read."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

import replay
from replay.data.synth import equity_day
from replay.errors import BadInput
from replay.runs.features import LOOKS, sampled
from replay.runs.report import render
from replay.runs.result import Fork, Result
from replay.runs.whatif import ROBUSTNESS, SENSITIVITY, whatif

FIXTURES = Path(__file__).parents[1] / "fixtures"
DAY = {"session": None, "strategy": "mean_reversion", "seed": 3}
READS = """
from replay import Strategy, compiled, ema, ret

@compiled
class Reads(Strategy):
    def features(self):
        return {"slow": ema("mid", 50), "r": ret("60s")}

    def on_quote(self, ctx, q):
        ctx.log(q.instrument, ctx.slow(q.instrument), ctx.r(q.instrument))

    def on_trade(self, ctx, t):
        ctx.log(t.instrument, ctx.slow(t.instrument), ctx.r(t.instrument))
"""

BRITTLE = """
from replay import Strategy
from replay.trader.orders import EXEC_REJECTED

class Brittle(Strategy):
    def on_trade(self, ctx, t):
        if ctx.account_position(t.instrument) <= 0:
            ctx.target(t.instrument, 1)
        else:
            ctx.target(t.instrument, 0)

    def on_order(self, ctx, r):
        if r.flags >> 8 == EXEC_REJECTED:
            raise ValueError("rejected")
"""


def test_each_row_is_the_run_with_that_changed():
    run = replay.run(commission="1bps", latency="2ms", **DAY)
    rows = {r["what"]: r for r in whatif(run).to_pylist()}
    was = rows["as it was"]
    assert (was["orders"], was["fills"], was["change"]) == (run.summary.orders, run.summary.fills, 0)
    assert was["net"] == pytest.approx(float(run.summary.pnl)) and was["drawdown"] > 0 and was["gross"] > 0
    for what, options in (
        ("latency x 3", {"commission": "1bps", "latency": "6ms"}),
        ("fees x 2", {"commission": "2bps", "latency": "2ms"}),
        ("taking costs 5 bps more", {"commission": "maker=1bps,taker=6bps", "latency": "2ms"}),
    ):
        other = replay.run(**options, **DAY)
        assert rows[what]["net"] == pytest.approx(float(other.summary.pnl)), what
        assert rows[what]["change"] == pytest.approx(float(other.summary.pnl - run.summary.pnl))
    assert rows["every order rejected for 5 min"]["rejected"] > 0
    assert rows["no market data for 30 s"]["blind_s"] == 30 and rows["latency x 10 for 5 min"]["blind_s"] == 0
    assert rows["nothing in or out for 30 s"]["change"] != 0
    crashed = rows["crash at the worst moment, back after 30 s"]
    assert (crashed["blind_s"], crashed["error"]) == (30, None) and crashed["change"] != 0


def test_bars_and_the_other_profile_have_rows_of_their_own():
    run = replay.run(FIXTURES / "bars-month", "sma_cross", to="2026-02-05")
    names = [r["what"] for r in whatif(run, (SENSITIVITY,)).to_pylist()]
    assert "slippage + 5 bps" in names and "half the participation" in names and "fees x 2" not in names
    names = [r["what"] for r in whatif(replay.run(fill="hftbacktest", **DAY), (SENSITIVITY,)).to_pylist()]
    assert "queue log" in names and "queue risk_averse" not in names
    modelled = whatif(replay.run(latency="feed=1ms,entry=1ms,response=1ms", **DAY), (ROBUSTNESS,))
    assert "no market data for 30 s" not in modelled.column("what").to_pylist()


def test_a_strategy_that_raises_under_a_fault_is_a_row(tmp_path):
    source = tmp_path / "brittle.py"
    source.write_text(BRITTLE)
    run = replay.run(strategy=source)
    rows = {r["what"]: r for r in whatif(run, (ROBUSTNESS,)).to_pylist()}
    assert run.summary.complete and run.summary.rejected == 0
    assert "ValueError: rejected" in rows["every order rejected for 5 min"]["error"]
    assert rows["as it was"]["error"] is None


def test_a_fork_is_refused():
    m = replay.run(**DAY).manifest
    with pytest.raises(BadInput, match="this run is a fork: ask what the run hangs on that it came from, runs/x"):
        whatif(Result(msgspec.structs.replace(m, fork=Fork("runs/x", "15:31"))))


def test_features_are_what_the_strategy_read(tmp_path):
    source = tmp_path / "reads.py"
    source.write_text(READS)
    day = equity_day(n_events=3_000, seed=5)
    day.save(tmp_path / "day")
    run = replay.run(tmp_path / "day", source)
    table, logs = sampled(run), run.table("logs").to_pandas()
    assert table.num_rows == LOOKS * 2 * 2
    frame = table.to_pandas()
    found = 0
    for symbol, n in (("AAPL", 0), ("MSFT", 1)):
        read = logs[logs.code == n]
        for name, column in (("slow", "a"), ("r", "b")):
            mine = frame[(frame.symbol == symbol) & (frame.feature == name)]
            when, said = read.ts.astype("int64").to_numpy(), read[column].to_numpy()
            looks = mine.ts.astype("int64").to_numpy()
            at = np.searchsorted(when, looks, side="right") - 1
            sure = (at >= 0) & (when[at] < looks)  # a look between two rows of one instant stands before the second
            assert np.array_equal(mine.value.to_numpy()[sure], said[at[sure]], equal_nan=True)
            found += int(sure.sum())
    assert found > LOOKS


def test_they_are_on_the_page():
    run = replay.run(**DAY)
    page = render(run.with_tables({"features": sampled(run), "whatif": whatif(run, (SENSITIVITY,))}))
    assert "What it hangs on" in page and "latency x 3" in page and "MeanReversion z" in page
    assert "What it hangs on" not in render(run)
