"""Historical market data: bars, trades and quotes of the session, never beyond what has reached clients."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from replay.events import QUOTE, TRADE
from replay.serve.bars import DAY, MINUTE, bars
from replay.serve.calendar import ns_of_text
from replay.serve.errors import ApiError
from replay.serve.market import CHUNK

if TYPE_CHECKING:
    from replay.serve.server import Server

MOST = 10_000
KINDS = {"trades": TRADE, "quotes": QUOTE}
UNITS = {"min": MINUTE, "t": MINUTE, "hour": 60 * MINUTE, "h": 60 * MINUTE, "day": DAY, "d": DAY}


def bad(message: str) -> ApiError:
    return ApiError(400, 40010000, message)


def timeframe(text: str) -> int:
    """``5Min`` as ns. Weeks and months are longer than a session."""
    m = re.fullmatch(r"(\d{1,2})(min|t|hour|h|day|d)", text.lower())
    n = int(m[1]) if m else 0
    if not m or n < 1 or (UNITS[m[2]] == DAY and n != 1):
        raise bad(f"invalid timeframe: {text}")
    return n * UNITS[m[2]]


class History:
    """One request at a time: `page` for a list of symbols, `latest` for the newest of each."""

    def __init__(self, server: Server):
        self.server, self.market, self.assets = server, server.market, server.assets
        self.encoder = server.rest_encoder

    def page(self, what: str, query: Mapping[str, str], symbol: str | None = None) -> dict:
        """``{"bars": {"AAPL": [...]}, "next_page_token": ...}``; with `symbol` its list alone."""
        names = [symbol] if symbol else [s for s in query.get("symbols", "").split(",") if s]
        if not names:
            raise bad("symbols is required")
        start, end = self._range(query)
        limit = self._limit(query.get("limit"))
        step = timeframe(query.get("timeframe", "")) if what == "bars" else 0
        at_symbol, skip = self._token(query.get("page_token"))
        out: dict[str, list] = {}
        token, room = None, limit
        for name in sorted(set(names)):
            k = self.assets.find(name)
            if k is None or name < at_symbol:
                continue
            done = skip if name == at_symbol else 0
            found, more = self._some(what, k, start, end, step, done, room)
            if found:
                out[name] = found
                room -= len(found)
            if more:
                token = base64.b64encode(f"{name}|{done + len(found)}".encode()).decode()
                break
        if symbol:
            return {what: out.get(symbol, []), "symbol": symbol, "next_page_token": token}
        return {what: out, "next_page_token": token}

    def _range(self, query: Mapping[str, str]) -> tuple[int, int]:
        try:
            start = ns_of_text(query["start"]) if query.get("start") else 0
            end = ns_of_text(query["end"]) if query.get("end") else self.market.now
        except ValueError:
            raise bad("start and end must be dates or RFC 3339 times") from None
        if start > end and query.get("end"):
            raise bad("end should not be before start")
        return start, min(end, self.market.now)

    def _limit(self, text: str | None) -> int:
        if not text:
            return 1000
        if not text.isdigit() or not 1 <= int(text) <= MOST:
            raise bad(f"limit must be 1 to {MOST}, got {text}")
        return int(text)

    def _token(self, text: str | None) -> tuple[str, int]:
        if not text:
            return "", 0
        try:
            name, _, done = base64.b64decode(text, validate=True).decode().partition("|")
            return name, int(done)
        except ValueError:
            raise bad("invalid page_token") from None

    def _some(self, what: str, k: int, start: int, end: int, step: int, done: int, room: int) -> tuple[list[dict], bool]:
        """Messages of one instrument from the `done`-th on, `room` at most, and whether there are more."""
        if what == "bars":
            every = [b for b in bars(self.market, k, start, self.market.now + 1, step) if start <= b[0] <= end]
            chosen = every[done : done + room]
            return [trimmed(self.encoder.bar(k, *b)) for b in chosen], len(every) > done + room
        rows = self._rows(KINDS[what], k, start, end, done + room + 1)
        chosen = rows[done : done + room]
        return [trimmed(m) for _, _, _, m in self.encoder.rows(chosen)], len(rows) > done + room

    def _rows(self, kind: int, k: int, start: int, end: int, most: int) -> np.recarray:
        """The first `most` rows of a kind with ``start <= ts_event <= end`` that have reached clients."""
        market, parts, count, lo = self.market, [], 0, 0
        known = market.known
        if market.recorded:
            lo = int(np.searchsorted(market.record(0, known).ts_recv, start))
        while lo < known and count < most:
            block = market.record(lo, min(lo + CHUNK, known))
            match = (block.kind == kind) & (block.instrument == k) & (block.ts_event >= start) & (block.ts_event <= end)
            parts.append(block[match])
            count += len(parts[-1])
            lo += CHUNK
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
            now = self.market.now
            found = list(bars(self.market, k, now - now % MINUTE - 60 * MINUTE, now + 1, MINUTE))
            return trimmed(self.encoder.bar(k, *found[-1])) if found else None
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
        """Newest trade, quote, minute and day of a symbol; None where there is no such symbol."""
        k = self.assets.find(name)
        if k is None:
            return None
        day = list(bars(self.market, k, self.market.now - self.market.now % DAY, self.market.now + 1, DAY))
        parts = {
            "latestTrade": self._newest("trades", k),
            "latestQuote": self._newest("quotes", k),
            "minuteBar": self._newest("bars", k),
            "dailyBar": trimmed(self.encoder.bar(k, *day[-1])) if day else None,
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
