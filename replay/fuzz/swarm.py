"""Many schedules on pairs of long-lived processes. Both of a pair run every schedule, with other hash seeds, and must agree."""

from __future__ import annotations

import hashlib
import os
import selectors
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

import replay
from replay.fuzz.kernel import layout as C
from replay.fuzz.kernel import rules as B
from replay.fuzz.worker import Answer, Batch, Finding, Setup

BATCH = 20  #: schedules between two answers
HASH_SEEDS = ("0", "4711")


class Swarmed(NamedTuple):
    """What a swarm came to. `finding`: of the first schedule in which something broke; `digest`: over the schedules in order."""

    schedules: int
    inputs: int
    elapsed_s: float
    digest: str
    struck: np.ndarray
    arrived: np.ndarray
    finding: Finding | None


class _Process:
    """One worker, and the batches it has yet to answer."""

    def __init__(self, setup: Setup, folder: Path, name: str, hash_seed: str):
        self.place, self.said = folder / name, (folder / f"{name}.err").open("w+")
        self.place.write_bytes(struct.pack("q", -1))
        path = os.pathsep.join([str(Path(replay.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "replay.fuzz.worker", str(self.place)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
        )
        self.waiting: deque[Batch] = deque()
        self._tell(setup)

    def _tell(self, what: object) -> None:
        try:
            self.process.stdin.write(msgspec.json.encode(what) + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it is gone, which reading its answer finds

    def give(self, batch: Batch) -> None:
        self.waiting.append(batch)
        self._tell(batch)

    def answer(self) -> Answer | None:
        """Its next answer; None where it has died."""
        line = self.process.stdout.readline()
        return msgspec.json.decode(line, type=Answer) if line.endswith(b"\n") else None

    def last_words(self) -> str:
        self.process.wait()
        self.said.seek(0)
        return " ".join(self.said.read()[-400:].split()) or f"exit code {self.process.returncode}"

    def died(self) -> Finding:
        number = struct.unpack("q", self.place.read_bytes())[0]
        return Finding(number, B.DIED, 0, 0, 0, 0, 0, -1, self.last_words())

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.said.close()


class Swarm:
    """Runs schedules `first` to before `first + schedules` on `jobs` processes, until something is broken."""

    def __init__(self, setup: Setup, first: int, schedules: int, jobs: int):
        self.setup, self.end = setup, first + schedules
        self.first = self.next = first
        self.pairs = max(1, jobs // 2)
        self.answers: dict[int, list[Answer]] = {}
        self.findings: list[Finding] = []

    def run(self, told: Callable[[int, int], None] = lambda done, total: None) -> Swarmed:
        """Run them. `told(done, schedules)` after each batch that both processes have answered."""
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="replay-fuzz-") as folder, selectors.DefaultSelector() as selector:
            pairs = [[_Process(self.setup, Path(folder), f"{k}-{seed}", seed) for seed in HASH_SEEDS] for k in range(self.pairs)]
            try:
                for pair in pairs:
                    for process in pair:
                        selector.register(process.process.stdout, selectors.EVENT_READ, (process, pair))
                    self._feed(pair)
                while any(process.waiting for pair in pairs for process in pair):
                    for key, _ in selector.select():
                        process, pair = key.data
                        if not self._take(process):
                            selector.unregister(process.process.stdout)
                            process.waiting.clear()
                        elif not self.findings:
                            self._feed(pair)
                    told(min(self._done() + self.first, self.end) - self.first, self.end - self.first)
            finally:
                for pair in pairs:
                    for process in pair:
                        process.end()
        return self._sum(time.perf_counter() - began)

    def _feed(self, pair: list[_Process]) -> None:
        """Keep two batches in the hands of each of a pair."""
        while self.next < self.end and min(len(p.waiting) for p in pair) < 2:
            batch = Batch(self.next, min(self.next + BATCH, self.end))
            self.next = batch.end
            for process in pair:
                process.give(batch)

    def _take(self, process: _Process) -> bool:
        answer = process.answer()
        if answer is None:
            self.findings.append(process.died())
            return False
        batch = process.waiting.popleft()
        both = self.answers.setdefault(batch.first, [])
        both.append(answer)
        self.findings += answer.findings
        if len(both) == 2:
            for k, (a, b) in enumerate(zip(both[0].digests, both[1].digests, strict=True)):
                if a != b:
                    self.findings.append(Finding(batch.first + k, B.DIFFERENT, 0, 0, 0, 0, 0, -1, f"digests {a} and {b}"))
        return True

    def _done(self) -> int:
        return BATCH * sum(len(both) == 2 for both in self.answers.values())

    def _sum(self, elapsed_s: float) -> Swarmed:
        struck = np.zeros((C.N_KINDS, C.N_STATES), np.int64)
        arrived = np.zeros((C.N_EXECS, C.N_STATES), np.int64)
        digest, n, inputs = hashlib.blake2b(digest_size=8), 0, 0
        for _, both in sorted(self.answers.items()):
            if len(both) < 2:
                break
            struck += both[0].struck
            arrived += both[0].arrived
            inputs += both[0].inputs
            n += len(both[0].digests)
            digest.update("".join(both[0].digests).encode())
        finding = min(self.findings, key=lambda f: f.number, default=None)
        return Swarmed(n, inputs, elapsed_s, digest.hexdigest(), struck, arrived, finding)
