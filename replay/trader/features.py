"""Built-in features: a table of records the kernel interprets, one row a feature of an instrument.

    quote, trade, bar, session phase ──► walk_* along an instrument's rows ──► row.value, row.ready

A row says what it computes (`code`), of what (`source`), with which parameters (`p0`, `p1`), and where its state is (`word`: an
offset into one int64 region that all rows share, seen as `words` and, for floats, as `fwords`). A row is computed once, however many
strategies read it. Values use only what has been observed up to `now`: no row looks ahead, and a row's time window also rolls on
the instrument's other events, so a value is as of the last event of its instrument.

Prices are ticks, sizes lots. A print is an observation of a price only if it may set the last price (`SETS_LAST`), and has a volume only if
it counts as such (`COUNTS`). Features of bars have the bars' closes for a clock, all others the time at which events reached us. A size of zero on a side of a quote means that the side is absent: features of both sides do not observe
such a quote, and those that show the quote itself (spread, imbalance, microprice) are not ready until both sides are back.
Windows and buckets are defined in `replay.trader.windows`; names and parameters for people are in `replay.trader.specs`.
"""

from __future__ import annotations

import numpy as np

from replay.events import BAR, COUNTS, EVENT, PHASE, PRINT, QUOTE, SETS_LAST, TRADE
from replay.events import OPEN as PHASE_OPEN
from replay.kernel.memory import at, entry, fn, hot
from replay.trader.flows import bar_add, bar_close, flow_advance, flow_quote, flow_trade, flow_volume, vwap_add, vwap_show
from replay.trader.rows import (
    ASK,
    BAR_CLOSE,
    BID,
    FEATURE,
    HIGHEST,
    LAST_INSTANT,
    LAST_SERIES,
    LAST_TRADE,
    LAST_WINDOW,
    LOWEST,
    MICRO,
    MICRO_BAR,
    MID,
    OFI,
    QUEUE_IMBALANCE,
    RELATIVE_SPREAD,
    RETURN_ZSCORE,
    SESSION_RETURN,
    SPREAD,
    TRADE_FLOW,
    TRADE_IMBALANCE,
    TRADED,
    VWAP,
    WIDTH,
)
from replay.trader.series import advance, closes_of, observe
from replay.trader.windows import DAY, EDGE, SEEN, clear

INT64 = np.dtype("i8")
FLOAT64 = np.dtype("f8")
BYTE = np.dtype("u1")


@hot
def quote_value(source, bid_px, bid_sz, ask_px, ask_sz):
    """Whether the quote shows the source, and its value."""
    if source == BID:
        return bid_sz > 0, float(bid_px)
    if source == ASK:
        return ask_sz > 0, float(ask_px)
    if bid_sz == 0 or ask_sz == 0:
        return False, 0.0
    if source == MID:
        return True, 0.5 * float(bid_px + ask_px)
    if source == MICRO:
        return True, microprice(bid_px, bid_sz, ask_px, ask_sz)
    return source == WIDTH, float(ask_px - bid_px)


@hot
def microprice(bid_px, bid_sz, ask_px, ask_sz):
    """``(ask_px * bid_sz + bid_px * ask_sz) / (bid_sz + ask_sz)`` in ticks, as the bid plus a share of the spread."""
    return float(bid_px) + float(ask_px - bid_px) * (float(bid_sz) / float(bid_sz + ask_sz))


@hot
def _instant(f, bid_px, bid_sz, ask_px, ask_sz):
    if bid_sz == 0 or ask_sz == 0:
        f.ready = 0
        return
    code = f.code
    ready = 1
    if code == SPREAD:
        f.value = float(ask_px - bid_px)
    elif code == RELATIVE_SPREAD:
        if bid_px + ask_px > 0:
            f.value = 2.0 * float(ask_px - bid_px) / float(bid_px + ask_px)
        else:
            ready = 0
    elif code == QUEUE_IMBALANCE:
        f.value = float(bid_sz - ask_sz) / float(bid_sz + ask_sz)
    else:
        f.value = microprice(bid_px, bid_sz, ask_px, ask_sz)
    f.ready = ready


@hot
def feature_quote(f, words, fwords, now, bid_px, bid_sz, ask_px, ask_sz):
    """Bring one row to a quote at `now`; ticks and lots, a size of 0: the side is absent."""
    code = f.code
    if code <= LAST_SERIES:
        seen, x = quote_value(f.source, bid_px, bid_sz, ask_px, ask_sz)
        if seen:
            observe(f, words, fwords, now, x)
        else:
            advance(f, words, fwords, now)
    elif code <= LAST_INSTANT:
        _instant(f, bid_px, bid_sz, ask_px, ask_sz)
    elif code <= TRADE_IMBALANCE:
        flow_quote(f, words, fwords, now, bid_px, bid_sz, ask_px, ask_sz)
    elif code == TRADED:
        flow_advance(f, words, fwords, now)
    elif code == MICRO_BAR:
        seen, x = quote_value(f.source, bid_px, bid_sz, ask_px, ask_sz)
        if seen:
            bar_add(f, words, fwords, now, x, 0, PRINT)
        else:
            bar_close(f, words, fwords, now)


@hot
def feature_trade(f, words, fwords, now, px, size, side, flags):
    """Bring one row to a trade at `now`; side +1: the buyer was the aggressor, -1: the seller, 0: not given; `flags` of the print."""
    code = f.code
    if code <= LAST_SERIES:
        if f.source == LAST_TRADE and flags & SETS_LAST:
            observe(f, words, fwords, now, float(px))
        else:
            advance(f, words, fwords, now)
    elif code in (TRADE_FLOW, TRADE_IMBALANCE):
        flow_trade(f, words, fwords, now, px, size, side, flags)
    elif code == TRADED and f.source == LAST_TRADE and flags & COUNTS:
        flow_volume(f, words, fwords, now, size)
    elif code == OFI or code == TRADED:
        flow_advance(f, words, fwords, now)
    elif code == VWAP:
        if f.source == LAST_TRADE and flags & COUNTS:
            vwap_add(words, f.word, px, size)
            vwap_show(f, words, f.word, size, 1)
    elif code == MICRO_BAR:
        if f.source == LAST_TRADE:
            bar_add(f, words, fwords, now, float(px), size, flags)
        else:
            bar_close(f, words, fwords, now)


@hot
def feature_bar(f, words, fwords, now, closed, o, h, l, c, v):
    """Bring one row to a finished bar seen at `now`, of which a row of bars takes `closed`, its close, for the time: its close is the
    observation (of extremes its high or low), its (h + l + c) / 3 the price of its volume."""
    code = f.code
    if f.source == BAR_CLOSE:
        if code == VWAP:
            vwap_add(words, f.word, h, v)
            vwap_add(words, f.word, l, v)
            vwap_add(words, f.word, c, v)
            vwap_show(f, words, f.word, v, 3)
            return
        if code <= LAST_WINDOW or code == TRADED:
            closed = max(closed, words[f.word + SEEN])
        if code == TRADED:
            flow_volume(f, words, fwords, closed, v)
        else:
            if code == SESSION_RETURN and words[f.word] == 0:
                words[f.word] = 1
                fwords[f.word + 1] = float(o)
            observe(f, words, fwords, closed, float(h if code == HIGHEST else l if code == LOWEST else c))
    elif code <= LAST_SERIES:
        advance(f, words, fwords, now)
    elif OFI <= code <= TRADED:
        flow_advance(f, words, fwords, now)
    elif code == MICRO_BAR:
        bar_close(f, words, fwords, now)


@hot
def feature_phase(f, words, fwords, now, phase):
    """A session opens: what is anchored to it starts anew, and so do time windows shorter than a day, unless the market had not been
    closed for any time; a micro-bar still being built is complete."""
    if phase != PHASE_OPEN:
        if f.closed < 0:
            f.closed = now
        return
    if f.closed >= 0:
        _open(f, words, fwords, now)
    f.closed = -1


@fn
def _open(f, words, fwords, now):
    code = f.code
    if code in (SESSION_RETURN, VWAP):
        for i in range(f.n_words):
            words[f.word + i] = 0
        f.ready = 0
    elif code == MICRO_BAR:
        bar_close(f, words, fwords, words[f.word + EDGE])
    elif now > f.closed and not f.count and (code <= LAST_WINDOW or OFI <= code <= TRADED):
        if f.p0 < DAY:
            clear(words, f.word)
            f.ready = 0
        if code == RETURN_ZSCORE and f.p1 < DAY:
            clear(words, closes_of(f))


# --- all rows of an instrument ---------------------------------------------------------------------------------------------
# By address, like every boundary of the kernel: `rows` of `n_rows` FEATURE records, `words` of `n_words` words. Passing the arrays
# themselves would cost more than most features do.


@fn
def walk_quote(rows, n_rows, first, words, n_words, now, bid_px, bid_sz, ask_px, ask_sz):
    """`feature_quote` on the rows from `first` along `next`. Addresses and counts in int64."""
    features = at(rows, n_rows, FEATURE)
    ints = at(words, n_words, INT64)
    floats = at(words, n_words, FLOAT64)
    i = first
    while i >= 0:
        f = features[i]
        feature_quote(f, ints, floats, now, bid_px, bid_sz, ask_px, ask_sz)
        i = f.next


@fn
def walk_trade(rows, n_rows, first, words, n_words, now, px, size, side, flags):
    """`feature_trade` on the rows from `first` along `next`. Addresses and counts in int64."""
    features = at(rows, n_rows, FEATURE)
    ints = at(words, n_words, INT64)
    floats = at(words, n_words, FLOAT64)
    i = first
    while i >= 0:
        f = features[i]
        feature_trade(f, ints, floats, now, px, size, side, flags)
        i = f.next


@fn
def walk_bar(rows, n_rows, first, words, n_words, now, closed, o, h, l, c, v):
    """`feature_bar` on the rows from `first` along `next`. Addresses and counts in int64."""
    features = at(rows, n_rows, FEATURE)
    ints = at(words, n_words, INT64)
    floats = at(words, n_words, FLOAT64)
    i = first
    while i >= 0:
        f = features[i]
        feature_bar(f, ints, floats, now, closed, o, h, l, c, v)
        i = f.next


@fn
def walk_phase(rows, n_rows, first, words, n_words, now, phase):
    """`feature_phase` on the rows from `first` along `next`. Addresses and counts in int64."""
    features = at(rows, n_rows, FEATURE)
    ints = at(words, n_words, INT64)
    floats = at(words, n_words, FLOAT64)
    i = first
    while i >= 0:
        f = features[i]
        feature_phase(f, ints, floats, now, phase)
        i = f.next


@entry
def play(events, n, rows, n_rows, first, words, n_words, values, ready):
    """Bring a table through `n` EVENT records as seen at ``ts_recv``; line k of `values` and `ready`: all rows after event k.

    The research table: the same functions, so the same bits, as in a run. `first` holds each instrument's first row. All arrays are
    given by address.
    """
    stream = at(events, n, EVENT)
    features = at(rows, n_rows, FEATURE)
    out = at(values, n * n_rows, FLOAT64)
    known = at(ready, n * n_rows, BYTE)
    for k in range(n):
        e = stream[k]
        i = at(first, e.instrument + 1, INT64)[e.instrument]
        if e.kind == QUOTE:
            walk_quote(rows, n_rows, i, words, n_words, e.ts_recv, e.a, e.b, e.c, e.d)
        elif e.kind == TRADE:
            walk_trade(rows, n_rows, i, words, n_words, e.ts_recv, e.a, e.b, e.side, e.flags)
        elif e.kind == BAR:
            walk_bar(rows, n_rows, i, words, n_words, e.ts_recv, e.ts_event, e.a, e.b, e.c, e.d, e.id)
        elif e.kind == PHASE:
            walk_phase(rows, n_rows, i, words, n_words, e.ts_recv, e.side)
        for j in range(n_rows):
            f = features[j]
            out[k * n_rows + j] = f.value
            known[k * n_rows + j] = f.ready
    return 0
