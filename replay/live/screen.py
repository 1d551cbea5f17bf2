"""The live screen: positions, orders, what it earned, how fresh everything is. Drawn in a thread of its own."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from replay.live.broker import Control
from replay.terminal import consoles

if TYPE_CHECKING:
    from replay.live.runner import Runner

EVERY_S = 0.5
MOST_ORDERS = 12
SHOWN_HOPS = ("heard to stepped", "durable", "heard to written")


def render(s: dict) -> RenderableType:
    """What `replay.live.status` says, for people."""
    style = {"active": "green", "halted": "yellow", "killed": "red"}[s["state"]]
    head = Text.assemble(
        (s["state"].upper(), f"bold {style}"),
        f"  {s.get('cause') or s['reason']}" if s["reason"] else "",
        f"   account {s['account']}   run {s['run_id']}   {s['now']}",
    )
    positions = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name, justify in (
        ("symbol", "left"),
        ("lots", "right"),
        ("bid", "right"),
        ("ask", "right"),
        ("value", "right"),
        ("realised", "right"),
    ):
        positions.add_column(name, justify=justify)
    for p in s["positions"]:
        prices = ("-" if p[k] is None else f"{p[k]:,.2f}" for k in ("bid", "ask"))
        positions.add_row(p["symbol"], f"{p['lots']:,}", *prices, f"{p['value']:,.2f}", f"{p['realised']:+,.2f}")
    orders = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("order", "side", "symbol", "state", "lots", "done", "price"):
        orders.add_column(name, justify="right" if name in ("order", "lots", "done", "price") else "left")
    for o in s["orders"][:MOST_ORDERS]:
        orders.add_row(
            str(o["order"]),
            o["side"],
            o["symbol"],
            o["state"].lower(),
            f"{o['qty_lots']:,}",
            f"{o['cum_lots']:,}",
            f"{o['px']:,.2f}",
        )
    age = "nothing heard yet" if s["feed_age_ms"] is None else f"heard {s['feed_age_ms']:,.0f} ms ago"
    down = [name for name, up in s["links"].items() if not up]
    parts = [
        head,
        Text(f"equity {s['equity']:,.2f}   PnL {s['pnl']:+,.2f}   max drawdown {s['drawdown']:,.2f}"),
        Text(
            f"sent {s['sent']}   cancels {s['cancels']}   fills {s['fills']}   refused {s['refused']}   rejected {s['rejected']}   inputs {s['inputs']:,}"
        ),
        Text(
            f"{age}   gaps {s['gaps']}   {'down: ' + ', '.join(down) if down else 'all links up'}   clock {s['broker_clock_ms']:+.0f} ms"
        ),
        Text(_tradable(s)),
        positions,
    ]
    if s["orders"]:
        parts.append(orders)
    hops = "   ".join(
        f"{name} p50 {h['p50']:,.0f} p99 {h['p99']:,.0f} us" for name, h in s["hops_us"].items() if name in SHOWN_HOPS
    )
    if hops:
        parts.append(Text(hops, style="dim"))
    return Group(*parts, Text(f"digest {s['digest']}", style="dim"))


def _tradable(s: dict) -> str:
    if s["uptime"] is None:
        return "the market was not open yet"
    return f"tradable {s['minutes_tradable']:,.1f} of {s['minutes_open']:,.1f} minutes open ({100 * s['uptime']:.2f} %)"


class Screen:
    """Asks the runner through its queue, as an operator does, so that what is drawn is of one moment."""

    def __init__(self, runner: Runner):
        self._runner = runner
        self._live = Live(console=consoles(), auto_refresh=False)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="screen", daemon=True)

    def __enter__(self) -> Screen:
        self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._end.set()
        self._thread.join(2)
        self._live.stop()

    def _draw(self) -> None:
        answers: queue.SimpleQueue = queue.SimpleQueue()
        while not self._end.wait(EVERY_S):
            self._runner.inbox.put(Control(0, "status", answers.put))
            try:
                self._live.update(render(answers.get(timeout=5)), refresh=True)
            except queue.Empty:
                continue
