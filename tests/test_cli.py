"""The command line: results, JSON, and one line with exit code 2 for everything a user can get wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from recordings import recording

from replay import cli
from replay import events as ev
from replay.data.session import Session, sha256_of
from replay.data.store import MANIFEST, ROWS, read_manifest
from replay.data.synth import equity_day
from replay.runs.result import Result

ROOT = Path(__file__).resolve().parents[1]
DAY = str(ROOT / "fixtures" / "equity-day")
KEYS = {
    *("session", "events", "orders", "fills", "rejected", "refused", "canceled", "expired", "positions"),
    *("cash", "equity", "pnl", "fees", "digest", "elapsed_s", "events_per_s", "complete"),
}

BUYS = """
from replay import Strategy

class Buys(Strategy):
    '''Buys once, then does what the test wants.'''
    qty: int = 1

    def on_quote(self, ctx, q):
        {body}
"""


@pytest.fixture
def replay(monkeypatch, capsys, tmp_path):
    """Run a command line in an empty folder; gives (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["replay", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def strategy(folder, body, name="buys.py"):
    path = folder / name
    path.write_text(BUYS.format(body=body))
    return path


def summary(answer):
    code, out, err = answer
    assert (code, err) == (0, "")
    return json.loads(out)


# --- run --------------------------------------------------------------------------------------------------------------------
def test_the_counts_of_a_run_are_the_manifest_s(replay):
    s = summary(replay("run", DAY, "--strategy", "ema_cross", "--json"))
    assert s.keys() >= KEYS
    counts = read_manifest(Path(DAY)).counts
    assert {k: s["events"][k] for k in counts} == counts
    assert s["session"]["replayed"] == s["session"]["rows"] == sum(counts.values())
    assert s["complete"] and s["orders"] == s["filled"] > 0
    assert sum(p["fills"] for p in s["positions"]) == s["fills"]
    assert s["pnl"] == pytest.approx(sum(p["pnl"] for p in s["positions"]))
    assert s["equity"] == pytest.approx(10_000 + s["pnl"])


def test_two_runs_have_one_digest_and_a_parameter_another(replay):
    runs = [summary(replay("run", DAY, "-s", "ema_cross", "-p", f"fast={n}", "--json"))["digest"] for n in (500, 500, 700)]
    assert runs[0] == runs[1] != runs[2]


def test_the_text_says_what_the_json_says(replay):
    s = summary(replay("run", DAY, "--json"))
    code, out, err = replay("run", DAY)
    assert (code, err) == (0, "")
    assert s["digest"] in out and "INCOMPLETE" not in out
    assert f"{s['events']['quote']:,}" in out and "limits: none" in out and "AAPL" in out


def test_a_session_is_generated_where_none_is_named(replay):
    s = summary(replay("run", "--seed", "3", "--json"))
    assert s["session"]["name"] == "equity-day-3" and s["session"]["sha256"] == equity_day(seed=3).manifest.sha256


def test_a_parameter_belongs_to_the_strategy_before_it(replay):
    given = ("-p", "qty=1", "-s", "ema_cross", "-p", "fast=10", "--strategy=ema_cross", "-pqty=7")
    s = summary(replay("run", DAY, *given, "--json"))
    first, second = (x["parameters"] for x in s["strategies"])
    assert (first["qty"], first["fast"], second["qty"], second["fast"]) == (1, 10, 7, 1000)
    assert [x["name"] for x in s["strategies"]] == ["EmaCross#1", "EmaCross#2"]


def test_times_cut_the_session(replay):
    s = summary(replay("run", DAY, "--from", "2026-03-02T10:00-05:00", "--to", "2026-03-02T16:00", "--json"))
    assert s["session"]["start"] >= "2026-03-02T15:00" and s["session"]["end"] < "2026-03-02T16:00"


def test_legs_and_profiles(replay):
    s = summary(
        replay(
            "run", DAY, "--latency", "feed=2ms,entry=lognormal:1ms:0.5", "--fill", "hftbacktest", "--queue", "power3:2", "--json"
        )
    )
    assert s["latency"] == {"feed": "2ms", "entry": "lognormal:1ms:0.5", "response": "1ms"}
    assert s["profile"] == "hftbacktest, queue power3"


def test_refusals_come_with_their_figures(replay, tmp_path):
    (tmp_path / "limits.toml").write_text("max_position = 99\n")
    s = summary(replay("run", DAY, "--limits", "limits.toml", "--json", "--journal"))
    refusal = s["refusals"]["max_position"]
    assert refusal["count"] == s["refused"] > 0
    assert "would reach" in refusal["first"] and refusal["first"].endswith("lots, allowed 99")
    said = [x for x in s["journal"] if x["what"] == "refused"]
    assert len(said) == s["refused"] and said[0]["why"] == refusal["first"]
    assert sum(x["what"] == "new" for x in s["journal"]) == s["orders"]


def test_a_kill_is_told(replay, tmp_path):
    (tmp_path / "limits.toml").write_text("max_drawdown = 20\nflatten = true\n")
    s = summary(replay("run", DAY, "--limits", "limits.toml", "--json"))
    assert s["state"] == "killed" and s["stops"][0]["reason"] == "drawdown"
    assert all(p["position_lots"] == 0 for p in s["positions"])


# --- what a run leaves --------------------------------------------------------------------------------------------------------
def test_a_run_leaves_a_folder_and_last_points_at_it(replay, tmp_path):
    first = summary(replay("run", DAY, "--json"))
    second = summary(replay("run", DAY, "-p", "fast=200", "--json"))
    assert first["run"] != second["run"]
    assert Result.open("runs/last").digest == second["digest"] != first["digest"] == Result.open(first["run"]).digest
    mine = summary(replay("run", DAY, "--out", "mine", "--json"))
    assert (
        mine["run"] == "mine"
        and Result.open("runs/last").digest == second["digest"]
        and Result.open("mine").digest == first["digest"]
    )
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_a_run_that_ended_early_leaves_a_readable_folder(replay, tmp_path):
    path = strategy(tmp_path, "ctx.market(0, 1) if ctx.position(0) < 3 else 1 // 0")
    code, _, _ = replay("run", DAY, "-s", path)
    run = Result.open("runs/last")
    assert code == 2 and not run.manifest.complete and run.table("fills").num_rows == run.summary.fills >= 3


def test_a_configuration_says_what_the_command_line_says(replay, tmp_path):
    (tmp_path / "limits.toml").write_text("max_position = 500\n")
    given = (
        DAY,
        "-s",
        "ema_cross",
        "-p",
        "fast=300",
        "--latency",
        "2ms",
        "--limits",
        "limits.toml",
        "--from",
        "2026-03-02T15:00",
        "--warmup",
        "20m",
    )
    code, text, err = replay("run", *given, "--show-config")
    assert (code, err) == (0, "")
    (tmp_path / "run.toml").write_text(text)
    told = summary(replay("run", *given, "--json"))
    read = summary(replay("run", "--config", "run.toml", "--json"))
    assert read["digest"] == told["digest"] and read["orders"] == told["orders"] > 0
    over = summary(replay("run", "--config", "run.toml", "-p", "fast=400", "--latency", "7ms", "--json"))
    assert over["latency"]["entry"] == "7ms" and over["strategies"][0]["parameters"]["fast"] == 400
    assert over["strategies"][0]["parameters"]["slow"] == 5000


# --- it ends early ----------------------------------------------------------------------------------------------------------
def test_a_strategy_that_raises_ends_the_run_with_everything_before_it_told(replay, tmp_path):
    path = strategy(tmp_path, "ctx.market(0, 1) if ctx.position(0) < 3 else 1 // 0")
    code, out, err = replay("run", DAY, "-s", path, "--json")
    s = json.loads(out)
    assert code == 2 and not s["complete"] and s["fills"] >= 3 and 0 < s["session"]["replayed"] < 50_000
    assert err.count("\n") == 1 and "on_quote at event" in err and "ZeroDivisionError" in err


def test_an_interrupt_ends_the_run_with_a_partial_summary(replay, tmp_path):
    path = strategy(tmp_path, "if q.ts_recv > 1772465400000000000: raise KeyboardInterrupt")
    code, out, err = replay("run", DAY, "-s", path, "--json")
    s = json.loads(out)
    assert (code, err, s["complete"]) == (130, "", False) and 0 < s["session"]["replayed"] < 50_000


# --- what users get wrong ---------------------------------------------------------------------------------------------------
def handmade(folder, change):
    """A saved session whose rows were changed and whose manifest was made to fit."""
    s = equity_day(n_events=1000)
    s.save(folder)
    rows = s.events.copy()
    change(rows)
    rows.tofile(folder / ROWS)
    m = msgspec.structs.replace(s.manifest, sha256=sha256_of(rows), n_events=len(rows))
    (folder / MANIFEST).write_bytes(m.encode())


def backwards(rows):
    rows["ts_recv"][500] = rows["ts_recv"][499] - 1


def prepare(tmp_path):
    handmade(tmp_path / "backwards", backwards)
    handmade(tmp_path / "stranger", lambda rows: rows["instrument"].__setitem__(500, 9))
    equity_day(n_events=1000).save(tmp_path / "changed")
    with (tmp_path / "changed" / ROWS).open("r+b") as f:
        f.seek(640)
        f.write(b"\1")
    equity_day(n_events=1000).save(tmp_path / "empty")
    m = msgspec.structs.replace(read_manifest(tmp_path / "empty"), n_events=0)
    (tmp_path / "empty" / MANIFEST).write_bytes(m.encode())
    (tmp_path / "empty" / ROWS).write_bytes(b"")
    (tmp_path / "unknown.toml").write_text("max_positon = 5\n")
    (tmp_path / "type.toml").write_text('max_position = "many"\n')
    (tmp_path / "negative.toml").write_text("max_position = -5\n")
    (tmp_path / "not.toml").write_text("max_position\n")
    strategy(tmp_path, "if", "syntax.py")
    strategy(tmp_path, "1 / 0", "raises.py")
    (tmp_path / "feature.py").write_text(
        "from replay import Strategy, mean\nclass F(Strategy):\n    def features(self):\n        return {'m': mean('mid', 'soon')}\n"
        "    def on_quote(self, ctx, q):\n        pass\n"
    )


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run", DAY, "-s", "nope"], "no such example"),
        (["run", DAY, "-s", "nope.py"], "no such file"),
        (["run", DAY, "-p", "speed=3"], "no parameter 'speed'"),
        (["run", DAY, "-p", "fast=two"], "parameter fast must be a whole number, got 'two'"),
        (["run", DAY, "-p", "fast"], "expected NAME=VALUE"),
        (["run", "nowhere"], "no session here"),
        (["run", "changed"], "does not match its manifest"),
        (["run", "backwards"], "row 500: ts_recv must not go back"),
        (["run", "stranger"], "row 500: instrument must be below 2, got 9"),
        (["run", "empty"], "at least one event"),
        (["validate", "changed"], "does not match its manifest"),
        (["run", DAY, "--limits", "unknown.toml"], "max_positon"),
        (["run", DAY, "--limits", "type.toml"], "max_position"),
        (["run", DAY, "--limits", "negative.toml"], "max_position must be a number of at least 0"),
        (["run", DAY, "--limits", "not.toml"], "not.toml"),
        (["run", DAY, "--limits", "none.toml"], "name a TOML file"),
        (["run", DAY, "--latency", "soon"], "expected a positive duration"),
        (["run", DAY, "--latency", "entry=1ms,exit=1ms"], "got 'exit=1ms'"),
        (["run", DAY, "--latency", "entry=recorded"], "feed leg only"),
        (["run", DAY, "--fill", "optimistic"], "optimistic"),
        (["run", DAY, "--queue", "log"], "add --fill hftbacktest"),
        (["run", DAY, "--fill", "hftbacktest", "--queue", "luck"], "got 'luck'"),
        (["run", DAY, "--initial-capital", "lots"], "expected an amount"),
        (["run", DAY, "--from", "noon"], "expected a time"),
        (["run", DAY, "--from", "2027-01-01"], "no event between"),
        (["run", DAY, "-s", "raises.py"], "ZeroDivisionError"),
        (["run", DAY, "-s", "syntax.py"], "SyntaxError"),
        (["run", DAY, "-s", "feature.py"], "expected a positive duration"),
        (["run", DAY, "--fast"], "--fast"),
        (["frobnicate"], "frobnicate"),
        (["catalog", "nowhere"], "no such folder"),
        (["import", "--format", "lean", "nowhere", "out"], "nothing is there"),
        (["import", "--format", "binance", DAY, "out", "--dates", "2026-03-02"], "leave them out"),
        (["import", "--format", "binance", "not.toml", "out"], "not.toml line 1"),
        (["import", "not.toml", "out"], "a file of columns ends in .parquet"),
        (
            ["import", "--format", "lean", "not.toml", "out", "--interval", "5m"],
            "leave all options but --symbols and --dates out",
        ),
        (["import", "--format", "lean", "not.toml", "not.toml", "out"], "expected one source, got 2"),
        (["import", "not.toml", "out", "--interval", "soon"], "--interval: expected a positive duration"),
        (["import", "not.toml", "out", "--columns", "open"], "expected NAME=COLUMN once a name"),
        (["import", "not.toml", "out", "--columns", "a=open,a=close"], "expected NAME=COLUMN once a name"),
        (["import", "not.toml", "out", "--round-prices", "cent"], "expected a decimal step such as 0.01"),
        (["synth", "out", "--events", "3"], "ask for more rows"),
        (["synth", "out", "--kind", "bars", "--events", "3"], "as many rows as its days"),
    ],
    ids=lambda x: " ".join(x).replace(DAY, "day") if isinstance(x, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(replay, tmp_path, args, says):
    prepare(tmp_path)
    code, _, err = replay(*args)
    assert code == 2
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n")
    assert says in err


def test_trust_opens_what_changed(replay, tmp_path):
    prepare(tmp_path)
    assert summary(replay("run", "changed", "--trust", "--json"))["session"]["replayed"] == 1000


# --- sessions ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "level"), [("equity", "l1"), ("l2", "l2"), ("many", "l1")])
def test_a_made_session_validates(replay, kind, level):
    assert replay("synth", "made", "--kind", kind, "--events", "9000", "--seed", "5")[0] == 0
    m = json.loads(replay("validate", "made", "--json")[1])
    assert m["n_events"] == 9000 and set(m["levels"]) == {level}
    code, out, _ = replay("catalog", ".")
    assert code == 0 and "made" in out and "9,000" in out
    assert [x["path"] for x in json.loads(replay("catalog", ".", "--json")[1])] == ["made"]


def test_help_does_not_wait_for_the_compiler():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "replay", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "validate" in done.stdout
    assert "numba" not in done.stderr and "pyarrow" not in done.stderr


def test_files_of_columns_become_a_session_that_runs(replay, tmp_path):
    bars = "".join(f"2026-03-02 10:{k:02}:00,1.0{k % 7},1.09,1.00,1.0{k % 5},{k + 1}\n" for k in range(60))
    for symbol in ("AAPL", "MSFT"):
        (tmp_path / f"{symbol}.csv").write_text("when,open,high,low,close,volume\n" + bars)
    options = [
        "--columns",
        "when=ts_event",
        "--timezone",
        "America/New_York",
        "--interval",
        "1m",
        "--label",
        "open",
        "--calendar",
        "XNYS",
    ]
    code, out, err = replay("import", "AAPL.csv", "MSFT.csv", "made", *options)
    assert (code, err) == (0, "") and "bar 120 · phase 2" in out and "missing_bars" not in out and "XNYS" in out
    m = json.loads(replay("validate", "made", "--json")[1])
    assert m["name"] == "made" and m["calendar"]["name"] == "XNYS" and m["bar_intervals_ns"] == [60 * 10**9]
    assert summary(replay("run", "made", "--json"))["events"]["bar"] == 120


@pytest.mark.real
def test_a_day_of_ibm(replay):
    source = recording("us_equity_lean/Data/equity/usa/tick")
    code, _, err = replay("import", "--format", "lean", source, "ibm", "--symbols", "IBM", "--dates", "2013-10-07")
    assert (code, err) == (0, "")
    s = summary(replay("run", "ibm", "--strategy", "ema_cross", "--initial-capital", "100000", "--json"))
    rows = {x.name: x.rows for x in read_manifest(Path("ibm")).sources}
    assert s["events"]["trade"] == rows["ibm/20131007_trade.zip"]
    assert s["events"]["quote"] + s["session"]["anomalies"].get("dropped_suspicious_quote", 0) == rows["ibm/20131007_quote.zip"]
    assert s["orders"] > 0 and np.isfinite(s["equity"])
    assert Session.open("ibm").events.kind.tolist().count(ev.TRADE) == s["events"]["trade"]


# --- new --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", [(), ("--plain",)], ids=["compiled", "plain"])
def test_a_new_strategy_runs_and_its_test_passes(replay, tmp_path, how):
    code, out, err = replay("new", "my_idea", *how)
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == ["  replay run --strategy my_idea.py", "  python -m pytest test_my_idea.py"]
    of = summary(replay("run", DAY, "--strategy", "my_idea.py", "--json"))
    kind = "plain" if how else "compiled"
    assert (of["strategies"][0]["name"], of["strategies"][0]["kind"]) == ("MyIdea", kind) and 20 < of["fills"] < 400
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(("args", "said"), [
    (("Idea",), "expected a name in lower case with underscores, such as my_idea, got 'Idea'"),
    (("class",), "expected a name in lower case with underscores"),
    (("numpy",), "a module numpy is installed, and a file of that name would hide it"),
    (("there",), "there.py: is there already, and nothing was written"),
    (("tested",), "test_tested.py: is there already"),
    (("idea", "--dir", "nowhere"), "nowhere: no such folder"),
])  # fmt: skip
def test_new_refuses(replay, tmp_path, args, said):
    for name in ("there.py", "test_tested.py"):
        (tmp_path / name).write_text("kept")
    code, out, err = replay("new", *args)
    assert (code, out) == (2, "") and said in err and len(err.splitlines()) == 1
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"there.py": "kept", "test_tested.py": "kept"}
