"""What the broker refuses, the local one refuses: a rule a test, on an account sans sockets."""

from decimal import Decimal

import numpy as np
import pytest

pytest.importorskip("aiohttp")

from replay import events as ev
from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.serve.errors import ApiError
from replay.serve.rest import Rest
from replay.serve.routes import Call, absent
from replay.serve.server import Server

START = 1_772_461_800 * 10**9  # 2026-03-02 09:30 in New York
SECOND = 10**9
DAY = {"time_in_force": "day"}
NOWHERE = {"take_profit": {"limit_price": "101"}, "stop_loss": {"stop_price": "99"}}


def quotes(instrument, n=600, bid=9_999, ask=10_001, size=10_000):
    """A quote a second: 99.99 to 100.01 with much behind it."""
    rows = ev.empty(n)
    rows.kind[:], rows["flags"][:] = ev.QUOTE, ev.LAST
    rows.ts_event[:] = rows.ts_recv[:] = START + SECOND * np.arange(n)
    rows.a[:], rows.b[:], rows.c[:], rows.d[:] = bid, size, ask, size
    return Session.from_rows(rows, [instrument])


class Desk:
    """A client of one account: requests by method and path, as the routes answer them."""

    def __init__(self, session, **options):
        self.server = Server(session, speed="lockstep", rate=0, **options)
        self.rest = Rest(self.server)
        self.routes = {(r.method, r.path): r for r in self.rest.routes()}
        self.account = self.server.authenticate("key", "secret")
        self.wait(10)

    def ask(self, method, path, body=None, args=None, **query):
        return self.routes[method, path].answer(Call(self.account, args or {}, query, body))[1]

    def order(self, side, qty=None, kind="market", **more):
        body = {"symbol": self.server.assets.symbols[0], "side": side, "qty": qty and str(qty), "type": kind, **DAY, **more}
        return self.ask("POST", "/v2/orders", body)

    def wait(self, seconds=1):
        self.server.advance(max(self.server.market.now, START) + seconds * SECOND)

    def refused(self, call, words, status=422, code=42210000):
        with pytest.raises(ApiError) as e:
            call()
        assert (e.value.status, e.value.code) == (status, code) and words in e.value.message, e.value.body()
        return e.value.body()


@pytest.fixture
def desk():
    return Desk(quotes(Instrument(symbol="A", tick_size="0.01")))


TAKE, STOP = "take_profit.limit_price must be {} base_price {} 0.01", "stop_loss.stop_price must be {} base_price {} 0.01"
UP, DOWN = (">=", "+"), ("<=", "-")


@pytest.mark.parametrize(
    ("side", "limit", "take", "stop", "words"),
    [
        ("buy", None, "100.01", "99", TAKE.format(*UP)),  # the ask itself
        ("buy", None, "100.02", "100.01", STOP.format(*DOWN)),
        ("buy", None, "100.02", "100.00", None),
        ("buy", "99.50", "99.50", "99", TAKE.format(*UP)),  # the limit is the base
        ("buy", "99.50", "99.51", "99.49", None),
        ("sell", None, "99.99", "101", TAKE.format(*DOWN)),  # the bid itself
        ("sell", None, "99.98", "99.99", STOP.format(*UP)),
        ("sell", None, "99.98", "100.00", None),
        ("sell", "100.50", "100.50", "101", TAKE.format(*DOWN)),
    ],
)
@pytest.mark.parametrize("cls", ["bracket", "oto take", "oto stop"])
def test_exits_lie_a_cent_from_the_base_price(desk, side, limit, take, stop, words, cls):
    legs = {"take_profit": {"limit_price": take}, "stop_loss": {"stop_price": stop}}
    if cls != "bracket":
        legs.pop("stop_loss" if cls == "oto take" else "take_profit")
        words = words if words and next(iter(legs)) in words else None
    priced = {"kind": "limit", "limit_price": limit} if limit else {}
    order = lambda: desk.order(side, 5, **priced, order_class=cls.split()[0], **legs)  # noqa: E731
    if words:
        assert Decimal(desk.refused(order, words)["base_price"]) == Decimal(limit or ("100.01" if side == "buy" else "99.99"))
    else:
        assert order()["status"] == "pending_new"


def test_brackets_are_entries(desk):
    desk.order("buy", 100)
    desk.wait()
    down = {"take_profit": {"limit_price": "99"}, "stop_loss": {"stop_price": "101"}}
    desk.refused(lambda: desk.order("sell", 50, order_class="bracket", **down), "bracket orders must be entry orders")
    desk.refused(
        lambda: desk.order("sell", 50, order_class="oto", stop_loss={"stop_price": "101"}), "oto orders must be entry orders"
    )
    stop = {"kind": "stop", "stop_price": "102", "order_class": "bracket"}
    exits = {"take_profit": {"limit_price": "104"}, "stop_loss": {"stop_price": "101"}}
    desk.refused(lambda: desk.order("buy", 5, **stop, **exits), "bracket orders must be entry orders")
    oco = {"take_profit": {"limit_price": "104"}, "stop_loss": {"stop_price": "101"}, "order_class": "oco"}
    desk.refused(lambda: desk.order("buy", 5, "limit", **oco), "take_profit.limit_price <")
    assert desk.order("buy", 5, order_class="bracket", **NOWHERE)["order_class"] == "bracket"  # adds to the position


def test_a_stated_intent_is_the_real_one(desk):
    assert desk.order("buy", 10, position_intent="buy_to_open")["position_intent"] == "buy_to_open"
    desk.wait()
    words = "position intent mismatch, inferred: {}, specified: {}"
    for side, intent, inferred in (
        ("sell", "sell_to_open", "sell_to_close"),
        ("buy", "buy_to_close", "buy_to_open"),
    ):
        desk.refused(lambda: desk.order(side, 5, position_intent=intent), words.format(inferred, intent))  # noqa: B023
    desk.refused(lambda: desk.order("sell", 5, position_intent="buy_to_close"), "invalid position_intent", code=40010001)
    assert desk.order("sell", 10, position_intent="sell_to_close")["position_intent"] == "sell_to_close"
    desk.wait()
    assert desk.order("buy", 1, position_intent="")["id"]


def test_shares_that_orders_hold_are_named_with_the_orders(desk):
    desk.order("buy", 100)
    desk.wait()
    first = desk.order("sell", 60, "limit", limit_price="110")
    oco = {"take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "90"}, "order_class": "oco"}
    second = desk.order("sell", 40, "limit", **oco)
    desk.wait()
    words = "insufficient qty available for order (requested: {}, available: 0)"
    for call, qty in (
        (lambda: desk.order("sell", 1), 1),
        (lambda: desk.ask("DELETE", "/v2/positions/{symbol:.+}", args={"symbol": "A"}), 100),
    ):
        said = desk.refused(call, words.format(qty), 403, 40310000)
        assert said["related_orders"] == [first["id"], second["id"]]
        assert (said["existing_qty"], said["held_for_orders"], said["available"]) == ("100", "100", "0")


def test_fractions_and_money_are_day_orders_and_no_short_sales():
    desk = Desk(quotes(Instrument(symbol="A", tick_size="0.01", lot_size="0.001")))
    desk.refused(lambda: desk.order("sell", "0.5"), "fractional orders cannot be sold short")
    desk.refused(lambda: desk.order("sell", notional="50"), "fractional orders cannot be sold short")
    desk.refused(lambda: desk.order("buy", "0.5", time_in_force="gtc"), "fractional orders must be DAY")
    desk.refused(lambda: desk.order("buy", notional="50", order_class="bracket", **NOWHERE), "do not support notional")
    o = desk.order("buy", notional="50")
    assert (o["qty"], o["notional"]) == (None, "50")
    desk.wait()
    assert desk.ask("GET", "/v2/orders/{id}", args={"id": o["id"]})["filled_qty"] == "0.499"


def test_pairs_want_their_slash_and_ten_dollars():
    desk = Desk(quotes(Instrument(symbol="BTCUSD", base="BTC", currency="USD", tick_size="0.01", lot_size="0.0001")))
    gtc = {"time_in_force": "gtc"}
    words = "cost basis must be >= minimal amount of order 10"
    desk.refused(lambda: desk.order("buy", "0.05", **gtc), words, 403, 40310000)
    assert desk.order("buy", "0.2", **gtc)["symbol"] == "BTC/USD"
    desk.refused(lambda: desk.order("buy", "0.2", symbol="BTCUSD", **gtc), 'asset "BTCUSD" not found')
    path = "/v1beta3/crypto/us/latest/quotes"
    desk.refused(lambda: desk.ask("GET", path, symbols="BTCUSD"), "invalid symbol: BTCUSD", 400, 40010000)
    assert desk.ask("GET", path, symbols="BTC/USD,ETH/USD")["quotes"].keys() == {"BTC/USD"}


def test_open_rules_leave_the_venue_s_own():
    desk = Desk(quotes(Instrument(symbol="A", tick_size="0.01")), strict=False)
    legs = {"take_profit": {"limit_price": "99"}, "stop_loss": {"stop_price": "98"}}
    assert desk.order("buy", 5, order_class="bracket", position_intent="buy_to_close", **legs)["id"]


def test_fields_that_are_gone(desk):
    gone = {"pattern_day_trader", "daytrade_count", "daytrading_buying_power", "dtbp_check", "pdt_check"}
    told = desk.ask("GET", "/v2/account").keys() | desk.ask("GET", "/v2/account/configurations").keys()
    assert not told & gone and {"buying_power", "equity", "no_shorting"} <= told


# --- queries ---------------------------------------------------------------------------------------------------------------------
def test_legs_are_told_where_they_are_asked_for(desk):
    o = desk.order("buy", 5, order_class="bracket", **NOWHERE)
    desk.wait()
    assert len(o["legs"]) == 2
    one = lambda **q: desk.ask("GET", "/v2/orders/{id}", args={"id": o["id"]}, **q)["legs"]  # noqa: E731
    assert (one(), one(nested="false"), len(one(nested="True"))) == (None, None, 2)
    every = lambda **q: desk.ask("GET", "/v2/orders", **q)  # noqa: E731
    assert [x["legs"] for x in every(status="all")] == [None] * 3
    assert [len(x["legs"]) for x in every(status="all", nested="true")] == [2]
    assert len(every(nested="true")) == 2  # the entry has been filled: its open legs are not hidden behind it


def test_orders_are_selected_and_paged(desk):
    ids = []
    for k in range(4):
        ids.append(desk.order("buy", 1, "limit", limit_price=f"9{k}")["id"])
        desk.wait()
    every = lambda **q: [o["id"] for o in desk.ask("GET", "/v2/orders", status="all", direction="asc", **q)]  # noqa: E731
    times = [desk.ask("GET", "/v2/orders/{id}", args={"id": x})["submitted_at"] for x in ids]
    assert every(until=times[2]) == ids[:2] and every(after=times[2]) == ids[3:]
    assert every(after_order_id=ids[1]) == ids[2:] and every(before_order_id=ids[1]) == ids[:1]
    assert (every(asset_class="crypto"), every(asset_class="us_equity,crypto"), every(side="sell")) == ([], ids, [])
    both = {"after_order_id": ids[0], "before_order_id": ids[1]}
    desk.refused(lambda: every(**both), "do not go together", 400, 40010000)
    desk.refused(lambda: every(after_order_id=ids[0], until=times[1]), "do not go together", 400, 40010000)
    desk.refused(lambda: every(after_order_id="4e5a0c1e-0000-4000-8000-000000000000"), "not found", 404, 40410000)


STOCK = {"symbols": "A", "timeframe": "1Min"}


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        ("/v2/stocks/bars", STOCK | {"sort": "sideways"}, "sort"),
        ("/v2/stocks/bars", STOCK | {"feed": "bogus"}, "feed"),
        ("/v2/stocks/bars", STOCK | {"adjustment": "bogus"}, "adjustment"),
        ("/v2/stocks/bars", STOCK | {"timeframe": "90Min"}, "timeframe"),
        ("/v2/stocks/bars", {"symbols": "A"}, "timeframe is required"),
        ("/v2/stocks/bars", STOCK | {"symbols": "AAPL$$"}, "invalid symbol: AAPL$$"),
        ("/v2/stocks/bars", STOCK | {"symbols": "BTC/USD,A*"}, "invalid symbol: A*"),
        ("/v2/stocks/bars", STOCK | {"limit": "-1"}, "limit"),
        ("/v2/stocks/bars", STOCK | {"limit": "10001"}, "limit"),
        ("/v2/stocks/bars", STOCK | {"currency": "EUR"}, "currency"),
        ("/v2/stocks/bars", STOCK | {"start": "yesterday"}, "start"),
        ("/v2/stocks/bars", STOCK | {"start": "2026-03-02", "end": "2026-02-02"}, "end should not be before start"),
        ("/v2/stocks/bars", STOCK | {"colour": "red"}, "unexpected query parameter: colour"),
        ("/v2/stocks/trades", {}, "query parameter 'symbols' is required"),
        ("/v2/stocks/quotes/latest", {"symbols": "A", "feed": "bogus"}, "feed"),
        ("/v2/stocks/snapshots", {"symbols": "A", "limit": "5"}, "unexpected query parameter: limit"),
        ("/v2/orders", {"status": "odd"}, "status"),
        ("/v2/orders", {"limit": "501"}, "limit"),
        ("/v2/orders", {"direction": "up"}, "direction"),
        ("/v2/orders", {"nested": "yes"}, "nested"),
        ("/v2/account", {"verbose": "1"}, "unexpected query parameter: verbose"),
        ("/v2/account/activities", {"page_size": "0"}, "page_size"),
        ("/v2/account/portfolio/history", {"period": "3X"}, "period"),
        ("/v2/account/portfolio/history", {"timeframe": "2Min"}, "timeframe"),
        ("/v2/account/portfolio/history", {"period": "2M", "timeframe": "5Min"}, "only 1D"),
        ("/v2/assets", {"status": "odd"}, "status"),
        ("/v2/calendar", {"start": "soon"}, "start"),
        ("/v2/calendar", {"start": "0001-01-01", "end": "0001-01-02", "date_type": "SETTLEMENT"}, "must lie"),
        ("/v3/clock", {"time": "soon"}, "time"),
        ("/v3/clock", {"time": "0001-01-01T00:00:00Z"}, "time must lie"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_400(desk, path, query, words):
    desk.refused(lambda: desk.ask("GET", path, **query), words, 400, 40010000)


def test_the_first_and_the_last_of_all_times_are_times(desk):
    """Clients send the zero time of their language where they mean none."""
    zero = "0001-01-01T00:00:00Z"
    assert desk.ask("GET", "/v2/orders", after=zero) == [] == desk.ask("GET", "/v2/account/activities", after=zero)
    assert desk.ask("GET", "/v2/account/portfolio/history", start=zero)["timeframe"] == "1D"
    assert desk.ask("GET", "/v2/stocks/quotes", symbols="A", start=zero, limit="1")["quotes"]["A"]
    assert desk.ask("GET", "/v2/stocks/quotes", symbols="A", end="9000-01-01", limit="1")["quotes"]["A"]


def test_what_a_session_does_not_hold_is_named():
    for path in ("/v1beta1/news", "/v1/corporate-actions", "/v2/options/contracts", "/v2/stocks/auctions", "/v2/wallets"):
        assert absent(path), path
    assert absent("/v1beta3/crypto/eu-1/bars") and absent("/v2/positions/A/exercise")
    assert absent("/v2/moon") is None and absent("/v2/orders") is None
