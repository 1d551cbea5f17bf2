"""Cancel a run's orders and close its positions by a connection of its own, without the trader: the safety path."""

from __future__ import annotations

import time
from collections.abc import Collection

from replay.live.alpaca.rest import DONE, MISSING, Rest
from replay.live.ids import parse
from replay.live.safety import Rescued

SECONDS = 15.0  #: how long it is tried
QUIET_S = 0.5  #: an order may still have been on its way: so long after the last there must be none
PAGE = 500


def rescue(rest: Rest, run_id: str, symbols: Collection[str], flatten: bool) -> Rescued:
    """Cancel every working order of run `run_id` until none is left, then close the account's positions in `symbols` if
    asked. Never raises for what the network or the broker does: what could not be done is in `left`."""
    end = time.monotonic() + SECONDS
    asked: set[str] = set()
    quiet_since = None
    problem = ""
    working: dict[str, str] = {}
    while time.monotonic() < end:
        a = rest.call("get", "/orders", {"status": "open", "limit": PAGE, "nested": False})
        if a.outcome != DONE:
            problem, quiet_since = f"open orders: {a.text}", None
            time.sleep(min(max(a.after_s, 0.2), 1.0))
            continue
        problem = ""
        working = {o["id"]: f"order {o['client_order_id']} {o['side']} {o['symbol']}" for o in a.body if _of(o, run_id)}
        if not working:
            quiet_since = quiet_since or time.monotonic()
            if time.monotonic() - quiet_since >= QUIET_S:
                break
            time.sleep(0.1)
            continue
        quiet_since = None
        for order_id in working:
            rest.call("delete", f"/orders/{order_id}")
            asked.add(order_id)
        time.sleep(0.2)
    closed, open_positions = _close_positions(rest, symbols, end) if flatten else (0, ())
    left = (*((problem,) if problem else ()), *working.values(), *open_positions)
    return Rescued(len(asked - set(working)), closed, left)


def _of(order: dict, run_id: str) -> bool:
    name = parse(order["client_order_id"])
    return name is not None and name.run_id == run_id


def _close_positions(rest: Rest, symbols: Collection[str], end: float) -> tuple[int, tuple[str, ...]]:
    """Ask once for the end of each position; returns how many have ended, and those that are there still."""
    ours = {symbol.replace("/", "") for symbol in symbols}
    asked: set[str] = set()
    there: dict[str, str] = {}
    problem = ""
    while True:
        a = rest.call("get", "/positions")
        if a.outcome == DONE:
            problem = ""
            there = {p["symbol"]: f"position {p['qty']} {p['symbol']}" for p in a.body if p["symbol"].replace("/", "") in ours}
            for symbol in there.keys() - asked:
                if rest.call("delete", f"/positions/{symbol.replace('/', '')}").outcome in (DONE, MISSING):
                    asked.add(symbol)
        else:
            problem = f"positions: {a.text}"
        if (not there and not problem) or time.monotonic() >= end:
            return len(asked - there.keys()), (*((problem,) if problem else ()), *there.values())
        time.sleep(0.2)
