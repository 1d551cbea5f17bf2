"""A venue driven without the replay loop, by whoever sends its requests one at a time: the local server.

Both are the loop's own functions, so that a venue driven from outside does what it does in a replay.
"""

from __future__ import annotations

from replay.kernel.memory import at, entry
from replay.trader.layout import I64
from replay.venue.faults import place_request, strikes
from replay.venue.latency import arrival, slowed
from replay.venue.layout import ENTRY, REQUEST_SLOW, header, requests, windows
from replay.venue.stream import venue_until


@entry
def advance(vb, events, n, order, until):
    """Bring the venue forward over everything before key `until`, see `replay.venue.stream.venue_until`."""
    return venue_until(vb, header(vb), events, n, order, until)


@entry
def arrives(vb, leg, t):
    """When something sent on `leg` at `t` arrives."""
    return arrival(header(vb), leg, t)


@entry
def sent(vb, reached, now):
    """A request has been put last: a fault may slow it down; none arrives before key `reached`, nor before one that is due sooner."""
    v = header(vb)
    r = requests(vb, v)[(v.request_tail - 1) & (v.requests_n - 1)]
    slow = strikes(vb, v, REQUEST_SLOW, now, r.instrument, r.kind, r.handle, 0)
    if slow >= 0:
        r.key = (slowed(v, ENTRY, now, windows(vb, v)[slow].factor) - v.t0) << 3 | v.class_request
    r.key = max(r.key, reached)
    place_request(vb, v)
    return 0


@entry
def arrivals(vb, leg, times, n):
    """Replace `n` sending times by times of arrival."""
    v = header(vb)
    t = at(times, n, I64)
    for k in range(n):
        t[k] = arrival(v, leg, t[k])
    return 0
