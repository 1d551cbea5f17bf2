"""The safety path: what happens to orders and positions when the runner does not answer.

    signal, operator's word ──► safety thread ──► kill mark, durable
                                     │ no answer within `answer_s`
                                     ├─► nothing more leaves (orders' connections are shut)
                                     ├─► cancel, then flatten, by a connection of its own
                                     └─► the process ends: in order if the step ends, else at once

The runner is one thread, and a strategy runs in it: one that hangs keeps it from hearing anything. So
this thread asks nothing of the runner but whether it answers. Signals reach it through a file
descriptor that the interpreter's C handler writes: a Python handler would wait for the same step.
A strategy inside a C extension that never lets go of the interpreter stops this thread too; then the
supervisor misses the heartbeat (`replay.live.supervise`).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from replay.data.times import utc_text
from replay.live import kill_mark
from replay.live.broker import Control
from replay.live.disk import Disk

if TYPE_CHECKING:
    from replay.live.runner import Runner

EXIT_HUNG = 70  #: exit code of a process that was ended because its runner did not answer
LOOK_S = 0.1  #: between two looks at the runner
BEAT_S = 1.0  #: between two heartbeats
HEARTBEAT = "REPLAY_HEARTBEAT"  #: environment: the file descriptor a supervisor reads
STACK = "hang.txt"  #: in the journal's folder: where the strategy stood


class Rescued(NamedTuple):
    """What was done by the connection of the safety path: orders cancelled, positions closed, what is left."""

    cancelled: int
    closed: int
    left: tuple[str, ...]

    def __str__(self) -> str:
        done = f"{self.cancelled} orders cancelled, {self.closed} positions closed"
        return done + (f"; NOT DONE: {', '.join(self.left)}" if self.left else "")


class Safety:
    """Watches one runner from a thread of its own, from `start` to `stop`.

    `flatten`: whether positions are closed after a kill, as the limits of the run say.
    """

    def __init__(self, runner: Runner, flatten: bool):
        self.runner, self.flatten = runner, flatten
        self._deadline: dict[str, float] = {}  # what the runner was asked for, and when it must have answered
        self._acted: Rescued | None = None
        self._acting = threading.Lock()
        self._seen_hang = 0.0  # the step whose stack has been written
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="safety", daemon=True)
        self._wakeup: socket.socket | None = None
        beat = os.environ.get(HEARTBEAT, "")
        self._beat = int(beat) if beat.isdecimal() else -1

    def start(self) -> None:
        """Begin to watch."""
        if self._beat >= 0:
            self._tell_supervisor(str(self.runner.desk.disk.folder.resolve()).encode() + b"\n")
        self._thread.start()

    def stop(self) -> None:
        """The runner has ended: nothing is watched any more."""
        self._over.set()
        self._thread.join(2 * LOOK_S + 1.0)
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            self._wakeup.close()

    def catch_signals(self) -> None:
        """SIGTERM and SIGINT ask for an orderly end; from the main thread only."""
        read, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, lambda number, frame: None)  # the C handler has written its number by then
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._signals, args=(read,), name="signals", daemon=True).start()

    def _signals(self, read: socket.socket) -> None:
        with read:
            while numbers := read.recv(64):
                for number in numbers:
                    self.ask_stop(signal.Signals(number).name)

    # --- what the runner is asked for ----------------------------------------------------------------------------------------
    def ask_stop(self, why: str) -> None:
        """Ask for an orderly end; where that is not begun in time, orders are cancelled by policy and the process ends."""
        self._deadline.setdefault("stop", time.monotonic() + self.runner.settings.answer_s)
        self.runner.inbox.put(Control(0, f"stop: {why}"))

    def ask_kill(self, word: str, reply: Callable[[dict], None], op: int) -> None:
        """An operator's kill: marked before anybody else hears of it. Raises `OSError` where the mark cannot be written; it
        is asked for all the same."""
        self._deadline.setdefault("kill", time.monotonic() + self.runner.settings.answer_s)
        try:
            self._mark(f"operator: {word}")
        finally:
            self.runner.inbox.put(Control(op, word, reply))

    def answered(self, what: str) -> None:
        """The runner has begun to do what it was asked for."""
        self._deadline.pop(what, None)

    def acted(self, seconds: float) -> Rescued | None:
        """What the safety path did, waiting so long for it to be done."""
        end = time.monotonic() + seconds
        while self._acted is None and time.monotonic() < end:
            time.sleep(LOOK_S / 2)
        return self._acted

    # --- watching -----------------------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        beat = 0.0
        while not self._over.wait(LOOK_S):
            now = time.monotonic()
            if now >= beat:
                beat = now + BEAT_S
                self._tell_supervisor(b".")
            self._look_at_step(now)
            late = [what for what, until in list(self._deadline.items()) if now > until]
            if late:
                kill = "kill" in self._deadline
                self._act(f"no answer to {late[0]} within {self.runner.settings.answer_s:g} s", kill)

    def _look_at_step(self, now: float) -> None:
        began, s = self.runner.step_began, self.runner.settings
        if not began or began == self._seen_hang or now - began < s.hang_s:
            return
        self._seen_hang = began
        where = self._stack()
        self.runner.told({"what": "hang", "text": f"a step has not ended for {s.hang_s:g} s", "at": where})
        if s.on_hang == "kill":
            self._act(f"a step did not end within {s.hang_s:g} s ({where})", kill=True)
        else:
            self.runner.inbox.put(Control(0, "hang"))

    def _stack(self) -> str:
        """Write where the runner's thread stands into the journal's folder; returns its innermost line."""
        frame = sys._current_frames().get(self.runner.thread_id)
        frames = traceback.extract_stack(frame) if frame is not None else []
        text = f"{utc_text(time.time_ns())}\n{''.join(traceback.format_list(frames))}"
        try:
            with Disk(self.runner.desk.disk.folder).replacing(STACK) as file:
                file.write(text.encode())
        except OSError as e:
            print(f"{STACK}: {e.strerror}\n{text}", file=sys.stderr, flush=True)
        return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "no Python frame"

    # --- acting -------------------------------------------------------------------------------------------------------------
    def _act(self, why: str, kill: bool) -> None:
        """Cancel, and after a kill flatten where that is configured, without the runner; then end the process."""
        with self._acting:
            if self._acted is not None:
                return
            r = self.runner
            self._deadline.clear()
            r.silenced = why
            if kill:
                try:
                    self._mark(why)
                except OSError as e:
                    print(f"the kill mark could not be written ({e.strerror})", file=sys.stderr, flush=True)
            done = Rescued(0, 0, ("the broker was not asked: orders are left working, as configured",))
            if kill or r.settings.on_stop == "cancel":
                try:
                    done = r.broker.rescue(kill and self.flatten)
                except Exception as e:  # whatever it is: it is said, and the process still ends
                    done = Rescued(0, 0, (f"{type(e).__name__}: {e}",))
            self._acted = done
            print(f"{why}: {done}", file=sys.stderr, flush=True)
            r.told({"what": "safety", "text": why, "cancelled": done.cancelled, "closed": done.closed, "left": done.left})
        if not self._over.wait(r.settings.answer_s):
            sys.stderr.flush()
            os._exit(EXIT_HUNG)

    def _mark(self, why: str) -> None:
        kill_mark.write(self.runner.desk.disk, kill_mark.KillMark(why, utc_text(time.time_ns())))

    def _tell_supervisor(self, data: bytes) -> None:
        if self._beat < 0:
            return
        try:
            os.write(self._beat, data)
        except OSError:
            self._beat = -1
