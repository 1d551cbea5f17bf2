"""EMA cross: long while a fast average of the mid is above a slow one, short while below."""

from replay import Each, State, Strategy, compiled


@compiled
class EmaCross(Strategy):
    """Always in the market after `warmup` quotes, turning by one market order whenever the averages cross.

    fast, slow: lengths of the averages, in quotes. warmup: quotes before the first order. qty: lots held either way.
    Fails in a market without trend: every cross pays the spread, and turning pays it twice.
    """

    fast: int = 1000
    slow: int = 5000
    warmup: int = 5000
    qty: int = 100
    fast_alpha: State[float] = 0.0
    slow_alpha: State[float] = 0.0
    fast_ema: Each[float] = 0.0
    slow_ema: Each[float] = 0.0
    quotes: Each[int] = 0
    wanted: Each[int] = 0

    def on_start(self, ctx):
        self.fast_alpha = 2.0 / (self.fast + 1.0)
        self.slow_alpha = 2.0 / (self.slow + 1.0)

    def on_quote(self, ctx, q):
        if q.bid_sz == 0 or q.ask_sz == 0:
            return
        i = q.instrument
        mid = 0.5 * (q.bid_px + q.ask_px)
        self.quotes[i] += 1
        if self.quotes[i] == 1:
            self.fast_ema[i] = mid
            self.slow_ema[i] = mid
        else:
            self.fast_ema[i] += self.fast_alpha * (mid - self.fast_ema[i])
            self.slow_ema[i] += self.slow_alpha * (mid - self.slow_ema[i])
        if self.quotes[i] <= self.warmup:
            return
        want = self.qty if self.fast_ema[i] > self.slow_ema[i] else -self.qty
        if want != self.wanted[i] and ctx.market(i, want - self.wanted[i]) >= 0:
            self.wanted[i] = want
