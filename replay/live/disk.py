"""The few things the journal asks of a file system, in one place, so that a simulated disk can stand under it."""

from __future__ import annotations

import os
from pathlib import Path


class Disk:
    """A folder on a real file system. Every method raises `OSError` as the system does; none retries.

    A simulated disk has the same methods. `append`, `truncate` and `rename` are not durable before `sync` of the file or, for
    names, `sync_names`.

    >>> import tempfile
    >>> disk = Disk(Path(tempfile.mkdtemp()))
    >>> f = disk.open("a"); disk.append(f, b"one"); disk.sync(f); disk.close(f)
    >>> disk.rename("a", "b"); disk.sync_names(); disk.names(), disk.read("b")
    (['b'], b'one')
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def make(self) -> None:
        """Create the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """The names of its files, sorted; empty where there is no folder."""
        return sorted(p.name for p in self.folder.iterdir() if p.is_file()) if self.folder.is_dir() else []

    def read(self, name: str) -> bytes:
        """A whole file."""
        return (self.folder / name).read_bytes()

    def open(self, name: str) -> int:
        """Open for appending; created where it is not there."""
        return os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append(self, file: int, data: bytes) -> None:
        """Write all of `data` at the end."""
        rest = memoryview(data)
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
        """Rename, replacing what has the new name."""
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
