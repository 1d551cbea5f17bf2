"""Windows over a stream: of a length of time, or of the last n observations. Rings of cells in constant time, nothing ever subtracted.

**Time windows.** At `now` a window of `span` ns holds what was observed in ``(now - span, now]``: five one-minute bars are in a window
of five minutes. Observations of one `grain` of time (aligned to the epoch) share a cell, which leaves when the first of them does.
The grain of a window of ticks is ``ceil(span / 256)``, so that a stream of any rate fits; of bars it is half their interval, so that each
has a cell and the window is exact. A window is *covered* once it has been watched for its whole span. It starts anew after a
silence longer than itself and, if it is shorter than a day, at a session's open: then it holds nothing and is not covered.

**Count windows.** The same ring with a cell an observation, of which the oldest leaves when there are n. They know no clock.

**How.** The ring is a queue made of two stacks. Cells of the back hold their own aggregate, and one word triple that of all of them; cells of
the front hold the aggregate of themselves and all newer cells of the front. When the front is used up, the back is turned into
it, newest cell first. What a window shows is oldest front cell, joined with the back, joined with the cell being filled. Amortised cost
O(1) a cell. Aggregates are three words: how many, and two that the kind gives a meaning.

**Closes** are a queue of (time, price), whose oldest cell is the newest price seen by ``now - span``, or the price n observations ago.

Functions take the two arrays over the same memory, `words` (int64) and `fwords` (float64), and the offset `at` of a ring's own
words, zeroed before first use.
"""

from __future__ import annotations

from replay.kernel.memory import fn, hot, pure

DAY = 86_400_000_000_000
LULL = 3_600_000_000_000  #: a price stands for so long, or for a return's interval if that is longer, though nothing is heard
CELLS = 256  #: grains of a window of ticks
MOST_CELLS = 1 << 17  #: grains of a window of bars

# kinds of aggregates, three words
SUMS = 0  #: n, two sums of integers
TOTALS = 1  #: n, a sum of floats
HIGHS, LOWS = 2, 3  #: n, the extreme
MOMENTS = 4  #: n, mean, squared deviations

# the head of a ring
EDGE = 0  #: when the ring has to be looked at next; always 0 in a count window
FIRST = 1  #: since when it has been watched
SEEN = 2  #: the newest event
CELL = 3  #: offset of the cell being filled, or of `ZERO`; 0: the ring has not begun
NEXT = 4  #: slot of the next cell
OLDEST = 5  #: slot of the oldest cell
FRONT = 6  #: cells of the front
BACK = 7  #: cells of the back, without the one being filled; of closes all cells
BACK_SUM = 8  #: three words: aggregate of the back
BASE = 11  #: three words: aggregate of all but the cell being filled; of closes the price to compare with, whether there is one
END = FRONT  #: of closes: when the newest cell's grain ends; always 0 in a count window
ZERO = 14  #: a cell that is always empty
OWN = 18  #: six words for the feature itself
RING = 24

# a cell
TIME, N, A, B = range(4)
CELL_WORDS = 4


@pure
def grain_of(span, bar_ns):
    """The grain in ns of a window of `span` ns over ticks (`bar_ns` 0) or bars of an interval.

    >>> grain_of(64_000_000_000, 0), grain_of(3600 * 10**9, 60 * 10**9), grain_of(10, 0)
    (250000000, 30000000000, 1)
    """
    if bar_ns == 0:
        return (span + CELLS - 1) // CELLS
    return max(1, min(span, max(bar_ns // 2, (span + MOST_CELLS - 1) // MOST_CELLS)))


@fn
def clear(words, at):
    """Back to a ring that has not begun; the feature's own words stay."""
    for i in range(OWN):
        words[at + i] = 0


@hot
def cell_at(at, slot):
    """Offset of a slot's cell."""
    return at + RING + slot * CELL_WORDS


@hot
def after(slot, cells):
    """The slot behind a slot."""
    return slot + 1 if slot + 1 < cells else 0


@fn
def fold(kind, words, fwords, into, old, new):
    """Write the aggregate of an older and a newer one (offsets of their three words, which may be `into`)."""
    if words[old] == 0 or words[new] == 0:
        one = new if words[old] == 0 else old
        for i in range(3):
            words[into + i] = words[one + i]
        return
    n = words[old] + words[new]
    if kind == SUMS:
        words[into + 1] = words[old + 1] + words[new + 1]
        words[into + 2] = words[old + 2] + words[new + 2]
    elif kind == TOTALS:
        fwords[into + 1] = fwords[old + 1] + fwords[new + 1]
    elif kind == MOMENTS:  # Chan, Golub and LeVeque
        share = float(words[new]) / float(n)
        d = fwords[new + 1] - fwords[old + 1]
        m2 = fwords[old + 2] + fwords[new + 2] + d * d * float(words[old]) * share
        fwords[into + 1] = fwords[old + 1] + d * share
        fwords[into + 2] = m2
    else:
        sign = 1 if kind == HIGHS else -1
        x, y = fwords[old + 1], fwords[new + 1]
        fwords[into + 1] = y if sign * (y - x) > 0.0 else x
    words[into] = n


@fn
def complete(kind, words, fwords, at):
    """Put the cell being filled, if there is one, to the back."""
    cell = words[at + CELL]
    if cell != at + ZERO:
        fold(kind, words, fwords, at + BACK_SUM, at + BACK_SUM, cell + N)
        words[at + BACK] += 1
        words[at + CELL] = at + ZERO


@fn
def drop_oldest(kind, words, fwords, at, cells):
    """Let the oldest cell leave; there is one. Cost O(1), O(cells of the back) when the front is used up."""
    slot = words[at + OLDEST]
    if words[at + FRONT] == 0:
        n = words[at + BACK]
        new = slot + n - 1
        if new >= cells:
            new -= cells
        for _ in range(n - 1):
            old = new - 1 if new > 0 else cells - 1
            fold(kind, words, fwords, cell_at(at, old) + N, cell_at(at, old) + N, cell_at(at, new) + N)
            new = old
        words[at + FRONT] = n
        words[at + BACK] = 0
        for i in range(3):
            words[at + BACK_SUM + i] = 0
    words[at + FRONT] -= 1
    words[at + OLDEST] = after(slot, cells)


@fn
def rebase(kind, words, fwords, at):
    """The aggregate of all but the cell being filled."""
    front = at + ZERO
    if words[at + FRONT] > 0:
        front = cell_at(at, words[at + OLDEST])
    fold(kind, words, fwords, at + BASE, front + N, at + BACK_SUM)


@fn
def roll(kind, f, words, fwords, at, now, span, grain):
    """Bring a time window to `now`, which is at or past its edge. Whether it starts anew."""
    fresh = words[at + CELL] == 0
    anew = fresh or now - words[at + SEEN] > span
    if fresh:
        words[at + CELL] = at + ZERO
    if anew:
        words[at + FIRST] = now - f.lead  # a bar speaks of the interval before it
    cell = words[at + CELL]
    if cell != at + ZERO and words[cell] // grain != now // grain:
        complete(kind, words, fwords, at)
    while words[at + FRONT] + words[at + BACK] > 0 and words[cell_at(at, words[at + OLDEST])] <= now - span:
        drop_oldest(kind, words, fwords, at, f.cells)
    rebase(kind, words, fwords, at)
    edge = (now // grain + 1) * grain
    if words[at + FRONT] + words[at + BACK] > 0:
        edge = min(edge, words[cell_at(at, words[at + OLDEST])] + span)
    if words[at + FIRST] + span > now:
        edge = min(edge, words[at + FIRST] + span)
    words[at + EDGE] = edge
    return anew


@fn
def make_room(kind, f, words, fwords, at):
    """Let the oldest observation leave a count window that is full. Whether the next one is its first."""
    anew = words[at + CELL] == 0
    words[at + CELL] = at + ZERO
    if words[at + FRONT] + words[at + BACK] >= f.p0:
        drop_oldest(kind, words, fwords, at, f.cells)
    return anew


@hot
def arrive(kind, f, words, fwords, at, now):
    """Bring a window to an observation at `now`. Whether it starts anew with it."""
    anew = False
    if f.count:
        anew = make_room(kind, f, words, fwords, at)
    elif now >= words[at + EDGE]:
        anew = roll(kind, f, words, fwords, at, now, f.p0, f.grain)
    words[at + SEEN] = now
    return anew


@hot
def settle(kind, f, words, fwords, at):
    """After an observation: in a count window its cell is complete."""
    if f.count:
        complete(kind, words, fwords, at)
        rebase(kind, words, fwords, at)


@hot
def watch(kind, f, words, fwords, at, now):
    """Bring a window of time to an event that it observes nothing of. Whether what it shows may have changed."""
    if f.count or words[at + CELL] == 0:
        return False
    due = now >= words[at + EDGE]
    if due:
        roll(kind, f, words, fwords, at, now, f.p0, f.grain)
    words[at + SEEN] = now
    return due


@hot
def open_cell(f, words, at, now):
    """Offset of the aggregate of the cell that takes an observation at `now`."""
    cell = words[at + CELL]
    if cell == at + ZERO:
        slot = words[at + NEXT]
        cell = cell_at(at, slot)
        words[at + NEXT] = after(slot, f.cells)
        words[at + CELL] = cell
        words[cell] = now
        words[cell + N] = 0
        words[cell + A] = 0
        words[cell + B] = 0
    return cell + N


@hot
def covered(f, words, at, now):
    """Whether a time window has been watched for its whole length, a count window holds its number of observations."""
    if f.count:
        return words[at + FRONT] + words[at + BACK] >= f.p0
    return now - words[at + FIRST] >= f.p0


@hot
def moments_add(words, fwords, sums, x):
    """Welford's update of one cell's aggregate."""
    n = words[sums] + 1
    d = x - fwords[sums + 1]
    mean = fwords[sums + 1] + d / float(n)
    words[sums] = n
    fwords[sums + 1] = mean
    fwords[sums + 2] = fwords[sums + 2] + d * (x - mean)


# --- closes: the price an interval, or n observations, ago ------------------------------------------------------------------------


@fn
def closes_roll(words, fwords, at, now, span, grain, cells):
    """Let prices leave that are older than the newest one seen by ``now - span``."""
    while words[at + BACK] > 1:
        second = cell_at(at, after(words[at + OLDEST], cells))
        if words[second] > now - span:
            break
        words[at + OLDEST] = after(words[at + OLDEST], cells)
        words[at + BACK] -= 1
    oldest = cell_at(at, words[at + OLDEST])
    edge = (now // grain + 1) * grain
    if words[oldest] > now - span:
        edge = min(edge, words[oldest] + span)
        words[at + BASE + 1] = 0
    else:
        words[at + BASE + 1] = 1
        fwords[at + BASE] = fwords[oldest + A]
        if words[at + BACK] > 1:
            edge = min(edge, words[cell_at(at, after(words[at + OLDEST], cells))] + span)
    words[at + EDGE] = edge


@fn
def closes_turn(words, fwords, at, now, span, grain, cells, count):
    """Bring the closes to an observation at `now`, which is past their edge or their newest cell: a new one, or that again."""
    if words[at + CELL] != 0 and not count and now - words[at + SEEN] > max(span, LULL):
        clear(words, at)
    cell = words[at + CELL]
    if cell == 0 or count or words[cell] // grain != now // grain:
        cell = cell_at(at, words[at + NEXT])
        words[at + NEXT] = after(words[at + NEXT], cells)
        words[at + CELL] = cell
        words[at + BACK] += 1
    words[cell] = now
    if not count:
        words[at + END] = (now // grain + 1) * grain
        closes_roll(words, fwords, at, now, span, grain, cells)
    else:
        if words[at + BACK] > span + 1:
            words[at + OLDEST] = after(words[at + OLDEST], cells)
            words[at + BACK] -= 1
        words[at + BASE + 1] = 1 if words[at + BACK] == span + 1 else 0
        fwords[at + BASE] = fwords[cell_at(at, words[at + OLDEST]) + A]


@hot
def closes_add(words, fwords, at, now, span, grain, cells, count, x):
    """Take in the price `x`. `span` and `grain` in ns, or `span` observations if `count`."""
    if now >= words[at + EDGE] or now >= words[at + END]:
        closes_turn(words, fwords, at, now, span, grain, cells, count)
    cell = words[at + CELL]
    words[cell] = now
    fwords[cell + A] = x
    words[at + SEEN] = now
