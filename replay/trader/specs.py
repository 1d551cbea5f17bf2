"""Built-in features by name, and their layout into a table. Python-side: runs once, before the first event.

>>> from replay.trader.specs import ema, zscore, layout
>>> fast, slow = ema("mid", 1000), zscore("mid", "60s")
>>> table = layout([(0, fast), (0, slow), (0, ema("mid", 1000)), (1, fast)])
>>> len(table.features), table.row(0, fast), table.row(1, fast)    # the same spec twice is one row
(3, 0, 2)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from replay.kernel.memory import entry_of
from replay.trader import features as _f
from replay.trader import rows as _r

SOURCES = {"mid": _r.MID, "bid": _r.BID, "ask": _r.ASK, "microprice": _r.MICRO, "spread": _r.WIDTH}
SOURCES |= {"trade": _r.LAST_TRADE, "bar": _r.BAR_CLOSE, "close": _r.BAR_CLOSE, "price": _r.WHAT_THERE_IS}
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
    count: int = 0
    name: str = field(default="", compare=False)

    @property
    def component(self) -> int:
        """The component of a micro-bar."""
        return self.p1

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


def _windowed(
    name: str,
    code: int,
    source: str,
    window: int | str | None,
    count: int | None,
    *,
    p1: int = 0,
    first: str = "source",
    of: int = -1,
) -> Spec:
    """A spec over a window (of a return its interval) or a count, one of which is given; `first`: which argument of its call comes first."""
    parameter = "interval" if code == _r.RETURN else "window"
    src = _source(source, f"{name}: source") if of < 0 else of
    if (window is None) == (count is None):
        got = "neither" if window is None else "both"
        raise ValueError(f"{name}: {parameter}: expected either a {parameter} or a count, got {got}")
    shown = [] if of == 0 else [repr(source)]
    if count is not None:
        p0 = _count(count, f"{name}: count")
        text = ", ".join([*shown, f"count={count}"] if first == "source" else [f"count={count}", *(f"source={s}" for s in shown)])
    else:
        p0 = duration_ns(window, f"{name}: {parameter}")
        text = ", ".join([*shown, repr(window)] if first == "source" else [repr(window), *shown])
    return Spec(code, src, p0, p1, int(count is not None), f"{name}({text})")


def mean(source: str = "mid", window: int | str | None = None, *, count: int | None = None) -> Spec:
    """Mean of what was observed in a time window (see `replay.trader.windows`) or of the last `count` observations.

    Sources: mid, bid, ask, microprice, spread (quotes), trade (prints that may set the last price), bar or close (closes of bars); price is the mid of an
    instrument with quotes or a book, else the closes of its bars, else its trades. Ticks.

    >>> str(mean("mid", "60s")), str(mean("trade", count=100))
    ("mean('mid', '60s')", "mean('trade', count=100)")
    """
    return _windowed("mean", _r.MEAN, source, window, count)


def variance(source: str = "mid", window: int | str | None = None, *, count: int | None = None) -> Spec:
    """Population variance (ddof 0), ticks squared; windows as `mean`.

    >>> variance("mid", "5m").p0
    300000000000
    """
    return _windowed("variance", _r.VARIANCE, source, window, count)


def zscore(source: str = "mid", window: int | str | None = None, *, count: int | None = None) -> Spec:
    """(newest - mean) / standard deviation of the window, 0 where that is 0; windows as `mean`.

    >>> zscore("mid", "60s") == zscore("mid", 60_000_000_000)
    True
    >>> zscore("mids", "60s")
    Traceback (most recent call last):
    ValueError: zscore: source: expected one of mid, bid, ask, microprice, spread, trade, bar, close, price, got 'mids'
    """
    return _windowed("zscore", _r.ZSCORE, source, window, count)


def ema(source: str, n: int, *, seed: str = "first") -> Spec:
    """Exponential mean, alpha 2 / (n + 1), ready after n observations; seeded with the 'first' or, as Pine and TA-Lib, their 'mean'.

    >>> ema("mid", 20).p0
    20
    """
    p1 = ("first", "mean").index(_choice(seed, ("first", "mean"), "ema: seed"))
    return Spec(_r.EMA, _source(source, "ema: source"), _count(n, "ema: n"), p1, name=f"ema({source!r}, {n}, seed={seed!r})")


def session_return(source: str = "mid") -> Spec:
    """Newest over the first observation since the session's open (or the start of data), of bars over the first bar's open, minus one.

    >>> str(session_return())
    "session_return('mid')"
    """
    return Spec(_r.SESSION_RETURN, _source(source, "session_return: source"), name=f"session_return({source!r})")


def ret(interval: int | str | None = None, source: str = "mid", *, count: int | None = None) -> Spec:
    """Newest over the last price seen by `interval` ago, or over the one `count` observations ago, minus one.

    >>> str(ret("5m")), ret(count=5, source="bar") == ret("bar", count=5)
    ("ret('5m', 'mid')", True)
    """
    if count is not None and interval in SOURCES:
        interval, source = None, str(interval)
    return _windowed("ret", _r.RETURN, source, interval, count, first="window")


def ret_zscore(
    interval: int | str | None = None,
    window: int | str | None = None,
    source: str = "mid",
    *,
    count: int | None = None,
    among: int | None = None,
) -> Spec:
    """How far the newest return over `interval` stands out among those of a window: (newest - mean) / standard deviation.

    Every observation gives one return, as `ret`. With `count` and `among`: of returns over `count` observations, the last `among` of them.

    >>> str(ret_zscore("10s", "5m")), str(ret_zscore(source="bar", count=5, among=60))
    ("ret_zscore('10s', '5m', 'mid')", "ret_zscore('bar', count=5, among=60)")
    """
    src = _source(source, "ret_zscore: source")
    if count is not None or among is not None:
        if interval is not None or window is not None:
            raise ValueError("ret_zscore: window: expected either interval and window or count and among, got some of both")
        over, most = _count(count, "ret_zscore: count"), _count(among, "ret_zscore: among")
        return Spec(_r.RETURN_ZSCORE, src, most, over, 1, f"ret_zscore({source!r}, count={over}, among={most})")
    over, span = duration_ns(interval, "ret_zscore: interval"), duration_ns(window, "ret_zscore: window")
    return Spec(_r.RETURN_ZSCORE, src, span, over, name=f"ret_zscore({interval!r}, {window!r}, {source!r})")


def realised_vol(
    source: str = "mid", window: int | str | None = None, *, count: int | None = None, year: int | str | None = None
) -> Spec:
    """Square root of the sum of the squared log returns from observation to observation in a window of time, or of the last `count` of
    them. With a `year`, times sqrt(year / window). Of every quote it holds the noise of the touch; of bars it does not.

    >>> realised_vol("mid", "15m", year=YEAR_US_EQUITY).p1
    5896800000000000
    """
    p1 = 0 if year is None else duration_ns(year, "realised_vol: year")
    if year is not None and count is not None:
        raise ValueError("realised_vol: year: expected a window to scale to a year, got count: a number of returns has no length")
    if window is None and count is None:
        window = "15m"
    made = _windowed("realised_vol", _r.REALISED_VOL, source, window, count, p1=p1)
    return made if year is None else replace(made, name=f"{made.name[:-1]}, year={year!r})")


def highest(source: str, window: int | str | None = None, *, count: int | None = None) -> Spec:
    """Highest observation in a window, of bars the highest high; ticks.

    >>> str(highest("bar", "20m"))
    "highest('bar', '20m')"
    """
    return _windowed("highest", _r.HIGHEST, source, window, count)


def lowest(source: str, window: int | str | None = None, *, count: int | None = None) -> Spec:
    """Lowest observation in a window, of bars the lowest low; ticks."""
    return _windowed("lowest", _r.LOWEST, source, window, count)


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
    """Volume-weighted price since the session's open, ticks; of the prints that count as volume, or of bars by (high + low + close) / 3.

    >>> str(vwap())
    "vwap('trade')"
    """
    return Spec(_r.VWAP, SOURCES[_choice(source, ("trade", "bar"), "vwap: source")], name=f"vwap({source!r})")


def ofi(window: int | str | None = None, *, count: int | None = None) -> Spec:
    """Order-flow imbalance of Cont, Kukanov and Stoikov, summed over a window or the last `count` changes of the quote, lots."""
    return _windowed("ofi", _r.OFI, "", window, count, of=0)


def trade_flow(window: int | str | None = None, *, count: int | None = None) -> Spec:
    """Lots bought minus sold by aggressors over a window or the last `count` prints that count as volume; a trade without a side is
    signed by the quote rule, then the tick rule."""
    return _windowed("trade_flow", _r.TRADE_FLOW, "", window, count, of=0)


def trade_imbalance(window: int | str | None = None, *, count: int | None = None) -> Spec:
    """(bought - sold) / (bought + sold) by aggressors, 0 without trades; windows and signs as `trade_flow`."""
    return _windowed("trade_imbalance", _r.TRADE_IMBALANCE, "", window, count, of=0)


def volume(window: int | str | None = None, source: str = "trade", *, count: int | None = None) -> Spec:
    """Lots traded over a window, or in the last `count` prints or bars: of prints that count as volume, or of bars; price is the bars of
    an instrument that has nothing else, else the trades.

    >>> volume("30s", "price").of("bars") == volume("30s", "bar"), volume(count=20, source="bar").p0
    (True, 20)
    """
    src = SOURCES[_choice(source, ("trade", "bar", "price"), "volume: source")]
    return _windowed("volume", _r.TRADED, source, window, count, first="window", of=src)


def bar(source: str, interval: int | str, component: str = "close") -> Spec:
    """A component of the last complete micro-bar of an interval, or of the one being built ('current_close', ...).

    Bars are aligned to the epoch, an interval without observations has none, and a bar is complete only when a later event
    or session open arrives. Components: open high low close (ticks; of prints that may set the last price), volume (lots; of prints
    that count as volume, 0 from quotes), count (observations of the price).

    >>> bar("trade", "1m", "close").p0
    60000000000
    """
    sources = [s for s in SOURCES if s not in ("bar", "close", "price")]
    src = SOURCES[_choice(source, sources, "bar: source")]
    p1 = COMPONENTS[_choice(component, COMPONENTS, "bar: component")]
    ns = duration_ns(interval, "bar: interval")
    return Spec(_r.MICRO_BAR, src, ns, p1, name=f"bar({source!r}, {interval!r}, {component!r})")


class FeatureTable:
    """Rows laid out and linked: `features` (FEATURE records), `first` (an instrument's first row or -1), `n_words` of state.

    `bar_ns`: the interval of each instrument's bars in ns, 0 where it has none; windows of bars are exact only where it is known.
    """

    def __init__(self, wanted: Iterable[tuple[int, Spec]], bar_ns: Sequence[int] = ()):
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
            row = self.features[k]
            row.code, row.instrument, row.source, row.p0, row.p1 = spec.code, instrument, spec.source, spec.p0, spec.p1
            row.count, row.word, row.next = spec.count, self.n_words, -1
            interval = bar_ns[instrument] if instrument < len(bar_ns) else 0
            for name, value in _r.shape(spec.code, spec.source, spec.p0, spec.p1, spec.count, interval).items():
                row[name] = value
            if instrument in last:
                self.features[last[instrument]].next = k
            else:
                self.first[instrument] = k
            last[instrument] = k
            self.n_words += int(row.n_words)
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


def layout(wanted: Iterable[tuple[int, Spec]], bar_ns: Sequence[int] = ()) -> FeatureTable:
    """The table of (instrument, spec) pairs, in order of first appearance; the same pair twice is one row."""
    return FeatureTable(wanted, bar_ns)
