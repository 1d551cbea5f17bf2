"""Short-horizon mean reversion: fade a return that stands out among the returns of the last minutes."""

from replay import Duration, Each, Strategy, compiled, ret_zscore, sign


@compiled
class MeanReversion(Strategy):
    """Against the move when the z-score of the newest return is beyond `entry_z`; out when it is back within `exit_z`.

    horizon: what a return is over. window: the returns it is compared with. entry_z, exit_z: in standard deviations. max_hold: out
    after so long at the latest, by the market's time: on bars, what is decided at a close of 10:00 is an hour old at that of 11:00.
    stop_bps: out once the price has gone so far against the entry. qty: lots either way. After a trade the next one waits until z has
    been within `exit_z`. On quotes, books and bars.
    Fails when the move is news: it is then against everyone who knows more, and each trade crosses the spread twice.
    """

    horizon: Duration = "20s"
    window: Duration = "10m"
    entry_z: float = 3.0
    exit_z: float = 0.5
    max_hold: Duration = "2m"
    stop_bps: float = 20.0
    qty: int = 100
    calm: Each[bool] = False
    entry_ts: Each[int] = 0
    entry_px: Each[float] = 0.0

    def features(self):
        return {"z": ret_zscore(self.horizon, self.window, "price")}

    def act(self, ctx, i, ts):
        px, z, held = ctx.mark(i), ctx.z(i), sign(ctx.position(i))
        back = abs(z) < self.exit_z
        if held != 0:
            lost = held * (self.entry_px[i] - px) > px * self.stop_bps / 10_000.0
            if back or lost or ts - self.entry_ts[i] >= self.max_hold:
                ctx.target(i, 0)
        elif self.calm[i] and abs(z) > self.entry_z and ctx.target(i, -sign(z) * self.qty) > 0:
            self.calm[i], self.entry_ts[i], self.entry_px[i] = False, ts, px
        if back:
            self.calm[i] = True

    def on_quote(self, ctx, q):
        self.act(ctx, q.instrument, q.ts_event)

    def on_book(self, ctx, b):
        self.act(ctx, b.instrument, b.ts_event)

    def on_bar(self, ctx, b):
        self.act(ctx, b.instrument, b.ts_event)
