"""Client libraries that others wrote, unmodified: what a bot of theirs does first. alpaca-py's own tests are `test_serve_day` and others."""

import time
from datetime import UTC, datetime

import pytest

pytest.importorskip("ccxt")
pytest.importorskip("aiohttp")

import ccxt
from alpaca.common.exceptions import APIError
from alpaca.data.historical import CryptoHistoricalDataClient, NewsClient
from alpaca.data.requests import CryptoBarsRequest, NewsRequest, StockBarsRequest
from alpaca.data.timeframe import TimeFrame
from alpaca.trading.requests import CreateWatchlistRequest, GetOrdersRequest, GetPortfolioHistoryRequest, MarketOrderRequest
from serving import KEY, SECRET, site, wait

from replay.data import synth


@pytest.fixture
def pair():
    with site(synth.l2_book(4_000, seed=12)) as s:
        s.advance(rows=1_000)
        yield s


def exchange(url, **keys):
    made = ccxt.alpaca({**keys, "timeout": 60_000, "enableRateLimit": False})
    made.urls["api"] = {"trader": url, "market": url, "broker": url}
    return made


def test_ccxt_reads_the_market_without_keys(pair):
    e = exchange(pair.url)
    book = e.fetch_order_book("BTC/USDT") if "BTC/USDT" in _markets(e, pair) else {}
    assert book["bids"][0][0] < book["asks"][0][0]
    ticker = e.fetch_ticker("BTC/USDT")
    assert ticker["bid"] == book["bids"][0][0] and ticker["ask"] == book["asks"][0][0]
    trades = e.fetch_trades("BTC/USDT", since=pair.session.manifest.start_ns // 10**6, limit=5)
    assert len(trades) == 5 and trades[0]["price"] > 0
    pair.advance(120)
    candles = e.fetch_ohlcv("BTC/USDT", "1m", since=pair.session.manifest.start_ns // 10**6)
    assert candles and candles[0][2] >= candles[0][3]


def _markets(e, pair):
    """ccxt reads the list of assets, which wants keys, before anything else."""
    keyed = exchange(pair.url, apiKey=KEY, secret=SECRET)
    e.set_markets(list(keyed.load_markets().values()))
    return e.markets


def test_ccxt_trades(pair):
    e = exchange(pair.url, apiKey=KEY, secret=SECRET)
    e.load_markets()
    assert e.fetch_time() // 1000 == pair.server.market.now // 10**9
    bid = pair.server.market.touch(0).bid_px * 0.01
    resting = e.create_order("BTC/USDT", "limit", "buy", 0.5, round(bid * 0.5))
    pair.advance(0.01)
    assert e.fetch_order(resting["id"])["status"] == "open" and [o["id"] for o in e.fetch_open_orders()] == [resting["id"]]
    changed = e.edit_order(resting["id"], "BTC/USDT", "limit", "buy", 0.4, round(bid * 0.5))
    pair.advance(0.01)
    e.cancel_order(changed["id"])
    bought = e.create_order("BTC/USDT", "market", "buy", 0.01)
    pair.advance(0.05)
    assert e.fetch_order(bought["id"])["filled"] == 0.01 and [t["amount"] for t in e.fetch_my_trades("BTC/USDT")] == [0.01]
    assert {o["status"] for o in e.fetch_closed_orders()} == {"closed", "canceled"}
    with pytest.raises(ccxt.BaseError, match="asset"):
        e.trader_private_post_v2_orders(
            {"symbol": "BTCUSDT", "qty": "1", "side": "buy", "type": "market", "time_in_force": "gtc"}
        )


def test_alpaca_py_s_first_examples(pair):
    """Crypto bars without keys, a watchlist, the portfolio's history; and what a session does not hold says so."""
    pair.advance(60)
    bars = CryptoHistoricalDataClient(url_override=pair.url).get_crypto_bars(
        CryptoBarsRequest(symbol_or_symbols="BTC/USDT", timeframe=TimeFrame.Minute, start=datetime(2026, 1, 1, tzinfo=UTC))
    )
    assert bars["BTC/USDT"][0].high >= bars["BTC/USDT"][0].low
    c = pair.trading
    made = c.create_watchlist(CreateWatchlistRequest(name="mine", symbols=["BTC/USDT"]))
    assert [w.name for w in c.get_watchlists()] == ["mine"]
    assert [a.symbol for a in c.get_watchlist_by_id(made.id).assets] == ["BTC/USDT"]
    c.delete_watchlist_by_id(made.id)
    assert c.get_watchlists() == []
    assert c.get_portfolio_history(GetPortfolioHistoryRequest(period="1D", timeframe="5Min")).timeframe == "5Min"
    with pytest.raises(APIError, match="a session holds no news"):
        NewsClient(KEY, SECRET, url_override=pair.url).get_news(NewsRequest(symbols="BTC/USDT"))


def test_a_bot_that_waits_for_the_open_by_the_clock():
    """Nobody subscribes to anything: time passes all the same, and the market opens."""
    day = synth.bar_days(n_events=900, seed=7)
    with site(day, speed=6000.0) as s:
        waited = time.monotonic() + 60
        while not s.trading.get_clock().is_open:
            assert time.monotonic() < waited
            time.sleep(0.01)
        assert s.server.market.now >= day.manifest.start_ns and not s.server.data_streams


def test_one_order_stream_an_account():
    """The second is turned away; another account's is not, and nor is one behind another that has gone."""
    with site(synth.equity_day(("AAPL",), 2_000, seed=5)) as s:
        heard = s.updates()
        status, said = _greet(f"{s.ws}/stream/")
        assert (status, "connection limit" in said) == ("unauthorized", True)
        assert _greet(f"{s.ws}/stream", key="ANOTHER")[0] == "authorized"
        assert heard == [] and sum(c.listening for c in s.server.trade_streams) == 1
        s.fault("drop", stream="/stream")
        assert wait(lambda: any(c.listening for c in s.server.trade_streams))


def _greet(url, key=KEY):
    """What the order stream says to a login: its status and its message."""
    import asyncio
    import json

    import aiohttp

    async def ask():
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            await ws.send_json({"action": "auth", "key": key, "secret": SECRET})
            data = json.loads((await ws.receive()).data)["data"]
            return data["status"], data.get("message", "")

    return asyncio.run(ask())


def test_orders_are_paged_by_the_last_one_s_id():
    with site(synth.equity_day(("AAPL",), 2_000, seed=5)) as s:
        s.advance(rows=400)
        for _ in range(5):
            s.trading.submit_order(MarketOrderRequest(symbol="AAPL", qty=1, side="buy", time_in_force="day"))
            s.advance(0.01)
        every = [str(o.id) for o in s.trading.get_orders(GetOrdersRequest(status="all", direction="asc"))]
        seen, query = [], {"status": "all", "direction": "asc", "limit": 2}
        while page := s.trading.get("/orders", query):
            seen += [o["id"] for o in page]
            query["after_order_id"] = page[-1]["id"]
        assert seen == every and len(every) == 5


def test_unknown_paths_and_parameters_are_said():
    lines = []
    with site(synth.equity_day(("AAPL",), 500, seed=5), say=lines.append) as s:
        for ask in (lambda: s.trading.get("/moon"), lambda: s.trading.get("/clock", {"tide": "high"})):
            with pytest.raises(APIError):
                ask()
        s.historical.get_stock_bars(
            StockBarsRequest(symbol_or_symbols="AAPL", timeframe=TimeFrame.Minute, start=datetime(2026, 3, 2, tzinfo=UTC))
        )
        with pytest.raises(APIError):
            s.trading.post("/orders", {"symbol": "AAPL", "mood": "good"})
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "GET /v2/moon",
        "parameter tide of GET /v2/clock",
        "field mood of an order",
    ]
