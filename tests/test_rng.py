"""Counter-based draws: known answers, key independence, distributions."""

import statistics

import numpy as np

from replay.kernel.rng import draw, lognormal_ns, uniform

U64 = (1 << 64) - 1


def twin(*words: int) -> int:
    """The definition, on unbounded integers."""
    z = 0x2545F4914F6CDD1D
    for w in words:
        z = ((z & U64) * 0x9E3779B97F4A7C15 + (w & U64)) & U64
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & U64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & U64
        z ^= z >> 31
    return z - (1 << 64) if z >> 63 else z


def test_known_answers():
    assert draw(0, 0, 0, 0) == 1217585955318146905
    assert draw(1, 2, 3, 4) == -525280251363312898
    assert draw(-1, -2, -3, -4) == -3170093124634266023
    assert draw(42, 7, 1_700_000_000_000_000_000, 3) == 7109382595907151949
    sent = 1_700_000_000_000_000_000
    assert [lognormal_ns(7, 1, sent + k, 0, 1_000_000, 0.5) for k in range(4)] == LATENCIES


LATENCIES = [1029565, 978852, 501924, 1753582]


def test_draw_is_the_chained_finaliser():
    r = np.random.default_rng(5)
    for words in r.integers(-(1 << 63), (1 << 63) - 1, (500, 4)).tolist():
        assert draw(*words) == twin(*words)


def test_uniform_stays_inside():
    assert uniform(0) > 0.0 and uniform(-1) < 1.0 and 0.0 < uniform((1 << 63) - 1) < uniform(-1)
    xs = [uniform(draw(9, 0, k, 0)) for k in range(20000)]
    assert abs(statistics.fmean(xs) - 0.5) < 0.01 and abs(statistics.pvariance(xs) - 1 / 12) < 0.003
    counts = np.histogram(xs, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi squared, 19 degrees of freedom, p about 0.0007


def test_every_word_of_the_key_matters():
    base = (3, 1, 1_700_000_000_000_000_000, 0)
    for word in range(4):
        keys = [tuple(v + (k if w == word else 0) for w, v in enumerate(base)) for k in range(3000)]
        xs = [uniform(draw(*key)) for key in keys]
        assert len(set(xs)) == len(xs)
        a, b = np.array(xs[:-1]), np.array(xs[1:])
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.06
    assert draw(1, 2, 3, 4) != draw(2, 1, 3, 4) != draw(1, 3, 2, 4)


def test_bits_flip_by_halves():
    flips = [bin((draw(0, 0, 1 << b, 0) ^ draw(0, 0, 0, 0)) & U64).count("1") for b in range(63)]
    assert 30 < statistics.fmean(flips) < 34 and min(flips) > 12


def test_lognormal_median_and_spread():
    xs = [lognormal_ns(7, 1, 10**18 + k, 0, 1_000_000, 0.5) for k in range(8000)]
    assert abs(statistics.median(xs) / 1e6 - 1) < 0.03
    assert abs(statistics.pstdev(np.log(xs)) - 0.5) < 0.02


def test_one_more_order_does_not_shift_the_others():
    latency = {(t, i): lognormal_ns(7, 1, t, i, 10**6, 0.5) for t in range(100, 110) for i in range(2)}
    assert len(set(latency.values())) == 20
    assert latency[105, 0] == lognormal_ns(7, 1, 105, 0, 10**6, 0.5)


def test_lognormal_bounds():
    assert lognormal_ns(7, 1, 5, 0, 250_000, 0.0) == 250_000
    assert lognormal_ns(7, 1, 5, 0, 0, 0.0) == 1
    assert all(lognormal_ns(7, 1, t, 0, 1, 3.0) >= 1 for t in range(500))
    assert max(lognormal_ns(7, 1, t, 0, 1 << 60, 9.0) for t in range(100)) == 1 << 62
