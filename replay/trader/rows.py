"""The table of built-in features: the row, the codes of what it computes and of what, and the size of its state.

`replay.trader.features` brings rows to events; `replay.trader.specs` gives the codes names and lays tables out.
"""

from __future__ import annotations

from replay.kernel.memory import record
from replay.trader.windows import RETURN_SLOTS, RING, SLOTS, K

FEATURE = record(
    ("code", "i8"),  # what it computes
    ("instrument", "i8"),
    ("source", "i8"),  # of what
    ("next", "i8"),  # the instrument's next row, -1 after the last
    ("p0", "i8"),  # window or interval in ns, or a count
    ("p1", "i8"),  # see each code
    ("word", "i8"),  # offset of its state
    ("n_words", "i8"),
    ("value", "f8"),
    ("ready", "i8"),  # 1 once the value means what its name says
    ("day", "i8"),  # session opens seen
)

# codes: first those of a series of numbers, one observation at a time
MEAN, VARIANCE, ZSCORE = 1, 2, 3  #: over p0 ns; population variance
MEAN_N, VARIANCE_N, ZSCORE_N = 4, 5, 6  #: over the last p0 observations
EMA = 7  #: alpha 2 / (p0 + 1); p1 = 1: seeded with the mean of the first p0, else with the first
RETURN = 8  #: x over the last x seen by now - p0, minus one
REALISED_VOL = 9  #: over p0 ns; p1: length of a year in ns, or 0
SESSION_RETURN = 10  #: x over the first x of the session, minus one
RETURN_ZSCORE = 11  #: of the returns over p1 ns within p0 ns, since the session's open
HIGHEST, LOWEST = 12, 13  #: over p0 ns; of bars, their highs and lows
LAST_SERIES = 13
# the quote itself
SPREAD, RELATIVE_SPREAD, QUEUE_IMBALANCE, MICROPRICE = 14, 15, 16, 17
LAST_INSTANT = 17
OFI, TRADE_FLOW, TRADE_IMBALANCE, TRADED = 18, 19, 20, 21  #: integer sums over p0 ns
VWAP = 22  #: since the session's open
MICRO_BAR = 23  #: of p0 ns; p1: component

# sources
MID, BID, ASK, MICRO, WIDTH, LAST_TRADE, BAR_CLOSE = range(7)
WHAT_THERE_IS = 7  #: of a spec only: in a table it is what the instrument has

# components of a micro-bar: the last complete one's, + CURRENT for the one being built
OPEN, HIGH, LOW, CLOSE, VOLUME, COUNT = range(6)
CURRENT = 6

BAR_WORDS = 13


def words_needed(code: int, p0: int) -> int:
    """The state words of a row.

    >>> words_needed(MEAN, 60_000_000_000), words_needed(EMA, 20), words_needed(SPREAD, 0)
    (140, 3, 0)
    """
    window = {MEAN: 2, VARIANCE: 3, ZSCORE: 3, REALISED_VOL: 1, OFI: 2, TRADE_FLOW: 2, TRADE_IMBALANCE: 2}
    window |= {HIGHEST: 2, LOWEST: 2, TRADED: 2}
    if code in window:
        return RING + K * window[code]
    if code == MEAN_N:
        return SLOTS + p0
    if code in (VARIANCE_N, ZSCORE_N):
        return SLOTS + 2 * p0
    fixed = {EMA: 3, SESSION_RETURN: 2, RETURN: RING + RETURN_SLOTS, VWAP: 3, MICRO_BAR: BAR_WORDS}
    fixed[RETURN_ZSCORE] = 2 * RING + 3 * K + RETURN_SLOTS
    return fixed.get(code, 0)
