"""The timer table: a heap by due time, then by the order in which timers were set.

Strategies set timers of their own. The engine has one, `WATCH`, for what time alone brings about; it is moved, never set twice, so
that the table always has room for it, and fires before the others of its time.
"""

from __future__ import annotations

from replay.kernel.memory import apart, at, fn
from replay.trader.layout import TIMER_ROW, WATCH


@fn
def copy(a, b):
    a.ts = b.ts
    a.seq = b.seq
    a.timer_id = b.timer_id
    a.strategy = b.strategy


@fn
def sift_up(heap, k, ts, seq, timer_id, strategy):
    """Put a timer at place `k` or above it."""
    apart()
    while k > 0:
        up = (k - 1) >> 1
        if heap[up].ts < ts or (heap[up].ts == ts and heap[up].seq < seq):
            break
        copy(heap[k], heap[up])
        k = up
    heap[k].ts = ts
    heap[k].seq = seq
    heap[k].timer_id = timer_id
    heap[k].strategy = strategy


@fn
def push_timer(tb, h, ts, timer_id, strategy):
    """Set a strategy's timer; False where the table has no room beside the engine's own."""
    apart()
    own = 1 if h.watch_ts != 0 else 0
    if h.n_timers - own >= h.timers_n - 1:
        return False
    h.n_timers += 1
    h.timer_seq += 1
    heap = at(tb + h.timers_at, h.timers_n, TIMER_ROW)
    sift_up(heap, h.n_timers - 1, ts, h.timer_seq, timer_id, strategy)
    h.attend = 1
    return True


@fn
def pop_timer(tb, h):
    """Remove the earliest timer."""
    apart()
    heap = at(tb + h.timers_at, h.timers_n, TIMER_ROW)
    if heap[0].strategy == WATCH:
        h.watch_ts = 0
    h.n_timers -= 1
    n = h.n_timers
    last = heap[n]
    k = 0
    while True:
        down = 2 * k + 1
        if down >= n:
            break
        if down + 1 < n:
            a = heap[down]
            b = heap[down + 1]
            if b.ts < a.ts or (b.ts == a.ts and b.seq < a.seq):
                down += 1
        c = heap[down]
        if last.ts < c.ts or (last.ts == c.ts and last.seq < c.seq):
            break
        copy(heap[k], c)
        k = down
    if k != n:
        copy(heap[k], last)


@fn
def arm(tb, h, ts):
    """The engine's own timer is to fire at `ts`, at the earliest 1 ns from now; an earlier one stays."""
    apart()
    when = max(ts, h.now + 1)
    if h.watch_ts != 0 and h.watch_ts <= when:
        return
    heap = at(tb + h.timers_at, h.timers_n, TIMER_ROW)
    k = h.n_timers
    if h.watch_ts != 0:
        k = 0
        while heap[k].strategy != WATCH:
            k += 1
    else:
        h.n_timers += 1
    h.watch_ts = when
    sift_up(heap, k, when, 0, 0, WATCH)
    h.attend = 1
