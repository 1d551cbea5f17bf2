"""The desk: a trader and its journal. Events go in one at a time, commands come out once they are durable. No network, no clock."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import struct
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np

from replay.errors import BadInput
from replay.events import EVENT, LAST
from replay.journal import Build, wire
from replay.kernel.arena import Arena
from replay.kernel.memory import entry_of, failing, structure
from replay.live import snapshots
from replay.live.disk import Disk
from replay.live.head import Head, copy_sources
from replay.live.log import HEAD, MARK, NOTE, START, STOP, Log, Place, segment_name
from replay.live.recovery import DAMAGED, Mark, Prefix, Recovered, Start, begun
from replay.trader import layout as T
from replay.trader import step
from replay.trader.output import FAULT_MONEY, FAULT_OUTPUT, FAULT_STRATEGY

FRAME_ROWS = 1 << 12
OUTPUT_ROWS = 3 * T.OUT_MARGIN
UNTRUSTED = ".untrusted"
_EVENT = struct.Struct("<qqBbHIqqqqq")
_HEADER = structure(T.HEADER)


def pack(
    kind: int,
    ts_event: int,
    ts_recv: int,
    instrument: int = 0,
    side: int = 0,
    flags: int = LAST,
    ident: int = 0,
    a: int = 0,
    b: int = 0,
    c: int = 0,
    d: int = 0,
) -> bytes:
    """One event as its 64 bytes.

    >>> from replay import events as ev
    >>> int(np.frombuffer(pack(ev.QUOTE, 5, 6, 1, a=100, b=3, c=101, d=4), ev.QUOTE_DT)["ask_px"][0])
    101
    """  # fmt: skip
    return _EVENT.pack(ts_event, ts_recv, kind, side, flags, instrument, ident, a, b, c, d)


class Command(NamedTuple):
    """What the trader wants sent, in its units; `seq` is the input that made it say so."""

    kind: int
    handle: int
    qty: int
    px: int
    stop_px: int
    instrument: int
    side: int
    type: int
    tif: int
    flags: int
    ts: int
    seq: int


#: faults of no handler
_NOT_A_HOOK = {FAULT_OUTPUT: "more than one event may say", FAULT_MONEY: "more money than can be counted"}


class Fault(NamedTuple):
    """A strategy raised, or said more in one event than there is room for; the trader goes on without what it would have done."""

    strategy: int
    hook: str
    seq: int
    error: BaseException | None


class Desk:
    """A trader with its journal; a context manager. `take` an event; what it wants sent is `claim`ed, and may leave once `durable` has
    returned.

    `place` of the log is where the next block goes. After an `OSError` from the disk nothing can be made durable any more, and so
    nothing new leaves.
    """

    def __init__(self, disk: Disk, log: Log, build: Build, trader: Arena, starts: list[Start]):
        self.disk, self.log, self.build, self.trader, self.starts = disk, log, build, trader, starts
        self.faults: list[Fault] = []
        self.waiting: list[Command] = []
        self.heard: Callable[[np.recarray], None] | None = None  # is shown everything the trader says, by `tell`
        self._said: list[np.recarray] = []
        self._out, self._frames = np.zeros(OUTPUT_ROWS, EVENT), np.zeros(FRAME_ROWS, T.FRAME)
        self._row = np.zeros(1, EVENT)
        self._at, self._base = self._row.ctypes.data, trader.base
        self._handlers = wire(trader, build.strategies, self._out, self._frames)
        self.header = _HEADER.from_address(trader.base)
        self._advance = entry_of(step.step)
        self._commands = trader.region("commands")
        self._raised: BaseException | None = None
        self._stack = contextlib.ExitStack()
        self._saved = -1

    # --- opening ------------------------------------------------------------------------------------------------------------
    @staticmethod
    def new(disk: Disk, head: Head, strategies, now: int) -> Desk:
        """Begin a journal in a folder without one and run `on_start` with the clock at `now`."""
        disk.make()
        disk.shut()
        if begun(disk):
            raise BadInput(f"{disk.folder}: holds a journal already: go on with it, or name another folder")
        if any(n.startswith("snapshot-") for n in disk.names()):
            raise BadInput(f"{disk.folder}: holds snapshots of a journal that is not there: restore it, or name another folder")
        for name in [n for n in disk.names() if n.startswith("segment-")]:  # one that a crash kept from beginning
            disk.remove(name)
        copy_sources(strategies, head, disk)
        build = head.build(disk.folder)
        log = Log(disk)
        log.append(HEAD, head.encode())
        log.durable()  # one by one, so that a crash never leaves something readable behind what it lost: that would look like damage
        log.json(START, Start(1, 0, now))
        log.durable()
        desk = Desk(disk, log, build, build.trader(), [Start(1, 0, now)])
        with desk._failing():
            desk.trader.header.now = now
            entry_of(step.wake_hook)(desk._base, T.ON_START)
        desk._attend()
        desk.flush()
        desk.log.durable()
        return desk

    @staticmethod
    def resume(disk: Disk, r: Recovered, now: int) -> Desk:
        """Go on with a recovered journal: what is not trusted is put aside, a START block begins a new epoch."""
        log = Log(disk, settle(disk, r.prefix, r.bad))
        h = r.trader.header
        start = Start(r.starts[-1].epoch + 1, int(h.ordinal), max(now, int(h.now)))
        desk = Desk(disk, log, r.build, r.trader, [*r.starts, start])
        if len(r.unsaid):
            log.batch(r.unsaid[:0].view(T.FRAME), r.unsaid)
        log.json(START, start)
        log.durable()
        return desk

    def __enter__(self) -> Desk:
        self._stack.enter_context(self._failing())
        return self

    def __exit__(self, *error) -> None:
        self._stack.close()

    def _failing(self):
        return failing(self._failed)

    def _failed(self, raised: BaseException) -> None:
        self._raised = raised
        self.header.fault, self.header.attend = FAULT_STRATEGY, 1

    # --- stepping -----------------------------------------------------------------------------------------------------------
    def take(self, event: bytes, now: int) -> None:
        """One event at `now`: journaled in memory, stepped; commands wait for `durable`. About 3 us."""
        ctypes.memmove(self._at, event, 64)
        self._advance(self._base, self._at, now)
        if self.header.attend:
            self._attend()

    def _attend(self) -> None:
        h = self.header
        for row in self._commands[: h.cmd_n].tolist():
            handle, _, qty, px, stop_px, instrument, _, kind, side, type_, tif, flags, _, ts = row
            self.waiting.append(Command(kind, handle, qty, px, stop_px, instrument, side, type_, tif, flags, ts, h.seq))
        if h.fault:
            hook = _NOT_A_HOOK.get(h.fault) or T.HOOKS[h.hook]
            self.faults.append(Fault(h.strategy, hook, h.seq, self._raised))
            h.fault, self._raised = 0, None
        h.cmd_n = h.attend = 0
        if h.out_n >= T.OUT_MARGIN or h.journal_n >= FRAME_ROWS - 2:
            self.flush()

    def flush(self) -> None:
        """Append what was taken and said since the last time."""
        h = self.header
        if h.journal_n or h.out_n:
            if self.heard is not None and h.out_n:
                self._said.append(self._out[: h.out_n].copy().view(np.recarray))
            self.log.batch(self._frames[: h.journal_n], self._out[: h.out_n])
            h.journal_n = h.out_n = 0

    def claim(self) -> list[Command]:
        """The commands of everything taken so far, in call order. They may leave when `durable` has returned, and not before."""
        out, self.waiting = self.waiting, []
        return out

    def durable(self) -> None:
        """Make everything taken so far durable."""
        self.flush()
        self.log.durable()

    def tell(self) -> None:
        """Show what the trader has said since the last time to whoever wants to hear it."""
        said, self._said = self._said, []
        for rows in said:
            self.heard(rows)

    # --- keeping ------------------------------------------------------------------------------------------------------------
    def note(self, what: str, **details: object) -> None:
        """A remark for people: it decides nothing."""
        self.flush()
        self.log.json(NOTE, {"what": what, "seq": self.header.seq, "now": self.header.now, **details})

    def mark(self) -> None:
        """Write the digest and the hash of the state, for `verify`."""
        self.flush()
        self.log.append(MARK, msgspec.json.encode(Mark(self.header.seq, self.header.digest, self.trader.digest())))

    def snapshot(self) -> bool:
        """Write a snapshot if anything came since the last; False where a strategy keeps state that no snapshot would hold."""
        plain = snapshots.plain_state(self.build.strategies)
        if plain is None or self.waiting:
            return False
        if self._saved == self.header.seq:
            return True
        self.mark()
        self.log.durable()
        state = self.trader.snapshot().tobytes()
        snapshots.write(self.disk, snapshots.Snapshot(self.header.seq, self.log.place, plain, state))
        self._saved = self.header.seq
        return True

    def stop(self) -> None:
        """The session is over: run `on_stop`. What it says is kept, what it asks for is not sent."""
        self.flush()
        self.log.json(STOP, {})
        with self._failing():
            entry_of(step.wake_hook)(self._base, T.ON_STOP)
        self._attend()
        self.waiting.clear()
        self.flush()

    def close(self) -> None:
        """Leave a journal that says how it ended."""
        self.mark()
        self.log.close()

    def epoch_of(self, handle: int) -> int:
        """The epoch in which an order was sent."""
        ordinal = handle >> T.SLOT_BITS
        return next(s.epoch for s in reversed(self.starts) if ordinal > s.ordinal)


def settle(disk: Disk, prefix: Prefix, bad: list[str]) -> Place:
    """Put aside what lies behind the trusted prefix, and snapshots that do not belong to it, so that the journal can go on there, durably;
    nothing is deleted. Of a damaged journal it goes by `DAMAGED`, as evidence, until `dealt_with`."""
    place, suffix = prefix.place, DAMAGED if prefix.damaged else UNTRUSTED
    for name in bad:
        disk.rename(name, _aside(disk, name, suffix))
    if prefix.fault:
        name = segment_name(place.segment)
        rest = disk.read(name)[place.size :]
        if rest:
            with disk.replacing(_aside(disk, f"{name}.{place.size}", suffix)) as file:
                file.write(rest)
        for later in [n for n in disk.names() if n.startswith("segment-") and n.endswith(".log") and n > name]:
            disk.rename(later, _aside(disk, later, suffix))
    disk.sync_names()  # also of a segment that the process before us made and did not live to make durable
    if prefix.fault and rest:
        disk.truncate(name, place.size)
    return place


def dealt_with(disk: Disk) -> None:
    """What damage there was stands in the journal now: a crash need not find it again."""
    for name in [n for n in disk.names() if n.endswith(DAMAGED)]:
        disk.rename(name, _aside(disk, name.removesuffix(DAMAGED), UNTRUSTED))
    disk.sync_names()


def _aside(disk: Disk, name: str, suffix: str) -> str:
    """A name that is not taken, for what is not trusted."""
    taken = disk.names()
    return next(n for k in itertools.count(1) if (n := f"{name}{f'.{k}' if k > 1 else ''}{suffix}") not in taken)
