"""`realistic` at L1 against a reference that consumes: an EMA cross of 1000 lots where a few hundred are displayed.

The reference knows nothing of the engine: it walks the rows twice, once as the venue sees them and once as we do. An order takes what is
displayed on arrival; what it took is gone until that side's price or size changes; its rest takes every fresh display. While an order
is not known to be finished, one against it is refused (self-trade) and asked for again at the next quote.
"""

import os
from decimal import Decimal
from pathlib import Path

import pytest

from bench import walks
from replay.engine import Engine
from replay.events import QUOTE
from replay.strategy import load
from replay.trader.orders import EXEC_TRADE
from replay.trader.output import OUT_REPORT
from replay.venue.setup import Profile

LEG = 1_000_000
FAST, SLOW, WARMUP = 200, 1000, 1000


class Book:
    """The venue: displayed sides less what was taken, one queue of our market orders."""

    def __init__(self, rows):
        self.rows = [(int(r[0]), int(r[7]), int(r[8]), int(r[9]), int(r[10])) for r in rows.tolist() if r[2] == QUOTE]
        self.k, self.fed, self.have, self.waiting, self.fills = 0, [None, None], [(0, 0), (0, 0)], [], []

    def take(self, order, ts):
        side = order["side"]
        px, size = self.have[side > 0]
        qty = min(size, order["left"])
        if qty:
            self.have[side > 0] = (px, size - qty)
            order["left"] -= qty
            self.fills.append((ts, order["n"], side * qty, px))
            if not order["left"]:
                order["known"] = ts + LEG

    def until(self, t):
        """Every quote with venue time <= t."""
        while self.k < len(self.rows) and self.rows[self.k][0] <= t:
            ts, bid, bid_sz, ask, ask_sz = self.rows[self.k]
            self.k += 1
            for n, shown in enumerate(((bid, bid_sz), (ask, ask_sz))):
                if shown != self.fed[n]:
                    self.fed[n] = self.have[n] = shown
            for order in list(self.waiting):
                self.take(order, ts)
                if not order["left"]:
                    self.waiting.remove(order)


def reference(rows, qty):
    book, flying, sent = Book(rows), [], []
    fast = slow = 0.0
    n = wanted = 0
    for r in rows.tolist():
        if r[2] != QUOTE:
            continue
        now, mid = int(r[1]), 0.5 * (int(r[7]) + int(r[9]))
        # requests that reach the venue before we see this quote
        while flying and flying[0]["at"] < now:
            order = flying.pop(0)
            book.until(order["at"])
            book.take(order, order["at"])
            if order["left"]:
                book.waiting.append(order)
        book.until(now - 1)
        n += 1
        if n == 1:
            fast = slow = mid
        else:
            fast += 2.0 / (FAST + 1.0) * (mid - fast)
            slow += 2.0 / (SLOW + 1.0) * (mid - slow)
        if n <= WARMUP:
            continue
        want = qty if fast > slow else -qty
        side = 1 if want > wanted else -1
        if want == wanted or any(o["side"] != side and not o["known"] <= now for o in sent):
            continue
        order = {"n": len(sent) + 1, "side": side, "left": abs(want - wanted), "at": now + LEG, "known": 1 << 62}
        sent.append(order)
        flying.append(order)
        wanted = want
    for order in flying:
        book.until(order["at"])
        book.take(order, order["at"])
        if order["left"]:
            book.waiting.append(order)
    book.until(1 << 62)
    return sent, book.fills


def compare(session, fast, slow, warmup, qty):
    strategy = load("ema_cross", {"fast": fast, "slow": slow, "warmup": warmup, "qty": qty})
    engine = Engine(session, [strategy], Profile(name="realistic"), capital={"USD": Decimal(0)}).run()
    out = engine.output()
    trades = out[(out.kind == OUT_REPORT) & (out["flags"] >> 8 == EXEC_TRADE)]
    sent, fills = reference(session.events, qty)
    ours = [(int(r.a) >> 20, int(r.side) * int(r.b), int(r.c)) for r in trades]
    assert ours == [(n, q, px) for _, n, q, px in fills]
    assert [int(r.ts_recv) for r in trades] == [ts + LEG for ts, *_ in fills]
    assert int(engine.trader.header.c_new) == len(sent)
    position = sum(q for _, _, q, _ in fills)
    cash = -sum(q * px for _, _, q, px in fills)
    assert int(engine.trader.region("positions")[0].qty) == position
    assert int(engine.trader.region("currencies")[0].cash) == cash * 10**6
    return len(sent), len(fills)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thousand_lots(seed):
    orders, fills = compare(walks.l1(60_000, seed), FAST, SLOW, WARMUP, 1000)
    assert orders > 20
    assert fills > 2 * orders  # no display held one of them


@pytest.mark.skipif("PEERS_DATA" not in os.environ, reason="PEERS_DATA: the folder of the peers' generated events")
def test_harness_data(monkeypatch):
    """The two million rows of the peers' harness, W2 with 1000 lots: every fill."""
    from bench.workloads import l1_source

    assert (Path(os.environ["PEERS_DATA"]) / "l1.npy").exists()
    for name, value in (("FAST", 1000), ("SLOW", 5000), ("WARMUP", 5000)):
        monkeypatch.setitem(globals(), name, value)
    orders, fills = compare(l1_source().session, 1000, 5000, 5000, 1000)
    assert (orders, fills > 2 * orders) == (445, True)
