from replay import Each, Strategy


class Timed(Strategy):
    """A plain strategy with timers and state: buys one lot a minute, sells three after three."""

    every_s: int = 60
    count: Each[int] = 0

    def on_start(self, ctx):
        ctx.timer(ctx.now + self.every_s * 10**9, 7)

    def on_timer(self, ctx, t):
        self.count[0] += 1
        if ctx.market(0, 1 if self.count[0] % 4 else -3) >= 0:
            ctx.timer(ctx.now + self.every_s * 10**9, 7)
