"""A strategy that asks for everything with arguments of any kind, at every wake: for tests."""

from replay import FOK, GTC, IOC, POST_ONLY, REDUCE_ONLY, Each, State, Strategy, compiled, ema, zscore


@compiled
class Prober(Strategy):
    """Orders of every type, some on instruments, handles and prices that there are not."""

    every: int = 3
    n: State[int] = 0
    last: Each[int] = 0
    newest: State[int] = 0

    def features(self):
        return {"fast": ema("mid", 5), "z": zscore("mid", "2s"), "slow": zscore("bar", count=4)}

    def draw(self, ctx, m):
        self.n += 1
        return (self.n * 48271 + ctx.now // 1000) % m

    def probe(self, ctx, px):
        if self.draw(ctx, self.every) != 0:
            return
        i = self.draw(ctx, ctx.n_instruments + 1)
        if i == ctx.n_instruments and self.draw(ctx, 2) == 0:
            i = -1
        side = 1 if self.draw(ctx, 2) == 0 else -1
        qty = side * (1 + self.draw(ctx, 5))
        off = self.draw(ctx, 7) - 2
        tif = 0
        if off > 0:
            tif = GTC if off == 1 else (IOC if off == 2 else (FOK if off == 3 else 0))
        what = self.draw(ctx, 16)
        if what <= 1:
            self.newest = ctx.market(i, qty, tif)
        elif what <= 4:
            self.newest = ctx.limit(i, qty, px - side * off, tif, POST_ONLY if what == 4 else 0)
        elif what == 5:
            self.newest = ctx.stop(i, qty, px + side * off)
        elif what == 6:
            ctx.stop_limit(i, qty, px + side * off, px + side * (off + 2), GTC)
        elif what <= 8:
            ctx.bracket(i, qty, 0 if what == 7 else px - side * off, px + side * 5, px - side * 5, tif)
        elif what == 9:
            ctx.oco(i, qty, px + side * 4, px - side * 4)
        elif what == 10:
            ctx.replace(self.newest, 1 + self.draw(ctx, 6), px + off)
        elif what == 11:
            ctx.cancel(self.newest)
        elif what == 12:
            ctx.target(i, qty if off > 0 else 0)
        elif what == 13:
            ctx.market(i, qty, 0, REDUCE_ONLY)
        elif what == 14:
            ctx.cancel_all(i)
        else:
            ctx.timer(ctx.now + self.draw(ctx, 4) * 60_000_000_000, self.n)

    def on_start(self, ctx):
        self.probe(ctx, 100)

    def on_quote(self, ctx, q):
        self.probe(ctx, q.bid_px if q.bid_sz > 0 else 100)

    def on_book(self, ctx, d):
        self.probe(ctx, d.px if d.px > 0 else 100)

    def on_trade(self, ctx, t):
        self.last[t.instrument] = t.px
        self.probe(ctx, t.px)

    def on_bar(self, ctx, b):
        self.last[b.instrument] = b.close
        self.probe(ctx, b.close)

    def on_bars(self, ctx):
        self.probe(ctx, 100)

    def on_data(self, ctx, d):
        self.probe(ctx, 100)

    def on_timer(self, ctx, t):
        self.probe(ctx, 100)
