"""Micro-momentum: ride a burst of price and volume for a few seconds, within a bracket."""

from replay import Duration, Each, Strategy, compiled, ret_zscore, sign, volume


@compiled
class MicroMomentum(Strategy):
    """With the move when a return stands out and more than usual traded during it; out at the take-profit, the stop, or in time.

    burst: how long a burst is, for the return and for its volume. window: what it is compared with. entry_z: the return, in standard
    deviations. surge: volume, in multiples of the window's average. take_bps, stop_bps: the bracket's exits, from the price at entry.
    max_hold: out after so long at the latest, by the market's time. qty: lots either way. On quotes and books with trades; on bars with a
    burst of one bar.
    Fails when the burst is over before the order arrives: it then buys the top, from those who rode it.
    """

    burst: Duration = "10s"
    window: Duration = "10m"
    entry_z: float = 2.5
    surge: float = 2.0
    take_bps: float = 15.0
    stop_bps: float = 10.0
    max_hold: Duration = "60s"
    qty: int = 100
    entry: Each[int] = 0
    until: Each[int] = 0

    def features(self):
        return {
            "z": ret_zscore(self.burst, self.window, "price"),
            "now_traded": volume(self.burst, "price"),
            "all_traded": volume(self.window, "price"),
        }

    def act(self, ctx, i, ts):
        if ctx.position(i) != 0:
            if ts >= self.until[i]:
                ctx.cancel_all(i)
                ctx.target(i, 0)
            return
        surging = ctx.now_traded(i) * self.window > self.surge * ctx.all_traded(i) * self.burst
        if surging and abs(ctx.z(i)) > self.entry_z and ctx.is_done(self.entry[i]):
            side, px = sign(ctx.z(i)), ctx.mark(i)
            take = int(px * (1.0 + side * self.take_bps / 10_000.0))
            stop = int(px * (1.0 - side * self.stop_bps / 10_000.0))
            self.entry[i] = ctx.bracket(i, side * self.qty, 0, take, stop)
            self.until[i] = ts + self.max_hold

    def on_quote(self, ctx, q):
        self.act(ctx, q.instrument, q.ts_event)

    def on_book(self, ctx, b):
        self.act(ctx, b.instrument, b.ts_event)

    def on_bar(self, ctx, b):
        self.act(ctx, b.instrument, b.ts_event)
