"""Inputs folded into the checker's own state: what the market showed, what the venue said of orders, what the operator did."""

from __future__ import annotations

from replay.events import (
    BAR,
    CONTROL,
    DEPTH,
    FEE,
    GAP,
    OP_END,
    OP_RESUME,
    OP_START,
    OPEN,
    PHASE,
    QUOTE,
    REPORT,
    SNAPSHOT,
    STATUS,
)
from replay.events import HALTED as MARKET_STOPPED
from replay.fuzz.kernel import rules as B
from replay.fuzz.kernel.layout import N_STATES, execs, held, live, markets, orders
from replay.kernel.fixed import money, mul_div
from replay.kernel.memory import apart, at, fn, hot
from replay.trader.layout import (
    ACTIVE,
    CANCELING,
    ENGINE,
    I64,
    LIMIT,
    NO_REQUEST,
    REPLACING,
    SLOT_BITS,
    SLOT_MASK,
    STOP,
    STOP_LIMIT,
    instruments,
    limits,
)
from replay.trader.layout import orders as trader_orders
from replay.trader.orders import (
    ACCEPTED,
    CANCELED,
    EXEC_BUST,
    EXEC_CANCEL_REJECTED,
    EXEC_CANCELED,
    EXEC_CORRECT,
    EXEC_EXPIRED,
    EXEC_GONE,
    EXEC_NEW,
    EXEC_REJECTED,
    EXEC_REPLACE_REJECTED,
    EXEC_REPLACED,
    EXEC_TRADE,
    EXEC_UNKNOWN,
    EXPIRED,
    FILLED,
    N_EXECS,
    PARTIAL,
    REJECTED,
    SUBMITTED,
    UNKNOWN,
)


@fn
def broke(c, h, rule, figure, bound, handle, where):
    """Note what is broken; the first finding stays."""
    apart()
    if c.broken == B.OK:
        c.broken = rule
        c.seq = h.seq
        c.now = h.now
        c.figure = figure
        c.bound = bound
        c.handle = handle
        c.where = where


@hot
def finished(state):
    return state >= FILLED and state <= EXPIRED


@fn
def most(o):
    """Lots the order may have traded: the larger leg of a replace that is out."""
    return max(o.qty, o.new_qty) if o.request == REPLACING else o.qty


@fn
def drop(cb, c, o):
    """Take an order off the list of those that may still trade."""
    apart()
    slots = live(cb, c)
    for k in range(c.n_live):
        if slots[k] == o.handle & SLOT_MASK:
            c.n_live -= 1
            slots[k] = slots[c.n_live]
            return


@fn
def end(cb, c, o, state, told):
    """An order is finished. What the venue has told of and we have not heard may still come."""
    o.state = state
    o.told = told
    if o.told <= o.cum:
        drop(cb, c, o)


@fn
def book(cb, c, i, o, qty, px):
    """`qty` lots at `px`, negative to take a fill back, to the account and to its strategy."""
    apart()
    paid = money(px, o.side * qty, i.num, i.den)
    for k in range(2):
        p = held(cb, c)[(0 if k == 0 else (1 + o.strategy) * c.n_instruments) + o.instrument]
        p.cost += cost_of(p, i, o.side * qty, px)
        p.qty += o.side * qty
        p.cash -= paid
        if qty > 0:
            p.fills += 1
    c.cash -= paid
    o.cum += qty


@fn
def cost_of(p, i, signed, px):
    """What `signed` lots at `px` change in the cost of a position: what closes takes its share along, what opens adds its own."""
    closed = min(abs(signed), abs(p.qty)) if p.qty * signed < 0 else 0
    opened = signed - (closed if signed > 0 else -closed)
    share = mul_div(p.cost, closed, abs(p.qty)) if closed > 0 else 0
    paid = money(px, signed, i.num, i.den)
    return paid - money(px, signed - opened, i.num, i.den) - share if opened != 0 else -share


@fn
def rejected(cb, c, tb, h):
    """The venue rejected an order: so many within the window, and the trader must not go on."""
    apart()
    times = at(cb + c.rejected_at, c.rejected_n, I64)
    times[c.n_rejected & (c.rejected_n - 1)] = h.now
    c.n_rejected += 1
    l = limits(tb, h)[0]
    most_ = l.reject_spike
    if 0 < most_ <= min(c.n_rejected, c.rejected_n):
        c.spike = h.now - times[(c.n_rejected - most_) & (c.rejected_n - 1)] <= l.reject_window_ns


@fn
def both_traded(cb, c, o):
    """Whether both legs of a pair have: what is too much of it is flattened."""
    s = orders(cb, c)[o.sibling & SLOT_MASK]
    return o.sibling != 0 and s.handle == o.sibling and s.cum > 0


@fn
def on_trade(cb, c, tb, h, o, e, entry_ns):
    apart()
    x = execs(cb, c)[e.id & (c.execs_n - 1)]
    if x.id == e.id:
        return  # heard before
    if o.state == FILLED or o.state == REJECTED or o.cum + e.b > most(o) or e.b <= 0:
        return  # it cannot be: the trader counts it, which is found
    c.traded = o.handle
    x.id = e.id
    x.handle = o.handle
    x.qty = e.b
    x.px = e.c
    book(cb, c, instruments(tb, h)[o.instrument], o, e.b, e.c)
    if e.ts_event < o.t_sent + entry_ns or e.ts_recv <= e.ts_event:
        broke(c, h, B.EARLY_FILL, e.ts_event, o.t_sent + entry_ns, o.handle, o.instrument)
    if (o.type == LIMIT or o.type == STOP_LIMIT) and o.side * (e.c - o.worst_px) > 0:
        broke(c, h, B.LIMIT_PX, e.c, o.worst_px, o.handle, o.instrument)
    if o.flags & ENGINE or both_traded(cb, c, o):
        markets(cb, c)[o.instrument].moved = max(markets(cb, c)[o.instrument].moved, 1)
    if finished(o.state):
        if o.told <= o.cum:
            drop(cb, c, o)
    elif o.cum >= most(o):
        end(cb, c, o, FILLED, 0)
    else:
        o.state = PARTIAL


@fn
def on_correction(cb, c, tb, h, o, e, bust):
    """A fill taken back, or booked anew."""
    apart()
    x = execs(cb, c)[e.id & (c.execs_n - 1)]
    qty = 0 if bust else e.b
    px = 0 if bust else e.c
    if x.id != e.id or x.handle != o.handle or (x.qty == qty and x.px == px) or o.cum + qty - x.qty > most(o):
        return
    i = instruments(tb, h)[o.instrument]
    if x.qty > 0:
        book(cb, c, i, o, -x.qty, x.px)
    if qty > 0:
        book(cb, c, i, o, qty, px)
    o.told += qty - x.qty
    o.back += x.qty - qty
    o.back_ts = max(o.back_ts, e.ts_event)
    x.qty = qty
    x.px = px
    markets(cb, c)[o.instrument].moved = max(markets(cb, c)[o.instrument].moved, 1)
    if not finished(o.state):
        o.state = PARTIAL if o.cum > 0 else ACCEPTED
        if o.cum >= most(o):
            end(cb, c, o, FILLED, 0)


@fn
def answered(cb, c, o):
    """The request that was out has its answer."""
    o.request = NO_REQUEST
    if not finished(o.state) and o.cum >= o.qty:
        end(cb, c, o, FILLED, 0)


@fn
def on_replaced(cb, c, o, e):
    apart()
    if o.request != REPLACING or e.b != o.new_qty or e.c != (o.px if o.type == STOP else o.new_px):
        return
    o.qty = o.new_qty
    if o.type == STOP:
        o.stop_px = o.new_px
    else:
        o.px = o.new_px
    answered(cb, c, o)


@fn
def on_report(cb, c, tb, h, e, entry_ns):
    """What a report makes of an order. A finished order stays so; only fills still move the position."""
    apart()
    slot = e.a & SLOT_MASK
    kind = e.flags >> 8
    known = slot < c.orders_n and orders(cb, c)[slot].handle == e.a
    if kind == EXEC_BUST or kind == EXEC_CORRECT:  # an exit that is held may have the slot, of which nothing was said
        x = trader_orders(tb, h)[slot]
        known = known and (x.handle == e.a or x.handle >> SLOT_BITS > c.ordinal)  # or what the report has led to: a flattener
    if kind >= N_EXECS or (not known and (kind == EXEC_BUST or kind == EXEC_CORRECT)):
        c.illegal += 1  # a status nobody knows, or a fill taken back of an order that is forgotten: somebody must reconcile
        if kind < N_EXECS:
            markets(cb, c)[e.instrument].moved = 2
    if not known or kind >= N_EXECS:
        return
    o = orders(cb, c)[slot]
    at(cb + c.arrived_at, c.arrived_n, I64)[kind * N_STATES + o.state] += 1
    done = finished(o.state)
    early = o.state == SUBMITTED or o.state == UNKNOWN
    if kind == EXEC_TRADE:
        on_trade(cb, c, tb, h, o, e, entry_ns)
    elif kind == EXEC_BUST or kind == EXEC_CORRECT:
        on_correction(cb, c, tb, h, o, e, kind == EXEC_BUST)
    elif kind == EXEC_REPLACED:
        on_replaced(cb, c, o, e)
    elif kind == EXEC_CANCEL_REJECTED:
        if o.request == CANCELING:
            answered(cb, c, o)
    elif kind == EXEC_REPLACE_REJECTED:
        if o.request == REPLACING:
            answered(cb, c, o)
    elif done:
        if kind == EXEC_GONE or (kind == EXEC_CANCELED and o.request == CANCELING):
            o.request = NO_REQUEST
    elif kind == EXEC_NEW:
        if early:
            o.state = PARTIAL if o.cum > 0 else ACCEPTED
    elif kind == EXEC_UNKNOWN:
        o.state = UNKNOWN
    elif kind == EXEC_CANCELED or kind == EXEC_GONE or kind == EXEC_EXPIRED or (kind == EXEC_REJECTED and early):
        told = min(e.d, most(o))
        if o.back_ts > e.ts_event:
            told -= o.back  # taken back after the venue had counted them here
        if kind == EXEC_GONE or (kind == EXEC_CANCELED and o.request == CANCELING):
            o.request = NO_REQUEST
        state = CANCELED if kind == EXEC_CANCELED or kind == EXEC_GONE else EXPIRED
        end(cb, c, o, REJECTED if kind == EXEC_REJECTED else state, told)
        if kind == EXEC_REJECTED:
            rejected(cb, c, tb, h)


@fn
def on_fee(cb, c, e):
    apart()
    c.cash -= e.b
    c.fees += e.b
    p = held(cb, c)[e.instrument]
    p.fees += e.b
    o = orders(cb, c)[e.a & SLOT_MASK]
    own = held(cb, c)[(1 + (o.strategy if o.handle == e.a else 0)) * c.n_instruments + e.instrument]
    own.fees += e.b
    own.cash -= e.b


@fn
def on_input(cb, c, tb, h, e, entry_ns):
    """One input of the trader."""
    apart()
    c.spike = 0
    c.traded = 0
    kind = e.kind
    if kind == REPORT:
        on_report(cb, c, tb, h, e, entry_ns)
    elif kind == FEE:
        on_fee(cb, c, e)
    elif kind == PHASE:
        for k in range(c.n_instruments):
            markets(cb, c)[k].phase = e.side
    elif kind == CONTROL:
        if e.side == OP_END:
            c.over = 1
        elif e.side == OP_START:
            c.started = 1
    elif e.instrument < c.n_instruments:
        m = markets(cb, c)[e.instrument]
        if kind == QUOTE:
            m.bid_px = e.a
            m.bid_sz = e.b
            m.ask_px = e.c
            m.ask_sz = e.d
            m.ts = h.now
            m.gapped = 0
        elif kind == DEPTH:
            m.ts = h.now
            if e.flags & GAP:
                m.gapped = 1
            elif e.flags & SNAPSHOT:
                m.gapped = 0
        elif kind == STATUS:
            m.halted = e.side == MARKET_STOPPED
        elif kind == BAR:
            m.close_ts = h.now


@fn
def rebase(c, h, e, was):
    """After an input: the figures that running limits are measured from. `was`: the trader's state before it."""
    if e.kind == CONTROL and e.side == OP_RESUME and was != ACTIVE:
        c.peak = h.equity
        c.day_base = h.equity
    elif e.kind == PHASE and e.side == OPEN and e.id != c.day:
        c.day = e.id
        c.day_base = h.equity
    c.peak = max(c.peak, h.equity)
