"""An account's watchlists: lists of symbols under a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from replay.data.times import utc_text
from replay.serve.errors import ApiError
from replay.serve.orders import Assets

MOST_NAME, MOST_LISTS, MOST_SYMBOLS = 64, 200, 1000


@dataclasses.dataclass(slots=True)
class Watchlist:
    id: str
    name: str
    symbols: list[int]
    created_at: int
    updated_at: int


class Watchlists:
    """`now` says the session's time, `fresh` a new id."""

    def __init__(self, account_id: str, assets: Assets, now: Callable[[], int], fresh: Callable[[], str]):
        self.account_id, self.assets, self.now, self.fresh = account_id, assets, now, fresh
        self.every: dict[str, Watchlist] = {}

    def create(self, body: object) -> Watchlist:
        """Raises `ApiError`."""
        name, symbols = self._read(body)
        if name is None:
            raise ApiError.field("name is required")
        self._unique(name, None)
        if len(self.every) >= MOST_LISTS:
            raise ApiError.refused(f"there may be {MOST_LISTS} watchlists")
        now = self.now()
        w = Watchlist(self.fresh(), name, symbols or [], now, now)
        self.every[w.id] = w
        return w

    def find(self, ident: str | None = None, name: str | None = None) -> Watchlist:
        """By id or by name. Raises `ApiError`."""
        for w in self.every.values():
            if w.id == ident or (name is not None and w.name == name):
                return w
        raise ApiError.missing("watchlist not found")

    def change(self, w: Watchlist, body: object) -> Watchlist:
        """Another name, other symbols, or both."""
        name, symbols = self._read(body)
        if name is not None:
            self._unique(name, w)
            w.name = name
        if symbols is not None:
            w.symbols = symbols
        w.updated_at = self.now()
        return w

    def add(self, w: Watchlist, body: object) -> Watchlist:
        """One more symbol."""
        symbol = body.get("symbol") if isinstance(body, dict) else None
        k = self._symbol(symbol)
        if k in w.symbols:
            raise ApiError.refused("duplicate symbol")
        w.symbols.append(k)
        w.updated_at = self.now()
        return w

    def remove(self, w: Watchlist, symbol: str) -> Watchlist:
        """One symbol less."""
        k = self._symbol(symbol)
        if k not in w.symbols:
            raise ApiError.missing(f"symbol not found in watchlist: {symbol[:32]}")
        w.symbols.remove(k)
        w.updated_at = self.now()
        return w

    def drop(self, w: Watchlist) -> None:
        del self.every[w.id]

    def _read(self, body: object) -> tuple[str | None, list[int] | None]:
        if not isinstance(body, dict):
            raise ApiError(400, 40010000, "request body format is invalid")
        name, symbols = body.get("name"), body.get("symbols")
        if name is not None and (not isinstance(name, str) or not 1 <= len(name) <= MOST_NAME):
            raise ApiError.field(f"name must be a text of at most {MOST_NAME} characters")
        if symbols is None:
            return name, None
        if not isinstance(symbols, list) or len(symbols) > MOST_SYMBOLS:
            raise ApiError.field("symbols must be a list")
        return name, list(dict.fromkeys(self._symbol(s) for s in symbols if s is not None))

    def _symbol(self, symbol: object) -> int:
        k = self.assets.find(symbol) if isinstance(symbol, str) else None
        if k is None:
            raise ApiError.refused(f"asset not found: {str(symbol)[:64]}")
        return k

    def _unique(self, name: str, own: Watchlist | None) -> None:
        if any(w.name == name and w is not own for w in self.every.values()):
            raise ApiError.refused("watchlist name must be unique")

    def view(self, w: Watchlist, assets: bool = True) -> dict:
        """Its JSON, with its assets or without."""
        out = {
            "id": w.id,
            "account_id": self.account_id,
            "created_at": utc_text(w.created_at),
            "updated_at": utc_text(w.updated_at),
            "name": w.name,
        }
        return out | {"assets": [self.assets.view(k) for k in w.symbols]} if assets else out
