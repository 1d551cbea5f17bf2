"""Sessions other than stocks of quotes and trades: a pair with an order book, and stocks that have only bars."""

import threading
from datetime import UTC, datetime

import pytest
from alpaca.data.historical import CryptoHistoricalDataClient
from alpaca.data.live import CryptoDataStream
from alpaca.data.requests import CryptoLatestOrderbookRequest, CryptoTradesRequest, StockBarsRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.requests import GetAssetsRequest, LimitOrderRequest, MarketOrderRequest
from serving import KEY, SECRET, refused, site, wait

from replay.data import synth
from replay.events import BAR, DEPTH, LAST, TRADE


@pytest.fixture
def pair():
    with site(synth.l2_book(4_000, seed=12)) as s:
        yield s


def test_a_pair(pair):
    c, h = pair.trading, pair.client(CryptoHistoricalDataClient)
    pair.advance(rows=1_000)
    (asset,) = c.get_all_assets(GetAssetsRequest())
    assert (asset.symbol, asset.asset_class.value, asset.marginable, asset.fractionable) == ("BTC/USDT", "crypto", False, True)
    heard = pair.updates()
    stream, books, trades = CryptoDataStream(KEY, SECRET, url_override=f"{pair.ws}/v1beta3/crypto/us"), [], []

    async def take(m):
        (books if hasattr(m, "bids") else trades).append(m)

    stream.subscribe_orderbooks(take, "BTC/USDT")
    stream.subscribe_trades(take, "BTC/USDT")
    pair._run(stream)
    assert wait(lambda: books) and books[0].reset
    bids = {level.price: level.size for level in books[0].bids}
    book = h.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(symbol_or_symbols="BTC/USDT"))["BTC/USDT"]
    assert {level.price: level.size for level in book.bids} == bids and max(bids) < min(level.price for level in book.asks)

    order = c.submit_order(MarketOrderRequest(symbol="BTC/USDT", notional=1_000, side="buy", time_in_force="gtc"))
    assert (order.qty, order.notional) == (None, "1000")
    ask = min(level.price for level in book.asks)
    pair.advance(rows=500)
    assert c.get_order_by_id(order.id).status.value == "filled" and wait(lambda: [u.event for u in heard][-1:] == ["fill"])
    bought = c.get_order_by_id(order.id).filled_qty
    assert 0 < float(bought) < 1 and abs(float(bought) * ask - 1_000) < 0.01 * ask
    position = c.get_open_position("BTCUSDT")
    assert (position.symbol, position.qty, position.asset_class.value) == ("BTCUSDT", bought, "crypto")
    for fields, words in [
        ({"symbol": "BTCUSDT"}, 'asset "BTCUSDT" not found'),
        ({"time_in_force": "day"}, "invalid crypto time_in_force"),
        ({"side": "sell", "qty": 5}, "insufficient qty"),
        ({"qty": 1_000_000}, "insufficient buying power"),
        ({"qty": "0.000000000001"}, "qty increment"),
    ]:
        body = {"symbol": "BTC/USDT", "qty": 0.1, "side": "buy", "type": "market", "time_in_force": "gtc", **fields}
        refused(lambda body=body: c.post("/orders", body), words)
    c.close_position("BTCUSDT")
    pair.advance(rows=500)
    assert c.get_all_positions() == []
    refused(
        lambda: c.submit_order(LimitOrderRequest(symbol="BTC/USDT", qty=1, side="sell", time_in_force="gtc", limit_price=10**6)),
        "insufficient balance for BTC",
    )

    rows = pair.session.events[1_000:2_000]
    messages = int(((rows.kind == DEPTH) & (rows["flags"] & LAST != 0)).sum())
    assert wait(lambda: (len(books), len(trades)) == (1 + messages, int((rows.kind == TRADE).sum())))
    mine = {level.price: level.size for level in books[0].bids}
    for m in books[1:]:
        for level in m.bids:
            mine[level.price] = level.size
    book = h.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(symbol_or_symbols="BTC/USDT"))["BTC/USDT"]
    best = max(p for p, size in mine.items() if size)
    assert best == max(level.price for level in book.bids) and mine[best] == next(v.size for v in book.bids if v.price == best)
    got = h.get_crypto_trades(CryptoTradesRequest(symbol_or_symbols="BTC/USDT", start=datetime(2026, 3, 1, tzinfo=UTC)))[
        "BTC/USDT"
    ]
    assert len(got) == int((pair.session.events[:2_000].kind == TRADE).sum())


def test_stocks_that_have_only_bars():
    session = synth.bar_days(n_events=500, seed=7)
    with site(session) as s:
        stream, got = s.market_data(bars=["AAPL"])
        assert wait(lambda: s.server.data_streams and s.server.data_streams[0].wants)
        s.advance(rows=21)
        order = s.trading.submit_order(MarketOrderRequest(symbol="AAPL", qty=10, side="buy", time_in_force="day"))
        s.advance(rows=1)
        done = s.trading.get_order_by_id(order.id)
        rows = session.events[(session.events.kind == BAR) & (session.events.instrument == 0)]
        opened = float(rows.a[10]) / 100
        assert done.status.value == "filled" and opened <= float(done.filled_avg_price) <= opened * 1.001
        assert wait(lambda: len(got["bars"]) == 11)
        assert [(b.open, b.high, b.low, b.close, b.volume) for b in got["bars"]] == [
            (r.a / 100, r.b / 100, r.c / 100, r.d / 100, r.id) for r in rows[:11]
        ]
        start = got["bars"][0].timestamp
        assert int(start.timestamp()) * 10**9 == session.manifest.start_ns // 10**9 * 10**9
        frame = TimeFrame(10, TimeFrameUnit.Minute)
        bars = s.historical.get_stock_bars(StockBarsRequest(symbol_or_symbols="AAPL", timeframe=frame, start=start))["AAPL"]
        assert [(b.open, b.close) for b in bars[:5]] == [(rows.a[k] / 100, rows.d[k + 1] / 100) for k in range(0, 10, 2)]


def test_several_accounts_do_not_see_each_other():
    """Each key trades a market of its own: what one takes of a display, another may take too."""
    with site(synth.equity_day(("AAPL",), 4_000, seed=5)) as s:
        s.advance(rows=500)
        clients = [s.client(type(s.trading), key=f"K{k}") for k in range(4)]
        px = s.server.market.touch(0).ask_px / 100

        def trade(c):
            side = {"symbol": "AAPL", "qty": 10, "time_in_force": "day"}
            c.submit_order(MarketOrderRequest(**side, side="buy"))
            c.submit_order(LimitOrderRequest(**side, side="buy", limit_price=round(px - 1, 2)))

        threads = [threading.Thread(target=trade, args=(c,)) for c in clients]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        s.advance(0.01)
        assert [c.get_all_positions()[0].avg_entry_price for c in clients] == [str(px)] * 4
        assert len({c.get_account().account_number for c in clients}) == 4
        assert [len(c.get_orders()) for c in clients] == [1] * 4
