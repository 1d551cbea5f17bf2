"""What a file's name says: the symbol, less what is known to be an interval, a date or a kind of data; and whose data it is.

>>> [symbol_of(Path(name)) for name in ("BRK.A.csv", "BTC_USDT-5m.feather", "AAPL_5min.csv.gz", "BTCUSDT-trades-2024-01-02.csv")]
['BRK.A', 'BTC_USDT', 'AAPL', 'BTCUSDT']
>>> symbol_of(Path("Binance_BTCUSDT_1h.csv")), symbol_of(Path("000001.SZ.csv")), symbol_of(Path("EURUSD=X.csv"))
('BTCUSDT', '000001.SZ', 'EURUSD=X')
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path

#: whose name in a file, folder or column means that prices are those of one market among several
VENUES = frozenset({
    *("binance", "binanceus", "binanceusdm", "binancecoinm", "bitget", "bybit", "okx", "okex", "coinbase", "kraken", "kucoin", "gate"),
    *("gateio", "huobi", "htx", "bitfinex", "bitmex", "deribit", "bitstamp", "gemini", "poloniex", "bittrex", "mexc", "bitmart", "dydx"),
    *("hyperliquid", "ftx", "phemex", "upbit", "bithumb", "cryptocom", "alpaca", "oanda", "fxcm", "dukascopy"),
})  # fmt: skip
_MARKETS = frozenset({"spot", "futures", "future", "um", "cm", "usdm", "coinm"})
_KINDS = frozenset({
    *("trade", "trades", "quote", "quotes", "bar", "bars", "candle", "candles", "kline", "klines", "ohlc", "ohlcv", "depth", "book"),
    *("orderbook", "tick", "ticks", "nbbo", "bbo", "orders", "data", "hist", "history", "historical", "prices", "intraday", "min"),
    *("minute", "minutes", "hour", "hourly", "day", "daily", "week", "weekly", "second", "seconds", "csv", "parquet"),
})  # fmt: skip
_INTERVAL = re.compile(r"\d+(ns|us|ms|s|secs?|seconds?|m|mins?|minutes?|t|h|hrs?|hours?|d|days?|w|weeks?|mo|months?)", re.I)
_DATE = re.compile(r"(19|20)\d{6}(t?\d{4,6}z?)?", re.I)
_YEAR = re.compile(r"(19|20)\d\d")
_PART = re.compile(r"(part|chunk)?-?\d+", re.I)
_SUFFIX = re.compile(r"(\.(csv|parquet|arrow|feather|gz))+$", re.I)


def symbol_of(path: Path) -> str:
    """The symbol that the file's name gives."""
    return _parts(path)[0]


def sources_of(paths: Sequence[Path]) -> dict[Path, str]:
    """Whose data each file is, as far as names of files and folders tell them apart; "" where they do not.

    Folders that all files share, and those of kinds, intervals and dates, tell nothing.

    >>> files = [Path("d/binance/BTCUSDT.csv"), Path("d/bitget/BTCUSDT.csv")]
    >>> list(sources_of(files).values()), list(sources_of([Path("d/2024/A.csv"), Path("d/2025/A.csv")]).values())
    (['binance', 'bitget'], ['', ''])
    """
    folders = {p: [w for w in p.resolve().parent.parts if not _says_nothing(w)] for p in paths}
    shared = 0
    while len({tuple(f[: shared + 1]) for f in folders.values()}) == 1 and all(len(f) > shared for f in folders.values()):
        shared += 1
    return {p: ".".join([*folders[p][shared:], *_parts(p)[1]]) for p in paths}


def venue_of(source: str) -> str:
    """The exchange that a source names, "" where it names none."""
    return next((w for w in re.split(r"[.\-_ ]", source.lower()) if w in VENUES), "")


def days_of(path: Path) -> tuple[datetime.date, datetime.date] | None:
    """First and last day that the file's name says its rows are of; None where it says none.

    >>> days_of(Path("BTC-20240628.csv")), days_of(Path("A-2024-02.csv")), days_of(Path("A.csv"))
    ((datetime.date(2024, 6, 28), datetime.date(2024, 6, 28)), (datetime.date(2024, 2, 1), datetime.date(2024, 2, 29)), None)
    """
    name = _SUFFIX.sub("", path.name)
    found = re.findall(r"(?<!\d)((?:19|20)\d\d)(?:-?(\d\d)(?:-?(\d\d))?)?(?!\d)", name[len(re.split(r"[-_ .]", name)[0]) :])
    try:
        spans = [_span(*(int(x) for x in f if x)) for f in found]
    except ValueError:
        return None
    return (min(a for a, _ in spans), max(b for _, b in spans)) if spans else None


def _span(year: int, month: int | None = None, day: int | None = None) -> tuple[datetime.date, datetime.date]:
    if day is not None:
        return datetime.date(year, month, day), datetime.date(year, month, day)
    first = datetime.date(year, month or 1, 1)
    after = datetime.date(year + 1, 1, 1) if month in (None, 12) else datetime.date(year, month + 1, 1)
    return first, after - datetime.timedelta(days=1)


def _says_nothing(word: str) -> bool:
    low = word.lower()
    return bool(low in _KINDS or _INTERVAL.fullmatch(low) or _DATE.fullmatch(low.replace("-", "")) or _PART.fullmatch(low))


def _parts(path: Path) -> tuple[str, list[str]]:
    """(symbol, words of the name that say whose data it is)."""
    pieces = re.split(r"([-_ .])", _SUFFIX.sub("", path.name))
    words, marks = pieces[::2], ["", *pieces[1::2]]
    source, kept, dated = [], "", False
    for k, (mark, word) in enumerate(zip(marks, words, strict=True)):
        low = word.lower()
        if (low in VENUES and len(words) > 1 and (k == 0 or kept)) or (kept and low in _MARKETS):
            source.append(low)
        elif kept and (low in _KINDS or _INTERVAL.fullmatch(low) or _DATE.fullmatch(low) or _YEAR.fullmatch(low)):
            dated = bool(_YEAR.fullmatch(low))
        elif dated and re.fullmatch(r"\d\d", low) and mark == "-":
            pass  # month and day of a date
        else:
            kept += (mark if kept else "") + word
    return kept or words[0], source
