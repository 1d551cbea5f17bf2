"""Execution on bars: the kernel against a naive twin, against itself in pieces, and what may not know the future."""

import collections
import os
import random

import bar_twin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay import events as ev
from replay.data.instruments import Instrument
from replay.data.session import Session, end_bar_messages
from replay.engine import KERNELS
from replay.kernel.memory import entry, entry_of, link
from replay.trader import layout as T
from replay.trader import orders as O
from replay.venue import layout as V
from replay.venue import setup
from replay.venue.layout import NEVER
from replay.venue.setup import Profile
from replay.venue.stream import report_key, venue_until

SECOND = 10**9
MINUTE = 60 * SECOND
T0 = 1_772_461_800 * SECOND
CALM = settings(deadline=None, max_examples=int(os.environ.get("REPLAY_TEST_EXAMPLES", "150")))
TIFS = {"day": T.DAY, "gtc": T.GTC, "ioc": T.IOC, "fok": T.FOK}


@entry
def drive(vb, events, n, order, until):
    """To `until`, or to the report that is due before."""
    v = V.header(vb)
    return venue_until(vb, v, events, n, order, min(until, report_key(vb, v)))


class Venue:
    """A venue with its whole session and the requests that will reach it; `run` gives the reports of each instrument, in order."""

    def __init__(self, session, profile=Profile()):
        link(*KERNELS, drive)
        self.session, self.arena = session, setup.build(session.manifest, profile, 256)
        self.h = self.arena.header

    def key(self, ts, rank):
        return (ts - int(self.h.t0)) << 3 | rank

    def request(self, ts, instrument, kind, handle, side=1, qty=0, px=0, stop_px=0, type_=T.LIMIT, tif=T.DAY, flags=0):
        ring = self.arena.region("requests")
        r = ring[int(self.h.request_tail)]
        self.h.request_tail += 1
        r.key, r.handle, r.qty, r.px, r.stop_px = self.key(ts, int(self.h.class_request)), handle, qty, px, stop_px
        r.instrument, r.kind, r.side, r.type, r.tif, r["flags"] = instrument, kind, side, type_, tif, flags

    def run(self, stops=()):
        rows, out = self.session.events, [[] for _ in self.session.instruments]
        for until in [*(self.key(t, 7) for t in stops), NEVER]:
            while entry_of(drive)(self.arena.base, rows.ctypes.data, len(rows), 0, until) < until:
                r = self.arena.region("reports")[int(self.h.report_head) & (int(self.h.reports_n) - 1)]
                self.h.report_head += 1
                what = O.EXEC_NAMES[int(r["flags"]) >> 8]
                out[int(r.instrument)].append(
                    (int(r.ts_event), int(r.a), what, int(r.b), int(r.c), 0 if "_rejected" in what else int(r.d))
                )
        assert int(self.h.overrun) == 0
        return out


def session_of(bars, phases=(), intervals=(MINUTE,), n=1):
    """`bars`: (instrument, interval index, open time in ns after T0, open, high, low, close, volume); `phases`: (time, kind, side)."""
    rows = ev.empty(len(bars) + len(phases) + 1)
    rows["flags"][:] = ev.LAST
    made = [(T0 + t + intervals[k], 0, ev.BAR, k, i, (v, *p)) for i, k, t, *p, v in bars]
    made += [(T0 + t, 1, kind, side, 0, (0, 0, 0, 0, 0)) for t, kind, side in phases]
    made.append((T0 + 10**6 * SECOND, 1, ev.CUSTOM, 0, 0, (0, 0, 0, 0, 0)))
    for r, (ts, _, kind, side, i, words) in zip(rows, sorted(made, key=lambda m: m[:2]), strict=True):
        r.ts_event = r.ts_recv = ts
        r.kind, r.side, r.instrument = kind, side, i
        r.id, r.a, r.b, r.c, r.d = words
    end_bar_messages(rows)
    instruments = [Instrument(symbol=chr(65 + k), tick_size="0.01") for k in range(n)]
    return Session.from_rows(rows, instruments, name="bars", bar_intervals_ns=intervals)


# --- the rules, one by one -----------------------------------------------------------------------------------------------------
FREE = Profile(slippage_ppm=0, participation_ppm=0)
DAY = [(0, 0, 0, 100, 103, 99, 102, 1000), (0, 0, MINUTE, 104, 108, 101, 105, 400), (0, 0, 10 * MINUTE, 90, 95, 88, 94, 50)]


def said(requests, bars=DAY, profile=FREE, phases=()):
    """Reports of one instrument as (seconds, order, what, qty, px); `requests`: (seconds, number, then the arguments of `request`)."""
    venue = Venue(session_of(bars, phases), profile)
    for ts, number, *args in requests:
        kind = T.CMD_NEW if args else T.CMD_CANCEL
        side, qty, px, stop, type_, *rest = args or (1, 0, 0, 0, T.LIMIT)
        venue.request(T0 + round(ts * SECOND), 0, kind, number << T.SLOT_BITS | number, side, qty, px, stop, type_, *rest)
    return [((ts - T0) / SECOND, h & T.SLOT_MASK, what, q, p) for ts, h, what, q, p, _ in venue.run()[0]]


def market(side, qty, *rest):
    return side, qty, 0, 0, T.MARKET, *rest


def test_the_first_second_of_a_bar_gets_its_open_and_later_the_next():
    for ts in (0, 0.001, 1):
        assert said([(ts, 1, *market(1, 5))])[1:] == [(ts, 1, "trade", 5, 100)]
    for ts in (-1, -0.001):
        assert said([(ts, 1, *market(1, 5))])[1:] == [(0, 1, "trade", 5, 100)]
    for ts in (1.001, 30, 59.999):
        assert said([(ts, 1, *market(1, 5))])[1:] == [(60, 1, "trade", 5, 104)]


def test_a_gap_is_waited_for_and_after_the_last_bar_nothing_comes():
    assert said([(130, 1, *market(-1, 5))]) == [(130, 1, "new", 0, 0), (600, 1, "trade", 5, 90)]
    assert said([(601.5, 1, *market(-1, 5))]) == [(601.5, 1, "new", 0, 0)]


def test_a_limit_order_is_not_filled_by_a_touch():
    assert said([(0, 1, 1, 5, 99, 0, T.LIMIT)], DAY[:1]) == [(0, 1, "new", 0, 0)]
    bar = [(0, 0, 0, 100, 103, 98, 102, 1000)]
    assert said([(0, 1, 1, 5, 99, 0, T.LIMIT)], bar)[1:] == [(59, 1, "trade", 5, 99)]
    assert said([(0, 1, 1, 5, 100, 0, T.LIMIT)], bar)[1:] == [(0, 1, "trade", 5, 100)]  # it could trade when it came
    assert said([(2, 1, 1, 5, 99, 0, T.LIMIT)], bar) == [(2, 1, "new", 0, 0)]  # the low may have been before it came


def test_a_gap_fills_at_the_open():
    assert said([(0, 1, 1, 5, 95, 0, T.LIMIT)])[1:] == [(600, 1, "trade", 5, 90)]
    assert said([(0, 1, -1, 5, 0, 95, T.STOP)])[1:] == [(600, 1, "trade", 5, 90)]
    assert said([(0, 1, 1, 5, 90, 0, T.LIMIT)])[1:] == [(659, 1, "trade", 5, 90)]  # an open at its price is a touch


@pytest.mark.parametrize("bar", [(100, 110, 90, 100), (100, 104, 90, 100), (100, 110, 98, 100)])
def test_the_stop_before_the_target(bar):
    got = said([(0, 1, -1, 5, 103, 0, T.LIMIT), (0, 2, -1, 5, 0, 98, T.STOP)], [(0, 0, 0, *bar, 1000)])
    assert got[2:] == [(59, 2, "trade", 5, 98)]


def test_slippage_is_against_us_rounded_up_and_ends_where_the_bar_does():
    slips = Profile(slippage_ppm=500, participation_ppm=0)
    bars = [(0, 0, 0, 10_000, 10_100, 9_900, 10_001, 1000), (0, 0, MINUTE, 10_001, 10_003, 10_001, 10_001, 1)]

    def trades(*requests):
        return {(n, p) for _, n, what, _, p in said(list(requests), bars, slips) if what == "trade"}

    assert trades((0, 1, *market(1, 5)), (0, 2, -1, 5, 0, 9_950, T.STOP)) == {(1, 10_005), (2, 9_945)}
    assert trades((0, 1, -1, 5, 0, 9_903, T.STOP)) == {(1, 9_900)}  # to 9,898, were it not for the low
    assert trades((60, 1, *market(-1, 5)), (60, 2, *market(-1, 5))) == {(1, 10_001), (2, 10_001)}
    assert trades((60, 1, *market(1, 5))) == {(1, 10_003)}
    assert trades((0, 1, 1, 5, 10_000, 0, T.LIMIT)) == {(1, 10_000)}


TENTH = Profile(slippage_ppm=0)


def test_no_more_than_our_share_of_the_volume():
    # of the first bar no volume is known before it is over; at an open it is the last bar's that counts
    got = said([(0, 1, *market(1, 150)), (0, 2, 1, 80, 102, 0, T.LIMIT)], DAY, TENTH)
    assert [r for r in got if r[2] == "trade"] == [
        (59, 1, "trade", 100, 100),
        (60, 1, "trade", 50, 104),
        (600, 2, "trade", 40, 90),
    ]
    assert said([(60, 1, *market(1, 150, T.IOC))], DAY, TENTH)[1:] == [(60, 1, "trade", 100, 104), (60, 1, "expired", 0, 0)]
    assert said([(60, 1, *market(1, 150, T.FOK))], DAY, TENTH)[1:] == [(60, 1, "expired", 0, 0)]
    assert said([(60, 1, *market(1, 100, T.FOK))], DAY, TENTH)[1:] == [(60, 1, "trade", 100, 104)]


def test_never_more_than_the_bar_traded():
    bars = [
        (0, 0, 0, 100, 100, 100, 100, 10_000),
        (0, 0, MINUTE, 100, 101, 99, 100, 30),
        (0, 0, 2 * MINUTE, 100, 100, 100, 100, 900),
    ]
    got = said([(60, 1, *market(1, 500))], bars, TENTH)
    assert got[1:] == [(60, 1, "trade", 30, 100), (120, 1, "trade", 3, 100), (179, 1, "trade", 87, 100)]


def test_a_rest_that_the_open_had_reached_trades_at_the_open_and_never_beyond_the_bar():
    bars = [(0, 0, 0, 100, 100, 100, 100, 1000), (0, 0, MINUTE, 100, 101, 99, 100, 3000)]
    for order in ((1, 250, 105, 0, T.LIMIT), (-1, 250, 95, 0, T.LIMIT), market(1, 250), market(-1, 250)):
        assert said([(60, 1, *order)], bars, TENTH)[1:] == [(60, 1, "trade", 100, 100), (119, 1, "trade", 150, 100)]


def test_bars_without_volume_have_no_share_to_take():
    bars = [(0, 0, k * MINUTE, 100, 101, 99, 100, 0) for k in range(3)]
    assert said([(0, 1, *market(1, 500))], bars, TENTH)[1:] == [(0, 1, "trade", 500, 100)]
    silent = [*bars, (0, 0, 3 * MINUTE, 100, 101, 99, 100, 50)]  # nothing traded in three bars of an instrument that has volume
    assert said([(0, 1, *market(1, 500))], silent, TENTH)[1:] == [(239, 1, "trade", 5, 100)]


def test_orders_that_come_while_the_session_is_closed_wait_for_the_next():
    phases = [
        (0, ev.PHASE, ev.OPEN),
        (2 * MINUTE, ev.PHASE, ev.CLOSED),
        (10 * MINUTE, ev.PHASE, ev.OPEN),
        (11 * MINUTE, ev.PHASE, ev.CLOSED),
    ]
    old = [(0, 1, 1, 5, 95, 0, T.LIMIT), (0, 2, 1, 5, 95, 0, T.LIMIT, T.GTC)]
    late = [
        (130, 3, *market(1, 5)),
        (131, 4, 1, 5, 0, 91, T.STOP),
        (132, 5, 1, 5, 80, 0, T.LIMIT),
        (133, 6, 1, 5, 80, 0, T.LIMIT, T.GTC),
    ]
    assert said(old + late, DAY, FREE, phases)[2:] == [
        (120, 1, "expired", 0, 0),
        *((130 + k, 3 + k, "new", 0, 0) for k in range(4)),
        (600, 3, "trade", 5, 90),
        (600, 2, "trade", 5, 90),
        (659, 4, "trade", 5, 91),  # the last price, 105, was no price of a session that it stood in
        (660, 5, "expired", 0, 0),
    ]


def test_the_finest_bars_execute():
    rows = [(0, 0, 0, 100, 101, 99, 100, 10), (0, 0, MINUTE, 105, 106, 104, 105, 10), (0, 1, 0, 100, 200, 50, 105, 20)]
    venue = Venue(session_of(rows, (), (MINUTE, 2 * MINUTE)), FREE)
    venue.request(T0 + 2, 0, T.CMD_NEW, 1 << T.SLOT_BITS | 1, 1, 5, 60)
    venue.request(T0 + 30 * SECOND, 0, T.CMD_NEW, 2 << T.SLOT_BITS | 2, 1, 5, 0, 0, T.MARKET)
    assert [r[2:5] for r in venue.run()[0]] == [("new", 0, 0), ("new", 0, 0), ("trade", 5, 105)]
    assert venue.session.manifest.finest_bar_ns == (MINUTE,)


# --- against the naive twin ---------------------------------------------------------------------------------------------------
px = st.integers(95, 106)
BAR = st.tuples(st.sampled_from([0, 0, 0, 1, 7]), px, px, px, px, st.integers(0, 60))
WHEN = st.tuples(st.integers(-1, 12), st.sampled_from([0, 0, 1, SECOND, SECOND + 1, 30 * SECOND, MINUTE - 1]))
KIND = st.sampled_from(["market", "limit", "limit", "limit", "stop", "stop", "stop-limit"])
REQUEST = st.one_of(
    *[
        st.tuples(
            WHEN, st.integers(0, 1), st.just("new"), st.sampled_from([-1, 1]), st.integers(1, 9), KIND, px, px,
            st.sampled_from(["day", "day", "gtc", "ioc", "fok"]), st.sampled_from(["", "", "", "post", "reduce"]),
        )
    ] * 3,
    st.tuples(WHEN, st.integers(0, 1), st.just("cancel"), st.integers(0, 9)),
    st.tuples(WHEN, st.integers(0, 1), st.just("replace"), st.integers(0, 9), st.integers(1, 12), px),
)  # fmt: skip
PHASES = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["closed", "open", "halt", "resume"])), max_size=3)
PROFILE = st.tuples(st.sampled_from([0, 500, 10_000, 30_000]), st.sampled_from([0, 100_000, 500_000]))


def laid_out(bars_of, n):
    """Bars one after another, each behind a gap of so many intervals; the second instrument's last two minutes. Times are open times."""
    out = []
    for i in range(n):
        t, length = 0, (i + 1) * MINUTE
        for gap, o, h, l, c, v in bars_of[i]:
            t += gap * length
            out.append((i, i, t, o, h, l, c, v))
            t += length
    return out


def steps_of(requests):
    """Requests in time order with handles given: (ts, instrument, what, handle, ...)."""
    handles, out = [[], []], []
    for (minute, ns), i, what, *rest in sorted(requests, key=lambda r: r[0]):
        ts = T0 + minute * MINUTE + ns
        if what == "new":
            handles[i].append((len(out) + 1) << T.SLOT_BITS | len(out) + 1)
            out.append((ts, i, what, handles[i][-1], *rest))
        elif handles[i]:
            out.append((ts, i, what, handles[i][rest[0] % len(handles[i])], *rest[1:]))
    return out


def fast_run(session, steps, slip, share, stops=()):
    venue = Venue(session, Profile(slippage_ppm=slip, participation_ppm=share))
    for ts, i, what, handle, *rest in steps:
        if what == "new":
            side, qty, kind, limit, stop, tif, extra = rest
            flags = {"post": T.POST_ONLY if kind == "limit" and tif in ("day", "gtc") else 0, "reduce": T.REDUCE_ONLY}.get(
                extra, 0
            )
            type_ = {"market": T.MARKET, "limit": T.LIMIT, "stop": T.STOP, "stop-limit": T.STOP_LIMIT}[kind]
            venue.request(ts, i, T.CMD_NEW, handle, side, qty, limit, stop, type_, TIFS[tif], flags)
        elif what == "cancel":
            venue.request(ts, i, T.CMD_CANCEL, handle)
        else:
            qty, price = rest
            venue.request(ts, i, T.CMD_REPLACE, handle, 1, qty, price, price)
    return venue, venue.run(stops)


def naive_run(bars, phases, steps, slip, share, i):
    twin = bar_twin.Bars(slip, share, SECOND)
    length = (i + 1) * MINUTE
    twin.uncapped = not any(v for k, *_, v in bars if k == i)
    twin.phase = "closed" if any(kind == ev.PHASE for _, kind, _ in phases) else "open"
    events = []
    for k, _, t, *ohlc, v in bars:
        if k == i:
            events.append((T0 + t + length, 0, "closes", (ohlc[3], v)))
            events.append((T0 + t, 2, "opens", ((*ohlc, v),)))
            events.append((T0 + t + length - SECOND, 2, "path", ()))
    events += [(T0 + t, 1, "turn", (kind, side)) for t, kind, side in phases]
    events += [(s[0], 3, s[2], s[3:]) for s in steps if s[1] == i]
    for ts, _, what, args in sorted(events, key=lambda e: e[:2]):
        if what == "opens":
            twin.opens(ts, *args)
        elif what in ("closes", "path"):
            getattr(twin, what)(ts, *args)
        elif what == "turn":
            kind, side = args
            if kind == ev.STATUS:
                twin.halted = side == ev.HALTED if i == 0 else twin.halted
            elif side == ev.CLOSED:
                twin.closed(ts)
            else:
                twin.phase = "open"
        elif what == "new":
            handle, side, qty, kind, limit, stop, tif, extra = args
            limit = limit if kind in ("limit", "stop-limit") else None
            stop = stop if kind in ("stop", "stop-limit") else None
            post = extra == "post" and kind == "limit" and tif in ("day", "gtc")
            twin.new(ts, handle, side, qty, limit, stop, tif, post, extra == "reduce")
        else:
            getattr(twin, what)(ts, *args)
    return twin.out


def turns(phases):
    """Rows for the drawn phases, an opening first where there is a phase at all."""
    table = {
        "closed": (ev.PHASE, ev.CLOSED),
        "open": (ev.PHASE, ev.OPEN),
        "halt": (ev.STATUS, ev.HALTED),
        "resume": (ev.STATUS, ev.TRADING),
    }
    out = [(t * MINUTE, *table[what]) for t, what in sorted(phases, key=lambda p: p[0])]
    return [(-MINUTE, ev.PHASE, ev.OPEN), *out] if any(kind == ev.PHASE for _, kind, _ in out) else out


CASE = st.tuples(
    st.lists(BAR, min_size=1, max_size=10), st.lists(BAR, min_size=1, max_size=5), PHASES, st.lists(REQUEST, max_size=14), PROFILE
)


def case_of(case):
    first, second, phases, requests, (slip, share) = case
    bars, phases = laid_out((first, second), 2), turns(phases)
    return bars, phases, session_of(bars, phases, (MINUTE, 2 * MINUTE), 2), steps_of(requests), slip, share


@CALM
@given(CASE)
def test_against_the_twin(case):
    bars, phases, session, steps, slip, share = case_of(case)
    venue, got = fast_run(session, steps, slip, share)
    for i in range(2):
        assert got[i] == naive_run(bars, phases, steps, slip, share, i)
    resting = sum(1 for o in venue.arena.region("orders") if int(o.live))
    assert resting == int(venue.h.resting) == sum(int(b.n_resting) for b in venue.arena.region("books"))


def long_case(seed):
    """Sixty bars and two hundred requests, prices near each other, so that a great deal happens."""
    r = random.Random(seed)

    def price():
        return r.randint(96, 105)

    def bars(n):
        return [(r.choice([0] * 9 + [1]), price(), price(), price(), price(), r.randint(0, 90)) for _ in range(n)]

    def request():
        when = r.randint(-1, 64), r.choice([0, 1, SECOND, SECOND + 1, 30 * SECOND])
        what = r.choice(["new"] * 8 + ["cancel", "replace"])
        if what == "cancel":
            return when, r.randint(0, 1), what, r.randint(0, 60)
        if what == "replace":
            return when, r.randint(0, 1), what, r.randint(0, 60), r.randint(1, 12), price()
        kind, tif = r.choice(["market", "limit", "limit", "stop", "stop-limit"]), r.choice(["day", "day", "gtc", "ioc", "fok"])
        extra = r.choice(["", "", "", "post", "reduce"])
        return when, r.randint(0, 1), what, r.choice([-1, 1]), r.randint(1, 9), kind, price(), price(), tif, extra

    phases = [(30, "closed"), (33, "open"), (40, "halt"), (43, "resume")] if seed % 2 else []
    profile = r.choice([0, 500, 10_000]), r.choice([0, 100_000, 500_000])
    return bars(60), bars(30), phases, [request() for _ in range(200)], profile


def test_long_days_against_the_twin():
    happened = collections.Counter()
    for seed in range(40):
        bars, phases, session, steps, slip, share = case_of(long_case(seed))
        _, got = fast_run(session, steps, slip, share)
        for i in range(2):
            assert got[i] == naive_run(bars, phases, steps, slip, share, i), (seed, i)
            happened.update(r[2] for r in got[i])
    assert happened["trade"] > 2000 and min(happened[k] for k in ("expired", "rejected", "canceled", "replaced")) > 50, happened


@CALM
@given(CASE, st.lists(WHEN, max_size=8))
def test_in_pieces(case, cuts):
    *_, session, steps, slip, share = case_of(case)
    whole, want = fast_run(session, steps, slip, share)
    venue, got = fast_run(session, steps, slip, share, sorted(T0 + m * MINUTE + ns for m, ns in cuts))
    assert got == want and venue.arena.digest() == whole.arena.digest()


@CALM
@given(CASE, st.integers(0, 14), st.tuples(px, px, px, px, st.integers(60, 120)))
def test_nothing_knows_the_rest_of_a_bar(case, k, other):
    """But for the two bounds, by its range (no slippage here) and by its volume (here more than any share of the last bar's)."""
    bars, phases, _, steps, _, share = case_of(case)
    bars = [(*bar[:-1], 60 + bar[-1]) for bar in bars]
    i, interval, t, o, *_ = bars[k % len(bars)]
    length = (interval + 1) * MINUTE

    def run():
        return fast_run(session_of(bars, phases, (MINUTE, 2 * MINUTE), 2), steps, 0, share)[1]

    want = run()
    # orders meet the path a moment before the close, and what they met is reported
    for changed, known in (((o, *other[1:]), T0 + t + length - SECOND), (other, T0 + t)):
        bars[k % len(bars)] = (i, interval, t, *changed)
        for a, b in zip(run(), want, strict=True):
            assert [r for r in a if r[0] < known] == [r for r in b if r[0] < known]
