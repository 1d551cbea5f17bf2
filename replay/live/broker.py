"""What the runner and a broker's adapter say to each other. Prices in ticks, quantities in lots, money in 1e-8, times ns UTC.

The adapter puts these into the runner's queue; the runner gives it commands of the trader. Nothing here knows a protocol.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from replay.live.desk import Command
from replay.live.hops import Hops, Sent

if TYPE_CHECKING:
    from replay.live.safety import Rescued


class Row(NamedTuple):
    """An event ready for the trader. `at`: the time it is to have, 0 to be stamped when it leaves the queue. `step` numbers it where
    the broker waits to be told that it was dealt with (lockstep). `heard` and `queued`: stamps of `replay.live.hops`, 0 where nobody
    heard it from a socket."""

    event: bytes
    at: int = 0
    step: int = 0
    heard: int = 0
    queued: int = 0


class Update(NamedTuple):
    """One report about an order of ours, by its ClOrdID; `cum` counts the whole replace chain. `text` is for people."""

    cl_ord_id: str
    exec_type: int
    last_qty: int = 0
    last_px: int = 0
    cum: int = 0
    exec_id: int = 0
    ts: int = 0
    maker: bool = False
    text: str = ""
    at: int = 0
    step: int = 0


class Execution(NamedTuple):
    """A fill of an order as a look-up shows it; `cum` counts the whole replace chain, this fill included."""

    exec_id: int
    qty: int
    px: int
    cum: int
    ts: int


#: what a look-up says of an order: it may still trade, it is over, or a request about it is under way
OPEN, PENDING, FILLED, CANCELED, REJECTED, EXPIRED = range(6)


class Seen(NamedTuple):
    """An order as a look-up shows it, the newest of its replace chain. `cum` and `qty` count the whole chain, `paid` is the sum of
    lots x ticks of its fills, as near as the broker says; `fills` those that were asked for, oldest first. `settled`: every request about it
    had been answered before it was looked up."""

    cl_ord_id: str
    order_id: str
    instrument: int
    state: int
    qty: int
    px: int
    stop_px: int
    cum: int
    paid: int
    fills: tuple[Execution, ...] = ()
    settled: bool = True


class Looked(NamedTuple):
    """What became of an order that was asked about at `asked_ns` of our clock; `seen` None: the broker does not know it, and it never will."""

    cl_ord_id: str
    seen: Seen | None
    asked_ns: int


class Books(NamedTuple):
    """The broker's books, asked for at `asked_ns`. `looked` answers for the orders that were asked about and are not open; `unread`: what
    could not be understood, for people, and `unknown` the instruments whose positions are among it."""

    cash: int
    positions: dict[int, tuple[int, int]]  # instrument -> (lots, ticks paid a lot)
    open: list[Seen]
    foreign: list[str]  # open orders of somebody else in our instruments, for people
    besides: list[str]  # what the account holds beyond our instruments, for people
    looked: list[Looked]
    asked_ns: int
    unread: tuple[str, ...] = ()
    unknown: frozenset[int] = frozenset()


class Link(NamedTuple):
    """A stream came up or went down; `fatal`: it will not come up again."""

    stream: str
    up: bool
    text: str = ""
    fatal: bool = False


class Hours(NamedTuple):
    """The broker's clock: whether its market is open, the trading day, when that changes (ns from the answer), how far its clock is
    ahead of ours, and how long the question took."""

    is_open: bool
    day: int
    next_ns: int
    offset_ns: int
    took_ns: int


class Failed(NamedTuple):
    """The broker's books could not be had; they will be asked for again."""

    text: str


class Control(NamedTuple):
    """An operator's word: an operation of CONTROL events, or a word of the runner's own; `reply` is called with the answer."""

    op: int
    word: str = ""
    reply: Callable[[dict], None] | None = None


class Mark(NamedTuple):
    """A step without an event: a timer is due, no more data will come, or all is over (lockstep)."""

    what: str
    at: int
    step: int


class Leave:
    """Whether requests may leave: not before the journal is durable, and never where that failed. `came`: the stamps of what made the
    trader send them (heard, queued, taken); `stepped`: when it had; `durable`: when they were allowed to leave.

    >>> leave = Leave(Hops(), (1, 2, 3), 4)
    >>> leave.give(5); leave.wait(), leave.durable
    (True, 5)
    """

    __slots__ = ("hops", "came", "stepped", "durable", "_given")

    def __init__(self, hops: Hops, came: tuple[int, int, int], stepped: int):
        self.hops, self.came, self.stepped, self.durable = hops, came, stepped, 0
        self._given = threading.Event()

    def give(self, durable: int) -> None:
        """They may leave: the journal was durable at `durable`."""
        self.durable = durable
        self._given.set()

    def refuse(self) -> None:
        """They never may."""
        self._given.set()

    def wait(self) -> bool:
        """Wait until it is known whether they may."""
        self._given.wait()
        return self.durable > 0

    def left(self, cl_ord_id: str, begun: int, prepared: int, written: int) -> None:
        """A new order has been written to its socket."""
        if self.came[0]:
            self.hops.sent(Sent(cl_ord_id, *self.came, self.stepped, self.durable, begun, prepared, written))


class Broker(Protocol):
    """An adapter. Every method returns at once except in lockstep, where `send` waits for the answers."""

    name: str
    account: str
    lockstep: bool
    skipped: dict[str, int]  # market data by kind that the trader has no use for

    def start(self, put: Callable[[object], None]) -> None:
        """Begin to listen to order updates; everything heard goes to `put`, from any thread."""

    def listen(self, behind: Callable[[], int]) -> None:
        """Begin to listen to market data; `behind` says how much of what `put` was given waits: while that is much, nothing more is read."""

    def ask(self, cl_ord_ids: list[str]) -> None:
        """Ask for the broker's books and for these orders; `Books` or `Failed` comes through `put`."""

    def hours(self) -> None:
        """Ask for the broker's clock; `Hours` comes through `put`, or nothing."""

    def look(self, cl_ord_id: str) -> None:
        """Ask what became of one order; `Looked` comes through `put`."""

    def send(self, commands: list[tuple[Command, str, str]], leave: Leave) -> None:
        """Send commands, each with the ClOrdID it is about and, of a replace, that of the new order: prepare them, and let them go when
        `leave` says so. In lockstep it has said so."""

    def reconnect(self, stream: str) -> None:
        """Make a stream's connection anew: it is up, and says nothing."""

    def drop(self, seen: Seen) -> None:
        """Cancel an order at the broker that the trader does not have."""

    def pull(self, cl_ord_ids: list[str]) -> None:
        """Cancel these orders whatever the trader says, and wait a little until that has been asked."""

    def rescue(self, flatten: bool) -> Rescued:
        """Let no new order leave, cancel every working order of the run and, if asked, close its positions, by a connection
        of its own and from any thread: the safety path, for when the runner does not answer."""

    def done(self, step: int, sent: bool, wake_ns: int | None) -> None:
        """The step was dealt with (lockstep); `sent`: it made us send something; `wake_ns`: the earliest timer."""

    def stop(self) -> None:
        """Let go of every connection."""
