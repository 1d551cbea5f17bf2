"""Numbers as the page prints them, and tables as numpy arrays."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """Thousands separated, `digits` decimals; small ones keep three significant digits.

    >>> number(1234567.891), number(-0.00012), number(3.0, 0, signed=True), number(None)
    ('1,234,567.89', '-0.00012', '+3', '—')
    """
    if value is None or value != value:
        return "—"
    if value and abs(value) < 10.0**-digits and digits:
        text = f"{value:.3g}" if abs(value) >= 1e-4 else np.format_float_positional(value, 3, fractional=False, trim="-")
    else:
        text = f"{value + 0.0:,.{digits}f}"
    text = "0" if float(text.replace(",", "")) == 0 and digits == 0 else text
    return f"+{text}" if signed and value > 0 else text


def price(value: float | None) -> str:
    """A price or quantity with all its digits and no more.

    >>> price(189.1200), price(0.00001234), price(10000.0), price(None)
    ('189.12', '0.00001234', '10,000', '—')
    """
    if value is None or value != value:
        return "—"
    return f"{value:,.10f}".rstrip("0").rstrip(".")


def percent(share: float | None, signed: bool = False) -> str:
    """A share as percent, without the sign that stands in the header.

    >>> percent(0.0512), percent(-0.5, signed=True), percent(0.00004)
    ('5.1', '-50.0', '0.004')
    """
    return number(None if share is None else share * 100, 1, signed)


def duration(ns: float) -> str:
    """A span of time in its natural unit.

    >>> duration(950), duration(1_500_000), duration(90e9), duration(7200e9), duration(3 * 86400e9)
    ('950 ns', '1.5 ms', '1.5 min', '2 h', '3 d')
    """
    for unit, size in (("d", 86400e9), ("h", 3600e9), ("min", 60e9), ("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def time_text(ns: int, seconds: str = "seconds") -> str:
    """A time in UTC, to the second, minute or millisecond.

    >>> time_text(1_772_461_800_123_456_789), time_text(1_772_461_800_123_456_789, "milliseconds")
    ('2026-03-02 14:30:00', '2026-03-02 14:30:00.123')
    """
    ns = int(ns)
    at = datetime.datetime.fromtimestamp(ns // 10**9, datetime.UTC).replace(microsecond=ns % 10**9 // 1000, tzinfo=None)
    return at.isoformat(" ", seconds)


class Columns:
    """A table as numpy arrays: times in ns, numbers as they are (missing: NaN), text as codes into `names`.

    >>> t = Columns(pa.table({"px": [1.5, None], "side": pa.array(["buy", "sell"]).dictionary_encode()}))
    >>> t["px"], t.text("side"), t.n
    (array([1.5, nan]), array(['buy', 'sell'], dtype=object), 2)
    """

    def __init__(self, table: pa.Table):
        self.table, self.n = table, table.num_rows

    def __getitem__(self, name: str) -> np.ndarray:
        column = self.table[name].combine_chunks()
        if pa.types.is_timestamp(column.type):
            return column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy()
        return column.to_numpy(zero_copy_only=False)

    def codes(self, name: str) -> tuple[np.ndarray, list[str | None]]:
        """Codes of a text column and what they stand for, in alphabetical order; a missing text is None, the last."""
        column = self.table[name].combine_chunks()
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        names = sorted(x for x in pc.unique(column).to_pylist() if x is not None)
        codes = pc.index_in(column, pa.array(names, pa.string())).fill_null(len(names)).to_numpy()
        return codes, [*names, None] if column.null_count else names

    def text(self, name: str) -> np.ndarray:
        """A text column as objects."""
        codes, names = self.codes(name)
        return np.array(names or [None], object)[codes]

    def where(self, mask: np.ndarray) -> Columns:
        """The rows of a mask or of indices."""
        return Columns(self.table.filter(pa.array(mask)) if mask.dtype == bool else self.table.take(pa.array(mask)))
