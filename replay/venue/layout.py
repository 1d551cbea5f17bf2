"""The simulated venue's state: record types of its header and regions, and the codes stored in them."""

from __future__ import annotations

import numpy as np

from replay.events import EVENT
from replay.kernel.memory import at, hot, record

# fill profiles
REALISTIC, HFTBACKTEST = 0, 1
# queue models of the hftbacktest profile
RISK_AVERSE, PROB_POWER, PROB_POWER2, PROB_POWER3, PROB_LOG, PROB_LOG2 = range(6)
# latency legs
RECORDED, CONSTANT, LOGNORMAL = range(3)
FEED, ENTRY, RESPONSE = range(3)
NEVER = (1 << 63) - 1  # key of what is not under way
NOBODY = -(1 << 61)  # best_rank of a side where nothing of ours rests
UNPRINTED = -(1 << 62)  # last price of a book without a print
# what an order at an instrument that executes on bars does next: it takes part in the bar, meets its first open, or its next one
IN_BAR, FRESH, SITS_OUT = range(3)
# what a window of faults does (`replay.venue.faults`)
REQUEST_LOST, REQUEST_SLOW, REPORT_LOST, REPORT_LATE, REPORT_TWICE, REPORT_SLOW, REJECT, PULL = range(8)
REPORT_BUST, REPORT_CORRECT, REPORT_GARBLED, PAUSE, CRASH = range(8, 13)
# kinds of requests beside the trader's commands: what became of an order; the venue takes orders out, a fill back, or names its price anew
LOOK_UP, PULL_ALL, BUST, CORRECT = 8, 9, 10, 11
GARBLED = 31  # an execution type that nobody knows
NOT_SAID = -(1 << 62)  # a report that was lost on its way

VBOOK = record(
    # the book in force: what the feed displayed less what our own orders took since
    ("bid_px", "i8"),
    ("bid_sz", "i8"),
    ("ask_px", "i8"),
    ("ask_sz", "i8"),
    # the sides as the feed last displayed them, kept while `taken`, to tell a fresh display from a repeated one
    ("fed_bid_px", "i8"),
    ("fed_bid_sz", "i8"),
    ("fed_ask_px", "i8"),
    ("fed_ask_sz", "i8"),
    ("last_px", "i8"),
    ("position", "i8"),  # ours, as the venue knows it: reduce-only is judged here
    # resting orders by side (0 buy, 1 sell), best price first, then time; stops apart
    ("best_rank", "i8", (2,)),  # side x price of the first and last of them: what the market must reach to concern us
    ("worst_rank", "i8", (2,)),
    ("resting", "i4", (2,)),
    ("stops", "i4"),
    ("n_resting", "i4"),
    ("level", "i4"),
    ("phase", "i1"),
    ("status", "i1"),
    ("crossed", "i1"),
    ("taken", "i1"),  # we took of an L1 display that has not been renewed
    ("by_print", "i1"),  # there are prints and no displays: prints execute
    ("by_display", "i1"),  # there are displays and no prints: displays elect stops
    ("attends", "i1"),  # every row concerns us: a limit order that takes displays, or stops that displays elect
)

#: An instrument that executes on bars; `ns` 0: it does not.
VBAR = record(
    ("ns", "i8"),  # length of its bars
    ("interval", "i8"),  # their index in the manifest
    ("first_ns", "i8"),  # an order that arrives this soon after the open gets the open
    ("uncapped", "i8"),  # its bars have no volume: nothing to have a share of
    # the bar that opened last; but for its open, what it holds bounds fills and decides nothing else before its path
    ("open_ts", "i8"),
    ("open_px", "i8"),
    ("high", "i8"),
    ("low", "i8"),
    ("traded", "i8"),  # its volume
    ("close_ts", "i8"),  # when it closes
    ("taken", "i8"),  # our lots in it
    ("opens_ts", "i8"),  # when the bar opens that does next
    # the bar that closed last
    ("volume", "i8"),
    ("closed_ts", "i8"),
)
#: An interval on which some instrument executes. Two cursors over the rows in venue order: `open_i`, from which on its bars have yet
#: to open, `path_i`, from which on orders have yet to meet their paths; and the keys of what comes next of either.
OPENING = record(
    ("ns", "i8"),
    ("interval", "i8"),
    ("lead_ns", "i8"),  # how long before its close a bar's path is gone through
    ("open_i", "i8"),
    ("open_key", "i8"),
    ("opened_ts", "i8"),  # when the bars opened that did last: none opens before that
    ("path_i", "i8"),
    ("path_key", "i8"),
    ("day", "i8"),  # the last day that began before the bars that open next close, -1: none
)
#: A trading day of the session's calendar.
DAY = record(("opens", "i8"), ("closes", "i8"))

VORDER = record(
    ("handle", "i8"),
    ("px", "i8"),
    ("stop_px", "i8"),
    ("leaves", "i8"),
    ("cum", "i8"),
    ("ahead", "i8"),  # displayed lots in front of us; -1: not known until our price is the touch
    ("ahead_f", "f8"),  # the same for the probabilistic models
    ("traded_f", "f8"),
    ("seq", "i8"),  # arrival order at the venue
    ("instrument", "i4"),
    ("next", "i4"),
    ("prev", "i4"),
    ("side", "i1"),
    ("type", "i1"),
    ("tif", "i1"),
    ("flags", "i1"),
    ("live", "i1"),
    ("stopped", "i1"),  # waits for its stop price
    ("waits", "i1"),  # on bars: IN_BAR, FRESH or SITS_OUT
    ("passive", "i1"),  # a limit order that others come to; until then it takes what is displayed
)

REQUEST = record(
    ("key", "i8"),
    ("handle", "i8"),
    ("qty", "i8"),
    ("px", "i8"),
    ("stop_px", "i8"),
    ("instrument", "i4"),
    ("kind", "i1"),
    ("side", "i1"),
    ("type", "i1"),
    ("tif", "i1"),
    ("flags", "i1"),
    ("pad", "i1", (3,)),
    ("ts", "i8"),
)
assert REQUEST.itemsize == 64

#: A time during which something goes wrong between the venue and us, and whom it concerns.
WINDOW = record(
    ("start", "i8"),
    ("end", "i8"),
    ("kind", "i8"),
    ("ident", "i8"),  # of the plan's fault it comes from
    ("instrument", "i8"),  # -1: all
    ("what", "i8"),  # bits of the commands or execution types concerned
    ("ppm", "i8"),  # how many of them
    ("ns", "i8"),  # the delay, at most
    ("factor", "i8"),  # of a leg, in thousandths
    ("timeout", "i8"),  # after which we call an order unknown
    ("lookup", "i8"),  # how long it then takes to ask the venue
)

#: What a day's rules charge on a fill beside the commission, from a time on.
CHARGE = record(
    ("from_ns", "i8"),
    ("sale_e8", "i8"),  # of the notional of a sale, in 1e-8
    ("sale_per_lot", "i8"),  # money per lot sold
    ("sale_most", "i8"),  # most of that a fill
    ("per_lot", "i8"),  # money per lot, either side
)

HEADER = record(
    ("wiring", "i8", (8,)),
    # cursors and clock
    ("t0", "i8"),  # keys are (t - t0) << 3 | class
    ("venue_i", "i8"),
    ("local_i", "i8"),
    ("next_recv", "i8"),  # when the next row reaches us under a modelled feed leg
    ("resting", "i8"),  # orders resting at the venue, all instruments
    ("seq", "i8"),
    ("exec_id", "i8"),
    ("request_head", "i8"),
    ("request_tail", "i8"),
    ("report_head", "i8"),
    ("report_tail", "i8"),
    ("burst", "i8"),  # reports one row or request may cause besides three an order: fills and fees of every level there is
    ("overrun", "i8"),  # a report found no room: the run is not to be trusted
    ("bar_key", "i8"),  # of the bars that open next, or whose path is next
    ("ours", "i8"),  # rows that reach us; those behind them reach the venue only
    # faults
    ("fault_seed", "i8"),
    ("last_delay", "i8"),  # of what was sent last, before it waits behind what was sent earlier
    ("said_recv", "i8"),  # when the last report reaches us
    ("answering", "i8"),  # a look-up is answered: nothing goes wrong with that
    ("n_lost", "i8"),
    ("c_spared", "i8"),  # messages that a fault would have struck, had there been room to keep what comes of it
    ("n_hits", "i8"),
    ("n_away", "i8"),  # windows in which the trader is away: the first of them all, by their start
    # the profile
    ("profile", "i8"),
    ("queue", "i8"),
    ("queue_n", "f8"),
    ("class_data", "i8"),  # ranks at equal times
    ("class_request", "i8"),
    ("class_control", "i8"),
    ("class_report", "i8"),
    ("class_local", "i8"),
    ("class_timer", "i8"),
    ("seed", "i8"),
    ("mode", "i8", (3,)),
    ("latency", "i8", (3,)),
    ("sigma", "f8", (3,)),
    ("last_arrival", "i8", (3,)),
    ("last_send", "i8", (3,)),
    ("send_index", "i8", (3,)),
    ("maker_fee_ppm", "i8"),  # of notional, in 1e-8
    ("taker_fee_ppm", "i8"),
    ("fee_per_lot", "i8"),  # money per lot
    ("slippage_ppm", "i8"),  # of the price of market orders and stops on bars
    ("participation_ppm", "i8"),  # of a bar's volume, for all our orders together; 0: any
    # counters
    ("c_requests", "i8"),
    ("c_fills", "i8"),
    ("c_expired", "i8"),
    ("c_rejected", "i8"),
    ("c_cancel_rejected", "i8"),
    ("c_crossed", "i8"),
    *(
        (f"{name}_{part}", "i8")
        for name in [
            "books",
            "orders",
            "scratch",
            "requests",
            "reports",
            "instruments",
            "bars",
            "openings",
            "days",
            "windows",
            "lost",
            "hits",
            "charges",
            "ladders",
            "levels",
            "bits",
            "overflow",
        ]
        for part in ("at", "n")
    ),
)


@hot
def header(vb):
    return at(vb, 1, HEADER)[0]


@hot
def books(vb, v):
    return at(vb + v.books_at, v.books_n, VBOOK)


@hot
def orders(vb, v):
    return at(vb + v.orders_at, v.orders_n, VORDER)


@hot
def bars(vb, v):
    return at(vb + v.bars_at, v.bars_n, VBAR)


@hot
def openings(vb, v):
    return at(vb + v.openings_at, v.openings_n, OPENING)


@hot
def days(vb, v):
    return at(vb + v.days_at, v.days_n, DAY)


@hot
def windows(vb, v):
    return at(vb + v.windows_at, v.windows_n, WINDOW)


@hot
def charges(vb, v):
    return at(vb + v.charges_at, v.charges_n, CHARGE)


@hot
def requests(vb, v):
    return at(vb + v.requests_at, v.requests_n, REQUEST)


@hot
def reports(vb, v):
    return at(vb + v.reports_at, v.reports_n, EVENT)


assert np.dtype(EVENT).itemsize == 64
