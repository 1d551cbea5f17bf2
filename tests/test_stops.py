"""The trader's two stops: halts that clear, kills that stay; and the running limits that pull them."""

from decimal import Decimal as D

import pytest
from drive import CENT, MONEY, T0, Trader

from replay import events as ev
from replay.trader import layout as T
from replay.trader import orders as O
from replay.trader import reasons as R
from replay.trader.limits import Limits


def trader(n=1, flatten=False, held=100, **limits):
    """A trader that holds 100 lots bought at 102, quoted 100 / 102: equity 9,999.00."""
    kw = {k: limits.pop(k) for k in ("phased", "strategies", "capacity", "tombstone", "capital") if k in limits}
    t = Trader(n, Limits(flatten=flatten, **limits), **kw)
    if "phased" in kw:
        t.phase(ev.OPEN, 1)
    for k in range(n):
        t.quote(instrument=k)
    if held:
        t.bought(held, 102)
    t.sent.clear()
    return t


def at_mid(t, mid, instrument=0):
    return t.quote(mid - 1, 1000, mid + 1, 1000, instrument)


# --- halts --------------------------------------------------------------------------------------------------------------------
def spike(t, times, first=0):
    for s in times:
        t.at(s)
        h = t.limit(1, 100)
        assert h > 0
        t.report(h, O.EXEC_REJECTED)


def test_five_rejections_in_a_minute_halt():
    t = trader(reject_spike=5)
    spike(t, (0, 15, 30, 45))
    assert t.status[0] == "active"
    t.at(60)
    h = t.limit(1, 100)
    t.report(h, O.EXEC_REJECTED)
    assert t.status == ("halted", "rejection_spike") and int(t.h.halts) == 1
    assert t.limit(1, 100) == -R.IS_HALTED
    assert t.market(-100) > 0  # reduces
    t.at(60 + 60, ns=-1).quote()
    assert t.status[0] == "halted"
    t.at(60 + 60).trade(100)
    assert t.status == ("active", "rejection_spike")
    assert t.limit(1, 99) == -R.SELF_TRADE and t.limit(-1, 103) > 0


def test_five_rejections_in_more_than_a_minute_do_not():
    t = trader(reject_spike=5)
    spike(t, (0, 15, 30, 45))
    t.at(60, ns=1)
    t.report(t.limit(1, 100), O.EXEC_REJECTED)
    assert t.status[0] == "active"


def test_without_a_limit_rejections_do_not_halt():
    t = trader()
    spike(t, range(10))
    assert t.status[0] == "active"


def test_a_halt_that_lasts_becomes_a_kill():
    t = trader(2, max_quote_age_s=5, halt_escalate_s=30)
    h = t.at(5).limit(1, 100)
    assert t.at(6).limit(1, 100) == -R.STALE_FEED
    t.at(36, ns=-1).trade(100)
    assert t.status[0] == "halted"
    t.at(36).trade(100)
    assert t.status == ("killed", "stale_feed")
    assert [c.handle for c in t.sent if c.kind == T.CMD_CANCEL] == [h]


def test_a_report_too_may_end_a_halt():
    t = trader(reject_spike=1, reject_window_s=10)
    spike(t, (0,))
    assert t.status == ("halted", "rejection_spike")
    h = t.market(-1)
    t.at(10).ack(h)
    assert t.status[0] == "active"


def test_the_harder_halt_stays():
    t = trader(max_quote_age_s=5, reject_spike=1, halt_escalate_s=100)
    h = t.at(5).limit(1, 100)
    assert t.at(6).limit(1, 100) == -R.STALE_FEED
    t.at(7).report(h, O.EXEC_REJECTED)
    assert t.status == ("halted", "rejection_spike")
    t.at(8).quote()
    assert t.status == ("halted", "rejection_spike")  # a quote does not clear it
    t.control(ev.OP_HALT)
    t.at(90).quote()
    assert t.status == ("halted", "manual") and int(t.h.halts) == 1
    t.report(h, O.EXEC_NEW, exec_id=99)
    t.at(106).quote()
    assert t.status == ("killed", "manual")  # 100 s after the first


def test_of_two_halts_the_harder_stays():
    t = trader(reject_spike=1)
    h = t.limit(1, 100)
    t.control(ev.OP_HALT)
    t.report(h, O.EXEC_REJECTED)
    assert t.status == ("halted", "manual") and int(t.h.halts) == 1  # not by hand any more, time would lift it
    t.at(10_000).quote()
    assert t.status == ("halted", "manual")


def test_an_illegal_report_halts_until_somebody_resumes():
    t = trader(max_quote_age_s=5)
    assert t.at(6).limit(1, 100) == -R.STALE_FEED
    t.step(ev.REPORT, 7, 1, O.EXEC_NEW << 8, 1, 77 << 20)  # of an instrument that is not there, too
    assert t.status == ("halted", "unknown_order") and int(t.h.c_unknown) == 1
    t.quote()
    t.at(10_000).quote()
    assert t.status[0] == "halted"
    t.control(ev.OP_RESUME)
    assert t.status == ("active", "manual")
    t.control(ev.OP_RESUME)


def test_the_operator():
    t = trader(2)
    a, b = t.limit(1, 99), t.limit(1, 98, instrument=1)
    t.control(ev.OP_CANCEL_ALL)
    assert {c.handle for c in t.sent if c.kind == T.CMD_CANCEL} == {a, b} and t.status[0] == "active"
    t.control(ev.OP_HALT)
    t.control(ev.OP_HALT)
    assert t.status == ("halted", "manual") and int(t.h.halts) == 1
    t.control(ev.OP_KILL)
    assert t.status == ("killed", "manual")
    t.control(ev.OP_HALT)
    t.control(ev.OP_KILL)
    t.control(99)
    assert t.status == ("killed", "manual") and t.market(1) == -R.IS_KILLED
    t.control(ev.OP_RESUME)
    assert t.status[0] == "active" and t.market(1, instrument=1) > 0


# --- running limits -------------------------------------------------------------------------------------------------------------
def test_daily_loss_kills_one_below():
    t = trader(max_daily_loss=D("6"), phased=True)
    at_mid(t, 96)  # 100 lots lost 6 ticks: 6.00
    assert t.status[0] == "active" and int(t.h.equity) == int(t.h.floor)
    t.quote(95, 1000, 96, 1000)
    assert t.status == ("killed", "daily_loss")
    assert t.market(1) == -R.IS_KILLED


def test_a_daily_kill_is_lifted_at_the_next_days_open():
    t = trader(max_daily_loss=D("6"), phased=True)
    at_mid(t, 90)
    assert t.status == ("killed", "daily_loss")
    t.phase(ev.CLOSED, 1)
    t.phase(ev.OPEN, 1)  # the same day
    assert t.status[0] == "killed"
    t.phase(ev.PRE_OPEN, 2)
    assert t.status[0] == "killed"
    t.phase(ev.OPEN, 2)
    assert t.status == ("active", "daily_loss")
    assert int(t.h.floor) == int(t.h.equity) - 6 * MONEY
    at_mid(t, 84)
    assert t.status[0] == "active"
    at_mid(t, 83)
    assert t.status == ("killed", "daily_loss")


def test_a_daily_kill_does_not_hide_a_harder_one():
    t = trader(max_daily_loss=D("6"), phased=True)
    at_mid(t, 90)
    t.control(ev.OP_KILL)
    assert t.status == ("killed", "manual")
    t.phase(ev.OPEN, 2)
    assert t.status == ("killed", "manual")
    t = trader(max_daily_loss=D("6"), max_total_loss=D("15"), phased=True)
    at_mid(t, 90)
    at_mid(t, 80)
    t.phase(ev.OPEN, 2)
    assert t.status == ("killed", "total_loss")


def test_total_loss():
    t = trader(max_total_loss=D("6"), phased=True)
    at_mid(t, 96)
    t.phase(ev.OPEN, 2)
    assert t.status[0] == "active"
    t.quote(95, 1000, 96, 1000)
    assert t.status == ("killed", "total_loss")
    t.phase(ev.OPEN, 3)
    assert t.status[0] == "killed"


def test_a_total_loss_is_not_lifted_by_going_on():
    t = trader(max_total_loss=D("6"))
    t.quote(100, ask=100)
    t.bought(100, 100)
    t.quote(90, ask=90)
    assert t.status == ("killed", "total_loss")
    t.control(ev.OP_RESUME)
    assert t.status == ("killed", "total_loss")


def test_drawdown_from_the_peak():
    t = trader(max_drawdown=D("5"))
    at_mid(t, 110)
    peak = int(t.h.peak)
    at_mid(t, 105)
    assert t.status[0] == "active" and int(t.h.drawdown) == 500 * CENT and int(t.h.peak) == peak
    t.quote(104, 1, 105, 1)
    assert t.status == ("killed", "drawdown")


def test_drawdown_as_a_share_and_the_smaller_of_both():
    t = trader(max_drawdown_share=D("0.001"))  # of 10,000
    at_mid(t, 92)
    assert t.status[0] == "active"
    t.quote(91, 1, 92, 1)
    assert t.status == ("killed", "drawdown")
    t = trader(max_drawdown_share=D("0.001"), max_drawdown=D("2"))
    assert int(t.h.floor) == int(t.h.peak) - 2 * MONEY
    t = trader(max_drawdown=D("2"), max_daily_loss=D("1"), max_total_loss=D("3"))
    assert int(t.h.floor_reason) == R.DAILY_LOSS


@pytest.mark.parametrize("limits", [{"max_drawdown_share": D("1")}, {"max_drawdown_share": D("1"), "max_drawdown": D("20")}])
def test_a_share_of_a_peak_that_is_nothing_allows_nothing(limits):
    t = trader(capital="10", **limits)
    at_mid(t, 90)  # 12 ticks below what was paid for 100 lots
    assert t.status == ("killed", "drawdown") and int(t.h.equity) < 0
    t.control(ev.OP_RESUME)
    assert t.status[0] == "active" and int(t.h.floor) == int(t.h.peak) == int(t.h.equity)
    t.quote(88, 1, 89, 1)
    assert t.status == ("killed", "drawdown")


def test_no_running_limits_never_kill():
    t = trader()
    at_mid(t, 51)
    assert t.status[0] == "active"


# --- killed -------------------------------------------------------------------------------------------------------------------
def kill(t):
    return t.control(ev.OP_KILL)


def test_a_kill_cancels_everything_and_lets_nothing_out():
    t = trader(2, flatten=False)
    a = t.limit(10, 99)
    b = t.limit(10, 98, instrument=1)
    assert t.replace(b, 20, 97) == 0
    left = kill(t)
    assert [(c.kind, c.handle) for c in left] == [(T.CMD_CANCEL, a)]
    assert t.report(b, O.EXEC_REPLACED, 20, 97)[0].kind == T.CMD_CANCEL  # it waited behind the replace
    assert t.replace(a, 5, 99) == -R.NOT_WORKING and t.replace(b, 5, 99) == -R.NOT_WORKING
    t.report(a, O.EXEC_CANCEL_REJECTED)
    assert [c.kind for c in t.sent][-1] == T.CMD_CANCEL  # asked again
    assert t.replace(a, 5, 99) == -R.NOT_WORKING
    assert all(c.kind != T.CMD_NEW for c in left)
    t.check()


def test_flatten_after_a_kill():
    t = trader(2, flatten=True)
    t.bought(-30, 100, instrument=1)
    t.sent.clear()
    left = kill(t)
    flat = [(c.instrument, c.side, c.qty, c.type, c.flags) for c in left]
    assert flat == [(0, -1, 100, T.MARKET, T.ENGINE | T.REDUCE_ONLY), (1, 1, 30, T.MARKET, T.ENGINE | T.REDUCE_ONLY)]
    assert t.cancel(left[0].handle) == -R.NOT_ALLOWED and t.replace(left[0].handle, 1, 1) == -R.IS_KILLED
    assert t.cancel_all() == 0
    t.h.state = T.ACTIVE
    assert t.replace(left[0].handle, 1, 1) == -R.BAD_ORDER  # not even then
    t.h.state = T.KILLED
    for c in left:
        assert t.fill(c.handle, c.qty, 100) == []
    assert int(t.position(0).qty) == int(t.position(1).qty) == 0 and int(t.h.c_flatten) == 2
    t.check()


def test_what_fills_after_a_kill_is_flattened_too():
    t = trader(flatten=True, held=0)
    h = t.limit(40, 100)
    assert [c.kind for c in kill(t)] == [T.CMD_CANCEL]
    left = t.fill(h, 15, 100)
    assert [(c.side, c.qty) for c in left] == [(-1, 15)]
    assert t.fill(h, 5, 100) == []  # one flattener at a time
    left = t.fill(left[0].handle, 15, 99)
    assert [(c.side, c.qty) for c in left] == [(-1, 5)]
    t.check()


def test_a_rejected_flattener_is_not_repeated_at_once():
    t = trader(flatten=True)
    (flat,) = kill(t)
    assert t.report(flat.handle, O.EXEC_REJECTED) == []
    (again,) = t.phase(ev.OPEN, 9)
    assert (again.side, again.qty) == (-1, 100)


def test_flattening_waits_for_the_venue():
    t = trader(flatten=True, phased=True)
    t.phase(ev.CLOSED, 1)
    assert kill(t) == []
    (flat,) = t.phase(ev.OPEN, 2)
    assert flat.qty == 100 and t.phase(ev.OPEN, 3) == []


def news(commands):
    return [(c.strategy, c.instrument, c.side, c.qty) for c in commands if c.kind == T.CMD_NEW]


def test_a_kill_finds_room_for_its_flatteners():
    t = trader(flatten=True, capacity=16)  # 14 slots are the strategy's
    while t.limit(1, 90) > 0:
        pass
    assert int(t.h.live) == 14 and t.figures == (14, 16)
    assert news(kill(t)) == [(0, 0, -1, 100)]
    t.check()


def test_a_flattener_does_not_wait_for_tombstones():
    t = trader(flatten=True, capacity=16, tombstone=10**12, held=0)
    h = t.market(100)
    t.fill(h, 100, 102)
    for _ in range(13):
        t.report(t.limit(1, 90), O.EXEC_REJECTED)
    for _ in range(2):
        assert t.limit(1, 90) > 0
    assert t.limit(1, 90) == -R.CAPACITY
    assert news(kill(t)) == [(0, 0, -1, 100)] and t.order(h) is None
    t.check()


def test_a_kill_leaves_room_for_cancels_in_a_nearly_full_outbox():
    t = trader(3, flatten=True, capacity=16)  # 32 commands, 16 of them for cancels
    for k in (1, 2):
        t.bought(30, 102, instrument=k)
    h = t.limit(1, 90)
    t.h.cmd_n = 13  # not taken yet: with the cancel and two flatteners 16
    left = kill(t)[13:]
    assert [c.handle for c in left if c.kind == T.CMD_CANCEL] == [h]
    assert news(left) == [(0, 0, -1, 100), (0, 1, -1, 30)] and int(t.h.c_flatten) == 2
    assert news(t.at(1).quote(instrument=2)) == [(0, 2, -1, 30)]
    t.check()


def test_flattening_is_tried_again_on_market_data():
    t = trader(2, flatten=True, tombstone=10**9)
    (flat,) = kill(t)
    assert t.report(flat.handle, O.EXEC_REJECTED) == []
    assert t.at(1).quote() == [] and t.at(2).quote(instrument=1) == []
    (again,) = t.quote()
    assert (again.side, again.qty) == (-1, 100)
    assert t.at(9).quote() == []  # it works
    t.report(again.handle, O.EXEC_EXPIRED)  # this report asks anew itself
    last = t.sent[-1]
    assert last.kind == T.CMD_NEW and t.report(last.handle, O.EXEC_REJECTED) == []
    assert news(t.at(20).bar(100)) == [(0, 0, -1, 100)]
    t.report(t.sent[-1].handle, O.EXEC_REJECTED)
    t.h.mode = T.DRAIN
    assert t.at(30).quote() == []
    t.check()


def test_each_strategy_is_flattened_for_itself():
    t = trader(2, flatten=True, held=0, strategies=4)
    for strategy, qty in ((0, 30), (1, -20), (2, 50), (3, 5)):
        t.bought(qty, 102 if qty > 0 else 100, strategy=strategy)
    t.bought(10, 102, instrument=1, strategy=1)
    t.sent.clear()
    left = kill(t)
    assert news(left) == [(0, 0, -1, 30), (2, 0, -1, 35), (1, 1, -1, 10)]  # 65 are the account's: 20 stand against strategy 1
    for c in left:
        assert t.fill(c.handle, c.qty, 100) == []
    assert [int(t.position(0, s).qty) for s in range(4)] == [0, -20, 15, 5] and int(t.position(0).qty) == 0
    assert int(t.position(1, 1).qty) == 0
    t.check()


def test_nothing_is_flattened_while_draining():
    t = trader(flatten=True, held=0)
    h = t.limit(40, 100)
    kill(t)
    t.h.mode = T.DRAIN
    assert t.fill(h, 15, 100) == []


def test_a_halt_drops_a_waiting_increase():
    t = trader()
    for wanted, sent in ((20, []), (5, [T.CMD_REPLACE])):
        h = t.limit(10, 90)
        t.replace(h, 10, 91)
        t.replace(h, wanted, 92)
        t.control(ev.OP_HALT)
        assert [c.kind for c in t.report(h, O.EXEC_REPLACED, 10, 91)] == sent
        t.control(ev.OP_RESUME)
        t.check()


def test_an_outside_intent_is_checked_like_any_other():
    t = trader(max_order_qty=10, held=0)
    for qty, flags, sent in ((10, 0, 1), (11, 0, 0), (10, T.ENGINE, 0)):
        left = t.step(ev.INTENT, side=1, ident=0, a=qty, b=99, c=0, d=T.LIMIT | flags << 8)
        assert len(left) == sent
    assert int(t.h.c_refused) == 2
    (c,) = [c for c in t.sent if c.kind == T.CMD_NEW]
    assert c.flags == T.OUTSIDE


# --- time that passes ---------------------------------------------------------------------------------------------------------
def due(t):
    """The earliest timer fires when it is due. Returns how many seconds after T0 that is."""
    top = t.arena.region("timers")[0]
    t.at(ns=int(top.ts) - T0)
    t.step(ev.TIMER, ident=int(top.timer_id), a=int(top.strategy))
    return round((t.now - T0) / 10**9, 3)


def test_a_silent_feed_halts_kills_and_flattens_by_the_clock_alone():
    t = trader(2, flatten=True, max_quote_age_s=5, halt_escalate_s=30)
    t.bought(100, 102, instrument=1)
    t.sent.clear()
    t.at(3).quote(instrument=0)
    assert due(t) == 5 and t.status == ("halted", "stale_feed")  # nothing was heard of the second one
    t.at(7).quote(instrument=1)
    assert t.status == ("active", "stale_feed")
    t.at(8).quote(instrument=0)
    while t.status[0] == "active":
        at = due(t)
    assert at == 12 and int(t.h.stale) == 1
    t.at(14).quote(instrument=1)
    assert t.status[0] == "halted" and int(t.h.stale) == 0  # the first one has been silent too long by now
    while t.status[0] == "halted":
        at = due(t)
    assert at == 42 and t.status == ("killed", "stale_feed")
    assert [(c.side, c.qty, c.instrument) for c in t.sent if c.kind == T.CMD_NEW] == [(-1, 100, 0), (-1, 100, 1)]
    t.check()


def test_nothing_is_watched_where_nothing_is_held_or_the_market_is_closed():
    t = trader(held=0, max_quote_age_s=5)
    assert int(t.h.n_timers) == 0
    h = t.limit(1, 100)
    t.report(h, O.EXEC_CANCELED)
    assert due(t) == 5 and int(t.h.n_timers) == 0 and t.status[0] == "active"
    t = trader(phased=True, max_quote_age_s=5)
    t.at(2).phase(ev.CLOSED, 1)
    assert due(t) == 5 and int(t.h.n_timers) == 0
    t.at(100).phase(ev.OPEN, 2)
    assert due(t) == 105 and t.status[0] == "halted"


def test_without_such_limits_no_timer_is_set():
    t = trader(max_position=D(1000))
    t.limit(1, 99)
    assert int(t.h.n_timers) == 0 and int(t.h.watch_ts) == 0


def test_a_halt_of_rejections_is_over_by_the_clock():
    t = trader(reject_spike=2)
    spike(t, (0, 1))
    assert t.status[0] == "halted" and due(t) == 61 and t.status == ("active", "rejection_spike")


def test_a_flattener_is_tried_until_flat_though_nothing_is_heard():
    t = trader(flatten=True)
    t.control(ev.OP_KILL)
    for end in (O.EXEC_REJECTED, O.EXEC_REJECTED):
        t.report(t.sent[-1].handle, end)
        n = len(t.sent)
        due(t)
        assert len(t.sent) == n + 1 and t.sent[-1].qty == 100
    t.fill(t.sent[-1].handle, 60, 99)
    t.report(t.sent[-1].handle, O.EXEC_EXPIRED, cum=60)
    assert t.sent[-1].qty == 40
    t.fill(t.sent[-1].handle, 40, 99)
    assert int(t.position().qty) == 0
    t.check()


def test_there_is_room_for_thousands_of_timers_and_the_refusal_says_how_many():
    t = trader()
    room = int(t.h.timers_n) - 1
    assert room >= 4096
    assert all(t.timer(k) == 0 for k in range(room)) and t.timer(0) == -R.TIMERS
    assert t.figures == (room, room)
