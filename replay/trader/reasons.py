"""Why an intent was refused or the trader stopped: codes and the sentences that go with them."""

from __future__ import annotations

REASON_NAMES = (
    "ok not_allowed bad_qty bad_price max_order_qty max_order_notional max_position max_position_notional max_position_share "
    "max_gross max_net buying_power collar no_reference stale_feed order_rate message_rate duplicate_intent self_trade "
    "venue_closed risk_per_trade halted killed capacity unknown_order not_working reduce_only warmup session_over crossed gapped "
    "unknown_instrument bad_order out_of_range strategy_killed max_spread rejection_spike daily_loss total_loss drawdown manual "
    "illegal_report unknown_status market_halted"
).split()
(
    OK,
    NOT_ALLOWED,
    BAD_QTY,
    BAD_PRICE,
    MAX_ORDER_QTY,
    MAX_ORDER_NOTIONAL,
    MAX_POSITION,
    MAX_POSITION_NOTIONAL,
    MAX_POSITION_SHARE,
    MAX_GROSS,
    MAX_NET,
    BUYING_POWER,
    COLLAR,
    NO_REFERENCE,
    STALE_FEED,
    ORDER_RATE,
    MESSAGE_RATE,
    DUPLICATE_INTENT,
    SELF_TRADE,
    VENUE_CLOSED,
    RISK_PER_TRADE,
    IS_HALTED,
    IS_KILLED,
    CAPACITY,
    UNKNOWN_ORDER,
    NOT_WORKING,
    REDUCES_NOTHING,
    IN_WARMUP,
    SESSION_OVER,
    CROSSED,
    GAPPED,
    UNKNOWN_INSTRUMENT,
    BAD_ORDER,
    OUT_OF_RANGE,
    STRATEGY_KILLED,
    MAX_SPREAD,
    REJECTION_SPIKE,
    DAILY_LOSS,
    TOTAL_LOSS,
    DRAWDOWN,
    MANUAL,
    ILLEGAL_REPORT,
    UNKNOWN_STATUS,
    MARKET_HALTED,
) = range(len(REASON_NAMES))
N_REASONS = 64
assert len(REASON_NAMES) <= N_REASONS

#: how a refusal's two figures read; {symbol} and the figures in the unit of the check
SENTENCES = {
    MAX_ORDER_QTY: "{symbol} order of {figure} lots, allowed {bound}",
    MAX_ORDER_NOTIONAL: "{symbol} order of {figure_money}, allowed {bound_money}",
    MAX_POSITION: "{symbol} would reach {figure} lots, allowed {bound}",
    MAX_POSITION_NOTIONAL: "{symbol} would reach {figure_money}, allowed {bound_money}",
    MAX_POSITION_SHARE: "{symbol} would reach {figure_money}, allowed {bound_money}",
    MAX_GROSS: "gross exposure would reach {figure_money}, allowed {bound_money}",
    MAX_NET: "net exposure would reach {figure_money}, allowed {bound_money}",
    BUYING_POWER: "exposure would reach {figure_money}, buying power is {bound_money}",
    COLLAR: "{symbol} price {figure} bps from the reference, allowed {bound}",
    STALE_FEED: "{symbol} last heard {figure} ns ago, allowed {bound}",
    ORDER_RATE: "{figure} orders in the window, allowed {bound}",
    MESSAGE_RATE: "{figure} messages in the window, allowed {bound}",
    RISK_PER_TRADE: "{symbol} would risk {figure_money} at its stop, allowed {bound_money}",
    MAX_SPREAD: "{symbol} spread {figure} bps, allowed {bound}",
}
