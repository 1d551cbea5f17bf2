"""An engine with the checker behind it: after every input all invariants are looked at, in compiled code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from replay.engine import BLOCK, KERNELS, Engine
from replay.events import EVENT
from replay.fuzz.kernel import drive as kernel
from replay.fuzz.kernel import layout as C
from replay.fuzz.kernel.rules import RULES
from replay.kernel.arena import Arena
from replay.kernel.memory import entry_of, link
from replay.trader import layout as T


class Broken(NamedTuple):
    """What an invariant's check found: the rule, at which input, when (ns), two figures, the order and the instrument (-1: none)."""

    rule: int
    seq: int
    now: int
    figure: int = 0
    bound: int = 0
    handle: int = 0
    instrument: int = -1

    @property
    def name(self) -> str:
        return RULES[self.rule][0]

    def __str__(self) -> str:
        name, invariant, sentence = RULES[self.rule]
        order = f", order {self.handle >> T.SLOT_BITS}" if self.handle else ""
        return f"{name} ({invariant or 'run'}): {sentence} (input {self.seq:,}{order}: {self.figure:,} against {self.bound:,})"


class Checker:
    """The memory of a checker, used again for one engine after another of at most its sizes."""

    def __init__(self, orders: int, strategies: int, instruments: int, execs: int):
        link(*KERNELS, kernel.begun, kernel.drive)
        self.sizes = (orders, strategies, instruments, execs)
        self.arena = Arena(C.HEADER, C.regions(orders, strategies, instruments, execs))
        self._fresh = self.arena.snapshot()

    def reset(self) -> None:
        self.arena.restore(self._fresh)

    @property
    def broken(self) -> Broken | None:
        c = self.arena.header
        if not c.broken:
            return None
        return Broken(*(int(c[name]) for name in ("broken", "seq", "now", "figure", "bound", "handle", "where")))

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Faults by kind and state of the order they struck, reports by kind and state of the order they reached."""
        struck = self.arena.region("struck").reshape(C.N_KINDS, C.N_STATES).copy()
        return struck, self.arena.region("arrived").reshape(C.N_EXECS, C.N_STATES).copy()

    @property
    def digest(self) -> int:
        return int(self.arena.header.digest)


def watched(engine: Engine, checker: Checker, latest: int) -> Broken | None:
    """Run an engine that has not started to its end, or to the first thing that is broken. `latest`: when it must have settled, ns.

    Raises what `Engine.run` raises.
    """
    checker.reset()
    drive, base, hits = entry_of(kernel.drive), checker.arena.base, engine.feed.hits
    hits = np.ascontiguousarray(hits).view(EVENT)
    engine.loop = lambda *args: drive(base, *args, hits.ctypes.data, len(hits), latest)
    engine.start()
    said = engine.output()
    entry_of(kernel.begun)(base, engine.trader.base, said.ctypes.data, len(said))
    while not engine.advance(BLOCK) and not checker.arena.header.broken:
        pass
    return checker.broken
