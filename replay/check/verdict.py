"""What a check found: verdicts, and the words for a decision and an event."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from replay.check.pool import Ran
from replay.data.instruments import Instrument
from replay.data.times import utc_text
from replay.events import BAR, DEPTH, KIND_NAMES, QUOTE, TRADE
from replay.show import line, said
from replay.trader.output import OUT_CANCEL, OUT_NEW, OUT_REPLACE

PASS, WARN, FAIL, SKIP = "pass", "warn", "FAIL", "not checked"
DECISIONS = (OUT_NEW, OUT_CANCEL, OUT_REPLACE)


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was checked: its verdict, what was done, and what was found, a sentence each."""

    name: str
    verdict: str
    done: str
    found: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The verdicts on one session and its strategies. `ok` is False where a part failed."""

    session: str
    strategies: tuple[str, ...]
    events: int
    start: str
    end: str
    decisions: int
    digest: str
    parts: tuple[Part, ...]
    ok: bool
    elapsed_s: float


class Words(NamedTuple):
    """How rows of a session and records of its trader are told to people."""

    instruments: tuple[Instrument, ...]
    names: list[str]  # of the strategies
    rows: np.recarray

    def record(self, row: np.record) -> str:
        """An output record: time, event reached, what."""
        reached = int(np.searchsorted(self.rows.ts_recv, row.ts_recv, "right"))
        return f"{line(said(row, self.instruments, self.names))} (event {reached:,})"

    def event(self, k: int) -> str:
        """Row `k` of the session, with its times."""
        r = self.rows[k]
        i = self.instruments[int(r.instrument)]
        if r.kind == QUOTE:
            what = f"{i.price(r.a)} x {int(r.b):,} / {i.price(r.c)} x {int(r.d):,}"
        elif r.kind in (TRADE, DEPTH):
            side = {1: "bid ", -1: "ask "}.get(int(r.side), "") if r.kind == DEPTH else ""
            what = f"{side}{i.price(r.a)} x {int(r.b):,}"
        elif r.kind == BAR:
            what = f"{i.price(r.a)} {i.price(r.b)} {i.price(r.c)} {i.price(r.d)}, volume {int(r.id):,}"
        else:
            what = f"{int(r.id)} {int(r.a)} {int(r.b)} {int(r.c)} {int(r.d)}"
        times = f"of {utc_text(r.ts_event)}, received {utc_text(r.ts_recv)}"
        return f"event {k + 1:,} ({KIND_NAMES[r.kind]} {i.symbol} {what}, {times})"


class Difference(NamedTuple):
    """Where a run parts from the one it should equal.

    `index` is the first output record that differs, -1 where none does: then a constant or the state does. `at_ns` is when.
    """

    index: int
    at_ns: int
    text: str


def first_difference(base: np.ndarray, other: np.ndarray) -> int | None:
    """The index of the first record that differs; None where both are equal.

    >>> a = np.zeros(3, "V64"); first_difference(a, a), first_difference(a, a[:2])
    (None, 2)
    """
    n = min(len(base), len(other))
    differ = np.flatnonzero(base[:n].view("V64") != other[:n].view("V64"))
    return int(differ[0]) if len(differ) else None if len(base) == len(other) else n


def compare(base: Ran, other: Ran, words: Words, until_ns: int = (1 << 63) - 1) -> Difference | None:
    """What `other` did by `until_ns` against what `base` did: constants, then output records."""
    for name, value in base.answer.constants.items():
        if other.answer.constants.get(name, value) != value:
            return Difference(-1, 0, f"the constant {name} has another value")
    a, b = (r.out[: np.searchsorted(r.out["ts_recv"], until_ns, "right")] for r in (base, other))
    ended = other.answer.error if other.answer.error != base.answer.error and other.answer.error_ns <= until_ns else None
    k = first_difference(a, b)
    if k is None and ended is None:
        return None
    k = len(b) if k is None or (ended and k >= len(b)) else k
    mine = words.record(a.view(np.recarray)[k]) if k < len(a) else "nothing"
    instead = words.record(b.view(np.recarray)[k]) if k < len(b) else f"the end of the run: {ended}" if ended else "nothing"
    at_ns = min(int(r["ts_recv"][k]) if k < len(r) else until_ns for r in (a, b))
    return Difference(k, min(at_ns, other.answer.error_ns) if ended else at_ns, f"{mine} became {instead}")
