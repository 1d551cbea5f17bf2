"""The fuzzer finds what is broken and nothing else, says the same every time, and makes what it finds small."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import planted
import pytest
import runs
from hypothesis import HealthCheck, given, settings

import replay
from replay.cli import main
from replay.data.session import Session
from replay.errors import BadInput
from replay.events import QUOTE
from replay.faults.plan import KINDS, Plan
from replay.fuzz.kernel import rules as B
from replay.fuzz.runner import Runner
from replay.fuzz.schedule import schedule
from replay.fuzz.shrink import shrink
from replay.fuzz.swarm import Swarm
from replay.fuzz.worker import Setup
from replay.runs.config import Chosen, RunConfig
from replay.trader.orders import EXEC_BUST, EXEC_CORRECT, EXEC_TRADE, EXEC_UNKNOWN, SUBMITTED, UNKNOWN

HERE = Path(__file__).parent
DAY = str(HERE.parent / "fixtures" / "equity-day")
CROSS = Chosen(source="ema_cross", parameters={"fast": 5, "slow": 20, "warmup": 20, "qty": 2})
PASSIVE = Chosen(source="passive_quoting", parameters={"qty": 3, "max_position": 9})
FRAGILE = Chosen(source=f"{HERE / 'fragile.py'}:Fragile")


def base(*strategies):
    return RunConfig(session=DAY, strategies=strategies or (CROSS,), commission="2bps")


@pytest.mark.parametrize("level", ["l1", "l2", "bars"])
def test_nothing_breaks_and_everything_is_struck(level):
    data = runs.session(level) if level != "l1" else Session.open(DAY)
    runner = Runner(data, base(CROSS, PASSIVE) if level != "bars" else base(Chosen(source="sma_cross")))
    for k in range(200):
        outcome = runner.number(7, k, 400)
        assert outcome.broken is None, (k, str(outcome.broken), outcome.text)
    kinds = runner.struck.sum(axis=1)[: len(KINDS)]
    missing = {kind for kind, n in zip(KINDS, kinds, strict=True) if not n}
    assert len(missing) <= (0 if level == "l1" else 12), missing
    assert runner.arrived[EXEC_TRADE].sum() > 100
    assert level != "l1" or (runner.arrived[EXEC_UNKNOWN, SUBMITTED] > 0 and runner.arrived[:, UNKNOWN].sum() > 0)


def test_a_schedule_is_a_function_of_its_numbers_and_survives_text(tmp_path):
    data, faults = runs.session("l1"), 0
    for k in range(40):
        config = schedule(base(), data, 3, k, 500)
        assert config == schedule(base(), data, 3, k, 500) != schedule(base(), data, 4, k, 500)
        (tmp_path / "plan.toml").write_text(config.to_toml())
        assert RunConfig.load(tmp_path / "plan.toml") == config
        faults += len(config.faults.faults)
    assert faults > 80


def test_the_checker_changes_nothing():
    data = runs.session("l1")
    runner = Runner(data, base(CROSS, PASSIVE))
    for k in range(8):
        config = schedule(runner.base, data, 5, k, 300)
        outcome, engine = runner.checked(config)
        plain = runner.engine(config).run()
        assert outcome.broken is None and plain.digest == engine.digest
        assert plain.trader.header.equity == engine.trader.header.equity and outcome.inputs == plain.trader.header.seq


def test_two_processes_agree_and_one_that_dies_is_named(tmp_path):
    done = Swarm(Setup(base(), 11, 200), 0, 40, 2).run()
    runner = Runner(Session.open(DAY), base())
    assert done.finding is None and done.schedules == 40
    assert done.inputs == sum(runner.number(11, k, 200).inputs for k in range(40))
    assert np.array_equal(done.struck, runner.struck)
    (tmp_path / "deadly.py").write_text(
        "import os\nfrom replay import Strategy\nclass Deadly(Strategy):\n    def on_order(self, ctx, r):\n        os._exit(7)\n"
        "    def on_quote(self, ctx, q):\n        ctx.market(0, 1)\n"
    )
    found = Swarm(Setup(base(Chosen(source=str(tmp_path / "deadly.py"))), 11, 200), 0, 40, 2).run().finding
    assert found.rule == B.DIED and 0 <= found.number < 40 and "7" in found.text


def test_a_strategy_that_differs_between_processes_is_found(tmp_path):
    (tmp_path / "unsure.py").write_text(
        "from replay import Strategy\nclass Unsure(Strategy):\n    def on_quote(self, ctx, q):\n        ctx.target(0, hash('x') % 997)\n"
    )
    done = Swarm(Setup(base(Chosen(source=str(tmp_path / "unsure.py"))), 1, 200), 0, 40, 2).run()
    assert done.finding.rule == B.DIFFERENT and "digests" in done.finding.text


def test_every_planted_bug_has_its_place():
    text = {file: (planted.ROOT / "replay" / file).read_text() for file, _, _ in planted.BUGS.values()}
    assert [name for name, (file, was, _) in planted.BUGS.items() if text[file].count(was) != 1] == []


@pytest.mark.parametrize(
    "bug",
    ["fills are not deduplicated", "a second request while one is out", "a kill does not latch", "gapped books are traded"],
)
def test_planted_bugs_are_found(bug):
    n, rule = planted.found(bug, 60)
    assert n > 0 and rule


def run(*args):
    with pytest.raises(SystemExit) as e:
        sys.argv = ["replay", *args]
        main()
    return e.value.code


def test_a_fragile_strategy_fails_small_and_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("fuzz", DAY, "-s", FRAGILE.source, "--schedules", "200", "--seed", "2", "--json", "--out", "log.jsonl") == 1
    report = json.loads(capsys.readouterr().out)
    failure = report["failure"]
    assert 1 <= len(failure["faults"]) <= 3 and all("lost" in f or "crash" in f for f in failure["faults"]), failure
    assert "ZeroDivisionError" in failure["what"] and failure["story"]["struck"]
    logged = json.loads(Path("log.jsonl").read_text())
    assert logged["broken"] == failure["what"] and logged["seed"] == 2 and len(logged["source"]) == 16
    command, *args = failure["command"].split()
    assert command == "replay" and run(*args) == 1
    told = capsys.readouterr().out
    assert "FAIL" in told and re.search(r"input +[\d,]+ at 20", told) and "unknown" in told


def test_the_command_says_pass_and_counts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("fuzz", DAY, "--only", "3") == 0
    told = capsys.readouterr().out
    assert "PASS" in told and "report_lost" in told and "SUBMITTED" in told
    assert run("fuzz", DAY, "--only", "3", "--plan", "x.toml") == 2
    assert run("fuzz", DAY, "--plan", "nowhere.toml") == 2


def test_shrinking_keeps_what_breaks_it():
    runner = Runner(Session.open(DAY), base(FRAGILE))
    for k in range(200):
        config = schedule(runner.base, runner.session, 2, k, 400, alone=True)
        outcome = runner.run(config)
        if outcome.broken and len(config.faults.faults) > 4:
            break
    small, found = shrink(runner, config, outcome)
    assert found.broken.rule == B.RAISED and 1 <= len(small.faults.faults) <= 2
    for k in range(len(small.faults.faults)):
        rest = tuple(f for j, f in enumerate(small.faults.faults) if j != k)
        assert runner.run(runs_with(small, rest)).broken is None, "a fault that is not needed"


def runs_with(config, faults):
    import msgspec

    return msgspec.structs.replace(config, faults=Plan(seed=config.faults.seed, faults=faults))


# --- tests of strategies -----------------------------------------------------------------------------------------------------
def test_the_decorator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    @replay.faults.swarm("passive_quoting", {"qty": 3}, session=DAY, schedules=12, limits={"max_position": 20})
    def good(run, extra=1):
        seen.append(run.orders)
        assert abs(run.position("AAPL")) <= 20 and run.max_drawdown >= 0

    good()
    assert len(seen) == 12 and sum(seen) > 0

    @replay.faults.swarm("passive_quoting", {"qty": 3}, session=DAY, schedules=12)
    def bad(run):
        assert run.orders == run.result.summary.orders
        assert run.orders < 5, "too busy"

    with pytest.raises(
        AssertionError, match=r"(?s)the test failed: too busy.*again: replay run --config \.replay-fuzz/schedule-1-\d+\.toml"
    ):
        bad()

    @replay.faults.swarm(FRAGILE.source, session=DAY, schedules=200)
    def fragile(run):
        pass

    with pytest.raises(AssertionError, match=r"(?s)ZeroDivisionError.*(_lost|crash).*again: replay fuzz .* --plan"):
        fragile()


def test_the_plugin(tmp_path):
    (tmp_path / "test_mine.py").write_text(
        "import replay\n\n@replay.faults.swarm('passive_quoting')\ndef test_mine(run, tmp_path):\n    print('ran', run.config.seed)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-m", "pytest", "-s", "-q", "--replay-schedules", "3", "--replay-seed", "9"]
    done = subprocess.run([*command, str(tmp_path)], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("ran") == 3, done.stdout + done.stderr


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(replay.faults.sessions(max_events=150), replay.faults.plans(max_faults=3), replay.faults.order_flows())
def test_strategies_for_hypothesis(session, plan, flow):
    source, parameters = flow
    config = RunConfig(strategies=(Chosen(source=source, parameters=parameters),), faults=plan)
    outcome = Runner(session, config).run(config)
    assert outcome.broken is None, str(outcome.broken)


def test_a_bust_and_a_correction_reach_the_books():
    data = runs.session("l1")
    for kind, told in (("report_bust", EXEC_BUST), ("report_correct", EXEC_CORRECT)):
        runner = Runner(data, base(CROSS))
        config = RunConfig(strategies=(PASSIVE, CROSS), faults=Plan.of({"fault": [{"kind": kind, "share": "0.5"}]}))
        outcome, engine = runner.checked(config)
        assert outcome.broken is None and engine.trader.header.c_busts > 3
        assert runner.arrived[told].sum() == engine.trader.header.c_busts


def test_bursts_and_unknown_statuses():
    data = runs.session("l1")
    plan = Plan.of({"fault": [{"kind": "feed_burst", "factor": 4, "to": "+1h"}]})
    engine = RunConfig(strategies=(CROSS,), faults=plan).engine(data).run()
    assert (engine.feed.ours.kind == QUOTE).sum() > (data.events.kind == QUOTE).sum() + 3 * 50
    plan = Plan.of({"fault": [{"kind": "report_garbled", "from": "+1h", "share": "0.1"}]})
    runner = Runner(data, base(CROSS))
    outcome, engine = runner.checked(RunConfig(strategies=(PASSIVE,), faults=plan))
    h = engine.trader.header
    assert outcome.broken is None and h.c_unknown > 0 and h.state == 1, "the trader halts until somebody reconciles"
    with pytest.raises(BadInput, match="at most 100"):
        Plan.of({"fault": [{"kind": "feed_burst", "factor": 101}]})


def test_the_operator_and_a_full_waiting_room():
    data = runs.session("l1")
    acts = [{"kind": "operator", "at": "+1h", "act": "kill"}, {"kind": "operator", "at": "+2h", "act": "resume"}]
    engine = RunConfig(strategies=(PASSIVE,), faults=Plan.of({"fault": acts})).engine(data).run()
    states = [(int(r.side), int(r.ts_recv) - data.manifest.start_ns) for r in engine.output() if r.kind == 39]
    assert states == [(2, 3600 * 10**9), (0, 7200 * 10**9)]
    plan = Plan.of({"fault": [{"kind": "report_lost", "reports": ["new"], "timeout": "1d"}]})
    run = replay.run(data, "passive_quoting", {"qty": 1}, faults=plan, order_capacity=16)
    assert any("found no room" in text for text in run.summary.left_out)
