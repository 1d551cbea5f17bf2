"""Getting in: keys, where the servers are, what can be traded, when, and the checks of ``replay doctor``."""

from __future__ import annotations

import contextlib
import datetime
import os
import stat
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import requests
from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.requests import CryptoBarsRequest, CryptoLatestTradeRequest, StockBarsRequest, StockLatestTradeRequest
from alpaca.data.timeframe import TimeFrame

from replay.data.instruments import Instrument
from replay.errors import UNREADABLE, BadInput
from replay.files import whole
from replay.live.alpaca import wire
from replay.live.alpaca.rest import DONE, MISSING, Rest, tame
from replay.live.alpaca.wire import Scale
from replay.live.broker import Hours
from replay.live.head import BAR_NS

KEY, SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"
RATE = 200  #: requests a minute of one account
AGAIN_S = 5.0  #: how long what is asked before a run begins is asked again
HISTORY_S = 30.0  #: how long a page of history may take


class Access(NamedTuple):
    """A way in: keys, addresses, the account and its cash (1e-8). `session_ns`: the time of a local server that waits for us (lockstep), else
    0; `rate`: requests a minute, 0 for no limit; `local`: what a local server says of itself."""

    key: str
    secret: str
    paper: bool
    url: str | None
    updates_url: str | None
    data_url: str | None
    account: str
    cash: int
    session_ns: int
    rate: int
    local: dict = {}

    def rest(self, timeout_s: float = 10.0) -> Rest:
        """A client with a connection of its own."""
        return Rest(self.key, self.secret, self.paper, self.url, timeout_s)

    def history(self, crypto: bool) -> StockHistoricalDataClient | CryptoHistoricalDataClient:
        """A client of historical data, with timeouts, without the SDK's own retries."""
        made = (CryptoHistoricalDataClient if crypto else StockHistoricalDataClient)(
            self.key, self.secret, raw_data=True, url_override=self.url
        )
        tame(made, HISTORY_S)
        return made

    def bars(self, symbols: list[str], since: int, crypto: bool, feed: str) -> dict[str, list[dict]]:
        """The minute bars that began at `since` (ns) or later, by symbol, as the wire has them."""
        start = datetime.datetime.fromtimestamp(since / 1e9, datetime.UTC)
        if crypto:
            return self.history(True).get_crypto_bars(
                CryptoBarsRequest(symbol_or_symbols=symbols, timeframe=TimeFrame.Minute, start=start)
            )
        wanted = StockBarsRequest(symbol_or_symbols=symbols, timeframe=TimeFrame.Minute, start=start, feed=feed)
        return self.history(False).get_stock_bars(wanted)

    def __repr__(self) -> str:
        return f"Access({self.account}, {'paper' if self.paper else 'REAL MONEY'}, {self.url or 'alpaca.markets'})"


def keys(path: Path | None) -> tuple[str, str]:
    """(key, secret) from the environment, or from a TOML file that nobody else may read. Raises `BadInput`, which never shows them."""
    if path is None:
        found = os.environ.get(KEY, ""), os.environ.get(SECRET, "")
        if not all(found):
            raise BadInput(f"no keys: set {KEY} and {SECRET}, or name a file with --keys")
        return found
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BadInput(f"{path}: others may read it (mode {stat.S_IMODE(mode):o}): chmod 600 {path}")
        table = tomllib.loads(whole(path).decode())
    except OSError as e:
        raise BadInput(f"{path}: {e.strerror}: name a TOML file with {KEY} and {SECRET}") from None
    except UNREADABLE:
        raise BadInput(f'{path}: not a TOML file: write {KEY} = "..." and {SECRET} = "..." in it') from None
    found = table.get(KEY), table.get(SECRET)
    if not all(isinstance(k, str) and k for k in found):
        raise BadInput(f"{path}: {KEY} and {SECRET} are needed, both as text")
    return found


def enter(
    key: str,
    secret: str,
    *,
    paper: bool = True,
    url: str | None = None,
    feed: str = "iex",
    crypto: bool = False,
    rate: int = RATE,
    patience_s: float = 0.0,
) -> Access:
    """Try the keys, for `patience_s`; `url` is the address of a local server, for everything. Raises `BadInput` in one line."""
    sockets = url.replace("http", "ws", 1).rstrip("/") if url else None
    path = "/v1beta3/crypto/us" if crypto else f"/v2/{feed}"
    urls = (url.rstrip("/"), f"{sockets}/stream", f"{sockets}{path}") if url else (None, None, None)
    local = local_state(url, key, secret)
    waits = local.get("speed") == "lockstep"
    access = Access(key, secret, paper, *urls, "", 0, local["now_ns"] if waits else 0, rate, local)
    with contextlib.closing(access.rest()) as rest:
        a = rest.insist("/account", patience_s)
    if a.outcome != DONE:
        raise BadInput(f"Alpaca at {url or 'alpaca.markets'}: {a.text}: check the keys, the address and the network")
    if a.body["status"] != "ACTIVE" or a.body.get("trading_blocked") or a.body.get("account_blocked"):
        raise BadInput(f"account {a.body['account_number']}: status {a.body['status']}, or blocked: trading is not possible")
    return access._replace(account=a.body["account_number"], cash=wire.money(a.body["cash"]))


def local_state(url: str | None, key: str, secret: str) -> dict:
    """What a local server at `url` says of itself (`replay.serve.control`); empty for any other. Raises `BadInput` where nothing answers."""
    if url is None:
        return {}
    try:
        headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
        answer = requests.get(f"{url.rstrip('/')}/replay/v1/state", headers=headers, timeout=5, allow_redirects=False)
        said = answer.json() if answer.status_code == 200 else {}
        return said if isinstance(said, dict) else {}
    except requests.RequestException as e:
        raise BadInput(f"{url}: no server answers there ({type(e).__name__}): start it, or correct the address") from None
    except UNREADABLE:
        return {}


def instruments(
    access: Access, symbols: list[str], crypto: bool, feed: str, known: dict[str, Instrument] | None = None
) -> tuple[dict[str, Scale], list[int]]:
    """The instruments by symbol, in order, and the newest trade price of each in ticks, 0 where the data server says none. `known` are those
    of a journal that is gone on with, whose price steps stay what they were. Raises `BadInput` for a symbol that cannot be traded."""
    out: dict[str, Scale] = {}
    with contextlib.closing(access.rest()) as rest:
        assets = {symbol: _asset(rest, symbol, crypto) for symbol in symbols}
    prices = _last_prices(access, symbols, crypto, feed)
    for symbol, asset in assets.items():
        i = (known or {}).get(symbol) or _instrument(asset, prices.get(symbol), _described(access, symbol))
        out[symbol] = Scale(len(out), i)
    return out, [s.ticks(prices.get(symbol, 0)) for symbol, s in out.items()]


def _asset(rest: Rest, symbol: str, crypto: bool) -> dict:
    a = rest.insist(f"/assets/{symbol.replace('/', '%2F')}", AGAIN_S)
    if a.outcome == MISSING:
        raise BadInput(f"{symbol}: Alpaca knows no such symbol: correct --symbols")
    if a.outcome != DONE:
        raise BadInput(f"{symbol}: {a.text}: check the network and the keys")
    if not a.body["tradable"] or (a.body["class"] == "crypto") != crypto:
        raise BadInput(
            f"{symbol}: class {a.body['class']}, tradable {a.body['tradable']}: stocks and crypto pairs are traded apart"
        )
    return a.body


def _described(access: Access, symbol: str) -> dict:
    """What a local server says of an instrument of its session."""
    return next((row for row in access.local.get("instruments", ()) if row["symbol"] == symbol), {})


def _instrument(asset: dict, price: float | None, described: dict) -> Instrument:
    """Stocks: steps of 0.01, below one dollar of 0.0001 (SEC rule 612); those of its session where a local server says them."""
    if asset["class"] != "crypto":
        fine = price is not None and price < 1
        return Instrument(symbol=asset["symbol"], tick_size=described.get("tick_size") or ("0.0001" if fine else "0.01"))
    base, quote = asset["symbol"].split("/")
    lot = asset.get("min_trade_increment") or "0.000000001"
    i = Instrument(
        symbol=asset["symbol"], tick_size=asset.get("price_increment") or "0.01", lot_size=lot, currency=quote, base=base
    )
    least = i.lots(asset["min_order_size"]) if asset.get("min_order_size") else 1
    return Instrument(symbol=i.symbol, tick_size=i.tick_size, lot_size=lot, currency=quote, base=base, min_qty=max(1, least))


def _last_prices(access: Access, symbols: list[str], crypto: bool, feed: str) -> dict[str, float]:
    """The newest trade price of each symbol that has one."""
    client = access.history(crypto)
    try:
        if crypto:
            found = client.get_crypto_latest_trade(CryptoLatestTradeRequest(symbol_or_symbols=symbols))
        else:
            found = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=symbols, feed=feed))
        return {symbol: found[symbol]["p"] for symbol in symbols if found.get(symbol)}
    except Exception:  # it sizes a bound and tells a price step: without one the bound is wide and the step a cent
        return {}


class Bars(NamedTuple):
    """What bars and other data the feed has of each instrument, as a manifest says it."""

    levels: tuple[str, ...]
    intervals_ns: tuple[int, ...]
    finest_ns: tuple[int, ...]


def feed_of(access: Access, symbols: Sequence[str]) -> Bars:
    """What is heard of each symbol. A broker's feed has quotes, prints and bars of a minute. A local server has what its session has; at a
    pace, as a broker, it makes bars of a minute where there are prints."""
    rows = [_described(access, symbol) for symbol in symbols]
    levels = tuple(r["level"] if r.get("level") in ("bars", "none") else "l1" for r in rows)
    if access.session_ns and all(rows):
        return Bars(levels, tuple(access.local["bar_intervals_ns"]), tuple(r["bar_ns"] for r in rows))
    finest = tuple(r["bar_ns"] if level == "bars" else BAR_NS for r, level in zip(rows, levels, strict=True))
    return Bars(levels, tuple(sorted(set(finest))), finest)


def clock(rest: Rest) -> Hours:
    """The broker's clock. Raises `BadInput`."""
    before = time.time_ns()
    a = rest.insist("/clock", AGAIN_S)
    if a.outcome != DONE:
        raise BadInput(f"the broker's clock cannot be had: {a.text}")
    return wire.hours(a.body, before, time.time_ns())


def checks(access: Access, scales: dict[str, Scale]) -> Iterator[tuple[str, bool, str]]:
    """The checks of ``replay doctor``: (what, whether it is well, a sentence). The last sends an order far from the market and cancels it."""
    rest = access.rest()
    account = rest.call("get", "/account").body
    yield (
        "keys",
        True,
        f"account {access.account}, {'paper' if access.paper else 'REAL MONEY'}, cash {account['cash']} {account.get('currency', 'USD')}",
    )
    short = account.get("shorting_enabled")
    yield (
        "permissions",
        not account.get("trade_suspended_by_user"),
        f"shorting {'yes' if short else 'no'}, multiplier {account.get('multiplier')}",
    )
    h = clock(rest)
    near = abs(h.offset_ns) < 500_000_000 or access.url is not None
    yield "clock", near, f"the broker's is {h.offset_ns / 1e6:+.1f} ms from ours, asked in {h.took_ns / 1e6:.1f} ms"
    yield "market", True, f"{'open, closes' if h.is_open else 'closed, opens'} in {h.next_ns / 3.6e12:.1f} hours"
    symbol, scale = next(iter(scales.items()))
    yield from _round_trip(rest, symbol, scale)
    rest.close()


def _round_trip(rest: Rest, symbol: str, scale: Scale) -> Iterator[tuple[str, bool, str]]:
    name = f"doctor-{time.time_ns():x}"
    body = {
        "symbol": symbol,
        "qty": scale.qty_text(scale.instrument.min_qty),
        "side": "buy",
        "type": "limit",
        "limit_price": "1.00",
    }
    began = time.perf_counter()
    a = rest.call("post", "/orders", body | {"time_in_force": "gtc", "client_order_id": name})
    if a.outcome != DONE:
        yield "order", False, f"a buy of {symbol} at 1.00 was refused: {a.text}"
        return
    sent = time.perf_counter() - began
    c = rest.call("delete", f"/orders/{a.body['id']}")
    yield (
        "order",
        c.outcome == DONE,
        f"a buy of {symbol} at 1.00 taken in {1e3 * sent:.1f} ms, cancellation {'taken' if c.outcome == DONE else c.text}",
    )
