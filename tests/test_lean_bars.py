import zipfile

import pytest
from recordings import recording

from replay import events as ev
from replay.data.lean_bars import import_lean_bars
from replay.data.times import date_of, in_new_york
from replay.errors import BadInput

FOLDER = "us_equity_lean/Data/equity/usa"
S = 10**9


def write(folder, name, text, member="20131007_ibm_minute_trade.csv"):
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(member, text)
    return path


def lines(path):
    with zipfile.ZipFile(path) as z:
        return z.read(z.namelist()[0]).decode().split()


def test_minutes(tmp_path):
    folder = tmp_path / "minute"
    write(
        folder,
        "ibm/20131007_trade.zip",
        "34200000,1836300,1836500,1836000,1836400,300\n57540000,1836300,1836500,1836000,1836400,400\n",
    )
    write(folder, "ibm/20131007_quote.zip", "34200000,1,1,1,1,1,1,1,1,1,1\n", "20131007_ibm_minute_quote.csv")
    s = import_lean_bars(folder)
    s.check()
    opens, closes = in_new_york(date_of("20131007", ""), 9, 30), in_new_york(date_of("20131007", ""), 16)
    assert s.events.kind.tolist() == [ev.PHASE, ev.BAR, ev.BAR, ev.PHASE]
    assert s.events.ts_event.tolist() == [opens, opens + 60 * S, closes, closes]
    assert tuple(s.events[1])[6:] == (300, 18363, 18365, 18360, 18364)
    assert s.manifest.anomalies == {"missing_bars": 388} and s.manifest.bar_intervals_ns == (60 * S,)


def test_days(tmp_path):
    write(tmp_path / "daily", "ibm.zip", "20131007 00:00,1836300,1836500,1836000,1836400,300\n", "ibm.csv")
    s = import_lean_bars(tmp_path / "daily", ["ibm"])
    s.check()
    assert s.events.ts_event[s.events.kind == ev.BAR].tolist() == [in_new_york(date_of("20131007", ""), 16)]


def test_crypto_has_plain_prices_and_utc(tmp_path):
    folder = tmp_path / "crypto/bybit/minute"
    rows = "".join(f"{60_000 * k},17079.{k:02},17090.5,17070.25,17080.{k:02},1.5\n" for k in range(60))
    write(folder, "btcusdt/20240102_trade.zip", rows, "20240102_btcusdt_minute_trade.csv")
    s = import_lean_bars(folder)
    s.check()
    bars = s.events[s.events.kind == ev.BAR]
    assert bars.ts_event[0] == 1_704_153_600 * S + 60 * S and s.manifest.calendar.name == "24/7" and len(bars) == 60
    assert float(s.instruments[0].price(bars.a[1])) == 17079.01 and s.manifest.anomalies == {}
    write(tmp_path / "crypto/bybit/daily", "btcusdt_trade.zip", "20240102 00:00,1.5,2,1,1.75,3\n", "btcusdt.csv")
    s = import_lean_bars(tmp_path / "crypto/bybit/daily")
    assert [i.symbol for i in s.instruments] == ["BTCUSDT"] and s.events.ts_event[s.events.kind == ev.BAR][0] == 1_704_240_000 * S


@pytest.mark.parametrize(("folder", "said"), [
    ("index/usa/minute", "LEAN bars of index: those of equity, crypto and cryptofuture are read"),
    ("future/cme/minute", "LEAN bars of future"),
    ("cryptofuture/binance/minute", "BTCUSD is settled in its coin"),
    ("minute", "prices of equities are whole numbers, times 10,000, these are not"),
])  # fmt: skip
def test_prices_of_other_assets_are_not_read_as_stocks(tmp_path, folder, said):
    write(
        tmp_path / folder,
        "btcusd/20240102_trade.zip",
        "0,17079.5,17090.5,17070.25,17080.5,1.5\n",
        "20240102_btcusd_minute_trade.csv",
    )
    with pytest.raises(BadInput, match=said):
        import_lean_bars(tmp_path / folder)


def test_refusals(tmp_path):
    with pytest.raises(BadInput, match="bars are expected in a folder second, minute, hour, daily"):
        import_lean_bars(tmp_path)
    write(tmp_path / "daily", "ibm.zip", "20131007 00:00,x,1,1,1,1\n", "ibm.csv")
    for given, error in (
        ({}, "ibm.zip: not a LEAN file of bars"), ({"symbols": ["SPY"]}, "no LEAN files of SPY"),
        ({"symbols": ["IBM"], "dates": ["2013-10-07"]}, "leave --dates out"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=error):
            import_lean_bars(tmp_path / "daily", **given)
    write(tmp_path / "minute", "ibm/20131007_trade.zip", "1,1,1,1,1,0\n", "20131007_ibm_Trade_tick.csv")
    with pytest.raises(BadInput, match="holds 20131007_ibm_Trade_tick.csv, not bars"):
        import_lean_bars(tmp_path / "minute")
    write(tmp_path / "minute", "ibm/20131007_quote.zip", "1,1,1,1,1,0\n").with_name("20131007_trade.zip").unlink()
    with pytest.raises(BadInput, match="no files of trade bars"):
        import_lean_bars(tmp_path / "minute")


@pytest.mark.real
@pytest.mark.parametrize(
    ("length", "symbols", "pattern"),
    [
        ("minute", ["SPY", "GOOG"], "{}/*_trade.zip"),
        ("daily", ["AAPL", "SPY"], "{}.zip"),
        ("hour", ["SPY"], "{}.zip"),
        ("second", ["BAC"], "{}/*_trade.zip"),
    ],
)
def test_recorded_bars_row_by_row(length, symbols, pattern):
    folder = recording(FOLDER) / length
    s = import_lean_bars(folder, symbols)
    s.check()
    for k, symbol in enumerate(sorted(symbols)):
        plain = [line.split(",") for f in sorted(folder.glob(pattern.format(symbol.lower()))) for line in lines(f)]
        if length in ("daily", "hour"):  # the time has a space in it
            plain = [b for a, b in zip(plain[::2], plain[1::2], strict=True) if len(a) == 1]
        rows = s.events[(s.events.kind == ev.BAR) & (s.events.instrument == k)]
        i = s.instruments[k]
        got = [(*(float(i.price(px)) for px in r[7:]), float(i.qty(r[6]))) for r in rows.tolist()]
        assert got == [(*(float(px) / 10_000 for px in x[1:5]), float(x[5])) for x in plain]
