"""A venue without a trader: rows and requests go in by hand, reports are read where they leave. And the language of scenarios."""

import re

import numpy as np
from drive import T0, manifest

from replay import events as ev
from replay.engine import KERNELS
from replay.kernel.memory import entry_of, link
from replay.trader import layout as T
from replay.trader import orders as O
from replay.venue import fills, matching, setup
from replay.venue.setup import Profile

TYPES = {"market": T.MARKET, "limit": T.LIMIT, "stop": T.STOP, "stop-limit": T.STOP_LIMIT}
TIFS = {"day": T.DAY, "gtc": T.GTC, "ioc": T.IOC, "fok": T.FOK}
FLAGS = {"post": T.POST_ONLY, "reduce": T.REDUCE_ONLY}


class Venue:
    """One instrument; its `level` may be ``quotes`` or ``prints``: L1 without the other. Every method returns the reports it caused, as (handle, exec name, qty, px, cum)."""

    def __init__(self, level="l1", profile=Profile(), phased=False, capacity=64):
        link(*KERNELS)
        kinds = {"quotes": (("quote",),), "prints": (("trade",),), "l2-alone": (("depth",),)}.get(level, ())
        level = {"quotes": "l1", "prints": "l1", "l2-alone": "l2"}.get(level, level)
        self.arena = setup.build(manifest(1, (level,), phased, kinds), profile, capacity)
        self.h, self.base = self.arena.header, self.arena.base
        self.row, self.now = ev.empty(1), T0

    def _reports(self):
        ring = self.arena.region("reports")
        out = []
        while int(self.h.report_head) < int(self.h.report_tail):
            r = ring[int(self.h.report_head) % len(ring)]
            self.h.report_head += 1
            kind = O.EXEC_NAMES[int(r["flags"]) >> 8] if int(r.kind) == ev.REPORT else "fee"
            if kind == "fee":
                out.append((int(r.a), kind, int(r.b), 0, 0))
            else:
                out.append((int(r.a), kind, int(r.b), int(r.c), int(r.d)))
            self.maker = bool(int(r["flags"]) & ev.MAKER)
        return out

    def put(self, kind, side=0, a=0, b=0, c=0, d=0, flags=ev.LAST):
        self.now += 1
        r = self.row[0]
        r.ts_event = r.ts_recv = self.now
        r.kind, r.side, r["flags"], r.a, r.b, r.c, r.d = kind, side, flags, a, b, c, d
        entry_of(fills.feed)(self.base, self.row.ctypes.data)
        return self._reports()

    def quote(self, bid, bid_sz, ask, ask_sz, **kw):
        return self.put(ev.QUOTE, 0, bid, bid_sz, ask, ask_sz, **kw)

    def trade(self, side, px, size, flags=ev.LAST | ev.PRINT):
        return self.put(ev.TRADE, side, px, size, flags=flags)

    def depth(self, side, px, size, action=ev.SET, flags=ev.LAST):
        return self.put(ev.DEPTH, side, px, size, action, flags=flags)

    def _request(self, kind, handle, qty=0, px=0, stop_px=0, side=1, type_=T.LIMIT, tif=T.DAY, flags=0):
        self.now += 1
        ring = self.arena.region("requests")
        r = ring[int(self.h.request_tail) % len(ring)]
        self.h.request_tail += 1
        r.handle, r.qty, r.px, r.stop_px, r.instrument = handle, qty, px, stop_px, 0
        r.kind, r.side, r.type, r.tif, r["flags"] = kind, side, type_, tif, flags
        entry_of(matching.on_request)(self.base, self.now)
        return self._reports()

    def new(self, handle, side, qty, type_=T.LIMIT, px=0, stop_px=0, tif=T.DAY, flags=0):
        return self._request(T.CMD_NEW, handle, qty, px, stop_px, side, type_, tif, flags)

    def cancel(self, handle):
        return self._request(T.CMD_CANCEL, handle)

    def replace(self, handle, qty, px, stop_px=0):
        return self._request(T.CMD_REPLACE, handle, qty, px, stop_px)

    def resting(self):
        """Handles in matching order: (buys, sells, stops)."""
        table, book = self.arena.region("orders"), self.arena.region("books")[0]
        out = []
        for slot in (int(book.resting[0]), int(book.resting[1]), int(book.stops)):
            side, prev = [], -1
            while slot >= 0:
                assert int(table[slot].prev) == prev and int(table[slot].live)
                side.append(int(table[slot].handle))
                prev, slot = slot, int(table[slot].next)
            out.append(side)
        assert sum(map(len, out)) == int(book.n_resting) == int(self.h.resting)
        return out

    def order(self, handle):
        return self.arena.region("orders")[handle & T.SLOT_MASK]


class Scenario:
    """Lines of ``action -> reports``; see the files in tests/scenarios. A line without ``->`` must cause no report."""

    def __init__(self, text):
        self.venue, self.handles = None, {}
        self.lines = [(n, line.split("#")[0].strip()) for n, line in enumerate(text.splitlines(), 1)]

    def run(self):
        for n, line in self.lines:
            if line:
                action, _, want = (s.strip() for s in line.partition("->"))
                got = self.act(action.split())
                assert got == ", ".join(w.strip() for w in want.split(",")), f"line {n}: {action}: {got or 'nothing'}"
        assert self.venue is None or all(not side for side in self.venue.resting()), "the book is drained at the end"

    def act(self, words):
        name, rest = words[0], words[1:]
        if name == "venue":
            options = {k: int(v) for k, v in zip(rest[2::2], rest[3::2], strict=True)}
            phased = options.pop("phased", 0)
            self.drained()
            self.venue, self.handles = Venue(rest[0], Profile(name=rest[1], **options), bool(phased)), {}
            return ""
        return ", ".join(self.say(r) for r in getattr(self, "do_" + name)(*rest))

    def drained(self):
        assert self.venue is None or all(not side for side in self.venue.resting()), "the book is drained before the next"

    def say(self, report):
        handle, kind, qty, px, _ = report
        name = next(n for n, h in self.handles.items() if h == handle)
        if kind == "trade":
            return f"{name} fill {qty}@{px}"
        if kind == "replaced":
            return f"{name} replaced {qty}@{px}"
        return f"{name} fee {qty}" if kind == "fee" else f"{name} {kind}"

    def _new(self, side, name, qty, *words):
        handle = self.handles.setdefault(name, (len(self.handles) + 1) << T.SLOT_BITS | len(self.handles) + 1)
        words = list(words)
        kind = TYPES[words.pop(0)]
        px = int(words.pop(0)) if kind in (T.LIMIT, T.STOP_LIMIT) else 0
        stop = int(words.pop(0)) if kind in (T.STOP, T.STOP_LIMIT) else 0
        tif = next((TIFS[w] for w in words if w in TIFS), T.DAY)
        return self.venue.new(handle, side, int(qty), kind, px, stop, tif, sum(FLAGS.get(w, 0) for w in words))

    def do_buy(self, *words):
        return self._new(1, *words)

    def do_sell(self, *words):
        return self._new(-1, *words)

    def do_cancel(self, name):
        return self.venue.cancel(self.handles[name])

    def do_replace(self, name, to, stop="0"):
        qty, px = to.split("@")
        return self.venue.replace(self.handles[name], int(qty), int(px), int(stop))

    def do_quote(self, bid, ask, *words):
        (bid_sz, bid_px), (ask_sz, ask_px) = (map(int, re.split("[@]", s)) for s in (bid, ask))
        return self.venue.quote(bid_px, bid_sz, ask_px, ask_sz)

    def do_print(self, side, what, *words):
        size, px = map(int, what.split("@"))
        flags = ev.LAST | (ev.SETS_LAST if "quiet" in words else ev.FILLS if "odd" in words else ev.PRINT)
        return self.venue.trade({"up": 1, "down": -1, "cross": 0}[side], px, size, flags)

    def do_bid(self, what, *words):
        size, px = map(int, what.split("@"))
        return self.venue.depth(1, px, size, flags=0 if "more" in words else ev.LAST)

    def do_ask(self, what, *words):
        size, px = map(int, what.split("@"))
        return self.venue.depth(-1, px, size, flags=0 if "more" in words else ev.LAST)

    def do_clear(self):
        return self.venue.depth(0, 0, 0, ev.CLEAR)

    def do_phase(self, name):
        return self.venue.put(ev.PHASE, {"open": ev.OPEN, "closed": ev.CLOSED, "pre": ev.PRE_OPEN}[name])

    def do_status(self, name):
        return self.venue.put(ev.STATUS, {"halted": ev.HALTED, "trading": ev.TRADING}[name])

    def do_bar(self, px):
        return self.venue.put(ev.BAR, a=int(px))

    def do_rests(self, *names):
        """Order of the queue: buys / sells / stops."""
        got = [[next(n for n, h in self.handles.items() if h == x) for x in side] for side in self.venue.resting()]
        assert " ".join(" ".join(side) or "-" for side in got) == " ".join(names), got
        return []

    def do_ahead(self, name, lots):
        assert int(self.venue.order(self.handles[name]).ahead) == int(lots), self.venue.order(self.handles[name]).ahead
        return []


assert np.dtype(ev.EVENT).itemsize == 64
