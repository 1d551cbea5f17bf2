"""Schedules run one after another in this process: engines built, checked at every input, and thrown away."""

from __future__ import annotations

import copy
import hashlib
from typing import NamedTuple

import numpy as np

from replay.data.session import Session
from replay.engine import Engine
from replay.errors import ReplayError
from replay.fuzz.kernel import layout as C
from replay.fuzz.kernel import rules as B
from replay.fuzz.schedule import schedule, settled_by
from replay.fuzz.watch import Broken, Checker, watched
from replay.runs.config import Chosen, RunConfig
from replay.strategy import load, parameters


class Outcome(NamedTuple):
    """What a schedule came to: a digest of all inputs, outputs and both states, how many inputs there were, and what broke, if anything."""

    digest: str
    inputs: int
    broken: Broken | None = None
    text: str = ""  # of an error that was raised


class Runner:
    """Runs schedules over one session. `struck` and `arrived` count, over all of them, faults and reports by the state of their order."""

    def __init__(self, session: Session, base: RunConfig):
        self.session, self.base = session, base
        self.struck = np.zeros((C.N_KINDS, C.N_STATES), np.int64)
        self.arrived = np.zeros((C.N_EXECS, C.N_STATES), np.int64)
        self._loaded: dict[tuple, object] = {}
        self._checker: Checker | None = None

    def number(self, seed: int, number: int, events: int) -> Outcome:
        """Run schedule `number` of `seed`."""
        return self.run(schedule(self.base, self.session, seed, number, events))

    def run(self, config: RunConfig) -> Outcome:
        """Run one configuration to its end or to the first thing that is broken."""
        return self.checked(config)[0]

    def checked(self, config: RunConfig) -> tuple[Outcome, Engine | None]:
        """The same, with the engine as it stands then; None where there never was one."""
        engine = None
        try:
            engine = self.engine(config)
            checker = self._room(engine)
            broken = watched(engine, checker, settled_by(config, engine.session))
        except ReplayError as e:
            h = engine.trader.header if engine else None
            seq, now = (int(h.seq), int(h.now)) if h else (0, 0)
            return Outcome("", seq, Broken(B.RAISED, seq, now), str(e)), engine
        struck, arrived = checker.counts()
        self.struck += struck
        self.arrived += arrived
        words = (checker.digest, int(engine.trader.header.digest), engine.trader.digest(), engine.venue.digest())
        digest = hashlib.blake2b(np.array(words, np.int64).tobytes(), digest_size=8).hexdigest()
        return Outcome(digest, int(checker.arena.header.inputs), broken), engine

    def engine(self, config: RunConfig) -> Engine:
        """The engine of a schedule, not started."""
        return config.engine(self.session, [self._strategy(c) for c in config.strategies])

    def _room(self, engine: Engine) -> Checker:
        h = engine.trader.header
        events = 1 << (4 * len(engine.feed.rows) + 4096).bit_length()
        wanted = (int(h.orders_n), int(h.n_strategies), int(h.n_instruments), events)
        have = self._checker.sizes if self._checker else (0, 0, 0, 0)
        if any(a > b for a, b in zip(wanted, have, strict=True)):
            self._checker = Checker(*map(max, wanted, have))
        return self._checker

    def _strategy(self, chosen: Chosen):
        """A strategy with its parameters: compiled ones are kept, plain ones made anew, for they hold their own state."""
        key = (chosen.source, *chosen.parameters.items())
        if key in self._loaded:
            return self._loaded[key]
        known = self._loaded.get(chosen.source)
        if known is None or known.kind == "plain" or known.features:
            known = load(chosen.source if known is None else known.cls, chosen.parameters)
            self._loaded[chosen.source] = known
            if known.features and known.kind == "compiled":
                self._loaded[key] = known
            return known
        other = copy.copy(known)  # what is compiled is the same whatever the parameters
        other.values = parameters(known.cls, chosen.parameters)
        return other
