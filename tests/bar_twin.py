"""Execution on bars once more, one instrument, in plain Python: lists and sorting instead of links."""

MARKET = 1 << 60


class Bars:
    """Rules of docs/assumptions.md. `slip` and `share` in millionths."""

    def __init__(self, slip, share, first_ns):
        self.slip, self.share, self.first_ns = slip, share, first_ns
        self.orders, self.out, self.position, self.last, self.n = [], [], 0, None, 0
        self.open_ts, self.open_px, self.volume, self.taken = -(10**18), 0, 0, 0
        self.bar, self.uncapped = None, False
        self.phase, self.halted = "open", False

    # --- what happens --------------------------------------------------------------------------------------------------------
    def opens(self, ts, bar):
        """`bar`: (open, high, low, close, volume), of which its own open decides."""
        self.open_ts, self.open_px, self.taken, self.last, self.ts = ts, bar[0], 0, bar[0], ts
        self.bar = bar[0], max(bar[0], bar[1], bar[3]), min(bar[0], bar[2], bar[3]), bar[3], bar[4]
        if not self.trading():
            for o in self.orders:
                o["state"] = "out" if o["state"] == "in" else o["state"]
            return
        for side in (1, -1):
            for o in self.stops(side, bar[0], everyone=True):
                self.elect(o)
                self.aside(o, bar[0])
                self.wait(o)
        for side in (1, -1):
            behind = self.stop_waits(side)
            for o in self.resting(side):
                if behind and o["px"] is not None:
                    o["state"] = "in"
                else:
                    self.meet(o)
        for o in self.orders:
            if o["stop"] is not None:
                o["state"] = "in"

    def path(self, ts):
        """The bar that opened last is about to close."""
        self.ts = ts
        open_px, high, low, _, volume = self.bar
        way = [(1, high), (-1, low)] if high - open_px < open_px - low else [(-1, low), (1, high)]
        stopped = {side for side in (1, -1) if self.stop_waits(side)}
        for side in (1, -1):
            for o in self.resting(side):
                reached = o["px"] is None or (side * (o["px"] - open_px) > 0 and side not in stopped)
                if reached and o["state"] == "in" and not self.own(o, open_px):
                    self.trade(o, self.slipped(open_px, side) if o["px"] is None else open_px, volume)
                    self.retire(o)
        for side, extreme in way:
            for o in self.stops(side, extreme, everyone=False):
                stopped.add(side)
                reached = max(o["stop"], open_px) if side > 0 else min(o["stop"], open_px)
                self.elect(o)
                px = self.slipped(reached, side)
                if self.accepts(o, px):
                    self.trade(o, px, volume)
                self.after(o)
        for up, extreme in way:
            side = -up
            for o in self.resting(side) if side not in stopped else []:
                inside = o["px"] is not None and side * (o["px"] - extreme) > 0 >= side * (o["px"] - open_px)
                if inside and o["state"] == "in":
                    self.trade(o, o["px"], volume)
                    self.retire(o)

    def closes(self, ts, close, volume):
        self.ts, self.volume = ts, volume
        if self.open_ts < ts:
            self.last = close

    def new(self, ts, handle, side, qty, px, stop, tif, post, reduce):
        self.ts, self.n = ts, self.n + 1
        o = {"handle": handle, "side": side, "leaves": qty, "cum": 0, "px": px, "stop": stop, "tif": tif, "post": post}
        o |= {"reduce": reduce, "seq": self.n, "rank": 0, "state": "new"}
        if stop is not None and (not self.in_time() or self.last is None or side * (self.last - stop) < 0):
            self.say(o, "new")
            self.orders.append(o)
            o["state"] = "in" if self.in_time() else "new"
            return None
        o["triggered"], o["stop"] = stop is not None, None
        if reduce and not self.room(o):
            return self.say(o, "rejected")
        self.say(o, "new")
        return self.join(o)

    def cancel(self, ts, handle):
        self.ts = ts
        o = self.find(handle)
        self.end(o, "canceled") if o else self.say({"handle": handle, "cum": 0}, "cancel_rejected")

    def replace(self, ts, handle, qty, px):
        self.ts = ts
        o = self.find(handle)
        market = o and o["px"] is None
        if o and qty <= o["cum"]:
            self.end(o, "canceled")
        if not o or qty <= o["cum"] or (o["stop"] is None and not market and self.own(o, px)):
            self.say({"handle": handle, "cum": 0}, "replace_rejected")
            return
        self.say(o, "replaced", qty, px)
        leaves = qty - o["cum"]
        if o["stop"] is not None:
            o["px"], o["stop"], o["leaves"] = None if market else px, px, leaves
            o["state"] = "in" if self.in_time() else "new"
        elif (market or px == o["px"]) and leaves <= o["leaves"]:
            o["leaves"] = leaves
        else:
            self.orders.remove(o)
            self.n += 1
            o["px"], o["leaves"], o["seq"] = o["px"] if market else px, leaves, self.n
            self.join(o)

    def closed(self, ts):
        self.ts, self.phase = ts, "closed"
        for o in [o for o in self.resting(1) + self.resting(-1) + self.stop_orders()[::-1] if o["tif"] != "gtc"]:
            self.end(o, "expired")

    # --- what it needs -------------------------------------------------------------------------------------------------------
    def trading(self):
        return self.phase == "open" and not self.halted

    def in_time(self):
        return 0 <= self.ts - self.open_ts <= self.first_ns and self.trading()

    def find(self, handle):
        return next((o for o in self.orders if o["handle"] == handle), None)

    def stop_orders(self):
        return [o for o in self.orders if o["stop"] is not None]

    def resting(self, side):
        mine = [o for o in self.orders if o["side"] == side and o["stop"] is None]
        return sorted(mine, key=lambda o: (-side * o["px"] if o["px"] is not None else -MARKET, o["rank"]))

    def stops(self, side, px, everyone):
        found = [o for o in self.stop_orders() if o["side"] == side and side * (px - o["stop"]) >= 0]
        found = [o for o in found if everyone or o["state"] == "in"]
        return sorted(found, key=lambda o: (side * o["stop"], o["seq"]))

    def slipped(self, px, side):
        worse = px + side * -(-px * self.slip // 1_000_000)
        return min(worse, self.bar[1]) if side > 0 else max(worse, self.bar[2])

    def accepts(self, o, px):
        return o["px"] is None or o["side"] * (o["px"] - px) >= 0

    def own(self, o, px):
        rivals = self.resting(-o["side"])
        return bool(rivals) and (px is None or rivals[0]["px"] is None or o["side"] * (px - rivals[0]["px"]) >= 0)

    def room(self, o):
        return max(0, -o["side"] * self.position) if o["reduce"] else MARKET

    def stays(self, o):
        return o["tif"] in ("day", "gtc") and self.room(o) > 0

    def say(self, o, what, qty=0, px=0):
        self.out.append((self.ts, o["handle"], what, qty, px, o["cum"]))

    def end(self, o, what):
        if o in self.orders:
            self.orders.remove(o)
        self.say(o, what)

    def elect(self, o):
        self.orders.remove(o)
        o["stop"], o["state"], o["triggered"] = None, "new", True

    def aside(self, o, px):
        """A stop that is reached goes first: what of ours it would trade with is cancelled."""
        while self.own(o, px):
            self.end(self.resting(-o["side"])[0], "canceled")

    def stop_waits(self, side):
        """A stop that was triggered waits at the market: no limit order of its side trades meanwhile."""
        return any(o["px"] is None and o.get("triggered") for o in self.resting(side))

    def trade(self, o, px, volume):
        cap = MARKET
        if self.share and not self.uncapped:
            cap = max(0, min(volume * self.share // 1_000_000, self.bar[4]) - self.taken)
        qty = min(o["leaves"], cap, self.room(o))
        if qty == 0 or (o["tif"] == "fok" and qty < o["leaves"]):
            return
        self.taken += qty
        self.position += o["side"] * qty
        o["leaves"] -= qty
        o["cum"] += qty
        self.say(o, "trade", qty, px)
        if o["leaves"] == 0 and o in self.orders:
            self.orders.remove(o)

    def meet(self, o):
        fresh, o["state"] = o["state"] == "new", "in"
        px, market = self.open_px, o["px"] is None
        if self.accepts(o, px) and (market or fresh or o["px"] != px):
            if fresh and o["post"]:
                return self.end(o, "expired")
            if not self.own(o, px):
                self.trade(o, self.slipped(px, o["side"]) if market else px, self.volume)
        if o["leaves"] and not self.stays(o):
            return self.end(o, "expired")
        return None

    def after(self, o):
        if o["leaves"]:
            self.wait(o) if self.stays(o) else self.end(o, "expired")

    def retire(self, o):
        if o["leaves"] and not self.stays(o):
            self.end(o, "expired")

    def join(self, o):
        o["state"] = "new"
        said = len(self.out)
        if self.in_time():
            self.meet(o)
        if o["leaves"] and not any(r[2] == "expired" and r[1] == o["handle"] for r in self.out[said:]):
            self.wait(o)

    def wait(self, o):
        side = o["side"]
        if o.get("triggered") and o["px"] is None:
            self.aside(o, self.last)
        markets = [x for x in self.resting(-side) if x["px"] is None]
        limits = [x for x in self.resting(-side) if x["px"] is not None]
        if o["px"] is None:
            opposed = bool(markets)
        else:
            at_market = markets and (self.last is None or side * (o["px"] - self.last) >= 0)
            opposed = at_market or (limits and side * (o["px"] - limits[0]["px"]) >= 0)
        if opposed:
            return self.end(o, "expired")
        self.n += 1
        o["rank"] = self.n
        return self.orders.append(o)
