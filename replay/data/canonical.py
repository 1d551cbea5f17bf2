"""Import files of canonical columns (Parquet, CSV, Arrow): bars, quotes, trades, depth and orders, of any number of symbols.

The columns are ``ts_event ts_recv symbol kind side price size bid_px bid_sz ask_px ask_sz open high low close volume interval action
order_id conditions exchange flags``, whatever the case of their names; only those that a kind of row needs have to be there. Another name
is a question until `columns` says what it is; everything that is to be said is asked for together (`replay.data.questions`). What becomes of
missing, negative and odd values stands in `replay.data.columns`; and further:

- times are numbers since 1970 whose unit their size tells, timestamps, or texts (`replay.data.stamps`), of ``date`` and ``time`` too where they
  are two columns; without a zone they need `timezone`. A missing ``ts_recv`` is ``ts_event``, recorded as inferred. Receive times
  before their events: `replay.data.receive`;
- ``ts_event`` of a bar is its close. Files that stamp its start need `label` "open", which adds the interval. A date is no end: bars of dates
  need it too. The interval is told by the rows where nobody says it, and held against them where one does (`replay.data.spacing`);
- a symbol is the column's, or the file's name less intervals, dates and kinds (`replay.data.filenames`). The same symbol of two exchanges, by folder,
  file name or column ``exchange``, is two: ``binance:BTCUSDT``;
- rows are put in the order of ``ts_recv``; `rows_out_of_order` counts those that stood after a later one in their file. Bars of one
  time go first, by interval and symbol, as one message; rows of depth or orders that agree in symbol and times are one message unless
  ``flags`` say where it ends (`LAST`); any other row is a message;
- a second bar of one symbol, interval and close, or a trade with its ``order_id``, is dropped as repeated; of an unfinished bar and the finished one
  the latter stands; two bars that are neither are refused (`replay.data.repeats`). Other rows that repeat the one before stand
  (`repeated_row`): two equal prints may be two;
- tick and lot sizes are inferred from the values where `instruments` does not state them, and recorded as inferred;
- with a calendar, PHASE rows open and close each trading day: after the bars that close at that time, before its other rows. A daily bar
  closes with its day, and so does a shorter one that starts in it and would end after it, unless another starts after the close. Rows outside
  market hours stand (`outside_hours`), or are dropped (`dropped_outside_hours`). Bars missing between a symbol's first and last are
  counted (`missing_bars`): those of sessions, and whole days.

Rows in the files = rows in the session + dropped rows; an import that does not add up fails. Cost: ~1 us a row. Rows lie in unnamed files in
the folder for temporary files, mapped into memory; apart from them ~40 bytes of memory a row.
"""

from __future__ import annotations

import difflib
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from replay.data.arrange import arrange
from replay.data.columns import KINDS, PRICES, SIZES, Columns
from replay.data.filenames import days_of, sources_of
from replay.data.headers import COLUMNS
from replay.data.hours import DAY_NS, Hours, market_hours
from replay.data.instruments import Instrument
from replay.data.manifest import Source
from replay.data.questions import Question, ask_together
from replay.data.reading import Reading, make_instrument, read_instruments
from replay.data.receive import put_right
from replay.data.repeats import drop_bars, drop_trades
from replay.data.session import BLOCK, Session, blocks
from replay.data.spacing import settle
from replay.data.steps import WIDEST, Steps, fraction, multiples, step_to_round_to
from replay.data.tables import Batch, find_tables, read_table, sha256_of_file
from replay.data.times import utc_text
from replay.errors import BadInput
from replay.events import BAR, DEPTH, EVENT, KIND_NAMES, ORDER, QUOTE, TRADE
from replay.progress import progress
from replay.trader.specs import duration_ns

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
    kind: str | None = None,
    date_order: str | None = None,
    price_unit: str | None = None,
    round_prices: str | None = None,
    round_sizes: str | None = None,
    calendar: str | None = None,
    market_hours_only: bool = False,
    instruments: Path | None = None,
) -> Session:
    """Import files, or folders of them. The rules are in the module's text. Raises `Question` for what the caller has to say, `BadInput`.

    - `columns`: the file's name of a column -> its canonical name, "" leaves it out, ``*`` stands for all other columns;
    - `symbol`: that of all rows, where no column names it; `kind`: of rows whose columns do not tell;
    - `timezone`: of times without one; `date_order`: "mdy" or "dmy", of 1/2/2024; `interval_ns`: of bars without a column; `label`: whether
      their time is their "open" or "close";
    - `price_unit`: what 1 in a column of prices is worth, "1e-9" of raw integers;
    - `round_prices`, `round_sizes`: steps to round to, for values that are no decimals (`rounded_prices`); they become tick and lot;
    - `calendar`: an exchange's name (``XNYS``); `market_hours_only` drops what lies outside its hours;
    - `instruments`: a TOML file, a table a symbol, with fields of `Instrument`.
    """
    said = {
        "--timezone": timezone, "--label": label, "--kind": kind, "--date-order": date_order, "--price-unit": price_unit, "--round-prices": round_prices,
        "--round-sizes": round_sizes, "--interval": f"{interval_ns}ns" if interval_ns else None,
    }  # fmt: skip
    _check(columns or {}, said, calendar, market_hours_only)
    paths = find_tables(sources)
    stated = {} if instruments is None else read_instruments(instruments)
    owners = sources_of(paths)
    sessions = calendar is not None and not calendar.startswith("24")

    def begin(answers: dict[str, str | None], renamed: dict[str, str]) -> tuple[list[Table], Columns]:
        names, now = (columns or {}) | renamed, said | answers
        steps = {unit: step for unit, step in (("tick", now["--round-prices"]), ("lot", now["--round-sizes"])) if step}
        length = duration_ns(now["--interval"]) if now["--interval"] else 0
        reading = Reading(
            symbol, now["--timezone"], length, now["--label"], stated, now["--kind"], now["--date-order"], now["--price-unit"], steps,
            owners, sessions,
        )  # fmt: skip
        return [(path.name, path, partial(read_table, path, names)) for path in paths], Columns(reading)

    def preview(answers: dict[str, str | None], renamed: dict[str, str]) -> None:
        """The first rows of every file."""
        tables, reader = begin(answers, renamed)
        for _, path, batches in tables:
            for batch in batches(lambda done, total: None):
                settle(_rows(reader, batch), path, reader, "option" if (said | answers)["--interval"] else "column")
                break

    tables, reader = begin({}, {})
    try:
        return assemble(tables, reader, name, calendar, market_hours_only, "option" if interval_ns else "column")
    except Question as e:
        raise ask_together(e, preview) from None


def assemble(
    tables: Sequence[Table],
    reader: Columns,
    name: str,
    calendar: str | None,
    market_hours_only: bool = False,
    intervals: str = "form",
) -> Session:
    """The session of all `tables`, read by `reader`: the second half of `import_canonical`, for importers of files in other forms.

    `intervals`: those of bars are said by an "option" for all of them, by a "column", or are certain by the "form" of the files.
    """
    with tempfile.TemporaryFile() as spool:
        read = _read(tables, reader, spool, intervals)
        if not sum(s.rows for s in read):
            raise BadInput(f"{tables[0][1]}: no rows, a session needs at least one event: check the files")
        raw = np.memmap(spool, EVENT, "r+").view(np.recarray)
    names = reader.names
    _check_files(tables, read, raw, reader)
    drop_trades(raw, reader.anomalies)
    lengths = sorted(reader.intervals)
    hours = None
    if calendar is not None:
        start = min(int(b.ts_event.min()) for b in blocks(raw)) - max(lengths, default=0)
        hours = market_hours(calendar, start, max(int(b.ts_event.max()) for b in blocks(raw)))
    shift = put_right(raw, reader.anomalies, tables[0][1])
    codes = sorted(range(len(names)), key=names.__getitem__)
    known = [_instrument(reader, k, names[k]) for k in codes]
    for part in blocks(raw):
        _convert(part, reader, known, codes, lengths)
    drop_bars(raw, reader.anomalies, lambda k: known[k].symbol, partial(_where, tables, read))
    if hours is not None:
        _keep_hours(raw, Hours(hours), lengths, market_hours_only, reader.anomalies)
    rows = arrange(raw, hours, lengths, reader.anomalies)
    session = Session.from_rows(
        rows,
        known,
        name=name,
        clock_shift_ns=shift,
        bar_intervals_ns=lengths,
        anomalies={what: n for what, n in reader.anomalies.items() if n},
        inferred=reader.inferred,
        sources=read,
        calendar=hours,
    )
    market = len(rows) - session.manifest.counts.get("phase", 0)
    assert sum(s.rows for s in read) == market + sum(n for what, n in reader.anomalies.items() if what.startswith("dropped_"))
    return session


def _check(names: dict[str, str], said: dict[str, str | None], calendar: str | None, market_hours_only: bool) -> None:
    wrong = next((to for to in names.values() if to and to not in COLUMNS), None)
    if wrong is not None:
        near = difflib.get_close_matches(wrong, COLUMNS, 1)
        raise BadInput(f"--columns: no canonical column {wrong!r}, expected one of {', '.join(near or COLUMNS)}")
    for option, expected in (("--label", ("open", "close")), ("--kind", tuple(KINDS)), ("--date-order", ("mdy", "dmy"))):
        if said[option] not in (None, *expected):
            raise BadInput(f"{option}: expected {' or '.join(expected)}, got {said[option]!r}")
    for option in ("--price-unit", "--round-prices", "--round-sizes"):
        if said[option] is not None:
            try:
                Instrument(symbol=option, tick_size=said[option])
            except BadInput:
                raise BadInput(f"{option}: expected a decimal step such as 0.01, got {said[option]!r}") from None
    timezone = said["--timezone"]
    if timezone is not None:
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError, OSError):
            raise BadInput(f"--timezone: no such zone {timezone!r}: expected one such as America/New_York or UTC") from None
    if market_hours_only and calendar is None:
        raise BadInput("--market-hours-only: which market's hours is not said: add --calendar, such as XNYS")


def _read(tables: Sequence[Table], reader: Columns, spool: BinaryIO, intervals: str) -> list[Source]:
    """Write the rows of all files to `spool`, one after the other, and count those that stand after a later one of their file."""
    sources, before = [], 0
    for called, path, batches in tables:
        n, latest, bars = 0, np.iinfo(np.int64).min, False
        with progress(f"reading {called}") as told:
            for batch in batches(told):
                rows = _rows(reader, batch)
                so_far = np.maximum.accumulate(np.append(latest, rows.ts_recv))
                reader.count("rows_out_of_order", rows.ts_recv < so_far[:-1])
                bars = bars or bool((rows.kind == BAR).any())
                n, latest = n + len(rows), so_far[-1]
                spool.write(rows.view(np.uint8).data)
        if bars:
            spool.flush()
            part = np.memmap(spool, EVENT, "r+", offset=before * EVENT.itemsize, shape=n).view(np.recarray)
            settle(part, path, reader, intervals)
        before += n
        sources.append(Source(called, sha256_of_file(path), n))
    spool.flush()
    return sources


def _rows(reader: Columns, batch: Batch) -> np.recarray:
    try:
        return reader.rows(batch)
    except pa.ArrowException as e:
        raise BadInput(f"{batch.path}: a column cannot be read ({str(e).splitlines()[0]}): check the file") from None


def _where(tables: Sequence[Table], read: Sequence[Source], k: int) -> str:
    """Row `k` of all, as its file counts it."""
    for (_, path, _), source in zip(tables, read, strict=True):
        if k < source.rows:
            return f"{path} row {k + 1}"
        k -= source.rows
    raise AssertionError("no such row")


def _check_files(tables: Sequence[Table], read: Sequence[Source], raw: np.recarray, reader: Columns) -> None:
    """Files that give one symbol have to be parts of one recording. Raises `BadInput`."""
    starts = dict(zip((path for _, path, _ in tables), np.cumsum([0, *(s.rows for s in read)]).tolist(), strict=False))
    ends = {path: starts[path] + s.rows for (_, path, _), s in zip(tables, read, strict=True)}
    for (_, symbol), files in reader.files.items():
        parts = {path: raw[starts[path] : ends[path]] for path in files if ends[path] > starts[path]}
        if len(parts) > 1:
            if not reader.symbol_stated:
                _check_days(symbol, parts)
            _check_overlaps(symbol, parts)


def _check_days(symbol: str, parts: dict[Path, np.recarray]) -> None:
    """Told apart by dates in their names, each has to be of its dates: or a date is that of an expiry, and they are several contracts."""
    spans = {path: days_of(path) for path in parts}
    for path, span in spans.items():
        if len(set(spans.values())) > 1 and span is not None:
            times = parts[path].ts_event
            low, high = (int(np.datetime64(day, "ns").astype(np.int64)) for day in span)
            if times.min() < low - DAY_NS or times.max() > high + 3 * DAY_NS:
                raise BadInput(
                    f"{path}: by its name it holds {symbol} of {span[0]}, but its rows are of {utc_text(int(times.min()))} to "
                    f"{utc_text(int(times.max()))}, and {len(parts) - 1} more files are {symbol}: where these are several contracts, add a "
                    f"column symbol, or import them apart with --symbol"
                )


def _check_overlaps(symbol: str, parts: dict[Path, np.recarray]) -> None:
    """Rows that no number tells apart must not be of the same time in two files: nobody knows which of them are there twice."""
    for kind in (TRADE, QUOTE, DEPTH, ORDER):
        spans = []
        for path, rows in parts.items():
            mine = np.flatnonzero(rows.kind == kind)
            if len(mine) and not (kind == TRADE and rows.id[mine].all()):
                times = rows.ts_event[mine]
                spans.append((int(times.min()), int(times.max()), path))
        spans.sort()
        for (_, end, one), (start, _, other) in itertools.pairwise(spans):
            if start < end:
                raise BadInput(
                    f"{other}: its {KIND_NAMES[kind]} rows of {symbol} begin at {utc_text(start)}, before those of {one} end: the same rows twice, or "
                    f"those of two sources: leave one file out, or add a column symbol"
                )


def _instrument(reader: Columns, k: int, name: str) -> Instrument:
    """What is stated of a symbol, and the steps that nobody stated."""
    fields = reader.fields(k)
    if "tick_size" not in fields:
        step = reader.prices.of(k)
        if step is None:
            raise BadInput(
                f"{name}: no price to infer its tick from: state it, by --instruments FILE with [{name}] tick_size = '0.01'"
            )
        _countable(reader.prices, k, name, "prices", step)
        fields["tick_size"] = step
        reader.infer(f"{name}.tick_size")
    if "lot_size" not in fields:
        step = reader.sizes.of(k) or "1"
        _countable(reader.sizes, k, name, "sizes", step)
        fields["lot_size"] = step
        reader.infer(f"{name}.lot_size")
    return make_instrument(name, fields, "--instruments")


def _countable(steps: Steps, k: int, name: str, what: str, step: str) -> None:
    largest = steps.largest(k)
    if largest >= WIDEST * float(Decimal(step)):
        coarse = step_to_round_to(largest, step)
        raise Question(
            f"{name}: its {what} go up to {largest:.10g} in steps of {step}, more than a float64 counts: round them, as by --round-{what} "
            f"{coarse}", {f"--round-{what}": coarse},
        )  # fmt: skip


def _convert(
    rows: np.recarray, reader: Columns, known: Sequence[Instrument], codes: Sequence[int], lengths: Sequence[int]
) -> None:
    """In place: floats become ticks and lots, and instruments and intervals get their final numbers. `codes`: the reader's of each instrument."""
    final = np.empty(len(codes), np.uint32)
    final[codes] = np.arange(len(codes))
    rows.instrument[:] = final[rows.instrument]
    ticks, lots = (np.array([fraction(getattr(i, step)) for i in known]).T for step in ("tick_size", "lot_size"))
    for kind in PRICES:
        at = np.flatnonzero(rows.kind == kind)
        if not len(at):
            continue
        by = rows.instrument[at]
        for words, (num, den) in ((PRICES[kind], ticks), (SIZES[kind], lots)):
            for word in words:
                steps, good = multiples(rows[word].view("f8")[at], num[by], den[by])
                if not good.all():  # held against the values of other files only now
                    k = int(np.flatnonzero(~good)[0])
                    what = "prices" if words is PRICES[kind] else "sizes"
                    raise Question(
                        f"{known[by[k]].symbol}: {words[word]} {float(rows[word].view('f8')[at[k]])!r} is no multiple of {num[by[k]]}/{den[by[k]]}, "
                        f"the step of the others: round the {what}, as by --round-{what} 0.01",
                        {f"--round-{what}": "0.01"},
                    )
                rows[word][at] = steps
        if kind == BAR:
            rows.side[at] = np.array([lengths.index(length) for length in reader.intervals], np.int8)[rows.side[at]]


def _keep_hours(raw: np.recarray, hours: Hours, lengths: Sequence[int], only: bool, anomalies: Counter[str]) -> None:
    """In place: bars close with their day at the latest; rows outside market hours are counted, and dropped where `only` they matter."""
    clipped = _close_with_the_session(raw, hours, lengths)
    for lo in range(0, len(raw), BLOCK):
        rows, cut = raw[lo : lo + BLOCK], clipped[lo : lo + BLOCK]
        kept = rows.kind != 0
        length = np.where(rows.kind == BAR, np.array([*lengths, 0])[rows.side * (rows.kind == BAR)], 0)
        daily = np.flatnonzero(length == DAY_NS)
        latency = rows.ts_recv[daily] - rows.ts_event[daily]
        rows.ts_event[daily] = hours.daily_close(rows.ts_event[daily])
        rows.ts_recv[daily] = rows.ts_event[daily] + latency
        length[daily] = 0
        outside = kept & ~hours.holds(rows.ts_event - np.where(cut, 0, length), rows.ts_event)
        if n := int(np.count_nonzero(outside)):
            anomalies["dropped_outside_hours" if only else "outside_hours"] += n
        if only:
            rows.kind[outside] = 0


def _close_with_the_session(raw: np.recarray, hours: Hours, lengths: Sequence[int]) -> np.ndarray:
    """In place: a bar that starts in a session and would end after it ends with it, unless its symbol has one that starts after the close;
    which rows did."""
    clipped = np.zeros(len(raw), bool)
    bars = np.flatnonzero(raw.kind == BAR)
    if not len(bars) or not len(hours.days):
        return clipped
    length = np.array(lengths)[raw.side[bars]]
    bars, length = bars[length < DAY_NS], length[length < DAY_NS]
    end = raw.ts_event[bars]
    start = end - length
    day = np.searchsorted(hours.opens, start, "right") - 1
    close = hours.closes[np.maximum(day, 0)]
    over = (day >= 0) & (start < close) & (end > close)
    if not over.any():
        return clipped
    series = raw.side[bars].astype(np.int64) << 32 | raw.instrument[bars]
    going_on = {(int(s), int(t)) for s, t in zip(series, start, strict=True)} if over.any() else set()
    for k in np.flatnonzero(over).tolist():
        if (int(series[k]), int(end[k])) not in going_on:
            at = bars[k]
            latency = raw.ts_recv[at] - raw.ts_event[at]
            raw.ts_event[at] = close[k]
            raw.ts_recv[at] = close[k] + latency
            clipped[at] = True
    return clipped
