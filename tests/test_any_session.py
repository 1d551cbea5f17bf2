"""Whatever a session holds, commands answer: never a dead process, a traceback, or a row beyond a table.

The commands run compiled, with the checked build (``NUMBA_BOUNDSCHECK=1``: an index outside its table
ends the process and names both), in a process of their own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from any_sessions import sessions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay.data.session import Session

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "fixtures"
PROBER = str(HERE / "prober.py")
EXAMPLES = int(os.environ.get("REPLAY_TEST_EXAMPLES", "4"))


class Child:
    """The process that runs the commands; made anew after a death, so that an example can be shrunk."""

    def __init__(self, folder, **environment):
        self.folder, self.environment, self.process = folder, environment, None

    def __call__(self, *args):
        if self.process is None or self.process.poll() is not None:
            env = {**os.environ, "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}", **self.environment}
            self.errors = open(self.folder / "stderr", "w+")  # noqa: SIM115 (closed by `end`)
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "commands.py")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=self.folder, env=env,
            )  # fmt: skip
        self.process.stdin.write(json.dumps([str(a) for a in args]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            died = self.process.wait()
            self.errors.seek(0)
            raise AssertionError(f"replay {' '.join(map(str, args))} died with {died}: {self.errors.read()[-2000:]}")
        code, out, err = json.loads(answer)
        assert code in (0, 1, 2) and "Traceback" not in err, (args, code, err[-2000:])
        assert code != 2 or "error: " in err, (args, err)
        return code, out, err

    def end(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait(60)
            self.errors.close()


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    child = Child(tmp_path_factory.mktemp("checked"), NUMBA_BOUNDSCHECK="1")
    yield child
    child.end()


FILLS = (("--fill", "realistic"), ("--fill", "hftbacktest"), ("--latency", "1m"), ("--latency", "feed=2s,entry=1ns,response=1ns"))


def all_of(child, session, strategy, *options):
    """Run, and ask every question there is about the run."""
    code, out, _ = child("run", session, "-s", strategy, "--out", "r", "--json", *options)
    if code == 0:
        facts = json.loads(out)
        child("run", session, "-s", strategy, "--out", "again", "--json", *options)
        child("diff", "r", "again", "--json")
        child("sql", "r", "select * from orders limit 3", "--json")
        child("report", "r", "--features")
        if any(s["refused"] for s in facts["strategies"]):
            child("explain", "r", "--refusal", "1", "--json")
        if any(s["orders"] for s in facts["strategies"]):
            child("explain", "r", "1", "--json")
    return code


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(session=sessions(), options=st.sampled_from(FILLS))
def test_every_command_answers_whatever_the_session_holds(checked, session, options):
    fresh(checked.folder)
    session.save(checked.folder / "s")
    all_of(checked, "s", PROBER, *options)
    checked("sweep", "s", "-s", PROBER, "-p", "every=2,3", "--out", "sweep.csv")
    checked("validate", "s")


@settings(max_examples=1 + EXAMPLES // 8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(session=sessions())
def test_the_check_answers_whatever_the_session_holds(checked, session):
    fresh(checked.folder)
    session.save(checked.folder / "s")
    checked("check", "s", "-s", PROBER, "--cuts", "2", "--jobs", "1")


@settings(max_examples=1 + EXAMPLES // 4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(session=sessions(), at=st.floats(0, 1))
def test_a_run_may_begin_at_any_time(checked, session, at):
    fresh(checked.folder)
    session.save(checked.folder / "s")
    m = session.manifest
    begin = m.start_ns + int((m.end_ns - m.start_ns) * at)
    if begin >= 0:
        checked("run", "s", "-s", PROBER, "--out", "r", "--from", iso(begin), "--json")


@pytest.mark.parametrize("name", sorted(p.name for p in FIXTURES.iterdir() if p.is_dir()))
def test_no_index_beyond_its_table_on_a_fixture(checked, name):
    fresh(checked.folder)
    assert Session.open(FIXTURES / name, trust=True).manifest.n_events
    assert all_of(checked, FIXTURES / name, PROBER) == 0


def iso(ns):
    import datetime

    return datetime.datetime.fromtimestamp(ns / 1e9, datetime.UTC).isoformat()


def fresh(folder):
    """An example finds nothing of the one before it."""
    import shutil

    for part in folder.iterdir():
        if part.is_dir():
            shutil.rmtree(part)
