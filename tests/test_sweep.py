"""A sweep is its single runs: same digests, whatever the number of threads; wrong input is named before anything runs."""

import pyarrow.csv
import pyarrow.parquet
import pytest

import replay
from replay.data.synth import equity_day
from replay.errors import BadInput
from replay.runs.sweep import values
from replay.runs.sweep_view import grid_of, page, ranked, write
from replay.strategy import Strategy

DAY = equity_day(n_events=4_000, seed=9)
GRID = {"fast": [10, 20, 40], "slow": [60, 90], "warmup": [50], "qty": [5]}
OPTIONS = {"latency": "3ms", "limits": {"max_position": 8}, "from_": "2026-03-02T16:00", "warmup": "30m"}


class Flaky(Strategy):
    """Raises where told to."""

    fail: int = 0
    seen: replay.State[int] = 0

    def on_quote(self, ctx, q):
        self.seen += 1
        if self.seen == 5:
            ctx.market(q.instrument, 1)
        if self.fail and self.seen == self.fail:
            raise RuntimeError("enough")


@pytest.fixture(scope="module")
def table():
    return replay.sweep(DAY, "ema_cross", GRID, **OPTIONS)


def test_every_row_is_its_single_run(table):
    assert table.num_rows == 6 and len(set(table["digest"].to_pylist())) == 6
    for row in table.to_pylist():
        run = replay.run(DAY, "ema_cross", {name: row[name] for name in GRID}, **OPTIONS)
        s = run.summary
        assert (row["digest"], row["orders"], row["fills"], row["refused"]) == (run.digest, s.orders, s.fills, s.refused)
        assert row["net"] == pytest.approx(float(s.pnl)) and row["drawdown"] == pytest.approx(s.returns.drawdown)
        assert row["error"] is None


@pytest.mark.parametrize("jobs", [2, 5])
def test_threads_change_nothing(table, jobs):
    assert replay.sweep(DAY, "ema_cross", GRID, jobs=jobs, **OPTIONS).equals(table)


def test_a_run_that_its_strategy_stops_is_a_row():
    table = replay.sweep(DAY, Flaky, {"fail": [0, 9] * 10}, jobs=4)
    assert [e is None for e in table["error"].to_pylist()] == [True, False] * 10
    fine, failed = table.to_pylist()[:2]
    assert fine["error"] is None and "RuntimeError: enough" in failed["error"] and failed["orders"] == 1
    assert ranked(table, "net")["fail"].to_pylist() == [0] * 10 + [9] * 10


@pytest.mark.parametrize(
    ("grid", "why"),
    [
        ({"fats": [1]}, "no parameter 'fats'"),
        ({"fast": [5, "x"]}, "fast must be a whole number, got 'x'"),
        ({"fast": range(1001), "slow": range(1001)}, "at most 1,000,000"),
    ],
)
def test_wrong_grids_are_named(grid, why):
    with pytest.raises(BadInput, match=why):
        replay.sweep(DAY, "ema_cross", grid)


@pytest.mark.parametrize("text", ["5:1:1", "1:2", "1:5:0", "a:b:c", "1:2:3:4", "1:1e9:0.001"])
def test_wrong_ranges_are_named(text):
    with pytest.raises(BadInput, match="FIRST:LAST:STEP"):
        values(text, "x")


def test_ranges_are_exact():
    assert values("0.1:0.5:0.1", "x") == [0.1, 0.2, 0.3, 0.4, 0.5] and values("10:1:-4", "x") == [10, 6, 2]


def test_what_is_written(table, tmp_path):
    for name in ("a.parquet", "a.csv", "a.html"):
        write(table, ["fast", "slow"], "net", tmp_path / name)
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").equals(table)
    assert pyarrow.csv.read_csv(tmp_path / "a.csv").num_rows == 6
    rows, columns, cells = grid_of(table, "fast", "slow", "net")
    assert (rows, columns, cells.shape) == ([10, 20, 40], [60, 90], (3, 2))
    text = (tmp_path / "a.html").read_text()
    assert "heatmap" in text and "src=" not in text.split("<script>")[0] and page(table, ["fast"], "net").count("scatter") > 0
