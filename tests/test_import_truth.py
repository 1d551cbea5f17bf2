"""An import is right or refused: what files of the field look like, and what nobody may make of them."""

import datetime
import re
import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay import events as ev
from replay.data import stamps
from replay.data.canonical import import_canonical
from replay.data.conditions import codes_of, print_flags
from replay.data.filenames import sources_of, symbol_of
from replay.data.questions import Question
from replay.data.receive import put_events_right, put_right
from replay.data.times import in_new_york
from replay.errors import BadInput

S = 10**9
T = 1_772_461_800 * S  # 2026-03-02 09:30 New York
BARS = "ts_event,open,high,low,close,volume\n"
NEW_YORK = {"timezone": "America/New_York"}


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def load(*paths, **said):
    s = import_canonical(paths, **said)
    s.check()
    return s


def minutes(px, n=20, step=60, skip=(), start=T):
    return BARS + "".join(f"{start + k * step * S},{px},{px},{px},{px},{k + 1}\n" for k in range(1, n + 1) if k not in skip)


def bars(s, symbol=None):
    rows = s.events[s.events.kind == ev.BAR]
    return rows if symbol is None else rows[rows.instrument == s.index(symbol)]


# --- identity ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        *(("BRK.A.csv", "BRK.A"), ("BF.B.parquet", "BF.B"), ("000001.SZ.csv", "000001.SZ"), ("BTC_EUR.csv", "BTC_EUR")),
        *(("AAPL_5min.csv", "AAPL"), ("BTC_USDT-5m.feather", "BTC_USDT"), ("BTC_USDT_USDT-5m-futures.feather", "BTC_USDT_USDT")),
        *(("BTCUSDT-1m-2024-01.csv", "BTCUSDT"), ("BTCUSDT-trades-2024-01-02.csv", "BTCUSDT"), ("ibm_20131007.csv.gz", "ibm")),
        *(
            ("Binance_BTCUSDT_1h.csv", "BTCUSDT"),
            ("1000BONKUSDT.csv", "1000BONKUSDT"),
            ("^VIX.csv", "^VIX"),
            ("ES=F_1d.csv", "ES=F"),
        ),
        *(("BTC-PERPETUAL.csv", "BTC-PERPETUAL"), ("BTCUSDT-aggTrades.csv", "BTCUSDT-aggTrades"), ("vix-daily.csv", "vix")),
    ],
)
def test_a_symbol_is_the_files_name_less_what_is_known_to_be_none(tmp_path, name, symbol):
    assert symbol_of(tmp_path / name) == symbol


@pytest.mark.parametrize(
    "names", [("BRK.A.csv", "BRK.B.csv"), ("000001.SZ.csv", "000001.SH.csv"), ("BTC_USDT.csv", "BTC_EUR.csv")]
)
def test_names_that_differ_are_two_symbols(tmp_path, names):
    paths = [write(tmp_path, name, minutes(px)) for name, px in zip(names, (100, 200), strict=True)]
    s = load(*paths)
    assert len(s.instruments) == 2 and len(bars(s)) == 40 and "dropped_repeated_bar" not in s.manifest.anomalies
    assert all(len(set(bars(s, i.symbol).d.tolist())) == 1 for i in s.instruments)


@pytest.mark.parametrize("how", ["folders", "names", "column", "folders with a column"])
@pytest.mark.parametrize("kind", ["bars", "trades"])
def test_one_ticker_of_two_exchanges_is_two_instruments(tmp_path, how, kind):
    def text(px, venue):
        rows = minutes(px, skip=(7,) if venue == "binance" else ())
        if kind == "trades":
            rows = "ts_event,price,size\n" + "".join(f"{T + k},{px},1\n" for k in range(20))
        if how in ("column", "folders with a column"):
            name, what = ("exchange", venue) if how == "column" else ("symbol", "BTCUSDT")
            head, *lines = rows.splitlines()
            rows = "\n".join([f"{name},{head}", *(f"{what},{line}" for line in lines)]) + "\n"
        return rows

    name = {"names": "{}_BTCUSDT_1m.csv", "column": "part{}/BTCUSDT.csv"}.get(how, "{}/BTCUSDT.csv")
    paths = [
        write(tmp_path, name.format(k if how == "column" else v), text(px, v)) for k, (v, px) in enumerate((("binance", 100), ("bitget", 200)))
    ]  # fmt: skip
    s = load(*paths)
    assert [i.symbol for i in s.instruments] == ["binance:BTCUSDT", "bitget:BTCUSDT"]
    rows = s.events
    assert len(rows) == (39 if kind == "bars" else 40)
    for k in (0, 1):
        assert len(set(rows.d[rows.instrument == k].tolist() if kind == "bars" else rows.a[rows.instrument == k].tolist())) == 1


def test_days_and_years_of_one_symbol_are_one_series(tmp_path):
    paths = [write(tmp_path, f"2026/A_2026-03-0{d}.csv", minutes(100, start=T + (d - 2) * 86_400 * S)) for d in (2, 3)]
    assert [i.symbol for i in load(*paths).instruments] == ["A"] and set(sources_of(paths).values()) == {""}


def test_dates_of_expiry_are_no_dates_of_the_rows(tmp_path):
    paths = [
        write(tmp_path, f"BTC-{day}.csv", minutes(px, start=T + k * 86_400 * S))
        for k, (day, px) in enumerate((("20260327", 100), ("20260626", 200)))
    ]
    with pytest.raises(
        BadInput, match=r"BTC-20260327.csv: by its name it holds BTC of 2026-03-27, but its rows are of 2026-03-02"
    ):
        load(*paths)


# --- intervals ---------------------------------------------------------------------------------------------------------------
def test_two_intervals_in_a_folder_are_told_by_their_rows(tmp_path):
    write(tmp_path, "BTC_USDT-1m.csv", minutes(100, 60))
    write(tmp_path, "BTC_USDT-5m.csv", minutes(200, 12, 300))
    with pytest.raises(Question, match=r"BTC_USDT-1m.csv: BTC_USDT: rows are 1m apart, its bars are said to be of 5m") as e:
        load(tmp_path, interval_ns=300 * S)
    assert e.value.options == {"--interval": None}
    s = load(tmp_path)
    assert s.manifest.bar_intervals_ns == (60 * S, 300 * S) and "BTC_USDT.interval" in s.manifest.inferred
    assert set(zip(bars(s).side.tolist(), bars(s).d.tolist(), strict=True)) == {(0, bars(s).d.min()), (1, bars(s).d.max())}
    assert len(bars(s)) == 72


@pytest.mark.parametrize(("step", "said"), [(300, 60), (86_400, 60), (86_400, 3600), (60, 300), (300, 900)])
@pytest.mark.parametrize("how", ["option", "column", "parquet"])
def test_a_stated_interval_is_held_against_the_rows(tmp_path, step, said, how):
    text = minutes(100, 8, step)
    if how != "option":
        head, *lines = text.splitlines()
        text = "\n".join([f"interval,{head}", *(f"{said}s,{line}" for line in lines)]) + "\n"
    path = write(tmp_path, "A.csv", text)
    if how == "parquet":
        import pyarrow.csv as pv

        pq.write_table(pv.read_csv(path), path.with_suffix(".parquet"))
        path = path.with_suffix(".parquet")
    with pytest.raises(BadInput, match="rows are .* apart, its bars are said to be of"):
        load(path, interval_ns=said * S if how == "option" else 0)


def test_sparse_bars_and_days_around_a_change_of_clocks_contradict_nothing(tmp_path):
    sparse = BARS + "".join(f"{T + k * 60 * S},1,1,1,1,1\n" for k in (1, 4, 6, 13, 20))
    assert len(bars(load(write(tmp_path, "A.csv", sparse), interval_ns=60 * S))) == 5
    days = [datetime.date(2026, 3, 5) + datetime.timedelta(days=k) for k in range(6)]
    text = "date,open,high,low,close,volume\n" + "".join(f"{d},1,1,1,1,1\n" for d in days)
    s = load(write(tmp_path, "B.csv", text), columns={"date": "ts_event"}, label="open", **NEW_YORK)
    assert s.manifest.bar_intervals_ns == (86_400 * S,)


@pytest.mark.parametrize("text", ["300", "5", "1M", "1mo", "0"])
def test_an_interval_without_a_unit_or_length_is_refused(tmp_path, text):
    head, *lines = minutes(100, 6, 300).splitlines()
    path = write(tmp_path, "A.csv", "\n".join([f"interval,{head}", *(f"{text},{line}" for line in lines)]) + "\n")
    with pytest.raises(Question, match=f"row 1: interval must be a duration such as 300s, 5m, 1h or 1d, got '{text}'") as e:
        load(path)
    assert load(path, columns=e.value.renamed).manifest.bar_intervals_ns == (300 * S,)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("5Min", 300), ("1H", 3600), ("1Day", 86_400), ("60s", 60), (str(300 * S), 300)]
)
def test_intervals_as_vendors_write_them(tmp_path, text, seconds):
    head, *lines = minutes(100, 6, seconds).splitlines()
    path = write(tmp_path, "A.csv", "\n".join([f"interval,{head}", *(f"{text},{line}" for line in lines)]) + "\n")
    assert load(path).manifest.bar_intervals_ns == (seconds * S,)


# --- times -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("dates", "times"), [
    ("2026-03-02", "09:3{}:00"), ("20260302", "093{}00"), ("2026.03.02", "09:3{}"), ("3/2/2026", "9:3{}:00"), ("2026-03-02", "93{}00"),
])  # fmt: skip
@pytest.mark.parametrize("head", ["Date,Time", "<DATE>,<TIME>"])
def test_date_and_time_in_two_columns_are_one_time(tmp_path, dates, times, head):
    text = f"{head},Open,High,Low,Close,Volume\n" + "".join(f"{dates},{times.format(k)},1,1,1,1,1\n" for k in range(1, 7))
    s = load(write(tmp_path, "A.csv", text), label="close", date_order="mdy", **NEW_YORK)
    assert s.events.ts_event.tolist() == [T + k * 60 * S for k in range(1, 7)] and s.manifest.bar_intervals_ns == (60 * S,)


def test_dates_are_no_times_of_anything_shorter_than_a_day(tmp_path):
    rows = "".join(f"2026-03-0{d},09:30,1,1,1,1,1\n" for d in range(2, 7))
    path = write(tmp_path, "A.csv", "Date,Time,Open,High,Low,Close,Volume\n" + rows)
    with pytest.raises(Question, match="Date holds dates without a time of day, which bars of 5m need: read it with Time") as e:
        load(path, columns={"Date": "ts_event", "Time": ""}, interval_ns=300 * S, label="close", **NEW_YORK)
    assert e.value.renamed == {"Date": "date", "Time": "time"}
    trades = write(tmp_path, "B.csv", "ts_event,price,size\n2026-03-02,1,1\n2026-03-03,1,1\n")
    with pytest.raises(BadInput, match="ts_event holds dates without a time of day, which a trade needs"):
        load(trades, **NEW_YORK)
    pq.write_table(
        pa.table({"ts_event": [datetime.date(2026, 3, 2)], "bid_px": [1.0], "bid_sz": [1], "ask_px": [2.0], "ask_sz": [1]}),
        tmp_path / "C.parquet",
    )
    with pytest.raises(BadInput, match="which a quote needs"):
        load(tmp_path / "C.parquet", **NEW_YORK)


@pytest.mark.parametrize("form", ["2026-03-0{}", "2026-03-0{} 00:00:00-05:00", "2026-03-0{} 00:00:00", "2026030{}", "date32"])
@pytest.mark.parametrize("label", [None, "close"])
def test_a_date_is_not_the_time_of_an_end(tmp_path, form, label):
    days = (2, 3, 4, 5, 6)
    if form == "date32":
        path = tmp_path / "A.parquet"
        table = {
            "ts_event": [datetime.date(2026, 3, d) for d in days],
            **dict.fromkeys(("open", "high", "low", "close"), [1.0] * 5),
            "volume": [1] * 5,
        }
        pq.write_table(pa.table(table), path)
    else:
        path = write(tmp_path, "A.csv", BARS + "".join(f"{form.format(d)},1,1,1,1,1\n" for d in days))
    how = {"interval_ns": 86_400 * S, "calendar": "XNYS", **NEW_YORK}
    with pytest.raises(Question, match="not the time of its end: add --label open"):
        load(path, label=label, **how)
    s = load(path, label="open", **how)
    assert bars(s).ts_event.tolist() == [in_new_york(datetime.date(2026, 3, d), 16) for d in days]


@pytest.mark.parametrize(("unit", "per"), [("s", S), ("ms", 10**6), ("us", 1000), ("", 1)])
@pytest.mark.parametrize("form", ["text", "int64", "float64", "text with a point"])
def test_the_size_of_a_number_tells_its_unit(tmp_path, unit, per, form):
    values = [(T + 60 * k * S) // per for k in range(1, 7)]
    if form.startswith("text"):
        point = ".0" if form != "text" and per > 1 else ""
        path = write(tmp_path, "A.csv", BARS + "".join(f"{v}{point},1,1,1,1,1\n" for v in values))
    else:
        path = tmp_path / "A.parquet"
        columns = dict.fromkeys(("open", "high", "low", "close", "volume"), [1.0] * 6)
        pq.write_table(
            pa.table(
                {"ts_event": pa.array(map(float, values) if form == "float64" else values, pa.type_for_alias(form)), **columns}
            ),
            path,
        )
    s = load(path)
    assert np.abs(s.events.ts_event - T - 60 * S * np.arange(1, 7)).max() <= (256 if per == 1 and form == "float64" else 0)
    assert (f"ts_event in {unit}" in s.manifest.inferred) == bool(unit)


def test_a_column_may_mix_units_and_ambiguous_dates_are_asked_for():
    mixed = stamps.read(pa.array([T // S, T // 10**6 + 1]))
    assert mixed.array.cast(pa.int64()).to_pylist() == [T, T + 10**6]
    with pytest.raises(stamps.Unreadable) as e:
        stamps.read(pa.array(["1/2/2024", "3/4/2024"]))
    assert e.value.ambiguous
    for order, month in (("mdy", 1), ("dmy", 2)):
        assert stamps.read(pa.array(["1/2/2024"]), order).array[0].as_py().month == month
    assert stamps.read(pa.array(["1/2/2024", "13/4/2024"])).array[0].as_py().month == 2


# --- kinds -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sides", [("bid", "ask"), ("b", "a"), ("Buy", "Sell")])
def test_levels_of_a_book_are_no_trades(tmp_path, sides):
    b, a = sides
    text = f"ts_event,side,price,size\n{T},{b},10.1,1.5\n{T},{a},10.2,0.7\n{T + 1},{b},10.1,0\n{T + 1},{b},10.0,2.5\n"
    path = write(tmp_path, "A.csv", text)
    with pytest.raises(Question, match="whether its rows are trades or levels of a book is not said, row [13] has side") as e:
        load(path)
    assert e.value.options == {"--kind": "depth"}
    s = load(path, kind="depth")
    assert s.manifest.counts == {"depth": 4} and s.events.side.tolist() == [1, -1, 1, 1]


@pytest.mark.parametrize(
    ("name", "head"), [("A.csv", "is_snapshot"), ("A-depth.csv", "x"), ("A.csv", "update_type"), ("A.csv", "x")]
)
def test_one_side_of_a_snapshot_is_no_trade_either(tmp_path, name, head):
    side = "b" if head == "x" and name == "A.csv" else "buy"
    path = write(
        tmp_path, name, f"ts_event,side,price,size,{head}\n" + "".join(f"{T},{side},{10 - k}.1,1.5,1\n" for k in range(3))
    )
    with pytest.raises(Question, match="whether its rows are trades or levels of a book is not said, row 1 has side b"):
        load(path, columns={head: ""})


def test_numbers_of_trades_that_are_none_may_be_left_out(tmp_path):
    path = write(tmp_path, "A.csv", f"ts_event,price,size,order_id\n{T},1,1,ccc3c1fa-212c\n")
    with pytest.raises(Question, match="order_id must be a whole number, got 'ccc3c1fa-212c': correct it, or leave it out") as e:
        load(path)
    assert load(path, columns=e.value.renamed).manifest.counts == {"trade": 1}


def test_questions_without_an_answer_propose_no_command(tmp_path):
    path = write(tmp_path, "A.csv", "timestamp,asks[0].price,asks[0].amount\n1598918403696000,1,1\n")
    with pytest.raises(Question, match="its columns are those of no kind of row") as e:
        load(path)
    assert not e.value.options and not e.value.renamed


@pytest.mark.parametrize("sides", [("buy", "sell"), ("b", "s"), ("B", "N"), ("", "")])
def test_trades_stay_trades(tmp_path, sides):
    path = write(
        tmp_path, "A.csv", "ts_event,side,price,size\n" + "".join(f"{T + k},{x},10.1,{k + 1}\n" for k, x in enumerate(sides))
    )
    assert load(path).manifest.counts == {"trade": 2}


@pytest.mark.parametrize(("said", "codes"), [
    ("52,53,41", "V7@"), ("@,I", "@I"), ("@ TI", "@TI"), ("['@', 'F']", "@F"), ("[37]", "I"), ("", ""), ("nan", ""), ("@ $", "@?"), ("14 41", "F@"), ("4", "B4"),
])  # fmt: skip
def test_sale_conditions_as_vendors_write_them(said, codes):
    assert codes_of(said) == codes


def test_the_tapes_tables_say_what_a_print_may_do(tmp_path):
    lists = pa.table(
        {
            "ts_event": [T + k for k in range(5)],
            "price": [10.0] * 5,
            "size": [1] * 5,
            "conditions": [[37], [52, 53], [15], [], None],
        }
    )
    pq.write_table(lists, tmp_path / "A.parquet")
    s = load(tmp_path / "A.parquet")
    may = (s.events["flags"] & ev.PRINT).tolist()
    assert may == [ev.COUNTS, ev.COUNTS, 0, ev.PRINT, ev.PRINT] and s.manifest.anomalies == {"print_by_conditions": 3}
    assert print_flags(codes_of("@ $")) == ev.COUNTS
    quotes = write(tmp_path, "B.csv", f"ts_event,bid_px,bid_sz,ask_px,ask_sz,conditions\n{T},1,1,2,1,R\n")
    with pytest.raises(Question, match="conditions are read of trades only"):
        load(quotes)


def test_conditions_are_the_published_table():
    from recordings import DATA

    table = DATA.parent / "specs" / "bar_conditions.json"
    if not table.exists():
        pytest.skip("the published table is not here")
    import json

    for row in json.loads(table.read_text())["rows"]:
        if "M" in row["bars"] and row["code"] != "B":  # B is two conditions, by tape
            flags = print_flags(row["code"])
            assert bool(flags & ev.SETS_LAST) == (row["open_close"] != "R"), row
            assert bool(flags & ev.COUNTS) == (row["volume"] == "G"), row


# --- receive times -----------------------------------------------------------------------------------------------------------
def rows_of(delays):
    rows = ev.empty(len(delays))
    rows.ts_event[:] = T + 10**8 * np.arange(len(delays))
    rows.ts_recv[:] = rows.ts_event + delays
    rows.kind[:] = ev.QUOTE
    return rows


@pytest.mark.parametrize("wrong", [-3600 * S, -5 * 10**6])
@pytest.mark.parametrize("usual", [2 * 10**6, -1_270_000_000])
def test_one_bad_receive_time_moves_nobody_else(wrong, usual):
    from collections import Counter

    delays = np.full(40, usual) + np.arange(40) % 7 * 1000
    delays[5] = usual + wrong - 10**6
    rows, found = rows_of(delays), Counter()
    shift = put_right(rows, found, "q.csv")
    others = np.arange(40) != 5
    assert (shift == 0) == (usual > 0) and found == {"receive_time_put_right": 1}
    assert (rows.ts_recv - rows.ts_event)[others].tolist() == (delays[others] + shift).tolist()
    assert rows.ts_recv[5] - rows.ts_event[5] == int(np.median(delays)) + shift and (rows.ts_recv >= rows.ts_event).all()
    recorded, found = rows_of(delays), Counter()
    received = recorded.ts_recv.copy()
    shift = put_events_right(recorded, found)
    assert (recorded.ts_recv == received + shift).all() and found == {"event_time_put_right": 1}


def test_a_clock_that_was_set_is_refused():
    from collections import Counter

    delays = np.full(100, 2 * 10**6)
    delays[60:] -= 3600 * S
    with pytest.raises(BadInput, match="q.csv: 40 of 100 receive times are 3600 s before the others'"):
        put_right(rows_of(delays), Counter(), "q.csv")


# --- repeats -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("files", [1, 2])
def test_of_an_unfinished_bar_and_the_finished_one_the_finished_stands(tmp_path, order, files):
    rows = [f"{T + 60 * S},100.5,100.6,100.4,100.45,37\n", f"{T + 60 * S},100.5,103.0,100.1,102.75,1250\n"]
    texts = [rows[k] for k in order]
    paths = [write(tmp_path, f"A_{2020 + k}.csv", BARS + t) for k, t in enumerate(texts if files == 2 else ["".join(texts)])]
    s = load(*paths, interval_ns=60 * S, symbol="A")
    assert [tuple(r)[6:] for r in bars(s).tolist()] == [(1250, 10050, 10300, 10010, 10275)]
    assert s.manifest.anomalies["dropped_unfinished_bar"] == 1


def test_two_bars_of_one_time_that_are_none_of_each_other_are_refused(tmp_path):
    path = write(tmp_path, "A.csv", BARS + f"{T},100,101,99,100,5\n{T + 60 * S},100,101,99,100,5\n{T},200,201,199,200,5\n")
    with pytest.raises(
        BadInput,
        match=r"A.csv row 3: a second bar of A that closes at 2026-03-02T14:30:00Z, with other values than .*A.csv row 1",
    ):
        load(path, interval_ns=60 * S)


def test_trades_of_overlapping_files_are_there_once(tmp_path):
    rows = [f"{T + k // 3},10.0,{k + 1},{k + 1}\n" for k in range(30)]
    paths = [
        write(tmp_path, f"A_{y}.csv", "ts_event,price,size,order_id\n" + "".join(r))
        for y, r in ((2026, rows[:20]), (2025, rows[10:]))
    ]
    s = load(*paths, symbol="A")
    assert s.manifest.counts == {"trade": 30} and s.manifest.anomalies["dropped_repeated_trade"] == 10
    assert int(s.events.b.sum()) == sum(range(1, 31))


@pytest.mark.parametrize("kind", ["trade", "quote"])
def test_overlapping_files_whose_rows_have_no_number_are_refused(tmp_path, kind):
    head, row = ("price,size", "10.0,1") if kind == "trade" else ("bid_px,bid_sz,ask_px,ask_sz", "10,1,11,1")
    parts = [f"ts_event,{head}\n" + "".join(f"{T + k},{row}\n" for k in range(lo, lo + 20)) for lo in (0, 10, 19)]
    for y, text in zip((2025, 2026), parts[:2], strict=True):
        write(tmp_path, f"over/A_{y}.csv", text)
    with pytest.raises(BadInput, match=f"its {kind} rows of A begin at .* before those of .* end"):
        load(tmp_path / "over", symbol="A")
    write(tmp_path, "after/A_2025.csv", parts[0])
    write(tmp_path, "after/A_2026.csv", parts[2])
    assert load(tmp_path / "after", symbol="A").manifest.counts == {kind: 40}


def test_flags_of_other_vendors_are_no_flags_of_ours(tmp_path):
    path = write(tmp_path, "A.csv", f"ts_event,price,size,flags\n{T},1,1,130\n")
    with pytest.raises(
        Question, match="row 1: flags must be bits of replay.events, got 130: correct them, or leave them out"
    ) as e:
        load(path)
    assert load(path, columns=e.value.renamed).events["flags"][0] == ev.PRINT | ev.LAST


# --- values ------------------------------------------------------------------------------------------------------------------
def test_steps_of_several_files_are_one_or_refused(tmp_path):
    row = BARS + "{},{},{},{},{},{}\n"
    write(tmp_path, "vol/a.csv", row.format(T, *["0.62"] * 4, 50_000_000))
    write(tmp_path, "vol/b.csv", row.format(T + 60 * S, *["0.62"] * 4, "0.12345678"))
    with pytest.raises(Question, match="X: its sizes go up to 50000000 in steps of 0.00000001") as e:
        load(tmp_path / "vol", interval_ns=60 * S, symbol="X")
    s = load(tmp_path / "vol", interval_ns=60 * S, symbol="X", round_sizes=e.value.options["--round-sizes"])
    assert s.manifest.anomalies["rounded_sizes"] == 1
    write(tmp_path, "px/a.csv", row.format(T, *["0.00088454"] * 4, 10))
    write(tmp_path, "px/b.csv", row.format(T + 60 * S, *["101193.25"] * 4, 10))
    s = load(tmp_path / "px", interval_ns=60 * S, symbol="X")
    assert [str(s.instruments[0].price(x)) for x in bars(s).a.tolist()] == ["0.00088454", "101193.25000000"]


def test_raw_integers_are_asked_about(tmp_path):
    path = write(tmp_path, "A.csv", BARS + f"{T},189120000000,189250000000,188990000000,189110000000,12345\n")
    with pytest.raises(Question, match="close 189110000000 may be an integer of 1e-9, 189.11: add --price-unit 1e-9"):
        load(path, interval_ns=60 * S)
    assert bars(load(path, interval_ns=60 * S, price_unit="1e-9")).b[0] == 18925
    path = write(tmp_path, "B.csv", BARS + f"{T},1891200000,1892500000,1889900000,1891100000,3\n")
    assert bars(load(path, interval_ns=60 * S, price_unit="1")).b[0] == 1892500000 * 100
    (tmp_path / "i.toml").write_text('[B]\ntick_size = "1"\n')  # of which 1.8925 is no multiple
    assert bars(load(path, interval_ns=60 * S, instruments=tmp_path / "i.toml")).b[0] == 1892500000
    (tmp_path / "i.toml").write_text('[B]\ntick_size = "0.0001"\n')
    with pytest.raises(Question, match="may be an integer of 1e-9"):
        load(path, interval_ns=60 * S, instruments=tmp_path / "i.toml")


def test_single_precision_written_as_double_means_the_decimal_it_stands_for(tmp_path):
    path = write(tmp_path, "A.csv", BARS + f"{T},150.63999938964844,151.0,149.5,149.97999572753906,1000\n")
    s = load(path, interval_ns=60 * S)
    assert tuple(bars(s)[0])[7:] == (15064, 15100, 14950, 14998) and s.manifest.anomalies == {"single_precision_values": 2}
    with pytest.raises(Question, match="round the values, as by --round-prices 0.01"):
        load(write(tmp_path, "B.csv", BARS + f"{T},150.63999938961,151.0,149.5,150,1000\n"), interval_ns=60 * S)
    s = load(tmp_path / "B.csv", interval_ns=60 * S, round_prices="0.01")
    assert bars(s).a[0] == 15064 and s.manifest.anomalies == {"rounded_prices": 1} and s.instruments[0].tick_size == "0.01"


# --- headers -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("swapped", [False, True])
def test_three_lines_of_names_are_fields_and_symbols(tmp_path, swapped):
    top = ["Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume", "Ticker" + ",AAPL,MSFT" * 5]
    rows = "2023-02-17,254.5,100.5,256.5,101,252.25,100,255.75,100.25,3000,7\n2023-02-21,249,101,252,102,248,100,251,101,2000,8\n"
    path = write(tmp_path, "both.csv", "\n".join([*(top[::-1] if swapped else top), "Date" + "," * 10]) + "\n" + rows)
    s = load(path, interval_ns=86_400 * S, label="open", calendar="XNYS", **NEW_YORK)
    assert [i.symbol for i in s.instruments] == ["AAPL", "MSFT"]
    assert [tuple(r)[6:] for r in bars(s, "AAPL").tolist()] == [
        (3000, 25575, 25650, 25225, 25450),
        (2000, 25100, 25200, 24800, 24900),
    ]
    assert bars(s, "MSFT").d.tolist() == [10050, 10100]


def test_bars_without_volume_have_none(tmp_path):
    s = load(write(tmp_path, "EURUSD.csv", f"ts_event,open,high,low,close\n{T},1.1,1.2,1.0,1.15\n"), interval_ns=60 * S)
    assert bars(s).id.tolist() == [0] and "volume" in s.manifest.inferred


def test_everything_is_asked_for_at_once_and_the_answer_imports(tmp_path):
    rows = "".join(f"2026-03-02 09:3{k}:00,1,1,1,1,5,0.5\n" for k in range(3))
    path = write(tmp_path, "A.csv", "Datetime,Open,High,Low,Close,Volume,Adj Close\n" + rows)
    with pytest.raises(Question) as e:
        load(path)
    asked = str(e.value)
    for part in (
        "unknown columns 'Datetime', 'Adj Close'",
        "without a zone",
        "add --label open or --label close",
        "times are 60 s apart: add --interval",
    ):
        assert part in asked
    assert asked.count(str(path)) == 1 and "\n" not in asked
    said = e.value.options
    s = load(path, columns=e.value.renamed, timezone=said["--timezone"], label=said["--label"], interval_ns=60 * S)
    assert said["--interval"] == "1m" and bars(s).ts_event[0] == T + 60 * S


@pytest.mark.parametrize("text", [
    ",open,high,low,close,volume\n2026-03-02 09:30:00,1,1,1,1,1\n2026-03-02 09:31:00,1,1,1,1,1\n",
    ",ts_event,open,high,low,close,volume\n0,2026-03-02 09:30:00,1,1,1,1,1\n1,2026-03-02 09:31:00,1,1,1,1,1\n",
    "timestamp;  open;high ;low;close;volume\n2026-03-02 09:30:00;1; 1;1;1;1\n2026-03-02 09:31:00;1;1;1;1;1\n",
    "https://www.example.com/banner\nunix,date,symbol,open,high,low,close,Volume BTC\n1772461800,x,A,1,1,1,1,1\n1772461860,x,A,1,1,1,1,1\n",
    "Open time,Open,High,Low,Close,Volume,Close time,Ignore\n1772461800000,1,1,1,1,1,1772461859999,0\n1772461860000,1,1,1,1,1,1772461919999,0\n",
])  # fmt: skip
def test_a_hint_leads_to_an_import(tmp_path, text, monkeypatch, capsys):
    import sys

    from replay import cli

    monkeypatch.chdir(tmp_path)
    write(tmp_path, "A.csv", text)

    def run(args):
        monkeypatch.setattr(sys, "argv", ["replay", *args])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, capsys.readouterr().err

    code, err = run(["import", "A.csv", "s"])
    assert code == 2 and err.count("\n") == 1
    command = re.search(r"repeat: replay (import .*)\n", err).group(1)
    assert run(shlex.split(command)) == (0, "")


# --- sessions ----------------------------------------------------------------------------------------------------------------
def hours_of(days, first=(9, 30)):
    rows = [(d, h) for d in days for h in range(first[0], 16)]
    return "datetime,open,high,low,close,volume\n" + "".join(f"{d} {h:02}:{first[1]:02}:00,{h},{h},{h},{h},1\n" for d, h in rows)


HOURLY = {"columns": {"datetime": "ts_event"}, "label": "open", "interval_ns": 3600 * S, "calendar": "XNYS", **NEW_YORK}


def test_the_last_hour_of_a_session_closes_with_it(tmp_path):
    path = write(tmp_path, "A.csv", hours_of(("2025-07-02", "2025-07-07")))
    s = load(path, **HOURLY, market_hours_only=True)
    ends = bars(s).ts_event.tolist()
    assert len(ends) == 14 and s.manifest.anomalies == {"missing_bars": 4}  # 2025-07-03 closed at 13:00
    assert [ends[6], ends[13]] == [in_new_york(datetime.date(2025, 7, d), 16) for d in (2, 7)]
    half = write(tmp_path, "B.csv", "\n".join(hours_of(("2025-07-03",)).splitlines()[:5]) + "\n")
    s = load(half, **HOURLY)
    assert bars(s).ts_event[-1] == in_new_york(datetime.date(2025, 7, 3), 13) and s.manifest.anomalies == {}


def test_a_bar_of_a_market_that_goes_on_after_the_close_is_not_cut(tmp_path):
    path = write(tmp_path, "A.csv", hours_of(("2025-07-02",)) + "2025-07-02 16:30:00,1,1,1,1,1\n")
    s = load(path, **HOURLY)
    assert bars(s).ts_event[-2] == in_new_york(datetime.date(2025, 7, 2), 16, 30) and s.manifest.anomalies == {"outside_hours": 2}


@pytest.mark.parametrize(("skip", "missing"), [((), 0), ((5, 6, 7), 3)])
def test_missing_bars_are_those_between_the_first_and_the_last(tmp_path, skip, missing):
    s = load(write(tmp_path, "A.csv", minutes(100, 2000, skip=skip)), calendar="24/7")
    assert s.manifest.anomalies.get("missing_bars", 0) == missing


def test_missing_days_of_daily_bars_are_counted_and_holidays_not(tmp_path):
    days = [d for d in range(1, 15) if d not in (2, 4, 5, 6, 10, 12, 13)]  # July 2025: the 2nd and the 10th are missing
    text = "Date,open,high,low,close,volume\n" + "".join(f"2025-07-{d:02},1,1,1,1,1\n" for d in days)
    s = load(
        write(tmp_path, "A.csv", text),
        columns={"Date": "ts_event"},
        label="open",
        calendar="XNYS",
        interval_ns=86_400 * S,
        **NEW_YORK,
    )
    assert s.manifest.anomalies == {"missing_bars": 2}


def test_a_half_day_a_holiday_and_nights_miss_nothing(tmp_path):
    text = BARS
    for day, hour in (("2025-07-02", 16), ("2025-07-03", 13), ("2025-07-07", 16)):
        d = datetime.date.fromisoformat(day)
        text += "".join(f"{t},1,1,1,1,1\n" for t in range(in_new_york(d, 9, 35), in_new_york(d, hour) + 1, 300 * S))
    assert load(write(tmp_path, "A.csv", text), calendar="XNYS").manifest.anomalies == {}
