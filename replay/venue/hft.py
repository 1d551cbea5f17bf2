"""Resting orders under the rules of hftbacktest's no-partial-fill exchange, exactly: full fills, sizes of touch and print ignored."""

from __future__ import annotations

from replay.kernel.fixed import log
from replay.kernel.memory import apart, fn, hot
from replay.kernel.touch import px_of, sz_of
from replay.venue.book import display_quote
from replay.venue.layout import PROB_LOG, PROB_LOG2, PROB_POWER, PROB_POWER2, RISK_AVERSE, orders
from replay.venue.reports import fill
from replay.venue.resting import unlink


@fn
def front_probability(v, front, back):
    """Probability that a cancel at our price was behind us (its five probability models); both arguments are not negative."""
    apart()
    if v.queue == PROB_LOG:
        f = log(1.0 + front)
        k = log(1.0 + back)
        return k / (k + f) if k + f > 0.0 else 1.0
    if v.queue == PROB_LOG2:
        d = log(1.0 + back + front)
        return log(1.0 + back) / d if d > 0.0 else 1.0
    if v.queue == PROB_POWER:
        f = power(front, v.queue_n)
        k = power(back, v.queue_n)
        return k / (k + f) if k + f > 0.0 else 1.0
    if front + back <= 0.0:
        return 1.0
    if v.queue == PROB_POWER2:
        return power(back, v.queue_n) / power(back + front, v.queue_n)
    return 1.0 - power(front / (front + back), v.queue_n)


@fn
def power(x, n):
    """x to a small whole power by multiplication, the same bits everywhere."""
    apart()
    out = 1.0
    for _ in range(int(n)):
        out *= x
    return out


@hot
def hft_depth(vb, v, b, side, px, was, size):
    """A depth change at one price moves the queue of our orders there."""
    table = orders(vb, v)
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        if o.px == px:
            if v.queue == RISK_AVERSE:
                o.ahead_f = min(o.ahead_f, float(size))
            else:
                hft_canceled(v, o, was, size)
        slot = o.next


@fn
def hft_canceled(v, o, was, size):
    """What left our price without a print was ahead of us or behind, as the model says."""
    apart()
    chg = float(was - size) - o.traded_f
    o.traded_f = 0.0
    if chg < 0.0:
        o.ahead_f = min(o.ahead_f, float(size))
    else:
        front = o.ahead_f
        back = float(was) - front
        p = front_probability(v, max(front, 0.0), max(back, 0.0))
        est = front - (1.0 - p) * chg + min(back - p * chg, 0.0)
        o.ahead_f = min(est, float(size))


@fn
def hft_best(vb, v, b, side, ts):
    """The best of the other side improved to or through our price: full fill at our price."""
    apart()
    table = orders(vb, v)
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        following = o.next
        if sz_of(b, -side) == 0 or side * (o.px - px_of(b, -side)) < 0:
            return
        hft_fill(vb, v, b, slot, ts)
        slot = following


@fn
def hft_fill(vb, v, b, slot, ts):
    apart()
    o = orders(vb, v)[slot]
    qty = o.leaves
    b.position += o.side * qty
    fill(vb, v, o, ts, qty, o.px, True)
    unlink(vb, v, b, slot)


@hot
def hft_print(vb, v, b, e):
    table = orders(vb, v)
    side = -e.side
    slot = b.resting[0 if side > 0 else 1]
    while slot >= 0:
        o = table[slot]
        following = o.next
        through = side * (o.px - e.a)
        if through < 0:
            return
        if through == 0:
            o.ahead_f -= float(e.b)
            o.traded_f += float(e.b)
        # its "round(-ahead / lot) > 0" in whole lots is: more than half a lot past the front
        if through > 0 or o.ahead_f < -0.5:
            hft_fill(vb, v, b, slot, e.ts_event)
        slot = following


@fn
def hft_quote(vb, v, b, e):
    """An L1 quote under hftbacktest's rules: both sides as levels of their own."""
    apart()
    bid_was = b.bid_sz if b.bid_px == e.a else 0
    ask_was = b.ask_sz if b.ask_px == e.c else 0
    display_quote(b, e)
    hft_depth(vb, v, b, 1, b.bid_px, bid_was, b.bid_sz)
    hft_depth(vb, v, b, -1, b.ask_px, ask_was, b.ask_sz)
