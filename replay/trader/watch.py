"""Staleness: since when an instrument that matters has not been heard of. Time alone brings it about, so the engine's timer looks."""

from __future__ import annotations

from replay.events import HALTED as MARKET_STOPPED
from replay.events import OPEN
from replay.kernel.memory import apart, fn
from replay.trader.layout import instruments, limits, views

NEVER = 1 << 62


@fn
def stale_at(tb, h, l, instrument):
    """When the data of an instrument get too old, unless it is heard of before; NEVER where nothing of ours is at stake, or its market
    is closed or halted. A bar's close is good for two intervals, as it is for a price reference."""
    apart()
    v = views(tb, h)[instrument]
    if (v.pos == 0 and v.orders < 0) or v.phase != OPEN or v.status == MARKET_STOPPED:
        return NEVER
    if v.since == 0 and v.ts == 0 and v.close_ts == 0 and v.last_ts == 0:
        v.since = h.now
    heard = max(v.ts, v.since)
    if v.ts == 0 and v.close_ts == 0:
        heard = max(heard, v.last_ts)
    bar_ns = instruments(tb, h)[instrument].bar_ns
    due = heard + l.max_quote_age_ns
    if v.close_ts > 0 or (bar_ns > 0 and v.ts == 0):
        due = max(due, max(v.close_ts, v.since) + 2 * bar_ns)
    return due + 1


@fn
def stalest(tb, h):
    """(instrument, when) of the data that get too old first; (-1, NEVER) where no age is asked for or nothing is at stake."""
    apart()
    l = limits(tb, h)[0]
    which = -1
    due = NEVER
    if l.max_quote_age_ns > 0:
        for k in range(h.n_instruments):
            at = stale_at(tb, h, l, k)
            if at < due:
                which = k
                due = at
    return which, due
