import bisect
import gzip
import json

import pytest
from recordings import recording
from sortedcontainers import SortedDict

from replay import events as ev
from replay.data.binance import DepthSync, import_binance
from replay.errors import BadInput

CAPTURES = {
    # file: events by kind, depth messages with the snapshot, clock shift
    "spot/btcusdt": ({"quote": 28040, "trade": 9757, "depth": 126074}, 3450, 1274761455),
    "spot/ethusdt": ({"quote": 24077, "trade": 6106, "depth": 108803}, 3433, 1274537755),
    "usdm/btcusdt": ({"quote": 66089, "trade": 21313, "depth": 445263}, 6548, 1272402469),
    "cm/btcusd_perp": ({"quote": 19136, "trade": 2286, "depth": 297748}, 26825, 1267953941),
}


class ReferenceBook:
    """Two sorted dicts; the plainest book there is."""

    def __init__(self):
        self.sides = {1: SortedDict(), -1: SortedDict()}

    def apply(self, side, px, size, action):
        if action == ev.CLEAR:
            for s in self.sides.values():
                s.clear()
        elif size:
            self.sides[side][px] = size
        else:
            self.sides[side].pop(px, None)

    def touch(self):
        """(bid_px, bid_sz, ask_px, ask_sz)"""
        return (*self.sides[1].peekitem(-1), *self.sides[-1].peekitem(0))


def delta(t, first, final, previous=None, bids=(), asks=(), symbol="BTCUSDT"):
    d = {"e": "depthUpdate", "E": t, "s": symbol, "U": first, "u": final, "b": bids, "a": asks}
    if previous is not None:
        d |= {"pu": previous, "T": t}
    return {"stream": "x", "data": d}


def snapshot(number, bids, asks, **time):
    return {"lastUpdateId": number, "bids": bids, "asks": asks, **time}


def trade(t, number, px="100.00", qty="1.00000", maker=True, **more):
    return {
        "stream": "x",
        "data": {"e": "trade", "E": t, "T": t, "s": "BTCUSDT", "t": number, "p": px, "q": qty, "m": maker, **more},
    }


def ticker(number, bid, ask, **time):
    return {"stream": "x", "data": {"u": number, "s": "BTCUSDT", "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1], **time}}


def capture(path, *lines):
    """Lines of (receive ms, message)."""
    path.write_bytes(gzip.compress("\n".join(f"{ms * 10**6} {json.dumps(m)}" for ms, m in lines).encode()))
    return path


BOOK = ([["100.00", "2.00000"], ["99.99", "1.00000"]], [["100.01", "3.00000"]])


@pytest.fixture
def spot(tmp_path):
    """A capture with everything: updates before the snapshot, old, overlapping, doubled and after a gap."""
    return capture(
        tmp_path / "btcusdt.gz",
        (1000, delta(2000, 90, 95, bids=[["99.00", "9.00000"]])),
        (1100, delta(2100, 96, 102, bids=[["99.99", "5.00000"]])),
        (1200, snapshot(100, *BOOK)),
        (1250, ticker(102, ("100.00", "2.00000"), ("100.01", "3.00000"))),
        (1300, delta(2280, 103, 104, asks=[["100.01", "0.00000"], ["100.02", "1.50000"]])),
        (1300, delta(2290, 103, 104, asks=[["100.02", "0.00000"]])),
        (1350, trade(2345, 7, maker=True)),
        (1351, trade(2346, 8, maker=False, qty="0.25000")),
        (1400, delta(2390, 110, 111, bids=[["100.00", "0.00000"]])),
        (1500, delta(2500, 112, 112)),
    )


def test_updates_join_the_snapshot_by_their_numbers(spot):
    s = import_binance(spot)
    s.check()
    m = s.manifest
    assert m.anomalies["depth_gaps"] == 1
    assert {k: v for k, v in m.anomalies.items() if k.startswith("dropped")} == {
        "dropped_depth_on_book": 2,
        "dropped_depth_empty": 1,
    }
    depth = s.events[s.events.kind == ev.DEPTH]
    assert [(r[3], r[4], r[6], r[7], r[8], r[9]) for r in depth.tolist()] == [
        (0, ev.SNAPSHOT, 100, 0, 0, ev.CLEAR),
        (1, ev.SNAPSHOT, 100, 10000, 200000, ev.SET),
        (1, ev.SNAPSHOT, 100, 9999, 100000, ev.SET),
        (-1, ev.SNAPSHOT | ev.LAST, 100, 10001, 300000, ev.SET),
        (1, ev.LAST, 102, 9999, 500000, ev.SET),
        (-1, 0, 104, 10001, 0, ev.SET),
        (-1, ev.LAST, 104, 10002, 150000, ev.SET),
        (1, ev.GAP | ev.LAST, 111, 10000, 0, ev.SET),
    ]
    assert depth.ts_event.tolist()[3:5] == [2000 * 10**6, 2100 * 10**6]  # the snapshot: of the last update it contains
    assert depth.ts_recv[0] == depth.ts_recv[4] == 1200 * 10**6 + m.clock_shift_ns


def test_the_clock_shift_is_the_smallest_that_gives_every_event_a_nanosecond(spot):
    s = import_binance(spot)
    assert s.manifest.clock_shift_ns == 995 * 10**6 + 1  # the second trade: event 2346, received 1351
    timed = s.events[s.events.kind != ev.QUOTE]
    assert (timed.ts_recv - timed.ts_event).min() == 1
    (quote,) = s.events[s.events.kind == ev.QUOTE]
    assert quote.ts_recv - quote.ts_event == 1 and "BTCUSDT.quote.ts_event" in s.manifest.inferred


def test_a_clock_that_runs_right_is_left_alone(tmp_path):
    s = import_binance(capture(tmp_path / "a", (1000, trade(990, 1)), (1001, trade(995, 2))))
    assert s.manifest.clock_shift_ns == 0 and (s.events.ts_recv - s.events.ts_event).tolist() == [10 * 10**6, 6 * 10**6]


def test_the_aggressor_is_the_other_one_than_the_maker(spot):
    trades = [r for r in import_binance(spot).events.tolist() if r[2] == ev.TRADE]
    assert [(r[3], r[6], r[7], r[8]) for r in trades] == [(-1, 7, 10000, 100000), (1, 8, 10000, 25000)]
    assert all(r[4] == ev.LAST | ev.PRINT for r in trades)


def test_trades_off_the_market(tmp_path):
    lines = [(1000, trade(900, 1)), (1001, trade(900, 2, X="INSURANCE_FUND")), (1002, trade(900, 3, px="0", qty="0", X="NA"))]
    s = import_binance(capture(tmp_path / "a", *lines))
    assert [r["flags"] for r in s.events] == [ev.LAST | ev.PRINT, ev.LAST | ev.COUNTS]
    assert s.manifest.anomalies == {"trade_off_market": 1, "dropped_trade_without_price": 1}


def test_futures_continue_by_the_number_before(tmp_path):
    level = [["100.0", "1"]]
    path = capture(
        tmp_path / "a",
        (1000, delta(900, 80, 90, 70, bids=level)),
        (1001, delta(901, 95, 105, 90, bids=level)),
        (1002, snapshot(100, [["100.0", "2"]], [["101.0", "2"]], T=899, E=899)),
        (1003, delta(903, 108, 110, 105, bids=level)),
        (1004, delta(904, 120, 125, 118, bids=level)),
    )
    s = import_binance(path)
    assert s.manifest.anomalies["depth_gaps"] == 1 and s.manifest.anomalies["dropped_depth_on_book"] == 1
    last = [(r[6], bool(r[4] & ev.GAP)) for r in s.events.tolist() if r[4] & ev.LAST]
    assert last == [(100, False), (105, False), (110, False), (125, True)]


def test_a_later_snapshot_replaces_the_book_and_an_older_one_does_not(tmp_path):
    lines = [
        (1000, snapshot(100, *BOOK)),
        (1001, delta(900, 101, 102, bids=[["98.00", "1.00000"]])),
        (1002, snapshot(101, *BOOK)),
        (1003, snapshot(110, *BOOK)),
        (1004, delta(904, 109, 111, bids=[["97.00", "1.00000"]])),
    ]
    s = import_binance(capture(tmp_path / "a", *lines))
    assert s.manifest.anomalies == {"dropped_old_snapshot": 1}
    assert s.manifest.max_levels == ((3, 1),)


def test_updates_without_any_snapshot_are_dropped_and_counted(tmp_path):
    s = import_binance(capture(tmp_path / "a", (1000, delta(900, 1, 2, bids=[["9.00", "1.00000"]])), (1001, trade(900, 1))))
    assert s.manifest.counts == {"trade": 1} and s.manifest.anomalies["dropped_depth_without_snapshot"] == 1


@pytest.mark.parametrize(("futures", "first"), [(False, (100, 101)), (False, (101, 105)), (True, (95, 100)), (True, (100, 101))])
def test_first_updates_that_join(futures, first):
    sync = DepthSync(futures)
    assert sync.update(1, 2, 0) == "wait"
    assert sync.snapshot(100)
    assert sync.update(*first, 0) == "use"


@pytest.mark.parametrize(("futures", "first", "fate"), [(False, (102, 103), "gap"), (False, (90, 100), "drop"), (True, (101, 103), "gap"), (True, (90, 99), "drop")])  # fmt: skip
def test_first_updates_that_do_not(futures, first, fate):
    sync = DepthSync(futures)
    sync.snapshot(100)
    assert sync.update(*first, 0) == fate


def test_refusals(tmp_path):
    path = tmp_path / "a"

    def refused(text, *lines):
        with pytest.raises(BadInput, match=text) as e:
            import_binance(capture(path, *lines) if lines else path)
        assert "\n" not in str(e.value)

    refused("expected '<receive ns> <json>'")  # no file
    path.write_bytes(b"")
    refused("the file is empty")
    path.write_bytes(b"12 {}")
    refused("line 1: neither a stream message nor a snapshot")
    path.write_bytes(b"12 {")
    refused("line 1: expected '<receive ns> <json>' of Binance")
    path.write_bytes(b"abc {}")
    refused("line 1: expected '<receive ns> <json>' of Binance")
    path.write_bytes(gzip.compress(b"12 {}")[:-9])
    refused("expected '<receive ns> <json>' of Binance")
    refused("line 2: receive times must not go back", (1001, trade(900, 1)), (1000, trade(900, 2)))
    refused("one symbol a capture expected, got BTCUSDT, ETHUSDT", (1, trade(1, 1)), (2, delta(1, 1, 2, symbol="ETHUSDT")))
    refused("one symbol a capture expected, got none", (1, snapshot(1, *BOOK)))
    refused("the quote currency must be one of", (1000, {"data": {**trade(900, 1)["data"], "s": "BTCXYZ"}}))


@pytest.mark.real
@pytest.mark.parametrize("file", CAPTURES)
def test_a_capture_gives_the_right_book(file):
    """After every message the book is uncrossed, and its touch, sizes too, is what the ticker of that update id says.

    A ticker is sent whenever the touch changes, so the newest one with an id up to the message's describes the book after it.
    """
    path = recording(f"crypto_raw_hftbacktest/examples/{file}_20240808.gz")
    s = import_binance(path)
    s.check()
    m = s.manifest
    counts, messages, shift = CAPTURES[file]
    assert m.counts == counts and m.clock_shift_ns == shift
    assert "depth_gaps" not in m.anomalies and "dropped_depth_without_snapshot" not in m.anomalies
    depth_lines = sum(b"depthUpdate" in line for line in gzip.decompress(path.read_bytes()).splitlines())
    assert messages == depth_lines + 1 - m.anomalies["dropped_depth_on_book"]
    rows = s.events.tolist()
    tickers = {r[6]: r[7:] for r in rows if r[2] == ev.QUOTE}
    ids = sorted(tickers)
    for name, index in (("arrival", range(len(rows))), ("venue", s.order.tolist())):
        book, most, seen, compared = ReferenceBook(), [0, 0], 0, 0
        for k in index:
            _, _, kind, side, flags, _, number, px, size, action, _ = rows[k]
            if kind != ev.DEPTH:
                continue
            book.apply(side, px, size, action)
            most = [max(a, len(book.sides[s])) for a, s in zip(most, (1, -1), strict=True)]
            if flags & ev.LAST:
                seen += 1
                touch = book.touch()
                assert touch[0] < touch[2], (name, k)
                newest = bisect.bisect_right(ids, number) - 1
                if newest >= 0:
                    compared += 1
                    assert touch == tickers[ids[newest]], (name, k)
        assert seen == messages and compared > 0.99 * messages
        assert m.max_levels == (tuple(most),)


@pytest.mark.real
def test_what_is_inferred_of_the_captures():
    def of(file):
        return import_binance(recording(f"crypto_raw_hftbacktest/examples/{file}_20240808.gz")).instruments[0]

    # one level of the snapshot (80000.00, 244.56630400) is finer than the documented lot of 0.00001
    spot = of("spot/btcusdt")
    assert (spot.tick_size, spot.lot_size, spot.min_qty, spot.currency, spot.base) == ("0.01", "0.000001", 10, "USDT", "BTC")
    coin = of("cm/btcusd_perp")
    assert (coin.tick_size, coin.lot_size, coin.multiplier, coin.inverse) == ("0.1", "1", "100", True)
