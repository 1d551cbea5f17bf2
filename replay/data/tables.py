"""Files of columns, read a batch at a time: Parquet, CSV, Arrow. What their texts and types mean; a value that means nothing is named by its row."""

from __future__ import annotations

import csv
import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from replay.data import stamps
from replay.data.headers import Wanted, columns_of, plain
from replay.data.questions import Question
from replay.errors import BadInput

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".arrow", ".feather")
BATCH = 1 << 18  #: rows
_DELIMITERS = ",;\t|"
NOTHING = pa.array(["nan", "NaN", "NaT", "null", "NULL", "None", "NA", "N/A"])


class Times(NamedTuple):
    """ns UTC, 0 where there is none; whether all are dates, without a time of day; whether all are midnights, in their own zone; whether
    the column had no zone; and the unit of numbers since 1970, where it was told by their size and is not ns."""

    ns: np.ndarray
    dates: bool
    midnights: bool
    naive: bool
    unit: str


@dataclass(frozen=True)
class Batch:
    """Rows of one file as canonical columns (`arrays`, named `names` in the file); the first is row `base` + 1 of `path`. `unread` are the
    file's other columns."""

    path: Path
    base: int
    arrays: dict[str, pa.Array]
    names: dict[str, str]
    unread: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def refusal(self, k: int, text: str) -> BadInput:
        """The error to raise for row `k` of this batch."""
        return BadInput(f"{self.path} row {self.base + k + 1}: {text}")

    def numbers(self, name: str) -> np.ndarray:
        """The column as float64, NaN where there is no value, or an infinite one."""
        array = self.arrays[name]
        t = array.type
        if pa.types.is_floating(t) and t != pa.float64():
            array = array.cast(pa.string())  # the shortest decimal that a float32 stands for
            t = array.type
        if _is_text(t):
            texts = pc.utf8_trim_whitespace(array)
            texts = pc.if_else(pc.is_in(texts, NOTHING), None, texts)
            array = self._cast(texts, pa.float64(), f"{name} must be a number")
        elif pa.types.is_integer(t) or pa.types.is_decimal(t) or pa.types.is_null(t):
            array = array.cast(pa.float64(), safe=False)
        elif t != pa.float64():
            raise BadInput(f"{self.path}: {name} must be a column of numbers, its type is {t}: convert it")
        values = array.to_numpy(zero_copy_only=False)
        return np.where(np.isfinite(values), values, np.nan)

    def integers(self, name: str) -> np.ndarray:
        """The column as int64, 0 where there is no value."""
        array = self.arrays[name]
        t = array.type
        if not (_is_text(t) or pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_null(t)):
            raise BadInput(f"{self.path}: {name} must be a column of whole numbers, its type is {t}: convert it")
        if _is_text(t):
            array = pc.utf8_trim_whitespace(array)
            array = pc.if_else(pc.equal(array, ""), None, array)
        elif pa.types.is_floating(t):
            array = pc.if_else(pc.is_nan(array), None, array)
        return self._cast(array, pa.int64(), f"{name} must be a whole number").fill_null(0).to_numpy()

    def times(self, name: str, zone: str | None, order: str | None = None) -> Times:
        """The column as times (`replay.data.stamps`); `zone` is that of times without, `order` that of dates such as 1/2/2024."""
        array = self.arrays[name]
        if not (_is_text(array.type) or pa.types.is_temporal(array.type) or pa.types.is_null(array.type)
                or pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_dictionary(array.type)):  # fmt: skip
            raise BadInput(
                f"{self.path}: {name} must be numbers since 1970, timestamps or ISO text, its type is {array.type}: convert it"
            )
        try:
            found = stamps.read(array, order)
        except stamps.Unreadable as e:
            raise self._no_time(name, e) from None
        array = found.array
        if not pa.types.is_timestamp(array.type):
            raise BadInput(f"{self.path}: {name} must be times with a date, its type is {array.type}: convert it")
        naive = array.type.tz is None
        if naive:
            zone = found.zone or zone
            if zone is None:
                raise Question(
                    f"{self.path}: {name} holds times without a zone, such as {_first(array)}: add --timezone, such as "
                    f"America/New_York or UTC", {"--timezone": "America/New_York"},
                )  # fmt: skip
            try:
                array = pc.assume_timezone(array, zone)
            except pa.ArrowInvalid as e:
                raise BadInput(f"{self.path}: {name}: {_line(e)}: write times with their offset") from None
        array = self._cast(array, stamps.UTC, f"{name} must be a time from 1678 to 2261")
        ns = array.cast(pa.int64()).fill_null(0).to_numpy()
        return Times(ns, found.dates, found.midnights, naive, found.unit)

    def _no_time(self, name: str, e: stamps.Unreadable) -> BadInput:
        value = self.arrays[name][e.row].as_py()
        if e.ambiguous:
            value = _first(self.arrays[name])
            return Question(
                f"{self.path}: whether {name} is month/day or day/month, such as {value}, is not said: add --date-order mdy or "
                f"--date-order dmy", {"--date-order": "mdy"},
            )  # fmt: skip
        if isinstance(value, int | float):
            return self.refusal(
                e.row, f"{name} as a number must be s, ms, us or ns since 1970 (10, 13, 16 or 19 digits), got {value}: convert it"
            )
        digits = str(value).strip().lstrip("-").replace(".", "", 1)
        if digits.isdigit():
            return self.refusal(
                e.row,
                f"{name} as an integer must be s, ms, us or ns since 1970 (10, 13, 16 or 19 digits), got {value}: convert it",
            )
        return self.refusal(
            e.row,
            f"{name} must be ISO text, all with a zone or all without, such as 2026-03-02T09:30:00Z, got {value!r}: correct it",
        )

    def texts(self, name: str) -> tuple[list[str], np.ndarray]:
        """The column's different texts, "" for no value, and the number of each row's."""
        array = self.arrays[name]
        if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            array = pa.array([",".join(map(str, x)) if x is not None else None for x in array.to_pylist()], pa.string())
        elif pa.types.is_boolean(array.type) or not _is_text(array.type):
            try:
                array = array.cast(pa.string())
            except pa.ArrowException:
                raise BadInput(f"{self.path}: {name} must be a column of texts, its type is {array.type}: convert it") from None
        coded = array.cast(pa.string()).fill_null("").dictionary_encode()
        return [text.strip() for text in coded.dictionary.to_pylist()], coded.indices.to_numpy()

    def codes(self, name: str, meaning: Callable[[str], int | None], expected: str) -> np.ndarray:
        """The column's texts as int64 by `meaning`, "" for no value. Raises at one it maps to None."""
        if pa.types.is_floating(self.arrays[name].type) or pa.types.is_boolean(self.arrays[name].type):
            raise BadInput(f"{self.path}: {name} must be a column of texts, its type is {self.arrays[name].type}: convert it")
        texts, indices = self.texts(name)
        values = [meaning(text) for text in texts]
        for k, value in enumerate(values):
            if value is None:
                raise self.refusal(
                    int(np.flatnonzero(indices == k)[0]), f"{name} must be {expected}, got {texts[k]!r}: correct it"
                )
        return np.array(values, np.int64)[indices]

    def _cast(self, array: pa.Array, kind: pa.DataType, expected: str) -> pa.Array:
        try:
            return array.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            lo, hi = 0, len(array)
            while hi - lo > 1:  # the first that fails lies in lo .. hi
                mid = (lo + hi) // 2
                lo, hi = (mid, hi) if _can(array[lo:mid], kind) else (lo, mid)
            raise self.refusal(lo, f"{expected}, got {array[lo].as_py()!r}: correct it") from None


def find_tables(sources: Sequence[Path]) -> list[Path]:
    """The files among `sources`, and those of the folders among them (not of folders inside), by name. Raises `BadInput`."""
    found = []
    for source in sources:
        if source.is_dir():
            inside = sorted(p for p in source.iterdir() if p.name.lower().endswith(SUFFIXES))
            if not inside:
                raise BadInput(f"{source}: holds no file that ends in {', '.join(SUFFIXES)}: check the folder")
            found += inside
        elif not source.exists():
            raise BadInput(f"{source}: nothing is there: check the path")
        elif not source.name.lower().endswith(SUFFIXES):
            raise BadInput(f"{source}: a file of columns ends in {', '.join(SUFFIXES)}: rename it, or name its --format")
        else:
            found.append(source)
    return found


def read_table(path: Path, names: dict[str, str], told: Callable[[int, int], None]) -> Iterator[Batch]:
    """The batches of a file, its columns renamed by `names` (file's name -> canonical; "" or ``*`` -> "" leaves out). Raises `BadInput`.

    `told` is called with (bytes or rows done, in all).
    """
    try:
        if path.name.lower().endswith(".parquet"):
            yield from _parquet(path, names, told)
        elif path.name.lower().endswith((".csv", ".csv.gz")):
            yield from _csv(path, names, told)
        else:
            yield from _arrow(path, names, told)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as e:
        raise BadInput(f"{path}: cannot be read ({_line(e)}): check the file") from None


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _batches(
    path: Path, held: Sequence[str], wanted: Sequence[Wanted], batches: Iterator[pa.RecordBatch], of: dict[int, int]
) -> Iterator[Batch]:
    """Batches in canonical columns of those that the file holds; `of`: where a column of the file stands in a batch."""
    base, unread = 0, tuple(name.strip() for k, name in enumerate(held) if k not in of)
    for batch in batches:
        if not batch.num_rows:
            continue
        for one in wanted:
            arrays = {to: batch.column(of[k]) for k, (to, _) in one.columns.items()}
            names = dict(one.columns.values())
            if "date" in arrays and "time" in arrays:
                arrays["ts_event"] = _joined(arrays.pop("date"), arrays.pop("time"))
                names["ts_event"] = f"{names.pop('date')} and {names.pop('time')}"
            if one.symbol is not None:
                arrays["symbol"] = pa.array([one.symbol] * batch.num_rows)
                names["symbol"] = one.symbol
            yield Batch(path, base, arrays, names, unread)
        base += batch.num_rows


def _joined(dates: pa.Array, times: pa.Array) -> pa.Array:
    """Dates and times of day as one text."""
    dates, times = (pc.utf8_trim_whitespace(a.cast(pa.string())) for a in (dates, times))
    dates = pc.replace_substring_regex(dates, r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3")
    dates = pc.replace_substring_regex(dates, r"[ T]00:00:00(\.0+)?$", "")
    digits = pc.match_substring_regex(times, r"^\d{1,6}$")
    wide = pc.max(pc.utf8_length(pc.if_else(digits, times, None))).as_py() or 0
    padded = pc.utf8_lpad(times, 6 if wide > 4 else 4, "0")
    padded = pc.replace_substring_regex(padded, r"^(\d\d)(\d\d)(\d\d)?$", r"\1:\2:\3")
    times = pc.if_else(digits, pc.replace_substring_regex(padded, r":$", ""), times)
    return pc.binary_join_element_wise(dates, times, " ")


def _parquet(path: Path, names: dict[str, str], told: Callable[[int, int], None]) -> Iterator[Batch]:
    with pq.ParquetFile(path) as f:
        held = f.schema_arrow.names
        wanted = columns_of(path, held, names, _has_times(f.schema_arrow))
        read = sorted({k for one in wanted for k in one.columns})
        of = {k: n for n, k in enumerate(read)}
        for batch in _batches(path, held, wanted, f.iter_batches(BATCH, columns=[held[k] for k in read]), of):
            yield batch
            told(batch.base + len(batch), f.metadata.num_rows)


def _csv(path: Path, names: dict[str, str], told: Callable[[int, int], None]) -> Iterator[Batch]:
    head = _csv_head(path)
    wanted = columns_of(path, head.names, names, head.dated)
    read = sorted({k for one in wanted for k in one.columns})
    numbered = [f"c{k}" for k in range(len(head.names))]  # as the file calls them, two may be called the same
    # as texts, so that every cell is read by one rule, and one that cannot be is named
    texts = pv.ConvertOptions(
        column_types=dict.fromkeys(numbered, pa.string()), include_columns=[numbered[k] for k in read], null_values=[""],
        strings_can_be_null=True,
    )  # fmt: skip
    size = path.stat().st_size
    with pa.OSFile(str(path)) as f:
        source = pa.CompressedInputStream(f, "gzip") if path.name.lower().endswith(".gz") else f
        options = pv.ReadOptions(block_size=1 << 24, skip_rows=head.lines, column_names=numbered)
        try:
            batches = pv.open_csv(source, options, pv.ParseOptions(delimiter=head.delimiter), texts)
        except pa.ArrowInvalid as e:
            if "Empty CSV" in str(e):
                return  # a header and nothing else
            raise
        for batch in _batches(path, head.names, wanted, batches, {k: n for n, k in enumerate(read)}):
            yield batch
            told(f.tell(), size)


class _Head(NamedTuple):
    names: list[str]
    lines: int  # before the first row
    delimiter: str
    dated: bool  # the first cell of the first row may be a time


def _csv_head(path: Path) -> _Head:
    """The names of the columns, behind lines of remarks; three lines of names as one of pairs."""
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as f:
        lines = [f.readline(1 << 20).decode("utf-8-sig", "strict" if k == 0 else "replace") for k in range(12)]
    if not any(line.strip() for line in lines):
        raise BadInput(f"{path}: cannot be read (Empty CSV file): check the file")
    at = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    told_by = lines[at] if any(d in lines[at] for d in _DELIMITERS) else "".join(lines[at : at + 2])
    delimiter = max(_DELIMITERS, key=told_by.count)
    rows = [next(csv.reader([line], delimiter=delimiter), []) for line in lines]
    if len(rows[at]) == 1 and at + 1 < len(rows) and len(rows[at + 1]) > 3:
        at += 1  # a banner
    names, after = rows[at], at + 1
    if at + 2 < len(rows) and (found := _three_lines(rows[at : at + 3])):
        names, after = found, at + 3
    first = rows[after][0] if after < len(rows) and rows[after] else ""
    return _Head(names, after, delimiter, bool(first) and not (first.isdigit() and len(first) < 8))


def _three_lines(rows: Sequence[Sequence[str]]) -> list[str] | None:
    """Names of columns of a header of three lines, field and symbol above the name of the times, as pairs."""
    fields, symbols, times = rows
    if not len(fields) == len(symbols) >= 2 or plain(times[0] if times else "") not in ("date", "datetime"):
        return None
    if any(cell.strip() for cell in times[1:]):
        return None
    return [times[0], *(f"('{a.strip()}', '{b.strip()}')" for a, b in zip(fields[1:], symbols[1:], strict=True))]


def _has_times(schema: pa.Schema) -> bool:
    return bool(len(schema)) and (pa.types.is_temporal(schema.types[0]) or _is_text(schema.types[0]))


def _arrow(path: Path, names: dict[str, str], told: Callable[[int, int], None]) -> Iterator[Batch]:
    with pa.memory_map(str(path)) as f, pa.ipc.open_file(f) as reader:
        wanted = columns_of(path, reader.schema.names, names, _has_times(reader.schema))
        parts = (reader.get_batch(k) for k in range(reader.num_record_batches))
        small = (part.slice(k, BATCH) for part in parts for k in range(0, part.num_rows, BATCH))
        where = {k: k for one in wanted for k in one.columns}
        for done, batch in enumerate(_batches(path, reader.schema.names, wanted, small, where)):
            yield batch
            told(done, done + 1)


def _is_text(t: pa.DataType) -> bool:
    return pa.types.is_string(t) or pa.types.is_large_string(t)


def _can(array: pa.Array, kind: pa.DataType) -> bool:
    try:
        array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _first(array: pa.Array) -> object:
    return next((v for v in array if v.is_valid), None)


def _line(e: Exception) -> str:
    return str(e).splitlines()[0].rstrip(".") if str(e) else type(e).__name__
