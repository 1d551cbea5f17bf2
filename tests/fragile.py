"""A strategy that trusts its broker: it takes it that every order is answered, and divides by what it is told."""

from replay import UNKNOWN, Each, Strategy, compiled


@compiled
class Fragile(Strategy):
    """Quotes one lot at the bid and looks after it at every quote."""

    working: Each[int] = 0

    def on_quote(self, ctx, q):
        i = q.instrument
        if q.bid_sz == 0 or q.ask_sz == 0:
            return
        if self.working[i] == 0:
            self.working[i] = max(ctx.limit(i, 1, q.bid_px), 0)
        elif ctx.state(self.working[i]) == UNKNOWN:
            self.working[i] = self.working[i] // ctx.cum_qty(self.working[i])  # an order is either filled or not, it thinks
        elif ctx.is_done(self.working[i]):
            self.working[i] = 0
        elif ctx.is_settled(self.working[i]):
            ctx.cancel(self.working[i])
