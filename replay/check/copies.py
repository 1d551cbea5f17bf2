"""Copies of a session that hold nothing of the future: what was not public by a time is cut away or made up anew.

A row is *known* at T when its content may have had a part in what the trader did by T: it had reached us, or it had happened early
enough for a report about it to reach us. Kept besides, because they are public before their own time:

- session phases and the calendar they come from: it is known in advance;
- of a bar that is being built at T, that it will close, and its open; high, low, close and volume are made up, but for what a fill at
  the open tells of them: whether the bar went as far as slippage, and traded as much as our share of the last bar's volume;
- which kinds of data an instrument's feed delivers (`levels`, `kinds`, `finest_bar_ns`), the instruments themselves and the bar intervals.

Everything else in the manifest (counts, extremes of price and size, live levels, the session's end, hashes) is computed from the copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from replay.data.hours import bar_opens, before_in_series
from replay.data.session import Session
from replay.events import BAR, BAR_EXT, CUSTOM, DEPTH, FUNDING, LAST, MARK, MODIFY, ORDER, PHASE, QUOTE, SET, TEXT, TRADE, empty
from replay.venue.setup import Profile, lead_ns

HOUR_NS = 3_600 * 10**9
#: price and size fields by kind
PRICES = {QUOTE: "ac", TRADE: "a", DEPTH: "a", BAR: "abcd", BAR_EXT: "a", MARK: "ab"}
SIZES = {QUOTE: ("b", "d"), TRADE: ("b",), DEPTH: ("b",), BAR: ("id",)}
#: kinds that are made up by other values; of the rest no other value is sure to be a legal one, so they are cut
CHANGED = np.array([QUOTE, TRADE, DEPTH, ORDER, BAR, BAR_EXT, CUSTOM, FUNDING, MARK], np.uint8)


class Reach(NamedTuple):
    """How long after `ts_event` a row can first show: in a report of the venue, or (modelled feed) itself; ns."""

    recorded: bool
    least_ns: int

    @staticmethod
    def of(profile: Profile) -> Reach:
        """From the legs of a venue profile: a constant leg takes its time, a drawn one at least 1 ns.

        >>> Reach.of(Profile())
        Reach(recorded=True, least_ns=1000000)
        """
        legs = [leg.ns if leg.kind == "constant" else 1 for leg in (profile.feed, profile.response) if leg.kind != "recorded"]
        return Reach(profile.feed.kind == "recorded", min(legs))

    def known(self, rows: np.recarray, at_ns: int, ahead_ns: np.ndarray | int = 0) -> np.ndarray:
        """Mask of the rows that may have had a part in what the trader did by `at_ns`; the venue acts on a row `ahead_ns` before it."""
        early = rows.ts_event - ahead_ns <= at_ns - self.least_ns
        return early | (rows.ts_recv <= at_ns) if self.recorded else early

    def first(self, rows: np.recarray) -> int:
        """The earliest time at which the first row is known: the run begins with it."""
        return int(rows.ts_recv[0] if self.recorded else rows.ts_event[0] + self.least_ns)


class Copier:
    """Makes copies of one session. The same `seed` gives the same copies; what a row is changed to does not depend on the cut."""

    def __init__(self, session: Session, seed: int, profile: Profile = Profile()):
        self.session, self.profile = session, profile
        rows = session.events
        draws = np.random.Generator(np.random.PCG64(seed))
        self.draws = draws.integers(0, 1 << 62, len(rows), np.int64)
        self.shift = int(draws.integers(1, 4))  # future times are stretched or squeezed by 1/2, 1/4 or 1/8
        ends = np.flatnonzero(rows["flags"] & LAST) + 1
        self.message = np.zeros(len(rows), np.int64)  # number of the message a row belongs to
        self.message[ends[:-1]] = 1
        np.cumsum(self.message, out=self.message)
        self.opened = self._opened(rows)
        self.ahead_ns = self._ahead(rows)  # how long before a row the venue acts on all of it

    def _ahead(self, rows: np.recarray) -> np.ndarray | int:
        """Orders meet the path of an executing bar a moment before it closes."""
        m, ahead = self.session.manifest, 0
        for ns in sorted({ns for ns, level in zip(m.finest_bar_ns, m.levels, strict=True) if level == "bars"}):
            mine = np.array([level == "bars" and own == ns for own, level in zip(m.finest_bar_ns, m.levels, strict=True)])
            executing = (rows.kind == BAR) & (rows.side == m.bar_intervals_ns.index(ns)) & mine[rows.instrument]
            ahead = ahead + executing * lead_ns(self.profile, ns)
        return ahead

    def _opened(self, rows: np.recarray) -> np.ndarray:
        """When the existence of a row became public before its own time: of a bar and its extension at the open, of a phase ever."""
        public = np.full(len(rows), np.iinfo(np.int64).max)
        public[rows.kind == PHASE] = np.iinfo(np.int64).min
        self.before = np.zeros(len(rows), np.int64)  # of a bar, the volume of the bar before
        bars = np.flatnonzero(rows.kind == BAR)
        if len(bars):
            intervals = np.array(self.session.manifest.bar_intervals_ns, np.int64)
            series = rows.side[bars].astype(np.int64) << 32 | rows.instrument[bars]
            public[bars] = bar_opens(rows.ts_event[bars], intervals[rows.side[bars]], series, self.session.manifest.calendar)
            self.before[bars] = np.maximum(before_in_series(rows.id[bars], rows.ts_event[bars], series), 0)
            extensions = np.flatnonzero(rows.kind == BAR_EXT)
            public[extensions] = public[bars[np.searchsorted(bars, extensions) - 1]]
        return public

    def _take(self, mask: np.ndarray) -> np.recarray:
        """A copy of the rows of `mask`; of a message that is parted, the last row taken ends it."""
        rows, message = self.session.events[mask].copy(), self.message[mask]
        rows["flags"][np.diff(message, append=-1) != 0] |= LAST
        return rows

    def copy(self, at_ns: int, known: np.ndarray, perturb: bool) -> Session:
        """The session as far as `known` (a mask of rows), the rest cut or, where `perturb`, made up; rows changed lie after `at_ns`.

        A row that says nothing stands at the end, so that the copy lasts beyond `at_ns`: the end of the data is an event too.
        """
        m = self.session.manifest
        if known.all():
            return self.session
        building = ~known & (self.opened <= at_ns)
        kept = self._take(known | building)
        self._unknown(kept, np.flatnonzero(building[known | building]), self.draws[building], self.before[building])
        parts = [kept]
        if perturb:
            future = ~known & ~building
            mine = future & ~self._dropped()[self.message]
            parts.append(self._perturb(self._take(mine), self.draws[mine], at_ns))
        last = empty(1)
        last.kind, last["flags"] = TEXT, LAST
        last.ts_event = last.ts_recv = at_ns + 1 + int(self.draws[int(known.sum()) - 1]) % HOUR_NS
        parts.append(last)
        together = np.concatenate(parts)
        together = together[np.argsort(together["ts_recv"], kind="stable")]
        copy = Session.from_rows(
            together,
            m.instruments,
            name=m.name,
            clock_shift_ns=m.clock_shift_ns,
            bar_intervals_ns=m.bar_intervals_ns,
            sliced_phase=m.sliced_phase,
            calendar=m.calendar,
        )
        # what a feed delivers is known when it is subscribed, volume of bars too, not once the first row of it has come
        most = tuple(max(own, min(n, 1)) for own, n in zip(copy.manifest.max_size, m.max_size, strict=True))
        copy.manifest = msgspec.structs.replace(
            copy.manifest, levels=m.levels, kinds=m.kinds, finest_bar_ns=m.finest_bar_ns, max_size=most
        )
        return copy

    def _dropped(self) -> np.ndarray:
        """Messages that hold a row which cannot be made up: they are cut instead."""
        drop = np.zeros(int(self.message[-1]) + 1, bool)
        drop[self.message[~np.isin(self.session.events.kind, CHANGED)]] = True
        return drop

    def _unknown(self, rows: np.recarray, which: np.ndarray, draws: np.ndarray, before: np.ndarray) -> None:
        """In place: of rows whose existence is public, but not yet what they say: a phase is, of a bar the open."""
        part = rows[which].copy()
        self._change(part, draws)
        bars = np.flatnonzero(part.kind == BAR)
        part[bars] = self._as_open_tells(rows[which][bars], part[bars], before[bars])
        rows[which] = part

    def _as_open_tells(self, was: np.recarray, bars: np.recarray, volume_before: np.ndarray) -> np.recarray:
        """Bars made up whose opens are public, and whose ranges and volumes bound a fill at the open as those that they stand for."""
        high, low = np.maximum(was.b, np.maximum(was.a, was.d)), np.minimum(was.c, np.minimum(was.a, was.d))
        slip = -(-np.abs(was.a) * self.profile.slippage_ppm // 1_000_000)
        share = volume_before * self.profile.participation_ppm // 1_000_000
        bars.a = was.a
        bars.b = np.where(high >= was.a + slip, np.maximum(np.maximum(bars.b, bars.a), was.a + slip), high)
        bars.c = np.where(low <= was.a - slip, np.minimum(np.minimum(bars.c, bars.a), was.a - slip), low)
        bars.d = np.clip(bars.d, bars.c, bars.b)
        bars.id = np.where(was.id >= share, np.maximum(bars.id, share), was.id)
        return bars

    def _perturb(self, rows: np.recarray, draws: np.ndarray, at_ns: int) -> np.recarray:
        """Other values and other times. Bars keep their times: they close when their interval is over."""
        self._change(rows, draws)
        moving = (rows.kind != BAR) & (rows.kind != BAR_EXT)
        sign = 1 if self.draws[0] & 1 else -1
        for t in (rows.ts_event, rows.ts_recv):
            t[moving] += sign * (np.maximum(t[moving] - at_ns, 0) >> self.shift)
        return rows

    def _change(self, rows: np.recarray, draws: np.ndarray) -> None:
        """In place: prices moved by up to 1.5 %, those of a row together; sizes drawn anew; custom words passed on among rows."""
        span = np.maximum(np.abs(rows.a) >> 6, 3)
        by = (1 + (draws >> 20) % span) * np.where(draws & 1, 1, -1)
        for kind in np.unique(rows.kind).tolist():
            k = np.flatnonzero(rows.kind == kind)
            if kind in (DEPTH, ORDER):
                k = k[rows.c[k] <= (SET if kind == DEPTH else MODIFY)]  # the others name no price, or not all of a size
            self._move(rows, k, by[k], PRICES.get(kind, ""))
            self._resize(rows, k, draws[k], SIZES.get(kind, ()))
            if kind == ORDER:
                self._deepen(rows, k, by[k], draws[k])
            elif kind == FUNDING:
                rows.a[k] = -rows.a[k]
            elif kind == CUSTOM:
                self._pass_on(rows, k)

    def _legal(self, rows: np.recarray, px: np.ndarray) -> np.ndarray:
        """Mask of prices the instrument may have and whose range the session has proven."""
        m = self.session.manifest
        lowest = [lo if i.allow_negative_px else 1 for lo, i in zip(m.min_px, m.instruments, strict=True)]
        return (px >= np.array(lowest)[rows.instrument]) & (px <= np.array(m.max_px)[rows.instrument])

    def _move(self, rows: np.recarray, k: np.ndarray, by: np.ndarray, fields: str) -> None:
        """Move all price fields of a row by the same, the other way where this way is not legal."""
        for _ in range(2):
            r = rows[k]
            fit = np.logical_and.reduce([self._legal(r, r[f] + by) for f in fields]) if fields else np.zeros(len(k), bool)
            for f in fields:
                rows[f][k[fit]] += by[fit]
            k, by = k[~fit], -by[~fit]

    def _resize(self, rows: np.recarray, k: np.ndarray, draws: np.ndarray, fields: Sequence[str]) -> None:
        """Another size, from 1 to twice as much; none stays none."""
        highest = np.maximum(np.array(self.session.manifest.max_size, np.int64)[rows.instrument[k]], 1)
        for n, f in enumerate(fields):
            size = rows[f][k]
            rows[f][k] = np.where(size > 0, np.minimum(1 + (draws >> 30 + 8 * n) % np.maximum(2 * size, 1), highest), size)

    def _deepen(self, rows: np.recarray, k: np.ndarray, by: np.ndarray, draws: np.ndarray) -> None:
        """Single orders move away from the touch and grow: a book of them never crosses, and no fill is larger than its order."""
        moved = rows.a[k] - rows.side[k] * np.abs(by)
        rows.a[k] = np.where(self._legal(rows[k], moved), moved, rows.a[k])
        highest = np.array(self.session.manifest.max_size, np.int64)[rows.instrument[k]]
        rows.b[k] = np.clip(rows.b[k] + draws % np.maximum(rows.b[k], 1), rows.b[k], np.maximum(highest, rows.b[k]))

    def _pass_on(self, rows: np.recarray, k: np.ndarray) -> None:
        """Each row of a stream says what the one before it said; a single one says nothing."""
        for stream in np.unique(rows.id[k]).tolist():
            same = k[rows.id[k] == stream]
            for f in "abcd":
                rows[f][same] = rows[f][np.roll(same, 1)] if len(same) > 1 else 0
