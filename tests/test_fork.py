"""A fork goes on as a strategy would that changes its own parameters at that moment; what cannot change half-way is refused."""

import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest

import replay
from replay import cli
from replay.data.synth import equity_day
from replay.data.times import utc_text
from replay.errors import BadInput
from replay.runs.config import time_ns
from replay.runs.diff import diff
from replay.runs.explain import explain
from replay.runs.fork import fork
from replay.runs.halfway import changed
from replay.runs.rebuild import rebuild
from replay.runs.result import Result
from replay.trader.limits import Limits

TURNS = '''
from replay import Each, State, Strategy, compiled, zscore

{decorator}
class Turns(Strategy):
    """Buys and sells in turn, every so many quotes; `qty` becomes `later` at `at`."""
    qty: int = 10
    later: int = 10
    at: int = 0
    every: int = 150
    window: str = "60s"
    start: int = 5
    quotes: Each[int] = 0
    n: State[int] = 0

    def features(self):
        return {{"z": zscore("mid", self.window)}}

    def on_start(self, ctx):
        self.n = self.start

    def on_quote(self, ctx, q):
        self.quotes[q.instrument] += 1
        {unnamed}
        if self.quotes[q.instrument] % self.every == 0:
            self.n += 1
            qty = self.later if self.at > 0 and ctx.now > self.at else self.qty
            ctx.market(q.instrument, qty if self.n % 2 == 0 else -qty)
'''
AT = "2026-03-02T17:10:00"
NS = time_ns(AT, "")


@pytest.fixture(scope="module", params=["compiled", "plain"])
def place(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    equity_day(n_events=6_000, seed=4).save(folder / "day")
    parts = {"compiled": ("@compiled", "pass"), "plain": ("", "self.seen = getattr(self, 'seen', 0) + 1")}[request.param]
    (folder / "turns.py").write_text(TURNS.format(decorator=parts[0], unnamed=parts[1]))
    replay.run(folder / "day", folder / "turns.py", latency="30ms", out=folder / "base")
    return folder


@pytest.fixture
def base(place):
    return Result.open(place / "base")


def said(run):
    return [tuple(row.values()) for row in run.table("events").to_pylist()]


def test_other_parameters_from_a_moment_on(place, base):
    run = fork(base, "17:10", changed(base.manifest.config, {"": {"qty": 25}}, None, None))
    oracle = replay.run(place / "day", place / "turns.py", {"later": 25, "at": NS}, latency="30ms")
    assert said(run) == said(oracle) != said(base) and run.summary.pnl == oracle.summary.pnl
    assert (run.manifest.fork.run, run.manifest.fork.at) == (str(base.path), utc_text(NS))
    assert run.manifest.strategies[0].parameters["qty"] == 25 and base.summary.orders == run.summary.orders
    first = diff(base, run).first_decision
    assert first.at > utc_text(NS) and "qty_lots 10" in first.a and "qty_lots 25" in first.b


def test_other_limits_and_latency_from_a_moment_on(base):
    limits = Limits(max_order_qty=Decimal(5), max_daily_loss=Decimal(10**6))
    run = fork(base, AT, changed(base.manifest.config, {}, limits, "2s"))
    late = [o for o in base.table("orders").to_pylist() if o["ts_sent"].value > NS]
    assert run.summary.refused == len(late) > 3 and all(r["ts"].value > NS for r in run.table("refusals").to_pylist())
    run = fork(base, AT, changed(base.manifest.config, {}, None, "2s"))
    for o in run.table("orders").to_pylist():
        waited = o["ts_ack"].value - o["ts_sent"].value
        assert waited == (4_000_000_000 if o["ts_sent"].value > NS else 60_000_000)


def test_a_fork_can_be_made_again_explained_and_forked(base, tmp_path):
    run = fork(base, AT, changed(base.manifest.config, {"": {"qty": 25}}, None, "50ms"))
    run.save(tmp_path / "fork")
    run = Result.open(tmp_path / "fork")
    assert rebuild(run).run().digest == run.digest
    last = run.table("orders").to_pylist()[-1]
    found = explain(run, last["order"])
    assert found.order_qty == 25 and found.parameters["qty"] == 25 and found.way.latency_ns == 50_000_000
    again = fork(run, "19:00", changed(run.manifest.config, {"": {"qty": 40}}, None, None))
    sent = [(o["ts_sent"].value, o["order_qty"]) for o in again.table("orders").to_pylist()]
    end = time_ns("2026-03-02T19:00", "")
    assert (
        {q for t, q in sent if t <= NS} == {10}
        and {q for t, q in sent if NS < t <= end} == {25}
        and {q for t, q in sent if t > end} == {40}
    )
    again.save(tmp_path / "again")
    assert rebuild(Result.open(tmp_path / "again")).run().digest == again.digest
    with pytest.raises(BadInput, match="itself a fork, of 2026-03-02T17:10:00Z: take a later moment"):
        fork(run, "16:00", changed(run.manifest.config, {"": {"qty": 1}}, None, None))


@pytest.mark.parametrize(
    ("parameters", "limits", "latency", "message"),
    [
        ({"": {"window": "30s"}}, None, None, "window features\\(\\) makes another table"),
        ({"": {"start": 6}}, None, None, "start is read in on_start only"),
        ({"": {"qty": "many"}}, None, None, "parameter qty must be a whole number"),
        ({"": {"size": 1}}, None, None, "no parameter 'size'"),
        ({"other": {"qty": 1}}, None, None, "--strategy other: the run that is forked has .*turns.py"),
        ({}, Limits(max_orders=3), None, "limit max_orders cannot change half-way"),
        ({}, Limits(allow=("TSLA",)), None, "allow names 'TSLA'"),
        ({}, None, "feed=3ms,entry=1ms", "the feed leg cannot change half-way"),
        ({}, None, None, "nothing changes"),
    ],
)
def test_what_cannot_change_is_refused(base, parameters, limits, latency, message):
    with pytest.raises(BadInput, match=message):
        fork(base, AT, changed(base.manifest.config, parameters, limits, latency))


@pytest.mark.parametrize("at", ["25:00", "soon", "03:00", "2026-03-01T17:00", "", "2026-03-02T23:00"])
def test_a_moment_outside_of_the_session_is_refused(base, at):
    with pytest.raises(BadInput, match="expected a time"):
        fork(base, at, changed(base.manifest.config, {"": {"qty": 25}}, None, None))


# --- the command --------------------------------------------------------------------------------------------------------------
@pytest.fixture
def replay_cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["replay", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def test_the_command(place, replay_cli, tmp_path):
    code, _, err = replay_cli("run", place / "day", "-s", place / "turns.py", "--out", "runs/base")
    assert (code, err) == (0, "")
    code, out, err = replay_cli("run", "--fork", "runs/base@17:10", "-p", "qty=25", "--out", "runs/forked")
    assert (code, err) == (0, "") and "base" in out and "parted" in out and "wrote     runs/forked/" in out
    forked = Result.open("runs/forked")
    assert forked.manifest.fork.run == "runs/base" and forked.manifest.config.strategies[0].parameters["qty"] == "25"
    code, out, _ = replay_cli("run", "--fork", "runs/base@17:10", "-s", place / "turns.py", "-p", "qty=25", "--json")
    found = json.loads(out)
    assert code == 0 and found["fork"]["digest"] == forked.digest and found["base"]["digest"] != forked.digest
    assert Path(found["run"]).parent == Path("runs") and not found["diff"]["same"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--fork", "base"], "--fork: expected RUN@TIME such as runs/last@15:31, got 'base'"),
        (["--fork", "nowhere@17:10", "-p", "qty=1"], "nowhere: no run is here"),
        (["--fork", "base@17:10", "--seed", "2"], "--seed: stays as it was in the run"),
        (["day", "--fork", "base@17:10"], "--session: stays as it was"),
        (["--fork", "base@17:10", "--show-config"], "--show-config: stays as it was"),
        (["--fork", "base@17:10", "-p", "qty=1", "--out", "day"], "something that is no run is there"),
    ],
)
def test_the_command_says_what_is_wrong(place, replay_cli, monkeypatch, args, message):
    monkeypatch.chdir(place)
    code, out, err = replay_cli("run", *args)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1


def test_only_a_whole_run_can_be_forked(replay_cli):
    Path("stops.py").write_text(
        "from replay import Strategy\nclass S(Strategy):\n    n: int = 1\n    def on_trade(self, ctx, t):\n        1 / 0\n"
    )
    assert replay_cli("run", "-s", "stops.py", "--out", "stopped")[0] == 2
    code, _, err = replay_cli("run", "--fork", "stopped@17:10", "-p", "n=2")
    assert code == 2 and "must be a folder of a run that went to its end" in err
