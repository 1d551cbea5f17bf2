import os
import subprocess
import sys

import numpy as np
import pytest

from replay import events as ev
from replay.data import synth, synth_bars
from replay.errors import BadInput

#: sha256 of the rows; a change here changes every fixture and every digest built on one
PINNED = {
    "equity_day(n_events=2000, seed=7)": "04315a446d143baba9d2a388f8cb6995d10b0b451c5c1e032a1e7fcb300df6e0",
    "many_symbols(20, 5000, seed=3)": "756039f1c435e5a57fc9008dbead9f6b64a59baab0a8777a05becba20c9a65fe",
    "l2_book(3000, seed=5)": "e02df685cb45295f4fdcd40b1584fb9f1b8977a3b52507e2a3da30a7bb488a31",
}


def make(call):
    return eval(f"synth.{call}", {"synth": synth})


@pytest.mark.parametrize("call", PINNED)
def test_rows_are_the_same_everywhere(call):
    s = make(call)
    s.check()
    assert s.manifest.sha256 == PINNED[call]


@pytest.mark.parametrize("jit", ["0", "1"])
def test_rows_are_the_same_in_another_process_compiled_or_not(jit):
    call = "l2_book(600, seed=5)"
    code = f"from replay.data import synth; print(synth.{call}.manifest.sha256)"
    env = {**os.environ, "NUMBA_DISABLE_JIT": jit, "PYTHONHASHSEED": "7"}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == make(call).manifest.sha256


def test_another_seed_is_another_session():
    assert synth.equity_day(n_events=500, seed=1).manifest.sha256 != synth.equity_day(n_events=500, seed=2).manifest.sha256


@pytest.fixture(scope="module")
def day():
    return synth.equity_day(n_events=50_000)


def test_an_equity_day_has_its_rows_and_phases(day):
    m = day.manifest
    assert m.n_events == len(day.events) == 50_000
    assert [i.symbol for i in m.instruments] == ["AAPL", "MSFT"]
    assert m.anomalies == {} and day.order is None
    first, last = day.events[0], day.events[-1]
    assert (first.kind, first.side, first.id) == (ev.PHASE, ev.OPEN, 20260302)
    assert (last.kind, last.side, last.id) == (ev.PHASE, ev.CLOSED, 20260302)
    assert last.ts_event - first.ts_event == 23_400 * 10**9
    assert first.ts_event == 1772461800 * 10**9  # 14:30 UTC, before the clocks change on 8 March
    assert synth.equity_day(n_events=100, day="2026-03-09").events[0].ts_event == (1772461800 + 7 * 86400 - 3600) * 10**9


@pytest.mark.parametrize("instrument", [0, 1])
def test_trades_hit_the_displayed_touch_and_the_quote_after_shows_what_is_left(day, instrument):
    bid = bid_sz = ask = ask_sz = None
    traded = None
    sides = {1: 0, -1: 0}
    for t, _, kind, side, flags, of, _, a, b, c, d in day.events.tolist():
        if of != instrument or kind not in (ev.QUOTE, ev.TRADE):
            continue
        assert flags & ev.LAST
        if kind == ev.QUOTE:
            assert 0 < a < c and b > 0 and d > 0
            if traded:
                when, side_hit, px, left = traded
                assert t > when
                if left:
                    assert (c, d) == (px, left) if side_hit > 0 else (a, b) == (px, left)
                else:
                    assert c > px if side_hit > 0 else a < px
            traded = None
            bid, bid_sz, ask, ask_sz = a, b, c, d
        else:
            shown = ask_sz if side > 0 else bid_sz
            assert a == (ask if side > 0 else bid) and 0 < b <= shown
            assert flags & ev.PRINT == ev.PRINT and traded is None
            traded = t, side, a, shown - b
            sides[side] += 1
    assert min(sides.values()) > 1000


def test_the_day_looks_like_one(day):
    rows = day.events
    per_half_hour = np.bincount((rows.ts_event[1:-1] - rows.ts_event[0]) // (1800 * 10**9), minlength=13)
    assert per_half_hour[0] > 2 * per_half_hour[5:8].mean() < per_half_hour[12]
    quotes = rows[(rows.kind == ev.QUOTE) & (rows.instrument == 0)]
    spread = quotes.c - quotes.a
    assert spread.max() <= 12 and np.median(spread) <= 4
    latency = rows.ts_recv - rows.ts_event
    assert latency.min() > 0 and 300_000 < np.median(latency) < 700_000
    sizes = rows.b[rows.kind == ev.TRADE]
    assert sizes.max() > 10 * np.median(sizes)
    mid = (quotes.a + quotes.c) // 2
    minute = (quotes.ts_event - rows.ts_event[0]) // (60 * 10**9)
    moves = np.bincount(minute[1:], np.abs(np.diff(mid)), 390)
    busy = moves - moves.mean()
    assert (busy[1:] * busy[:-1]).mean() > 0.2 * busy.var()  # volatility comes in clusters


def test_many_symbols_reach_the_asked_rows_and_all_take_part():
    s = synth.many_symbols(50, 20_000)
    s.check()
    assert s.manifest.n_events == 20_000 and s.manifest.levels == ("l1",) * 50
    share = np.bincount(s.events.instrument, minlength=50)
    assert share.min() >= 10 and share[0] > 3 * share[40]


def test_a_book_is_never_crossed_and_trades_take_what_is_shown():
    s = synth.l2_book(30_000, seed=2)
    s.check()
    book = {1: {}, -1: {}}
    left = None
    groups = set()
    size_of_group = 0
    most = [0, 0]
    for k, (_, _, kind, side, flags, _, _, px, size, action, _) in enumerate(s.events.tolist()):
        if kind == ev.TRADE:
            best = min(book[-1]) if side > 0 else max(book[1])
            assert px == best and 0 < size <= book[-side][px] and left is None
            left = -side, px, book[-side][px] - size
            continue
        if left:
            assert (side, px, size) == left and flags & ev.LAST
            left = None
        if action == ev.CLEAR:
            assert k == 0 and flags & ev.SNAPSHOT
            book = {1: {}, -1: {}}
        elif size:
            book[side][px] = size
        else:
            book[side].pop(px, None)
        most = [max(most[0], len(book[1])), max(most[1], len(book[-1]))]
        size_of_group += 1
        if flags & ev.LAST:
            assert max(book[1]) < min(book[-1])
            groups.add(size_of_group)
            size_of_group = 0
    assert s.manifest.max_levels == (tuple(most),)
    assert groups >= {1, 2, 5, 8, 201}


def test_refusals():
    with pytest.raises(BadInput, match="at least one symbol and 10 rows for each"):
        synth.equity_day(n_events=10)
    with pytest.raises(BadInput, match="at least one symbol"):
        synth.equity_day(symbols=())
    with pytest.raises(BadInput, match="at least one symbol and 10 rows"):
        synth.many_symbols(500, 100)
    with pytest.raises(BadInput, match="a day must look like 2026-03-02, got 'monday'"):
        synth.equity_day(day="monday")
    with pytest.raises(BadInput, match="n_events must be at least 201"):
        synth.l2_book(10)


@pytest.fixture(scope="module")
def month():
    return synth_bars.bars_month()


def bars_of(session, interval):
    """Open, high, low, close and volume as (symbol, day, bar) arrays."""
    e = session.events[(session.events.kind == ev.BAR) & (session.events.side == interval)]
    by_symbol = np.argsort(e.instrument, kind="stable")
    return [e[name][by_symbol].reshape(5, 19, -1) for name in ("a", "b", "c", "d", "id")]


def test_a_month_of_bars_is_whole_and_five_minutes_are_made_of_one(month):
    m = month.manifest
    month.check()
    assert m.counts == {"bar": 37_050 + 7_410, "phase": 38} and m.anomalies == {} and month.order is None
    assert len(m.calendar.days) == 19 and m.calendar.days[0][0] == 20260202 and 20260216 not in [d[0] for d in m.calendar.days]
    one, five = bars_of(month, 0), bars_of(month, 1)
    o, h, l, c, v = (x.reshape(5, 19, 78, 5) for x in one)
    for made, want in zip(five, (o[..., 0], h.max(3), l.min(3), c[..., -1], v.sum(3)), strict=True):
        assert np.array_equal(made, want)
    last = month.events["flags"] & ev.LAST
    closes = month.events.ts_event[(last == 1) & (month.events.kind == ev.BAR)]
    assert len(closes) == len(np.unique(closes)) == 19 * 390  # one message a close


def test_the_month_looks_like_one(month):
    o, _, _, c, v = bars_of(month, 0)
    r = np.diff(np.log(c), axis=2)
    daily = r.std(axis=(1, 2)) * 390**0.5
    assert (daily > 0.006).all() and (daily < 0.03).all() and daily.argmax() == 2 and daily.argmin() == 3  # NVDA, SPY
    together = np.corrcoef(r.reshape(5, -1))
    assert (together[3] > 0.5).all() and (together > 0.3).all()
    assert ((r - r.mean()) ** 4).mean() / r.var() ** 2 > 5  # fat tails
    size = np.abs(r)
    assert (
        size[..., :30].mean() > 1.5 * size[..., 120:270].mean()
        and v[..., :30].mean() > 2 * v[..., 120:270].mean() < v[..., -10:].mean()
    )
    a = size[..., 30:] - size[..., 30:].mean(axis=(0, 1))
    assert (a[..., 5:] * a[..., :-5]).mean() > 0.05 * a.var()  # volatility comes in clusters
    gaps = np.abs(np.log(o[:, 1:, 0] / c[:, :-1, -1]))
    assert 0.001 < np.median(gaps) < 0.02


def test_another_month_and_a_month_that_is_none():
    assert synth_bars.bars_month("2025-11").manifest.counts == {
        "bar": (18 * 468 + 252) * 5,
        "phase": 38,
    }  # the 28th closes at 13:00
    with pytest.raises(BadInput, match="a month must look like 2026-02"):
        synth_bars.bars_month("2026-13")
