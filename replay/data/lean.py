"""Import LEAN tick zips: US equity trades and NBBO quotes, as ``<symbol>/<yyyymmdd>_{trade,quote}.zip``.

What a file holds, and what becomes of it:

- trade ``ms,price,size,exchange,conditions,suspicious``; quote ``ms,bid,bid_size,ask,ask_size,exchange,conditions,suspicious``; times in
  ms since New York midnight, prices times 10,000. No receive time was recorded, so ``ts_recv = ts_event``.
- A quote row names one side; the other is carried forward from the rows before it on that day. Until it has been seen its size is 0,
  which means that there is no such side. Every quote row becomes one QUOTE, a crossed one too (the manifest counts those); a
  suspicious one is dropped (``dropped_suspicious_quote``), so that it never stands as the market.
- A trade keeps its sale conditions, as a number, in `conditions`. A suspicious one counts as volume only, and so does one whose
  price was not made in this market at this moment (`AWAY`). An odd lot sets no last price and fills no order. A market's official open or
  close is a summary, not a trade, and counts as nothing.
- The recording does not say in which order quotes and trades of one millisecond happened. Here the trades go first: a print is then
  judged by the quote that stood before its millisecond, and no quote that may be its consequence can explain it (Lee and Ready).
- PHASE rows open and close the regular session by the calendar XNYS, before the market data of the same time.

`id` is the row's number in its file, from 1. Rows in the files = QUOTE rows + TRADE rows + dropped rows; an import that does not add up
fails. Cost: ~1.2 us a row, ~350 bytes of memory a row while it runs.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv

from replay.data.hours import market_hours, phase_rows
from replay.data.instruments import Instrument, infer_increment
from replay.data.manifest import Calendar, Source
from replay.data.session import Session
from replay.data.times import date_of, in_new_york, trading_day
from replay.errors import BadInput
from replay.events import COUNTS, LAST, PRINT, QUOTE, TRADE, empty

SCALE = 10_000  #: of prices of equities in the files
EQUITY, CRYPTO = ("equity",), ("crypto", "cryptofuture")
_ASSETS = (
    "alternative",
    "base",
    "cfd",
    "crypto",
    "cryptofuture",
    "equity",
    "forex",
    "future",
    "futureoption",
    "index",
    "indexoption",
    "option",
)

#: sale conditions by bit, as LEAN numbers them
CASH, NEXT_DAY, SELLER = 1 << 1, 1 << 2, 1 << 3
DERIVATIVELY_PRICED, SOLD_LATE, OUT_OF_SEQUENCE = 1 << 9, 1 << 11, 1 << 14
STOCK_OPTION, AVERAGE_PRICE, PRIOR_REFERENCE = 1 << 18, 1 << 20, 1 << 25
OFFICIAL_CLOSE, OFFICIAL_OPEN, ODD_LOT = 1 << 24, 1 << 26, 1 << 31
#: the price was not made here and now: other settlement, an average, another moment, another instrument
AWAY = (
    CASH | NEXT_DAY | SELLER | DERIVATIVELY_PRICED | SOLD_LATE | OUT_OF_SEQUENCE | STOCK_OPTION | AVERAGE_PRICE | PRIOR_REFERENCE
)
OFFICIAL = OFFICIAL_CLOSE | OFFICIAL_OPEN

_COLUMNS = {
    "trade": ("ms", "px", "size", "exchange", "conditions", "suspicious"),
    "quote": ("ms", "bid_px", "bid_sz", "ask_px", "ask_sz", "exchange", "conditions", "suspicious"),
}
_NAME = re.compile(r"(\d{8})_(trade|quote)\.zip")


@dataclass(frozen=True)
class _File:
    path: Path
    symbol: str
    day: datetime.date
    kind: str
    table: dict[str, np.ndarray]
    source: Source


def import_lean(
    source: str | Path | Sequence[str | Path],
    symbols: Collection[str] | None = None,
    dates: Collection[str] | None = None,
    name: str = "lean",
) -> Session:
    """Import a folder of LEAN tick zips, or a list of them; only `symbols` and `dates` (``2013-10-07``) where given.

    The tick is inferred from the prices, at most 0.01, and recorded as inferred. Raises `BadInput` where nothing is left to import or a
    file is not what its name says. The rules are in the module's text.
    """
    found = find(source, symbols, dates, name)
    asset = asset_of(found[0][0])
    if asset not in EQUITY:
        raise BadInput(
            f"{source}: LEAN ticks of {asset}: of ticks only those of equity are read; import its minute bars, or other files"
        )
    files = [_read(path, symbol, day, kind) for path, symbol, day, kind in found]
    listed = sorted({f.symbol for f in files})
    instruments = [_instrument(s, [f for f in files if f.symbol == s]) for s in listed]
    anomalies: dict[str, int] = {}
    hours = _hours({f.day for f in files})
    parts = [phase_rows(hours)]
    for kind in ("trade", "quote"):  # the stable sort below keeps this order within a millisecond
        for f in files:
            if f.kind == kind:
                k = listed.index(f.symbol)
                divisor = int(Decimal(instruments[k].tick_size) * SCALE)
                rows = _trades(f, divisor, anomalies) if kind == "trade" else _quotes(f, divisor, anomalies)
                rows.instrument[:] = k
                parts.append(rows)
    rows = np.concatenate(parts)
    rows = rows[np.argsort(rows["ts_event"], kind="stable")].view(np.recarray)
    rows["ts_recv"] = rows["ts_event"]
    session = Session.from_rows(
        rows,
        instruments,
        name=name,
        anomalies=anomalies,
        inferred=[f"{s}.tick_size" for s in listed],
        sources=[f.source for f in files],
        calendar=hours,
    )
    held = session.manifest.counts.get("trade", 0) + session.manifest.counts.get("quote", 0)
    assert sum(f.source.rows for f in files) == held + anomalies.get("dropped_suspicious_quote", 0)
    return session


def asset_of(path: Path) -> str:
    """What a LEAN path says its prices are of: the folder two above that of the resolution; equity where it says nothing.

    Prices of equities are in 1/10,000 and their times New York's; of nothing else are both so.

    >>> asset_of(Path("Data/crypto/bybit/minute/btcusdt")), asset_of(Path("x/minute/spy"))
    ('crypto', 'equity')
    """
    parts = [part.lower() for part in path.resolve().parts]
    return next((part for part in reversed(parts[:-1] if path.suffix else parts) if part in _ASSETS), "equity")


def find(source, symbols, dates, name: str) -> list[tuple[Path, str, datetime.date, str]]:
    """The files to read, in the order of symbol, day, kind."""
    if isinstance(source, str | Path):
        paths = sorted(Path(source).rglob("*_*.zip"))
    else:
        paths = [Path(p) for p in source]
    wanted_symbols = None if symbols is None else {s.upper() for s in symbols}
    wanted_days = None if dates is None else {date_of(d, name) for d in dates}
    found = []
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match is None:
            if not isinstance(source, str | Path):
                raise BadInput(f"{path}: a LEAN tick file is named like ibm/20131007_trade.zip: rename it, or leave it out")
            continue
        symbol, day = path.parent.name.upper(), date_of(match[1], str(path))
        if (wanted_symbols is None or symbol in wanted_symbols) and (wanted_days is None or day in wanted_days):
            found.append((path, symbol, day, match[2]))
    missing = sorted((wanted_symbols or set()) - {f[1] for f in found})
    if missing or not found:
        days = ", ".join(sorted(map(str, wanted_days))) if wanted_days else "any day"
        raise BadInput(
            f"{source}: no LEAN tick files of {', '.join(missing) or 'any symbol'} for {days}: check folder, symbols and dates"
        )
    return sorted(found, key=lambda f: (f[1], f[2], f[3]))


def _read(path: Path, symbol: str, day: datetime.date, kind: str) -> _File:
    columns = _COLUMNS[kind]
    types = {c: pa.string() if c in ("exchange", "conditions") else pa.int64() for c in columns}
    try:
        with zipfile.ZipFile(path) as z:
            (member,) = z.namelist()
            if "_tick" not in member.lower():
                raise BadInput(f"{path}: holds {member}, not ticks: pass the files of the tick folder")
            text = z.read(member)
        table = pv.read_csv(
            BytesIO(text), pv.ReadOptions(column_names=columns), convert_options=pv.ConvertOptions(column_types=types)
        )
        # an empty field is no value, which these files otherwise write as 0
        numbers = {c: table[c].fill_null(0).to_numpy() for c in columns if types[c] == pa.int64()}
        codes = table["conditions"].combine_chunks().dictionary_encode()
        values = np.array([int(code or "0", 16) for code in codes.dictionary.to_pylist()], np.int64)
        numbers["conditions"] = (
            values[codes.indices.fill_null(0).to_numpy()] if len(values) else np.zeros(table.num_rows, np.int64)
        )
    except (OSError, ValueError, zipfile.BadZipFile, pa.ArrowInvalid) as e:
        raise BadInput(
            f"{path}: not a LEAN {kind} tick file ({str(e).splitlines()[0]}): download it again, or leave it out"
        ) from None
    late = np.flatnonzero(np.diff(numbers["ms"]) < 0)
    if len(late):
        k = int(late[0])
        raise BadInput(
            f"{path} row {k + 2}: times must not go back, got {numbers['ms'][k + 1]} after {numbers['ms'][k]} ms: sort the file"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return _File(path, symbol, day, kind, numbers, Source(f"{symbol.lower()}/{path.name}", digest, table.num_rows))


def _instrument(symbol: str, files: Sequence[_File]) -> Instrument:
    seen = [np.unique(f.table[c]) for f in files for c in ("px", "bid_px", "ask_px") if c in f.table]
    # of the prices only their remainder to a cent matters, which leaves at most a hundred decimals to look at
    rest = np.unique(np.concatenate(seen) % (SCALE // 100))
    tick = infer_increment([Decimal(int(r)) / SCALE for r in rest], floor="0.01")
    return Instrument(symbol=symbol, tick_size=tick)


def _hours(days: Collection[datetime.date]) -> Calendar:
    """The market hours of these days, of those that have any."""
    hours = market_hours("XNYS", in_new_york(min(days)), in_new_york(max(days), 23))
    wanted = {trading_day(day) for day in days}
    return Calendar(name=hours.name, days=tuple(d for d in hours.days if d[0] in wanted))


def _rows(f: _File, kind: int) -> np.recarray:
    n = f.source.rows
    rows = empty(n)
    rows.ts_event[:] = in_new_york(f.day) + f.table["ms"] * 1_000_000
    rows.kind[:], rows["flags"][:], rows.id[:] = kind, LAST, np.arange(1, n + 1)
    return rows


def _trades(f: _File, divisor: int, anomalies: dict[str, int]) -> np.recarray:
    t = f.table
    rows = _rows(f, TRADE)
    rows.a[:], rows.b[:], rows.c[:] = t["px"] // divisor, t["size"], t["conditions"]
    conditions, suspicious = t["conditions"], t["suspicious"] != 0
    flags = np.where(conditions & ODD_LOT, COUNTS, PRINT)
    flags[suspicious | (conditions & AWAY != 0)] = COUNTS
    flags[conditions & OFFICIAL != 0] = 0
    rows["flags"] |= flags.astype(np.uint16)
    _count(anomalies, "suspicious_trade", suspicious)
    _count(anomalies, "trade_away_from_market", conditions & AWAY != 0)
    _count(anomalies, "official_open_or_close", conditions & OFFICIAL != 0)
    return rows


def _quotes(f: _File, divisor: int, anomalies: dict[str, int]) -> np.recarray:
    t = f.table
    rows = _rows(f, QUOTE)
    suspicious = t["suspicious"] != 0
    for px, sz, to_px, to_sz in (("bid_px", "bid_sz", "a", "b"), ("ask_px", "ask_sz", "c", "d")):
        named = (t[px] > 0) & ~suspicious
        last = np.maximum.accumulate(np.where(named, np.arange(len(named)), -1))
        rows[to_px] = np.where(last >= 0, t[px][last] // divisor, 0)
        rows[to_sz] = np.where(last >= 0, t[sz][last], 0)
    _count(anomalies, "dropped_suspicious_quote", suspicious)
    return rows[~suspicious].view(np.recarray)


def _count(anomalies: dict[str, int], what: str, where: np.ndarray) -> None:
    if n := int(np.count_nonzero(where)):
        anomalies[what] = anomalies.get(what, 0) + n
