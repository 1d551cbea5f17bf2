"""A run changed half-way: other parameters, limits or latency from a moment on.

What has happened stays: positions, orders, the strategy's state and everything computed of the past. So a parameter that has already
been used up, by ``on_start`` or in the table of features, cannot be changed here, and trying is an error.
"""

from __future__ import annotations

import ast
import bisect
import datetime
import inspect
import textwrap

import msgspec

from replay.data.session import Session
from replay.data.times import ns_of, utc_text
from replay.engine import Engine
from replay.errors import BadInput
from replay.kernel.memory import entry_of
from replay.runs.config import RunConfig, time_ns
from replay.strategy import load
from replay.trader.limits import Limits
from replay.trader.setup import fill_limits
from replay.trader.step import start_account
from replay.venue.setup import set_legs

CHANGEABLE = ("strategies", "limits", "latency")  #: of a configuration
SIZED = ("max_orders", "max_messages", "reject_spike")  #: limits that have a window of their own length in the state


def moment(text: str, session: Session) -> int:
    """A time within the session as ns: a time of day, meant on the session's first day (UTC), or a full one. Raises `BadInput`.

    >>> from replay.data.synth import equity_day
    >>> utc_text(moment("15:31", equity_day(n_events=100)))
    '2026-03-02T15:31:00Z'
    """
    m = session.manifest
    try:
        day = datetime.datetime.fromtimestamp(m.start_ns // 10**9, datetime.UTC).date()
        ns = ns_of(datetime.datetime.combine(day, datetime.time.fromisoformat(text), datetime.UTC))
    except ValueError:
        ns = time_ns(text, "--fork RUN@TIME, a time of day such as 09:31 or a full one")
    if not m.start_ns <= ns <= m.end_ns:
        raise BadInput(
            f"--fork RUN@{text}: that is {utc_text(ns)}, expected a time from {utc_text(m.start_ns)} to {utc_text(m.end_ns)}"
        )
    return ns


def rows_by(engine: Engine, ns: int) -> int:
    """How many more rows reach us by `ns`; where the feed leg is modelled, those that do at its median."""
    s, feed = engine.session, engine.profile.feed
    if feed.kind == "recorded":
        n = bisect.bisect_right(engine.feed.ours.ts_recv, ns)
    elif s.order is None:
        n = bisect.bisect_right(s.events.ts_event, ns - feed.ns)
    else:
        n = bisect.bisect_right(s.order, ns - feed.ns, key=lambda row: s.events.ts_event[row])
    return max(0, n - int(engine.venue.header.local_i))


def apply(engine: Engine, old: RunConfig, new: RunConfig) -> None:
    """Make an engine that ran with `old` go on with `new`. Raises `BadInput` for what cannot change half-way."""
    for name in RunConfig.__struct_fields__:
        if name not in CHANGEABLE and getattr(old, name) != getattr(new, name):
            raise BadInput(f"--fork: {name.rstrip('_')} cannot change half-way; parameters, --limits and --latency can")
    for k, chosen in enumerate(new.strategies):
        if chosen != old.strategies[k]:
            _take_parameters(engine, k, load(chosen.source, chosen.parameters, named_by="the run that is forked"))
    _take_limits(engine, new.limits)
    profile = new.profile(engine.session.instruments)
    if profile.feed != engine.profile.feed:
        raise BadInput("--fork: the feed leg cannot change half-way: rows are on their way; entry and response can")
    engine.profile = profile
    set_legs(engine.venue, profile)


def _take_parameters(engine: Engine, k: int, made: object) -> None:
    strategy = engine.strategies[k]
    changed = [name for name in made.values if made.values[name] != strategy.values[name]]
    if made.features != strategy.features:
        raise BadInput(
            f"--fork: {strategy.name}: with {', '.join(changed)} features() makes another table, which cannot change half-way"
        )
    if made.lengths != strategy.lengths:
        raise BadInput(
            f"--fork: {strategy.name}: with {', '.join(changed)} its arrays have another length, which cannot change half-way"
        )
    for name in changed:
        if readers(strategy.cls, name) <= {"on_start", "features"}:
            raise BadInput(
                f"--fork: {strategy.name}: {name} is read in on_start only, which has run: changing it now would do nothing"
            )
    strategy.take_parameters(made, engine.trader, k)


def readers(cls: type, name: str) -> set[str]:
    """The methods of a class that read ``self.name``."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
    return {
        method.name
        for method in body
        if isinstance(method, ast.FunctionDef)
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.value, ast.Name) and node.value.id == "self"
    }


def _take_limits(engine: Engine, limits: Limits) -> None:
    for name in SIZED:
        if getattr(limits, name) != getattr(engine.limits, name):
            raise BadInput(f"--fork: limit {name} cannot change half-way: what it counts is kept for its old value only")
    fill_limits(engine.trader, engine.session.manifest, limits, [Limits()] * len(engine.strategies))
    entry_of(start_account)(engine.trader.base)
    engine.limits = limits


def changed(config: RunConfig, parameters: dict[str, dict[str, str]], limits: Limits | None, latency: str | None) -> RunConfig:
    """A run's configuration with what a fork changes. `parameters` by strategy, as it was named for the run ("": the first one)."""
    strategies = list(config.strategies)
    for source, values in parameters.items():
        known = [c.source for c in strategies]
        if source and source not in known:
            raise BadInput(f"--strategy {source}: the run that is forked has {', '.join(known)}: name one of them")
        k = known.index(source) if source else 0
        strategies[k] = msgspec.structs.replace(strategies[k], parameters=strategies[k].parameters | values)
    return msgspec.structs.replace(
        config, strategies=tuple(strategies), limits=limits or config.limits, latency=latency or config.latency
    )
