"""The folder of a download: one Parquet file a symbol, kind and span, and an index that says which are whole.

FOLDER/parts/index.jsonl                    what was asked for, and a line a finished part; only ever appended to
       parts/AAPL/bars-5m-2026-03.parquet   the feed's numbers, times as int64 ns UTC

A part is written beside its name, made durable, renamed, and then entered with its hash: what the index names is whole, whatever
happened. A line that a crash cut off is none. The later line counts where two name one file.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from replay.collect.asked import Asked, Span, step_text
from replay.data.tables import sha256_of_file
from replay.errors import BadInput
from replay.live.disk import Disk

INDEX = "index.jsonl"


class Part(msgspec.Struct, frozen=True):
    """A finished part; `low`: its lowest price above zero, 0 where it has none."""

    file: str
    start: int
    end: int
    rows: int
    sha256: str
    low: float = 0.0


class _Line(msgspec.Struct, omit_defaults=True):
    asked: Asked | None = None
    part: Part | None = None


class Parts:
    """See the module; `disk` is the folder of the parts. Raises `BadInput` where it holds another download."""

    def __init__(self, disk: Disk):
        self.disk, self.folder = disk, disk.folder
        self.asked: Asked | None = None
        self._done: dict[str, Part] = {}
        for line in self._lines():
            self.asked = line.asked or self.asked
            if line.part is not None:
                self._done[line.part.file] = line.part

    def begin(self, asked: Asked) -> None:
        """Say what the folder is for from now on. Parts of another range stay; those of other data are refused."""
        if self.asked is not None and not asked.same_data(self.asked):
            raise BadInput(
                f"{self.folder.parent}: holds a download of other data ({_words(self.asked)}, asked for now: {_words(asked)}): "
                f"choose another --out"
            )
        if asked != self.asked:
            self._append(_Line(asked=asked))
            self.asked = asked

    def path(self, part: Part) -> Path:
        """Where a part is."""
        return self.folder / part.file

    def find(self, symbol: str, name: str, span: Span) -> Part | None:
        """The part of exactly this span, if it is whole and unchanged."""
        part = self._done.get(_file(symbol, name, span))
        if part is None or (part.start, part.end) != (span.start, span.end):
            return None
        try:
            return part if sha256_of_file(self.path(part)) == part.sha256 else None
        except FileNotFoundError:
            return None

    def write(self, symbol: str, name: str, span: Span, schema: pa.Schema, pages: Iterable[pa.Table]) -> Part:
        """Write a part, page by page, and enter it."""
        file = _file(symbol, name, span)
        path = self.folder / file
        self.disk.make()
        disk = self.disk.within(path.parent.name)
        disk.make()
        rows, low = 0, 0.0
        with disk.replacing(path.name) as draft, pq.ParquetWriter(draft, schema, compression="zstd") as out:
            for page in pages:
                out.write_table(page)
                rows += len(page)
                low = min((x for x in (low, _lowest(page)) if x > 0), default=0.0)
        part = Part(file, span.start, span.end, rows, sha256_of_file(path), low)
        self._append(_Line(part=part))
        self._done[file] = part
        return part

    def _append(self, line: _Line) -> None:
        disk = self.disk
        disk.make()
        file = disk.open(INDEX)
        try:
            held = disk.read(INDEX)
            cut = bool(held) and not held.endswith(b"\n")
            disk.append(file, b"\n" * cut + msgspec.json.encode(line) + b"\n")
            disk.sync(file)
        finally:
            disk.close(file)
        disk.sync_names()

    def _lines(self) -> Iterator[_Line]:
        try:
            text = (self.folder / INDEX).read_bytes()
        except FileNotFoundError:
            return
        for line in text.splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                yield msgspec.json.decode(line, type=_Line)


def _file(symbol: str, name: str, span: Span) -> str:
    return f"{urllib.parse.quote(symbol, safe='')}/{name}-{span.label}.parquet"


def _lowest(page: pa.Table) -> float:
    found = [
        pc.min(pc.filter(page[name], pc.greater(page[name], 0))).as_py()
        for name in ("low", "price", "bid_px", "ask_px")
        if name in page.column_names
    ]
    return min((x for x in found if x), default=0.0)


def _words(a: Asked) -> str:
    parts = [
        a.broker,
        "+".join(a.kinds),
        *(step_text(s) for s in a.steps_ns if s),
        a.feed,
        a.adjustment,
        "pairs" if a.crypto else "",
    ]
    return " ".join(part for part in parts if part)
