"""What the files of an import do not say themselves: options, and instruments as a file states them."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from replay.data.instruments import Instrument
from replay.errors import UNREADABLE, BadInput
from replay.files import whole


@dataclass(frozen=True)
class Reading:
    """How to read the columns: what the files do not say themselves. See `replay.data.canonical.import_canonical`."""

    symbol: str | None = None
    timezone: str | None = None
    interval_ns: int = 0
    label: str | None = None  # a bar's time is that of its "open" or "close"
    instruments: dict[str, dict[str, object]] = field(default_factory=dict)  # what is known of a symbol
    kind: str | None = None  # of rows whose columns do not tell
    date_order: str | None = None  # "mdy" or "dmy"
    price_unit: str | None = None  # what 1 in a column of prices is worth
    steps: dict[str, str] = field(default_factory=dict)  # "tick" and "lot": steps to round to
    sources: dict[Path, str] = field(default_factory=dict)  # whose data a file is, as far as files differ in it
    sessions: bool = False  # the market has a close: bars of a day do not end at midnight


def read_instruments(path: Path) -> dict[str, dict[str, object]]:
    """What a TOML file says of each symbol: tables named by it, holding fields of `Instrument`. Raises `BadInput`.

    ``[AAPL]`` then ``tick_size = "0.01"``, ``lot_size = "1"``, ``currency = "USD"``...; what is not said is inferred or the default.
    """
    try:
        told = msgspec.toml.decode(whole(path), type=dict[str, dict[str, object]])
    except (OSError, *UNREADABLE) as e:
        raise BadInput(
            f"{path}: cannot be read as instruments ({e}): a table a symbol, such as [AAPL] tick_size = '0.01'"
        ) from None
    known = [name for name in Instrument.__struct_fields__ if name != "symbol"]
    for symbol, fields in told.items():
        _check_fields(path, symbol, fields, known)
        make_instrument(symbol, {"tick_size": "0.01", **fields}, str(path))
    return told


def make_instrument(symbol: str, fields: dict[str, object], where: str) -> Instrument:
    """An `Instrument` of fields as they stand in a file. Raises `BadInput`, naming `where`."""
    try:
        return msgspec.convert({"symbol": symbol, **fields}, Instrument)
    except msgspec.ValidationError as e:
        raise BadInput(f"{where}: {symbol}: {e}: correct it") from None


def _check_fields(path: Path, symbol: str, fields: dict[str, object], known: Collection[str]) -> None:
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise BadInput(f"{path}: {symbol}: no field {name!r}, expected one of {', '.join(near or known)}: correct it")
