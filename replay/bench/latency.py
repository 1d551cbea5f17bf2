"""Event received to first byte of the order, as the server stamps it.

The server (`replay serve`, paced) and the trader (the runner of `replay paper`, alpaca-py's clients, the journal) are two processes of this
machine; both stamp with its steady clock. The time begins when the last byte of the market data message came from the trader's socket, and
ends when the first byte of the order's request came from the server's. So it holds the websocket, msgpack, the decoding, the thread
hand-overs, strategy, risk, OMS, the journal, the request of alpaca-py, and the loopback; not the server's work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from replay.bench import local
from replay.data.session import Session
from replay.data.synth import by_hand, raw_words
from replay.errors import BadInput
from replay.live import lock
from replay.live.disk import Disk
from replay.live.hops import SHARES, Sent
from replay.live.paper import assemble, tuned

IDLE_GAP_NS = 10_000_000  #: between two events of the idle run
AMONG = 20  #: under load, every so many events make an order
SETTLE_S = 2.0  #: how long the last answers are waited for
FLOORS_NS = {"idle": {"p50": 1_000_000, "p99": 2_000_000}, "load": {"p99": 5_000_000}}
TOTAL = "received to first byte"


class Case(NamedTuple):
    """What is measured: `load` events a second, 0 for an event now and then."""

    load: int
    durable: bool

    @property
    def name(self) -> str:
        return "idle" if self.load == 0 else f"{self.load:,} events/s"


class Undurable(Disk):
    """Keeps what is written, and waits for no disk."""

    def sync(self, file: int) -> None:
        pass


def market(case: Case, orders: int) -> tuple[Session, int]:
    """A session that makes so many orders and a tenth more, which come first and do not count; and after how many events each order comes."""
    every = AMONG if case.load else 1
    n = (orders + orders // 10) * every + 50
    words = raw_words(1, 0, n)
    mids = 10_000 + np.cumsum((words & 1) - (words >> 1 & 1))
    session = by_hand(np.maximum(mids, 100).tolist(), IDLE_GAP_NS)
    if case.load:
        gaps = np.round(-np.log1p(-((words >> 8 & 0xFFFFF) + 0.5) / (1 << 20)) * 1e9 / case.load).astype(np.int64)
        rows = session.events
        rows["ts_event"] = rows["ts_event"][0] + np.cumsum(gaps)
        rows["ts_recv"] = rows["ts_event"]
        session = Session.from_rows(rows, session.instruments, name="latency")
    return session, every


def measure(case: Case, orders: int, told: Callable[[int, int], None] = lambda done, total: None) -> dict:
    """One case; ns. Raises `BadInput` where not every order arrived."""
    session, every = market(case, orders)
    sent: list[Sent] = []
    with local.folder() as into, local.serving(session, into, "1") as served:
        params = {"every": str(every), "most": str(orders + orders // 10)}
        runner = assemble(local.order(into, served.url, ["A"], str(Path(__file__).with_name("each.py")), params))
        if not case.durable:
            runner.desk.log.disk = Undurable(runner.desk.log.disk.folder)
        runner.hops.kept = sent.append
        watch = threading.Thread(target=_watch, args=(runner, sent, orders + orders // 10, told), daemon=True)
        watch.start()
        try:
            with tuned():
                runner.run()
        finally:
            lock.release()
        stamps = local.asked(served.url, "replay/v1/latency")["orders"]
        state = runner.status()
    return _result(case, sent, stamps, orders, state)


def _watch(runner, sent: list[Sent], wanted: int, told: Callable[[int, int], None]) -> None:
    newest, since = 0, time.monotonic()
    while len(sent) < wanted and time.monotonic() - since < 15:
        time.sleep(0.5)
        told(len(sent), wanted)
        if len(sent) != newest:
            newest, since = len(sent), time.monotonic()
    time.sleep(SETTLE_S)
    runner.stop("measured")


def _result(case: Case, sent: list[Sent], stamps: dict[str, list[int]], orders: int, state: dict) -> dict:
    chosen = sent[-orders:]
    missing = [s for s in chosen if s.cl_ord_id not in stamps]
    if len(chosen) < orders or missing:
        raise BadInput(f"{len(chosen) - len(missing):,} of {orders:,} orders arrived: the machine was too busy, or ask for fewer")
    first = np.array([stamps[s.cl_ord_id][1] for s in chosen])
    market_ns = np.array([stamps[s.cl_ord_id][0] for s in chosen])
    of = {name: np.array([getattr(s, name) for s in chosen]) for name in Sent._fields if name != "cl_ord_id"}
    ready = np.maximum(of["durable"], of["prepared"])
    hops = {
        TOTAL: first - of["heard"],
        "parsed": of["queued"] - of["heard"],
        "waited": of["taken"] - of["queued"],
        "stepped": of["stepped"] - of["taken"],
        "durable": of["durable"] - of["stepped"],
        "begun": of["begun"] - of["stepped"],
        "prepared": of["prepared"] - of["begun"],
        "left": first - ready,
        "written": of["written"] - ready,
    }
    if not case.load:
        hops["market data written to first byte"] = first - market_ns
    return {
        "case": case.name,
        "load": case.load,
        "durable": case.durable,
        "orders": orders,
        "fills": state["fills"],
        "ns": {name: quantiles(values) for name, values in hops.items()},
    }


def quantiles(values: np.ndarray) -> dict[str, int]:
    """p50, p99, p99.9 and the longest.

    >>> quantiles(np.arange(1000))
    {'p50': 500, 'p99': 990, 'p99.9': 999, 'max': 999}
    """
    s = np.sort(values)
    return {name: int(s[min(len(s) - 1, int(len(s) * share))]) for name, share in SHARES} | {"max": int(s[-1])}


def floors(result: dict) -> dict[str, int]:
    """What a case has to stay under, ns; nothing without a durable journal."""
    return FLOORS_NS["load" if result["load"] else "idle"] if result["durable"] else {}


def met(result: dict) -> bool:
    """Whether it did."""
    return all(result["ns"][TOTAL][name] < ns for name, ns in floors(result).items())
