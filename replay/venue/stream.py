"""The venue's side of the replay loop: rows, requests and opens in the order in which they reach it.

Everything has a key ``(t - t0) << 3 | class``; the lowest goes first, the classes at equal times come from the venue profile. With
orders of ours resting, each row goes through matching; with none, only the book follows, in one sweep, when somebody wants it.
"""

from __future__ import annotations

from replay.events import BAR, EVENT
from replay.kernel.memory import apart, at, entry, fn, hot, prefetch
from replay.trader.layout import I64
from replay.venue import layout as V
from replay.venue.bars import open_bar, open_on_orders
from replay.venue.book import apply_row
from replay.venue.fills import feed_row
from replay.venue.layout import NEVER
from replay.venue.matching import on_request

AHEAD = 64 * 16  # bytes ahead of the venue's row whose cache line is asked for: about what memory takes to answer


# --- keys, and where rows stand ---------------------------------------------------------------------------------------------
@hot
def key_of(v, t, rank):
    """Key of what is of class `rank` at `t`."""
    return (t - v.t0) << 3 | rank


@hot
def time_of(v, key):
    """The instant of a key."""
    return (key >> 3) + v.t0


@hot
def first_after(v, key, rank):
    """The first instant at which something of class `rank` no longer comes before `key`."""
    return time_of(v, key) + (1 if rank < key & 7 else 0)


@hot
def row_address(events, order, i):
    """The i-th row in venue order."""
    return events + 64 * (at(order, i + 1, I64)[i] if order != 0 else i)


@hot
def behind(v, events, n, order, t):
    """Whether the venue has yet to see a row of before `t`."""
    return v.venue_i < n and at(row_address(events, order, v.venue_i), 1, EVENT)[0].ts_event < t


@hot
def request_key(vb, v):
    """Key of the request that arrives next, NEVER if none is under way."""
    if v.request_head == v.request_tail:
        return NEVER
    return V.requests(vb, v)[v.request_head & (v.requests_n - 1)].key


@hot
def report_key(vb, v):
    """Key of the report that reaches us next, NEVER if none is under way."""
    if v.report_head == v.report_tail:
        return NEVER
    return key_of(v, V.reports(vb, v)[v.report_head & (v.reports_n - 1)].ts_recv, v.class_report)


# --- rows ---------------------------------------------------------------------------------------------------------------------
@fn
def sweep(vb, v, events, n, order, until):
    """Bring the venue's book forward over every row before key `until`; nothing of ours rests there."""
    apart()
    i = v.venue_i
    table = V.books(vb, v)
    deadline = first_after(v, until, v.class_data)
    while i < n:
        e = at(row_address(events, order, i), 1, EVENT)[0]
        if e.ts_event >= deadline:
            break
        apply_row(vb, v, table[e.instrument], e)
        i += 1
    v.venue_i = i


@hot
def full(v):
    """Whether the report ring, or what is kept of faults, has no room for all that one row or request may cause."""
    if v.windows_n != 0 and v.hits_n - v.n_hits < v.burst:
        return True
    return v.reports_n - (v.report_tail - v.report_head) < 4 * v.resting + v.burst


@fn
def merge(vb, v, events, n, order, until):
    """The same row by row while orders of ours rest: rows that can concern one of them go through matching.

    Stops early when a report has become due before `until`, or when nothing rests any more. Returns the new bound, -1 when the
    report ring has no room.
    """
    apart()
    table = V.books(vb, v)
    i = v.venue_i
    tail = v.report_tail
    deadline = first_after(v, until, v.class_data)
    while i < n:
        address = row_address(events, order, i)
        e = at(address, 1, EVENT)[0]
        if e.ts_event >= deadline:
            break
        i += 1
        prefetch(address + AHEAD)
        feed_row(vb, v, table[e.instrument], e)
        if v.report_tail != tail:
            v.venue_i = i
            if full(v):
                return -1
            tail = v.report_tail
            until = min(until, report_key(vb, v))
            deadline = first_after(v, until, v.class_data)
            if v.resting == 0:
                return until
    v.venue_i = i
    return until


# --- bars that open -----------------------------------------------------------------------------------------------------------
@hot
def executing(vb, v, c, e):
    """Whether a row is a bar, of those of an interval that an instrument executes on."""
    return e.kind == BAR and e.side == c.interval and V.bars(vb, v)[e.instrument].interval == c.interval


@fn
def next_opening(vb, v, events, n, order):
    """Key of the bars that open next, of those that have not closed: it stands in `opening_key`.

    A bar's row stands where it closes, its open an interval before: each interval has a cursor of its own, which goes over the
    rows once. An open comes behind rows of the same time, the bar before among them."""
    apart()
    table = V.openings(vb, v)
    v.opening_key = NEVER
    for k in range(v.openings_n):
        c = table[k]
        c.i = max(c.i, v.venue_i)
        while c.i < n:
            e = at(row_address(events, order, c.i), 1, EVENT)[0]
            if executing(vb, v, c, e):
                v.opening_key = min(v.opening_key, key_of(v, e.ts_event - c.ns, v.class_data))
                break
            c.i += 1
    return v.opening_key


@fn
def open_bars(vb, v, events, n, order):
    """The bars that open at `opening_key`. Returns -1 when the report ring has no room, else the key of those after them."""
    apart()
    table = V.openings(vb, v)
    for k in range(v.openings_n):
        c = table[k]
        closes = time_of(v, v.opening_key) + c.ns
        while c.i < n:
            address = row_address(events, order, c.i)
            e = at(address, 1, EVENT)[0]
            if executing(vb, v, c, e):
                if e.ts_event != closes:
                    break
                b = V.books(vb, v)[e.instrument]
                if b.n_resting == 0:
                    open_bar(b, V.bars(vb, v)[e.instrument], e)
                elif full(v):
                    return -1
                else:
                    open_on_orders(vb, address)
            c.i += 1
    return next_opening(vb, v, events, n, order)


# --- everything up to a key ---------------------------------------------------------------------------------------------------
@hot
def venue_due(vb, v):
    """Key of the next request or opening at the venue; while nothing rests there bars open when a request wants them."""
    return min(request_key(vb, v), v.opening_key) if v.resting > 0 else request_key(vb, v)


@hot
def venue_next(vb, v, events, n, order, due):
    """A request that arrives at key `due`, or the bars that open then, behind the rows before it; a report due earlier comes first.
    Returns -1 when the report ring has no room."""
    request = request_key(vb, v)
    if v.resting > 0 and behind(v, events, n, order, time_of(v, due) + 1):
        # an open comes behind rows of its own time
        if merge(vb, v, events, n, order, due if due == request else due + 1) < 0:
            return -1
        if report_key(vb, v) < due:
            return 0
    if due != request:
        return open_bars(vb, v, events, n, order) if v.resting > 0 else 0
    if full(v):
        return -1
    if v.resting == 0:
        sweep(vb, v, events, n, order, request)
        opening = next_opening(vb, v, events, n, order) if v.openings_n > 0 else NEVER
        while opening < request:
            opening = open_bars(vb, v, events, n, order)
    on_request(vb, time_of(v, request))
    if v.openings_n > 0 and v.resting > 0:
        next_opening(vb, v, events, n, order)
    return 0


@fn
def venue_until(vb, v, events, n, order, until):
    """Everything at the venue before key `until`, rows, opens and requests in order; returns the key of what is next for us, which
    is earlier when a report becomes due before, or -1 when the report ring has no room. With nothing resting, rows may wait."""
    apart()
    while True:
        due = venue_due(vb, v)
        if due >= until:
            return merge(vb, v, events, n, order, until) if v.resting > 0 else until
        if venue_next(vb, v, events, n, order, due) < 0:
            return -1
        until = min(until, report_key(vb, v))


@entry
def venue_to(vb, events, n, order, until):
    """The venue alone, every row before key `until` seen, for whoever looks at one order's way; returns what `venue_until` does."""
    v = V.header(vb)
    reached = venue_until(vb, v, events, n, order, until)
    if v.resting == 0 and reached == until:
        sweep(vb, v, events, n, order, until)
    return reached
