"""Events and reports in a line of text, prices and quantities in natural units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from replay import events as E
from replay.data.instruments import Instrument
from replay.data.times import utc_text
from replay.kernel.arena import Arena
from replay.summary import money
from replay.trader import layout as T
from replay.trader.orders import (
    EXEC_BUST,
    EXEC_CORRECT,
    EXEC_NAMES,
    EXEC_REPLACED,
    EXEC_TRADE,
    STATE_NAMES,
    WHY_MASK,
    WHY_NAMES,
)
from replay.trader.output import OUT_CANCEL, OUT_FEE, OUT_REPLACE, OUT_REPORT, OUT_SEEN

ORDER_FLAGS = {T.POST_ONLY: "post-only", T.REDUCE_ONLY: "reduce-only", T.ENGINE: "engine", T.OUTSIDE: "outside"}
PHASES = ("closed", "pre-open", "open", "post-close")
OPERATIONS = ("", "kill", "resume", "halt", "cancel all", "end of the data", "end of the warm-up")


def event_text(e: np.record, instruments: Sequence[Instrument], trader: Arena) -> str:
    """An input of the trader; a row of a deeper book with the touch it led to."""
    kind = int(e.kind)
    if kind == E.PHASE:
        return f"phase {PHASES[e.side]}, day {e.id}"
    if kind == E.TIMER:
        return f"timer {e.id}"
    if kind == E.CONTROL:
        return f"control {OPERATIONS[e.side]}"
    if kind == E.CUSTOM:
        return f"data, stream {e.id}: {e.a} {e.b} {e.c} {e.d}"
    i = instruments[int(e.instrument)]
    if kind == E.QUOTE:
        return f"quote {i.symbol} {touch(i, e.a, e.b, e.c, e.d)}"
    if kind == E.TRADE:
        by = {1: ", the buyer's", -1: ", the seller's"}.get(int(e.side), "")
        return f"trade {i.symbol} {i.qty(e.b)} @ {i.price(e.a)}{by}"
    if kind == E.DEPTH:
        v = trader.region("views")[int(e.instrument)]
        return f"book {i.symbol} {touch(i, v.bid_px, v.bid_sz, v.ask_px, v.ask_sz)}, after {i.qty(e.b)} @ {i.price(e.a)}"
    if kind == E.BAR:
        ohlc = " ".join(f"{name} {i.price(e[w])}" for name, w in zip(("open", "high", "low", "close"), "abcd", strict=True))
        return f"bar {i.symbol} {ohlc} volume {i.qty(e.id)}"
    if kind == E.REPORT:
        return f"report of order {e.a >> T.SLOT_BITS}: {report_text(e, i)}"
    if kind == E.INTENT:
        return f"outside intent {e.id}: {'buy' if e.side > 0 else 'sell'} {i.qty(e.a)} {i.symbol}"
    return f"{E.KIND_NAMES[kind]} {i.symbol}: {e.id} {e.a} {e.b} {e.c} {e.d}"


def touch(i: Instrument, bid_px: int, bid_sz: int, ask_px: int, ask_sz: int) -> str:
    """Both sides of a quote.

    >>> touch(Instrument(symbol="AAPL", tick_size="0.01"), 18911, 400, 0, 0)
    '189.11 x 400 / none'
    """
    sides = (f"{i.price(px)} x {i.qty(size)}" if size else "none" for px, size in ((bid_px, bid_sz), (ask_px, ask_sz)))
    return " / ".join(sides)


def report_text(e: np.record, i: Instrument) -> str:
    """What a report, an event or the trader's record of one, says happened."""
    exec_type = int(e["flags"]) >> 8
    if exec_type in (EXEC_TRADE, EXEC_CORRECT, EXEC_BUST):
        what = "fill" if exec_type == EXEC_TRADE else EXEC_NAMES[exec_type]
        return f"{what} {i.qty(e.b)} @ {i.price(e.c)}" + (" passive" if e["flags"] & E.MAKER else "")
    if exec_type == EXEC_REPLACED:
        return f"replaced, now {i.qty(e.b)}" + (f" @ {i.price(e.c)}" if e.c else "")
    why = int(e["flags"]) & WHY_MASK
    return EXEC_NAMES[exec_type].replace("_", " ") + (f" ({WHY_NAMES[why]})" if why else "")


def report_texts(mine: np.recarray, instruments: Sequence[Instrument]) -> Iterator[str]:
    """What was said of one order after it was sent, in order."""
    for k, row in enumerate(mine):
        i, at, kind = instruments[int(row.instrument)], utc_text(row.ts_recv), int(row.kind)
        if kind == OUT_CANCEL:
            yield f"{at} cancel asked"
        elif kind == OUT_REPLACE:
            yield f"{at} replace asked: {i.qty(row.b)} @ {i.price(row.c or row.d)}"
        elif kind == OUT_FEE:
            yield f"{at} fee {money(row.b)}"
        elif kind == OUT_REPORT:
            state, news = STATE_NAMES[int(row.d) >> 1], int(row.d) & 1
            seen = next((r for r in mine[k + 1 : k + 2] if r.kind == OUT_SEEN and r.side == 1), None)
            venue = f", at the venue {utc_text(seen.c)}" if seen is not None else ""
            yield f"{at} {report_text(row, i)}, order {state}{venue}" + ("" if news else " (no news)")
