"""How long each hop took, from the socket that an event came from to the socket that its order left by: histograms by name.

    heard ──parsed──► queued ──waited──► taken ──stepped──► stepped ──┬─durable──►┬──written──► written
                                                                     └─prepared─►┘

All stamps are of the steady clock that every process of a machine shares (`time.perf_counter_ns`). An order is prepared by its lane
while the journal is made durable; its first byte leaves when both are done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

FINE = 5  #: 2^5 buckets a doubling: what is said is at most 3 % too much
LONGEST = (1 << 40) - 1  #: ns, 18 minutes; longer counts as that
SHARES = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))

NOWHERE = (0, 0, 0)  #: heard, queued and taken of what came from no socket

stamp = time.perf_counter_ns


class Histogram:
    """Counts of durations in ns; constant memory, 0.3 us a sample. One thread writes, any may read.

    >>> h = Histogram()
    >>> for ns in range(1000):
    ...     h.add(ns)
    >>> h.summary()
    {'n': 1000, 'p50': 503, 'p99': 991, 'p99.9': 999, 'max': 999}
    """

    __slots__ = ("counts", "max")

    def __init__(self) -> None:
        self.counts, self.max = [0] * (36 << FINE), 0

    def add(self, ns: int) -> None:
        ns = min(max(ns, 0), LONGEST)
        if ns > self.max:
            self.max = ns
        shift = max(0, ns.bit_length() - FINE - 1)
        self.counts[(shift << FINE) + (ns >> shift)] += 1

    def summary(self) -> dict[str, int]:
        """How many, shares of them that took no longer, the longest."""
        counts, out = list(self.counts), {}
        out["n"] = n = sum(counts)
        for name, share in SHARES:
            out[name] = min(self.max, _share(counts, n * share))
        out["max"] = self.max
        return out

    def buckets(self) -> dict[int, int]:
        """Those that are not empty: {the longest that counts there: how many}."""
        return {_upper(k): n for k, n in enumerate(self.counts) if n}


def _upper(k: int) -> int:
    shift = max(0, (k >> FINE) - 1)
    return (k - (shift << FINE) + 1 << shift) - 1


def _share(counts: list[int], wanted: float) -> int:
    seen = 0
    for k, count in enumerate(counts):
        seen += count
        if seen >= wanted and count:
            return _upper(k)
    return 0


class Sent(NamedTuple):
    """The stamps of one order, ns."""

    cl_ord_id: str
    heard: int
    queued: int
    taken: int
    stepped: int
    durable: int
    begun: int
    prepared: int
    written: int


class Hops:
    """Histograms by name. `kept`, where somebody sets it, gets the stamps of every order too."""

    def __init__(self) -> None:
        self.by_name: dict[str, Histogram] = {}
        self.kept: Callable[[Sent], None] | None = None

    def add(self, name: str, ns: int) -> None:
        h = self.by_name.get(name)
        if h is None:
            h = self.by_name[name] = Histogram()
        h.add(ns)

    def sent(self, s: Sent) -> None:
        """An order has left."""
        self.add("parsed", s.queued - s.heard)
        self.add("waited", s.taken - s.queued)
        self.add("stepped", s.stepped - s.taken)
        self.add("durable", s.durable - s.stepped)
        self.add("begun", s.begun - s.stepped)
        self.add("prepared", s.prepared - s.begun)
        self.add("written", s.written - max(s.durable, s.prepared))
        self.add("heard to written", s.written - s.heard)
        if self.kept is not None:
            self.kept(s)

    def summary(self) -> dict[str, dict[str, int]]:
        """Percentiles by name, ns.

        >>> h = Hops()
        >>> h.add("durable", 63)
        >>> h.summary()
        {'durable': {'n': 1, 'p50': 63, 'p99': 63, 'p99.9': 63, 'max': 63}}
        """
        return {name: h.summary() for name, h in list(self.by_name.items())}
