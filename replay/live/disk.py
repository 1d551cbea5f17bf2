"""The few things that whatever promises to survive a crash asks of a file system, in one place, so that a simulated disk can stand
under it (`replay.faults.disk`): the journal, its snapshots, sessions and run folders."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from replay.errors import BadInput

LARGEST = 2 << 30
PRIVATE = 0o700
DRAFT = ".part"  #: behind the name of a file that is not whole yet


class Disk:
    """A folder on a real file system. Every method raises `OSError` as the system does; none retries.

    What `append` wrote is not durable before `sync`; the names that `open`, `rename` and `remove` made or took away are not before
    `sync_names`.

    >>> import tempfile
    >>> disk = Disk(Path(tempfile.mkdtemp()))
    >>> f = disk.open("a"); disk.append(f, b"one"); disk.sync(f); disk.close(f)
    >>> disk.rename("a", "b"); disk.sync_names(); disk.names(), disk.read("b")
    (['b'], b'one')
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def within(self, name: str) -> Disk:
        """The folder `name` in this one, which need not exist."""
        return Disk(self.folder / name)

    def make(self) -> None:
        """Create the folder, and what is missing above it, durably. What is created is its user's alone, as files are."""
        above = [p for p in self.folder.parents if not p.exists()]
        for folder in (*reversed(above), self.folder):
            folder.mkdir(PRIVATE, exist_ok=True)
            Disk(folder.parent).sync_names()

    def shut(self) -> None:
        """Let nobody else look into the folder and at its files, whoever made them, as far as they are ours."""
        for path in (self.folder, *self.folder.iterdir()):
            with contextlib.suppress(OSError):
                mode = path.lstat().st_mode
                if stat.S_IMODE(mode) & 0o077 and (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                    path.chmod(stat.S_IMODE(mode) & ~0o077)

    def names(self) -> list[str]:
        """The names of its files, sorted; empty where there is no folder."""
        return sorted(p.name for p in self.folder.iterdir() if p.is_file()) if self.folder.is_dir() else []

    def read(self, name: str) -> bytes:
        """A whole file. Raises `BadInput` for one larger than anything that is written here."""
        size = (self.folder / name).stat().st_size
        if size > LARGEST:
            raise BadInput(
                f"{self.folder / name}: {size:,} bytes, no file of a journal is larger than {LARGEST:,}: it was not written by a run"
            )
        return (self.folder / name).read_bytes()

    def open(self, name: str) -> int:
        """Open for appending; created where it is not there."""
        return os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append(self, file: int, data: bytes) -> None:
        """Write all of `data` at the end."""
        rest = memoryview(data).cast("B")
        while len(rest):
            rest = rest[os.write(file, rest) :]

    def sync(self, file: int) -> None:
        """Make what was appended durable. A failure is final: what the file holds is then unknown."""
        os.fdatasync(file) if hasattr(os, "fdatasync") else os.fsync(file)

    def close(self, file: int) -> None:
        """Close a file; says nothing about durability."""
        os.close(file)

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to `size` bytes, durably."""
        file = os.open(self.folder / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(file, size)
            os.fsync(file)
        finally:
            os.close(file)

    def rename(self, old: str, new: str) -> None:
        """Rename, replacing what has the new name; a folder replaces nothing."""
        os.replace(self.folder / old, self.folder / new)

    def remove(self, name: str) -> None:
        """Delete a file."""
        (self.folder / name).unlink()

    def sync_names(self) -> None:
        """Make the folder's names durable."""
        file = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Draft]:
        """Write a file to stand under `name`, whole and durable or not at all; what stood there stays until then.

        >>> import tempfile
        >>> disk = Disk(Path(tempfile.mkdtemp()))
        >>> with disk.replacing("a") as f:
        ...     f.write(b"whole")
        5
        >>> disk.names(), disk.read("a")
        (['a'], b'whole')
        """
        if name + DRAFT in self.names():  # of a crash; it would be appended to
            self.remove(name + DRAFT)
        file = self.open(name + DRAFT)
        try:
            yield Draft(self, file)
            self.sync(file)
        except BaseException:
            self.close(file)
            with contextlib.suppress(OSError):
                self.remove(name + DRAFT)
            raise
        self.close(file)
        self.rename(name + DRAFT, name)
        self.sync_names()


class Draft(io.RawIOBase):
    """What `Disk.replacing` is filled through: a file that can only be written, by whatever library."""

    def __init__(self, disk: Disk, file: int):
        self.disk, self.file, self.size = disk, file, 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.disk.append(self.file, data)
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes

    def tell(self) -> int:
        return self.size
