"""A strategy that asks for everything there is, at times and prices drawn from a counter, on bars: for tests, not for money."""

from replay import FOK, GTC, IOC, POST_ONLY, REDUCE_ONLY, Array, Each, State, Strategy, compiled, mean


@compiled
class BusyBars(Strategy):
    """Orders of every type, replaces, cancels, brackets and pairs on each bar; what is asked of all symbols at once, on `on_bars`."""

    every: int = 2
    qty: int = 3
    keep: int = 5
    n: State[int] = 0
    seen: State[int] = 0
    closes: Each[int] = Array("keep")
    means: Each[float] = Array(2)
    last: Each[int] = 0

    def features(self):
        return {"slow": mean("bar", count=4)}

    def draw(self, ctx, m):
        self.n += 1
        return (self.n * 48271 + ctx.now // 1000) % m

    def on_bar(self, ctx, b):
        i = b.instrument
        self.closes[i, self.seen % self.keep] = b.close
        self.means[i, 1] = self.means[i, 0]
        self.means[i, 0] = ctx.slow(i)
        self.seen += 1
        if self.draw(ctx, self.every) != 0:
            return
        side = 1 if self.draw(ctx, 2) == 0 else -1
        if abs(ctx.account_position(i)) > 20:
            side = -1 if ctx.account_position(i) > 0 else 1
        what, off, px = self.draw(ctx, 12), self.draw(ctx, 15), b.close
        if what == 0:
            ctx.market(i, side * self.qty, GTC)
        elif what <= 2:
            self.last[i] = ctx.limit(i, side * self.qty, px - side * off, GTC if off == 0 else 0, POST_ONLY)
        elif what == 3:
            ctx.limit(i, side * self.qty, px + side * off, IOC if off > 7 else FOK)
        elif what == 4:
            ctx.stop(i, side * self.qty, px + side * (1 + off))
        elif what == 5:
            ctx.stop_limit(i, side * self.qty, px + side * off, px + side * (off + 2))
        elif what == 6:
            ctx.bracket(i, side * self.qty, 0 if off > 7 else px - side * off, px + side * (20 + off), px - side * (20 + off))
        elif what == 7:
            ctx.oco(i, side * self.qty, px - side * (1 + off), px + side * (1 + off))
        elif what == 8 and self.last[i] > 0:
            ctx.replace(self.last[i], self.qty + off, ctx.order_px(self.last[i]) - side)
        elif what == 9 and self.last[i] > 0 and not ctx.is_done(self.last[i]):
            ctx.cancel(self.last[i])
        elif what == 10:
            ctx.market(i, -side * self.qty, 0, REDUCE_ONLY)
        elif off < 3:
            ctx.cancel_all(i)

    def on_bars(self, ctx):
        self.draw(ctx, 2)
        if self.draw(ctx, 9) == 0:
            for i in range(ctx.n_instruments):
                if self.closes[i, 0] > self.means[i, 1]:
                    ctx.target(i, self.qty)

    def on_order(self, ctx, r):
        if r.last_qty > 0:
            ctx.timer(ctx.now + 1_000_000 + 70_000_000_000 * self.draw(ctx, 2), 2)

    def on_timer(self, ctx, t):
        ctx.log(t.timer_id, ctx.equity / 1e8, ctx.position(0), self.means[0, 0])
        ctx.market(0, 1 if ctx.position(0) < 0 else -1)


class PlainBusyBars(BusyBars):
    """The same in plain Python."""

    __compiled__ = False
