"""The replay loop: one total order over the market reaching the venue, our requests reaching it, its reports and the market
reaching us, and timers.

Everything has a key ``(t - t0) << 3 | class``; the lowest goes first, the classes at equal times come from the venue profile. Our
side and the venue's touch only through requests and reports, and each takes at least 1 ns. So while no order of ours rests at the
venue, its book is needed only when a request arrives: it is then brought forward in one sweep, and our side runs on without
merging the two streams row by row. With orders resting, the venue sees rows before anything they cause can reach us: usually
each one as it reaches us, being at hand then. Every way gives the same result: what the venue does with a row depends on rows
and requests before it, and nothing else.
"""

from __future__ import annotations

from replay.events import BAR, CONTROL, EVENT, INTENT, OP_END, REPORT, TIMER
from replay.kernel.memory import apart, at, entry, fn, hot, prefetch
from replay.trader import layout as T
from replay.trader.oms import expected, find
from replay.trader.orders import EXEC_UNKNOWN, finished
from replay.trader.output import FAULT_ROOM
from replay.trader.step import begin, consume, other_in, report_in, step
from replay.venue import layout as V
from replay.venue.book import apply_row
from replay.venue.faults import ask, awake, spoil_request
from replay.venue.fills import feed_row
from replay.venue.latency import arrival
from replay.venue.layout import NEVER
from replay.venue.stream import (
    AHEAD,
    behind,
    first_after,
    full,
    key_of,
    merge,
    report_key,
    request_key,
    row_address,
    sweep,
    time_of,
    venue_due,
    venue_next,
    venue_until,
)

STRETCH = 4096  # rows our side runs ahead of an idle venue: 256 KiB, well inside the second-level cache

# why `run` returned
DONE, PAUSED, DRAIN_OUTPUT, STOPPED = range(4)


@hot
def now_key(h, v):
    """Behind everything that has reached us."""
    return key_of(v, h.now, v.class_local)


@hot
def quickest(v):
    """How long any report takes at least, ns: what the venue does so late before something reaches us cannot be known to us then."""
    return max(v.latency[V.RESPONSE], 1) if v.mode[V.RESPONSE] != V.LOGNORMAL and v.windows_n == 0 else 1


@hot
def timer_key(tb, vb, h, v, last):
    """Key of the earliest timer; timers fire up to the session's end, and not while the trader is away."""
    if h.n_timers == 0:
        return NEVER
    ts = at(tb + h.timers_at, h.timers_n, T.TIMER_ROW)[0].ts
    if v.n_away != 0:
        ts = awake(vb, v, ts)
    return key_of(v, ts, v.class_timer) if ts <= last else NEVER


@hot
def next_other(tb, vb, h, v, last):
    """Key of the next thing that is no row: a report or timer reaching us, a request reaching the venue, bars that open there. Those of
    the report and of the venue come with it."""
    report = report_key(vb, v)
    venue = venue_due(vb, v)
    return min(min(report, timer_key(tb, vb, h, v, last)), venue), report, venue


@hot
def row_key(v, events, order):
    """Key of the next row that reaches us."""
    recorded = v.mode[V.FEED] == V.RECORDED
    e = at(events + 64 * v.local_i if recorded else row_address(events, order, v.local_i), 1, EVENT)[0]
    t = e.ts_recv if recorded else v.next_recv
    return key_of(v, t, v.class_control if e.kind == CONTROL or e.kind == INTENT else v.class_local)


@entry
def run(tb, vb, events, n, order, n_local, last):
    """Replay rows up to the `n_local`-th on our side, of `n` there are in venue order, in a session whose last instant is `last`.

    Returns PAUSED there, DONE when everything is delivered and drained, DRAIN_OUTPUT when the output ring wants emptying and
    STOPPED on a fault (`fault` in the trader's header says which).
    """
    h = T.header(tb)
    v = V.header(vb)
    limit = min(v.ours, n_local)
    if v.next_recv == 0:
        model_feed(v, events, n, order)
    while True:
        status = forward(tb, vb, h, v, events, n, order, limit, last)
        if status >= 0:
            return status
        if v.local_i < limit:
            status = between(tb, vb, h, v, events, n, order, last, row_key(v, events, order))
        else:
            status = beyond_rows(tb, vb, h, v, events, n, order, last)
        if status >= 0:
            return status


@hot
def forward(tb, vb, h, v, events, n, order, limit, last):
    """Rows reach us, one after another, until something else comes first or the limit is reached; -1 to go on."""
    i = v.local_i
    bound = next_other(tb, vb, h, v, last)[0]
    deadline = first_after(v, bound, v.class_local)
    recorded = v.mode[V.FEED] == V.RECORDED
    stretch = min(limit, i + STRETCH)
    table = V.books(vb, v)
    wait = quickest(v) - 1
    ahead = 1 if v.class_data < v.class_local else 0
    while True:
        if i == stretch:
            if v.resting == 0:
                # the rows are still in the cache: bring the venue's book along
                sweep(vb, v, events, n, order, min(now_key(h, v), request_key(vb, v)))
            if i == limit:
                return -1
            stretch = min(limit, i + STRETCH)
        address = events + 64 * i if recorded else row_address(events, order, i)
        e = at(address, 1, EVENT)[0]
        t = e.ts_recv if recorded else v.next_recv
        late = t >= deadline
        if e.kind > BAR and (e.kind == CONTROL or e.kind == INTENT):
            late = key_of(v, t, v.class_control) >= bound
        if late:
            return -1
        if v.resting > 0:
            tail = v.report_tail
            if v.venue_i == i and order == 0 and e.ts_event < t + ahead:
                # the venue sees the row just before we do, and it is at hand
                prefetch(address + AHEAD)
                v.venue_i = i + 1
                feed_row(vb, v, table[e.instrument], e)
            if v.report_tail == tail and behind(v, events, n, order, t - wait):
                merge(vb, v, events, n, order, key_of(v, t, v.class_local))
            if v.report_tail != tail:
                if full(v):
                    return no_room(h)
                return -1  # a report may come before the row
        elif v.venue_i == i and order == 0:
            # an idle venue in step with us: it has seen the row before we do, and this one is at hand, its kind just guessed
            apply_row(vb, v, table[e.instrument], e)
            v.venue_i = i + 1
        i += 1
        v.local_i = i
        if not recorded:
            model_feed(v, events, n, order)
        consume(tb, h, address, t)
        if h.attend:
            status = attend(tb, vb, h, v)
            if status >= 0:
                return status
            bound = next_other(tb, vb, h, v, last)[0]
            deadline = first_after(v, bound, v.class_local)


@hot
def no_room(h):
    """The report ring has no room for all that one row or request may cause."""
    h.fault = FAULT_ROOM
    return STOPPED


@hot
def attend(tb, vb, h, v):
    """What the trader left behind: commands leave; a fault or a nearly full output ring ends the stretch (>= 0)."""
    h.attend = 0
    if h.cmd_n:
        dispatch(tb, vb, h, v)
    if h.fault:
        return STOPPED
    full = h.out_n >= h.out_cap - T.OUT_MARGIN or (h.journal != 0 and h.journal_n >= h.journal_cap - 2)
    return DRAIN_OUTPUT if full else -1


@fn
def between(tb, vb, h, v, events, n, order, last, until):
    """All that is no row and comes before key `until`. Returns a status, -1 to go on."""
    apart()
    while True:
        due, report, venue = next_other(tb, vb, h, v, last)
        if due > until:
            return -1
        status = other(tb, vb, h, v, events, n, order, due, report, venue)
        if status >= 0:
            return status


@hot
def other(tb, vb, h, v, events, n, order, due, report, venue):
    """What is due at key `due` and is no row, `report` and `venue` as `next_other` says. Returns a status, -1 to go on; where rows cause a report that is due earlier, nothing
    has happened yet but those rows."""
    if due == venue:
        if venue_next(vb, v, events, n, order, due) < 0:
            return no_room(h)
        return -1
    if v.resting > 0 and behind(v, events, n, order, time_of(v, due) - quickest(v) + 1):
        reached = merge(vb, v, events, n, order, due)
        if reached < 0:
            return no_room(h)
        if reached < due:
            return -1
    if due == report:
        deliver(tb, vb, h, v)
    else:
        fire(tb, vb, h, v)
    return attend(tb, vb, h, v) if h.attend else -1


@fn
def beyond_rows(tb, vb, h, v, events, n, order, last):
    """No row is left to reach us, or to do so yet: a pause, or the data's end and what is still under way then."""
    apart()
    if v.local_i < v.ours:
        if venue_until(vb, v, events, n, order, now_key(h, v)) < 0:
            return no_room(h)
        if v.resting == 0:
            sweep(vb, v, events, n, order, min(now_key(h, v), request_key(vb, v)))
        return PAUSED
    if h.mode != T.DRAIN:
        end = h.now
        if order != 0 and h.now < last:
            # the feed has fallen silent before the session's end: time goes on
            end = last
            until = key_of(v, last, v.class_local)
            status = between(tb, vb, h, v, events, n, order, last, until)
            if status >= 0:
                return status
            if v.resting > 0:
                if merge(vb, v, events, n, order, until) < 0:
                    return no_room(h)
                if next_other(tb, vb, h, v, last)[0] <= until:
                    return -1
        own_event(tb, vb, v, CONTROL, OP_END, end, end, 0, 0)
        if h.attend:
            return attend(tb, vb, h, v)
        return -1
    status = between(tb, vb, h, v, events, n, order, last, NEVER - 1)
    if status >= 0:
        return status
    if v.resting > 0:
        if merge(vb, v, events, n, order, NEVER) < 0:
            return no_room(h)
        if report_key(vb, v) != NEVER or v.resting == 0:
            return -1
    sweep(vb, v, events, n, order, NEVER)
    return DONE


# --- what is no row ---------------------------------------------------------------------------------------------------------------
@fn
def dispatch(tb, vb, h, v):
    """Commands leave in call order and take the entry leg."""
    apart()
    commands = at(tb + h.commands_at, h.commands_n, T.COMMAND)
    ring = V.requests(vb, v)
    for k in range(h.cmd_n):
        c = commands[k]
        r = ring[v.request_tail & (v.requests_n - 1)]
        v.request_tail += 1
        r.key = key_of(v, arrival(v, V.ENTRY, h.now), v.class_request)
        r.handle = c.handle
        r.qty = c.qty
        r.px = c.px
        r.stop_px = c.stop_px
        r.instrument = c.instrument
        r.kind = c.kind
        r.side = c.side
        r.type = c.type
        r.tif = c.tif
        r.flags = c.flags
        r.ts = h.now
        if v.windows_n != 0:
            spoil_request(vb, v, h.now)
    h.cmd_n = 0


@fn
def awaited(tb, h, handle):
    """Whether we still wait for word of an order; where other reports have told its end, nobody asks."""
    apart()
    slot = find(tb, h, handle)
    return slot >= 0 and (not finished(T.orders(tb, h)[slot].state) or expected(T.orders(tb, h)[slot]))


@hot
def deliver(tb, vb, h, v):
    """The oldest report reaches us."""
    address = vb + v.reports_at + 64 * (v.report_head & (v.reports_n - 1))
    v.report_head += 1
    if v.windows_n != 0 and at(address, 1, EVENT)[0].flags >> 8 == EXEC_UNKNOWN:
        if not awaited(tb, h, at(address, 1, EVENT)[0].a):
            return
        ask(vb, v, at(address, 1, EVENT)[0])
    begin(tb, h, address, at(address, 1, EVENT)[0].ts_recv)
    h.kinds[at(address, 1, EVENT)[0].kind & 31] += 1
    if at(address, 1, EVENT)[0].kind == REPORT:
        report_in(tb)
    else:
        other_in(tb)


@fn
def fire(tb, vb, h, v):
    """The earliest timer fires."""
    apart()
    top = at(tb + h.timers_at, h.timers_n, T.TIMER_ROW)[0]
    own_event(tb, vb, v, TIMER, 0, top.ts, awake(vb, v, top.ts), top.timer_id, top.strategy)


@fn
def own_event(tb, vb, v, kind, side, due, ts, ident, a):
    """An input that is in no recording."""
    apart()
    e = at(vb + v.scratch_at, 1, EVENT)[0]
    e.ts_event = due
    e.ts_recv = ts
    e.kind = kind
    e.side = side
    e.id = ident
    e.a = a
    step(tb, vb + v.scratch_at, ts)


@fn
def model_feed(v, events, n, order):
    """With a modelled feed leg rows reach us in venue order; draw the next one's time once."""
    apart()
    if v.mode[V.FEED] != V.RECORDED and v.local_i < n:
        v.next_recv = arrival(v, V.FEED, at(row_address(events, order, v.local_i), 1, EVENT)[0].ts_event)
