"""A run folder or a journal of a stranger is data: the code that it names never runs, unless the user says so."""

import sys

import desks
import pytest
from commands import without_seal

import replay
from replay import cli, trust
from replay.data.synth import equity_day
from replay.engine import Engine
from replay.runs.result import MANIFEST, Result
from replay.strategy import load

CANARY = """
import pathlib
pathlib.Path({mark!r}).write_text("ran")
from replay import Strategy

class Mine(Strategy):
    def on_quote(self, ctx, q):
        if ctx.position(q.instrument) == 0:
            ctx.market(q.instrument, 1)
"""


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A user who has never named a strategy."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


@pytest.fixture
def run(state, tmp_path):
    """A run of a strategy in a file, as its user has it."""
    (tmp_path / "mine.py").write_text(CANARY.format(mark=str(tmp_path / "mark")))
    equity_day(("A",), 1_000, seed=2).save(tmp_path / "s")
    assert command("run", "s", "-s", "mine.py", "--out", "r") == 0
    (tmp_path / "mark").unlink()
    return tmp_path


def command(*args):
    before, sys.argv = sys.argv, ["replay", *args]
    try:
        with pytest.raises(SystemExit) as end:
            cli.main()
    finally:
        sys.argv = before
    return end.value.code


def strange(state):
    """Somebody else's machine."""
    for path in trust.folder().iterdir():
        path.unlink()


EXECUTING = (
    ("explain", "r", "1"),
    ("report", "r", "--features"),
    ("report", "r", "--what-if"),
    ("run", "--fork", "r@14:40", "--latency", "5ms"),
)
READING = (("report", "r"), ("diff", "r", "r"), ("sql", "r", "select count(*) from fills"))


@pytest.mark.parametrize("args", EXECUTING, ids=lambda a: " ".join(a))
def test_what_executes_refuses_a_strangers_code_and_takes_ones_own(run, state, capsys, args):
    assert command(*args) == 0 and (run / "mark").exists()  # one's own: named by `run`
    (run / "mark").unlink()
    strange(state)
    assert command(*args) == 2
    assert "stranger's: nothing of it was run" in capsys.readouterr().err
    assert not (run / "mark").exists()
    assert command(*args, "--trust") == 0 and (run / "mark").exists()


@pytest.mark.parametrize("args", READING, ids=lambda a: " ".join(a))
def test_what_reads_runs_no_code(run, state, args):
    strange(state)
    assert command(*args) == 0
    assert not (run / "mark").exists()


def test_a_file_that_was_changed_is_not_run(run, capsys):
    text = (run / "mine.py").read_text()
    (run / "mine.py").write_text(text + "\n# changed\n")
    assert command("explain", "r", "1") == 2
    assert "has changed since that run" in capsys.readouterr().err and not (run / "mark").exists()


def test_a_name_with_dots_imports_nothing(run, state, capsys):
    package = run / "pack"
    package.mkdir()
    (package / "__init__.py").write_text(f"import pathlib\npathlib.Path({str(run / 'mark')!r}).touch()\n")
    (package / "mine.py").write_text((run / "mine.py").read_text() + "# a stranger's\n")
    sys.path.insert(0, str(run))
    try:
        text = (run / "r" / MANIFEST).read_text()
        (run / "r" / MANIFEST).write_text(without_seal(text).replace('"mine.py"', '"pack.mine"'))
        assert command("explain", "r", "1") == 2 and "stranger's" in capsys.readouterr().err
    finally:
        sys.path.remove(str(run))
    assert not (run / "mark").exists() and "pack" not in sys.modules


def test_examples_need_no_trust(state, tmp_path):
    day = equity_day(("A",), 2_000, seed=2)
    folder = replay.run(day, "buy_and_hold").save(tmp_path / "r")
    strange(state) if trust.folder().exists() else None
    assert Result.open(folder).manifest.strategies
    trust.verify("buy_and_hold", "a run")


def test_a_journal_of_a_stranger_is_not_run(state, tmp_path):
    """`verify`, and what reads a journal as a run, build its trader of the sources beside it."""
    mark, mine = tmp_path / "mark", tmp_path / "mine.py"
    mine.write_text(CANARY.format(mark=str(mark)))
    ran = Engine(equity_day(("A",), 500, seed=2), [load(str(mine))], journal=True).run()
    desks.write(tmp_path / "journal", ran.journal()).close()
    mark.unlink()
    if trust.folder().exists():
        strange(state)
    assert command("verify", "journal") == 2
    assert not mark.exists()
    assert command("verify", "journal", "--trust") == 0 and mark.exists()
