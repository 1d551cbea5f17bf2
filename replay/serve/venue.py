"""The simulated venue of one account: requests in, reports out, by time keys of the replay loop."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from replay.errors import BadInput
from replay.events import FEE
from replay.faults.feed import Feed
from replay.kernel.memory import entry_of
from replay.serve.planned import Planned
from replay.trader.layout import CMD_CANCEL, CMD_NEW, CMD_REPLACE, SLOT_BITS, SLOT_MASK
from replay.trader.orders import WHY_MASK
from replay.venue import bars, host, matching
from replay.venue import layout as V
from replay.venue import setup as venue_setup
from replay.venue.setup import Profile

#: what has to be linked before a venue can run, callees first
KERNELS = (
    bars.open_on_orders,
    bars.path_on_orders,
    matching.on_request,
    host.advance,
    host.arrives,
    host.arrivals,
    host.sent,
)
CAPACITY = 4096  #: orders of one account that may be open at once


class Request(NamedTuple):
    """What leaves an account for its venue. Times and prices as in `replay.venue.layout.REQUEST`; qty is the new total of a replace."""

    kind: int
    handle: int
    instrument: int
    side: int
    type: int
    tif: int
    qty: int
    px: int
    stop_px: int


class Report(NamedTuple):
    """What the venue says, at `ts_recv` at the account. For a fee (`exec_type` -1) `last_px` is the currency, `last_qty` the amount."""

    ts: int
    ts_recv: int
    exec_type: int
    exec_id: int
    handle: int
    last_qty: int
    last_px: int
    cum_qty: int
    why: int  #: of an end that nobody asked for, else 0
    row: bytes


class Venue:
    """One account's venue: the session's books with that account's orders in them, and nobody else's.

    `reached` is the key up to which it has gone; a request never arrives before it.
    """

    def __init__(self, feed: Feed, profile: Profile, planned: Planned):
        self.feed, self.planned = feed, planned
        self.arena = venue_setup.build(planned.manifest, profile, CAPACITY, windows=planned.windows, fault_seed=planned.plan.seed)
        self.header = self.arena.header
        self.reached = 0
        self._free = deque(range(CAPACITY))
        self._ordinal = 0

    def slots(self) -> int:
        """Orders that may still be opened."""
        return len(self._free)

    def open_handle(self) -> int | None:
        """A handle for a new order, None where the venue is full."""
        if not self._free:
            return None
        self._ordinal += 1
        return self._ordinal << SLOT_BITS | self._free.popleft()

    def close_handle(self, handle: int) -> None:
        """The order has ended and no request about it is under way: its slot may be used again."""
        self._free.append(handle & SLOT_MASK)

    def send(self, r: Request, now: int) -> None:
        """A request leaves the account at `now`."""
        h = self.header
        assert r.kind in (CMD_NEW, CMD_CANCEL, CMD_REPLACE) and r.qty >= 0, r
        if self.room() == 0:
            raise BadInput(
                "more requests of one account are under way than there is room for: a long entry leg needs fewer orders"
            )
        row = self.arena.region("requests")[int(h.request_tail) & (int(h.requests_n) - 1)]
        arrival = entry_of(host.arrives)(self.arena.base, V.ENTRY, now)
        row.key = max(self.key(arrival, int(h.class_request)), self.reached)
        for name in ("handle", "qty", "px", "stop_px", "instrument", "kind", "side", "type", "tif"):
            row[name] = getattr(r, name)
        row.flags, row.ts = 0, now
        h.request_tail += 1
        if len(self.planned.windows):
            entry_of(host.sent)(self.arena.base, self.reached, now)
            self._take_hits()

    def room(self) -> int:
        """Requests that may still be sent before one arrives."""
        h = self.header
        return int(h.requests_n) - (int(h.request_tail) - int(h.request_head))

    def key(self, ts: int, rank: int) -> int:
        return (ts - int(self.header.t0)) << 3 | rank

    @property
    def busy(self) -> bool:
        """Whether the market can make it say anything: orders rest, or something is under way."""
        return bool(self.header.resting) or self.under_way

    @property
    def under_way(self) -> bool:
        """Whether a request or a report is under way."""
        h = self.header
        return bool(h.request_head != h.request_tail) or bool(h.report_head != h.report_tail)

    def advance(self, until: int) -> int:
        """Go forward to key `until`, or to the first report due before it; returns which."""
        call = entry_of(host.advance)
        rows, n, order = self.feed.addresses()
        while True:
            bound = call(self.arena.base, rows, n, order, until)
            hits = self._take_hits()
            if self.header.overrun:
                raise BadInput("the venue had more to report than it has room for: use fewer orders at once")
            if bound >= 0:
                self.reached = max(self.reached, bound)
                return bound
            if not hits:
                venue_setup.double_reports(self.arena)
                self.header = self.arena.header

    def _take_hits(self) -> int:
        """Count what struck since the last call."""
        n = int(self.header.n_hits)
        if n:
            self.planned.count(self.arena.region("hits")[:n])
            self.header.n_hits = 0
        return n

    def report_key(self) -> int:
        """The key at which the oldest report reaches the account, `V.NEVER` where there is none."""
        h = self.header
        if h.report_head == h.report_tail:
            return V.NEVER
        return self.key(int(self._oldest().ts_recv), int(h.class_report))

    def peek(self) -> Report:
        """The oldest report under way."""
        e = self._oldest()
        kind, why = (-1, 0) if e.kind == FEE else divmod(int(e["flags"]), 1 << 8)
        words = (int(e[name]) for name in ("id", "a", "b", "c", "d"))
        return Report(int(e.ts_event), int(e.ts_recv), kind, *words, why & WHY_MASK, e.tobytes())

    def drop(self) -> None:
        """The oldest report has been delivered."""
        self.header.report_head += 1

    def _oldest(self):
        h = self.header
        return self.arena.region("reports")[int(h.report_head) & (int(h.reports_n) - 1)]
