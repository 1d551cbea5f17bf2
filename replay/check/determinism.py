"""The same inputs, the same decisions: a run against itself, made in other ways."""

from __future__ import annotations

import random

import msgspec
import numpy as np

from replay.check.jobs import Job
from replay.check.pool import Ran, Worker
from replay.check.verdict import DECISIONS, FAIL, PASS, SKIP, Part, Words, compare

SINGLE_ROWS = 1_000  #: delivered one by one
BLOCKS = 50  #: of random size
INTERPRETED_EVENTS = 20_000  #: without compiled code, which is some hundred times slower
OTHER_SEEDS = (1, 2, 3)  #: of hashes, beside 0: one alone may happen to order a small set alike


def again(base: Ran, job: Job, features: bool, words: Words) -> Part:
    """In other processes, whose sets of strings are ordered otherwise."""
    done = f"four processes, PYTHONHASHSEED 0 to {OTHER_SEEDS[-1]}: digest {base.answer.digest}"
    for seed in OTHER_SEEDS:
        with Worker(features=features, hash_seed=seed) as worker:
            part = _same("again", base, worker.do(job), words, done)
        if part.verdict == FAIL:
            break
    return part


def blocks(base: Ran, other: Ran, words: Words) -> Part:
    """Row by row and in blocks: `other` is the run with marks."""
    return _same("stepped", base, other, words, f"the first {SINGLE_ROWS:,} events one by one, then blocks of random size")


def block_marks(n: int, seed: int) -> set[int]:
    """After how many of `n` rows the stepped run stops."""
    draws = random.Random(seed)
    return set(range(1, min(SINGLE_ROWS, n - 1))) | {draws.randrange(1, n) for _ in range(BLOCKS if n > 1 else 0)}


def snapshot(base: Ran, job: Job, worker: Worker, words: Words) -> Part:
    """Taken in the middle, taken up again at the end and in a second engine."""
    if base.answer.hidden:
        names = ", ".join(base.answer.hidden[:5])
        return Part(name="snapshot", verdict=SKIP, done=f"{names}: not annotated as state, so a snapshot does not hold it")
    middle = _middle(base, words)
    done = f"taken at event {middle:,}, taken up at the end and by a second engine"
    for elsewhere in (False, True):
        other = worker.do(msgspec.structs.replace(job, snapshot_at=middle, elsewhere=elsewhere))
        part = _same("snapshot", base, other, words, done)
        if part.verdict == FAIL:
            break
    return part


def _middle(base: Ran, words: Words) -> int:
    """Just after the decision in the middle, with what it sent under way."""
    decided = base.out["ts_recv"][np.isin(base.out["kind"], DECISIONS)]
    rows = words.rows.ts_recv
    at = int(np.searchsorted(rows, decided[len(decided) // 2], "right")) if len(decided) else len(rows) // 2
    return min(max(at, 1), len(rows))


def interpreted(job: Job, worker: Worker, features: bool, words: Words) -> Part:
    """Without compiled code, as a debugger and `NUMBA_DISABLE_JIT=1` run it; a prefix, because it is slow."""
    recv = words.rows.ts_recv
    n = min(INTERPRETED_EVENTS, len(recv))
    end = int(recv[n]) if n < len(recv) else job.end
    job = msgspec.structs.replace(job, start=int(recv[0]), end=end)
    with Worker(features=features, interpreted=True) as slow:
        base, other = worker.do(job), slow.do(job)
    decided = int(np.isin(base.out["kind"], DECISIONS).sum())
    done = f"compiled against interpreted, the first {base.answer.rows:,} of {len(recv):,} events, {decided:,} decisions in them"
    return _same("interpreted", base, other, words, done)


def _same(name: str, base: Ran, other: Ran, words: Words, done: str) -> Part:
    difference = compare(base, other, words)
    if difference:
        return Part(name=name, verdict=FAIL, done=done, found=(f"first difference: {difference.text}",))
    same = (base.answer.digest, base.answer.state_digest) == (other.answer.digest, other.answer.state_digest)
    return Part(name=name, verdict=PASS if same else FAIL, done=done, found=() if same else ("same decisions, another state",))
