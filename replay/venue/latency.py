"""The three latency legs: when what is sent arrives. Every leg takes at least 1 ns and is first-in first-out."""

from __future__ import annotations

from replay.kernel.memory import apart, fn
from replay.kernel.rng import lognormal_ns
from replay.venue.layout import LOGNORMAL


@fn
def arrival(v, leg, t):
    """When something sent on `leg` at `t` arrives. Draws are keyed by (seed, leg, t, index in that instant)."""
    apart()
    delay = v.latency[leg]
    if v.mode[leg] == LOGNORMAL:
        if v.last_send[leg] == t:
            v.send_index[leg] += 1
        else:
            v.last_send[leg] = t
            v.send_index[leg] = 0
        delay = lognormal_ns(v.seed, leg, t, v.send_index[leg], v.latency[leg], v.sigma[leg])
    when = max(t + max(delay, 1), v.last_arrival[leg])
    v.last_arrival[leg] = when
    return when
