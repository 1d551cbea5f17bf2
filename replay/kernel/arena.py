"""One flat buffer: a constant header and regions of constant element types, so that capacities are data, not types.

A snapshot is a copy of the buffer, a fork a copy that runs on, a digest one pass of a hash over it. The first 64 bytes are
wiring (addresses of handlers and of the output buffer): valid in this process only, never part of a snapshot or digest.
"""

from __future__ import annotations

import numpy as np

from replay.kernel.memory import at, entry

WIRING = 64  # bytes
_ALIGN = 64
_WORD = np.dtype("i8")


class Arena:
    """A header of `header` type followed by `regions` (name -> (dtype, count)).

    The header type must have int64 fields ``<name>_at`` (offset in bytes) and ``<name>_n`` (count) for each region.

    >>> from replay.kernel.memory import record
    >>> header = record(("wires", "i8", (8,)), ("cells_at", "i8"), ("cells_n", "i8"), ("total", "i8"))
    >>> a = Arena(header, {"cells": (np.dtype("i8"), 4)})
    >>> a.region("cells")[:] = 7; before = a.snapshot(); d = a.digest()
    >>> a.region("cells")[0] = 8; a.digest() == d
    False
    >>> a.restore(before); a.digest() == d
    True
    """

    def __init__(self, header: np.dtype, regions: dict[str, tuple[np.dtype, int]]):
        self.header_dtype = header
        self.dtypes = {name: dtype for name, (dtype, _) in regions.items()}
        offset = -(-header.itemsize // _ALIGN) * _ALIGN
        places = {}
        for name, (dtype, count) in regions.items():
            places[name] = (offset, count)
            offset += -(-dtype.itemsize * count // _ALIGN) * _ALIGN
        self._allocate(offset)
        h = self.header
        for name, (start, count) in places.items():
            h[f"{name}_at"] = start
            h[f"{name}_n"] = count

    def _allocate(self, size: int) -> None:
        self._raw = np.zeros(size + _ALIGN, np.uint8)
        start = -self._raw.ctypes.data % _ALIGN
        self.bytes = self._raw[start : start + size]
        #: The address compiled code is given.
        self.base = self.bytes.ctypes.data
        self.header = self.header_of(self.bytes)

    def region(self, name: str) -> np.ndarray:
        """The region as a record array over the same bytes."""
        dtype = self.dtypes[name]
        start, count = int(self.header[f"{name}_at"]), int(self.header[f"{name}_n"])
        view = self.bytes[start : start + count * dtype.itemsize].view(dtype)
        return view.view(np.recarray) if dtype.names else view

    def snapshot(self) -> np.ndarray:
        """A copy of the state; cost: one memory copy."""
        return self.bytes[WIRING:].copy()

    def restore(self, state: np.ndarray) -> None:
        """Take back a snapshot of an arena with the same regions (the last may have grown since, or before)."""
        if len(state) != len(self.bytes) - WIRING:
            wiring = self.bytes[:WIRING].copy()
            self._allocate(len(state) + WIRING)
            self.bytes[:WIRING] = wiring
        self.bytes[WIRING:] = state

    def grow_last(self, count: int) -> None:
        """Make room for `count` records in the last region; the address changes."""
        name, dtype = list(self.dtypes.items())[-1]
        old = self.bytes
        self._allocate(-(-(int(self.header_of(old)[f"{name}_at"]) + dtype.itemsize * count) // _ALIGN) * _ALIGN)
        self.bytes[: len(old)] = old
        self.header[f"{name}_n"] = count

    def header_of(self, data: np.ndarray) -> np.record:
        """The header at the start of a buffer of this arena's kind."""
        return data[: self.header_dtype.itemsize].view(self.header_dtype).view(np.recarray)[0]

    def fork(self) -> Arena:
        """An independent arena with the same state and no wiring."""
        twin = object.__new__(Arena)
        twin.header_dtype, twin.dtypes = self.header_dtype, self.dtypes
        twin._allocate(len(self.bytes))
        twin.bytes[WIRING:] = self.bytes[WIRING:]
        return twin

    def digest(self) -> int:
        """64-bit hash of the state; about 0.1 ms for 2 MiB."""
        return int(hash_words_py(self.base + WIRING, (len(self.bytes) - WIRING) // 8))

    def check(self) -> None:
        """Regions lie inside the buffer, in order, without overlap."""
        end = self.header_dtype.itemsize
        for name, dtype in self.dtypes.items():
            start, count = int(self.header[f"{name}_at"]), int(self.header[f"{name}_n"])
            assert start >= end and start % _ALIGN == 0, (name, start, end)
            end = start + count * dtype.itemsize
        assert end <= len(self.bytes), (end, len(self.bytes))


_M1, _M2 = -7046029254386353131, -4658895280553007687  # odd constants of splitmix64
_MASK = (1 << 64) - 1


@entry
def hash_words(address, n):
    """Hash of `n` int64 words in eight interleaved lanes, so that the processor works on eight multiplications at once."""
    w = at(address, n, _WORD)
    a = b = c = d = e = f = g = h = n
    m = n - n % 8
    i = 0
    while i < m:
        a = (a ^ w[i]) * _M1
        b = (b ^ w[i + 1]) * _M1
        c = (c ^ w[i + 2]) * _M1
        d = (d ^ w[i + 3]) * _M1
        e = (e ^ w[i + 4]) * _M1
        f = (f ^ w[i + 5]) * _M1
        g = (g ^ w[i + 6]) * _M1
        h = (h ^ w[i + 7]) * _M1
        a ^= a >> 29
        b ^= b >> 29
        c ^= c >> 29
        d ^= d >> 29
        e ^= e >> 29
        f ^= f >> 29
        g ^= g >> 29
        h ^= h >> 29
        i += 8
    while i < n:
        a = (a ^ w[i]) * _M1
        i += 1
    x = a
    for y in (b, c, d, e, f, g, h):
        x = ((x ^ y) * _M2) ^ (x >> 31)
    return x


def hash_words_py(address: int, n: int) -> int:
    """`hash_words` from Python. Interpreted, the lanes run as NumPy vectors, wrapping as int64 does."""
    from replay.kernel.memory import JIT

    if JIT:
        from replay.kernel.memory import entry_of

        return entry_of(hash_words)(address, n)
    w = np.asarray(at(address, n, _WORD))
    with np.errstate(over="ignore"):
        lanes = np.full(8, n, np.int64)
        m1, m2 = np.int64(_M1), np.int64(_M2)
        for row in w[: n - n % 8].reshape(-1, 8):
            lanes = (lanes ^ row) * m1
            lanes ^= lanes >> 29
        for value in w[n - n % 8 :]:
            lanes[0] = (lanes[0] ^ value) * m1
        x = lanes[0]
        for y in lanes[1:]:
            x = ((x ^ y) * m2) ^ (x >> np.int64(31))
    return int(x)
