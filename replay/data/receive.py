"""Receive times: a clock that runs behind is put right by one shift of all, a receive time that is wrong alone.

Where receive times lie before their events, the clock that stamped them runs behind: the smallest shift that puts every one at least 1 ns after
its event is added to all. But a row whose delay is further below the usual one than delays differ says nothing about the clock. It is put
right alone, by the median delay, and counted (`receive_time_put_right`).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from replay.data.session import blocks
from replay.errors import BadInput

SPREADS = 50  #: median distances from the median delay that a delay may be below it
LEAST = 1000  #: ns, of such a distance: identical delays differ by the clock's resolution
MANY = 20  #: where more than one row in so many is wrong, the clock was set on the way


def put_right(rows: np.recarray, anomalies: Counter[str], where: object) -> int:
    """Make every `ts_recv` of `rows` at least its `ts_event`, in place; the shift that was added to all (ns).

    Rows whose two times are equal count as received when they happened, which is what an import says of those without a receive time.
    Raises `BadInput`, naming `where`, if too many are wrong to be.
    """
    wrong, usual, known = _wrong(rows)
    if len(wrong) > 3 and len(wrong) * MANY > known:
        early = usual - int(np.median((rows.ts_recv - rows.ts_event)[wrong]))
        raise BadInput(
            f"{where}: {len(wrong)} of {known} receive times are {early / 1e9:g} s before the others': the clock was set during the "
            f"recording: correct them, or leave them out by --columns 'ts_recv='"
        )
    rows.ts_recv[wrong] = rows.ts_event[wrong] + usual
    if len(wrong):
        anomalies["receive_time_put_right"] += len(wrong)
    return _shift(rows)


def put_events_right(rows: np.recarray, anomalies: Counter[str]) -> int:
    """The same of rows that stand in the order they were received, by a clock that never went back: what is wrong alone is the venue's
    time (`event_time_put_right`)."""
    wrong, usual, _ = _wrong(rows)
    rows.ts_event[wrong] = rows.ts_recv[wrong] - usual
    if len(wrong):
        anomalies["event_time_put_right"] += len(wrong)
    return _shift(rows)


def _wrong(rows: np.recarray) -> tuple[np.ndarray, int, int]:
    """Rows whose delay is wrong; the usual one; how many delays are known."""
    delay = np.concatenate([b.ts_recv - b.ts_event for b in blocks(rows)])
    known = delay[delay != 0]
    if not len(known) or known.min() > 0:
        return np.zeros(0, np.int64), 0, len(known)
    usual = int(np.median(known))
    spread = max(int(np.median(np.abs(known - usual))), LEAST)
    return np.flatnonzero((delay < 0) & (delay < usual - SPREADS * spread)), usual, len(known)


def _shift(rows: np.recarray) -> int:
    late = max(int((b.ts_event - b.ts_recv).max()) for b in blocks(rows))
    shift = late + 1 if late > 0 else 0
    if shift:
        rows.ts_recv[:] += shift
    return shift
