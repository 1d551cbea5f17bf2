"""Sessions on disk: a folder with manifest.json and the rows, raw (the working copy) or as Parquet (the archive).

sessions/ibm/manifest.json
             events.bin      64-byte records in arrival order, memory-mapped
             order.bin       int64 row numbers in venue order, where that differs
             events.parquet  the same rows as columns, zstd
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from replay.data.manifest import Manifest
from replay.data.session import BLOCK, Session, blocks, prove, sha256_of
from replay.errors import BadInput
from replay.events import EVENT, empty

MANIFEST, ROWS, ORDER, ARCHIVE = "manifest.json", "events.bin", "order.bin", "events.parquet"

SCHEMA = pa.schema([(name, pa.from_numpy_dtype(EVENT.fields[name][0])) for name in EVENT.names])


def load(path: Path, trust: bool) -> Session:
    """See `Session.open`."""
    manifest = read_manifest(path)
    if manifest.n_events < 1:
        raise BadInput(f"{path}: a session needs at least one event, its manifest says {manifest.n_events}: import it again")
    if (path / ROWS).exists():
        events = _map(path, ROWS, EVENT, manifest.n_events).view(np.recarray)
        _verify(path, ROWS, manifest.sha256, trust, lambda: _file_sha256(path / ROWS))
    elif (path / ARCHIVE).exists():
        events = empty(manifest.n_events)
        _read_parquet(path, events)
        _verify(path, ARCHIVE, manifest.sha256, trust, lambda: sha256_of(events))
    else:
        raise BadInput(f"{path}: neither {ROWS} nor {ARCHIVE} is there, one of them is needed: import the session again")
    if not trust:  # the hash says that nothing changed since the manifest was written, not that an importer wrote it
        prove(events, manifest, str(path))
    return Session(events, _order(path, events, manifest, trust), manifest)


def write(session: Session, path: Path, format: str) -> None:
    """See `Session.save`."""
    if format not in ("bin", "parquet"):
        raise BadInput(f"{path}: format must be 'bin' or 'parquet', got {format!r}: choose one")
    if (path / MANIFEST).exists() and read_manifest(path).sha256 != session.manifest.sha256:
        raise BadInput(f"{path}: holds another session ({read_manifest(path).name}): save into a new folder, or remove this one")
    path.mkdir(parents=True, exist_ok=True)
    if format == "bin":
        _replace(path / ROWS, lambda tmp: _write_raw(tmp, session.events))
        if session.order is not None:
            _replace(path / ORDER, lambda tmp: _write_raw(tmp, session.order))
    else:
        _replace(path / ARCHIVE, lambda tmp: _write_parquet(tmp, session.events))
    # last, so that a folder with a manifest is a whole session
    _replace(path / MANIFEST, lambda tmp: tmp.write_bytes(session.manifest.encode()))


def unpack(path: Path) -> None:
    """Make the working copy of an archived session, in its folder, a block at a time. Raises `BadInput` as `Session.open` does."""
    manifest = read_manifest(path)
    if not (path / ARCHIVE).exists():
        raise BadInput(f"{path}: {ARCHIVE} is missing, so there is nothing to unpack: check the path")

    def fill(tmp: Path) -> None:
        events = np.memmap(tmp, EVENT, "w+", shape=(manifest.n_events,))
        _read_parquet(path, events)
        events.flush()
        _verify(path, ARCHIVE, manifest.sha256, False, lambda: sha256_of(events))

    _replace(path / ROWS, fill)


def read_manifest(path: Path) -> Manifest:
    """The manifest of the session in folder `path`, without its rows. Raises `BadInput` where there is none."""
    try:
        text = (path / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"{path}: no session here ({MANIFEST} is missing): check the path, or import it first") from None
    return Manifest.decode(text, str(path))


def _order(path: Path, events: np.ndarray, manifest: Manifest, trust: bool) -> np.ndarray | None:
    if manifest.order_sha256 is None:
        return None
    if not (path / ORDER).exists():  # the archive holds the rows only; the index follows from them
        return np.argsort(events.ts_event, kind="stable").astype("<i8", copy=False)
    _verify(path, ORDER, manifest.order_sha256, trust, lambda: _file_sha256(path / ORDER))
    return _map(path, ORDER, np.dtype("<i8"), manifest.n_events)


def _map(path: Path, name: str, dtype: np.dtype, n: int) -> np.ndarray:
    size = (path / name).stat().st_size
    if size != n * dtype.itemsize:
        raise BadInput(f"{path}: {name} must be {n * dtype.itemsize} bytes ({n} rows), is {size}: import the session again")
    return np.memmap(path / name, dtype, "r", shape=(n,))


def _verify(path: Path, name: str, expected: str, trust: bool, actual: Callable[[], str]) -> None:
    if trust:
        return
    got = actual()
    if got != expected:
        raise BadInput(
            f"{path}: {name} does not match its manifest (sha256 {got[:4]}… expected {expected[:4]}…): the file changed after "
            f"import; import it again or pass --trust"
        )


def _file_sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _replace(path: Path, fill: Callable[[Path], object]) -> None:
    tmp = path.with_name(path.name + ".part")
    try:
        fill(tmp)
        os.replace(tmp, path)
    finally:
        tmp.unlink(missing_ok=True)


def _write_raw(path: Path, rows: np.ndarray) -> None:
    with path.open("wb") as f:
        for block in blocks(rows):
            f.write(np.ascontiguousarray(block).view(np.uint8).data)


def _write_parquet(path: Path, rows: np.ndarray) -> None:
    # times and ids rise by small steps, which delta packing keeps in a byte or two; the other columns repeat
    steps = {"ts_event": "DELTA_BINARY_PACKED", "ts_recv": "DELTA_BINARY_PACKED", "id": "DELTA_BINARY_PACKED"}
    repeat = [name for name in EVENT.names if name not in steps]
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=repeat, column_encoding=steps) as out:
        for block in blocks(rows):
            columns = [pa.array(np.ascontiguousarray(block[name])) for name in EVENT.names]
            out.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=BLOCK)


def _read_parquet(path: Path, events: np.ndarray) -> None:
    try:
        f = pq.ParquetFile(path / ARCHIVE)
    except pa.ArrowInvalid as e:
        raise BadInput(f"{path}: {ARCHIVE} is not a Parquet file ({str(e).splitlines()[0]}): import the session again") from None
    with f:
        if f.schema_arrow != SCHEMA or f.metadata.num_rows != len(events):
            raise BadInput(
                f"{path}: {ARCHIVE} must hold {len(events)} rows of {len(SCHEMA)} columns, holds {f.metadata.num_rows} of "
                f"{len(f.schema_arrow)}: import the session again"
            )
        k = 0
        for group in range(f.num_row_groups):
            table = f.read_row_group(group)
            for name in EVENT.names:
                events[name][k : k + table.num_rows] = table[name].to_numpy()
            k += table.num_rows
