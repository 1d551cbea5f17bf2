"""A peer in its own interpreter: starts one of the scripts in `bench/peers` and makes runs on demand."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from bench.workloads import LATENCY_NS

HERE = Path(__file__).parent / "peers"


class PeerError(Exception):
    """A peer's process ended or said something unexpected; the text is the end of its stderr."""


class Peer:
    """A running peer, prepared for one job. Use as a context manager; `run` gives (seconds, outcome).

    Environment and CPU affinity are this process's, so that both engines run under the same conditions.
    """

    def __init__(self, python: str | Path, script: str, rows: np.ndarray, **job: object):
        self._folder = tempfile.TemporaryDirectory(prefix="replay-bench-")
        path = Path(self._folder.name) / "rows.npy"
        np.save(path, np.asarray(rows))
        self._errors: IO = open(Path(self._folder.name) / "stderr", "w+")  # noqa: SIM115 - closed by `close`
        self.process = subprocess.Popen(
            [str(python), str(HERE / f"{script}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=HERE,
        )
        self._send(json.dumps({"rows": str(path), "tick": 0.01, "latency_ns": LATENCY_NS, **job}))
        try:
            said = self._hear()
        except PeerError:
            self.close()
            raise
        self.versions: dict[str, str] = said["versions"]
        self.prepare_s: float = said["prepare_s"]

    def _send(self, line: str) -> None:
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer that is missing says why

    def _hear(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise PeerError(self._errors.read()[-1500:].strip() or "it ended without a word")
        return json.loads(line)

    def run(self) -> tuple[float, dict]:
        """One run."""
        self._send("run")
        said = self._hear()
        return said["seconds"], said["outcome"]

    def close(self) -> None:
        """End it and remove its files."""
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self._errors.close()
        self._folder.cleanup()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
