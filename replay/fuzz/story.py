"""What happened in a schedule that broke something: the input at which it did, what was said there, and the order's way until then."""

from __future__ import annotations

import contextlib

import msgspec
import numpy as np

from replay.data.times import utc_text
from replay.errors import StrategyError
from replay.fuzz.kernel.rules import RULES
from replay.fuzz.runner import Runner
from replay.fuzz.watch import Broken
from replay.runs.config import RunConfig
from replay.runs.wording import event_text
from replay.show import line, said_by
from replay.summary import strategy_names
from replay.trader import layout as T
from replay.trader.output import OUT_EQUITY, OUT_SEEN

BEFORE = 12  #: records told before the input at which it broke


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """A broken invariant: which, at which input (`at`, `event`), what the trader `said` there, what it had said of the order (or of all)
    `before`, and how often the plan's faults had struck."""

    rule: str
    invariant: str
    what: str
    input: int
    at: str
    event: str
    order: int | None
    said: tuple[str, ...]
    before: tuple[str, ...]
    struck: dict[str, int]


def tell(runner: Runner, config: RunConfig, broken: Broken) -> Story:
    """Run the schedule again, without the checker, up to the input at which it broke."""
    engine = runner.engine(config)
    engine.reach(max(0, broken.seq - 1))
    earlier = len(engine.output())
    with contextlib.suppress(StrategyError):  # which may be what broke
        engine.reach(broken.seq)
    rows = engine.output()
    told = _lines(engine, rows[:earlier], broken.handle)[-BEFORE:], _lines(engine, rows[earlier:], 0)
    struck: dict[str, int] = {}
    for x in engine.faults_struck():
        kind = config.faults.faults[int(x.id)].kind
        struck[kind] = struck.get(kind, 0) + 1
    name, invariant, _ = RULES[broken.rule]
    return Story(
        rule=name,
        invariant=invariant,
        what=str(broken),
        input=broken.seq,
        at=utc_text(engine.trader.header.now),
        event=event_text(engine.trader.region("current")[0], engine.session.instruments, engine.trader),
        order=broken.handle >> T.SLOT_BITS if broken.handle else None,
        said=tuple(told[1]),
        before=tuple(told[0]),
        struck=struck,
    )


def _lines(engine, rows: np.recarray, handle: int) -> list[str]:
    """Records in words: of one order where a handle is given."""
    rows = rows[(rows.kind != OUT_EQUITY) & (rows.kind != OUT_SEEN)]
    if handle:
        rows = rows[rows.a == handle]
    return [line(x) for x in said_by(rows, engine.session.instruments, strategy_names(engine))]
