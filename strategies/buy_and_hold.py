"""Buy and hold: what every other strategy has to beat."""

from replay import Each, Strategy, compiled


@compiled
class BuyAndHold(Strategy):
    """One market order in each instrument at the first quote, book or bar at which risk lets it pass; never a sale.

    qty: lots of each instrument.
    Fails when prices fall, and measures nothing then but that: compare over the same time, and with the same money at risk.
    """

    qty: int = 100
    bought: Each[bool] = False

    def buy(self, ctx, i):
        if not self.bought[i]:
            self.bought[i] = ctx.market(i, self.qty) > 0

    def on_quote(self, ctx, q):
        self.buy(ctx, q.instrument)

    def on_book(self, ctx, b):
        self.buy(ctx, b.instrument)

    def on_bar(self, ctx, b):
        self.buy(ctx, b.instrument)
