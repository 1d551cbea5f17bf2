"""One pass over a session's rows: is every row legal, and how large will the books get?

`scan` stops at the first row it must refuse and says why by a code; `replay.data.session` turns the code into a sentence. On the
way it gathers what the engine sizes its memory from: live levels, live orders, extremes of price and size per instrument.

Live levels and orders are followed in one open-addressing table keyed by (price or order id, instrument and side). A level or
order that died keeps its slot until `rehash` copies the living ones, so memory follows what is alive, not the session's length.
Cost: ~25 ns a row for quotes, ~50 ns for depth; no anonymous memory but the table.
"""

from __future__ import annotations

import numpy as np

from replay.data.instruments import MAX_INT
from replay.events import (
    BAR,
    BAR_EXT,
    CANCEL,
    CLEAR,
    CONTROL,
    DEPTH,
    EVENT,
    FEE,
    FILL,
    LAST,
    MODIFY,
    N_KINDS,
    ORDER,
    PHASE,
    QUOTE,
    REPORT,
    SET,
    SNAPSHOT,
    STATUS,
    TIMER,
    TRADE,
)
from replay.kernel.memory import at, entry, fn, mix, record

# why a row is refused; the sentences are in session._refusal
(
    OK,
    TABLE_FULL,
    BACKWARDS,
    BEFORE_EVENT,
    TOO_OLD,
    BAD_KIND,
    OUR_OWN,
    BAD_INSTRUMENT,
    BAD_SIDE,
    BAD_ACTION,
    BAD_SIZE,
    BAD_PRICE,
    TOO_LARGE,
    BROKEN_GROUP,
    OPEN_GROUP,
) = range(15)

BARS = 1 << 62  #: `group` of a message of bars
YEAR_NS = 366 * 86_400 * 10**9

#: what a scan carries from block to block
STATE = record(
    ("code", "i8"),  # why it stopped
    ("recv", "i8"),  # ts_recv of the row before
    ("event", "i8"),  # ts_event of the row before
    ("backwards", "i8"),  # rows whose ts_event is earlier than that of the row before
    ("group", "i8"),  # instrument + 1 of the message still open, BARS for bars, 0 for none
    ("used", "i8"),  # table slots taken
)

#: what is gathered per instrument
TALLY = record(
    ("max_product", "i8"),  # the largest price x size in range
    ("negative", "i8"),  # whether prices may be zero or below
    ("min_px", "i8"),
    ("max_px", "i8"),
    ("max_size", "i8"),
    ("kinds", "i8"),  # bit k: a row of kind k was seen
    ("intervals", "i8"),  # bit k: a bar of interval k was seen
    ("bid_levels", "i8"),
    ("ask_levels", "i8"),
    ("max_bid_levels", "i8"),
    ("max_ask_levels", "i8"),
    ("bid_epoch", "i8"),  # raised by a CLEAR: slots of an older epoch are empty
    ("ask_epoch", "i8"),
    ("order_epoch", "i8"),
    ("orders", "i8"),
    ("max_orders", "i8"),
    ("crossed", "i8"),
    ("bad_bars", "i8"),
    ("anchored", "i8"),  # a snapshot or CLEAR was seen
    ("unanchored", "i8"),  # book rows before it
)

#: a live level (px, instrument and side; v = orders or size) or order (order_id, instrument; v = px, w = size with the side's sign)
SLOT = record(("k", "i8"), ("key", "i8"), ("epoch", "i8"), ("v", "i8"), ("w", "i8"))
I64 = np.dtype("i8")
_SMALL = 1 << 31


@fn
def _find(table, mask, k, key):
    """The slot of (k, key), or the free one where it belongs. The table always has a free slot."""
    i = mix(k, key) & mask
    while table[i].key != 0 and (table[i].k != k or table[i].key != key):
        i = (i + 1) & mask
    return i


@fn
def _epoch(t, key):
    which = (key - 1) & 3
    return t.bid_epoch if which == 0 else (t.ask_epoch if which == 1 else t.order_epoch)


@fn
def _slot(table, mask, state, t, k, key):
    """The slot of (k, key), claimed if new, emptied if it belongs to a book cleared since."""
    i = _find(table, mask, k, key)
    epoch = _epoch(t, key)
    if table[i].key == 0:
        table[i].k = k
        table[i].key = key
        state.used += 1
        table[i].epoch = epoch
    elif table[i].epoch != epoch:
        table[i].epoch = epoch
        table[i].v = 0
        table[i].w = 0
    return i


@fn
def _count_levels(t, side, change):
    if side > 0:
        t.bid_levels += change
        t.max_bid_levels = max(t.max_bid_levels, t.bid_levels)
    else:
        t.ask_levels += change
        t.max_ask_levels = max(t.max_ask_levels, t.ask_levels)


@fn
def _clear(t, side):
    if side >= 0:
        t.bid_epoch += 1
        t.bid_levels = 0
    if side <= 0:
        t.ask_epoch += 1
        t.ask_levels = 0


@fn
def _level(table, mask, state, t, instrument, side, px, v, absolute):
    """Set (or add to) the size of a level and count it in or out."""
    i = _slot(table, mask, state, t, px, instrument * 4 + (1 if side > 0 else 2))
    before = table[i].v
    table[i].v = v if absolute else before + v
    if (before > 0) != (table[i].v > 0):
        _count_levels(t, side, 1 if table[i].v > 0 else -1)


@fn
def _order(table, mask, state, t, r):
    """Follow one L3 row: ADD, SET and MODIFY give price and size; CANCEL and FILL take `b` off, a CANCEL of 0 takes all."""
    i = _slot(table, mask, state, t, r.id, np.int64(r.instrument) * 4 + 3)
    old_px = table[i].v
    old = table[i].w
    px = r.a
    left = r.b
    side = np.int64(r.side)
    if r.c == CANCEL or r.c == FILL:
        if old == 0:
            return  # an order older than the recording
        px = old_px
        side = 1 if old > 0 else -1
        left = 0 if r.c == CANCEL and r.b == 0 else max(abs(old) - r.b, 0)
    if old != 0:
        _level(table, mask, state, t, np.int64(r.instrument), 1 if old > 0 else -1, old_px, -1, False)
        t.orders -= 1
    if left > 0:
        _level(table, mask, state, t, np.int64(r.instrument), side, px, 1, False)
        t.orders += 1
        t.max_orders = max(t.max_orders, t.orders)
    j = _find(table, mask, r.id, np.int64(r.instrument) * 4 + 3)
    table[j].v = px
    table[j].w = side * left


@fn
def _value(t, px, size):
    """Whether price, size and their product are in range; gathers the extremes. Returns a code."""
    if size < 0:
        return BAD_SIZE
    if px <= 0 and t.negative == 0:
        return BAD_PRICE
    big = abs(px)
    if big < _SMALL and size < _SMALL:  # a product of two such cannot wrap, and costs a twentieth of a division
        if big * size > t.max_product:
            return TOO_LARGE
    elif size > 0 and big > t.max_product // size:
        return TOO_LARGE
    if max(big, size) > t.max_product:
        return TOO_LARGE
    t.min_px = min(t.min_px, px)
    t.max_px = max(t.max_px, px)
    t.max_size = max(t.max_size, size)
    return OK


@fn
def _quote(t, r):
    if r.b < 0 or r.d < 0:
        return BAD_SIZE
    code = OK
    if r.b > 0:
        code = _value(t, r.a, r.b)
    if r.d > 0 and code == OK:
        code = _value(t, r.c, r.d)
    if r.b > 0 and r.d > 0 and r.a > r.c:
        t.crossed += 1
    return code


@fn
def _bar(t, r):
    """A bar's volume is nobody's to pay: price times volume has to be counted, in ticks and lots, but may be beyond money."""
    if r.id < 0:
        return BAD_SIZE
    code = _value(t, r.a, 0)
    if code == OK:
        code = _value(t, r.b, 0)
    if code == OK:
        code = _value(t, r.c, 0)
    if code == OK:
        code = _value(t, r.d, 0)
    if code == OK and r.id > 0 and max(max(abs(r.a), abs(r.b)), max(abs(r.c), abs(r.d))) > (MAX_INT - 1) // r.id:
        code = TOO_LARGE
    t.max_size = max(t.max_size, r.id)
    if r.b < max(r.a, r.d) or r.c > min(r.a, r.d):
        t.bad_bars += 1
    t.intervals |= np.int64(1) << np.int64(r.side)
    return code


@fn
def _side_ok(r, n_intervals):
    if r.kind == QUOTE or r.kind == TRADE:
        return -1 <= r.side <= 1
    if r.kind == DEPTH:
        return r.side == 1 or r.side == -1 or (r.side == 0 and r.c == CLEAR)
    if r.kind == ORDER:  # an L3 feed clears both sides or none
        return r.side == 0 if r.c == CLEAR else (r.side == 1 or r.side == -1)
    if r.kind == BAR:
        return 0 <= r.side < n_intervals
    if r.kind == PHASE:
        return 0 <= r.side <= 3
    if r.kind == STATUS:
        return 0 <= r.side <= 1
    if r.kind == CONTROL:
        return 1 <= r.side <= 4
    return True


@fn
def _group(r):
    """What rows of one message share besides their times: the instrument; bars of one close time share a message."""
    return BARS if r.kind == BAR or r.kind == BAR_EXT else np.int64(r.instrument) + 1


@fn
def _market(t, r, table, mask, state):
    """Check and follow one row of market data. Returns a code."""
    if r.kind == QUOTE:
        return _quote(t, r)
    if r.kind == TRADE:
        return _value(t, r.a, r.b)
    if r.kind == BAR:
        return _bar(t, r)
    if r.kind != DEPTH and r.kind != ORDER:
        return OK
    l3 = t.kinds & (np.int64(1) << ORDER) != 0
    if r.kind == ORDER and not l3:
        _clear(t, 0)  # from here on the levels counted are those of the orders; depth beside it only informs
    if r.c == CLEAR:
        if r.kind == ORDER or not l3:
            _clear(t, r.side)
        if r.kind == ORDER:
            t.order_epoch += 1
            t.orders = 0
    elif r.kind == DEPTH:
        if r.c != SET:
            return BAD_ACTION
        code = _value(t, r.a, r.b)
        if code != OK:
            return code
        if not l3:
            _level(table, mask, state, t, np.int64(r.instrument), r.side, r.a, r.b, True)
    else:
        if r.c < SET or r.c > CLEAR:
            return BAD_ACTION
        if r.b < 0:
            return BAD_SIZE
        if r.c <= MODIFY:  # SET, ADD, MODIFY carry a price; a cancel or fill need not
            code = _value(t, r.a, r.b)
            if code != OK:
                return code
        _order(table, mask, state, t, r)
    if r.c == CLEAR or r.flags & SNAPSHOT:
        t.anchored = 1
    elif t.anchored == 0:
        t.unanchored += 1
    return OK


@entry
def scan(rows_at, n, state_at, tally_at, n_instruments, counts_at, table_at, slots, n_intervals):
    """Check `n` rows and gather into state, tally and counts. Returns the number of rows done; `state.code` says why it stopped.

    With `TABLE_FULL` the caller rehashes into a larger table and calls again from the row reached.
    """
    rows = at(rows_at, n, EVENT)
    state = at(state_at, 1, STATE)[0]
    tally = at(tally_at, n_instruments, TALLY)
    counts = at(counts_at, N_KINDS, I64)
    table = at(table_at, slots, SLOT)
    mask = slots - 1
    for i in range(n):
        r = rows[i]
        if state.used + 4 > slots - slots // 4:
            state.code = TABLE_FULL
            return i
        code = OK
        if r.ts_recv < state.recv:
            code = BACKWARDS
        elif r.ts_recv < r.ts_event:
            code = BEFORE_EVENT
        elif r.ts_recv - r.ts_event > YEAR_NS:
            code = TOO_OLD
        elif r.kind == 0 or r.kind >= N_KINDS:
            code = BAD_KIND
        elif r.kind == REPORT or r.kind == FEE or r.kind == TIMER:
            code = OUR_OWN
        elif np.int64(r.instrument) >= n_instruments:
            code = BAD_INSTRUMENT
        elif not _side_ok(r, n_intervals):
            code = BAD_SIDE
        elif state.group != 0 and (state.group != _group(r) or state.recv != r.ts_recv or state.event != r.ts_event):
            code = BROKEN_GROUP
        else:
            t = tally[r.instrument]
            code = _market(t, r, table, mask, state)
            t.kinds |= np.int64(1) << np.int64(r.kind)
        if code != OK:
            state.code = code
            return i
        counts[r.kind] += 1
        if r.ts_event < state.event:
            state.backwards += 1
        state.recv = r.ts_recv
        state.event = r.ts_event
        state.group = 0 if r.flags & LAST else _group(r)
    state.code = OK
    return n


@entry
def rehash(old_at, old_slots, new_at, new_slots, tally_at, n_instruments):
    """Copy the living slots of one table into an empty one. Returns how many live."""
    old = at(old_at, old_slots, SLOT)
    new = at(new_at, new_slots, SLOT)
    tally = at(tally_at, n_instruments, TALLY)
    live = 0
    for i in range(old_slots):
        s = old[i]
        if s.key == 0:
            continue
        which = (s.key - 1) & 3
        size = s.w if which == 2 else s.v
        if size == 0 or s.epoch != _epoch(tally[(s.key - 1) >> 2], s.key):
            continue
        j = _find(new, new_slots - 1, s.k, s.key)
        new[j].k = s.k
        new[j].key = s.key
        new[j].epoch = s.epoch
        new[j].v = s.v
        new[j].w = s.w
        live += 1
    return live
