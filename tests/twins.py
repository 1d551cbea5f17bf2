"""Naive twins: the same behaviour written plainly with dictionaries, sorted containers and fractions, to compare with."""

from fractions import Fraction
from math import floor

from sortedcontainers import SortedDict

EMPTY = -(1 << 62)


class Ladder:
    """One side of a book: rank -> size. With a capacity, the worst levels of those not in a window give way."""

    def __init__(self):
        self.levels = SortedDict()

    @property
    def best(self):
        return self.levels.peekitem(-1)[0] if self.levels else EMPTY

    def set(self, rank, size):
        was = self.levels.pop(rank, 0)
        if size:
            self.levels[rank] = size
        return was

    def size_at(self, rank):
        return self.levels.get(rank, 0)

    def next_worse(self, rank):
        k = self.levels.bisect_left(rank)
        return self.levels.peekitem(k - 1)[0] if k else EMPTY

    def clear(self):
        self.levels.clear()

    def uncross(self, rank):
        gone = list(self.levels.irange(rank))
        for r in gone:
            del self.levels[r]
        return len(gone)

    def all(self):
        return [(r, s) for r, s in reversed(self.levels.items())]


class Position:
    """Cash and total cost in whole units; a partial close takes out floor(cost x closed / quantity)."""

    def __init__(self, unit):
        self.unit = Fraction(unit)  # money of one tick on one lot
        self.qty = self.cost = self.realised = self.cash = 0

    def money(self, px, lots):
        return floor(px * lots * self.unit)

    def fill(self, signed, px):
        paid = self.money(px, signed)
        self.cash -= paid
        if self.qty * signed < 0:
            closed = min(abs(signed), abs(self.qty))
            part = paid if closed == abs(signed) else self.money(px, closed if signed > 0 else -closed)
            out = floor(Fraction(self.cost * closed, abs(self.qty)))
            self.realised += -part - out
            self.cost += paid - part - out
        else:
            self.cost += paid
        self.qty += signed


class Order:
    def __init__(self, handle, side, qty, px):
        self.handle, self.side, self.qty, self.px = handle, side, qty, px
        self.state = "SUBMITTED"
        self.fills = {}  # exec_id -> (qty, px)
        self.request = self.waiting = None  # ("cancel",) or ("replace", qty, px)
        self.told = 0  # fills the venue has told of that have not come

    @property
    def cum(self):
        return sum(q for q, _ in self.fills.values())

    @property
    def done(self):
        return self.state in ("FILLED", "CANCELED", "REJECTED", "EXPIRED")

    @property
    def most(self):
        return max(self.qty, self.request[1]) if self.request and self.request[0] == "replace" else self.qty

    @property
    def exposed(self):
        if self.done:
            return self.told
        wanted = [r[1] for r in (self.request, self.waiting) if r and r[0] == "replace"]
        return max([self.qty, *wanted]) - self.cum


class Oms:
    """Orders of one instrument by handle; every method returns the commands that leave, as (kind, handle, qty, px)."""

    def __init__(self):
        self.orders = {}
        self.mode = "active"

    @property
    def position(self):
        return sum(o.side * o.cum for o in self.orders.values())

    @property
    def cash(self):
        return -sum(o.side * q * px for o in self.orders.values() for q, px in o.fills.values())

    def exposed(self, side):
        return sum(o.exposed for o in self.orders.values() if o.side == side)

    def new(self, handle, side, qty, px):
        self.orders[handle] = Order(handle, side, qty, px)
        return [("new", handle, qty, px)]

    def cancel(self, o):
        if o.request is None:
            o.request = ("cancel",)
            return [("cancel", o.handle)]
        if o.request[0] == "replace":
            o.waiting = ("cancel",)
        return []

    def replace(self, o, qty, px):
        if qty <= o.cum:
            return self.cancel(o)  # it has traded what it is to be
        if o.request is None:
            o.request = ("replace", qty, px)
            return [("replace", o.handle, qty, px)]
        o.waiting = ("replace", qty, px)
        return []

    def kill(self):
        if self.mode == "killed":
            return []
        self.mode = "killed"
        return self._pull(self.orders.values())

    def _pull(self, orders):
        out = []
        for o in orders:
            if not o.done and ("cancel",) not in (o.request, o.waiting):
                out += self.cancel(o)
        return out

    def illegal(self):
        if self.mode == "active":
            self.mode = "halted"
        return []

    def report(self, handle, kind, qty, px, told, exec_id):
        o = self.orders.get(handle)
        if o is None or kind == "nonsense":
            return self.illegal()
        answer = getattr(self, "_" + kind)(o, qty, px, told, exec_id)
        if answer is None:  # nothing new
            return []
        if answer == "illegal":
            return self.illegal()
        if self.mode == "killed":
            answer = answer + self._pull(list(self.orders.values())[::-1])
        return answer

    def _finish(self, o, state):
        o.state, o.waiting = state, None  # what it asked for is still to be answered
        return []

    def _late(self, o, *asked):
        """A report about a finished order: no news, but it may be the answer to what was asked."""
        if o.request and o.request[: len(asked)] == asked:
            o.request = None

    def _trade(self, o, qty, px, told, exec_id):
        if exec_id in o.fills:
            return None
        if o.state in ("FILLED", "REJECTED") or qty <= 0 or o.cum + qty > o.most:
            return "illegal"
        o.fills[exec_id] = (qty, px)
        if o.done:
            o.told = max(0, o.told - qty)
            return []
        o.state = "PARTIAL"
        return self._finish(o, "FILLED") if o.cum >= o.most else []

    def _correct(self, o, qty, px, told, exec_id):
        if exec_id not in o.fills or qty < 0:
            return "illegal"
        old = o.fills[exec_id]
        if old == (qty, px):
            return None
        if o.cum + qty - old[0] > o.most:
            return "illegal"
        o.fills[exec_id] = (qty, px)
        if o.done:
            return []
        o.state = "PARTIAL" if o.cum else "ACCEPTED"
        return self._finish(o, "FILLED") if o.cum >= o.most else []

    def _bust(self, o, qty, px, told, exec_id):
        return self._correct(o, 0, 0, told, exec_id)

    def _new(self, o, *rest):
        if o.state not in ("SUBMITTED", "UNKNOWN"):
            return None
        o.state = "PARTIAL" if o.cum else "ACCEPTED"
        return []

    def _end(self, o, state, told):
        if o.done:
            return None
        o.told = max(0, min(told, o.most) - o.cum)
        return self._finish(o, state)

    def _canceled(self, o, qty, px, told, exec_id):
        answer = self._end(o, "CANCELED", told)
        self._late(o, "cancel")
        return answer

    def _gone(self, o, qty, px, told, exec_id):
        answer = self._end(o, "CANCELED", told)
        o.request = None
        return answer

    def _expired(self, o, qty, px, told, exec_id):
        return self._end(o, "EXPIRED", told)

    def _rejected(self, o, qty, px, told, exec_id):
        return "illegal" if o.state in ("ACCEPTED", "PARTIAL") else self._end(o, "REJECTED", told)

    def _unknown(self, o, *rest):
        if o.done or o.state == "UNKNOWN":
            return None
        o.state = "UNKNOWN"
        return []

    def _replaced(self, o, qty, px, told, exec_id):
        if o.request != ("replace", qty, px):
            return None
        o.qty, o.px = qty, px
        return self._late(o, "replace") if o.done else self._answered(o)

    def _cancel_rejected(self, o, *rest):
        if o.done:
            return self._late(o, "cancel")
        return None if o.request != ("cancel",) else self._answered(o)

    def _replace_rejected(self, o, *rest):
        if o.done:
            return self._late(o, "replace")
        return None if o.request is None or o.request[0] != "replace" else self._answered(o)

    def _answered(self, o):
        if o.cum >= o.qty:
            o.request = None
            return self._finish(o, "FILLED")
        wanted, o.request, o.waiting = o.waiting, None, None
        if wanted is None:
            return []
        if wanted[0] == "cancel" or self.mode == "killed" or wanted[1] <= o.cum:
            return self.cancel(o)
        if self.mode == "active" or wanted[1] < o.qty:
            return self.replace(o, *wanted[1:])
        return []


class Venue:
    """The `realistic` venue on L1 quotes and prints, for limit and market orders; lists and sorting instead of links."""

    def __init__(self):
        self.fed = {1: (0, 0), -1: (0, 0)}  # side -> (px, size) as displayed
        self.touch = {1: [0, 0], -1: [0, 0]}  # less what we took
        self.orders = []
        self.crossed = False
        self.out = []
        self.position = 0
        self.last = None

    def best(self, side):
        """Orders that rest on a side, in matching order."""
        return sorted((o for o in self.orders if o["side"] == side), key=lambda o: (-side * o["px"], o["seq"]))

    def fill(self, o, qty, px):
        o["leaves"] -= qty
        self.position += o["side"] * qty
        self.out.append((o["handle"], "trade", qty, px))
        if o["leaves"] == 0 and o in self.orders:
            self.orders.remove(o)

    def end(self, o, kind):
        if o in self.orders:
            self.orders.remove(o)
        self.out.append((o["handle"], kind, 0, 0))

    def accepts(self, o):
        px, size = self.touch[-o["side"]]
        return size > 0 and o["side"] * (o["px"] - px) >= 0

    def room(self, o):
        return max(0, -o["side"] * self.position) if o["reduce"] else 1 << 60

    def trade(self, o, at_own_price):
        while o["leaves"] and self.accepts(o) and self.room(o):
            touch = self.touch[-o["side"]]
            if not at_own_price and self.own(o, touch[0]):
                return  # an order of ours is as good as what is displayed
            qty = min(o["leaves"], touch[1], self.room(o))
            touch[1] -= qty
            self.fill(o, qty, o["px"] if at_own_price else touch[0])

    def stands(self, o):
        """Others come to a limit order once the other side, or where it shows nothing the last print, has been beyond its price."""
        px, size = self.touch[-o["side"]]
        known = px if size else self.last
        return o["post"] or (not self.crossed and known is not None and o["side"] * (o["px"] - known) < 0)

    def rest(self, o):
        o["passive"] = not o["market"] and self.stands(o)
        px, size = self.touch[o["side"]]
        better = o["side"] * (o["px"] - px)
        o["ahead"] = 0 if size == 0 or better > 0 else size if better == 0 else None
        self.orders.append(o)

    def own(self, o, px):
        rivals = self.best(-o["side"])
        return bool(rivals) and o["side"] * (px - rivals[0]["px"]) >= 0

    def new(self, handle, side, qty, px, seq, tif="day", post=False, reduce=False):
        market = px is None
        o = {"handle": handle, "side": side, "leaves": qty, "px": side * (1 << 60) if market else px, "market": market, "cum": 0}
        o |= {"seq": seq, "reduce": reduce, "post": post, "qty": qty}
        if self.accepts(o) and post:
            return self.end(o, "expired")
        if not self.room(o):
            return self.end(o, "rejected")
        shown = 0 if self.own(o, self.touch[-side][0]) else self.touch[-side][1]
        if tif == "fok" and (not self.accepts(o) or min(shown, self.room(o)) < qty):
            return self.end(o, "expired")
        self.out.append((handle, "new", 0, 0))
        if not self.crossed:
            self.trade(o, False)
        if o["leaves"] == 0:
            return None
        rivals = self.best(-side)
        opposed = bool(rivals) and rivals[0]["market"] if market else self.own(o, px)
        if opposed or tif in ("ioc", "fok") or not self.room(o):
            return self.end(o, "expired")
        return self.rest(o)

    def find(self, handle):
        return next((o for o in self.orders if o["handle"] == handle), None)

    def cancel(self, handle):
        o = self.find(handle)
        if o is None:
            self.out.append((handle, "cancel_rejected", 0, 0))
        else:
            self.end(o, "canceled")

    def replace(self, handle, qty, px, seq):
        o = self.find(handle)
        if o is not None and qty <= o["qty"] - o["leaves"]:
            self.end(o, "canceled")
        if o is None or qty <= o["qty"] - o["leaves"] or (not o["market"] and self.own(o, px)):
            self.out.append((handle, "replace_rejected", 0, 0))
            return
        self.out.append((handle, "replaced", qty, px))
        leaves = qty - (o["qty"] - o["leaves"])
        new_px = o["px"] if o["market"] else px
        o["qty"] = qty
        if new_px == o["px"] and leaves <= o["leaves"]:
            o["leaves"] = leaves
            return
        self.orders.remove(o)
        o["px"], o["leaves"], o["seq"] = new_px, leaves, seq
        if self.accepts(o) and o["post"]:
            self.end(o, "expired")
            return
        if not self.crossed:
            self.trade(o, False)
        if o["leaves"]:
            self.rest(o)

    def quote(self, bid, bid_sz, ask, ask_sz):
        for side, shown in ((1, (bid, bid_sz)), (-1, (ask, ask_sz))):
            if shown != self.fed[side]:
                self.fed[side], self.touch[side] = shown, list(shown)
        self.crossed = bid > ask and bid_sz > 0 and ask_sz > 0
        if self.crossed:
            return
        for o in self.orders:
            px, size = self.fed[o["side"]]  # what we took is no sign that nobody stands there
            behind = o["side"] * (o["px"] - px)
            if o["px"] == px:
                o["ahead"] = size if o["ahead"] is None else min(o["ahead"], size)
            elif size == 0 or behind > 0:
                o["ahead"] = 0
        for side in (1, -1):
            for o in self.best(side):
                if not self.accepts(o):
                    break
                self.trade(o, o["passive"])
                if o["leaves"] and not self.room(o):
                    self.end(o, "expired")
        for o in self.orders:
            o["passive"] = o["passive"] or (not o["market"] and self.stands(o))

    def print(self, aggressor, px, size):
        left = size
        for side in (1, -1):
            if aggressor == side:
                continue
            for o in self.best(side):
                through = side * (o["px"] - px)
                if left == 0 or through < 0:
                    break
                if not o["passive"]:
                    continue
                eaten = 0
                if through == 0:
                    eaten = left if o["ahead"] is None else min(o["ahead"], left)
                    if o["ahead"]:
                        o["ahead"] -= eaten
                qty = min(o["leaves"], left - eaten, self.room(o))
                if qty > 0:
                    left -= qty
                    self.fill(o, qty, o["px"])
        self.last = px
