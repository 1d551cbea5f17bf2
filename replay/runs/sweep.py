"""Many runs of one strategy over one session, a run for each combination of parameters. The session is shared and never copied; the
kernel runs without Python's lock, so that `jobs` threads use as many cores. Every row is what the single run gives, digest for digest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from decimal import Decimal

import pyarrow as pa

from replay.data.session import Session
from replay.engine import Engine
from replay.errors import BadInput, ReplayError
from replay.runs.config import RunConfig
from replay.strategy import class_of, load
from replay.trader.limits import MONEY

MOST = 1_000_000  #: combinations


def values(text: str, name: str) -> list[int | float | str]:
    """What a parameter takes in turn: ``5:50:5`` (both ends included), ``1,2,5`` or one value. Exact: steps are decimal.

    >>> values("0.5:1.5:0.5", "x"), values("10,20", "x"), values("60s", "x")
    ([0.5, 1.0, 1.5], [10, 20], ['60s'])
    """
    parts = text.split(":")
    if len(parts) == 1:
        return [_value(part.strip()) for part in text.split(",")]
    try:
        first, last, step = map(Decimal, parts)
        count = int((last - first) / step) + 1
    except (ValueError, ArithmeticError):
        count = 0
    if not 0 < count <= MOST:
        raise BadInput(f"-p {name}={text}: expected FIRST:LAST:STEP such as 5:50:5, values such as 5,10,20, or one value")
    return [_value(str(first + k * step)) for k in range(count)]


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def sweep(
    config: RunConfig,
    session: Session,
    strategy: str | type,
    grid: Mapping[str, Sequence],
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """One row for each combination of `grid`, in its order: the parameters, then orders, fills, refused, gross, fees, net, drawdown,
    digest, and `error` where the strategy stopped the run. `config` says everything else; its strategies are not used.

    Raises `BadInput` before anything runs where a parameter or value is not one of the strategy's. Interrupted, the table holds what
    was done.

    >>> import replay
    >>> table = replay.sweep(strategy="ema_cross", grid={"fast": [50, 100], "slow": [400]})
    >>> table.select(["fast", "slow"]).to_pylist()
    [{'fast': 50, 'slow': 400}, {'fast': 100, 'slow': 400}]
    """
    cls = class_of(strategy)
    names, combinations = list(grid), list(itertools.product(*grid.values()))
    if len(combinations) > MOST:
        raise BadInput(f"{len(combinations):,} combinations: at most {MOST:,}: make the steps larger")
    loaded = [load(cls, dict(zip(names, combination, strict=True))) for combination in combinations]
    rows, warm_ns = config.rows(session)
    profile = config.profile(session.instruments)
    config.engine_on(rows, warm_ns, [loaded[0]], profile=profile, keep_output=False)  # compiled once, here

    def one(k: int) -> tuple[int, tuple]:
        engine = config.engine_on(rows, warm_ns, [loaded[k]], profile=profile, keep_output=False)
        try:
            engine.run()
        except ReplayError as e:
            return k, (*_figures(engine), str(e))
        return k, (*_figures(engine), None)

    done: dict[int, tuple] = {}
    try:
        for k, figures in _in_parallel(one, len(combinations), jobs):
            done[k] = figures
            if progress:
                progress(len(done), len(combinations))
    except KeyboardInterrupt:
        pass
    rows.unchanged()
    return _table([{name: x.values[name] for name in names} for x in loaded], done)


def _figures(engine: Engine) -> tuple:
    h, rows = engine.trader.header, engine.trader.region("currencies")
    fees, net = sum(int(c.fees) for c in rows), int(h.equity) - int(h.initial)
    money = (float(Decimal(x) / MONEY) for x in (net + fees, fees, net, int(h.drawdown)))
    return int(h.c_new), int(h.n_fills), int(h.c_refused), *money, engine.digest


FIGURES = (
    ("orders", pa.int64()),
    ("fills", pa.int64()),
    ("refused", pa.int64()),
    ("gross", pa.float64()),
    ("fees", pa.float64()),
    ("net", pa.float64()),
    ("drawdown", pa.float64()),
    ("digest", pa.string()),
    ("error", pa.string()),
)


def _table(given: list[dict], done: dict[int, tuple]) -> pa.Table:
    which = sorted(done)
    columns = {name: pa.array([given[k][name] for k in which]) for name in given[0]}
    for j, (name, kind) in enumerate(FIGURES):
        columns[name] = pa.array([done[k][j] for k in which], kind)
    return pa.table(columns)


def _in_parallel(one: Callable[[int], tuple], n: int, jobs: int) -> Iterator[tuple]:
    """Results as they are finished, never more than a few ahead of what is running."""
    if jobs == 1:
        yield from map(one, range(n))
        return
    with ThreadPoolExecutor(jobs) as pool:
        todo = iter(range(n))
        running = {pool.submit(one, k) for k in itertools.islice(todo, 2 * jobs)}
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(one, k) for k in itertools.islice(todo, len(finished))}
                for future in finished:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()
