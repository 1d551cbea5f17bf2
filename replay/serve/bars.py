"""Bars from prints: for the stream, just after each minute, and for history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgpack
import numpy as np

from replay.data.times import NEW_YORK, ns_of
from replay.events import BAR, COUNTS, SETS_LAST, TRADE
from replay.serve.market import CHUNK, Market

if TYPE_CHECKING:
    from replay.serve.server import Server

MINUTE = 60_000_000_000
DAY = 24 * 60 * MINUTE


def day_start(ns: int) -> int:
    """New York's midnight at or before `ns`."""
    import datetime

    local = datetime.datetime.fromtimestamp(ns // 10**9, NEW_YORK)
    return ns_of(local.replace(hour=0, minute=0, second=0, microsecond=0))


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


def bars(market: Market, k: int, start: int, end: int, step: int) -> Iterator[tuple]:
    """(t, open, high, low, close, volume, trades, vwap) of each interval of `step` ns that has a print or recorded bar; ticks and lots.

    Prints that may not set the last price count as volume only; an interval without any that may is left out.
    """
    ns = market.session.manifest.finest_bar_ns[k] if market.session.manifest.levels[k] == "bars" else 0
    rows = rows_of(market, BAR if ns else TRADE, k, start + ns, end + ns)
    if ns:
        rows = rows[rows.side == market.session.manifest.bar_intervals_ns.index(ns)]
    if not len(rows):
        return
    first = (lambda t: day_start(t)) if step >= DAY else (lambda t: t - t % step)
    opens = np.array([first(int(t) - ns) for t in rows.ts_event], np.int64)
    cuts = [0, *(np.flatnonzero(np.diff(opens)) + 1).tolist(), len(rows)]
    for lo, hi in zip(cuts, cuts[1:], strict=False):
        bar = _of_bars(rows[lo:hi]) if ns else _of_prints(rows[lo:hi])
        if bar:
            yield int(opens[lo]), *bar


def _of_prints(rows: np.recarray) -> tuple | None:
    counted, pricing = rows[rows["flags"] & COUNTS != 0], rows[rows["flags"] & SETS_LAST != 0]
    if not len(pricing):
        return None
    px, volume = pricing.a, int(counted.b.sum())
    paid = sum(a * b for a, b in zip(counted.a.tolist(), counted.b.tolist(), strict=True))
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
            self._send("bars", "b", self._done, minute, MINUTE)
            self._send("dailyBars", "d", day_start(now), minute, DAY)
            self._done = minute
        if now >= self._done + MINUTE // 2 and self._updated < self._done:
            self._send("updatedBars", "u", self._done - MINUTE, self._done, MINUTE, late_since=self._done)
            self._updated = self._done

    def _send(self, channel: str, T: str, start: int, end: int, step: int, late_since: int | None = None) -> None:
        server, out = self.server, []
        recorded = server.session.manifest.levels  # of an instrument that has only bars the rows themselves are sent
        wanted = sorted({k for c in server.data_streams for k in c.wants.get(channel, ()) if T == "d" or recorded[k] != "bars"})
        for k in wanted:
            if late_since is not None and not self._came_late(k, start, end, late_since):
                continue
            out += [
                (0, channel, k, msgpack.packb(server.bar_message(k, bar, T))) for bar in bars(server.market, k, start, end, step)
            ]
        for c in server.data_streams:
            c.offer(out)

    def _came_late(self, k: int, start: int, end: int, since: int) -> bool:
        return any(int(r.ts_recv) >= since for r in rows_of(self.server.market, TRADE, k, start, end)[-8:])
