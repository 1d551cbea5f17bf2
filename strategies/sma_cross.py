"""SMA cross: long while the mean of the last closes is above a longer one, flat while not."""

from replay import Array, Each, Strategy, compiled


@compiled
class SmaCross(Strategy):
    """Holds `qty` lots while the mean of the last `fast` closes is above that of the last `slow`, nothing else; one market order a
    change, which trades at the next bar's open.

    fast, slow: lengths of the means, in bars of the shortest interval there is. qty: lots held.
    The means are compared as sums of whole ticks, each times the other's length: no rounding decides.
    Fails in a market without trend: every cross back pays the slippage, and the means see a turn only when it is old.
    """

    fast: int = 20
    slow: int = 50
    qty: int = 100
    closes: Each[int] = Array("fast", "slow")  # a ring
    next: Each[int] = 0
    fast_sum: Each[int] = 0
    slow_sum: Each[int] = 0
    bars: Each[int] = 0

    def leaving(self, i, k, length, n):
        """The close that leaves the last `length`, of a ring of `n` whose next place is `k`."""
        j = k - length
        return self.closes[i, j if j >= 0 else j + n]

    def on_bar(self, ctx, b):
        i = b.instrument
        if b.side != ctx.book(i).finest:
            return  # of a longer interval than the bars that execute
        n = max(self.fast, self.slow)
        k = self.next[i]
        self.fast_sum[i] += b.close - self.leaving(i, k, self.fast, n)
        self.slow_sum[i] += b.close - self.leaving(i, k, self.slow, n)
        self.closes[i, k] = b.close
        self.next[i] = k + 1 if k + 1 < n else 0
        self.bars[i] += 1
        up = self.bars[i] >= n and self.fast_sum[i] * self.slow > self.slow_sum[i] * self.fast
        want = self.qty if up else 0
        if ctx.position(i) != want:
            ctx.target(i, want)
