import contextlib
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay import events as ev
from replay.data import scan, store, synth
from replay.data.instruments import Instrument
from replay.data.manifest import Source
from replay.data.session import Session
from replay.errors import BadInput

AAPL = Instrument(symbol="AAPL", tick_size="0.01")
MSFT = Instrument(symbol="MSFT", tick_size="0.01")
BOTH = (AAPL, MSFT)
CALM = settings(deadline=None, max_examples=60)  # the first example may compile


def rows_of(*rows):
    """Rows from (kind, ts_event, fields...); receives 10 ns later, ends its message, instrument 0."""
    out = ev.empty(len(rows))
    for r, (kind, t, fields) in zip(out, rows, strict=True):
        r.kind, r.ts_event, r.ts_recv = kind, t, t + 10
        r["flags"] = ev.LAST
        for name, value in fields.items():
            r[name] = value
    return out


def quote(t, bid=100, bid_sz=1, ask=101, ask_sz=1, **fields):
    return ev.QUOTE, t, {"a": bid, "b": bid_sz, "c": ask, "d": ask_sz, **fields}


def trade(t, px=100, size=1, **fields):
    return ev.TRADE, t, {"a": px, "b": size, **fields}


def depth(t, side, px, size, **fields):
    return ev.DEPTH, t, {"side": side, "a": px, "b": size, "c": ev.SET, **fields}


def order(t, action, order_id, px=0, size=0, side=1):
    return ev.ORDER, t, {"side": side, "id": order_id, "a": px, "b": size, "c": action}


@st.composite
def sessions(draw):
    """Quotes and trades of two symbols with venue times that may go back, and a phase row."""
    n = draw(st.integers(1, 40))
    recv = np.cumsum(draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))
    rows = [(ev.PHASE, 0, {"side": ev.OPEN, "id": 20260302})]
    for k in range(n):
        lag = draw(st.integers(0, 8))
        make = draw(st.sampled_from([quote, trade]))
        rows.append(make(int(recv[k]) + 100 - lag, instrument=draw(st.integers(0, 1)), ts_recv=int(recv[k]) + 100))
    return Session.from_rows(rows_of(*rows), BOTH, name="drawn", sources=[Source("a.csv", "00", n)])


# what a session must refuse: rows, and what the message says


REFUSED = {
    "receive time goes back": ([quote(5), quote(4)], r"row 1: ts_recv must not go back, got 14 after 15"),
    "received before it happened": ([quote(5), quote(20, ts_recv=17)], r"row 1: received at 17, before it happened at 20: add a clock shift of 4 ns"),
    "kind 0": ([(0, 1, {})], "row 0: kind must be 1 to 20, got 0"),
    "unknown kind": ([(21, 1, {})], "row 0: kind must be 1 to 20, got 21"),
    "instrument out of range": ([quote(1, instrument=2)], "row 0: instrument must be below 2, got 2"),
    "side of a trade": ([trade(1, side=2)], "row 0: AAPL trade: side 2 is not one"),
    "side of a level": ([depth(1, 0, 100, 1)], "AAPL depth: side 0 is not one"),
    "side of an order": ([order(1, ev.ADD, 7, 100, 1, side=0)], "AAPL order: side 0 is not one"),
    "half an L3 clear": ([order(1, ev.CLEAR, 0, side=1)], "AAPL order: side 1 is not one"),
    "phase": ([(ev.PHASE, 1, {"side": 4})], "phase: side 4 is not one"),
    "status": ([(ev.STATUS, 1, {"side": 2})], "status: side 2 is not one"),
    "operation": ([(ev.CONTROL, 1, {"side": 0})], "control: side 0 is not one"),
    "bar without interval": ([(ev.BAR, 1, {"a": 1, "b": 1, "c": 1, "d": 1})], "must be an index into the 0 bar_intervals_ns"),
    "action of a level": ([depth(1, 1, 100, 1, c=ev.ADD)], r"AAPL depth: action must be SET or CLEAR, got 1"),
    "action of an order": ([order(1, 6, 7, 100, 1)], r"AAPL order: action must be SET to CLEAR"),
    "negative bid size": ([quote(1, bid_sz=-1)], "AAPL quote: size must be >= 0, got -1"),
    "negative trade size": ([trade(1, size=-5)], "AAPL trade: size must be >= 0, got -5"),
    "negative fill": ([order(1, ev.FILL, 7, 100, -2)], "AAPL order: size must be >= 0, got -2"),
    "zero price": ([trade(1, px=0)], "row 0: AAPL trade: price must be > 0, got 0 x 1 ticks"),
    "zero bid": ([quote(1, bid=0)], "AAPL quote: price must be > 0, got 0 x 1 / 101 x 1"),
    "too large": ([quote(1), trade(2, px=10**7, size=10**6)], r"row 1: AAPL trade: price x size \(10000000 x 1000000\) is worth more than 2\*\*62"),
    "message of two instruments": ([quote(1, flags=0), quote(1, instrument=1)], "row 1: .* got MSFT while a message of AAPL is open"),
    "message of two times": ([quote(1, flags=0), quote(2)], "row 1: rows of one message must share instrument and times"),
    "message of bars and a quote": ([(ev.BAR, 1, {"a": 1, "b": 1, "c": 1, "d": 1, "flags": 0}), quote(1)], "got AAPL while a message of bars is open"),
    "open message at the end": ([quote(1), quote(2, flags=0)], "row 1: the session ends inside a message of AAPL"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    rows, message = REFUSED[case]
    with pytest.raises(BadInput, match="^bad " + (message if message.startswith("row") else ".*" + message)) as e:
        Session.from_rows(rows_of(*rows), BOTH, name="bad", bar_intervals_ns=[] if case == "bar without interval" else [5])
    assert "\n" not in str(e.value)


def test_the_shift_in_the_message_is_the_one_that_is_enough():
    rows = rows_of(quote(5, ts_recv=3), quote(50, ts_recv=10), quote(51, ts_recv=60))
    with pytest.raises(BadInput, match="clock shift of 41 ns"):
        Session.from_rows(rows, BOTH)
    rows.ts_recv += 41
    assert Session.from_rows(rows, BOTH, clock_shift_ns=41).manifest.clock_shift_ns == 41


def test_shapes_refused():
    with pytest.raises(BadInput, match="at least one event, got none"):
        Session.from_rows(ev.empty(0), BOTH)
    with pytest.raises(BadInput, match="flat array of replay.events.EVENT"):
        Session.from_rows(np.zeros(3), BOTH)
    with pytest.raises(BadInput, match="at least one instrument"):
        Session.from_rows(rows_of(quote(1)), ())
    with pytest.raises(BadInput, match="AAPL is listed twice"):
        Session.from_rows(rows_of(quote(1)), (AAPL, AAPL))


# what is legal


def test_a_side_of_size_zero_is_no_side_and_a_crossed_quote_is_counted():
    s = Session.from_rows(rows_of(quote(1, bid=0, bid_sz=0), quote(2, ask=-7, ask_sz=0), quote(3, bid=102)), BOTH)
    assert s.manifest.anomalies == {"crossed_quotes": 1}
    assert (s.manifest.min_px, s.manifest.max_px) == ((100, 0), (102, 0))


def test_negative_prices_where_the_instrument_says_so():
    combo = Instrument(symbol="COMBO", tick_size="0.01", allow_negative_px=True)
    s = Session.from_rows(rows_of(quote(1, bid=-12, ask=0), trade(2, px=-5, size=3)), [combo])
    assert (s.manifest.min_px, s.manifest.max_px, s.manifest.max_size) == ((-12,), (0,), (3,))


def bar(t, volume=10, **fields):
    return ev.BAR, t, {"a": 5, "b": 6, "c": 4, "d": 5, "id": volume, **fields}


def test_bars_that_close_together_are_one_message():
    rows = rows_of(bar(1, flags=0), bar(1, flags=0, instrument=1), bar(1, side=1), bar(2, flags=0), bar(2, instrument=1))
    s = Session.from_rows(rows, BOTH, bar_intervals_ns=[60 * 10**9, 300 * 10**9])
    s.check()
    for symbols, last in ((["AAPL"], [0, 1, 1]), (["MSFT"], [1, 1])):
        part = s.slice(symbols=symbols)
        part.check()
        assert (part.events["flags"] & ev.LAST).tolist() == last


def test_a_bar_s_volume_may_be_worth_more_than_money_can_count():
    rows = rows_of(bar(1, volume=2**59, b=6))
    assert Session.from_rows(rows, [AAPL], bar_intervals_ns=[1]).manifest.max_size == (2**59,)
    with pytest.raises(BadInput, match=r"AAPL bar: price x volume \(5 6 4 5, volume \d+\) is 2\*\*62 ticks times lots or more"):
        Session.from_rows(rows_of(bar(1, volume=2**60)), [AAPL], bar_intervals_ns=[1])


def test_levels_are_the_finest_present():
    rows = rows_of(quote(1), depth(2, 1, 100, 5), quote(3, instrument=1), (ev.MARK, 4, {"instrument": 2, "a": 5}))
    s = Session.from_rows(rows, (*BOTH, Instrument(symbol="X", tick_size="1")))
    assert s.manifest.levels == ("l2", "l1", "none")
    assert Session.from_rows(rows_of(order(1, ev.ADD, 1, 100, 1)), [AAPL]).manifest.levels == ("l3",)
    bar = (ev.BAR, 1, {"a": 5, "b": 4, "c": 6, "d": 5, "id": 10})
    s = Session.from_rows(rows_of(bar), [AAPL], bar_intervals_ns=[60 * 10**9])
    assert s.manifest.levels == ("bars",) and s.manifest.anomalies == {"inconsistent_bars": 1}


def test_the_most_live_levels_against_a_plain_book():
    """Random depth with clears: the scan's table, its growth and its rehash agree with two dicts."""
    draw = random.Random(5)
    rows, books, most = [], {(i, s): set() for i in (0, 1) for s in (1, -1)}, {}
    for t in range(20_000):
        i, side = draw.randrange(2), draw.choice((1, -1))
        if draw.random() < 0.001:
            cleared = draw.choice((0, 1, -1))
            rows.append(depth(t, cleared, 0, 0, instrument=i, c=ev.CLEAR))
            for s in (1, -1):
                if cleared in (0, s):
                    books[i, s].clear()
            continue
        px, size = draw.randrange(1, 4000), draw.choice((0, 0, 5))
        rows.append(depth(t, side, px, size, instrument=i))
        (books[i, side].add if size else books[i, side].discard)(px)
        most[i, side] = max(most.get((i, side), 0), len(books[i, side]))
    s = Session.from_rows(rows_of(*rows), BOTH)
    assert s.manifest.max_levels == tuple((most[i, 1], most[i, -1]) for i in (0, 1))
    s.check()


def test_the_most_live_orders_against_a_plain_book():
    draw = random.Random(6)
    rows, live, most_orders, most_levels, next_id = [], {}, 0, {1: 0, -1: 0}, 1
    for t in range(20_000):
        what = draw.random()
        if what < 0.5 or not live:
            side, px, size = draw.choice((1, -1)), draw.randrange(1, 300), draw.randrange(1, 9)
            rows.append(order(t, ev.ADD, next_id, px, size, side))
            live[next_id] = [px, size, side]
            next_id += 1
        elif what < 0.9999:
            k = draw.choice(list(live)) if t % 50 == 0 else next(iter(live))
            px, size, side = live[k]
            if what < 0.6:
                live[k][0] = px = draw.randrange(1, 300)
                rows.append(order(t, ev.MODIFY, k, px, size, side))
            elif what < 0.7:
                rows.append(order(t, ev.CANCEL, k, px, 0, side))
                del live[k]
            else:
                off = draw.randrange(1, size + 1)
                rows.append(order(t, ev.FILL, k, px, off, side))
                live[k][1] -= off
                if not live[k][1]:
                    del live[k]
        else:
            rows.append(order(t, ev.CLEAR, 0, side=0))
            live.clear()
        most_orders = max(most_orders, len(live))
        for s in (1, -1):
            most_levels[s] = max(most_levels[s], len({o[0] for o in live.values() if o[2] == s}))
    s = Session.from_rows(rows_of(*rows), [AAPL])
    assert s.manifest.max_orders == (most_orders,)
    assert s.manifest.max_levels == ((most_levels[1], most_levels[-1]),)


def test_depth_before_its_snapshot_is_counted():
    rows = rows_of(depth(1, 1, 100, 5), depth(2, 0, 0, 0, c=ev.CLEAR), depth(3, 1, 100, 5))
    assert Session.from_rows(rows, [AAPL]).manifest.anomalies == {"depth_before_snapshot": 1}


# order, slice, save


@CALM
@given(sessions())
def test_order_is_the_stable_sort_by_venue_time(s):
    s.check()
    t = s.events.ts_event.tolist()
    assert (s.order is None) == (t == sorted(t))
    if s.order is not None:
        assert s.order.tolist() == sorted(range(len(t)), key=lambda k: (t[k], k))


@CALM
@given(sessions(), st.integers(95, 300), st.integers(95, 300), st.sampled_from([None, ["AAPL"], ["MSFT", "AAPL"]]))
def test_a_slice_holds_what_a_plain_filter_holds(s, start, end, symbols):
    wanted = {s.index(x) for x in symbols or ("AAPL", "MSFT")}
    keep = [
        k for k, r in enumerate(s.events)
        if start <= r.ts_recv < end and (r.instrument in wanted or r.kind == ev.PHASE)
    ]  # fmt: skip
    if not keep:
        with pytest.raises(BadInput, match="widen the slice"):
            s.slice(start, end, symbols)
        return
    part = s.slice(start, end, symbols)
    part.check()
    assert np.array_equal(part.events, s.events[keep])
    assert part.instruments == s.instruments and part.manifest.sources == s.manifest.sources
    if symbols is None:
        assert np.shares_memory(part.events, s.events)


@CALM
@given(sessions())
def test_slices_at_any_cut_put_together_are_the_whole(s):
    cut = int(s.events.ts_recv[len(s.events) // 2])
    parts = []
    for start, end in ((None, cut), (cut, None)):
        with contextlib.suppress(BadInput):  # one side of the cut may be empty
            parts.append(s.slice(start, end).events)
    assert np.array_equal(np.concatenate(parts), s.events)


def test_a_slice_of_an_unknown_symbol_is_refused():
    with pytest.raises(BadInput, match="no instrument 'TSLA', the session has AAPL, MSFT"):
        Session.from_rows(rows_of(quote(1)), BOTH, name="s").slice(symbols=["TSLA"])


@settings(max_examples=20, deadline=None)
@given(s=sessions(), format=st.sampled_from(["bin", "parquet"]))
def test_save_and_open_round_trip(s, format, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "drawn"
    s.save(path, format)
    for trust in (False, True):
        again = Session.open(path, trust)
        assert np.array_equal(again.events, s.events)
        assert again.manifest == s.manifest
        assert (again.order is None) == (s.order is None)
        assert s.order is None or np.array_equal(again.order, s.order)
        again.check()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("sessions") / "ibm"
    synth.equity_day(n_events=200).save(path)
    return path


def copy_of(saved, tmp_path):
    path = tmp_path / "ibm"
    path.mkdir()
    for f in saved.iterdir():
        (path / f.name).write_bytes(f.read_bytes())
    return path


def test_a_saved_session_is_mapped_read_only(saved):
    s = Session.open(saved)
    with pytest.raises(ValueError, match="read-only"):
        s.events.a[0] = 1
    assert isinstance(s.events.base, np.memmap) or isinstance(s.events, np.memmap)


def test_the_archive_is_read_where_there_is_no_working_copy(saved, tmp_path):
    path = copy_of(saved, tmp_path)
    s = Session.open(path)
    s.save(path, "parquet")
    (path / "events.bin").unlink()
    assert np.array_equal(Session.open(path).events, s.events)


def test_an_archive_is_unpacked_into_a_working_copy(saved, tmp_path):
    path = copy_of(saved, tmp_path)
    with pytest.raises(BadInput, match="events.parquet is missing, so there is nothing to unpack"):
        store.unpack(path)
    s = Session.open(path)
    s.save(path, "parquet")
    expected = (path / "events.bin").read_bytes()
    (path / "events.bin").unlink()
    store.unpack(path)
    assert (path / "events.bin").read_bytes() == expected
    other = synth.equity_day(n_events=200, seed=9)
    store._write_parquet(path / "events.parquet", other.events)
    (path / "events.bin").unlink()
    with pytest.raises(BadInput, match="events.parquet does not match its manifest"):
        store.unpack(path)
    assert sorted(f.name for f in path.iterdir()) == ["events.parquet", "manifest.json"]


def test_a_changed_file_is_refused_unless_trusted(saved, tmp_path):
    path = copy_of(saved, tmp_path)
    raw = bytearray((path / "events.bin").read_bytes())
    raw[70] ^= 1
    (path / "events.bin").write_bytes(raw)
    with pytest.raises(BadInput) as e:
        Session.open(path)
    manifest = Session.open(path, trust=True).manifest
    assert str(e.value).startswith(f"{path}: events.bin does not match its manifest (sha256 ")
    assert f"expected {manifest.sha256[:4]}…): the file changed after import; import it again or pass --trust" in str(e.value)


def test_broken_folders_are_refused(saved, tmp_path):
    with pytest.raises(BadInput, match="no session here"):
        Session.open(tmp_path / "nothing")
    path = copy_of(saved, tmp_path)
    (path / "events.bin").write_bytes((path / "events.bin").read_bytes()[:-1])
    with pytest.raises(BadInput, match=r"events.bin must be 12800 bytes \(200 rows\), is 12799"):
        Session.open(path, trust=True)
    (path / "events.bin").unlink()
    with pytest.raises(BadInput, match="neither events.bin nor events.parquet"):
        Session.open(path)
    (path / "events.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadInput, match="is not a Parquet file"):
        Session.open(path)
    text = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**text, "version": 99}))
    with pytest.raises(BadInput, match="manifest version 1 expected, got 99"):
        Session.open(path)
    (path / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match="is not a session's manifest"):
        Session.open(path)


def test_save_refuses_another_format_and_another_session(saved):
    s = synth.equity_day(n_events=100)
    with pytest.raises(BadInput, match="format must be 'bin' or 'parquet', got 'csv'"):
        s.save(saved, "csv")
    with pytest.raises(BadInput, match="holds another session"):
        s.save(saved)


def test_check_finds_a_changed_row():
    s = synth.equity_day(n_events=100)
    s.events.b[50] += 1
    with pytest.raises(AssertionError):
        s.check()


def test_records_of_the_scan_have_no_holes():
    for dtype in (scan.STATE, scan.TALLY, scan.SLOT):
        assert dtype.itemsize == 8 * len(dtype.names)
