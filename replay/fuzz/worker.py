"""One of the two processes that run the same schedules: ``python -m replay.fuzz.worker POSITION``.

Reads what to do from stdin, JSON a line: first a `Setup`, then batches. Before each schedule its number goes into the file POSITION, so
that whoever started the process knows which one it died of.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from pathlib import Path

import msgspec

from replay.data.session import Session
from replay.fuzz.runner import Runner
from replay.runs.config import RunConfig


class Setup(msgspec.Struct, frozen=True):
    """The schedules of `seed` over the session of `config`, each of about `events` rows."""

    config: RunConfig
    seed: int
    events: int


class Finding(msgspec.Struct, frozen=True):
    """A schedule in which something broke."""

    number: int
    rule: int
    seq: int
    now: int
    figure: int
    bound: int
    handle: int
    instrument: int
    text: str


class Answer(msgspec.Struct):
    """What a batch came to: a digest a schedule, what broke, and counts since the last answer (see `Runner`)."""

    digests: list[str] = []
    findings: list[Finding] = []
    inputs: int = 0
    struck: list[list[int]] = []
    arrived: list[list[int]] = []


class Batch(msgspec.Struct, frozen=True):
    """Schedules `first` to before `end`."""

    first: int
    end: int


def main() -> None:
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a strategy prints is no answer
    with Path(sys.argv[1]).open("r+b") as f:
        position = mmap.mmap(f.fileno(), 8)
    setup = msgspec.json.decode(sys.stdin.readline(), type=Setup)
    runner = Runner(Session.open(setup.config.session, trust=True), setup.config)
    for line in sys.stdin:
        batch = msgspec.json.decode(line, type=Batch)
        answer = Answer()
        for k in range(batch.first, batch.end):
            struct.pack_into("q", position, 0, k)
            outcome = runner.number(setup.seed, k, setup.events)
            answer.digests.append(outcome.digest)
            answer.inputs += outcome.inputs
            if outcome.broken:
                answer.findings.append(Finding(k, *outcome.broken, outcome.text))
        answer.struck, answer.arrived = runner.struck.tolist(), runner.arrived.tolist()
        runner.struck[:] = runner.arrived[:] = 0
        os.write(answers, msgspec.json.encode(answer) + b"\n")


if __name__ == "__main__":
    main()
