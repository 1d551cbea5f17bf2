"""Requests to the broker: in order, under its rate limit, cancels apart from everything else."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


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


class Lane:
    """A thread that does jobs one at a time, in order of when they are due, each behind a token.

    A job is called and gives None when it is done, or the seconds after which it wants to be called again: others go on meanwhile.
    """

    def __init__(self, name: str, bucket: Bucket | None, reserve: float):
        self.bucket, self.reserve = bucket, reserve
        self._due: list[tuple[float, int, Callable[[], float | None]]] = []
        self._count = itertools.count()
        self._wake = threading.Condition()
        self._open, self._busy = True, False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def put(self, job: Callable[[], float | None], after_s: float = 0.0) -> None:
        """Do `job`, at the earliest in `after_s`."""
        with self._wake:
            heapq.heappush(self._due, (time.monotonic() + after_s, next(self._count), job))
            self._wake.notify()

    def settle(self, seconds: float) -> None:
        """Wait until every job has been done, at most so long."""
        end = time.monotonic() + seconds
        while (self._due or self._busy) and time.monotonic() < end:
            time.sleep(0.01)

    def stop(self) -> None:
        """Give up what waits; the job that runs ends within its timeout."""
        with self._wake:
            self._open = False
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(1)

    def _next(self) -> Callable[[], float | None] | None:
        with self._wake:
            while self._open:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    wait = self.bucket.wait_s(self.reserve) if self.bucket else 0.0
                    if wait <= 0:
                        self._busy = True
                        return heapq.heappop(self._due)[2]
                self._wake.wait(wait)
        return None

    def _work(self) -> None:
        while (job := self._next()) is not None:
            again = job()
            if again is not None:
                self.put(job, again)
            self._busy = False
