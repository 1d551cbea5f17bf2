"""Our clock: the system's, as it was at the start, carried on by a clock that nobody can set."""

from __future__ import annotations

import time
from collections.abc import Callable

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock:
    """ns since 1970 that never go back and never jump, whatever becomes of the system's clock; they go on while the machine sleeps.

    >>> c = Clock(); a, b = c.now(), c.now(); a <= b
    True
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns) -> None:
        self.wall = wall  # the system's, which anybody may set
        self._base = wall() - time.clock_gettime_ns(_STEADY)

    def now(self) -> int:
        return self._base + time.clock_gettime_ns(_STEADY)

    def skew_ns(self) -> int:
        """How far the system's clock has moved away since the start."""
        return self.wall() - self.now()


class Lockstep:
    """The clock of a world that waits for us: it stands where the newest step put it."""

    def __init__(self, start_ns: int):
        self.at = start_ns

    def now(self) -> int:
        return self.at

    def skew_ns(self) -> int:
        return 0
