"""Candles of Binance and Bitget, through the unmodified ccxt: spot pairs (``BTC/USDT``) and linear perpetuals (``BTC/USDT:USDT``). No keys.

ccxt keeps each exchange's own rate limit. Ticks and lots are those the exchange states today; a price of an earlier day between them is
rounded and counted.
"""

from __future__ import annotations

import difflib
import urllib.parse
from collections.abc import Callable, Iterator
from decimal import Decimal

import ccxt
import pyarrow as pa

from replay.collect.asked import BARS, Asked, Span, step_text
from replay.collect.asking import Again, Asking
from replay.errors import BadInput

MS = 1_000_000
PAGE = {"binance": 1000, "bitget": 200}  #: candles a page, the most there is for the past
LIMITED_S = 10.0  #: how long an exchange that says "too many" without saying for how long is left alone
SCHEMAS = {BARS: pa.schema([("t", pa.int64()), *((n, pa.float64()) for n in ("open", "high", "low", "close", "volume"))])}


class Exchange:
    """A way in to an exchange's candles; see `replay.collect.download.Source`. `url`: of a local server that speaks its protocol."""

    schemas = SCHEMAS

    def __init__(self, name: str, perpetual: bool, url: str | None = None, asking: Asking | None = None):
        kind = "spot" if not perpetual else "linear" if name == "binance" else "swap"
        self.name, self.asking = name, asking or Asking(0)
        self._client = getattr(ccxt, name)(
            {"timeout": 30_000, "options": {"fetchMarkets": {"types": [kind]}, "fetchCurrencies": False}}
        )
        self._client.has["fetchCurrencies"] = False  # it would take a request that candles do not need
        if url is not None:
            self._client.urls["api"] = {k: _at(url, v) for k, v in self._client.urls["api"].items()}
            errors = self._client.exceptions
            for part in ("exact", "broad"):  # ccxt chooses its table of errors by the exchange's own address
                errors[part] = {**errors[part], **errors.get(kind, {}).get(part, {})}

    def now(self) -> int:
        return self._ask("the exchange's time", self._client.fetch_time) * MS

    def check(self, asked: Asked) -> dict[str, dict[str, object]]:
        """Fields of `Instrument` by symbol. Raises `BadInput` for a symbol or length of bars that the exchange does not have."""
        for step in map(step_text, asked.steps_ns):
            if step not in self._client.timeframes:
                raise BadInput(
                    f"--frequency: {self.name} has no bars of {step}, but {', '.join(self._client.timeframes)}: choose one"
                )
        markets, out = self._ask("markets", self._client.load_markets), {}
        for symbol in asked.symbols:
            if symbol not in markets:
                near = ", ".join(difflib.get_close_matches(symbol, markets, 3)) or "BTC/USDT, BTC/USDT:USDT"
                raise BadInput(f"{symbol}: {self.name} has no such pair, such as {near}: correct --symbols")
            m = markets[symbol]
            if not (m["spot"] or m["linear"]):
                raise BadInput(
                    f"{symbol}: an inverse contract, whose volume is not in the coin: only spot and linear are downloaded"
                )
            tick, lot = (_decimal(m["precision"][what]) for what in ("price", "amount"))
            out[symbol] = {
                "tick_size": tick,
                "lot_size": lot,
                "currency": m["settle"] or m["quote"],
                "base": m["base"] if m["spot"] else None,
            }
        return out

    def pages(self, asked: Asked, symbol: str, kind: str, step_ns: int, span: Span) -> Iterator[pa.Table]:
        """Candles that begin within the span, oldest first."""
        step, page, at = step_ns // MS, PAGE[self.name], -(-span.start // step_ns) * step_ns // MS
        while at * MS < span.end:
            last = at + (page - 1) * step
            found = self._ask(
                f"{symbol} bars {span.label}",
                lambda at=at, last=last: self._client.fetch_ohlcv(symbol, step_text(step_ns), at, page, {"until": last}),
            )
            rows = [r for r in found if at <= r[0] <= last and r[0] * MS < span.end]
            if rows:
                columns = [[r[0] * MS for r in rows], *([r[k] for r in rows] for k in range(1, 6))]
                yield pa.Table.from_arrays(
                    [pa.array(c, f.type) for c, f in zip(columns, SCHEMAS[BARS], strict=True)], schema=SCHEMAS[BARS]
                )
            at = rows[-1][0] + step if rows else last

    def lacks(self, asked: Asked) -> list[str]:
        """What the data is not."""
        out = [f"{self.name}: candles of this exchange alone; volume in the coin"]
        if ":" in asked.symbols[0]:
            out.append("funding, mark and index prices are not in candles: a perpetual's funding is not simulated")
        return [*out, "receive times are not in a history: every row counts as received when it happened"]

    def _ask(self, what: str, call: Callable[[], object]) -> object:
        def once() -> object:
            try:
                return call()
            except (ccxt.RateLimitExceeded, ccxt.DDoSProtection) as e:
                headers = {k.lower(): v for k, v in (self._client.last_response_headers or {}).items()}
                wait = headers.get("retry-after", "")
                raise Again(_line(e), float(wait) if wait.isdigit() else LIMITED_S, limited=True) from None
            except ccxt.OperationFailed as e:
                raise Again(_line(e)) from None
            except ccxt.BaseError as e:
                raise BadInput(f"{self.name}: {what}: {_line(e)}: correct the request") from None

        return self.asking.answer(f"{self.name}: {what}", once)


def _decimal(x: float) -> str:
    return format(Decimal(str(x)), "f")


def _at(url: str, address: str) -> str:
    """An address of the exchange, at another host."""
    return url.rstrip("/") + urllib.parse.urlsplit(address.replace("{hostname}", "host")).path


def _line(e: Exception) -> str:
    return " ".join(str(e).split())[:200] or type(e).__name__
