"""The trader: one input event in, a state transition, zero or more commands out. The same code in replay and live."""

from __future__ import annotations

from replay.events import (
    ACCOUNT,
    BAR,
    BAR_EXT,
    CONTROL,
    CUSTOM,
    DEPTH,
    EVENT,
    FEE,
    GAP,
    INTENT,
    LAST,
    OP_CANCEL_ALL,
    OP_END,
    OP_HALT,
    OP_KILL,
    OP_RESUME,
    OP_START,
    OPEN,
    PHASE,
    QUOTE,
    REPORT,
    SETS_LAST,
    SNAPSHOT,
    STATUS,
    TIMER,
    TRADE,
)
from replay.events import (
    HALTED as MARKET_STOPPED,
)
from replay.kernel.memory import apart, at, call3, copy64, entry, fn, hot
from replay.kernel.touch import display_level
from replay.trader import reasons as R
from replay.trader.account import advance_all
from replay.trader.features import walk_bar, walk_phase, walk_quote, walk_trade
from replay.trader.groups import RETRY_NS, cut, flatten, on_change, on_engine_order, retry
from replay.trader.intents import place
from replay.trader.layout import (
    ACTIVE,
    CANCELING,
    DRAIN,
    ENGINE,
    FRAME,
    FRAME_BYTES,
    HALTED,
    HANDLER,
    KILLED,
    LEVEL_L1,
    LEVEL_L2,
    N_HOOKS,
    NO_GROUP,
    ON_BAR,
    ON_BARS,
    ON_BOOK,
    ON_DATA,
    ON_ORDER,
    ON_QUOTE,
    ON_TIMER,
    ON_TRADE,
    OUTSIDE,
    RUN,
    SLOT_MASK,
    TIMER_ROW,
    WARMUP,
    WATCH,
    header,
    instruments,
    limits,
    orders,
    positions,
    views,
)
from replay.trader.ledger import MOST, on_fee, on_transfer, revalue, uncountable
from replay.trader.oms import cancel, cancel_all, find
from replay.trader.orders import EXEC_BUST, EXEC_CORRECT, EXEC_TRADE, REJECTED
from replay.trader.output import OUT_EQUITY, OUT_FEE, SAMPLE_NS, emit
from replay.trader.reports import on_report
from replay.trader.risk import enter, halt, new_peak, recover, refuse, set_floor
from replay.trader.timers import arm, pop_timer
from replay.trader.watch import NEVER, stalest


# --- strategies are woken ---------------------------------------------------------------------------------------------------
@hot
def handlers(h):
    return at(h.handlers, (1 + h.n_strategies) * N_HOOKS, HANDLER)


@hot
def call(tb, h, r, hook):
    """An exception in a handler sets `fault` in the header."""
    h.strategy = r.strategy
    h.hook = hook
    call3(r.address, tb, tb + r.self_at, tb + r.each_at)


@hot
def wake_one(tb, h, s, hook):
    """Call one strategy's handler, if it has one."""
    r = handlers(h)[(1 + s) * N_HOOKS + hook]
    if r.address != 0:
        call(tb, h, r, hook)


@hot
def wake(tb, h, hook):
    """Call every strategy's handler, in order."""
    table = handlers(h)
    s = table[hook].next
    while s != 0:
        r = table[s * N_HOOKS + hook]
        call(tb, h, r, hook)
        s = r.next if h.fault == 0 else 0


# --- features: their compilation is a fifth of all, and many strategies have none --------------------------------------------------------------
@entry
def features_in(tb, instrument, touch):
    """Bring an instrument's features to its touch (1), or to the current event: a trade, a bar, a session's phase (0)."""
    h = header(tb)
    v = views(tb, h)[instrument]
    e = at(tb + h.current_at, 1, EVENT)[0]
    rows = tb + h.features_at
    state = tb + h.words_at
    if touch:
        walk_quote(rows, h.features_n, v.features, state, h.words_n, h.now, v.bid_px, v.bid_sz, v.ask_px, v.ask_sz)
    elif e.kind == TRADE:
        walk_trade(rows, h.features_n, v.features, state, h.words_n, h.now, e.a, e.b, e.side, e.flags)
    elif e.kind == BAR:
        walk_bar(rows, h.features_n, v.features, state, h.words_n, h.now, e.ts_event, e.a, e.b, e.c, e.d, e.id)
    else:
        walk_phase(rows, h.features_n, v.features, state, h.words_n, h.now, e.side)
    return 0


@hot
def feature(tb, h, instrument, touch):
    """`features_in` by address: it is compiled only where a strategy has features."""
    call3(h.features_in, tb, instrument, touch)


# --- running limits -----------------------------------------------------------------------------------------------------------
@entry
def kill(tb, reason):
    """Latched stop: nothing new goes out, everything working is cancelled, and if configured positions are flattened."""
    h = header(tb)
    if h.state == KILLED:
        if h.state_reason == R.DAILY_LOSS and reason != R.DAILY_LOSS:
            enter(tb, h, KILLED, reason)  # tomorrow lifts a daily loss, nothing else
        return 0
    enter(tb, h, KILLED, reason)
    rows = positions(tb, h)
    for k in range(h.n_instruments, h.positions_n):
        rows[k].owed = 0  # what is traded from here on closes the position, or nothing does
    cancel_all(tb, h, -1, -1)
    if limits(tb, h)[0].flatten:
        for k in range(h.n_instruments):
            flatten(tb, h, k)
    return 0


@entry
def equity_moved(tb):
    """Equity made a new peak or fell under the floor of the running limits."""
    h = header(tb)
    if h.equity > MOST or h.equity < -MOST:
        uncountable(h, 0)
        return 0
    if h.equity > h.peak:
        new_peak(tb, h)
    if h.equity < h.floor and h.state != KILLED:
        kill(tb, h.floor_reason)
    return 0


@hot
def watch(tb, h):
    """After every change of equity."""
    if h.peak - h.equity > h.drawdown:
        h.drawdown = h.peak - h.equity
    if h.equity > h.peak or h.equity < h.floor:
        equity_moved(tb)


@hot
def sample(tb, h):
    """Before anything changes equity: what it was at the full minute behind the last change is known once time has passed that minute."""
    if h.now > h.sample_at:
        sample_due(tb, h)


@fn
def sample_due(tb, h):
    """Say what equity was at the minute that waits, if one does; the next to wait is the one that ends with or behind this change."""
    apart()
    minute = h.sample_at
    h.sample_at = (h.now + SAMPLE_NS - 1) // SAMPLE_NS * SAMPLE_NS
    if minute == 0:
        return
    gross = 0
    net = 0
    if h.out != 0:
        table = views(tb, h)
        for k in range(h.n_instruments):
            gross += abs(table[k].value)
            net += table[k].value
    emit(h, -1, OUT_EQUITY, h.state, 0, 0, minute, h.equity, gross, net, h.drawdown)


@hot
def mark(tb, h, v, instrument, price2):
    """Value the position at a new price (given doubled)."""
    if price2 == v.mark2:
        return
    v.marked = 1
    if v.pos == 0:
        v.mark2 = price2
    else:
        sample(tb, h)
        v.mark2 = price2
        revalue(h, instrument, instruments(tb, h)[instrument], v)
        watch(tb, h)


# --- market data --------------------------------------------------------------------------------------------------------------
@hot
def begin(tb, h, address, now):
    """Take in one event: sequence, clock (monotone), a copy that strategies may read."""
    h.seq += 1
    h.now = max(h.now, now)
    copy64(tb + h.current_at, address)
    if h.journal != 0:
        keep(h, address)


@fn
def keep(h, address):
    """Append the event to the journal: it is an input whatever becomes of it."""
    apart()
    f = at(h.journal + FRAME_BYTES * h.journal_n, 1, FRAME)[0]
    f.seq = h.seq
    f.now = h.now
    copy64(h.journal + FRAME_BYTES * h.journal_n + 16, address)
    h.journal_n += 1
    if h.journal_n >= h.journal_cap - 2:  # two more may come before the ring is drained: the end of the data, and a report
        h.attend = 1


@hot
def on_market(tb, h, e):
    """A quote, trade or depth row: view, mark, features, strategies."""
    k = e.instrument
    v = views(tb, h)[k]
    if e.kind == QUOTE:
        if v.level == LEVEL_L1:
            v.bid_px = e.a
            v.bid_sz = e.b
            v.ask_px = e.c
            v.ask_sz = e.d
            v.ts = h.now
            v.gapped = 0
            if e.b > 0 and e.d > 0:
                if e.a > e.c:
                    h.c_crossed += 1
                else:
                    mark(tb, h, v, k, e.a + e.c)
            if v.features >= 0:
                feature(tb, h, k, 1)
        wake(tb, h, ON_QUOTE)
    elif e.kind == TRADE:
        if e.flags & SETS_LAST:
            v.last_px = e.a
            v.last_sz = e.b
            v.last_ts = h.now
            if v.bid_sz == 0 or v.ask_sz == 0:
                mark(tb, h, v, k, 2 * e.a)
        if v.features >= 0:
            feature(tb, h, k, 0)
        wake(tb, h, ON_TRADE)
    else:
        if v.level == LEVEL_L2:
            display_level(tb, h, v, e)
            v.ts = h.now
            flags = e.flags
            if flags & (GAP | SNAPSHOT):
                v.gapped = 1 if flags & GAP else 0
                h.c_gaps += v.gapped
            if flags & LAST:
                if v.bid_sz > 0 and v.ask_sz > 0:
                    mark(tb, h, v, k, v.bid_px + v.ask_px)
                if v.features >= 0:
                    feature(tb, h, k, 1)
                wake(tb, h, ON_BOOK)
    if h.state != ACTIVE:
        watch_halt(tb, k)


@entry
def watch_halt(tb, instrument):
    """While halted: is the cause gone, or has it lasted too long? While killed: a position that could not be flattened for want of
    room, or whose flattener came to nothing, is tried again, a tombstone period after the last time."""
    h = header(tb)
    if h.state == HALTED:
        if recover(tb, h, instrument):
            kill(tb, h.state_reason)
    elif limits(tb, h)[0].flatten and h.mode != DRAIN and instrument < h.n_instruments:
        v = views(tb, h)[instrument]
        if v.pos != 0 and h.now - v.flatten_ts > h.tombstone_ns:
            v.flatten_ts = h.now
            under_kill(tb, h, instrument)
    return 0


@hot
def on_bar(tb, h, e):
    """A bar, at its close: view, mark, features, strategies."""
    k = e.instrument
    v = views(tb, h)[k]
    v.close_px = e.d
    v.close_ts = h.now
    if v.level < LEVEL_L1 or v.bid_sz == 0 or v.ask_sz == 0:
        mark(tb, h, v, k, 2 * e.d)
    if v.features >= 0 and e.side == v.finest:
        feature(tb, h, k, 0)
    wake(tb, h, ON_BAR)
    all_bars(tb, h, e)
    if h.state != ACTIVE:
        watch_halt(tb, k)


@hot
def all_bars(tb, h, e):
    """Behind the last bar of a close time."""
    if e.flags & LAST and h.fault == 0:
        wake(tb, h, ON_BARS)


# --- everything else ------------------------------------------------------------------------------------------------------------
@fn
def on_phase(tb, h, e):
    """A session phase, for every instrument; on a new day's open the day's figures start anew and a daily kill is lifted."""
    apart()
    table = views(tb, h)
    for k in range(h.n_instruments):
        if table[k].phase != OPEN:
            table[k].since = h.now
        table[k].phase = e.side
        if table[k].features >= 0:
            feature(tb, h, k, 0)
    if e.side != OPEN:
        return
    watch_from(tb, h)
    if e.id != h.trading_day:
        h.trading_day = e.id
        h.day_base = h.equity
        set_floor(tb, h)
        if h.state == KILLED and h.state_reason == R.DAILY_LOSS:
            enter(tb, h, ACTIVE, R.DAILY_LOSS)
            if h.equity < h.floor:
                kill(tb, h.floor_reason)
    if h.exits and h.state != KILLED and retry(tb, h):
        arm(tb, h, h.now + RETRY_NS)
    for k in range(h.n_instruments):
        if h.state == KILLED:
            under_kill(tb, h, k)  # what could not be flattened while the venue was closed


@fn
def on_control(tb, h, e):
    """The operator."""
    apart()
    if e.side == OP_KILL:
        kill(tb, R.MANUAL)
    elif e.side == OP_HALT:
        halt(tb, h, R.MANUAL)
    elif e.side == OP_RESUME:
        if h.state != ACTIVE:
            enter(tb, h, ACTIVE, R.MANUAL)
            h.peak = h.equity
            h.day_base = h.equity
            set_floor(tb, h)
            if h.equity < h.floor:
                kill(tb, h.floor_reason)  # a total loss is not lifted by going on
    elif e.side == OP_END:
        h.mode = DRAIN
    elif e.side == OP_START:
        if h.mode == WARMUP:
            h.mode = RUN
    elif e.side == OP_CANCEL_ALL:
        cancel_all(tb, h, -1, -1)


@fn
def under_kill(tb, h, instrument):
    """What still comes alive after a kill is cancelled; what still fills is flattened, if so configured."""
    apart()
    table = orders(tb, h)
    slot = views(tb, h)[instrument].orders
    engine = False
    while slot >= 0:
        o = table[slot]
        following = o.next
        if o.flags & ENGINE:
            engine = True
        elif o.request != CANCELING and o.waiting != CANCELING:
            cancel(tb, h, o)
        slot = following
    if limits(tb, h)[0].flatten and not engine:
        flatten(tb, h, instrument)


@fn
def watch_from(tb, h):
    """Data may get too old from now on: a market opened or goes on, or there is a position."""
    apart()
    age = limits(tb, h)[0].max_quote_age_ns
    if age > 0:
        arm(tb, h, h.now + age + 1)


@fn
def exits_in(tb, h, o, e):
    """News of an order, in a run that has had exits: they close no more than there is, and what the engine trades is traded."""
    apart()
    if o.flags & ENGINE:
        on_engine_order(tb, h, o)
    kind = e.flags >> 8
    if kind != EXEC_TRADE and kind != EXEC_BUST and kind != EXEC_CORRECT:
        return
    side = o.side if kind == EXEC_TRADE else -o.side
    held = -side * positions(tb, h)[(1 + o.strategy) * h.n_instruments + o.instrument].qty
    if held >= 0 or (kind == EXEC_TRADE and held + e.b > 0):
        cut(tb, o.strategy, o.instrument, side, held)


@entry
def report_in(tb):
    """The current event is a report: OMS, ledger, groups, then its strategy."""
    h = header(tb)
    e = at(tb + h.current_at, 1, EVENT)[0]
    sample(tb, h)
    if on_report(tb, h, e):
        o = orders(tb, h)[e.a & SLOT_MASK]
        strategy = o.strategy
        if o.group != NO_GROUP:
            on_change(tb, h, o)
        if h.exits:
            exits_in(tb, h, o, e)
        watch(tb, h)
        # a flattener the venue has rejected is not sent again at once: market data, the next report or session open tries anew
        if h.state == KILLED and h.mode != DRAIN:
            if o.flags & ENGINE and o.state == REJECTED:
                arm(tb, h, h.now + RETRY_NS)
            else:
                under_kill(tb, h, o.instrument)
        if h.waiting:
            advance_all(tb, h, o.instrument)
        wake_one(tb, h, strategy, ON_ORDER)
    if h.state == HALTED:
        watch_halt(tb, e.instrument)
    return 0


@fn
def on_fee_row(tb, h, e):
    apart()
    sample(tb, h)
    slot = find(tb, h, e.a)
    strategy = orders(tb, h)[slot].strategy if slot >= 0 else 0
    on_fee(tb, h, e.instrument, strategy, e.b, e.c)
    emit(h, strategy, OUT_FEE, e.side, e.flags & 0xFF, e.instrument, e.id, e.a, e.b, e.c, e.d)
    watch(tb, h)


@fn
def on_timer(tb, h, e):
    """The current event is a due timer: it is popped, so that it fires once, and wakes its strategy. The engine's own looks what time
    has brought about."""
    apart()
    if h.n_timers > 0:
        top = at(tb + h.timers_at, h.timers_n, TIMER_ROW)[0]
        if top.timer_id == e.id and top.strategy == e.a:
            pop_timer(tb, h)
    if e.a == WATCH:
        watch_clock(tb, h)
    else:
        wake_one(tb, h, e.a, ON_TIMER)


@fn
def watch_clock(tb, h):
    """What time alone has brought about: data too old, a halt that lasts too long or is over, something to be tried again. Sets when to
    look the next time."""
    apart()
    if h.mode != RUN:
        return
    l = limits(tb, h)[0]
    if h.state == ACTIVE:
        which, due = stalest(tb, h)
        if due <= h.now:
            h.stale = which
            refuse(h, R.STALE_FEED, h.now - views(tb, h)[which].ts, l.max_quote_age_ns)
            halt(tb, h, R.STALE_FEED)
        elif due != NEVER:
            arm(tb, h, due)
    elif h.state == HALTED:
        if recover(tb, h, -1):
            kill(tb, h.state_reason)
        elif h.state == HALTED and l.halt_escalate_ns > 0:
            arm(tb, h, h.state_since + l.halt_escalate_ns)
        if h.state == HALTED and h.state_reason == R.REJECTION_SPIKE:
            arm(tb, h, h.now + l.reject_window_ns)
    if h.state == KILLED:
        for k in range(h.n_instruments):
            if views(tb, h)[k].pos != 0:
                under_kill(tb, h, k)
    elif retry(tb, h):
        arm(tb, h, h.now + RETRY_NS)


@entry
def other_in(tb):
    """The current event is neither market data of the usual kinds nor a report."""
    h = header(tb)
    e = at(tb + h.current_at, 1, EVENT)[0]
    k = e.instrument
    kind = e.kind
    if kind == TIMER:
        on_timer(tb, h, e)
    elif kind == FEE:
        on_fee_row(tb, h, e)
    elif kind == BAR_EXT:
        all_bars(tb, h, e)
    elif kind == PHASE:
        on_phase(tb, h, e)
    elif kind == STATUS:
        views(tb, h)[k].status = MARKET_STOPPED if e.side == MARKET_STOPPED else 0
        views(tb, h)[k].since = h.now
        watch_from(tb, h)
    elif kind == CUSTOM:
        wake(tb, h, ON_DATA)
    elif kind == CONTROL:
        on_control(tb, h, e)
    elif kind == INTENT:
        h.strategy = 0
        place(tb, k, e.side * e.a, e.b, e.c, e.d | OUTSIDE << 8, e.id)
    elif kind == ACCOUNT:
        sample(tb, h)
        if on_transfer(tb, h, e):
            set_floor(tb, h)
            watch_from(tb, h)
        else:
            h.c_illegal += 1
            halt(tb, h, R.ILLEGAL_REPORT)
    if h.state != ACTIVE:
        watch_halt(tb, k)
    return 0


@hot
def consume(tb, h, address, now):
    """One input event at `now`, whatever its kind."""
    begin(tb, h, address, now)
    e = at(address, 1, EVENT)[0]
    h.kinds[e.kind & 31] += 1
    if e.kind <= DEPTH:
        on_market(tb, h, e)
    elif e.kind == BAR:
        on_bar(tb, h, e)
    elif e.kind == REPORT:
        report_in(tb)
    else:
        other_in(tb)


@entry
def step(tb, address, now):
    """Consume the 64-byte event at `address`: the whole trader, for live use, journals and tests. Returns the commands waiting."""
    h = header(tb)
    consume(tb, h, address, now)
    return h.cmd_n


@entry
def start_account(tb):
    """The running limits' floor for the initial equity."""
    set_floor(tb, header(tb))
    return 0


@entry
def wake_hook(tb, hook):
    """Start or stop the strategies: `on_start`, `on_stop`."""
    h = header(tb)
    wake(tb, h, hook)
    return h.fault
