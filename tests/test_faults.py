"""Faults of a plan do what they say and nothing else, the same every time, and never bring the trader's books out of order."""

import json
import os
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
import runs
from hypothesis import HealthCheck, given, settings

import replay
from replay import events as ev
from replay.data.session import OF_INSTRUMENT
from replay.data.synth import equity_day
from replay.engine import Engine
from replay.errors import BadInput
from replay.faults import Fault, Plan
from replay.faults.feed import arrange
from replay.runs.config import RunConfig
from replay.runs.result import Result
from replay.strategy import load
from replay.trader import layout as T
from replay.trader.limits import Limits
from replay.trader.orders import (
    EXEC_BUST,
    EXEC_CANCELED,
    EXEC_GONE,
    EXEC_NEW,
    EXEC_REJECTED,
    EXEC_TRADE,
    EXEC_UNKNOWN,
    FREE,
    TERMINAL,
    UNKNOWN,
)
from replay.trader.output import OUT_FEE, OUT_REPORT, OUT_STATE

HERE = Path(__file__).parent
EVERYTHING = Plan(
    seed=5,
    faults=(
        Fault(kind="feed_outage", from_="+1h", to="+80m"),
        Fault(kind="feed_late", share=Decimal("0.05"), delay="2s"),
        Fault(kind="feed_twice", share=Decimal("0.05")),
        Fault(kind="feed_outlier", share=Decimal("0.01")),
        Fault(kind="halt", from_="+4h", to="+250m", symbols=("A",)),
        Fault(kind="request_lost", share=Decimal("0.1")),
        Fault(kind="request_slow", from_="+2h", to="+3h", factor=Decimal(100)),
        Fault(kind="report_lost", share=Decimal("0.1")),
        Fault(kind="report_late", share=Decimal("0.2"), delay="200ms"),
        Fault(kind="report_twice", share=Decimal("0.2"), delay="300ms"),
        Fault(kind="report_slow", from_="+3h", to="+4h", factor=Decimal(100)),
        Fault(kind="reject", share=Decimal("0.1")),
        Fault(kind="pull", at="+200m", share=Decimal("0.7")),
        Fault(kind="pause", from_="+270m", to="+280m"),
        Fault(kind="crash", at="+300m", delay="10m"),
    ),
)  # fmt: skip


def engine(faults=Plan(), level="l1", every=7, **options):
    from busy import Busy

    profile = runs.Profile(**runs.LEGS, maker_fee_ppm=100, taker_fee_ppm=300)
    capital = {runs.session(level).manifest.instruments[0].currency: Decimal(10**6)}
    return Engine(runs.session(level), [load(Busy, {"every": every})], profile, runs.LIMITS, capital, faults=faults, **options)


def one(kind, **values):
    return Plan(seed=3, faults=(Fault(kind=kind, **values),))


def reports(e):
    return [r for r in e.output() if r.kind == OUT_REPORT]


def struck(e):
    return Counter(int(k) for k in e.faults_struck()["id"])


def consistent(e):
    """Books and orders are right, whatever happened on the way."""
    h, t = e.trader.header, e.trader
    garbled = sum(n for k, n in struck(e).items() if e.faults.faults[k].kind == "report_garbled")
    assert h.c_illegal == h.c_unknown and not e.venue.header.overrun
    forgotten = int(h.c_illegal) - garbled  # taken back, or corrected, when another order had the slot: the trader halts
    assert forgotten == 0 or (forgotten > 0 and {"report_bust", "report_correct"} & {f.kind for f in e.faults.faults})
    if forgotten:
        return
    for o in t.region("orders"):
        assert o.state in (FREE,) or TERMINAL[o.state] or o.state != UNKNOWN, "an order is unknown at the end"
    fills = {}
    for r in reports(e):
        if r["flags"] >> 8 == EXEC_TRADE and r.d & 1:
            assert int(r.id) not in fills, "a fill was booked twice"
            fills[int(r.id)] = (int(r.instrument), int(r.side) * int(r.b))
        elif r["flags"] >> 8 == EXEC_BUST and r.d & 1:
            fills[int(r.id)] = (int(r.instrument), 0)
    assert len(fills) == e.venue.header.c_fills == h.n_fills
    n = len(e.session.instruments)
    for k in range(n):
        assert t.region("positions")[k].qty == sum(q for i, q in fills.values() if i == k) == e.venue.region("books")[k].position
    fees = sum(int(r.b) for r in e.output() if r.kind == OUT_FEE)
    assert sum(int(c.fees) for c in t.region("currencies")) == fees
    live = {int(o.handle): int(o.leaves) for o in e.venue.region("orders") if o.live}
    ours = {
        int(o.handle): int(o.qty - o.cum) for o in t.region("orders") if o.state != FREE and not TERMINAL[o.state] and o.t_sent
    }
    assert live == {handle: q for handle, q in ours.items() if handle in live} and set(live) == set(ours)


def test_no_fault_changes_nothing():
    plain, later = engine().run(), engine(one("reject", from_="+20h")).run()
    assert later.digest == plain.digest and struck(later) == {}
    assert engine(Plan(seed=9)).run().state_digest == plain.state_digest
    assert plain.feed.rows is plain.session.events


@pytest.mark.parametrize("level", ["l1", "l2"])
def test_everything_at_once_leaves_the_books_right(level):
    plan = EVERYTHING
    if level == "l2":
        plan = msgspec.structs.replace(plan, faults=tuple(f for f in plan.faults if not f.symbols and f.kind != "feed_outlier"))
    e = engine(plan, level, every=5).run()
    consistent(e)
    assert len(struck(e)) >= (12 if level == "l1" else 7) and e.trader.header.n_fills > 10, struck(e)


def test_a_lost_report_is_looked_up():
    e = engine(one("report_lost", share=Decimal("0.3"), reports=("new", "trade"))).run()
    consistent(e)
    said = [(int(r.a), int(r["flags"]) >> 8, int(r.ts_recv), int(r.ts_event)) for r in reports(e)]
    lost = e.faults_struck()
    unknown = {(h, t) for h, kind, t, _ in said if kind == EXEC_UNKNOWN}
    assert len(lost) > 10 and unknown
    assert {(h, t - 5_000_000_000) for h, t in unknown} <= {(int(x.a), int(x.ts_event)) for x in lost}
    again = [t for h, kind, t, _ in said if kind == EXEC_TRADE and any(u == h and t > w + 10**9 for u, w in unknown)]
    assert again, "lost fills came with the look-up"


def test_a_lost_request_is_gone():
    e = engine(one("request_lost", share=Decimal("0.3"), requests=("new",))).run()
    consistent(e)
    gone = {int(r.a) for r in reports(e) if r["flags"] >> 8 == EXEC_GONE and r.d & 1}
    lost = {int(x.a) for x in e.faults_struck()}
    assert lost and gone == lost
    assert e.venue.header.c_requests == e.trader.header.c_new + e.trader.header.c_cancel + e.trader.header.c_replace - len(lost)


def test_lost_cancels_are_answered():
    e = engine(one("request_lost", share=Decimal("0.5"), requests=("cancel", "replace"))).run()
    consistent(e)
    assert len(e.faults_struck()) > 3


def test_reports_late_and_twice():
    e = engine(one("report_late", share=Decimal("0.5"), delay="3s", reports=("new",))).run()
    consistent(e)
    first = {}
    for r in reports(e):
        first.setdefault(int(r.a), int(r["flags"]) >> 8)
    assert EXEC_TRADE in first.values(), "a fill came before the acknowledgement"
    e = engine(one("report_twice", delay="100ms")).run()
    consistent(e)
    assert e.trader.header.c_duplicate > 50


def test_rejected_and_pulled():
    e = engine(one("reject", from_="+1h", to="+2h")).run()
    consistent(e)
    start = e.session.manifest.start_ns
    rejected = [int(r.ts_recv) for r in reports(e) if r["flags"] >> 8 == EXEC_REJECTED]
    assert rejected and all(3600 * 10**9 <= t - start <= 7300 * 10**9 for t in rejected)
    e = engine(one("pull", at="+3h")).run()
    consistent(e)
    pulled = {int(x.a) for x in e.faults_struck()}
    assert pulled == {int(r.a) for r in reports(e) if r["flags"] >> 8 == EXEC_CANCELED and r.a in pulled}


class Minutes(replay.Strategy):
    """A timer at each of the first forty minutes."""

    def on_start(self, ctx):
        for k in range(1, 41):
            ctx.timer(ctx.now + 1 + k * 60 * 10**9, k)


AWAY = 3600 * 10**9, 4800 * 10**9  # of the two tests that follow, from the start


def heard(e):
    """When each input reached the trader, from the start, and the row."""
    start = e.session.manifest.start_ns
    frames = e.journal().frames
    return list(zip((frames["now"] - start).tolist(), np.ascontiguousarray(frames["event"]).view(ev.EVENT).ravel(), strict=True))


def test_a_pause_holds_everything_back():
    """Nothing is taken and nothing sent while it lasts; nothing is lost, and timers fire at its end."""
    e = engine(one("pause", from_="+1h", to="+80m"), every=1, journal=True).run()
    consistent(e)
    taken = heard(e)
    assert not [t for t, _ in taken if AWAY[0] <= t < AWAY[1]] and sum(t == AWAY[1] for t, _ in taken) > 50
    market = [x for _, x in taken if x["kind"] in (ev.QUOTE, ev.TRADE)]
    assert len(market) == np.isin(e.session.events.kind, (ev.QUOTE, ev.TRADE)).sum()
    assert np.all(np.diff([int(x["ts_event"]) for x in market if x["instrument"] == 0]) >= 0), "in order"
    assert any(x.a for x in e.faults_struck()) and not [r for r in reports(e) if r["flags"] >> 8 == EXEC_UNKNOWN]


def test_a_crash_is_come_back_from():
    """Away for twenty minutes: rows are gone and said to be, reports are looked up at the return, what was sent went on."""
    e = engine(one("crash", at="+1h", delay="20m"), every=1, journal=True).run()
    consistent(e)
    taken = heard(e)
    assert not [t for t, _ in taken if AWAY[0] <= t < AWAY[1]]
    first = {}
    for t, x in taken:
        if t >= AWAY[1] and x["kind"] in (ev.QUOTE, ev.TRADE):
            first.setdefault(int(x["instrument"]), int(x["flags"]))
    assert first and all(flags & ev.GAP for flags in first.values())
    start = e.session.manifest.start_ns
    lost = {int(x.a) for x in e.faults_struck() if x.a}
    unknown = {int(r.a): int(r.ts_recv) - start for r in reports(e) if r["flags"] >> 8 == EXEC_UNKNOWN}
    assert lost and set(unknown) == lost and set(unknown.values()) == {AWAY[1]}
    assert [t for t, x in taken if x["kind"] == ev.REPORT and int(x["a"]) in lost and t > AWAY[1] + 10**9], (
        "the look-up's answers"
    )
    sent = [t for r in e.trader.region("orders") if (t := int(r.t_sent) - start) > 0]
    assert not [t for t in sent if AWAY[0] <= t < AWAY[1]] and max(sent) > AWAY[1], "it trades again"


def test_timers_wait_until_we_are_back():
    """One that is due while we are away fires at the return, once; also where one absence ends in another."""
    plan = Plan(faults=(Fault(kind="crash", at="+20m", delay="10m"), Fault(kind="pause", from_="+10m", to="+25m")))
    e = Engine(runs.session("l1"), [load(Minutes)], runs.Profile(**runs.LEGS), faults=plan, journal=True).run()
    minute = 60 * 10**9
    fired = [(round(t / minute, 3), int(x["id"])) for t, x in heard(e) if x["kind"] == ev.TIMER]
    assert fired == [(30 if 10 <= k < 30 else k, k) for k in range(1, 41)]


@pytest.mark.parametrize("kind", ["clock_jump", "disk_full", "disk_error", "disk_slow"])
def test_what_a_replay_has_not(kind):
    at = {"at": "+1h"} if kind == "clock_jump" else {}
    with pytest.raises(
        BadInput, match=f"{kind}: a replay has no (disk|clock to jump): leave it out, or try it live: replay paper --faults"
    ):
        engine(one(kind, **at))


def test_slow_legs():
    def leg(e):
        return max(int(r.ts_recv) for r in reports(e) if r["flags"] >> 8 == EXEC_NEW and r.a == first)

    plain, slow = engine(), engine(one("request_slow", factor=Decimal(1000)))
    for e in (plain, slow):
        e.run()
    first = min(int(r.a) for r in reports(plain))
    assert leg(slow) - leg(plain) > 300_000_000  # a leg of about 1 ms takes about 1 s
    consistent(slow)


# --- the feed ---------------------------------------------------------------------------------------------------------------
def feed(kind, level="l1", **values):
    s = runs.session(level)
    made = arrange(s, one(kind, **values), True)
    assert np.all(np.diff(made.ours.ts_recv) >= 0)
    at_venue = made.rows[made.order]
    seen = s.events if s.order is None else s.events[s.order]
    if kind != "halt":
        for name in ("ts_event", "kind", "instrument", "a", "b", "c", "d"):
            assert np.array_equal(at_venue[name], seen[name]), f"the venue's market changed in {name}"
    return s, made


def payload(rows):
    return Counter(
        zip(*(rows[n].tolist() for n in ("ts_event", "kind", "side", "instrument", "id", "a", "b", "c", "d")), strict=True)
    )


@pytest.mark.parametrize("level", ["l1", "l2", "bars"])
def test_rows_are_lost_to_us_only(level):
    length = 2 * 10**9 if level == "l2" else 3600 * 10**9
    when = {"from_": f"+{length}ns", "to": f"+{2 * length}ns"}
    s, made = feed("feed_outage", level, **when)
    start = s.manifest.start_ns + length
    lost = (s.events.ts_recv >= start) & (s.events.ts_recv < start + length) & np.isin(s.events.kind, OF_INSTRUMENT)
    assert lost.any() and payload(made.ours) == payload(s.events[~lost])
    marked = made.ours[(made.ours["flags"] & ev.GAP) != 0]
    assert {int(r.instrument) for r in marked} == set(np.unique(s.events.instrument[lost]).tolist())
    assert marked.ts_recv.min() >= start
    assert payload(feed("feed_gap", level, **when)[1].ours) == payload(made.ours)


def test_rows_come_later_and_twice():
    s, mute = feed("feed_mute", from_="+1h", to="+2h")
    end = s.manifest.start_ns + 7200 * 10**9
    late = (s.events.ts_recv >= end - 3600 * 10**9) & (s.events.ts_recv < end) & (s.events.kind != ev.PHASE)
    assert (mute.ours.ts_recv == end).sum() >= late.sum() > 0 and payload(mute.ours) == payload(s.events)
    _, moved = feed("feed_late", share=Decimal("0.2"), delay="60s")
    assert np.any(np.diff(moved.ours.ts_event) < 0)
    assert sum(payload(moved.ours).values()) + (s.manifest.n_events - len(moved.ours)) == s.manifest.n_events
    _, twice = feed("feed_twice", from_="+1h", to="+2h", share=Decimal("0.5"))
    assert len(twice.ours) == s.manifest.n_events + len(twice.hits)
    assert set((payload(twice.ours) - payload(s.events)).values()) == {1}
    _, slow = feed("feed_slow", from_="+1h", to="+2h", factor=Decimal(3))
    leg, was = slow.ours.ts_recv - slow.ours.ts_event, s.events.ts_recv - s.events.ts_event
    assert leg.sum() == was.sum() + 2 * was[late].sum()


def test_wrong_quotes():
    s, crossed = feed("feed_crossed", share=Decimal("0.1"))
    q = crossed.ours[crossed.ours.kind == ev.QUOTE]
    assert (q.a > q.c).sum() == len(crossed.hits) > 50
    _, zero = feed("feed_zero", from_="+1h", to="+2h")
    assert (zero.ours.b[zero.ours.kind == ev.QUOTE] == 0).sum() >= len(zero.hits) > 10
    _, wild = feed("feed_outlier", share=Decimal("0.01"), factor=Decimal("0.5"))
    assert payload(wild.ours) != payload(s.events) and len(wild.ours) == len(s.events)


def test_halt_is_said_and_stops_fills():
    s, made = feed("halt", from_="+1h", to="+5h")
    assert (made.ours.kind == ev.STATUS).sum() == 2 * len(s.instruments)
    e = engine(one("halt", from_="+1h", to="+5h")).run()
    start = s.manifest.start_ns
    times = [int(r.ts_recv) - start for r in reports(e) if r["flags"] >> 8 == EXEC_TRADE]
    assert times and not [t for t in times if 3700 * 10**9 < t < 18_000 * 10**9]


# --- the same, every time -----------------------------------------------------------------------------------------------------
def digests():
    e = engine(EVERYTHING).run()
    return [e.digest, e.state_digest, len(e.faults_struck())]


def test_compiled_interpreted_stepped_restored():
    here = digests()
    again = Path(__file__)
    other = "0" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else "1"
    env = {**os.environ, "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}", "NUMBA_DISABLE_JIT": other, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, str(again)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == here
    e = engine(EVERYTHING)
    state = None
    for k in range(10**6):
        if e.advance(1):
            break
        if k == 700:
            state = e.snapshot()
    assert [e.digest, e.state_digest, len(e.faults_struck())] == here
    e.restore(state)
    e.run()
    assert [e.digest, e.state_digest] == here[:2]


def test_journal_of_a_faulty_run_steps_to_the_same_state():
    from replay.journal import verify

    e = engine(EVERYTHING, journal=True).run()
    verify(e.journal())


# --- any plan ------------------------------------------------------------------------------------------------------------------
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(replay.faults.plans())
def test_any_plan(plan):
    e = engine(plan).run()
    consistent(e)
    if any(f.kind == "report_bust" for f in plan.faults):
        return  # one moves the position where no limit was asked
    limit = 60
    position = {}
    for r in reports(e):
        if r["flags"] >> 8 == EXEC_TRADE and r.d & 1:
            position[int(r.instrument)] = position.get(int(r.instrument), 0) + int(r.side) * int(r.b)
            assert abs(position[int(r.instrument)]) <= limit


# --- plans as text --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed = what", "plan.toml:1: Invalid value"),
        ("[[fault]]\nkind = 'fire'\n", "plan.toml:2: kind: expected one of request_lost"),
        ("seed = 1\n[[fault]]\nkind = 'reject'\nshare = 2\n", "plan.toml:4: share must be above 0 and at most 1, got 2"),
        (
            "[[fault]]\nkind = 'reject'\n[[fault]]\nkind = 'reject'\nwhat = 1\n",
            "plan.toml:3: Object contains unknown field `what`",
        ),
        ("[[fault]]\nkind = 'reject'\ndelay = '2s'\n", "reject takes no delay"),
        ("[[fault]]\nkind = 'reject'\nfrom = 'noon'\n", "plan.toml:3: from: expected a time such as 15:31"),
        ("[[fault]]\nkind = 'pull'\n", "pull needs the time"),
        ("[[fault]]\nkind = 'report_lost'\nreports = ['nothing']\n", "plan.toml:3: reports: expected some of"),
        ("[[fault]]\nkind = 'feed_late'\ndelay = 'soon'\n", "plan.toml:3: delay"),
    ],
)
def test_bad_plans_are_refused_in_one_line(text, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text(text)
    with pytest.raises(BadInput) as e:
        Plan.load("plan.toml")
    assert told in str(e.value) and "\n" not in str(e.value)


def test_plans_that_do_not_fit_the_session():
    with pytest.raises(BadInput, match="no symbol 'C'"):
        engine(one("reject", symbols=("C",)))
    with pytest.raises(BadInput, match="ends before it begins"):
        engine(one("feed_gap", from_="+2h", to="+1h"))
    with pytest.raises(BadInput, match="recorded times"):
        Engine(runs.session("l1"), [load("ema_cross")], runs.Profile(feed=runs.Leg("constant", 5)), faults=one("feed_gap"))
    with pytest.raises(BadInput, match="name a TOML file"):
        Plan.load("nowhere.toml")


def test_a_plan_survives_text_config_and_manifest(tmp_path):
    (tmp_path / "plan.toml").write_text(EVERYTHING.to_toml())
    assert Plan.load(tmp_path / "plan.toml") == EVERYTHING
    config = RunConfig(faults=EVERYTHING)
    (tmp_path / "run.toml").write_text(config.to_toml())
    assert RunConfig.load(tmp_path / "run.toml") == config
    run = replay.run(
        runs.session("l1"),
        "ema_cross",
        {"fast": 8, "slow": 24, "warmup": 30},
        faults=tmp_path / "plan.toml",
        out=tmp_path / "run",
    )
    read = Result.open(tmp_path / "run")
    assert read.manifest.config.faults == EVERYTHING and read.summary.faults == run.summary.faults
    assert read.table("faults").num_rows == sum(x.count for x in read.summary.faults) > 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What went wrong, by plan" in page and "report_lost" in page


if __name__ == "__main__":
    print(json.dumps(digests()))


def test_a_feed_that_stays_dead_kills_and_flattens_before_the_session_ends():
    limits = Limits(max_quote_age_s=Decimal(600), halt_escalate_s=Decimal(1200), flatten=True)
    plan = Plan(faults=(Fault(kind="feed_outage", from_="+1h"),))
    run = Engine(equity_day(n_events=4000), [load("buy_and_hold")], limits=limits, faults=plan).run()
    start = run.session.manifest.start_ns
    states = [(int(r.side), (int(r.ts_recv) - start) // (60 * 10**9)) for r in run.output()[run.output().kind == OUT_STATE]]
    assert states == [(T.HALTED, 69), (T.KILLED, 89)] or states == [(T.HALTED, 70), (T.KILLED, 90)]
    assert int(run.trader.header.n_fills) >= 2 and int(run.trader.region("views")[0].pos) == 0
    assert int(run.trader.header.now) == run.session.manifest.end_ns and run.stopped
