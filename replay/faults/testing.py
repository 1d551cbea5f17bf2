"""``@replay.faults.swarm``: a test of a strategy under random faults.

    import replay

    @replay.faults.swarm("my.py", schedules=200)
    def test_mine(run):
        assert run.max_drawdown < 500

The test is called with each finished run, and the engine's own invariants are checked in all of them. A schedule that fails is made
as small as it gets, written to a file, and the command that runs it again is printed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from replay.data.session import Session
from replay.engine import Engine
from replay.faults.plan import Plan
from replay.faults.plugin import chosen
from replay.fuzz.runner import Outcome, Runner
from replay.fuzz.schedule import schedule
from replay.fuzz.shrink import shrink
from replay.fuzz.watch import Broken
from replay.runs.api import recording
from replay.runs.config import Chosen, RunConfig
from replay.runs.result import Result
from replay.summary import money
from replay.trader.limits import Limits

FAILED = -1  #: the rule of a test that failed, beside those of the checker
FOLDER = Path(".replay-fuzz")


class Run:
    """A finished run under one schedule. Figures of the account, in its currency; `result` has tables, and is made when asked for."""

    def __init__(self, runner: Runner, config: RunConfig, engine: Engine):
        self._runner, self.config, self.engine = runner, config, engine

    @property
    def faults(self) -> Plan:
        """The plan it ran under."""
        return self.config.faults

    @property
    def equity(self) -> Decimal:
        """At the end."""
        return money(int(self.engine.trader.header.equity))

    @property
    def pnl(self) -> Decimal:
        return self.equity - self.config.initial_capital

    @property
    def max_drawdown(self) -> Decimal:
        """The largest fall of equity from a peak."""
        return money(int(self.engine.trader.header.drawdown))

    @property
    def orders(self) -> int:
        """How many were sent."""
        return int(self.engine.trader.header.c_new)

    def position(self, symbol: str) -> Decimal:
        """What the account holds of a symbol at the end."""
        k = self.engine.session.index(symbol)
        return self.engine.session.instruments[k].qty(int(self.engine.trader.region("views")[k].pos))

    @functools.cached_property
    def result(self) -> Result:
        """The whole run with its tables: made again, without the checker."""
        return Result.of(self._runner.engine(self.config).run(), self.config)


def swarm(
    strategy: str | type | None = None,
    parameters: dict[str, object] | None = None,
    *,
    session: str | Path | Session | None = None,
    limits: Limits | dict | None = None,
    schedules: int = 200,
    seed: int = 1,
    events: int = 600,
    alone: bool = True,
) -> Callable[[Callable], Callable]:
    """A decorator of a test that takes a run: it is called for `schedules` random schedules of faults over slices of `session`.

    `strategy` is what `replay.run` takes, `session` too (None: a small generated one). With `alone` no random orders go out beside the
    strategy's. Limits are drawn at random unless given. The options of pytest ``--replay-schedules`` and ``--replay-seed`` go
    before `schedules` and `seed`.
    """
    if isinstance(strategy, type):
        strategy = f"{inspect.getsourcefile(strategy)}:{strategy.__name__}"

    def decorate(test: Callable) -> Callable:
        parameters_of = list(inspect.signature(test).parameters.values())

        @functools.wraps(test)
        def checked(*args, **kwargs) -> None:
            base = RunConfig(
                session="" if session is None or isinstance(session, Session) else str(session),
                strategies=(Chosen(source=strategy or "ema_cross", parameters=parameters or {}),),
                limits=Limits(**limits) if isinstance(limits, dict) else limits or Limits(),
            )
            data = session if isinstance(session, Session) else recording(session, base)
            many, of = chosen.get("schedules") or schedules, chosen.get("seed", seed)
            _Tested(Runner(data, base), lambda run: test(run, *args, **kwargs), alone).all(of, many, events)

        checked.__signature__ = inspect.Signature(parameters_of[1:])  # the others are fixtures
        return checked

    return decorate


class _Tested:
    """A runner that also calls the test: what it raises is a finding like any other, and is shrunk like one."""

    def __init__(self, runner: Runner, test: Callable[[Run], None], alone: bool):
        self.runner, self.test, self.alone = runner, test, alone
        self.session, self.raised = runner.session, None

    def run(self, config: RunConfig) -> Outcome:
        outcome, engine = self.runner.checked(config)
        if outcome.broken is None:
            try:
                self.test(Run(self.runner, config, engine))
            except AssertionError as e:
                self.raised = e
                return outcome._replace(broken=Broken(FAILED, int(engine.trader.header.seq), int(engine.trader.header.now)))
        return outcome

    def all(self, seed: int, schedules: int, events: int) -> None:
        """Run all of them. Raises `AssertionError` for the first that fails, with its smallest plan and the command."""
        for k in range(schedules):
            config = schedule(self.runner.base, self.runner.session, seed, k, events, self.alone)
            outcome = self.run(config)
            if outcome.broken:
                self._fail(seed, k, *shrink(self, config, outcome))

    def _fail(self, seed: int, number: int, config: RunConfig, outcome: Outcome) -> None:
        self.run(config)  # the last one that was tried may have passed
        FOLDER.mkdir(exist_ok=True)
        path = FOLDER / f"schedule-{seed}-{number}.toml"
        path.write_text(config.to_toml())
        faults = "".join(f"\n  {f.kind} {f.when()}" for f in config.faults.faults) or " none"
        own = outcome.broken.rule == FAILED
        what = f"the test failed: {self.raised}" if own else f"{outcome.text or outcome.broken}"
        again = f"replay run --config {path}" if own else f"replay fuzz {config.session or 'SESSION'} --plan {path}"
        raise AssertionError(f"schedule {number} of seed {seed}: {what}\nfaults left:{faults}\nagain: {again}") from (
            self.raised if own else None
        )
