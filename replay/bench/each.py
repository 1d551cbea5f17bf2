"""The strategy of ``replay bench latency``: an order for every so many quotes, and nothing else."""

from replay import Each, Strategy, compiled


@compiled
class EachQuote(Strategy):
    """Buy one at the market for every `every` quotes of a symbol, at most `most` times: never against an order that is under way."""

    every: int = 1
    most: int = 1 << 40
    n: Each[int] = 0
    sent: Each[int] = 0

    def on_quote(self, ctx, q):
        i = q.instrument
        self.n[i] += 1
        if self.n[i] % self.every == 0 and self.sent[i] < self.most:
            self.sent[i] += 1
            ctx.market(i, 1)
