"""Features of quotes' and trades' sizes: order flow, signed trades, session VWAP, micro-bars. Integer sums, exact.

Prints are taken as they are flagged: volume is of those that count as volume (`COUNTS`), prices of those that may set the last
price (`SETS_LAST`).
"""

from __future__ import annotations

from replay.events import COUNTS, SETS_LAST
from replay.kernel.memory import fn, hot
from replay.trader.rows import BAR_CLOSE, CLOSE, COUNT, CURRENT, HIGH, LOW, OFI, OPEN, TRADE_IMBALANCE, TRADED, VOLUME
from replay.trader.windows import BASE, CELL, EDGE, FIRST, OWN, SUMS, A, B, arrive, covered, open_cell, settle, watch

# own words of a flow; `_HEARD`: when the quote (of OFI) was
_BID_PX, _BID_SZ, _ASK_PX, _ASK_SZ, _LAST_PX, _LAST_SIGN = range(OWN, OWN + 6)
_HEARD = _LAST_PX
# words of a VWAP: its sum in two, high and low part
_HIGH, _LOW_PART, _VOLUME = 0, 1, 2
_LOW_BITS = 40
_LOW_MASK = (1 << 40) - 1
# words of a micro-bar, after the edge
_BUILDING, _COMPLETE = 1, 7


@hot
def _show_flow(f, words, at, now):
    cell = words[at + CELL]
    a = words[at + BASE + 1] + words[cell + A]
    b = words[at + BASE + 2] + words[cell + B]
    if f.code == TRADE_IMBALANCE:
        f.value = float(a - b) / float(a + b) if a + b > 0 else 0.0
    else:
        f.value = float(a - b)
    f.ready = 1 if covered(f, words, at, now) else 0


@hot
def _add(f, words, fwords, at, now, a, b):
    sums = open_cell(f, words, at, now)
    words[sums] += 1
    words[sums + 1] += a
    words[sums + 2] += b
    settle(SUMS, f, words, fwords, at)


@hot
def _side_flow(sign, px, sz, px0, sz0):
    """What one side's queue gained at its best price (Cont, Kukanov, Stoikov); an absent side is a price infinitely far away."""
    better = sign * (px - px0)
    gained = 0
    if sz > 0 and (sz0 == 0 or better >= 0):
        gained += sz
    if sz0 > 0 and (sz == 0 or better <= 0):
        gained -= sz0
    return gained


@fn
def flow_quote(f, words, fwords, now, bid_px, bid_sz, ask_px, ask_sz):
    """Bring a flow to a quote: what OFI observes, what the signs of trades are told by."""
    at = f.word
    if f.code == OFI:
        if words[at + _HEARD] == 0:
            if not f.count:
                arrive(SUMS, f, words, fwords, at, now)
        else:
            arrive(SUMS, f, words, fwords, at, now)
            if f.count or words[at + FIRST] <= words[at + _HEARD]:  # watched since the quote before
                bids = _side_flow(1, bid_px, bid_sz, words[at + _BID_PX], words[at + _BID_SZ])
                asks = _side_flow(-1, ask_px, ask_sz, words[at + _ASK_PX], words[at + _ASK_SZ])
                _add(f, words, fwords, at, now, bids, asks)
        words[at + _HEARD] = now
    elif not f.count:
        arrive(SUMS, f, words, fwords, at, now)
    words[at + _BID_PX] = bid_px
    words[at + _BID_SZ] = bid_sz
    words[at + _ASK_PX] = ask_px
    words[at + _ASK_SZ] = ask_sz
    if words[at + CELL] != 0:
        _show_flow(f, words, at, now)


@hot
def _sign_of_trade(words, at, px, side):
    """+1: a buyer took, -1: a seller, 0: not known. The given side, else the quote rule, at the mid or without one the tick rule."""
    sign = int(side)
    if sign == 0 and words[at + _BID_SZ] > 0 and words[at + _ASK_SZ] > 0:
        sign = _sign(2 * px - words[at + _BID_PX] - words[at + _ASK_PX])
    if sign == 0 and words[at + _LAST_SIGN] != 0:
        sign = _sign(px - words[at + _LAST_PX])
        if sign == 0:
            sign = words[at + _LAST_SIGN] >> 2
    return sign


@hot
def _sign(d):
    if d > 0:
        return 1
    return -1 if d < 0 else 0


@fn
def flow_trade(f, words, fwords, now, px, size, side, flags):
    """Bring a flow of signed trades to a print."""
    at = f.word
    sign = _sign_of_trade(words, at, px, side)
    if flags & SETS_LAST:
        words[at + _LAST_PX] = px
        words[at + _LAST_SIGN] = (sign << 2) | 1  # the low bit says that there has been a trade
    if flags & COUNTS:
        arrive(SUMS, f, words, fwords, at, now)
        _add(f, words, fwords, at, now, size if sign > 0 else 0, size if sign < 0 else 0)
        _show_flow(f, words, at, now)
    else:
        flow_advance(f, words, fwords, now)


@fn
def flow_volume(f, words, fwords, now, size):
    """Add the lots of a trade or a bar, whoever was the aggressor."""
    arrive(SUMS, f, words, fwords, f.word, now)
    _add(f, words, fwords, f.word, now, size, 0)
    _show_flow(f, words, f.word, now)


@fn
def flow_advance(f, words, fwords, now):
    """Bring a flow to an event that it observes nothing of; that of bars has the closes of the bars for a clock."""
    if f.code == TRADED and f.source == BAR_CLOSE:
        return
    if watch(SUMS, f, words, fwords, f.word, now):
        _show_flow(f, words, f.word, now)


# --- session VWAP ------------------------------------------------------------------------------------------------------------------


@hot
def vwap_add(words, at, px, size):
    """Add px * size to a sum of two words, exact far beyond int64: only the product itself must fit."""
    product = px * size
    low = words[at + _LOW_PART] + (product & _LOW_MASK)
    words[at + _HIGH] += (product >> _LOW_BITS) + (low >> _LOW_BITS)
    words[at + _LOW_PART] = low & _LOW_MASK


@hot
def vwap_show(f, words, at, volume, parts):
    total = words[at + _VOLUME] + volume
    words[at + _VOLUME] = total
    if total > 0:
        sum_px = float(words[at + _HIGH]) * 1099511627776.0 + float(words[at + _LOW_PART])
        f.value = sum_px / (float(parts) * float(total))
        f.ready = 1


# --- micro-bars ----------------------------------------------------------------------------------------------------------------------


@fn
def bar_close(f, words, fwords, now):
    """Complete the bar being built if `now` is past its end (session opens pass an end of time). Volume without a price is no bar."""
    at = f.word
    if now < words[at + EDGE]:
        return
    if words[at + _BUILDING + COUNT] == 0:
        words[at + _BUILDING + VOLUME] = 0
        return
    for i in range(6):
        words[at + _COMPLETE + i] = words[at + _BUILDING + i]
        words[at + _BUILDING + i] = 0
    if f.p1 < CURRENT:
        f.value = bar_component(f, words, fwords, f.p1)
        f.ready = 1
    else:
        f.ready = 0


@fn
def bar_add(f, words, fwords, now, x, size, flags):
    """Add a print, or a quote as one of no size, by its flags."""
    bar_close(f, words, fwords, now)
    b = f.word + _BUILDING
    if words[b + COUNT] == 0 and words[b + VOLUME] == 0:
        words[f.word + EDGE] = (now // f.p0 + 1) * f.p0
    if flags & COUNTS:
        words[b + VOLUME] += size
    if flags & SETS_LAST:
        if words[b + COUNT] == 0:
            fwords[b + OPEN] = x
            fwords[b + HIGH] = x
            fwords[b + LOW] = x
        elif x > fwords[b + HIGH]:
            fwords[b + HIGH] = x
        elif x < fwords[b + LOW]:
            fwords[b + LOW] = x
        fwords[b + CLOSE] = x
        words[b + COUNT] += 1
    if f.p1 >= CURRENT and words[b + COUNT] > 0:
        f.value = bar_component(f, words, fwords, f.p1)
        f.ready = 1


@hot
def bar_component(f, words, fwords, component):
    """A component of a micro-bar's row: OPEN..COUNT of the last complete bar, ``CURRENT + OPEN``.. of the one being built."""
    at = f.word + _COMPLETE
    if component >= CURRENT:
        at = f.word + _BUILDING
        component -= CURRENT
    if component >= VOLUME:
        return float(words[at + component])
    return fwords[at + component]
