"""Well-known public ideas as strategies in plain Python. `ports_expected` computes the same fills with pandas."""

import collections
import datetime
import math
import statistics
from zoneinfo import ZoneInfo

from replay import GTC, Strategy, mean, realised_vol, variance, vwap
from replay.trader.orders import EXEC_TRADE

NEW_YORK = ZoneInfo("America/New_York")
LAST_ENTRY, FLAT = 15 * 60, 15 * 60 + 50  #: minutes of the day in New York


def minute_of(ts_ns):
    when = datetime.datetime.fromtimestamp(ts_ns // 10**9, NEW_YORK)
    return when.date(), 60 * when.hour + when.minute


class BollingerRsi(Strategy):
    """Long where RSI(14) is low and the close below the lower band; out at the mean, or by a stop 1 % under the highest close."""

    def features(self):
        return {"mid": mean("close", count=20), "var": variance("close", count=20)}

    def on_start(self, ctx):
        n = ctx.n_instruments
        self.close, self.up, self.down = [None] * n, [None] * n, [0.0] * n
        self.peak, self.stop, self.entry = [0] * n, [0] * n, [0] * n

    def rsi(self, i, close):
        before, self.close[i] = self.close[i], close
        if before is None:
            return math.nan
        gain, loss = max(close - before, 0), max(before - close, 0)
        first = self.up[i] is None
        self.up[i] = gain if first else self.up[i] + (gain - self.up[i]) / 14
        self.down[i] = loss if first else self.down[i] + (loss - self.down[i]) / 14
        whole = self.up[i] + self.down[i]
        return 100 * self.up[i] / whole if whole else 50.0

    def on_order(self, ctx, r):
        i = r.instrument
        if r.handle == self.entry[i] and r.flags >> 8 == EXEC_TRADE:
            self.peak[i] = r.last_px
            self.stop[i] = ctx.stop(i, -r.last_qty, r.last_px * 99 // 100, GTC)

    def on_bar(self, ctx, b):
        i, rsi = b.instrument, self.rsi(b.instrument, b.close)
        middle, band = ctx.mid(i), 2 * math.sqrt(ctx.var(i)) if ctx.var(i) >= 0 else math.nan
        if ctx.position(i) == 0:
            if rsi < 35 and b.close < middle - band:
                self.entry[i] = ctx.market(i, 10)
        elif b.close >= middle:
            ctx.cancel(self.stop[i])
            ctx.target(i, 0)
        elif b.close > self.peak[i]:
            self.peak[i] = b.close
            ctx.replace(self.stop[i], 10, b.close * 99 // 100)


class OpeningRange(Strategy):
    """With the first close outside the range of the first half hour: target a range away, stop at the other end; flat before the close."""

    def on_start(self, ctx):
        n = ctx.n_instruments
        self.day, self.high, self.low, self.done = [None] * n, [0] * n, [0] * n, [False] * n

    def on_bar(self, ctx, b):
        i = b.instrument
        day, minute = minute_of(b.ts_event)
        if day != self.day[i]:
            self.day[i], self.high[i], self.low[i], self.done[i] = day, b.high, b.low, False
        if minute <= 10 * 60:
            self.high[i], self.low[i] = max(self.high[i], b.high), min(self.low[i], b.low)
        elif minute >= FLAT:
            ctx.target(i, 0)
        elif minute < LAST_ENTRY and not self.done[i] and ctx.position(i) == 0:
            side = (b.close > self.high[i]) - (b.close < self.low[i])
            if side:
                width = self.high[i] - self.low[i]
                ctx.bracket(i, 10 * side, 0, b.close + side * width, self.low[i] if side > 0 else self.high[i], GTC)
                self.done[i] = True


class LongShortBasket(Strategy):
    """Every 13 bars long the two symbols that rose most over 26 bars, short the two that fell most, for the same money each."""

    lookback: int = 26
    every: int = 13
    budget: int = 200_000  # ticks times lots

    def on_start(self, ctx):
        self.closes = [collections.deque(maxlen=self.lookback + 1) for _ in range(ctx.n_instruments)]
        self.now, self.n = {}, 0

    def on_bar(self, ctx, b):
        self.now[b.instrument] = b.close

    def on_bars(self, ctx):
        now, self.now = self.now, {}
        if len(now) < ctx.n_instruments:
            return  # a symbol has no bar of this time
        for i, close in now.items():
            self.closes[i].append(close)
        self.n += 1
        if len(self.closes[0]) <= self.lookback or self.n % self.every:
            return
        rose = [c[-1] / c[0] for c in self.closes]
        order = sorted(range(len(rose)), key=lambda i: (rose[i], i))
        for rank, i in enumerate(order):
            side = -1 if rank < 2 else 1 if rank >= len(order) - 2 else 0
            ctx.target(i, side * (self.budget // self.closes[i][-1]))


class VwapReversion(Strategy):
    """Against a distance from the session's VWAP of over two deviations of the last 20, out where it changes sign, flat before the close."""

    qty: int = 100

    def features(self):
        return {"vwap": vwap("bar")}

    def on_start(self, ctx):
        self.away = [collections.deque(maxlen=20) for _ in range(ctx.n_instruments)]
        self.want = [0] * ctx.n_instruments

    def on_bar(self, ctx, b):
        i, away = b.instrument, b.close - ctx.vwap(b.instrument)
        self.away[i].append(away)
        _, minute = minute_of(b.ts_event)
        if minute >= FLAT:
            self.want[i] = 0
        elif len(self.away[i]) == 20 and minute < LAST_ENTRY:
            deviation = statistics.pstdev(self.away[i])
            if abs(away) > 2 * deviation:
                self.want[i] = -1 if away > 0 else 1
            elif self.want[i] * away > 0:
                self.want[i] = 0
        ctx.target(i, self.want[i] * self.qty)


class Turtle(Strategy):
    """Stops at the 20-bar channel open a unit of risk over ATR(20); up to three more each half an ATR on; stop 2 ATR behind the last;
    out beyond the 10-bar channel of the other side."""

    risk: int = 1_000
    slow: int = 20
    fast: int = 10

    def on_start(self, ctx):
        n = ctx.n_instruments
        self.bars = [collections.deque(maxlen=self.slow) for _ in range(n)]  # (high, low)
        self.close, self.atr, self.seen = [None] * n, [0.0] * n, [0] * n
        self.entries = [{} for _ in range(n)]  # side -> handle
        self.adding, self.stop, self.last, self.n_atr, self.unit, self.units = ([0] * n for _ in range(6))

    def on_order(self, ctx, r):
        i = r.instrument
        if r.flags >> 8 != EXEC_TRADE:
            return
        if r.handle in self.entries[i].values():
            for handle in self.entries[i].values():
                if handle != r.handle:
                    ctx.cancel(handle)
            self.entries[i] = {}
            self.units[i], self.last[i] = 1, r.last_px
            side = 1 if ctx.position(i) > 0 else -1
            self.stop[i] = ctx.stop(i, -ctx.position(i), r.last_px - side * 2 * self.n_atr[i], GTC)
        elif r.handle == self.adding[i]:
            self.units[i] += 1
            self.last[i] = r.last_px
            side = 1 if ctx.position(i) > 0 else -1
            ctx.replace(self.stop[i], abs(ctx.position(i)), r.last_px - side * 2 * self.n_atr[i])
        if ctx.position(i) == 0:
            ctx.cancel(self.stop[i])

    def on_bar(self, ctx, b):
        i, before = b.instrument, self.close[b.instrument]
        reach = b.high - b.low if before is None else max(b.high, before) - min(b.low, before)
        self.atr[i] = reach if before is None else self.atr[i] + (reach - self.atr[i]) / 20
        self.close[i], self.seen[i] = b.close, self.seen[i] + 1
        channel = list(self.bars[i])[-self.fast :]
        self.bars[i].append((b.high, b.low))
        position = ctx.position(i)
        if position == 0 and self.seen[i] >= 40:
            self.n_atr[i] = max(int(self.atr[i]), 1)
            self.unit[i] = max(self.risk // self.n_atr[i], 1)
            above, below = max(h for h, _ in self.bars[i]) + 1, min(low for _, low in self.bars[i]) - 1
            for side, px in ((1, above), (-1, below)):
                if side in self.entries[i]:
                    ctx.replace(self.entries[i][side], self.unit[i], px)
                else:
                    self.entries[i][side] = ctx.stop(i, side * self.unit[i], px, GTC)
        elif position:
            side = 1 if position > 0 else -1
            out = min(low for _, low in channel) if side > 0 else max(h for h, _ in channel)
            if side * (b.close - out) < 0:
                ctx.cancel(self.stop[i])
                ctx.target(i, 0)
            elif self.units[i] < 4 and side * 2 * (b.close - self.last[i]) >= self.n_atr[i]:
                self.adding[i] = ctx.market(i, side * self.unit[i])


class Pairs(Strategy):
    """The log ratio of the first two symbols: against it beyond two deviations of 60 bars, out within half of one."""

    budget: int = 200_000

    def on_start(self, ctx):
        self.ratio, self.now, self.side = collections.deque(maxlen=60), {}, 0

    def on_bar(self, ctx, b):
        if b.instrument < 2:
            self.now[b.instrument] = b.close

    def on_bars(self, ctx):
        now, self.now = self.now, {}
        if len(now) < 2:
            return
        self.ratio.append(math.log(now[0] / now[1]))
        if len(self.ratio) < 60:
            return
        z = (self.ratio[-1] - statistics.fmean(self.ratio)) / statistics.pstdev(self.ratio)
        side = -1 if z > 2 else 1 if z < -2 else 0 if abs(z) < 0.5 else self.side
        if side != self.side:
            self.side = side
            for i, sign in ((0, 1), (1, -1)):
                ctx.target(i, sign * side * (self.budget // now[i]))


class VolatilityTarget(Strategy):
    """Each symbol holds so much of the equity that it varies by 0.05 % of it a bar; traded where that is a tenth off."""

    tick_value: float = 0.01  # money a tick and lot

    def features(self):
        return {"vol": realised_vol("bar", count=30)}

    def on_start(self, ctx):
        self.close = [0] * ctx.n_instruments

    def on_bar(self, ctx, b):
        self.close[b.instrument] = b.close

    def on_bars(self, ctx):
        for i in range(ctx.n_instruments):
            if ctx.vol(i) > 0:
                share = min(0.0005 / (ctx.vol(i) / math.sqrt(30)), 1.0) / ctx.n_instruments
                want = int(ctx.equity / 10**8 * share / (self.close[i] * self.tick_value))
                if abs(want - ctx.position(i)) * 10 > ctx.position(i):
                    ctx.target(i, want)


class Grid(Strategy):
    """Five buys a step of 0.3 % apart under the first close; each that fills is sold a step higher, and then bought again. An order
    that could trade with another of the grid waits for the next bar."""

    qty: int = 10

    def on_start(self, ctx):
        n = ctx.n_instruments
        self.level = {}  # handle -> (side, level)
        self.base, self.step, self.later = [0] * n, [0] * n, [[] for _ in range(n)]

    def send(self, ctx, i, side, k):
        handle = ctx.limit(i, side * self.qty, self.base[i] + k * self.step[i], GTC)
        if handle > 0:
            self.level[handle] = (side, k)
        else:
            self.later[i].append((side, k))

    def on_bar(self, ctx, b):
        i = b.instrument
        if not self.base[i]:
            self.base[i], self.step[i] = b.close, max(b.close * 30 // 10_000, 1)
            self.later[i] = [(1, k) for k in range(-5, 0)]
        waiting, self.later[i] = self.later[i], []
        for side, k in waiting:
            self.send(ctx, i, side, k)

    def on_order(self, ctx, r):
        if r.flags >> 8 == EXEC_TRADE:
            side, k = self.level.pop(r.handle)
            self.send(ctx, r.instrument, -side, k + side)
