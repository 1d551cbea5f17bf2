"""Historical market data: bars, trades and quotes of the session, never beyond what has reached clients."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from replay.data.times import NEW_YORK
from replay.events import QUOTE, TRADE
from replay.serve.bars import CHICAGO, EACH_DAY, EACH_MINUTE, HOUR, MINUTE, Frame, bars, midnight, whole, zone_of
from replay.serve.calendar import ns_of_text
from replay.serve.market import CHUNK
from replay.serve.parameters import bad

if TYPE_CHECKING:
    from replay.serve.server import Server

KINDS = {"trades": TRADE, "quotes": QUOTE}
LOOK_BACK = (HOUR, 24 * HOUR, 100 * 366 * 24 * HOUR)  #: how far the newest bar is looked for, in turn
STOCK = re.compile(r"[A-Z][A-Z0-9]{0,9}([./-][A-Z0-9]{1,5})?")
PAIR = re.compile(r"[A-Z0-9]+/[A-Z0-9]+")


class History:
    """One request at a time: `page` for a list of symbols, `latest` for the newest of each."""

    def __init__(self, server: Server):
        self.server, self.market, self.assets = server, server.market, server.assets
        self.encoder = server.rest_encoder

    def names(self, query: Mapping[str, str], crypto: bool, symbol: str | None = None) -> list[str]:
        """The symbols asked for. Raises `ApiError` where one cannot be a stock's, or a pair's with its slash."""
        text = symbol if symbol is not None else query.get("symbols", "")
        found = [s.strip() for s in text.split(",") if s.strip()]
        if not found:
            raise bad("Invalid format for parameter symbols: query parameter 'symbols' is required")
        if symbol is not None and len(found) > 1:
            raise bad(f"invalid symbol: {symbol[:64]}")
        for name in found:
            k = self.assets.find(name)
            pattern = PAIR if crypto else STOCK
            ours = k is not None and self.assets.is_crypto(k) == crypto and name == self.assets.symbols[k]
            if not ours and not pattern.fullmatch(name):
                raise bad(f"invalid symbol: {name[:64]}")
        return found

    def page(self, what: str, query: Mapping[str, str], crypto: bool = False, symbol: str | None = None) -> dict:
        """``{"bars": {"AAPL": [...]}, "next_page_token": ...}``; with `symbol` its list alone. Raises `ApiError`."""
        names = self.names(query, crypto, symbol)
        start, end = self._range(query, CHICAGO if crypto else NEW_YORK)
        frame = Frame.of(query.get("timeframe", "")) if what == "bars" else EACH_MINUTE
        if frame is None:
            given = query.get("timeframe", "")[:32]
            raise bad(
                f"invalid timeframe: {given}: expected 1-59Min, 1-23Hour, 1Day, 1Week, or 1, 2, 3, 4, 6, 12Month"
                if given
                else "timeframe is required"
            )
        room = int(query.get("limit") or 1000)
        newest_first = query.get("sort") == "desc"
        at_symbol, skip = self._token(query.get("page_token"))
        out: dict[str, list] = {}
        token = None
        for name in sorted(set(names)):
            k = self.assets.find(name)
            if k is None or name < at_symbol:
                continue
            done = skip if name == at_symbol else 0
            found, more = self._some(what, k, start, end, frame, newest_first, done, room)
            if found:
                out[name] = found
                room -= len(found)
            if more:
                token = base64.b64encode(f"{name}|{done + len(found)}".encode()).decode()
                break
        if symbol is not None:
            return {what: out.get(names[0], []), "symbol": names[0], "next_page_token": token}
        return {what: out, "next_page_token": token}

    def _range(self, query: Mapping[str, str], zone: datetime.tzinfo) -> tuple[int, int]:
        """From when to when, both included; a date is the whole day. Without a start: since midnight."""
        try:
            start = ns_of_text(query["start"], zone) if query.get("start") else midnight(self.market.now, zone)
            end = ns_of_text(query["end"], zone) if query.get("end") else self.market.now
            if len(query.get("end", "")) == 10:
                end = midnight(end + 36 * HOUR, zone) - 1  # of a day of 23 or 25 hours too
        except (ValueError, OverflowError):
            raise bad("start and end must be dates or RFC 3339 times") from None
        if start > end and query.get("end"):
            raise bad("end should not be before start")
        return start, min(end, self.market.now)

    def _token(self, text: str | None) -> tuple[str, int]:
        if not text:
            return "", 0
        try:
            name, _, done = base64.b64decode(text, validate=True).decode().partition("|")
            return name, int(done)
        except ValueError:
            raise bad("invalid page_token") from None

    def _some(
        self, what: str, k: int, start: int, end: int, frame: Frame, newest_first: bool, done: int, room: int
    ) -> tuple[list[dict], bool]:
        """Messages of one instrument from the `done`-th on, `room` at most, and whether there are more."""
        if what == "bars":
            upto = whole(self.market, k)
            every = [b for b in bars(self.market, k, start, upto, frame) if start <= b[0] <= end]
            if newest_first:
                every.reverse()
            chosen = every[done : done + room]
            return [trimmed(self.encoder.bar(k, *b)) for b in chosen], len(every) > done + room
        rows = self._rows(KINDS[what], k, start, end, newest_first, done + room + 1)
        chosen = rows[done : done + room]
        return [trimmed(m) for _, _, _, m in self.encoder.rows(chosen)], len(rows) > done + room

    def _rows(self, kind: int, k: int, start: int, end: int, newest_first: bool, most: int) -> np.recarray:
        """The first `most` rows of a kind with ``start <= ts_event <= end`` that have reached clients, or the last ones, newest first."""
        market, parts, count = self.market, [], 0
        known, lo = market.known, 0
        if market.recorded:
            lo = int(np.searchsorted(market.record(0, known).ts_recv, start))
        cuts = list(range(lo, known, CHUNK))
        for cut in reversed(cuts) if newest_first else cuts:
            block = market.record(cut, min(cut + CHUNK, known))
            match = (block.kind == kind) & (block.instrument == k) & (block.ts_event >= start) & (block.ts_event <= end)
            found = block[match]
            parts.append(found[::-1] if newest_first else found)
            count += len(found)
            if count >= most:
                break
        return np.concatenate(parts)[:most].view(np.recarray) if parts else market.record(0, 0)

    # --- the newest ----------------------------------------------------------------------------------------------------------
    def latest(self, what: str, names: list[str]) -> dict[str, dict]:
        """The newest trade, quote or minute bar of each symbol that has one."""
        out = {}
        for name in names:
            k = self.assets.find(name)
            found = None if k is None else self._newest(what, k)
            if found is not None:
                out[name] = found
        return out

    def _newest(self, what: str, k: int) -> dict | None:
        if what == "bars":
            upto = whole(self.market, k)
            for back in LOOK_BACK:
                begins = upto - upto % MINUTE - back
                found = list(bars(self.market, k, begins, upto, EACH_MINUTE))
                if found:
                    return trimmed(self.encoder.bar(k, *found[-1]))
            return None
        if what == "quotes" and self.market.session.manifest.levels[k] == "l2":
            touch = self.market.touch(k)
            return trimmed(self.encoder.quote(k, self.market.now, *touch)) if touch.bid_sz or touch.ask_sz else None
        e = self.market.newest(KINDS[what], k)
        if e is None:
            return None
        if what == "quotes":
            return trimmed(self.encoder.quote(k, int(e.ts_event), int(e.a), int(e.b), int(e.c), int(e.d)))
        return trimmed(self.encoder.trade(k, int(e.ts_event), int(e.side), int(e["flags"]), int(e.id), int(e.a), int(e.b)))

    def snapshot(self, name: str) -> dict | None:
        """Newest trade, quote, minute and days of a symbol; None where there is no such symbol."""
        k = self.assets.find(name)
        if k is None:
            return None
        zone, upto = zone_of(self.market, k), whole(self.market, k)
        today = midnight(self.market.now, zone)
        days = list(bars(self.market, k, midnight(today - 7 * 24 * HOUR, zone), upto, EACH_DAY))
        now, before = [b for b in days if b[0] >= today], [b for b in days if b[0] < today]
        parts = {
            "latestTrade": self._newest("trades", k),
            "latestQuote": self._newest("quotes", k),
            "minuteBar": self._newest("bars", k),
            "dailyBar": trimmed(self.encoder.bar(k, *now[-1])) if now else None,
            "prevDailyBar": trimmed(self.encoder.bar(k, *before[-1])) if before else None,
        }
        return {name: part for name, part in parts.items() if part}

    def orderbooks(self, names: list[str]) -> dict[str, dict]:
        """The book of each symbol."""
        found = {name: self.assets.find(name) for name in names}
        books = {name: self.server.book_snapshot(k) for name, k in found.items() if k is not None}
        return {name: {"t": self.encoder.time(self.market.now), "b": m["b"], "a": m["a"]} for name, m in books.items()}


def trimmed(message: dict) -> dict:
    """A message without what only streams carry."""
    return {key: v for key, v in message.items() if key not in ("T", "S")}
