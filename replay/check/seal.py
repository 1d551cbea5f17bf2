"""Deny this process files: what a check of look-ahead is about must not be open to the process that is checked.

On Linux the kernel refuses (Landlock, from 5.13 on, no privilege needed), whoever asks: Python, Arrow, DuckDB. Elsewhere Python's audit
events refuse, which sees what Python opens and not what a C library opens by itself.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_READ_FILE = 1 << 2
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def seal(files: Collection[Path]) -> str:
    """Make `files` unreadable for this process and its children, for good. Returns how: ``kernel`` or ``python``."""
    denied = {Path(f).resolve() for f in files}
    if sys.platform == "linux" and _landlock(denied):
        return "kernel"
    texts = {str(f) for f in denied}

    def refuse(event: str, args: tuple) -> None:
        if event == "open" and isinstance(args[0], (str, bytes)) and os.path.realpath(os.fsdecode(args[0])) in texts:
            raise PermissionError(f"Permission denied: {os.fsdecode(args[0])!r}")

    sys.addaudithook(refuse)
    return "python"


def _landlock(denied: set[Path]) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    handled = ctypes.c_uint64(_READ_FILE)
    ruleset = libc.syscall(_CREATE, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    for path in _others(Path("/"), denied):
        with suppress(OSError):
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = _Beneath(_READ_FILE, parent)
            libc.syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
            os.close(parent)
    done = libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and libc.syscall(_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return done


def _others(folder: Path, denied: set[Path]) -> Iterator[Path]:
    """Everything but `denied`: what lies beside the way to it. A link that leads back to the way is not followed."""
    on_the_way = {p for f in denied for p in f.parents}
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            real = path.resolve()
            if real in denied or (entry.is_symlink() and real in on_the_way):
                continue
            if real in on_the_way:
                yield from _others(path, denied)
            else:
                yield path
