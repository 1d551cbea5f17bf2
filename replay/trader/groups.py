"""Orders that belong together: bracket (entry, take-profit, stop-loss), OTO (one triggers another), OCO (one cancels the other).

Children of an entry are held until it is finished, then sent for what it filled. When one leg of a pair trades, the other is
reduced by as much; when it is done, cancelled. Both may trade in the race with that cancel: the excess is flattened by a market
order of the engine's own.
"""

from __future__ import annotations

from replay.events import OPEN
from replay.kernel.memory import apart, fn
from replay.trader.layout import DAY, ENGINE, ENTRY, KILLED, MARKET, REDUCE_ONLY, SLOT_MASK, orders, positions, views
from replay.trader.oms import (
    cancel,
    expose,
    find,
    open_order,
    replace,
    room,
    spare,
    submit,
    wanted_px,
    wanted_qty,
    worst,
)
from replay.trader.orders import CANCELED, NEW, finished


@fn
def on_change(tb, h, o):
    """An order of a group changed."""
    apart()
    if o.group == ENTRY:
        if finished(o.state):
            release(tb, h, o)
        else:
            hold(tb, h, o)
    else:
        balance(tb, h, o)


@fn
def hold(tb, h, entry):
    """Exits that are held count against the limits with what the entry has traded: they go out for it, whatever else is asked for until then."""
    apart()
    table = orders(tb, h)
    counted = False
    for k in range(2):
        child = find(tb, h, entry.sibling if k == 0 else entry.second)
        if child >= 0 and table[child].state == NEW:
            expose(tb, h, table[child], 0 if counted else entry.cum)
            counted = True


@fn
def release(tb, h, entry):
    """The entry is finished: its children go out for what it filled, or are dropped with it."""
    apart()
    table = orders(tb, h)
    for k in range(2):
        child = find(tb, h, entry.sibling if k == 0 else entry.second)
        if child >= 0 and table[child].state == NEW and entry.cum > 0:
            table[child].qty = entry.cum
            table[child].group_qty = entry.cum
    for k in range(2):  # each by its own handle: one may have been given up, and its slot have another order
        child = find(tb, h, entry.sibling if k == 0 else entry.second)
        if child < 0:
            continue
        c = table[child]
        if c.state == NEW:
            if h.state == KILLED or (entry.cum == 0 and entry.exposed == 0):
                cancel(tb, h, c)
            elif entry.cum > 0:
                submit(tb, h, c)
        elif not finished(c.state) and h.state != KILLED and c.group_qty < entry.cum:  # a fill that came behind the entry's end
            more = entry.cum - c.group_qty
            c.group_qty = entry.cum
            replace(tb, h, c, wanted_qty(c) + more, wanted_px(c))


@fn
def balance(tb, h, leg):
    """One leg of a pair changed: what both may still trade together never exceeds the group's quantity."""
    apart()
    k = find(tb, h, leg.sibling)
    if k < 0:
        return
    other = orders(tb, h)[k]
    left = leg.group_qty - leg.cum - other.cum
    if not finished(other.state):
        if left <= 0 or h.state == KILLED or (leg.state == CANCELED and leg.cum < leg.group_qty):
            cancel(tb, h, other)  # done, killed, or one leg was cancelled: the pair goes together. One that was rejected or has
            # expired leaves the other working: the position it protects is still there
        elif leg.cum > 0 and other.qty > other.cum + left:
            replace(tb, h, other, other.cum + left, wanted_px(other))
        expose(tb, h, other, worst(tb, h, other))
    if left < 0:
        flatten_excess(tb, h, leg, other, -left)


@fn
def flatten_excess(tb, h, leg, other, lots):
    """Both legs traded: trade the excess back, once. After a kill only the flattener trades."""
    apart()
    if h.state != KILLED and room(tb, h, 1):
        leg.group_qty += lots
        other.group_qty += lots
        h.c_flatten += 1
        slot = open_order(tb, leg.strategy, leg.instrument, -leg.side, lots, 0, 0, MARKET, DAY, ENGINE, 0) & SLOT_MASK
        submit(tb, h, orders(tb, h)[slot])


@fn
def flatten(tb, h, instrument):
    """After a kill, close the account's position in an instrument: the engine's own reduce-only market order for each strategy
    that holds part of it. Where strategies stand against each other only what is left between them is traded, so that no two
    flatteners meet; the rows that cancel out stay. Where the venue is closed, it waits."""
    apart()
    v = views(tb, h)[instrument]
    if v.pos == 0 or v.phase != OPEN:
        return
    v.flatten_ts = h.now
    side = -1 if v.pos > 0 else 1
    left = abs(v.pos)
    rows = positions(tb, h)
    for s in range(h.n_strategies):
        lots = min(left, -side * rows[(1 + s) * h.n_instruments + instrument].qty)
        if lots > 0 and spare(tb, h):
            h.c_flatten += 1
            left -= lots
            handle = open_order(tb, s, instrument, side, lots, 0, 0, MARKET, DAY, ENGINE | REDUCE_ONLY, 0)
            submit(tb, h, orders(tb, h)[handle & SLOT_MASK])
