"""The check checked: copies hold nothing of the future, what peeks or differs is caught and named, what does not passes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from replay import cli
from replay import events as ev
from replay.check import Check, determinism
from replay.check.copies import Copier, Reach
from replay.check.jobs import Job
from replay.check.pool import Worker, stand_in
from replay.check.verdict import first_difference
from replay.data import store, synth
from replay.data.instruments import Instrument
from replay.data.manifest import Calendar
from replay.data.session import Session
from replay.errors import BadInput
from replay.runs.config import Chosen, RunConfig
from replay.strategy import examples
from replay.venue.setup import Leg, Profile

ROOT = Path(__file__).resolve().parents[1]
SECOND, MINUTE = 10**9, 60 * 10**9
HOURS = Calendar("made up", ((19700101, 0, 11 * MINUTE),))
DAY = Instrument(symbol="A", tick_size="0.01"), Instrument(symbol="B", tick_size="0.01")


# --- copies -----------------------------------------------------------------------------------------------------------------
def bars_and_more():
    """Ten minutes of bars of 1 and 5 minutes in one message, with extensions, phases, L3 orders, custom rows, a halt."""
    rows = []

    def add(t, kind, side=0, instrument=0, id=0, a=0, b=0, c=0, d=0, last=True, late=SECOND // 10):
        rows.append((t, t + late, kind, side, ev.LAST if last else 0, instrument, id, a, b, c, d))

    add(0, ev.PHASE, ev.OPEN)
    for minute in range(1, 11):
        t = minute * MINUTE
        px = 10_000 + 7 * minute
        add(t - 40 * SECOND, ev.ORDER, 1, 1, minute, px, 5, ev.ADD)
        add(t - 30 * SECOND, ev.CUSTOM, 0, 0, 3, minute, 2 * minute)
        add(t - 20 * SECOND, ev.ORDER, 1, 1, minute, 0, 2, ev.FILL)
        if minute == 7:
            add(t - 10 * SECOND, ev.STATUS, ev.HALTED)
        add(t, ev.BAR, 0, 0, 100 * minute, px, px + 9, px - 9, px + 5, last=False)
        add(t, ev.BAR_EXT, 0, 0, 3, px + 1, 50, last=minute % 5 > 0)
        if minute % 5 == 0:
            add(t, ev.BAR, 1, 0, 500 * minute, px - 30, px + 30, px - 40, px, last=True)
    add(11 * MINUTE, ev.PHASE, ev.CLOSED)
    array = ev.empty(len(rows))
    array[:] = np.array(rows, ev.EVENT)
    return Session.from_rows(array, DAY, name="more", bar_intervals_ns=(MINUTE, 5 * MINUTE), calendar=HOURS)


SESSIONS = {
    "l1": lambda: synth.equity_day(("A", "B"), 1_500, seed=11),
    "l2": lambda: synth.l2_book(1_500, seed=12),
    "more": bars_and_more,
}


@pytest.mark.parametrize("perturb", [False, True])
@pytest.mark.parametrize("name", SESSIONS)
def test_a_copy_keeps_what_is_known_and_nothing_else(name, perturb):
    session, reach = SESSIONS[name](), Reach.of(Profile())
    rows, copier = session.events, Copier(session, 5)
    for at in np.linspace(int(rows.ts_recv[0]), int(rows.ts_recv[-1]) - 1, 9).astype(np.int64).tolist():
        known = reach.known(rows, at)
        copy = copier.copy(at, known, perturb)
        assert np.array_equal(copy.events[: int((rows.ts_recv <= at).sum())], rows[rows.ts_recv <= at])
        later = rows[~known & (rows.kind != ev.PHASE)]
        words = ["kind", "side", "instrument", "id", "a", "b", "c", "d"]
        there = {r.tobytes() for r in np.array(copy.events[copy.events.ts_recv > at][["ts_event", *words]])}
        same = [r for r in np.array(later[["ts_event", *words]]) if r.tobytes() in there]
        assert len(same) <= 0.02 * len(later), (at, same[:3])  # a size drawn anew may be the old one
        assert np.array_equal(copy.events[copy.events.kind == ev.PHASE], rows[rows.kind == ev.PHASE])
        for field in ("levels", "finest_bar_ns", "calendar", "instruments"):
            assert getattr(copy.manifest, field) == getattr(session.manifest, field)
        if not perturb:
            assert set(copy.events[len(rows[known]) :].kind.tolist()) <= {ev.PHASE, ev.TEXT, ev.BAR, ev.BAR_EXT}


def test_a_bar_being_built_keeps_its_open_and_its_close_time_only():
    session = bars_and_more()
    rows = session.events
    at = 7 * MINUTE + 15 * SECOND
    for perturb in (False, True):
        copy = Copier(session, 5).copy(at, Reach.of(Profile()).known(rows, at), perturb).events
        ours, theirs = (x[(x.kind == ev.BAR) & (x.ts_event > at)] for x in (copy, rows))
        building = ours[(ours.ts_event == 8 * MINUTE) & (ours.side == 0)], ours[(ours.ts_event == 10 * MINUTE) & (ours.side == 1)]
        for k, bar in enumerate(building):
            was = theirs[(theirs.ts_event == bar.ts_event) & (theirs.side == k)]
            assert len(bar) == 1 and bar.a == was.a and bar.ts_recv == was.ts_recv
            assert bar.d != was.d and bar.id != was.id and bar.c <= min(bar.a, bar.d) <= max(bar.a, bar.d) <= bar.b
        assert len(ours) == (2 if not perturb else len(theirs))
        if perturb:
            assert np.array_equal(ours.ts_event, theirs.ts_event)
            opens = ours[(ours.side == 0) & (ours.ts_event > 8 * MINUTE)].a
            assert not np.isin(opens, theirs.a).all()


def test_extremes_of_a_copy_are_its_own():
    session = synth.equity_day(("A",), 3_000, seed=4)
    rows = session.events
    highest = np.maximum(rows.a, np.where(rows.kind == ev.QUOTE, rows.c, 0))
    at = int(rows.ts_event[highest.argmax()]) - 1
    copy = Copier(session, 1).copy(at, Reach.of(Profile()).known(rows, at), False)
    assert copy.manifest.max_px[0] < session.manifest.max_px[0]
    assert copy.manifest.end_ns != session.manifest.end_ns or rows.kind[-1] == ev.PHASE


def test_what_is_known_depends_on_the_legs():
    rows = ev.empty(3)
    rows.ts_event[:], rows.ts_recv[:] = (100, 200, 300), (150, 400, 350)
    of = {name: Reach.of(Profile(feed=feed, response=response)).known(rows, 349).tolist() for name, feed, response in (
        ("slow reports", Leg("recorded", 0), Leg("constant", 200)),
        ("drawn reports", Leg("recorded", 0), Leg("lognormal", 200, 0.5)),
        ("modelled feed", Leg("constant", 200), Leg("constant", 300)),
    )}  # fmt: skip
    assert of == {
        "slow reports": [True, False, False],
        "drawn reports": [True, True, True],
        "modelled feed": [True, False, False],
    }


# --- the processes ----------------------------------------------------------------------------------------------------------
SEALED = """
import sys
from pathlib import Path
from replay.check import seal
if {python}:
    seal._landlock = lambda denied: False
file, beside = Path(sys.argv[1]), Path(sys.argv[2])
how = seal.seal([file])
assert beside.read_text() == "beside"
for way in (lambda: file.read_text(), lambda: __import__("pyarrow").OSFile(str(file))):
    try:
        way()
        print(how, "read")
    except PermissionError:
        print(how, "denied")
"""


@pytest.mark.parametrize("python", [False, True])
def test_a_sealed_file_cannot_be_read(tmp_path, python):
    for name in ("sealed", "beside"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to(tmp_path / "sealed")
    command = [sys.executable, "-c", SEALED.format(python=python), str(tmp_path / "link"), str(tmp_path / "beside")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    if done[0].startswith("kernel"):
        assert done == ["kernel denied", "kernel denied"]
    else:  # what a C library opens by itself is not seen
        assert done == ["python denied", "python read"]


def test_a_stand_in_leads_where_the_folder_did_but_for_the_session(tmp_path):
    for path in ("here/data/day", "here/data/other", "here/notes"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "here/data/day/manifest.json").write_text("old")
    (tmp_path / "here/data/other/manifest.json").write_text("other")
    at = stand_in(tmp_path / "here", "data/./day", tmp_path / "copy")
    assert at == tmp_path / "copy/data/day" and list(at.iterdir()) == []
    assert (tmp_path / "copy/data/other/manifest.json").read_text() == "other" and (tmp_path / "copy/notes").is_dir()
    assert stand_in(tmp_path / "here", str(tmp_path / "here/data/day"), tmp_path / "absolute") == tmp_path / "absolute/session"


def test_a_process_that_dies_is_said(tmp_path):
    dies = tmp_path / "dies.py"
    dies.write_text(
        "import os\nfrom replay import Strategy\nclass Dies(Strategy):\n    def on_quote(self, ctx, q):\n        os._exit(7)\n"
    )
    synth.equity_day(("A",), 50, seed=1).save(tmp_path / "day")
    job = Job(config=RunConfig(strategies=(Chosen(source=str(dies)),)), cwd=str(tmp_path), session="day")
    with Worker(features=False) as worker, pytest.raises(BadInput, match=r"ended without an answer \(7\)"):
        worker.do(job)


def test_the_first_difference():
    a = np.zeros(4, ev.EVENT)
    b = a.copy()
    b["a"][2] = 1
    assert [first_difference(a, x) for x in (a, b, b[:1], a[:3])] == [None, 2, 1, 3]


# --- strategies -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def checked(tmp_path, monkeypatch):
    """Check a strategy's text in a folder with the session `day`; gives the report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(determinism, "OTHER_SEEDS", (1,))
    synth.equity_day(("A", "B"), 3_000, seed=7).save("day")

    def check(text, cuts=16, **config):
        Path("mine.py").write_text(text.replace("{folder}", str(tmp_path)))
        return Check(RunConfig(session="day", strategies=(Chosen(source="mine.py"),), **config)).run(cuts, jobs=1)

    return check


def verdicts(report):
    return {p.name: p.verdict for p in report.parts}


def found(report, name):
    return " / ".join(next(p for p in report.parts if p.name == name).found)


def named(text):
    """The row of the session a finding says it depends on."""
    return int(text.split("it depends on event ")[1].split(" ")[0].replace(",", "")) - 1


PEEKS = """
from replay import Each, Strategy
from replay.data.session import Session

ROWS = Session.open({path}, trust=True).events  # a closure over the recording

class Peeks(Strategy):
    quotes: Each[int] = 0

    def on_quote(self, ctx, q):
        i = q.instrument
        mine = ROWS[(ROWS.kind == 1) & (ROWS.instrument == i)] if self.quotes[i] == 0 else None
        if mine is not None:
            self.mids = getattr(self, "mids", {}) | {i: (mine.a + mine.c).tolist()}
        self.quotes[i] += 1
        k = min(self.quotes[i] + 9, len(self.mids[i]) - 1)
        now = q.bid_px + q.ask_px
        if self.mids[i][k] > now + 6:
            ctx.target(i, 1)
        elif self.mids[i][k] < now - 6:
            ctx.target(i, -1)
"""


def test_a_closure_over_the_recording_is_caught_and_the_event_named(checked):
    report = checked(PEEKS.replace("{path}", "'day'"))
    assert not report.ok and verdicts(report)["look-ahead"] == "FAIL"
    assert {v for k, v in verdicts(report).items() if k != "look-ahead"} == {"pass", "not checked"}
    text = found(report, "look-ahead")
    rows = Session.open("day").events
    k = named(text)
    decided = int(text.split(" (event ")[1].split(")")[0].replace(",", "")) - 1
    mine = np.flatnonzero((rows.kind == ev.QUOTE) & (rows.instrument == rows.instrument[decided]))
    assert rows.kind[decided] == ev.QUOTE and k == mine[np.searchsorted(mine, decided) + 10], text
    assert " s later" in text


def test_a_recording_opened_by_its_full_path_is_refused(checked):
    report = checked(PEEKS.replace("{path}", "'{folder}/day'"), cuts=4)
    assert verdicts(report)["look-ahead"] == "FAIL"
    assert "it opens the recording it is checked on" in found(report, "look-ahead")


HIGHEST = """
from pathlib import Path
from replay import Strategy, compiled
from replay.data.store import read_manifest

TOP = read_manifest(Path("day")).max_px[0]

{mark}
class Highest(Strategy):
    def on_quote(self, ctx, q):
        if q.instrument == 0 and q.ask_px >= TOP - 1:
            ctx.target(0, -1)
        elif q.instrument == 0 and q.ask_px < TOP - 20:
            ctx.target(0, 1)
"""


@pytest.mark.parametrize("mark", ["", "@compiled"])
def test_the_highest_price_of_the_manifest_is_caught(checked, mark):
    report = checked(HIGHEST.replace("{mark}", mark))
    rows = Session.open("day").events
    asks = rows.c * ((rows.kind == ev.QUOTE) & (rows.instrument == 0))
    text = found(report, "look-ahead")
    k = named(text)
    assert verdicts(report)["look-ahead"] == "FAIL" and asks[k] > asks[:k].max(), text  # the event is a new high
    assert ("the constant Highest.TOP" in text) == bool(mark) == (k == asks.argmax())


BOUND = """
from replay import State, Strategy

class Bound(Strategy):
    sent: State[int] = 0

    def on_quote(self, ctx, q):
        if q.instrument == 0 and self.sent < 40:
            self.sent += 1
            ctx.limit(0, -1, 4 * q.ask_px + self.sent)
"""


def test_what_may_be_ordered_does_not_depend_on_the_highest_price(checked):
    assert verdicts(checked(BOUND))["look-ahead"] == "pass"


CLOCK = "import time\nfrom replay import Strategy\nclass Clock(Strategy):\n    def on_quote(self, ctx, q):\n        if time.time_ns() % 97 == 0:\n            ctx.target(q.instrument, 5)\n"
RANDOM = "import random\nfrom replay import Strategy\nclass Random(Strategy):\n    def on_quote(self, ctx, q):\n        ctx.target(q.instrument, random.randrange(9))\n"
ORDER = "from replay import Strategy\nNAMES = {'one', 'two', 'three', 'four', 'five', 'six'}\nclass Order(Strategy):\n    def on_quote(self, ctx, q):\n        ctx.target(q.instrument, [len(n) for n in NAMES][q.bid_px % 6])\n"


@pytest.mark.parametrize(("text", "code"), [(CLOCK, "D001"), (RANDOM, "D002"), (ORDER, "D006")])
def test_what_differs_from_run_to_run_is_caught(checked, text, code):
    report = checked(text, cuts=2)
    got = verdicts(report)
    assert got["again"] == "FAIL" and got["look-ahead"] == "not checked" and not report.ok
    assert got["lint"] == "warn" and code in found(report, "lint")
    first = found(report, "again")
    assert first.startswith("first difference: 20") and "new strategy" in first and "(event " in first


def test_state_a_snapshot_does_not_hold_is_said(checked):
    text = "from replay import Strategy\nclass Hides(Strategy):\n    def on_start(self, ctx):\n        self.n = 0\n    def on_quote(self, ctx, q):\n        self.n += 1\n        if self.n % 50 == 0:\n            ctx.target(q.instrument, self.n % 7)\n"
    report = checked(text, cuts=4)
    assert report.ok and verdicts(report)["snapshot"] == "not checked"
    assert "Hides.n" in next(p for p in report.parts if p.name == "snapshot").done
    annotated = checked(
        text.replace("    def on_start(self, ctx):\n        self.n = 0\n", "    n: State[int] = 0\n").replace(
            "import ", "import State, "
        ),
        cuts=4,
    )
    assert set(verdicts(annotated).values()) == {"pass"} and annotated.digest == report.digest


def test_a_strategy_that_fails_cannot_be_checked(checked):
    with pytest.raises(BadInput, match="ZeroDivisionError.*cannot be checked"):
        checked("from replay import Strategy\nclass Fails(Strategy):\n    def on_quote(self, ctx, q):\n        1 // 0\n")


@pytest.mark.parametrize(
    "config",
    [
        {"latency": "feed=2ms,entry=1ms,response=lognormal:1ms:0.5"},
        {"warmup": "30m", "to": "2026-03-02T18:00"},
        {"fill": "hftbacktest"},
    ],
)
def test_legs_warm_up_and_slices(checked, config):
    text = (ROOT / "strategies" / "passive_quoting.py").read_text()
    report = checked(text, **config)
    assert report.ok and report.decisions > 50, report
    assert set(verdicts(report).values()) == {"pass"}


# --- the examples, and the command ------------------------------------------------------------------------------------------
@pytest.fixture
def replay(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(determinism, "OTHER_SEEDS", (1,))
    monkeypatch.setattr(determinism, "INTERPRETED_EVENTS", 2_000)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["replay", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


@pytest.mark.parametrize("name", examples())
def test_every_example_passes(replay, name):
    session = ROOT / "fixtures" / "equity-day"
    if name == "sma_cross":  # of bars
        session = Path("bars")
        synth.bar_days(n_events=4_000).save(session)
    code, out, err = replay("check", session, "-s", name, "--cuts", 4, "--jobs", 1, "--json")
    assert (code, err) == (0, ""), (out, err)
    report = json.loads(out)
    assert report["ok"] and {p["verdict"] for p in report["parts"]} == {"pass"} and report["decisions"] > 0, report
    assert [p["name"] for p in report["parts"]] == ["lint", "again", "stepped", "snapshot", "interpreted", "look-ahead"]


def test_exit_codes_and_words(replay, tmp_path):
    synth.equity_day(("A",), 400, seed=7).save("day")
    Path("mine.py").write_text(RANDOM)
    code, out, err = replay("check", "day", "-s", "mine.py", "--cuts", 2)
    assert (code, err) == (1, "") and "FAIL   in " in out and "mine.py:1: D002" in out
    for args, words in (
        (("check", "nowhere"), "no session here"),
        (("check", "day", "-s", "none.py"), "no such file"),
        (("check", "day", "--cuts", "1"), "--cuts"),
        (("check", "day", "--from", "2027-01-01"), "no event between"),
    ):
        code, out, err = replay(*args)
        assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1 and words in err, (args, err)


def test_a_session_of_one_event_has_nothing_to_cut(replay):
    day = synth.equity_day(("A",), 50, seed=7)
    Session.from_rows(day.events[:1].copy(), day.instruments, name="one").save("one")
    code, out, err = replay("check", "one", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["parts"][-1]["verdict"] == "not checked"
    assert store.read_manifest(Path("one")).n_events == 1
