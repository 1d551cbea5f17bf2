"""The kill mark: a file beside the journal that says a trader was killed, whatever becomes of the journal or the process.

It is written when the trader is killed, by whoever kills it, and taken away when it trades again. A
journal may lose its end, and a strategy that hangs never steps a kill: the next process finds the mark.
"""

from __future__ import annotations

import contextlib

import msgspec

from replay.errors import UNREADABLE
from replay.live.disk import Disk

FILE = "killed.json"


class KillMark(msgspec.Struct, frozen=True):
    """Who killed, or why, and when (ISO 8601, UTC)."""

    why: str
    at: str = ""


def write(disk: Disk, mark: KillMark) -> None:
    """Make the mark durable. Raises `OSError`."""
    with disk.replacing(FILE) as file:
        file.write(msgspec.json.encode(mark))


def read(disk: Disk) -> KillMark | None:
    """The mark, None where there is none. One that cannot be read is a mark all the same."""
    if FILE not in disk.names():
        return None
    try:
        return msgspec.json.decode(disk.read(FILE), type=KillMark)
    except (OSError, *UNREADABLE):
        return KillMark("a kill mark that cannot be read")


def clear(disk: Disk) -> None:
    """Take the mark away, durably. Raises `OSError`."""
    with contextlib.suppress(FileNotFoundError):
        disk.remove(FILE)
        disk.sync_names()
