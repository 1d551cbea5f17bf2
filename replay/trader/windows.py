"""Windows over a stream: rings of 64 time buckets, and windows of the last n values in constant time.

**Time windows.** A window of `span` ns is cut into K = 64 buckets of ``width = ceil(span / 64)`` ns, aligned to the epoch: the
bucket of an instant is ``floor(now / width)``. At `now` the window holds the current bucket and the 63 before it: everything
observed since ``(bucket(now) - 63) * width``, which is between 63 and 64 widths. Each bucket keeps aggregates filled in arrival order.
When an event enters a later bucket the aggregate of the 63 complete ones is recomputed from zero, oldest bucket first;
the window's value is that aggregate joined with the current bucket's. Nothing is ever subtracted, so no error
accumulates, and the bits depend only on what was observed inside the window, never on how long the engine has run.
A window is full once the bucket of `now` is at least 63 after the bucket it started in.

**Count windows.** The stream is cut into blocks of n. A window of the last n values is a suffix of the block before and a prefix of
the current one: suffix aggregates are computed once at the end of a block (newest value first) in the place of the raw values,
the prefix is kept running. Again nothing is subtracted; amortised cost O(1), O(n) at the end of a block.

Functions take the two arrays over the same memory, `words` (int64) and `fwords` (float64), and the offset `at` of a feature's own
words, zeroed before first use.
"""

from __future__ import annotations

from replay.kernel.memory import fn, hot, pure

K = 64
MASK = K - 1

# the head of a time window, then its ring
EDGE = 0  #: first instant of the next bucket; 0: nothing observed yet
BUCKET = 1  #: the current bucket
FIRST = 2  #: the bucket of the first observation
BASE = 3  #: three words: aggregate of the complete buckets
OWN = 6  #: six words for the feature itself
RING = 12

RETURN_SLOTS = 66


@pure
def width_of(span):
    """The width in ns of a bucket of a window of `span` ns.

    >>> width_of(60_000_000_000), width_of(10)
    (937500000, 1)
    """
    return (span + (K - 1)) // K


@hot
def full(words, at):
    """Whether a time window has been observed for its whole length."""
    return words[at + BUCKET] - words[at + FIRST] >= K - 1


@fn
def begin(words, at, now, width):
    """Start a time window at its first observation."""
    bucket = now // width
    words[at + BUCKET] = bucket
    words[at + FIRST] = bucket
    words[at + EDGE] = (bucket + 1) * width


@fn
def turn(words, at, now, width, stride):
    """Move the ring to the bucket of `now`, which is past the edge, zeroing the slots it passes. Cost O(K)."""
    bucket = now // width
    gap = bucket - words[at + BUCKET]
    if gap > K:
        gap = K
    for j in range(gap):
        slot = at + RING + ((bucket - j) & MASK) * stride
        for i in range(stride):
            words[slot + i] = 0
    words[at + BUCKET] = bucket
    words[at + EDGE] = (bucket + 1) * width


@hot
def slot_of(words, at, stride):
    """Offset of the current bucket."""
    return at + RING + (words[at + BUCKET] & MASK) * stride


@fn
def join(n1, mean1, m1, n2, mean2, m2):
    """Count, mean and sum of squared deviations of two samples together (Chan, Golub and LeVeque)."""
    if n1 == 0:
        return n2, mean2, m2
    if n2 == 0:
        return n1, mean1, m1
    n = n1 + n2
    share = float(n2) / float(n)
    d = mean2 - mean1
    return n, mean1 + d * share, m1 + m2 + d * d * float(n1) * share


# --- sums of integers: two words a bucket -----------------------------------------------------------------------------------


@fn
def sums_roll(words, at, now, span):
    """Bring a window of two integer sums to `now`."""
    if words[at + EDGE] == 0:
        begin(words, at, now, width_of(span))
        return
    turn(words, at, now, width_of(span), 2)
    a = 0
    b = 0
    bucket = words[at + BUCKET]
    for j in range(K - 1):
        slot = at + RING + ((bucket - (K - 1) + j) & MASK) * 2
        a += words[slot]
        b += words[slot + 1]
    words[at + BASE] = a
    words[at + BASE + 1] = b


# --- mean: count and sum a bucket ---------------------------------------------------------------------------------------------


@fn
def mean_roll(words, fwords, at, now, span):
    if words[at + EDGE] == 0:
        begin(words, at, now, width_of(span))
        return
    turn(words, at, now, width_of(span), 2)
    n = 0
    total = 0.0
    bucket = words[at + BUCKET]
    for j in range(K - 1):
        slot = at + RING + ((bucket - (K - 1) + j) & MASK) * 2
        n += words[slot]
        total += fwords[slot + 1]
    words[at + BASE] = n
    fwords[at + BASE + 1] = total


# --- extremes: whether there is one, and the extreme, a bucket --------------------------------------------------------------------


@fn
def extremes_roll(words, fwords, at, now, span, sign):
    """Bring a window of highs (`sign` 1) or lows (-1) to `now`."""
    if words[at + EDGE] == 0:
        begin(words, at, now, width_of(span))
        return
    turn(words, at, now, width_of(span), 2)
    words[at + BASE] = 0
    bucket = words[at + BUCKET]
    for j in range(K - 1):
        slot = at + RING + ((bucket - (K - 1) + j) & MASK) * 2
        if words[slot] > 0:
            extremes_add(words, fwords, at + BASE, fwords[slot + 1], sign)


@hot
def extremes_add(words, fwords, slot, x, sign):
    if words[slot] == 0 or sign * (x - fwords[slot + 1]) > 0.0:
        words[slot] = 1
        fwords[slot + 1] = x


# --- moments: count, mean and squared deviations a bucket ----------------------------------------------------------------------


@fn
def moments_roll(words, fwords, at, now, span):
    if words[at + EDGE] == 0:
        begin(words, at, now, width_of(span))
        return
    turn(words, at, now, width_of(span), 3)
    n = 0
    mean = 0.0
    m2 = 0.0
    bucket = words[at + BUCKET]
    for j in range(K - 1):
        slot = at + RING + ((bucket - (K - 1) + j) & MASK) * 3
        if words[slot] > 0:
            n, mean, m2 = join(n, mean, m2, words[slot], fwords[slot + 1], fwords[slot + 2])
    words[at + BASE] = n
    fwords[at + BASE + 1] = mean
    fwords[at + BASE + 2] = m2


@hot
def moments_add(words, fwords, slot, x):
    """Welford's update of one bucket."""
    n = words[slot] + 1
    d = x - fwords[slot + 1]
    mean = fwords[slot + 1] + d / float(n)
    words[slot] = n
    fwords[slot + 1] = mean
    fwords[slot + 2] = fwords[slot + 2] + d * (x - mean)


# --- squared returns of consecutive bucket closes: one word a bucket -------------------------------------------------------------


@fn
def squares_roll(words, fwords, at, now, span):
    if words[at + EDGE] == 0:
        begin(words, at, now, width_of(span))
        return
    turn(words, at, now, width_of(span), 1)
    total = 0.0
    bucket = words[at + BUCKET]
    for j in range(K - 1):
        total += fwords[at + RING + ((bucket - (K - 1) + j) & MASK)]
    fwords[at + BASE] = total


# --- closes of 66 buckets, carried over empty ones -------------------------------------------------------------------------------


@fn
def closes_begin(words, fwords, at, now, span, x):
    begin(words, at, now, width_of(span))
    for j in range(RETURN_SLOTS):
        fwords[at + RING + j] = x
    fwords[at + BASE] = x


@fn
def closes_roll(words, fwords, at, now, span):
    """Bring the ring to `now`; its base becomes the close 65 buckets back: the last price seen by ``now - span`` or a width before."""
    width = width_of(span)
    bucket = now // width
    old = words[at + BUCKET]
    last = fwords[at + RING + old % RETURN_SLOTS]
    gap = bucket - old
    if gap > RETURN_SLOTS:
        gap = RETURN_SLOTS
    for j in range(gap):
        fwords[at + RING + (bucket - j) % RETURN_SLOTS] = last
    words[at + BUCKET] = bucket
    words[at + EDGE] = (bucket + 1) * width
    fwords[at + BASE] = fwords[at + RING + (bucket + 1) % RETURN_SLOTS]


# --- the last n values -------------------------------------------------------------------------------------------------------------

POSITION = 0  #: values in the current block
BLOCKS = 1  #: complete blocks
RUN = 2  #: two words: sum, or mean and squared deviations, of the current block
ANCHOR = 4
SLOTS = 5


@fn
def count_mean(words, fwords, at, n, x):
    """Add `x` to a window of `n` values; returns the mean of those held and whether there are `n`."""
    j = words[at + POSITION]
    run = fwords[at + RUN] + x
    fwords[at + SLOTS + j] = x
    j += 1
    held = j
    total = run
    ready = j == n
    if words[at + BLOCKS] > 0:
        held = n
        ready = True
        if j < n:
            total = fwords[at + SLOTS + j] + run
    if j == n:
        suffix = 0.0
        for i in range(n):
            slot = at + SLOTS + n - 1 - i
            suffix = suffix + fwords[slot]
            fwords[slot] = suffix
        words[at + BLOCKS] = 1
        j = 0
        run = 0.0
    words[at + POSITION] = j
    fwords[at + RUN] = run
    return total / float(held), ready


@fn
def count_moments(words, fwords, at, n, x):
    """Add `x` to a window of `n` values; returns the mean and population variance of those held and whether there are `n`."""
    j = words[at + POSITION]
    d = x - fwords[at + RUN]
    mean = fwords[at + RUN] + d / float(j + 1)
    m2 = fwords[at + RUN + 1] + d * (x - mean)
    fwords[at + SLOTS + 2 * j] = x
    j += 1
    held = j
    whole = mean
    spread = m2
    ready = j == n
    if words[at + BLOCKS] > 0:
        ready = True
        if j < n:
            slot = at + SLOTS + 2 * j
            held, whole, spread = join(n - j, fwords[slot], fwords[slot + 1], j, mean, m2)
    if j == n:
        _suffixes(fwords, at + SLOTS, n)
        words[at + BLOCKS] = 1
        j = 0
        mean = 0.0
        m2 = 0.0
    words[at + POSITION] = j
    fwords[at + RUN] = mean
    fwords[at + RUN + 1] = m2
    return whole, spread / float(held), ready


@fn
def _suffixes(fwords, ring, n):
    """Turn the raw values of a complete block into the moments of its suffixes, newest value first."""
    mean = 0.0
    m2 = 0.0
    for i in range(n):
        slot = ring + 2 * (n - 1 - i)
        x = fwords[slot]
        d = x - mean
        mean = mean + d / float(i + 1)
        m2 = m2 + d * (x - mean)
        fwords[slot] = mean
        fwords[slot + 1] = m2
