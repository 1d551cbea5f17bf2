"""The runs whose digests are compared, here or in a process of their own: ``python tests/runs.py NAME...`` prints them as JSON."""

import functools
import json
import sys
from decimal import Decimal

import numpy as np

from replay import events as ev
from replay.data import synth
from replay.data.session import Session, end_bar_messages
from replay.engine import Engine
from replay.strategy import load
from replay.trader.limits import Limits
from replay.venue.setup import Leg, Profile

LEGS = {"entry": Leg("lognormal", 1_000_000, 0.5), "response": Leg("lognormal", 800_000, 0.3)}
LIMITS = Limits(
    max_position=Decimal(60), max_messages=200, max_orders=150, collar_bps=5000, reject_spike=50, max_quote_age_s=Decimal(900)
)


@functools.lru_cache(8)
def session(name):
    if name == "l1":
        return synth.equity_day(("A", "B"), 1_500, seed=11)
    if name == "l2":
        return synth.l2_book(1_500, seed=12)
    if name == "w4":
        from bench import bars

        return bars.session(bars.walk(2, 5))
    if name == "bars":
        return two_intervals(synth.bar_days(("A", "B"), 800, seed=13))
    raise KeyError(name)


def two_intervals(s):
    """The second symbol's bars as its only ones every ten minutes, the first's ten-minute bars beside its own."""
    rows = s.events.copy()
    minutes = rows.ts_event // (60 * 10**9)
    bar = rows.kind == ev.BAR
    ten = bar & (minutes % 10 == 0)
    extra = rows[ten & (rows.instrument == 0)].copy()
    rows.side[bar & (rows.instrument == 1)] = 1
    extra.side[:] = 1
    rows = np.concatenate([rows[~bar | (rows.instrument == 0) | ten], extra])
    rows = rows[np.lexsort((rows["kind"] == ev.PHASE, rows["ts_recv"]))].view(np.recarray)
    end_bar_messages(rows)
    return Session.from_rows(rows, s.instruments, name="two", bar_intervals_ns=[300 * 10**9, 600 * 10**9])


def engine(name):
    """``l1-busy``: level and strategy, with what else the run has."""
    from busy import Busy, PlainBusy
    from busy_bars import BusyBars, PlainBusyBars

    level, what, *more = name.split("-")
    cross = {"fast": 8, "slow": 24, "warmup": 30, "qty": 2}
    strategies = {
        "busy": lambda: [load(BusyBars if level == "bars" else Busy)],
        "plainbusy": lambda: [load(PlainBusyBars if level == "bars" else PlainBusy)],
        "two": lambda: [load(Busy), load(Busy, {"every": 5, "qty": 1})],
        "cross": lambda: [load("ema_cross", cross)],
        "plaincross": lambda: [load(plain("ema_cross"), cross)],
        "sma": lambda: [load("sma_cross", {"fast": 3, "slow": 7, "qty": 2})],
        "plainsma": lambda: [load(plain("sma_cross"), {"fast": 3, "slow": 7, "qty": 2})],
        "passive": lambda: [load("passive_quoting", {"qty": 5, "max_position": 30})],
    }[what]()
    profile = {
        "": Profile(**LEGS, maker_fee_ppm=100, taker_fee_ppm=300),
        "hft": Profile(name="hftbacktest", queue="power2", queue_n=2.0, **LEGS),
        "slow": Profile(entry=Leg("constant", 1_200_000_000_000)),  # what is sent in the last twenty minutes meets a closed venue
        "feed": Profile(**LEGS, feed=Leg("lognormal", 500_000, 0.4)),
        # reports that always take as long, more and less than the feed: rows need not be merged by key, and some must be
        "late": Profile(entry=Leg("constant", 1_000_000), response=Leg("constant", 2_000_000_000)),
        "far": Profile(name="realistic", **LEGS | {"feed": Leg("constant", 2_000_000_000)}),  # several rows are ahead of us
        "soon": Profile(entry=Leg("constant", 1_000_000), response=Leg("constant", 50_000)),
    }[more[0] if more else ""]
    return Engine(
        session(level), strategies, profile, LIMITS, capital={session(level).manifest.instruments[0].currency: Decimal(10**6)}
    )


def plain(name):
    """The class of an example, not compiled."""
    from replay.strategy import class_of

    cls = class_of(name)
    return type(cls.__name__, (cls,), {"__compiled__": False, "__module__": cls.__module__})


def digests(name):
    e = engine(name).run()
    return [e.digest, e.state_digest, int(e.trader.header.c_new), int(e.trader.header.n_fills)]


if __name__ == "__main__":
    print(json.dumps({name: digests(name) for name in sys.argv[1:]}))
