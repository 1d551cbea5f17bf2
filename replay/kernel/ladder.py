"""One side of a price-level book (MBP): a window of levels at the touch and a sorted overflow behind it.

Prices enter as `rank` = side x price in ticks, so that on both sides higher is better and one code serves both. Levels within
`width` ranks of the window's start are indexed directly, with a bitmap (two levels of 64 bits) that finds the next best in two
steps however far it is. Levels worse than the window wait in `overflow`, sorted, best at the end: moving the window up pushes
onto its end, moving it down pops from it; only a change deep in the book moves memory. Nothing is ever searched linearly.

Real books are wide (a BTC spot book spans 1.85e7 ticks), so a table indexed by price would not fit; the touch stays within a few
thousand ticks for minutes. Cost: set at the touch 3-5 ns; in the overflow a binary search and a move of the better levels.
"""

from __future__ import annotations

import numpy as np

from replay.kernel.memory import apart, at, beyond, bit, fn, hot, record, top_bit

EMPTY = -(1 << 62)  #: rank of the best level of an empty side
I64 = np.dtype("i8")
LADDER = record(
    ("best", "i8"),  # rank of the best level, EMPTY if none
    ("start", "i8"),  # rank of the window's first cell
    ("width", "i8"),  # cells in the window: a multiple of 64, at most 4096
    ("near", "i8"),  # levels in the window
    ("far", "i8"),  # levels in the overflow
    ("summary", "i8"),  # bit k: word k of the bitmap is not zero
    ("cells", "i8"),  # offsets in bytes from the arena's address
    ("bits", "i8"),
    ("overflow", "i8"),
    ("capacity", "i8"),  # levels the overflow holds
    ("dropped", "i8"),  # levels lost because it was full (the worst ones)
)
LEVEL = record(("rank", "i8"), ("size", "i8"))


@hot
def _mark(base, l, i):
    w = i >> 6
    bits = at(base + l.bits, l.width >> 6, I64)
    bits[w] |= bit(i & 63)
    l.summary |= bit(w)


@hot
def _unmark(base, l, i):
    w = i >> 6
    bits = at(base + l.bits, l.width >> 6, I64)
    bits[w] &= ~bit(i & 63)
    if bits[w] == 0:
        l.summary &= ~bit(w)


@hot
def _highest(base, l):
    """Rank of the best level in the window; the window is not empty."""
    w = top_bit(l.summary)
    return l.start + (w << 6) + top_bit(at(base + l.bits, l.width >> 6, I64)[w])


@fn
def _search(over, n, rank):
    """Index of the first overflow level with at least this rank."""
    apart()
    lo = 0
    hi = n
    while lo < hi:
        mid = (lo + hi) >> 1
        if over[mid].rank < rank:
            lo = mid + 1
        else:
            hi = mid
    return lo


@fn
def _push(base, l, i, rank, size):
    """Insert an overflow level at index i; when full, the worst level gives way and is counted."""
    apart()
    over = at(base + l.overflow, l.capacity, LEVEL)
    n = l.far
    if n == l.capacity:
        l.dropped += 1
        if i == 0:
            return
        for k in range(i - 1):
            over[k].rank = over[k + 1].rank
            over[k].size = over[k + 1].size
        i -= 1
    else:
        for k in range(n, i, -1):
            over[k].rank = over[k - 1].rank
            over[k].size = over[k - 1].size
        l.far = n + 1
    over[i].rank = rank
    over[i].size = size


@fn
def _move(base, l, rank):
    """Put the window so that `rank`, at least as good as every level, lies three quarters up."""
    apart()
    start = rank - l.width + (l.width >> 2)
    cells = at(base + l.cells, l.width, I64)
    nbits = l.width >> 6
    bits = at(base + l.bits, nbits, I64)
    over = at(base + l.overflow, l.capacity, LEVEL)
    # everything in the window is better than everything in the overflow: push it in ascending order, then pop what fits
    for w in range(nbits):
        x = bits[w]
        bits[w] = 0
        if x != 0:
            for b in range(64):
                if x >> b & 1:
                    i = (w << 6) + b
                    _push(base, l, l.far, l.start + i, cells[i])
                    cells[i] = 0
    l.summary = 0
    l.near = 0
    l.start = start
    while l.far > 0 and over[l.far - 1].rank >= start:
        l.far -= 1
        i = over[l.far].rank - start
        cells[i] = over[l.far].size
        _mark(base, l, i)
        l.near += 1


@hot
def set_level(base, l, rank, size):
    """Set the size at a rank (0 removes it) and return the size that was there."""
    i = rank - l.start
    if beyond(i, l.width):
        return _set_outside(base, l, rank, size)
    cells = at(base + l.cells, l.width, I64)
    was = cells[i]
    cells[i] = size
    if size > 0:
        if was == 0:
            l.near += 1
            _mark(base, l, i)
            if rank > l.best:
                l.best = rank
    elif was > 0:
        l.near -= 1
        _unmark(base, l, i)
        if rank == l.best:
            _fall(base, l)
    return was


@fn
def _fall(base, l):
    """The best level is gone: find the next."""
    apart()
    if l.near > 0:
        l.best = _highest(base, l)
    elif l.far > 0:
        l.best = at(base + l.overflow, l.capacity, LEVEL)[l.far - 1].rank
        _move(base, l, l.best)
    else:
        l.best = EMPTY


@fn
def _set_outside(base, l, rank, size):
    """`set_level` for a rank outside the window."""
    apart()
    if rank >= l.start or l.near + l.far == 0:
        if size == 0:
            return 0
        _move(base, l, rank)
        i = rank - l.start
        at(base + l.cells, l.width, I64)[i] = size
        _mark(base, l, i)
        l.near += 1
        l.best = rank
        return 0
    over = at(base + l.overflow, l.capacity, LEVEL)
    i = _search(over, l.far, rank)
    if i < l.far and over[i].rank == rank:
        was = over[i].size
        if size > 0:
            over[i].size = size
        else:
            for k in range(i, l.far - 1):
                over[k].rank = over[k + 1].rank
                over[k].size = over[k + 1].size
            l.far -= 1
        return was
    if size > 0:
        _push(base, l, i, rank, size)
    return 0


@fn
def size_at(base, l, rank):
    """Displayed size at a rank, 0 if no level."""
    apart()
    i = rank - l.start
    if i >= l.width:
        return 0
    if i >= 0:
        return at(base + l.cells, l.width, I64)[i]
    over = at(base + l.overflow, l.capacity, LEVEL)
    k = _search(over, l.far, rank)
    return over[k].size if k < l.far and over[k].rank == rank else 0


@fn
def next_worse(base, l, rank):
    """Rank of the best level strictly worse than `rank`, EMPTY if none."""
    apart()
    i = min(rank - l.start, l.width) - 1
    if i >= 0:
        bits = at(base + l.bits, l.width >> 6, I64)
        w = i >> 6
        x = bits[w] & (-1 if i & 63 == 63 else (1 << ((i & 63) + 1)) - 1)
        if x != 0:
            return l.start + (w << 6) + top_bit(x)
        s = l.summary & ((1 << w) - 1)
        if s != 0:
            w = top_bit(s)
            return l.start + (w << 6) + top_bit(bits[w])
        k = l.far
    else:
        k = _search(at(base + l.overflow, l.capacity, LEVEL), l.far, rank)
    return at(base + l.overflow, l.capacity, LEVEL)[k - 1].rank if k > 0 else EMPTY


@fn
def clear(base, l):
    """Remove every level."""
    apart()
    while l.best != EMPTY:
        set_level(base, l, l.best, 0)


@fn
def uncross(base, l, rank):
    """Remove every level at `rank` or better: the other side's newer price shows that they are gone. Returns how many."""
    apart()
    n = 0
    while l.best >= rank:
        set_level(base, l, l.best, 0)
        n += 1
    return n


def width_for(span_ticks: int) -> int:
    """The window for instruments whose prices span so many ticks: a power of two from 64 to 4096."""
    width = 64
    while width < 4096 and width < 2 * span_ticks:
        width *= 2
    return width


def regions(n_sides: int, width: int, capacity: int) -> dict[str, tuple[np.dtype, int]]:
    """The arena regions for so many ladders of one width and overflow capacity."""
    return {
        "ladders": (LADDER, n_sides),
        "levels": (I64, n_sides * width),
        "bits": (I64, n_sides * (width // 64)),
        "overflow": (LEVEL, n_sides * capacity),
    }


def prepare(arena, width: int, capacity: int) -> None:
    """Write each ladder's places into its record."""
    h = arena.header
    for k, l in enumerate(arena.region("ladders")):
        l.best = EMPTY
        l.start = EMPTY
        l.width = width
        l.capacity = capacity
        l.cells = h.levels_at + 8 * k * width
        l.bits = h.bits_at + 8 * k * (width // 64)
        l.overflow = h.overflow_at + LEVEL.itemsize * k * capacity


def levels(arena, k: int) -> list[tuple[int, int]]:
    """All levels of ladder `k`, best first, as (rank, size)."""
    l = arena.region("ladders")[k]
    cells = np.frombuffer(arena.bytes, I64, int(l.width), int(l.cells))
    over = np.frombuffer(arena.bytes, LEVEL, int(l.capacity), int(l.overflow))[: int(l.far)]
    near = [(int(l.start) + int(i), int(cells[i])) for i in np.flatnonzero(cells)[::-1]]
    return near + [(int(r), int(s)) for r, s in over[::-1]]


def check(arena, k: int) -> None:
    """Assert every invariant of ladder `k`."""
    l = arena.region("ladders")[k]
    cells = np.frombuffer(arena.bytes, I64, int(l.width), int(l.cells))
    bits = np.frombuffer(arena.bytes, I64, int(l.width) // 64, int(l.bits))
    over = np.frombuffer(arena.bytes, LEVEL, int(l.capacity), int(l.overflow))[: int(l.far)]
    assert (cells >= 0).all() and int(l.near) == np.count_nonzero(cells)
    for w, word in enumerate(bits):
        want = sum(1 << b for b in range(64) if cells[64 * w + b])
        assert (int(word) & (1 << 64) - 1) == want, (w, word, want)
        assert (int(l.summary) >> w & 1) == (want != 0)
    ranks = over["rank"]
    assert (np.diff(ranks) > 0).all() and (over["size"] > 0).all() and 0 <= l.far <= l.capacity
    assert not len(ranks) or ranks[-1] < l.start
    every = levels(arena, k)
    assert int(l.best) == (every[0][0] if every else EMPTY), (l.best, every[:2])
