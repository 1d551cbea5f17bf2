"""The event: 64 bytes, one cache line, one layout for everything the trader may know.

Every input of the engine (market data, order reports, timers, operator controls, calendar, configuration, outside intents) is
one `EVENT` record. The four payload words ``a b c d`` and the word ``id`` mean what the kind says; each kind has its own record
type over the same 64 bytes with the field's usual names:

=============  ====  ============  ==========  =========  ==========  ==========  =====================================
kind           code  id            a           b          c           d           side, flags
=============  ====  ============  ==========  =========  ==========  ==========  =====================================
QUOTE          1     seq           bid_px      bid_sz     ask_px      ask_sz
TRADE          2     trade_id      px          size       conditions              side +1: the buyer was the aggressor
DEPTH          3     seq           px          size       action      count       side +1 bid, -1 ask; size is absolute
ORDER (L3)     4     order_id      px          size       action      priority    side of the resting order
BAR            5     volume        open        high       low         close       side: index of the interval
BAR_EXT        6     trades        vwap        buy_vol                            follows its bar
REPORT         7     exec_id       handle      last_qty   last_px     cum_qty     flags >> 8 is the exec_type
FEE            8     exec_id       handle      amount     currency    fee_type
TIMER          9     timer_id      strategy
CONTROL        10    0             arg                                            side: the operation
INSTRUMENT     11    0             field       value                              a changed definition
PHASE          12    trading_day                                                  side: the session phase
STATUS         13    0             reason                                         side: the trading status
CORPORATE      14    action        numerator   denomin.   amount
FUNDING        15    0             rate        mark_px    interval_ns
MARK           16    0             px          index_px
ACCOUNT        17    strategy      currency    amount     lots       px                      money and lots in or out without a trade
INTENT         18    intent_id     qty         px         stop_px     packed      an outside intent
CUSTOM         19    stream        word 0      word 1     word 2      word 3      news, breadth, predictions: `on_data`
TEXT           20    text_id       8 bytes     8 bytes    8 bytes     8 bytes     definition of an interned text id
=============  ====  ============  ==========  =========  ==========  ==========  =====================================

Times are int64 ns UTC, prices int64 ticks and sizes int64 lots of the instrument. Rows of one venue message share a group whose
end carries `LAST`: books match and strategies wake only there.
"""

from __future__ import annotations

import numpy as np

from replay.kernel.memory import record

QUOTE, TRADE, DEPTH, ORDER, BAR, BAR_EXT, REPORT, FEE, TIMER, CONTROL = range(1, 11)
INSTRUMENT, PHASE, STATUS, CORPORATE, FUNDING, MARK, ACCOUNT, INTENT, CUSTOM, TEXT = range(11, 21)
N_KINDS = 21
KIND_NAMES = [
    "none",
    "quote",
    "trade",
    "depth",
    "order",
    "bar",
    "bar_ext",
    "report",
    "fee",
    "timer",
    "control",
    "instrument",
    "phase",
    "status",
    "corporate",
    "funding",
    "mark",
    "account",
    "intent",
    "custom",
    "text",
]

# flags (low byte for market data)
LAST = 1  #: end of a venue message
SNAPSHOT = 2  #: part of a book snapshot
SETS_LAST = 4  #: the print may set the last price
COUNTS = 8  #: the print counts as volume
FILLS = 16  #: the print may fill a resting order
GAP = 32  #: rows were lost before this one
MAKER = 64  #: a report of a passive fill
PRINT = SETS_LAST | COUNTS | FILLS  #: an ordinary print

# actions of DEPTH and ORDER rows
SET, ADD, MODIFY, CANCEL, FILL, CLEAR = range(6)

# phases
CLOSED, PRE_OPEN, OPEN, POST_CLOSE = range(4)
# trading status
TRADING, HALTED = range(2)
# operations of CONTROL
OP_KILL, OP_RESUME, OP_HALT, OP_CANCEL_ALL, OP_END, OP_START = range(
    1, 7
)  # OP_END: no more data will come; OP_START: warm-up is over

_HEAD = (("ts_event", "i8"), ("ts_recv", "i8"), ("kind", "u1"), ("side", "i1"), ("flags", "u2"), ("instrument", "u4"))


def _layout(id_name: str, *payload: str) -> np.dtype:
    words = [*payload, *("abcd"[len(payload) :])]
    dt = record(*_HEAD, (id_name, "i8"), *((w, "i8") for w in words))
    assert dt.itemsize == 64, dt
    return dt


EVENT = _layout("id")
QUOTE_DT = _layout("seq", "bid_px", "bid_sz", "ask_px", "ask_sz")
TRADE_DT = _layout("trade_id", "px", "size", "conditions")
DEPTH_DT = _layout("seq", "px", "size", "action", "count")
BAR_DT = _layout("volume", "open", "high", "low", "close")
REPORT_DT = _layout("exec_id", "handle", "last_qty", "last_px", "cum_qty")
FEE_DT = _layout("exec_id", "handle", "amount", "currency", "fee_type")
TIMER_DT = _layout("timer_id", "strategy")
CUSTOM_DT = _layout("stream", "w0", "w1", "w2", "w3")


def empty(n: int) -> np.ndarray:
    """`n` zeroed events as a record array, aligned to cache lines.

    >>> rows = empty(2); rows.kind[:] = QUOTE; rows.itemsize
    64
    """
    raw = np.zeros(64 * n + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + 64 * n].view(EVENT).view(np.recarray)
