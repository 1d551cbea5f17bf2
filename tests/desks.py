"""Journals to test with: a run of the engine whose inputs go through a desk, in batches of any size."""

import numpy as np

from replay.data.synth import equity_day
from replay.engine import Engine
from replay.live.desk import Desk
from replay.live.disk import Disk
from replay.live.head import head_of
from replay.strategy import load
from replay.trader.limits import Limits

LIMITS = Limits(max_drawdown=5, max_orders=50)


def strategies():
    return [load("passive_quoting", {"qty": 5}), load("ema_cross", {"fast": 20, "slow": 50, "warmup": 50, "qty": 3})]


def engine(n_events=3_000):
    """A run and the inputs its trader took."""
    e = Engine(equity_day(n_events=n_events, seed=2), strategies(), limits=LIMITS, journal=True).run()
    return e, e.journal()


def write(folder, journal, every=100, snapshot_every=0, until=None, desk=None):
    """Feed a run's inputs into a desk over `folder`; returns the desk, still open."""
    head = head_of(
        journal.build.strategies,
        journal.build.manifest,
        journal.build.limits,
        journal.build.capital,
        "none",
        "test",
        journal.start_ns,
    )
    desk = desk or Desk.new(Disk(folder), head, journal.build.strategies, journal.start_ns)
    frames = journal.frames[int(desk.header.seq) : until]
    with desk:
        for k, (now, event) in enumerate(zip(frames["now"].tolist(), frames["event"], strict=True)):
            desk.take(np.ascontiguousarray(event).tobytes(), now)
            if k % every == every - 1:
                desk.durable()
            if snapshot_every and k % snapshot_every == snapshot_every - 1:
                desk.durable()
                desk.claim()
                desk.snapshot()
        desk.durable()
        desk.claim()
    return desk
