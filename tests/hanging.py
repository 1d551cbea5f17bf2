"""Strategies that place an order far from the market, and never come back while it works, each in another way."""

import time

from replay import GTC, State, Strategy, compiled

AFTER = 60  # quotes until the hang


class Sleeps(Strategy):
    """A call that does not answer."""

    n: State[int] = 0
    order: State[int] = 0

    def on_quote(self, ctx, q):
        self.n += 1
        if self.n == 5:
            self.order = ctx.limit(q.instrument, 10, q.bid_px - 500, GTC)
        if self.n >= AFTER and ctx.leaves_qty(self.order) > 0:
            time.sleep(600)


class Spins(Strategy):
    """A loop of Python."""

    n: State[int] = 0
    order: State[int] = 0

    def on_quote(self, ctx, q):
        self.n += 1
        if self.n == 5:
            self.order = ctx.limit(q.instrument, 10, q.bid_px - 500, GTC)
        while self.n >= AFTER and ctx.leaves_qty(self.order) > 0:
            pass


@compiled
class Loops(Strategy):
    """A loop of compiled code: no Python runs in this thread any more, no signal handler either."""

    n: State[int] = 0
    order: State[int] = 0
    m: State[int] = 0

    def on_quote(self, ctx, q):
        self.n += 1
        if self.n == 5:
            self.order = ctx.limit(q.instrument, 10, q.bid_px - 500, GTC)
        if self.n >= AFTER and ctx.leaves_qty(self.order) > 0:
            while ctx.now > 0:
                self.m += 1


class Holds(Strategy):
    """A call into C that never lets go of the interpreter: no thread of the process runs any more."""

    n: State[int] = 0
    order: State[int] = 0

    def on_quote(self, ctx, q):
        import ctypes

        self.n += 1
        if self.n == 5:
            self.order = ctx.limit(q.instrument, 10, q.bid_px - 500, GTC)
        if self.n >= AFTER and ctx.leaves_qty(self.order) > 0:
            ctypes.PyDLL(None).sleep(600)
