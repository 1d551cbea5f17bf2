from replay import DAY, Each, Strategy


class Pinger(Strategy):
    """Keeps a broker busy: market orders there and back, limits that rest, are moved and cancelled."""

    every: int = 2
    n: Each[int] = 0
    rested: Each[int] = 0

    def on_quote(self, ctx, q):
        i = q.instrument
        self.n[i] += 1
        turn = self.n[i] // self.every % 4
        if self.n[i] % self.every or q.bid_sz == 0 or q.ask_sz == 0:
            return
        if turn == 0:
            ctx.market(i, 2 if ctx.position(i) <= 0 else -2)
        elif turn == 1:
            self.rested[i] = ctx.limit(i, 1, q.bid_px - 20, DAY)
        elif turn == 2 and self.rested[i] > 0:
            ctx.replace(self.rested[i], 2, q.bid_px - 30)
        elif turn == 3 and self.rested[i] > 0:
            ctx.cancel(self.rested[i])
