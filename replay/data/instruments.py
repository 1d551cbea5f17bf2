"""Instruments: where decimal prices and quantities become integers, exactly or not at all.

Inside the engine a price is an int64 number of ticks, a quantity an int64 number of lots and money an int64 number of 1e-8 units
of a currency. `Instrument` holds the three decimal steps that connect them and is the only place that divides by a tick.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction

import msgspec

from replay.errors import BadInput

MONEY = 10**8  #: money units in one unit of a currency
MAX_PLACES = 30  #: of a step
MAX_INT = 2**62  #: prices, quantities and notionals stay below: one bit of room for a sum of two

_wide = Context(prec=60)


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """What is traded, and its steps. Decimal fields are strings, so that a manifest holds them exactly.

    - `tick_size`: the price step, in `currency`; `lot_size`: the quantity step, in shares, coins or contracts;
    - `multiplier`: units of the underlying in one unit of quantity (100 for a US equity option);
    - `base`: the asset received when it is bought, where that is money too (``BTC``), else None;
    - `min_qty`: the smallest order, in lots; `allow_negative_px`: whether prices may be zero or below (combos, some futures);
    - `inverse`: a contract worth `multiplier` of `currency` that is settled in `base` (COIN-M): its value is not linear in the
      price, so `tick_value` refuses it, and it can be looked at but not traded.

    Raises `BadInput` for a step that is not a positive decimal.

    >>> aapl = Instrument(symbol="AAPL", tick_size="0.01")
    >>> aapl.ticks("189.12"), aapl.price(18912), aapl.tick_value()
    (18912, Decimal('189.12'), (1000000, 1))
    >>> aapl.ticks("189.125")
    Traceback (most recent call last):
        ...
    replay.errors.BadInput: AAPL: price 189.125 is not a multiple of the tick 0.01: round it, or import with a finer tick
    """

    symbol: str
    tick_size: str
    lot_size: str = "1"
    multiplier: str = "1"
    currency: str = "USD"
    base: str | None = None
    min_qty: int = 1
    allow_negative_px: bool = False
    inverse: bool = False

    def __post_init__(self) -> None:
        if not self.symbol:
            raise BadInput("an instrument needs a symbol, got an empty one: name it")
        for name in ("tick_size", "lot_size", "multiplier"):
            text = getattr(self, name)
            try:
                step = Decimal(text)
                good = 0 < step < MAX_INT and -MAX_PLACES <= step.as_tuple().exponent <= MAX_PLACES
            except (InvalidOperation, TypeError, ValueError):
                good = False
            if not good:
                raise BadInput(f"{self.symbol}: {name} must be a positive decimal such as '0.01', got {text!r}: correct it")
        if not 1 <= self.min_qty < MAX_INT:
            raise BadInput(f"{self.symbol}: min_qty must be at least 1 lot, got {self.min_qty}: correct it")
        if max(_tick_value(self.tick_size, self.lot_size, self.multiplier)) >= MAX_INT:
            raise BadInput(f"{self.symbol}: one tick on one lot is worth more, or less, than can be counted: correct its steps")

    def ticks(self, price: Decimal | str) -> int:
        """`price` in ticks. Raises `BadInput` where it is no multiple of the tick, or no finite number. ~1 us."""
        return _steps(self.symbol, "price", price, "tick", self.tick_size)

    def lots(self, qty: Decimal | str) -> int:
        """`qty` in lots. Raises `BadInput` where it is no multiple of the lot, or no finite number. ~1 us.

        >>> Instrument(symbol="BTCUSDT", tick_size="0.01", lot_size="0.00001", base="BTC").lots("0.02")
        2000
        """
        return _steps(self.symbol, "quantity", qty, "lot", self.lot_size)

    def price(self, ticks: int) -> Decimal:
        """`ticks` as a decimal price.

        >>> Instrument(symbol="ES", tick_size="0.25").price(-3)
        Decimal('-0.75')
        """
        return _wide.multiply(Decimal(int(ticks)), Decimal(self.tick_size))

    def qty(self, lots: int) -> Decimal:
        """`lots` as a decimal quantity.

        >>> Instrument(symbol="BTCUSDT", tick_size="0.01", lot_size="0.001").qty(1500)
        Decimal('1.500')
        """
        return _wide.multiply(Decimal(int(lots)), Decimal(self.lot_size))

    def tick_value(self) -> tuple[int, int]:
        """Money units (1e-8 of the currency) of one tick on one lot, as a reduced fraction (numerator, denominator).

        A price of p ticks on q lots is worth ``p * q * numerator / denominator``. Raises `BadInput` for an inverse contract.

        >>> Instrument(symbol="BTCUSDT", tick_size="0.01", lot_size="0.0000001").tick_value()
        (1, 10)
        """
        if self.inverse:
            raise BadInput(f"{self.symbol}: an inverse contract has no value per tick: it can be replayed, not traded")
        return _tick_value(self.tick_size, self.lot_size, self.multiplier)

    def max_product(self) -> int:
        """The largest price x quantity (ticks x lots) that is provably in range: itself and its value below 2**62.

        >>> Instrument(symbol="AAPL", tick_size="0.01").max_product() == (2**62 - 1) // 10**6
        True
        """
        if self.inverse:
            return MAX_INT - 1
        num, den = self.tick_value()
        return min((MAX_INT - 1) * den // num, MAX_INT - 1)


@functools.lru_cache(1024)
def _tick_value(tick: str, lot: str, multiplier: str) -> tuple[int, int]:
    return (Fraction(tick) * Fraction(lot) * Fraction(multiplier) * MONEY).as_integer_ratio()


@functools.lru_cache(1024)
def _step(text: str) -> tuple[Decimal, int, int]:
    step = Decimal(text)
    return (step, *step.as_integer_ratio())


def _steps(symbol: str, what: str, value: Decimal | str, unit: str, step_text: str) -> int:
    try:
        # int and float have no business here: 0.1 is not one tenth, and an int may already be ticks
        value = value if isinstance(value, Decimal) else Decimal(_text(value))
        num, den = value.as_integer_ratio()
    except (InvalidOperation, TypeError, ValueError, OverflowError):
        raise BadInput(f"{symbol}: {what} must be a finite decimal or its text, got {value!r}: correct it") from None
    _, step_num, step_den = _step(step_text)
    steps, rest = divmod(num * step_den, den * step_num)
    if rest:
        raise BadInput(
            f"{symbol}: {what} {value} is not a multiple of the {unit} {step_text}: round it, or import with a finer {unit}"
        )
    if not -MAX_INT < steps < MAX_INT:
        raise BadInput(f"{symbol}: {what} {value} is more than 2**62 steps of {step_text}: import with a coarser {unit}")
    return steps


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def infer_increment(values: Iterable[Decimal | str], floor: str | None = None) -> str:
    """The largest decimal step (a power of ten) that all `values` are multiples of, for imports that are told no tick.

    With `floor`, a step the venue documents, the answer is `floor` where all values are multiples of it, and otherwise the finer
    power of ten they need. Zeros say nothing. The caller records the result as inferred. Raises `BadInput` without any value.

    >>> infer_increment(["61737.63000000", "61837.6"]), infer_increment(["100", "2500"]), infer_increment(["100"], floor="0.01")
    ('0.01', '100', '0.01')
    """
    decimals = [v if isinstance(v, Decimal) else Decimal(v) for v in values]
    if floor is not None and not any(_wide.remainder(d, Decimal(floor)) for d in decimals):
        return floor
    exponents = [d.normalize(_wide).as_tuple().exponent for d in decimals if d]
    if not exponents:
        raise BadInput("an increment cannot be inferred from no values other than zero: state it")
    return format(Decimal(1).scaleb(min(exponents)), "f")
