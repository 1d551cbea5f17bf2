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
