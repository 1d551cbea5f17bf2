"""The replayed market: a clock over the session's rows and every account's venue, in the total order of the replay loop. No sockets.

`peek` says what comes next, `accept` lets it happen; between the two nothing moves. Two clients of it: lockstep, which goes one
step at a time and must be exact, and the paced clock, which takes as many rows at once as its time allows.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple

import numpy as np

from replay.data.session import Session
from replay.events import BAR, CLEAR, CONTROL, DEPTH, INTENT, LAST, PHASE, QUOTE, SETS_LAST, STATUS, TRADE
from replay.faults.feed import arrange
from replay.faults.plan import Plan
from replay.kernel.memory import entry_of, link
from replay.serve.planned import Planned
from replay.serve.venue import KERNELS, Report, Venue
from replay.venue import host
from replay.venue import layout as V
from replay.venue import setup as venue_setup
from replay.venue.layout import NEVER
from replay.venue.setup import Profile

ROWS, REPORT, TIMER, END, DONE = range(5)
CHUNK = 4096  # rows whose times of arrival are drawn together under a modelled feed leg, and that are looked through at once


class Step(NamedTuple):
    """What happens next: rows `lo` to `hi` (positions in our order), a report to the account of `venue`, a timer, or an end."""

    kind: int
    ts: int
    lo: int = 0
    hi: int = 0
    venue: Venue | None = None
    report: Report | None = None


class Touch(NamedTuple):
    """The best bid and ask as clients have seen them, in ticks and lots; a size of 0: no such side."""

    bid_px: int
    bid_sz: int
    ask_px: int
    ask_sz: int


class Market:
    """See the module. `now` is session time; `i` counts the rows that have reached the clients."""

    def __init__(self, session: Session, profile: Profile, planned: Planned):
        link(*KERNELS)
        self.session, self.profile, self.planned = session, profile, planned
        self.recorded = profile.feed.kind == "recorded"
        self.feed = arrange(session, planned.plan, self.recorded)
        self.events = self.feed.ours
        self.n = len(self.events)
        self._record: np.recarray | None = None  # what the broker knows, where clients are told something else
        if planned.plan.of_feed:
            halts = tuple(f for f in planned.plan.faults if f.kind == "halt")
            self._record = arrange(session, Plan(faults=halts), True).ours
        self.i = 0
        self.now = session.manifest.start_ns - 1
        self.ended = self.done = False
        self.wake_ns: int | None = None
        self.venues: list[Venue] = []
        self._legs = venue_setup.build(session.manifest, profile, 16)  # only its feed leg is used
        self._times = np.zeros(0, np.int64)
        self._times_from = 0
        self._seen: dict[tuple, tuple[int, int]] = {}
        self._books: dict[int, Book] = {}

    def open_venue(self) -> Venue:
        """A venue for one more account, brought to where the market stands."""
        v = Venue(self.feed, self.profile, self.planned)
        v.reached = v.key(self.now, 7)
        v.advance(v.reached)
        self.venues.append(v)
        return v

    # --- rows in the order in which they reach clients ---------------------------------------------------------------------------
    def rows(self, lo: int, hi: int) -> np.recarray:
        """Rows `lo` to `hi` of our order: as recorded, or the venue's where the feed leg is modelled."""
        if self.recorded or self.session.order is None:
            return self.events[lo:hi]
        return self.events[self.session.order[lo:hi]]

    @property
    def known(self) -> int:
        """How many rows of `record` are the past by now."""
        return self.i if self._record is None else int(np.searchsorted(self._record.ts_recv, self.now, "right"))

    def record(self, lo: int, hi: int) -> np.recarray:
        """Rows as they are, whatever a plan makes of those that reach clients."""
        return self.rows(lo, hi) if self._record is None else self._record[lo:hi]

    def times(self, lo: int, hi: int) -> np.ndarray:
        """When they reach clients, ns. `hi` is at most a chunk beyond the cursor."""
        if self.recorded:
            return self.events.ts_recv[lo:hi]
        while self._times_from + len(self._times) < hi:
            start = self._times_from + len(self._times)
            more = np.ascontiguousarray(self.rows(start, min(start + CHUNK, self.n)).ts_event)
            entry_of(host.arrivals)(self._legs.base, V.FEED, more.ctypes.data, len(more))
            keep = max(0, self.i - self._times_from)
            self._times = np.concatenate([self._times[keep:], more])
            self._times_from += keep
        return self._times[lo - self._times_from : hi - self._times_from]

    def _key(self, ts: int, rank: str) -> int:
        return (ts - int(self._legs.header.t0)) << 3 | int(self._legs.header[rank])

    def _row_key(self) -> int:
        if self.i >= self.n:
            return NEVER
        kind = int(self.rows(self.i, self.i + 1).kind[0])
        return self._key(int(self.times(self.i, self.i + 1)[0]), "class_control" if kind in (CONTROL, INTENT) else "class_local")

    # --- the total order ---------------------------------------------------------------------------------------------------------
    def peek(self, until_ns: int | None = None, most: int = 1, exact: bool = True) -> Step | None:
        """What happens next, None where that is after `until_ns` or all is over. `most` rows at once at most; `exact`: more than one only
        while no venue has anything to do, so that any of them may be the last one accepted."""
        if self.done:
            return None
        limit = NEVER if until_ns is None else self._key(until_ns + 1, "class_data")
        if self.i >= self.n and not self.ended:
            return Step(END, self.now)
        local = self._row_key()
        wake = NEVER
        if self.wake_ns is not None and self.wake_ns <= self.session.manifest.end_ns:
            wake = self._key(max(self.wake_ns, self.now), "class_timer")
        busy = [v for v in self.venues if v.busy]
        bound = min(local, wake, limit)
        if busy and not exact and local < limit:
            bound = self._run_key(most, min(wake, limit))
        for v in busy:
            bound = v.advance(min(bound, v.report_key()))
        first = min((v.report_key() for v in busy), default=NEVER)
        if first < min(local, wake, limit):
            v = min(busy, key=Venue.report_key)
            report = v.peek()
            return Step(REPORT, report.ts_recv, venue=v, report=report)
        if wake < min(local, limit):
            return Step(TIMER, max(self.wake_ns, self.now))
        if local == NEVER and wake == NEVER and not any(v.under_way for v in busy):
            return Step(DONE, self.now)
        if local >= limit:
            return None
        hi = self.i + 1 if busy and exact else self._run_end(most, min(bound if busy else NEVER, first, wake, limit))
        return Step(ROWS, int(self.times(self.i, self.i + 1)[0]), self.i, hi)

    def _run_key(self, most: int, bound: int) -> int:
        """The key of the last of the next `most` rows, or `bound`."""
        hi = min(self.i + most, self.n)
        return min(bound, self._key(int(self.times(hi - 1, hi)[0]), "class_local"))

    def _run_end(self, most: int, bound: int) -> int:
        """How far rows reach us, without anything between them, before key `bound`; at least one."""
        hi = min(self.i + most, self.n)
        if hi - self.i <= 1:
            return hi
        kinds = self.rows(self.i, hi).kind
        alone = np.flatnonzero((kinds == CONTROL) | (kinds == INTENT) | (kinds == PHASE))
        if len(alone):
            hi = max(self.i + 1, self.i + int(alone[0]))
        if bound == NEVER:
            return hi
        times = self.times(self.i, hi)
        k = bisect.bisect_left(times, bound, key=lambda t: self._key(int(t), "class_local"))
        return self.i + max(1, k)

    def accept(self, step: Step, rows: int | None = None) -> None:
        """Let it happen; of rows only the first `rows`."""
        if step.kind == ROWS:
            last = step.hi if rows is None else step.lo + rows
            assert step.lo == self.i < last <= step.hi, (step, rows)
            self.now = max(self.now, int(self.times(last - 1, last)[0]))
            self.i = last
            return
        self.now = max(self.now, step.ts)
        if step.kind == REPORT:
            step.venue.drop()
        elif step.kind == TIMER:
            self.wake_ns = None
        elif step.kind == END:
            self.ended = True
        else:
            self.done = True

    def rest(self, until_ns: int) -> None:
        """Nothing more happens up to `until_ns`: the clock stands there."""
        self.now = max(self.now, until_ns)

    def next_ns(self) -> int | None:
        """When the next row comes, None behind the last one."""
        return None if self.i >= self.n else int(self.times(self.i, self.i + 1)[0])

    # --- what clients have seen ----------------------------------------------------------------------------------------------------
    def newest(self, kind: int, instrument: int) -> np.record | None:
        """The newest row of a kind that has reached clients; of trades, one that may set the last price. Phases have no instrument."""
        scanned, found = self._seen.get((kind, instrument), (0, -1))
        known = hi = self.known
        while hi > scanned:
            lo = max(scanned, hi - CHUNK)
            block = self.record(lo, hi)
            match = block.kind == kind
            if kind != PHASE:
                match &= block.instrument == instrument
            if kind == TRADE:
                match &= block["flags"] & SETS_LAST != 0
            hits = np.flatnonzero(match)
            if len(hits):
                found = lo + int(hits[-1])
                break
            hi = lo
        self._seen[kind, instrument] = (known, found)
        return None if found < 0 else self.record(found, found + 1)[0]

    def touch(self, instrument: int) -> Touch:
        """The best bid and ask."""
        if self.session.manifest.levels[instrument] == "l2":
            return self.book(instrument).touch()
        e = self.newest(QUOTE, instrument)
        return Touch(0, 0, 0, 0) if e is None else Touch(int(e.a), int(e.b), int(e.c), int(e.d))

    def book(self, instrument: int) -> Book:
        """The order book of an instrument that has depth rows."""
        book = self._books.setdefault(instrument, Book())
        known = self.known
        while book.upto < known:
            hi = min(book.upto + CHUNK, known)
            rows = self.record(book.upto, hi)
            book.feed(rows[(rows.kind == DEPTH) & (rows.instrument == instrument)])
            book.upto = hi
        return book

    def price(self, instrument: int) -> int:
        """What a position is valued at, ticks: the last trade's price, else the last bar's close, else the touch; 0: nothing is known."""
        for kind, field in ((TRADE, "a"), (BAR, "d")):
            e = self.newest(kind, instrument)
            if e is not None:
                return int(e[field])
        t = self.touch(instrument)
        return t.bid_px if t.bid_sz else t.ask_px if t.ask_sz else 0

    def phase(self) -> int:
        """The session's phase; a recording without phases is always open."""
        e = self.newest(PHASE, -1)
        return self.session.manifest.phase_at_start if e is None else int(e.side)

    def status(self, instrument: int) -> int:
        """TRADING or HALTED."""
        e = self.newest(STATUS, instrument)
        return 0 if e is None else int(e.side)


class Book:
    """An order book from depth rows, {price: size} a side; of rows seen up to `upto`."""

    def __init__(self):
        self.upto = 0
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def feed(self, rows: np.recarray) -> None:
        """Apply depth rows in order. At the end of a message the newer side is right: what it crosses is gone."""
        columns = (rows.side, rows.a, rows.b, rows.c, rows["flags"])
        for side, px, size, action, flags in zip(*(c.tolist() for c in columns), strict=True):
            own, other = (self.bids, self.asks) if side > 0 else (self.asks, self.bids)
            if action == CLEAR:
                own.clear()
                if side == 0:
                    other.clear()
            elif size:
                own[px] = size
            else:
                own.pop(px, None)
            if flags & LAST and self.bids and self.asks and max(self.bids) >= min(self.asks):
                best = max(own) if side > 0 else min(own)
                for p in [p for p in other if side * (best - p) >= 0]:
                    del other[p]

    def touch(self) -> Touch:
        bid = max(self.bids, default=0)
        ask = min(self.asks, default=0)
        return Touch(bid, self.bids.get(bid, 0), ask, self.asks.get(ask, 0))
