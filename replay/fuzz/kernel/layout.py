"""The checker's own state: what it knows of orders, positions, the market and the trader, folded from inputs and commands alone.

Nothing here is the trader's: where both keep a figure, the checker's comes from another computation, and the two are compared.
"""

from __future__ import annotations

import numpy as np

from replay.events import EVENT
from replay.kernel.memory import at, hot, record
from replay.trader.layout import I64, timers_of

#: An order as requests and reports make it. `told`: lots the venue said it had traded when it ended.
ORDER = record(
    ("handle", "i8"),
    ("px", "i8"),
    ("stop_px", "i8"),
    ("qty", "i8"),
    ("cum", "i8"),
    ("new_qty", "i8"),
    ("new_px", "i8"),
    ("told", "i8"),
    ("back", "i8"),  # lots of fills taken back, and when at the venue
    ("back_ts", "i8"),
    ("sibling", "i8"),
    ("t_sent", "i8"),
    ("worst_px", "i8"),  # the dearest limit that was ever allowed: a fill behind it breaks the order
    ("instrument", "i4"),
    ("strategy", "i4"),
    ("side", "i1"),
    ("type", "i1"),
    ("flags", "i1"),
    ("state", "i1"),
    ("request", "i1"),
    ("exit", "i1"),  # an exit of a bracket: the check was of its entry
    ("second", "i1"),  # of a pair: the leg that does not count while the other works
    ("spare", "i1"),  # the other leg has traded: what this one still may is excess, and flattened if it does
)
EXEC = record(("id", "i8"), ("handle", "i8"), ("qty", "i8"), ("px", "i8"))
#: What an account, or a strategy, holds of an instrument. Row 0 + instrument: the account; then one block a strategy.
HELD = record(("qty", "i8"), ("buying", "i8"), ("selling", "i8"), ("cash", "i8"), ("cost", "i8"), ("fees", "i8"), ("fills", "i8"))
MARKET_VIEW = record(
    ("bid_px", "i8"),
    ("bid_sz", "i8"),
    ("ask_px", "i8"),
    ("ask_sz", "i8"),
    ("ts", "i8"),
    ("close_ts", "i8"),
    ("phase", "i1"),
    ("halted", "i1"),
    ("gapped", "i1"),
    (
        "moved",
        "i1",
    ),  # the position moved where no limit is asked: a bust, a correction, the excess of a pair; 2: where we cannot know
    ("pad", "i4"),
    ("spare_buy", "i8"),  # of what works, the excess of pairs
    ("spare_sell", "i8"),
)
TIMER = record(("ts", "i8"), ("seq", "i8"), ("timer_id", "i8"), ("strategy", "i8"))

N_KINDS, N_STATES, N_EXECS = 40, 16, 16

HEADER = record(
    ("wiring", "i8", (8,)),
    # what broke first: the rule, at which input, when, with two figures and an order
    ("broken", "i8"),
    ("seq", "i8"),
    ("now", "i8"),
    ("figure", "i8"),
    ("bound", "i8"),
    ("handle", "i8"),
    ("where", "i8"),
    # the trader as its inputs make it
    ("state", "i8"),
    ("reason", "i8"),
    ("day", "i8"),
    ("illegal", "i8"),  # reports so far that nobody can book
    ("over", "i8"),  # the data has ended
    ("started", "i8"),
    ("ordinal", "i8"),  # of the newest order there was before the newest input
    ("peak", "i8"),
    ("day_base", "i8"),
    ("initial", "i8"),
    ("was_digest", "i8"),
    ("n_live", "i8"),
    ("pending", "i8"),  # commands said and not yet gone
    ("n_timers", "i8"),
    ("timer_seq", "i8"),
    ("n_sent", "i8"),
    ("n_messages", "i8"),
    ("n_rejected", "i8"),
    ("n_intents", "i8"),
    ("traded", "i8"),  # the order of which the newest input was a new fill, 0 for none
    ("spike", "i8"),  # the newest input was a rejection too many
    ("n_hits", "i8"),
    ("n_feed_hits", "i8"),
    ("cash", "i8"),
    ("fees", "i8"),
    ("digest", "i8"),  # of everything the trader took in and said
    ("inputs", "i8"),
    ("clock", "i8"),
    ("n_instruments", "i8"),
    ("n_strategies", "i8"),
    *(
        (f"{name}_{part}", "i8")
        for name in [
            "orders",
            "live",
            "held",
            "markets",
            "timers",
            "sent",
            "messages",
            "rejected",
            "intents",
            "execs",
            "struck",
            "arrived",
            "frames",
        ]
        for part in ("at", "n")
    ),
)


@hot
def header(cb):
    """The checker at address `cb`."""
    return at(cb, 1, HEADER)[0]


@hot
def orders(cb, c):
    return at(cb + c.orders_at, c.orders_n, ORDER)


@hot
def live(cb, c):
    """Slots of orders that work, or may still trade."""
    return at(cb + c.live_at, c.live_n, I64)


@hot
def held(cb, c):
    return at(cb + c.held_at, c.held_n, HELD)


@hot
def markets(cb, c):
    return at(cb + c.markets_at, c.markets_n, MARKET_VIEW)


@hot
def execs(cb, c):
    return at(cb + c.execs_at, c.execs_n, EXEC)


def regions(orders: int, strategies: int, instruments: int, execs: int) -> dict[str, tuple[np.dtype, int]]:
    """The regions of a checker for traders up to this size."""
    return {
        "orders": (ORDER, orders),
        "live": (I64, orders),
        "held": (HELD, (1 + strategies) * instruments),
        "markets": (MARKET_VIEW, instruments),
        "timers": (TIMER, timers_of(orders)),
        "sent": (I64, 1 << 10),
        "messages": (I64, 1 << 10),
        "rejected": (I64, 1 << 10),
        "intents": (I64, 64),
        "execs": (EXEC, execs),
        "struck": (I64, N_KINDS * N_STATES),
        "arrived": (I64, N_EXECS * N_STATES),
        "frames": (np.dtype("i8"), 64),
    }


assert np.dtype(EVENT).itemsize == 64
