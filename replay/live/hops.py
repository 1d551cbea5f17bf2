"""How long each hop took: the newest few thousand samples of each, as percentiles."""

from __future__ import annotations

from collections import deque

KEEP = 10_000


class Hops:
    """Samples by name, ns.

    >>> h = Hops()
    >>> for ns in range(100):
    ...     h.add("durable", ns)
    >>> h.percentiles()
    {'durable': {'n': 100, 'p50': 50, 'p99': 99, 'max': 99}}
    """

    def __init__(self) -> None:
        self.samples: dict[str, deque[int]] = {}

    def add(self, name: str, ns: int) -> None:
        self.samples.setdefault(name, deque(maxlen=KEEP)).append(ns)

    def percentiles(self) -> dict[str, dict[str, int]]:
        out = {}
        for name, kept in self.samples.items():
            s = sorted(kept)
            out[name] = {"n": len(s), "p50": s[len(s) // 2], "p99": s[len(s) * 99 // 100], "max": s[-1]}
        return out
