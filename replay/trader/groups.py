"""Orders that belong together: bracket (entry, take-profit, stop-loss), OTO (one triggers another), OCO (one cancels the other).

Exits protect what is held. They go out for the entry's first fill, and grow, or shrink where one is taken back, with every other. When
one leg of a pair trades, the other is reduced by as much; when it is done, or is a stop, cancelled; and so is what is left of the entry. When the
position gets smaller in another way, its exits do too, oldest first, and before a market order that closes it.

What goes wrong in the race with these requests the engine trades back itself: both legs traded, or the entry filled behind its exits.
Such lots are *owed*, and tried until they have traded.
"""

from __future__ import annotations

from replay.events import OPEN
from replay.kernel.memory import apart, entry, fn
from replay.trader.account import start, turned
from replay.trader.layout import (
    CANCELING,
    DAY,
    DRAIN,
    ENDED,
    ENGINE,
    ENTRY,
    KILLED,
    MARKET,
    NO_REQUEST,
    REDUCE_ONLY,
    REPLACING,
    SLOT_MASK,
    STOP,
    TURN,
    header,
    orders,
    positions,
    views,
)
from replay.trader.oms import (
    cancel,
    expose,
    find,
    is_exit,
    open_order,
    partner,
    replace,
    spare,
    submit,
    wanted_px,
    wanted_qty,
    worst,
)
from replay.trader.orders import CANCELED, FILLED, NEW, finished
from replay.trader.timers import arm

RETRY_NS = 1_000_000_000  #: what could not be sent, or was rejected, is tried again so long after


@fn
def on_change(tb, h, o):
    """An order of a group changed."""
    apart()
    if o.group == TURN:
        turned(tb, h, o)
    elif o.group == ENTRY or o.group == ENDED:
        release(tb, h, o)
    elif o.group > ENDED:
        balance(tb, h, o)


@fn
def works(o):
    """Whether an order works, and nobody has asked to cancel it."""
    return o.state != NEW and not finished(o.state) and o.request != CANCELING and o.waiting != CANCELING


@fn
def release(tb, h, entry):
    """Its exits follow what the entry has traded, or are dropped with it. After a kill only the flattener protects."""
    apart()
    table = orders(tb, h)
    more = entry.cum - entry.group_qty
    entry.group_qty = entry.cum
    dropped = h.state == KILLED or (finished(entry.state) and entry.cum == 0 and entry.exposed == 0)
    held = False
    for k in range(2):
        child = find(tb, h, entry.sibling if k == 0 else entry.second)
        if child < 0:
            continue
        c = table[child]
        if c.state == NEW and entry.cum > 0:
            c.qty = entry.cum
            c.group_qty = entry.cum
            held = True
        elif works(c):
            held = True
    for k in range(2):
        child = find(tb, h, entry.sibling if k == 0 else entry.second)
        if child >= 0 and held and table[child].state != NEW:
            table[child].group_qty += more  # of both legs alike, though one has ended
    for k in range(2):  # each by its own handle: one may have been given up, and its slot have another order
        child = find(tb, h, entry.sibling if k == 0 else entry.second)
        if child < 0:
            continue
        c = table[child]
        if c.state == NEW:
            if dropped:
                cancel(tb, h, c)
            elif entry.cum > 0:
                submit(tb, h, c)
        elif works(c) and more > 0 and h.state != KILLED:
            replace(tb, h, c, wanted_qty(c) + more, wanted_px(c))
        elif works(c) and more < 0:
            trim(tb, h, c, open_lots(tb, h, c))
    if more != 0 and not held and entry.group == ENDED:
        owe(tb, h, entry.strategy, entry.instrument, -entry.side * more)


@fn
def open_lots(tb, h, leg):
    """Lots that an exit and its sibling may trade together."""
    apart()
    k = find(tb, h, leg.sibling)
    return leg.group_qty - leg.cum - (orders(tb, h)[k].cum if k >= 0 else 0)


@fn
def trim(tb, h, o, lots):
    """Ask that an order trades no more than `lots` from here on."""
    apart()
    if lots <= 0 or h.state == KILLED:
        cancel(tb, h, o)
    elif wanted_qty(o) > o.cum + lots:
        replace(tb, h, o, o.cum + lots, wanted_px(o))


@fn
def end_entry(tb, h, leg):
    """A bracket is over: what is left of its entry is cancelled."""
    apart()
    k = find(tb, h, leg.second)
    if k >= 0 and orders(tb, h)[k].group == ENTRY:
        entry = orders(tb, h)[k]
        entry.group = ENDED
        if not finished(entry.state):
            cancel(tb, h, entry)


@fn
def triggered(leg):
    """Whether a leg is a stop that trades: what is left of it goes on at the market, without the other, where one price could fill both."""
    return leg.cum > 0 and leg.type == STOP


@fn
def balance(tb, h, leg):
    """One leg of a pair changed: what both may still trade together never exceeds the group's quantity."""
    apart()
    if leg.cum > 0:
        end_entry(tb, h, leg)
    k = find(tb, h, leg.sibling)
    if k < 0 and leg.sibling != 0:
        return
    left = open_lots(tb, h, leg)
    if k >= 0 and not finished(orders(tb, h)[k].state):
        other = orders(tb, h)[k]
        given_up = leg.state == CANCELED and leg.cum < leg.group_qty and not triggered(other)
        if left <= 0 or triggered(leg) or given_up or h.state == KILLED:
            cancel(tb, h, other)  # done, killed, or one leg was cancelled: the pair goes together. One that was rejected or has
            # expired leaves the other working: the position it protects is still there
        elif leg.cum > 0:
            trim(tb, h, other, left)
        expose(tb, h, other, worst(tb, h, other))
        left = min(left, 0)
    if left > 0 and (leg.state != FILLED or leg.undone == 0):
        return  # exits that were given up, or made smaller, by whoever asked for them
    if left != 0 and h.state != KILLED:
        leg.group_qty -= left  # both traded; or a fill of an exit that is done was taken back
        if k >= 0:
            orders(tb, h)[k].group_qty -= left
        owe(tb, h, leg.strategy, leg.instrument, leg.side * left)


@fn
def enlarge(tb, h, leg):
    """A leg was made larger than its group by whoever asked for it: the group is as large."""
    apart()
    leg.group_qty = leg.qty
    k = find(tb, h, leg.sibling)
    if k >= 0:
        orders(tb, h)[k].group_qty = leg.qty


@fn
def outgrown(tb, h, leg, lots):
    """An exit is done, and the `lots` it was to grow by came too late: its price was reached, so they are traded at the market."""
    apart()
    lots = min(lots, open_lots(tb, h, leg))
    if lots <= 0:
        return
    leg.group_qty -= lots
    k = find(tb, h, leg.sibling)
    if k >= 0:
        orders(tb, h)[k].group_qty -= lots
    owe(tb, h, leg.strategy, leg.instrument, leg.side * lots)


# --- the position gets smaller ----------------------------------------------------------------------------------------------
@entry
def cut(tb, strategy, instrument, side, lots):
    """A strategy's exits of a side have `lots` of its position left to close: of brackets and pairs together, newest first, of reduce-only
    orders each."""
    h = header(tb)
    table = orders(tb, h)
    left = max(lots, 0)
    slot = views(tb, h)[instrument].orders
    while slot >= 0:
        o = table[slot]
        slot = o.next
        if o.strategy != strategy or o.side != side or not is_exit(o) or not works(o):
            continue
        if o.group <= ENDED:
            trim(tb, h, o, lots)
            continue
        k = partner(tb, h, o)
        if k >= 0 and o.handle > o.sibling and works(table[k]):
            continue  # with its sibling
        both = min(left, max(wanted_qty(o) - o.cum, wanted_qty(table[k]) - table[k].cum if k >= 0 else 0))
        if open_lots(tb, h, o) > both:
            less = open_lots(tb, h, o) - both
            o.group_qty -= less
            if k >= 0:
                table[k].group_qty -= less
        trim(tb, h, o, both)
        if k >= 0 and works(table[k]):
            trim(tb, h, table[k], both)
        if both == 0:
            end_entry(tb, h, o)
        left -= both
    return 0


@fn
def closing(tb, h, strategy, instrument, side):
    """Lots of a strategy's position that its working market orders leave to the exits of a side."""
    apart()
    table = orders(tb, h)
    lots = -side * positions(tb, h)[(1 + strategy) * h.n_instruments + instrument].qty
    slot = views(tb, h)[instrument].orders
    while slot >= 0:
        o = table[slot]
        if o.strategy == strategy and o.side == side and o.type == MARKET and o.state != NEW:
            lots -= o.exposed
        slot = o.next
    return lots


@fn
def count_exits(tb, h, strategy, instrument, side, lots):
    """Let a strategy's exits of a side count with no more than `lots` against the limits, as they will once `cut`; -1: as they work."""
    apart()
    table = orders(tb, h)
    left = max(lots, 0)
    slot = views(tb, h)[instrument].orders
    while slot >= 0:
        o = table[slot]
        if o.strategy == strategy and o.side == side and is_exit(o) and o.state != NEW:
            most = worst(tb, h, o)
            counted = most if lots == -1 else min(most, left)
            left -= counted
            expose(tb, h, o, counted)
        slot = o.next


# --- what the engine trades itself ------------------------------------------------------------------------------------------
@fn
def owe(tb, h, strategy, instrument, signed):
    """The engine has to trade `signed` lots for a strategy."""
    apart()
    if h.state != KILLED:
        positions(tb, h)[(1 + strategy) * h.n_instruments + instrument].owed += signed
    settle(tb, h, strategy, instrument)


@fn
def settle(tb, h, strategy, instrument):
    """Send what the engine owes; where that cannot be, its timer tries again. After a kill only the flattener trades."""
    apart()
    p = positions(tb, h)[(1 + strategy) * h.n_instruments + instrument]
    if p.owed == 0 or h.state == KILLED or h.mode == DRAIN:
        return
    if views(tb, h)[instrument].phase != OPEN or not spare(tb, h):
        arm(tb, h, h.now + RETRY_NS)
        return
    side = 1 if p.owed > 0 else -1
    lots = abs(p.owed)
    p.owed = 0
    h.c_flatten += 1
    slot = open_order(tb, strategy, instrument, side, lots, 0, 0, MARKET, DAY, ENGINE, 0) & SLOT_MASK
    start(tb, h, orders(tb, h)[slot])


@fn
def on_engine_order(tb, h, o):
    """An order of the engine's own changed. What it came to an end without is owed again, less what the venue has told of."""
    apart()
    if o.flags & REDUCE_ONLY or h.state == KILLED or not finished(o.state):
        return
    short = o.qty - o.cum - o.exposed
    again = short - o.group_qty  # group_qty: what has been given back already
    if again == 0:
        return
    o.group_qty = short
    positions(tb, h)[(1 + o.strategy) * h.n_instruments + o.instrument].owed += o.side * again
    arm(tb, h, h.now + RETRY_NS)


@fn
def flatten(tb, h, instrument):
    """After a kill, close the account's position in an instrument: the engine's own reduce-only market order for each strategy
    that holds part of it. Where strategies stand against each other only what is left between them is traded, so that no two
    flatteners meet; the rows that cancel out stay. Where the venue is closed, it waits; what comes to nothing is tried again."""
    apart()
    v = views(tb, h)[instrument]
    if v.pos == 0 or v.phase != OPEN:
        return
    v.flatten_ts = h.now
    arm(tb, h, h.now + RETRY_NS)
    side = -1 if v.pos > 0 else 1
    left = abs(v.pos)
    rows = positions(tb, h)
    for s in range(h.n_strategies):
        lots = min(left, -side * rows[(1 + s) * h.n_instruments + instrument].qty)
        if lots > 0 and spare(tb, h):
            h.c_flatten += 1
            left -= lots
            handle = open_order(tb, s, instrument, side, lots, 0, 0, MARKET, DAY, ENGINE | REDUCE_ONLY, 0)
            start(tb, h, orders(tb, h)[handle & SLOT_MASK])


@fn
def retry(tb, h):
    """Send again what could not be sent, or came to nothing: replaces of exits, and what the engine owes. Returns whether anything is
    left to try."""
    apart()
    table = orders(tb, h)
    more = False
    for slot in range(h.orders_n):
        o = table[slot]
        if o.waiting == REPLACING and o.request == NO_REQUEST and works(o):
            replace(tb, h, o, o.next_qty, o.next_px)
    for s in range(h.n_strategies):
        for k in range(h.n_instruments):
            settle(tb, h, s, k)
            more = more or positions(tb, h)[(1 + s) * h.n_instruments + k].owed != 0
    return more
