"""An account under random requests: after every step its books add up, its orders agree with the venue, and what it told is consistent."""

import itertools
import random
from collections import Counter
from decimal import Decimal

import pytest

pytest.importorskip("aiohttp")

from replay.data import synth
from replay.faults import Plan
from replay.serve import account, venue
from replay.serve.errors import ApiError
from replay.serve.orders import ENDED, Order, text
from replay.serve.rest import Call, Rest
from replay.serve.server import Server
from replay.venue.setup import Leg, Profile

LEGS = {"entry": Leg("lognormal", 5_000_000, 0.8), "response": Leg("lognormal", 5_000_000, 0.8)}


class Client:
    def __init__(self, seed, session, strict=True, profile=Profile(**LEGS), faults=Plan()):  # noqa: B008
        self.server = Server(session, profile, speed="lockstep", rate=0, strict=strict, faults=faults)
        self.rest = Rest(self.server)
        self.account = self.server.authenticate("key", "secret")
        self.random = random.Random(seed)
        self.refused = Counter()
        self.busted = Counter()
        self.told: dict[str, list[str]] = {}
        self.fills: dict[str, tuple[str, int, Decimal, Decimal]] = {}  # by execution_id
        self.server.send_update = self.hear

    def hear(self, account, data):
        o = data["order"]
        self.told.setdefault(o["id"], []).append(data["event"])
        side = 1 if o["side"] == "buy" else -1
        if "fill" in data["event"]:
            self.fills[data["execution_id"]] = (o["symbol"], side, Decimal(data["qty"]), Decimal(data["price"]))
            assert Decimal(data["position_qty"]) == self.position(o["symbol"])
        elif data["event"] == "trade_bust":
            assert -Decimal(data["qty"]) == self.fills.pop(data["previous_execution_id"])[2]
            self.busted[o["status"]] += 1
        elif data["event"] == "trade_correct":
            symbol, side, qty, px = self.fills[data["previous_execution_id"]]
            self.fills[data["previous_execution_id"]] = (symbol, side, qty, Decimal(data["price"]))
            assert Decimal(data["qty"]) == qty and Decimal(data["price"]) == px + side * Decimal("0.01")

    def position(self, symbol):
        return sum(s * q for name, s, q, _ in self.fills.values() if name == symbol)

    def ask(self, endpoint, body=None, query=None, **args):
        try:
            return endpoint(Call(self.account, args, query or {}, body))[1]
        except ApiError as e:
            self.refused[e.message.split("(")[0][:40]] += 1
            return None

    def act(self):
        r, k = self.random, self.random.randrange(2)
        t = self.server.market.touch(k)
        if not t.bid_sz or not t.ask_sz:
            return
        what, side = r.random(), r.choice((1, -1))
        near = t.bid_px if side > 0 else t.ask_px
        body = {
            "symbol": "AB"[k],
            "qty": r.choice((1, 5, 40, 300)),
            "side": "buy" if side > 0 else "sell",
            "time_in_force": r.choice(("day", "gtc")),
        }
        px = lambda ticks: f"{ticks / 100:.2f}"  # noqa: E731
        orders = [o for o in self.account.orders.values() if not o.ended]
        if what < 0.25:
            self.ask(self.rest.submit, {**body, "type": "market"})
        elif what < 0.5:
            tif = {"time_in_force": r.choice(("ioc", "fok"))} if r.random() < 0.2 else {}
            self.ask(self.rest.submit, {**body, "type": "limit", "limit_price": px(near - side * r.randrange(-3, 6)), **tif})
        elif what < 0.58:
            self.ask(self.rest.submit, {**body, "type": "stop", "stop_price": px(near + side * r.randrange(2, 9))})
        elif what < 0.7:
            legs = {
                "take_profit": {"limit_price": px(near + side * r.randrange(4, 9))},
                "stop_loss": {"stop_price": px(near - side * r.randrange(3, 9))},
            }
            self.ask(self.rest.submit, {**body, "type": "market", "order_class": "bracket", **legs})
        elif what < 0.76:
            exits = {"take_profit": {"limit_price": px(near - side * 4)}, "stop_loss": {"stop_price": px(near + side * 4)}}
            self.ask(self.rest.submit, {**body, "type": "limit", "order_class": "oco", **exits})
        elif what < 0.86 and orders:
            o = r.choice(orders)
            change = (
                {"qty": r.choice((1, 7, 50))}
                if r.random() < 0.5
                else {"limit_price" if o.limit_px else "stop_price": px(near - side * r.randrange(6))}
            )
            self.ask(self.rest.replace, change, id=o.id)
        elif what < 0.97 and orders:
            self.ask(self.rest.cancel, id=r.choice(orders).id)
        elif what < 0.98:
            self.ask(self.rest.cancel_all)
        elif what < 0.985:
            self.ask(self.rest.close_all, query={"cancel_orders": "true"})
        else:
            self.ask(self.rest.close_position, symbol="AB"[k])

    # --- what must hold ---------------------------------------------------------------------------------------------------------
    def check(self):
        a, p = self.account, self.account.portfolio
        cash = a.portfolio.initial - sum(s * q * px for _, s, q, px in self.fills.values())
        assert p.cash == cash
        for k in range(2):
            assert p.qty(k) == self.position("AB"[k])
        for o in a.orders.values():
            busted = "trade_bust" in self.told.get(o.id, ()) and o.status in ("filled", "expired", "canceled", "replaced")
            assert 0 <= o.cum <= o.qty and ((o.status == "filled") == (o.cum == o.qty) or busted), o
            assert o.paid == sum(f.qty * f.px for f in o.fills) and o.cum == sum(f.qty for f in o.fills)
            shown = [int(f.activity["cum_qty"]) for f in o.fills]
            assert shown == list(itertools.accumulate(f.qty for f in o.fills)), o
            assert o.ended or o.handle or o.status in ("accepted", "held"), o
            assert (o.status == "replaced") == (o.replaced_by is not None) and o.ended == (o.status in ENDED)
        working = a.working()
        handles = {o.handle for o in working if o.handle}
        assert handles == {h for h, o in a._by_handle.items() if not o.ended}
        assert a.venue.slots() + len(a._asked) == venue.CAPACITY
        assert p.reserved(working) >= 0

    def settle(self):
        """Nothing is under way any more: our orders and the venue's are the same."""
        a = self.account
        self.server.advance(self.server.market.now + 2_000_000_000)
        if a.venue.under_way:
            return
        resting = {int(v.handle): int(v.leaves) for v in a.venue.arena.region("orders") if v.live}
        assert resting == {o.handle: o.leaves for o in a.working() if o.handle}

    def day(self):
        """Random requests, every book checked after each few rows, to the end of the session."""
        self.server.advance(None, rows=300)
        for n in range(1_500):
            for _ in range(self.random.choice((0, 1, 1, 3))):
                self.act()
            self.server.advance(None, rows=self.random.choice((1, 1, 4, 8)))
            self.check()
            if n % 50 == 49:
                self.settle()
        self.server.advance(None)
        self.check()


TERMINAL = {"fill", "canceled", "expired", "rejected", "replaced"}


@pytest.mark.parametrize(("seed", "strict"), [(1, True), (2, True), (3, False), (4, False)])
def test_random_requests(seed, strict):
    c = Client(seed, synth.equity_day(("A", "B"), 8_000, seed=seed), strict)
    c.day()
    assert c.server.market.done
    kinds = Counter(event for events in c.told.values() for event in events)
    for event in ("new", "fill", "partial_fill", "canceled", "expired", "replaced"):
        assert kinds[event] > 3, kinds
    for ident, events in c.told.items():
        o: Order = c.account.orders[ident]
        assert sum(e in TERMINAL for e in events) == o.ended, (o, events)
        ended = next((k for k, e in enumerate(events) if e in TERMINAL), len(events))
        assert all(e.startswith("order_") for e in events[ended + 1 :]), events
    pairs = [o for o in c.account.orders.values() if o.cls == "bracket" and o.legs and o.status == "filled"]
    assert len(pairs) > 5
    for o in pairs:
        first, second = o.legs
        assert first.ended == second.ended or "gtc" in (first.tif, second.tif), (first, second)
    if strict:  # the checks have been met
        wanted = (
            "insufficient buying power",
            "insufficient qty available for order ",
            "potential wash trade detected. use compl",
        )
        assert all(c.refused[words] for words in wanted), c.refused
    assert text(c.account.portfolio.equity())


@pytest.mark.parametrize("seed", [5, 6])
def test_random_requests_whose_fills_are_taken_back_or_corrected(seed):
    """Whatever had become of their orders by then; in brackets and pairs too."""
    faults = [{"kind": "report_bust", "share": 0.3, "delay": "20s"}, {"kind": "report_correct", "share": 0.3, "delay": "9s"}]
    plan = Plan.of({"seed": seed, "fault": faults})
    c = Client(seed, synth.equity_day(("A", "B"), 8_000, seed=seed), strict=False, faults=plan)
    c.day()
    told = c.server.planned.told(c.server.market.feed.hits, c.server.market.now)
    assert c.server.market.done and min(f["struck"] for f in told) > 30
    assert {"filled", "new", "partially_filled"} <= set(c.busted), c.busted
    events = Counter(event for each in c.told.values() for event in each)
    assert (events["trade_bust"], events["trade_correct"]) == tuple(f["struck"] for f in told)
    for o in c.account.orders.values():
        assert o.status != "filled" or o.cum == o.qty, o


def test_a_fill_of_an_order_that_was_replaced_is_taken_back():
    """The order that has its place has those lots to trade again."""
    faults = {"kind": "report_bust", "delay": "60s", "to": "+1801s"}
    c = Client(1, synth.equity_day(("A", "B"), 8_000, seed=1), False, Profile(), Plan.of({"fault": [faults]}))
    start = c.server.session.manifest.start_ns
    c.server.advance(start + 1800 * 10**9)
    ask = c.server.market.touch(0)
    qty = ask.ask_sz + 100
    order = {"symbol": "A", "qty": qty, "side": "buy", "type": "limit", "time_in_force": "day"}
    first = c.account.orders[c.ask(c.rest.submit, {**order, "limit_price": f"{ask.ask_px / 100}"})["id"]]
    c.server.advance(start + 1801 * 10**9)
    assert (first.status, first.cum) == ("partially_filled", ask.ask_sz)
    second = c.account.orders[c.ask(c.rest.replace, {"qty": 100, "limit_price": "1.00"}, id=first.id)["id"]]
    c.server.advance(start + 1802 * 10**9)
    assert (first.status, second.status, second.qty, second.base) == ("replaced", "new", 100, ask.ask_sz)
    c.server.advance(start + 1870 * 10**9)
    assert (first.status, first.cum, second.status, second.qty, second.base) == ("replaced", 0, "new", qty, 0)
    assert c.told[first.id] == ["new", "partial_fill", "replaced", "trade_bust"] and c.account.portfolio.qty(0) == 0
    c.settle()
    third = c.account.orders[c.ask(c.rest.replace, {"limit_price": "900"}, id=second.id)["id"]]
    c.server.advance(start + 7200 * 10**9)
    assert (third.status, third.cum, c.account.portfolio.qty(0)) == ("filled", qty, qty) and "trade_bust" not in c.told[third.id]
    c.check()


def test_a_venue_that_is_full(monkeypatch):
    for module in (venue, account):
        monkeypatch.setattr(module, "CAPACITY", 16)
    c = Client(1, synth.equity_day(("A", "B"), 500, seed=1), profile=Profile())
    c.server.advance(None, rows=100)
    order = {"symbol": "A", "qty": 1, "side": "buy", "type": "limit", "time_in_force": "gtc"}
    for k in range(15):
        assert c.ask(c.rest.submit, {**order, "limit_price": f"{1 + k}"})
    legs = {"take_profit": {"limit_price": 900}, "stop_loss": {"stop_price": 1}, "order_class": "bracket"}
    entry = c.ask(c.rest.submit, {**order, "type": "market", **legs})
    assert c.ask(c.rest.submit, {**order, "limit_price": "9"}) is None and c.refused["too many open orders"] == 1
    c.settle()
    first, second = c.account.orders[entry["id"]].legs  # nothing is left half protected
    assert c.account.orders[entry["id"]].status == "filled" and {first.status, second.status} == {"rejected", "canceled"}
    c.check()
