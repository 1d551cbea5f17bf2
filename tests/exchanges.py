"""Binance's and Bitget's public endpoints for candles, on loopback, in their own words: enough for the unmodified ccxt."""

import contextlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STEPS = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000}


def candle(symbol, t, step):
    """Made up of the time alone, on the grids stated below; texts, as both exchanges send them."""
    k = t // step
    o, c = 60_000 + k % 97, 60_000 + (k + 1) % 97
    return [t, f"{o}.10", f"{max(o, c) + 3}.20", f"{min(o, c) - 3}.30", f"{c}.40", f"{1 + k % 11}.{k % 1000:03}"]


class Venue:
    """`now`: its time, ms; `begins`: of its candles; `gone`: times of candles it does not have; `answers`: (status, headers) of the next
    requests for candles, instead of them; `asked`: the paths and queries of every request."""

    def __init__(self, now, begins=0, gone=()):
        self.now, self.begins, self.gone = now, begins, set(gone)
        self.answers, self.asked = [], []

    def reply(self, path, q):
        self.asked.append((path, q))
        if path in ("/api/v3/time", "/fapi/v1/time"):
            return {"serverTime": self.now}
        if path == "/api/v2/public/time":
            return {"code": "00000", "data": {"serverTime": str(self.now)}}
        if path in ("/api/v3/exchangeInfo", "/fapi/v1/exchangeInfo"):
            return {"serverTime": self.now, "symbols": [_binance(s, "fapi" in path) for s in ("BTC", "ETH")]}
        if path == "/api/v2/mix/market/contracts":
            return {"code": "00000", "data": [_bitget(s) for s in ("BTC", "ETH")] if q["productType"] == "USDT-FUTURES" else []}
        if path in ("/api/v3/klines", "/fapi/v1/klines"):
            lo, most = int(q["startTime"]), int(q["limit"])
            found = self.candles(q["symbol"], q["interval"], lo, int(q["endTime"]))[:most]
            return [[*c, c[0] + STEPS[q["interval"]] - 1, "0", 1, "0", "0", "0"] for c in found]
        if path in ("/api/v2/mix/market/history-candles", "/api/v2/mix/market/candles"):
            hi, most = int(q["endTime"]), int(q["limit"])  # counted from the end, which it does not include
            found = self.candles(q["symbol"], q["granularity"], hi - most * STEPS[q["granularity"]], hi - 1)[-most:]
            return {"code": "00000", "data": [[str(c[0]), *c[1:], "0"] for c in found]}
        return None

    def candles(self, symbol, interval, lo, hi):
        step = STEPS[interval]
        first = max(-(-lo // step) * step, self.begins)
        return [candle(symbol, t, step) for t in range(first, min(hi, self.now) + 1, step) if t not in self.gone]


@contextlib.contextmanager
def serving(venue):
    """The address it is at."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            status, headers, body = 200, {}, None
            if venue.answers and ("kline" in url.path or "candles" in url.path):
                status, headers = venue.answers.pop(0)
                venue.asked.append((url.path, status))
                body = {"code": -1003, "msg": "Too many requests."} if status < 500 else {"code": -1001, "msg": "Internal error."}
            else:
                body = venue.reply(url.path, dict(urllib.parse.parse_qsl(url.query)))
                status = 200 if body is not None else 404
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _binance(base, linear):
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "4529764", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
    ]
    spot = {"symbol": f"{base}USDT", "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT", "filters": filters, "isSpotTradingAllowed": True, "permissions": ["SPOT"], "permissionSets": [["SPOT"]]}  # fmt: skip
    more = {"pair": f"{base}USDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "onboardDate": 1569398400000, "marginAsset": "USDT", "underlyingType": "COIN"}  # fmt: skip
    return spot | more if linear else spot


def _bitget(base):
    return {
        "symbol": f"{base}USDT", "baseCoin": base, "quoteCoin": "USDT", "symbolType": "perpetual", "symbolStatus": "normal", "supportMarginCoins": ["USDT"],
        "minTradeNum": "0.001", "priceEndStep": "1", "volumePlace": "3", "pricePlace": "1", "sizeMultiplier": "0.001", "makerFeeRate": "0.0002",
        "takerFeeRate": "0.0006", "maxLever": "125", "minLever": "1", "deliveryTime": "", "launchTime": "", "offTime": "-1",
    }  # fmt: skip
