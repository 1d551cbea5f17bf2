"""Alpaca's history, through the unmodified clients of alpaca-py: pages of bars, trades and quotes as tables.

Pages are asked for one by one, because the SDK's own paging keeps all of them in memory and waits for no rate limit. Prices, sizes and ids
stand in the tables as the feed has them, times as int64 ns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.requests import (
    CryptoBarsRequest,
    CryptoQuoteRequest,
    CryptoTradesRequest,
    StockBarsRequest,
    StockQuotesRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from replay.collect.asked import BARS, DAY, HOUR, MINUTE, QUOTES, TRADES, Asked, Span
from replay.collect.asking import Again, Asking
from replay.data.times import utc_text
from replay.errors import BadInput
from replay.live.alpaca import account
from replay.live.alpaca.rest import DONE, LATER, MISSING, NO_CONNECTION, UNAUTHORIZED, UNKNOWN, once
from replay.live.alpaca.wire import stamp_ns

ID_BITS = (1 << 63) - 1  #: a trade's number has 64 bits there
SIDES = {"B": "buy", "S": "sell"}
PAGE = 10_000  #: messages a page, the most there is
FEEDS = tuple(f.value for f in DataFeed)
ADJUSTMENTS = tuple(a.value for a in Adjustment)

T = ("t", pa.int64())
SCHEMAS = {
    BARS: pa.schema([T, *((n, pa.float64()) for n in ("open", "high", "low", "close", "volume")), ("trades", pa.int64()), ("vwap", pa.float64())]),
    TRADES: pa.schema([T, ("price", pa.float64()), ("size", pa.float64()), ("id", pa.int64()), ("side", pa.string()), ("conditions", pa.string()), ("exchange", pa.string()), ("update", pa.string())]),
    QUOTES: pa.schema([T, *((n, pa.float64()) for n in ("bid_px", "bid_sz", "ask_px", "ask_sz")), ("bid_exchange", pa.string()), ("ask_exchange", pa.string()), ("conditions", pa.string())]),
}  # fmt: skip
_KEYS = {
    BARS: ("o", "h", "l", "c", "v", "n", "vw"),
    TRADES: ("p", "s", "i", "tks", "c", "x", "u"),
    QUOTES: ("bp", "bs", "ap", "as", "bx", "ax", "c"),
}
_REQUESTS = {
    (BARS, False): StockBarsRequest,
    (TRADES, False): StockTradesRequest,
    (QUOTES, False): StockQuotesRequest,
    (BARS, True): CryptoBarsRequest,
    (TRADES, True): CryptoTradesRequest,
    (QUOTES, True): CryptoQuoteRequest,
}
LACKS = {
    "iex": "trades and quotes of the exchange IEX alone, a few percent of the volume: bars and sizes are its, prices near the market's",
    "sip": "the consolidated tape: best bid and ask of all exchanges, no books behind them; the newest 15 minutes need a subscription",
    "crypto": "Alpaca's own crypto venue: its prices and volumes are not those of Binance or Bitget",
}


class Alpaca:
    """A way in to Alpaca's history; see `replay.collect.download.Source`. Raises `BadInput` for keys, addresses and symbols."""

    schemas = SCHEMAS

    def __init__(self, keys: Path | None, url: str | None, rate: int, asking: Asking | None = None):
        self._access = account.enter(*account.keys(keys), url=url, rate=rate)
        self.asking = asking or Asking(rate)

    def now(self) -> int:
        """The broker's time, ns."""
        rest = self._access.rest()
        ahead = account.clock(rest).offset_ns
        rest.close()
        return time.time_ns() + ahead

    def check(self, asked: Asked) -> dict[str, dict[str, object]]:
        """What is known of each symbol before its data: fields of `Instrument`. Raises `BadInput` for a symbol nobody knows."""
        rest, out = self._access.rest(), {}
        for symbol in asked.symbols:
            a = rest.call("get", f"/assets/{symbol.replace('/', '%2F')}")
            if a.outcome == MISSING:
                raise BadInput(f"{symbol}: Alpaca knows no such symbol: correct --symbols")
            if a.outcome != DONE:
                raise BadInput(f"{symbol}: {a.text}: check the network and the keys")
            if (a.body["class"] == "crypto") != asked.crypto:
                raise BadInput(f"{symbol}: its class is {a.body['class']}: stocks and crypto pairs are downloaded apart")
            base, _, quote = symbol.partition("/")
            out[symbol] = {"base": base, "currency": quote} if asked.crypto else {}
        rest.close()
        return out

    def pages(self, asked: Asked, symbol: str, kind: str, step_ns: int, span: Span) -> Iterator[pa.Table]:
        """Everything of one symbol with ``span.start <= t < span.end``, oldest first."""
        client = self._access.history(asked.crypto)
        fields = {"symbol_or_symbols": symbol, "limit": PAGE, **_extra(asked, kind, step_ns)}
        query = _REQUESTS[kind, asked.crypto](**fields).to_request_fields() | {
            "start": utc_text(span.start),
            "end": utc_text(span.end - 1),
        }
        path = f"/crypto/us/{kind}" if asked.crypto else f"/stocks/{kind}"
        while True:
            answer = self.asking.answer(
                f"{symbol} {kind} {span.label}", partial(_answer, f"{symbol} {kind}", client.get, path, query)
            )
            found = (answer.get(kind) or {}).get(symbol) or []
            if found:
                yield _table(kind, found)
            if not answer.get("next_page_token"):
                return
            query = {**query, "page_token": answer["next_page_token"]}

    def lacks(self, asked: Asked) -> list[str]:
        """What the data is not."""
        out = [
            f"feed {asked.feed}: {LACKS[asked.feed]}"
            if not asked.crypto and asked.feed in LACKS
            else LACKS["crypto"]
            if asked.crypto
            else f"feed {asked.feed}"
        ]
        if not asked.crypto and asked.adjustment != "raw" and BARS in asked.kinds:
            out.append(f"adjustment {asked.adjustment}: prices that were never traded at; orders fill at them all the same")
        return [*out, "receive times are not in a history: every row counts as received when it happened"]


def _answer(what: str, get: Callable[..., object], path: str, query: dict) -> dict:
    """One page. Raises `Again` where it may be asked for again, else `BadInput`."""
    a = once(get, path, query)
    if a.outcome == DONE:
        return a.body
    if a.outcome in (LATER, UNKNOWN):
        raise Again(a.text, a.after_s, limited=a.outcome == LATER and a.text != NO_CONNECTION)
    hint = "check the keys" if a.outcome == UNAUTHORIZED else "correct the request, or see what the account may ask for"
    raise BadInput(f"{what}: {a.text}: {hint}")


def _extra(asked: Asked, kind: str, step_ns: int) -> dict[str, object]:
    stock = {} if asked.crypto else {"feed": DataFeed(asked.feed)}
    if kind != BARS:
        return stock
    adjusted = {} if asked.crypto else {"adjustment": Adjustment(asked.adjustment)}
    return {"timeframe": timeframe(step_ns), **stock, **adjusted}


def timeframe(step_ns: int) -> TimeFrame:
    """The length of a bar as the SDK says it.

    >>> timeframe(5 * MINUTE).value
    '5Min'
    """
    unit, ns = next(
        u for u in ((TimeFrameUnit.Day, DAY), (TimeFrameUnit.Hour, HOUR), (TimeFrameUnit.Minute, MINUTE)) if step_ns % u[1] == 0
    )
    return TimeFrame(step_ns // ns, unit)


def _table(kind: str, messages: list[dict]) -> pa.Table:
    columns: list[object] = [[stamp_ns(m["t"]) for m in messages]]
    for key in _KEYS[kind]:
        values = [m.get(key) for m in messages]
        if key == "c" and kind != BARS:
            values = ["".join(v) if isinstance(v, list) else v for v in values]
        elif key == "i":
            values = [v & ID_BITS for v in values]
        elif key == "tks":
            values = [SIDES.get(v, "") for v in values]
        columns.append(values)
    arrays = [pa.array(v, f.type) for v, f in zip(columns, SCHEMAS[kind], strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[kind])
