"""A trader without a venue: events go in by hand, one `step` each, commands are read where they leave."""

import dataclasses
import functools
from decimal import Decimal

import msgspec
import numpy as np

from replay import events as ev
from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.engine import KERNELS
from replay.kernel.memory import entry_of, link, record
from replay.trader import intents, setup, step
from replay.trader import layout as T
from replay.trader import orders as O
from replay.trader.limits import Limits

SECOND = 10**9
T0 = 1_700_000_000 * SECOND
MONEY = 10**8
CENT = MONEY // 100  # one tick on one lot


class NoStrategy:
    """Laid out like a strategy; the test asks in its place."""

    features = lengths = {}
    self_dtype = each_dtype = record(("pad_", "i8"))

    def write(self, *where):
        pass


@dataclasses.dataclass(frozen=True)
class Command:
    kind: int
    handle: int
    side: int
    qty: int
    px: int
    stop_px: int
    type: int
    tif: int
    flags: int
    strategy: int
    instrument: int


@functools.lru_cache(64)
def manifest(n=1, levels=None, phased=False, kinds=(), **fields):
    """The manifest of a session of `n` instruments A, B, C... with ticks of 0.01 and prices from 50 to 1000 ticks."""
    instruments = [Instrument(symbol=chr(65 + k), **{"tick_size": "0.01", **fields}) for k in range(n)]
    rows = ev.empty(4 * n + 1)
    rows["flags"][:] = ev.LAST
    rows.ts_event[:], rows.ts_recv[:] = T0, T0
    rows.kind[0], rows.side[0] = (ev.PHASE, ev.OPEN) if phased else (ev.CUSTOM, 0)
    for k in range(n):
        level = (levels or ("l1",) * n)[k]
        for r, px in zip(rows[1 + 4 * k : 5 + 4 * k], (50, 1000, 60, 70), strict=True):
            r.instrument = k
            if level == "l1":
                r.kind, r.a, r.b, r.c, r.d = ev.QUOTE, px, 10**6, px + 1, 10**6
            elif level == "l3":
                r.kind, r.side, r.a, r.b, r.c, r.id = ev.ORDER, 1, px, 10, ev.ADD, px
            elif level == "l2":
                r.kind, r.side, r.a, r.b, r.c = ev.DEPTH, 1, px, 10**6, ev.SET
            else:
                r.kind, r.a, r.b, r.c, r.d = ev.BAR, px, px, px, px
    made = Session.from_rows(rows, instruments, name="drive", bar_intervals_ns=[60 * SECOND]).manifest
    return msgspec.structs.replace(made, kinds=kinds)  # not noted: quotes and prints


class Trader:
    """Times are seconds after T0, unless `ns`; prices ticks of 0.01, quantities lots of 1."""

    def __init__(
        self,
        n=1,
        limits=None,
        strategies=1,
        own=None,
        capital="10000",
        capacity=64,
        tombstone=0,
        levels=None,
        phased=False,
        **fields,
    ):
        link(*KERNELS)
        m = manifest(n, tuple(levels) if levels else None, phased, **fields)
        own = own or [Limits()] * strategies
        capital = {m.instruments[0].currency: Decimal(capital)}
        self.arena = setup.build(m, [NoStrategy()] * strategies, limits or Limits(), own, capital, capacity, tombstone)
        self.h = self.arena.header
        self.base = self.arena.base
        self.out = np.zeros(1 << 12, ev.EVENT)
        self._handlers = np.zeros((1 + strategies, T.N_HOOKS), T.HANDLER)
        self.wire(self.h)
        self.now = T0
        self.row = ev.empty(1)
        self.exec_id = 0
        self.sent = []  # every command that left
        self.journal = []  # every event that came, as (bytes, now)
        self.fields = {name: self.arena.region(name) for name in ("views", "positions", "currencies", "orders", "strategies")}

    def wire(self, h):
        h.handlers, h.out, h.out_cap, h.out_n = self._handlers.ctypes.data, self.out.ctypes.data, len(self.out), 0

    # --- events -------------------------------------------------------------------------------------------------------------
    def step(self, kind, instrument=0, side=0, flags=ev.LAST, ident=0, a=0, b=0, c=0, d=0, ts=None):
        r = self.row[0]
        r.ts_event, r.ts_recv = self.now if ts is None else ts, self.now
        r.kind, r.side, r["flags"], r.instrument, r.id = kind, side, flags, instrument, ident
        r.a, r.b, r.c, r.d = a, b, c, d
        self.journal.append((self.row.tobytes(), self.now))
        self.h.out_n = 0
        entry_of(step.step)(self.base, self.row.ctypes.data, self.now)
        return self.drain()

    def drain(self):
        """Take the commands that wait; they are also appended to `sent`."""
        rows = self.arena.region("commands")[: int(self.h.cmd_n)]
        out = [Command(*(int(r[f.name]) for f in dataclasses.fields(Command))) for r in rows]
        self.h.cmd_n = 0
        self.sent += out
        return out

    def at(self, seconds=0, ns=0):
        self.now = T0 + round(seconds * SECOND) + ns
        return self

    def quote(self, bid=100, bid_sz=1000, ask=102, ask_sz=1000, instrument=0, **kw):
        return self.step(ev.QUOTE, instrument, a=bid, b=bid_sz, c=ask, d=ask_sz, **kw)

    def trade(self, px, size=1, side=0, instrument=0):
        return self.step(ev.TRADE, instrument, side, ev.LAST | ev.PRINT, a=px, b=size)

    def bar(self, close, instrument=0):
        return self.step(ev.BAR, instrument, a=close, b=close, c=close, d=close)

    def phase(self, phase, day=0):
        return self.step(ev.PHASE, side=phase, ident=day)

    def control(self, op):
        return self.step(ev.CONTROL, side=op)

    def report(self, handle, kind, qty=0, px=0, cum=0, exec_id=None, instrument=None, ts=None):
        if exec_id is None:
            self.exec_id += 1
            exec_id = self.exec_id
        o = self.order(handle)
        k = instrument if instrument is not None else int(o.instrument) if o is not None else 0
        side = int(o.side) if o is not None else 1
        return self.step(ev.REPORT, k, side, kind << 8, exec_id, handle, qty, px, cum, ts)

    def ack(self, handle):
        return self.report(handle, O.EXEC_NEW)

    def fill(self, handle, qty, px, exec_id=None):
        return self.report(handle, O.EXEC_TRADE, qty, px, exec_id=exec_id)

    # --- intents ------------------------------------------------------------------------------------------------------------
    def _ask(self, entry, *args, strategy=0):
        self.h.strategy = strategy
        self.h.now = max(int(self.h.now), self.now)
        answer = entry_of(entry)(self.base, *args)
        self.drain()
        return answer

    def place(self, signed, kind=T.LIMIT, px=0, stop_px=0, tif=T.DAY, flags=0, instrument=0, intent=0, strategy=0):
        return self._ask(intents.place, instrument, signed, px, stop_px, kind | tif << 4 | flags << 8, intent, strategy=strategy)

    def limit(self, signed, px, **kw):
        return self.place(signed, T.LIMIT, px, **kw)

    def market(self, signed, **kw):
        return self.place(signed, T.MARKET, **kw)

    def stop(self, signed, stop_px, **kw):
        return self.place(signed, T.STOP, 0, stop_px, **kw)

    def bracket(self, signed, px, take_px, stop_px, tif=T.DAY, flags=0, instrument=0, strategy=0):
        return self._ask(intents.bracket, instrument, signed, px, take_px, stop_px, tif << 4 | flags << 8, strategy=strategy)

    def oco(self, signed, take_px, stop_px, tif=T.DAY, flags=0, instrument=0):
        return self._ask(intents.oco, instrument, signed, take_px, stop_px, tif << 4 | flags << 8)

    def cancel(self, handle, strategy=0):
        return self._ask(intents.pull, handle, strategy=strategy)

    def cancel_all(self, instrument=-1, strategy=0):
        return self._ask(intents.pull_all, instrument, strategy=strategy)

    def replace(self, handle, qty, px):
        return self._ask(intents.change, handle, qty, px)

    def target(self, lots, instrument=0):
        return self._ask(intents.target, instrument, lots)

    def timer(self, seconds, timer_id=0):
        return self._ask(intents.timer, T0 + round(seconds * SECOND), timer_id)

    def bought(self, qty, px, instrument=0, strategy=0):
        """Hold a position: an order that is filled at once. The quote must allow it."""
        handle = self.market(qty, instrument=instrument, strategy=strategy)
        assert handle > 0, handle
        self.fill(handle, abs(qty), px)
        return handle

    # --- looking ------------------------------------------------------------------------------------------------------------
    def order(self, handle):
        if handle <= 0:
            return None
        o = self.arena.region("orders")[handle & T.SLOT_MASK]
        return o if int(o.handle) == handle else None

    def state(self, handle):
        return O.STATE_NAMES[int(self.order(handle).state)]

    def view(self, instrument=0):
        return self.fields["views"][instrument]

    def position(self, instrument=0, strategy=None):
        n = int(self.h.n_instruments)
        return self.fields["positions"][instrument if strategy is None else (1 + strategy) * n + instrument]

    @property
    def figures(self):
        return int(self.h.figure), int(self.h.bound)

    @property
    def status(self):
        """(state, reason) of the trader by name."""
        from replay.trader.reasons import REASON_NAMES

        return ("active", "halted", "killed")[int(self.h.state)], REASON_NAMES[int(self.h.state_reason)]

    def outputs(self, kind=None):
        """Output records of the newest event."""
        rows = self.out[: int(self.h.out_n)].view(np.recarray)
        return rows if kind is None else rows[rows.kind == kind]

    def check(self):
        """Invariants of the state, each computed anew."""
        table, views, n = self.arena.region("orders"), self.fields["views"], int(self.h.n_instruments)
        live = [o for o in table if int(o.state) != O.FREE and not O.TERMINAL[int(o.state)]]
        assert len(live) == int(self.h.live)
        for k in range(n):
            for side, name in ((1, "buying"), (-1, "selling")):
                want = sum(int(o.exposed) for o in table if int(o.instrument) == k and int(o.side) == side)
                assert int(views[k][name]) == want >= 0, (k, name)
                rows = [self.position(k, s) for s in range(int(self.h.n_strategies))]
                assert sum(int(p[name]) for p in rows) == want
            assert (
                int(views[k].pos)
                == int(self.position(k).qty)
                == sum(int(self.position(k, s).qty) for s in range(int(self.h.n_strategies)))
            )
            listed, slot = [], int(views[k].orders)
            while slot >= 0:
                listed.append(int(table[slot].handle))
                slot = int(table[slot].next)
            assert sorted(listed) == sorted(int(o.handle) for o in live if int(o.instrument) == k)
        free, slot = 0, int(self.h.free_head)
        while slot >= 0:
            free, last, slot = free + 1, slot, int(table[slot].next)
        assert free + len(live) == len(table) and (free == 0 or last == int(self.h.free_tail))
        for c in self.fields["currencies"]:
            assert int(c.cash) + int(c.cost) - int(c.realised) + int(c.fees) == int(c.initial)
        value = sum(int(v.value) for v in views)
        assert int(self.h.equity) == value + sum(int(c.cash) for c in self.fields["currencies"])
