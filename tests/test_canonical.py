"""Files of canonical columns: what they become, and what is refused."""

import gzip
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import recording

from replay import events as ev
from replay.data.canonical import import_canonical
from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.errors import BadInput

T = 1_772_461_800_000_000_000  # 2026-03-02 09:30 New York
S = 10**9
BARS = "ts_event,open,high,low,close,volume\n"


def csv(folder, text, name="AAPL.csv"):
    path = folder / name
    path.write_text(text)
    return path


def load(*paths, **given):
    s = import_canonical(paths, **given)
    s.check()
    return s


def words(session, kind):
    rows = session.events[session.events.kind == kind]
    return [tuple(r)[6:] for r in rows.tolist()]


# --- kinds ------------------------------------------------------------------------------------------------------------------
def test_bars_of_two_files_are_one_message_a_close(tmp_path):
    for symbol, px in (("MSFT", 400), ("AAPL", 200)):
        csv(
            tmp_path,
            BARS + "".join(f"{T + k * 60 * S},{px},{px}.5,{px}.25,{px}.3{k},{100 + k}\n" for k in range(3)),
            f"{symbol}_1min.csv",
        )
    s = load(tmp_path, interval_ns=60 * S)
    assert [i.symbol for i in s.instruments] == ["AAPL", "MSFT"] and s.manifest.bar_intervals_ns == (60 * S,)
    assert s.events.instrument.tolist() == [0, 1] * 3 and (s.events["flags"] & ev.LAST).tolist() == [0, 1] * 3
    assert words(s, ev.BAR)[0] == (100, 20000, 20050, 20025, 20030)
    assert s.events.ts_event[0] == s.events.ts_recv[0] == T
    assert s.manifest.inferred[:3] == ("AAPL.symbol", "ts_recv", "MSFT.symbol")
    assert {"AAPL.tick_size", "AAPL.lot_size"} <= set(s.manifest.inferred)
    assert [x.name for x in s.manifest.sources] == ["AAPL_1min.csv", "MSFT_1min.csv"] and s.manifest.sources[0].rows == 3


def test_a_slice_by_symbol_ends_its_messages(tmp_path):
    path = csv(tmp_path, "symbol," + BARS + "".join(f"{x},{T + k * S},1,1,1,1,1\n" for k in range(4) for x in ("A", "B", "C")))
    s = load(path, interval_ns=S)
    for symbols in (["A"], ["A", "B"], ["C"], ["A", "C"]):
        part = s.slice(symbols=symbols)
        part.check()
        assert (part.events["flags"] & ev.LAST).tolist() == ([0] * (len(symbols) - 1) + [1]) * 4


def test_a_label_of_the_start_is_moved_to_the_close(tmp_path):
    path = csv(tmp_path, BARS.replace("ts_event", "datetime") + "2026-03-02 09:30:00,1,1,1,1,1\n2026-03-09 09:30,1,1,1,1,1\n")
    how = {"columns": {"datetime": "ts_event"}, "timezone": "America/New_York", "interval_ns": 300 * S}
    assert load(path, **how, label="open").events.ts_event.tolist() == [T + 300 * S, T + (7 * 86_400 - 3600 + 300) * S]
    assert load(path, **how, label="close").events.ts_event[0] == T
    with pytest.raises(BadInput, match="whether datetime is the time of a bar's start or of its end is not said: add --label"):
        load(path, **how)


def test_quotes_and_their_oddities(tmp_path):
    path = csv(
        tmp_path,
        "ts_event,ts_recv,bid_px,bid_sz,ask_px,ask_sz\n"
        f"{T},{T + 5},10.01,3,10.02,4\n{T + 1},{T + 6},,,10.02,4\n{T + 2},{T + 7},10.03,3,10.02,4\n{T + 3},{T + 8},0,3,10.02,4\n"
        f"{T + 4},{T + 9},10.01,-3,10.02,4\n{T + 5},{T + 9},NaN,3,10.02,4\n{T + 5},{T + 9},nan,3,10.02,4\n",
    )
    s = load(path)
    assert words(s, ev.QUOTE) == [
        (0, 1001, 3, 1002, 4),
        (0, 0, 0, 1002, 4),
        (0, 1003, 3, 1002, 4),
        (0, 0, 0, 1002, 4),
        (0, 0, 0, 1002, 4),
    ]
    assert s.manifest.anomalies == {
        "quote_without_side": 3, "dropped_price_not_positive": 1, "dropped_negative_size": 1, "crossed_quotes": 1, "repeated_row": 1
    }  # fmt: skip
    assert (s.events["flags"] == ev.LAST).all() and s.manifest.inferred == ("AAPL.symbol", "AAPL.tick_size", "AAPL.lot_size")


def test_trades_and_their_oddities(tmp_path):
    path = csv(
        tmp_path,
        "ts_event,price,size,side,order_id\n"
        f"{T},10.01,3,buy,7\n{T},10.01,3,buy,7\n{T},10.01,3,sell,8\n{T},10.01,0,,9\n{T},,1,,10\n{T + 1},10.02,1,,0\n{T + 1},10.02,1,,0\n",
    )
    s = load(path)
    assert words(s, ev.TRADE) == [(7, 1001, 3, 0, 0), (8, 1001, 3, 0, 0), (0, 1002, 1, 0, 0), (0, 1002, 1, 0, 0)]
    assert s.events.side.tolist() == [1, -1, 0, 0] and (s.events["flags"] == ev.LAST | ev.PRINT).all()
    assert s.manifest.anomalies == {
        "dropped_trade_without_size": 1, "dropped_missing_value": 1, "dropped_repeated_trade": 1, "repeated_row": 1
    }  # fmt: skip


def test_depth_rows_of_one_time_are_one_message(tmp_path):
    path = csv(
        tmp_path,
        "ts_event,side,price,size,action\n"
        f"{T},,,,clear\n{T},bid,10.01,3,set\n{T},ask,10.02,4,\n{T + 1},bid,10.01,0,set\n{T + 1},ask,10.03,1,set\n{T + 2},ask,10.03,2,set\n",
    )
    s = load(path)
    assert s.manifest.levels == ("l2",) and s.manifest.max_levels == ((1, 2),) and s.manifest.anomalies == {}
    assert (s.events["flags"] & ev.LAST).tolist() == [0, 0, 1, 0, 1, 1] and s.events.c.tolist() == [ev.CLEAR, 0, 0, 0, 0, 0]


def test_orders(tmp_path):
    path = csv(
        tmp_path,
        "ts_event,side,price,size,action,order_id\n"
        f"{T},bid,10.01,3,add,5\n{T + 1},bid,10.02,3,modify,5\n{T + 2},bid,,1,fill,5\n{T + 3},bid,,,cancel,5\n{T + 4},,,,clear,\n",
    )
    s = load(path)
    assert s.manifest.levels == ("l3",) and s.manifest.max_orders == (1,)
    assert words(s, ev.ORDER) == [
        (5, 1001, 3, ev.ADD, 0),
        (5, 1002, 3, ev.MODIFY, 0),
        (5, 0, 1, ev.FILL, 0),
        (5, 0, 0, ev.CANCEL, 0),
        (0, 0, 0, ev.CLEAR, 0),
    ]


def test_mixed_kinds_with_a_column_and_daily_beside_minute_bars(tmp_path):
    path = csv(
        tmp_path,
        "ts_event,kind,price,size,open,high,low,close,volume,interval\n"
        f"{T + 60 * S},trade,10.01,3,,,,,,\n{T + 60 * S},bar,,,10,11,9,10.5,7,5m\n{T + 60 * S},bar,,,10,11,9,10.5,7,60s\n",
    )
    s = load(path)
    assert s.manifest.bar_intervals_ns == (60 * S, 300 * S)
    assert s.events.kind.tolist() == [ev.BAR, ev.BAR, ev.TRADE] and s.events.side.tolist() == [0, 1, 0]
    assert (s.events["flags"] & ev.LAST).tolist() == [0, 1, 1]


def test_bars_twice_odd_and_unsorted(tmp_path):
    rows = [f"{T + k * 60 * S},10,11,9,10.5,7\n" for k in (3, 2, 2, 1)]
    s = load(csv(tmp_path, BARS + "".join(rows) + f"{T + 240 * S},10,9,11,10,0\n{T + 300 * S},0,9,11,10,1\n"), interval_ns=60 * S)
    assert s.events.ts_event.tolist() == [T + k * 60 * S for k in (1, 2, 3, 4)]
    assert s.manifest.anomalies == {
        "rows_out_of_order": 3,
        "dropped_repeated_bar": 1,
        "dropped_price_not_positive": 1,
        "inconsistent_bars": 1,
    }


def test_a_receive_clock_that_runs_behind_is_shifted(tmp_path):
    path = csv(tmp_path, f"ts_event,ts_recv,price,size\n{T},{T - 50},1.5,1\n{T + 10},{T + 90},1.5,1\n{T + 100},,1.5,1\n")
    s = load(path)
    assert s.manifest.clock_shift_ns == 51 and (s.events.ts_recv - s.events.ts_event).tolist() == [1, 131, 51]
    assert "ts_recv" in s.manifest.inferred


# --- files and types --------------------------------------------------------------------------------------------------------
def test_every_format_gives_the_same_rows(tmp_path):
    n = 1000
    table = pa.table({
        "ts_event": pa.array(T + np.arange(n) * 10**6, pa.timestamp("ns", "UTC")),
        "symbol": pa.array(["AAPL", "MSFT"] * (n // 2)).dictionary_encode(),
        "price": pa.array(np.round(100 + np.arange(n) % 77 / 100, 2)),
        "size": pa.array(np.arange(n) % 9 + 1),
    })  # fmt: skip
    pv.write_csv(table.set_column(1, "symbol", table["symbol"].cast(pa.string())), tmp_path / "a.csv")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=300)
    single = table.set_column(2, "price", table["price"].cast(pa.float32())).set_column(3, "size", table["size"].cast(pa.int16()))
    pq.write_table(single, tmp_path / "single.parquet")
    exact = table.set_column(2, "price", table["price"].cast(pa.string()).cast(pa.decimal128(12, 4)))
    pq.write_table(exact.set_column(0, "ts_event", table["ts_event"].cast(pa.int64())), tmp_path / "exact.parquet")
    for name in ("a.arrow", "a.feather"):
        with pa.OSFile(str(tmp_path / name), "wb") as f, pa.ipc.new_file(f, table.schema) as out:
            out.write_table(table, 300)
    found = {load(p).manifest.sha256 for p in sorted(tmp_path.iterdir())}
    assert len(found) == 1 and len(list(tmp_path.iterdir())) == 7


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-03-02T14:30:00Z", 0),
        ("2026-03-02 09:30:00.000000001-05:00", 1),
        (str(T), 0),
        ("2026-03-02 09:30", 0),
        ("20260302 093000", 0),
        ("2026.03.02 09:30:00.5", S // 2),
        ("2026/3/2 9:30", 0),
        ("3/2/2026 9:30", 0),
        ("2-Mar-26 09:30", 0),
        ("2026-03-02 14:30 UTC", 0),
        (str(T // S), 0),
        (str(T // 10**6), 0),
        (str(T // 1000), 0),
        ("1772461800.25", S // 4),
        ("20260302093000", 0),
    ],
)
def test_times(tmp_path, text, ns):
    path = csv(tmp_path, f"ts_event,price,size\n{text},1.5,1\n")
    assert load(path, timezone="America/New_York", date_order="mdy").events.ts_event[0] == T + ns


def test_a_batch_boundary_is_none(tmp_path, monkeypatch):
    table = pa.table({
        "ts_event": T + np.repeat(np.arange(50), 4), "side": ["bid", "ask"] * 100, "price": np.tile([9.5, 9.6, 9.4, 9.7], 50),
        "size": np.ones(200), "action": ["set"] * 200,
    })  # fmt: skip
    pq.write_table(table, tmp_path / "A.parquet")
    whole = load(tmp_path / "A.parquet").manifest
    monkeypatch.setattr("replay.data.tables.BATCH", 7)
    monkeypatch.setattr("replay.data.arrange.BLOCK", 11)
    monkeypatch.setattr("replay.data.session.BLOCK", 13)
    assert load(tmp_path / "A.parquet").manifest == whole


def test_instruments_are_stated_in_part(tmp_path):
    path = csv(tmp_path, f"ts_event,symbol,price,size\n{T},BTC,100.5,1.25\n{T},ETH,7,1\n")
    toml = tmp_path / "i.toml"
    toml.write_text('[BTC]\ntick_size = "0.1"\ncurrency = "USDT"\nbase = "BTC"\n[SOL]\ntick_size = "1"\n')
    s = load(path, instruments=toml)
    assert s.instruments[0] == Instrument(symbol="BTC", tick_size="0.1", lot_size="0.01", currency="USDT", base="BTC")
    assert s.events.a.tolist() == [1005, 700] and "BTC.tick_size" not in s.manifest.inferred
    toml.write_text('[ETH]\ntick_size = "2"\n')
    with pytest.raises(BadInput, match=r"AAPL.csv row 2: ETH: price 7.0 is not a multiple of the tick 2: round it"):
        load(path, instruments=toml)
    for text, error in (
        ("[ETH]\ntick = 1", "no field 'tick', expected one of tick_size"),
        ("[ETH]\ntick_size = 0.01", "Expected `str`, got `float`"),
        ('[ETH]\ntick_size = "x"', "tick_size must be a positive decimal"),
        ("ETH", "cannot be read as instruments"),
    ):
        toml.write_text(text)
        with pytest.raises(BadInput, match=error):
            load(path, instruments=toml)


# --- what is refused --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "given", "error"),
    [
        ("", {}, "cannot be read .Empty CSV file"),
        ("ts_event,price,size\n", {}, "no rows, a session needs at least one event"),
        ("price,size\n1,1\n", {}, "no column ts_event, the file has price, size"),
        (f"date,price,size\n{T},1,1\n", {}, "unknown column 'date', the nearest expected is ts_event"),
        (f"ts_event,px,size\n{T},1,1\n", {}, "unknown column 'px', the nearest expected is price: .* --columns 'px=price'"),
        (f"ts_event,price\n{T},1\n", {}, "no column size, which a trade needs"),
        (f"ts_event,open,high,low,volume\n{T},1,1,1,1\n", {"interval_ns": S}, "no column close, which a bar needs"),
        (f"ts_event,open,price,size\n{T},1,1,1\n", {}, "its columns are those of bar and trade: add a column kind"),
        (f"ts_event,symbol\n{T},A\n", {}, "its columns are those of no kind of row"),
        (f"ts_event,kind,price,size\n{T},trades,1,1\n", {}, "row 1: kind must be one of quote, trade, depth, order, bar, got 'trades'"),
        (f"ts_event,price,size\n{T},1,1\n{T},abc,1\n", {}, "row 2: price must be a number, got 'abc'"),
        ("ts_event,price,size\n123,1,1\n", {}, "row 1: ts_event as an integer must be s, ms, us or ns since 1970 .*, got 123"),
        ("ts_event,price,size\nnoon,1,1\n", {}, "row 1: ts_event must be ISO text, all with a zone or all without"),
        (f"ts_event,price,size\n{T},1,1\n2026-03-02,1,1\n", {}, "row 2: ts_event must be ISO text, all with a zone"),
        (f"ts_event,price,size\n{T},1,1\n,1,1\n", {}, "row 2: ts_event is missing"),
        ("ts_event,price,size\n2026-03-02,1,1\n", {}, "holds times without a zone, such as 2026-03-02 00:00:00: add --timezone"),
        ("ts_event,price,size\n2026-03-08 02:30,1,1\n", {"timezone": "America/New_York"}, "doesn't exist in timezone"),
        ("ts_event,price,size\n2026-03-02,1,1\n", {"timezone": "Moon"}, "--timezone: no such zone 'Moon'"),
        (f"ts_event,price,size,side\n{T},1,1,long\n", {}, "row 1: side must be buy, sell, bid, ask or empty, got 'long'"),
        (f"ts_event,price,size,side,action\n{T},1,1,bid,put\n", {}, "row 1: action must be set, add, modify, cancel, fill or clear, got 'put'"),
        (f"ts_event,price,size,side,action\n{T},1,1,bid,cancel\n", {}, "row 1: a level of depth is set"),
        (f"ts_event,price,size,side,action\n{T},1,1,,set\n", {}, "row 1: side must be bid or ask"),
        (BARS + f"{T},1,1,1,1,1\n{T + 60 * S},1,1,1,1,1\n", {}, "times are 60 s apart: add --interval"),
        ("interval," + BARS + f"soon,{T},1,1,1,1,1\n", {}, "row 1: interval must be a duration such as 300s, 5m, 1h or 1d, got 'soon'"),
        (f"ts_event,symbol,price,size\n{T},,1,1\n", {}, "row 1: symbol must not be empty"),
        (f"ts_event,symbol,price,size\n{T},A,1,1\n", {"symbol": "B"}, "has a column symbol: leave --symbol out"),
        (f"ts_event,price,size\n{T},1.123456789012,1\n", {}, "row 1: AAPL: price 1.123456789012 needs more than eight decimals"),
        (f"ts_event,price,size\n{T},,1\n", {}, "AAPL: no price to infer its tick from: state it"),
        (f"ts_event,price,size,flags\n{T},1,1,-1\n", {}, "row 1: flags must be bits"),
        (f"ts_event,price,size,order_id\n{T},1,1,x\n", {}, "row 1: order_id must be a whole number, got 'x'"),
        (f"ts_event,price,size\n{T},1,1\n", {"columns": {"a": "price"}}, "no column 'a' to rename"),
        (f"ts_event,price,size,q\n{T},1,1,1\n", {"columns": {"q": "size"}}, "two columns are size, the second is 'q'"),
        (f"ts_event,price,size\n{T},1,1\n", {"columns": {"price": "prize"}}, "no canonical column 'prize', expected one of price"),
        (f"ts_event,price,size\n{T},1,1\n", {"calendar": "XNYZ"}, "--calendar XNYZ: no such calendar, such as"),
        (f"ts_event,price,size\n{T},1,1\n", {"market_hours_only": True}, "add --calendar"),
    ],
)  # fmt: skip
def test_refusals(tmp_path, text, given, error):
    with pytest.raises(BadInput, match=error) as e:
        load(csv(tmp_path, text), **given)
    assert "\n" not in str(e.value)


def test_refused_files(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    (tmp_path / "x.arrow").write_bytes(b"no arrow")
    pq.write_table(pa.table({"ts_event": [1.5], "price": [1.0], "size": [1.0]}), tmp_path / "f.parquet")
    pq.write_table(pa.table({"ts_event": [T], "price": [True], "size": [1.0]}), tmp_path / "b.parquet")
    for name, error in (
        ("nowhere.csv", "nothing is there"), ("empty", "holds no file that ends in .parquet"), ("x.parquet", "cannot be read"),
        ("x.arrow", "cannot be read"), ("f.parquet", "row 1: ts_event as a number must be s, ms, us or ns since 1970"), ("b.parquet", "price must be a column of numbers, its type is bool"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=error):
            load(tmp_path / name)


# --- there and back ---------------------------------------------------------------------------------------------------------
NAMES = {
    ev.QUOTE: {"bid_px": "a", "bid_sz": "b", "ask_px": "c", "ask_sz": "d"}, ev.TRADE: {"price": "a", "size": "b"},
    ev.DEPTH: {"price": "a", "size": "b"}, ev.ORDER: {"price": "a", "size": "b"}, ev.BAR: {"open": "a", "high": "b", "low": "c", "close": "d", "volume": "id"},
}  # fmt: skip
ACTIONS = ["set", "add", "modify", "cancel", "fill", "clear"]
INSTRUMENTS = [Instrument(symbol="AAA", tick_size="0.01", lot_size="0.001"), Instrument(symbol="BBB", tick_size="0.05")]


@st.composite
def drawn(draw):
    """Rows of every kind, messages ended as an importer would end them or otherwise."""
    rows, t, recv = [], T, T
    px, size = st.integers(1, 900_000), st.integers(1, 10**6)  # worth less than 2**62 units
    for _ in range(draw(st.integers(1, 30))):
        t += draw(st.sampled_from((0, 1, 7, 10**9)))
        recv = max(recv + draw(st.sampled_from((0, 1, 50))), t)
        kind, instrument = draw(st.sampled_from(sorted(NAMES))), draw(st.integers(0, 1))
        for k in range(n := draw(st.integers(1, 3)) if kind in (ev.DEPTH, ev.ORDER) else 1):
            r = ev.empty(1)[0]
            r.ts_event, r.ts_recv, r.kind, r.instrument = t, recv, kind, instrument
            r["flags"] = ev.LAST * (k == n - 1) | draw(st.sampled_from((0, ev.SNAPSHOT, ev.GAP)))
            for word in NAMES[kind].values():
                r[word] = draw(px if word in "ac" or kind == ev.BAR else size)
            if kind in (ev.DEPTH, ev.ORDER):
                r.c = draw(st.sampled_from((ev.SET, ev.CLEAR) if kind == ev.DEPTH else range(6)))
                r.side = draw(st.sampled_from((1, -1)))
                if r.c == ev.CLEAR:
                    r.a = r.b = r.side = 0
            if kind == ev.BAR:
                r.side = draw(st.integers(0, 1))
                r.a, r.c = r.d, min(r.b, r.d)
                r.b = max(r.b, r.d)
            else:
                r.id = draw(st.integers(0, 2**62)) if kind != ev.TRADE else len(rows)
            rows.append(r)
    # bars first at each time of arrival, one a close and interval, in one message where times agree
    order = sorted(
        range(len(rows)),
        key=lambda k: (rows[k].ts_recv, *((0, rows[k].side, rows[k].instrument) if rows[k].kind == ev.BAR else (1, 0, 0)), k),
    )
    out, seen = [], set()
    for k in order:
        r = rows[k]
        key = (int(r.ts_event), int(r.side), int(r.instrument))
        if r.kind != ev.BAR or key not in seen:
            out.append(r)
            seen |= {key} if r.kind == ev.BAR else set()
    events = ev.empty(len(out))
    for k, r in enumerate(out):
        events[k] = r
    for k in np.flatnonzero(events.kind == ev.BAR).tolist():
        then = events[k + 1] if k + 1 < len(events) else None
        together = then is not None and (then.kind, then.ts_event, then.ts_recv) == (
            ev.BAR,
            events.ts_event[k],
            events.ts_recv[k],
        )
        events["flags"][k] = 0 if together else ev.LAST
    return Session.from_rows(events, INSTRUMENTS, bar_intervals_ns=(60 * S, 300 * S))


def table_of(s):
    e = s.events
    ticks = np.array([float(i.tick_size) for i in s.instruments])[e.instrument]
    lots = np.array([float(i.lot_size) for i in s.instruments])[e.instrument]
    columns = {
        "ts_event": e.ts_event, "ts_recv": e.ts_recv, "symbol": [s.instruments[k].symbol for k in e.instrument],
        "kind": [ev.KIND_NAMES[k] for k in e.kind], "side": [{1: "bid", -1: "ask"}.get(x, "") for x in e.side],
        "action": [ACTIONS[c] if k in (ev.DEPTH, ev.ORDER) else None for k, c in zip(e.kind, e.c, strict=True)],
        "order_id": [None if k == ev.BAR else x for k, x in zip(e.kind.tolist(), e.id.tolist(), strict=True)],
        "interval": [s.manifest.bar_intervals_ns[x] if k == ev.BAR else None for k, x in zip(e.kind, e.side, strict=True)], "flags": e["flags"],
    }  # fmt: skip
    for kind, names in NAMES.items():
        for name, word in names.items():
            step = lots if name in ("size", "volume") or name.endswith("_sz") else ticks
            values = np.where(e.kind == kind, e[word] * step, np.nan)
            columns[name] = values if name not in columns else np.where(e.kind == kind, values, columns[name])
    return pa.table({name: pa.array(x) for name, x in columns.items()})


@settings(max_examples=40, deadline=None)
@given(drawn())
def test_rows_come_back_as_they_were(tmp_path_factory, s):
    folder = tmp_path_factory.mktemp("back")
    pq.write_table(table_of(s), folder / "x.parquet")
    toml = folder / "i.toml"
    toml.write_text('[AAA]\ntick_size = "0.01"\nlot_size = "0.001"\n[BBB]\ntick_size = "0.05"\nlot_size = "1"\n')
    with mock.patch("replay.data.canonical.settle"):  # bars are drawn at times that no bars of their interval have
        again = load(folder / "x.parquet", instruments=toml)
    held = sorted(set(s.events.instrument.tolist()))
    lengths = sorted({s.manifest.bar_intervals_ns[x] for x in s.events.side[s.events.kind == ev.BAR]})
    want = s.events.copy()
    want.instrument[:] = np.searchsorted(held, want.instrument)
    bars = want.kind == ev.BAR
    want.side[bars] = [lengths.index(s.manifest.bar_intervals_ns[x]) for x in want.side[bars]]
    assert again.events.tolist() == want.tolist()
    assert again.manifest.bar_intervals_ns == tuple(lengths)


# --- recordings -------------------------------------------------------------------------------------------------------------
def rows_in(path: Path) -> int:
    return len([line for line in path.read_text().splitlines() if line]) - 1


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "minutes", "given"),
    [
        ("us_equity_intraday_2025/data", 5, {"columns": {"datetime": "ts_event"}, "timezone": "America/New_York", "label": "open", "calendar": "XNYS"}),
        ("us_equity_intraday_2025/data/1min", 1, {"columns": {"datetime": "ts_event"}, "timezone": "America/New_York", "label": "open", "calendar": "XNYS"}),
        ("us_equity_1min_2019/data", 1, {"columns": {"datetime": "ts_event"}, "timezone": "America/New_York", "label": "close", "calendar": "XNYS"}),
        ("crypto_bars_binance_2025/data", 5, {"columns": {"Open time": "ts_event", **{x.title(): x for x in ("open", "high", "low", "close", "volume")}, "*": ""}, "timezone": "UTC", "label": "open", "calendar": "24/7"}),
    ],
)  # fmt: skip
def test_recorded_bars_are_all_there(folder, minutes, given):
    files = sorted(recording(folder).glob("*.csv"))
    s = load(*files, interval_ns=minutes * 60 * S, **given)
    m = s.manifest
    assert m.counts["bar"] == sum(rows_in(f) for f in files) == sum(x.rows for x in m.sources)
    assert m.counts["phase"] == len(m.calendar.days) * (1 if m.calendar.name == "24/7" else 2) and not [
        what for what in m.anomalies if what.startswith("dropped_")
    ]
    for k, f in enumerate(files):
        plain = [line.split(",") for line in f.read_text().splitlines()[1:] if line]
        closes = [x[4] for x in sorted(plain)]
        rows = s.events[(s.events.kind == ev.BAR) & (s.events.instrument == k)]
        assert [float(s.instruments[k].price(px)) for px in rows.d.tolist()] == [float(x) for x in closes]
        assert float(s.instruments[k].qty(int(rows.id.sum()))) == pytest.approx(sum(float(x[5]) for x in plain))
        stamps = pd.to_datetime(sorted(x[0] for x in plain)).tz_localize(given["timezone"]).as_unit("ns").asi8
        assert (rows.ts_event - stamps == minutes * 60 * S * (given["label"] == "open")).all()


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "column", "unit", "given"),
    [
        ("crypto_bars_nautilus/tests/test_data/btc-perp-20211231-20220201_1m.csv", "timestamp", None, {"timezone": "UTC", "round_sizes": "0.00001"}),
        ("vix_daily/data/vix-daily.csv", "DATE", None, {"timezone": "UTC"}),
        ("oracles_lorentzian/tests/parity/baselines/pine_oanda_eurusd_1d_full_history.csv", "time", "s", {}),
        ("crypto_perp_funding_freqtrade/tests/testdata/futures/XRP_USDT_USDT-5m-futures.feather", "date", None, {}),
    ],
)  # fmt: skip
def test_recorded_files_as_pandas_reads_them(file, column, unit, given):
    path = recording(file)
    want = pd.read_feather(path) if path.suffix == ".feather" else pd.read_csv(path)
    s = load(path, label="open", columns={column: "ts_event", "*": ""}, **given)
    times = pd.DatetimeIndex(pd.to_datetime(want[column], unit=unit)).as_unit("ns").asi8
    rows, (i,), (length,) = s.events[s.events.kind == ev.BAR], s.instruments, s.manifest.bar_intervals_ns
    assert (rows.ts_event == times + length).all() and len(rows) == len(want)
    want.columns = want.columns.str.lower()
    for word, name in zip("abcd", ("open", "high", "low", "close"), strict=True):
        assert np.abs(rows[word] * float(i.tick_size) - want[name]).max() < 1e-9
    if "volume" in want:
        assert float(i.qty(int(rows.id.sum()))) == pytest.approx(want["volume"].sum())
