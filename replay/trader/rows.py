"""The table of built-in features: the row, the codes of what it computes and of what, and the size of its state.

`replay.trader.features` brings rows to events; `replay.trader.specs` gives the codes names and lays tables out.
"""

from __future__ import annotations

from replay.kernel.memory import record
from replay.trader.windows import CELL_WORDS, RING, grain_of

FEATURE = record(
    ("code", "i8"),  # what it computes
    ("instrument", "i8"),
    ("source", "i8"),  # of what
    ("next", "i8"),  # the instrument's next row, -1 after the last
    ("p0", "i8"),  # window or interval in ns, or a count
    ("p1", "i8"),  # see each code
    ("count", "i8"),  # 1: windows and intervals are numbers of observations
    ("grain", "i8"),  # of its window, ns
    ("cells", "i8"),  # of its ring
    ("grain_1", "i8"),  # of the closes that a z-score of returns is over
    ("cells_1", "i8"),
    ("lead", "i8"),  # the time before its first observation that this speaks of too: of bars their interval, ns
    ("word", "i8"),  # offset of its state
    ("n_words", "i8"),
    ("value", "f8"),
    ("ready", "i8"),  # 1 once the value means what its name says
    ("closed", "i8"),  # when the market closed; -1 while it is open
)

# codes: first those of a series of numbers, one observation at a time; those up to RETURN_ZSCORE have a window
MEAN, VARIANCE, ZSCORE = 1, 2, 3  #: over p0; population variance
HIGHEST, LOWEST = 4, 5  #: over p0; of bars, their highs and lows
REALISED_VOL = 6  #: over p0; p1: length of a year in ns, or 0
RETURN = 7  #: x over the last x seen p0 ago, minus one
RETURN_ZSCORE = 8  #: of the returns over p1 within p0
LAST_WINDOW = 8
EMA = 9  #: alpha 2 / (p0 + 1); p1 = 1: seeded with the mean of the first p0, else with the first
SESSION_RETURN = 10  #: x over the first x of the session (of bars its open), minus one
LAST_SERIES = 10
# the quote itself
SPREAD, RELATIVE_SPREAD, QUEUE_IMBALANCE, MICROPRICE = 11, 12, 13, 14
LAST_INSTANT = 14
OFI, TRADE_FLOW, TRADE_IMBALANCE, TRADED = 15, 16, 17, 18  #: integer sums over p0
VWAP = 19  #: since the session's open
MICRO_BAR = 20  #: of p0 ns; p1: component

# sources
MID, BID, ASK, MICRO, WIDTH, LAST_TRADE, BAR_CLOSE = range(7)
WHAT_THERE_IS = 7  #: of a spec only: in a table it is what the instrument has

# components of a micro-bar: the last complete one's, + CURRENT for the one being built
OPEN, HIGH, LOW, CLOSE, VOLUME, COUNT = range(6)
CURRENT = 6

_WINDOWED = (MEAN, VARIANCE, ZSCORE, HIGHEST, LOWEST, REALISED_VOL, OFI, TRADE_FLOW, TRADE_IMBALANCE, TRADED)
_FIXED = {EMA: 3, SESSION_RETURN: 2, VWAP: 3, MICRO_BAR: 13}


def shape(code: int, source: int, p0: int, p1: int, count: int, bar_ns: int) -> dict[str, int]:
    """The fields of a row that follow from its parameters, and its state words; `bar_ns`: the interval of its instrument's bars, or 0.

    >>> shape(MEAN, BAR_CLOSE, 300_000_000_000, 0, 0, 60_000_000_000)
    {'grain': 30000000000, 'cells': 14, 'grain_1': 0, 'cells_1': 0, 'lead': 60000000000, 'n_words': 80}
    >>> shape(EMA, MID, 20, 0, 0, 0)["n_words"], shape(SPREAD, MID, 0, 0, 0, 0)["n_words"]
    (3, 0)
    """
    bar_ns = bar_ns if source == BAR_CLOSE else 0
    grain, cells, grain_1, cells_1, n_words = 0, 0, 0, 0, _FIXED.get(code, 0)
    if code in _WINDOWED or code in (RETURN, RETURN_ZSCORE):
        grain, cells = _ring(p0, count, bar_ns)
        n_words = RING + CELL_WORDS * cells
    if code == RETURN_ZSCORE:
        grain_1, cells_1 = _ring(p1, count, bar_ns)
        n_words += RING + CELL_WORDS * cells_1
    lead = 0 if code in (RETURN, REALISED_VOL) else bar_ns
    return {"grain": grain, "cells": cells, "grain_1": grain_1, "cells_1": cells_1, "lead": lead, "n_words": n_words}


def _ring(span: int, count: int, bar_ns: int) -> tuple[int, int]:
    """Grain and cells: one for each that may be in the window at once, of closes one older, and those that are about to leave."""
    if count:
        return 0, span + 2
    grain = grain_of(span, bar_ns)
    return grain, span // grain + 4
