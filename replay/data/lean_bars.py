"""Import LEAN bars of US equities and of crypto: trade bars of a folder ``second``, ``minute``, ``hour`` or ``daily``.

``<symbol>/<yyyymmdd>_trade.zip`` holds ``ms since midnight,open,high,low,close,volume``; ``<symbol>.zip`` of hours and days the same with
``yyyymmdd hh:mm``; every time that of the bar's start. What the rest of the path names decides: prices of ``equity`` are times 10,000, whole
numbers, in New York's time, with the calendar XNYS; those of ``crypto`` and ``cryptofuture`` as they are, in UTC, around the clock. Other assets,
and contracts that are settled in their coin, are refused. They are read as the canonical columns are, with the rules of
`replay.data.canonical`. Quote bars (``_quote.zip``) are left out: a bar is one of trades.
"""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Callable, Collection, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from replay.data.canonical import assemble
from replay.data.columns import Columns
from replay.data.lean import CRYPTO, EQUITY, SCALE, asset_of, find
from replay.data.reading import Reading
from replay.data.session import Session
from replay.data.tables import Batch
from replay.data.times import NEW_YORK, SECOND, ns_of
from replay.errors import BadInput

INTERVALS = {"second": SECOND, "minute": 60 * SECOND, "hour": 3600 * SECOND, "daily": 86_400 * SECOND}
_PRICES = ("open", "high", "low", "close")


def bars_of(source: Path) -> str | None:
    """Which bars the folder `source` holds by its LEAN path, None for ticks.

    >>> bars_of(Path("equity/usa/minute/spy")), bars_of(Path("equity/usa/tick"))
    ('minute', None)
    """
    return next((part for part in reversed(source.resolve().parts) if part in INTERVALS), None)


def import_lean_bars(
    source: Path, symbols: Collection[str] | None = None, dates: Collection[str] | None = None, name: str = "lean"
) -> Session:
    """Import a folder of LEAN trade bars; only `symbols`, and for seconds and minutes only `dates`, where given. Raises `BadInput`."""
    length = bars_of(source)
    if length is None:
        raise BadInput(f"{source}: bars are expected in a folder {', '.join(INTERVALS)}: check the path")
    form = _form(source)
    tables = []
    if length in ("hour", "daily"):
        if dates is not None:
            raise BadInput(
                f"{source}: a file of {length} bars holds all its days: leave --dates out, cut the session by --from and --to"
            )
        wanted = None if symbols is None else {s.upper() for s in symbols}
        found = {_symbol_of(path): path for path in sorted(source.glob("*.zip")) if not path.stem.endswith("_quote")}
        if not found or (wanted or set()) - found.keys():
            raise BadInput(f"{source}: no LEAN files of {', '.join(sorted(wanted or {'any symbol'}))}: check folder and symbols")
        for symbol, path in found.items():
            if wanted is None or symbol in wanted:
                tables.append((path.name, path, _reader(path, symbol, None, form)))
    else:
        for path, symbol, day, kind in find(source, symbols, dates, name):
            if kind == "trade":
                midnight = ns_of(datetime.datetime(day.year, day.month, day.day, tzinfo=form.zone))
                tables.append((f"{symbol.lower()}/{path.name}", path, _reader(path, symbol, midnight, form)))
    if not tables:
        raise BadInput(f"{source}: no files of trade bars: check the folder")
    reading = Reading(interval_ns=INTERVALS[length], label="open", sessions=form.calendar == "XNYS")
    return assemble(tables, Columns(reading), name, form.calendar)


class _Form(NamedTuple):
    """How the files of an asset write prices and times."""

    asset: str
    scale: int
    zone: ZoneInfo
    calendar: str


def _form(source: Path) -> _Form:
    asset = asset_of(source)
    if asset in EQUITY:
        return _Form(asset, SCALE, NEW_YORK, "XNYS")
    if asset in CRYPTO:
        return _Form(asset, 1, ZoneInfo("UTC"), "24/7")
    raise BadInput(
        f"{source}: LEAN bars of {asset}: those of equity, crypto and cryptofuture are read, others as files of columns only"
    )


def _symbol_of(path: Path) -> str:
    return path.stem.removesuffix("_trade").upper()


def _reader(
    path: Path, symbol: str, midnight: int | None, form: _Form
) -> Callable[[Callable[[int, int], None]], Iterator[Batch]]:
    def read(told: Callable[[int, int], None]) -> Iterator[Batch]:
        if form.asset == "cryptofuture" and symbol.endswith("USD"):
            raise BadInput(
                f"{path}: {symbol} is settled in its coin, whose value is not linear in the price: leave it out by --symbols"
            )
        names = ("ts_event", *_PRICES, "volume")
        types = {name: pa.float64() for name in names} | {"ts_event": pa.string() if midnight is None else pa.int64()}
        try:
            with zipfile.ZipFile(path) as z:
                (member,) = z.namelist()
                if "_tick" in member or "_quote" in member:
                    raise BadInput(f"{path}: holds {member}, not bars of trades: leave it out")
                text = z.read(member)
            table = pv.read_csv(
                BytesIO(text), pv.ReadOptions(column_names=names), convert_options=pv.ConvertOptions(column_types=types)
            )
            times = _days(table["ts_event"], form) if midnight is None else midnight + table["ts_event"].to_numpy() * 1_000_000
        except (OSError, ValueError, zipfile.BadZipFile, pa.ArrowInvalid) as e:
            raise BadInput(
                f"{path}: not a LEAN file of bars ({str(e).splitlines()[0]}): download it again, or leave it out"
            ) from None
        prices = {name: table[name].to_numpy() for name in _PRICES}
        if form.scale > 1 and any((np.nan_to_num(px) % 1 != 0).any() for px in prices.values()):
            raise BadInput(
                f"{path}: prices of equities are whole numbers, times {SCALE:,}, these are not: name the folder as LEAN does, such as "
                f"crypto/binance/minute, where it is not of equities"
            )
        arrays = {"ts_event": pa.array(times), "symbol": pa.array([symbol] * table.num_rows)}
        arrays |= {name: pa.array(px / form.scale) for name, px in prices.items()}
        yield Batch(path, 0, arrays | {"volume": table["volume"].combine_chunks()}, {name: name for name in arrays})

    return read


def _days(texts: pa.ChunkedArray, form: _Form) -> np.ndarray:
    minutes = pc.strptime(texts, "%Y%m%d %H:%M", "s")
    return pc.assume_timezone(minutes, form.zone.key).cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_numpy()
