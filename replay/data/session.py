"""A session: a stretch of recorded market, ready to replay.

Rows stand in the order they reached us (`ts_recv` never goes back). The venue saw them in the order of `ts_event`, which real
recordings do not keep; where the two differ, `order` lists the rows in venue order, by a stable sort, so that rows of one
message stay together. Nothing here sorts or repairs rows: an importer does, and says so; a session only proves.

Rows of one message share instrument and both times, and the last carries `LAST`. The bars of one close time are one message,
whatever their instruments and intervals: its end is what wakes `on_bars`.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from replay.data import scan as _scan
from replay.data.instruments import MAX_INT, Instrument
from replay.data.manifest import Calendar, Manifest, Source, currencies_of
from replay.errors import BadInput
from replay.events import BAR, BAR_EXT, DEPTH, EVENT, KIND_NAMES, LAST, N_KINDS, ORDER, PHASE, QUOTE, TRADE
from replay.kernel.memory import entry_of

BLOCK = 1 << 20  #: rows looked at together: 64 MiB

#: kinds that belong to one instrument; the others concern the whole session whatever their instrument field says
OF_INSTRUMENT = np.array([k for k, name in enumerate(KIND_NAMES) if name in (
    "quote", "trade", "depth", "order", "bar", "bar_ext", "instrument", "status", "corporate", "funding", "mark",
)], np.uint8)  # fmt: skip

_MARKET = (QUOTE, TRADE, DEPTH, ORDER, BAR)
_LEVEL_KINDS = (("l3", (ORDER,)), ("l2", (DEPTH,)), ("l1", (QUOTE, TRADE)), ("bars", (BAR,)))


class Session:
    """Rows, their venue order and their manifest. Built by `from_rows`, `open`, `slice`; immutable by convention.

    - `events`: record array of `replay.events.EVENT` in arrival order, in memory or a read-only memory map;
    - `order`: None where `ts_event` never goes back, else an int64 permutation: row numbers in venue order;
    - `manifest`: see `replay.data.manifest.Manifest`.

    >>> from replay import events as ev
    >>> rows = ev.empty(2)
    >>> rows.kind[:], rows["flags"][:], rows.ts_event[:], rows.ts_recv[:] = ev.QUOTE, ev.LAST, (5, 7), (6, 9)
    >>> rows.a[:], rows.b[:], rows.c[:], rows.d[:] = 100, 3, (101, 102), 4
    >>> s = Session.from_rows(rows, [Instrument(symbol="AAPL", tick_size="0.01")], name="tiny")
    >>> s, s.manifest.levels, s.slice(start=7).manifest.n_events
    (Session('tiny', 2 events, AAPL), ('l1',), 1)
    """

    def __init__(self, events: np.ndarray, order: np.ndarray | None, manifest: Manifest):
        self.events = events
        self.order = order
        self.manifest = manifest
        self.mapped: dict[Path, tuple[int, ...]] = {}  #: the files that rows are mapped from, as `stand` saw them then

    def __repr__(self) -> str:
        symbols = [i.symbol for i in self.manifest.instruments]
        shown = " ".join(symbols[:4]) + (f" and {len(symbols) - 4} more" if len(symbols) > 4 else "")
        return f"Session({self.manifest.name!r}, {self.manifest.n_events} events, {shown})"

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """The instruments; a row's `instrument` field is an index into them."""
        return self.manifest.instruments

    def index(self, symbol: str) -> int:
        """The index of `symbol`. Raises `BadInput` where the session has no such instrument."""
        for k, i in enumerate(self.instruments):
            if i.symbol == symbol:
                return k
        known = ", ".join(i.symbol for i in self.instruments[:8])
        raise BadInput(f"{self.manifest.name}: no instrument {symbol!r}, the session has {known}: choose one of them")

    @staticmethod
    def from_rows(
        rows: np.ndarray,
        instruments: Sequence[Instrument],
        *,
        name: str = "session",
        clock_shift_ns: int = 0,
        bar_intervals_ns: Sequence[int] = (),
        anomalies: dict[str, int] | None = None,
        inferred: Sequence[str] = (),
        sources: Sequence[Source] = (),
        sliced_phase: int | None = None,
        calendar: Calendar | None = None,
    ) -> Session:
        """Validate `rows` (an array of EVENT, in arrival order) and compute the manifest. The rows are kept, not copied.

        `clock_shift_ns` records what the caller has already added to the receive times. Raises `BadInput` naming the first row
        that cannot be used. Cost: ~65 ns a row for quotes and trades, ~90 ns for depth, 40 ns of it the hash; no more memory than a
        block (64 MiB), except for the venue order where one is needed (8 bytes a row, and as much again while it is sorted).
        """
        instruments = tuple(instruments)
        rows = _as_events(rows, name)
        _check_instruments(instruments, name)
        if not len(set(bar_intervals_ns)) == len(bar_intervals_ns) <= 62 or min(bar_intervals_ns, default=1) < 1:
            raise BadInput(
                f"{name}: at most 62 different bar intervals of 1 ns or more expected, got {list(bar_intervals_ns)}: correct them"
            )
        if len(rows) == 0:
            raise BadInput(f"{name}: a session needs at least one event, got none: check the dates, the symbols and the source")
        facts, found = _facts(rows, instruments, bar_intervals_ns, name)
        order = np.argsort(rows.ts_event, kind="stable").astype("<i8", copy=False) if found["venue_time_backwards"] else None
        manifest = Manifest(
            name=name,
            instruments=instruments,
            clock_shift_ns=clock_shift_ns,
            bar_intervals_ns=tuple(bar_intervals_ns),
            currencies=currencies_of(instruments),
            anomalies={**(anomalies or {}), **{k: v for k, v in found.items() if v}},
            inferred=tuple(inferred),
            sources=tuple(sources),
            sha256=sha256_of(rows),
            order_sha256=None if order is None else sha256_of(order),
            sliced_phase=sliced_phase,
            calendar=calendar,
            **facts,
        )
        return Session(rows, order, manifest)

    @staticmethod
    def open(path: str | Path, trust: bool = False) -> Session:
        """Open a saved session: a memory map of ``events.bin`` where there is one, else ``events.parquet`` read into memory.

        An archive larger than memory is made a working copy first, by `replay.data.store.unpack`.
        Unless `trust`, the hash of the rows is compared with the manifest and every row is validated as `from_rows` does, which
        reads the file once (~65 ns a row). Raises `BadInput`.
        """
        from replay.data import store

        return store.load(Path(path), trust)

    def save(self, path: str | Path, format: str = "bin") -> None:
        """Write the session into the folder `path` as ``bin`` (the working copy) or ``parquet`` (the archive, 6 to 10 x smaller).

        Both may stand in one folder; each file is there whole or not at all, the manifest last, and all of it is durable. Raises `BadInput` for another format.
        """
        from replay.data import store
        from replay.live.disk import Disk

        store.write(self, Disk(Path(path)), format)

    def slice(self, start: int | None = None, end: int | None = None, symbols: Collection[str] | None = None) -> Session:
        """Rows with ``start <= ts_recv < end`` (ns), of `symbols` only where given; instruments keep their index.

        Rows that concern the whole session (phases, timers, controls, custom data) stay. By time alone no row is copied. A slice
        that begins after a book's snapshot holds deltas without their book: the manifest counts them (`depth_before_snapshot`).
        Raises `BadInput` where nothing is left.
        """
        recv = self.events.ts_recv
        lo = 0 if start is None else bisect.bisect_left(recv, start)
        hi = len(recv) if end is None else bisect.bisect_left(recv, end)
        rows = self.events[lo : max(lo, hi)]
        if symbols is not None:
            wanted = np.array([self.index(s) for s in symbols], np.uint32)
            rows = _chosen(rows, wanted)
        if len(rows) == 0:
            raise BadInput(
                f"{self.manifest.name}: no event between {start} and {end} of {symbols or 'any symbol'}, the session spans "
                f"{self.manifest.start_ns} to {self.manifest.end_ns} ns: widen the slice"
            )
        m = self.manifest
        part = Session.from_rows(
            rows,
            m.instruments,
            name=m.name,
            clock_shift_ns=m.clock_shift_ns,
            bar_intervals_ns=m.bar_intervals_ns,
            inferred=m.inferred,
            sources=m.sources,
            sliced_phase=self._phase_before(lo) if lo else m.sliced_phase,
            calendar=m.calendar,
        )
        part.mapped = self.mapped
        return part

    def unchanged(self) -> None:
        """Raise `BadInput` where a file that rows are mapped from has been written since: what was replayed is no session then."""
        for path, was in self.mapped.items():
            if stand(path) != was:
                raise BadInput(f"{path}: changed while it was replayed, so nothing came of it: replay it again once it is whole")

    def _phase_before(self, row: int) -> int:
        """The market's phase when the row-th row comes."""
        for block in reversed(list(blocks(self.events[:row]))):
            told = np.flatnonzero(block.kind == PHASE)
            if len(told):
                return int(block.side[told[-1]])
        return self.manifest.phase_at_start

    def check(self) -> None:
        """Assert every invariant of rows, order and manifest; for tests. Reads everything, copies a block at a time."""
        m, n = self.manifest, len(self.events)
        assert self.events.dtype == EVENT and n == m.n_events > 0
        assert m.order_sha256 is None or self.order is not None
        again = Session.from_rows(self.events, m.instruments, name=m.name, bar_intervals_ns=m.bar_intervals_ns).manifest
        for field in ("levels", "counts", "start_ns", "end_ns", "max_levels", "max_orders", "min_px", "max_px", "max_size"):
            assert getattr(again, field) == getattr(m, field), field
        assert m.kinds in ((), again.kinds)
        assert (again.currencies, again.sha256, again.order_sha256) == (m.currencies, m.sha256, m.order_sha256)
        assert all(m.anomalies.get(k) == v for k, v in again.anomalies.items())
        assert self.events[-1]["flags"] & LAST
        if self.order is None:
            assert "venue_time_backwards" not in m.anomalies
            return
        assert len(self.order) == n and sha256_of(self.order) == m.order_sha256
        prove_order(self.order, self.events, m.name)


def stand(path: Path) -> tuple[int, ...]:
    """What any write to a file, or another file in its place, changes."""
    try:
        s = path.stat()
    except OSError:
        return ()
    return s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns


def _chosen(rows: np.recarray, wanted: np.ndarray) -> np.recarray:
    """A copy of the rows of the `wanted` instruments, and of those that are of none. A message whose last row is not among them
    ends with the last that is."""
    parts, numbers, before = [rows[:0]], [np.zeros(0, np.int64)], 0
    for r in blocks(rows):
        keep = np.isin(r.instrument, wanted) | ~np.isin(r.kind, OF_INSTRUMENT)
        ends = np.cumsum(r["flags"] & LAST)
        parts.append(r[keep])
        numbers.append((before + ends - (r["flags"] & LAST))[keep])
        before += int(ends[-1])
    out, message = np.concatenate(parts).view(np.recarray), np.concatenate(numbers)
    out["flags"][np.diff(message, append=-1) != 0] |= LAST
    return out


def prove(rows: np.recarray, m: Manifest, name: str) -> None:
    """Validate rows against their manifest's instruments, and what it says of them: memory is sized by it. Raises `BadInput` at the
    first illegal row, or naming every false statement; ~25 ns a row."""
    _check_instruments(m.instruments, name)
    facts, found = _facts(rows, m.instruments, m.bar_intervals_ns, name)
    if not m.kinds:
        del facts["kinds"]  # nobody noted it then
    wrong = [
        f"{field} {getattr(m, field)!r}, the rows say {value!r}" for field, value in facts.items() if getattr(m, field) != value
    ]
    wrong += [
        f"{what} {m.anomalies.get(what, 0)}, the rows say {n}" for what, n in found.items() if m.anomalies.get(what, 0) != n
    ]
    if (m.order_sha256 is not None) != bool(found["venue_time_backwards"]):
        wrong.append(f"a venue order {'stands' if m.order_sha256 else 'is missing'} that the rows do not bear out")
    if wrong:
        raise BadInput(f"{name}: the manifest is false: {'; '.join(w[:200] for w in wrong)}: import the session again")


def _facts(
    rows: np.recarray, instruments: tuple[Instrument, ...], intervals_ns: Sequence[int], name: str
) -> tuple[dict[str, object], dict[str, int]]:
    """What a manifest says of its rows, and of what is odd in them, counted. Raises `BadInput` at the first illegal row."""
    state, tally, counts = _scan_rows(rows, instruments, len(intervals_ns), name)
    span = list(zip(tally.min_px.tolist(), tally.max_px.tolist(), strict=True))
    facts = {
        "levels": tuple(_level(int(k)) for k in tally.kinds),
        "n_events": len(rows),
        "counts": {KIND_NAMES[k]: int(c) for k, c in enumerate(counts) if c},
        "start_ns": int(rows.ts_recv[0]),
        "end_ns": int(rows.ts_recv[-1]),
        "finest_bar_ns": tuple(_finest(int(t), intervals_ns) for t in tally.intervals),
        "max_levels": tuple(zip(tally.max_bid_levels.tolist(), tally.max_ask_levels.tolist(), strict=True)),
        "max_orders": tuple(tally.max_orders.tolist()),
        "min_px": tuple(0 if lo > hi else lo for lo, hi in span),
        "max_px": tuple(0 if lo > hi else hi for lo, hi in span),
        "max_size": tuple(tally.max_size.tolist()),
        "kinds": tuple(tuple(KIND_NAMES[k] for k in _MARKET if int(t) >> k & 1) for t in tally.kinds),
    }
    found = {
        "crossed_quotes": int(tally.crossed.sum()),
        "inconsistent_bars": int(tally.bad_bars.sum()),
        "depth_before_snapshot": int(tally.unanchored.sum()),
        "venue_time_backwards": int(state.backwards),
    }
    return facts, found


def prove_order(order: np.ndarray, rows: np.recarray, name: str) -> None:
    """Raise `BadInput` unless `order` is the rows' venue order: the compiled engine reads rows by it."""
    n = len(rows)
    for k in range(0, n, BLOCK):  # strictly rising (ts_event, row) over n rows in range: a permutation, sorted, and stable
        part = order[k : k + BLOCK + 1]
        if len(part) and (part.min() < 0 or part.max() >= n):
            break
        t = rows.ts_event[part]
        if not np.all((t[1:] > t[:-1]) | ((t[1:] == t[:-1]) & (part[1:] > part[:-1]))):
            break
    else:
        return
    raise BadInput(f"{name}: the venue order is not that of the rows: import the session again")


def end_bar_messages(rows: np.ndarray) -> None:
    """Set `LAST` on the last bar of each close time (or of its extension), and take it off the others; for rows in arrival order.

    >>> from replay import events as ev
    >>> rows = ev.empty(4)
    >>> rows.kind[:], rows.ts_event[:], rows.ts_recv[:] = ev.BAR, (5, 5, 10, 10), (6, 6, 11, 11)
    >>> end_bar_messages(rows); rows["flags"].tolist()
    [0, 1, 0, 1]
    """
    bar = (rows["kind"] == BAR) | (rows["kind"] == BAR_EXT)
    goes_on = bar[:-1] & bar[1:] & (np.diff(rows["ts_event"]) == 0) & (np.diff(rows["ts_recv"]) == 0)
    ends = np.append(~goes_on, True)
    rows["flags"] = np.where(bar, rows["flags"] & ~np.uint16(LAST) | ends.astype(np.uint16), rows["flags"])


def blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Views of at most `BLOCK` rows, in order."""
    for k in range(0, len(rows), BLOCK):
        yield rows[k : k + BLOCK]


def sha256_of(rows: np.ndarray) -> str:
    """The sha256 of an array's bytes, a block at a time."""
    h = hashlib.sha256()
    for block in blocks(rows):
        h.update(np.ascontiguousarray(block).view(np.uint8).data)
    return h.hexdigest()


def _as_events(rows: np.ndarray, name: str) -> np.recarray:
    if rows.dtype != EVENT or rows.ndim != 1:
        raise BadInput(
            f"{name}: rows must be a flat array of replay.events.EVENT, got {rows.dtype}: build them with events.empty(n)"
        )
    if rows.strides[0] != EVENT.itemsize:
        rows = np.ascontiguousarray(rows)
    return rows.view(np.recarray)


def _check_instruments(instruments: tuple[Instrument, ...], name: str) -> None:
    if not instruments:
        raise BadInput(f"{name}: a session needs at least one instrument, got none: pass the instruments of its rows")
    symbols = [i.symbol for i in instruments]
    if len(set(symbols)) < len(symbols):
        twice = next(s for s in symbols if symbols.count(s) > 1)
        raise BadInput(f"{name}: {twice} is listed twice among the instruments: list it once")


def _level(kinds: int) -> str:
    return next((level for level, of in _LEVEL_KINDS if any(kinds >> k & 1 for k in of)), "none")


def _finest(seen: int, intervals_ns: Sequence[int]) -> int:
    return min((ns for k, ns in enumerate(intervals_ns) if seen >> k & 1), default=0)


def _scan_rows(rows: np.recarray, instruments: tuple[Instrument, ...], n_intervals: int, name: str):
    """Run the scan over all rows; returns (state, tally, counts). Raises `BadInput` at the first illegal row."""
    state = np.zeros(1, _scan.STATE).view(np.recarray)
    tally = np.zeros(len(instruments), _scan.TALLY).view(np.recarray)
    counts = np.zeros(N_KINDS, np.int64)
    table = np.zeros(1 << 10, _scan.SLOT)
    lowest = np.iinfo(np.int64).min
    state.recv = state.event = lowest
    tally.max_product = [i.max_product() for i in instruments]
    tally.negative = [i.allow_negative_px for i in instruments]
    tally.min_px, tally.max_px = MAX_INT, -MAX_INT
    scan, rehash = entry_of(_scan.scan), entry_of(_scan.rehash)
    done = 0
    while done < len(rows):
        done += scan(
            rows.ctypes.data + done * EVENT.itemsize, len(rows) - done, state.ctypes.data, tally.ctypes.data, len(tally),
            counts.ctypes.data, table.ctypes.data, len(table), n_intervals,
        )  # fmt: skip
        code = int(state.code[0])
        if code == _scan.TABLE_FULL:
            old, table = table, np.zeros(len(table) * 2, _scan.SLOT)
            state.used = rehash(old.ctypes.data, len(old), table.ctypes.data, len(table), tally.ctypes.data, len(tally))
            if state.used[0] * 4 < len(old):  # mostly dead: the old size will do
                table = _shrink(table, len(old), tally, rehash)
        elif code != _scan.OK:
            raise BadInput(f"{name} row {done}: {_refusal(code, rows, done, instruments, int(state.group[0]), n_intervals)}")
    if state.group[0]:
        raise BadInput(f"{name} row {len(rows) - 1}: {_refusal(_scan.OPEN_GROUP, rows, len(rows) - 1, instruments, 0, 0)}")
    return state[0], tally, counts


def _shrink(table: np.ndarray, slots: int, tally: np.ndarray, rehash) -> np.ndarray:
    small = np.zeros(slots, _scan.SLOT)
    rehash(table.ctypes.data, len(table), small.ctypes.data, slots, tally.ctypes.data, len(tally))
    return small


def _refusal(code: int, rows: np.recarray, k: int, instruments: tuple[Instrument, ...], group: int, n_intervals: int) -> str:
    r = rows[k]
    who = instruments[r.instrument].symbol if r.instrument < len(instruments) else f"instrument {r.instrument}"
    kind = KIND_NAMES[r.kind] if r.kind < N_KINDS else f"kind {r.kind}"
    if code == _scan.BACKWARDS:
        return f"ts_recv must not go back, got {r.ts_recv} after {rows[k - 1].ts_recv}: sort the rows by arrival"
    if code == _scan.BEFORE_EVENT:
        need = max(int((b.ts_event - b.ts_recv).max()) for b in blocks(rows))
        return (
            f"received at {r.ts_recv}, before it happened at {r.ts_event}: add a clock shift of {need + 1} ns to every ts_recv "
            f"and record it as clock_shift_ns"
        )
    if code == _scan.BAD_KIND:
        return f"kind must be 1 to {N_KINDS - 1}, got {r.kind}: see replay.events"
    if code == _scan.TOO_OLD:
        return f"received at {r.ts_recv}, more than a year after it happened at {r.ts_event}: correct its times"
    if code == _scan.OUR_OWN:
        return f"{kind} rows are said by a venue or an engine, not recorded from a market: leave them out"
    if code == _scan.BAD_INSTRUMENT:
        return f"instrument must be below {len(instruments)}, got {r.instrument}: pass every instrument of the rows"
    if code == _scan.BAD_SIDE:
        if kind == "bar":
            return f"side {r.side} of a bar must be an index into the {n_intervals} bar_intervals_ns: pass the intervals"
        return f"{who} {kind}: side {r.side} is not one of this kind: see replay.events"
    if code == _scan.BAD_ACTION:
        legal = "SET or CLEAR" if kind == "depth" else "SET to CLEAR (0..5)"
        return f"{who} {kind}: action must be {legal}, got {r.c}: correct the importer"
    if code == _scan.BAD_SIZE:
        sizes = (r.b, r.d) if kind == "quote" else (r.id,) if kind == "bar" else (r.b,)
        return f"{who} {kind}: size must be >= 0, got {min(sizes)}: correct or drop the row"
    if code == _scan.BAD_PRICE:
        return f"{who} {kind}: price must be > 0, got {_prices(r, kind)} ticks: drop the row or set allow_negative_px"
    if code == _scan.TOO_LARGE and kind == "bar":
        return (
            f"{who} bar: price x volume ({_prices(r, kind)}) is 2**62 ticks times lots or more: import with coarser ticks or lots"
        )
    if code == _scan.TOO_LARGE:
        return f"{who} {kind}: price x size ({_prices(r, kind)}) is worth more than 2**62 money units: import with coarser ticks or lots"
    if code == _scan.BROKEN_GROUP:
        return (
            f"rows of one message must share instrument and times, got {who} while a message of "
            f"{'bars' if group == _scan.BARS else instruments[group - 1].symbol} is open: set LAST on the last row of each message"
        )
    assert code == _scan.OPEN_GROUP, code
    return f"the session ends inside a message of {who}: set LAST on the last row of each message"


def _prices(r: np.record, kind: str) -> str:
    if kind == "quote":
        return f"{r.a} x {r.b} / {r.c} x {r.d}"
    if kind == "bar":
        return f"{r.a} {r.b} {r.c} {r.d}, volume {r.id}"
    return f"{r.a} x {r.b}"
