"""What an operator sees of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from replay.data.instruments import MONEY
from replay.data.times import utc_text
from replay.errors import UNREADABLE, BadInput
from replay.files import whole
from replay.live.disk import Disk
from replay.live.uptime import MINUTE
from replay.seal import intact, sealed
from replay.trader.layout import SLOT_BITS
from replay.trader.orders import FREE, STATE_NAMES, TERMINAL
from replay.trader.reasons import REASON_NAMES

if TYPE_CHECKING:
    from replay.live.runner import Runner

STATES = ("active", "halted", "killed")
FILE = "status.json"
SHAPES = (KeyError, TypeError, AttributeError, IndexError)  #: what reading a record of another shape raises


def write_status(r: Runner) -> None:
    """How it stands at the end, into the journal's folder, with the histograms of every hop: {upper end in ns: how many}."""
    out = {**status_of(r), "hops_ns": {name: h.buckets() for name, h in list(r.hops.by_name.items())}}
    with Disk(r.desk.disk.folder).replacing(FILE) as file:
        file.write(sealed(msgspec.json.encode(out)))


def read_status(folder: Path) -> dict | None:
    """How the last process on a journal ended, None where none has ended in order. Raises `BadInput` for a file that does not say."""
    path = folder / FILE
    if not path.exists():
        return None
    from replay.live.screen import render

    try:
        text = whole(path)
        found = msgspec.json.decode(text, type=dict[str, object])
        found.pop("seal", None)
        if not intact(msgspec.json.encode(found), text):
            raise ValueError("it has been changed since it was written")
        render(found)
    except (OSError, *UNREADABLE, *SHAPES) as e:
        raise BadInput(
            f"{path}: not the status of a run ({type(e).__name__}: {e}): replay verify {folder} reads the journal itself"
        ) from None
    return found


def status_of(r: Runner) -> dict:
    """The state of a runner, in units for people: money in its currency, quantities in lots, times in ms."""
    h, desk = r.desk.header, r.desk
    instruments = desk.build.manifest.instruments
    positions, views = desk.trader.region("positions"), desk.trader.region("views")
    now = r.clock.now()
    out = {
        "run_id": r.run_id,
        "account": r.broker.account,
        "state": STATES[h.state],
        "reason": REASON_NAMES[h.state_reason] if h.state else "",
        "cause": r.cause if h.state else "",
        "now": utc_text(h.now if h.now > 0 else now),
        "inputs": h.seq,
        "digest": f"{h.digest & (1 << 64) - 1:016x}",
        "equity": h.equity / MONEY,
        "pnl": (h.equity - h.initial) / MONEY,
        "drawdown": h.drawdown / MONEY,
        "sent": h.c_new,
        "cancels": h.c_cancel,
        "replaces": h.c_replace,
        "fills": h.n_fills,
        "refused": h.c_refused,
        "rejected": h.c_rejected,
        "duplicates": h.c_duplicate,
        "illegal": h.c_illegal,
        "links": dict(r.links),
        "gaps": r.gaps,
        "behind": r.inbox.qsize(),
        "unused": dict(r.broker.skipped),
        "minutes_open": round(r.uptime.open_ns / MINUTE, 3),
        "minutes_tradable": round(r.uptime.tradable_ns / MINUTE, 3),
        "uptime": r.uptime.share,
        "feed_age_ms": (now - r.heard_ns) / 1e6 if r.heard_ns else None,
        "clock_skew_ms": r.clock.skew_ns() / 1e6,
        "broker_clock_ms": r.offset_ns / 1e6,
        "hops_us": {k: {p: v / 1e3 if p != "n" else v for p, v in row.items()} for k, row in r.hops.summary().items()},
        "positions": [],
        "orders": [],
    }
    for k, i in enumerate(instruments):
        p, v = positions[k], views[k]
        out["positions"].append(
            {
                "symbol": i.symbol,
                "lots": int(p.qty),
                "bid": float(i.price(v.bid_px)) if v.bid_sz else None,
                "ask": float(i.price(v.ask_px)) if v.ask_sz else None,
                "value": int(v.value) / MONEY,
                "realised": int(p.realised) / MONEY,
            }
        )
    for o in desk.trader.region("orders"):
        if int(o.state) != FREE and not TERMINAL[int(o.state)]:
            i = instruments[int(o.instrument)]
            out["orders"].append(
                {
                    "order": int(o.handle) >> SLOT_BITS,
                    "symbol": i.symbol,
                    "side": "buy" if o.side > 0 else "sell",
                    "state": STATE_NAMES[int(o.state)],
                    "qty_lots": int(o.qty),
                    "cum_lots": int(o.cum),
                    "px": float(i.price(int(o.px) or int(o.stop_px))),
                }
            )
    return out
