"""Session rows as Alpaca's market-data messages, for streams (msgpack times) and REST (text times)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import msgpack
import numpy as np

from replay.data.instruments import Instrument
from replay.data.manifest import Manifest
from replay.events import BAR, COUNTS, DEPTH, HALTED, LAST, QUOTE, SETS_LAST, SNAPSHOT, STATUS, TRADE
from replay.serve.orders import Assets

EXCHANGE, TAPE = "V", "C"  # a recording does not say: IEX, and the tape of Nasdaq
CHANNELS = (
    "trades",
    "quotes",
    "bars",
    "updatedBars",
    "dailyBars",
    "statuses",
    "lulds",
    "corrections",
    "cancelErrors",
    "orderbooks",
)


def stamp(ns: int) -> msgpack.Timestamp:
    """A time as the streams carry it: msgpack's timestamp extension, to the nanosecond."""
    return msgpack.Timestamp(ns // 1_000_000_000, ns % 1_000_000_000)


class Scale:
    """From ticks and lots to the numbers of the wire: the nearest double of the exact decimal.

    >>> Scale(Instrument(symbol="AAPL", tick_size="0.01")).px(18912)
    189.12
    """

    def __init__(self, i: Instrument):
        self.tick, self.lot = Fraction(i.tick_size), Fraction(i.lot_size)

    def px(self, ticks: int) -> float:
        return ticks * self.tick.numerator / self.tick.denominator

    def size(self, lots: int) -> float | int:
        return lots if self.lot == 1 else lots * self.lot.numerator / self.lot.denominator


def conditions(flags: int, crypto: bool) -> list[str] | str:
    """Sale conditions that say what the row's flags say: regular, odd lot (does not set the last price), or average price (neither)."""
    if crypto:
        return ""
    return ["@"] if flags & SETS_LAST else ["@", "I"] if flags & COUNTS else ["@", "W"]


class Encoder:
    """Rows to messages. `time` makes a time of ns: `stamp` for streams, `utc_text` for REST.

    Of an instrument that has only bars those of its shortest interval are sent, as minute bars whatever their length, stamped with their
    beginning as Alpaca's are; a recording's bars know no number of trades and no average price: 0, and the close.
    """

    def __init__(self, assets: Assets, m: Manifest, time: Callable[[int], object] = stamp):
        self.assets, self.time = assets, time
        self.intervals = m.bar_intervals_ns
        self.executing = [ns if level == "bars" else -1 for ns, level in zip(m.finest_bar_ns, m.levels, strict=True)]
        self.scales = [Scale(i) for i in assets.instruments]
        self.crypto = [assets.is_crypto(k) for k in range(len(assets.symbols))]
        self._depth: dict[int, list] = {}  # levels of venue messages whose last row has not come

    def rows(self, rows: np.recarray) -> Iterator[tuple[int, str, int, dict]]:
        """(row, channel, instrument, message) of each row that has a message of its own; the rest of the depth rows of one venue message is
        in the one of its last."""
        columns = [rows.kind, rows.instrument, rows.ts_event, rows.side, rows["flags"], rows.id, rows.a, rows.b, rows.c, rows.d]
        for n, (kind, k, t, side, flags, ident, a, b, c, d) in enumerate(zip(*(col.tolist() for col in columns), strict=True)):
            if kind == QUOTE:
                yield n, "quotes", k, self.quote(k, t, a, b, c, d)
            elif kind == TRADE:
                yield n, "trades", k, self.trade(k, t, side, flags, ident, a, b)
            elif kind == STATUS:
                yield n, "statuses", k, self.status(k, t, side)
            elif kind == BAR and self.intervals[side] == self.executing[k]:
                yield n, "bars", k, self.bar(k, t - self.executing[k], a, b, c, d, ident, 0, float(d))
            elif kind == DEPTH:
                levels = self._depth.setdefault(k, [])
                levels.append((side, a, b))
                if flags & LAST:
                    yield n, "orderbooks", k, self.book(k, t, levels, bool(flags & SNAPSHOT))
                    del self._depth[k]

    def quote(self, k: int, t: int, bid: int, bid_sz: int, ask: int, ask_sz: int) -> dict:
        s = self.scales[k]
        out = {
            "T": "q",
            "S": self.assets.symbols[k],
            "bp": s.px(bid),
            "bs": s.size(bid_sz),
            "ap": s.px(ask),
            "as": s.size(ask_sz),
        }
        if not self.crypto[k]:
            out |= {"bx": EXCHANGE, "ax": EXCHANGE, "c": ["R"], "z": TAPE}
        out["t"] = self.time(t)
        return out

    def trade(self, k: int, t: int, side: int, flags: int, ident: int, px: int, size: int) -> dict:
        s = self.scales[k]
        out = {"T": "t", "S": self.assets.symbols[k], "i": ident, "p": s.px(px), "s": s.size(size)}
        if self.crypto[k]:
            out["tks"] = "B" if side > 0 else "S"
        else:
            out |= {"x": EXCHANGE, "c": conditions(flags, False), "z": TAPE}
        out["t"] = self.time(t)
        return out

    def status(self, k: int, t: int, side: int) -> dict:
        code, words = ("H", "Trading Halt") if side == HALTED else ("T", "Trading Resumption")
        return {
            "T": "s", "S": self.assets.symbols[k], "sc": code, "sm": words, "rc": "", "rm": "", "z": TAPE, "t": self.time(t),
        }  # fmt: skip

    def book(self, k: int, t: int, levels: list[tuple[int, int, int]], snapshot: bool) -> dict:
        """Levels as (side, ticks, lots); a size of 0 removes the level."""
        s = self.scales[k]
        sides = {side: [{"p": s.px(px), "s": s.size(sz)} for way, px, sz in levels if way == side] for side in (1, -1)}
        out = {"T": "o", "S": self.assets.symbols[k], "t": self.time(t), "b": sides[1], "a": sides[-1]}
        return out | {"r": True} if snapshot else out

    def bar(self, k: int, t: int, o: int, h: int, l: int, c: int, v: int, n: int, vwap: float, T: str = "b") -> dict:
        """A bar from `t` on; all prices in ticks."""
        s = self.scales[k]
        return {
            "T": T, "S": self.assets.symbols[k], "o": s.px(o), "h": s.px(h), "l": s.px(l), "c": s.px(c),
            "v": s.size(v), "n": n, "vw": round(s.px(vwap), 6), "t": self.time(t),
        }  # fmt: skip
