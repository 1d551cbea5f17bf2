"""From an event to a command in the trader: one call from Python of the compiled trader, over events that each emit one order.

    python -m bench.latency [--samples 10000] [--json FILE]

What is timed: ``step(trader, event, now)`` through ctypes, as a live session calls it. In it the event is chained into the digest, the
book, the marks and the running limits follow it, the strategy is woken and sends a limit order, risk checks it with every limit of W3 on,
the order is opened, and the command stands in the ring. Not timed: the venue's answer, which ends the order before the next sample, and
writing the command to a socket. Two clock readings stand around each call; their own cost is measured the same way and not subtracted.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import walks, workloads
from bench.machine import conditions
from replay import Strategy, compiled
from replay.engine import Engine
from replay.events import EVENT, LAST, QUOTE, REPORT
from replay.kernel.memory import entry_of
from replay.strategy import load
from replay.trader import layout as T
from replay.trader import step
from replay.trader.orders import EXEC_EXPIRED

FLOOR_NS = {"p50": 2_000, "p99": 10_000}
WARMUP = 2_000
GAP_NS = 2_000_000_000  #: between samples, so that ended orders' slots are free again


@compiled
class OneOrder(Strategy):
    """One order at the touch for every quote, the side changing."""

    side: int = 1

    def on_quote(self, ctx, q):
        side = 1 if q.seq & 1 == 0 else -1
        ctx.limit(q.instrument, side * 100, q.bid_px if side > 0 else q.ask_px)


class Bench:
    """A trader with its strategy, and quotes to feed it."""

    def __init__(self, samples: int):
        n = max(10_000, 2 * samples)
        self.session = walks.l1(n, workloads.SEED)
        rows = self.session.events
        self.quotes = rows[rows["kind"] == QUOTE][:samples].copy()
        assert len(self.quotes) == samples
        self.quotes["id"] = np.arange(samples)
        strategy = load(OneOrder)
        # an order a sample, and the clock runs GAP_NS between two: no limit is in the way, every limit is checked
        capital = {"USD": Decimal(10**9)}
        self.engine = Engine(self.session, [strategy], workloads.PROFILE, workloads.RISK, capital, order_capacity=1024)
        self.engine.start()
        self.trader = self.engine.trader
        self.step = entry_of(step.step)
        self.answer = np.zeros(1, EVENT)
        self.now = int(self.session.manifest.start_ns)

    def event(self, k: int) -> tuple[int, int]:
        """Make the k-th quote due: its address and time."""
        self.now += GAP_NS
        row = self.quotes[k : k + 1]
        row["ts_event"], row["ts_recv"] = self.now - 1000, self.now
        return row.ctypes.data, self.now

    def settle(self) -> None:
        """Assert that exactly one order left, take it, and let the venue expire it."""
        h = self.trader.header
        assert int(h.cmd_n) == 1 and int(h.fault) == 0, (int(h.cmd_n), int(h.c_refused), int(h.fault))
        c = self.trader.region("commands")[0]
        assert int(c.kind) == T.CMD_NEW
        h.cmd_n = 0
        e = self.answer[0]
        self.now += 1
        e["ts_event"], e["ts_recv"], e["kind"], e["side"] = self.now - 1, self.now, REPORT, int(c.side)
        e["flags"], e["instrument"], e["id"], e["a"] = EXEC_EXPIRED << 8 | LAST, int(c.instrument), self.now, int(c.handle)
        self.step(self.trader.base, self.answer.ctypes.data, self.now)
        assert int(h.cmd_n) == 0 and int(h.c_illegal) == 0
        h.out_n = 0


def measure(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Nanoseconds of each call, and of each pair of clock readings with nothing between them."""
    bench = Bench(samples + WARMUP)
    clock, call, base = time.perf_counter_ns, bench.step, bench.trader.base
    took, empty = np.zeros(samples + WARMUP, np.int64), np.zeros(samples + WARMUP, np.int64)
    gc.collect()
    gc.disable()
    try:
        for k in range(samples + WARMUP):
            address, now = bench.event(k)
            a = clock()
            call(base, address, now)
            b = clock()
            took[k] = b - a
            a = clock()
            b = clock()
            empty[k] = b - a
            bench.settle()
    finally:
        gc.enable()
    assert int(bench.trader.header.c_new) == samples + WARMUP
    return took[WARMUP:], empty[WARMUP:]


def quantiles(x: np.ndarray) -> dict[str, int]:
    """p50, p99, p99.9 and the worst, in whole ns."""
    p = np.percentile(x, [50, 99, 99.9], method="higher")
    return {"p50": int(p[0]), "p99": int(p[1]), "p99.9": int(p[2]), "max": int(x.max())}


def main(argv: list[str] | None = None) -> int:
    """See the module's text."""
    p = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__.partition("\n")[0])
    p.add_argument("--samples", type=int, default=10_000)
    p.add_argument("--json", type=Path)
    a = p.parse_args(argv)
    about = conditions()
    took, empty = measure(a.samples)
    result = {"event to command": quantiles(took), "the clock alone": quantiles(empty)}
    table = Table(
        "ns", *result["the clock alone"], "floor", "verdict", title=f"{a.samples:,} samples, after {WARMUP:,} that do not count"
    )
    for name, q in result.items():
        ours = name == "event to command"
        met = all(q[k] < v for k, v in FLOOR_NS.items())
        floor = ", ".join(f"{k} < {v:,}" for k, v in FLOOR_NS.items())
        table.add_row(name, *(f"{v:,}" for v in q.values()), floor if ours else "", ("met" if met else "MISSED") if ours else "")
    console = Console()
    console.print(table)
    for k, v in about.items():
        console.print(f"  {k:9} {v}")
    if a.json:
        a.json.write_text(json.dumps({"conditions": about, "samples": a.samples, "ns": result}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
