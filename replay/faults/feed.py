"""A session as a plan's faults let it reach us. The venue keeps the session as it was recorded, but for halts, which both see.

One array serves both: the rows that reach us, in the order they do, and behind them those that reach the venue only; what the venue
sees is an order over the whole. Faults strike whole messages, so that books never wake in the middle of one. Rows that concern the
whole session (phases, timers, custom data) are left alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from replay.data.session import OF_INSTRUMENT, Session
from replay.errors import BadInput
from replay.events import CONTROL, EVENT, GAP, HALTED, LAST, QUOTE, STATUS, TRADING
from replay.faults.plan import ACTS, KIND_NAMES, MILLION, Fault, Plan
from replay.trader.specs import duration_ns

I64 = np.dtype("i8")
_NO_HITS = np.zeros(0, EVENT).view(np.recarray)


class Feed(NamedTuple):
    """`rows`, of which `ours` reach us, in that order; `order`: those the venue sees, None for all as they stand; `hits`: what struck."""

    rows: np.recarray
    ours: np.recarray
    order: np.ndarray | None
    hits: np.recarray

    def addresses(self) -> tuple[int, int, int]:
        """Rows, how many the venue sees, and their order, for the replay loop."""
        if self.order is None:
            return self.rows.ctypes.data, len(self.rows), 0
        return self.rows.ctypes.data, len(self.order), self.order.ctypes.data


def arrange(session: Session, plan: Plan, recorded: bool) -> Feed:
    """The feed of a session under a plan. Without faults of the feed it is the session itself, not copied. Raises `BadInput`."""
    plan.of_replay()
    if not plan.of_feed:
        return Feed(session.events, session.events, session.order, _NO_HITS)
    if not recorded:
        raise BadInput("faults: those of the feed need its recorded times: leave out feed=... of --latency")
    if session.manifest.counts.get("order"):
        raise BadInput(
            f"faults: {session.manifest.name} holds single orders (L3): faults of the feed know quotes, depth, trades and bars"
        )
    made = _Arranger(session, plan)
    for k, fault in enumerate(plan.faults):
        if fault.kind == "halt":
            made.halt(fault, k)
        elif fault.kind == "operator":
            made.operator(fault, k)
        elif fault.kind == "intent_twice":
            made.intent_twice(fault, k)
        elif fault.kind.startswith("feed"):
            made.strike(fault, k)
    away = sorted((f.span(session.manifest), k) for k, f in enumerate(plan.faults) if f.kind in ("pause", "crash"))
    return made.feed(away)


class _Arranger:
    def __init__(self, session: Session, plan: Plan):
        self.session, self.seed, self.faults = session, plan.seed, plan.faults
        self.base = session.events
        n = len(self.base)
        self.recv = np.array(self.base.ts_recv)
        self.lost = np.zeros(n, bool)
        ends = (self.base["flags"] & LAST).astype(I64)
        self.message = np.cumsum(ends) - ends
        self.of_instrument = np.isin(self.base.kind, OF_INSTRUMENT)
        self.extra: list[tuple[np.ndarray, np.ndarray]] = []  # rows for us only, and the message each belongs to
        self.halts: list[np.ndarray] = []  # for both
        self.marked: list[tuple[int, int]] = []  # from when on the next row of an instrument says that some are missing
        self.n_messages = int(self.message[-1]) + 1
        self.hits: list[np.ndarray] = []

    def strike(self, f: Fault, k: int) -> None:
        """Apply one fault to the messages it strikes."""
        start, end = f.span(self.session.manifest)
        chosen = self.of_instrument & ~self.lost & (self.base.ts_recv >= start) & (self.base.ts_recv < end)
        if f.symbols:
            chosen &= np.isin(self.base.instrument, f.instruments(self.session.manifest))
        if f.kind in ("feed_crossed", "feed_zero", "feed_outlier"):
            chosen &= self.base.kind == QUOTE
        rows = np.flatnonzero(chosen)
        numbers, place = np.unique(self.message[rows], return_inverse=True)
        bits = np.random.Philox(key=[self.seed & (1 << 64) - 1, k]).random_raw(2 * len(numbers)) >> np.uint64(12)
        struck = bits[::2] % np.uint64(MILLION) < f.ppm
        rows, place = rows[struck[place]], place[struck[place]]
        later = (1 + bits[1::2] % np.uint64(duration_ns(f.delay, "delay"))).astype(I64)[place]
        getattr(self, f"_{f.kind.removeprefix('feed_')}")(f, rows, later, end)
        first = rows[np.r_[True, np.diff(self.message[rows]) != 0]] if len(rows) else rows
        self._note(f, k, first, np.diff(np.r_[np.searchsorted(rows, first), len(rows)]))

    def _note(self, f: Fault, k: int, first: np.ndarray, count: np.ndarray) -> None:
        hits = np.zeros(len(first), EVENT)
        hits["ts_event"], hits["kind"], hits["id"] = self.base.ts_recv[first], KIND_NAMES.index(f.kind), k
        hits["instrument"], hits["b"] = self.base.instrument[first], count
        self.hits.append(hits)

    # --- what each kind does to the rows it strikes -------------------------------------------------------------------------
    def _gap(self, f: Fault, rows: np.ndarray, later: np.ndarray, end: int) -> None:
        self.lost[rows] = True

    def _outage(self, f: Fault, rows: np.ndarray, later: np.ndarray, end: int) -> None:
        self.lost[rows] = True
        for i in np.unique(self.base.instrument[rows]):
            self.marked.append((int(self.base.ts_recv[rows[self.base.instrument[rows] == i][-1]]), int(i)))

    def _mute(self, f: Fault, rows: np.ndarray, later: np.ndarray, end: int) -> None:
        self.recv[rows] = np.maximum(self.recv[rows], end)

    def _late(self, f: Fault, rows: np.ndarray, later: np.ndarray, end: int) -> None:
        self.recv[rows] += later

    def _slow(self, f: Fault, rows: np.ndarray, later: np.ndarray, end: int) -> None:
        event = self.base.ts_event[rows]
        leg = (self.recv[rows] - event).astype(object) * int(f.factor * 1000) // 1000
        self.recv[rows] = event + leg.astype(I64)

    def _twice(self, f: Fault, rows: np.ndarray, later: np.ndarray, end: int) -> None:
        again = np.array(self.base[rows])
        again["ts_recv"] = self.recv[rows] + later
        self._more(again, self.message[rows])

    def _burst(self, f: Fault, rows: np.ndarray, later: np.ndarray, end: int) -> None:
        for _ in range(int(f.factor) - 1):
            again = np.array(self.base[rows])
            again["ts_recv"] = self.recv[rows]
            self._more(again, self.message[rows])

    def _crossed(self, f: Fault, rows: np.ndarray, later: np.ndarray, end: int) -> None:
        wrong = self._instead(rows)
        wrong["a"], wrong["c"] = np.maximum(wrong["a"], wrong["c"]) + 1, np.minimum(wrong["a"], wrong["c"])
        self._more(wrong, self.message[rows])

    def _zero(self, f: Fault, rows: np.ndarray, later: np.ndarray, end: int) -> None:
        wrong = self._instead(rows)
        wrong["b"] = wrong["d"] = 0
        self._more(wrong, self.message[rows])

    def _outlier(self, f: Fault, rows: np.ndarray, later: np.ndarray, end: int) -> None:
        wrong = self._instead(rows)
        # no further than its own worth can be counted
        most = np.array([i.max_product() for i in self.session.instruments], float)[wrong["instrument"]]
        most = most / np.maximum(np.maximum(wrong["b"], wrong["d"]), 1)
        for px in "ac":
            wrong[px] = np.clip(wrong[px] * float(f.factor), 1, most).astype(I64)
        self._more(wrong, self.message[rows])

    def _instead(self, rows: np.ndarray) -> np.ndarray:
        """Copies of rows that reach us in their place."""
        wrong = np.array(self.base[rows])
        wrong["ts_recv"] = self.recv[rows]
        self.lost[rows] = True
        return wrong

    def _more(self, rows: np.ndarray, message: np.ndarray) -> None:
        numbers, place = np.unique(message, return_inverse=True)
        self.extra.append((rows, self.n_messages + place))
        self.n_messages += len(numbers)

    def halt(self, f: Fault, k: int) -> None:
        """The venue stops and goes on; both tell, after the leg of the row before."""
        m = self.session.manifest
        start, end = f.span(m)
        for i in f.instruments(m) or range(len(m.instruments)):
            for ts, status in ((start, HALTED), (end, TRADING)):
                if not m.start_ns <= ts < m.end_ns:
                    continue
                row = np.zeros(1, EVENT)
                before = max(0, int(np.searchsorted(self.base.ts_recv, ts)) - 1)
                leg = max(1, int(self.base.ts_recv[before] - self.base.ts_event[before]))
                row["ts_event"], row["ts_recv"] = ts, min(ts + leg, m.end_ns)
                row["kind"], row["side"], row["flags"], row["instrument"] = STATUS, status, LAST, i
                self.halts.append(row)
        of = f.instruments(m)
        self._hit(f, k, start, of[0] if len(of) == 1 else len(m.instruments), 2 * len(of or m.instruments))

    def operator(self, f: Fault, k: int) -> None:
        """A control of the operator's reaches us; it is no row of the market, and of the venue it changes nothing."""
        m = self.session.manifest
        at = f.span(m)[0]
        if not m.start_ns <= at < m.end_ns:
            return
        row = np.zeros(1, EVENT)
        row["ts_event"] = row["ts_recv"] = at
        row["kind"], row["side"], row["flags"] = CONTROL, ACTS[f.act], LAST
        self._more(row, np.zeros(1, I64))
        self._hit(f, k, at, len(m.instruments), 1)

    def intent_twice(self, f: Fault, k: int) -> None:
        """An order that is no strategy's reaches us, and again."""
        m = self.session.manifest
        at = f.span(m)[0]
        for ts in (at, at + duration_ns(f.delay, "delay")):
            if m.start_ns <= ts < m.end_ns:
                row = f.intent(k, len(m.instruments), ts)
                self._more(row, np.zeros(1, I64))
                self._hit(f, k, ts, int(row["instrument"][0]), 1)

    def _hit(self, f: Fault, k: int, ts: int, instrument: int, rows: int) -> None:
        hits = np.zeros(1, EVENT)
        hits["ts_event"], hits["kind"], hits["id"] = ts, KIND_NAMES.index(f.kind), k
        hits["instrument"], hits["b"] = instrument, rows
        self.hits.append(hits)

    # --- put together -------------------------------------------------------------------------------------------------------
    def feed(self, away: list[tuple[tuple[int, int], int]]) -> Feed:
        """The rows in the order they reach us, and the venue's order over them. `away`: from when to when we are, of which fault."""
        end, n = self.session.manifest.end_ns, len(self.base)
        halts = np.concatenate([np.zeros(0, EVENT), *self.halts])
        extra = [(self.base, self.message), *self.extra, (halts, self.n_messages + np.arange(len(halts)))]
        rows = np.concatenate([r for r, _ in extra])
        message = np.concatenate([m for _, m in extra])
        rows["ts_recv"][:n] = self.recv
        lost = np.zeros(len(rows), bool)
        lost[:n] = self.lost
        came = rows["ts_recv"].copy()
        for (start, until), k in away:
            self._absent(rows, lost, start, until, k)
        lost |= rows["ts_recv"] > end  # it would come when the session is over
        kept = np.flatnonzero(~lost)
        kept = kept[np.lexsort((kept, message[kept], came[kept], rows["ts_recv"][kept]))]
        number = np.arange(len(rows))
        behind = np.flatnonzero(lost & ((number < n) | (number >= len(rows) - len(halts))))
        chosen = np.concatenate([kept, behind])
        out = np.ascontiguousarray(rows[chosen]).view(np.recarray)
        of = message[kept]
        out["flags"][: len(kept)][np.diff(of, append=-1) != 0] |= LAST
        self._mark_gaps(out[: len(kept)])
        place = np.full(len(rows), -1, I64)
        place[chosen] = np.arange(len(chosen))
        seen = np.arange(n) if self.session.order is None else self.session.order
        order = place[np.concatenate([seen, np.arange(len(rows) - len(halts), len(rows))])]
        order = order[order >= 0]
        order = np.ascontiguousarray(order[np.argsort(out.ts_event[order], kind="stable")], I64)
        hits = np.concatenate([_NO_HITS, *self.hits])
        return Feed(out, out[: len(kept)], order, hits[np.argsort(hits["ts_event"], kind="stable")].view(np.recarray))

    def _absent(self, rows: np.ndarray, lost: np.ndarray, start: int, until: int, k: int) -> None:
        """We are not there: what would reach us is taken afterwards, or of a crash lost, but for what concerns the whole session."""
        f, m = self.faults[k], self.session.manifest
        if f.at is not None and not m.start_ns <= start < m.end_ns:
            return
        missed = ~lost & (rows["ts_recv"] >= start) & (rows["ts_recv"] < until)
        rows["ts_recv"][missed] = until
        if f.kind == "crash":
            missed &= np.isin(rows["kind"], OF_INSTRUMENT) & (rows["kind"] != STATUS)
            lost |= missed
            self.marked += [(until, int(i)) for i in np.unique(rows["instrument"][missed])]
        struck = np.flatnonzero(missed[: len(self.base)])
        first = struck[np.r_[True, np.diff(self.message[struck]) != 0]] if len(struck) else struck
        self._note(f, k, first, np.diff(np.r_[np.searchsorted(struck, first), len(struck)]))

    def _mark_gaps(self, ours: np.recarray) -> None:
        """The first row of an instrument after rows of it that never came says so."""
        for ts, i in self.marked:
            after = np.flatnonzero((ours.instrument == i) & np.isin(ours.kind, OF_INSTRUMENT) & (ours.ts_recv >= ts))
            if len(after):
                ours["flags"][after[0]] |= GAP
