"""What goes wrong between the venue and us: requests and reports that are lost, late, twice or out of order.

The venue's own state stays right; only what passes between it and us is touched. A window (`layout.WINDOW`) says when, whom and how
often; whether it strikes one message is drawn for that message and no other, so that one more order changes nothing for the rest.

Whoever gets no answer must ask. Of a lost message we learn nothing until `timeout` is over: then the order is unknown to us
(EXEC_UNKNOWN), and a look-up that reaches the venue after `lookup` brings the truth. That stands for the connection to a broker, which is
no part of the trader; a look-up and its answers are never lost, so that every order is known again in the end.
"""

from __future__ import annotations

from replay.events import EVENT, REPORT
from replay.kernel.memory import apart, at, copy64, fn
from replay.kernel.rng import draw
from replay.trader.orders import EXEC_CANCEL_REJECTED, EXEC_REPLACE_REJECTED, EXEC_REPLACED, EXEC_TRADE, EXEC_UNKNOWN
from replay.venue.latency import arrival, slowed
from replay.venue.layout import (
    BUST,
    CORRECT,
    CRASH,
    ENTRY,
    GARBLED,
    LOOK_UP,
    NOT_SAID,
    REPORT_BUST,
    REPORT_CORRECT,
    REPORT_GARBLED,
    REPORT_LATE,
    REPORT_LOST,
    REPORT_SLOW,
    REPORT_TWICE,
    REQUEST_LOST,
    REQUEST_SLOW,
    RESPONSE,
    reports,
    requests,
    windows,
)

MILLION = 1_000_000


@fn
def drawn(v, w, ts, what, handle, cum):
    """Random bits of one message: at least 0, below 2**52."""
    return (draw(draw(v.fault_seed, w.ident, ts, handle), w.kind, what, cum) >> 12) & ((1 << 52) - 1)


@fn
def chosen(vb, v, kind, ts, instrument, what, handle, cum):
    """The same, not noted."""
    apart()
    table = windows(vb, v)
    for k in range(v.windows_n):
        w = table[k]
        if w.kind != kind or ts < w.start or ts >= w.end or (w.what >> what) & 1 == 0:
            continue
        if (w.instrument < 0 or w.instrument == instrument) and drawn(v, w, ts, what, handle, cum) % MILLION < w.ppm:
            return k
    return -1


@fn
def note(vb, v, w, ts, instrument, what, handle):
    """Keep that a window struck, for the run's tables."""
    e = at(vb + v.hits_at, v.hits_n, EVENT)[v.n_hits]
    v.n_hits += 1
    e.ts_event = ts
    e.kind = w.kind
    e.flags = what
    e.instrument = instrument
    e.id = w.ident
    e.a = handle


@fn
def strikes(vb, v, kind, ts, instrument, what, handle, cum):
    """Index of the window that strikes this message (`what`: its command or execution type), -1 where none does. It is noted."""
    apart()
    k = chosen(vb, v, kind, ts, instrument, what, handle, cum)
    if k >= 0:
        note(vb, v, windows(vb, v)[k], ts, instrument, what, handle)
    return k


# --- the trader is away -----------------------------------------------------------------------------------------------------
@fn
def awake(vb, v, ts):
    """When what comes at `ts` is taken: then, or when the trader is there again."""
    apart()
    table = windows(vb, v)
    for k in range(v.n_away):
        if table[k].start <= ts < table[k].end:
            ts = table[k].end
    return ts


@fn
def away(vb, v, ts):
    """Index of the window for which what comes at `ts` is not taken then: of a crash before one of a pause; -1 for none."""
    apart()
    table = windows(vb, v)
    found = -1
    for k in range(v.n_away):
        w = table[k]
        if w.start <= ts < w.end:
            ts = w.end
            if found < 0 or w.kind == CRASH:
                found = k
    return found


# --- both ways stay sorted by arrival ---------------------------------------------------------------------------------------
@fn
def spare(vb, v, k):
    """Address of a row to put something aside in: the last two of the lost ones."""
    return vb + v.lost_at + 64 * (v.lost_n - 1 - k)


@fn
def place_report(vb, v):
    """Move the newest report to where it belongs by its arrival; no report is taken while the trader is away."""
    apart()
    ring = reports(vb, v)
    mask = v.reports_n - 1
    base = vb + v.reports_at
    k = v.report_tail - 1
    ring[k & mask].ts_recv = awake(vb, v, ring[k & mask].ts_recv)
    when = ring[k & mask].ts_recv
    if k == v.report_head or ring[(k - 1) & mask].ts_recv <= when:
        return
    copy64(spare(vb, v, 0), base + 64 * (k & mask))
    while k > v.report_head and ring[(k - 1) & mask].ts_recv > when:
        copy64(base + 64 * (k & mask), base + 64 * ((k - 1) & mask))
        k -= 1
    copy64(base + 64 * (k & mask), spare(vb, v, 0))


@fn
def place_request(vb, v):
    """Move the newest request to where it belongs by its arrival."""
    apart()
    ring = requests(vb, v)
    mask = v.requests_n - 1
    base = vb + v.requests_at
    k = v.request_tail - 1
    key = ring[k & mask].key
    if k == v.request_head or ring[(k - 1) & mask].key <= key:
        return
    copy64(spare(vb, v, 0), base + 64 * (k & mask))
    while k > v.request_head and ring[(k - 1) & mask].key > key:
        copy64(base + 64 * (k & mask), base + 64 * ((k - 1) & mask))
        k -= 1
    copy64(base + 64 * (k & mask), spare(vb, v, 0))


# --- requests ---------------------------------------------------------------------------------------------------------------
@fn
def spoil_request(vb, v, now):
    """What becomes of the request that has just been sent."""
    apart()
    r = requests(vb, v)[(v.request_tail - 1) & (v.requests_n - 1)]
    slow = strikes(vb, v, REQUEST_SLOW, now, r.instrument, r.kind, r.handle, 0)
    if slow >= 0:
        r.key = (slowed(v, ENTRY, now, windows(vb, v)[slow].factor) - v.t0) << 3 | v.class_request
    lost = strikes(vb, v, REQUEST_LOST, now, r.instrument, r.kind, r.handle, 0)
    if lost >= 0:
        v.request_tail -= 1
        w = windows(vb, v)[lost]
        unanswered(vb, v, w, now, now + w.timeout, r.side, r.instrument, r.handle, r.kind)
    else:
        place_request(vb, v)


@fn
def unanswered(vb, v, w, ts, when, side, instrument, handle, request):
    """No word of an order will come: at `when` we call it unknown. `request`: the command that was lost, -1 for none."""
    apart()
    if v.report_tail - v.report_head >= v.reports_n - 1:
        v.overrun = 1
        return
    e = reports(vb, v)[v.report_tail & (v.reports_n - 1)]
    v.report_tail += 1
    e.ts_event = ts
    e.ts_recv = when
    e.kind = REPORT
    e.side = side
    e.flags = EXEC_UNKNOWN << 8
    e.instrument = instrument
    e.id = w.lookup << 4 | (request + 1)
    e.a = handle
    e.b = 0
    e.c = 0
    e.d = 0
    place_report(vb, v)


@fn
def ask(vb, v, e):
    """We call an order unknown (`e`), and look it up."""
    apart()
    r = requests(vb, v)[v.request_tail & (v.requests_n - 1)]
    v.request_tail += 1
    r.key = (e.ts_recv + (e.id >> 4) - v.t0) << 3 | v.class_request
    r.handle = e.a
    r.qty = 0
    r.px = 0
    r.stop_px = 0
    r.instrument = e.instrument
    r.kind = LOOK_UP
    r.side = e.side
    r.type = (e.id & 15) - 1
    r.tif = 0
    r.flags = 0
    r.ts = e.ts_recv
    place_request(vb, v)


# --- reports ----------------------------------------------------------------------------------------------------------------
@fn
def spoil_report(vb, v, ts):
    """What becomes of the report that has just been said. The answers to a cancel or replace never come twice: they name no request,
    and would be taken for the answer to the next one."""
    apart()
    k = v.report_tail - 1
    e = reports(vb, v)[k & (v.reports_n - 1)]
    what = e.flags >> 8
    slow = strikes(vb, v, REPORT_SLOW, ts, e.instrument, what, e.a, e.d)
    if slow >= 0:
        e.ts_recv = slowed(v, RESPONSE, ts, windows(vb, v)[slow].factor)
    lost = chosen(vb, v, REPORT_LOST, ts, e.instrument, what, e.a, e.d)
    if lost >= 0 and v.n_lost >= v.lost_n - 3:
        v.c_spared += 1  # what is lost is kept for the look-up, and there is no room to
    elif lost >= 0:
        lose(vb, v, windows(vb, v)[lost], ts, ts + windows(vb, v)[lost].timeout)
        return
    late = strikes(vb, v, REPORT_LATE, ts, e.instrument, what, e.a, e.d)
    if late >= 0:
        w = windows(vb, v)[late]
        e.ts_recv += 1 + drawn(v, w, ts, what, e.a, e.d + 1) % w.ns
    gone = away(vb, v, e.ts_recv)
    if gone >= 0 and windows(vb, v)[gone].kind == CRASH:
        if v.n_lost < v.lost_n - 3:
            lose(vb, v, windows(vb, v)[gone], ts, awake(vb, v, e.ts_recv))
            return
        v.c_spared += 1
    elif gone >= 0:
        note(vb, v, windows(vb, v)[gone], ts, e.instrument, what, e.a)
    v.said_recv = awake(vb, v, e.ts_recv)
    garbled = strikes(vb, v, REPORT_GARBLED, ts, e.instrument, what, e.a, e.d)
    if what == EXEC_TRADE:
        if not reconsidered(vb, v, REPORT_BUST, BUST, e):
            reconsidered(vb, v, REPORT_CORRECT, CORRECT, e)
    answer = what == EXEC_CANCEL_REJECTED or what == EXEC_REPLACE_REJECTED or what == EXEC_REPLACED
    twice = -1 if answer else strikes(vb, v, REPORT_TWICE, ts, e.instrument, what, e.a, e.d)
    copy64(spare(vb, v, 1), vb + v.reports_at + 64 * (k & (v.reports_n - 1)))
    place_report(vb, v)
    if twice >= 0:
        again(vb, v).ts_recv += windows(vb, v)[twice].ns
        place_report(vb, v)
    if garbled >= 0:
        again(vb, v).flags = GARBLED << 8
        place_report(vb, v)


@fn
def lose(vb, v, w, ts, when):
    """The newest report never reaches us: at `when` we call its order unknown, and look it up."""
    apart()
    e = reports(vb, v)[(v.report_tail - 1) & (v.reports_n - 1)]
    side = e.side
    instrument = e.instrument
    handle = e.a
    note(vb, v, w, ts, instrument, e.flags >> 8, handle)
    keep_lost(vb, v)
    v.said_recv = NOT_SAID
    unanswered(vb, v, w, ts, when, side, instrument, handle, -1)


@fn
def again(vb, v):
    """A copy of the report that was put aside, as the newest."""
    address = vb + v.reports_at + 64 * (v.report_tail & (v.reports_n - 1))
    copy64(address, spare(vb, v, 1))
    v.report_tail += 1
    return at(address, 1, EVENT)[0]


@fn
def reconsidered(vb, v, kind, request, e):
    """Whether the venue is to take the fill of this report back, or to correct its price, once we have heard of it."""
    apart()
    k = chosen(vb, v, kind, e.ts_event, e.instrument, EXEC_TRADE, e.a, e.d)
    if k < 0:
        return False
    if v.request_tail - v.request_head > v.requests_n // 2:
        v.c_spared += 1
        return False
    note(vb, v, windows(vb, v)[k], e.ts_event, e.instrument, EXEC_TRADE, e.a)
    r = requests(vb, v)[v.request_tail & (v.requests_n - 1)]
    v.request_tail += 1
    r.key = (e.ts_recv + windows(vb, v)[k].ns - v.t0) << 3 | v.class_request
    r.handle = e.a
    r.qty = e.b
    r.px = e.c
    r.stop_px = e.id
    r.instrument = e.instrument
    r.kind = request
    r.side = e.side
    r.type = 0
    r.tif = 0
    r.flags = 0
    r.ts = e.ts_recv
    place_request(vb, v)
    return True


@fn
def keep_lost(vb, v):
    """The newest report, or fee, is lost on its way: the venue still knows of it. A fee has room where its fill had."""
    v.report_tail -= 1
    copy64(vb + v.lost_at + 64 * v.n_lost, vb + v.reports_at + 64 * (v.report_tail & (v.reports_n - 1)))
    v.n_lost += 1


@fn
def redeliver(vb, v, handle, ts):
    """Say again every report of an order that was lost, with its own exec_id."""
    apart()
    kept = 0
    base = vb + v.lost_at
    for k in range(v.n_lost):
        if at(base + 64 * k, 1, EVENT)[0].a == handle:
            again = vb + v.reports_at + 64 * (v.report_tail & (v.reports_n - 1))
            copy64(again, base + 64 * k)
            v.report_tail += 1
            at(again, 1, EVENT)[0].ts_recv = arrival(v, RESPONSE, ts)
            place_report(vb, v)
        else:
            copy64(base + 64 * kept, base + 64 * k)
            kept += 1
    v.n_lost = kept
