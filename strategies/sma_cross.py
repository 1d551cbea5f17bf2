"""SMA cross: long while the mean of the last closes is above a longer one, flat while not."""

from replay import Strategy, compiled, mean


@compiled
class SmaCross(Strategy):
    """Holds `qty` lots while the mean of the last `fast` closes is above that of the last `slow`; one market order a change, which
    trades at the next bar's open.

    fast, slow: lengths of the means, in bars. qty: lots held.
    Fails in a market without trend: every cross back pays the slippage, and the means see a turn only when it is old.
    """

    fast: int = 20
    slow: int = 50
    qty: int = 100

    def features(self):
        return {"fast_mean": mean("bar", count=self.fast), "slow_mean": mean("bar", count=self.slow)}

    def on_bar(self, ctx, b):
        i = b.instrument
        want = self.qty if ctx.fast_mean(i) > ctx.slow_mean(i) else 0
        if ctx.position(i) != want:
            ctx.target(i, want)
