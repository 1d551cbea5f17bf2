"""The venue's side of the replay loop: rows, requests and what bars do, in the order in which they reach it.

Everything has a key ``(t - t0) << 3 | class``; the lowest goes first, the classes at equal times come from the venue profile. With
orders of ours resting, each row goes through matching; with none, only the book follows, in one sweep, when somebody wants it.
"""

from __future__ import annotations

from replay.events import BAR, EVENT
from replay.kernel.memory import apart, at, entry, fn, hot, prefetch
from replay.trader.layout import I64
from replay.venue import layout as V
from replay.venue.bars import open_bar, open_on_orders, path_on_orders
from replay.venue.book import apply_row
from replay.venue.fills import feed_row
from replay.venue.layout import NEVER
from replay.venue.matching import on_request

DAY_NS = 86_400_000_000_000
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


# --- what bars do before they close -----------------------------------------------------------------------------------------
@hot
def executing(vb, v, c, e):
    """Whether a row is a bar, of those of an interval that an instrument executes on."""
    return e.kind == BAR and e.side == c.interval and V.bars(vb, v)[e.instrument].interval == c.interval


@fn
def opens_at(vb, v, c, r, e):
    """When the bar of a row opens, which has yet to: an interval before it closes, but not before the bar before it has closed, and
    with a calendar not before the day it belongs to began. A bar of a day or more opens with the first day it holds. One that
    follows at once on a bar from outside of market hours, and closes inside of them, is of both: it opens before they do.
    """
    apart()
    before = max(r.close_ts, r.closed_ts)
    start = max(e.ts_event - c.ns, before)
    days = V.days(vb, v)
    while c.day + 1 < v.days_n and days[c.day + 1].opens < e.ts_event:
        c.day += 1
    k = c.day
    while k >= 0 and days[k].opens >= e.ts_event:
        k -= 1
    if k < 0 or days[k].closes <= e.ts_event - c.ns:
        return start
    if c.ns >= DAY_NS:
        while k > 0 and days[k - 1].opens >= start:
            k -= 1
        return max(start, days[k].opens)
    if e.ts_event > days[k].closes or (start == before and before == e.ts_event - c.ns):
        return start
    return max(start, days[k].opens)


@fn
def seek_open(vb, v, c, events, n, order):
    """Bring an interval's first cursor to the bars that open next, of those that have not closed: of one close the earliest open."""
    apart()
    c.open_i = i = max(c.open_i, v.venue_i)
    c.open_key = NEVER
    closes = 0
    while i < n:
        e = at(row_address(events, order, i), 1, EVENT)[0]
        if c.open_key != NEVER and e.ts_event != closes:
            return
        if executing(vb, v, c, e):
            r = V.bars(vb, v)[e.instrument]
            if r.close_ts < e.ts_event:
                if c.open_key == NEVER:
                    c.open_i = i
                    closes = e.ts_event
                r.opens_ts = max(opens_at(vb, v, c, r, e), c.opened_ts)
                c.open_key = min(c.open_key, key_of(v, r.opens_ts, v.class_data))
        i += 1
    if c.open_key == NEVER:
        c.open_i = n


@fn
def open_bars(vb, v, c, events, n, order):
    """The bars of an interval that open at `open_key`. Returns -1 when the report ring has no room."""
    apart()
    ts = time_of(v, c.open_key)
    closes = at(row_address(events, order, c.open_i), 1, EVENT)[0].ts_event
    i = c.open_i
    later = False
    while i < n:
        address = row_address(events, order, i)
        e = at(address, 1, EVENT)[0]
        if e.ts_event != closes:
            break
        if executing(vb, v, c, e):
            r = V.bars(vb, v)[e.instrument]
            if r.close_ts < closes and r.opens_ts <= ts:
                b = V.books(vb, v)[e.instrument]
                if b.n_resting == 0:
                    open_bar(b, r, e, ts)
                elif full(v):
                    return -1
                else:
                    open_on_orders(vb, address, ts)
            elif r.close_ts < closes:
                later = True
        i += 1
    if not later:
        c.open_i = i
    c.opened_ts = ts
    seek_open(vb, v, c, events, n, order)
    return 0


@fn
def open_unmet(vb, v, c, events, n, order, deadline, instrument):
    """While nothing rests: the bar of an instrument (-1: of each) that opens before `deadline` does so, for the order that comes."""
    apart()
    i = v.venue_i
    while i < n:
        e = at(row_address(events, order, i), 1, EVENT)[0]
        if e.ts_event - c.ns >= deadline:
            return
        if (instrument < 0 or e.instrument == instrument) and executing(vb, v, c, e):
            r = V.bars(vb, v)[e.instrument]
            if r.close_ts < e.ts_event:
                ts = opens_at(vb, v, c, r, e)
                if ts < deadline:
                    open_bar(V.books(vb, v)[e.instrument], r, e, ts)
            if instrument >= 0:
                return
        i += 1


@fn
def seek_path(vb, v, c, events, n, order):
    """Bring an interval's second cursor to the next bar, of those that have not closed, whose path orders have yet to meet."""
    apart()
    c.path_i = max(c.path_i, v.venue_i)
    c.path_key = NEVER
    while c.path_i < n:
        e = at(row_address(events, order, c.path_i), 1, EVENT)[0]
        if executing(vb, v, c, e):
            c.path_key = key_of(v, e.ts_event - c.lead_ns, v.class_data)
            return
        c.path_i += 1


@fn
def meet_paths(vb, v, c, events, n, order):
    """Orders meet the paths of an interval's bars at `path_key`. Returns -1 when the report ring has no room."""
    apart()
    ts = time_of(v, c.path_key)
    closes = at(row_address(events, order, c.path_i), 1, EVENT)[0].ts_event
    while c.path_i < n:
        address = row_address(events, order, c.path_i)
        e = at(address, 1, EVENT)[0]
        if e.ts_event != closes:
            break
        if executing(vb, v, c, e) and V.books(vb, v)[e.instrument].n_resting > 0:
            if V.bars(vb, v)[e.instrument].close_ts == closes:
                if full(v):
                    return -1
                path_on_orders(vb, address, ts)
        c.path_i += 1
    seek_path(vb, v, c, events, n, order)
    return 0


@fn
def next_bars(vb, v, events, n, order):
    """Key of what bars that have not closed do next, open or move: it stands in `bar_key`.

    A bar's row stands where it closes. Each interval has two cursors of its own, which go over the rows once. What bars do comes
    behind rows of the same time, the bar before among them."""
    apart()
    table = V.openings(vb, v)
    v.bar_key = NEVER
    for k in range(v.openings_n):
        c = table[k]
        if c.open_i < v.venue_i:
            seek_open(vb, v, c, events, n, order)
        if c.path_i < v.venue_i:
            seek_path(vb, v, c, events, n, order)
        v.bar_key = min(v.bar_key, min(c.open_key, c.path_key))
    return v.bar_key


@fn
def watch_bars(vb, v, events, n, order, deadline):
    """Orders rest from now on. What opens before `deadline` has opened, and paths before it have met nobody: both cursors go to
    what comes next."""
    apart()
    table = V.openings(vb, v)
    for k in range(v.openings_n):
        c = table[k]
        open_unmet(vb, v, c, events, n, order, deadline, -1)
        c.open_i = v.venue_i
        c.path_i = max(c.path_i, v.venue_i)
        while c.path_i < n and at(row_address(events, order, c.path_i), 1, EVENT)[0].ts_event - c.lead_ns < deadline:
            c.path_i += 1
        seek_open(vb, v, c, events, n, order)
        seek_path(vb, v, c, events, n, order)
    next_bars(vb, v, events, n, order)


@fn
def move_bars(vb, v, events, n, order):
    """What bars do at `bar_key`, opens first. Returns -1 when the report ring has no room, else the key of what they do next."""
    apart()
    table = V.openings(vb, v)
    for k in range(v.openings_n):
        if table[k].open_key == v.bar_key and open_bars(vb, v, table[k], events, n, order) < 0:
            return -1
    for k in range(v.openings_n):
        if table[k].path_key == v.bar_key and meet_paths(vb, v, table[k], events, n, order) < 0:
            return -1
    return next_bars(vb, v, events, n, order)


# --- everything up to a key ---------------------------------------------------------------------------------------------------
@hot
def venue_due(vb, v):
    """Key of the next request at the venue, or of what bars do; while nothing rests there they do it when a request wants them to."""
    return min(request_key(vb, v), v.bar_key) if v.resting > 0 else request_key(vb, v)


@hot
def venue_next(vb, v, events, n, order, due):
    """A request that arrives at key `due`, or what bars do then, behind the rows before it; a report due earlier comes first.
    Returns -1 when the report ring has no room."""
    request = request_key(vb, v)
    if v.resting > 0 and behind(v, events, n, order, time_of(v, due) + 1):
        # what bars do comes behind rows of its own time
        if merge(vb, v, events, n, order, due if due == request else due + 1) < 0:
            return -1
        if report_key(vb, v) < due:
            return 0
    if due != request:
        return move_bars(vb, v, events, n, order) if v.resting > 0 else 0
    if full(v):
        return -1
    idle = v.resting == 0
    deadline = first_after(v, request, v.class_data)
    if idle:
        sweep(vb, v, events, n, order, request)
        for k in range(v.openings_n):
            asked = V.requests(vb, v)[v.request_head & (v.requests_n - 1)].instrument
            open_unmet(vb, v, V.openings(vb, v)[k], events, n, order, deadline, asked)
    on_request(vb, time_of(v, request))
    if v.openings_n > 0 and v.resting > 0:
        if idle:
            watch_bars(vb, v, events, n, order, deadline)
        else:
            next_bars(vb, v, events, n, order)
    return 0


@fn
def venue_until(vb, v, events, n, order, until):
    """Everything at the venue before key `until`, rows, bars and requests in order; returns the key of what is next for us, which
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
