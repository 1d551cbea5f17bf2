"""Small files that somebody names or left in a folder, read whole, and only where they are files.

A device has no end, a pipe that nobody writes into never begins, and a folder is none.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MOST = 64 << 20  #: bytes; no text that a reader here takes is larger


def checked(path: str | Path) -> str | Path:
    """The path of a regular file, or of a pipe that the shell has opened for us. Raises `OSError` with words in `strerror`.

    >>> checked("/dev/zero")
    Traceback (most recent call last):
        ...
    OSError: [Errno 22] a device, no file: '/dev/zero'
    """
    mode = os.stat(path).st_mode
    handed = stat.S_ISFIFO(mode) and str(path).startswith(("/dev/fd/", "/dev/stdin", "/proc/self/fd/"))
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, no file", str(path))
    if not stat.S_ISREG(mode) and not handed:
        what = "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "a pipe or socket"
        raise OSError(errno.EINVAL, f"{what}, no file", str(path))
    return path


def whole(path: str | Path) -> bytes:
    """All bytes of such a file. Raises `OSError` as `checked` does."""
    with open(checked(path), "rb") as f:
        data = f.read(MOST + 1)
    if len(data) > MOST:
        raise OSError(errno.EFBIG, f"more than {MOST:,} bytes", str(path))
    return data
