"""What the trader says of itself: the decision digest, and records for the run's tables and journal.

Records leave through a ring outside the state, drained by whoever drives the trader; writing one decides nothing. The digest
chains integers only: times, ordinals, instruments, sides, ticks, lots and codes.
"""

from __future__ import annotations

from replay.events import EVENT
from replay.kernel.memory import apart, at, fn, fold, hot, mix
from replay.trader.layout import OUT_MARGIN

# kinds of output records (the layout of EVENT)
OUT_NEW, OUT_CANCEL, OUT_REPLACE, OUT_REFUSED, OUT_REPORT, OUT_FEE, OUT_LOG, OUT_STATE, OUT_SEEN, OUT_EQUITY = range(32, 42)
OUT_NAMES = ["new", "cancel", "replace", "refused", "report", "fee", "log", "state", "seen", "equity"]
#: Equity is sampled at the full minute at or behind each change: with every change up to it, that minute's own included.
SAMPLE_NS = 60_000_000_000


@hot
def chain(h, a, b, c, d, e):
    """Chain one decision, with its time, into the decision digest."""
    h.digest = mix(h.digest, fold(h.now, a, b, c, d, e))


@hot
def emit(h, strategy, kind, side, flags, instrument, ident, a, b, c, d):
    """Write one output record stamped `now`, where somebody listens; the strategy it concerns is in ts_event's place."""
    if h.out != 0:
        _write(h, strategy, kind, side, flags, instrument, ident, a, b, c, d)


@hot
def emit_seen(h, v, of_fill, handle, c, d):
    """Write what the trader's view was at the order or fill written just before: mark (doubled), and which input it was."""
    emit(h, -1, OUT_SEEN, of_fill, 0, 0, h.seq, handle, v.mark2, c, d)


@fn
def _write(h, strategy, kind, side, flags, instrument, ident, a, b, c, d):
    apart()
    if h.out_n >= h.out_cap - OUT_MARGIN:
        h.attend = 1
        if h.out_n == h.out_cap:
            h.fault = FAULT_OUTPUT
            return
    e = at(h.out + 64 * h.out_n, 1, EVENT)[0]
    h.out_n += 1
    e.ts_event = strategy
    e.ts_recv = h.now
    e.kind = kind
    e.side = side
    e.flags = flags
    e.instrument = instrument
    e.id = ident
    e.a = a
    e.b = b
    e.c = c
    e.d = d


# why the trader stopped the run
FAULT_STRATEGY, FAULT_OUTPUT, FAULT_ROOM, FAULT_MONEY = 1, 2, 3, 4
