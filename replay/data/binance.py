"""Import raw Binance captures: gzip or text, ``<receive ns> <json>`` a line, one symbol a file, spot, USD-M or COIN-M.

What a line holds, and what becomes of it:

- ``depthUpdate``: one message, one group of DEPTH rows (absolute sizes; `id` is the update id u). Sequence numbers are checked as Binance
  documents it: after a snapshot with id S, updates that end before S are dropped, the first one used must reach back to S, and then each
  must continue the one before (spot: U = u + 1; futures: pu = u). Where one does not, its first row carries `GAP` and
  `depth_gaps` counts it. Updates that arrived before the snapshot but are newer follow it, received with it.
- a REST snapshot: one group, a CLEAR row and a SET row a level, all flagged `SNAPSHOT`. Futures snapshots carry their time; a spot one
  gets the time of the last update it is known to contain, or of the first message if it comes before any.
- ``trade``: a TRADE row; m (the buyer is the maker) means that the seller was the aggressor, side -1. Venue time is T. A trade that is
  not of the market (X: insurance fund, ADL) counts as volume only; one without a price is dropped.
- ``bookTicker``: a QUOTE row, which only informs, as the instrument has depth. Spot tickers carry no time: theirs is the receive time
  less 1 ns, recorded as inferred.

The receive clock may run behind Binance's. The smallest shift that puts every receive time at least 1 ns after its event is added to all
of them and recorded in `clock_shift_ns`; so the fastest message has a latency of 1 ns, and latencies are relative to that one. A single
time of the venue that is wrong is put right alone (`replay.data.receive`).

Ticks and lots are inferred from the values, and not finer than Binance's documented steps unless a value is. Lines = trades + quotes +
depth messages + snapshots + dropped lines; an import that does not add up fails. Memory: the whole file parsed, ~1 kB a line.
"""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from replay.data.instruments import Instrument, infer_increment
from replay.data.manifest import Source
from replay.data.receive import put_events_right
from replay.data.session import Session
from replay.errors import BadInput
from replay.events import CLEAR, COUNTS, DEPTH, EVENT, GAP, LAST, PRINT, QUOTE, SET, SNAPSHOT, TRADE, empty

MS = 1_000_000
QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY")

#: documented (tick, lot) by (market, symbol); others are inferred from the values alone
STEPS = {
    ("spot", "BTCUSDT"): ("0.01", "0.00001"),
    ("spot", "ETHUSDT"): ("0.01", "0.0001"),
    ("usdm", "BTCUSDT"): ("0.1", "0.001"),
    ("usdm", "ETHUSDT"): ("0.01", "0.001"),
    ("coinm", "BTCUSD_PERP"): ("0.1", "1"),
    ("coinm", "ETHUSD_PERP"): ("0.01", "1"),
}

Levels = list[tuple[str, str]]


class _Data(msgspec.Struct):
    """The fields of the three stream messages; Binance uses b and a for levels in one and for prices in another."""

    e: str = "bookTicker"
    s: str = ""
    ps: str | None = None
    E: int = 0
    T: int = 0
    U: int = 0
    u: int = 0
    pu: int | None = None
    b: Levels | str | int = ""
    a: Levels | str | int = ""
    B: str = ""
    A: str = ""
    p: str = ""
    q: str = ""
    t: int = 0
    m: bool = False
    X: str = "MARKET"


class _Line(msgspec.Struct):
    data: _Data | None = None
    lastUpdateId: int | None = None
    T: int = 0
    bids: Levels = []
    asks: Levels = []


class DepthSync:
    """Which depth updates belong on the book: Binance's rules for sequence numbers, without the book.

    >>> sync = DepthSync(futures=False); sync.snapshot(100)
    True
    >>> [sync.update(U, u, None) for U, u in ((90, 95), (96, 101), (102, 103), (102, 103), (110, 111))]
    ['drop', 'use', 'use', 'drop', 'gap']
    """

    def __init__(self, futures: bool):
        self.futures = futures
        self.last: int | None = None  # u of the last update on the book, or the snapshot's id
        self.fresh = False  # no update was used since the snapshot

    def snapshot(self, update_id: int) -> bool:
        """Whether a snapshot is newer than the book, and so replaces it."""
        if self.last is not None and update_id < self.last:
            return False
        self.last, self.fresh = update_id, True
        return True

    def update(self, first: int, final: int, previous: int | None) -> str:
        """``use`` an update, ``drop`` it (already on the book), or use it after a ``gap``; ``wait`` before any snapshot."""
        if self.last is None:
            return "wait"
        if final < self.last or (final == self.last and not (self.futures and self.fresh)):
            return "drop"
        if self.fresh:
            joined = first <= (self.last if self.futures else self.last + 1)
        else:
            joined = previous == self.last if self.futures else first == self.last + 1
        self.last, self.fresh = final, False
        return "use" if joined else "gap"


def import_binance(path: str | Path, name: str | None = None) -> Session:
    """Import one capture. The rules are in the module's text. ~5 us a row, most of it building rows and exact decimals.

    Raises `BadInput`, naming file and line, for a line that is no Binance message, several symbols, or a receive time that goes back.
    """
    path = Path(path)
    lines, digest = _read(path)
    market, symbol = _identify(path, lines)
    instrument, inferred = _instrument(market, symbol, lines)
    rows, counts, shift = _rows(lines, instrument, market)
    used = counts.pop("used")
    assert used + sum(n for what, n in counts.items() if what.startswith("dropped_")) == len(lines)
    if market == "spot":
        inferred.append(f"{symbol}.quote.ts_event")
    return Session.from_rows(
        rows,
        [instrument],
        name=name or f"binance-{market}-{symbol.lower()}",
        clock_shift_ns=shift,
        anomalies=dict(counts),
        inferred=inferred,
        sources=[Source(path.name, digest, len(lines))],
    )


def _read(path: Path) -> tuple[list[tuple[int, _Line]], str]:
    decode = msgspec.json.Decoder(_Line).decode
    lines: list[tuple[int, _Line]] = []
    k, before = 0, 0
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        for k, line in enumerate(text.splitlines(), 1):
            stamp, _, body = line.partition(b" ")
            received, message = int(stamp), decode(body)
            if message.data is None and message.lastUpdateId is None:
                raise BadInput(f"{path} line {k}: neither a stream message nor a snapshot, got {body[:40]!r}: drop the line")
            if received < before:
                raise BadInput(f"{path} line {k}: receive times must not go back, got {received} after {before}: sort the file")
            lines.append((received, message))
            before = received
    except (OSError, EOFError, ValueError, msgspec.DecodeError) as e:
        raise BadInput(
            f"{path} line {k}: expected '<receive ns> <json>' of Binance ({str(e).splitlines()[0]}): repair or drop it"
        ) from None
    if not lines:
        raise BadInput(f"{path}: expected lines '<receive ns> <json>', the file is empty: capture again")
    return lines, hashlib.sha256(raw).hexdigest()


def _identify(path: Path, lines: list[tuple[int, _Line]]) -> tuple[str, str]:
    """Market and symbol. COIN-M messages name their pair (ps), futures updates the update before (pu), spot ones neither."""
    symbols = {m.data.s for _, m in lines if m.data}
    if len(symbols) != 1:
        raise BadInput(
            f"{path}: one symbol a capture expected, got {', '.join(sorted(symbols)) or 'none'}: split the file by symbol"
        )
    updates = [m.data for _, m in lines if m.data and m.data.e == "depthUpdate"]
    market = "coinm" if any(d.ps for d in updates) else "usdm" if any(d.pu is not None for d in updates) else "spot"
    return market, symbols.pop()


def _instrument(market: str, symbol: str, lines: Iterable[tuple[int, _Line]]) -> tuple[Instrument, list[str]]:
    prices, sizes = set(), set()
    for _, m in lines:
        d = m.data
        for side in (m.bids, m.asks) if d is None else (d.b, d.a) if d.e == "depthUpdate" else ():
            for px, size in side:
                prices.add(px)
                sizes.add(size)
        if d is not None and d.e == "trade":
            prices.add(d.p)
            sizes.add(d.q)
        elif d is not None and d.e == "bookTicker":
            prices.update((d.b, d.a))
            sizes.update((d.B, d.A))
    tick, lot = STEPS.get((market, symbol), (None, None))
    steps = {"tick_size": infer_increment(prices, tick), "lot_size": infer_increment(sizes, lot)}
    # captures hold sizes finer than the venue's step, left from an older one; an order still has to respect the step
    smallest = max(int(Decimal(lot) / Decimal(steps["lot_size"])), 1) if lot else 1
    if market == "coinm":  # a contract is worth 100 USD of BTC, 10 USD of any other coin
        base = symbol.partition("USD")[0]
        money = {"currency": "USD", "base": base, "multiplier": "100" if base == "BTC" else "10", "inverse": True}
    else:
        quote = next((q for q in QUOTES if symbol.endswith(q)), None)
        if quote is None:
            raise BadInput(f"{symbol}: the quote currency must be one of {', '.join(QUOTES)}: extend replay.data.binance.QUOTES")
        money = {"currency": quote, "base": symbol.removesuffix(quote) if market == "spot" else None}
    return Instrument(symbol=symbol, min_qty=smallest, **steps, **money), [f"{symbol}.{field}" for field in steps]


class _Exact:
    """Text to ticks or lots, each distinct text converted once."""

    def __init__(self, convert):
        self.convert = convert
        self.known: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        n = self.known.get(text)
        if n is None:
            n = self.known[text] = self.convert(text)
        return n


class _Builder:
    """Gathers rows; `NO_TIME` stands for a venue time to be filled in once the clock shift is known."""

    NO_TIME = -1

    def __init__(self, instrument: Instrument, futures: bool, first_time: int):
        self.ticks, self.lots = _Exact(instrument.ticks), _Exact(instrument.lots)
        self.sync = DepthSync(futures)
        self.first_time = first_time  # venue time (ms) of the first message that has one
        self.rows: list[tuple] = []
        self.counts: Counter[str] = Counter(used=0)
        self.waiting: list[_Data] = []
        self.depth_time = 0  # venue time of the book; updates keep the order of their ids where their times do not

    def add(
        self, t: int, received: int, kind: int, side: int, flags: int, number: int, a: int, b: int, c: int = 0, d: int = 0
    ) -> None:
        self.rows.append((t, received, kind, side, flags, 0, number, a, b, c, d))

    def book_time(self, ms: int) -> int:
        if ms * MS < self.depth_time:
            self.counts["depth_time_raised"] += 1
        self.depth_time = max(self.depth_time, ms * MS)
        return self.depth_time

    def levels(self, t: int, received: int, number: int, bids: Levels, asks: Levels, flags: int) -> None:
        for side, levels in ((1, bids), (-1, asks)):
            for px, size in levels:
                self.add(t, received, DEPTH, side, flags, number, self.ticks(px), self.lots(size), SET)

    def close(self) -> None:
        """Mark the last row as the end of its message."""
        last = self.rows[-1]
        self.rows[-1] = (*last[:4], last[4] | LAST, *last[5:])

    def snapshot(self, received: int, m: _Line) -> None:
        number = m.lastUpdateId
        if not self.sync.snapshot(number):
            self.counts["dropped_old_snapshot"] += 1
            return
        self.counts["used"] += 1
        t = self.book_time(m.T or self._time_of(number))
        self.add(t, received, DEPTH, 0, SNAPSHOT, number, 0, 0, CLEAR)
        self.levels(t, received, number, m.bids, m.asks, SNAPSHOT)
        self.close()
        waiting, self.waiting = self.waiting, []
        for d in waiting:
            self.update(received, d)

    def _time_of(self, number: int) -> int:
        """The time (ms) of a snapshot that carries none: of the last update known to be in it, else of the first message."""
        contained = [d.E for d in self.waiting if d.u <= number]
        return max([*contained, self.depth_time // MS]) or self.first_time

    def update(self, received: int, d: _Data) -> None:
        fate = self.sync.update(d.U, d.u, d.pu)
        if fate == "wait":
            self.waiting.append(d)
        elif fate == "drop" or not (d.b or d.a):
            self.counts["dropped_depth_on_book" if fate == "drop" else "dropped_depth_empty"] += 1
        else:
            self.counts["used"] += 1
            start = len(self.rows)
            self.levels(self.book_time(d.T or d.E), received, d.u, d.b, d.a, 0)
            if fate == "gap":
                self.counts["depth_gaps"] += 1
                first = self.rows[start]
                self.rows[start] = (*first[:4], first[4] | GAP, *first[5:])
            self.close()

    def trade(self, received: int, d: _Data) -> None:
        if not self.ticks(d.p) or not self.lots(d.q):
            self.counts["dropped_trade_without_price"] += 1
            return
        self.counts["used"] += 1
        if d.X != "MARKET":
            self.counts["trade_off_market"] += 1
        flags = LAST | (PRINT if d.X == "MARKET" else COUNTS)
        self.add(d.T * MS, received, TRADE, -1 if d.m else 1, flags, d.t, self.ticks(d.p), self.lots(d.q))

    def quote(self, received: int, d: _Data) -> None:
        self.counts["used"] += 1
        t = d.T * MS if d.T else self.NO_TIME
        self.add(t, received, QUOTE, 0, LAST, d.u, self.ticks(d.b), self.lots(d.B), self.ticks(d.a), self.lots(d.A))


def _rows(lines: list[tuple[int, _Line]], instrument: Instrument, market: str) -> tuple[np.recarray, Counter[str], int]:
    times = (m.T or (m.data and (m.data.T or m.data.E)) for _, m in lines)
    build = _Builder(instrument, market != "spot", next((t for t in times if t), lines[0][0] // MS))
    take = {"depthUpdate": build.update, "trade": build.trade, "bookTicker": build.quote}
    for received, m in lines:
        if m.data is None:
            build.snapshot(received, m)
        elif m.data.e in take:
            take[m.data.e](received, m.data)
        else:
            build.counts["dropped_other_stream"] += 1
    if build.waiting:
        build.counts["dropped_depth_without_snapshot"] += len(build.waiting)
    rows = empty(len(build.rows))
    rows[:] = np.array(build.rows, EVENT)
    untimed = rows["ts_event"] == build.NO_TIME
    rows["ts_event"][untimed] = rows["ts_recv"][untimed]
    shift = put_events_right(rows, build.counts)
    rows["ts_event"][untimed] = rows["ts_recv"][untimed] - 1
    return rows, build.counts, shift
