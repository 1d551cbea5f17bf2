"""Alpaca's messages as ours and back, without the SDK and without sockets."""

import asyncio
from collections import deque
from decimal import Decimal
from types import SimpleNamespace

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay import events as ev
from replay.data.instruments import Instrument
from replay.errors import BadInput
from replay.live import broker as B
from replay.live.alpaca import wire
from replay.live.alpaca.adapter import Alpaca
from replay.live.alpaca.wire import Scale, Unknown
from replay.live.desk import Command
from replay.trader import layout as T
from replay.trader import orders as O

AAPL = Instrument(symbol="AAPL", tick_size="0.01")
BTC = Instrument(symbol="BTC/USD", tick_size="0.01", lot_size="0.000000001", currency="USD", base="BTC")
NS = 1_772_461_800_000_366_123
STAMP = msgpack.Timestamp(NS // 10**9, NS % 10**9)


def row(event, dtype=ev.EVENT):
    found = np.frombuffer(event, dtype)[0]
    return SimpleNamespace(**{name: int(found[name]) for name in dtype.names})


def order(**kw):
    given = {
        "id": "o1",
        "client_order_id": "x",
        "symbol": "AAPL",
        "status": "new",
        "qty": "10",
        "filled_qty": "0",
        "filled_avg_price": None,
        "limit_price": "189.12",
        "stop_price": None,
        "updated_at": "2026-03-02T14:30:00Z",
    }
    return given | kw


def test_a_quote_is_never_better_than_it_was():
    """Off the tick, a bid is rounded down and an ask up; an absent side has no price."""
    s = Scale(0, AAPL)
    q = row(wire.market_event({"T": "q", "bp": 189.119, "bs": 3, "ap": 189.131, "as": 200, "t": STAMP}, s, 7), ev.QUOTE_DT)
    assert (q.bid_px, q.bid_sz, q.ask_px, q.ask_sz) == (18911, 3, 18914, 200) and s.off_tick == 2
    assert (q.ts_event, q.ts_recv, q.flags) == (NS, 7, ev.LAST)
    q = row(wire.market_event({"T": "q", "bp": 0.0, "bs": 0, "ap": 189.13, "as": 1, "t": STAMP}, s, 7), ev.QUOTE_DT)
    assert (q.bid_px, q.bid_sz) == (0, 0)


@pytest.mark.parametrize(
    ("price", "conditions", "flags"),
    [
        (189.12, ["@"], ev.PRINT),
        (189.12, [" "], ev.PRINT),
        (189.12, ["@", "I"], ev.COUNTS),
        (189.12, ["@", "W"], ev.COUNTS),
        (189.12, ["M"], 0),
        (189.1225, ["@"], ev.COUNTS),
    ],
)
def test_what_a_print_may_do(price, conditions, flags):
    m = {"T": "t", "i": 5, "p": price, "s": 100, "c": conditions, "t": STAMP}
    t = row(wire.market_event(m, Scale(0, AAPL), 7), ev.TRADE_DT)
    assert (t.px, t.size, t.flags, t.trade_id) == (18912, 100, flags | ev.LAST, 5)


def test_crypto():
    t = row(
        wire.market_event({"T": "t", "i": 5, "p": 61837.6, "s": 0.000123456, "tks": "S", "t": STAMP}, Scale(0, BTC), 7),
        ev.TRADE_DT,
    )
    assert (t.px, t.size, t.side) == (6_183_760, 123_456, -1)


@pytest.mark.parametrize(
    ("code", "side"), [("H", ev.HALTED), ("2", ev.HALTED), ("T", ev.TRADING), ("3", ev.TRADING), ("E", None)]
)
def test_statuses(code, side):
    event = wire.market_event({"T": "s", "sc": code, "t": STAMP}, Scale(0, AAPL), 7)
    assert event is None if side is None else row(event).side == side


@given(st.integers(0, 2**40), st.sampled_from(["0.01", "0.0001", "0.00001"]))
def test_prices_come_back(ticks, tick):
    s = Scale(0, Instrument(symbol="X", tick_size=tick))
    assert s.ticks(float(s.text(ticks))) == ticks or ticks > 2**50 and s.off_tick == 0
    assert s.ticks(s.text(ticks)) == ticks


@pytest.mark.parametrize(
    ("event", "exec_type"),
    [
        ("new", O.EXEC_NEW),
        ("canceled", O.EXEC_CANCELED),
        ("replaced", O.EXEC_REPLACED),
        ("order_cancel_rejected", O.EXEC_CANCEL_REJECTED),
    ],
)
def test_updates(event, exec_type):
    u = wire.update(
        {"event": event, "order": order(filled_qty="3"), "execution_id": "e1", "timestamp": "2026-03-02T14:30:00.5Z"},
        Scale(0, AAPL),
        4,
    )
    assert (u.exec_type, u.cum, u.ts) == (exec_type, 7, 1_772_461_800_500_000_000)


def test_a_fill():
    data = {
        "event": "partial_fill",
        "order": order(filled_qty="3"),
        "execution_id": "e1",
        "price": "189.11",
        "qty": "2",
        "timestamp": "2026-03-02T14:30:00Z",
    }
    u = wire.update(data, Scale(0, AAPL), 0)
    assert (u.last_qty, u.last_px, u.cum) == (2, 18911, 3) and u.exec_id == wire.id_of("e1") > 0


def test_a_fill_that_is_taken_back_or_corrected():
    """By the exec_id that the fill had."""
    data = {"execution_id": "e2", "previous_execution_id": "e1", "timestamp": "2026-03-02T14:30:00Z"}
    u = wire.update(data | {"event": "trade_bust", "qty": "-2", "order": order(filled_qty="1")}, Scale(0, AAPL), 4)
    assert (u.exec_type, u.exec_id, u.last_qty, u.cum) == (O.EXEC_BUST, wire.id_of("e1"), 0, 5)
    corrected = data | {"event": "trade_correct", "qty": "2", "order": order(filled_qty="3")}
    u = wire.update(corrected | {"price": "189.12"}, Scale(0, AAPL), 0)
    assert (u.exec_type, u.exec_id, u.last_qty, u.last_px, u.cum) == (O.EXEC_CORRECT, wire.id_of("e1"), 2, 18912, 3)
    with pytest.raises(KeyError):
        wire.update(corrected, Scale(0, AAPL), 0)  # at which price nobody says: the trader halts


def test_what_an_order_has_traded_less_what_was_taken_back():
    """Of a chain of replaces, whichever of its orders had the fill, and however often it is said."""
    adapter = Alpaca.__new__(Alpaca)
    adapter.run_id, adapter.routes, adapter.scales = "5f00ab12cd", {}, {"AAPL": Scale(0, AAPL)}
    root = "5f00ab12cd-1-100000"

    def say(event, ident, filled, **kw):
        name = root if ident == "first" else f"{root}-7"
        o = order(id=ident, client_order_id=name, filled_qty=filled, replaced_by="second")
        u = adapter._update({"event": event, "order": o, "execution_id": event, "timestamp": "2026-03-02T14:30:00Z", **kw})
        return u.cum, adapter.routes[root].cum, adapter.routes[root].order_id

    assert say("partial_fill", "first", "4", qty="4", price="189.12") == (4, 4, "first")
    assert say("replaced", "first", "4") == (4, 4, "second")
    assert say("partial_fill", "second", "1", qty="1", price="189.12") == (5, 5, "second")
    for _ in range(2):
        assert say("trade_bust", "first", "0", qty="-4", previous_execution_id="x") == (1, 1, "second")
    assert say("trade_bust", "second", "0", qty="-1", previous_execution_id="y") == (0, 0, "second")
    assert say("partial_fill", "second", "10", qty="10", price="189.12") == (10, 10, "second")


def test_what_is_not_known():
    s = Scale(0, AAPL)
    assert wire.update({"event": "pending_new", "order": order()}, s, 0) is None
    for bad in ({"event": "odd", "order": order()}, {"event": "new", "order": order(status="odd")}):
        with pytest.raises(Unknown):
            wire.update(bad, s, 0)
    with pytest.raises(Unknown):
        wire.seen(order(status="odd"), s)
    with pytest.raises(BadInput, match="not a multiple"):
        wire.update({"event": "new", "order": order(filled_qty="0.5")}, s, 0)


#: OrderStatus of the API description, and pending_review of its stream
ENDS = {"filled": B.FILLED, "canceled": B.CANCELED, "expired": B.EXPIRED, "rejected": B.REJECTED, "replaced": B.CANCELED}
PENDING = ("pending_new", "pending_cancel", "pending_replace", "pending_review")
ALIVE = (
    "new",
    "partially_filled",
    "accepted",
    "accepted_for_bidding",
    "held",
    "stopped",
    "suspended",
    "done_for_day",
    "calculated",
)


@pytest.mark.parametrize("status", [*ENDS, *PENDING, *ALIVE])
def test_only_ends_are_ends(status):
    """A status that says that an order does not trade now leaves it working; told on the stream it is no news."""
    want = ENDS.get(status, B.PENDING if status in PENDING else B.OPEN)
    assert wire.seen(order(status=status), Scale(0, AAPL)).state == want
    if status in ALIVE[2:]:
        assert wire.update({"event": status, "order": order(status=status)}, Scale(0, AAPL), 0) is None


def test_bars_of_the_feeds_own_interval():
    s = Scale(0, AAPL)
    s.bar_ns, s.bar_side = 300 * 10**9, 1
    bar = row(wire.market_event({"T": "b", "o": 1, "h": 2, "l": 1, "c": 2, "v": 5, "t": STAMP}, s, 7))
    assert (bar.ts_event, bar.side) == (NS + 300 * 10**9, 1)


@pytest.mark.parametrize(
    ("price", "described", "tick"),
    [
        (0.6013, {}, "0.0001"),
        (0.9999, {}, "0.0001"),
        (1.0, {}, "0.01"),
        (None, {}, "0.01"),
        (0.6, {"tick_size": "0.001"}, "0.001"),
    ],
)
def test_steps_of_a_stocks_price(price, described, tick):
    """SEC rule 612: 0.0001 below one dollar, 0.01 from there on; a local server's session has its own."""
    pytest.importorskip("alpaca")
    from replay.live.alpaca import account

    i = account._instrument({"class": "us_equity", "symbol": "A"}, price, described)
    s = Scale(0, i)
    assert i.tick_size == tick and (price is None or s.text(s.ticks(price)) == format(price, f".{len(tick) - 2}f"))


def test_a_figure_that_cannot_be_read_stops_nothing():
    """Half a share of a symbol that is traded, an average price that is missing, an order of an unknown status: the rest is read."""
    adapter = Alpaca.__new__(Alpaca)
    adapter.run_id, adapter.routes, adapter.now = "5f00ab12cd", {}, lambda: 0
    adapter.scales = {x: Scale(k, Instrument(symbol=x, tick_size="0.01")) for k, x in enumerate("ABCD")}
    odd = order(client_order_id="5f00ab12cd-1-100000", symbol="A", status="odd", side="buy")
    good = order(client_order_id="5f00ab12cd-1-200001", symbol="A", side="buy", id="o2")
    held = [("A", "10.5", "99"), ("B", "-0.25", "3"), ("C", "ten", "3"), ("D", "7", None), ("E", "0.1", "3")]
    answers = {
        "/account": {"cash": "12.5"},
        "/orders": [odd, good],
        "/positions": [{"symbol": x, "qty": qty, "avg_entry_price": px} for x, qty, px in held],
    }
    adapter.get = lambda path, query=None, rest=None: answers[path]
    books = adapter.books([])
    assert books.positions == {0: (10, 9900), 1: (0, 300), 3: (7, 0)} and books.unknown == {2}
    assert [s.order_id for s in books.open] == ["o2"] and len(books.unread) == 2
    assert [text.split(":")[0] for text in books.besides] == ["0.5 A", "-0.25 B", "position 0.1 E"]


def test_a_look_up():
    seen = wire.seen(order(status="partially_filled", filled_qty="4", filled_avg_price="189.1225"), Scale(0, AAPL), 6, 1000)
    assert (seen.state, seen.qty, seen.cum, seen.paid, seen.px) == (B.OPEN, 16, 10, 1000 + 75649, 18912)


def command(**kw):
    given = {
        "kind": T.CMD_NEW,
        "handle": 1,
        "qty": 10,
        "px": 18912,
        "stop_px": 18800,
        "instrument": 0,
        "side": -1,
        "type": T.LIMIT,
        "tif": T.GTC,
        "flags": 0,
        "ts": 1,
        "seq": 1,
    }
    return Command(**given | kw)


def test_requests():
    s = Scale(0, AAPL)
    assert wire.new_order(command(), s, "id", True) == {
        "symbol": "AAPL", "qty": "10", "side": "sell", "type": "limit", "time_in_force": "gtc", "client_order_id": "id", "limit_price": "189.12", "extended_hours": True,
    }  # fmt: skip
    body = wire.new_order(command(type=T.STOP_LIMIT, side=1, tif=T.DAY), s, "id", True)
    assert (body["limit_price"], body["stop_price"], body["side"], "extended_hours" in body) == ("189.12", "188.00", "buy", False)
    assert "limit_price" not in wire.new_order(command(type=T.MARKET), s, "id", False)
    assert wire.replacement(command(qty=12), s, 4, "new") == {"qty": "8", "client_order_id": "new", "limit_price": "189.12"}
    with pytest.raises(BadInput, match="post-only"):
        wire.new_order(command(flags=T.POST_ONLY), s, "id", False)


def test_money_and_times():
    assert wire.money("-0.00000001") == -1 and wire.money(Decimal("99.999999999")) == 9_999_999_999
    assert wire.stamp_ns("2026-03-02T09:30:00.000366-05:00") == 1_772_461_800_000_366_000
    assert wire.stamp_ns("2026-03-02T14:30:00Z") == 1_772_461_800_000_000_000 and wire.stamp_ns(STAMP) == NS


def test_nothing_more_is_read_while_too_much_waits(monkeypatch):
    """So that memory stays what it is, and the server waits."""
    pytest.importorskip("alpaca")
    from replay.live.alpaca.streams import MOST_BEHIND, Socket

    messages, heard, waiting = iter([b"a", b"b", None]), [], [MOST_BEHIND + 1]

    async def read(self):
        return next(messages)

    monkeypatch.setattr(Socket.__mro__[1], "read_message", read)
    s = Socket.__new__(Socket)
    s._got, s._pieces, s.reader = 0, deque([(0, 1)]), SimpleNamespace(_buffer=b"")
    s.each, s.behind = (lambda message, at: heard.append(message)), (lambda: waiting[0])

    async def play():
        task = asyncio.create_task(s.read_message())
        await asyncio.sleep(0.05)
        assert heard == [b"a"]
        waiting[0] = MOST_BEHIND
        assert await task is None and heard == [b"a", b"b"]

    asyncio.run(play())


def test_the_books_hold_the_fills_of_orders_that_were_replaced():
    """What an open order's predecessor traded is older than the order itself; no fill that matters is left unasked for."""
    adapter = Alpaca.__new__(Alpaca)
    adapter.run_id, adapter.routes, adapter.now = "5f00ab12cd", {}, lambda: 0
    adapter.scales = {"A": Scale(0, Instrument(symbol="A", tick_size="0.01"))}
    common = {"symbol": "A", "side": "buy", "qty": "10", "limit_price": "1.00", "filled_avg_price": "1.00"}
    orders = {
        "first": {"id": "first", "client_order_id": "5f00ab12cd-1-100000", "status": "replaced", "filled_qty": "4", "created_at": "2026-03-02T14:31:00.2Z"},
        "second": {"id": "second", "client_order_id": "5f00ab12cd-1-100000-1", "status": "partially_filled", "filled_qty": "1", "created_at": "2026-03-02T16:00:00Z", "replaces": "first"},
        "other": {"id": "other", "client_order_id": "5f00ab12cd-1-200001", "status": "partially_filled", "filled_qty": "2", "created_at": "2026-03-02T15:00:00Z"},
    }  # fmt: skip
    fills = [
        ("first", "4", "2026-03-02T14:31:00.9Z"),
        ("other", "2", "2026-03-02T15:00:00Z"),
        ("second", "1", "2026-03-02T16:00:01Z"),
    ]
    fills = [
        {"id": o, "order_id": o, "qty": n, "cum_qty": n, "price": "1.00", "transaction_time": t, "symbol": "A"}
        for o, n, t in fills
    ]

    def get(path, query=None, rest=None):
        if path == "/account":
            return {"cash": "0"}
        if path == "/account/activities/FILL":
            return [f for f in fills if wire.stamp_ns(f["transaction_time"]) > wire.stamp_ns(query["after"])]
        if path == "/orders":
            return [orders["second"] | common, orders["other"] | common]
        return [] if path == "/positions" else orders[path.removeprefix("/orders/")] | common

    adapter.get = get
    opened = {s.order_id: s for s in adapter.books([]).open}
    assert [(f.qty, f.cum) for f in opened["second"].fills] == [(4, 4), (1, 5)] and opened["second"].cum == 5
    assert [(f.qty, f.cum) for f in opened["other"].fills] == [(2, 2)]
