"""The whole live path over many events: does its memory stay flat, does it miss a message, does it drift from the broker.

The server (`replay serve`) and the trader (the runner of `replay paper`, alpaca-py's clients, the journal) are two processes of this
machine. Afterwards the market data in the journal is compared with the session, row for row; positions and cash with the broker's; and the
journal is verified.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from replay.bench import local
from replay.data.instruments import MONEY
from replay.data.session import Session
from replay.events import EVENT, QUOTE, TRADE
from replay.live import lock, recovery
from replay.live.disk import Disk
from replay.live.log import Reader
from replay.live.paper import assemble, tuned

SAMPLE_S = 0.5
SETTLED = 3  #: samples without an input after which nothing more comes
WARM = 0.2  #: the part of the run after which memory has to stay where it is
FLAT_MB = 48.0  #: what counts as there
PROCESSES = ("trader", "server")
NOTES, QUIET = 50, ("answer", "stopping")  #: what the runner remarked is shown, but what the broker refused
COMPARED = ("kind", "instrument", "ts_event", "a", "b", "c", "d")  #: the wire has no side of a trade, and no number of a quote


class Sample(NamedTuple):
    """Inputs taken, inputs that wait, and the anonymous memory of both processes, MB."""

    inputs: int
    behind: int
    trader: float
    server: float


def soak(
    session: Session, speed: str = "max", strategy: str = "ema_cross", told: Callable[[int, int], None] = lambda done, total: None
) -> dict:
    """One run over a session of quotes and trades; see `passed` for what has to hold."""
    name, symbols, events = session.manifest.name, [i.symbol for i in session.instruments], session.manifest.n_events
    with local.folder() as into, local.serving(session, into, speed) as served:
        del session  # it may be large, and what is measured is the memory of this process too
        runner = assemble(local.order(into, served.url, symbols, strategy, {}))
        samples: list[Sample] = []
        watch = threading.Thread(target=_watch, args=(runner, served, events, samples, told), daemon=True)
        watch.start()
        began = time.perf_counter()
        try:
            with tuned():
                runner.run()
        finally:
            lock.release()
        took = time.perf_counter() - began
        state = runner.status()
        positions = {p["symbol"]: int(p["qty"]) for p in local.asked(served.url, "v2/positions")}
        cash = Decimal(local.asked(served.url, "v2/account")["cash"])
        ours = {p["symbol"]: p["lots"] for p in state["positions"] if p["lots"]}
        sent, heard, differs = compare(Session.open(served.session, trust=True), into / "journal")
        verified = recovery.verify(Disk(into / "journal"))
        warm = next((s for s in samples if s.inputs >= WARM * events), samples[-1])
        return {
            "session": name,
            "speed": speed,
            "events": events,
            "seconds": round(took, 1),
            "events_a_second": round(heard / took),
            "messages_sent": sent,
            "messages_heard": heard,
            "first_difference": differs,
            "orders": state["sent"],
            "orders_at_broker": len(local.asked(served.url, "replay/v1/latency")["orders"]),
            "fills": state["fills"],
            "rejected": state["rejected"],
            "duplicates": state["duplicates"],
            "illegal": state["illegal"],
            "positions": {"ours": ours, "broker": positions},
            "cash_gap": float(abs(cash - Decimal(int(runner.desk.trader.region("currencies")[0].cash)) / MONEY)),
            "gaps": state["gaps"],
            "state": state["state"],
            "reason": state["reason"],
            "notes": [n for n in recovery.notes(Disk(into / "journal")) if n["what"] not in QUIET][:NOTES],
            "verify": str(verified),
            "verified": verified.identical and not verified.prefix.fault,
            "minutes_open": state["minutes_open"],
            "minutes_tradable": state["minutes_tradable"],
            "uptime": state["uptime"],
            "most_behind": max(s.behind for s in samples),
            "memory_mb": {who: [round(getattr(s, who), 1) for s in _tenths(samples)] for who in PROCESSES},
            "growth_mb": {who: round(max(getattr(s, who) for s in samples) - getattr(warm, who), 1) for who in PROCESSES},
            "hops_us": state["hops_us"],
        }  # fmt: skip


def _watch(runner, served: local.Served, events: int, samples: list[Sample], told: Callable[[int, int], None]) -> None:
    still = 0
    while still < SETTLED:
        time.sleep(SAMPLE_S)
        seq = runner.desk.header.seq
        quiet = bool(samples) and samples[-1].inputs == seq and local.asked(served.url, "replay/v1/state")["done"]
        still = still + 1 if quiet else 0
        samples.append(Sample(seq, runner.inbox.qsize(), anonymous_mb(os.getpid()), anonymous_mb(served.pid)))
        told(seq, events)
    runner.stop("everything was heard")


def anonymous_mb(pid: int) -> float:
    """Memory of a process that no file stands behind; 0 where the system does not say (not Linux)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("RssAnon"))


def _tenths(samples: list[Sample]) -> list[Sample]:
    return [samples[min(len(samples) - 1, len(samples) * k // 10)] for k in range(1, 11)]


def compare(session: Session, journal: Path) -> tuple[int, int, int | None]:
    """(messages the server had to send, market data in the journal, the first that differs or None), in order."""
    rows = session.events
    wanted = np.flatnonzero((rows.kind == QUOTE) | (rows.kind == TRADE))
    heard, differs = 0, None
    for block in Reader(Disk(journal)):
        taken = np.ascontiguousarray(block.frames["event"]).view(EVENT).reshape(-1)
        taken = taken[(taken["kind"] == QUOTE) | (taken["kind"] == TRADE)]
        there = rows[wanted[heard : heard + len(taken)]]
        if differs is None and len(there):
            bad = np.zeros(len(there), bool)
            for name in COMPARED:
                bad |= there[name] != taken[name][: len(there)]
            bad |= (there["kind"] == TRADE) & (there["id"] != taken["id"][: len(there)])
            if bad.any():
                differs = heard + int(np.argmax(bad))
        heard += len(taken)
    return len(wanted), heard, differs


def passed(r: dict) -> dict[str, bool]:
    """What had to hold, and whether it did."""
    return {
        "no message missed": r["messages_sent"] == r["messages_heard"] and r["first_difference"] is None and r["gaps"] == 0,
        "positions and cash are the broker's": r["positions"]["ours"] == r["positions"]["broker"] and r["cash_gap"] < 0.01,
        "every order came once, or was refused": r["orders"] == r["orders_at_broker"] + r["rejected"] and r["illegal"] == 0,
        "it was never stopped": r["state"] == "active",
        "the journal verifies": r["verified"],
        "memory is flat": all(mb < FLAT_MB for mb in r["growth_mb"].values()),
    }
