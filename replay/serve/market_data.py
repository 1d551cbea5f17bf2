"""The REST of market data: what of a session's history, and of its present, each path answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from replay.serve import parameters as P
from replay.serve.errors import ApiError
from replay.serve.history import History
from replay.serve.routes import Answer, Call, Route

if TYPE_CHECKING:
    from replay.serve.server import Server

CRYPTO = "/v1beta3/crypto/us"
ONE = {"bars": "bar", "trades": "trade", "quotes": "quote"}


class MarketData:
    """Stocks want keys, pairs do not."""

    def __init__(self, server: Server):
        self.history = History(server)

    def pages(self, what: str, crypto: bool) -> Callable[[Call], Answer]:
        return lambda c: (200, self.history.page(what, c.query, crypto, c.args.get("symbol")))

    def latest(self, what: str, crypto: bool) -> Callable[[Call], Answer]:
        return lambda c: (200, {what: self.history.latest(what, self.history.names(c.query, crypto))})

    def latest_of(self, what: str) -> Callable[[Call], Answer]:
        def answer(c: Call) -> Answer:
            (name,) = self._one(c)
            found = self.history.latest(what, [name])
            if name not in found:
                raise ApiError.missing(f"no {ONE[what]} found for {name}")
            return 200, {"symbol": name, ONE[what]: found[name]}

        return answer

    def snapshots(self, crypto: bool) -> Callable[[Call], Answer]:
        def answer(c: Call) -> Answer:
            found = {name: self.history.snapshot(name) for name in self.history.names(c.query, crypto)}
            found = {name: s for name, s in found.items() if s}
            return 200, {"snapshots": found} if crypto else found

        return answer

    def snapshot_of(self, c: Call) -> Answer:
        (name,) = self._one(c)
        found = self.history.snapshot(name)
        if not found:
            raise ApiError.missing(f"no snapshot found for {name}")
        return 200, {"symbol": name, **found}

    def orderbooks(self, c: Call) -> Answer:
        return 200, {"orderbooks": self.history.orderbooks(self.history.names(c.query, True))}

    def _one(self, c: Call) -> list[str]:
        return self.history.names({}, False, c.args["symbol"])[:1]

    def routes(self) -> list[Route]:
        out = []
        for what in ("bars", "trades", "quotes"):
            pages, stocks = self.pages(what, False), P.STOCK_PAGE[what]
            out += [
                Route("GET", f"/v2/stocks/{what}", pages, P.SYMBOLS | stocks),
                Route("GET", f"/v2/stocks/{what}/latest", self.latest(what, False), P.SYMBOLS | P.STOCK_LATEST),
                Route("GET", f"/v2/stocks/{{symbol}}/{what}", pages, stocks),
                Route("GET", f"/v2/stocks/{{symbol}}/{what}/latest", self.latest_of(what), P.STOCK_LATEST),
                Route("GET", f"{CRYPTO}/{what}", self.pages(what, True), P.SYMBOLS | P.CRYPTO_PAGE[what], open=True),
                Route("GET", f"{CRYPTO}/latest/{what}", self.latest(what, True), P.SYMBOLS, open=True),
            ]
        return [
            *out,
            Route("GET", "/v2/stocks/snapshots", self.snapshots(False), P.SYMBOLS | P.STOCK_LATEST),
            Route("GET", "/v2/stocks/{symbol}/snapshot", self.snapshot_of, P.STOCK_LATEST),
            Route("GET", f"{CRYPTO}/snapshots", self.snapshots(True), P.SYMBOLS, open=True),
            Route("GET", f"{CRYPTO}/latest/orderbooks", self.orderbooks, P.SYMBOLS, open=True),
        ]
