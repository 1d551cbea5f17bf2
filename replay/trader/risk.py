"""Whether an intent is allowed: every check before an order, and the running limits that halt or kill.

Unknown and in-flight orders count against every limit: exposure is judged by the worst case in which everything of ours on one
side trades and nothing on the other. An order that can only reduce risk passes a halt, and stale, gapped or crossed data.
"""

from __future__ import annotations

from replay.events import HALTED as MARKET_STOPPED
from replay.events import OPEN
from replay.kernel.fixed import OVERFLOW, money, mul_div
from replay.kernel.memory import apart, entry, fn, hot
from replay.kernel.touch import px_of, sz_of
from replay.trader import reasons as R
from replay.trader.account import not_free, washes
from replay.trader.layout import (
    ACTIVE,
    DRAIN,
    ENGINE,
    FOK,
    HALTED,
    IOC,
    KILLED,
    LEVEL_BARS,
    LIMIT,
    MARKET,
    POST_ONLY,
    REDUCE_ONLY,
    REPLACING,
    STOP,
    STOP_LIMIT,
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
from replay.trader.orders import NEW
from replay.trader.output import OUT_STATE, chain, emit
from replay.trader.timers import arm
from replay.trader.watch import stalest

NOTHING = -(1 << 62)  # no price reference
MOST = (1 << 62) - 1  # what stands for any amount that is larger: limits refuse it
# order flags inside `check`
CHANGE = 64  # a replace, which counts as a message but not as an order
PAIR = 128  # two orders at once


@hot
def reference2(h, i, v, l):
    """Twice the price reference: a fresh mid, else a close younger than two intervals, else the last print where no age is
    asked for, else NOTHING."""
    limit = l.max_quote_age_ns
    if v.bid_sz > 0 and v.ask_sz > 0 and v.bid_px <= v.ask_px and (limit == 0 or h.now - v.ts <= limit):
        return v.bid_px + v.ask_px
    if v.close_ts > 0 and h.now - v.close_ts <= 2 * i.bar_ns:
        return 2 * v.close_px
    if limit == 0 and v.last_ts > 0:
        return 2 * v.last_px
    return NOTHING


@hot
def refuse(h, code, figure, bound):
    """Note what the check saw and what it allows; returns the code."""
    h.figure = figure
    h.bound = bound
    return code


@fn
def worth2(i, price2, lots):
    """|price2 / 2 x lots| in the base currency; price2 is twice a price."""
    apart()
    price2 = abs(price2)
    lots = abs(lots)
    if i.value_den == 2 and price2 | lots < 1 << 31 and price2 * lots <= i.max_product:
        return price2 * lots * i.value_num >> 1  # `money`, where it is plain that nothing wraps
    x = money(price2, lots, i.value_num, i.value_den)
    return min(x, MOST) if x != OVERFLOW else MOST


@fn
def part_of(amount, millionths):
    """A share of an amount that is not negative."""
    apart()
    x = mul_div(max(amount, 0), millionths, 1_000_000)
    return min(x, MOST) if x != OVERFLOW else MOST


@fn
def unknown(h, instrument):
    """There is no such instrument."""
    apart()
    return refuse(h, R.UNKNOWN_INSTRUMENT, instrument, h.n_instruments)


@hot
def legal_px(h, i, px):
    """A price the instrument can have."""
    if px <= 0 and not i.allow_negative:
        return R.BAD_PRICE
    if i.cent > 0 and px >= 100 * i.cent and px % i.cent != 0:
        return R.BAD_PRICE
    return refuse(h, R.OUT_OF_RANGE, px, i.max_product) if px > i.max_px or px < -i.max_px else R.OK


@hot
def countable(h, i, px, lots):
    """Whether so many lots at a price can be counted, and room is left for the price to double."""
    most = max(abs(px), 1)
    fits = lots * most <= i.max_product if lots | most < 1 << 31 else lots <= i.max_product // most
    return R.OK if fits else refuse(h, R.OUT_OF_RANGE, px, i.max_product)


@hot
def well_formed(h, i, side, qty, px, stop_px, kind, tif, flags):
    """Checks that need only the order and its instrument."""
    if flags & ENGINE:
        return R.BAD_ORDER  # the engine's own, which nobody else may claim to be or change
    if side != 1 and side != -1:
        return R.BAD_ORDER
    if kind < MARKET or kind > STOP_LIMIT or tif < 0 or tif > FOK:
        return R.BAD_ORDER
    if flags & POST_ONLY and (kind != LIMIT or tif == IOC or tif == FOK):
        return R.BAD_ORDER
    if qty < i.min_qty:
        return R.BAD_QTY
    code = R.OK
    if kind == LIMIT or kind == STOP_LIMIT:
        code = legal_px(h, i, px)
    if code == R.OK and (kind == STOP or kind == STOP_LIMIT):
        code = legal_px(h, i, stop_px)
    return code


@hot
def in_range(h, i, v, side, qty, px, stop_px, kind, price2):
    """Whether the order, and the position that it may lead to with all that works, can be counted at the highest price in question. What
    only reduces a position that can be counted still is let through."""
    most = 0 if price2 == NOTHING else (abs(price2) + 1) >> 1
    if kind == LIMIT or kind == STOP_LIMIT:
        most = max(most, abs(px))
    if kind == STOP or kind == STOP_LIMIT:
        most = max(most, abs(stop_px))
    working = v.buying if side > 0 else v.selling
    lots = max(qty, abs(v.pos + side * (working + qty)))
    if qty + working <= -side * v.pos:
        lots = qty
        most >>= 1
    return countable(h, i, most, lots)


@hot
def crosses_own(tb, h, v, side, px, kind, price2):
    """Whether the order could trade with a working order of ours. A market order takes what is displayed, and without a display the
    reference: an order of ours behind that is not met. A stop, ours or new, trades later: the venue sees to it then."""
    if kind == STOP or kind == STOP_LIMIT:
        return False
    table = orders(tb, h)
    known = True
    if kind == MARKET:
        known = sz_of(v, -side) > 0 or price2 != NOTHING
        px = px_of(v, -side)
        if sz_of(v, -side) <= 0 and known:
            px = (price2 + (side > 0)) >> 1
    slot = v.orders
    while slot >= 0:
        o = table[slot]
        if o.side != side and o.state != NEW and o.type != STOP and o.type != STOP_LIMIT:
            if not known or o.type == MARKET or side * (px - o.px) >= 0:
                return True
            if o.request == REPLACING and side * (px - o.new_px) >= 0:
                return True
            if o.waiting == REPLACING and side * (px - o.next_px) >= 0:
                return True
        slot = o.next
    return False


@fn
def exposure(tb, h, instrument, add, reference):
    """(gross, net) of the account in base currency if `add` signed lots more worked in `instrument`, in the worst case: for the
    gross each instrument's own, for the net all buy orders and no sell order trade, or the reverse. `reference`: twice the price
    of `instrument`, which may have no mark yet."""
    apart()
    gross = 0
    longest = 0
    shortest = 0
    vs = views(tb, h)
    table = instruments(tb, h)
    for k in range(h.n_instruments):
        v = vs[k]
        extra = add if k == instrument else 0
        if v.pos == 0 and v.buying == 0 and v.selling == 0 and extra == 0:
            continue
        price2 = v.mark2
        if k == instrument:
            price2 = reference
        elif v.bid_sz > 0 and v.ask_sz > 0:
            price2 = v.bid_px + v.ask_px
        high = v.pos + v.buying + max(extra, 0)
        low = v.pos - v.selling + min(extra, 0)
        gross += min(worth2(table[k], price2, max(abs(high), abs(low))), MOST - gross)
        longest = clipped(longest + worth2(table[k], price2, high) * (1 if high > 0 else -1))
        shortest = clipped(shortest + worth2(table[k], price2, low) * (1 if low > 0 else -1))
    return gross, max(abs(longest), abs(shortest))


@hot
def clipped(x):
    return min(max(x, -MOST), MOST)


@hot
def sized(l):
    """Whether a row of limits has any of an order's size or of a position's."""
    return l.max_order_qty | l.max_order_notional | l.max_position | l.max_position_notional | l.max_position_share != 0


@fn
def size_limits(tb, h, l, i, v, pos, working, side, qty, price2):
    """Order and position limits of one row of limits, of the account or of one strategy, beside the `working` lots of that side."""
    apart()
    if l.max_order_qty > 0 and qty > l.max_order_qty:
        return refuse(h, R.MAX_ORDER_QTY, qty, l.max_order_qty)
    if price2 == NOTHING and (l.max_order_notional > 0 or l.max_position_notional > 0 or l.max_position_share > 0):
        return R.NO_REFERENCE
    if l.max_order_notional > 0:
        notional = worth2(i, price2, qty)
        if notional > l.max_order_notional:
            return refuse(h, R.MAX_ORDER_NOTIONAL, notional, l.max_order_notional)
    if qty + working <= -side * pos:
        return R.OK  # it only reduces; a flip to the other side is judged by where it ends
    reach = abs(pos + side * (qty + working))
    if l.max_position > 0 and reach > l.max_position:
        return refuse(h, R.MAX_POSITION, reach, l.max_position)
    if l.max_position_notional > 0 or l.max_position_share > 0:
        notional = worth2(i, price2, reach)
        if l.max_position_notional > 0 and notional > l.max_position_notional:
            return refuse(h, R.MAX_POSITION_NOTIONAL, notional, l.max_position_notional)
        if l.max_position_share > 0:
            allowed = part_of(h.equity, l.max_position_share)
            if notional > allowed:
                return refuse(h, R.MAX_POSITION_SHARE, notional, allowed)
    return R.OK


@hot
def rate_limits(tb, h, l, flags):
    """Order and message throttles over a sliding window; cancels count as messages but are never held back."""
    new = 2 if flags & PAIR else 1
    if flags & CHANGE == 0:
        times = words(tb, h.order_times_at, h.order_times_n)
        if over_rate(times, h.n_sent, new, l.max_orders, h.now - l.order_window_ns):
            return refuse(h, R.ORDER_RATE, l.max_orders + 1, l.max_orders)
    times = words(tb, h.message_times_at, h.message_times_n)
    if over_rate(times, h.n_messages, new, l.max_messages, h.now - l.message_window_ns):
        return refuse(h, R.MESSAGE_RATE, l.max_messages + 1, l.max_messages)
    return R.OK


@fn
def over_rate(times, sent, new, most, since):
    """Whether `new` more would make more than `most` (0: any) after `since`. `times` is a ring of the last `most` of the `sent`."""
    if most == 0 or sent + new <= most:
        return False
    return new > most or times[(sent + new - 1) % most] > since


@fn
def bps(off, price2):
    """A distance in basis points of a price, rounded down."""
    apart()
    x = mul_div(off, 10_000, max(abs(price2), 1))
    return x if x != OVERFLOW else MOST


@hot
def further(off, most_bps, price2):
    """Whether a distance is more than so many basis points of a price."""
    if off | most_bps | abs(price2) < 1 << 31:
        return off * 10_000 > most_bps * abs(price2)
    if price2 == 0:
        return off > 0
    x = mul_div(-off, 10_000, abs(price2))  # rounded away from zero
    return x == OVERFLOW or -x > most_bps


@hot
def price_limits(h, l, v, side, px, kind, price2):
    """Collar and spread against the reference, in basis points; where one of them is asked for there is a reference."""
    if l.collar_bps > 0:
        against2 = 2 * px
        if kind == MARKET or kind == STOP:
            shown = -side if sz_of(v, -side) > 0 else side
            against2 = 2 * px_of(v, shown) if sz_of(v, shown) > 0 else price2
        off = abs(against2 - price2)
        if further(off, l.collar_bps, price2):
            return refuse(h, R.COLLAR, bps(off, price2), l.collar_bps)
    if l.max_spread_bps > 0 and kind == MARKET and v.bid_sz > 0 and v.ask_sz > 0:
        spread = 2 * (v.ask_px - v.bid_px)
        if further(spread, l.max_spread_bps, price2):
            return refuse(h, R.MAX_SPREAD, bps(spread, price2), l.max_spread_bps)
    return R.OK


@hot
def blocked(tb, h, strategy):
    """Whether the trader's state forbids any new order. The engine's own flattener is not asked."""
    if h.mode == WARMUP:
        return R.IN_WARMUP
    if h.mode == DRAIN:
        return R.SESSION_OVER
    if h.state == KILLED:
        return R.IS_KILLED
    if strategies(tb, h)[strategy].state == KILLED:
        return R.STRATEGY_KILLED
    return R.OK


@fn
def barred(tb, h, v, side, qty, px, kind, flags):
    """What the broker would refuse of an order that leaves the rest of the checks in peace (`replay.trader.account`)."""
    apart()
    if flags & (POST_ONLY | PAIR):
        return refuse(h, R.NOT_OFFERED, 0, 0)
    free = not_free(v, side, qty)
    if free == 0 or (free > 0 and (kind != MARKET or flags & CHANGE)):
        return refuse(h, R.THROUGH_ZERO, qty, free)
    return R.SELF_TRADE if washes(tb, h, v, side, px, kind) else R.OK


@fn
def binding(tb, h, v, strategy, side):
    """Lots that a strategy's (-1: all) orders of a side may trade beside reduce-only ones: of those the venue cuts whichever trades
    last to what is left, so they take nothing from each other."""
    apart()
    lots = 0
    slot = v.orders
    while slot >= 0:
        o = orders(tb, h)[slot]
        if o.side == side and o.flags & REDUCE_ONLY == 0 and (strategy < 0 or o.strategy == strategy):
            lots += o.exposed
        slot = o.next
    return lots


@entry
def check(tb, strategy, instrument, side, qty, px, stop_px, kind, tif, flags, stop_loss):
    """Every check before a new order; OK or the reason, with figures in `h.figure` and `h.bound`. `stop_loss` 0: none given."""
    h = header(tb)
    h.figure = 0
    h.bound = 0
    code = blocked(tb, h, strategy)
    if code != R.OK:
        return code
    if instrument < 0 or instrument >= h.n_instruments:
        return unknown(h, instrument)
    i = instruments(tb, h)[instrument]
    v = views(tb, h)[instrument]
    l = limits(tb, h)[0]
    if i.executes == 0:
        return R.NO_EXECUTION
    code = well_formed(h, i, side, qty, px, stop_px, kind, tif, flags)
    if code != R.OK:
        return code
    if not v.allowed:
        return R.NOT_ALLOWED
    if v.phase != OPEN and v.level != LEVEL_BARS:
        return R.VENUE_CLOSED  # on bars an order waits for the next session
    if v.status == MARKET_STOPPED:
        return R.MARKET_HALTED
    working = v.buying if side > 0 else v.selling
    if flags & REDUCE_ONLY:
        working = binding(tb, h, v, -1, side)
    reducing = qty + working <= -side * v.pos
    if flags & REDUCE_ONLY and not reducing:
        return R.REDUCES_NOTHING
    if l.account_rules:
        code = barred(tb, h, v, side, qty, px, kind, flags)
        if code != R.OK:
            return code
    price2 = reference2(h, i, v, l)
    code = in_range(h, i, v, side, qty, px, stop_px, kind, price2)
    if code != R.OK:
        return code
    if not reducing:
        if h.state == HALTED:
            return R.IS_HALTED
        if v.gapped:
            return R.GAPPED
        if v.bid_sz > 0 and v.ask_sz > 0 and v.bid_px > v.ask_px:
            return R.CROSSED
        if l.max_quote_age_ns > 0 and price2 == NOTHING:
            if v.ts > 0:
                refuse(h, R.STALE_FEED, h.now - v.ts, l.max_quote_age_ns)
                h.stale = instrument
                halt(tb, h, R.STALE_FEED)
                return R.STALE_FEED
            return R.NO_REFERENCE
    li = limits(tb, h)[instrument]
    if price2 == NOTHING:
        if reducing:
            price2 = v.mark2  # a position has a mark: what only reduces it is not held back for want of a fresher price
        elif li.collar_bps > 0 or l.max_gross > 0 or l.max_net > 0 or l.max_leverage > 0:
            return R.NO_REFERENCE
    code = price_limits(h, li, v, side, px, kind, price2)
    if code != R.OK:
        return code
    worst2 = 2 * px
    if kind == MARKET or kind == STOP:
        worst2 = 2 * stop_px if kind == STOP else price2
    dearest2 = price2
    # a limit bounds what a buyer pays; what a seller gets it does not, so without a reference a sale has no price
    if (price2 == NOTHING and side > 0) or (price2 != NOTHING and abs(worst2) > abs(price2)):
        dearest2 = worst2
    if sized(li):
        code = size_limits(tb, h, li, i, v, v.pos, working, side, qty, dearest2)
        if code != R.OK:
            return code
    ls = limits(tb, h)[(1 + strategy) * h.n_instruments + instrument]
    if sized(ls):
        p = positions(tb, h)[(1 + strategy) * h.n_instruments + instrument]
        own = binding(tb, h, v, strategy, side) if flags & REDUCE_ONLY else p.buying if side > 0 else p.selling
        code = size_limits(tb, h, ls, i, v, p.qty, own, side, qty, dearest2)
        if code != R.OK:
            return code
    if (l.max_gross > 0 or l.max_net > 0 or l.max_leverage > 0) and not reducing:
        gross, net = exposure(tb, h, instrument, side * qty, price2)
        if l.max_gross > 0 and gross > l.max_gross:
            return refuse(h, R.MAX_GROSS, gross, l.max_gross)
        if l.max_net > 0 and net > l.max_net:
            return refuse(h, R.MAX_NET, net, l.max_net)
        if l.max_leverage > 0:
            power = part_of(h.equity, l.max_leverage)
            if gross > power:
                return refuse(h, R.BUYING_POWER, gross, power)
    if stop_loss != 0 and (l.max_risk_per_trade > 0 or l.max_risk_share > 0):
        if worst2 == NOTHING:
            return R.NO_REFERENCE
        risked = worth2(i, worst2 - 2 * stop_loss, qty)
        allowed = l.max_risk_per_trade
        if l.max_risk_share > 0:
            by_share = part_of(h.equity, l.max_risk_share)
            allowed = by_share if allowed == 0 else min(allowed, by_share)
        if risked > allowed:
            return refuse(h, R.RISK_PER_TRADE, risked, allowed)
    if crosses_own(tb, h, v, side, px, kind, price2):
        return R.SELF_TRADE
    return rate_limits(tb, h, l, flags)


# --- running limits ---------------------------------------------------------------------------------------------------------
@fn
def set_floor(tb, h):
    """The equity below which the trader is killed: the highest of the running limits' floors."""
    apart()
    l = limits(tb, h)[0]
    h.floor = NOTHING
    if l.max_daily_loss > 0 and h.day_base - l.max_daily_loss > NOTHING:
        h.floor = h.day_base - l.max_daily_loss
        h.floor_reason = R.DAILY_LOSS
    if l.max_total_loss > 0 and h.initial - l.max_total_loss > h.floor:
        h.floor = h.initial - l.max_total_loss
        h.floor_reason = R.TOTAL_LOSS
    drop = l.max_drawdown
    if l.max_drawdown_share > 0:
        by_share = part_of(h.peak, l.max_drawdown_share)
        drop = by_share if drop == 0 else min(drop, by_share)
    limited = l.max_drawdown > 0 or l.max_drawdown_share > 0  # a share of a peak that is nothing allows nothing
    if limited and h.peak - drop > h.floor:
        h.floor = h.peak - drop
        h.floor_reason = R.DRAWDOWN


@fn
def new_peak(tb, h):
    apart()
    h.peak = h.equity
    set_floor(tb, h)


@fn
def enter(tb, h, state, reason):
    """Change the trader's state and say so."""
    apart()
    h.state = state
    h.state_reason = reason
    h.state_since = h.now
    chain(h, state << 8 | reason, 0, 0, 0, 0)
    emit(h, -1, OUT_STATE, state, 0, 0, reason, h.equity, h.floor, 0, 0)
    l = limits(tb, h)[0]
    if state == ACTIVE and l.max_quote_age_ns > 0:
        arm(tb, h, h.now + l.max_quote_age_ns + 1)
    if state == HALTED and l.halt_escalate_ns > 0:
        arm(tb, h, h.now + l.halt_escalate_ns)
    if state == HALTED and reason == R.REJECTION_SPIKE:
        arm(tb, h, h.now + l.reject_window_ns)


@fn
def halt(tb, h, reason):
    """Stop at which only risk-reducing orders pass. Does not weaken a kill; of two halts the one that is harder to clear stays."""
    apart()
    if h.state == ACTIVE:
        h.halts += 1
        enter(tb, h, HALTED, reason)
    elif h.state == HALTED and hardness(reason) > hardness(h.state_reason):
        since = h.state_since
        enter(tb, h, HALTED, reason)
        h.state_since = since


@fn
def hardness(reason):
    """How hard a halt is to clear: by the next quote, by time, by a person."""
    apart()
    if reason == R.STALE_FEED:
        return 0
    return 1 if reason == R.REJECTION_SPIKE else 2


@fn
def recover(tb, h, instrument):
    """Whether a halt is over, or has lasted so long that it becomes a kill (returns True). Called while halted on every event and by the
    engine's timer (`instrument` -1). A stale feed is over with the symbol's next price, unless another one's is stale too."""
    apart()
    l = limits(tb, h)[0]
    if l.halt_escalate_ns > 0 and h.now - h.state_since >= l.halt_escalate_ns:
        return True
    if h.state_reason == R.STALE_FEED and instrument == h.stale:
        v = views(tb, h)[instrument]
        if (v.ts == h.now and v.bid_sz > 0 and v.ask_sz > 0) or v.close_ts == h.now:
            which, due = stalest(tb, h)
            if due > h.now:
                enter(tb, h, ACTIVE, R.STALE_FEED)
            else:
                h.stale = which
    elif h.state_reason == R.REJECTION_SPIKE:
        times = words(tb, h.reject_times_at, h.reject_times_n)
        if h.now - times[(h.n_rejects - 1) % h.reject_times_n] >= l.reject_window_ns:
            enter(tb, h, ACTIVE, R.REJECTION_SPIKE)
    return False


@fn
def on_reject(tb, h):
    """The venue rejected something: several within the window halt."""
    apart()
    l = limits(tb, h)[0]
    times = words(tb, h.reject_times_at, h.reject_times_n)
    times[h.n_rejects % h.reject_times_n] = h.now
    h.n_rejects += 1
    if l.reject_spike > 0 and h.n_rejects >= l.reject_spike:
        if h.now - times[(h.n_rejects - l.reject_spike) % h.reject_times_n] <= l.reject_window_ns:
            halt(tb, h, R.REJECTION_SPIKE)
