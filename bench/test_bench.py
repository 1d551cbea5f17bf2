"""Timings of the parts, for pytest-benchmark. ``pytest bench`` runs each once, on few events, as a test that it still works; timed:

pytest bench/test_bench.py --benchmark-enable --benchmark-only
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

from bench import latency, walks, workloads
from replay.data.session import Session
from replay.kernel import ladder
from replay.kernel.arena import Arena
from replay.kernel.memory import at, entry, entry_of, record
from replay.strategy import load

FEW = 20_000
MIB = 1 << 20
SIZES = pytest.mark.parametrize("size", [MIB // 4, 2 * MIB, 8 * MIB], ids=["0.25MiB", "2MiB", "8MiB"])


@functools.cache
def source(make, events: int) -> workloads.Source:
    return make(events)


@pytest.mark.parametrize("name", list(workloads.CASES))
def test_replay(benchmark, name):
    """A whole replay, engine built beforehand; output records kept."""
    case = workloads.CASES[name]
    events = source(case.source, workloads.EVENTS if benchmark.enabled else FEW)
    strategy, want = load(case.strategy), workloads.expected(name, events)
    workloads.check(name, workloads.build(case, events.session, strategy=strategy).run(), want)

    def setup():
        return (workloads.build(case, events.session, strategy=strategy),), {}

    engine = benchmark.pedantic(lambda e: e.run(), setup=setup, rounds=5 if benchmark.enabled else 1)
    if engine is not None:
        workloads.check(name, engine, want)
    n = len(events.session.events)
    benchmark.extra_info |= {"events": n, "events from": events.text}
    if benchmark.enabled:
        benchmark.extra_info["M events/s"] = round(n / benchmark.stats["median"] / 1e6, 3)


def arena_of(size: int) -> Arena:
    header = record(("wires", "i8", (8,)), ("cells_at", "i8"), ("cells_n", "i8"))
    arena = Arena(header, {"cells": (np.dtype("i8"), (size - 128) // 8)})
    arena.region("cells")[:] = np.random.default_rng(1).integers(1 << 60, size=arena.region("cells").size)
    assert abs(len(arena.bytes) - size) < 128
    return arena


@SIZES
def test_snapshot(benchmark, size):
    arena = arena_of(size)
    state = benchmark(arena.snapshot)
    assert len(state) == len(arena.bytes) - 64


@SIZES
def test_restore(benchmark, size):
    arena = arena_of(size)
    state, before = arena.snapshot(), arena.digest()
    arena.region("cells")[:] = 0
    benchmark(arena.restore, state)
    assert arena.digest() == before


@SIZES
def test_digest(benchmark, size):
    arena = arena_of(size)
    first = arena.digest()
    assert benchmark(arena.digest) == first


def test_engine_snapshot_and_restore(benchmark):
    """Trader and venue of W3 with orders working."""
    engine = workloads.build(workloads.CASES["w3"], source(workloads.l2_source, FEW).session)
    engine.advance(FEW // 2)
    before = engine.state_digest
    benchmark(lambda: engine.restore(engine.snapshot()))
    assert engine.state_digest == before
    benchmark.extra_info["bytes"] = len(engine.trader.bytes) + len(engine.venue.bytes)


def test_event_to_command(benchmark):
    """One call of the trader from Python, on a quote that makes it send an order. Percentiles: ``python -m bench.latency``."""
    rounds = 5_000 if benchmark.enabled else 1
    b = latency.Bench(rounds + 1)
    base, n = b.trader.base, iter(range(rounds + 1))
    first = [True]

    def setup():
        if not first[0]:
            b.settle()
        first[0] = False
        return (base, *b.event(next(n))), {}

    benchmark.pedantic(b.step, setup=setup, rounds=rounds)
    b.settle()
    assert int(b.trader.header.c_new) == rounds


@entry
def set_levels(base, ranks_at, n):
    """Set and remove `n` levels of the first ladder in the arena at `base`; returns the best rank. Offsets stand in the header."""
    l = at(base + at(base + 64, 1, walks.I64)[0], 1, ladder.LADDER)[0]
    ranks = at(ranks_at, 2 * n, walks.I64)
    for k in range(n):
        ladder.set_level(base, l, ranks[2 * k], ranks[2 * k + 1])
    return l.best


@pytest.mark.parametrize("spread", [16, 1000, 100_000], ids=["touch", "window", "overflow"])
def test_ladder_set_level(benchmark, spread):
    """10,000 changes within `spread` ranks of the touch, in a window of 4,096 ranks."""
    regions = ladder.regions(1, 4096, 1 << 17)
    first = next(iter(regions))
    names = [("ladders_at", "i8"), ("ladders_n", "i8")] + [(f"{r}_{p}", "i8") for r in regions if r != first for p in ("at", "n")]
    assert first == "ladders"
    arena = Arena(record(("wires", "i8", (8,)), *names), regions)
    ladder.prepare(arena, 4096, 1 << 17)
    rng, n = np.random.default_rng(1), 10_000
    ranks = np.empty((n, 2), np.int64)
    ranks[:, 0] = 1_000_000 - rng.integers(spread, size=n)
    ranks[:, 1] = np.where(rng.random(n) < 0.3, 0, rng.integers(1, 1000, size=n))
    ranks[0] = 1_000_000, 1  # the touch stays
    ranks[1:, 0] -= 1
    best = benchmark(entry_of(set_levels), arena.base, ranks.ctypes.data, n)
    assert best == 1_000_000
    benchmark.extra_info["changes"] = n


@pytest.mark.parametrize("trust", [False, True], ids=["hashed", "trusted"])
def test_session_open(benchmark, tmp_path, trust):
    """A saved session as a memory map; hashed reads it all."""
    session = source(workloads.l1_source, workloads.EVENTS if benchmark.enabled else FEW).session
    session.save(tmp_path)
    opened = benchmark(Session.open, tmp_path, trust)
    assert opened.manifest.sha256 == session.manifest.sha256
    benchmark.extra_info["bytes"] = session.events.nbytes
