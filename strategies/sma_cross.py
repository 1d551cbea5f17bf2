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
    fast_closes: Each[int] = Array("fast")  # rings
    slow_closes: Each[int] = Array("slow")
    fast_next: Each[int] = 0
    slow_next: Each[int] = 0
    fast_sum: Each[int] = 0
    slow_sum: Each[int] = 0
    bars: Each[int] = 0

    def on_bar(self, ctx, b):
        i = b.instrument
        if b.side != ctx.book(i).finest:
            return  # of a longer interval than the bars that execute
        f = self.fast_next[i]
        s = self.slow_next[i]
        self.fast_sum[i] += b.close - self.fast_closes[i, f]
        self.slow_sum[i] += b.close - self.slow_closes[i, s]
        self.fast_closes[i, f] = b.close
        self.slow_closes[i, s] = b.close
        self.fast_next[i] = f + 1 if f + 1 < self.fast else 0
        self.slow_next[i] = s + 1 if s + 1 < self.slow else 0
        self.bars[i] += 1
        up = self.bars[i] >= max(self.fast, self.slow) and self.fast_sum[i] * self.slow > self.slow_sum[i] * self.fast
        want = self.qty if up else 0
        if ctx.position(i) != want:
            ctx.target(i, want)
