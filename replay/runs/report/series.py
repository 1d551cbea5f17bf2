"""Long series made short without hiding their extremes, and packed small.

A line is cut into equal spans of time; each keeps its first, lowest, highest and last sample. What is drawn is a sample that was there,
never an average, so a spike of one sample stays a spike.
"""

from __future__ import annotations

import base64

import numpy as np

GAP = 12  #: a line of prices is broken where a step is this many times the usual one


def spans(ts: np.ndarray, n: int) -> np.ndarray:
    """Where each of at most `n` equal spans of time begins in `ts` (int64, ascending); spans without a sample are left out.

    >>> spans(np.array([0, 1, 2, 90, 100]), 10)
    array([0, 3, 4])
    """
    width = (int(ts[-1]) - int(ts[0])) // n + 1
    which = (ts - ts[0]) // width
    return np.flatnonzero(np.diff(which, prepend=-1))


def kept(ts: np.ndarray, value: np.ndarray, n: int) -> np.ndarray:
    """Rows to draw of a series: all if there are at most `n`, else the first, lowest, highest and last of each of n / 4 spans.

    >>> kept(np.arange(100), np.where(np.arange(100) == 57, 9.0, 0.0), 8)
    array([ 0, 49, 50, 57, 99])
    """
    if len(ts) <= n:
        return np.arange(len(ts))
    starts = spans(ts, n // 4)
    ends = np.append(starts[1:], len(ts))
    rows = [starts, ends - 1]
    for sign in (1.0, -1.0):
        signed = np.where(np.isnan(value), np.inf, sign * value)
        rows.append(np.array([a + int(np.argmin(signed[a:b])) for a, b in zip(starts, ends, strict=True)]))
    return np.unique(np.concatenate(rows))


def bars(
    ts: np.ndarray, first: np.ndarray, high: np.ndarray, low: np.ndarray, last: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """The line through bars: low and high of each, in the order the bar went, merged to at most `n` bars; broken at gaps.

    >>> one = np.array([1.0, 2.0])
    >>> bars(np.array([0, 10]), one, one + 1, one, one + 1, 5)
    (array([ 0,  0, 10, 10]), array([1., 2., 2., 3.]))
    """
    if len(ts) > n:
        starts = spans(ts, n)
        ends = np.append(starts[1:], len(ts)) - 1
        high, low = np.fmax.reduceat(high, starts), np.fmin.reduceat(low, starts)
        ts, first, last = ts[starts], first[starts], last[ends]
    rising = last >= first
    x = np.repeat(ts, 2)
    y = np.column_stack([np.where(rising, low, high), np.where(rising, high, low)]).ravel()
    differs = np.ones(len(y), bool)
    differs[1::2] = high != low
    step = np.diff(ts)
    breaks = np.flatnonzero(step > GAP * np.median(step)) if len(step) else step
    gap = np.isin(np.arange(len(y)), 2 * (breaks + 1))
    return broken(x, y, gap, differs)


def broken(x: np.ndarray, y: np.ndarray, gap: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points to `keep`, with a missing one before each `gap`."""
    at = np.flatnonzero(gap)
    keep = np.insert(keep, at, True)
    return np.insert(x, at, x[at])[keep], np.insert(y, at, np.nan)[keep]


def packed(values: np.ndarray) -> dict[str, str]:
    """Numbers as the chart library reads them: base64 of little-endian doubles, a third of their decimal text.

    >>> packed(np.array([1.0]))
    {'dtype': 'f8', 'bdata': 'AAAAAAAA8D8='}
    """
    return {"dtype": "f8", "bdata": base64.b64encode(np.ascontiguousarray(values, "<f8").tobytes()).decode()}


def instants(ts: np.ndarray) -> dict[str, str]:
    """Times in ns as packed milliseconds."""
    return packed(ts / 1e6)
