"""A venue driven without the replay loop, by whoever sends its requests one at a time: the local server.

Both are the loop's own functions, so that a venue driven from outside does what it does in a replay.
"""

from __future__ import annotations

import numpy as np

from replay.kernel.loop import venue_until
from replay.kernel.memory import at, entry
from replay.venue.latency import arrival
from replay.venue.layout import header

I64 = np.dtype("i8")


@entry
def advance(vb, events, n, order, until):
    """Bring the venue forward over everything before key `until`, see `replay.kernel.loop.venue_until`."""
    return venue_until(vb, header(vb), events, n, order, until)


@entry
def arrives(vb, leg, t):
    """When something sent on `leg` at `t` arrives."""
    return arrival(header(vb), leg, t)


@entry
def arrivals(vb, leg, times, n):
    """Replace `n` sending times by times of arrival."""
    v = header(vb)
    t = at(times, n, I64)
    for k in range(n):
        t[k] = arrival(v, leg, t[k])
    return 0
