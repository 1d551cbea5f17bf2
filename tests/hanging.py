"""Strategies that place an order far from the market, and never come back while it works, each in another way."""

import os
import time

from replay import GTC, State, Strategy, compiled


class Far(Strategy):
    """Places its order with the fifth quote; from quote number `after` on it does what a subclass does instead of going on."""

    after: int = 25
    n: State[int] = 0
    order: State[int] = 0

    def on_quote(self, ctx, q):
        self.n += 1
        if self.n == 5:
            self.order = ctx.limit(q.instrument, 10, q.bid_px - 500, GTC)
        if self.n >= self.after and ctx.leaves_qty(self.order) > 0:
            self.hang()

    def hang(self):
        raise NotImplementedError


class Sleeps(Far):
    """A call that does not answer."""

    def hang(self):
        time.sleep(600)


class Spins(Far):
    """A loop of Python."""

    def hang(self):
        while True:
            pass


class Raises(Far):
    """An exception."""

    def hang(self):
        raise RuntimeError("no idea")


class Dies(Far):
    """The process ends there and then."""

    def hang(self):
        os.abort()


class Holds(Far):
    """A call into C that never lets go of the interpreter: no thread of the process runs any more."""

    def hang(self):
        import ctypes

        ctypes.PyDLL(None).sleep(600)


@compiled
class Loops(Strategy):
    """A loop of compiled code: no Python runs in this thread any more, no signal handler either."""

    after: int = 25
    n: State[int] = 0
    order: State[int] = 0
    m: State[int] = 0

    def on_quote(self, ctx, q):
        self.n += 1
        if self.n == 5:
            self.order = ctx.limit(q.instrument, 10, q.bid_px - 500, GTC)
        if self.n >= self.after and ctx.leaves_qty(self.order) > 0:
            while ctx.now > 0:
                self.m += 1


@compiled
class Divides(Strategy):
    """An exception in compiled code."""

    after: int = 60
    n: State[int] = 0
    order: State[int] = 0

    def on_quote(self, ctx, q):
        self.n += 1
        if self.n == 5:
            self.order = ctx.limit(q.instrument, 10, q.bid_px - 500, GTC)
        if self.n >= self.after and ctx.leaves_qty(self.order) > 0:
            self.n = self.n // (self.n - self.n)
