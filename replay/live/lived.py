"""A journal as the result of a run: the tables and figures that ``replay run`` leaves, of what was lived."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np

from replay.data.session import Session
from replay.errors import BadInput
from replay.events import EVENT
from replay.faults.plan import Plan
from replay.journal import Stepper, first_difference
from replay.kernel.arena import Arena
from replay.live.disk import Disk
from replay.live.log import BATCH, STOP, Reader
from replay.live.recovery import session_of, sound, survey
from replay.runs.config import Chosen, RunConfig
from replay.runs.result import LIVE, Result
from replay.trader.limits import Limits
from replay.venue.setup import Leg, Profile

#: no leg is a model's, and the fees are what the broker charged
PROFILE = Profile(name=LIVE, **{leg: Leg("recorded", 0) for leg in ("feed", "entry", "response")})


@dataclass
class Lived:
    """What `replay.runs.result` asks of an engine, of a trader that lived. `rows` is everything it said."""

    session: Session
    strategies: list
    trader: Arena
    limits: Limits
    rows: np.recarray
    elapsed_s: float
    profile: Profile = PROFILE
    faults: Plan = Plan()

    def __post_init__(self) -> None:
        self.feed = SimpleNamespace(ours=self.session.events)
        self.venue = SimpleNamespace(header=SimpleNamespace(local_i=len(self.session.events), c_spared=0))

    @property
    def digest(self) -> str:
        return f"{int(self.trader.header.digest) & (1 << 64) - 1:016x}"

    def output(self) -> np.recarray:
        return self.rows

    def faults_struck(self) -> np.recarray:
        return np.zeros(0, EVENT).view(np.recarray)


def result(folder: Path) -> Result:
    """The result of a journal so far, re-stepped: about 1 us an input. Raises `BadInput` where it is damaged before its end, or where the
    trader no longer says what the journal holds."""
    disk = Disk(folder)
    head, starts, prefix, stopped, _ = survey(disk)
    if prefix.fault and not prefix.torn:
        raise BadInput(f"{folder}: {prefix}: replay verify says more")
    build = head.build(folder)
    stepper, said, last = Stepper(build), [], starts[0].now
    pending = stepper.start(starts[0].now)
    for block in Reader(disk):
        if block.kind == STOP:
            pending = np.concatenate([pending, stepper.stop()])
        elif block.kind == BATCH:
            again, pending = np.concatenate([pending, stepper.feed(sound(block.frames, head.manifest, disk))]), pending[:0]
            if first_difference(again, block.outputs) >= 0:
                raise BadInput(f"{folder}: the trader no longer says what the journal holds: replay verify says where")
            said.append(block.outputs)
            last = int(block.frames["now"][-1]) if len(block.frames) else last
    rows = np.concatenate([*said, np.zeros(0, EVENT)]).view(np.recarray)
    session = session_of(disk)
    lived = Lived(session, build.strategies, stepper.trader, build.limits, rows, (last - starts[0].now) / 1e9)
    config = RunConfig(
        session=str(folder),
        strategies=tuple(Chosen(source=f"{folder / s.file}:{s.cls}", parameters=s.values) for s in head.strategies),
        latency=LIVE,
        fill=LIVE,
        limits=head.limits,
        initial_capital=next(iter(head.capital.values())),
    )
    made = Result.of(lived, config, complete=stopped)
    manifest = msgspec.structs.replace(made.manifest, versions={**made.manifest.versions, **head.versions})
    return Result(manifest, made.tables, folder, unread=str(prefix) if prefix.fault else "")
