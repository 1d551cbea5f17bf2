"""Built-in features by name, and their layout into a table. Python-side: runs once, before the first event.

>>> from replay.trader.specs import ema, zscore, layout
>>> fast, slow = ema("mid", 1000), zscore("mid", "60s")
>>> table = layout([(0, fast), (0, slow), (0, ema("mid", 1000)), (1, fast)])
>>> len(table.features), table.row(0, fast), table.row(1, fast)    # the same spec twice is one row
(3, 0, 2)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from replay.kernel.memory import entry_of
from replay.trader import features as _f
from replay.trader import rows as _r

SOURCES = {"mid": _r.MID, "bid": _r.BID, "ask": _r.ASK, "microprice": _r.MICRO, "spread": _r.WIDTH}
SOURCES |= {"trade": _r.LAST_TRADE, "bar": _r.BAR_CLOSE, "price": _r.WHAT_THERE_IS}
COMPONENTS = {name: k for k, name in enumerate(["open", "high", "low", "close", "volume", "count"])}
COMPONENTS |= {f"current_{name}": k + _r.CURRENT for name, k in list(COMPONENTS.items())}
YEAR_24_7 = 365 * 86_400 * 10**9  #: a year in ns of a market that never closes
YEAR_US_EQUITY = 252 * 390 * 60 * 10**9  #: a year in ns of the regular session of US stocks
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
_LONGEST = 3_660 * _UNITS["d"]
_MOST = 10_000_000


@dataclass(frozen=True, slots=True)
class Spec:
    """One feature, whatever the instrument: equal specs share a row. Fields as in `replay.trader.rows`."""

    code: int
    source: int = 0
    p0: int = 0
    p1: int = 0
    name: str = field(default="", compare=False)

    @property
    def component(self) -> int:
        """The component of a micro-bar."""
        return self.p1

    @property
    def n_words(self) -> int:
        """Words of state.

        >>> spread().n_words, ema("mid", 20).n_words
        (0, 3)
        """
        return _r.words_needed(self.code, self.p0)

    def of(self, level: str) -> Spec:
        """The spec for an instrument of this level (`replay.data.manifest`): the source 'price' made the one it has.

        >>> ret("5m", "price").of("bars") == ret("5m", "bar"), ret("5m", "price").of("l2") == ret("5m", "mid")
        (True, True)
        """
        if self.source != _r.WHAT_THERE_IS:
            return self
        quoted = _r.LAST_TRADE if self.code == _r.TRADED or level == "none" else _r.MID
        return replace(self, source=_r.BAR_CLOSE if level == "bars" else quoted)

    def __str__(self) -> str:
        return self.name


def duration_ns(value: int | str, parameter: str = "duration") -> int:
    """Nanoseconds of '500ms', '60s', '1.5h' (ns us ms s m h d), or of an int already in ns; exact or refused.

    >>> duration_ns("500ms"), duration_ns("5m"), duration_ns(7)
    (500000000, 300000000000, 7)
    >>> duration_ns("soon")
    Traceback (most recent call last):
    ValueError: duration: expected a positive duration such as '500ms', '60s', '5m' or an int in ns, got 'soon'
    """
    ns = 0
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        ns = int(value)
    elif isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)(?:\.(\d+))?\s*(ns|us|ms|s|m|h|d)\s*", value)
        if match:
            whole, part, unit = match.groups(default="")
            ns, rest = divmod(int(whole + part) * _UNITS[unit], 10 ** len(part))
            ns = 0 if rest else ns
    if not 0 < ns <= _LONGEST:
        raise ValueError(f"{parameter}: expected a positive duration such as '500ms', '60s', '5m' or an int in ns, got {value!r}")
    return ns


def _count(value: int, parameter: str, least: int = 1) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not least <= value <= _MOST:
        raise ValueError(f"{parameter}: expected an int from {least} to {_MOST}, got {value!r}")
    return int(value)


def _choice(value: str, choices: Iterable[str], parameter: str) -> str:
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{parameter}: expected one of {', '.join(choices)}, got {value!r}")
    return value


def _source(value: str, parameter: str) -> int:
    return SOURCES[_choice(value, SOURCES, parameter)]


def _windowed(name: str, by_time: int, by_count: int, source: str, window: int | str | None, count: int | None) -> Spec:
    src = _source(source, f"{name}: source")
    if (window is None) == (count is None):
        raise ValueError(f"{name}: window: expected either a window or a count, got {'neither' if window is None else 'both'}")
    if window is not None:
        return Spec(by_time, src, duration_ns(window, f"{name}: window"), name=f"{name}({source!r}, {window!r})")
    return Spec(by_count, src, _count(count, f"{name}: count"), name=f"{name}({source!r}, count={count})")


def mean(source: str = "mid", window: int | str | None = None, *, count: int | None = None) -> Spec:
    """Mean of what was observed in a time window (bucketed, see `replay.trader.windows`) or of the last `count` observations.

    Sources: mid, bid, ask, microprice, spread (quotes), trade (prices of trades), bar (closes); price is the mid of an instrument with
    quotes or a book, else the closes of its bars, else its trades. Ticks.

    >>> str(mean("mid", "60s")), str(mean("trade", count=100))
    ("mean('mid', '60s')", "mean('trade', count=100)")
    """
    return _windowed("mean", _r.MEAN, _r.MEAN_N, source, window, count)


def variance(source: str = "mid", window: int | str | None = None, *, count: int | None = None) -> Spec:
    """Population variance (ddof 0), ticks squared; windows as `mean`.

    >>> variance("mid", "5m").p0
    300000000000
    """
    return _windowed("variance", _r.VARIANCE, _r.VARIANCE_N, source, window, count)


def zscore(source: str = "mid", window: int | str | None = None, *, count: int | None = None) -> Spec:
    """(newest - mean) / standard deviation of the window, 0 where that is 0; windows as `mean`.

    >>> zscore("mid", "60s") == zscore("mid", 60_000_000_000)
    True
    >>> zscore("mids", "60s")
    Traceback (most recent call last):
    ValueError: zscore: source: expected one of mid, bid, ask, microprice, spread, trade, bar, price, got 'mids'
    """
    return _windowed("zscore", _r.ZSCORE, _r.ZSCORE_N, source, window, count)


def ema(source: str, n: int, *, seed: str = "first") -> Spec:
    """Exponential mean, alpha 2 / (n + 1), ready after n observations; seeded with the 'first' or, as Pine and TA-Lib, their 'mean'.

    >>> ema("mid", 20).p0
    20
    """
    p1 = ("first", "mean").index(_choice(seed, ("first", "mean"), "ema: seed"))
    return Spec(_r.EMA, _source(source, "ema: source"), _count(n, "ema: n"), p1, f"ema({source!r}, {n}, seed={seed!r})")


def session_return(source: str = "mid") -> Spec:
    """Newest over the first observation since the session's open (or the start of data), minus one.

    >>> session_return().n_words
    2
    """
    return Spec(_r.SESSION_RETURN, _source(source, "session_return: source"), name=f"session_return({source!r})")


def ret(interval: int | str, source: str = "mid") -> Spec:
    """Newest over the last price seen by `interval` ago, minus one; that price is taken at the end of a bucket of interval / 64.

    >>> str(ret("5m"))
    "ret('5m', 'mid')"
    """
    return Spec(
        _r.RETURN, _source(source, "ret: source"), duration_ns(interval, "ret: interval"), name=f"ret({interval!r}, {source!r})"
    )


def ret_zscore(interval: int | str, window: int | str, source: str = "mid") -> Spec:
    """How far the newest return over `interval` stands out among those of a window: (newest - mean) / standard deviation.

    Every observation gives one return, as `ret`; all of it starts anew at a session's open, so that no return spans a night. Ready
    an interval and a window after it.

    >>> str(ret_zscore("10s", "5m"))
    "ret_zscore('10s', '5m', 'mid')"
    """
    name = f"ret_zscore({interval!r}, {window!r}, {source!r})"
    over, among = duration_ns(interval, "ret_zscore: interval"), duration_ns(window, "ret_zscore: window")
    return Spec(_r.RETURN_ZSCORE, _source(source, "ret_zscore: source"), among, over, name)


def realised_vol(source: str = "mid", window: int | str = "15m", *, year: int | str | None = None) -> Spec:
    """Square root of the sum of squared log returns between bucket closes of a window; times sqrt(year / window) with a `year`.

    >>> realised_vol("mid", "15m", year=YEAR_US_EQUITY).p1
    5896800000000000
    """
    p1 = 0 if year is None else duration_ns(year, "realised_vol: year")
    ns = duration_ns(window, "realised_vol: window")
    return Spec(
        _r.REALISED_VOL, _source(source, "realised_vol: source"), ns, p1, f"realised_vol({source!r}, {window!r}, year={year!r})"
    )


def highest(source: str, window: int | str) -> Spec:
    """Highest observation in a time window, of bars the highest high; ticks.

    >>> str(highest("bar", "20m"))
    "highest('bar', '20m')"
    """
    return Spec(
        _r.HIGHEST,
        _source(source, "highest: source"),
        duration_ns(window, "highest: window"),
        name=f"highest({source!r}, {window!r})",
    )


def lowest(source: str, window: int | str) -> Spec:
    """Lowest observation in a time window, of bars the lowest low; ticks."""
    return Spec(
        _r.LOWEST,
        _source(source, "lowest: source"),
        duration_ns(window, "lowest: window"),
        name=f"lowest({source!r}, {window!r})",
    )


def spread() -> Spec:
    """Ask minus bid, ticks.

    >>> spread() == spread()
    True
    """
    return Spec(_r.SPREAD, name="spread()")


def relative_spread() -> Spec:
    """(ask - bid) / mid."""
    return Spec(_r.RELATIVE_SPREAD, name="relative_spread()")


def queue_imbalance() -> Spec:
    """Displayed (bid size - ask size) / (bid size + ask size) at the best prices."""
    return Spec(_r.QUEUE_IMBALANCE, name="queue_imbalance()")


def microprice() -> Spec:
    """(ask x bid size + bid x ask size) / (bid size + ask size), ticks."""
    return Spec(_r.MICROPRICE, name="microprice()")


def vwap(source: str = "trade") -> Spec:
    """Volume-weighted price since the session's open, ticks; from trades, or from bars by (high + low + close) / 3.

    >>> vwap().n_words
    3
    """
    return Spec(_r.VWAP, SOURCES[_choice(source, ("trade", "bar"), "vwap: source")], name=f"vwap({source!r})")


def ofi(window: int | str) -> Spec:
    """Order-flow imbalance of Cont, Kukanov and Stoikov, summed over a window, lots."""
    return Spec(_r.OFI, 0, duration_ns(window, "ofi: window"), name=f"ofi({window!r})")


def trade_flow(window: int | str) -> Spec:
    """Lots bought minus sold by aggressors over a window; a trade without a side is signed by the quote rule, then the tick rule."""
    return Spec(_r.TRADE_FLOW, 0, duration_ns(window, "trade_flow: window"), name=f"trade_flow({window!r})")


def trade_imbalance(window: int | str) -> Spec:
    """(bought - sold) / (bought + sold) by aggressors over a window, 0 without trades; signs as `trade_flow`."""
    return Spec(_r.TRADE_IMBALANCE, 0, duration_ns(window, "trade_imbalance: window"), name=f"trade_imbalance({window!r})")


def volume(window: int | str, source: str = "trade") -> Spec:
    """Lots traded over a window: of trades, or of bars; price is the bars of an instrument that has nothing else, else the trades.

    >>> volume("30s", "price").of("bars") == volume("30s", "bar")
    True
    """
    src = SOURCES[_choice(source, ("trade", "bar", "price"), "volume: source")]
    return Spec(_r.TRADED, src, duration_ns(window, "volume: window"), name=f"volume({window!r}, {source!r})")


def bar(source: str, interval: int | str, component: str = "close") -> Spec:
    """A component of the last complete micro-bar of an interval, or of the one being built ('current_close', ...).

    Bars are aligned to the epoch, an interval without observations has none, and a bar is complete only when a later event
    or session open arrives. Components: open high low close (ticks), volume (lots; 0 from quotes), count.

    >>> bar("trade", "1m", "close").n_words
    13
    """
    sources = [s for s in SOURCES if s not in ("bar", "price")]
    src = SOURCES[_choice(source, sources, "bar: source")]
    p1 = COMPONENTS[_choice(component, COMPONENTS, "bar: component")]
    ns = duration_ns(interval, "bar: interval")
    return Spec(_r.MICRO_BAR, src, ns, p1, f"bar({source!r}, {interval!r}, {component!r})")


class FeatureTable:
    """Rows laid out and linked: `features` (FEATURE records), `first` (an instrument's first row or -1), `n_words` of state."""

    def __init__(self, wanted: Iterable[tuple[int, Spec]]):
        unique = dict.fromkeys(wanted)
        for instrument, spec in unique:
            if not isinstance(spec, Spec):
                raise ValueError(f"features: expected a Spec such as ema('mid', 20), got {spec!r}")
            if spec.source == _r.WHAT_THERE_IS:
                raise ValueError(f"features: {spec}: outside a run there is no instrument to choose by: name mid, trade or bar")
            _count(instrument, "instrument", 0)
        self.index = {key: k for k, key in enumerate(unique)}
        self.features = np.zeros(len(unique), _r.FEATURE).view(np.recarray)
        self.first = np.full(max((i for i, _ in unique), default=-1) + 1, -1, np.int64)
        self.n_words = 0
        last: dict[int, int] = {}
        for k, (instrument, spec) in enumerate(unique):
            n = spec.n_words
            row = self.features[k]
            row.code, row.instrument, row.source, row.p0, row.p1 = spec.code, instrument, spec.source, spec.p0, spec.p1
            row.word, row.n_words, row.next = self.n_words, n, -1
            if instrument in last:
                self.features[last[instrument]].next = k
            else:
                self.first[instrument] = k
            last[instrument] = k
            self.n_words += n
        self.words = np.zeros(max(1, self.n_words), np.int64)
        self.fwords = self.words.view(np.float64)

    def row(self, instrument: int, spec: Spec) -> int:
        """The index of a spec's row."""
        return self.index[instrument, spec]

    def value(self, instrument: int, spec: Spec) -> float:
        """Its value now."""
        return float(self.features[self.row(instrument, spec)].value)

    def ready(self, instrument: int, spec: Spec) -> bool:
        """Whether it means what its name says yet."""
        return bool(self.features[self.row(instrument, spec)].ready)

    def play(self, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bring the table through EVENT records; values (float64) and readiness (bool), one line an event, one column a row.

        >>> from replay.events import QUOTE, empty
        >>> rows = empty(2); rows.kind[:] = QUOTE; rows.a[:] = 99; rows.b[:] = 5; rows.c[:] = [101, 103]; rows.d[:] = 5
        >>> table = FeatureTable([(0, spread()), (0, microprice())])
        >>> table.play(rows)[0].tolist()
        [[2.0, 100.0], [4.0, 101.0]]
        """
        top = int(events["instrument"].max(initial=0))
        first = np.full(max(top + 1, len(self.first)), -1, np.int64)
        first[: len(self.first)] = self.first
        values = np.zeros((len(events), len(self.features)))
        ready = np.zeros((len(events), len(self.features)), np.bool_)
        events = np.ascontiguousarray(events)
        rows, words = self.features.ctypes.data, self.words.ctypes.data
        entry_of(_f.play)(
            events.ctypes.data, len(events), rows, len(self.features), first.ctypes.data, words, len(self.words),
            values.ctypes.data, ready.ctypes.data,
        )  # fmt: skip
        return values, ready


def layout(wanted: Iterable[tuple[int, Spec]]) -> FeatureTable:
    """The table of (instrument, spec) pairs, in order of first appearance; the same pair twice is one row."""
    return FeatureTable(wanted)
