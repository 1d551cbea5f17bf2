"""``replay.run`` and ``replay.sweep``: what the commands do, for a notebook or a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa

from replay.data.session import Session
from replay.errors import BadInput
from replay.faults.plan import Plan
from replay.runs import sweep as sweeping
from replay.runs.config import Chosen, RunConfig
from replay.runs.result import Result
from replay.strategy import load
from replay.trader.limits import Limits


def run(
    session: str | Path | Session | None = None,
    strategy: str | type | list = "ema_cross",
    parameters: dict[str, object] | None = None,
    *,
    limits: Limits | dict | None = None,
    faults: Plan | dict | str | Path | None = None,
    initial_capital: Decimal | int | str = 10_000,
    out: str | Path | None = None,
    **options: object,
) -> Result:
    """Replay `session` (a folder, a `Session`, or None for a small generated one) through one strategy or several.

    `strategy` is a class, ``file.py``, ``file.py:Class`` or the name of an example, with its `parameters`; several are a list of
    (strategy, parameters). `faults` is a plan, its content or its file (docs/faults.md). `options` are those of ``replay run``: latency, fill, queue, from_, to, warmup, seed. With `out` the run
    is also written to that folder. Raises `BadInput`, and `StrategyError` where a strategy raised.

    >>> import replay
    >>> replay.run(strategy="ema_cross", parameters={"fast": 200, "slow": 1000}, latency="5ms").summary.complete
    True
    """
    several = strategy if isinstance(strategy, list) else [(strategy, parameters or {})]
    loaded = [load(str(s) if isinstance(s, Path) else s, dict(p)) for s, p in several]
    config = configure(
        session=str(session) if isinstance(session, (str, Path)) else "",
        strategies=tuple(Chosen(source=_source(s), parameters=x.values) for (s, _), x in zip(several, loaded, strict=True)),
        limits=as_limits(limits),
        faults=Plan.of(faults),
        initial_capital=Decimal(str(initial_capital)),
        **options,
    )
    engine = config.engine(recording(session, config), loaded).run()
    result = Result.of(engine, config)
    if out is not None:
        result.save(out)
    return result


def sweep(
    session: str | Path | Session | None = None,
    strategy: str | type = "ema_cross",
    grid: Mapping[str, Sequence] = {},  # noqa: B006  (never changed)
    *,
    jobs: int = 1,
    limits: Limits | dict | None = None,
    initial_capital: Decimal | int | str = 10_000,
    **options: object,
) -> pa.Table:
    """A run for each combination of `grid`, one row each (`replay.runs.sweep`); otherwise as `run`.

    >>> import replay
    >>> replay.sweep(strategy="ema_cross", grid={"fast": [50, 100]}).column("orders").null_count
    0
    """
    config = configure(limits=as_limits(limits), initial_capital=Decimal(str(initial_capital)), **options)
    return sweeping.sweep(config, recording(session, config), strategy, grid, jobs)


def as_limits(given: Limits | dict | None) -> Limits:
    """Limits from their TOML table's content. Raises `BadInput`."""
    if isinstance(given, Limits):
        return given
    try:
        return msgspec.convert(given or {}, Limits, strict=False)
    except (msgspec.ValidationError, ValueError) as e:
        raise BadInput(f"limits: {e}: correct it; docs/limits.md lists every limit with its unit") from None


def configure(**options: object) -> RunConfig:
    """A `RunConfig` from keyword arguments. Raises `BadInput` for one that it does not have."""
    known = RunConfig.__struct_fields__
    for name in options:
        if name not in known:
            raise BadInput(f"option {name!r}: expected one of {', '.join(known)}")
    try:
        return RunConfig(**options)
    except (ValueError, TypeError, AttributeError) as e:
        raise BadInput(f"options: {e}") from None


def recording(session: str | Path | Session | None, config: RunConfig) -> Session:
    """The session that is meant."""
    if isinstance(session, Session):
        return session
    if session is not None:
        return Session.open(session)
    from replay.data.synth import equity_day

    return equity_day(seed=config.seed)


def _source(strategy: str | type | Path) -> str:
    return strategy.__name__ if isinstance(strategy, type) else str(strategy)
