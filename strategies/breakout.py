"""Breakout: go with a price that leaves its range while volatility expands; flat before the session ends."""

from replay import Duration, Each, Strategy, compiled, highest, lowest, realised_vol


@compiled
class Breakout(Strategy):
    """With a price beyond the extremes of the last `window` if it moves more than usual; out at the opposite extreme of the last `trail`.

    window: the range to be left. trail: the range that lets go, shorter. recent: the time whose volatility is compared with that of
    `window`; expand: how many times as high it must be, each per square root of its time. trade_for: flat, and nothing new, so long
    after a session's first price. A silence of `gap` or more begins a session, whose first `window` is only watched. qty: lots either
    way. On bars, quotes and books; on bars `trail` and `recent` hold at least three.
    Fails in a market that stays in its range: it buys its top and sells its bottom.
    """

    window: Duration = "20m"
    trail: Duration = "5m"
    recent: Duration = "4m"
    expand: float = 1.2
    trade_for: Duration = "380m"
    gap: Duration = "2h"
    qty: int = 100
    began: Each[int] = 0
    seen: Each[int] = 0
    top: Each[float] = 0.0
    bottom: Each[float] = 0.0
    trail_top: Each[float] = 0.0
    trail_bottom: Each[float] = 0.0

    def features(self):
        return {
            "highest": highest("price", self.window),
            "lowest": lowest("price", self.window),
            "trail_highest": highest("price", self.trail),
            "trail_lowest": lowest("price", self.trail),
            "recent_vol": realised_vol("price", self.recent),
            "usual_vol": realised_vol("price", self.window),
        }

    def act(self, ctx, i, ts):
        if self.seen[i] == 0 or ts - self.seen[i] >= self.gap:
            self.began[i] = ts
        px, held, age = ctx.mark(i), ctx.position(i), ts - self.began[i]
        if held != 0:
            # the range before this price: of what it is part it cannot leave
            if age >= self.trade_for or (px < self.trail_bottom[i] if held > 0 else px > self.trail_top[i]):
                ctx.target(i, 0)
        elif self.window <= age < self.trade_for and self.expanding(ctx, i):
            if px > self.top[i]:
                ctx.target(i, self.qty)
            elif px < self.bottom[i]:
                ctx.target(i, -self.qty)
        self.seen[i] = ts
        self.top[i], self.bottom[i] = ctx.highest(i), ctx.lowest(i)
        self.trail_top[i], self.trail_bottom[i] = ctx.trail_highest(i), ctx.trail_lowest(i)

    def expanding(self, ctx, i):
        """Whether the variance of the recent past, per unit of time, is above the window's; false until both are ready."""
        recent, usual = ctx.recent_vol(i), ctx.usual_vol(i)
        return recent * recent * self.window > self.expand * self.expand * usual * usual * self.recent

    def on_quote(self, ctx, q):
        self.act(ctx, q.instrument, q.ts_event)

    def on_book(self, ctx, b):
        self.act(ctx, b.instrument, b.ts_event)

    def on_bar(self, ctx, b):
        self.act(ctx, b.instrument, b.ts_event)
