"""The errors a user sees: one line that says what was expected, what was there and what to do about it.

>>> raise BadInput("ibm.csv row 3: the price must be > 0, got -1: correct the row or drop it")
Traceback (most recent call last):
    ...
replay.errors.BadInput: ibm.csv row 3: the price must be > 0, got -1: correct the row or drop it
"""

from __future__ import annotations

#: what the readers of JSON, TOML and msgpack raise on bytes that are none, or hold numbers or brackets that nobody would write
UNREADABLE = (ValueError, ArithmeticError, RecursionError)


class ReplayError(Exception):
    """Anything the user can act on. The command line prints ``error: <text>`` and exits with 2."""


class BadInput(ReplayError):
    """Data, a file or a parameter that cannot be used as it is."""


class StrategyError(ReplayError):
    """A strategy raised: names strategy, handler, event and time; the run ended there with everything before it kept."""
