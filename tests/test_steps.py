from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.data.steps import BORNE_OUT, Steps, multiples


def step_of(values, most="0.01", decimal_only=False):
    steps = Steps(Decimal(most), decimal_only)
    for part in np.array_split(np.array(values, float), 3):
        assert steps.see(np.zeros(len(part), np.int64), part) == -1
    return steps.of(0)


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([189.12, 189.3, 190], "0.01"),
        ([100, 200], "0.01"),
        (range(100, 200), "1"),
        (np.arange(100, 200) * 5, "5"),
        (4000 + np.arange(60) * 0.25, "0.25"),
        (4000 + np.arange(BORNE_OUT - 1) * 0.25, "0.01"),
        ([0.1 + 0.2, 1.1], "0.01"),
        ([254.515, 1607.3599], "0.0001"),
        ([0.00001234], "0.00000001"),
        ([-3.5, 0, 2.25], "0.01"),
        ([0, 0], None),
    ],
)
def test_prices(values, step):
    assert step_of(values) == step


@pytest.mark.parametrize(("values", "step"), [([100, 200, 300] * 40, "1"), ([0.5, 1.25], "0.01"), ([1e12], "1"), ([0], None)])
def test_sizes(values, step):
    assert step_of(values, "1", True) == step


def test_a_value_without_a_step_is_pointed_at_and_nothing_taken_in():
    steps = Steps(Decimal("0.01"), False)
    assert steps.see(np.array([0, 1, 0, 0]), np.array([1.5, 2.5, 189.1199951171875, 1 / 3])) == 2
    assert steps.of(0) is None and steps.of(1) is None
    assert steps.see(np.array([0]), np.array([1e15])) == 0


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=80), st.integers(0, 8), st.integers(1, 50))
def test_every_value_is_a_multiple_of_the_step_inferred(numbers, decimals, factor):
    values = [Decimal(n * factor).scaleb(-decimals) for n in numbers]
    step = Decimal(step_of([float(v) for v in values]))
    assert all(v % step == 0 for v in values)
    num, den = step.as_integer_ratio()
    counted, good = multiples(np.array([float(v) for v in values]), num, den)
    assert good.all() and counted.tolist() == [int(v / step) for v in values]
