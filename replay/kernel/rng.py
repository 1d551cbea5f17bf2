"""Random numbers without a sequence: each draw is a hash of what it is for.

A generator with a state gives the next number to whoever asks next, so one more order shifts every later latency and two runs
can no longer be compared. Here a draw is a function of (seed, stream, counter, index) and nothing else: the latency of an order
sent at an instant depends on that instant and on how many were sent in it before, not on the rest of the day.

The mixing is splitmix64's finaliser, chained over the four words (`replay.kernel.memory.mix`).
"""

from __future__ import annotations

from replay.kernel.fixed import exp, normal_quantile
from replay.kernel.memory import mix, pure

_START = 0x2545F4914F6CDD1D  # without it four zero words would mix to zero
_MASK52 = (1 << 52) - 1
_LONGEST_NS = 1 << 62


@pure
def draw(seed, stream, counter, index):
    """64 random bits as an int64, for these four int64 words and no others. Cost: about 1 ns.

    >>> draw(1, 2, 3, 4)
    -525280251363312898
    >>> draw(1, 2, 3, 4) == draw(1, 2, 3, 5)
    False
    """
    return mix(mix(mix(mix(_START, seed), stream), counter), index)


@pure
def uniform(bits):
    """A float64 strictly between 0 and 1 from the top 52 of 64 random bits: the centres of 2**52 equal cells, exact.

    >>> uniform(0), uniform(-1) < 1.0
    (1.1102230246251565e-16, True)
    """
    return (float((bits >> 12) & _MASK52) + 0.5) * 2.220446049250313e-16


@pure
def lognormal_ns(seed, leg, send_ns, index, median_ns, sigma):
    """A latency in int64 ns, at least 1: ``median_ns * exp(sigma * z)`` with z standard normal, rounded half up.

    `leg` names the path (request, report, ...), `send_ns` the instant of sending, `index` counts the messages of that leg sent
    in that instant. `sigma` is a float64 >= 0; 0 gives the median itself. Cost: about 40 ns.

    >>> lognormal_ns(1, 0, 0, 0, 250_000, 0.0)
    250000
    >>> lognormal_ns(1, 0, 1_700_000_000_000_000_000, 0, 250_000, 0.3)
    264436
    """
    if sigma <= 0.0:
        return max(1, int(median_ns))
    z = normal_quantile(uniform(draw(seed, leg, send_ns, index)))
    x = float(median_ns) * exp(float(sigma) * z) + 0.5
    if x >= 4.6e18:
        return _LONGEST_NS
    return max(1, int(x))
