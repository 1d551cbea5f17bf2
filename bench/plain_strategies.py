"""The compiled benchmark strategies as ordinary Python classes: the same logic, woken object by object."""

from __future__ import annotations

from replay import DAY, POST_ONLY, Each, State, Strategy


class NullPlain(Strategy):
    """Touch the best bid and the best ask of the local view on every row."""

    wakes: State[int] = 0
    checksum: State[int] = 0

    def on_start(self, ctx):
        self.view = ctx.book(0)

    def on_quote(self, ctx, q):
        v = self.view
        self.checksum += v.bid_px + v.ask_px
        self.wakes += 1

    on_trade = on_book = on_quote


class EmaCrossPlain(Strategy):
    """`strategies/ema_cross.py`."""

    fast: int = 1000
    slow: int = 5000
    warmup: int = 5000
    qty: int = 100
    fast_ema: Each[float] = 0.0
    slow_ema: Each[float] = 0.0
    quotes: Each[int] = 0
    wanted: Each[int] = 0

    def on_quote(self, ctx, q):
        if q.bid_sz == 0 or q.ask_sz == 0:
            return
        i = q.instrument
        mid = 0.5 * (q.bid_px + q.ask_px)
        self.quotes[i] += 1
        if self.quotes[i] == 1:
            self.fast_ema[i] = mid
            self.slow_ema[i] = mid
        else:
            self.fast_ema[i] += 2.0 / (self.fast + 1.0) * (mid - self.fast_ema[i])
            self.slow_ema[i] += 2.0 / (self.slow + 1.0) * (mid - self.slow_ema[i])
        if self.quotes[i] <= self.warmup:
            return
        want = self.qty if self.fast_ema[i] > self.slow_ema[i] else -self.qty
        if want != self.wanted[i] and ctx.market(i, want - self.wanted[i]) >= 0:
            self.wanted[i] = want


class PassiveQuotingPlain(Strategy):
    """`strategies/passive_quoting.py`."""

    qty: int = 100
    max_position: int = 1000
    bid: Each[int] = 0
    ask: Each[int] = 0

    def tend(self, ctx, handle, touch):
        if handle <= 0 or ctx.is_done(handle):
            return 0
        if ctx.is_settled(handle) and ctx.order_px(handle) != touch:
            ctx.cancel(handle)
        return handle

    def on_book(self, ctx, e):
        i = e.instrument
        b = ctx.book(i)
        if b.bid_sz == 0 or b.ask_sz == 0:
            return
        self.bid[i] = self.tend(ctx, self.bid[i], b.bid_px)
        self.ask[i] = self.tend(ctx, self.ask[i], b.ask_px)
        if self.bid[i] == 0 and ctx.position(i) + self.qty <= self.max_position:
            self.bid[i] = ctx.limit(i, self.qty, b.bid_px, DAY, POST_ONLY)
        if self.ask[i] == 0 and ctx.position(i) - self.qty >= -self.max_position:
            self.ask[i] = ctx.limit(i, -self.qty, b.ask_px, DAY, POST_ONLY)

    on_quote = on_trade = on_order = on_book
