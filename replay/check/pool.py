"""Worker processes as the checking side sees them: started with a hash seed, given jobs, ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

import replay
from replay.check.jobs import Answer, Job
from replay.errors import BadInput
from replay.events import EVENT


class Ran(NamedTuple):
    """An answer and the trader's output records."""

    answer: Answer
    out: np.ndarray


class Worker:
    """A process that does jobs one after another, each in a child of its own. Use it as a context: it ends with the block.

    `hash_seed` orders its sets; `interpreted` runs without compiled code.
    """

    def __init__(self, *, features: bool, hash_seed: int = 0, interpreted: bool = False):
        self.folder = Path(tempfile.mkdtemp(prefix="replay-check-"))
        env = {k: v for k, v in os.environ.items() if k != "NUMBA_DISABLE_JIT"}
        env |= {
            "PYTHONHASHSEED": str(hash_seed),
            "PYTHONPATH": os.pathsep.join([str(Path(replay.__file__).parents[1]), env.get("PYTHONPATH", "")]),
        }
        env |= {"NUMBA_DISABLE_JIT": "1"} if interpreted else {}
        self.said = (self.folder / "stderr").open("w+")
        command = [sys.executable, "-m", "replay.check.worker", str(int(features))]
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True
        )
        self.jobs = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.said.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def do(self, job: Job) -> Ran:
        """Do one job. Raises `BadInput` where the process ends without an answer."""
        self.jobs += 1
        path = self.folder / f"{self.jobs}.job"
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(job, out=str(path.with_suffix(".out")))))
        try:
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
            code = self.process.stdout.readline().strip()
        except BrokenPipeError:
            code = ""
        if code != "0":
            raise BadInput(f"the process of a run ended without an answer ({code or 'it is gone'}): {self._last_words()}")
        answer = msgspec.json.decode(path.with_suffix(".answer").read_bytes(), type=Answer)
        out = path.with_suffix(".out")
        rows = np.fromfile(out, EVENT) if out.exists() else np.zeros(0, EVENT)
        for suffix in (".job", ".answer", ".out"):
            path.with_suffix(suffix).unlink(missing_ok=True)
        return Ran(answer, rows)

    def _last_words(self) -> str:
        self.said.seek(0)
        return " ".join(self.said.read()[-400:].split()) or "it said nothing"


def stand_in(cwd: Path, session: str, at: Path) -> Path:
    """A folder `at` that looks like `cwd`, but where the session's relative path leads to an empty folder, which is returned.

    A strategy that opens its recording by that path opens what is put there; every other relative path leads where it did.
    """
    parts: Sequence[str] = () if Path(session).is_absolute() else Path(os.path.normpath(session)).parts
    if not parts or parts[0] in ("..", "."):
        parts = ("session",)
    at.mkdir()
    here = at
    for k, part in enumerate(parts):
        beside = cwd.joinpath(*parts[:k])
        for name in os.listdir(beside) if beside.is_dir() else ():
            if name != part:
                (here / name).symlink_to(beside / name)
        here = here / part
        here.mkdir()
    return here
