"""Exact integer products, and the elementary functions whose bits the engine owns.

Money is ``floor(px * qty * num / den)`` in int64, through a 128-bit product where 64 bits might not do: `mul_div` answers in
three tiers, each one only where it is proven exact.

1. The product fits 64 bits (a float estimate says so with a margin of 0.25 %): one multiplication, one division.
2. The quotient fits and ``c < 2**49``: the float quotient is off by less than 2**13, so the remainder ``a*b - q*c`` is below 2**63
   and can be taken modulo 2**64, where wrapping is harmless; one more division repairs the estimate.
3. Otherwise: limbs of 22 bits, and one bit of quotient at a time.

The same source runs as plain Python on unbounded integers; no step relies on wrapping except the one of tier 2, whose true value
fits. `exp`, `log` and `normal_quantile` use only + - * / and powers of two: libm and NumPy give other last bits from one machine,
version and code path to the next (measured), and a random latency must not depend on those.
"""

from __future__ import annotations

import math

from replay.kernel.memory import bits_of, pure

OVERFLOW = -(1 << 63)  #: what `mul_div`, `money` and `isqrt` return instead of a value that does not fit

# |float estimate| below this proves the integer below 2**63 = 9.223e18: the estimate is off by a few parts in 2**53
_FITS = 9.2e18
_SMALL = 1 << 49
_LIMB = 22
_MASK = (1 << 22) - 1
_HALF = 1 << 62
_INF = float("inf")


@pure
def mul_div(a, b, c):
    """``floor(a * b / c)``, exact; `OVERFLOW` when that does not fit int64. int64 in and out; `c` must be positive.

    Cost: about 3 ns when the product fits, 4 ns while ``c < 2**49``, else 80 ns.

    >>> mul_div(7, -3, 2)
    -11
    >>> mul_div(9_000_000_000_000_000_000, 1_000_000_007, 1_000_000_009)
    8999999982000000161
    >>> mul_div(1 << 62, 4, 1) == OVERFLOW
    True
    """
    a = int(a)
    b = int(b)
    c = int(c)
    product = float(a) * float(b)
    if -_FITS < product < _FITS:
        return a * b // c
    quotient = product / float(c)
    if c < _SMALL and -_FITS < quotient < _FITS:
        q = int(quotient)
        return q + (a * b - q * c) // c
    return _long_mul_div(a, b, c)


@pure
def _long_mul_div(a, b, c):
    """`mul_div` by limbs: the product as 22-bit digits under a signed top, divided bit by bit from the top."""
    a0, a1, a2 = a & _MASK, (a >> _LIMB) & _MASK, a >> (2 * _LIMB)
    b0, b1, b2 = b & _MASK, (b >> _LIMB) & _MASK, b >> (2 * _LIMB)
    d0 = a0 * b0
    d1 = a0 * b1 + a1 * b0 + (d0 >> _LIMB)
    d2 = a0 * b2 + a1 * b1 + a2 * b0 + (d1 >> _LIMB)
    d3 = a1 * b2 + a2 * b1 + (d2 >> _LIMB)
    top = a2 * b2 + (d3 >> _LIMB)
    q = top // c
    rem = top - q * c
    for k in range(4):
        if k == 0:
            digit = d3
        elif k == 1:
            digit = d2
        elif k == 2:
            digit = d1
        else:
            digit = d0
        for j in range(_LIMB):
            bit = (digit >> (_LIMB - 1 - j)) & 1
            if q >= _HALF or q < -_HALF:
                return OVERFLOW
            room = c - rem  # twice the remainder may not fit: compare by halves
            if rem + bit >= room:
                rem = rem - room + bit
                q = q + q + 1
            else:
                rem = rem + rem + bit
                q = q + q
    return q


@pure
def money(px, qty, num, den):
    """``floor(px * qty * num / den)``: ticks x lots to units of 1e-8 of a currency; `OVERFLOW` when it does not fit.

    `num`/`den` is the worth of one tick times one lot in those units, in lowest terms, both positive. The intermediate may
    need 128 bits; where no two of px, qty and num multiply within 64 the answer is `OVERFLOW` (never a wrong number).
    Cost: about 2 ns for ``den == 1``.

    >>> money(50_000, 10, 1_000_000, 1)    # 10 shares at 500.00 of 0.01 ticks: 5,000.00
    500000000000
    >>> money(5_000_000, 2_000_000_000_000, 1, 100_000)   # px * qty is 1e19, past int64
    100000000000000
    """
    px = int(px)
    qty = int(qty)
    num = int(num)
    den = int(den)
    pair = float(px) * float(qty)
    fits = -_FITS < pair < _FITS
    if den == 1:
        whole = pair * float(num)
        if fits and -_FITS < whole < _FITS:
            return px * qty * num
    if fits:
        return mul_div(px * qty, num, den)
    pair = float(qty) * float(num)
    if -_FITS < pair < _FITS:
        return mul_div(qty * num, px, den)
    pair = float(px) * float(num)
    if -_FITS < pair < _FITS:
        return mul_div(px * num, qty, den)
    return OVERFLOW


@pure
def isqrt(n):
    """The largest integer whose square is at most `n`; `OVERFLOW` for negative `n`. int64 in and out.

    >>> isqrt(99), isqrt(100), isqrt((1 << 63) - 1)
    (9, 10, 3037000499)
    """
    n = int(n)
    if n < 0:
        return OVERFLOW
    s = int(math.sqrt(float(n)))
    if s > 3037000499:  # floor(sqrt(2**63 - 1)): its successor's square does not fit
        s = 3037000499
    while s * s > n:
        s -= 1
    while s < 3037000499 and (s + 1) * (s + 1) <= n:
        s += 1
    return s


@pure
def power_of_two(k):
    """2 to the `k` as a float64, exact for -1074 <= k <= 1023.

    >>> power_of_two(10), power_of_two(-2)
    (1024.0, 0.25)
    """
    result = 1.0
    base = 2.0 if k >= 0 else 0.5
    k = int(abs(k))
    while k > 0:
        if k & 1:
            result = result * base
        base = base * base
        k >>= 1
    return result


# ln 2 as a part whose product with any exponent is exact, and the rest
_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10


@pure
def exp(x):
    """The exponential of `x`, within 1 ulp, the same bits everywhere.

    Reduction ``x = k ln 2 + r``, then the rational form and coefficients of Sun's fdlibm for ``exp(r)``, |r| <= ln(2)/2.
    Cost: about 30 ns.

    >>> exp(0.0), exp(1.0), exp(-1000.0)
    (1.0, 2.7182818284590455, 0.0)
    """
    x = float(x)
    if x != x:
        return x
    if x > 709.782712893384:
        return _INF
    if x < -745.1332191019412:
        return 0.0
    k = int(1.44269504088896338700 * x + (0.5 if x >= 0.0 else -0.5))
    hi = x - float(k) * _LN2_HI
    lo = float(k) * _LN2_LO
    r = hi - lo
    t = r * r
    p = 4.13813679705723846039e-08
    p = -1.65339022054652515390e-06 + t * p
    p = 6.61375632143793436117e-05 + t * p
    p = -2.77777777770155933842e-03 + t * p
    p = 1.66666666666666019037e-01 + t * p
    c = r - t * p
    y = 1.0 + (r * c / (2.0 - c) - lo + hi)
    half = k >> 1  # in two steps: 2**k itself may be out of range where the result is not
    return y * power_of_two(half) * power_of_two(k - half)


@pure
def log(x):
    """The natural logarithm of `x`, within 1 ulp, the same bits everywhere; -inf at 0, nan below.

    Reduction ``x = 2**k m`` with m in [sqrt(1/2), sqrt(2)), then fdlibm's series in ``s = f / (2 + f)``. Cost: about 30 ns.

    >>> log(1.0), log(10.0)
    (0.0, 2.302585092994046)
    """
    x = float(x)
    if x != x or x == _INF:
        return x
    if x <= 0.0:
        return -_INF if x == 0.0 else _INF - _INF
    k = 0
    if x < 2.2250738585072014e-308:  # subnormal: its exponent field says nothing
        x = x * 18014398509481984.0
        k = -54
    e = (bits_of(x) >> 52) - 1023
    half = e >> 1
    m = x * power_of_two(-half) * power_of_two(half - e)
    k = k + e
    if m >= 1.4142135623730951:
        m = m * 0.5
        k = k + 1
    f = m - 1.0
    hfsq = 0.5 * f * f
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    t1 = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    t2 = 1.818357216161805012e-01 + w * 1.479819860511658591e-01
    t2 = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01 + w * t2))
    dk = float(k)
    return s * (hfsq + (t2 + t1)) + dk * _LN2_LO - hfsq + f + dk * _LN2_HI


@pure
def normal_quantile(u):
    """The standard normal's value with probability `u` below it, 0 < u < 1: Wichura's AS 241, about 1e-15 relative.

    Cost: about 15 ns, 40 ns in the tails (u or 1 - u below 0.075).

    >>> normal_quantile(0.5), round(normal_quantile(0.975), 9)
    (0.0, 1.959963985)
    """
    u = float(u)
    q = u - 0.5
    if -0.425 <= q <= 0.425:
        r = 0.180625 - q * q
        return q * _centre(r)
    r = u if q < 0.0 else 1.0 - u
    if r <= 0.0:
        return -_INF if q < 0.0 else _INF
    r = math.sqrt(-log(r))
    x = _shoulder(r - 1.6) if r <= 5.0 else _tail(r - 5.0)
    return -x if q < 0.0 else x


@pure
def _centre(r):
    n = 2.5090809287301226727e3 * r + 3.3430575583588128105e4
    n = (n * r + 6.7265770927008700853e4) * r + 4.5921953931549871457e4
    n = (n * r + 1.3731693765509461125e4) * r + 1.9715909503065514427e3
    n = (n * r + 1.3314166789178437745e2) * r + 3.3871328727963666080e0
    d = 5.2264952788528545610e3 * r + 2.8729085735721942674e4
    d = (d * r + 3.9307895800092710610e4) * r + 2.1213794301586595867e4
    d = (d * r + 5.3941960214247511077e3) * r + 6.8718700749205790830e2
    d = (d * r + 4.2313330701600911252e1) * r + 1.0
    return n / d


@pure
def _shoulder(r):
    n = 7.74545014278341407640e-4 * r + 2.27238449892691845833e-2
    n = (n * r + 2.41780725177450611770e-1) * r + 1.27045825245236838258e0
    n = (n * r + 3.64784832476320460504e0) * r + 5.76949722146069140550e0
    n = (n * r + 4.63033784615654529590e0) * r + 1.42343711074968357734e0
    d = 1.05075007164441684324e-9 * r + 5.47593808499534494600e-4
    d = (d * r + 1.51986665636164571966e-2) * r + 1.48103976427480074590e-1
    d = (d * r + 6.89767334985100004550e-1) * r + 1.67638483018380384940e0
    d = (d * r + 2.05319162663775882187e0) * r + 1.0
    return n / d


@pure
def _tail(r):
    n = 2.01033439929228813265e-7 * r + 2.71155556874348757815e-5
    n = (n * r + 1.24266094738807843860e-3) * r + 2.65321895265761230930e-2
    n = (n * r + 2.96560571828504891230e-1) * r + 1.78482653991729133580e0
    n = (n * r + 5.46378491116411436990e0) * r + 6.65790464350110377720e0
    d = 2.04426310338993978564e-15 * r + 1.42151175831644588870e-7
    d = (d * r + 1.84631831751005468180e-5) * r + 7.86869131145613259100e-4
    d = (d * r + 1.48753612908506148525e-2) * r + 1.36929880922735805310e-1
    d = (d * r + 5.99832206555887937690e-1) * r + 1.0
    return n / d
