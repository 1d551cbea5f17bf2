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
    handlers = np.zeros(max(1, len(strategies)) * T.N_HOOKS, np.int64)
    for k, strategy in enumerate(strategies):
        for hook, address in strategy.handlers(k).items():
            handlers[k * T.N_HOOKS + T.HOOKS.index(hook)] = address
    h = trader.header
    h.handlers = handlers.ctypes.data
    h.features_in = entry_of(step.features_in).address if any(s.features for s in strategies) else 0
    h.out, h.out_cap, h.out_n = (out.ctypes.data, len(out), 0) if out is not None else (0, setup.NO_OUTPUT, 0)
    h.journal, h.journal_cap, h.journal_n = (frames.ctypes.data, len(frames), 0) if frames is not None else (0, 0, 0)
    return handlers


def verify(journal: Journal) -> Verdict:
    """Re-step a journal through a fresh trader. Cost: about 1 us an input.

    Plain Python strategies start from their annotated defaults, as in a run, so their run must be over. Raises `BadInput` where
    the trader itself stops.
    """
    trader = journal.build.trader()
    h = trader.header
    out = np.zeros(3 * T.OUT_MARGIN, EVENT)
    handlers = wire(trader, journal.build.strategies, out, None)
    said: list[np.ndarray] = []

    def stop(raised: BaseException) -> None:
        h.fault, h.attend = FAULT_STRATEGY, 1

    with failing(stop):
        _step_all(journal, trader, out, said)
    del handlers
    again = np.concatenate(said)
    n = min(len(again), len(journal.outputs))
    differ = np.flatnonzero(again[:n].view("V64") != np.ascontiguousarray(journal.outputs[:n]).view("V64"))
    divergence = int(differ[0]) if len(differ) else -1 if len(again) == len(journal.outputs) else n
    digest = int(h.digest)
    identical = divergence < 0 and digest == journal.digest and trader.digest() == journal.state_digest
    return Verdict(identical, len(journal.frames), divergence, digest)


def _step_all(journal: Journal, trader: Arena, out: np.ndarray, said: list[np.ndarray]) -> None:
    """Feed every frame; what the trader says is collected in `said`."""
    h = trader.header
    hook, advance = entry_of(step.wake_hook), entry_of(step.step)
    h.now = journal.start_ns
    hook(trader.base, T.ON_START)
    h.cmd_n = h.attend = 0
    first = journal.frames.ctypes.data
    for k, now in enumerate(journal.frames["now"].tolist()):
        advance(trader.base, first + k * T.FRAME.itemsize + 16, now)
        if h.attend:
            if h.fault:
                raise BadInput(f"journal: the trader stopped at input {k:,} of {len(journal.frames):,} (fault {int(h.fault)})")
            h.cmd_n = h.attend = 0
            said.append(out[: int(h.out_n)].copy())
            h.out_n = 0
    if journal.stopped:
        hook(trader.base, T.ON_STOP)
        h.attend = 0
    said.append(out[: int(h.out_n)].copy())
