"""What the trader says and sends, folded into the checker's own state, and held against limits as they stood at that moment."""

from __future__ import annotations

from replay.events import CONTROL, EVENT, OP_RESUME, OPEN, PHASE, REPORT
from replay.fuzz.kernel import rules as B
from replay.fuzz.kernel.inputs import broke, finished, most
from replay.fuzz.kernel.layout import held, live, markets, orders
from replay.kernel.fixed import OVERFLOW, money, mul_div
from replay.kernel.memory import apart, at, fn
from replay.trader import layout as T
from replay.trader import reasons as R
from replay.trader.layout import I64, SLOT_BITS, SLOT_MASK
from replay.trader.orders import SUBMITTED
from replay.trader.output import OUT_NEW, OUT_REFUSED, OUT_REPLACE, OUT_REPORT, OUT_STATE


@fn
def working(cb, c, tb, h, instrument, strategy, side, closer, flags):
    """Lots that working orders on a side may still trade, of a strategy or (-1) of all: at least; a wish that waits is not out. Exits of
    strategy `closer` (-1: nobody's) count with what they have been asked to become: they make way for an order that closes. Beside an
    order with `flags` that only reduces, others that do so take nothing away."""
    apart()
    lots = 0
    slots = live(cb, c)
    for k in range(c.n_live):
        o = orders(cb, c)[slots[k]]
        if o.instrument == instrument and o.side == side and (strategy < 0 or o.strategy == strategy):
            if o.flags & flags & T.REDUCE_ONLY:
                continue
            if o.strategy == closer and not finished(o.state) and (o.exit or o.sibling != 0 or o.flags & T.REDUCE_ONLY):
                lots += wanted(cb, c, tb, h, o)
            else:
                lots += may_trade(cb, c, tb, h, o, False)
    return lots


@fn
def wanted(cb, c, tb, h, o):
    """Lots an exit is still to trade once it is as it was asked to be; of a pair one leg counts. Reduce-only orders are cut by the venue."""
    x = T.orders(tb, h)[o.handle & SLOT_MASK]
    if x.request == T.CANCELING or x.waiting == T.CANCELING or o.flags & T.REDUCE_ONLY or o.second:
        return 0
    total = x.next_qty if x.waiting == T.REPLACING else x.new_qty if x.request == T.REPLACING else x.qty
    return total - o.cum


@fn
def closer_of(o):
    """The strategy whose exits make way for an order."""
    return o.strategy if o.type == T.MARKET and not o.flags & T.ENGINE else -1


@fn
def leaves(tb, h, o, waiting):
    """Lots an order may still trade by itself; with what waits behind a request where `waiting`."""
    x = T.orders(tb, h)[o.handle & SLOT_MASK]
    if waiting and x.waiting == T.REPLACING:
        return max(most(o), x.next_qty) - o.cum
    return most(o) - o.cum


@fn
def may_trade(cb, c, tb, h, o, waiting):
    """Lots of one order that count. Of a pair one leg does while both work, with the larger of both."""
    if finished(o.state):
        return max(0, o.told - o.cum)
    if o.sibling != 0:
        s = orders(cb, c)[o.sibling & SLOT_MASK]
        if s.handle == o.sibling and not finished(s.state):
            return 0 if o.second else max(leaves(tb, h, o, waiting), leaves(tb, h, s, waiting))
    return leaves(tb, h, o, waiting)


@fn
def worth(i, px2, lots):
    """|price x lots| in the base currency; the price is given twice."""
    x = money(abs(px2), abs(lots), i.value_num, i.value_den)
    return x if x != OVERFLOW else 1 << 62


@fn
def within_limits(c, h, l, i, o, pos, others, px2):
    """Limits of one order, of the account's or a strategy's row. `others`: lots that work on its side already."""
    apart()
    if l.max_order_qty > 0 and o.qty > l.max_order_qty:
        broke(c, h, B.MAX_ORDER_QTY, o.qty, l.max_order_qty, o.handle, o.instrument)
    if l.max_order_notional > 0 and px2 != 0 and worth(i, px2, o.qty) > l.max_order_notional:
        broke(c, h, B.MAX_NOTIONAL, worth(i, px2, o.qty), l.max_order_notional, o.handle, o.instrument)
    if o.side * pos < 0 and o.qty + others <= abs(pos):
        return
    reach = abs(pos + o.side * (o.qty + others))
    if l.max_position > 0 and reach > l.max_position:
        broke(c, h, B.MAX_POSITION, reach, l.max_position, o.handle, o.instrument)
    if l.max_position_notional > 0 and px2 != 0 and worth(i, px2, reach) > l.max_position_notional:
        broke(c, h, B.MAX_NOTIONAL, worth(i, px2, reach), l.max_position_notional, o.handle, o.instrument)


@fn
def mid2(cb, c, tb, h, instrument):
    """Twice a fresh mid of what we see, 0 where there is none."""
    v = T.views(tb, h)[instrument]
    age = T.limits(tb, h)[0].max_quote_age_ns
    if v.bid_sz <= 0 or v.ask_sz <= 0 or v.bid_px > v.ask_px or (age > 0 and h.now - markets(cb, c)[instrument].ts > age):
        return 0
    return v.bid_px + v.ask_px


@fn
def adds_risk(cb, c, tb, h, o, pos):
    """An order that may add to the position: not while halted, nor on data that cannot be trusted."""
    apart()
    m = markets(cb, c)[o.instrument]
    v = T.views(tb, h)[o.instrument]
    l = T.limits(tb, h)[0]
    if c.state == T.HALTED:
        broke(c, h, B.HALTED, pos, o.side * o.qty, o.handle, o.instrument)
    crossed = v.bid_sz > 0 and v.ask_sz > 0 and v.bid_px > v.ask_px
    bar_ns = T.instruments(tb, h)[o.instrument].bar_ns
    old = l.max_quote_age_ns > 0 and h.now - m.ts > l.max_quote_age_ns
    if m.gapped or crossed or (old and (m.close_ts == 0 or h.now - m.close_ts > 2 * bar_ns)):
        broke(c, h, B.BLIND, h.now - m.ts, l.max_quote_age_ns, o.handle, o.instrument)
    gross_limits(cb, c, tb, h, o)


@fn
def gross_limits(cb, c, tb, h, o):
    """Gross and leverage of the account, each instrument in its worst case, this order with them."""
    apart()
    l = T.limits(tb, h)[0]
    if l.max_gross == 0 and l.max_leverage == 0:
        return
    gross = 0
    for k in range(c.n_instruments):
        v = T.views(tb, h)[k]
        px2 = v.bid_px + v.ask_px if v.bid_sz > 0 and v.ask_sz > 0 else v.mark2
        pos = held(cb, c)[k].qty
        extra = o.side * o.qty if k == o.instrument else 0
        closer = closer_of(o) if k == o.instrument else -1
        high = pos + working(cb, c, tb, h, k, -1, 1, closer if o.side > 0 else -1, 0) + max(extra, 0)
        low = pos - working(cb, c, tb, h, k, -1, -1, closer if o.side < 0 else -1, 0) + min(extra, 0)
        if k == o.instrument and mid2(cb, c, tb, h, k) == 0:
            continue  # without a mid the check had another reference
        gross += worth(T.instruments(tb, h)[k], px2, max(abs(high), abs(low)))
    bound = l.max_gross if l.max_gross > 0 else 1 << 62
    if l.max_leverage > 0:
        bound = min(bound, mul_div(max(h.equity, 0), l.max_leverage, 1_000_000))
    if gross > bound:
        broke(c, h, B.MAX_EXPOSURE, gross, bound, o.handle, o.instrument)


@fn
def over_rate(cb, at_, n_, sent, most_, window, now):
    """Whether the newest of `sent` times is one too many after ``now - window``."""
    if most_ == 0 or most_ >= n_ or sent <= most_:
        return False
    return at(cb + at_, n_, I64)[(sent - 1 - most_) & (n_ - 1)] > now - window


@fn
def allowed(cb, c, tb, h, o):
    """A new order of a strategy against every limit, as the checker knows positions and orders."""
    apart()
    i = T.instruments(tb, h)[o.instrument]
    l = T.limits(tb, h)
    p = held(cb, c)
    pos = p[o.instrument].qty
    row = (1 + o.strategy) * c.n_instruments + o.instrument
    reference2 = mid2(cb, c, tb, h, o.instrument)
    px2 = 2 * o.px if o.type == T.LIMIT or o.type == T.STOP_LIMIT else (2 * o.stop_px if o.type == T.STOP else reference2)
    others = working(cb, c, tb, h, o.instrument, -1, o.side, closer_of(o), o.flags)
    own = working(cb, c, tb, h, o.instrument, o.strategy, o.side, closer_of(o), o.flags)
    within_limits(c, h, l[o.instrument], i, o, pos, others, px2)
    within_limits(c, h, l[row], i, o, p[row].qty, own, px2)
    if not (o.side * pos < 0 and o.qty + others <= abs(pos)):
        adds_risk(cb, c, tb, h, o, pos)
    collar = l[o.instrument].collar_bps
    priced = o.type == T.LIMIT or o.type == T.STOP_LIMIT
    if collar > 0 and reference2 > 0 and priced and abs(2 * o.px - reference2) * 10_000 > collar * reference2:
        broke(c, h, B.COLLAR, 2 * o.px, reference2, o.handle, o.instrument)
    m = markets(cb, c)[o.instrument]
    v = T.views(tb, h)[o.instrument]
    shut = m.phase != OPEN and v.level != T.LEVEL_BARS  # on bars an order waits for the next session
    if shut or m.halted or c.over or not v.allowed:
        broke(c, h, B.CLOSED, m.phase, m.halted, o.handle, o.instrument)
    if over_rate(cb, c.sent_at, c.sent_n, c.n_sent, l[0].max_orders, l[0].order_window_ns, h.now):
        broke(c, h, B.ORDER_RATE, c.n_sent, l[0].max_orders, o.handle, o.instrument)
    closes = closer_of(o) >= 0 and o.side * p[row].qty < 0  # the cancels of exits that make way count, and hold nothing back
    if not closes and over_rate(cb, c.messages_at, c.messages_n, c.n_messages, l[0].max_messages, l[0].message_window_ns, h.now):
        broke(c, h, B.MESSAGE_RATE, c.n_messages, l[0].max_messages, o.handle, o.instrument)
    crosses(cb, c, tb, h, o)


@fn
def crosses(cb, c, tb, h, o):
    """No order that could trade with one of ours on the other side: stops trade later, market orders take what is displayed."""
    apart()
    if o.type >= T.STOP:
        return
    v = T.views(tb, h)[o.instrument]
    px = o.px
    if o.type == T.MARKET:
        if (v.ask_sz if o.side > 0 else v.bid_sz) <= 0:
            return  # the trader has other prices, or none, which tests look at
        px = v.ask_px if o.side > 0 else v.bid_px
    slots = live(cb, c)
    for k in range(c.n_live):
        x = orders(cb, c)[slots[k]]
        if x.instrument == o.instrument and x.side != o.side and x.type < T.STOP and not finished(x.state):
            if x.type == T.MARKET or o.side * (px - x.px) >= 0:
                broke(c, h, B.SELF_TRADE, o.px, x.px, o.handle, o.instrument)


@fn
def once(cb, c, h, o, ident):
    """An intent from outside is one order, however often it comes."""
    apart()
    known = at(cb + c.intents_at, c.intents_n, I64)
    for k in range(min(c.n_intents, c.intents_n)):
        if known[k] == ident:
            broke(c, h, B.INTENT_TWICE, ident, 0, o.handle, o.instrument)
    known[c.n_intents & (c.intents_n - 1)] = ident
    c.n_intents += 1


@fn
def flattening(cb, c, tb, h, o, e):
    """The engine's own order closes the position after a kill; or, behind a report of one leg of a pair, trades back what both have traded
    too much, after which the pair is at least as large as that."""
    apart()
    pos = held(cb, c)[o.instrument].qty
    if o.flags & T.REDUCE_ONLY:
        if o.side * pos >= 0 or o.qty > abs(pos):
            broke(c, h, B.FLATTENED, o.side * o.qty, pos, o.handle, o.instrument)
    elif e.kind == REPORT:
        leg = orders(cb, c)[e.a & SLOT_MASK]
        other = orders(cb, c)[leg.sibling & SLOT_MASK]
        if leg.handle != e.a or other.handle != leg.sibling:
            return  # what was sent since has the slot of a leg
        for k in range(2):
            handle = e.a if k == 0 else leg.sibling
            x = T.orders(tb, h)[handle & SLOT_MASK]
            if x.handle == handle and x.group_qty < leg.cum + other.cum:
                broke(c, h, B.FLATTENED, x.group_qty, leg.cum + other.cum, o.handle, o.instrument)


@fn
def on_new(cb, c, tb, h, r, e):
    """An order went out."""
    apart()
    slot = r.a & SLOT_MASK
    o = orders(cb, c)[slot]
    if o.handle >= r.a:
        broke(c, h, B.ORDER_TWICE, r.a >> SLOT_BITS, o.handle >> SLOT_BITS, r.a, r.instrument)
    if o.handle != 0 and (not finished(o.state) or o.request != T.NO_REQUEST or o.told > o.cum):
        broke(c, h, B.SLOT_REUSED, o.state, o.request, o.handle, o.instrument)
    known = T.orders(tb, h)[slot]
    o.handle = r.a
    o.px = r.c
    o.stop_px = r.d
    o.worst_px = r.c
    o.qty = r.b
    o.cum = 0
    o.new_qty = 0
    o.told = 0
    o.back = 0
    o.back_ts = 0
    o.spare = 0
    o.t_sent = h.now
    o.instrument = r.instrument
    o.strategy = r.ts_event
    o.side = r.side
    o.type = r.flags >> 8
    o.flags = r.flags & 15
    o.state = SUBMITTED
    o.request = T.NO_REQUEST
    o.sibling = known.sibling if known.group > T.ENDED else 0
    o.exit = known.group == T.TAKE_PROFIT or known.group == T.STOP_LOSS
    o.second = (known.group == T.STOP_LOSS or known.group == T.OCO_LEG) and o.sibling != 0 and o.handle > o.sibling
    at(cb + c.sent_at, c.sent_n, I64)[c.n_sent & (c.sent_n - 1)] = h.now
    c.n_sent += 1
    engines = o.flags & T.ENGINE
    if c.state == T.KILLED and not engines:
        broke(c, h, B.KILLED, o.qty, c.reason, o.handle, o.instrument)
    if engines:
        flattening(cb, c, tb, h, o, e)
    if r.id != 0:
        once(cb, c, h, o, r.id)
    if not engines and not o.exit and not (o.second and known.group == T.OCO_LEG):
        allowed(cb, c, tb, h, o)
    live(cb, c)[c.n_live] = slot
    c.n_live += 1


@fn
def reduces(cb, c, tb, h, o, lots):
    """Whether `lots` of an order, beside the others that work on its side, only make the position smaller. The venue cuts a
    reduce-only order to what is left."""
    pos = held(cb, c)[o.instrument].qty
    others = working(cb, c, tb, h, o.instrument, -1, o.side, -1, o.flags)
    if not o.flags & T.REDUCE_ONLY:
        others -= may_trade(cb, c, tb, h, o, False)
    return o.side * pos < 0 and lots + others <= abs(pos)


@fn
def on_request(cb, c, tb, h, r, replacing):
    """A cancel or replace went out."""
    apart()
    o = orders(cb, c)[r.a & SLOT_MASK]
    if o.handle != r.a or finished(o.state):
        broke(c, h, B.DEAD_REQUEST, o.handle, o.state, r.a, r.instrument)
        return
    if o.request != T.NO_REQUEST:
        broke(c, h, B.TWO_REQUESTS, o.request, r.b, r.a, r.instrument)
    if not replacing:
        o.request = T.CANCELING
        return
    if c.state == T.KILLED:
        broke(c, h, B.KILLED, r.b, c.reason, r.a, r.instrument)
    if r.b <= o.cum:
        broke(c, h, B.DEAD_REQUEST, r.b, o.cum, r.a, r.instrument)
    if c.state == T.HALTED and r.b >= o.qty and not o.exit and not reduces(cb, c, tb, h, o, r.b - o.cum):
        broke(c, h, B.HALTED, r.b, o.qty, r.a, r.instrument)
    o.request = T.REPLACING
    o.new_qty = r.b
    o.new_px = r.d if o.type == T.STOP else r.c
    if o.side * (r.c - o.worst_px) > 0:
        o.worst_px = r.c


@fn
def on_state(cb, c, tb, h, r, e):
    """The trader says that it halted, is killed or goes on. What lifts what: a person everything; a new day a daily loss."""
    apart()
    to = r.side
    person = e.kind == CONTROL and e.side == OP_RESUME
    if c.state == T.KILLED and to != T.KILLED and not person:
        if not (e.kind == PHASE and e.side == OPEN and c.reason == R.DAILY_LOSS and to == T.ACTIVE):
            broke(c, h, B.UNLATCHED, c.reason, to, 0, -1)
    if c.state == T.HALTED and to == T.ACTIVE and not person:
        spike = c.reason == R.REJECTION_SPIKE and c.n_rejected > 0
        newest = at(cb + c.rejected_at, c.rejected_n, I64)[(c.n_rejected - 1) & (c.rejected_n - 1)]
        over = spike and h.now - newest >= T.limits(tb, h)[0].reject_window_ns
        if not (c.reason == R.STALE_FEED and e.kind < REPORT) and not over:
            broke(c, h, B.UNLATCHED, c.reason, to, 0, -1)
    c.state = to
    c.reason = r.id


@fn
def same_command(tb, h, k, r, kind):
    """Whether the k-th command that left says what the record says of it."""
    x = at(tb + h.commands_at, h.commands_n, T.COMMAND)[k]
    same = x.kind == kind and x.handle == r.a and x.instrument == r.instrument and x.side == r.side
    if kind == T.CMD_CANCEL:
        return same
    return same and x.qty == r.b and x.px == r.c and x.stop_px == r.d


@fn
def on_output(cb, c, tb, h, e, rows, n_rows, left):
    """Everything said since the last input, `n_rows` records at address `rows`, in order. `left`: the commands have left; else they wait behind those that did not.
    Returns whether a decision was among it."""
    apart()
    n = c.pending
    decided = False
    for k in range(n_rows):
        r = at(rows + 64 * k, 1, EVENT)[0]
        kind = r.kind
        if kind == OUT_STATE:
            on_state(cb, c, tb, h, r, e)
        if kind >= OUT_NEW and kind <= OUT_REPLACE:
            if not same_command(tb, h, n, r, 1 + kind - OUT_NEW):
                broke(c, h, B.NOT_SAID, n, kind, r.a, r.instrument)
            n += 1
            at(cb + c.messages_at, c.messages_n, I64)[c.n_messages & (c.messages_n - 1)] = h.now
            c.n_messages += 1
            if kind == OUT_NEW:
                on_new(cb, c, tb, h, r, e)
            else:
                on_request(cb, c, tb, h, r, kind == OUT_REPLACE)
        if kind <= OUT_REFUSED or kind == OUT_STATE or (kind == OUT_REPORT and r.d & 1):
            decided = True
    commands = at(tb + h.commands_at, h.commands_n, T.COMMAND)
    c.pending = 0 if left else n
    if not left:
        return decided
    for k in range(n):
        commands[k].kind = 0
    if commands[n].kind != 0:
        broke(c, h, B.NOT_SAID, n, commands[n].kind, commands[n].handle, commands[n].instrument)
        commands[n].kind = 0
    return decided
