from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.data.instruments import MAX_INT, Instrument, infer_increment
from replay.errors import BadInput

STEPS = st.sampled_from(["0.01", "0.25", "1", "0.00000001", "5", "0.0001", "100"])
AAPL = Instrument(symbol="AAPL", tick_size="0.01")


@given(STEPS, STEPS, st.integers(-MAX_INT + 1, MAX_INT - 1))
def test_ticks_and_lots_round_trip_exactly(tick, lot, n):
    i = Instrument(symbol="X", tick_size=tick, lot_size=lot, allow_negative_px=True)
    assert i.ticks(i.price(n)) == n
    assert i.lots(str(i.qty(n))) == n


@given(STEPS, st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=9))
def test_a_price_is_converted_exactly_or_refused(tick, price):
    i = Instrument(symbol="X", tick_size=tick)
    multiple = (Fraction(price) / Fraction(tick)).denominator == 1
    if multiple:
        assert Fraction(i.ticks(price)) * Fraction(tick) == Fraction(price)
    else:
        with pytest.raises(BadInput, match="not a multiple of the tick"):
            i.ticks(price)


@given(STEPS, STEPS, st.sampled_from(["1", "100", "0.1"]))
def test_tick_value_is_the_exact_worth_of_a_tick_on_a_lot(tick, lot, multiplier):
    num, den = Instrument(symbol="X", tick_size=tick, lot_size=lot, multiplier=multiplier).tick_value()
    assert Fraction(num, den) == Fraction(tick) * Fraction(lot) * Fraction(multiplier) * 10**8
    assert (num, den) == Fraction(num, den).as_integer_ratio()


@pytest.mark.parametrize("value", ["", "abc", "nan", "inf", "-Infinity", 1.5, 3, None])
def test_what_is_no_finite_decimal_is_refused(value):
    with pytest.raises(BadInput, match="must be a finite decimal or its text"):
        AAPL.ticks(value)


@pytest.mark.parametrize("field", ["tick_size", "lot_size", "multiplier"])
@pytest.mark.parametrize("text", ["0", "-0.01", "x", "nan", "Infinity", ""])
def test_steps_must_be_positive_decimals(field, text):
    with pytest.raises(BadInput, match=f"X: {field} must be a positive decimal"):
        Instrument(**{"symbol": "X", "tick_size": "0.01", field: text})


def test_other_refusals():
    with pytest.raises(BadInput, match="needs a symbol"):
        Instrument(symbol="", tick_size="1")
    with pytest.raises(BadInput, match="min_qty must be at least 1 lot, got 0"):
        Instrument(symbol="X", tick_size="1", min_qty=0)
    with pytest.raises(BadInput, match=r"more than 2\*\*62 steps"):
        AAPL.ticks("1e30")
    with pytest.raises(BadInput, match="inverse contract has no value per tick"):
        Instrument(symbol="BTCUSD_PERP", tick_size="0.1", inverse=True).tick_value()


@given(st.lists(st.integers(1, 10**6), min_size=1), st.integers(-8, 3))
def test_the_inferred_increment_divides_every_value_and_is_the_coarsest(values, exponent):
    decimals = [Decimal(v).scaleb(exponent) for v in values]
    step = Decimal(infer_increment(decimals))
    assert all(d % step == 0 for d in decimals)
    assert any(d % (step * 10) for d in decimals)


def test_an_increment_has_a_floor_but_yields_to_finer_values():
    assert infer_increment(["100", "200.5"], floor="0.25") == "0.25"
    assert infer_increment(["100.3"], floor="0.25") == "0.1"
    assert infer_increment(["0"], floor="0.01") == "0.01"
    with pytest.raises(BadInput, match="cannot be inferred"):
        infer_increment(["0.00"])
