"""An order's way to the venue: when it arrived, what it met there, what became of it in that instant."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from replay.data.times import utc_text
from replay.engine import Engine
from replay.events import REPORT
from replay.kernel.arena import Arena
from replay.kernel.memory import entry_of
from replay.runs.wording import report_text
from replay.trader import layout as T
from replay.venue import layout as V
from replay.venue.stream import venue_to


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """`bid` and `ask`: the venue's touch as the order came, None: no such side. `queue_ahead`: lots in front of it once it rested,
    None where it did not rest, or where the data cannot tell before its price is the touch (`queue` says which)."""

    sent: str
    arrived: str
    latency_ns: int
    bid: Decimal | None
    bid_qty: Decimal
    ask: Decimal | None
    ask_qty: Decimal
    did: tuple[str, ...]
    queue_ahead: float | None
    queue: str

    @property
    def mid(self) -> Decimal | None:
        """Of the touch it met."""
        return None if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


def way(engine: Engine, handle: int, instrument: int) -> Way | None:
    """Of an order that has just left, on a copy of the venue; None where it never left. The engine may be advanced by an input: what
    is asked in ``on_start`` leaves with the first."""
    if int(engine.trader.header.cmd_n):
        engine.reach(int(engine.trader.header.seq) + 1)
    venue, i = engine.venue.fork(), engine.session.instruments[instrument]
    v = venue.header
    ring = venue.region("requests")
    flying = (ring[k & (int(v.requests_n) - 1)] for k in range(int(v.request_head), int(v.request_tail)))
    request = next((r for r in flying if r.handle == handle and r.kind == T.CMD_NEW), None)
    if request is None:
        return None
    key, sent = int(request.key), int(request.ts)
    arrived = (key >> 3) + int(v.t0)
    _drive(engine, venue, key)
    b = venue.region("books")[instrument]
    touch = [(i.price(px) if size else None, i.qty(size)) for px, size in ((b.bid_px, b.bid_sz), (b.ask_px, b.ask_sz))]
    first = int(v.report_tail)
    _drive(engine, venue, key + 1)
    reports = venue.region("reports")
    said = [reports[k & (int(v.reports_n) - 1)] for k in range(first, int(v.report_tail))]
    ahead, queue = _queue(venue, handle)
    return Way(
        sent=utc_text(sent),
        arrived=utc_text(arrived),
        latency_ns=arrived - sent,
        bid=touch[0][0],
        bid_qty=touch[0][1],
        ask=touch[1][0],
        ask_qty=touch[1][1],
        did=tuple(report_text(r, i) for r in said if r.a == handle and r.kind == REPORT),
        queue_ahead=ahead,
        queue=queue,
    )


def _drive(engine: Engine, venue: Arena, key: int) -> None:
    """The venue up to a key; nobody takes its reports."""
    v = venue.header
    rows, n, order = engine.feed.addresses()
    reached = -1
    while reached < key:
        v.report_head = v.report_tail
        reached = entry_of(venue_to)(venue.base, rows, n, order, key)


def _queue(venue: Arena, handle: int) -> tuple[float | None, str]:
    o = venue.region("orders")[handle & T.SLOT_MASK]
    if o.handle != handle or not o.live:
        return None, "did not rest"
    if o.stopped:
        return None, "waits for its stop price"
    if venue.header.profile == V.HFTBACKTEST:
        return float(o.ahead_f), "rests"
    if o.ahead < 0:
        return None, "rests behind the touch, where the data shows no sizes"
    return float(o.ahead), "rests"
