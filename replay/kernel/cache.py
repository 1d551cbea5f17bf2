"""Where compiled code is kept between processes: a folder of this user's, each file sealed with the hash of what it holds.

Numba keeps compiled functions as pickles, and what is unpickled or loaded runs. So nothing is read
that another user could have written: the folder is this user's alone, and so is each file. A file
that does not carry the hash of its content (cut short, a bad disk) counts as not there: what it held
is compiled again, and one line says so.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import stat
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

from numba.core import sigutils
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.ccallback import CFunc

from replay.errors import BadInput

SEAL = 32  #: bytes of the sha256 behind each file's content
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private(folder: Path) -> Path:
    """`folder`, made where it is not there, writable by this user alone. Raises `BadInput` where it is somebody else's."""
    with suppress(FileExistsError):
        folder.mkdir(parents=True, mode=0o700)
    found = folder.stat()
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        raise BadInput(
            f"{folder}: compiled code is kept there, and it belongs to another user (uid {found.st_uid}): set REPLAY_CACHE "
            f"to a folder of your own"
        )
    if found.st_mode & OTHERS_WRITE:
        folder.chmod(0o700)
    return folder


def content_of(path: str) -> bytes | None:
    """What a sealed file holds; None where it is not there. One that is damaged, or that others may write, is removed."""
    try:
        with open(path, "rb") as f:
            found, data = os.fstat(f.fileno()), f.read()
    except FileNotFoundError:
        return None
    body, seal = data[:-SEAL], data[-SEAL:]
    owned = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & OTHERS_WRITE)
    if owned and hashlib.sha256(body).digest() == seal:
        return body
    print(f"{path}: damaged, or writable by others: compiled again", file=sys.stderr)
    with suppress(OSError):
        os.unlink(path)
    return None


class _SealedFile(IndexDataCacheFile):
    """Numba's index and data files, sealed."""

    @contextmanager
    def _open_for_write(self, filepath):
        with super()._open_for_write(filepath) as f:
            body = io.BytesIO()
            yield body
            f.write(body.getvalue() + hashlib.sha256(body.getvalue()).digest())
            os.fchmod(f.fileno(), 0o600)

    def _load_index(self):
        body = content_of(self._index_path)
        if body is None:
            return {}
        stream = io.BytesIO(body)
        if pickle.load(stream) != self._version:
            return {}
        stamp, overloads = pickle.load(stream)
        return overloads if stamp == self._source_stamp else {}

    def _load_data(self, name):
        body = content_of(self._data_path(name))
        if body is None:
            raise FileNotFoundError(name)
        return pickle.loads(body)


def compile_cached(f: Callable, signature: object) -> CFunc:
    """`numba.cfunc` of one function, kept in sealed files."""
    made = CFunc(f, sigutils.normalize_signature(signature), locals={}, options={"error_model": "python"})
    made._cache = FunctionCache(f)
    made._cache._cache_file.__class__ = _SealedFile
    made.compile()
    return made
