"""A disk that crashes as a disk may: it records every operation, and says what a crash behind any of them could leave.

A process that dies leaves everything it wrote. A machine that dies leaves what was synced, and of the rest any part: POSIX promises
nothing about what was not synced, neither that bytes reach the disk in the order they were written, nor that a name does with the file
it names, nor that two names do in the order they were given. So a test draws parts, or asks for the extremes.

>>> import tempfile
>>> disk = SimulatedDisk(Path(tempfile.mkdtemp()))
>>> f = disk.open("a"); disk.append(f, b"one"); disk.sync(f); disk.append(f, b"two")
>>> survivors(disk.ops)  # the process died
{'a': b'onetwo'}
>>> survivors(disk.ops, Kept.SYNCED)  # the machine died: the name was never synced
{}
>>> disk.sync_names(); survivors(disk.ops, Kept.SYNCED)
{'a': b'one'}
"""

from __future__ import annotations

import enum
import errno
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from replay.live.disk import Disk

SECTOR = 512
ROOT = -1
CREATE, FOLDER, WRITE, SYNC, UNSYNCED, TRUNCATE, RENAME, REMOVE, SYNC_NAMES = range(9)
OP_NAMES = ["create", "folder", "write", "sync", "sync that failed", "truncate", "rename", "remove", "sync_names"]


class Op(NamedTuple):
    """One operation. `file` and `folder` are known by the number of the operation that made them, whatever their names; the disk's own
    folder is `ROOT`."""

    kind: int
    file: int = ROOT
    folder: int = ROOT
    name: str = ""
    to: str = ""
    data: bytes = b""
    size: int = 0

    def __str__(self) -> str:
        more = f" to {self.to}" if self.to else f" {len(self.data)} bytes" if self.kind == WRITE else ""
        return f"{OP_NAMES[self.kind]} {self.name}{more}".strip()


class Kept(enum.Enum):
    """What of the unsynced a crash leaves: all of it (the process died), or nothing, names without bytes, bytes without names, or any
    part, drawn (the machine died)."""

    ALL = "all"
    SYNCED = "synced"
    NAMES = "names"
    BYTES = "bytes"
    SOME = "some"


class SimulatedDisk(Disk):
    """A `Disk` over a real folder, which holds what running processes see. `before` is called with the number of every operation and
    the operation, before it is done: what it raises is raised from there. An `OSError` with an attribute `written` leaves so many
    bytes of a write done; one out of a `SYNC` loses what was to be synced, as Linux does: a later sync succeeds without it.

    `ops` to begin with are the history of another disk, whose survivors `folder` is given; `SimulatedDisk(folder, after(files))` begins
    with files that are durable.
    """

    def __init__(self, folder: Path, ops: Sequence[Op] = (), before: Callable[[int, Op], None] = lambda number, op: None):
        super().__init__(folder)
        self.ops, self.before = list(ops), before
        self.id, self._root = ROOT, self
        self._open: dict[int, int] = {}  # of the real file: the number of ours
        self._numbers = _entries(self.ops)[ROOT]
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in survivors(self.ops).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)

    def within(self, name: str) -> SimulatedDisk:
        inner = SimulatedDisk.__new__(SimulatedDisk)
        Disk.__init__(inner, self.folder / name)
        inner._root, inner.id = self._root, self._numbers.get(name, ROOT)
        inner._numbers = _entries(self.ops)[inner.id] if name in self._numbers else {}
        return inner

    def make(self) -> None:
        if self is not self._root and not self.folder.exists():
            name = self.folder.name
            self.id = self._root._numbers[name] = self._do(Op(FOLDER, name=name), self.folder.mkdir)
            self._do(Op(SYNC_NAMES), lambda: None)

    def open(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = self._do(Op(CREATE, folder=self.id, name=name), (self.folder / name).touch)
        file = super().open(name)
        self._root._open[file] = self._numbers[name]
        return file

    def append(self, file: int, data: bytes) -> None:
        data = bytes(memoryview(data).cast("B"))
        op = Op(WRITE, self._root._open[file], data=data)
        try:
            self._do(op, lambda: Disk.append(self, file, data))
        except OSError as e:
            part = data[: getattr(e, "written", 0)]
            if part:
                Disk.append(self, file, part)
                self._root.ops.append(op._replace(data=part))
            raise

    def sync(self, file: int) -> None:
        op = Op(SYNC, self._root._open[file])
        try:
            self._do(op, lambda: None)
        except OSError:
            self._root.ops.append(op._replace(kind=UNSYNCED))
            raise

    def close(self, file: int) -> None:
        del self._root._open[file]
        super().close(file)

    def truncate(self, name: str, size: int) -> None:
        file = self._numbers[name]
        self._do(Op(TRUNCATE, file, name=name, size=size), lambda: Disk.truncate(self, name, size))
        self._do(Op(SYNC, file, name=name), lambda: None)

    def rename(self, old: str, new: str) -> None:
        file = self._numbers[old]
        self._do(Op(RENAME, file, self.id, old, new), lambda: Disk.rename(self, old, new))
        self._numbers[new] = self._numbers.pop(old)

    def remove(self, name: str) -> None:
        self._do(Op(REMOVE, self._numbers[name], self.id, name), lambda: Disk.remove(self, name))
        del self._numbers[name]

    def sync_names(self) -> None:
        self._do(Op(SYNC_NAMES, folder=self.id), lambda: None)

    def _do(self, op: Op, work: Callable[[], object]) -> int:
        root = self._root
        number = len(root.ops)
        root.before(number, op)
        work()
        root.ops.append(op)
        return number


def full(written: int = 0) -> OSError:
    """ENOSPC, after `written` bytes of a write."""
    e = OSError(errno.ENOSPC, "No space left on device")
    e.written = written
    return e


def broken() -> OSError:
    """EIO."""
    return OSError(errno.EIO, "Input/output error")


def after(files: dict[str, bytes]) -> list[Op]:
    """A history whose end is these files, durably; names have at most one folder."""
    ops: list[Op] = []
    folders: dict[str, int] = {"": ROOT}
    for path, data in files.items():
        above, _, name = path.rpartition("/")
        if above not in folders:
            folders[above] = len(ops)
            ops += [Op(FOLDER, name=above), Op(SYNC_NAMES)]
        file = len(ops)
        ops += [Op(CREATE, folder=folders[above], name=name), Op(WRITE, file, data=data), Op(SYNC, file)]
        ops.append(Op(SYNC_NAMES, folder=folders[above]))
    return ops


def torn(ops: Sequence[Op], number: int, length: int) -> list[Op]:
    """The history up to a write of which only `length` bytes were written."""
    return [*ops[:number], ops[number]._replace(data=ops[number].data[:length])]


def survivors(ops: Sequence[Op], kept: Kept = Kept.ALL, rng: random.Random | None = None) -> dict[str, bytes]:
    """The files after a crash behind `ops`, by their paths. `Kept.SOME` draws from `rng`; every other choice is one state."""
    durable, fates = _entries(ops, kept, rng), _Bytes(kept, rng)
    for op in ops:
        fates.take(op)
    found: dict[str, bytes] = {}
    _walk(durable, ROOT, "", fates, found)
    return found


def _walk(durable: dict[int, dict[str, int]], folder: int, path: str, fates: _Bytes, found: dict[str, bytes]) -> None:
    for name, file in durable[folder].items():
        if file in durable:
            _walk(durable, file, f"{path}{name}/", fates, found)
        else:
            found[path + name] = fates.of(file)


def _entries(ops: Sequence[Op], kept: Kept = Kept.ALL, rng: random.Random | None = None) -> dict[int, dict[str, int]]:
    """The names of every folder behind `ops`: those that were synced, and of the changes since those that are kept."""
    names: dict[int, dict[str, int]] = {ROOT: {}}
    pending: list[tuple[int, Op]] = []
    for number, op in enumerate(ops):
        if op.kind == FOLDER:
            names[number] = {}
        if op.kind in (CREATE, FOLDER, RENAME, REMOVE):
            pending.append((number, op))
        elif op.kind == SYNC_NAMES:
            for k, change in pending:
                if change.folder == op.folder:
                    _change(names[change.folder], k, change)
            pending = [(k, change) for k, change in pending if change.folder != op.folder]
    for k, change in pending:
        if kept in (Kept.ALL, Kept.NAMES) or (kept is Kept.SOME and rng.random() < 0.5):
            _change(names[change.folder], k, change)
    return names


def _change(names: dict[str, int], number: int, op: Op) -> None:
    if op.kind in (CREATE, FOLDER):
        names[op.name] = number
        return
    if names.get(op.name) == op.file:
        del names[op.name]
    if op.kind == RENAME:
        names[op.to] = op.file


class _Bytes:
    """What of every file's bytes is durable, and what came since its last sync."""

    def __init__(self, kept: Kept, rng: random.Random | None):
        self.kept, self.rng = kept, rng
        self.hard: dict[int, bytearray] = {}
        self.soft: dict[int, list[tuple[Op, int, bool]]] = {}  # operation, where it wrote, lost by a sync that failed
        self.sizes: dict[int, int] = {}

    def take(self, op: Op) -> None:
        if op.kind == WRITE:
            at = self.sizes.get(op.file, 0)
            self.soft.setdefault(op.file, []).append((op, at, False))
            self.sizes[op.file] = at + len(op.data)
        elif op.kind == TRUNCATE:
            self.soft.setdefault(op.file, []).append((op, 0, False))
            self.sizes[op.file] = op.size
        elif op.kind == SYNC:
            hard = self.hard.setdefault(op.file, bytearray())
            for change, at, lost in self.soft.get(op.file, ()):
                if not lost:
                    _write(hard, change, at)
            self.soft[op.file] = [s for s in self.soft.get(op.file, ()) if s[2]]
        elif op.kind == UNSYNCED:
            self.soft[op.file] = [(change, at, True) for change, at, _ in self.soft.get(op.file, ())]

    def of(self, file: int) -> bytes:
        data = bytearray(self.hard.get(file, b""))
        changes = self.soft.get(file, [])
        if self.kept is Kept.SOME:
            for change, at, _ in changes:
                self._some(data, change, at)
        elif self.kept in (Kept.ALL, Kept.BYTES):
            for change, at, _ in changes:
                _write(data, change, at)
        return bytes(data)

    def _some(self, data: bytearray, op: Op, at: int) -> None:
        """All of a change, none, its beginning, or some of its sectors with the others zero."""
        how = self.rng.randrange(4)
        if how == 0 or (op.kind == TRUNCATE and how < 3):
            _write(data, op, at)
        elif how == 1 and op.kind == WRITE:
            _write(data, op._replace(data=op.data[: self.rng.randrange(len(op.data) + 1)]), at)
        elif how == 2 and op.kind == WRITE:
            for k in range(0, len(op.data), SECTOR):
                if self.rng.random() < 0.5:
                    _write(data, op._replace(data=op.data[k : k + SECTOR]), at + k)


def _write(data: bytearray, op: Op, at: int) -> None:
    if op.kind == TRUNCATE:
        del data[op.size :]
        data.extend(bytes(op.size - len(data)))
        return
    data.extend(bytes(max(0, at - len(data))))
    data[at : at + len(op.data)] = op.data
