"""The three latency legs: when what is sent arrives. Every leg takes at least 1 ns and is first-in first-out."""

from __future__ import annotations

from replay.kernel.memory import apart, fn, hot
from replay.kernel.rng import lognormal_ns
from replay.venue.layout import LOGNORMAL

LONGEST = 1 << 42  #: ns, over an hour: times a thousand thousandths still an int64


@hot
def arrival(v, leg, t):
    """When something sent on `leg` at `t` arrives. Draws are keyed by (seed, leg, t, index in that instant)."""
    delay = v.latency[leg] if v.mode[leg] != LOGNORMAL else drawn(v, leg, t)
    v.last_delay = max(delay, 1)
    when = max(t + v.last_delay, v.last_arrival[leg])
    v.last_arrival[leg] = when
    return when


@fn
def slowed(v, leg, t, factor):
    """When what was sent last, on `leg` at `t`, arrives if its way takes `factor` thousandths of its time, at least 1000."""
    when = max(t + min(v.last_delay, LONGEST) * factor // 1000, v.last_arrival[leg])
    v.last_arrival[leg] = when
    return when


@fn
def drawn(v, leg, t):
    """A lognormal delay, ns."""
    apart()
    if v.last_send[leg] == t:
        v.send_index[leg] += 1
    else:
        v.last_send[leg] = t
        v.send_index[leg] = 0
    return lognormal_ns(v.seed, leg, t, v.send_index[leg], v.latency[leg], v.sigma[leg])
