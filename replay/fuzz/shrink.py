"""The smallest schedule that still breaks the same: faults, strategies, limits and settings left out, spans narrowed, the slice cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from replay.faults.plan import KINDS, Fault
from replay.fuzz.runner import Outcome, Runner
from replay.fuzz.schedule import RANDOM, text_of
from replay.runs.config import RunConfig, time_ns
from replay.trader.limits import Limits

MOST_RUNS = 1500

_with = msgspec.structs.replace


def shrink(
    runner: Runner, config: RunConfig, outcome: Outcome, told: Callable[[int, int], None] = lambda done, total: None
) -> tuple[RunConfig, Outcome]:
    """A configuration that breaks the rule that `config` broke (`outcome`), and what came of it. Leaves nothing out that it could."""
    runs = 0
    while True:
        for simpler in _simpler(config, outcome, runner):
            runs += 1
            told(min(runs, MOST_RUNS), MOST_RUNS)
            found = runner.run(simpler)
            if _same(found, outcome):
                config, outcome = simpler, found
                break
        else:
            return config, outcome
        if runs >= MOST_RUNS:
            return config, outcome


def _same(found: Outcome, outcome: Outcome) -> bool:
    """Whether both broke the same; a slice that is refused before it begins is not what a strategy raised."""
    return found.broken is not None and (found.broken.rule, found.inputs > 0) == (outcome.broken.rule, outcome.inputs > 0)


def _simpler(config: RunConfig, outcome: Outcome, runner: Runner) -> Iterator[RunConfig]:
    """Simpler configurations, those that leave most out first."""
    yield from _fewer_faults(config)
    yield from _fewer_strategies(config)
    yield from _shorter(config, outcome, runner)
    yield from _plainer(config)
    yield from _plainer_limits(config)
    yield from _plainer_flow(config)
    yield from _plainer_faults(config)


def _fewer_faults(config: RunConfig) -> Iterator[RunConfig]:
    faults = config.faults.faults
    size = len(faults)
    while size:
        for k in range(0, len(faults), size):
            yield _faulty(config, faults[:k] + faults[k + size :])
        size //= 2


def _faulty(config: RunConfig, faults: tuple[Fault, ...]) -> RunConfig:
    return _with(config, faults=_with(config.faults, faults=faults))


def _fewer_strategies(config: RunConfig) -> Iterator[RunConfig]:
    s = config.strategies
    if len(s) > 1:
        yield from (_with(config, strategies=s[:k] + s[k + 1 :]) for k in range(len(s)))


def _shorter(config: RunConfig, outcome: Outcome, runner: Runner) -> Iterator[RunConfig]:
    """The slice ends sooner, or begins later; faults stay where they are in time."""
    start, end = time_ns(config.from_, "from"), time_ns(config.to, "to")
    least = (end - start) // 100
    for part in (2, 4, 8, 16):
        if (end - start) // part > least:
            yield _with(config, to=text_of(end - (end - start) // part))
    for part in (2, 4, 8, 16):
        if (later := (end - start) // part // 1000 * 1000) > least:
            rows = runner.session.events.ts_recv
            was, now = (int(rows[rows.searchsorted(t)]) for t in (start, start + later))
            moved = [_moved(f, now - was) for f in config.faults.faults]
            yield _with(_faulty(config, tuple(f for f in moved if f)), from_=text_of(start + later))


def _offset(text: str | None) -> int:
    return int(text.removeprefix("+").removesuffix("ns"))


def _moved(f: Fault, by: int) -> Fault | None:
    """The same fault seen from a later start; None where it was over by then."""
    if f.at is not None:
        at = _offset(f.at) - by
        return _with(f, at=f"+{at}ns") if at > 0 else None
    to = _offset(f.to) - by
    return _with(f, from_=f"+{max(1, _offset(f.from_) - by)}ns", to=f"+{to}ns") if to > 1 else None


def _plainer(config: RunConfig) -> Iterator[RunConfig]:
    for name in ("latency", "fill", "order_capacity", "commission", "seed", "initial_capital"):
        default = getattr(RunConfig(), name)
        if getattr(config, name) != default:
            yield _with(config, **{name: default}, **({"queue": "risk_averse"} if name == "fill" else {}))


def _plainer_limits(config: RunConfig) -> Iterator[RunConfig]:
    if config.limits != Limits():
        yield _with(config, limits=Limits())
    for name, default in zip(Limits.__struct_fields__, Limits.__struct_defaults__, strict=True):
        if getattr(config.limits, name) != default:
            yield _with(config, limits=_with(config.limits, **{name: default}))


def _plainer_flow(config: RunConfig) -> Iterator[RunConfig]:
    """Fewer acts of the random order flow."""
    for k, chosen in enumerate(config.strategies):
        if chosen.source != RANDOM:
            continue
        p = chosen.parameters
        for name, value in (
            ("nonsense", 0),
            ("timers", 0),
            ("burst", 1),
            ("qty", 1),
            ("far", 1),
            ("every", min(512, 2 * p["every"])),
        ):
            if p[name] != value:
                other = _with(chosen, parameters={**p, name: value})
                yield _with(config, strategies=(*config.strategies[:k], other, *config.strategies[k + 1 :]))


def _plainer_faults(config: RunConfig) -> Iterator[RunConfig]:
    faults = config.faults.faults
    for k, f in enumerate(faults):
        for other in _plainer_fault(f):
            yield _faulty(config, (*faults[:k], other, *faults[k + 1 :]))


def _plainer_fault(f: Fault) -> Iterator[Fault]:
    takes = KINDS[f.kind]
    if f.at is None:
        start, end = _offset(f.from_), _offset(f.to)
        if end - start > 1000:
            middle = (start + end) // 2
            yield _with(f, to=f"+{middle}ns")
            yield _with(f, from_=f"+{middle}ns")
    if "share" in takes and f.share != 1:
        yield _with(f, share=Decimal(1))
    if f.symbols:
        yield _with(f, symbols=())
    if "factor" in takes and f.factor > 2:
        yield _with(f, factor=Decimal(2))
