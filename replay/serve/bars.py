"""Bars from prints: for the stream, just after each minute, and for history."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

import msgpack
import numpy as np

from replay.data.times import NEW_YORK, ns_of
from replay.events import BAR, COUNTS, SETS_LAST, TRADE
from replay.serve.market import CHUNK, Market

if TYPE_CHECKING:
    from replay.serve.server import Server

MINUTE = 60_000_000_000
HOUR = 60 * MINUTE
CHICAGO = ZoneInfo("America/Chicago")  #: whose midnight a day of crypto begins at


def midnight(ns: int, zone: ZoneInfo = NEW_YORK) -> int:
    """The zone's midnight at or before `ns`."""
    local = datetime.datetime.fromtimestamp(ns // 10**9, zone)
    return ns_of(local.replace(hour=0, minute=0, second=0, microsecond=0))


class Frame(NamedTuple):
    """An interval of bars, ``5Min`` or ``1Month``. Minutes and hours count from the day's midnight, weeks begin on Mondays, months (and
    their groups, counted from January) on the first.

    >>> Frame.of("5T"), Frame.of("1week"), Frame.of("90Min"), Frame.of("5Month")
    (Frame(n=5, unit='Min'), Frame(n=1, unit='Week'), None, None)
    """

    n: int
    unit: str

    @staticmethod
    def of(text: str) -> Frame | None:
        """The interval of a request; None where there is no such one."""
        m = re.fullmatch(r"(\d{1,2})([a-z]+)", text.lower())
        unit = UNITS.get(m[2], "") if m else ""
        return Frame(int(m[1]), unit) if unit and int(m[1]) in NUMBERS[unit] else None

    @property
    def step(self) -> int:
        """Of minutes and hours their length in ns; 0 for what is longer."""
        return self.n * {"Min": MINUTE, "Hour": HOUR}.get(self.unit, 0)

    def starts(self, first: int, last: int, zone: ZoneInfo) -> np.ndarray:
        """Where the intervals begin that hold times from `first` to `last`, rising."""
        day = datetime.datetime.fromtimestamp(midnight(first, zone) // 10**9, zone).date()
        if self.unit == "Week":
            day -= datetime.timedelta(days=day.weekday())
        elif self.unit == "Month":
            day = day.replace(day=1, month=(day.month - 1) // self.n * self.n + 1)
        out: list[np.ndarray] = []
        while (begins := _at_midnight(day, zone)) <= last:
            if self.unit == "Month":
                months = day.month - 1 + self.n
                following = datetime.date(day.year + months // 12, months % 12 + 1, 1)
            else:
                following = day + datetime.timedelta(days=7 if self.unit == "Week" else 1)
            out.append(np.arange(begins, _at_midnight(following, zone) if self.step else begins + 1, self.step or 1, np.int64))
            day = following
        return np.concatenate(out) if out else np.zeros(0, np.int64)


UNITS = {"min": "Min", "t": "Min", "hour": "Hour", "h": "Hour", "day": "Day", "d": "Day", "week": "Week", "w": "Week",
         "month": "Month", "m": "Month"}  # fmt: skip
NUMBERS = {"Min": range(1, 60), "Hour": range(1, 24), "Day": (1,), "Week": (1,), "Month": (1, 2, 3, 4, 6, 12)}
EACH_MINUTE, EACH_DAY = Frame(1, "Min"), Frame(1, "Day")


def _at_midnight(day: datetime.date, zone: ZoneInfo) -> int:
    return ns_of(datetime.datetime(day.year, day.month, day.day, tzinfo=zone))


def zone_of(market: Market, k: int) -> ZoneInfo:
    """Where the days of an instrument begin."""
    return CHICAGO if market.session.instruments[k].base is not None else NEW_YORK


def whole(market: Market, k: int) -> int:
    """The end of what bars are made of by now: prints of minutes that are over, recorded bars that have come."""
    now = market.now
    return now + 1 if market.session.manifest.levels[k] == "bars" else now - now % MINUTE


def rows_of(market: Market, kind: int, k: int, start: int, end: int) -> np.recarray:
    """Rows of a kind and instrument that have reached clients, with ``start <= ts_event < end``."""
    parts, hi = [], market.known
    while hi > 0:
        lo = max(0, hi - CHUNK)
        block = market.record(lo, hi)
        parts.append(block[(block.kind == kind) & (block.instrument == k) & (block.ts_event >= start) & (block.ts_event < end)])
        if int(block.ts_recv[0] if market.recorded else block.ts_event[0]) < start:
            break
        hi = lo
    return np.concatenate(parts[::-1]).view(np.recarray) if parts else market.record(0, 0)


def bars(market: Market, k: int, start: int, end: int, frame: Frame) -> Iterator[tuple]:
    """(t, open, high, low, close, volume, trades, vwap) of each interval of `frame` with a print or recorded bar that began from `start` on and
    before `end`; ticks and lots.

    Prints that may not set the last price count as volume only; an interval without any that may is left out. A recorded bar of a day or
    more belongs to the day it closes in.
    """
    ns = market.session.manifest.finest_bar_ns[k] if market.session.manifest.levels[k] == "bars" else 0
    back = ns if ns < 24 * HOUR else 1  # from a recorded bar's close to a time within it
    rows = rows_of(market, BAR if ns else TRADE, k, start + back, end + back)
    if ns:
        rows = rows[rows.side == market.session.manifest.bar_intervals_ns.index(ns)]
    if not len(rows):
        return
    times = rows.ts_event - back
    if np.any(times[1:] < times[:-1]):  # what came late belongs to its minute
        order = np.argsort(times, kind="stable")
        rows, times = rows[order], times[order]
    opens = frame.starts(int(times[0]), int(times[-1]), zone_of(market, k))
    which = np.searchsorted(opens, times, "right") - 1
    cuts = [0, *(np.flatnonzero(np.diff(which)) + 1).tolist(), len(rows)]
    for lo, hi in zip(cuts, cuts[1:], strict=False):
        bar = _of_bars(rows[lo:hi]) if ns else _of_prints(rows[lo:hi])
        if bar:
            yield int(opens[which[lo]]), *bar


def _of_prints(rows: np.recarray) -> tuple | None:
    counted, pricing = rows[rows["flags"] & COUNTS != 0], rows[rows["flags"] & SETS_LAST != 0]
    if not len(pricing):
        return None
    px, volume = pricing.a, int(counted.b.sum())
    paid = float(np.dot(counted.a.astype(np.float64), counted.b.astype(np.float64)))
    return int(px[0]), int(px.max()), int(px.min()), int(px[-1]), volume, len(rows), paid / volume if volume else float(px[-1])


def _of_bars(rows: np.recarray) -> tuple:
    close, volume = int(rows.d[-1]), int(rows.id.sum())
    return int(rows.a[0]), int(rows.b.max()), int(rows.c.min()), close, volume, 0, float(close)


class BarStream:
    """Minute bars (`bars`), late prints' corrections of the minute before (`updatedBars`, at half past) and the day so far (`dailyBars`)."""

    def __init__(self, server: Server):
        self.server = server
        self._done = 0  # the end of the newest minute that has been sent
        self._updated = 0

    def upto(self, now: int) -> None:
        """Session time is `now`: send the bars of what has ended."""
        minute = now - now % MINUTE
        wanting = [c for c in self.server.data_streams if c.wants.keys() & {"bars", "updatedBars", "dailyBars"}]
        if self._done == 0 or not wanting:
            self._done, self._updated = minute, minute
            return
        if minute > self._done:
            self._send("bars", "b", self._done, minute, EACH_MINUTE)
            self._send("dailyBars", "d", None, minute, EACH_DAY)
            self._done = minute
        if now >= self._done + MINUTE // 2 and self._updated < self._done:
            self._send("updatedBars", "u", self._done - MINUTE, self._done, EACH_MINUTE, late_since=self._done)
            self._updated = self._done

    def _send(self, channel: str, T: str, start: int | None, end: int, frame: Frame, late_since: int | None = None) -> None:
        """The bars from `start` on (None: of the instrument's day) to `end`."""
        server, out = self.server, []
        recorded = server.session.manifest.levels  # of an instrument that has only bars the rows themselves are sent
        wanted = sorted({k for c in server.data_streams for k in c.wants.get(channel, ()) if T == "d" or recorded[k] != "bars"})
        for k in wanted:
            begins = midnight(end - 1, zone_of(server.market, k)) if start is None else start
            if late_since is not None and not self._came_late(k, begins, end, late_since):
                continue
            out += [
                (0, channel, k, msgpack.packb(server.bar_message(k, bar, T)))
                for bar in bars(server.market, k, begins, end, frame)
            ]
        for c in server.data_streams:
            c.offer(out)

    def _came_late(self, k: int, start: int, end: int, since: int) -> bool:
        return any(int(r.ts_recv) >= since for r in rows_of(self.server.market, TRADE, k, start, end)[-8:])
