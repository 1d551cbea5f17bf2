"""The trader's state: record types of its header and regions, and the codes stored in them."""

from __future__ import annotations

import numpy as np

from replay.kernel.memory import at, beyond, hot, record

I64 = np.dtype("i8")
F64 = np.dtype("f8")

# --- orders ---------------------------------------------------------------------------------------------------------------
MARKET, LIMIT, STOP, STOP_LIMIT = range(4)
DAY, GTC, IOC, FOK = range(4)
POST_ONLY, REDUCE_ONLY, ENGINE, OUTSIDE = 1, 2, 4, 8  # order flags; ENGINE: sent by the engine's own flattener
# the request outstanding at the venue besides the order itself
NO_REQUEST, CANCELING, REPLACING = range(3)

SLOT_BITS = 20
SLOT_MASK = (1 << SLOT_BITS) - 1

ORDER = record(
    ("handle", "i8"),
    ("px", "i8"),
    ("stop_px", "i8"),
    ("qty", "i8"),
    ("cum", "i8"),
    ("paid", "i8"),  # sum of last_qty x last_px: avg_px = paid / cum
    ("exposed", "i8"),  # lots counted against the limits
    ("new_qty", "i8"),  # of the replace that is out
    ("new_px", "i8"),  # the price that a replace moves: of a stop its stop price, else the limit price
    ("next_qty", "i8"),  # of the replace that waits behind it
    ("next_px", "i8"),
    ("intent_id", "i8"),
    ("exec_seq", "i8"),  # newest of this order's fills in the fill ring, -1 none
    ("undone", "i8"),  # lots of its fills that the venue has taken back
    ("undone_ts", "i8"),  # when it did that last, by its clock
    ("t_sent", "i8"),
    ("t_last", "i8"),
    ("sibling", "i8"),  # the other one of a pair; of an entry its first child
    ("second", "i8"),  # of an entry its second child, 0 none; of a child its entry
    ("group_qty", "i8"),  # of exits: lots they may trade together; of an entry: its fills that they have been given
    ("instrument", "i4"),
    ("strategy", "i4"),
    ("next", "i4"),  # working orders of the instrument, or the free list
    ("prev", "i4"),
    ("state", "i1"),
    ("side", "i1"),
    ("type", "i1"),
    ("tif", "i1"),
    ("flags", "i1"),
    ("request", "i1"),  # of a finished order: one that the venue has yet to answer
    ("waiting", "i1"),  # NO_REQUEST, CANCELING or REPLACING wanted once the outstanding one is answered
    ("group", "i1"),
)
#: TURN, WAITING: `replay.trader.account`. ENDED: an entry whose exits have traded, or were no longer needed. Every code behind it is
#: of an exit.
TURN, WAITING, NO_GROUP, ENTRY, ENDED, TAKE_PROFIT, STOP_LOSS, OCO_LEG = range(-2, 6)

FILL = record(("exec_id", "i8"), ("handle", "i8"), ("qty", "i8"), ("px", "i8"), ("older", "i8"), ("seq", "i8"))
INTENT_ROW = record(("intent_id", "i8"), ("content", "i8"), ("answer", "i8"))

# --- commands: what leaves the trader -------------------------------------------------------------------------------------
CMD_NEW, CMD_CANCEL, CMD_REPLACE = 1, 2, 3
COMMAND = record(
    ("handle", "i8"),
    ("ordinal", "i8"),
    ("qty", "i8"),
    ("px", "i8"),
    ("stop_px", "i8"),
    ("instrument", "i4"),
    ("strategy", "i4"),
    ("kind", "i1"),
    ("side", "i1"),
    ("type", "i1"),
    ("tif", "i1"),
    ("flags", "i1"),
    ("pad", "i1", (3,)),
    ("ts", "i8"),
)
assert COMMAND.itemsize == 64

# --- instruments, the local view, positions -------------------------------------------------------------------------------
INSTRUMENT = record(
    ("num", "i8"),  # money per tick x lot = num / den
    ("den", "i8"),
    ("value_num", "i8"),  # base currency per half tick x lot = value_num / value_den
    ("value_den", "i8"),
    ("bar_ns", "i8"),  # a close is a price reference for two of these
    ("min_qty", "i8"),
    ("max_px", "i8"),
    ("max_product", "i8"),  # ticks x lots that a position may come to by an order
    ("cent", "i8"),  # ticks a cent where prices from one dollar on are whole cents, else 0
    ("currency", "i4"),
    ("allow_negative", "i4"),
    ("level", "i4"),
    ("executes", "i4"),  # 0: its data execute no orders
)
LEVEL_BARS, LEVEL_L1, LEVEL_L2, LEVEL_L3 = 0, 1, 2, 3

VIEW = record(
    ("bid_px", "i8"),
    ("bid_sz", "i8"),
    ("ask_px", "i8"),
    ("ask_sz", "i8"),
    ("ts", "i8"),  # when we last heard a quote or book change
    ("last_px", "i8"),
    ("last_sz", "i8"),
    ("last_ts", "i8"),
    # the account's exposure in it
    ("pos", "i8"),
    ("buying", "i8"),  # lots of our working, in-flight and unknown buy orders
    ("selling", "i8"),
    ("mark2", "i8"),  # twice the price the position is valued at
    ("value", "i8"),
    ("most2", "i8"),  # |mark2| up to which the position's worth can be counted
    ("features", "i4"),  # first feature row, -1 none
    ("orders", "i4"),  # first of our working orders, -1 none
    ("phase", "i1"),
    ("status", "i1"),
    ("marked", "i1"),
    ("allowed", "i1"),
    ("gapped", "i1"),
    ("level", "i1"),  # the data level that sets this view
    ("finest", "i1"),  # the interval of the bars that features take in, -1 none
    ("close_px", "i8"),
    ("close_ts", "i8"),
    ("flatten_ts", "i8"),  # when its position was last to be flattened
    ("since", "i8"),  # from when on it could be heard: its market opened, or went on
)

POSITION = record(
    ("qty", "i8"),
    ("cost", "i8"),  # signed; cash + cost - realised + fees stays constant
    ("realised", "i8"),
    ("fees", "i8"),
    ("bought", "i8"),
    ("sold", "i8"),
    ("fills", "i8"),
    ("cash", "i8"),
    ("buying", "i8"),
    ("selling", "i8"),
    ("owed", "i8"),  # signed lots that the engine has still to trade: what exits traded too much, or came to fill behind them
)
CURRENCY = record(("cash", "i8"), ("fees", "i8"), ("initial", "i8"), ("realised", "i8"), ("cost", "i8"), ("rate", "i8"))
RATE_ONE = 100_000_000  # one unit of base currency per unit

# --- limits ----------------------------------------------------------------------------------------------------------------
#: Names of the limits; 0 means none. Money in 1e-8 of the base currency, times in ns, shares in 1e-6 of equity.
LIMIT_NAMES = [
    "max_order_qty",
    "max_order_notional",
    "max_position",
    "max_position_notional",
    "max_position_share",
    "max_gross",
    "max_net",
    "max_leverage",
    "collar_bps",
    "max_orders",
    "order_window_ns",
    "max_messages",
    "message_window_ns",
    "max_risk_per_trade",
    "max_risk_share",
    "max_quote_age_ns",
    "max_daily_loss",
    "max_total_loss",
    "max_drawdown",
    "max_drawdown_share",
    "reject_spike",
    "reject_window_ns",
    "halt_escalate_ns",
    "flatten",
    "max_spread_bps",
    "account_rules",
]
LIMITS = record(*((name, "i8") for name in LIMIT_NAMES))

# --- states of the trader --------------------------------------------------------------------------------------------------
ACTIVE, HALTED, KILLED = range(3)
RUN, WARMUP, DRAIN = range(3)

# hooks of a strategy, in the order of the handler table
HOOKS = ["on_start", "on_quote", "on_trade", "on_book", "on_bar", "on_bars", "on_data", "on_order", "on_timer", "on_stop"]
ON_START, ON_QUOTE, ON_TRADE, ON_BOOK, ON_BAR, ON_BARS, ON_DATA, ON_ORDER, ON_TIMER, ON_STOP = range(10)
N_HOOKS = len(HOOKS)

STRATEGY = record(
    ("self_at", "i8"),  # its parameters and state, offset in the arena
    ("each_at", "i8"),  # its state per instrument
    ("orders", "i8"),
    ("fills", "i8"),
    ("refused", "i8"),
    ("wakes", "i8"),
    ("state", "i8"),
)
TIMER_ROW = record(("ts", "i8"), ("seq", "i8"), ("timer_id", "i8"), ("strategy", "i8"))


def timers_of(order_capacity: int) -> int:
    """How many timers fit into a trader: strategies', and the engine's own."""
    return max(4096, 4 * order_capacity) + 1


WATCH = -1  #: the strategy of the engine's own timer, which looks at what time alone brings about

#: One input as the journal keeps it: its place in the sequence, the clock given to the trader, the event.
FRAME = record(("seq", "i8"), ("now", "i8"), ("event", "i8", (8,)))
FRAME_BYTES = 80

#: A callback may write this many output records before the ring is drained.
OUT_MARGIN = 2048

#: A strategy's handler of a hook. Row 0 of the table [1 + n_strategies][N_HOOKS] belongs to nobody: its `next` is the first.
HANDLER = record(
    ("address", "i8"),  # 0: there is none
    ("self_at", "i8"),
    ("each_at", "i8"),
    ("next", "i8"),  # the next strategy that handles this hook, counted from 1; 0 after the last
    ("strategy", "i8"),
)

HEADER = record(
    # wiring: 64 bytes that are not state
    ("handlers", "i8"),  # address of the table of handlers
    ("out", "i8"),  # address of the output ring
    ("out_cap", "i8"),
    ("out_n", "i8"),
    ("journal", "i8"),  # address of the journal's ring of frames, 0 where none is kept
    ("journal_cap", "i8"),
    ("journal_n", "i8"),
    ("features_in", "i8"),  # address of `step.features_in`, where there are features
    # clock and chain
    ("now", "i8"),
    ("seq", "i8"),
    ("digest", "i8"),
    ("ordinal", "i8"),
    ("cmd_n", "i8"),
    ("attend", "i8"),  # whoever drives the trader has something to do: commands, a timer, a fault, a full output ring
    ("strategy", "i8"),
    ("n_strategies", "i8"),
    ("n_instruments", "i8"),
    ("mode", "i8"),
    ("fault", "i8"),
    ("hook", "i8"),  # the handler that was called last, of `strategy`
    # the account
    ("state", "i8"),
    ("state_reason", "i8"),
    ("state_since", "i8"),
    ("stale", "i8"),  # the instrument whose feed a halt waits for
    ("halts", "i8"),
    ("equity", "i8"),
    ("peak", "i8"),
    ("floor", "i8"),
    ("floor_reason", "i8"),
    ("drawdown", "i8"),
    ("figure", "i8"),  # of the newest refusal: what the check saw, and its limit
    ("bound", "i8"),
    ("uncounted", "i8"),  # the instrument of which an amount was beyond what is counted
    ("day_base", "i8"),
    ("initial", "i8"),
    ("trading_day", "i8"),
    ("sample_at", "i8"),  # the full minute at or behind the last change of equity, 0: it has not changed
    # orders
    ("free_head", "i8"),
    ("free_tail", "i8"),
    ("live", "i8"),
    ("tombstone_ns", "i8"),
    ("reserve", "i8"),  # order slots that only the flattener takes
    ("n_fills", "i8"),
    ("n_timers", "i8"),
    ("timer_seq", "i8"),
    ("watch_ts", "i8"),  # when the engine's own timer is due, 0: none is set
    ("exits", "i8"),  # an order that is an exit has been opened
    ("n_sent", "i8"),
    ("n_messages", "i8"),
    ("n_rejects", "i8"),
    ("intents", "i8"),
    ("waiting", "i8"),  # 1 once an order has waited for what it closes to be free
    # counters
    ("c_new", "i8"),
    ("c_cancel", "i8"),
    ("c_replace", "i8"),
    ("c_refused", "i8"),
    ("c_canceled", "i8"),
    ("c_expired", "i8"),
    ("c_rejected", "i8"),
    ("c_filled", "i8"),
    ("c_duplicate", "i8"),
    ("c_late", "i8"),
    ("c_too_late", "i8"),  # answers to requests that came after the order had ended
    ("c_illegal", "i8"),
    ("c_unknown", "i8"),
    ("c_busts", "i8"),
    ("c_crossed", "i8"),
    ("c_gaps", "i8"),
    ("c_flatten", "i8"),
    ("kinds", "i8", (32,)),
    # regions
    *(
        (f"{name}_{part}", "i8")
        for name in [
            "current",
            "instruments",
            "views",
            "positions",
            "currencies",
            "orders",
            "fills",
            "commands",
            "intent_rows",
            "limits",
            "refusals",
            "order_times",
            "message_times",
            "reject_times",
            "strategies",
            "selves",
            "timers",
            "features",
            "feature_index",
            "words",
            "ladders",
            "levels",
            "bits",
            "overflow",
        ]
        for part in ("at", "n")
    ),
)


@hot
def header(tb):
    """The header of the trader at address `tb`."""
    return at(tb, 1, HEADER)[0]


@hot
def views(tb, h):
    return at(tb + h.views_at, h.views_n, VIEW)


@hot
def within(index, n):
    """An index a strategy gives, of an instrument or into an array, which must be one of `n`: beyond them lies other memory. Raises
    IndexError."""
    if beyond(index, n):
        raise IndexError("no such instrument, or no such place in an Array")
    return index


@hot
def instruments(tb, h):
    return at(tb + h.instruments_at, h.instruments_n, INSTRUMENT)


@hot
def orders(tb, h):
    return at(tb + h.orders_at, h.orders_n, ORDER)


@hot
def positions(tb, h):
    """Row 0 is the account, row 1 + k strategy k; within a row one position an instrument."""
    return at(tb + h.positions_at, h.positions_n, POSITION)


@hot
def currencies(tb, h):
    return at(tb + h.currencies_at, h.currencies_n, CURRENCY)


@hot
def limits(tb, h):
    """Row 0 for the account, row 1 + k for strategy k; within a row one record an instrument. Limits that are not of one
    instrument stand in the row's first."""
    return at(tb + h.limits_at, h.limits_n, LIMITS)


@hot
def strategies(tb, h):
    return at(tb + h.strategies_at, h.strategies_n, STRATEGY)


@hot
def words(tb, start, n):
    """A region of int64."""
    return at(tb + start, n, I64)
