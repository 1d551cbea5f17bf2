from replay import Each, Strategy


class Steps(Strategy):
    """Does what the size of the bid says: 1 buys at the bid, 2 buys at the market, 3 moves, 4 cancels, 5 raises, 6 sets a timer, 7 buys
    with a stop behind it."""

    last: Each[int] = 0

    def on_quote(self, ctx, q):
        if q.bid_sz == 1:
            self.last[0] = ctx.limit(0, 10, q.bid_px)
        elif q.bid_sz == 2:
            self.last[0] = ctx.market(0, 10)
        elif q.bid_sz == 3:
            ctx.replace(self.last[0], 12, q.bid_px - 1)
        elif q.bid_sz == 4:
            ctx.cancel(self.last[0])
        elif q.bid_sz == 5:
            raise ValueError("no")
        elif q.bid_sz == 6:
            ctx.timer(ctx.now + 1_000_000, 9)
        elif q.bid_sz == 7:
            ctx.bracket(0, 10, q.bid_px, 0, q.bid_px - 10)

    def on_timer(self, ctx, t):
        self.last[0] = ctx.market(0, 1)
