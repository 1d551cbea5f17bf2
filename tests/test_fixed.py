"""Fixed-point products against Python's integers; exp, log and the normal quantile against libm and the statistics module."""

import math
import random
import statistics
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replay.kernel.fixed import OVERFLOW, exp, isqrt, log, money, mul_div, normal_quantile, power_of_two

TOP = (1 << 63) - 1
I64 = st.one_of(st.integers(-(1 << 63), TOP), st.integers(-(1 << 33), 1 << 33), st.integers(-1000, 1000))
POSITIVE = st.one_of(st.integers(1, TOP), st.integers(1, 1 << 33), st.integers(1 << 48, 1 << 50), st.integers(1, 1000))


def fitted(q: int) -> int:
    return q if -(1 << 63) < q <= TOP else OVERFLOW


@settings(max_examples=2000, deadline=None)
@given(I64, I64, POSITIVE)
@example(-(1 << 63), -(1 << 63), TOP)
@example(-(1 << 63), TOP, TOP)
@example(TOP, TOP, TOP)
@example(TOP, TOP, 1)
@example(-(1 << 63), 1, 1)
@example(0, -(1 << 63), 5)
@example(-1, 1, TOP)
def test_mul_div_is_floor_of_the_exact_quotient(a, b, c):
    assert mul_div(a, b, c) == fitted(a * b // c)


@settings(max_examples=1000, deadline=None)
@given(st.integers(1, TOP), st.integers(1 << 48, 1 << 50), st.integers(-(1 << 63), TOP))
def test_mul_div_at_the_seams_of_its_tiers(q, c, shift):
    a = max(-(1 << 63), min(TOP, q))
    b = c + shift % 5 - 2
    assert mul_div(a, b, c) == fitted(a * b // c)
    assert mul_div(-a, b, c) == fitted(-a * b // c)


@settings(max_examples=1000, deadline=None)
@given(I64, I64, st.one_of(st.just(1), POSITIVE), st.one_of(st.just(1), POSITIVE))
def test_money_is_exact_or_refuses(px, qty, num, den):
    got, want = money(px, qty, num, den), fitted(px * qty * num // den)
    pairs = abs(px * qty), abs(qty * num), abs(px * num)
    if min(pairs) < 9.1e18:
        assert got == want
    else:
        assert got in (want, OVERFLOW)


def test_money_takes_numpy_scalars():
    px, qty = np.int64(5_000_000), np.int64(1845 * 10**9)
    assert money(px, qty, np.int64(1), np.int64(100_000)) == 5_000_000 * 1845 * 10**9 // 100_000


@settings(max_examples=1000, deadline=None)
@given(st.one_of(st.integers(0, TOP), st.integers(0, 3037000500).map(lambda s: min(s * s, TOP))))
@example(3037000499**2 - 1)
@example(TOP)
def test_isqrt(n):
    assert isqrt(n) == math.isqrt(n)
    assert isqrt(max(0, n - 1)) == math.isqrt(max(0, n - 1))
    assert isqrt(-1 - n) == OVERFLOW


def ulps(got: float, want: float) -> float:
    return 0.0 if got == want else abs(got - want) / math.ulp(want)


def test_power_of_two():
    assert all(power_of_two(k) == math.ldexp(1.0, k) for k in range(-1074, 1024))


def test_exp_within_one_ulp():
    r = random.Random(1)
    for scale in (1e-9, 1e-3, 1.0, 20.0, 700.0):
        assert max(ulps(exp(x), math.exp(x)) for x in (r.uniform(-scale, scale) for _ in range(4000))) <= 1.0
    assert all(ulps(exp(x), math.exp(x)) <= 1.0 for x in (r.uniform(-745, -708) for _ in range(500)))
    assert exp(0.0) == 1.0 and exp(710.0) == math.inf and exp(-746.0) == 0.0 and math.isnan(exp(math.nan))


def test_log_within_one_ulp():
    r = random.Random(2)
    for _ in range(10000):
        x = r.uniform(0.5, 2.0) * 2.0 ** r.randint(-1060, 1020)
        assert ulps(log(x), math.log(x)) <= 1.0, x
        y = 1.0 + r.uniform(-1e-6, 1e-6)
        assert ulps(log(y), math.log(y)) <= 1.0, y
    assert log(1.0) == 0.0 and log(0.0) == -math.inf and math.isnan(log(-1.0)) and log(math.inf) == math.inf


def test_normal_quantile():
    r = random.Random(3)
    inv = statistics.NormalDist().inv_cdf
    us = [r.random() for _ in range(3000)] + [2.0**-k for k in range(2, 1000, 7)] + [1 - 2.0**-k for k in range(2, 53)]
    for u in us:
        assert normal_quantile(u) == pytest.approx(inv(u), rel=4e-15, abs=1e-16)
    assert normal_quantile(0.5) == 0.0 and normal_quantile(0.25) == -normal_quantile(0.75)


def test_known_bits():
    """The exact bits, so that every platform, Python version and code path can be told from this one."""
    got = [struct.pack(">d", f(x)).hex() for f in (exp, log) for x in (0.1, 0.7, 3.3, 123.456)]
    assert got == KNOWN


KNOWN = [
    "3ff1aec7b35a00d4",
    "40001c2a61268987",
    "403b1cd5e7807b7b",
    "4b11428e1cbc0143",
    "c0026bb1bbb55515",
    "bfd6d3c324e13f50",
    "3ff31a4e7240c777",
    "401343774f3e2362",
]
