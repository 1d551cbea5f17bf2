"""Canonical columns become rows: which kind a row is, what its fields hold, what is dropped. Prices and sizes still float64, in the words
of the row, until the steps are known.

What becomes of a value:

- a price or size that its kind needs and that is missing, NaN or infinite: the row is dropped (`dropped_missing_value`);
- a price of zero or below, where the instrument may have none: dropped (`dropped_price_not_positive`); a negative size or volume:
  dropped (`dropped_negative_size`); a trade of size zero: dropped (`dropped_trade_without_size`); a bar without volume stands, a file of bars without a column of it too;
- a side of a quote without price or size: there is no such side (`quote_without_side` counts them);
- a bar whose high or low is none, a crossed quote: stands, and the session counts it.
"""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa

from replay.data.bar_columns import place_bars, without_clock
from replay.data.conditions import UNKNOWN, codes_of, print_flags
from replay.data.filenames import symbol_of, venue_of
from replay.data.headers import plain
from replay.data.questions import Question
from replay.data.reading import Reading
from replay.data.steps import MOST_DECIMALS, Steps, fraction, multiples, step_to_round_to
from replay.data.tables import Batch
from replay.errors import BadInput
from replay.events import (
    ADD,
    BAR,
    CANCEL,
    CLEAR,
    DEPTH,
    FILL,
    GAP,
    KIND_NAMES,
    LAST,
    MODIFY,
    ORDER,
    PRINT,
    QUOTE,
    SET,
    SNAPSHOT,
    TRADE,
    empty,
)

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

_FLAGS = LAST | SNAPSHOT | PRINT | GAP  #: those of market data
_ALL_PRICES = frozenset(name for words in PRICES.values() for name in words.values())
_SINGLE = 1e7  #: above it a single-precision number has no decimals to be wrong in
_RAW_AT_LEAST = 1e9  #: prices that are all whole and above it may be integers of 1e-9
_FEW = 1000  #: values of a block that are looked at for it
_NO_PRICE = float(2**63 - 1)  #: what such integers write for none
_BOOKS = frozenset(
    (
        "is_snapshot",
        "update_type",
        "first_update_id",
        "last_update_id",
        "u",
        "pu",
        "level",
        "depth",
        "book",
        "orderbook",
        "l2",
        "mbp",
    )
)  #: columns and words of a file's name that trades do not have

KINDS = {KIND_NAMES[k]: k for k in PRICES}
_ACTIONS = {"": SET, "set": SET, "add": ADD, "modify": MODIFY, "cancel": CANCEL, "fill": FILL, "clear": CLEAR}
_SIDES = dict.fromkeys(("", "0", "none", "n", "unknown"), 0)
_SIDES |= dict.fromkeys(("buy", "bid", "b", "1", "+1"), 1) | dict.fromkeys(("sell", "ask", "s", "a", "-1"), -1)


class Columns:
    """Turns batches into rows and gathers symbols, bar intervals, steps and anomalies on the way.

    A symbol of two sources is two instruments: `symbols` has a number for each (source, symbol), `names` what they are called.
    """

    def __init__(self, reading: Reading):
        self._r = reading
        self.symbols: dict[tuple[str, str], int] = {}
        self.intervals: dict[int, int] = {}
        self.anomalies: Counter[str] = Counter()
        self.inferred: list[str] = []
        self.files: dict[tuple[str, str], dict[Path, None]] = {}  # of a symbol that no column names
        self.prices = Steps(Decimal("0.01"), decimal_only=False)
        self.sizes = Steps(Decimal(1), decimal_only=True)
        self._told: dict[int, dict[str, object]] = {}

    @property
    def names(self) -> list[str]:
        """The name of each symbol, in the order of their numbers: with its source where another source has the same symbol."""
        plain = Counter(symbol for _, symbol in self.symbols)
        return [f"{source}:{symbol}" if source and plain[symbol] > 1 else symbol for source, symbol in self.symbols]

    def rows(self, batch: Batch) -> np.recarray:
        """The batch's rows, as many as it has: dropped ones have kind 0, and a row without given `flags` carries `UNFLAGGED`.

        A bar whose interval is not said has side -1: see `replay.data.spacing`.
        """
        n = len(batch)
        rows = empty(n)
        rows.instrument[:] = self._symbols(batch)
        rows.kind[:] = self._kinds(batch)
        kinds = np.flatnonzero(np.bincount(rows.kind)).tolist()
        for kind in kinds:
            missing = sorted(NEEDS[kind] - batch.arrays.keys() - {"volume"})
            if missing:
                raise BadInput(
                    f"{batch.path}: no column {missing[0]}, which a {KIND_NAMES[kind]} needs; the columns read are "
                    f"{', '.join(batch.arrays)}: add it, or rename one by --columns"
                )
        self._times(batch, rows)
        if "order_id" in batch.arrays:
            rows.id[:] = self._numbers_of_rows(batch, ORDER in kinds)
        self._flags(batch, rows)
        self._sides(batch, rows)
        if DEPTH in kinds or ORDER in kinds:
            self._actions(batch, rows)
        read = sorted(set().union(*({*PRICES[k].values(), *SIZES[k].values()} for k in kinds)))
        floats = {name: self._numbers(batch, name) for name in read}
        for kind in kinds:
            self._values(batch, rows, kind, floats)
        return rows

    def _numbers_of_rows(self, batch: Batch, needed: bool) -> np.ndarray:
        try:
            return batch.integers("order_id")
        except BadInput as e:
            if needed:
                raise
            called = batch.names["order_id"]
            raise Question(f"{e}, or leave it out by --columns '{called}='", renamed={called: ""}) from None

    def _numbers(self, batch: Batch, name: str) -> np.ndarray:
        """A column of prices or sizes. A double that holds a single-precision number means the decimal that stood there before."""
        if name == "volume" and name not in batch.arrays:
            self.infer("volume")
            return np.zeros(len(batch))
        values = batch.numbers(name)
        if name in _ALL_PRICES:
            values = self._priced(batch, name, values)
        held = np.flatnonzero(np.isfinite(values) & (np.abs(values) < _SINGLE))
        _, good = multiples(values[held], 1, 10**MOST_DECIMALS)
        noisy = held[~good]
        if len(noisy):
            single = values[noisy].astype(np.float32)
            exact = np.flatnonzero(single.astype(np.float64) == values[noisy])
            meant = pa.array(single[exact]).cast(pa.string()).cast(pa.float64()).to_numpy()
            self.count("single_precision_values", meant != values[noisy[exact]])
            values = values.copy()
            values[noisy[exact]] = meant
        step = self._r.steps.get("tick" if name in _ALL_PRICES else "lot")
        if step is not None:
            num, den = fraction(step)
            finite = np.isfinite(values)
            steps, good = multiples(np.where(finite, values, 0), num, den)
            self.count("rounded_prices" if name in _ALL_PRICES else "rounded_sizes", finite & ~good)
            values = np.where(finite, np.where(good, steps, np.rint(values * den / num)) * num / den, values)
        return values

    def _priced(self, batch: Batch, name: str, values: np.ndarray) -> np.ndarray:
        """Prices in the unit they are said to be in; asks where they look like integers of 1e-9."""
        if self._r.price_unit is not None:
            num, den = fraction(self._r.price_unit)
            return np.where(np.abs(values) >= _NO_PRICE, np.nan, values) * num / den
        held = values[np.isfinite(values) & (values != 0)]
        raw = len(held) > 0 and held.min() >= _RAW_AT_LEAST and not (held % 1).any()
        if raw and self._may_be_raw(held[:_FEW]):
            raise Question(
                f"{batch.path}: {name} {held[0]:.0f} may be an integer of 1e-9, {held[0] / 1e9:.10g}: add --price-unit 1e-9, or "
                f"--price-unit 1 where it is a price", {"--price-unit": "1e-9"},
            )  # fmt: skip
        return values

    def _may_be_raw(self, values: np.ndarray) -> bool:
        """Whether whole numbers could be prices in units of 1e-9, as far as somebody stated ticks: they would be multiples of one."""
        ticks = {str(fields["tick_size"]) for fields in self._r.instruments.values() if "tick_size" in fields}
        fractions = [fraction(tick) for tick in ticks]
        return not ticks or any(all(int(v) * den % (num * 10**9) == 0 for v in values) for num, den in fractions)

    def _symbols(self, batch: Batch) -> np.ndarray | int:
        source = self._r.sources.get(batch.path, "")
        if "symbol" in batch.arrays:
            if self._r.symbol is not None:
                raise BadInput(f"{batch.path}: has a column symbol: leave --symbol out")
            names, which = batch.texts("symbol")
            if "" in names:
                k = int(np.flatnonzero(which == names.index(""))[0])
                raise batch.refusal(k, "symbol must not be empty: correct it")
            venue = venue_of(source)
            venues, at = self._venues(batch, venue)
            if len(venues) == 1:
                return np.array([self._code((venues[0], name)) for name in names], np.uint32)[which]
            pairs, row = np.unique(which.astype(np.int64) * len(venues) + at, return_inverse=True)
            codes = [self._code((venues[p % len(venues)], names[p // len(venues)])) for p in pairs.tolist()]
            return np.array(codes, np.uint32)[row]
        if self._r.symbol is not None:
            name, source = self._r.symbol, venue_of(source)
        else:
            name = symbol_of(batch.path)
            self.infer(f"{name}.symbol")
        venues, at = self._venues(batch, source)
        for v in venues:
            self.files.setdefault((v, name), {})[batch.path] = None
        return np.array([self._code((v, name)) for v in venues], np.uint32)[at]

    def _venues(self, batch: Batch, source: str) -> tuple[list[str], np.ndarray]:
        """Whose data each row is: the exchanges that a column names, else the file's `source`; codes of the tape are no sources."""
        if "exchange" not in batch.arrays:
            return [source], np.zeros(len(batch), np.int64)
        texts, which = batch.texts("exchange")
        said = [text.lower() if venue_of(text) else source for text in texts]
        venues = sorted(set(said))
        return venues, np.array([venues.index(v) for v in said], np.int64)[which]

    def _code(self, key: tuple[str, str]) -> int:
        return self.symbols.setdefault(key, len(self.symbols))

    def _kinds(self, batch: Batch) -> np.ndarray | int:
        held = batch.arrays.keys()
        if "kind" in held:
            return batch.codes("kind", lambda text: KINDS.get(text.lower()), f"one of {', '.join(KINDS)}")
        if self._r.kind is not None:
            return KINDS[self._r.kind]
        books = ORDER if "order_id" in held else DEPTH
        tell = {BAR: {"open", "high", "low", "close"}, QUOTE: {"bid_px", "bid_sz", "ask_px", "ask_sz"}}
        tell[books if "action" in held else TRADE] = {"price", "size"}
        told = [kind for kind, names in tell.items() if names & held]
        if len(told) != 1:
            what = " and ".join(KIND_NAMES[k] for k in told) or "no kind of row"
            raise Question(
                f"{batch.path}: its columns are those of {what}: add a column kind ({', '.join(KINDS)}), or leave some out, or say "
                f"--kind", {"--kind": KIND_NAMES[told[0]]} if told else {},
            )  # fmt: skip
        if told[0] == TRADE and "side" in held and "size" in held:
            self._no_book(batch)
        return told[0]

    def _no_book(self, batch: Batch) -> None:
        """Ask where rows of price, size and side are not plainly trades: a book's sides are bid and ask, 0 removes a level, and other columns
        or the file's name may speak of it."""
        texts, which = batch.texts("side")
        low = [text.lower() for text in texts]
        letters = {"a", "b"} if not {"s", "n"} & set(low) else set()
        books = np.array([text in ({"bid", "ask"} | letters) for text in low])[which]
        sided = np.array([_SIDES.get(text, 0) != 0 for text in low])[which]
        removed = sided & (batch.numbers("size") == 0)
        words = {*map(plain, batch.unread), *re.split(r"[-_ .]", batch.path.name.lower())} & _BOOKS
        if books.any() or removed.any() or (words and sided.any()):
            k = int(np.flatnonzero(books if books.any() else removed if removed.any() else sided)[0])
            why = f"side {texts[which[k]]}" + (" and size 0" if removed[k] else "")
            raise Question(
                f"{batch.path}: whether its rows are trades or levels of a book is not said, row {batch.base + k + 1} has {why}: add "
                f"--kind depth (size is what stands there, 0 removes it) or --kind trade, or a column kind", {"--kind": "depth"},
            )  # fmt: skip

    def _times(self, batch: Batch, rows: np.recarray) -> None:
        times = batch.times("ts_event", self._r.timezone, self._r.date_order)
        rows.ts_event[:] = times.ns
        if not times.ns.all():
            raise batch.refusal(int(np.flatnonzero(times.ns == 0)[0]), "ts_event is missing: add it, or leave the row out")
        if times.unit:
            self.infer(f"ts_event in {times.unit}")
        if times.dates and (rows.kind != BAR).any():
            raise without_clock(batch, f"a {KIND_NAMES[int(rows.kind[rows.kind != BAR][0])]} needs")
        recv = None
        if "ts_recv" in batch.arrays:
            recv = batch.times("ts_recv", self._r.timezone, self._r.date_order).ns
        if (rows.kind == BAR).any():
            place_bars(batch, rows, times, self, self._r)
        rows.ts_recv[:] = rows.ts_event if recv is None else np.where(recv == 0, rows.ts_event, recv)
        if recv is None or not recv.all():
            self.infer("ts_recv")

    def interval_code(self, length: int) -> int:
        """The number of an interval, a new one where it has none."""
        return self.intervals.setdefault(length, len(self.intervals))

    @property
    def symbol_stated(self) -> bool:
        """Whether all rows are of one symbol because somebody said so."""
        return self._r.symbol is not None

    @property
    def label_open(self) -> bool:
        """Whether bars' times in the files are those of their starts."""
        return self._r.label == "open"

    def _flags(self, batch: Batch, rows: np.recarray) -> None:
        trades = rows.kind == TRADE
        if "flags" in batch.arrays:
            flags = batch.integers("flags")
            wrong = np.flatnonzero((flags < 0) | (flags & ~_FLAGS != 0))
            if len(wrong):
                called, k = batch.names["flags"], int(wrong[0])
                text = f"{batch.path} row {batch.base + k + 1}: flags must be bits of replay.events, got {flags[k]}: correct them, or leave them "
                raise Question(f"{text}out by --columns '{called}='", renamed={called: ""})
            rows["flags"] = flags
        else:
            rows["flags"] = np.where(trades, PRINT | UNFLAGGED, UNFLAGGED)
        if "conditions" in batch.arrays:
            if not trades.any():
                raise Question(
                    f"{batch.path}: conditions are read of trades only, there are none: leave them out by --columns 'conditions='",
                    renamed={batch.names["conditions"]: ""},
                )
            texts, which = batch.texts("conditions")
            codes = [codes_of(text) for text in texts]
            may = np.array([print_flags(c) for c in codes], np.int64)[which]
            rows["flags"][trades] &= (may[trades] | ~np.int64(PRINT)).astype(np.uint16)
            self.count("print_by_conditions", trades & (may != PRINT))
            self.count("unknown_condition", trades & np.array([UNKNOWN in c for c in codes])[which])

    def _sides(self, batch: Batch, rows: np.recarray) -> None:
        if "side" in batch.arrays:
            sides = batch.codes("side", lambda text: _SIDES.get(text.lower()), "buy, sell, bid, ask or empty")
            has_one = (rows.kind != BAR) & (rows.kind != QUOTE)
            rows.side[has_one] = sides[has_one]

    def _actions(self, batch: Batch, rows: np.recarray) -> None:
        books = (rows.kind == DEPTH) | (rows.kind == ORDER)
        actions = np.full(len(rows), SET)
        if "action" in batch.arrays:
            actions = batch.codes("action", lambda text: _ACTIONS.get(text.lower()), "set, add, modify, cancel, fill or clear")
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
        negative = np.array([bool(self._stated(k).get("allow_negative_px")) for k in range(len(self.symbols))])
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
        symbols = [symbol for _, symbol in self.symbols]
        stated = [self._stated(k).get(f"{unit}_size") for k in range(len(symbols))]
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
                what = "prices" if unit == "tick" else "sizes"
                wished = "0.01" if unit == "tick" and values[i] >= 1 else "0.00000001"
                step = step_to_round_to(float(np.abs(values).max()), wished)
                raise Question(
                    f"{batch.path} row {batch.base + int(at[i]) + 1}: {symbols[codes[i]]}: {name} {float(values[i])!r} needs more than eight "
                    f"decimals or thirteen digits, so that no {unit} can be inferred: round the values, as by --round-{what} {step}",
                    {f"--round-{what}": step},
                )  # fmt: skip

    def stated(self, symbol: str) -> dict[str, object]:
        """The fields of its `Instrument` that were stated."""
        return self._r.instruments.get(symbol, {})

    def _stated(self, k: int) -> dict[str, object]:
        """The same of symbol number `k`, which may be stated with its source."""
        if k not in self._told:
            source, symbol = list(self.symbols)[k]
            qualified = self._r.instruments.get(f"{source}:{symbol}")
            self._told[k] = self.stated(symbol) if qualified is None else qualified
            for unit, step in self._r.steps.items():
                self._told[k] = {f"{unit}_size": step, **self._told[k]}
        return self._told[k]

    def fields(self, k: int) -> dict[str, object]:
        """What is stated of symbol number `k`."""
        return dict(self._stated(k))

    def infer(self, what: str) -> None:
        """Record once that nobody stated something."""
        if what not in self.inferred:
            self.inferred.append(what)

    def count(self, what: str, where: np.ndarray) -> None:
        """Add the rows in `where` to an anomaly."""
        if n := int(np.count_nonzero(where)):
            self.anomalies[what] += n
