"""``replay download``: what is missing is fetched, part by part, and the parts become a session in the same folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa

from replay.collect.asked import BARS, KINDS, Asked, Span, spans, step_text
from replay.collect.asking import Asking
from replay.collect.columns import table_of
from replay.collect.parts import Part, Parts
from replay.data.canonical import assemble
from replay.data.columns import Columns
from replay.data.reading import Reading
from replay.data.session import Session
from replay.data.store import MANIFEST, read_manifest
from replay.errors import BadInput
from replay.live.disk import Disk
from replay.live.lock import holding
from replay.progress import progress

STOCKS, PAIRS = "XNYS", "24/7"  #: the calendars of stocks and of crypto pairs


class Source(Protocol):
    """Where history comes from."""

    schemas: dict[str, pa.Schema]
    asking: Asking

    def now(self) -> int:
        """The source's time, ns."""

    def check(self, asked: Asked) -> dict[str, dict[str, object]]:
        """Fields of `Instrument` that are known of each symbol. Raises `BadInput` for one nobody knows."""

    def pages(self, asked: Asked, symbol: str, kind: str, step_ns: int, span: Span) -> Iterator[pa.Table]:
        """Everything with ``span.start <= t < span.end``, oldest first, as tables of `schemas`; bars, of `step_ns`, at their start."""

    def lacks(self, asked: Asked) -> list[str]:
        """What the data is not, a sentence each."""


class Downloaded(NamedTuple):
    """The session, what is said about it, and how many parts were fetched, or there already."""

    session: Session
    notes: list[str]
    fetched: int
    kept: int


class _Job(NamedTuple):
    symbol: str
    kind: str
    step_ns: int
    span: Span

    @property
    def name(self) -> str:
        """What its part is called."""
        return f"{self.kind}-{step_text(self.step_ns)}" if self.step_ns else self.kind


def download(asked: Asked, source: Source, out: Path, market_hours_only: bool = False) -> Downloaded:
    """Fetch what is missing and save the session into `out`. Raises `BadInput`; what is finished then, or when interrupted, stays."""
    with holding(out):
        parts = Parts(Disk(out / "parts"))
        if asked.period and not (out / MANIFEST).exists() and parts.asked is not None and _resumes(parts.asked, asked):
            asked = parts.asked  # begun earlier and not finished: its own times, so that its parts fit
        known = source.check(asked)
        jobs = [
            _Job(symbol, kind, step_ns, span)
            for symbol in asked.symbols
            for kind in KINDS
            if kind in asked.kinds
            for step_ns in asked.steps_ns
            for span in spans(asked, kind)
        ]
        if not jobs:
            raise BadInput(f"{out}: no trading day between --from and --to: correct them")
        try:
            parts.begin(asked)
            done, kept = _fetch(jobs, asked, source, parts)
        except OSError as e:
            raise BadInput(f"{out}: {e.strerror or e}: what is finished is kept; make room, the same command goes on") from None
        session, notes = _session(jobs, done, asked, parts, known, out, market_hours_only)
        replace_session(session, out)
        return Downloaded(session, [*source.lacks(asked), *notes], len(jobs) - kept, kept)


def _resumes(before: Asked, now: Asked) -> bool:
    return now.same_data(before) and (before.period, before.symbols) == (now.period, now.symbols)


def _fetch(jobs: list[_Job], asked: Asked, source: Source, parts: Parts) -> tuple[list[Part], int]:
    """Every part, and how many were there already."""
    out, kept = [], 0
    with progress(f"downloading {', '.join(asked.kinds)}", "parts") as told:
        for n, job in enumerate(jobs):
            part = parts.find(job.symbol, job.name, job.span)
            kept += part is not None
            if part is None:
                part = parts.write(job.symbol, job.name, job.span, source.schemas[job.kind], source.pages(asked, *job))
            out.append(part)
            told(n + 1, len(jobs))
    return out, kept


def _session(
    jobs: list[_Job], done: list[Part], asked: Asked, parts: Parts, known: dict[str, dict[str, object]], out: Path, only: bool
) -> tuple[Session, list[str]]:
    rows = dict.fromkeys(asked.symbols, 0)
    low: dict[str, float] = {}
    for job, part in zip(jobs, done, strict=True):
        rows[job.symbol] += part.rows
        if part.low:
            low[job.symbol] = min(low.get(job.symbol, part.low), part.low)
    notes = [f"{symbol}: nothing between --from and --to: not in the session" for symbol, n in rows.items() if not n]
    if len(notes) == len(rows):
        raise BadInput(
            f"{out}: none of {', '.join(rows)} has any {' or '.join(asked.kinds)} in that time: correct --from, --to or --feed"
        )
    stated = {symbol: _stated(asked, known[symbol], low.get(symbol, 1.0)) for symbol in asked.symbols}
    reader = Columns(Reading(instruments=stated))
    by_kind = sorted(zip(jobs, done, strict=True), key=lambda j: KINDS.index(j[0].kind))
    tables = [
        table_of(part.file, parts.path(part), reader, job.symbol, job.kind, job.step_ns, asked.end)
        for job, part in by_kind
        if part.rows
    ]
    return assemble(tables, reader, out.name, PAIRS if asked.crypto else STOCKS, only), notes


def _stated(asked: Asked, known: dict[str, object], low: float) -> dict[str, object]:
    """What the import need not infer: stocks trade in cents and shares; adjusted prices are on no grid, pairs on one of their own."""
    if asked.crypto:
        return known
    steps = {} if BARS in asked.kinds and asked.adjustment != "raw" else {"tick_size": "0.01" if low >= 1 else "0.0001"}
    return {**known, **steps, "lot_size": "1"}


def replace_session(session: Session, folder: Path) -> None:
    """Save into a folder that may hold an earlier session of the same recording; a folder with a manifest is a whole session all along."""
    if (folder / MANIFEST).exists() and read_manifest(folder).sha256 != session.manifest.sha256:
        Disk(folder).remove(MANIFEST)
        Disk(folder).sync_names()
    session.save(folder)
