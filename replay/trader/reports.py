"""Reports of the venue applied to orders, by the table `replay.trader.orders.TRANSITIONS`: in any order, twice, late or never.

Only news changes anything. What cannot be changes nothing and halts the trader until somebody reconciles.
"""

from __future__ import annotations

from replay.kernel.fixed import mul_div
from replay.kernel.memory import apart, at, fn, hot
from replay.trader import reasons as R
from replay.trader.groups import RETRY_NS, enlarge, outgrown
from replay.trader.layout import (
    CANCELING,
    ENDED,
    FILL,
    KILLED,
    NO_REQUEST,
    REPLACING,
    SLOT_BITS,
    STOP,
    orders,
    strategies,
    views,
)
from replay.trader.ledger import added, on_fill
from replay.trader.oms import answered, close_order, expose, find, movable_px, recount, wanted_qty, worst
from replay.trader.orders import (
    ACCEPTED,
    EXEC_BUST,
    EXEC_CANCEL_REJECTED,
    EXEC_CANCELED,
    EXEC_CORRECT,
    EXEC_GONE,
    EXEC_REJECTED,
    EXEC_REPLACE_REJECTED,
    EXEC_REPLACED,
    EXEC_TRADE,
    FILLED,
    ILLEGAL,
    N_EXECS,
    PARTIAL,
    SAME,
    TRANSITIONS,
    UNKNOWN,
    finished,
)
from replay.trader.output import OUT_REPORT, chain, emit, emit_seen
from replay.trader.risk import halt, on_reject
from replay.trader.timers import arm


@fn
def fill_row(tb, h, o, exec_id):
    """Index of the fill with this exec_id among the order's fills, -1 if new."""
    ring = at(tb + h.fills_at, h.fills_n, FILL)
    s = o.exec_seq
    while s >= 0:
        f = ring[s & (h.fills_n - 1)]
        if f.seq != s or f.handle != o.handle:
            return -1
        if f.exec_id == exec_id:
            return s & (h.fills_n - 1)
        s = f.older
    return -1


@hot
def book_fill(tb, h, o, exec_id, qty, px):
    """A new fill: remembered for duplicates and busts, booked, taken off the exposure."""
    ring = at(tb + h.fills_at, h.fills_n, FILL)
    f = ring[h.n_fills & (h.fills_n - 1)]
    f.exec_id = exec_id
    f.handle = o.handle
    f.qty = qty
    f.px = px
    f.seq = h.n_fills
    f.older = o.exec_seq
    o.exec_seq = h.n_fills
    h.n_fills += 1
    o.cum += qty
    o.paid = added(h, o.instrument, o.paid, mul_div(qty, px, 1))
    strategies(tb, h)[o.strategy].fills += 1
    on_fill(tb, h, o.instrument, o.strategy, o.side * qty, px)


@fn
def correct_fill(tb, h, o, e, bust):
    """Undo a fill, and for a correction book it anew; True if it was news. Illegal: not known (any more), or more than the order."""
    apart()
    k = fill_row(tb, h, o, e.id)
    qty = 0 if bust else e.b
    px = 0 if bust else e.c
    if k < 0 or qty < 0:
        return illegal(tb, h, R.ILLEGAL_REPORT)
    f = at(tb + h.fills_at, h.fills_n, FILL)[k]
    if f.qty == qty and f.px == px:
        h.c_duplicate += 1
        return False
    if o.cum + qty - f.qty > most_of(o):
        return illegal(tb, h, R.ILLEGAL_REPORT)
    if f.qty > 0:
        on_fill(tb, h, o.instrument, o.strategy, -o.side * f.qty, f.px)
    if qty > 0:
        on_fill(tb, h, o.instrument, o.strategy, o.side * qty, px)
    o.cum += qty - f.qty
    o.paid = added(h, o.instrument, o.paid, mul_div(qty, px, 1))
    o.paid = added(h, o.instrument, o.paid, -mul_div(f.qty, f.px, 1))
    o.undone += f.qty - qty
    o.undone_ts = max(o.undone_ts, e.ts_event)
    f.qty = qty
    f.px = px
    h.c_busts += 1
    if not finished(o.state):
        o.state = PARTIAL if o.cum > 0 else ACCEPTED
        traded(tb, h, o)
    return True


@fn
def most_of(o):
    """Lots the venue may have traded of an order, finished or not: the larger leg of a replace that is out."""
    return max(o.qty, o.new_qty) if o.request == REPLACING else o.qty


@fn
def told(o, e):
    """Lots the venue had traded when it said that an order had ended, less those taken back since then of which we have heard before."""
    lots = min(e.d, most_of(o))
    return lots - o.undone if e.ts_event < o.undone_ts else lots


@fn
def traded(tb, h, o):
    """A working order's quantities changed: it is finished, or counts with what is left."""
    if o.cum >= most_of(o):
        expose(tb, h, o, 0)
        close_order(tb, h, o, FILLED)
    else:
        expose(tb, h, o, worst(tb, h, o))


@fn
def illegal(tb, h, reason):
    """A report that cannot be: nothing is booked, the trader halts until somebody reconciles."""
    apart()
    h.c_illegal += 1
    halt(tb, h, reason)
    return False


@hot
def on_trade_report(tb, h, o, e, to):
    if fill_row(tb, h, o, e.id) >= 0:
        h.c_duplicate += 1
        return False
    if to == ILLEGAL or e.b <= 0 or o.cum + e.b > most_of(o):
        return illegal(tb, h, R.ILLEGAL_REPORT)
    book_fill(tb, h, o, e.id, e.b, e.c)
    if finished(o.state):
        h.c_late += 1  # it crossed our cancel, or came behind it
        expose(tb, h, o, max(0, o.exposed - e.b))
    else:
        o.state = PARTIAL
        traded(tb, h, o)
    return True


@fn
def granted(o, e):
    """Take over the replace that a report grants; False if it is not the one that is out."""
    px = o.px if o.type == STOP else o.new_px  # a report names the limit price, which a stop has not
    if o.request != REPLACING or e.b != o.new_qty or e.c != px:
        return False
    o.qty = o.new_qty
    o.px = px
    if o.type == STOP:
        o.stop_px = o.new_px
    return True


@fn
def on_replaced(tb, h, o, e):
    apart()
    if not granted(o, e):
        h.c_duplicate += 1
        return False
    if o.group > ENDED and o.waiting == NO_REQUEST and o.qty > o.group_qty:  # whoever holds more made an exit larger
        enlarge(tb, h, o)
    conclude(tb, h, o)
    return True


@fn
def after_the_end(h, o, e, kind):
    """A report, not of a fill, about a finished order: no news, but perhaps the answer its slot waits for."""
    apart()
    if kind == EXEC_CANCEL_REJECTED or kind == EXEC_REPLACE_REJECTED:
        h.c_too_late += 1  # our request crossed the order's end, which another report told
    else:
        h.c_duplicate += 1
    cancel_answered = o.request == CANCELING and (kind == EXEC_CANCEL_REJECTED or kind == EXEC_CANCELED)
    replace_answered = o.request == REPLACING and (kind == EXEC_REPLACE_REJECTED or (kind == EXEC_REPLACED and granted(o, e)))
    if cancel_answered or replace_answered or kind == EXEC_GONE:
        o.request = NO_REQUEST
    return False


@fn
def conclude(tb, h, o):
    """The outstanding request has its answer: the order is finished if it has traded all it could, else what waited goes out."""
    apart()
    if o.cum >= o.qty:
        o.request = NO_REQUEST
        expose(tb, h, o, 0)
        close_order(tb, h, o, FILLED)
    else:
        answered(tb, h, o)


@fn
def on_refused_request(tb, h, o, request):
    """A cancel or replace was rejected: usually because the order just finished, which another report says."""
    if o.request != request:
        h.c_duplicate += 1
        return False
    wanted = wanted_qty(o)
    px = o.new_px
    grows = (
        request == REPLACING
        and o.second != 0
        and o.group > ENDED
        and o.waiting != CANCELING
        and px == movable_px(o)
        and wanted > o.qty
    )
    conclude(tb, h, o)
    if grows and h.state != KILLED:
        exit_is_short(tb, h, o, wanted, px)
    return True


@fn
def exit_is_short(tb, h, o, wanted, px):
    """The venue did not let an exit grow with its position: it is asked again a little later, or closes the rest if it is done."""
    apart()
    if finished(o.state):
        outgrown(tb, h, o, wanted - o.qty)
    elif o.request == NO_REQUEST:
        o.waiting = REPLACING
        o.next_qty = wanted
        o.next_px = px
        recount(tb, h, o)
        arm(tb, h, h.now + RETRY_NS)


@fn
def forgotten(tb, h, e, kind):
    """A report, out of time, of an order of ours that has finished and whose slot another has: no news, unless it is a fill that was
    never booked."""
    apart()
    ordinal = e.a >> SLOT_BITS
    if ordinal <= 0 or ordinal > h.ordinal or kind >= N_EXECS or kind == EXEC_BUST or kind == EXEC_CORRECT:
        return False
    if kind != EXEC_TRADE:
        return True
    ring = at(tb + h.fills_at, h.fills_n, FILL)
    known = False
    for k in range(min(h.n_fills, h.fills_n)):
        known = known or (ring[k].exec_id == e.id and ring[k].handle == e.a)
    return known


@hot
def on_report(tb, h, e):
    """Apply one report; True if it was news. `e` is a REPORT record."""
    slot = find(tb, h, e.a)
    kind = e.flags >> 8
    if slot < 0 and forgotten(tb, h, e, kind):
        h.c_late += 1
        return False
    if slot < 0:
        h.c_unknown += 1
        return illegal(tb, h, R.UNKNOWN_ORDER)
    o = orders(tb, h)[slot]
    h.strategy = o.strategy
    if kind >= N_EXECS:
        h.c_unknown += 1
        return illegal(tb, h, R.UNKNOWN_STATUS)
    to = int(TRANSITIONS[o.state, kind])
    news = apply_report(tb, h, o, e, kind, to)
    if news:
        o.t_last = h.now
        chain(h, (o.handle >> SLOT_BITS) << 16 | kind << 8 | o.state, e.b, e.c, 0, 0)
    emit(
        h, o.strategy, OUT_REPORT, o.side, (kind << 8) | (e.flags & 0xFF), e.instrument, e.id, e.a, e.b, e.c, o.state << 1 | news
    )
    if kind == EXEC_TRADE:
        emit_seen(h, views(tb, h)[o.instrument], 1, o.handle, e.ts_event, 0)
    return news


@hot
def apply_report(tb, h, o, e, kind, to):
    """The transition itself."""
    if kind == EXEC_TRADE:
        return on_trade_report(tb, h, o, e, to)
    if to == ILLEGAL:
        return illegal(tb, h, R.ILLEGAL_REPORT)
    if kind == EXEC_BUST or kind == EXEC_CORRECT:
        return correct_fill(tb, h, o, e, kind == EXEC_BUST)
    if finished(o.state):
        return after_the_end(h, o, e, kind)
    if kind == EXEC_REPLACED:
        return on_replaced(tb, h, o, e)
    if kind == EXEC_CANCEL_REJECTED:
        return on_refused_request(tb, h, o, CANCELING)
    if kind == EXEC_REPLACE_REJECTED:
        return on_refused_request(tb, h, o, REPLACING)
    if to == SAME:
        h.c_duplicate += 1
        return False
    if finished(to):
        if kind == EXEC_REJECTED:
            on_reject(tb, h)
        # fills the venue has told of that have not reached us yet still count
        expose(tb, h, o, max(0, told(o, e) - o.cum))
        if kind == EXEC_GONE or (kind == EXEC_CANCELED and o.request == CANCELING):
            o.request = NO_REQUEST
        close_order(tb, h, o, to)
        return True
    if to == UNKNOWN and o.state == UNKNOWN:
        h.c_duplicate += 1
        return False
    o.state = PARTIAL if to == ACCEPTED and o.cum > 0 else to
    return True
