"""Sessions on disk: a folder with manifest.json and the rows, raw (the working copy) or as Parquet (the archive).

sessions/ibm/manifest.json
             events.bin      64-byte records in arrival order, memory-mapped
             order.bin       int64 row numbers in venue order, where that differs
             events.parquet  the same rows as columns, zstd
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from replay.data.manifest import Manifest
from replay.data.session import BLOCK, Session, blocks, prove, prove_order, sha256_of, stand
from replay.errors import BadInput
from replay.events import EVENT, empty
from replay.files import checked, whole
from replay.live.disk import Disk, Draft

MANIFEST, ROWS, ORDER, ARCHIVE = "manifest.json", "events.bin", "order.bin", "events.parquet"

SCHEMA = pa.schema([(name, pa.from_numpy_dtype(EVENT.fields[name][0])) for name in EVENT.names])


def load(path: Path, trust: bool) -> Session:
    """See `Session.open`."""
    manifest = read_manifest(path)
    if manifest.n_events < 1:
        raise BadInput(f"{path}: a session needs at least one event, its manifest says {manifest.n_events}: import it again")
    stood = {p: stand(p) for p in (path / ROWS, path / ORDER) if p.exists()} if (path / ROWS).exists() else {}
    if stood:
        events = _map(path, ROWS, EVENT, manifest.n_events).view(np.recarray)
        _verify(path, ROWS, manifest.sha256, trust, lambda: _file_sha256(path / ROWS))
    elif (path / ARCHIVE).exists():
        events, k = _room(path, manifest), 0
        for rows in _groups(path, manifest.n_events):
            events[k : k + len(rows)] = rows
            k += len(rows)
        _verify(path, ARCHIVE, manifest.sha256, trust, lambda: sha256_of(events))
    else:
        raise BadInput(f"{path}: neither {ROWS} nor {ARCHIVE} is there, one of them is needed: import the session again")
    if not trust:  # the hash says that nothing changed since the manifest was written, not that an importer wrote it
        prove(events, manifest, str(path))
    session = Session(events, _order(path, events, manifest, trust), manifest)
    session.mapped = stood  # as it stood before the hash was taken
    return session


def write(session: Session, disk: Disk, format: str) -> None:
    """See `Session.save`."""
    path = disk.folder
    if format not in ("bin", "parquet"):
        raise BadInput(f"{path}: format must be 'bin' or 'parquet', got {format!r}: choose one")
    if (path / MANIFEST).exists() and read_manifest(path).sha256 != session.manifest.sha256:
        raise BadInput(f"{path}: holds another session ({read_manifest(path).name}): save into a new folder, or remove this one")
    disk.make()
    if format == "bin":
        with disk.replacing(ROWS) as f:
            _write_raw(f, session.events)
        if session.order is not None:
            with disk.replacing(ORDER) as f:
                _write_raw(f, session.order)
    else:
        with disk.replacing(ARCHIVE) as f:
            _write_parquet(f, session.events)
    with disk.replacing(MANIFEST) as f:  # last, so that a folder with a manifest is a whole session
        f.write(session.manifest.encode())


def unpack(path: Path) -> None:
    """Make the working copy of an archived session, in its folder, a block at a time. Raises `BadInput` as `Session.open` does."""
    manifest = read_manifest(path)
    if not (path / ARCHIVE).exists():
        raise BadInput(f"{path}: {ARCHIVE} is missing, so there is nothing to unpack: check the path")
    found = hashlib.sha256()
    with Disk(path).replacing(ROWS) as f:
        for rows in _groups(path, manifest.n_events):
            f.write(rows)
            found.update(rows)
        _verify(path, ARCHIVE, manifest.sha256, False, found.hexdigest)


def read_manifest(path: Path) -> Manifest:
    """The manifest of the session in folder `path`, without its rows. Raises `BadInput` where there is none."""
    try:
        text = whole(path / MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(f"{path}: no session here ({MANIFEST} is missing): check the path, or import it first") from None
    except OSError as e:
        raise BadInput(f"{path}/{MANIFEST}: cannot be read ({e.strerror or e}): import the session again") from None
    return Manifest.decode(text, str(path))


def _room(path: Path, manifest: Manifest) -> np.recarray:
    """Memory for an archive's rows."""
    try:
        return empty(manifest.n_events)
    except MemoryError:
        gib = manifest.n_events * EVENT.itemsize / 2**30
        raise BadInput(
            f"{path}: its {manifest.n_events:,} rows need {gib:,.0f} GiB of memory: make a working copy, or slice it"
        ) from None


def _order(path: Path, events: np.ndarray, manifest: Manifest, trust: bool) -> np.ndarray | None:
    if manifest.order_sha256 is None:
        return None
    if not (path / ORDER).exists():  # the archive holds the rows only; the index follows from them
        return np.argsort(events.ts_event, kind="stable").astype("<i8", copy=False)
    order = _map(path, ORDER, np.dtype("<i8"), manifest.n_events)
    _verify(path, ORDER, manifest.order_sha256, trust, lambda: _file_sha256(path / ORDER))
    if not trust:
        prove_order(order, events, str(path))
    return order


def _map(path: Path, name: str, dtype: np.dtype, n: int) -> np.ndarray:
    try:
        size = checked(path / name).stat().st_size
    except OSError as e:
        raise BadInput(f"{path}/{name}: cannot be read ({e.strerror or e}): import the session again") from None
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


def _write_raw(f: Draft, rows: np.ndarray) -> None:
    for block in blocks(rows):
        f.write(np.ascontiguousarray(block).view(np.uint8))


def _write_parquet(f: Draft, rows: np.ndarray) -> None:
    # times and ids rise by small steps, which delta packing keeps in a byte or two; the other columns repeat
    steps = {"ts_event": "DELTA_BINARY_PACKED", "ts_recv": "DELTA_BINARY_PACKED", "id": "DELTA_BINARY_PACKED"}
    repeat = [name for name in EVENT.names if name not in steps]
    with pq.ParquetWriter(f, SCHEMA, compression="zstd", use_dictionary=repeat, column_encoding=steps) as out:
        for block in blocks(rows):
            columns = [pa.array(np.ascontiguousarray(block[name])) for name in EVENT.names]
            out.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=BLOCK)


def _groups(path: Path, n: int) -> Iterator[np.ndarray]:
    """The `n` rows of the archive, one row group after another."""
    try:
        with pq.ParquetFile(checked(path / ARCHIVE)) as f:
            if f.schema_arrow != SCHEMA or f.metadata.num_rows != n:
                raise BadInput(
                    f"{path}: {ARCHIVE} must hold {n} rows of {len(SCHEMA)} columns, holds {f.metadata.num_rows} of "
                    f"{len(f.schema_arrow)}: import the session again"
                )
            for group in range(f.num_row_groups):
                table = f.read_row_group(group)
                rows = np.zeros(table.num_rows, EVENT)
                for name in EVENT.names:
                    if table[name].null_count:
                        raise BadInput(f"{path}: {ARCHIVE} has rows without {name}: import the session again")
                    rows[name] = table[name].to_numpy()
                yield rows
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as e:
        raise BadInput(f"{path}: {ARCHIVE} is not a Parquet file ({str(e).splitlines()[0]}): import the session again") from None
