import zipfile
from collections import Counter

import numpy as np
import pytest
from recordings import recording

from replay import events as ev
from replay.data import lean
from replay.data.lean import import_lean
from replay.errors import BadInput

MIDNIGHT = 1381118400 * 10**9  # 2013-10-07 00:00 New York
TICKS = "us_equity_lean/Data/equity/usa/tick"


def write(folder, text, kind="trade", symbol="ibm", day="20131007", member=None):
    path = folder / symbol / f"{day}_{kind}.zip"
    path.parent.mkdir(exist_ok=True, parents=True)
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(member or f"{day}_{symbol}_{kind.title()}_Tick.csv", text)
    return path


def market(session):
    return session.events[np.isin(session.events.kind, (ev.QUOTE, ev.TRADE))]


def test_one_sided_rows_become_full_quotes(tmp_path):
    write(
        tmp_path,
        "100,1836300,300,0,0,P,1,0\n200,0,0,1838200,500,Q,1,0\n300,1836400,100,,,P,1,0\n400,1839900,200,0,0,N,1,0\n",
        "quote",
    )
    s = import_lean(tmp_path)
    s.check()
    assert [tuple(r)[7:] for r in market(s).tolist()] == [
        (18363, 300, 0, 0), (18363, 300, 18382, 500), (18364, 100, 18382, 500), (18399, 200, 18382, 500)
    ]  # fmt: skip
    assert market(s).ts_event.tolist() == [MIDNIGHT + ms * 10**6 for ms in (100, 200, 300, 400)]
    assert np.array_equal(s.events.ts_recv, s.events.ts_event)
    assert s.manifest.anomalies == {"crossed_quotes": 1}
    assert s.manifest.inferred == ("IBM.tick_size",) and s.instruments[0].tick_size == "0.01"
    assert market(s).id.tolist() == [1, 2, 3, 4]


def test_a_suspicious_quote_never_stands_as_the_market(tmp_path):
    write(tmp_path, "100,1836300,300,0,0,P,1,0\n200,1990000,100,0,0,P,1,1\n300,0,0,1838200,500,Q,1,0\n", "quote")
    s = import_lean(tmp_path)
    assert market(s).a.tolist() == [18363, 18363]
    assert s.manifest.anomalies == {"dropped_suspicious_quote": 1}


@pytest.mark.parametrize(
    ("conditions", "suspicious", "flags"),
    [
        ("1", 0, ev.PRINT),
        ("20000020", 0, ev.PRINT),
        ("2000", 0, ev.PRINT),
        ("", 0, ev.PRINT),
        ("1", 1, ev.COUNTS),
        ("20100200", 0, ev.COUNTS),
        ("4800", 0, ev.COUNTS),
        ("80000000", 0, ev.COUNTS),
        ("1000000", 0, 0),
    ],
)
def test_what_a_print_may_do(tmp_path, conditions, suspicious, flags):
    write(tmp_path, f"100,1836300,300,P,{conditions},{suspicious}\n")
    (r,) = market(import_lean(tmp_path))
    assert r["flags"] == flags | ev.LAST
    assert (r.a, r.b, r.c, r.side) == (18363, 300, int(conditions or "0", 16), 0)


def test_at_one_millisecond_phases_go_first_then_trades_then_quotes(tmp_path):
    t = 34_200_000
    write(tmp_path, f"{t},1836300,300,0,0,P,1,0\n{t},0,0,1838200,500,Q,1,0\n", "quote")
    write(tmp_path, f"{t},1836300,100,P,1,0\n{t},1836400,100,P,1,0\n")
    kinds = import_lean(tmp_path).events
    assert kinds.kind.tolist() == [ev.PHASE, ev.TRADE, ev.TRADE, ev.QUOTE, ev.QUOTE, ev.PHASE]
    assert kinds.side[[0, -1]].tolist() == [ev.OPEN, ev.CLOSED] and kinds.id[0] == 20131007
    assert kinds.ts_event[-1] == MIDNIGHT + 57_600_000 * 10**6


def test_a_tick_as_fine_as_the_prices_need(tmp_path):
    write(tmp_path, "100,1836350,300,P,1,0\n200,1836400,300,P,1,0\n")
    write(tmp_path, "100,139400,300,P,1,0\n", symbol="bac")
    s = import_lean(tmp_path)
    assert [i.symbol for i in s.instruments] == ["BAC", "IBM"]
    assert [i.tick_size for i in s.instruments] == ["0.01", "0.001"]
    assert market(s).a.tolist() == [1394, 183635, 183640]


def test_carrying_forward_starts_afresh_each_day_and_filters_hold(tmp_path):
    write(tmp_path, "100,1836300,300,0,0,P,1,0\n", "quote")
    write(tmp_path, "100,0,0,1838200,500,Q,1,0\n", "quote", day="20131008")
    s = import_lean(tmp_path)
    assert [tuple(r)[7:] for r in market(s).tolist()] == [(18363, 300, 0, 0), (0, 0, 18382, 500)]
    assert s.manifest.counts == {"quote": 2, "phase": 4}
    assert import_lean(tmp_path, ["ibm"], ["2013-10-08"]).manifest.counts == {"quote": 1, "phase": 2}


def test_refusals(tmp_path):
    with pytest.raises(BadInput, match="no LEAN tick files of any symbol for any day"):
        import_lean(tmp_path)
    path = write(tmp_path, "100,1836300,300,P,1,0\n")
    with pytest.raises(BadInput, match="no LEAN tick files of SPY for 2013-10-07"):
        import_lean(tmp_path, ["IBM", "SPY"], ["2013-10-07"])
    with pytest.raises(BadInput, match="a day must look like 2026-03-02, got 'x'"):
        import_lean(tmp_path, ["IBM"], ["x"])
    with pytest.raises(BadInput, match="is named like ibm/20131007_trade.zip"):
        import_lean([path.rename(tmp_path / "ibm" / "ibm.zip")])
    write(tmp_path, "200,1836300,300,P,1,0\n100,1836300,300,P,1,0\n")
    with pytest.raises(BadInput, match=r"20131007_trade.zip row 2: times must not go back, got 100 after 200 ms"):
        import_lean(tmp_path)
    for text in ("100,1836300,300,P,1\n", "100,x,300,P,1,0\n", "100,1836300,300,P,zz,0\n"):
        with pytest.raises(BadInput, match=r"20131007_trade.zip: not a LEAN trade tick file") as e:
            import_lean([write(tmp_path, text)])
        assert "\n" not in str(e.value)
    write(tmp_path, "", member="20131007_ibm_minute_trade.csv")
    with pytest.raises(BadInput, match="holds 20131007_ibm_minute_trade.csv, not ticks"):
        import_lean(tmp_path)
    path.write_bytes(b"no zip")
    with pytest.raises(BadInput, match="not a LEAN trade tick file"):
        import_lean(tmp_path)
    write(tmp_path, "100,0,300,P,1,0\n")
    with pytest.raises(BadInput, match="IBM trade: price must be > 0"):
        import_lean(tmp_path)


def plain_rows(path):
    with zipfile.ZipFile(path) as z:
        return [line.split(",") for line in z.read(z.namelist()[0]).decode().splitlines()]


@pytest.mark.real
@pytest.mark.parametrize(("symbol", "day"), [("ibm", "20131007"), ("ibm", "20131010")])
def test_a_recorded_day_row_by_row(symbol, day):
    """Every row of the files against the session, by a reader that shares nothing with the importer."""
    folder = recording(TICKS)
    s = import_lean(folder, [symbol], [day], name=symbol)
    s.check()
    quotes = plain_rows(folder / symbol / f"{day}_quote.zip")
    trades = plain_rows(folder / symbol / f"{day}_trade.zip")
    m = s.manifest
    assert m.counts == {"quote": len(quotes) - m.anomalies["dropped_suspicious_quote"], "trade": len(trades), "phase": 2}
    assert [x.rows for x in m.sources] == [len(quotes), len(trades)]
    bid = ask = (0, 0)
    expected = []
    for k, (ms, bpx, bsz, apx, asz, _, _, suspicious) in enumerate(quotes, 1):
        if suspicious == "1":
            continue
        bid = (int(bpx) // 100, int(bsz)) if int(bpx) else bid
        ask = (int(apx) // 100, int(asz)) if int(apx) else ask
        expected.append((int(ms), k, *bid, *ask))
    start = lean.in_new_york(lean.date_of(day, ""))
    got = s.events[s.events.kind == ev.QUOTE]
    assert [((r[0] - start) // 10**6, r[6], *r[7:]) for r in got.tolist()] == expected
    assert m.anomalies["crossed_quotes"] == sum(q[2] > q[4] > 0 for q in expected)
    got = s.events[s.events.kind == ev.TRADE]
    assert [((r[0] - start) // 10**6, r[6], *r[7:10]) for r in got.tolist()] == [
        (int(ms), k, int(px) // 100, int(size), int(conditions, 16))
        for k, (ms, px, size, _, conditions, _) in enumerate(trades, 1)
    ]


@pytest.mark.real
def test_nearly_all_prints_lie_inside_the_quotes_before_them():
    s = import_lean(recording(TICKS), ["IBM"], ["2013-10-07"])
    bid = ask = 0
    inside = Counter()
    opens, closes = s.events.ts_event[s.events.kind == ev.PHASE]
    for r in s.events.tolist():
        if r[2] == ev.QUOTE:
            bid, ask = r[7], r[9]
        elif r[2] == ev.TRADE and opens <= r[0] < closes and r[4] & ev.SETS_LAST:
            inside[bid <= r[7] <= ask] += 1
    assert inside[True] / inside.total() > 0.95


@pytest.mark.real
def test_several_symbols_and_days_add_up():
    s = import_lean(recording(TICKS), ["BAC", "IBM"], ["2013-10-07", "2013-10-08"])
    m = s.manifest
    rows = sum(x.rows for x in m.sources)
    assert rows == m.counts["quote"] + m.counts["trade"] + m.anomalies["dropped_suspicious_quote"] and m.counts["phase"] == 4
    assert len(m.sources) == 8 and all(len(x.sha256) == 64 for x in m.sources)
    assert m.levels == ("l1", "l1")


def test_ticks_of_other_assets_are_not_read_as_stocks(tmp_path):
    write(tmp_path / "crypto/coinbase/tick", "100,1836300,300,P,1,0\n", symbol="btcusd")
    with pytest.raises(BadInput, match="LEAN ticks of crypto: of ticks only those of equity are read"):
        import_lean(tmp_path / "crypto/coinbase/tick")
