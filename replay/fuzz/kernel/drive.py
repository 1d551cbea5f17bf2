"""The replay loop, one input at a time, with every invariant looked at after each."""

from __future__ import annotations

from replay.events import CONTROL, EVENT, FEE, REPORT, TIMER
from replay.fuzz.kernel import rules as B
from replay.fuzz.kernel.commands import on_output
from replay.fuzz.kernel.compare import account, floor, order_rows, pair, positions, seen, settled, structure, timers
from replay.fuzz.kernel.inputs import broke, on_input, rebase
from replay.fuzz.kernel.layout import N_STATES, header, live, markets, orders
from replay.kernel.loop import DONE, DRAIN_OUTPUT, run
from replay.kernel.memory import apart, at, entry, fn, fold, mix
from replay.trader import layout as T
from replay.trader.layout import FRAME, I64, SLOT_MASK
from replay.trader.output import FAULT_STRATEGY
from replay.venue import layout as V

BROKEN = 4  #: what `drive` returns beside the loop's own
EVERY = 64  #: inputs between two looks at the lists


@fn
def chained(c, e):
    """Everything taken in and said goes into one digest, by which two processes are compared."""
    c.digest = mix(c.digest, fold(e.ts_recv, e.kind << 8 | e.side & 255, e.flags, e.id, e.a, e.b))
    c.digest = mix(c.digest, fold(e.ts_event, e.instrument, e.c, e.d, 0, 0))


@fn
def look(cb, c, tb, vb, h, e):
    """One input has been taken: fold it and what was said, then compare."""
    apart()
    was = c.state
    illegal = c.illegal
    v = V.header(vb)
    chained(c, e)
    on_input(cb, c, tb, h, e, v.latency[V.ENTRY] if v.mode[V.ENTRY] == V.CONSTANT else 1)
    decided = on_output(cb, c, tb, h, e, h.out, h.out_n, True)
    for k in range(h.out_n):
        chained(c, at(h.out + 64 * k, 1, EVENT)[0])
    rebase(c, h, e, was)
    if h.c_illegal != c.illegal or (c.illegal > illegal and c.state == T.ACTIVE):
        broke(c, h, B.ILLEGAL_REPORT, h.c_illegal, c.illegal, e.a, e.instrument)
    if decided != (h.digest != c.was_digest):
        broke(c, h, B.DIGEST, h.digest, c.was_digest, 0, -1)
    c.was_digest = h.digest
    c.ordinal = h.ordinal
    if h.state != c.state:
        broke(c, h, B.TRADER_STATE, h.state, c.state, 0, -1)
    if c.spike and c.state == T.ACTIVE:
        broke(c, h, B.REJECTIONS, c.n_rejected, T.limits(tb, h)[0].reject_spike, e.a, e.instrument)
    order_rows(cb, c, tb, h, 0)
    pair(cb, c, tb, h)
    if e.instrument < c.n_instruments and e.kind != CONTROL:
        positions(cb, c, tb, h, e.instrument)
        seen(cb, c, tb, h, e)
    if decided or e.kind == CONTROL or c.inputs % EVERY == 0:
        for k in range(c.n_instruments):
            positions(cb, c, tb, h, k)
        account(cb, c, tb, h)
        structure(cb, c, tb, h)
    floor(c, tb, h)
    timers(cb, c, tb, h, e)


@fn
def in_order(c, h, f):
    """The sequence of inputs rises by one, the clock never falls."""
    c.inputs += 1
    e = at(h.journal + 16, 1, EVENT)[0]
    ours = e.kind == REPORT or e.kind == FEE or e.kind == TIMER
    if h.journal_n != 1 or f.seq != c.inputs or f.now < c.clock or h.now != f.now or (ours and e.ts_recv != f.now):
        broke(c, h, B.INPUT_ORDER, f.seq, c.inputs, 0, -1)
    c.clock = f.now


@fn
def count(cb, c, kind, instrument, handle):
    """A fault struck: which states the orders concerned were in. State 0: no order."""
    apart()
    table = at(cb + c.struck_at, c.struck_n, I64)
    if handle != 0:
        o = orders(cb, c)[handle & SLOT_MASK]
        table[kind * N_STATES + (o.state if o.handle == handle else 0)] += 1
        return
    slots = live(cb, c)
    alone = True
    for k in range(c.n_live):
        o = orders(cb, c)[slots[k]]
        if o.instrument == instrument or instrument >= c.n_instruments:
            table[kind * N_STATES + o.state] += 1
            alone = False
    if alone:
        table[kind * N_STATES] += 1


@fn
def strikes(cb, c, vb, h, feed_hits, n_feed_hits):
    """Faults that struck since the last look."""
    apart()
    v = V.header(vb)
    while c.n_hits < v.n_hits:
        x = at(vb + v.hits_at + 64 * c.n_hits, 1, EVENT)[0]
        count(cb, c, x.kind, x.instrument, x.a)
        c.n_hits += 1
    while c.n_feed_hits < n_feed_hits:
        x = at(feed_hits + 64 * c.n_feed_hits, 1, EVENT)[0]
        if x.ts_event > h.now:
            break
        count(cb, c, x.kind, x.instrument, 0)
        c.n_feed_hits += 1


@entry
def begun(cb, tb, said, n_said):
    """`on_start` has run: what the checker starts from, and the records that were said there."""
    c = header(cb)
    h = T.header(tb)
    c.n_instruments = h.n_instruments
    c.n_strategies = h.n_strategies
    c.peak = h.peak
    c.day_base = h.day_base
    c.initial = h.initial
    c.day = h.trading_day
    c.clock = h.now
    for k in range(h.currencies_n):
        c.cash += T.currencies(tb, h)[k].cash
    for k in range(c.n_instruments):
        markets(cb, c)[k].phase = T.views(tb, h)[k].phase
    e = at(tb + h.current_at, 1, EVENT)[0]
    on_output(cb, c, tb, h, e, said, n_said, False)
    c.was_digest = h.digest
    c.ordinal = h.ordinal
    timers(cb, c, tb, h, e)
    return 0


@entry
def drive(cb, tb, vb, events, n, order, n_local, last, feed_hits, n_feed_hits, latest):
    """`loop.run`, stopped behind every input to look. Returns what it returns, BROKEN where something is (the header says what).

    `feed_hits`: faults of the feed in order of time. `latest`: when all must be known again at the end.
    """
    c = header(cb)
    h = T.header(tb)
    v = V.header(vb)
    if v.n_hits == 0:
        c.n_hits = 0
    h.journal = cb + c.frames_at
    h.journal_cap = 3
    while True:
        h.journal_n = 0
        h.out_n = 0
        status = run(tb, vb, events, n, order, n_local, last)
        if h.journal_n > 0 and h.fault != FAULT_STRATEGY:
            in_order(c, h, at(h.journal, 1, FRAME)[0])
            look(cb, c, tb, vb, h, at(h.journal + 16, 1, EVENT)[0])
        strikes(cb, c, vb, h, feed_hits, n_feed_hits)
        if status == DONE and c.broken == 0:
            structure(cb, c, tb, h)
            for k in range(c.n_instruments):
                positions(cb, c, tb, h, k)
            account(cb, c, tb, h)
            settled(cb, c, tb, vb, h, latest)
        if c.broken != 0:
            status = BROKEN
        if status != DRAIN_OUTPUT:
            break
    h.journal = 0
    h.journal_cap = 0
    h.journal_n = 0
    h.out_n = 0
    return status
