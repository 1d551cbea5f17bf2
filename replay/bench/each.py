"""The strategy of ``replay bench latency``: an order for every so many quotes, there and back, and nothing else."""

from replay import Each, Strategy, compiled


@compiled
class EachQuote(Strategy):
    """A market order for every `every` quotes of a symbol, at most `most` in all."""

    every: int = 1
    most: int = 1 << 40
    n: Each[int] = 0
    sent: Each[int] = 0

    def on_quote(self, ctx, q):
        i = q.instrument
        self.n[i] += 1
        if self.n[i] % self.every == 0 and self.sent[i] < self.most:
            self.sent[i] += 1
            ctx.market(i, 1 if self.sent[i] % 2 else -1)
