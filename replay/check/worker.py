"""The process a run of the check happens in: ``python -m replay.check.worker FEATURES``.

It loads the engine's compiled parts once and forks a child for every job it reads from stdin: the child denies itself the recording
where it must not read it, imports the strategies, opens the session it is given, runs, answers and ends. So nothing of one run, a module's globals or an
array kept by a closure, is there in the next.
"""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from pathlib import Path

import msgspec
import numpy as np

from replay.check.jobs import Answer, Job
from replay.check.seal import seal
from replay.data import store
from replay.data.session import Session
from replay.engine import KERNELS, OUTPUT_ROWS, Engine
from replay.errors import ReplayError
from replay.kernel.memory import entry_of, link
from replay.spool import Spool
from replay.strategy import load
from replay.trader import layout as T
from replay.trader import risk, step

#: what a trader knows and decided; not what the manifest sized, nor the addresses of this process
REGIONS = (
    "views",
    "positions",
    "currencies",
    "orders",
    "fills",
    "features",
    "words",
    "selves",
    "timers",
    "refusals",
    "strategies",
    "instruments",
    "limits",
)
#: prices of the orders that a trader is asked about at a cut, in eighths of the mark; and their sizes
EIGHTHS = (1, 8, 32, 1024)
LOTS = (1, 10**6, 10**12)
KINDS = (T.MARKET, T.LIMIT, T.STOP)


def work(job: Job) -> Answer:
    """Do one job in this process."""
    answer = Answer()
    if job.sealed:
        answer.seal = seal([Path(job.sealed) / name for name in (store.MANIFEST, store.ROWS, store.ORDER, store.ARCHIVE)])
    os.chdir(job.cwd)
    engine = None
    try:
        engine = _engine(job, answer)
        if job.snapshot_at:
            engine = _taken_up(engine, job, answer)
        _run(engine, job, answer)
    except ReplayError as e:
        answer.error = str(e)
        answer.error_ns = int(engine.trader.header.now) if engine else 0
    if engine:
        answer.digest, answer.state_digest, answer.rows = engine.digest, engine.state_digest, int(engine.venue.header.local_i)
        np.asarray(engine.output()).tofile(job.out)
        answer.hidden = _hidden(engine)
    return answer


def _engine(job: Job, answer: Answer) -> Engine:
    c = job.config
    strategies = [load(s.source, s.parameters) for s in c.strategies]
    answer.constants = {f"{x.name}.{k}": v for x in strategies if x.kind == "compiled" for k, v in _constants(x.module).items()}
    data = Session.open(job.session, trust=True)
    if job.start is not None or job.end is not None:
        data = data.slice(job.start, job.end)
    return c.engine_on(data, job.warm_ns, strategies)


def _run(engine: Engine, job: Job, answer: Answer) -> None:
    done = 0
    for mark in job.marks:
        engine.advance(mark - done)
        done = mark
        answer.states.append(_state(engine))
    if not job.to_end:
        engine.advance(1)
        return
    engine.run()


def _taken_up(engine: Engine, job: Job, answer: Answer) -> Engine:
    """An engine that stands at the snapshot; what was said before it is its output."""
    engine.advance(job.snapshot_at)
    state, said = engine.snapshot(), engine.output()
    if job.elsewhere:
        engine = _engine(job, answer)
    else:
        engine.run()
    engine.restore(state)
    engine.outputs = Spool(room=OUTPUT_ROWS, before=said)
    return engine


def _state(engine: Engine) -> str:
    found = hashlib.blake2b(engine.digest.encode(), digest_size=16)
    for name in REGIONS:
        found.update(np.ascontiguousarray(engine.trader.region(name)).view(np.uint8).data)
    for s in engine.strategies:
        if s.kind == "plain":
            found.update(repr(s.save()).encode())
    found.update(_asked(engine))
    return found.hexdigest()


def _asked(engine: Engine) -> bytes:
    """What the risk check says, in a copy of the trader, to orders that nobody sends: near the market and far, small and large."""
    trader, answers = engine.trader.fork(), []
    check, h = entry_of(risk.check), trader.header
    for k, v in enumerate(trader.region("views")):
        mark = int(v.mark2) // 2 if v.marked else 0
        for eighths in EIGHTHS:
            px = mark * eighths // 8
            for lots in LOTS:
                for kind in KINDS:
                    for side in (1, -1):
                        limit, stop = (px if kind == T.LIMIT else 0), (px if kind == T.STOP else 0)
                        code = check(trader.base, 0, k, side, lots, limit, stop, kind, T.DAY, 0, 0)
                        answers += [int(code), int(h.figure), int(h.bound)]
    return np.array(answers, np.int64).tobytes()


def _constants(module: object) -> dict[str, str]:
    """Numbers and arrays of a compiled strategy's module, hashed: with them its code was compiled."""
    found = {}
    for name, value in vars(module).items():
        if not name.startswith("_") and isinstance(value, (bool, int, float, str, tuple, np.ndarray, np.generic)):
            data = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
            found[name] = hashlib.blake2b(data, digest_size=8).hexdigest()
    return found


def _hidden(engine: Engine) -> list[str]:
    plain = [s for s in engine.strategies if s.kind == "plain"]
    return [f"{s.name}.{k}" for s in plain for k in vars(s.instance) if k not in s.values and k not in s.save()]


def main() -> None:
    link(*((step.features_in,) if sys.argv[1] == "1" else ()), *KERNELS)
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a strategy prints is no answer
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        pid = os.fork()
        if pid == 0:
            _child(path)
        status = os.waitpid(pid, 0)[1]
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _child(path: Path) -> None:
    """Answer the job in `path` beside it, and end."""
    code = 1
    try:
        job = msgspec.json.decode(path.read_bytes(), type=Job)
        path.with_suffix(".answer").write_bytes(msgspec.json.encode(work(job)))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
