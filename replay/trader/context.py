"""What a strategy sees: the functions behind ``ctx`` in a compiled strategy. `replay.strategy.Context` has the same for plain Python.

In a compiled class ``ctx.limit(0, 100, px)`` becomes ``limit(ctx, 0, 100, px)`` with ``ctx`` the trader's address. There is no way
from here to the venue or to a row that has not arrived yet.
"""

from __future__ import annotations

from replay.kernel.memory import at, bits_of, hot, pure
from replay.trader import intents
from replay.trader.layout import DAY, I64, LIMIT, MARKET, NO_REQUEST, STOP, STOP_LIMIT, header, positions, views, within
from replay.trader.layout import orders as order_table
from replay.trader.oms import find
from replay.trader.orders import ACCEPTED, FREE, PARTIAL, finished
from replay.trader.rows import FEATURE

NAN = float("nan")


# --- reading ----------------------------------------------------------------------------------------------------------------
@hot
def now(ctx):
    """Time of the event being handled, ns UTC."""
    return header(ctx).now


@hot
def equity(ctx):
    """Account equity in 1e-8 of the base currency."""
    return header(ctx).equity


@hot
def n_instruments(ctx):
    return header(ctx).n_instruments


@hot
def book(ctx, instrument):
    """The local view: bid_px, bid_sz, ask_px, ask_sz, last_px, last_sz, ts; ticks and lots, size 0: no such side."""
    h = header(ctx)
    return views(ctx, h)[within(instrument, h.n_instruments)]


@hot
def mark(ctx, instrument):
    """The price positions are valued at: the mid of the quotes or book, else the newest bar's close or trade; ticks, NaN before any."""
    h = header(ctx)
    v = views(ctx, h)[within(instrument, h.n_instruments)]
    return 0.5 * float(v.mark2) if v.marked else NAN


@hot
def position(ctx, instrument):
    """The calling strategy's position, lots."""
    h = header(ctx)
    return positions(ctx, h)[(1 + h.strategy) * h.n_instruments + within(instrument, h.n_instruments)].qty


@hot
def account_position(ctx, instrument):
    """The account's position, lots."""
    h = header(ctx)
    return positions(ctx, h)[within(instrument, h.n_instruments)].qty


@hot
def state(ctx, handle):
    """State of an order (`replay.trader.orders`); FREE when the handle is not known (any more)."""
    h = header(ctx)
    slot = find(ctx, h, handle)
    return order_table(ctx, h)[slot].state if slot >= 0 else FREE


@hot
def is_done(ctx, handle):
    """Whether an order is finished: filled, canceled, rejected, expired or no longer known."""
    h = header(ctx)
    slot = find(ctx, h, handle)
    return slot < 0 or finished(order_table(ctx, h)[slot].state)


@hot
def is_settled(ctx, handle):
    """Whether a working order has been acknowledged and no request about it is on its way."""
    h = header(ctx)
    slot = find(ctx, h, handle)
    if slot < 0:
        return False
    o = order_table(ctx, h)[slot]
    return (o.state == ACCEPTED or o.state == PARTIAL) and o.request == NO_REQUEST


@hot
def order_px(ctx, handle):
    """Limit price of an order, ticks; 0 when not known."""
    h = header(ctx)
    slot = find(ctx, h, handle)
    return order_table(ctx, h)[slot].px if slot >= 0 else 0


@hot
def cum_qty(ctx, handle):
    """Lots an order has traded; 0 when not known."""
    h = header(ctx)
    slot = find(ctx, h, handle)
    return order_table(ctx, h)[slot].cum if slot >= 0 else 0


@hot
def leaves_qty(ctx, handle):
    """Lots an order may still trade."""
    h = header(ctx)
    slot = find(ctx, h, handle)
    if slot < 0:
        return 0
    o = order_table(ctx, h)[slot]
    return 0 if finished(o.state) else o.qty - o.cum


@hot
def feature(ctx, first, instrument):
    """Value of a feature (rows from `first`, one an instrument); NaN until it is ready, so that comparisons are false."""
    h = header(ctx)
    rows = at(ctx + h.feature_index_at, h.feature_index_n, I64)
    row = at(ctx + h.features_at, h.features_n, FEATURE)[rows[first + within(instrument, h.n_instruments)]]
    return row.value if row.ready else NAN


# --- asking -----------------------------------------------------------------------------------------------------------------
@hot
def market(ctx, instrument, signed, tif=DAY, flags=0):
    """Market order for `signed` lots (positive buys). A handle, or a refusal code < 0."""
    return intents.place(ctx, instrument, signed, 0, 0, MARKET | tif << 4 | flags << 8, 0)


@hot
def limit(ctx, instrument, signed, px, tif=DAY, flags=0):
    """Limit order for `signed` lots at `px` ticks. A handle, or a refusal code < 0."""
    return intents.place(ctx, instrument, signed, px, 0, LIMIT | tif << 4 | flags << 8, 0)


@hot
def stop(ctx, instrument, signed, stop_px, tif=DAY, flags=0):
    """Stop order: a market order once a print, where there are none the touch, is at or through `stop_px`."""
    return intents.place(ctx, instrument, signed, 0, stop_px, STOP | tif << 4 | flags << 8, 0)


@hot
def stop_limit(ctx, instrument, signed, stop_px, px, tif=DAY, flags=0):
    """Stop-limit order: a limit order at `px` once a print, where there are none the touch, is at or through `stop_px`."""
    return intents.place(ctx, instrument, signed, px, stop_px, STOP_LIMIT | tif << 4 | flags << 8, 0)


@hot
def bracket(ctx, instrument, signed, px, take_px, stop_px, tif=DAY, flags=0):
    """Entry (market where `px` is 0) with take-profit and stop-loss; either exit may be 0 (none)."""
    return intents.bracket(ctx, instrument, signed, px, take_px, stop_px, tif << 4 | flags << 8)


@hot
def oco(ctx, instrument, signed, take_px, stop_px, tif=DAY):
    """Two exits of which one cancels the other."""
    return intents.oco(ctx, instrument, signed, take_px, stop_px, tif << 4)


@hot
def cancel(ctx, handle):
    """Ask for a cancellation. 0, or a refusal code < 0."""
    return intents.pull(ctx, handle)


@hot
def cancel_all(ctx, instrument=-1):
    """Cancel every working order of this strategy, of one instrument or of all; returns how many were asked, or a refusal code < 0."""
    return intents.pull_all(ctx, instrument)


@hot
def replace(ctx, handle, qty, px):
    """New total quantity and price for a working order: of a stop the stop price, else the limit price. 0, or a refusal code < 0."""
    return intents.change(ctx, handle, qty, px)


@hot
def target(ctx, instrument, lots):
    """Market order from position plus working orders, protective ones aside, to `lots`. 0 when there already, a handle, or a refusal code < 0."""
    return intents.target(ctx, instrument, lots)


@hot
def timer(ctx, ts, timer_id=0):
    """Wake `on_timer` at `ts`, at the earliest 1 ns from now."""
    return intents.timer(ctx, ts, timer_id)


@hot
def log(ctx, code, a=0.0, b=0.0, c=0.0):
    """A row for the run's log table: a code and up to three figures."""
    return intents.log(ctx, code, bits_of(float(a)), bits_of(float(b)), bits_of(float(c)))


@pure
def sign(x):
    """-1, 0 or 1."""
    return 1 if x > 0 else (-1 if x < 0 else 0)
