"""Eight well-known ideas traded on bars by the engine and by pandas: every fill the same, time, side, quantity and price."""

import inspect
from pathlib import Path

import numpy as np
import pandas as pd
import ports
import ports_expected as expected
import pytest
from recordings import recording

import replay
from replay import events as ev
from replay.data.canonical import import_canonical
from replay.data.synth import bar_days

MINUTE = 60 * 10**9
FREE = {"participation": 0}  # with slippage; orders fill whole
#: as soon as a report of the next bar's open, or later, would a bar of the generator reach us; here none is overtaken
PROMPT = FREE | {"latency": "feed=500us"}
CASES = [
    (ports.BollingerRsi, expected.bollinger_rsi, PROMPT),
    (ports.OpeningRange, expected.opening_range, PROMPT),
    (ports.LongShortBasket, expected.long_short_basket, {}),
    (ports.VwapReversion, expected.vwap_reversion, {}),
    (ports.Turtle, expected.turtle, PROMPT),
    (ports.Pairs, expected.pairs, {}),
    (ports.VolatilityTarget, expected.volatility_target, FREE | {"commission": "1bps"}),
    (ports.Grid, expected.grid, PROMPT),
]
NAMES = [strategy.__name__ for strategy, *_ in CASES]


def frames_of(session, prompt):
    """The rows of a generated session as frames; `prompt`: bars reach us half a millisecond after their close."""
    rows, frames = session.events, []
    ends = rows.ts_event[(rows.kind == ev.PHASE) & (rows.side == ev.CLOSED)]
    for i in range(len(session.instruments)):
        r = rows[(rows.kind == ev.BAR) & (rows.instrument == i)]
        f = pd.DataFrame({"o": r.a, "h": r.b, "l": r.c, "c": r.d, "v": r.id, "closes": r.ts_event, "seen": r.ts_recv})
        f["seen"] = f.closes + 500_000 if prompt else f.seen
        f["opens"] = f.closes - session.manifest.bar_intervals_ns[0]
        f["day"] = np.searchsorted(ends, f.closes)
        f["ends"] = ends[f.day]
        frames.append(f)
    return frames


def compare(session, frames, strategy, compute, options, **parameters):
    """Assert equal fills; return how many there were."""
    result = replay.run(session, strategy, parameters, initial_capital=100_000, **options)
    fills = result.table("fills").to_pandas()
    symbols = {s.symbol: i for i, s in enumerate(session.instruments)}
    got = sorted(
        zip(
            fills.ts_event.astype("int64"),
            fills.symbol.map(symbols),
            np.where(fills.side == "buy", 1, -1).tolist(),
            fills.last_qty_lots,
            fills.last_px_ticks,
            strict=True,
        )
    )
    costs = (500, 0 if "participation" in options else 0.1)
    if "capital" in inspect.signature(compute).parameters:
        parameters |= {"capital": 100_000, "fee": 1e-4 if "commission" in options else 0.0}
    want = [tuple(int(x) for x in fill) for fill in compute(frames, costs, **parameters)]
    got = [tuple(int(x) for x in fill) for fill in got]
    differ = next((k for k, (a, b) in enumerate(zip(got, want, strict=False)) if a != b), min(len(got), len(want)))
    assert got == want, (len(got), len(want), differ, got[differ : differ + 3], want[differ : differ + 3])
    return len(got)


@pytest.mark.parametrize(("strategy", "compute", "options"), CASES, ids=NAMES)
def test_generated_bars(strategy, compute, options):
    session = bar_days([f"S{k}" for k in range(6)], n_events=8_000, seed=5)
    assert compare(session, frames_of(session, "latency" in options), strategy, compute, options) > 20


# --- recordings ----------------------------------------------------------------------------------------------------------------
NEW_YORK = {"columns": {"datetime": "ts_event"}, "timezone": "America/New_York", "calendar": "XNYS", "round_prices": "0.0001"}
KLINES = {"Open time": "ts_event", **{x.title(): x for x in ("open", "high", "low", "close", "volume")}, "*": ""}
RECORDINGS = {
    "minutes of 2019": ("us_equity_1min_2019/data", "[!V]*.csv", 1, NEW_YORK | {"label": "close"}),
    "five minutes of 2025": ("us_equity_intraday_2025/data", "*.csv", 5, NEW_YORK | {"label": "open", "market_hours_only": True}),
    "crypto": (
        "crypto_bars_binance_2025/data",
        "*.csv",
        5,
        {"columns": KLINES, "timezone": "UTC", "label": "open", "calendar": "24/7"},
    ),
}
HALF_DAYS = pd.to_datetime(["2025-07-03", "2025-11-28", "2025-12-24"]).date  # published by NYSE
DEAR = {"budget": 10**9, "risk": 10**7, "tick_value": 0.0001}  # ticks are smaller there


def read_csv(file, instrument, minutes, how):
    """A frame of a vendor's file, without the importer."""
    raw = pd.read_csv(file).rename(columns=lambda x: {"Open time": "datetime"}.get(x, x.lower()))
    stamps = pd.to_datetime(raw.datetime).dt.tz_localize(how["timezone"])
    when = stamps + pd.Timedelta(minutes=minutes if how["label"] == "open" else 0)
    tick, lot = float(instrument.tick_size), float(instrument.lot_size)
    f = pd.DataFrame({x[0]: (raw[x] / tick).round().astype("int64") for x in ("open", "high", "low", "close")})
    f["v"] = (raw.volume / lot).round().astype("int64")
    f["closes"] = when.dt.as_unit("ns").astype("int64")
    f["date"], f["seen"], f["opens"] = when.dt.date, f.closes, f.closes - minutes * MINUTE
    f["day"], f["ends"] = 0, 2**62
    if how["calendar"] != "24/7":
        midnight = stamps.dt.normalize()
        minute = (when - midnight).dt.total_seconds() / 60
        last = np.where(f.date.isin(HALF_DAYS), 13 * 60, 16 * 60)
        f["day"] = [d.toordinal() for d in f.date]
        f["ends"] = f.closes + ((last - minute) * MINUTE).astype("int64")
        f = f[(minute > 570) & (minute <= last)]
    return f.sort_values("closes", ignore_index=True)


def recorded(name):
    """A session of a recording and its frames."""
    folder, files, minutes, how = RECORDINGS[name]
    files = sorted(recording(folder).glob(files))
    session = import_canonical([Path(f) for f in files], interval_ns=minutes * MINUTE, **how)
    frames = [read_csv(f, i, minutes, how) for f, i in zip(files, session.instruments, strict=True)]
    return session, frames


@pytest.fixture(scope="module")
def recordings():
    held = {}
    return lambda name: held[name] if name in held else held.setdefault(name, recorded(name))


@pytest.mark.real
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize(("strategy", "compute", "options"), CASES, ids=NAMES)
def test_recorded_bars(recordings, name, strategy, compute, options):
    if name == "crypto" and strategy.__name__ in ("OpeningRange", "LongShortBasket", "VwapReversion", "VolatilityTarget"):
        pytest.skip("of a market with sessions, or of more symbols")
    session, frames = recordings(name)
    options = {k: v for k, v in options.items() if k != "latency"}
    known = inspect.signature(compute).parameters
    assert compare(session, frames, strategy, compute, options, **{k: v for k, v in DEAR.items() if k in known}) > 10
