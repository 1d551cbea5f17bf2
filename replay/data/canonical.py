"""Import files of canonical columns (Parquet, CSV, Arrow): bars, quotes, trades, depth and orders, of any number of symbols.

The columns are ``ts_event ts_recv symbol kind side price size bid_px bid_sz ask_px ask_sz open high low close volume interval action
order_id flags``; only those that a kind of row needs have to be there. No name is guessed: another one is refused until `columns`
says what it is. What becomes of missing, negative and odd values stands in `replay.data.columns`; and further:

- times are integers in ns, timestamps, or ISO text; without a zone they need `timezone`. A missing ``ts_recv`` is ``ts_event``, recorded as
  inferred. Where a receive time lies before its event, the smallest shift that puts every one at least 1 ns after it is added to all and
  recorded in `clock_shift_ns`;
- ``ts_event`` of a bar is its close. Files that stamp its start need `label` "open", which adds the interval;
- rows are put in the order of ``ts_recv``; `rows_out_of_order` counts those that stood after a later one in their file. Bars of one
  time go first, by interval and symbol, as one message; rows of depth or orders that agree in symbol and times are one message unless
  ``flags`` say where it ends (`LAST`); any other row is a message;
- a second bar of one symbol, interval and close is dropped (`dropped_repeated_bar`), as is a trade that repeats the one before with its
  ``order_id`` (`dropped_repeated_trade`). Other rows that repeat the one before stand (`repeated_row`): two equal prints may be two;
- tick and lot sizes are inferred from the values where `instruments` does not state them, and recorded as inferred;
- with a calendar, PHASE rows open and close each trading day: after the bars that close at that time, before its other rows. A daily bar
  closes with its day. Rows outside market hours stand (`outside_hours`), or are dropped (`dropped_outside_hours`); bars that are
  missing between a symbol's first and last day are counted (`missing_bars`).

Rows in the files = rows in the session + dropped rows; an import that does not add up fails. Cost: ~1 us a row. Rows lie in unnamed files in
the folder for temporary files, mapped into memory; apart from them ~40 bytes of memory a row.
"""

from __future__ import annotations

import difflib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from replay.data.arrange import arrange
from replay.data.columns import PRICES, SIZES, Columns, Reading, make_instrument, read_instruments
from replay.data.hours import DAY_NS, Hours, market_hours
from replay.data.instruments import Instrument
from replay.data.manifest import Source
from replay.data.session import Session, blocks
from replay.data.steps import fraction, multiples
from replay.data.tables import COLUMNS, Batch, find_tables, read_table, sha256_of_file
from replay.errors import BadInput
from replay.events import BAR, EVENT
from replay.progress import progress

#: a file's name in the manifest, where it is, and its batches by a function that is told about progress
Table = tuple[str, Path, Callable[[Callable[[int, int], None]], Iterator[Batch]]]


def import_canonical(
    sources: Sequence[Path],
    *,
    name: str = "canonical",
    columns: dict[str, str] | None = None,
    symbol: str | None = None,
    timezone: str | None = None,
    interval_ns: int = 0,
    label: str | None = None,
    calendar: str | None = None,
    market_hours_only: bool = False,
    instruments: Path | None = None,
) -> Session:
    """Import files, or folders of them. The rules are in the module's text. Raises `BadInput`.

    - `columns`: the file's name of a column -> its canonical name, "" leaves it out, ``*`` stands for all other columns;
    - `symbol`: that of all rows; without it and without a column, a file's name up to the first ``_`` or ``.``;
    - `timezone`: of times without one; `interval_ns`: of bars without a column; `label`: whether their time is their "open" or "close";
    - `calendar`: an exchange's name (``XNYS``); `market_hours_only` drops what lies outside its hours;
    - `instruments`: a TOML file, a table a symbol, with fields of `Instrument`.
    """
    names = columns or {}
    _check(names, timezone, calendar, label, market_hours_only)
    stated = {} if instruments is None else read_instruments(instruments)
    reader = Columns(Reading(symbol, timezone, interval_ns, label, stated))
    tables = [(path.name, path, partial(read_table, path, names)) for path in find_tables(sources)]
    return assemble(tables, reader, name, calendar, market_hours_only)


def assemble(
    tables: Sequence[Table], reader: Columns, name: str, calendar: str | None, market_hours_only: bool = False
) -> Session:
    """The session of all `tables`, read by `reader`: the second half of `import_canonical`, for importers of files in other forms."""
    with tempfile.TemporaryFile() as spool:
        read = _read(tables, reader, spool)
        if not sum(s.rows for s in read):
            raise BadInput(f"{tables[0][1]}: no rows, a session needs at least one event: check the files")
        raw = np.memmap(spool, EVENT, "r+").view(np.recarray)
    lengths = sorted(reader.intervals)
    hours = None
    if calendar is not None:
        start = min(int(b.ts_event.min()) for b in blocks(raw)) - max(lengths, default=0)
        hours = market_hours(calendar, start, max(int(b.ts_event.max()) for b in blocks(raw)))
    late = max(int((b.ts_event - b.ts_recv).max()) for b in blocks(raw))
    shift = late + 1 if late > 0 else 0
    known = [_instrument(reader, s) for s in sorted(reader.symbols)]
    for part in blocks(raw):
        _convert(part, reader, known, lengths)
        part.ts_recv += shift
        if hours is not None:
            _keep_hours(part, Hours(hours), lengths, market_hours_only, reader.anomalies)
    rows = arrange(raw, hours, lengths, reader.anomalies)
    session = Session.from_rows(
        rows,
        known,
        name=name,
        clock_shift_ns=shift,
        bar_intervals_ns=lengths,
        anomalies=dict(reader.anomalies),
        inferred=reader.inferred,
        sources=read,
        calendar=hours,
    )
    market = len(rows) - session.manifest.counts.get("phase", 0)
    assert sum(s.rows for s in read) == market + sum(n for what, n in reader.anomalies.items() if what.startswith("dropped_"))
    return session


def _check(names: dict[str, str], timezone: str | None, calendar: str | None, label: str | None, market_hours_only: bool) -> None:
    wrong = next((to for to in names.values() if to and to not in COLUMNS), None)
    if wrong is not None:
        near = difflib.get_close_matches(wrong, COLUMNS, 1)
        raise BadInput(f"--columns: no canonical column {wrong!r}, expected one of {', '.join(near or COLUMNS)}")
    if label not in (None, "open", "close"):
        raise BadInput(f"--label: expected open or close, got {label!r}")
    if timezone is not None:
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError, OSError):
            raise BadInput(f"--timezone: no such zone {timezone!r}: expected one such as America/New_York or UTC") from None
    if market_hours_only and calendar is None:
        raise BadInput("--market-hours-only: which market's hours is not said: add --calendar, such as XNYS")


def _read(tables: Sequence[Table], reader: Columns, spool: BinaryIO) -> list[Source]:
    """Write the rows of all files to `spool`, one after the other, and count those that stand after a later one of their file."""
    sources = []
    for called, path, batches in tables:
        n, latest = 0, np.iinfo(np.int64).min
        with progress(f"reading {called}") as told:
            for batch in batches(told):
                try:
                    rows = reader.rows(batch)
                except pa.ArrowException as e:
                    raise BadInput(f"{path}: a column cannot be read ({str(e).splitlines()[0]}): check the file") from None
                so_far = np.maximum.accumulate(np.append(latest, rows.ts_recv))
                reader.count("rows_out_of_order", rows.ts_recv < so_far[:-1])
                n, latest = n + len(rows), so_far[-1]
                spool.write(rows.view(np.uint8).data)
        sources.append(Source(called, sha256_of_file(path), n))
    spool.flush()
    return sources


def _instrument(reader: Columns, symbol: str) -> Instrument:
    """What is stated of a symbol, and the steps that nobody stated."""
    k = reader.symbols[symbol]
    fields = dict(reader.stated(symbol))
    if "tick_size" not in fields:
        step = reader.prices.of(k)
        if step is None:
            raise BadInput(
                f"{symbol}: no price to infer its tick from: state it, by --instruments FILE with [{symbol}] tick_size = '0.01'"
            )
        fields["tick_size"] = step
        reader.inferred.append(f"{symbol}.tick_size")
    if "lot_size" not in fields:
        fields["lot_size"] = reader.sizes.of(k) or "1"
        reader.inferred.append(f"{symbol}.lot_size")
    return make_instrument(symbol, fields, "--instruments")


def _convert(rows: np.recarray, reader: Columns, known: Sequence[Instrument], lengths: Sequence[int]) -> None:
    """In place: floats become ticks and lots, and instruments and intervals get their final numbers."""
    by_symbol = {i.symbol: k for k, i in enumerate(known)}
    final = np.array([by_symbol[s] for s in reader.symbols], np.uint32)
    rows.instrument[:] = final[rows.instrument]
    ticks, lots = (np.array([fraction(getattr(i, step)) for i in known]).T for step in ("tick_size", "lot_size"))
    for kind in PRICES:
        at = np.flatnonzero(rows.kind == kind)
        if not len(at):
            continue
        codes = rows.instrument[at]
        for words, (num, den) in ((PRICES[kind], ticks), (SIZES[kind], lots)):
            for word in words:
                steps, good = multiples(rows[word].view("f8")[at], num[codes], den[codes])
                assert good.all(), "values were held against their steps as they were read"
                rows[word][at] = steps
        if kind == BAR:
            rows.side[at] = np.array([lengths.index(length) for length in reader.intervals], np.int8)[rows.side[at]]


def _keep_hours(rows: np.recarray, hours: Hours, lengths: Sequence[int], only: bool, anomalies: Counter[str]) -> None:
    """In place: daily bars close with their day; rows outside market hours are counted, and dropped where `only` they matter."""
    kept = rows.kind != 0
    length = np.where(rows.kind == BAR, np.array([*lengths, 0])[rows.side * (rows.kind == BAR)], 0)
    daily = np.flatnonzero(length == DAY_NS)
    latency = rows.ts_recv[daily] - rows.ts_event[daily]
    rows.ts_event[daily] = hours.daily_close(rows.ts_event[daily])
    rows.ts_recv[daily] = rows.ts_event[daily] + latency
    length[daily] = 0
    outside = kept & ~hours.holds(rows.ts_event - length, rows.ts_event)
    if n := int(np.count_nonzero(outside)):
        anomalies["dropped_outside_hours" if only else "outside_hours"] += n
    if only:
        rows.kind[outside] = 0
