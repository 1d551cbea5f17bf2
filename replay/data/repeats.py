"""Rows that are in the files twice: bars of one symbol, interval and close; trades of one number.

An unfinished bar that a finished one follows is no other bar: the finished one stands (`dropped_unfinished_bar`). It opens at the same price,
and its range and volume are no smaller. Equal bars are repeats (`dropped_repeated_bar`). Two that are neither are two bars of two sources
under one name, and refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from replay.data.times import utc_text
from replay.errors import BadInput
from replay.events import BAR, TRADE


def drop_bars(raw: np.recarray, anomalies: Counter[str], name: Callable[[int], str], row: Callable[[int], str]) -> None:
    """In place: of bars of one symbol, interval and close the finished one stays. `name` calls an instrument, `row` a row. Raises `BadInput`."""
    bars = np.flatnonzero(raw.kind == BAR)
    for group in _groups(bars, (raw.side[bars], raw.instrument[bars], raw.ts_event[bars])):
        _settle(raw, group, anomalies, name, row)


def _settle(
    raw: np.recarray, group: Sequence[int], anomalies: Counter[str], name: Callable[[int], str], row: Callable[[int], str]
) -> None:
    stands = group[0]
    for k in group[1:]:
        a, b = raw[stands], raw[k]
        if _values(a) == _values(b):
            anomalies["dropped_repeated_bar"] += 1
            raw.kind[k] = 0
        elif _finishes(b, a):
            anomalies["dropped_unfinished_bar"] += 1
            raw.kind[stands], stands = 0, k
        elif _finishes(a, b):
            anomalies["dropped_unfinished_bar"] += 1
            raw.kind[k] = 0
        else:
            raise BadInput(
                f"{row(k)}: a second bar of {name(int(b.instrument))} that closes at {utc_text(int(b.ts_event))}, with other values than "
                f"{row(stands)}, and neither is the other unfinished: leave one out, or give them two symbols"
            )


def drop_trades(raw: np.recarray, anomalies: Counter[str]) -> None:
    """In place: a trade that is there with its number already is dropped (`dropped_repeated_trade`), from whichever file it is."""
    trades = np.flatnonzero((raw.kind == TRADE) & (raw.id != 0))
    n = 0
    for group in _groups(trades, (raw.instrument[trades], raw.id[trades], raw.ts_event[trades])):
        stands: list[int] = []
        for k in group:
            if any(_same(raw[s], raw[k]) for s in stands):
                raw.kind[k] = 0
                n += 1
            else:
                stands.append(k)
    if n:
        anomalies["dropped_repeated_trade"] += n


def _groups(index: np.ndarray, keys: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Groups of two rows or more that agree in all keys, each in the order of the files."""
    if len(index) < 2:
        return
    order = np.lexsort(keys)
    same = np.ones(len(index) - 1, bool)
    for key in keys:
        same &= key[order][1:] == key[order][:-1]
    starts = np.flatnonzero(same & ~np.r_[False, same[:-1]])
    for start in starts.tolist():
        end = start + 1
        while end < len(same) and same[end]:
            end += 1
        yield index[order[start : end + 1]].tolist()


def _values(r: np.record) -> tuple[int, ...]:
    return int(r.a), int(r.b), int(r.c), int(r.d), int(r.id)


def _finishes(a: np.record, b: np.record) -> bool:
    """Whether `a` may be what became of the unfinished `b`."""
    return bool(a.a == b.a and a.b >= b.b and a.c <= b.c and a.id >= b.id)


def _same(a: np.record, b: np.record) -> bool:
    return all(a[name] == b[name] for name in ("ts_recv", "side", "a", "b", "c", "d"))
