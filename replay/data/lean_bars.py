"""Import LEAN bars of US equities: trade bars of a folder ``second``, ``minute``, ``hour`` or ``daily``.

``<symbol>/<yyyymmdd>_trade.zip`` holds ``ms since New York midnight,open,high,low,close,volume``; ``<symbol>.zip`` of hours and days the same with
``yyyymmdd hh:mm``; prices times 10,000, every time that of the bar's start. They are read as the canonical columns are, with the rules of
`replay.data.canonical` and the calendar XNYS. Quote bars (``_quote.zip``) are left out: a bar is one of trades.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from replay.data.canonical import assemble
from replay.data.columns import Columns, Reading
from replay.data.lean import SCALE, find
from replay.data.session import Session
from replay.data.tables import Batch
from replay.data.times import SECOND, in_new_york
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
    tables = []
    if length in ("hour", "daily"):
        if dates is not None:
            raise BadInput(
                f"{source}: a file of {length} bars holds all its days: leave --dates out, cut the session by --from and --to"
            )
        wanted = None if symbols is None else {s.upper() for s in symbols}
        found = {path.stem.upper(): path for path in sorted(source.glob("*.zip"))}
        if not found or (wanted or set()) - found.keys():
            raise BadInput(f"{source}: no LEAN files of {', '.join(sorted(wanted or {'any symbol'}))}: check folder and symbols")
        for symbol, path in found.items():
            if wanted is None or symbol in wanted:
                tables.append((path.name, path, _reader(path, symbol, None)))
    else:
        for path, symbol, day, kind in find(source, symbols, dates, name):
            if kind == "trade":
                tables.append((f"{symbol.lower()}/{path.name}", path, _reader(path, symbol, in_new_york(day))))
    if not tables:
        raise BadInput(f"{source}: no files of trade bars: check the folder")
    return assemble(tables, Columns(Reading(interval_ns=INTERVALS[length], label="open")), name, "XNYS")


def _reader(path: Path, symbol: str, midnight: int | None) -> Callable[[Callable[[int, int], None]], Iterator[Batch]]:
    def read(told: Callable[[int, int], None]) -> Iterator[Batch]:
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
            times = _days(table["ts_event"]) if midnight is None else midnight + table["ts_event"].to_numpy() * 1_000_000
        except (OSError, ValueError, zipfile.BadZipFile, pa.ArrowInvalid) as e:
            raise BadInput(
                f"{path}: not a LEAN file of bars ({str(e).splitlines()[0]}): download it again, or leave it out"
            ) from None
        arrays = {"ts_event": pa.array(times), "symbol": pa.array([symbol] * table.num_rows)}
        arrays |= {name: pa.array(table[name].to_numpy() / SCALE) for name in _PRICES}
        yield Batch(path, 0, arrays | {"volume": table["volume"].combine_chunks()}, {name: name for name in arrays})

    return read


def _days(texts: pa.ChunkedArray) -> np.ndarray:
    minutes = pc.strptime(texts, "%Y%m%d %H:%M", "s")
    return pc.assume_timezone(minutes, "America/New_York").cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_numpy()
