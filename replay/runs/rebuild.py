"""A recorded run, run again up to a moment. A run is a function of what its manifest names; this proves that it is the same, and
says what is not where it is not: then nothing about the rebuilt run would explain the recorded one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from replay.data.session import Session
from replay.engine import Engine
from replay.errors import BadInput
from replay.events import EVENT
from replay.journal import first_difference
from replay.runs.api import recording
from replay.runs.halfway import apply, moment, rows_by
from replay.runs.result import Result, source_sha256
from replay.show import line, said
from replay.strategy import load
from replay.trader.output import OUT_NAMES, OUT_NEW

STAGES = 64  #: looks at progress and interrupts
Told = Callable[[int, int], None]


def rebuild(run: Result, compiling: Callable[[str, int, int], None] | None = None) -> Engine:
    """The engine of a recorded run, not started; of a fork, at the moment where it parted.

    Raises `BadInput` for a live run, and where the session, a strategy or the profile is not what was recorded, or is not there any more.

    >>> import replay
    >>> run = replay.run(strategy="ema_cross")
    >>> rebuild(run).run().digest == run.digest
    True
    """
    m = run.manifest
    if run.lived:
        raise BadInput(
            f"{name_of(run)}: traded live, so there is no venue to run it on again: replay it with replay run, and ask that"
        )
    if m.fork is not None:
        base = Result.open(m.fork.run)
        engine = rebuild(base, compiling)
        part(engine, base, moment(m.fork.at, engine.session))
        apply(engine, base.manifest.config, m.config)
    else:
        strategies = []
        for chosen, ran in zip(m.config.strategies, m.strategies, strict=True):
            strategies.append(load(chosen.source, chosen.parameters, named_by=name_of(run)))
            _same(run, f"strategy {ran.name} ({chosen.source})", source_sha256(strategies[-1].cls), ran.source_sha256)
        engine = m.config.engine(session_of(run), strategies, compiling=compiling)
    _same(run, f"session {m.config.session or 'generated'}", engine.session.manifest.sha256, m.session_sha256)
    if engine.profile != m.profile:
        raise BadInput(f"{name_of(run)}: its venue profile means something else in this version: run it again")
    return engine


def session_of(run: Result) -> Session:
    """The session it was run on, whole. Raises `BadInput` where that is not there any more."""
    path = run.manifest.config.session
    try:
        return recording(path or None, run.manifest.config)
    except BadInput as e:
        raise BadInput(f"{name_of(run)} was run on {path}: {e}") from None


def _same(run: Result, what: str, found: str | None, expected: str | None) -> None:
    if found is None or found != expected:
        now, then = (x[:12] + "…" if x else "not known" for x in (found, expected))
        raise BadInput(f"{name_of(run)}: {what} has changed since that run (sha256 {now}, expected {then}): run it again")


def part(engine: Engine, run: Result, ns: int) -> None:
    """Bring the rebuilt engine of a run to a moment. Raises `BadInput` where it has gone another way, or was further already."""
    if engine.started and engine.trader.header.now > ns:
        raise BadInput(
            f"--fork: {name_of(run)} is itself a fork, of {run.manifest.fork.at}: take a later moment, or fork what it came from"
        )
    engine.advance(rows_by(engine, ns))
    agree(engine, run)


def name_of(run: Result) -> str:
    """What an error calls a run."""
    return str(run.path) if run.path else "this run"


def reach(engine: Engine, seq: int, told: Told | None = None) -> None:
    """`Engine.reach` in stages, so that progress is seen."""
    start = int(engine.trader.header.seq)
    for k in range(1, STAGES + 1):
        engine.reach(start + (seq - start) * k // STAGES)
        if told:
            told(k, STAGES)


def agree(engine: Engine, run: Result) -> int:
    """How many records the engine's trader has said so far. Raises `BadInput` at the first that is not the recorded one."""
    again = engine.output()
    recorded = records(run.table("events").slice(0, len(again)))
    k = first_difference(again, recorded)
    if k < 0:
        return len(again)
    texts = [
        line(said(rows[k], run.manifest.instruments, strategies(run))) if k < len(rows) else "nothing"
        for rows in (recorded, again)
    ]
    raise BadInput(
        f"{name_of(run)}: record {k:,} was {texts[0]!r}, and is {texts[1]!r} run again: the version or the machine differs"
    )


def records(events: pa.Table) -> np.recarray:
    """The table `events` as what it was made from: the trader's output records (`replay.trader.output`), each bit as it was."""
    rows = np.zeros(events.num_rows, EVENT).view(np.recarray)
    rows.ts_recv = events["ts"].cast(pa.int64())
    rows.kind = OUT_NEW + np.asarray(pc.index_in(events["what"].cast(pa.string()), pa.array(OUT_NAMES)))
    rows.ts_event = events["strategy"]
    for name in ("side", "instrument", "id", "a", "b", "c", "d"):
        rows[name] = events[name]
    rows["flags"] = events["flags"]
    return rows


def strategies(run: Result) -> list[str]:
    """The names of a run's strategies as its tables have them."""
    return [s.name for s in run.summary.strategies]
