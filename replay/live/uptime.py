"""How long the trader could trade, of how long its market was open.

It can trade while it is active (neither halted nor killed), its books agree with the broker's and every link is up. Time between two
processes on one journal counts as time in which it could not: by the broker's word where both stand in one trading day that was open, else
by the exchange's calendar.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from replay.data.hours import market_hours
from replay.errors import UNREADABLE
from replay.files import whole
from replay.live.disk import Disk
from replay.seal import intact, sealed

FILE = "uptime.json"
MINUTE = 60_000_000_000
LONGEST = 366 * 24 * 60 * MINUTE  #: between two processes of one run; longer is no time that was kept
MOST_NS = 1 << 62  #: no time and no length of time is later or longer


class Uptime(msgspec.Struct):
    """ns. `at` is the time up to which was counted; since then the market is `open`, on trading day `day`, and the trader `able`.

    >>> u = Uptime()
    >>> for now, is_open, able in ((1, True, False), (2, True, True), (11, True, True), (13, False, True)):
    ...     u.count(now * MINUTE, is_open, 20260302, able)
    >>> u.open_ns // MINUTE, u.tradable_ns // MINUTE, u.share == 11 / 12
    (12, 11, True)
    """

    open_ns: int = 0
    tradable_ns: int = 0
    at: int = 0
    open: bool = False
    day: int = 0
    able: bool = False

    @staticmethod
    def read(folder: Path) -> Uptime:
        """What an earlier process counted, else nothing."""
        try:
            text = whole(folder / FILE)
            found = msgspec.json.decode(text, type=Uptime)
            if not intact(msgspec.json.encode(found), text):
                return Uptime()
        except (OSError, *UNREADABLE):
            return Uptime()
        return found if 0 <= found.tradable_ns <= found.open_ns <= MOST_NS and 0 <= found.at <= MOST_NS else Uptime()

    def write(self, folder: Path) -> None:
        """Keep it for the next process; a crash loses what came since. Where it cannot be kept, trading goes on without."""
        with contextlib.suppress(OSError), Disk(folder).replacing(FILE) as file:
            file.write(sealed(msgspec.json.encode(self)))

    def resume(self, now: int, is_open: bool, day: int, always: bool) -> None:
        """A new process, whose market is open now or is not; `always`: it never closes."""
        if self.at and (always or (self.open and is_open and day == self.day)):
            self.open_ns += now - self.at
        elif 0 < now - self.at < LONGEST and self.at:
            days = market_hours("XNYS", self.at, now).days
            self.open_ns += sum(max(0, min(closes, now) - max(opens, self.at)) for _, opens, closes in days)
        self.at, self.open, self.day, self.able = now, is_open, day, False

    def count(self, now: int, is_open: bool, day: int, able: bool) -> None:
        """Time has passed, in the state of the last call; from `now` on this is the state."""
        if self.open and self.at:
            self.open_ns += now - self.at
            if self.able:
                self.tradable_ns += now - self.at
        self.at, self.open, self.day, self.able = now, is_open, day, able

    @property
    def share(self) -> float | None:
        """Tradable of open, None where it was never open."""
        return self.tradable_ns / self.open_ns if self.open_ns else None
