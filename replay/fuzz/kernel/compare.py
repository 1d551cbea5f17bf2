"""The trader's books against the checker's, after every input; the lists they are kept in, now and then; the venue's at the end."""

from __future__ import annotations

from replay.events import QUOTE, TIMER
from replay.fuzz.kernel import rules as B
from replay.fuzz.kernel.commands import leaves, may_trade
from replay.fuzz.kernel.inputs import broke, finished
from replay.fuzz.kernel.layout import TIMER as TIMER_COPY
from replay.fuzz.kernel.layout import held, live, markets, orders
from replay.kernel.fixed import mul_div
from replay.kernel.memory import apart, at, fn
from replay.trader import layout as T
from replay.trader.layout import SLOT_MASK
from replay.trader.orders import ACCEPTED, FREE, NEW, PARTIAL
from replay.venue import layout as V


@fn
def order_rows(cb, c, tb, h, instrument):
    """Every order that works: the trader's row against what its reports and requests made of it."""
    apart()
    table = T.orders(tb, h)
    slots = live(cb, c)
    for k in range(c.n_live):
        o = orders(cb, c)[slots[k]]
        x = table[slots[k]]
        if x.handle != o.handle:
            broke(c, h, B.LOST_ORDER, x.handle, o.handle, o.handle, o.instrument)
            return
        if x.state != o.state:
            broke(c, h, B.ORDER_STATE, x.state, o.state, o.handle, o.instrument)
        if x.cum != o.cum or (x.qty != o.qty and not finished(o.state)):
            broke(c, h, B.ORDER_QTY, x.cum, o.cum, o.handle, o.instrument)
        if x.request != o.request:
            broke(c, h, B.ORDER_REQUEST, x.request, o.request, o.handle, o.instrument)
        if c.state == T.KILLED and not c.over and not finished(o.state) and not o.flags & T.ENGINE:
            if x.request != T.CANCELING and x.waiting != T.CANCELING:
                broke(c, h, B.NOT_CANCELLED, x.state, x.request, o.handle, o.instrument)


@fn
def pair(cb, c, tb, h):
    """A fill of one leg with which the pair has traded all that it may: the other is finished, or being cancelled."""
    apart()
    leg = orders(cb, c)[c.traded & SLOT_MASK]
    other = orders(cb, c)[leg.sibling & SLOT_MASK]
    if c.traded == 0 or leg.handle != c.traded or leg.sibling == 0 or other.handle != leg.sibling or finished(other.state):
        return
    table = T.orders(tb, h)
    x = table[other.handle & SLOT_MASK]
    if leg.cum + other.cum >= x.group_qty and x.request != T.CANCELING and x.waiting != T.CANCELING:
        broke(c, h, B.PAIR, leg.cum + other.cum, x.group_qty, other.handle, other.instrument)


@fn
def excess(cb, c, tb, h, o, lots):
    """Of the `lots` an order counts with, those that no limit keeps us from. Once one leg of a pair has traded, the other is being
    cancelled or made smaller; where it trades first, the excess is flattened. Exits close what is there, and make way for an order that
    does; the engine's own orders close a position while the cancels of the others are on their way."""
    apart()
    x = T.orders(tb, h)[o.handle & SLOT_MASK]
    if o.flags & (T.ENGINE | T.REDUCE_ONLY) or o.exit or (o.sibling != 0 and x.request != T.NO_REQUEST):
        return lots
    if o.sibling != 0:
        s = orders(cb, c)[o.sibling & SLOT_MASK]
        if s.handle == o.sibling:
            if s.cum > 0:
                o.spare = 1
            if not finished(s.state) and not finished(o.state) and not o.second and o.cum + s.cum > 0:
                return lots - leaves(tb, h, o if o.cum > 0 else s, True)
    return lots if o.spare else 0


@fn
def exposed(cb, c, tb, h, instrument):
    """What counts against the limits: the orders summed up anew, with wishes that wait behind a request."""
    apart()
    n = c.n_instruments
    rows = held(cb, c)
    for s in range(1 + c.n_strategies):
        rows[s * n + instrument].buying = 0
        rows[s * n + instrument].selling = 0
    m = markets(cb, c)[instrument]
    m.spare_buy = 0
    m.spare_sell = 0
    slots = live(cb, c)
    for k in range(c.n_live):
        o = orders(cb, c)[slots[k]]
        if o.instrument != instrument:
            continue
        lots = may_trade(cb, c, tb, h, o, True)
        if o.side > 0:
            m.spare_buy += excess(cb, c, tb, h, o, lots)
        else:
            m.spare_sell += excess(cb, c, tb, h, o, lots)
        for s in range(2):
            row = rows[(0 if s == 0 else (1 + o.strategy) * n) + instrument]
            row.buying += lots if o.side > 0 else 0
            row.selling += 0 if o.side > 0 else lots
    v = T.views(tb, h)[instrument]
    if rows[instrument].buying != v.buying or rows[instrument].selling != v.selling:
        broke(c, h, B.EXPOSURE, v.buying - v.selling, rows[instrument].buying - rows[instrument].selling, 0, instrument)


@fn
def positions(cb, c, tb, h, instrument):
    """Positions, exposure, fees and the position limit of one instrument, of the account and of every strategy."""
    apart()
    exposed(cb, c, tb, h, instrument)
    n = c.n_instruments
    v = T.views(tb, h)[instrument]
    rows = T.positions(tb, h)
    for s in range(1 + c.n_strategies):
        p = rows[s * n + instrument]
        m = held(cb, c)[s * n + instrument]
        if p.qty != m.qty or p.qty != p.bought - p.sold or (s == 0 and v.pos != m.qty):
            broke(c, h, B.POSITION, p.qty, m.qty, 0, instrument)
        if s > 0 and (p.buying != m.buying or p.selling != m.selling):
            broke(c, h, B.EXPOSURE, p.buying - p.selling, m.buying - m.selling, 0, instrument)
        if p.cost != m.cost:
            broke(c, h, B.COST, p.cost, m.cost, 0, instrument)
        if p.fees != m.fees or (s > 0 and p.cash != m.cash):
            broke(c, h, B.CASH, p.fees, m.fees, 0, instrument)
        most_held = T.limits(tb, h)[s * n + instrument].max_position
        seen = markets(cb, c)[instrument]
        if most_held > 0 and not seen.moved:
            if m.qty + m.buying - seen.spare_buy > most_held or m.qty - m.selling + seen.spare_sell < -most_held:
                broke(c, h, B.MAX_POSITION, m.qty + m.buying, most_held, 0, instrument)


@fn
def account(cb, c, tb, h):
    """Money: cash and fees, conservation, equity, the floor of the running limits."""
    apart()
    cash = 0
    fees = 0
    table = T.currencies(tb, h)
    for k in range(h.currencies_n):
        r = table[k]
        cash += r.cash
        fees += r.fees
        if r.cash + r.cost - r.realised + r.fees != r.initial:
            broke(c, h, B.CONSERVATION, r.cash + r.cost - r.realised + r.fees, r.initial, 0, -1)
    if cash != c.cash or fees != c.fees:
        broke(c, h, B.CASH, cash, c.cash, 0, -1)
    value = 0
    for k in range(c.n_instruments):
        v = T.views(tb, h)[k]
        i = T.instruments(tb, h)[k]
        own = mul_div(v.pos * v.mark2, i.value_num, i.value_den)
        if own != v.value:
            broke(c, h, B.EQUITY, v.value, own, 0, k)
        value += own
    if cash + value != h.equity:
        broke(c, h, B.EQUITY, h.equity, cash + value, 0, -1)


@fn
def floor(c, tb, h):
    """Below the floor the trader is killed."""
    apart()
    l = T.limits(tb, h)[0]
    lowest = -(1 << 62)
    if l.max_daily_loss > 0:
        lowest = c.day_base - l.max_daily_loss
    if l.max_total_loss > 0:
        lowest = max(lowest, c.initial - l.max_total_loss)
    if l.max_drawdown > 0:
        lowest = max(lowest, c.peak - l.max_drawdown)
    if l.max_drawdown_share > 0:
        lowest = max(lowest, c.peak - mul_div(max(c.peak, 0), l.max_drawdown_share, 1_000_000))
    if h.peak < c.peak:
        broke(c, h, B.FLOOR, h.peak, c.peak, 0, -1)
    if h.equity < lowest and c.state != T.KILLED:
        broke(c, h, B.FLOOR, h.equity, lowest, 0, -1)


@fn
def timers(cb, c, tb, h, e):
    """The next due timer fires, and once; all others stay. The engine's own is not a strategy's: it is moved as it likes."""
    apart()
    if e.kind == TIMER and e.a == T.WATCH:
        return
    mine = at(cb + c.timers_at, c.timers_n, TIMER_COPY)
    fired = -1
    if e.kind == TIMER:
        for k in range(c.n_timers):
            r = mine[k]
            if fired < 0 or r.ts < mine[fired].ts or (r.ts == mine[fired].ts and r.seq < mine[fired].seq):
                fired = k
        if (
            fired < 0
            or mine[fired].ts != e.ts_event
            or e.ts_recv < e.ts_event
            or mine[fired].timer_id != e.id
            or mine[fired].strategy != e.a
        ):
            broke(c, h, B.TIMER_ORDER, e.id, e.ts_recv, 0, -1)
            return
    elif h.timer_seq == c.timer_seq:
        return
    own = h.n_timers - (1 if h.watch_ts != 0 else 0)
    rows = at(tb + h.timers_at, h.timers_n, T.TIMER_ROW)
    left = c.n_timers - (1 if fired >= 0 else 0)
    if own != left + h.timer_seq - c.timer_seq:
        broke(c, h, B.TIMER_TWICE, own, left, 0, -1)
    kept = 0
    for k in range(h.n_timers):
        r = rows[k]
        if k > 0 and (rows[(k - 1) >> 1].ts > r.ts):
            broke(c, h, B.TIMER_ORDER, r.timer_id, r.ts, 0, -1)
        if r.strategy == T.WATCH:
            continue
        if fired >= 0 and r.seq == mine[fired].seq:
            broke(c, h, B.TIMER_TWICE, r.timer_id, r.ts, 0, -1)
        if r.seq <= c.timer_seq:
            kept += 1
    if kept != left:
        broke(c, h, B.TIMER_TWICE, kept, left, 0, -1)
    c.n_timers = 0
    for k in range(h.n_timers):
        if rows[k].strategy != T.WATCH:
            mine[c.n_timers].ts = rows[k].ts
            mine[c.n_timers].seq = rows[k].seq
            mine[c.n_timers].timer_id = rows[k].timer_id
            mine[c.n_timers].strategy = rows[k].strategy
            c.n_timers += 1
    c.timer_seq = h.timer_seq


@fn
def seen(cb, c, tb, h, e):
    """An L1 quote is what the trader sees from then on."""
    v = T.views(tb, h)[e.instrument]
    if e.kind == QUOTE and v.level == T.LEVEL_L1:
        if v.bid_px != e.a or v.bid_sz != e.b or v.ask_px != e.c or v.ask_sz != e.d:
            broke(c, h, B.VIEW, v.bid_px, e.a, 0, e.instrument)


@fn
def structure(cb, c, tb, h):
    """Lists of working orders and free slots: linked both ways, each order on one, none lost."""
    apart()
    table = T.orders(tb, h)
    n_working = 0
    sent = 0
    for k in range(c.n_instruments):
        slot = T.views(tb, h)[k].orders
        before = -1
        while slot >= 0 and n_working <= h.orders_n:
            o = table[slot]
            if o.prev != before or o.instrument != k or o.state == FREE or finished(o.state) or o.handle & SLOT_MASK != slot:
                broke(c, h, B.STRUCTURE, slot, o.state, o.handle, k)
                return
            if o.state != NEW:
                sent += 1
            n_working += 1
            before = slot
            slot = o.next
    slot = h.free_head
    free = 0
    last = -1
    while slot >= 0 and free <= h.orders_n:
        o = table[slot]
        if o.state != FREE and not finished(o.state):
            broke(c, h, B.STRUCTURE, slot, o.state, o.handle, o.instrument)
            return
        free += 1
        last = slot
        slot = o.next
    mine = 0
    slots = live(cb, c)
    for k in range(c.n_live):
        if not finished(orders(cb, c)[slots[k]].state):
            mine += 1
    if n_working != h.live or free + n_working != h.orders_n or last != h.free_tail:
        broke(c, h, B.STRUCTURE, n_working + free, h.orders_n, 0, -1)
    if sent != mine:
        broke(c, h, B.LOST_ORDER, sent, mine, 0, -1)


@fn
def settled(cb, c, tb, vb, h, latest):
    """Everything is over and faults have ended: every order is finished or confirmed, and the venue's books are the trader's."""
    apart()
    v = V.header(vb)
    theirs = V.orders(vb, v)
    slots = live(cb, c)
    n = 0
    for k in range(c.n_live):
        o = orders(cb, c)[slots[k]]
        if finished(o.state) or o.request != T.NO_REQUEST or (o.state != ACCEPTED and o.state != PARTIAL):
            broke(c, h, B.UNSETTLED, o.state, o.request, o.handle, o.instrument)
            return
        x = theirs[slots[k]]
        if x.handle != o.handle or not x.live or x.leaves != o.qty - o.cum:
            broke(c, h, B.VENUE_ORDERS, x.leaves if x.handle == o.handle and x.live else 0, o.qty - o.cum, o.handle, o.instrument)
        n += 1
    if n != v.resting:
        broke(c, h, B.VENUE_ORDERS, v.resting, n, 0, -1)
    for k in range(c.n_instruments):
        if V.books(vb, v)[k].position != held(cb, c)[k].qty and markets(cb, c)[k].moved < 2:
            broke(c, h, B.VENUE_POSITION, V.books(vb, v)[k].position, held(cb, c)[k].qty, 0, k)
    if h.now > latest:
        broke(c, h, B.SLOW_END, h.now, latest, 0, -1)
