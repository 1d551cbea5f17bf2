"""Ticks and lots for imports that were told none: the decimal step that all values of a symbol share, and values as its multiples.

Values are float64, as files hold them; the step is exact. A value counts as the decimal it lies within 1e-9 of (relative), and never
further away than a hundredth of a step; what is further away is no multiple, and is not rounded.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np

CLOSE = 1e-9  #: relative distance at which a float64 is the decimal beside it
NEAR = 0.01  #: and its most, in steps
WIDEST = 1e15  #: steps: a decimal of 15 digits is the only one that rounds to its float64
MOST_DECIMALS = 8
BORNE_OUT = 30  #: different values it takes to believe in a step that is not a power of ten, or is above the most it may be


def multiples(values: np.ndarray, num: np.ndarray | int, den: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """`values` in steps of num / den: (int64 numbers of steps, whether each value is such a number). Values must be finite.

    >>> n, good = multiples(np.array([189.12, 189.125]), 1, 100)
    >>> n.tolist(), good.tolist()
    ([18912, 18912], [True, False])
    """
    x = values * den / num
    whole = np.rint(x)
    far = np.abs(x)
    good = ((np.abs(x - whole) <= np.minimum(CLOSE * far, NEAR)) | (whole * num / den == values)) & (far < WIDEST)
    return np.where(far < WIDEST, whole, 0).astype(np.int64), good


class Steps:
    """The step of each symbol's prices, or sizes, from batches of values; symbols are numbered from 0.

    `most` is the coarsest step believed of few values: 0.01 for prices, 1 for sizes, whose step is a power of ten always.

    >>> steps = Steps(Decimal("0.01"), decimal_only=False)
    >>> steps.see(np.array([0, 1, 0, 1]), np.array([189.12, 0.5, 61.3, 0.12345]))
    -1
    >>> steps.of(0), steps.of(1), steps.of(2)
    ('0.01', '0.00001', None)
    """

    def __init__(self, most: Decimal, decimal_only: bool):
        self._most, self._decimal_only = most, decimal_only
        self._decimals = np.zeros(0, np.int64)
        self._common = np.zeros(0, np.int64)  # of the values times 10**decimals
        self._largest = np.zeros(0)
        self._values: list[set[float]] = []

    def see(self, codes: np.ndarray, values: np.ndarray) -> int:
        """Take `values` (finite float64) of the symbols `codes` into account; zeros say nothing. ~100 ns a value.

        Returns -1, or the index of a value of more than eight decimals, whose step cannot be told; then nothing was taken in.
        """
        used = np.flatnonzero(values)
        if not len(used):
            return -1
        used = used[
            np.argsort(codes[used].astype(np.min_scalar_type(codes.max())), kind="stable")
        ]  # 16 bits sort ten times as fast
        codes, values = codes[used], np.abs(values[used])
        self._grow(int(codes[-1]) + 1)
        decimals = self._decimals.copy()
        while True:
            whole, good = multiples(values, 1, 10 ** decimals[codes])
            if good.all():
                break
            decimals[codes[~good]] += 1
            if decimals.max() > MOST_DECIMALS:
                return int(used[~good & (decimals[codes] > MOST_DECIMALS)].min())
        starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        seen = codes[starts]
        finer = 10 ** (decimals - self._decimals)
        self._common = np.where(self._common > (1 << 62) // finer, 1, self._common * finer)  # 1: too fine to be counted in
        self._common[seen] = np.gcd(self._common[seen], np.gcd.reduceat(whole, starts))
        self._decimals = decimals
        self._largest[seen] = np.maximum(self._largest[seen], np.maximum.reduceat(values, starts))
        for k, lo, hi in zip(seen.tolist(), starts.tolist(), [*starts[1:].tolist(), len(codes)], strict=True):
            if len(self._values[k]) < BORNE_OUT:
                self._values[k].update(np.unique(values[lo:hi])[:BORNE_OUT].tolist())
        return -1

    def largest(self, k: int) -> float:
        """The largest value of symbol `k`, 0 where there was none."""
        return float(self._largest[k]) if k < len(self._largest) else 0.0

    def of(self, k: int) -> str | None:
        """The step of symbol `k`; None where there were no values but zeros. Whether `largest` can be counted in it is another question."""
        if k >= len(self._common) or self._common[k] == 0:
            return None
        power = Decimal(1).scaleb(-int(self._decimals[k]))
        borne_out = len(self._values[k]) >= BORNE_OUT and not self._decimal_only
        return format((int(self._common[k]) * power if borne_out else min(power, self._most)).normalize(), "f")

    def _grow(self, n: int) -> None:
        more = n - len(self._common)
        if more > 0:
            self._decimals = np.r_[self._decimals, np.zeros(more, np.int64)]
            self._common = np.r_[self._common, np.zeros(more, np.int64)]
            self._largest = np.r_[self._largest, np.zeros(more)]
            self._values += [set() for _ in range(more)]


def step_to_round_to(largest: float, wished: str) -> str:
    """The finest power of ten, from `wished` on, in which values up to `largest` can be counted with a digit to spare.

    >>> step_to_round_to(2.3e7, "0.00000001"), step_to_round_to(150.0, "0.01")
    ('0.000001', '0.01')
    """
    finest = Decimal(1).scaleb(Decimal(largest).adjusted() - 13)
    return format(max(finest, Decimal(wished)), "f")


def fraction(step: str) -> tuple[int, int]:
    """A decimal step as (numerator, denominator).

    >>> fraction("0.25")
    (1, 4)
    """
    return Fraction(step).as_integer_ratio()
