"""Features against pandas, textbook vectors and published definitions: what a name says is what any other tool would give."""

import numpy as np
import pandas as pd
import pytest
from recordings import recording

from replay import events as ev
from replay.trader.specs import (
    FeatureTable,
    bar,
    ema,
    highest,
    lowest,
    mean,
    ofi,
    realised_vol,
    ret,
    ret_zscore,
    session_return,
    trade_flow,
    trade_imbalance,
    variance,
    volume,
    vwap,
    zscore,
)

MINUTE = 60 * 10**9
OPEN = 1_772_461_800 * 10**9  # 2026-03-02 09:30 in New York
DAY = 86_400 * 10**9


def bars(
    days: int = 3, per_day: int = 390, seed: int = 1, holes: float = 0.0, phases: bool = True, late_ns: int = 0
) -> np.ndarray:
    """Minute bars of whole sessions, each bar at its close, some left out; each received up to `late_ns` after its close."""
    r = np.random.default_rng(seed)
    rows, px = [], 10_000
    for day in range(days):
        if phases:
            rows.append((OPEN + day * DAY, OPEN + day * DAY, ev.PHASE, ev.OPEN, 0, 0, 0, 0, 0))
        for k in range(per_day):
            if k and r.random() < holes:
                continue
            close = px + int(r.integers(-9, 10))
            high, low = max(px, close) + int(r.integers(0, 5)), min(px, close) - int(r.integers(0, 5))
            t = OPEN + day * DAY + (k + 1) * MINUTE
            rows.append((t, t + int(r.integers(0, late_ns + 1)), ev.BAR, 0, px, high, low, close, int(r.integers(1, 1000))))
            px = close
        if phases:
            t = OPEN + day * DAY + per_day * MINUTE
            rows.append((t, t, ev.PHASE, ev.CLOSED, 0, 0, 0, 0, 0))
    out = ev.empty(len(rows))
    for row, values in zip(out, rows, strict=True):
        row.ts_event, row.ts_recv, row.kind, row.side, row.a, row.b, row.c, row.d, row.id = values
    return out


def prints(times: np.ndarray, seed: int = 1) -> np.ndarray:
    """Prints at `times`, some without a side."""
    r = np.random.default_rng(seed)
    out = ev.empty(len(times))
    out.kind[:], out["flags"][:] = ev.TRADE, ev.LAST | ev.PRINT
    out.ts_event[:] = out.ts_recv[:] = times
    out.a[:] = 10_000 + np.cumsum(r.integers(-3, 4, len(times)))
    out.b[:], out.side[:] = r.integers(1, 500, len(times)), r.choice([-1, 1], len(times))
    return out


def frame(rows: np.ndarray, kind: int) -> pd.DataFrame:
    """The rows of a kind with their times as index, and the session each is of."""
    session = np.cumsum((rows.kind == ev.PHASE) & (rows.side == ev.OPEN))
    mine = rows.kind == kind
    columns = (
        dict(zip("ohlcv", (rows.a, rows.b, rows.c, rows.d, rows.id), strict=True))
        if kind == ev.BAR
        else {"c": rows.a, "v": rows.b}
    )
    data = {name: np.asarray(x[mine], float) for name, x in columns.items()} | {"day": session[mine], "side": rows.side[mine]}
    return pd.DataFrame(data, index=pd.to_datetime(rows.ts_event[mine]))


def values(rows: np.ndarray, kind: int, spec, bar_ns: int = MINUTE) -> np.ndarray:
    """A feature at the rows of a kind; NaN where it is not ready."""
    table, ready = FeatureTable([(0, spec)], [bar_ns]).play(rows)
    return np.where(ready[:, 0], table[:, 0], np.nan)[rows.kind == kind]


def same(got: np.ndarray, want: pd.Series, rel: float = 1e-9) -> None:
    assert (np.isnan(got) == want.isna().to_numpy()).all(), np.flatnonzero(np.isnan(got) != want.isna().to_numpy())[:5]
    np.testing.assert_allclose(got, want.to_numpy(), rtol=rel, atol=1e-12)
    assert not want.isna().all()


def deviation(x: pd.Series, window) -> pd.Series:
    """(newest - mean) / population standard deviation, 0 where that is 0."""
    rolling = x.rolling(window)
    out = (x - rolling.mean()) / rolling.std(ddof=0)
    return out.where(rolling.max() != rolling.min(), 0.0).where(rolling.mean().notna())


def squares(x: pd.Series, window) -> pd.Series:
    return np.sqrt((np.log(x / x.shift()) ** 2).rolling(window).sum())


#: feature over n bars or minutes, and what pandas makes of a frame over n rows
ROLLING = {
    "mean": (lambda **w: mean("bar", **w), lambda d, n: d.c.rolling(n).mean()),
    "variance": (lambda **w: variance("bar", **w), lambda d, n: d.c.rolling(n).var(ddof=0)),
    "zscore": (lambda **w: zscore("bar", **w), lambda d, n: deviation(d.c, n)),
    "highest": (lambda **w: highest("bar", **w), lambda d, n: d.h.rolling(n).max()),
    "lowest": (lambda **w: lowest("bar", **w), lambda d, n: d.l.rolling(n).min()),
    "volume": (lambda **w: volume(source="bar", **w), lambda d, n: d.v.rolling(n).sum()),
    "realised_vol": (lambda **w: realised_vol("bar", **w), lambda d, n: squares(d.c, n)),
}


@pytest.mark.parametrize("n", [1, 5, 20, 240])
@pytest.mark.parametrize("name", ROLLING)
def test_n_bars_are_n_rows_and_run_over_the_night(name, n):
    rows = bars()
    spec, by_rows = ROLLING[name]
    same(values(rows, ev.BAR, spec(count=n)), by_rows(frame(rows, ev.BAR), n), 1e-6)


@pytest.mark.parametrize("n", [1, 5, 20, 240])
@pytest.mark.parametrize("name", ROLLING)
def test_n_minutes_of_minute_bars_are_n_bars_of_one_session(name, n):
    rows = bars()
    spec, by_rows = ROLLING[name]
    want = frame(rows, ev.BAR).groupby("day", group_keys=False).apply(lambda d: by_rows(d, n))
    same(values(rows, ev.BAR, spec(window=f"{n}m")), want, 1e-6)


@pytest.mark.parametrize("late_ns", [0, 900_000_000])
@pytest.mark.parametrize("n", [1, 5, 60])
def test_a_return_over_n_minutes_is_over_n_bars(n, late_ns):
    """However late each bar came: its time is its close."""
    rows = bars(late_ns=late_ns)
    d = frame(rows, ev.BAR)
    same(values(rows, ev.BAR, ret(f"{n}m", "bar")), d.groupby("day").c.pct_change(n))
    same(values(rows, ev.BAR, ret(source="bar", count=n)), d.c.pct_change(n))


def test_bars_without_a_known_interval_are_exact_up_to_256_of_them():
    rows = bars(1)
    d = frame(rows, ev.BAR)
    same(values(rows, ev.BAR, ret("240m", "bar"), bar_ns=0), d.c.pct_change(240))
    got = values(rows, ev.BAR, mean("bar", "60m"), bar_ns=0)
    same(got[60:], d.c.rolling(60).mean()[60:])


def test_a_window_longer_than_a_day_is_calendar_time():
    rows = bars(5, 60)
    d = frame(rows, ev.BAR)
    want = d.c.rolling("2D").mean()
    want[d.index < d.index[0] - pd.Timedelta("1min") + pd.Timedelta("2D")] = np.nan
    same(values(rows, ev.BAR, mean("bar", "2d")), want)


def test_the_zscore_of_returns_is_of_returns_over_n_bars():
    rows = bars()
    d = frame(rows, ev.BAR)
    want = d.groupby("day", group_keys=False).apply(lambda x: deviation(x.c.pct_change(5), 60))
    same(values(rows, ev.BAR, ret_zscore("5m", "60m", "bar")), want, 1e-6)
    same(values(rows, ev.BAR, ret_zscore(source="bar", count=5, among=60)), deviation(d.c.pct_change(5), 60), 1e-6)


def test_minutes_of_bars_with_holes_are_minutes():
    """Bars that are missing are missing from the window; a return is over the last close by then."""
    rows = bars(1, holes=0.3, phases=False)
    d = frame(rows, ev.BAR)
    for spec, want in ((mean("bar", "20m"), d.c.rolling("20min").mean()), (highest("bar", "20m"), d.h.rolling("20min").max())):
        want = want.where(d.index >= d.index[0] + pd.Timedelta("19min"))
        same(values(rows, ev.BAR, spec), want)
    for n in (1, 5):
        ago = d.c.reindex(d.index - pd.Timedelta(minutes=n), method="ffill").to_numpy()
        same(values(rows, ev.BAR, ret(f"{n}m", "bar")), d.c / ago - 1)


def test_without_a_calendar_a_night_is_a_silence():
    """Nothing shorter than it runs over it: on the second morning a window is ready when it is full, not on two observations."""
    with_phases, without = bars(2), bars(2, phases=False)
    for spec in (mean("bar", "20m"), zscore("bar", "20m"), volume("20m", "bar"), realised_vol("bar", "20m"), ret("5m", "bar")):
        np.testing.assert_array_equal(values(with_phases, ev.BAR, spec), values(without, ev.BAR, spec))


def test_a_market_that_never_closes_has_no_morning():
    """A day of a 24/7 calendar begins when the one before ends: windows run on, the session's return and VWAP begin."""
    rows = bars(1, 600)
    whole = np.insert(rows, [400, 400], rows[:2])
    for k, side in ((400, ev.CLOSED), (401, ev.OPEN)):
        whole[k]["kind"], whole[k]["side"] = ev.PHASE, side
        whole[k]["ts_event"] = whole[k]["ts_recv"] = rows[399]["ts_recv"]
    whole = whole.view(np.recarray)
    for spec in (mean("bar", "20m"), ret("5m", "bar"), ret_zscore("5m", "20m", "bar")):
        np.testing.assert_array_equal(values(rows, ev.BAR, spec), values(whole, ev.BAR, spec))
    d = frame(whole, ev.BAR)
    same(values(whole, ev.BAR, session_return("bar")), d.c / d.groupby("day").o.transform("first") - 1)


def test_session_figures_begin_with_the_session():
    rows = bars()
    d = frame(rows, ev.BAR)
    by_day = d.groupby("day")
    same(values(rows, ev.BAR, session_return("bar")), d.c / by_day.o.transform("first") - 1)
    paid = ((d.h + d.l + d.c) / 3 * d.v).groupby(d.day).cumsum()
    same(values(rows, ev.BAR, vwap("bar")), paid / by_day.v.cumsum())


# --- prints at irregular times -------------------------------------------------------------------------------------------------------

TEN = pd.Timedelta("10s")
ON_PRINTS = {
    "mean": (lambda **w: mean("trade", **w), lambda d, n: d.c.rolling(n).mean()),
    "zscore": (lambda **w: zscore("trade", **w), lambda d, n: deviation(d.c, n)),
    "highest": (lambda **w: highest("trade", **w), lambda d, n: d.c.rolling(n).max()),
    "lowest": (lambda **w: lowest("trade", **w), lambda d, n: d.c.rolling(n).min()),
    "volume": (lambda **w: volume(**w), lambda d, n: d.v.rolling(n).sum()),
    "trade_flow": (lambda **w: trade_flow(**w), lambda d, n: (d.v * d.side).rolling(n).sum()),
    "trade_imbalance": (lambda **w: trade_imbalance(**w), lambda d, n: (d.v * d.side).rolling(n).sum() / d.v.rolling(n).sum()),
}


def sparse(n: int = 800, seed: int = 3) -> np.ndarray:
    """Times at least a grain of ten seconds apart, no ten seconds without any."""
    return OPEN + np.cumsum(np.random.default_rng(seed).integers(40_000_000, 1_500_000_000, n))


@pytest.mark.parametrize("name", ON_PRINTS)
def test_windows_of_prints(name):
    rows = prints(sparse())
    d = frame(rows, ev.TRADE)
    spec, by_rows = ON_PRINTS[name]
    same(values(rows, ev.TRADE, spec(count=25)), by_rows(d, 25), 1e-8)
    covered = d.index >= d.index[0] + TEN
    same(values(rows, ev.TRADE, spec(window="10s")), by_rows(d, "10s").where(covered), 1e-8)


def test_returns_of_prints():
    rows = prints(sparse())
    d = frame(rows, ev.TRADE)
    ago = d.c.reindex(d.index - TEN, method="ffill").to_numpy()
    same(values(rows, ev.TRADE, ret("10s", "trade")), d.c / ago - 1)
    same(values(rows, ev.TRADE, ret(source="trade", count=7)), d.c.pct_change(7))
    squared = np.log(d.c / d.c.shift()) ** 2
    want = np.sqrt(squared.rolling("10s").sum()).where(d.index >= d.index[0] + TEN)
    same(values(rows, ev.TRADE, realised_vol("trade", "10s")), want, 1e-8)


def test_a_window_of_a_dense_stream_is_short_of_at_most_a_grain():
    rows = prints(OPEN + np.cumsum(np.random.default_rng(5).integers(0, 5_000_000, 20_000)))
    d = frame(rows, ev.TRADE)
    got = values(rows, ev.TRADE, volume("10s"))
    ready = ~np.isnan(got)
    most, least = (d.v.rolling(pd.Timedelta(ns)).sum().to_numpy() for ns in (10 * 10**9, 10 * 10**9 - 10 * 10**9 // 256 - 1))
    assert ready.sum() > 10_000 and (got[ready] <= most[ready]).all() and (got[ready] >= least[ready]).all()


def test_order_flow_imbalance_is_the_published_sum():
    """Cont, Kukanov and Stoikov (2014): e_n, summed."""
    r = np.random.default_rng(7)
    rows = ev.empty(400)
    rows.kind[:], rows["flags"][:] = ev.QUOTE, ev.LAST
    rows.ts_event[:] = rows.ts_recv[:] = sparse(400)
    rows.a[:] = 1000 + np.cumsum(r.integers(-1, 2, 400))
    rows.c[:] = rows.a + r.integers(1, 3, 400)
    rows.b[:], rows.d[:] = r.integers(1, 50, 400), r.integers(1, 50, 400)
    q = pd.DataFrame({n: np.asarray(rows[n], float) for n in "abcd"}, index=pd.to_datetime(rows.ts_event))
    p = q.shift()
    e = (q.a >= p.a) * q.b - (q.a <= p.a) * p.b - (q.c <= p.c) * q.d + (q.c >= p.c) * p.d
    e.iloc[0] = np.nan
    same(values(rows, ev.QUOTE, ofi(count=20)), e.rolling(20).sum())
    same(values(rows, ev.QUOTE, ofi("10s")), e.rolling("10s").sum().where(q.index >= q.index[0] + TEN))


# --- flags of prints --------------------------------------------------------------------------------------------------------------------


def test_prints_that_do_not_count_are_in_no_volume_and_those_that_set_no_price_in_no_price():
    """The same stream with and without such prints: every feature of prints is the same, whatever the odd prints say."""
    clean = prints(sparse(300))
    odd = prints(clean.ts_recv + 1_000, seed=9)
    odd.a[:] *= 3
    odd["flags"][:] = ev.LAST
    both = np.concatenate([clean, odd])[np.argsort(np.concatenate([clean.ts_recv, odd.ts_recv]), kind="stable")].view(np.recarray)
    counted = both["flags"] & ev.COUNTS != 0
    specs = [
        mean("trade", "10s"),
        zscore("trade", count=9),
        highest("trade", "10s"),
        lowest("trade", count=5),
        ret("10s", "trade"),
    ]
    specs += [realised_vol("trade", "10s"), ema("trade", 9), session_return("trade"), volume("10s"), volume(count=5), vwap()]
    specs += [trade_flow("10s"), trade_imbalance(count=9), ret_zscore("5s", "10s", "trade")]
    specs += [
        bar("trade", "10s", c) for c in ("open", "high", "low", "close", "volume", "count", "current_high", "current_volume")
    ]
    alone, ready = FeatureTable([(0, s) for s in specs]).play(clean)
    mixed, mixed_ready = FeatureTable([(0, s) for s in specs]).play(both)
    assert (mixed_ready[counted] == ready).all() and ready[-1].all()
    np.testing.assert_allclose(mixed[counted], alone, rtol=1e-12)


def test_an_odd_lot_counts_as_volume_and_sets_no_price():
    rows = prints(OPEN + 1_000_000_000 * np.arange(1, 4))
    rows.a[:], rows.b[:] = [100, 300, 101], [10, 4, 10]
    rows["flags"][1] = ev.LAST | ev.COUNTS
    specs = [
        volume(count=3),
        vwap(),
        highest("trade", count=2),
        bar("trade", "1m", "current_volume"),
        bar("trade", "1m", "current_high"),
    ]
    got, ready = FeatureTable([(0, s) for s in specs]).play(rows)
    assert ready[-1].all() and got[-1].tolist() == [24, (1000 + 1200 + 1010) / 24, 101, 24, 101]


# --- vectors that others published -----------------------------------------------------------------------------------------------------

TULIP = {
    "sma": lambda n: mean("trade", count=n),
    "max": lambda n: highest("trade", count=n),
    "min": lambda n: lowest("trade", count=n),
    "roc": lambda n: ret(source="trade", count=n),
    "var": lambda n: variance("trade", count=n),
    "ema": lambda n: ema("trade", n),
}


@pytest.mark.parametrize("name", TULIP)
def test_tulips_vectors(name):
    lines = recording("oracles_tulip/tests/untest.txt").read_text().splitlines()
    k = next(i for i, line in enumerate(lines) if line.startswith(f"{name} "))
    n = int(lines[k].split()[1])
    given, want = ([float(x) for x in line.strip("{}").split(",")] for line in lines[k + 1 : k + 3])
    rows = prints(OPEN + MINUTE * np.arange(len(given)))
    rows.a[:] = np.round(np.array(given) * 100)
    got = values(rows, ev.TRADE, TULIP[name](n))[-len(want) :]
    unit = {"roc": 1, "var": 10_000}.get(name, 100)
    ready = ~np.isnan(got)
    assert ready.sum() >= len(given) - n
    np.testing.assert_allclose(got[ready] / unit, np.array(want)[ready], atol=6e-4)
