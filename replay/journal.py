"""The journal: every input of the trader in the order it took them, and what it said. Re-stepping it must give the same decisions.

A journal in memory holds frames of 80 bytes (sequence, clock, the 64-byte event) and the trader's output records. `verify` builds
the trader anew, feeds it the frames with nothing connected, and compares every record and both digests.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from replay.data.manifest import Manifest
from replay.errors import BadInput
from replay.events import EVENT
from replay.kernel.arena import Arena
from replay.kernel.memory import entry_of, failing
from replay.trader import layout as T
from replay.trader import setup, step
from replay.trader.limits import Limits
from replay.trader.output import FAULT_STRATEGY


class Build(NamedTuple):
    """All a trader is made from; another build of the same gives the same trader."""

    manifest: Manifest
    strategies: Sequence
    limits: Limits
    strategy_limits: Sequence[Limits]
    capital: dict[str, Decimal]
    order_capacity: int
    warmup: bool = False

    def trader(self) -> Arena:
        """A fresh trader."""
        made = setup.build(self.manifest, self.strategies, self.limits, self.strategy_limits, self.capital, self.order_capacity)
        made.header.mode = T.WARMUP if self.warmup else T.RUN
        return made


class Journal(NamedTuple):
    """Inputs and outputs of a trader, with what it was built from and the digests it reached."""

    build: Build
    start_ns: int  # the clock at on_start
    frames: np.ndarray  # FRAME records
    outputs: np.ndarray  # EVENT records (`replay.trader.output`)
    digest: int
    state_digest: int
    stopped: bool  # on_stop has run


class Verdict(NamedTuple):
    """What re-stepping a journal gave. `divergence` is the index of the first output record that differs, -1 if none does."""

    identical: bool
    inputs: int
    divergence: int
    digest: int

    def __str__(self) -> str:
        if self.identical:
            return f"identical: {self.inputs:,} inputs, digest {self.digest & (1 << 64) - 1:016x}"
        where = f"output record {self.divergence:,}" if self.divergence >= 0 else "the state"
        return f"DIFFERENT: first at {where}, after {self.inputs:,} inputs"


def wire(trader: Arena, strategies: Sequence, out: np.ndarray | None, frames: np.ndarray | None) -> np.ndarray:
    """Write the addresses valid in this process only: handlers and, where wanted, the rings that are drained. Keep the result."""
    rows, kept = trader.region("strategies"), np.zeros((1 + len(strategies), T.N_HOOKS), T.HANDLER)
    last = np.zeros(T.N_HOOKS, int)
    for k, strategy in enumerate(strategies):
        for name, address in strategy.handlers(k).items():
            hook = T.HOOKS.index(name)
            kept[1 + k, hook] = address, rows[k].self_at, rows[k].each_at, 0, k
            kept["next"][last[hook], hook] = 1 + k
            last[hook] = 1 + k
    h = trader.header
    h.handlers = kept.ctypes.data
    h.features_in = entry_of(step.features_in).address if any(s.features for s in strategies) else 0
    h.out, h.out_cap, h.out_n = (out.ctypes.data, len(out), 0) if out is not None else (0, setup.NO_OUTPUT, 0)
    h.journal, h.journal_cap, h.journal_n = (frames.ctypes.data, len(frames), 0) if frames is not None else (0, 0, 0)
    return kept


class Stepper:
    """A trader fed by hand, with nothing connected: one built anew, or one taken over (`trader`).

    `feed` and the hooks give what it said. A strategy that raised stands in `faults` as (input, hook, error); the trader goes on.
    """

    def __init__(self, build: Build, trader: Arena | None = None):
        self.build, self.trader = build, trader or build.trader()
        self.out = np.zeros(3 * T.OUT_MARGIN, EVENT)
        self.faults: list[tuple[int, str, BaseException | None]] = []
        self._handlers = wire(self.trader, build.strategies, self.out, None)
        self._raised: BaseException | None = None
        self._advance = entry_of(step.step)

    def start(self, now: int) -> np.ndarray:
        """Run `on_start` with the clock at `now`."""
        self.trader.header.now = now
        return self._hook(T.ON_START)

    def stop(self) -> np.ndarray:
        """Run `on_stop`."""
        return self._hook(T.ON_STOP)

    def feed(self, frames: np.ndarray) -> np.ndarray:
        """Take the inputs in (FRAME records). Cost: about 1 us each."""
        h, base, advance = self.trader.header, self.trader.base, self._advance
        said = []
        frames = np.ascontiguousarray(frames)
        first = frames.ctypes.data + 16
        with failing(self._failed):
            for k, now in enumerate(frames["now"].tolist()):
                advance(base, first + k * T.FRAME.itemsize, now)
                if h.attend:
                    said.append(self._attend())
        said.append(self._attend())
        return np.concatenate(said)

    def _hook(self, hook: int) -> np.ndarray:
        with failing(self._failed):
            entry_of(step.wake_hook)(self.trader.base, hook)
        return self._attend()

    def _failed(self, raised: BaseException) -> None:
        self._raised = raised
        self.trader.header.fault, self.trader.header.attend = FAULT_STRATEGY, 1

    def _attend(self) -> np.ndarray:
        h = self.trader.header
        if h.fault:
            self.faults.append((int(h.seq), T.HOOKS[int(h.hook)], self._raised))
            h.fault, self._raised = 0, None
        h.cmd_n = h.attend = 0
        said = self.out[: int(h.out_n)].copy()
        h.out_n = 0
        return said


def first_difference(said: np.ndarray, expected: np.ndarray) -> int:
    """Index of the first output record that differs, -1 if none does."""
    n = min(len(said), len(expected))
    differ = np.flatnonzero(np.ascontiguousarray(said[:n]).view("V64") != np.ascontiguousarray(expected[:n]).view("V64"))
    return int(differ[0]) if len(differ) else -1 if len(said) == len(expected) else n


def verify(journal: Journal) -> Verdict:
    """Re-step a journal through a fresh trader. Cost: about 1 us an input.

    Plain Python strategies start from their annotated defaults, as in a run, so their run must be over. Raises `BadInput` where
    the trader itself stops.
    """
    stepper = Stepper(journal.build)
    said = [stepper.start(journal.start_ns), stepper.feed(journal.frames)]
    if stepper.faults:
        at, hook, _ = stepper.faults[0]
        raise BadInput(f"journal: a strategy raised in {hook} at input {at:,} of {len(journal.frames):,}")
    if journal.stopped:
        said.append(stepper.stop())
    divergence = first_difference(np.concatenate(said), journal.outputs)
    digest = int(stepper.trader.header.digest)
    identical = divergence < 0 and digest == journal.digest and stepper.trader.digest() == journal.state_digest
    return Verdict(identical, len(journal.frames), divergence, digest)
