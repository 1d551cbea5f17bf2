"""One schedule: everything that a random run is made of, as a run's configuration. A function of a seed and a number, and of nothing else.

Swarm testing: a schedule has a random few of the kinds of faults, not a little of all. One that has them all keeps each from going far.
"""

from __future__ import annotations

import datetime
import math
import random
from decimal import Decimal

import msgspec
import numpy as np

from replay.data.session import Session
from replay.events import TRADE
from replay.faults.plan import ACTS, KINDS, OF_FEED, OURS, Fault, Plan
from replay.runs.config import Chosen, RunConfig
from replay.trader.limits import Limits
from replay.trader.specs import duration_ns

RANDOM = "replay.fuzz.trader"  #: the source of the random order flow
REPORTS = ["new", "trade", "canceled", "replaced", "rejected", "expired", "cancel_rejected", "replace_rejected"]
SECOND = 10**9
LONGEST_NS = 600 * SECOND
PLENTY = Decimal(10**7)  #: enough capital for large orders
FAR_NS = 10**18  #: of drawn legs no end is sure


def schedule(base: RunConfig, session: Session, seed: int, number: int, events: int, alone: bool = False) -> RunConfig:
    """Schedule `number` of `seed`: a slice of about `events` rows of the session, with `base`'s strategies and commission, and its capital, or more where
    orders are large.

    Limits are drawn where `base` has none. Unless `alone`, most have random orders beside the strategies', or instead of them.
    """
    draw = random.Random(f"{seed}/{number}")
    rows, m = session.events, session.manifest
    n = min(len(rows), max(2, draw.randint(events // 4, events)))
    where = draw.random()
    first = 0 if where < 0.1 else len(rows) - n if where > 0.95 else draw.randint(0, len(rows) - n)
    start, end = int(rows.ts_recv[first]), int(rows.ts_recv[first + n - 1])
    gap = max(1000, (end - start) // n)
    feed_faults = draw.random() < 0.85 and m.counts.get("order") is None
    lots, capital = 1 + int(draw.expovariate(0.5)), base.initial_capital
    strategies = base.strategies
    flow = draw.random()
    if flow < 0.5 and not alone:
        lots, capital = max(lots, int(_usual_size(rows[first : first + n]) * draw.choice((1, 3, 10)))), max(capital, PLENTY)
    if flow < 0.8 and not alone:
        strategies = (*(() if flow < 0.3 else strategies), _random_trader(draw, lots))
    return msgspec.structs.replace(
        base,
        strategies=strategies,
        initial_capital=capital,
        latency=_latency(draw, gap, feed_faults),
        limits=base.limits if base.limits != Limits() else _limits(draw, gap, lots * float(m.instruments[0].lot_size)),
        from_=text_of(start),
        to=text_of(end + 1000),
        seed=draw.randint(1, 1 << 30),
        order_capacity=draw.choice((16, 16, 64, 256)),
        faults=_plan(draw, session, end - start, gap, feed_faults),
        **_venue(draw),
    )


def settled_by(config: RunConfig, session: Session) -> int:
    """When a run of `config` must have come to rest, ns: the end of its data, and every time-out, delay and leg there is, several times."""
    profile = config.profile(session.instruments)
    legs = sum(leg.ns * math.exp(6 * leg.sigma) for leg in (profile.feed, profile.entry, profile.response))
    longest = legs * max([1, *(float(f.factor) for f in config.faults.faults)])
    for f in config.faults.faults:
        longest += sum(duration_ns(getattr(f, name), name) for name in ("timeout", "lookup", "delay"))
    return session.manifest.end_ns + min(int(8 * longest), FAR_NS) + SECOND


def _usual_size(rows: np.ndarray) -> float:
    """Median size of the trades among some rows, in lots: orders of as much and more fill in parts."""
    sizes = rows.b[rows.kind == TRADE]
    return float(np.median(sizes)) if len(sizes) else 1.0


def _random_trader(draw: random.Random, lots: int) -> Chosen:
    return Chosen(
        source=RANDOM,
        parameters={
            "seed": draw.randint(0, 1 << 40),
            "every": draw.choice((1, 2, 4, 8, 16, 40)),
            "burst": draw.choice((1, 1, 2, 5, 12)),
            "qty": lots,
            "far": draw.choice((0, 1, 2, 5, 20)),
            "nonsense": draw.choice((0, 10, 100)),
            "timers": draw.choice((0, 20, 200)),
        },
    )


def _venue(draw: random.Random) -> dict[str, str]:
    if draw.random() < 0.85:
        return {"fill": "realistic", "queue": "risk_averse"}
    return {"fill": "hftbacktest", "queue": draw.choice(("risk_averse", "power2:2", "power3:3", "log"))}


def _ns(draw: random.Random, low: float, high: float) -> str:
    """A duration between two (ns), each order of magnitude as likely as the next."""
    return f"{max(1, min(LONGEST_NS, int(low * (high / low) ** draw.random())))}ns"


def _latency(draw: random.Random, gap: int, recorded: bool) -> str:
    legs = [] if recorded else [f"feed={_ns(draw, 1000, gap)}"]
    for leg in ("entry", "response"):
        median = _ns(draw, 1000, 20 * gap)
        legs.append(f"{leg}={median}" if draw.random() < 0.6 else f"{leg}=lognormal:{median}:{draw.choice((0.1, 0.5, 1.5))}")
    return ",".join(legs)


def _limits(draw: random.Random, gap: int, size: float) -> Limits:
    """Limits tight enough that they bind; `size`: units of a usual order."""
    rate = draw.choice((0.0, 0.1, 0.3, 0.5))

    def some(*values):
        return draw.choice(values) if draw.random() < rate else 0

    def seconds(many: float) -> Decimal:
        return Decimal(max(1, int(gap * many))) / SECOND

    def units(times: int) -> Decimal:
        return Decimal(str(round(times * size, 8)))

    return Limits(
        max_order_qty=units(some(1, 2, 5)),
        max_position=units(some(1, 2, 5, 20)),
        max_order_notional=Decimal(some(100, 1000, 5000)),
        max_position_notional=Decimal(some(500, 5000)),
        max_gross=Decimal(some(1000, 10_000)),
        max_net=Decimal(some(1000, 10_000)),
        max_leverage=Decimal(some(1, 3)) / 2,
        collar_bps=some(1, 5, 50, 500),
        max_spread_bps=some(1, 5, 50),
        max_orders=some(1, 2, 10),
        order_window_s=seconds(draw.choice((1, 20, 200))),
        max_messages=some(2, 5, 20),
        message_window_s=seconds(draw.choice((1, 20, 200))),
        max_risk_per_trade=Decimal(some(1, 100)),
        max_quote_age_s=seconds(draw.choice((2, 20))) if draw.random() < rate else Decimal(0),
        max_daily_loss=Decimal(some(1, 5, 100)) / 10,
        max_total_loss=Decimal(some(1, 5, 100)) / 10,
        max_drawdown=Decimal(some(1, 5, 100)) / 10,
        max_drawdown_share=Decimal(some(1, 5, 100)) / 100_000,
        reject_spike=some(1, 2, 4),
        reject_window_s=seconds(draw.choice((1, 20, 200))),
        halt_escalate_s=seconds(draw.choice((5, 50))) if draw.random() < rate else Decimal(0),
        flatten=draw.random() < 0.5,
    )


def _plan(draw: random.Random, session: Session, length: int, gap: int, feed_faults: bool) -> Plan:
    """A random subset of the kinds at random rates, over before the slice is."""
    rate = draw.choice((0.05, 0.15, 0.4))
    kinds = [k for k in KINDS if (feed_faults or k not in OF_FEED) and draw.random() < rate]
    faults = [_fault(draw, kind, session, length, gap) for kind in kinds for _ in range(draw.choice((1, 1, 2)))]
    return Plan(seed=draw.randint(0, 1 << 40), faults=tuple(faults)) if faults else Plan()


def _fault(draw: random.Random, kind: str, session: Session, length: int, gap: int) -> Fault:
    takes, last = KINDS[kind], max(2, length * 4 // 5)
    start = draw.randint(0, last - 2)
    values: dict[str, object] = {"at": f"+{max(1, start)}ns"} if "at" in takes else {}
    if "at" not in takes:
        span = min(last - start, int(gap * (length / gap) ** draw.random()))
        values = {"from_": f"+{max(1, start)}ns", "to": f"+{max(1, start) + max(1, span)}ns"}
    if "share" in takes:
        values["share"] = Decimal(draw.choice(("0.03", "0.1", "0.3", "0.7", "1")))
    if "delay" in takes:
        values["delay"] = _ns(draw, gap / 10, 200 * gap)
    if "factor" in takes:
        known = {"feed_outlier": ("0.01", "0.9", "1.1", "20"), "feed_burst": (2, 5, 30)}.get(kind, (2, 5, 30, 300))
        values["factor"] = Decimal(draw.choice(known))
    if "timeout" in takes:
        values["timeout"], values["lookup"] = _ns(draw, gap / 100, 50 * gap), _ns(draw, gap / 100, 20 * gap)
    if "act" in takes:
        values["act"] = draw.choice((*ACTS, "resume"))
    for name, known in (("requests", ["new", "cancel", "replace"]), ("reports", REPORTS)):
        if name in takes and draw.random() < 0.6:
            values[name] = tuple(draw.sample(known, draw.randint(1, 2)))
    symbols = [i.symbol for i in session.instruments]
    if kind not in OURS and len(symbols) > 1 and draw.random() < 0.3:
        values["symbols"] = (draw.choice(symbols),)
    return Fault(kind=kind, **values)


def text_of(ns: int) -> str:
    """A time as configurations write it: to the microsecond, rounded down."""
    return (
        datetime.datetime.fromtimestamp(ns // SECOND, datetime.UTC)
        .replace(tzinfo=None, microsecond=ns % SECOND // 1000)
        .isoformat()
    )
