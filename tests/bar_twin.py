"""Execution on bars once more, one instrument, in plain Python: lists and sorting instead of links."""

MARKET = 1 << 60


class Bars:
    """Rules of docs/assumptions.md. `slip` and `share` in millionths."""

    def __init__(self, slip, share, first_ns):
        self.slip, self.share, self.first_ns = slip, share, first_ns
        self.orders, self.out, self.position, self.last, self.n = [], [], 0, None, 0
        self.open_ts, self.open_px, self.volume, self.taken = -(10**18), 0, 0, 0
        self.phase, self.halted = "open", False

    # --- what happens --------------------------------------------------------------------------------------------------------
    def opens(self, ts, px):
        self.open_ts, self.open_px, self.taken, self.last, self.ts = ts, px, 0, px, ts
        if not self.trading():
            for o in self.orders:
                o["state"] = "out" if o["state"] == "in" else o["state"]
            return
        for side in (1, -1):
            for o in self.stops(side, px, everyone=True):
                self.elect(o)
                self.wait(o)
        for side in (1, -1):
            for o in self.resting(side):
                self.meet(o)
        for o in self.orders:
            if o["stop"] is not None:
                o["state"] = "in"

    def closes(self, ts, open_px, high, low, close, volume):
        self.ts = ts
        high, low = max(high, open_px, close), min(low, open_px, close)
        way = [(1, high), (-1, low)] if high - open_px < open_px - low else [(-1, low), (1, high)]
        stopped = set()
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
                if o["px"] is not None and o["state"] == "in" and side * (o["px"] - extreme) > 0:
                    self.trade(o, o["px"], volume)
                    if o["leaves"] and not self.stays(o):
                        self.end(o, "expired")
        self.volume = volume
        if self.open_ts < ts:
            self.last = close

    def new(self, ts, handle, side, qty, px, stop, tif, post, reduce):
        self.ts, self.n = ts, self.n + 1
        o = {"handle": handle, "side": side, "leaves": qty, "cum": 0, "px": px, "stop": stop, "tif": tif, "post": post}
        o |= {"reduce": reduce, "seq": self.n, "rank": 0, "state": "new"}
        if self.phase != "open":
            return self.say(o, "rejected")
        if stop is not None and (self.last is None or side * (self.last - stop) < 0):
            self.say(o, "new")
            self.orders.append(o)
            o["state"] = "in" if self.in_time() else "new"
            return None
        o["stop"] = None
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
        return max(1, px + side * -(-px * self.slip // 1_000_000))

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
        o["stop"], o["state"] = None, "new"

    def trade(self, o, px, volume):
        cap = max(0, volume * self.share // 1_000_000 - self.taken) if self.share else MARKET
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

    def join(self, o):
        o["state"] = "new"
        said = len(self.out)
        if self.in_time():
            self.meet(o)
        if o["leaves"] and not any(r[2] == "expired" and r[1] == o["handle"] for r in self.out[said:]):
            self.wait(o)

    def wait(self, o):
        rivals = self.resting(-o["side"])
        opposed = bool(rivals) and (rivals[0]["px"] is None if o["px"] is None else self.own(o, o["px"]))
        if opposed:
            return self.end(o, "expired")
        self.n += 1
        o["rank"] = self.n
        return self.orders.append(o)
