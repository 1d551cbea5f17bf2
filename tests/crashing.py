"""A trading desk to crash: the real runner, desk and journal over a simulated disk, and a broker that remembers what was sent.

Nothing here knows the time of day: the market, the broker and the moments at which things are flushed, made durable and kept as a
snapshot follow from the number of a step. So two runs that lose nothing are the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from replay import events as ev
from replay.data.instruments import MONEY, Instrument
from replay.faults.disk import Op, SimulatedDisk
from replay.live import broker as B
from replay.live import open as opening
from replay.live import recovery
from replay.live.broker import Books, Control, Execution, Link, Looked, Row, Seen, Update
from replay.live.clock import Lockstep
from replay.live.desk import pack
from replay.live.head import manifest_of
from replay.live.ids import parse
from replay.live.reconcile import working
from replay.live.runner import Runner, Settings
from replay.strategy import load
from replay.trader.layout import CMD_CANCEL, CMD_NEW, SLOT_BITS
from replay.trader.limits import Limits
from replay.trader.orders import EXEC_CANCEL_REJECTED, EXEC_CANCELED, EXEC_NEW, EXEC_REPLACE_REJECTED, EXEC_REPLACED, EXEC_TRADE

DEALER = str(Path(__file__).with_name("dealer.py"))
LIMITS = Limits(max_position=1000)
CASH = 10_000 * MONEY
T0, STEP_NS = 10**18, 10**6
STEPS, KILL_AT = 60, 33
SEGMENT_BYTES = 6_000
SYMBOLS = ["A", "B"]
NEVER = Settings(flush_s=1e9, durable_s=1e9, snapshot_s=1e9, reconcile_s=1e9, confirm_s=1e9, phased=False)


class Held(NamedTuple):
    """An order at the broker; `fills` are (execution id, lots, ticks)."""

    instrument: int
    side: int
    qty: int
    px: int
    state: int = B.OPEN
    fills: tuple[tuple[int, int, int], ...] = ()

    @property
    def cum(self) -> int:
        return sum(qty for _, qty, _ in self.fills)


class Memory(NamedTuple):
    """All a broker knows; a value, so that it can be gone back to."""

    orders: dict[str, Held] = {}
    due: tuple[Update, ...] = ()  # said with the next step; who is not there then never hears it
    sent: int = 0
    killed: bool = False  # an operator was told that the trader is


class Venue:
    """A broker that works at once and tells of it at once or with the next step. Every order lives by its ordinal: some fill at once, some in
    halves, some lot by lot, some never."""

    name, account, lockstep = "script", "A1", False

    def __init__(self, memory: Memory, now: Callable[[], int]):
        self.orders, self.due, self.sent, self.killed = dict(memory.orders), list(memory.due), memory.sent, memory.killed
        self.now, self.broken, self.strangers = now, False, None
        self.leaving: list[tuple] = []
        self.skipped: dict[str, int] = {}

    def memory(self) -> Memory:
        return Memory(dict(self.orders), tuple(self.due), self.sent, self.killed)

    def start(self, put):
        self.put = put
        put(Link("order updates", True))

    def listen(self, behind):
        self.put(Link("market data", True))

    def send(self, commands, leave):
        self.leaving += commands

    def let(self):
        """What was sent may leave."""
        commands, self.leaving = self.leaving, []
        for c, name, _ in commands:
            assert not self.broken, "sent after the journal was broken"
            assert not self.killed or c.kind == CMD_CANCEL, "a killed trader sent something new"
            self.sent += 1
            if c.kind == CMD_NEW:
                assert name not in self.orders, f"{name} was sent twice"
                self.orders[name] = Held(c.instrument, c.side, c.qty, c.px)
                self._tell(name, EXEC_NEW)
                if not c.px:
                    self._fill(name, c.qty // 2, 100)
            elif name not in self.orders or self.orders[name].state != B.OPEN:  # over, or never sent
                self._tell(name, EXEC_CANCEL_REJECTED if c.kind == CMD_CANCEL else EXEC_REPLACE_REJECTED)
            elif c.kind == CMD_CANCEL:
                self.orders[name] = self.orders[name]._replace(state=B.CANCELED)
                self._tell(name, EXEC_CANCELED)
            else:
                self.orders[name] = self.orders[name]._replace(qty=c.qty, px=c.px)
                self._tell(name, EXEC_REPLACED)

    def _tell(self, name: str, exec_type: int) -> None:
        """An answer: of every other order at once."""
        cum = self.orders[name].cum if name in self.orders else 0
        (self.due.append if parse(name).handle >> SLOT_BITS & 1 else self.put)(Update(name, exec_type, cum=cum))

    def step(self, number: int) -> list[Update]:
        """The market moves once: what there is to tell."""
        for name, o in list(self.orders.items()):
            ordinal = parse(name).handle >> SLOT_BITS
            if o.state == B.OPEN and (not o.px or (ordinal + number) % 3 == 0):
                self._fill(name, 1 if o.px else o.qty - o.cum, o.px or 100)
        due, self.due = self.due, []
        return due

    def _fill(self, name: str, qty: int, px: int) -> None:
        o = self.orders[name]
        number = sum(len(x.fills) for x in self.orders.values()) + 1
        o = o._replace(fills=(*o.fills, (number, qty, px)))
        self.orders[name] = o._replace(state=B.FILLED if o.cum == o.qty else B.OPEN)
        self.due.append(Update(name, EXEC_TRADE, qty, px, o.cum, number))

    def ask(self, cl_ord_ids):
        """The books; what they tell needs no telling any more."""
        self.due.clear()
        is_open = [n for n, o in self.orders.items() if o.state == B.OPEN]
        gone = [Looked(n, self._seen(n) if n in self.orders else None, self.now() + 1) for n in cl_ord_ids if n not in is_open]
        self.put(Books(self.cash, self.positions, [self._seen(n) for n in is_open], [], [], gone, self.now() + 1))

    def _seen(self, name: str) -> Seen:
        o, cum, fills = self.orders[name], 0, []
        for number, qty, px in o.fills:
            cum += qty
            fills.append(Execution(number, qty, px, cum, 0))
        return Seen(name, name, o.instrument, o.state, o.qty, o.px, 0, cum, sum(q * px for _, q, px in o.fills), tuple(fills))

    @property
    def cash(self) -> int:
        return CASH - sum(o.side * q * px * MONEY // 100 for o in self.orders.values() for _, q, px in o.fills)

    @property
    def positions(self) -> dict[int, tuple[int, int]]:
        lots = {k: sum(o.side * o.cum for o in self.orders.values() if o.instrument == k) for k in range(len(SYMBOLS))}
        return {k: (n, 100) for k, n in lots.items() if n}

    def look(self, cl_ord_id):
        raise AssertionError("no look-ups but at the start")

    def drop(self, seen):
        assert self.strangers is not None, f"{seen.cl_ord_id}: an order of this run that the trader does not have"
        self.strangers.append(seen.cl_ord_id)
        self.pull([seen.cl_ord_id])

    def pull(self, cl_ord_ids):
        for name in cl_ord_ids:
            if name in self.orders and self.orders[name].state == B.OPEN:
                self.orders[name] = self.orders[name]._replace(state=B.CANCELED)

    def stop(self):
        pass


class Point(NamedTuple):
    """What was so when an operation of the disk was about to be done: the broker, the step, inputs taken, and inputs that `durable` had
    returned for."""

    memory: Memory
    step: int
    taken: int
    kept: int


class Life:
    """One process: from its start on a disk, through the steps of the market, to its end or its death. `points` has one entry for each of
    its operations; `digests` the decision digest after every input, `ends` the inputs after every step."""

    def __init__(
        self,
        disk: SimulatedDisk,
        memory: Memory = Memory(),
        first: int = 0,
        digests: dict[int, int] | None = None,
        taken: int = 0,
        kept: int = 0,
    ):
        self.disk, self.first, self.step, self.taken, self.kept = disk, first, first, taken, kept
        self.digests, self.ends, self.points = dict(digests or {}), {}, []
        self.base, self.fault = len(disk.ops), lambda number, op: None
        self.clock = Lockstep(T0 + first * STEP_NS - STEP_NS // 2)
        self.venue = Venue(memory, self.clock.now)
        self.desk = self.runner = None
        self.ready = 0
        disk.before = self._before

    def _before(self, number: int, op: Op) -> None:
        taken = self.desk.header.seq if self.desk else self.taken
        self.points.append(Point(self.venue.memory(), self.step, taken, self.kept))
        self.fault(number - self.base, op)

    def start(self, strategies) -> None:
        """Begin, or go on; reconciled when it returns."""
        now = self.clock.now()
        if recovery.begun(self.disk):
            self.desk, head, self.said = opening.go_on(self.disk, strategies, LIMITS, SYMBOLS, "A1", now)
        else:
            instruments = [Instrument(symbol=s, tick_size=Decimal("0.01")) for s in SYMBOLS]
            m = manifest_of("test", instruments, [1000] * len(SYMBOLS), now, False)
            self.desk, head = opening.begin(self.disk, strategies, m, LIMITS, CASH, "script", "A1", now)
        self.ready = len(self.points)
        self.digests[self.desk.header.seq] = self.desk.header.digest
        self._watch()
        self.desk.log.segment_bytes = SEGMENT_BYTES
        self.runner = Runner(self.desk, self.venue, head.run_id, NEVER, self.clock)
        let = self.runner._let
        self.runner._let = lambda leave: (let(leave), self.venue.let())
        self.desk.__enter__()
        self.venue.start(self.runner.inbox.put)
        self.runner._begin()
        self.venue.listen(self.runner.inbox.qsize)
        self.runner.due = dict.fromkeys(("flush", "durable", "snapshot", "books", "confirm"), 1e18)

    def _watch(self) -> None:
        desk, take, durable = self.desk, self.desk.take, self.desk.log.durable

        def taking(event, now):
            take(event, now)
            self.digests[desk.header.seq] = desk.header.digest

        def making():
            durable()
            self.kept = desk.header.seq - desk.header.journal_n

        desk.take, desk.log.durable = taking, making

    def say(self, *items) -> None:
        for item in items:
            self.runner.inbox.put(item)
        while not self.runner.inbox.empty() and not self.runner.problem:
            self.runner._turn()

    def trade(self, kill_at: int) -> None:
        """The steps that are left, then an orderly end."""
        for step in range(self.first, STEPS):
            self.step = step
            self.clock.at = now = T0 + step * STEP_NS
            k, bid = self.step % len(SYMBOLS), 1000 + self.step % 7
            self.say(*self.venue.step(self.step), Row(pack(ev.QUOTE, now, now, k, a=bid, b=100, c=bid + 2, d=100), now))
            if self.step == kill_at:
                self.say(Control(ev.OP_KILL, "kill", self._told))
            for what, every in (("flush", 2), ("durable", 5), ("snapshot", 17)):
                if self.step % every == 0 and not self.runner.problem:
                    self.runner.due[what] = 0.0
                    self.runner._turn()
            self.ends[self.step] = self.desk.header.seq
            if self.runner.problem:
                return
        self.runner.begin_stop("the end")
        last = max(self.first, STEPS)
        for step in range(last, last + 3):
            self.step = step
            self.clock.at = T0 + step * STEP_NS
            self.say(*self.venue.step(step))
        self.end()

    def _told(self, status: dict) -> None:
        self.venue.killed = True

    def end(self) -> None:
        self.desk.__exit__(None, None, None)
        self.runner._close()

    def differences(self) -> list[str]:
        """What differs between both sides' books, and what works still."""
        mine = {k: int(p.qty) for k, p in enumerate(self.desk.trader.region("positions")[: len(SYMBOLS)]) if int(p.qty)}
        theirs = {k: lots for k, (lots, _) in self.venue.positions.items()}
        cash = int(self.desk.trader.region("currencies")[0].cash)
        out = [f"positions {mine}, the broker's {theirs}"] if mine != theirs else []
        out += [f"cash {cash}, the broker's {self.venue.cash}"] if cash != self.venue.cash else []
        at_work = [name for name, o in self.venue.orders.items() if o.state == B.OPEN]
        return out + [f"{name} works still" for name in (*working(self.desk, hex), *at_work)]


def strategies():
    return [load(DEALER)]
