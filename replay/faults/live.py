"""Faults of a live run, by plan: the process, its clock and its disk. Those of the market, of requests and of reports are the server's.

Times count from the start of the run, by its own clock: after a restart what was before it does not come again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from replay.faults.disk import broken, full
from replay.faults.plan import ACTS, OURS, Fault, Plan
from replay.live.broker import Control, Row
from replay.live.disk import Disk
from replay.trader.specs import duration_ns

if TYPE_CHECKING:
    from replay.live.runner import Runner


class _Due(NamedTuple):
    start: int
    end: int
    fault: Fault

    @property
    def ns(self) -> int:
        return duration_ns(self.fault.delay, "delay")


class FaultyDisk(Disk):
    """A disk that fails while the plan says so; `Faults.begin` tells it when that is."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._planned: Callable[[str], _Due | None] = lambda kind: None

    def within(self, name: str) -> FaultyDisk:
        inner = FaultyDisk(self.folder / name)
        inner._planned = lambda kind: self._planned(kind)
        return inner

    def append(self, file: int, data: bytes) -> None:
        if self._planned("disk_full"):
            raise full()
        super().append(file, data)

    def sync(self, file: int) -> None:
        self._fail()
        super().sync(file)

    def sync_names(self) -> None:
        self._fail()
        super().sync_names()

    def _fail(self) -> None:
        if slow := self._planned("disk_slow"):
            time.sleep(slow.ns / 1e9)
        if self._planned("disk_error"):
            raise broken()


class Faults:
    """The faults of a plan that are ours, on a runner. `strike` is called at every turn of its loop, in its thread."""

    def __init__(self, plan: Plan, disk: FaultyDisk):
        self.plan, self.disk = plan, disk
        self.ahead_ns = 0  # of the system's clock, by jumps
        self._due: list[_Due] = []

    def begin(self, runner: Runner) -> None:
        """The run has begun, or is gone on with."""
        start, now = runner.desk.starts[0].now, runner.clock.now()
        self.runner = runner
        runner.clock.wall = lambda: time.time_ns() + self.ahead_ns
        self._due = [d for f in self.plan.faults if f.kind in OURS if (d := _Due(*f.span_from(start), f)).end > now]
        self._due += [d._replace(start=d.start + d.ns) for d in self._due if d.fault.kind == "intent_twice"]
        self._due = [d for d in self._due if d.fault.at is None or d.start >= now]  # an instant before us is over
        others = sorted({f.kind for f in self.plan.faults} - set(OURS))
        if others:
            runner.note("faults", text=f"{', '.join(others)}: left to the server: replay serve --faults")
        runner.faults, self.disk._planned = self.strike, self.planned

    def strike(self) -> None:
        """Let what is due happen."""
        now = self.runner.clock.now()
        for d in [d for d in self._due if d.start <= now and not d.fault.kind.startswith("disk")]:
            self._due.remove(d)
            f = d.fault
            self.runner.note("fault", kind=f.kind, planned=f.when())
            if f.kind == "pause":
                time.sleep(max(0, d.end - now) / 1e9)
            elif f.kind == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            elif f.kind == "operator":
                self.runner.inbox.put(Control(ACTS[f.act], f.act))
            elif f.kind == "intent_twice":
                n = len(self.runner.desk.build.manifest.instruments)
                self.runner.inbox.put(Row(f.intent(self.plan.faults.index(f), n, now).tobytes()))
            else:
                self.ahead_ns += -d.ns if f.back else d.ns

    def planned(self, kind: str) -> _Due | None:
        now = self.runner.clock.now()
        return next((d for d in self._due if d.fault.kind == kind and d.start <= now < d.end), None)
