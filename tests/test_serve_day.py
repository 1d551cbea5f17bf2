"""A scripted day with the unmodified alpaca-py: every kind of call, the documented errors, the streams. Between two calls nothing moves."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import requests
import serving
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
)
from serving import KEY, SECRET, answers, site, spec, wait

from replay.data.session import Session

DAY = Path(__file__).parents[1] / "fixtures" / "equity-day"


@pytest.fixture(scope="module")
def at():
    with site(Session.open(DAY, trust=True)) as s:
        yield s


def refused(call, status, code, words):
    return serving.refused(call, words, status, code)


def test_a_scripted_day(at):
    c, h = at.trading, at.historical
    heard = at.updates()
    stream, data = at.market_data(quotes=["AAPL"], trades=["AAPL", "MSFT"], bars=["AAPL"])
    assert wait(lambda: at.server.data_streams and at.server.data_streams[0].wants)

    # --- before the open
    assert c.get_clock().is_open is False
    account = c.get_account()
    assert (account.cash, account.buying_power, account.multiplier, account.status.value) == ("100000", "200000", "2", "ACTIVE")
    early = c.submit_order(MarketOrderRequest(symbol="MSFT", qty=5, side="buy", time_in_force="day"))
    assert early.status.value == "accepted"
    refused(lambda: c.replace_order_by_id(early.id, ReplaceOrderRequest(qty=6)), 422, 42210000, "cannot replace")
    late = c.submit_order(LimitOrderRequest(symbol="MSFT", qty=1, side="buy", limit_price=190, time_in_force="day"))
    c.cancel_order_by_id(late.id)
    assert c.get_order_by_id(late.id).status.value == "canceled"

    # --- the open
    at.advance(rows=400)
    clock = c.get_clock()
    assert clock.is_open and clock.next_close.hour == 16
    early = c.get_order_by_id(early.id)
    assert early.status.value == "filled" and early.filled_qty == "5"
    assert wait(lambda: data["quotes"] and data["trades"])

    # --- one market order
    q = h.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))["AAPL"]
    order = c.submit_order(MarketOrderRequest(symbol="AAPL", qty=10, side="buy", time_in_force="day", client_order_id="one"))
    assert (order.status.value, order.order_class.value, order.qty) == ("pending_new", "simple", "10")
    refused(lambda: c.replace_order_by_id(order.id, ReplaceOrderRequest(qty=6)), 422, 42210000, "cannot replace")
    at.advance(0.01)
    order = c.get_order_by_client_id("one")
    assert order.status.value == "filled" and float(order.filled_avg_price) == q.ask_price
    assert wait(lambda: [u.event for u in heard if u.order.client_order_id == "one"] == ["new", "fill"])
    fill = [u for u in heard if u.order.client_order_id == "one"][-1]
    assert (fill.price, fill.qty, fill.position_qty) == (q.ask_price, 10.0, 10.0)
    position = c.get_open_position("AAPL")
    assert (position.qty, position.side.value, position.qty_available) == ("10", "long", "10")
    assert float(position.avg_entry_price) == q.ask_price
    assert Decimal(c.get_account().cash) == 100_000 - Decimal(str(q.ask_price)) * 10 - Decimal(early.filled_avg_price) * 5

    # --- what is refused
    day = {"symbol": "AAPL", "qty": 1, "side": "buy", "time_in_force": "day"}

    def new(**fields):
        return c.submit_order(MarketOrderRequest(**{**day, **fields}))

    def limit(px, **fields):
        return c.submit_order(LimitOrderRequest(**{**day, "limit_price": px, **fields}))

    def raw(**fields):
        return c.post("/orders", {**day, "type": "market", **fields})

    by_notional = MarketOrderRequest(symbol="AAPL", notional=50, side="buy", time_in_force="day")
    nobody = "904837e3-3b76-47ec-b432-046db621571b"
    # fmt: off
    for call, status, code, words in [
        (lambda: new(client_order_id="one"), 422, 40010001, "client_order_id must be unique"),
        (lambda: new(client_order_id="x" * 129), 422, 40010001, "client_order_id must be no more than 128"),
        (lambda: raw(qty=None), 422, 40010001, "qty or notional is required"),
        (lambda: raw(notional=9), 422, 40010001, "only one of"),
        (lambda: raw(type="limit"), 422, 40010001, "require limit price"),
        (lambda: raw(type="stop"), 422, 40010001, "require stop price"),
        (lambda: raw(limit_price=1), 422, 40010001, "must not have limit price"),
        (lambda: raw(side="hold"), 422, 40010001, "invalid side"),
        (lambda: raw(qty="many"), 422, 40010001, "qty must be a number"),
        (lambda: raw(qty=-1), 422, 40010001, "qty must be > 0"),
        (lambda: raw(time_in_force="opg"), 422, 42210000, "not simulated"),
        (lambda: raw(type="trailing_stop"), 422, 42210000, "not simulated"),
        (lambda: c.post("/orders", [1]), 400, 40010000, "format is invalid"),
        (lambda: new(symbol="ZZZ"), 422, 42210000, 'asset "ZZZ" not found'),
        (lambda: limit(100.123), 422, 42210000, "sub-penny"),
        (lambda: limit(100, time_in_force="gtc", qty=0.5), 422, 42210000, "fractional orders must be DAY"),
        (lambda: new(qty=0.5), 403, 40310000, "not fractionable"),
        (lambda: c.submit_order(by_notional), 403, 40310000, "not fractionable"),
        (lambda: new(extended_hours=True), 422, 42210000, "extended hours"),
        (lambda: c.get_order_by_id(nobody), 404, 40410000, "order not found"),
        (lambda: c.cancel_order_by_id(nobody), 404, 40410000, "order not found"),
        (lambda: c.get("/orders/1"), 400, 40010000, "malformed"),
        (lambda: c.get_order_by_client_id("nobody"), 404, 40410000, "order not found"),
        (lambda: c.get("/orders", {"status": "odd"}), 400, 40010000, "invalid status"),
        (lambda: c.cancel_order_by_id(order.id), 422, 42210000, 'already in "filled" state'),
        (lambda: c.replace_order_by_id(order.id, ReplaceOrderRequest(qty=2)), 422, 42210000, "cannot replace"),
        (lambda: c.get_open_position("ZZZ"), 404, 40410000, "symbol not found"),
    ]:
        refused(call, status, code, words)
    # fmt: on
    body = refused(lambda: new(qty=1_000_000), 403, 40310000, "insufficient buying power")
    assert Decimal(body["cost_basis"]) > Decimal(body["buying_power"]) > 0
    body = refused(
        lambda: new(qty=11, side="sell"), 403, 40310000, "insufficient qty available for order (requested: 11, available: 10)"
    )
    assert (body["existing_qty"], body["held_for_orders"], body["symbol"]) == ("10", "0", "AAPL")

    # --- a limit order: replaced, cancelled
    resting = limit(100, qty=2, client_order_id="rest")
    at.advance(0.01)
    refused(lambda: c.replace_order_by_id(resting.id, ReplaceOrderRequest(qty=2)), 422, 42210000, "not changed")
    again = c.replace_order_by_id(resting.id, ReplaceOrderRequest(qty=3, limit_price=101, client_order_id="rest-2"))
    assert again.id != resting.id and again.replaces == resting.id
    refused(lambda: c.cancel_order_by_id(resting.id), 422, 42210000, "replace is pending")
    at.advance(0.01)
    old = c.get_order_by_id(resting.id)
    assert (old.status.value, old.replaced_by) == ("replaced", again.id)
    again = c.get_order_by_id(again.id)
    assert (again.status.value, again.qty, again.limit_price) == ("new", "3", "101")
    assert wait(lambda: [u.event for u in heard if u.order.client_order_id.startswith("rest")] == ["new", "replaced", "new"])
    body = refused(lambda: new(side="sell"), 403, 40310000, "potential wash trade")
    assert body["existing_order_id"] == str(again.id)
    assert Decimal(c.get_account().buying_power) < Decimal(account.buying_power)
    assert [o.id for o in c.get_orders(GetOrdersRequest(status="open", symbols=["AAPL"]))] == [again.id]
    c.cancel_order_by_id(again.id)
    assert c.get_order_by_id(again.id).status.value == "pending_cancel"
    at.advance(0.01)
    assert c.get_order_by_id(again.id).status.value == "canceled"

    # --- IOC, stop, stop limit
    ioc = limit(100, time_in_force="ioc")
    at.advance(0.01)
    assert c.get_order_by_id(ioc.id).status.value == "canceled"
    bid = h.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))["AAPL"].bid_price
    stop = c.submit_order(StopOrderRequest(symbol="AAPL", qty=4, side="sell", stop_price=round(bid - 20, 2), time_in_force="gtc"))
    both = c.submit_order(
        StopLimitOrderRequest(
            symbol="AAPL", qty=6, side="sell", stop_price=round(bid - 20, 2), limit_price=round(bid - 21, 2), time_in_force="gtc"
        )
    )
    at.advance(0.01)
    assert c.get_open_position("AAPL").qty_available == "0"
    refused(lambda: new(side="sell", qty=1), 403, 40310000, "available: 0")
    moved = c.replace_order_by_id(stop.id, ReplaceOrderRequest(stop_price=round(bid - 19, 2)))
    at.advance(0.01)
    assert c.get_order_by_id(moved.id).stop_price == str(Decimal(str(round(bid - 19, 2))).normalize())
    cancelled = c.cancel_orders()
    assert {r.id for r in cancelled} == {moved.id, both.id} and all(r.status == 200 for r in cancelled)
    at.advance(0.01)

    # --- brackets
    px = h.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))["AAPL"].ask_price
    profit, loss = TakeProfitRequest(limit_price=round(px + 0.05, 2)), StopLossRequest(stop_price=round(px - 20, 2))
    crossed = {"take_profit": {"limit_price": 1}, "stop_loss": {"stop_price": 2}}
    hurried = {"take_profit": {"limit_price": 500}, "stop_loss": {"stop_price": 2}, "time_in_force": "ioc"}
    lone = {"take_profit": {"limit_price": 500}}
    for fields, words in (
        (lone, "require take_profit and stop_loss"),
        (crossed, "take_profit.limit_price >"),
        (hurried, "complex orders"),
    ):
        refused(lambda fields=fields: raw(order_class="bracket", **fields), 422, 42210000, words)
    bracket = new(qty=3, order_class="bracket", take_profit=profit, stop_loss=loss)
    assert [leg.status.value for leg in bracket.legs] == ["held", "held"]
    at.advance(0.05)
    bracket = c.get_order_by_id(bracket.id, GetOrderByIdRequest(nested=True))
    assert bracket.status.value == "filled" and [leg.status.value for leg in bracket.legs] == ["new", "held"]
    for _ in range(200):
        if c.get_order_by_id(bracket.legs[0].id).status.value == "filled":
            break
        at.advance(30)
    at.advance(0.01)
    nested = GetOrderByIdRequest(nested=True)
    assert [leg.status.value for leg in c.get_order_by_id(bracket.id, nested).legs] == ["filled", "canceled"]
    assert c.get_order_by_id(bracket.id).legs is None
    oco = c.submit_order(
        LimitOrderRequest(symbol="AAPL", qty=10, side="sell", limit_price=round(px + 30, 2), time_in_force="gtc", order_class="oco",
                          take_profit=TakeProfitRequest(limit_price=round(px + 30, 2)), stop_loss=StopLossRequest(stop_price=round(px - 30, 2)))
    )  # fmt: skip
    at.advance(0.05)
    assert c.get_open_position("AAPL").qty_available == "0"
    assert [(o.status.value, o.legs[0].status.value) for o in [c.get_order_by_id(oco.id, nested)]] == [("new", "held")]
    c.cancel_order_by_id(oco.id)
    at.advance(0.05)
    assert [(o.status.value, o.legs[0].status.value) for o in [c.get_order_by_id(oco.id, nested)]] == [("canceled", "canceled")]
    oto = new(order_class="oto", stop_loss=StopLossRequest(stop_price=round(px - 30, 2)))
    at.advance(0.05)
    assert c.get_order_by_id(oto.id, nested).legs[0].status.value == "new"
    nested = c.get_orders(GetOrdersRequest(status="all", nested=True, limit=500))
    flat = c.get_orders(GetOrdersRequest(status="all", limit=500))
    assert len(flat) == len(nested) + 4 and sum(len(o.legs or []) for o in nested) == 4
    assert len(c.get_orders(GetOrdersRequest(status="closed", limit=2, direction="asc"))) == 2

    # --- positions are closed
    refused(lambda: c.close_position("AAPL", ClosePositionRequest(qty="11")), 403, 40310000, "insufficient qty")
    part = c.close_position("MSFT", ClosePositionRequest(percentage="40"))
    assert (part.qty, part.side.value) == ("2", "sell")
    refused(lambda: c.close_position("ZZZ"), 404, 40410000, "not found")
    at.advance(0.01)
    closed = c.close_all_positions(cancel_orders=True)
    assert {r.symbol: r.status for r in closed} == {"AAPL": 200, "MSFT": 200}
    at.advance(60)
    assert c.get_all_positions() == []
    refused(lambda: c.get_open_position("AAPL"), 404, 40410000, "position does not exist")

    # --- a short sale
    short = new(side="sell", qty=7)
    at.advance(0.01)
    assert c.get_order_by_id(short.id).status.value == "filled"
    assert (c.get_open_position("AAPL").qty, c.get_open_position("AAPL").side.value) == ("-7", "short")
    refused(lambda: new(qty=8), 403, 40310000, "insufficient qty available")
    new(qty=7)
    at.advance(0.01)
    assert c.get_all_positions() == []

    # --- the rest of the account, assets, calendar
    assert c.get_account_configurations().no_shorting is False
    configuration = c.get_account_configurations()
    configuration.no_shorting = True
    assert c.set_account_configurations(configuration).no_shorting is True
    refused(lambda: new(side="sell"), 403, 40310000, "not allowed to short")
    configuration.no_shorting = False
    c.set_account_configurations(configuration)
    fills = c.get("/account/activities", {"activity_types": "FILL"})
    assert len(fills) == sum(u.event in ("fill", "partial_fill") for u in heard) and fills[0]["activity_type"] == "FILL"
    assert c.get("/account/activities/FILL", {"page_size": 1})[0] == fills[0]
    for direction, wanted in (("desc", fills), ("asc", fills[::-1])):
        paged, query = [], {"page_size": 2, "direction": direction}
        while page := c.get("/account/activities/FILL", query):
            paged += page
            query["page_token"] = page[-1]["id"]
        assert paged == wanted
        assert c.get("/account/activities/FILL", {"page_token": "of nobody", "direction": direction}) == []
    middle = fills[len(fills) // 2]["transaction_time"]
    times = {how: [f["transaction_time"] for f in c.get("/account/activities/FILL", {how: middle})] for how in ("after", "until")}
    assert times == {
        "after": [f["transaction_time"] for f in fills if f["transaction_time"] > middle],
        "until": [f["transaction_time"] for f in fills if f["transaction_time"] < middle],
    }
    assert c.get("/account/activities/FILL", {"date": middle[:10]}) == fills
    assert c.get("/account/activities/FILL", {"date": "2020-01-01"}) == []
    assert c.get_portfolio_history(GetPortfolioHistoryRequest()).base_value == 100_000
    assert [a.symbol for a in c.get_all_assets(GetAssetsRequest(status="active"))] == ["AAPL", "MSFT"]
    assert c.get_asset("MSFT").shortable is True
    refused(lambda: c.get_asset("ZZZ"), 404, 40410000, "asset not found")
    (today,) = c.get_calendar(GetCalendarRequest(start=clock.timestamp.date(), end=clock.timestamp.date()))
    assert (today.open.hour, today.open.minute, today.close.hour) == (9, 30, 16)

    # --- history, never beyond now
    at.advance(3600)
    now = c.get_clock().timestamp
    start = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
    bars = h.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols=["AAPL", "MSFT"],
            timeframe=TimeFrame(5, TimeFrameUnit.Minute),
            start=start,
            end=start + timedelta(days=1),
        )
    )
    assert len(bars["AAPL"]) > 3 and all(b.timestamp <= now for b in bars["AAPL"])
    trades = h.get_stock_trades(StockTradesRequest(symbol_or_symbols="MSFT", start=start, limit=25))["MSFT"]
    assert len(trades) == 25 and trades[0].timestamp <= trades[-1].timestamp <= now
    h._session.params = {"limit": 7}  # small pages
    quotes = h.get_stock_quotes(
        StockQuotesRequest(symbol_or_symbols=["AAPL", "MSFT"], start=start, end=start + timedelta(minutes=1))
    )
    h._session.params = {}
    rows = at.session.events
    first = rows[(rows.kind == 1) & (rows.ts_event <= int((start + timedelta(minutes=1)).timestamp()) * 10**9)]
    assert [len(quotes[s]) for s in ("AAPL", "MSFT")] == [int((first.instrument == k).sum()) for k in range(2)]
    daily = h.get_stock_bars(
        StockBarsRequest(symbol_or_symbols="AAPL", timeframe=TimeFrame.Day, start=datetime(2026, 3, 1, tzinfo=UTC))
    )["AAPL"]
    assert [b.timestamp for b in daily] == [datetime(2026, 3, 2, 5, tzinfo=UTC)]
    assert h.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"].timestamp <= now
    assert h.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))["AAPL"].symbol == "AAPL"
    assert h.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AAPL"))["AAPL"].daily_bar.open == daily[0].open

    # --- the close
    gtc = limit(50, time_in_force="gtc")
    day_order = limit(50, symbol="MSFT")
    at.post("advance")
    assert c.get_order_by_id(day_order.id).status.value == "expired" and c.get_order_by_id(gtc.id).status.value == "new"
    refused(new, 422, 42210000, "session is over")
    assert c.get_clock().is_open is False
    assert at.post("advance")["done"] is True

    # --- what came by stream
    rows, k = at.session.events, 0
    quoted, traded = int(((rows.kind == 1) & (rows.instrument == k)).sum()), int((rows.kind == 2).sum())
    assert wait(lambda: len(data["quotes"]) == quoted and len(data["trades"]) == traded, 60), (len(data["quotes"]), quoted)
    assert [q.timestamp for q in data["quotes"]] == sorted(q.timestamp for q in data["quotes"])
    # the minute bars of the stream are those of history: the session holds no late print
    history = h.get_stock_bars(StockBarsRequest(symbol_or_symbols="AAPL", timeframe=TimeFrame.Minute, start=start))["AAPL"]
    sent = {b.timestamp: (b.open, b.high, b.low, b.close, b.volume, b.trade_count) for b in data["bars"]}
    known = {b.timestamp: (b.open, b.high, b.low, b.close, b.volume, b.trade_count) for b in history}
    assert len(sent) > 300 and all(known[t] == bar for t, bar in sent.items()) and len(known) - len(sent) <= 1
    assert {u.event for u in heard} == {"new", "fill", "partial_fill", "canceled", "replaced", "expired"} - (
        set() if any(u.event == "partial_fill" for u in heard) else {"partial_fill"}
    )
    assert len(at.exchanges) + len(heard) >= 150


def test_answers_are_as_the_broker_describes_them(at):
    """Behind the day: every answer it got."""
    document = spec("trading-api.json")
    checked = list(answers(document, at.exchanges))
    assert [c for c in checked if c[1]] == []
    assert {(m, s) for (m, _, s), _ in checked} >= {("GET", 200), ("POST", 200), ("PATCH", 200), ("DELETE", 207), ("DELETE", 200)}
    assert len(checked) > 60
    market = list(answers(spec("market-data-api.json"), at.exchanges))
    assert len(market) >= 8 and [c for c in market if c[1]] == []


def test_strangers(at):
    r = requests.get(f"{at.url}/v2/account", timeout=10)
    assert r.status_code == 401 and r.headers["Content-Type"].startswith("text/html")
    r = requests.get(f"{at.url}/v2/account", headers={"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": ""}, timeout=10)
    assert (r.status_code, r.json()) == (401, {"message": "unauthorized."})
    other = at.client(TradingClient, key="ANOTHER")
    assert other.get_account().account_number != at.trading.get_account().account_number
    assert other.get_orders(GetOrdersRequest(status="all")) == []
    historical = at.client(StockHistoricalDataClient, key="ANOTHER", secret=SECRET)
    refused(
        lambda: historical.get("/stocks/bars", {"symbols": "AAPL", "timeframe": "7Moons"}), 400, 40010000, "invalid timeframe"
    )
    refused(lambda: historical.get("/stocks/trades", {"symbols": "AAPL", "page_token": "§"}), 400, 40010000, "invalid page_token")
