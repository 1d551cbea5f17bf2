"""A strategy that asks for everything there is, at times and prices drawn from a counter: for tests, not for money."""

from replay import FOK, GTC, IOC, POST_ONLY, REDUCE_ONLY, Each, State, Strategy, compiled, ema, zscore


@compiled
class Busy(Strategy):
    """Orders of every type, replaces, cancels, brackets, pairs and timers."""

    every: int = 7
    qty: int = 3
    n: State[int] = 0
    last: Each[int] = 0
    other: Each[int] = 0
    heard: Each[int] = 0
    mean: Each[float] = 0.0

    def features(self):
        return {"fast": ema("mid", 5), "z": zscore("mid", "2s")}

    def draw(self, ctx, m):
        self.n += 1
        return (self.n * 48271 + ctx.now // 1000) % m

    def on_start(self, ctx):
        ctx.timer(ctx.now + 10_000_000_000, 1)

    def act(self, ctx, i):
        if self.draw(ctx, self.every) != 0:
            return
        b = ctx.book(i)
        if b.bid_sz == 0 or b.ask_sz == 0:
            return
        what = self.draw(ctx, 16)
        side = 1 if self.draw(ctx, 2) == 0 else -1
        if ctx.account_position(i) > 20:
            side = -1
        elif ctx.account_position(i) < -20:
            side = 1
        px = b.bid_px if side > 0 else b.ask_px
        far = b.ask_px if side > 0 else b.bid_px
        off = self.draw(ctx, 4)
        if what == 0:
            ctx.market(i, side * self.qty)
        elif what <= 3:
            self.last[i] = ctx.limit(i, side * self.qty, px - side * off, GTC if off == 0 else 0, POST_ONLY)
        elif what == 4:
            ctx.limit(i, side * self.qty, far, IOC)
        elif what == 5:
            ctx.limit(i, side * self.qty, far + side, FOK)
        elif what == 6:
            ctx.stop(i, side * self.qty, far + side * (1 + off))
        elif what == 7:
            ctx.stop_limit(i, side * self.qty, far + side * off, far + side * (off + 2))
        elif what == 8:
            ctx.bracket(i, side * self.qty, px, px + side * (3 + off), px - side * (3 + off))
        elif what == 9:
            ctx.bracket(i, side * self.qty, 0, 0, px - side * (4 + off))
        elif what == 10:
            self.other[i] = ctx.oco(i, side * self.qty, px - side * (1 + off), far + side * (2 + off))
        elif what == 11 and self.last[i] > 0:
            ctx.replace(self.last[i], self.qty + off, ctx.order_px(self.last[i]) - side)
        elif what == 12 and self.last[i] > 0 and not ctx.is_done(self.last[i]):
            ctx.cancel(self.last[i])
        elif what == 13:
            ctx.target(i, side * off)
        elif what == 14:
            ctx.market(i, -side * self.qty, 0, REDUCE_ONLY)
        elif off == 0:
            ctx.cancel_all(i)
        ctx.log(what, ctx.fast(i), ctx.z(i), ctx.leaves_qty(self.last[i]) + ctx.cum_qty(self.last[i]))
        if ctx.z(i) > 1.5:
            self.mean[i] = ctx.fast(i)

    def on_quote(self, ctx, q):
        self.act(ctx, q.instrument)

    def on_book(self, ctx, b):
        self.act(ctx, b.instrument)

    def on_trade(self, ctx, t):
        self.act(ctx, t.instrument)

    def on_order(self, ctx, r):
        self.heard[r.instrument] += 1
        if r.last_qty > 0 and ctx.state(r.handle) == 5:
            ctx.timer(ctx.now + 1_000_000, 2)

    def on_timer(self, ctx, t):
        if t.timer_id == 1:
            ctx.cancel_all()
            ctx.timer(ctx.now + 600_000_000_000, 1)
        else:
            ctx.log(99, ctx.equity / 1e8, ctx.position(0), self.mean[0])


class PlainBusy(Busy):
    """The same in plain Python."""

    __compiled__ = False
