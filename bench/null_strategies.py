"""W1, compiled: touch the best bid and the best ask of the local view on every row, and do nothing else."""

from __future__ import annotations

from replay import State, Strategy, compiled


@compiled
class NullQuotes(Strategy):
    """For L1, of one instrument or many."""

    wakes: State[int] = 0
    checksum: State[int] = 0

    def touch(self, ctx, i):
        v = ctx.book(i)
        self.checksum += v.bid_px + v.ask_px
        self.wakes += 1

    def on_quote(self, ctx, q):
        self.touch(ctx, q.instrument)

    def on_trade(self, ctx, t):
        self.touch(ctx, t.instrument)


@compiled
class NullBook(Strategy):
    """For L2."""

    wakes: State[int] = 0
    checksum: State[int] = 0

    def touch(self, ctx, i):
        v = ctx.book(i)
        self.checksum += v.bid_px + v.ask_px
        self.wakes += 1

    def on_book(self, ctx, b):
        self.touch(ctx, b.instrument)

    def on_trade(self, ctx, t):
        self.touch(ctx, t.instrument)
