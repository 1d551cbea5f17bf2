"""Files of columns, read a batch at a time: Parquet, CSV, Arrow. What their texts and types mean; a value that means nothing is named by its row."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq

from replay.errors import BadInput

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".arrow", ".feather")
COLUMNS = (
    *("ts_event", "ts_recv", "symbol", "kind", "side", "price", "size", "bid_px", "bid_sz", "ask_px", "ask_sz"),
    *("open", "high", "low", "close", "volume", "interval", "action", "order_id", "flags"),
)
_HINTS = {
    "time": "ts_event",
    "date": "ts_event",
    "sym": "symbol",
    "tick": "symbol",
    "bid": "bid_px",
    "ask": "ask_px",
    "vol": "volume",
    "q": "size",
    "id": "order_id",
}
BATCH = 1 << 18  #: rows
NS = pa.timestamp("ns")
EARLIEST = 10**17  #: 1973: an integer below is no time in ns
NOTHING = pa.array(["nan", "NaN", "NaT", "null", "NULL", "None", "NA", "N/A"])


@dataclass(frozen=True)
class Batch:
    """Rows of one file as canonical columns (`arrays`, named `names` in the file); the first is row `base` + 1 of `path`."""

    path: Path
    base: int
    arrays: dict[str, pa.Array]
    names: dict[str, str]

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
        t = self.arrays[name].type
        if not (_is_text(t) or pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_null(t)):
            raise BadInput(f"{self.path}: {name} must be a column of whole numbers, its type is {t}: convert it")
        return self._cast(self.arrays[name], pa.int64(), f"{name} must be a whole number").fill_null(0).to_numpy()

    def times(self, name: str, zone: str | None) -> np.ndarray:
        """The column as int64 ns UTC, 0 where there is no value: integers in ns, timestamps, or ISO text; `zone` is that of times without."""
        array = self.arrays[name]
        if pa.types.is_date(array.type):
            array = array.cast(NS)
        elif _is_text(array.type):
            array = self._parse(name, pc.utf8_trim_whitespace(array))
        if pa.types.is_integer(array.type):
            ns = array.cast(pa.int64()).fill_null(0).to_numpy()
            small = np.flatnonzero((ns < EARLIEST) & (ns != 0))
            if len(small):
                k = int(small[0])
                raise self.refusal(
                    k, f"{name} as an integer must be ns since 1970, got {ns[k]}: convert it, or write it as ISO text"
                )
            return ns
        if pa.types.is_null(array.type):
            return np.zeros(len(array), np.int64)
        if not pa.types.is_timestamp(array.type):
            raise BadInput(
                f"{self.path}: {name} must be integers in ns, timestamps or ISO text, its type is {array.type}: convert it"
            )
        if array.type.tz is None:
            if zone is None:
                raise BadInput(
                    f"{self.path}: {name} holds times without a zone, such as {_first(array)}: add --timezone, such as "
                    f"America/New_York or UTC"
                )
            try:
                array = pc.assume_timezone(array, zone)
            except pa.ArrowInvalid as e:
                raise BadInput(f"{self.path}: {name}: {_line(e)}: write times with their offset") from None
        array = self._cast(array, pa.timestamp("ns", "UTC"), f"{name} must be a time from 1678 to 2261")
        return array.cast(pa.int64()).fill_null(0).to_numpy()

    def codes(self, name: str, meaning: Callable[[str], int | None], expected: str) -> np.ndarray:
        """The column's texts as int64 by `meaning`, which gets them in lower case, "" for no value. Raises at one it maps to None."""
        array = self.arrays[name]
        if pa.types.is_null(array.type) or pa.types.is_integer(array.type) or pa.types.is_dictionary(array.type):
            array = array.cast(pa.string())
        if not _is_text(array.type):
            raise BadInput(f"{self.path}: {name} must be a column of texts, its type is {array.type}: convert it")
        coded = array.cast(pa.string()).fill_null("").dictionary_encode()
        texts = coded.dictionary.to_pylist()
        values = [meaning(text.strip().lower()) for text in texts]
        indices = coded.indices.to_numpy()
        for k, value in enumerate(values):
            if value is None:
                raise self.refusal(
                    int(np.flatnonzero(indices == k)[0]), f"{name} must be {expected}, got {texts[k]!r}: correct it"
                )
        return np.array(values, np.int64)[indices]

    def _parse(self, name: str, texts: pa.Array) -> pa.Array:
        for kind in (pa.int64(), NS, pa.timestamp("ns", "UTC")):
            try:
                return texts.cast(kind)
            except pa.ArrowInvalid:
                continue
        naive = any(_can(texts[k : k + 1], NS) for k in range(min(len(texts), 1000)) if texts[k].is_valid)
        kind = NS if naive else pa.timestamp("ns", "UTC")
        return self._cast(texts, kind, f"{name} must be ISO text, all with a zone or all without, such as 2026-03-02T09:30:00Z")

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
            inside = sorted(p for p in source.iterdir() if p.name.endswith(SUFFIXES))
            if not inside:
                raise BadInput(f"{source}: holds no file that ends in {', '.join(SUFFIXES)}: check the folder")
            found += inside
        elif not source.exists():
            raise BadInput(f"{source}: nothing is there: check the path")
        elif not source.name.endswith(SUFFIXES):
            raise BadInput(f"{source}: a file of columns ends in {', '.join(SUFFIXES)}: rename it, or name its --format")
        else:
            found.append(source)
    return found


def read_table(path: Path, names: dict[str, str], told: Callable[[int, int], None]) -> Iterator[Batch]:
    """The batches of a file, its columns renamed by `names` (file's name -> canonical; "" or ``*`` -> "" leaves out). Raises `BadInput`.

    `told` is called with (bytes or rows done, in all).
    """
    try:
        if path.name.endswith(".parquet"):
            yield from _parquet(path, names, told)
        elif path.name.endswith((".csv", ".csv.gz")):
            yield from _csv(path, names, told)
        else:
            yield from _arrow(path, names, told)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise BadInput(f"{path}: cannot be read ({_line(e)}): check the file") from None


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _columns(path: Path, held: Sequence[str], names: dict[str, str]) -> dict[str, str]:
    """Which of the file's columns to read, and as what."""
    missing = [name for name in names if name not in held and name != "*"]
    if missing:
        raise BadInput(f"{path}: no column {missing[0]!r} to rename, the file has {', '.join(held)}: correct --columns")
    wanted = {}
    for name in held:
        to = names.get(name, name if name in COLUMNS else names.get("*"))
        if to is None:
            near = _nearest(name)
            raise BadInput(
                f"{path}: unknown column {name!r}, the nearest expected is {near}: rename it by --columns {f'{name}={near}'!r}, or leave it "
                f"out by --columns {f'{name}='!r}"
            )
        if to in wanted.values():
            raise BadInput(f"{path}: two columns are {to}, the second is {name!r}: correct --columns")
        if to:
            wanted[name] = to
    if "ts_event" not in wanted.values():
        raise BadInput(
            f"{path}: no column ts_event, the file has {', '.join(held)}: name the column of times, as in --columns date=ts_event"
        )
    return wanted


def _nearest(name: str) -> str:
    """What a column might be, for the error that asks."""
    near = difflib.get_close_matches(name.lower(), COLUMNS, 1, 0.6)
    return near[0] if near else next((column for part, column in _HINTS.items() if part in name.lower()), "symbol")


def _batches(path: Path, wanted: dict[str, str], batches: Iterator[pa.RecordBatch]) -> Iterator[Batch]:
    base = 0
    for batch in batches:
        if batch.num_rows:
            yield Batch(
                path, base, {to: batch.column(name) for name, to in wanted.items()}, {to: name for name, to in wanted.items()}
            )
            base += batch.num_rows


def _parquet(path: Path, names: dict[str, str], told: Callable[[int, int], None]) -> Iterator[Batch]:
    with pq.ParquetFile(path) as f:
        wanted = _columns(path, f.schema_arrow.names, names)
        for batch in _batches(path, wanted, f.iter_batches(BATCH, columns=list(wanted))):
            yield batch
            told(batch.base + len(batch), f.metadata.num_rows)


def _csv(path: Path, names: dict[str, str], told: Callable[[int, int], None]) -> Iterator[Batch]:
    held = pv.open_csv(path).schema.names
    wanted = _columns(path, held, names)
    # as texts, so that every cell is read by one rule, and one that cannot be is named
    texts = pv.ConvertOptions(
        column_types=dict.fromkeys(held, pa.string()), include_columns=list(wanted), null_values=[""], strings_can_be_null=True
    )
    size = path.stat().st_size
    with pa.OSFile(str(path)) as f:
        source = pa.CompressedInputStream(f, "gzip") if path.name.endswith(".gz") else f
        for batch in _batches(path, wanted, pv.open_csv(source, pv.ReadOptions(block_size=1 << 24), convert_options=texts)):
            yield batch
            told(f.tell(), size)


def _arrow(path: Path, names: dict[str, str], told: Callable[[int, int], None]) -> Iterator[Batch]:
    with pa.memory_map(str(path)) as f, pa.ipc.open_file(f) as reader:
        wanted = _columns(path, reader.schema.names, names)
        parts = (reader.get_batch(k) for k in range(reader.num_record_batches))
        small = (part.slice(k, BATCH) for part in parts for k in range(0, part.num_rows, BATCH))
        for done, batch in enumerate(_batches(path, wanted, small)):
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
    return str(e).splitlines()[0].rstrip(".")
