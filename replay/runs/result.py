"""A run that is over: its figures and tables, in memory or in a folder. A folder holds the same and nothing else.

runs/2026-11-20T164100-mean_reversion/
    manifest.json    what was run (hashes of data, strategies, limits; profile, seed, versions), figures, digest
    orders.parquet   ... one file a table of `replay.runs.tables`
    report.html      the same to look at
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import io
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from replay.data.instruments import Instrument
from replay.engine import Engine
from replay.errors import UNREADABLE, BadInput
from replay.files import checked, whole
from replay.live.disk import DRAFT, Disk
from replay.runs.config import RunConfig
from replay.runs.tables import tables
from replay.seal import intact, sealed
from replay.summary import LIVE, Summary, encoded
from replay.venue.setup import Profile

if TYPE_CHECKING:
    import pandas

FORMAT = 1  #: raised when an older reader would misread a newer run
MANIFEST = "manifest.json"
REPORT = "report.html"
JOURNAL = "segment-000001.log"  #: what a live run's folder begins with


class Ran(msgspec.Struct, frozen=True):
    """A strategy of a run. `source_sha256` of its class's text, None where that was not to be had."""

    name: str
    kind: str
    source_sha256: str | None
    parameters: dict[str, bool | int | float | str]


class Fork(msgspec.Struct, frozen=True):
    """Where a run comes from that is another one continued: that run's folder and the time at which they part."""

    run: str
    at: str


class RunManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What was run, and what came of it. `tables`: rows of each; `files`: the sha256
    of each table's file, where it has one; `fork`: None where it was run from its beginning with `config`."""

    version: int
    digest: str
    complete: bool
    config: RunConfig
    fork: Fork | None = None
    session_sha256: str
    instruments: tuple[Instrument, ...]
    strategies: tuple[Ran, ...]
    profile: Profile
    versions: dict[str, str]
    tables: dict[str, int]
    files: dict[str, str] = {}
    summary: Summary


class _Version(msgspec.Struct):
    version: int
    digest: str


class Result:
    """What a run did: `manifest`, `summary`, and tables, which are read from the folder when first asked for. `unread`: what is missing of
    a journal whose end a crash has torn, "" where nothing is.

    >>> import replay
    >>> run = replay.run(strategy="ema_cross")
    >>> run.table("orders").num_rows == run.summary.orders
    True
    """

    def __init__(
        self, manifest: RunManifest, made: dict[str, pa.Table] | None = None, path: Path | None = None, unread: str = ""
    ):
        self.manifest, self.path, self.unread = manifest, path, unread
        self._tables = dict(made or {})

    @staticmethod
    def of(engine: Engine, config: RunConfig, complete: bool = True, fork: Fork | None = None) -> Result:
        """The result of an engine's run so far; `config` is what it was made from, or continued with after a `fork`."""
        engine.session.unchanged()
        made = tables(engine)
        manifest = RunManifest(
            version=FORMAT,
            digest=engine.digest,
            complete=complete,
            config=config,
            fork=fork,
            session_sha256=engine.session.manifest.sha256,
            instruments=engine.session.instruments,
            strategies=tuple(Ran(s.name, s.kind, source_sha256(s.cls), s.values) for s in engine.strategies),
            profile=engine.profile,
            versions={"python": platform.python_version()}
            | {name: version(name) for name in ("replay-engine", "numba", "numpy")},
            tables={name: table.num_rows for name, table in made.items()},
            summary=Summary.of(engine, made, complete),
        )
        return Result(manifest, made)

    @staticmethod
    def open(path: str | Path) -> Result:
        """A run's folder, ``runs/last``, or that of a live run's journal. Raises `BadInput` where it is none, or one of another version."""
        path = Path(path)
        if (path / JOURNAL).exists():
            from replay.live.lived import result

            return result(path)
        try:
            text = whole(path / MANIFEST)
        except OSError:
            raise BadInput(
                f"{path}: no run is here ({MANIFEST} expected): name a folder that replay run wrote, such as runs/last"
            ) from None
        try:
            found = msgspec.json.decode(text, type=_Version).version
            if found != FORMAT:
                raise BadInput(f"{path}: run version {FORMAT} expected, got {found}: run again")
            manifest = msgspec.json.decode(text, type=RunManifest)
            if not intact(encoded(manifest), text):
                raise BadInput(f"{path}/{MANIFEST} has been changed since it was written: run again")
            return Result(manifest, path=path)
        except UNREADABLE as e:
            raise BadInput(f"{path}/{MANIFEST}: not the manifest of a run ({e}): name a folder that replay run wrote") from None

    @property
    def summary(self) -> Summary:
        """The figures."""
        return self.manifest.summary

    @property
    def lived(self) -> bool:
        """Whether it was traded with a broker, and is no replay."""
        return self.manifest.profile.name == LIVE

    @property
    def digest(self) -> str:
        """The decision digest, 16 hex digits."""
        return self.manifest.digest

    @property
    def names(self) -> tuple[str, ...]:
        """The tables there are."""
        return tuple(self.manifest.tables)

    def table(self, name: str) -> pa.Table:
        """One table as Arrow (`replay.runs.tables` says which). Raises `BadInput` for a name that is none."""
        if name not in self._tables:
            if name not in self.names:
                raise BadInput(f"no table {name!r}: a run has {', '.join(self.names)}")
            self._tables[name] = _read(self.path, name, self.manifest.files.get(name))
        return self._tables[name]

    @functools.cached_property
    def tables(self) -> dict[str, pa.Table]:
        """All of them by name."""
        return {name: self.table(name) for name in self.names}

    def with_tables(self, more: dict[str, pa.Table]) -> Result:
        """The same run with further tables, or other ones in the place of those it has."""
        rows = self.manifest.tables | {name: table.num_rows for name, table in more.items()}
        return Result(msgspec.structs.replace(self.manifest, tables=rows), self.tables | more, self.path)

    def _repr_html_(self) -> str:
        """The summary, as a notebook shows it."""
        from replay.show import render
        from replay.terminal import consoles

        console = consoles(record=True, width=140, file=io.StringIO())
        console.print(render(self.summary))
        return console.export_html(inline_styles=True, code_format="<pre style='line-height:1.3'>{code}</pre>")

    def __repr__(self) -> str:
        s = self.summary
        return f"Result({s.session.name!r}: {s.orders:,} orders, {s.fills:,} fills, net {s.pnl:+,} {s.currency}, digest {self.digest})"

    def to_pandas(self, name: str) -> pandas.DataFrame:
        """One table as a pandas frame; needs pandas."""
        return self.table(name).to_pandas()

    def sql(self, query: str) -> pa.Table:
        """The answer to a query over the tables by their names, from DuckDB. Raises `BadInput` with its message.

        >>> import replay
        >>> replay.run(strategy="ema_cross").sql("select count(*) as n from fills where maker").to_pylist()
        [{'n': 0}]
        """
        import duckdb

        connection = duckdb.connect()
        for name in self.names:
            connection.register(name, self.table(name))
        try:
            answer = connection.sql(query)
        except duckdb.Error as e:
            raise BadInput(f"sql: {e}") from None
        if answer is None:
            raise BadInput("sql: that asks nothing: expected a query such as select * from orders")
        return answer.to_arrow_table()

    def save(self, path: str | Path) -> Path:
        """Write the folder, whole or not at all, durably. Raises `BadInput` where something else is there."""
        path = Path(path)
        check_place(path)
        Disk(path.parent).make()
        self._write(Disk(path.parent), path.name)
        self.path = path
        return path

    def save_report(self, folder: Path) -> None:
        """Write the page alone, beside the journal of a live run."""
        from replay.runs import report

        with Disk(folder).replacing(REPORT) as f:
            f.write(report.render(self).encode())

    def _write(self, disk: Disk, name: str) -> None:
        """Beside its place first; a run that stands there is put aside in between, so that one of both is there at every moment.
        What stands in its folder and is no part of it, somebody else's, is taken over as it is."""
        from replay.runs import report

        draft, old = (f".{name}.{os.getpid()}.{what}" for what in ("part", "old"))
        shutil.rmtree(disk.folder / draft, ignore_errors=True)
        part = disk.within(draft)
        part.make()
        with contextlib.ExitStack() as undo:
            undo.callback(shutil.rmtree, part.folder, ignore_errors=True)
            files = {}
            for table_name, table in self.tables.items():
                written = pa.BufferOutputStream()
                pq.write_table(table, written, compression="zstd")
                files[table_name] = hashlib.sha256(written.getvalue()).hexdigest()
                with part.replacing(f"{table_name}.parquet") as f:
                    f.write(written.getvalue())
            self.manifest = msgspec.structs.replace(self.manifest, files=files)
            with part.replacing(MANIFEST) as f:
                f.write(msgspec.json.format(sealed(encoded(self.manifest)), indent=1) + b"\n")
            with part.replacing(REPORT) as f:
                f.write(report.render(self).encode())
            if (disk.folder / name).exists():
                disk.rename(name, old)
            disk.rename(draft, name)
            undo.pop_all()
        disk.sync_names()
        _retire(disk.folder / old, disk.folder / name)


def _retire(old: Path, new: Path) -> None:
    """Remove a run that has been replaced; files that are not a run's are moved to where it is now."""
    if not old.is_dir():
        return
    own = {MANIFEST, REPORT, MANIFEST + DRAFT, REPORT + DRAFT}
    with contextlib.suppress(BadInput):
        own |= {f"{name}.parquet" for name in Result.open(old).names}
    for path in old.iterdir():
        if path.name in own and not path.is_dir():
            path.unlink()
        elif not (new / path.name).exists():
            path.rename(new / path.name)
    with contextlib.suppress(OSError):  # what is left has a name that the new run took
        old.rmdir()


def check_place(path: Path) -> None:
    """Raise `BadInput` where a run cannot be written to `path`: something is there that is none, such as a session."""
    try:
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            msgspec.json.decode(whole(path / MANIFEST), type=_Version)
    except (OSError, *UNREADABLE):
        raise BadInput(f"{path}: something that is no run is there: choose another folder") from None


def _read(path: Path, name: str, sha256: str | None) -> pa.Table:
    file = path / f"{name}.parquet"
    try:
        if sha256 is not None:
            with open(checked(file), "rb") as f:
                if hashlib.file_digest(f, "sha256").hexdigest() != sha256:
                    raise BadInput(f"{file} has been changed since it was written: run again")
        return pq.read_table(file)
    except (OSError, pa.ArrowInvalid) as e:
        raise BadInput(f"{file}: cannot be read ({e}): run again") from None


def source_sha256(cls: type) -> str | None:
    """Of the text of a strategy's class, None where it has none any more."""
    try:
        return hashlib.sha256(inspect.getsource(cls).encode()).hexdigest()
    except (OSError, TypeError):
        return None
