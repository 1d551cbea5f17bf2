"""Passive quoting: one post-only order at each touch, moved when the touch moves, within a position limit."""

from replay import DAY, POST_ONLY, Each, Strategy, compiled


@compiled
class PassiveQuoting(Strategy):
    """One order a side. Wakes on every book change, print and order report; a new order goes out only after the old one's end.

    qty: lots an order. max_position: lots either way beyond which that side is not quoted.
    Fails where prices trend: it is filled by those who know, on the side about to lose.
    """

    qty: int = 100
    max_position: int = 1000
    bid: Each[int] = 0
    ask: Each[int] = 0

    def tend(self, ctx, i, handle, touch):
        """What becomes of a side's order: its handle, or 0 once it is finished."""
        if handle <= 0:
            return 0
        if ctx.is_done(handle):
            return 0
        if ctx.is_settled(handle) and ctx.order_px(handle) != touch:
            ctx.cancel(handle)
        return handle

    def quote(self, ctx, i):
        b = ctx.book(i)
        if b.bid_sz == 0 or b.ask_sz == 0:
            return
        self.bid[i] = self.tend(ctx, i, self.bid[i], b.bid_px)
        self.ask[i] = self.tend(ctx, i, self.ask[i], b.ask_px)
        if self.bid[i] == 0 and ctx.position(i) + self.qty <= self.max_position:
            self.bid[i] = ctx.limit(i, self.qty, b.bid_px, DAY, POST_ONLY)
        if self.ask[i] == 0 and ctx.position(i) - self.qty >= -self.max_position:
            self.ask[i] = ctx.limit(i, -self.qty, b.ask_px, DAY, POST_ONLY)

    def on_quote(self, ctx, q):
        self.quote(ctx, q.instrument)

    def on_book(self, ctx, b):
        self.quote(ctx, b.instrument)

    def on_trade(self, ctx, t):
        self.quote(ctx, t.instrument)

    def on_order(self, ctx, r):
        self.quote(ctx, r.instrument)
