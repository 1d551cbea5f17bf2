"""Hypothesis strategies for tests: sessions, plans of faults, and orders at random. Hypothesis is needed where they are used.

@given(sessions(), plans(), order_flows())
def test_books_are_right(session, plan, flow):
    run = replay.run(session, [("my.py", {}), flow], faults=plan)
"""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from replay.data import synth
from replay.data.session import Session
from replay.faults.plan import ACTS, KINDS, Fault, Plan
from replay.trader.specs import duration_ns

#: Kinds of sessions, and the fewest rows they are made of.
LEVELS = {"l1": 50, "l2": 300, "bars": 200}
DURATIONS = ("1ns", "1ms", "50ms", "900ms", "5s", "1m")
#: The order flow's parameters, each with what it may be.
FLOW = {
    "every": (1, 3, 8, 40),
    "burst": (1, 2, 6),
    "qty": (1, 3, 20),
    "far": (0, 2, 10),
    "nonsense": (0, 20, 200),
    "timers": (0, 50),
}


@st.composite
def sessions(draw, level: str | None = None, max_events: int = 600) -> Session:
    """Small generated sessions: of quotes and trades of two symbols (``l1``), of depth (``l2``) or of minute bars (``bars``); any where
    `level` is None."""
    kind = level or draw(st.sampled_from(sorted(LEVELS)))
    least = LEVELS[kind]
    seed, n = draw(st.integers(0, 10_000)), draw(st.integers(least, max(least, max_events)))
    if kind == "l1":
        return synth.equity_day(("A", "B"), n, seed=seed)
    if kind == "l2":
        return synth.l2_book(n, seed=seed)
    return synth.bar_days(("A", "B"), n, seed=seed)


@st.composite
def plans(draw, kinds: tuple[str, ...] = tuple(KINDS), over: str = "6h", max_faults: int = 5) -> Plan:
    """Plans of up to `max_faults` faults of some of `kinds`, within the length of time `over` from the session's start."""
    most = duration_ns(over, "over")
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), max_size=max_faults))
    return Plan(seed=draw(st.integers(0, 1 << 40)), faults=tuple(draw(_faults(kind, most)) for kind in chosen))


@st.composite
def _faults(draw, kind: str, most: int) -> Fault:
    takes, start = KINDS[kind], draw(st.integers(1, most))
    if "at" in takes:
        values = {"at": f"+{start}ns"}
    else:
        values = {"from_": f"+{start}ns", "to": f"+{start + draw(st.integers(1, most))}ns"}
    if "share" in takes:
        values["share"] = Decimal(draw(st.sampled_from(["0.05", "0.3", "1"])))
    if "factor" in takes:
        values["factor"] = Decimal(draw(st.sampled_from([2, 10, 50])))
    if "act" in takes:
        values["act"] = draw(st.sampled_from(sorted(ACTS)))
    for name in ("delay", "timeout", "lookup"):
        if name in takes:
            values[name] = draw(st.sampled_from(DURATIONS))
    return Fault(kind=kind, **values)


@st.composite
def order_flows(draw) -> tuple[str, dict[str, int]]:
    """A strategy that sends random orders, with its parameters: one of the list that `replay.run` takes as `strategy`."""
    values = {name: draw(st.sampled_from(known)) for name, known in FLOW.items()}
    return "replay.fuzz.trader", {"seed": draw(st.integers(0, 1 << 40)), **values}
