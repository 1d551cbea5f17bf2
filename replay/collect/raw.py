"""What a socket said, as it came: frames with the time they were received, in compressed blocks.

A file is `MAGIC` and blocks; a block is a header (compressed length, plain length, blake2b of both and of the compressed bytes) and entries behind each
other, compressed with zstd. An entry is when (ns, int64), how long (uint32) and what it is (uint8): a frame of the server, or a note of ours
as JSON: that a recording began, that its connection went down or came up, that it ended in order.

A block is written in one go and made durable before the next: a crash cuts off the last one at most, and what the files hold before it
is whole. Nothing is ever changed in a file that was written; who goes on begins another.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from replay.errors import BadInput
from replay.live.disk import Disk

MAGIC = b"RPLRAW01"
FRAME, NOTE = range(2)
SUFFIX = ".raw"
_BLOCK = struct.Struct("<II16s")
_ENTRY = struct.Struct("<qIB")
_MOST = 1 << 30  #: a header that says more than this is none


class Entry(NamedTuple):
    """`at`: when it was received, ns; `what`: FRAME or NOTE."""

    at: int
    what: int
    data: bytes


class Writer:
    """Gathers entries; `flush` writes them as one block. Raises `OSError`. Not for two threads at once, but `take` and `write` may be."""

    def __init__(self, folder: Path):
        self._disk = Disk(folder)
        self._disk.make()
        self.name = f"{len(list(folder.glob(f'*{SUFFIX}'))) + 1:04d}{SUFFIX}"
        self._file = self._disk.open(self.name)
        self._disk.append(self._file, MAGIC)
        self._disk.sync(self._file)
        self._disk.sync_names()
        self._codec = pa.Codec("zstd", 3)
        self._entries = bytearray()
        self.bytes = len(MAGIC)

    def __len__(self) -> int:
        """Bytes gathered and not yet taken."""
        return len(self._entries)

    def add(self, at: int, what: int, data: bytes) -> None:
        """Gather one entry."""
        self._entries += _ENTRY.pack(at, len(data), what) + data

    def note(self, at: int, **what: object) -> None:
        """Gather a note."""
        self.add(at, NOTE, msgspec.json.encode(what))

    def take(self) -> bytes:
        """What was gathered; it is the caller's to `write`."""
        taken, self._entries = self._entries, bytearray()
        return bytes(taken)

    def write(self, plain: bytes) -> None:
        """Write a block, durably."""
        if plain:
            packed = self._codec.compress(plain, asbytes=True)
            block = _BLOCK.pack(len(packed), len(plain), _digest(len(plain), packed)) + packed
            self._disk.append(self._file, block)
            self._disk.sync(self._file)
            self.bytes += len(block)

    def close(self) -> None:
        """Write the rest and close."""
        self.write(self.take())
        self._disk.close(self._file)


class Reader:
    """The entries of one file, in order; afterwards `cut` is how many bytes at its end are no whole block. Raises `BadInput`."""

    def __init__(self, path: Path):
        self.path, self.cut = path, 0

    def __iter__(self) -> Iterator[Entry]:
        codec = pa.Codec("zstd")
        with self.path.open("rb") as f:
            size = self.path.stat().st_size
            if f.read(len(MAGIC)) != MAGIC:
                if size >= len(MAGIC):
                    raise BadInput(f"{self.path}: not a file of raw frames: check the folder")
                self.cut = size
                return
            while (at := f.tell()) < size:
                plain = _block(f, codec)
                if plain is None:
                    self.cut = size - at
                    return
                k = 0
                while k < len(plain):
                    when, n, what = _ENTRY.unpack_from(plain, k)
                    k += _ENTRY.size + n
                    yield Entry(when, what, plain[k - n : k])


def _block(f, codec: pa.Codec) -> bytes | None:
    """The next block, unpacked; None where there is no whole one."""
    head = f.read(_BLOCK.size)
    if len(head) < _BLOCK.size:
        return None
    n, plain, digest = _BLOCK.unpack(head)
    packed = f.read(n) if n < _MOST else b""
    if len(packed) < n or _digest(plain, packed) != digest:
        return None
    return codec.decompress(packed, plain, asbytes=True)


def _digest(plain: int, packed: bytes) -> bytes:
    return blake2b(packed, digest_size=16, salt=plain.to_bytes(16, "little")).digest()


def files(folder: Path) -> list[Path]:
    """The files of a folder, in the order in which they were begun."""
    return sorted(folder.glob(f"*{SUFFIX}"))
