"""A strategy that asks for everything there is, at random: every type of order, replaces, cancels, groups, timers, and nonsense.

What it does at an event is drawn from its seed, the event's time and how often it has drawn at that time, and from nothing else: a
schedule that is shrunk keeps doing what it did with the events that are left. It wants to break the engine, not to earn money.
"""

from replay import DAY, FOK, GTC, IOC, POST_ONLY, REDUCE_ONLY, Each, State, Strategy, compiled
from replay.kernel.rng import draw as bits_of


@compiled
class RandomTrader(Strategy):
    """Acts on one of `every` events, up to `burst` times, with up to `qty` lots and prices up to `far` ticks off the touch.

    nonsense: in a thousand acts, so many ask for what must be refused. timers: in a thousand, so many set a timer.
    """

    seed: int = 1
    every: int = 8
    burst: int = 2
    qty: int = 5
    far: int = 4
    nonsense: int = 20
    timers: int = 50
    when: State[int] = 0
    draws: State[int] = 0
    newest: Each[int] = 0
    older: Each[int] = 0

    def draw(self, ctx, n):
        """A number of 0 to below `n`."""
        if self.when != ctx.now:
            self.when = ctx.now
            self.draws = 0
        self.draws += 1
        return (bits_of(self.seed, 0, ctx.now, self.draws) >> 20) % n

    def keep(self, i, handle):
        if handle > 0:
            self.older[i] = self.newest[i]
            self.newest[i] = handle

    def tif(self, ctx):
        k = self.draw(ctx, 8)
        return IOC if k == 0 else FOK if k == 1 else GTC if k == 2 else DAY

    def flags(self, ctx):
        k = self.draw(ctx, 8)
        return POST_ONLY if k <= 1 else REDUCE_ONLY if k == 2 else 0

    def place(self, ctx, i, mid):
        """One order or group of any kind around a price."""
        side = 1 if self.draw(ctx, 2) == 0 else -1
        lots = side * (1 + self.draw(ctx, self.qty))
        off = self.draw(ctx, 2 * self.far + 1) - self.far
        px = mid + side * off
        further = 1 + self.draw(ctx, self.far + 1)
        what = self.draw(ctx, 12)
        if what <= 3:
            self.keep(i, ctx.limit(i, lots, px, self.tif(ctx), self.flags(ctx)))
        elif what == 4:
            self.keep(i, ctx.market(i, lots, self.tif(ctx), REDUCE_ONLY if off == 0 else 0))
        elif what == 5:
            self.keep(i, ctx.stop(i, lots, px, self.tif(ctx), 0))
        elif what == 6:
            self.keep(i, ctx.stop_limit(i, lots, px, px + side * off, self.tif(ctx), 0))
        elif what == 7:
            self.keep(i, ctx.bracket(i, lots, px, px + side * further, px - side * further, DAY, 0))
        elif what == 8:
            self.keep(i, ctx.bracket(i, lots, 0, 0, mid - side * further, GTC, 0))
        elif what == 9:
            self.keep(i, ctx.oco(i, lots, mid - side * further, mid + side * further, DAY))
        elif what == 10:
            ctx.target(i, side * self.draw(ctx, self.qty + 1))
        else:
            ctx.target(i, 0)

    def silly(self, ctx, i, mid):
        """What must be refused, or comes to nothing."""
        what = self.draw(ctx, 7)
        if what == 0:
            ctx.limit(i, 0, mid)
        elif what == 1:
            ctx.limit(i, 1 << 50, mid)
        elif what == 2:
            ctx.limit(i, 1, -mid - 1)
        elif what == 3:
            ctx.cancel(self.newest[i] + (1 << 20))
        elif what == 4:
            ctx.replace(self.older[i], 0, mid)
        elif what == 5:
            ctx.limit(i, 1, mid, IOC, POST_ONLY)
        else:
            ctx.bracket(i, 1, mid, mid - 1, mid + 1)

    def act(self, ctx, i, every, burst):
        if self.draw(ctx, every) != 0:
            return
        b = ctx.book(i)
        mid = b.last_px
        if b.bid_sz > 0 and b.ask_sz > 0:
            mid = (b.bid_px + b.ask_px) // 2
        elif mid == 0:
            mid = 1000
        for _ in range(1 + self.draw(ctx, burst)):
            what = self.draw(ctx, 1000)
            if what < self.nonsense:
                self.silly(ctx, i, mid)
            elif what < self.nonsense + self.timers:
                ctx.timer(ctx.now + self.draw(ctx, 1 << (10 + self.draw(ctx, 26))), i)
            else:
                which = self.newest[i] if self.draw(ctx, 2) == 0 else self.older[i]
                how = self.draw(ctx, 12)
                if how <= 6:
                    self.place(ctx, i, mid)
                elif how <= 8:
                    ctx.cancel(which)
                elif how <= 10:
                    ctx.replace(which, 1 + self.draw(ctx, 2 * self.qty), mid + self.draw(ctx, 2 * self.far + 1) - self.far)
                elif self.draw(ctx, 4) == 0:
                    ctx.cancel_all(-1 if self.draw(ctx, 2) == 0 else i)

    def on_quote(self, ctx, q):
        self.act(ctx, q.instrument, self.every, self.burst)

    def on_book(self, ctx, b):
        self.act(ctx, b.instrument, self.every, self.burst)

    def on_trade(self, ctx, t):
        self.act(ctx, t.instrument, self.every, self.burst)

    def on_bar(self, ctx, b):
        self.act(ctx, b.instrument, self.every, self.burst)

    def on_order(self, ctx, r):
        self.act(ctx, r.instrument, 3 * self.every, 1)  # so that orders do not breed orders for ever

    def on_timer(self, ctx, t):
        self.act(ctx, t.timer_id, self.every, 1)
