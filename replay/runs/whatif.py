"""What a run hangs on: the same run again with one thing changed, the assumptions first, then what goes wrong. ``replay report`` asks for it.

Every row is a whole replay of its own, from the run's session, strategies and limits; the first row is the run as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from replay.data.times import utc_text
from replay.engine import Engine
from replay.errors import BadInput, ReplayError
from replay.faults.plan import Fault
from replay.runs.rebuild import name_of, rebuild, session_of
from replay.runs.result import Result
from replay.runs.tables import TRADER_STATES, equity
from replay.trader.layout import ACTIVE
from replay.trader.limits import MONEY
from replay.trader.output import OUT_STATE
from replay.venue.setup import Charge, Leg, Profile

MINUTE_NS = 60 * 10**9
SENSITIVITY, ROBUSTNESS = "sensitivity", "robustness"


class Variant(NamedTuple):
    """One thing changed: what it is called, the profile, what goes wrong, and for how long (ns) no market data reaches us."""

    kind: str
    name: str
    profile: Profile
    faults: tuple[Fault, ...] = ()
    blind_ns: int = 0


def whatif(
    run: Result, kinds: tuple[str, ...] = (SENSITIVITY, ROBUSTNESS), told: Callable[[int, int], None] | None = None
) -> pa.Table:
    """A row for each variant: kind, what changed, net and its difference from the run's, drawdown, gross (the largest exposure),
    orders, fills, refused, rejected, halts (times trading was halted or killed), state at the end, blind_s, error.

    Raises `BadInput` as `replay.runs.rebuild.rebuild`, and for a fork. Cost: that of ten runs.

    >>> import replay
    >>> table = whatif(replay.run(strategy="ema_cross"), (SENSITIVITY,))
    >>> table.column("what").to_pylist()[:2]
    ['as it was', 'latency x 3']
    """
    if run.manifest.fork is not None:
        raise BadInput(f"{name_of(run)} is a fork: ask what the run hangs on that it came from, {run.manifest.fork.run}")
    base = rebuild(run)
    variants = [Variant("", "as it was", base.profile), *(v for v in _variants(run, base) if v.kind in kinds)]
    rows = []
    config, session = run.manifest.config, session_of(run)
    for k, variant in enumerate(variants):
        faults = msgspec.structs.replace(config.faults, faults=config.faults.faults + variant.faults)
        engine = msgspec.structs.replace(config, faults=faults).engine(session, profile=variant.profile)
        rows.append(_row(engine, variant))
        if told:
            told(k + 1, len(variants))
    table = pa.Table.from_pylist(rows)
    net = np.array(table["net"])
    return table.add_column(3, "change", pa.array(net - net[0]))


def _variants(run: Result, base: Engine) -> Iterator[Variant]:
    p = base.profile
    change = msgspec.structs.replace
    yield Variant(SENSITIVITY, "latency x 3", change(p, entry=_slower(p.entry, 3), response=_slower(p.response, 3)))
    if p.maker_fee_ppm or p.taker_fee_ppm or p.fee_per_lot or p.charges:
        fees = {name: 2 * getattr(p, name) for name in ("maker_fee_ppm", "taker_fee_ppm", "fee_per_lot")}
        fees["charges"] = tuple(Charge(c.from_ns, *(2 * x for x in msgspec.structs.astuple(c)[1:])) for c in p.charges)
        yield Variant(SENSITIVITY, "fees x 2", change(p, **fees))
    if "bars" in base.session.manifest.levels:
        yield Variant(SENSITIVITY, "slippage + 5 bps", change(p, slippage_ppm=p.slippage_ppm + 500))
        yield Variant(SENSITIVITY, "half the participation", change(p, participation_ppm=max(1, p.participation_ppm // 2)))
    else:
        yield Variant(SENSITIVITY, "taking costs 5 bps more", change(p, taker_fee_ppm=p.taker_fee_ppm + 500))
    if p.name == "hftbacktest":
        for queue in ("risk_averse", "log"):
            if queue != p.queue:
                yield Variant(SENSITIVITY, f"queue {queue}", change(p, queue=queue))
    yield from _gone_wrong(run, base)


def _gone_wrong(run: Result, base: Engine) -> Iterator[Variant]:
    """Standard plans, each at the time of the largest exposure."""
    m = base.session.manifest
    at = _worst(run, (m.start_ns + m.end_ns) // 2)

    def lasting(ns: int) -> dict[str, str]:
        return {"from_": utc_text(at), "to": utc_text(min(at + ns, m.end_ns))}

    half, five = lasting(MINUTE_NS // 2), lasting(5 * MINUTE_NS)
    dark = [Fault(kind="feed_outage", **half)]
    plans: list[tuple[str, list[Fault], int]] = [
        ("no reports of new orders for 5 min", [Fault(kind="report_lost", reports=("new",), **five)], 0),
        ("half the fills heard late for 5 min", [Fault(kind="report_late", reports=("trade",), share=Decimal("0.5"), delay="10s", **five)], 0),
        ("latency x 10 for 5 min", [Fault(kind="request_slow", **five), Fault(kind="report_slow", **five)], 0),
        ("every order rejected for 5 min", [Fault(kind="reject", **five)], 0),
    ]  # fmt: skip
    if base.profile.feed.kind == "recorded" and not m.counts.get("order"):
        lost = [Fault(kind="request_lost", **half), Fault(kind="report_lost", **half)]
        plans = [
            ("no market data for 30 s", dark, MINUTE_NS // 2),
            ("nothing in or out for 30 s", dark + lost, MINUTE_NS // 2),
            ("crash at the worst moment, back after 30 s", [Fault(kind="crash", at=utc_text(at), delay="30s")], MINUTE_NS // 2),
            *plans,
        ]
    for name, faults, blind in plans:
        yield Variant(ROBUSTNESS, name, base.profile, tuple(faults), blind)


def _worst(run: Result, otherwise: int) -> int:
    """When exposure was largest."""
    table = run.table("equity")
    if not table.num_rows:
        return otherwise
    return int(np.asarray(table["ts"].cast(pa.int64()))[int(np.argmax(np.asarray(table["gross"])))])


def _slower(leg: Leg, times: int) -> Leg:
    return msgspec.structs.replace(leg, ns=leg.ns * times)


def _row(engine: Engine, variant: Variant) -> dict[str, object]:
    error = None
    try:
        engine.run()
    except ReplayError as e:
        error = str(e)
    h, out = engine.trader.header, engine.output()
    stops = out[out.kind == OUT_STATE]
    return {
        "kind": variant.kind,
        "what": variant.name,
        "net": float((int(h.equity) - int(h.initial)) / MONEY),
        "drawdown": float(int(h.drawdown) / MONEY),
        "gross": float(np.asarray(equity(engine)["gross"]).max()),
        "orders": int(h.c_new),
        "fills": int(h.n_fills),
        "refused": int(h.c_refused),
        "rejected": int(h.c_rejected),
        "halts": int((stops.side != ACTIVE).sum()),
        "state": TRADER_STATES[int(h.state)],
        "blind_s": variant.blind_ns / 1e9,
        "error": error,
    }
