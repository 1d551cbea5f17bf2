from replay import DAY, Each, Strategy


class Dealer(Strategy):
    """Trades all the time and never with itself: on one side until it holds enough, with market orders and with limits that rest, are moved and
    cancelled; then, when nothing of it works any more, on the other side."""

    every: int = 1
    most: int = 12
    n: Each[int] = 0
    way: Each[int] = 0
    dealt: Each[int] = 0
    rested: Each[int] = 0

    def on_quote(self, ctx, q):
        i = q.instrument
        self.n[i] += 1
        if self.n[i] % self.every or q.bid_sz == 0 or q.ask_sz == 0:
            return
        way = 1 if self.way[i] >= 0 else -1
        if way * ctx.position(i) >= self.most:
            if ctx.is_settled(self.rested[i]):
                ctx.cancel(self.rested[i])
            if ctx.is_done(self.rested[i]) and ctx.is_done(self.dealt[i]):
                self.way[i] = -way
            return
        turn = self.n[i] // self.every % 3
        if turn == 0:
            self.dealt[i] = ctx.market(i, 2 * way)
        elif turn == 1 and ctx.is_done(self.rested[i]):
            self.rested[i] = ctx.limit(i, 3 * way, (q.bid_px if way > 0 else q.ask_px) - 20 * way, DAY)
        elif turn == 2 and ctx.is_settled(self.rested[i]):
            if self.n[i] // self.every % 2:
                ctx.replace(self.rested[i], 4, ctx.order_px(self.rested[i]) - way)
            else:
                ctx.cancel(self.rested[i])
