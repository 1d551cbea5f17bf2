"""The features of a run's strategies over its time: the run is made again and looked at while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from replay.engine import Engine
from replay.runs.rebuild import agree, rebuild
from replay.runs.result import Result
from replay.trader.specs import Spec

LOOKS = 2_000  #: at a run's features: more than a screen has columns


def values(engine: Engine) -> Iterator[tuple[int, str, Spec, int, float | None]]:
    """Every feature as it is now: index of its strategy, name, what it is, index of the instrument, value (prices in ticks; None: not
    ready)."""
    rows, index, at = engine.trader.region("features"), engine.trader.region("feature_index"), 0
    for k, strategy in enumerate(engine.strategies):
        for name, spec in strategy.features.items():
            for n in range(len(engine.session.instruments)):
                row = rows[index[at + n]]
                yield k, name, spec, n, float(row.value) if row.ready else None
            at += len(engine.session.instruments)


def sampled(run: Result, told: Callable[[int, int], None] | None = None) -> pa.Table:
    """One row a feature and look, `LOOKS` of them, the same number of rows apart: ts, strategy, symbol, feature, value (null: not ready).

    Raises `BadInput` as `replay.runs.rebuild.rebuild`, and where the run made again says something else. Cost: the run's, and 2 us a value.

    >>> import replay
    >>> sampled(replay.run(strategy="mean_reversion")).column("feature").unique().to_pylist()
    ['z']
    """
    engine = rebuild(run)
    n = len(engine.feed.ours)
    found: list[tuple] = []
    names = [s.name for s in run.summary.strategies]
    symbols = [i.symbol for i in engine.session.instruments]
    for k in range(1, LOOKS + 1):
        engine.advance(n * k // LOOKS - int(engine.venue.header.local_i))
        ts = int(engine.trader.header.now)
        found += [(ts, names[s], symbols[i], name, value) for s, name, _, i, value in values(engine)]
        if told:
            told(k, LOOKS)
    engine.run()
    agree(engine, run)
    columns = list(zip(*found, strict=True)) if found else [()] * 5
    return pa.table(
        {
            "ts": pa.array(np.array(columns[0], np.int64)).cast(pa.timestamp("ns", "UTC")),
            "strategy": pa.array(columns[1], pa.string()).dictionary_encode(),
            "symbol": pa.array(columns[2], pa.string()).dictionary_encode(),
            "feature": pa.array(columns[3], pa.string()).dictionary_encode(),
            "value": pa.array(columns[4], pa.float64()),
        }
    )
