"""The runner: one thread that takes what the broker, the clock and the operator say from one queue, in one order, and gives it to the desk.

    streams, requests, operator ──► queue ──► stamp `now` ──► journal, step ──► make durable ──► send

The order in the queue is the order of the world: `now` is stamped when something leaves it, and never goes back. Whatever waits on a
network waits in another thread. In lockstep the broker says what `now` is and waits until each step was dealt with.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from replay.data.times import utc_text
from replay.errors import BadInput, ReplayError
from replay.events import CONTROL, OP_CANCEL_ALL, OP_HALT, OP_KILL, TIMER
from replay.live import kill_mark, reconcile
from replay.live.broker import Broker, Control, Failed, Leave, Row, Update
from replay.live.clock import Clock, Lockstep
from replay.live.desk import Command, Desk, Fault, pack
from replay.live.hearing import HANDLE, SECOND, on_row
from replay.live.hops import NOWHERE, Hops, stamp
from replay.live.ids import Name
from replay.live.status import status_of, write_status
from replay.live.uptime import Uptime
from replay.trader.layout import ACTIVE, CMD_CANCEL, CMD_NEW, CMD_REPLACE, KILLED, NO_REQUEST
from replay.trader.orders import EXEC_REJECTED, EXEC_REPLACE_REJECTED, FREE, SUBMITTED, TERMINAL
from replay.trader.reasons import REASON_NAMES

if TYPE_CHECKING:
    from replay.live.safety import Safety

START_S = 60.0  #: how long the broker's books are waited for at the start


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is conducted. `policy`: what is done about positions and cash that no order explains, `adopt` or `halt`; `on_stop`: what
    becomes of working orders when the process is told to end, `cancel` or `leave`; `confirm_s`: a request that the order-update stream
    has not answered for so long is looked up. `answer_s`: how long the runner may take to begin what an operator or a signal asks for;
    `hang_s`: how long one step may take before `on_hang` (`kill` or `halt`) is done about it: `replay.live.safety`."""

    policy: str = reconcile.HALT
    on_stop: str = "cancel"
    market_hours_only: bool = False
    phased: bool = True
    cash_tolerance: int = 100_000_000
    reconcile_s: float = 30.0
    confirm_s: float = 3.0
    snapshot_s: float = 60.0
    flush_s: float = 0.02
    durable_s: float = 1.0
    stop_s: float = 10.0
    answer_s: float = 3.0
    hang_s: float = 10.0
    on_hang: str = "kill"


class Ended(ReplayError):
    """The safety path ended the run: orders were cancelled without the runner."""


class Runner:
    """A desk on a broker's clock. `run` returns when it was told to stop, or the session is over."""

    def __init__(
        self,
        desk: Desk,
        broker: Broker,
        run_id: str,
        settings: Settings,
        clock: Clock | Lockstep,
        told: Callable[[dict], None] = lambda line: None,
    ):
        self.desk, self.broker, self.run_id, self.settings, self.clock, self.told = desk, broker, run_id, settings, clock, told
        self.inbox: queue.SimpleQueue = queue.SimpleQueue()
        self.hops = Hops()
        self.came = NOWHERE  # when what is being dealt with was heard, queued and taken
        self.links = {"market data": False, "order updates": False, "requests": True}
        self.heard_ns = self.offset_ns = 0
        self.reconciled = self.over = False
        self.subscribed = desk.header.seq > 0  # to market data: of a new run nothing is sent before
        self.problem = ""  # why it cannot go on
        self.gaps = 0
        self.stopping = ""
        self.asked = False
        self.fills_asked = 0  # fills there were when the books were asked for: more have come since, and the books are old
        self.differences: dict = {}
        self.besides: set[str] = set()  # what the account holds beside what is traded here, as it was said last
        self.unread: set[str] = set()  # what of its books could not be understood, the same
        self.cause = ""  # why this runner halted the trader
        self.is_open: bool | None = None
        self.day = 0
        self.uptime = Uptime.read(desk.disk.folder)
        self.counting = False  # time, from the moment on at which it is known whether the market is open
        self.untold = 0  # news that look-ups brought since the stream last told any
        self.due: dict[str, float] = {}
        self.sent = False
        self.step_began = 0.0  # by the monotonic clock, of the step that runs; 0 between two
        self.thread_id = threading.get_ident()  # that steps run in
        self.silenced = ""  # why the safety path has taken over: nothing new leaves, the run ends
        self.killed = desk.header.state == KILLED
        self.safety: Safety | None = None
        self.faults: Callable[[], None] | None = None  # of a plan: looked at every turn

    # --- life -----------------------------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Reconcile, trade, stop cleanly. Raises `BadInput` where it could not begin or go on."""
        desk, broker = self.desk, self.broker
        self.thread_id = threading.get_ident()
        with desk:
            try:
                broker.start(self.inbox.put)
                self._begin()
                broker.listen(self.inbox.qsize)
                now = time.monotonic()
                s = self.settings
                self.due = {
                    "flush": now + s.flush_s,
                    "durable": now + s.durable_s,
                    "snapshot": now + s.snapshot_s,
                    "books": now + s.reconcile_s,
                    "confirm": now + s.confirm_s,
                }
                if self.settings.phased and not broker.lockstep:
                    self.due["hours"] = now
                while not self.over and not self.problem and not self.silenced:
                    self._turn()
                    if self.stopping and self._stopped():
                        break
            except OSError as e:  # out of the beginning: `_turn` has its own
                self._abandon(e)
            except Exception as e:
                self._cancel_after(e)
                raise
            finally:
                broker.stop()
                self._close()
        if self.silenced:
            raise Ended(self.silenced)
        if self.problem:
            raise BadInput(self.problem)

    def stop(self, why: str) -> None:
        """Ask for an orderly end; from another thread."""
        self.inbox.put(Control(0, f"stop: {why}"))

    def _cancel_after(self, e: Exception) -> None:
        """Whatever went wrong: what works at the broker is cancelled by policy, by the safety path's connection, and said."""
        if self.silenced or not self.reconciled or self.settings.on_stop != "cancel":
            return
        self.silenced = f"{type(e).__name__}: {e}"
        try:
            done = str(self.broker.rescue(False))
        except Exception as again:
            done = f"orders may still work: {type(again).__name__}: {again}"
        print(f"the run ends by an error of its own: {done}", file=sys.stderr, flush=True)

    def _begin(self) -> None:
        """Nothing is sent before the broker's books and ours agree."""
        until = time.monotonic() + START_S
        while not self.reconciled:
            if not self.asked:
                self._ask()
            try:
                item = self.inbox.get(timeout=max(0.0, min(1.0, until - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= until:
                    raise BadInput(
                        "the broker's books could not be had within a minute: check the network, then start again"
                    ) from None
                continue
            if isinstance(item, Failed) and time.monotonic() < until:
                self.note("books", text=item.text)
                time.sleep(0.5)
            self._take(item)
            if self.problem:
                raise BadInput(self.problem)
        self.send()

    def _close(self) -> None:
        try:
            if not self.desk.waiting:
                self.desk.snapshot()
            self.desk.close()
            self.count()
            self.uptime.write(self.desk.disk.folder)
            write_status(self)
        except (OSError, BadInput) as e:
            self.problem = self.problem or f"the journal could not be closed ({e}): it can be gone on with all the same"

    # --- one turn ---------------------------------------------------------------------------------------------------------------
    def _turn(self) -> None:
        try:
            item = self.inbox.get(timeout=self._pause())
        except queue.Empty:
            item = None
        try:
            if item is not None:
                self._take(item)
            if self.faults is not None:
                self.faults()
            self.fire()
            self._periodic()
            self.desk.tell()
        except OSError as e:
            self._abandon(e)

    def _abandon(self, e: OSError) -> None:
        """The journal cannot be written: nothing may be sent any more but what can only reduce risk."""
        self.give_up(f"the journal could not be written ({e.strerror}): nothing new was sent after that")

    def give_up(self, why: str) -> None:
        """It cannot go on: what works at the broker is cancelled, unless it is to be left working; the run ends with `why`."""
        working = reconcile.working(self.desk, self._name)
        self.problem = why
        if working and self.settings.on_stop == "cancel":
            self.broker.pull(working)
            self.problem += f"; every working order was asked to be cancelled ({len(working)})"
        elif working:
            self.problem += f"; {len(working)} orders are left working at the broker"

    def _take(self, item: object) -> None:
        """One thing from the queue."""
        self.sent = False
        if isinstance(item, list):
            self._frame(item)
        elif isinstance(item, Row):
            self.fire()
            on_row(self, item)
        else:
            step = getattr(item, "step", 0)
            self.fire()
            HANDLE[type(item)](self, item)
            if step:
                self.done(step)
        if (self.desk.header.state == KILLED) != self.killed:
            self._mark_kill()

    def _mark_kill(self) -> None:
        """The kill mark follows the trader's state."""
        h = self.desk.header
        self.killed = h.state == KILLED
        if self.killed:
            mark = kill_mark.KillMark(REASON_NAMES[h.state_reason], utc_text(self.clock.now()))
            kill_mark.write(self.desk.disk, mark)
        else:
            kill_mark.clear(self.desk.disk)

    def _frame(self, items: list) -> None:
        """Steps that came together (lockstep): the first that made us send something, or set a timer, ends it; the rest comes again."""
        for k, item in enumerate(items):
            wake = self._wake()
            if isinstance(item, Row):
                on_row(self, item)
            else:
                HANDLE[type(item)](self, item)
            if self.sent or wake != self._wake() or k + 1 == len(items):
                self.done(item.step)
                return

    def done(self, step: int) -> None:
        sent, self.sent = self.sent, False
        self.broker.done(step, sent, self._wake())

    def now(self, at: int) -> int:
        if at:
            self.clock.at = at
            return at
        return self.clock.now()

    def event(self, event: bytes, now: int) -> None:
        """Into the trader; what it wants sent is sent."""
        self.step_began = time.monotonic()
        self.desk.take(event, now)
        self.step_began = 0.0
        if self.desk.waiting:
            self.send()
        if self.desk.faults:
            self._fault(self.desk.faults.pop(0), now)

    def send(self) -> None:
        """Have requests prepared, make durable, let them leave."""
        if not (self.reconciled and self.subscribed) or not self.desk.waiting or self.silenced:
            return
        leave, commands = Leave(self.hops, self.came, stamp()), self._named(self.desk.claim())
        self.sent = True
        if self.broker.lockstep:
            self._let(leave)
            self.broker.send(commands, leave)
        else:
            self.broker.send(commands, leave)
            self._let(leave)

    def _let(self, leave: Leave) -> None:
        try:
            self.desk.durable()
        except BaseException:
            leave.refuse()
            raise
        if self.silenced:
            leave.refuse()
            return
        leave.give(stamp())
        if self.came is NOWHERE:
            self.hops.add("durable", leave.durable - leave.stepped)

    def _named(self, commands: list[Command]) -> list[tuple[Command, str, str]]:
        """Commands with the ClOrdID each is about and, of a replace, that of the new order; what is not to be sent any more is answered."""
        named = []
        for c in commands:
            name = Name(self.run_id, self.desk.epoch_of(c.handle), c.handle, 0)
            if self.stopping and c.kind != CMD_CANCEL:
                self.inbox.put(
                    Update(
                        str(name),
                        EXEC_REJECTED if c.kind == CMD_NEW else EXEC_REPLACE_REJECTED,
                        text="not sent: the run is ending",
                    )
                )
                continue
            named.append((c, str(name), str(name._replace(seq=c.seq)) if c.kind == CMD_REPLACE else ""))
        return named

    def durable(self) -> None:
        """Make what there is durable; commands that wait for the broker's books go on waiting."""
        self.desk.flush()
        self.desk.log.durable()

    def _fault(self, fault: Fault, now: int) -> None:
        """A strategy raised: it is not asked again what it would have done, everything is cancelled, an operator decides."""
        name = self.desk.build.strategies[fault.strategy].name
        what = f"{type(fault.error).__name__}: {fault.error}" if fault.error else "raised"
        self.note("strategy_raised", strategy=name, hook=fault.hook, error=what)
        self.event(pack(CONTROL, now, now, side=OP_KILL), now)

    # --- the clock's part ---------------------------------------------------------------------------------------------------------
    def _wake(self) -> int | None:
        """When the earliest timer is due."""
        return int(self.desk.trader.region("timers")[0].ts) if self.desk.header.n_timers else None

    def fire(self) -> None:
        """Timers that are due; a strategy that sets one for now in each is not let go round for ever."""
        if not self.desk.header.n_timers or self.stopping:
            return
        now = self.clock.now()
        for _ in range(self.desk.header.timers_n):
            if not self.desk.header.n_timers:
                return
            top = self.desk.trader.region("timers")[0]
            if int(top.ts) > now:
                return
            ts = int(top.ts)
            at = ts if self.broker.lockstep else now
            self.event(pack(TIMER, ts, ts, ident=int(top.timer_id), a=int(top.strategy), flags=0), at)

    def _pause(self) -> float:
        """Seconds until the clock wants something."""
        wait = min(self.due.values()) - time.monotonic()
        wake = self._wake()
        if wake is not None and not self.broker.lockstep:
            wait = min(wait, (wake - self.clock.now()) / SECOND)
        return max(0.0, min(wait, 1.0))

    def _periodic(self) -> None:
        now, due, s = time.monotonic(), self.due, self.settings
        if due["flush"] <= now:
            self.count()
            self.desk.flush()
            due["flush"] = now + s.flush_s
        if due["durable"] <= now:
            self.durable()
            due["durable"] = now + s.durable_s
        if due["snapshot"] <= now:
            self.desk.snapshot()
            self.uptime.write(self.desk.disk.folder)
            due["snapshot"] = now + s.snapshot_s
        if due["confirm"] <= now:
            due["confirm"] = now + s.confirm_s
            self._confirm()
        if due["books"] <= now and not self.broker.lockstep:
            due["books"] = now + s.reconcile_s
            self._ask()
        elif due["books"] <= now:
            due["books"] = now + s.reconcile_s
        if due.get("hours", now + 1) <= now:
            due["hours"] = now + 5.0  # asked again where no answer comes
            self.broker.hours()

    def count(self) -> None:
        """Time passes: in it we could trade, or could not."""
        opened = self.is_open is not False
        if self.settings.phased and self.is_open is None:
            return
        if not self.counting:
            self.counting = True
            self.uptime.resume(self.clock.now(), opened, self.day, not self.settings.phased)
        able = self.desk.header.state == ACTIVE and self.reconciled and not self.stopping and all(self.links.values())
        self.uptime.count(self.clock.now(), opened, self.day, able)

    def _ask(self) -> None:
        if not self.asked:
            self.asked, self.fills_asked = True, self.desk.header.n_fills
            self.broker.ask(reconcile.working(self.desk, self._name))

    def _confirm(self) -> None:
        """Look up what has waited for an answer: its update may have been lost."""
        rows = self.desk.trader.region("orders")
        waits = (rows["state"] == SUBMITTED) | ((rows["request"] != NO_REQUEST) & (rows["state"] != FREE))
        old = self.clock.now() - int(self.settings.confirm_s * SECOND)
        for handle in rows["handle"][waits & (rows["t_last"] < old)].tolist():
            self.broker.look(self._name(handle))
        if self.stopping and not self.broker.lockstep:
            self._cancel_the_rest()

    def _name(self, handle: int) -> str:
        return str(Name(self.run_id, self.desk.epoch_of(handle), handle, 0))

    # --- ending -------------------------------------------------------------------------------------------------------------------
    def begin_stop(self, why: str) -> None:
        if self.safety is not None:
            self.safety.answered("stop")
        if self.stopping:
            return
        self.stopping = why
        self.note("stopping", text=why, orders=self.settings.on_stop)
        self.due["stop"] = time.monotonic() + self.settings.stop_s
        self._cancel_the_rest()

    def _cancel_the_rest(self) -> None:
        """Ask for the cancellation of every working order that has no request out, unless they are to be left working. At the end of a
        run this is repeated: a cancellation that was lost has been answered as rejected by then, and is asked for again."""
        rows = self.desk.trader.region("orders")
        idle = (rows["state"] != FREE) & (TERMINAL[rows["state"]] == 0) & (rows["request"] == NO_REQUEST)
        if self.settings.on_stop == "cancel" and idle.any():
            now = self.now(0)
            self.event(pack(CONTROL, now, now, side=OP_CANCEL_ALL), now)

    def _stopped(self) -> bool:
        left = len(reconcile.working(self.desk, self._name)) if self.settings.on_stop == "cancel" else 0
        if left and time.monotonic() < self.due["stop"]:
            return False
        if left:
            self.note("stopped", text=f"{left} orders were not confirmed as cancelled")
        return True

    def halt(self, why: str, now: int) -> None:
        """Only orders that reduce risk pass until an operator resumes; `why` is said, and stands in the status until then."""
        self.note("halted", text=why)
        self.cause = "; ".join(dict.fromkeys(filter(None, (*self.cause.split("; "), why))))
        self.event(pack(CONTROL, now, now, side=OP_HALT), now)

    def note(self, what: str, **details: object) -> None:
        self.desk.note(what, **details)
        self.told({"what": what, **details})

    @property
    def flattens(self) -> bool:
        """Whether positions are closed after a kill, as the limits say."""
        return bool(self.desk.trader.region("limits")[0].flatten)

    @property
    def outside_hours(self) -> bool:
        """Whether the broker's market is known to be closed: orders that are sent then are for the extended session."""
        return self.is_open is False

    # --- looking ------------------------------------------------------------------------------------------------------------------
    def status(self) -> dict:
        """What an operator wants to know, in units for people."""
        return status_of(self)
