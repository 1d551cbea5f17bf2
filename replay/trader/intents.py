"""What a strategy can ask: risk and OMS run inside the call, which returns a handle >= 0 or a refusal code < 0.

Each function here is compiled once and called by every strategy as an external symbol. All arguments are int64: prices in ticks,
quantities in lots, `signed` quantities positive to buy. Commands leave after the callback, in call order.
"""

from __future__ import annotations

from replay.kernel.memory import apart, at, entry, fn, hot, mix
from replay.trader import reasons as R
from replay.trader.account import start
from replay.trader.groups import closing, count_exits, cut
from replay.trader.layout import (
    CANCELING,
    DAY,
    ENGINE,
    ENTRY,
    GTC,
    INTENT_ROW,
    LIMIT,
    MARKET,
    OCO_LEG,
    OUTSIDE,
    POST_ONLY,
    REDUCE_ONLY,
    RUN,
    SLOT_MASK,
    STOP,
    STOP_LIMIT,
    STOP_LOSS,
    TAKE_PROFIT,
    WARMUP,
    header,
    instruments,
    limits,
    orders,
    positions,
    strategies,
    views,
    words,
)
from replay.trader.oms import cancel, cancel_all, expose, find, is_exit, open_order, replace, room, submit
from replay.trader.orders import NEW, SUBMITTED, finished
from replay.trader.output import OUT_LOG, OUT_REFUSED, chain, emit
from replay.trader.reasons import N_REASONS
from replay.trader.risk import CHANGE, PAIR, check, countable, legal_px, refuse, unknown
from replay.trader.timers import push_timer

ORDER_FLAGS = POST_ONLY | REDUCE_ONLY | ENGINE | OUTSIDE  #: of the bits a caller may set; ENGINE is refused by name


@fn
def refused(tb, h, code, instrument, signed, px):
    """Count a refusal, say it with its figures, chain it; returns -code."""
    apart()
    h.c_refused += 1
    strategies(tb, h)[h.strategy].refused += 1
    words(tb, h.refusals_at, h.refusals_n)[h.strategy * N_REASONS + code] += 1
    chain(h, -code, instrument, signed, px, 0)
    known = instrument if 0 <= instrument < h.n_instruments else 0  # an index of tables; which it was is in the figure
    emit(h, h.strategy, OUT_REFUSED, 1 if signed > 0 else -1, code, known, px, h.figure, h.bound, signed, h.seq)
    return -code


@fn
def content_of(instrument, signed, px, stop_px, packed):
    apart()
    return mix(mix(mix(mix(mix(0, instrument), signed), px), stop_px), packed)


@fn
def remembered(tb, h, intent_id, content):
    """The row of an intent id: with its earlier answer, or a free one to fill in; -1 when the table is full."""
    apart()
    rows = at(tb + h.intent_rows_at, h.intent_rows_n, INTENT_ROW)
    k = mix(0, intent_id) & (h.intent_rows_n - 1)
    for _ in range(h.intent_rows_n):
        if rows[k].intent_id == intent_id or rows[k].intent_id == 0:
            return k
        k = (k + 1) & (h.intent_rows_n - 1)
    return -1


@hot
def closes(tb, h, instrument, side, kind):
    """Whether an order for the calling strategy is a market order against its position, in a run that has had exits."""
    if h.exits == 0 or kind != MARKET or instrument < 0 or instrument >= h.n_instruments:
        return False
    return side * positions(tb, h)[(1 + h.strategy) * h.n_instruments + instrument].qty < 0


@entry
def check_closing(tb, instrument, side, qty, tif, flags, stop_loss):
    """`check` of an order that closes: the exits count with what it leaves of the position, which is all they will be left with."""
    h = header(tb)
    count_exits(tb, h, h.strategy, instrument, side, max(closing(tb, h, h.strategy, instrument, side) - qty, 0))
    code = check(tb, h.strategy, instrument, side, qty, 0, 0, MARKET, tif, flags, stop_loss)
    count_exits(tb, h, h.strategy, instrument, side, -1)
    return code


@fn
def make_way(tb, h, instrument, side, qty):
    """Before an order that closes: the exits of what it leaves nothing of are cancelled, or made smaller."""
    apart()
    cut(tb, h.strategy, instrument, side, closing(tb, h, h.strategy, instrument, side) - qty)


@fn
def one_more(tb, h):
    """Whether one order can be opened; under the account's rules with another, which closes for it."""
    return room(tb, h, 2) if limits(tb, h)[0].account_rules else room(tb, h, 1)


@entry
def place(tb, instrument, signed, px, stop_px, packed, intent_id):
    """A new order. `intent_id` 0: none; the same id with the same content returns the first answer again."""
    h = header(tb)
    kind = packed & 15
    tif = packed >> 4 & 15
    flags = packed >> 8 & ORDER_FLAGS
    row = -1
    if intent_id != 0:
        content = content_of(instrument, signed, px, stop_px, packed)
        row = remembered(tb, h, intent_id, content)
        if row < 0:
            return refused(tb, h, refuse(h, R.CAPACITY, h.intents, h.intent_rows_n), instrument, signed, px)
        rows = at(tb + h.intent_rows_at, h.intent_rows_n, INTENT_ROW)
        if rows[row].intent_id == intent_id:
            if rows[row].content == content:
                return rows[row].answer
            return refused(tb, h, refuse(h, R.DUPLICATE_INTENT, intent_id, 0), instrument, signed, px)
    side = 1 if signed > 0 else (-1 if signed < 0 else 0)
    close = closes(tb, h, instrument, side, kind)
    if close:
        code = check_closing(tb, instrument, side, abs(signed), tif, flags, 0)
    else:
        code = check(tb, h.strategy, instrument, side, abs(signed), px, stop_px, kind, tif, flags, 0)
    if code == R.OK and not one_more(tb, h):
        code = refuse(h, R.CAPACITY, h.live, h.orders_n)
    if code != R.OK:
        answer = refused(tb, h, code, instrument, signed, px)
    else:
        if close:
            make_way(tb, h, instrument, side, abs(signed))
        if flags & REDUCE_ONLY:
            h.exits = 1
        answer = open_order(tb, h.strategy, instrument, side, abs(signed), px, stop_px, kind, tif, flags, intent_id)
        start(tb, h, orders(tb, h)[answer & SLOT_MASK])
    if row >= 0:
        rows = at(tb + h.intent_rows_at, h.intent_rows_n, INTENT_ROW)
        rows[row].intent_id = intent_id
        rows[row].content = content
        rows[row].answer = answer
        h.intents += 1
    return answer


@fn
def exit_px(h, i, px, qty):
    """Whether an exit may stand at a price."""
    code = legal_px(h, i, px)
    return countable(h, i, px, qty) if code == R.OK else code


@entry
def bracket(tb, instrument, signed, px, take_px, stop_px, packed):
    """An entry (market where `px` is 0) whose exits follow its fills: a take-profit limit (0: none) and a stop.

    With one child this is an OTO. Returns the handle of the entry.
    """
    h = header(tb)
    kind = MARKET if px == 0 else LIMIT
    side = 1 if signed > 0 else (-1 if signed < 0 else 0)
    children = (1 if take_px != 0 else 0) + (1 if stop_px != 0 else 0)
    flags = packed >> 8 & ORDER_FLAGS
    close = closes(tb, h, instrument, side, kind)
    if close:
        code = check_closing(tb, instrument, side, abs(signed), packed >> 4 & 15, flags, stop_px)
    else:
        code = check(tb, h.strategy, instrument, side, abs(signed), px, 0, kind, packed >> 4 & 15, flags, stop_px)
    if code == R.OK and limits(tb, h)[0].account_rules:
        code = refuse(h, R.NOT_OFFERED, 0, 0)  # exits that are held here are refused where they meet an order of ours
    if code == R.OK and (children == 0 or (children == 2 and side * (take_px - stop_px) <= 0)):
        code = R.BAD_PRICE
    i = instruments(tb, h)
    if code == R.OK and take_px != 0:
        code = exit_px(h, i[instrument], take_px, abs(signed))
    if code == R.OK and stop_px != 0:
        code = exit_px(h, i[instrument], stop_px, abs(signed))
    if code == R.OK and not room(tb, h, 1 + children):
        code = refuse(h, R.CAPACITY, h.live, h.orders_n)
    if code != R.OK:
        return refused(tb, h, code, instrument, signed, px)
    qty = abs(signed)
    if close:
        make_way(tb, h, instrument, side, qty)
    h.exits = 1
    table = orders(tb, h)
    tif = packed >> 4 & 15
    handle = open_order(tb, h.strategy, instrument, side, qty, px, 0, kind, tif, flags, 0)
    o = table[handle & SLOT_MASK]
    o.group = ENTRY
    leg_tif = GTC if tif == GTC else DAY
    first = 0
    if take_px != 0:
        first = open_order(tb, h.strategy, instrument, -side, qty, take_px, 0, LIMIT, leg_tif, 0, 0)
        leg = table[first & SLOT_MASK]
        leg.group = TAKE_PROFIT
        leg.second = handle
    second = first
    if stop_px != 0:
        second = open_order(tb, h.strategy, instrument, -side, qty, 0, stop_px, STOP, leg_tif, 0, 0)
        leg = table[second & SLOT_MASK]
        leg.group = STOP_LOSS
        leg.second = handle
        if first == 0:
            first = second
    if first != second:
        table[first & SLOT_MASK].sibling = second
        table[second & SLOT_MASK].sibling = first
        o.second = second
    o.sibling = first
    submit(tb, h, o)
    return handle


@entry
def oco(tb, instrument, signed, take_px, stop_px, packed):
    """Two exits of a position, a limit and a stop, of which one cancels the other. Returns the handle of the limit."""
    h = header(tb)
    side = 1 if signed > 0 else (-1 if signed < 0 else 0)
    qty = abs(signed)
    tif = packed >> 4 & 15
    flags = packed >> 8 & ORDER_FLAGS
    code = check(tb, h.strategy, instrument, side, qty, take_px, 0, LIMIT, tif, flags | PAIR, 0)
    if code == R.OK and (stop_px == 0 or side * (stop_px - take_px) <= 0):
        code = R.BAD_PRICE
    if code == R.OK:
        code = exit_px(h, instruments(tb, h)[instrument], stop_px, qty)
    if code == R.OK and not room(tb, h, 2):
        code = refuse(h, R.CAPACITY, h.live, h.orders_n)
    if code != R.OK:
        return refused(tb, h, code, instrument, signed, take_px)
    h.exits = 1
    table = orders(tb, h)
    first = open_order(tb, h.strategy, instrument, side, qty, take_px, 0, LIMIT, tif, flags, 0)
    second = open_order(tb, h.strategy, instrument, side, qty, 0, stop_px, STOP, tif, flags & ~POST_ONLY, 0)
    for k in range(2):
        leg = table[(first if k == 0 else second) & SLOT_MASK]
        leg.group = OCO_LEG
        leg.group_qty = qty
        leg.sibling = second if k == 0 else first
        submit(tb, h, leg)
    return first


@entry
def pull(tb, handle):
    """Ask for a cancellation. 0, or a refusal code < 0."""
    h = header(tb)
    slot = find(tb, h, handle)
    h.figure = 0
    h.bound = 0
    if slot < 0:
        return refused(tb, h, R.UNKNOWN_ORDER, 0, 0, 0)
    o = orders(tb, h)[slot]
    if finished(o.state):
        return refused(tb, h, R.NOT_WORKING, o.instrument, 0, o.px)
    if o.flags & ENGINE:
        return refused(tb, h, R.NOT_ALLOWED, o.instrument, 0, o.px)
    if h.mode != RUN:
        return refused(tb, h, R.IN_WARMUP if h.mode == WARMUP else R.SESSION_OVER, o.instrument, 0, o.px)
    cancel(tb, h, o)
    return 0


@entry
def pull_all(tb, instrument):
    """Cancel every working order of the calling strategy, of one instrument or (-1) of all. Returns how many were asked, or a refusal
    code < 0."""
    h = header(tb)
    if instrument < -1 or instrument >= h.n_instruments:
        return refused(tb, h, unknown(h, instrument), instrument, 0, 0)
    if h.mode != RUN:
        return 0
    return cancel_all(tb, h, instrument, h.strategy)


@entry
def change(tb, handle, qty, px):
    """Replace quantity (total lots) and price of a working order: of a stop its stop price, else the limit price. A total that has
    traded already ends the order with what it has. 0, or a refusal code < 0."""
    h = header(tb)
    slot = find(tb, h, handle)
    h.figure = 0
    h.bound = 0
    if slot < 0:
        return refused(tb, h, R.UNKNOWN_ORDER, 0, 0, px)
    o = orders(tb, h)[slot]
    early = o.state == SUBMITTED and limits(tb, h)[0].account_rules  # the broker replaces what it has acknowledged
    if early or finished(o.state) or o.state == NEW or o.request == CANCELING or o.waiting == CANCELING:
        return refused(tb, h, R.NOT_WORKING, o.instrument, o.side * qty, px)
    if qty <= 0:
        return refused(tb, h, R.BAD_QTY, o.instrument, o.side * qty, px)
    if qty <= o.cum:
        return pull(tb, handle)
    exposed = o.exposed
    expose(tb, h, o, 0)
    limit_px = o.px if o.type == STOP else px
    stop_px = px if o.type == STOP else o.stop_px
    code = check(tb, o.strategy, o.instrument, o.side, qty - o.cum, limit_px, stop_px, o.type, o.tif, o.flags | CHANGE, 0)
    expose(tb, h, o, exposed)
    if code == R.OK and h.cmd_n >= h.commands_n - h.orders_n:
        code = refuse(h, R.CAPACITY, h.cmd_n, h.commands_n - h.orders_n)
    if code != R.OK:
        return refused(tb, h, code, o.instrument, o.side * qty, px)
    replace(tb, h, o, qty, px)
    return 0


@fn
def on_the_way(tb, h, instrument):
    """Signed lots that the calling strategy's orders are to add to its position, with what the engine owes it. Protective ones, stops and
    exits, are meant to stay: they do not count until they trade."""
    apart()
    p = positions(tb, h)[(1 + h.strategy) * h.n_instruments + instrument]
    lots = p.buying - p.selling + p.owed
    table = orders(tb, h)
    slot = views(tb, h)[instrument].orders
    while slot >= 0:
        o = table[slot]
        protective = o.type == STOP or o.type == STOP_LIMIT or is_exit(o)
        if o.strategy == h.strategy and protective:
            lots -= o.side * o.exposed
        slot = o.next
    return lots


@entry
def target(tb, instrument, lots):
    """Market order from the strategy's position and its working orders, protective ones aside, to `lots`; 0 when there already,
    else as `place`."""
    h = header(tb)
    if instrument < 0 or instrument >= h.n_instruments:
        return refused(tb, h, unknown(h, instrument), instrument, lots, 0)
    p = positions(tb, h)[(1 + h.strategy) * h.n_instruments + instrument]
    signed = lots - p.qty - on_the_way(tb, h, instrument)
    if signed == 0:
        return 0
    side = 1 if signed > 0 else -1
    close = closes(tb, h, instrument, side, MARKET)
    if close:
        code = check_closing(tb, instrument, side, abs(signed), DAY, 0, 0)
    else:
        code = check(tb, h.strategy, instrument, side, abs(signed), 0, 0, MARKET, DAY, 0, 0)
    if code == R.OK and not one_more(tb, h):
        code = refuse(h, R.CAPACITY, h.live, h.orders_n)
    if code != R.OK:
        return refused(tb, h, code, instrument, signed, 0)
    if close:
        make_way(tb, h, instrument, side, abs(signed))
    handle = open_order(tb, h.strategy, instrument, side, abs(signed), 0, 0, MARKET, DAY, 0, 0)
    start(tb, h, orders(tb, h)[handle & SLOT_MASK])
    return handle


@entry
def timer(tb, ts, timer_id):
    """Wake `on_timer` at `ts`, at the earliest 1 ns from now. Returns 0, or a refusal code < 0 when the table is full."""
    h = header(tb)
    if push_timer(tb, h, max(ts, h.now + 1), timer_id, h.strategy):
        return 0
    return refused(tb, h, refuse(h, R.TIMERS, h.n_timers, h.timers_n - 1), 0, 0, 0)


@entry
def log(tb, code, a, b, c):
    """A record for the run's log table; decides nothing."""
    h = header(tb)
    emit(h, h.strategy, OUT_LOG, 0, 0, 0, code, a, b, c, 0)
    return 0
