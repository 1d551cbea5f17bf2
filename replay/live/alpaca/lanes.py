"""Requests to the broker: in order, under its rate limit, cancels apart from everything else."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replay.live.alpaca.rest import Rest


class Bucket:
    """Tokens that come back at `per_minute`; a caller that leaves `reserve` behind keeps room for those that must not wait.

    >>> now = [0.0]
    >>> b = Bucket(60, 10, clock=lambda: now[0])
    >>> [b.wait_s(reserve=8), b.wait_s(reserve=8), round(b.wait_s(reserve=8), 3), b.wait_s(reserve=0)]
    [0.0, 0.0, 1.0, 0.0]
    """

    def __init__(self, per_minute: float, capacity: float, clock: Callable[[], float] = time.monotonic):
        self.rate, self.capacity, self.clock = per_minute / 60, capacity, clock
        self._tokens, self._at = capacity, clock()
        self._lock = threading.Lock()

    def wait_s(self, reserve: float) -> float:
        """0 and a token taken, or how long until there is one beyond the reserve."""
        with self._lock:
            now = self.clock()
            self._tokens = min(self.capacity, self._tokens + (now - self._at) * self.rate)
            self._at = now
            if self._tokens - 1 >= reserve:
                self._tokens -= 1
                return 0.0
            return (reserve + 1 - self._tokens) / self.rate

    def empty(self) -> None:
        """The broker says that we were too fast."""
        with self._lock:
            self._tokens, self._at = 0.0, self.clock()


class Turn:
    """Requests of a lane leave in the order of their jobs, whichever of its threads does them."""

    __slots__ = ("_before", "_passed")

    def __init__(self, before: Turn | None = None):
        self._before = before and before._passed
        self._passed = threading.Event()

    def wait(self) -> None:
        """Wait until the job before this has sent, or will not send."""
        if self._before is not None:
            self._before.wait()
            self._before = None

    def over(self) -> None:
        """This one has sent, or will not."""
        self._passed.set()


Job = Callable[
    ["Rest"], "float | None"
]  #: called with the client to use; None: done, else seconds after which it wants to be called again


class Lane:
    """Threads that do jobs in order of when they are due, each behind a token: one thread for each of `rests`, which nobody else uses.
    While one waits for an answer the next sends; what is to be done again later lets others go ahead. `failed` is told what a job
    raised."""

    def __init__(
        self, name: str, rests: Sequence[Rest], bucket: Bucket | None, reserve: float, failed: Callable[[Exception], None]
    ):
        self.rests, self.bucket, self.reserve, self.failed = rests, bucket, reserve, failed
        self._due: list[tuple[float, int, Job]] = []
        self._count = itertools.count()
        self._wake = threading.Condition()
        self._open, self._busy, self._turn = True, 0, Turn()
        self._turn.over()
        self._threads = [
            threading.Thread(target=self._work, args=(rest,), name=f"{name} {k}", daemon=True) for k, rest in enumerate(rests)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def put(self, job: Job, after_s: float = 0.0) -> None:
        """Do `job`, at the earliest in `after_s`."""
        with self._wake:
            heapq.heappush(self._due, (time.monotonic() + after_s, next(self._count), job))
            self._wake.notify()

    def settle(self, seconds: float) -> None:
        """Wait until every job has been done, at most so long."""
        end = time.monotonic() + seconds
        while (self._due or self._busy) and time.monotonic() < end:
            time.sleep(0.01)

    def shut(self) -> None:
        """Begin nothing more; what waits is given up. From any thread, at once."""
        with self._wake:
            self._open = False
            self._wake.notify_all()

    def stop(self) -> None:
        """Give up what waits; a job that runs ends within its timeout."""
        self.shut()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(1)
        for rest in self.rests:
            rest.close()

    def _next(self) -> tuple[Job, Turn] | None:
        with self._wake:
            while self._open:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    wait = self.bucket.wait_s(self.reserve) if self.bucket else 0.0
                    if wait <= 0:
                        self._busy += 1
                        self._turn = Turn(self._turn)
                        return heapq.heappop(self._due)[2], self._turn
                self._wake.wait(wait)
        return None

    def _work(self, rest: Rest) -> None:
        if self.bucket is None or self.bucket.wait_s(self.reserve) <= 0:
            rest.connect()
        while (found := self._next()) is not None:
            job, rest.session.turn = found
            try:
                again = job(rest)
            except Exception as e:  # one job that went wrong is not to end the lane
                again = None
                self.failed(e)
            rest.session.turn.over()
            if again is not None:
                self.put(job, again)
            with self._wake:
                self._busy -= 1
