"""The journal on disk: append-only segments of blocks, each block's hash chained to the one before.

    <folder>/segment-000001.log    blocks, the first of kind SEGMENT
             snapshot-00000000000012ab.bin    the trader's arena after input 0x12ab (`replay.live.snapshots`)
             strategy-0-ema_cross.py    the source the trader was built from

A block is a header of 40 bytes and a payload. The header holds a 16-byte blake2b of the hash before it, the rest of the header
and the payload: the checksum and the link of the chain at once. A BATCH holds inputs (`FRAME` records of 80 bytes) followed by
all the trader said to them (`EVENT` records of 64 bytes, `replay.trader.output`): a command that leaves stands among them. What
is written in one `append` is found again whole or not at all. Nothing may leave the trader before `durable` has returned.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import msgspec
import numpy as np

from replay.errors import BadInput
from replay.events import EVENT
from replay.live.disk import Disk
from replay.trader.layout import FRAME

# kinds of blocks; payloads are JSON but a BATCH's
SEGMENT, HEAD, START, BATCH, NOTE, MARK, STOP = range(1, 8)
KIND_NAMES = ["none", "segment", "head", "start", "batch", "note", "mark", "stop"]
MAGIC = b"RPLJ"
HEADER = struct.Struct("<4sB3xIIQ16s")  # magic, kind, frames, outputs, bytes of payload, hash
HASH = 16
SEGMENT_BYTES = 64 << 20
LONGEST = 1 << 30  # bytes of a payload; a longer one is damage


class Block(NamedTuple):
    """One block as it was found."""

    kind: int
    frames: np.ndarray
    outputs: np.ndarray
    payload: bytes


class Place(NamedTuple):
    """Where a journal ends: `chain` is the hash of its last block."""

    segment: int
    size: int
    chain: bytes


def segment_name(index: int) -> str:
    """
    >>> segment_name(3)
    'segment-000003.log'
    """
    return f"segment-{index:06}.log"


def _seal(chain: bytes, bare: bytes, payload: bytes) -> bytes:
    """The hash of a block behind `chain`, whose header without it is `bare`."""
    h = blake2b(chain, digest_size=HASH)
    h.update(bare)
    h.update(payload)
    return h.digest()


class Log:
    """The writing end. An `OSError` leaves it broken: nothing can be appended or made durable any more."""

    def __init__(self, disk: Disk, place: Place | None = None, segment_bytes: int = SEGMENT_BYTES):
        self.disk, self.segment_bytes = disk, segment_bytes
        self.segment, self.size, self.chain = place or Place(0, 0, bytes(HASH))
        self._file = disk.open(segment_name(self.segment)) if place else -1
        self._dirty = self._broken = False
        if place is None:
            self._rotate()

    def append(self, kind: int, payload: bytes, frames: int = 0, outputs: int = 0) -> None:
        """Write one block; it survives this process, not yet the machine."""
        self._check()
        if self.size >= self.segment_bytes:
            self._rotate()
        self._write(kind, payload, frames, outputs)

    def json(self, kind: int, value: object) -> None:
        """Write a block of JSON."""
        self.append(kind, msgspec.json.encode(value))

    def batch(self, frames: np.ndarray, outputs: np.ndarray) -> None:
        """Write inputs and what the trader said to them."""
        self.append(BATCH, frames.tobytes() + outputs.tobytes(), len(frames), len(outputs))

    def durable(self) -> None:
        """Everything appended so far survives the machine too."""
        self._check()
        if self._dirty:
            with self._breaking():
                self.disk.sync(self._file)
            self._dirty = False

    def close(self) -> None:
        """Make everything durable and let go of the file."""
        self.durable()
        self.disk.close(self._file)
        self._broken = True

    @property
    def place(self) -> Place:
        """Where it ends."""
        return Place(self.segment, self.size, self.chain)

    def _check(self) -> None:
        if self._broken:
            raise BadInput("the journal could not be written, or is closed: nothing more is kept, so nothing more may be sent")

    def _breaking(self) -> _Breaking:
        return _Breaking(self)

    def _write(self, kind: int, payload: bytes, frames: int, outputs: int) -> None:
        bare = HEADER.pack(MAGIC, kind, frames, outputs, len(payload), bytes(HASH))[:-HASH]
        seal = _seal(self.chain, bare, payload)
        with self._breaking():
            self.disk.append(self._file, bare + seal + payload)
        self.size += HEADER.size + len(payload)
        self.chain = seal
        self._dirty = True

    def _rotate(self) -> None:
        if self._file >= 0:
            self.durable()
            self.disk.close(self._file)
        self.segment, self.size = self.segment + 1, 0
        with self._breaking():
            self._file = self.disk.open(segment_name(self.segment))
        self._write(SEGMENT, msgspec.json.encode({"segment": self.segment}), 0, 0)
        with self._breaking():
            self.disk.sync(self._file)
            self.disk.sync_names()
        self._dirty = False


class _Breaking:
    """Within, an error of the disk breaks the log for good: what it holds is no longer known."""

    def __init__(self, log: Log):
        self.log = log

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if error is not None:
            self.log._broken = True


class Reader:
    """The blocks of a journal, in order and behind `after` where given, up to the first that cannot be trusted; then `place` is
    the end of what can.

    `fault` says what is wrong there, "" if nothing is: the prefix before it is whole. `torn` is True where it looks like the
    unfinished last write of a crash: nothing readable stands behind it.
    """

    def __init__(self, disk: Disk, after: Place | None = None):
        self.disk = disk
        self.segments = [n for n in disk.names() if n.startswith("segment-") and n.endswith(".log")]
        self.place = after or Place(0, 0, bytes(HASH))
        self.fault, self.torn, self.lost = "", False, 0
        if not self.segments:
            raise BadInput(f"{disk.folder}: no journal here (no segment-000001.log): check the path")

    def __iter__(self) -> Iterator[Block]:
        chain, begun = self.place.chain, self.place.segment
        for k, name in enumerate(self.segments):
            if k + 1 < begun:
                continue
            if name != segment_name(k + 1):
                self._stop(f"{segment_name(k + 1)} is missing", b"", False, k)
                return
            data = self.disk.read(name)
            at = self.place.size if k + 1 == begun else 0
            while at < len(data):
                block, chain, wrong = _read(data, at, chain)
                if not wrong and (block.kind == SEGMENT) != (at == 0):
                    wrong = "a segment's first block in another's place"
                if wrong:
                    self._stop(f"{name} at byte {at:,}: {wrong}", data[at + 1 :], k + 1 == len(self.segments), k + 1)
                    return
                at += HEADER.size + len(block.payload)
                self.place = Place(k + 1, at, chain)
                yield block
            if not data:
                self._stop(f"{name} is empty", b"", k + 1 == len(self.segments), k + 1)
                return

    def _stop(self, what: str, behind: bytes, last: bool, read: int) -> None:
        self.fault = what
        self.torn = last and MAGIC not in behind
        rest = [self.disk.read(n) for n in self.segments[max(read - 1, 0) :]]
        self.lost = sum(map(len, rest)) - (self.place.size if read == self.place.segment else 0)


def _read(data: bytes, at: int, chain: bytes) -> tuple[Block | None, bytes, str]:
    """(block, its hash, "") or (None, `chain`, what is wrong)."""
    if len(data) - at < HEADER.size:
        return None, chain, f"{len(data) - at} bytes of a block's header of {HEADER.size}"
    magic, kind, frames, outputs, length, seal = HEADER.unpack_from(data, at)
    body = at + HEADER.size
    if magic != MAGIC or not SEGMENT <= kind <= STOP or length > LONGEST:
        return None, chain, "no block begins here"
    if len(data) - body < length:
        return None, chain, f"{len(data) - body:,} bytes of a block's {length:,}"
    payload = data[body : body + length]
    if _seal(chain, data[at : body - HASH], payload) != seal:
        return None, chain, "the block does not match its checksum, or does not follow the one before it"
    if kind != BATCH:
        return Block(kind, _NO_FRAMES, _NO_OUTPUTS, payload), seal, ""
    split = frames * FRAME.itemsize
    if split + outputs * EVENT.itemsize != length:
        return None, chain, f"{frames} inputs and {outputs} outputs in {length:,} bytes"
    inputs, said = np.frombuffer(payload, FRAME, frames), np.frombuffer(payload, EVENT, outputs, split)
    return Block(kind, inputs, said, payload), seal, ""


_NO_FRAMES, _NO_OUTPUTS = np.zeros(0, FRAME), np.zeros(0, EVENT)
