"""Snapshots of the trader beside its journal: one file each, whole or not at all. They save time, never hold anything else."""

from __future__ import annotations

from hashlib import blake2b

import msgspec
import numpy as np

from replay.live.disk import DRAFT, Disk
from replay.live.log import HASH, Place

KEEP = 3
MAGIC = b"RPLS0001"


class Snapshot(msgspec.Struct):
    """The trader behind the block that ends at `place`, after input `seq`; `plain` is the annotated state of plain strategies."""

    seq: int
    place: Place
    plain: list[dict | None]
    arena: bytes

    @property
    def name(self) -> str:
        """Its file."""
        return f"snapshot-{self.seq:016x}.bin"

    def state(self) -> np.ndarray:
        """What `Arena.restore` takes."""
        return np.frombuffer(self.arena, np.uint8)


def plain_state(strategies) -> list[dict | None] | None:
    """The annotated state of each plain strategy, or None where one keeps state elsewhere: then no snapshot holds it."""
    out: list[dict | None] = []
    for s in strategies:
        if s.kind != "plain":
            out.append(None)
            continue
        known = {*s.fields.params, *s.fields.state, *s.fields.each}
        if vars(s.instance).keys() - known:
            return None
        out.append(s.save())
    return out


def write(disk: Disk, snapshot: Snapshot) -> None:
    """Write it, whole or not at all; the oldest beyond `KEEP` are removed."""
    payload = msgspec.msgpack.encode(snapshot)
    with disk.replacing(snapshot.name) as file:
        file.write(MAGIC + blake2b(payload, digest_size=HASH).digest() + payload)
    for name in _names(disk)[:-KEEP]:
        disk.remove(name)


def read_all(disk: Disk) -> tuple[list[Snapshot], list[str]]:
    """Every snapshot that is whole, newest first, and the names of those that are not."""
    good, bad = [], []
    for name in reversed(_names(disk)):
        data = disk.read(name)
        head = len(MAGIC) + HASH
        try:
            if data[: len(MAGIC)] != MAGIC or blake2b(data[head:], digest_size=HASH).digest() != data[len(MAGIC) : head]:
                raise ValueError(name)
            good.append(msgspec.msgpack.decode(data[head:], type=Snapshot))
        except (ValueError, msgspec.DecodeError):
            bad.append(name)
    return good, bad


def _names(disk: Disk) -> list[str]:
    for name in disk.names():
        if name.startswith("snapshot-") and name.endswith(DRAFT):  # a crash while it was written
            disk.remove(name)
    return [n for n in disk.names() if n.startswith("snapshot-") and n.endswith(".bin")]
