"""A run's folder is its own: claimed by one process, and what somebody else put there is not deleted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import replay
from replay.cli import run as command
from replay.data.synth import equity_day
from replay.errors import BadInput
from replay.runs.result import Result

DAY = equity_day(("A",), 500, seed=1)


def test_runs_of_one_second_have_a_folder_each(tmp_path):
    DAY.save(tmp_path / "s")
    args = [sys.executable, "-m", "replay", "run", "s", "-s", "buy_and_hold", "--json"]
    runs = [subprocess.Popen(args, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [json.loads(p.communicate(timeout=900)[0])["run"] for p in runs]
    assert len(set(told)) == 3 and all(Result.open(tmp_path / folder).summary.digest for folder in told)
    assert (tmp_path / "runs" / "last").resolve() in [(tmp_path / folder).resolve() for folder in told]


def test_a_name_is_claimed_by_making_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len({command.new_folder("S") for _ in range(5)}) == 5


def test_what_somebody_put_into_a_run_stays(tmp_path):
    folder = replay.run(DAY, "buy_and_hold").save(tmp_path / "r")
    (folder / "notes.md").write_text("mine")
    (folder / "mine.parquet").write_bytes(b"mine too")
    (folder / "plots").mkdir()
    (folder / "plots" / "a.png").write_bytes(b"png")
    before = set(os.listdir(folder))
    Result.open(folder).save(folder)  # as a report does
    replay.run(DAY, "buy_and_hold", {"qty": 5}).save(folder)  # as a run with the same --out
    assert set(os.listdir(folder)) == before and os.listdir(tmp_path) == ["r"]
    assert (folder / "notes.md").read_text() == "mine" and (folder / "plots" / "a.png").exists()


def test_a_folder_that_is_no_run_is_refused_and_left(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "notes.md").write_text("mine")
    with pytest.raises(BadInput, match="something that is no run"):
        replay.run(DAY, "buy_and_hold").save(tmp_path / "r")
    assert os.listdir(tmp_path / "r") == ["notes.md"]


def test_spools_of_dead_processes_are_removed_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [f"replay-{gone.pid}-x.spool", f"replay-{os.getpid()}-x.spool", "replay-x.spool", "other.spool"]
    for name in names:
        (tmp_path / name).touch()
    command.remove_dead_spools()
    assert sorted(p.name for p in Path(tmp_path).iterdir()) == sorted(names[1:])
