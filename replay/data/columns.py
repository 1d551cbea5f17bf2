"""Canonical columns become rows: which kind a row is, what its fields hold, what is dropped. Prices and sizes still float64, in the words
of the row, until the steps are known.

What becomes of a value:

- a price or size that its kind needs and that is missing, NaN or infinite: the row is dropped (`dropped_missing_value`);
- a price of zero or below, where the instrument may have none: dropped (`dropped_price_not_positive`); a negative size or volume:
  dropped (`dropped_negative_size`); a trade of size zero: dropped (`dropped_trade_without_size`); a bar without volume stands;
- a side of a quote without price or size: there is no such side (`quote_without_side` counts them);
- a bar whose high or low is none, a crossed quote: stands, and the session counts it.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from replay.data.instruments import Instrument
from replay.data.steps import Steps, fraction, multiples
from replay.data.tables import Batch
from replay.errors import BadInput
from replay.events import ADD, BAR, CANCEL, CLEAR, DEPTH, FILL, KIND_NAMES, MODIFY, ORDER, PRINT, QUOTE, SET, TRADE, empty
from replay.trader.specs import duration_ns

#: per kind: the column behind each word of a row, prices and sizes apart
PRICES = {
    QUOTE: {"a": "bid_px", "c": "ask_px"},
    TRADE: {"a": "price"},
    DEPTH: {"a": "price"},
    ORDER: {"a": "price"},
    BAR: {"a": "open", "b": "high", "c": "low", "d": "close"},
}
SIZES = {
    QUOTE: {"b": "bid_sz", "d": "ask_sz"},
    TRADE: {"b": "size"},
    DEPTH: {"b": "size"},
    ORDER: {"b": "size"},
    BAR: {"id": "volume"},
}
NEEDS = {k: {*PRICES[k].values(), *SIZES[k].values()} for k in PRICES}
NEEDS[DEPTH] |= {"side"}
NEEDS[ORDER] |= {"side", "action", "order_id"}
UNFLAGGED = 1 << 15  #: in a row's flags, while its message's end is still to be found

_KINDS = {KIND_NAMES[k]: k for k in PRICES}
_ACTIONS = {"": SET, "set": SET, "add": ADD, "modify": MODIFY, "cancel": CANCEL, "fill": FILL, "clear": CLEAR}
_SIDES = {"": 0, "0": 0, "none": 0, "buy": 1, "bid": 1, "1": 1, "+1": 1, "sell": -1, "ask": -1, "-1": -1}


@dataclass(frozen=True)
class Reading:
    """How to read the columns: what the files do not say themselves. See `replay.data.canonical.import_canonical`."""

    symbol: str | None = None
    timezone: str | None = None
    interval_ns: int = 0
    label: str | None = None  # a bar's time is that of its "open" or "close"
    instruments: dict[str, dict[str, object]] = field(default_factory=dict)  # what is known of a symbol


class Columns:
    """Turns batches into rows and gathers symbols, bar intervals, steps and anomalies on the way."""

    def __init__(self, reading: Reading):
        self._r = reading
        self.symbols: dict[str, int] = {}
        self.intervals: dict[int, int] = {}
        self.anomalies: Counter[str] = Counter()
        self.inferred: list[str] = []
        self.prices = Steps(Decimal("0.01"), decimal_only=False)
        self.sizes = Steps(Decimal(1), decimal_only=True)

    def rows(self, batch: Batch) -> np.recarray:
        """The batch's rows, as many as it has: dropped ones have kind 0, and a row without given `flags` carries `UNFLAGGED`."""
        n = len(batch)
        rows = empty(n)
        rows.instrument[:] = self._symbols(batch)
        rows.kind[:] = self._kinds(batch)
        kinds = np.flatnonzero(np.bincount(rows.kind)).tolist()
        for kind in kinds:
            missing = sorted(NEEDS[kind] - batch.arrays.keys())
            if missing:
                raise BadInput(
                    f"{batch.path}: no column {missing[0]}, which a {KIND_NAMES[kind]} needs; the columns read are "
                    f"{', '.join(batch.arrays)}: add it, or rename one by --columns"
                )
        self._times(batch, rows)
        if "order_id" in batch.arrays:
            rows.id[:] = batch.integers("order_id")
        if "flags" in batch.arrays:
            flags = batch.integers("flags")
            wrong = np.flatnonzero((flags < 0) | (flags >= UNFLAGGED))
            if len(wrong):
                raise batch.refusal(int(wrong[0]), f"flags must be bits of replay.events, got {flags[wrong[0]]}: correct them")
            rows["flags"] = flags
        else:
            rows["flags"] = np.where(rows.kind == TRADE, PRINT | UNFLAGGED, UNFLAGGED)
        self._sides(batch, rows)
        if DEPTH in kinds or ORDER in kinds:
            self._actions(batch, rows)
        read = sorted(set().union(*({*PRICES[k].values(), *SIZES[k].values()} for k in kinds)))
        floats = {name: batch.numbers(name) for name in read}
        for kind in kinds:
            self._values(batch, rows, kind, floats)
        return rows

    def _symbols(self, batch: Batch) -> np.ndarray | int:
        if "symbol" in batch.arrays:
            if self._r.symbol is not None:
                raise BadInput(f"{batch.path}: has a column symbol: leave --symbol out")
            texts = batch.arrays["symbol"].cast(pa.string()).fill_null("").dictionary_encode()
            names = [text.strip() for text in texts.dictionary.to_pylist()]
            if "" in names:
                k = int(np.flatnonzero(texts.indices.to_numpy() == names.index(""))[0])
                raise batch.refusal(k, "symbol must not be empty: correct it")
            return np.array([self._code(name) for name in names], np.uint32)[texts.indices.to_numpy()]
        name = self._r.symbol or batch.path.name.split(".")[0].split("_")[0]
        if self._r.symbol is None and f"{name}.symbol" not in self.inferred:
            self.inferred.append(f"{name}.symbol")
        return self._code(name)

    def _code(self, symbol: str) -> int:
        return self.symbols.setdefault(symbol, len(self.symbols))

    def _kinds(self, batch: Batch) -> np.ndarray | int:
        held = batch.arrays.keys()
        if "kind" in held:
            return batch.codes("kind", _KINDS.get, f"one of {', '.join(_KINDS)}")
        books = ORDER if "order_id" in held else DEPTH
        tell = {BAR: {"open", "high", "low", "close"}, QUOTE: {"bid_px", "bid_sz", "ask_px", "ask_sz"}}
        tell[books if "action" in held else TRADE] = {"price", "size"}
        told = [kind for kind, names in tell.items() if names & held]
        if len(told) != 1:
            what = " and ".join(KIND_NAMES[k] for k in told) or "no kind of row"
            raise BadInput(
                f"{batch.path}: its columns are those of {what}: add a column kind ({', '.join(_KINDS)}), or leave some out"
            )
        return told[0]

    def _times(self, batch: Batch, rows: np.recarray) -> None:
        rows.ts_event[:] = batch.times("ts_event", self._r.timezone)
        if not rows.ts_event.all():
            raise batch.refusal(int(np.flatnonzero(rows.ts_event == 0)[0]), "ts_event is missing: add it, or leave the row out")
        if (rows.kind == BAR).any():
            self._intervals(batch, rows)
        if "ts_recv" in batch.arrays:
            recv = batch.times("ts_recv", self._r.timezone)
            rows.ts_recv[:] = np.where(recv == 0, rows.ts_event, recv)
        else:
            rows.ts_recv[:] = rows.ts_event
        if ("ts_recv" not in batch.arrays or not recv.all()) and "ts_recv" not in self.inferred:
            self.inferred.append("ts_recv")

    def _intervals(self, batch: Batch, rows: np.recarray) -> None:
        """Bars: the index of their interval as side, and the time of their close."""
        bars = rows.kind == BAR
        if "interval" in batch.arrays:
            ns = batch.codes("interval", self._interval, "a duration such as 1m, 5m, 1h or 1d")
        else:
            ns = np.full(len(rows), self._r.interval_ns)
        if not ns[bars].all():
            step = np.diff(np.unique(rows.ts_event))
            seen = f"times are {int(step.min()) // 10**9} s apart: " if len(step) else ""
            raise BadInput(
                f"{batch.path}: how long its bars are is not said; {seen}add --interval, such as 5m, or a column interval"
            )
        if self._r.label is None and batch.names["ts_event"] != "ts_event":
            raise BadInput(
                f"{batch.path}: whether {batch.names['ts_event']} is the time of a bar's start or of its end is not said: add "
                f"--label open or --label close"
            )
        if self._r.label == "open":
            rows.ts_event[bars] += ns[bars]
        for length in np.unique(ns[bars]).tolist():
            if len(self.intervals) == 62 and length not in self.intervals:
                raise BadInput(f"{batch.path}: more than 62 lengths of bars: import them apart")
            rows.side[bars & (ns == length)] = self.intervals.setdefault(length, len(self.intervals))

    def _interval(self, text: str) -> int | None:
        try:
            return duration_ns(int(text) if text.isdigit() else text) if text else self._r.interval_ns
        except ValueError:
            return None

    def _sides(self, batch: Batch, rows: np.recarray) -> None:
        if "side" in batch.arrays:
            sides = batch.codes("side", _SIDES.get, "buy, sell, bid, ask or empty")
            has_one = (rows.kind != BAR) & (rows.kind != QUOTE)
            rows.side[has_one] = sides[has_one]

    def _actions(self, batch: Batch, rows: np.recarray) -> None:
        books = (rows.kind == DEPTH) | (rows.kind == ORDER)
        actions = np.full(len(rows), SET)
        if "action" in batch.arrays:
            actions = batch.codes("action", _ACTIONS.get, "set, add, modify, cancel, fill or clear")
        partial = np.flatnonzero((rows.kind == DEPTH) & (actions != SET) & (actions != CLEAR))
        if len(partial):
            raise batch.refusal(
                int(partial[0]), "a level of depth is set (its whole size, 0 removes it) or clear: write what is left there"
            )
        nowhere = np.flatnonzero(books & (rows.side == 0) & (actions != CLEAR))
        if len(nowhere):
            raise batch.refusal(int(nowhere[0]), "side must be bid or ask for a row of the book: add it")
        rows.c[books] = actions[books]

    def _values(self, batch: Batch, rows: np.recarray, kind: int, floats: dict[str, np.ndarray]) -> None:
        """Put prices and sizes of one kind into its rows, as the bits of float64, drop what cannot stand and look for steps."""
        at = np.flatnonzero(rows.kind == kind)
        codes = rows.instrument[at].astype(np.int64)
        px = {word: floats[name][at] for word, name in PRICES[kind].items()}
        sz = {word: floats[name][at] for word, name in SIZES[kind].items()}
        needed = np.ones(len(at), bool)
        if kind == QUOTE:
            for p, s in (("a", "b"), ("c", "d")):
                none = np.isnan(px[p]) | np.isnan(sz[s])
                px[p][none] = sz[s][none] = 0
                self.count("quote_without_side", none)
        elif kind in (DEPTH, ORDER):
            action = rows.c[at]
            needed = (action == SET) | (action == ADD) | (action == MODIFY)
            px["a"][~needed & np.isnan(px["a"])] = 0
            sz["b"][(action == CLEAR) | ((action == CANCEL) & np.isnan(sz["b"]))] = 0
        bad = np.zeros(len(at), bool)

        def drop(what: str, where: np.ndarray) -> None:
            self.count(what, where & ~bad)
            np.logical_or(bad, where, out=bad)

        drop("dropped_missing_value", np.isnan([*px.values(), *sz.values()]).any(axis=0))
        drop("dropped_negative_size", np.any([s < 0 for s in sz.values()], axis=0))
        if kind == QUOTE:
            low = ((px["a"] <= 0) & (sz["b"] > 0)) | ((px["c"] <= 0) & (sz["d"] > 0))
        else:
            low = needed & np.any([p <= 0 for p in px.values()], axis=0)
        negative = np.array([bool(self.stated(s).get("allow_negative_px")) for s in self.symbols])
        drop("dropped_price_not_positive", low & ~negative[codes])
        if kind == TRADE:
            drop("dropped_trade_without_size", sz["b"] == 0)
        rows.kind[at[bad]] = 0
        keep = ~bad
        for steps, unit, values, names in ((self.prices, "tick", px, PRICES[kind]), (self.sizes, "lot", sz, SIZES[kind])):
            for word, v in values.items():
                rows[word].view("f8")[at] = np.where(keep, v, 0)
                self._look(batch, steps, unit, names[word], at[keep], codes[keep], v[keep])

    def _look(
        self, batch: Batch, steps: Steps, unit: str, name: str, at: np.ndarray, codes: np.ndarray, values: np.ndarray
    ) -> None:
        """Take values into account for the steps nobody stated, and hold them against those that are."""
        symbols = list(self.symbols)
        stated = [self.stated(s).get(f"{unit}_size") for s in symbols]
        for k, step in enumerate(stated):
            mine = np.flatnonzero(codes == k) if step is not None else ()
            if len(mine):
                _, good = multiples(values[mine], *fraction(step))
                if not good.all():
                    i = mine[~good][0]
                    raise batch.refusal(
                        int(at[i]), f"{symbols[k]}: {name} {float(values[i])!r} is not a multiple of the {unit} {step}: round it, or "
                        f"state a finer {unit}_size"
                    )  # fmt: skip
        if None in stated:
            left = np.flatnonzero(np.array([step is None for step in stated])[codes])
            i = steps.see(codes[left], values[left])
            if i >= 0:
                i = left[i]
                raise batch.refusal(
                    int(at[i]), f"{symbols[codes[i]]}: {name} {float(values[i])!r} needs more than eight decimals or thirteen digits, so that "
                    f"no {unit} can be inferred: round the values"
                )  # fmt: skip

    def stated(self, symbol: str) -> dict[str, object]:
        """The fields of its `Instrument` that were stated."""
        return self._r.instruments.get(symbol, {})

    def count(self, what: str, where: np.ndarray) -> None:
        """Add the rows in `where` to an anomaly."""
        if n := int(np.count_nonzero(where)):
            self.anomalies[what] += n


def read_instruments(path: Path) -> dict[str, dict[str, object]]:
    """What a TOML file says of each symbol: tables named by it, holding fields of `Instrument`. Raises `BadInput`.

    ``[AAPL]`` then ``tick_size = "0.01"``, ``lot_size = "1"``, ``currency = "USD"``...; what is not said is inferred or the default.
    """
    try:
        told = msgspec.toml.decode(path.read_bytes(), type=dict[str, dict[str, object]])
    except (OSError, ValueError) as e:
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
