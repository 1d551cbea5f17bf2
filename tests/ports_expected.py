"""What the ideas of `ports` trade, computed once more: signals by pandas over whole columns, fills by the rules for bars of
docs/assumptions.md on a broker of one screen. Shares no code with the engine, nor with the strategies.

A frame is one symbol's bars: `o h l c v` in ticks and lots, `opens` and `closes` in ns, `seen` (when the bar reached us), `day` (a
number that rises with each session) and `ends` (its close, in ns; a 24/7 market has one session without an end).
"""

import numpy as np
import pandas as pd

MS, SECOND = 10**6, 10**9
NEW_YORK = "America/New_York"
RANK = {"market": 0, "limit": 1, "stop": 2}


class Broker:
    """One symbol's orders on its bars. `on_fill(order, px, ts)` hears of each fill one response leg later."""

    def __init__(self, frame, slip_ppm, share, on_fill=None):
        self.bars = list(frame.itertuples(index=False))
        self.slip, self.share, self.on_fill = slip_ppm, share, on_fill
        self.uncapped, self.bar, self.taken, self.heard, self.changes = False, None, 0, [], []
        self.orders, self.fills, self.position, self.now, self.volume = [], [], 0, 0, 0

    # --- requests: one leg of 1 ms to the venue -----------------------------------------------------------------------------
    def send(self, kind, side, qty, px=None, gtc=True, sibling=None):
        o = {"kind": kind, "side": side, "qty": qty, "px": px, "gtc": gtc, "sibling": sibling, "sent": kind, "limit": px}
        o |= {"arrives": self.now + MS, "fresh": True, "day": None, "in": False}
        # sent while the session is open it is of this session, after that of the next
        if self.bar is not None and o["arrives"] < self.bar.ends:
            o["day"] = self.bar.day
        self.orders.append(o)
        return o

    def meets_own(self, side, px):
        """Whether a limit order could trade with one of ours that, for all we have heard, works (the refusal `self_trade`)."""
        known = self.orders + [o for o, *_ in self.heard if o not in self.orders]
        return any(o["side"] == -side and side * (px - o["limit"]) >= 0 for o in known)

    def replace(self, o, qty, px):
        self.changes.append((self.now + MS, o, qty, px))

    def cancel(self, o):
        self.changes.append((self.now + MS, o, 0, None))

    def change(self, until):
        """Replaces and cancels that have arrived: one sent at a close comes behind the next open."""
        for c in [c for c in self.changes if c[0] <= until]:
            self.changes.remove(c)
            arrives, o, qty, px = c
            if o in self.orders:
                self.orders.remove(o)
                if qty:
                    o.update(px=px, qty=qty, arrives=arrives, fresh=True, moved=True)
                    self.orders.append(o)

    def target(self, want, gtc=False):
        working = sum(o["side"] * o["qty"] for o in self.orders if o["sent"] == "market")
        delta = want - self.position - working
        if delta:
            self.send("market", 1 if delta > 0 else -1, abs(delta), gtc=gtc)

    # --- a bar --------------------------------------------------------------------------------------------------------------
    def trade(self, o, px, volume, ts):
        room = 10**18
        if self.share and not self.uncapped:
            room = max(min(int(volume * self.share), int(self.bar.v)) - self.taken, 0)
        qty = min(o["qty"], room)
        if not qty:
            return
        self.taken += qty
        o["qty"] -= qty
        self.position += o["side"] * qty
        self.fills.append((ts, o["side"], qty, px))
        self.heard.append((o, qty, px, ts + MS))
        if not o["qty"]:
            self.orders.remove(o)

    def tell(self):
        while self.heard:
            o, qty, px, self.now = self.heard.pop(0)
            if o["sibling"]:
                self.cancel(o["sibling"])
            if self.on_fill:
                self.on_fill(o, qty, px)

    def slipped(self, px, side):
        worse = px + side * -(-px * self.slip // 10**6)
        return int(min(worse, self.bar.h) if side > 0 else max(worse, self.bar.l))

    def step(self, bar):
        """Everything of one bar up to its close; the caller then decides on it."""
        self.bar, self.taken = bar, 0
        self.change(bar.opens)
        for o in list(self.orders):
            if not o["gtc"] and o["day"] not in (None, bar.day):
                self.orders.remove(o)
            o["day"] = bar.day if o["day"] is None else o["day"]
        early = [o for o in self.orders if o["arrives"] <= bar.opens]
        for o in early:
            if o["kind"] == "stop" and o["side"] * (bar.o - o["px"]) >= 0:
                o["kind"], o["px"] = "market", None
        for o in sorted(
            (o for o in early if o["kind"] != "stop"), key=lambda o: (-o["side"], RANK[o["kind"]], -o["side"] * (o["px"] or 0))
        ):
            self.meet(o, bar.opens)
        for o in early:
            o["in"] = True
        self.tell_and_join(bar)
        self.path(bar)
        self.tell()
        self.volume, self.now = bar.v, bar.seen

    def tell_and_join(self, bar):
        """What arrives within the first second of the bar takes part in it, what its reports set off too."""
        while True:
            self.tell()
            self.change(bar.opens + SECOND)
            late = [
                o
                for o in self.orders
                if bar.opens < o["arrives"] <= bar.opens + SECOND and o["fresh"] and o.get("met") != bar.opens
            ]
            if not late:
                return
            for o in late:
                o["met"] = bar.opens
                # a stop that is moved past the open trades there, but inside of the bar: the path finds it
                if o["kind"] == "stop" and o["side"] * (bar.o - o["px"]) >= 0 and not o.get("moved"):
                    o["kind"], o["px"] = "market", None
                if o["kind"] != "stop":
                    self.meet(o, o["arrives"])
                o["in"] = True

    def meet(self, o, ts):
        gain = 1 if o["kind"] == "market" else o["side"] * (o["px"] - self.bar.o)
        if gain > 0 or (gain == 0 and o["fresh"]):
            px = self.slipped(self.bar.o, o["side"]) if o["kind"] == "market" else int(self.bar.o)
            self.trade(o, px, self.volume, ts)
        o["fresh"] = False

    def path(self, bar):
        ts = bar.closes - min(SECOND, (bar.closes - bar.opens) // 2)
        inside = [o for o in self.orders if o["in"]]
        for o in sorted(inside, key=lambda o: (-o["side"], RANK[o["kind"]])):
            if o["kind"] == "market":
                self.trade(o, self.slipped(bar.o, o["side"]), bar.v, ts)
            elif o["kind"] == "limit" and o["side"] * (o["px"] - bar.o) > 0:
                self.trade(o, int(bar.o), bar.v, ts)
        way = [(1, bar.h), (-1, bar.l)] if bar.h - bar.o < bar.o - bar.l else [(-1, bar.l), (1, bar.h)]
        stopped = set()
        for side, extreme in way:
            hit = [
                o
                for o in inside
                if o in self.orders and o["kind"] == "stop" and o["side"] == side and side * (extreme - o["px"]) >= 0
            ]
            for o in sorted(hit, key=lambda o: side * o["px"]):
                stopped.add(side)
                px = max(o["px"], bar.o) if side > 0 else min(o["px"], bar.o)
                o["kind"], o["px"] = "market", None
                self.trade(o, self.slipped(px, side), bar.v, ts)
        for up, extreme in way:
            side = -up
            hit = [o for o in inside if o in self.orders and o["kind"] == "limit" and o["side"] == side and side not in stopped]
            for o in sorted(hit, key=lambda o: -side * o["px"]):
                if side * (o["px"] - extreme) > 0:
                    self.trade(o, int(o["px"]), bar.v, ts)


def merged(frames):
    """Groups of bars that close together: (close, [(symbol, bar)]), in order."""
    rows = [(b.closes, i, b) for i, f in enumerate(frames) for b in f.itertuples(index=False)]
    rows.sort(key=lambda r: r[:2])
    k = 0
    while k < len(rows):
        n = k
        while n < len(rows) and rows[n][0] == rows[k][0]:
            n += 1
        yield rows[k][0], [(i, b) for _, i, b in rows[k:n]]
        k = n


def clock(frame):
    """Date and minute of the day in New York at each close."""
    when = pd.to_datetime(frame.closes, utc=True).dt.tz_convert(NEW_YORK)
    return when.dt.date, when.dt.hour * 60 + when.dt.minute


def each(frames, costs, symbol):
    """Fills of all symbols, each traded by itself: `symbol(frame, broker)` steps through one."""
    out = []
    for i, frame in enumerate(frames):
        broker = Broker(frame, *costs)
        broker.uncapped = not (frame.v > 0).any()
        symbol(frame, broker)
        out += [(ts, i, *rest) for ts, *rest in broker.fills]
    return sorted(out)


def follow(frames, targets, costs):
    """Fills of targets, one column of lots a symbol, known at each close (NaN: nothing is asked for)."""

    def symbol(frame, broker):
        for bar, want in zip(broker.bars, targets[symbol.n], strict=True):
            broker.step(bar)
            if not np.isnan(want):
                broker.target(int(want))
        symbol.n += 1

    symbol.n = 0
    return each(frames, costs, symbol)


# --- the ideas -----------------------------------------------------------------------------------------------------------------
def bollinger_rsi(frames, costs):
    def symbol(frame, broker):
        step = frame.c.diff()
        up = step.clip(lower=0).ewm(alpha=1 / 14, adjust=False, ignore_na=True).mean()
        down = (-step).clip(lower=0).ewm(alpha=1 / 14, adjust=False, ignore_na=True).mean()
        rsi = (100 * up / (up + down)).where(up + down > 0, 50.0)
        middle, deviation = frame.c.rolling(20).mean(), frame.c.rolling(20).std(ddof=0)
        enter = (rsi < 35) & (frame.c < middle - 2 * deviation)
        leave = frame.c >= middle
        held = {}

        def on_fill(o, qty, px):
            if o is held.get("entry"):
                held["peak"] = px
                held["stop"] = broker.send("stop", -1, qty, px * 99 // 100)

        broker.on_fill = on_fill
        for bar, go, out in zip(broker.bars, enter, leave, strict=True):
            broker.step(bar)
            if broker.position == 0:
                if go:
                    held["entry"] = broker.send("market", 1, 10, gtc=False)
            elif out:
                broker.cancel(held["stop"])
                broker.target(0)
            elif bar.c > held["peak"]:
                held["peak"] = bar.c
                broker.replace(held["stop"], 10, bar.c * 99 // 100)

    return each(frames, costs, symbol)


def opening_range(frames, costs):
    def symbol(frame, broker):
        day, minute = clock(frame)
        opening = frame[minute <= 600].groupby(day).agg(high=("h", "max"), low=("l", "min"))
        first = frame.groupby(day).agg(high=("h", "first"), low=("l", "first"))
        opening = opening.reindex(first.index).fillna(first)
        high, low = day.map(opening.high), day.map(opening.low)
        side = ((frame.c > high).astype(int) - (frame.c < low)).where((minute > 600) & (minute < 900), 0)
        held = {}

        def on_fill(o, qty, px):
            if o is held.get("entry"):
                a = broker.send("limit", -o["side"], qty, held["take"])
                a["sibling"] = broker.send("stop", -o["side"], qty, held["stop"], sibling=a)
                held["exits"] = a, a["sibling"]

        broker.on_fill, done = on_fill, None
        rows = zip(broker.bars, day, minute, side, high, low, strict=True)
        for bar, date, m, s, h, lo in rows:
            broker.step(bar)
            if m >= 950 and broker.position:
                for o in held["exits"]:
                    broker.cancel(o)
                broker.target(0)
            elif s and date != done and broker.position == 0:
                held.update(take=int(bar.c + s * (h - lo)), stop=int(lo if s > 0 else h))
                held["entry"] = broker.send("market", s, 10)
                done = date

    return each(frames, costs, symbol)


def long_short_basket(frames, costs, lookback=26, every=13, budget=200_000):
    closes = pd.DataFrame({i: f.set_index("closes").c for i, f in enumerate(frames)}).dropna()
    rose = closes / closes.shift(lookback)
    rank = rose.rank(axis=1, method="first")
    side = (rank > len(frames) - 2).astype(int) - (rank <= 2)
    due = (np.arange(1, len(closes) + 1) % every == 0) & (np.arange(len(closes)) >= lookback)
    lots = (side * (budget // closes)).where(pd.Series(due, closes.index), np.nan)
    return follow(frames, [lots[i].reindex(f.closes).to_numpy() for i, f in enumerate(frames)], costs)


def vwap_reversion(frames, costs, qty=100):
    targets = []
    for f in frames:
        typical = (f.h + f.l + f.c) / 3 * f.v
        vwap = typical.groupby(f.day).cumsum() / f.v.groupby(f.day).cumsum()
        away, (_, minute) = f.c - vwap, clock(f)
        far = away.abs() > 2 * away.rolling(20).std(ddof=0)
        ready = (np.arange(len(f)) >= 19) & (minute < 900)
        side = pd.Series(np.nan, f.index)
        entered = (-np.sign(away)).where(far & ready)
        # between entries the position ends where the distance changes sign, or at the end of the day
        run = entered.ffill()
        side = entered.where(entered.notna(), np.where((minute >= 950) | (ready & (run * away > 0)), 0.0, np.nan))
        targets.append((side.ffill().fillna(0) * qty).to_numpy())
    return follow(frames, targets, costs)


def turtle(frames, costs, risk=1_000):
    def symbol(frame, broker):
        before = frame.c.shift().fillna(frame.c)
        reach = np.maximum(frame.h, before) - np.minimum(frame.l, before)
        reach.iloc[0] = frame.h.iloc[0] - frame.l.iloc[0]
        atr = reach.ewm(alpha=1 / 20, adjust=False).mean()
        above, below = frame.h.rolling(20).max() + 1, frame.l.rolling(20).min() - 1
        low10, high10 = frame.l.shift().rolling(10).min(), frame.h.shift().rolling(10).max()
        held = {"entries": {}, "stop": None, "adding": None}

        def on_fill(o, qty, px):
            if o in held["entries"].values():
                for other in held["entries"].values():
                    if other is not o:
                        broker.cancel(other)
                held.update(entries={}, units=1, last=px)
                side = 1 if held["position"] + o["side"] * qty > 0 else -1
                held["position"] += o["side"] * qty
                held["stop"] = broker.send("stop", -side, abs(held["position"]), px - side * 2 * held["n"])
            else:
                held["position"] += o["side"] * qty
                if o is held["adding"]:
                    held["units"] += 1
                    held["last"] = px
                    broker.replace(held["stop"], abs(held["position"]), px - o["side"] * 2 * held["n"])
            if held["position"] == 0:
                broker.cancel(held["stop"])

        broker.on_fill, held["position"] = on_fill, 0
        for k, (bar, n, a, b, lo, hi) in enumerate(zip(broker.bars, atr, above, below, low10, high10, strict=True)):
            broker.step(bar)
            position = broker.position
            assert position == held["position"]
            if position == 0 and k >= 39:
                held["n"] = max(int(n), 1)
                held["unit"] = max(risk // held["n"], 1)
                for side, px in ((1, int(a)), (-1, int(b))):
                    if side in held["entries"]:
                        broker.replace(held["entries"][side], held["unit"], px)
                    else:
                        held["entries"][side] = broker.send("stop", side, held["unit"], px)
            elif position:
                side = 1 if position > 0 else -1
                if bar.c < lo if side > 0 else bar.c > hi:
                    broker.cancel(held["stop"])
                    broker.target(0)
                elif held["units"] < 4 and side * 2 * (bar.c - held["last"]) >= held["n"]:
                    held["adding"] = broker.send("market", side, held["unit"], gtc=False)

    return each(frames, costs, symbol)


def pairs(frames, costs, budget=200_000):
    a, b = (f.set_index("closes").c for f in frames[:2])
    both = pd.concat([a, b], axis=1, keys=["a", "b"]).dropna()
    ratio = np.log(both.a / both.b)
    z = (ratio - ratio.rolling(60).mean()) / ratio.rolling(60).std(ddof=0)
    side = pd.Series(np.select([z > 2, z < -2, z.abs() < 0.5], [-1, 1, 0], np.nan), z.index).ffill().fillna(0)
    turned = side.diff().fillna(side) != 0
    lots = [(sign * side * (budget // both[x])).where(turned) for x, sign in (("a", 1), ("b", -1))]
    return follow(frames[:2], [x.reindex(f.closes).to_numpy() for x, f in zip(lots, frames[:2], strict=True)], costs)


def volatility_target(frames, costs, tick_value=0.01, capital=10_000, fee=0.0):
    vols = []
    for f in frames:
        squares = np.log(f.c / f.c.shift()) ** 2
        vols.append(np.sqrt(squares.rolling(30).sum()))
    vol = pd.DataFrame({i: v.set_axis(f.closes) for i, (v, f) in enumerate(zip(vols, frames, strict=True))}).ffill()
    brokers = [Broker(f, *costs) for f in frames]
    cash, marks = float(capital), [0] * len(frames)
    for closes, group in merged(frames):
        for i, bar in group:
            done = len(brokers[i].fills)
            brokers[i].step(bar)
            marks[i] = bar.c
            for _, side, qty, px in brokers[i].fills[done:]:
                cash -= side * qty * px * tick_value + qty * px * tick_value * fee
        equity = cash + sum(b.position * m * tick_value for b, m in zip(brokers, marks, strict=True))
        for i, v in vol.loc[closes].items():
            if v > 0:
                share = min(0.0005 / (v / np.sqrt(30)), 1.0) / len(frames)
                want = int(equity * share / (marks[i] * tick_value))
                if abs(want - brokers[i].position) * 10 > brokers[i].position:
                    brokers[i].now = group[0][1].seen
                    brokers[i].target(want)
    return sorted((ts, i, *rest) for i, b in enumerate(brokers) for ts, *rest in b.fills)


def grid(frames, costs, qty=10):
    def symbol(frame, broker):
        base = int(frame.c.iloc[0])
        step = max(base * 30 // 10_000, 1)
        levels, later = {}, [(1, k) for k in range(-5, 0)]

        def send(side, k):
            px = base + k * step
            if broker.meets_own(side, px):
                later.append((side, k))
            else:
                o = broker.send("limit", side, qty, px)
                levels[id(o)] = (o, side, k)

        def on_fill(o, filled, px):
            _, side, k = levels.pop(id(o))
            send(-side, k + side)

        broker.on_fill = on_fill
        for bar in broker.bars:
            broker.step(bar)
            waiting, later[:] = later[:], []
            for side, k in waiting:
                send(side, k)

    return each(frames, costs, symbol)
