"""Orders that belong together: brackets, OTO, OCO, and their races."""

from decimal import Decimal

import pytest
from drive import Trader

from replay import events as ev
from replay.events import OP_END, OP_KILL
from replay.trader import layout as T
from replay.trader import orders as O
from replay.trader.limits import Limits


def trader(**kw):
    t = Trader(**kw)
    t.quote()
    return t


def new(commands):
    return [(c.side, c.qty, c.px, c.stop_px, c.type) for c in commands if c.kind == T.CMD_NEW]


def asked(commands):
    names = {T.CMD_CANCEL: "cancel", T.CMD_REPLACE: "replace", T.CMD_NEW: "new"}
    return [(names[c.kind], c.handle, c.qty) if c.kind != T.CMD_CANCEL else ("cancel", c.handle) for c in commands]


def bracketed(qty=10, filled=10, **kw):
    """A filled long bracket: (trader, take-profit, stop-loss)."""
    t = trader(**kw)
    entry = t.bracket(qty, 100, 110, 95)
    assert entry > 0 and new(t.sent) == [(1, qty, 100, 0, T.LIMIT)]
    left = t.fill(entry, filled, 100)
    if filled < qty:
        assert t.report(entry, O.EXEC_CANCELED, cum=filled) == []
    assert new(left) == [(-1, filled, 110, 0, T.LIMIT), (-1, filled, 0, 95, T.STOP)]
    t.check()
    return t, left[0].handle, left[1].handle


def test_exits_go_out_with_the_entrys_first_fill_and_grow_with_the_next():
    t = trader()
    entry = t.bracket(10, 0, 110, 95, tif=T.GTC)
    assert t.sent[0].type == T.MARKET and t.sent[0].tif == T.GTC
    assert int(t.view().buying) == 10 and int(t.view().selling) == 0
    assert t.market(1) > 0  # what is held at home cannot trade with us
    left = t.fill(entry, 4, 100)
    assert new(left) == [(-1, 4, 110, 0, T.LIMIT), (-1, 4, 0, 95, T.STOP)] and all(c.tif == T.GTC for c in left)
    take, stop = (c.handle for c in left)
    assert int(t.view().selling) == 4  # one of the two counts
    assert asked(t.fill(entry, 3, 100)) == [("replace", take, 7), ("replace", stop, 7)]
    assert t.fill(entry, 3, 100) == [] and int(t.view().selling) == 10  # one request is out at a time
    assert asked(t.report(take, O.EXEC_REPLACED, 7, 110)) == [("replace", take, 10)]
    assert asked(t.report(stop, O.EXEC_REPLACED, 7, 0)) == [("replace", stop, 10)]
    t.check()


def test_the_entry_is_cancelled_with_a_part_filled():
    t, take, stop = bracketed(10, 4)
    assert int(t.view().selling) == 4


@pytest.mark.parametrize("end", [O.EXEC_CANCELED, O.EXEC_REJECTED, O.EXEC_EXPIRED])
def test_without_a_fill_the_children_are_dropped(end):
    t = trader()
    entry = t.bracket(10, 100, 110, 95)
    assert t.report(entry, end) == [] and int(t.h.live) == 0
    t.check()


def test_a_fill_behind_the_entrys_end_is_protected_too():
    t = trader()
    entry = t.bracket(10, 100, 110, 95)
    take, stop = (c.handle for c in t.fill(entry, 3, 100))
    assert t.report(entry, O.EXEC_CANCELED, cum=5) == []
    assert asked(t.fill(entry, 2, 100)) == [("replace", take, 5), ("replace", stop, 5)]
    t.check()
    entry = t.bracket(10, 99, 110, 95)
    if entry > 0:
        assert t.report(entry, O.EXEC_CANCELED, cum=2) == []  # children wait for what the venue told of
        assert new(t.fill(entry, 2, 99)) == [(-1, 2, 110, 0, T.LIMIT), (-1, 2, 0, 95, T.STOP)]
        t.check()


@pytest.mark.parametrize(("take_px", "stop_px", "child"), [(110, 0, (-1, 10, 110, 0, T.LIMIT)), (0, 95, (-1, 10, 0, 95, T.STOP))])
def test_one_triggers_another(take_px, stop_px, child):
    t = trader()
    entry = t.bracket(10, 100, take_px, stop_px)
    left = t.fill(entry, 10, 100)
    assert new(left) == [child] and int(t.view().selling) == 10
    assert t.fill(left[0].handle, 10, child[2] or child[3]) == []
    assert int(t.position().qty) == 0 and int(t.h.live) == 0
    t.check()


def test_short_bracket():
    t = trader()
    entry = t.bracket(-10, 103, 95, 110)
    assert new(t.fill(entry, 10, 103)) == [(1, 10, 95, 0, T.LIMIT), (1, 10, 0, 110, T.STOP)]


def test_the_take_profit_cancels_the_stop():
    t, take, stop = bracketed()
    assert asked(t.fill(take, 10, 110)) == [("cancel", stop)]
    assert t.report(stop, O.EXEC_CANCELED) == []
    assert int(t.position().qty) == 0 and int(t.h.live) == 0 and int(t.h.c_flatten) == 0
    t.check()


def test_a_part_of_one_reduces_the_other():
    t, take, stop = bracketed()
    assert asked(t.fill(take, 3, 110)) == [("replace", stop, 7)]
    assert t.fill(take, 2, 110) == []  # the next wish waits behind the first
    assert asked(t.report(stop, O.EXEC_REPLACED, 7, 0)) == [("replace", stop, 5)]
    t.check()
    assert t.report(stop, O.EXEC_REPLACED, 5, 0) == []
    assert asked(t.fill(stop, 5, 94)) == [("cancel", take)]
    t.report(take, O.EXEC_CANCELED, cum=5)
    assert int(t.position().qty) == 0 and int(t.h.c_flatten) == 0
    t.check()


def test_a_reduction_does_not_overtake_a_cancel():
    t, take, stop = bracketed()
    t.fill(take, 3, 110)
    assert t.cancel(stop) == 0 and t.fill(take, 2, 110) == []
    assert asked(t.report(stop, O.EXEC_REPLACED, 7, 0)) == [("cancel", stop)]
    t.check()


def test_the_exposure_moves_to_the_leg_that_stays():
    t, take, stop = bracketed()
    assert int(t.order(stop).exposed) == 0
    assert asked(t.report(take, O.EXEC_CANCELED)) == [("cancel", stop)]  # the pair goes together
    assert int(t.order(stop).exposed) == int(t.view().selling) == 10
    t.check()


@pytest.mark.parametrize("end", [O.EXEC_REJECTED, O.EXEC_EXPIRED])
@pytest.mark.parametrize("which", [0, 1])
def test_a_leg_the_venue_ends_leaves_the_other_working(which, end):
    t, *legs = bracketed()
    gone, stays = legs[which], legs[1 - which]
    assert t.report(gone, end) == [] and t.state(stays) == "SUBMITTED"
    assert int(t.order(stays).exposed) == int(t.view().selling) == 10
    assert t.fill(stays, 10, 94) == [] and int(t.position().qty) == 0 and int(t.h.live) == 0
    t.check()


def test_a_leg_that_expires_in_part_leaves_the_rest_protected():
    t, take, stop = bracketed()
    t.fill(take, 4, 110)
    assert t.report(take, O.EXEC_EXPIRED, cum=4) == []
    t.report(stop, O.EXEC_REPLACED, 6, 0)
    assert t.fill(stop, 6, 94) == [] and int(t.position().qty) == 0 and int(t.h.c_flatten) == 0
    t.check()


def test_both_fill_and_the_excess_is_traded_back_once():
    t, take, stop = bracketed()
    t.fill(take, 10, 110)
    left = t.fill(stop, 6, 94)
    assert new(left) == [(1, 6, 0, 0, T.MARKET)] and left[0].flags == T.ENGINE
    assert int(t.position().qty) == -6
    left2 = t.fill(stop, 4, 94)
    assert new(left2) == [(1, 4, 0, 0, T.MARKET)]
    t.fill(left[0].handle, 6, 95)
    t.fill(left2[0].handle, 4, 95)
    assert int(t.position().qty) == 0 and int(t.h.c_flatten) == 2
    t.check()


def test_the_excess_waits_for_room():
    t, take, stop = bracketed(capacity=16)
    others = [t.limit(1, 90) for _ in range(14)]
    assert min(others) > 0
    t.drain()
    t.fill(stop, 5, 94)
    filler = t.limit(1, 90)
    assert filler < 0  # the entry's slot came back, and is taken: the table is full
    t.fill(take, 6, 110)
    t.fill(take, 4, 110)
    t.check()


def test_after_a_kill_only_the_flattener_trades():
    t, take, stop = bracketed()
    t.fill(take, 10, 110)
    t.control(1)
    assert new(t.fill(stop, 6, 94)) == [] and int(t.position().qty) == -6
    t.check()


def test_after_a_kill_the_other_leg_is_cancelled_not_made_smaller():
    t, take, stop = bracketed()
    t.control(OP_KILL)
    t.control(OP_END)  # what is killed is not asked again to go
    t.report(stop, O.EXEC_CANCEL_REJECTED)  # too soon for the venue
    left = asked(t.fill(take, 4, 110))
    assert [o for o in left if o[0] != "cancel"] == [] and t.order(stop).request == T.CANCELING
    t.check()


def test_a_kill_drops_children_that_wait():
    t = trader()
    entry = t.bracket(10, 100, 110, 95)
    t.control(1)
    assert [o for o in asked(t.sent) if o[0] == "cancel"] == [("cancel", entry)] and int(t.h.live) == 1
    assert t.fill(entry, 10, 100) == []
    t.check()


def test_held_children_can_be_given_up_one_by_one():
    t = trader()
    entry = t.bracket(10, 100, 110, 95)
    take = int(t.order(entry).sibling)
    assert t.replace(take, 5, 111) < 0  # not out yet
    assert t.cancel(take) == 0 and t.state(take) == "CANCELED" and len(t.sent) == 1
    left = t.fill(entry, 10, 100)
    assert new(left) == [(-1, 10, 0, 95, T.STOP)] and int(t.view().selling) == 10
    t.check()
    t.fill(left[0].handle, 10, 94)
    assert int(t.h.c_flatten) == 0 and int(t.position().qty) == 0


def test_the_child_that_was_not_given_up_counts():
    t = trader()
    entry = t.bracket(10, 100, 110, 95)
    assert t.cancel(int(t.order(entry).sibling)) == 0
    assert new(t.fill(entry, 4, 100)) == [(-1, 4, 0, 95, T.STOP)] and int(t.view().selling) == 4
    t.check()


def test_oco():
    t = trader()
    t.bought(10, 102)
    t.sent.clear()
    first = t.oco(-10, 110, 95, flags=T.POST_ONLY)
    assert new(t.sent) == [(-1, 10, 110, 0, T.LIMIT), (-1, 10, 0, 95, T.STOP)]
    assert [c.flags for c in t.sent] == [T.POST_ONLY, 0] and int(t.view().selling) == 10
    second = t.sent[1].handle
    assert asked(t.fill(first, 4, 110)) == [("replace", second, 6)]
    assert asked(t.fill(first, 6, 110)) == []  # the cancel waits behind the replace
    assert asked(t.report(second, O.EXEC_REPLACED, 6, 0)) == [("cancel", second)]
    t.report(second, O.EXEC_CANCELED)
    assert int(t.position().qty) == 0 and int(t.h.live) == 0
    t.check()


def test_a_stop_that_trades_ends_its_pair_and_goes_on_alone():
    t = trader()
    t.bought(10, 102)
    t.sent.clear()
    first = t.oco(-10, 110, 95)
    second = t.sent[1].handle
    assert asked(t.fill(second, 4, 94)) == [("cancel", first)]
    assert asked(t.report(first, O.EXEC_CANCELED)) == []
    assert asked(t.fill(second, 6, 93)) == []
    assert int(t.position().qty) == 0 and int(t.h.live) == 0 and int(t.h.c_flatten) == 0
    t.check()


def test_oco_cancelled_by_hand_takes_the_other_along():
    t = trader()
    first = t.oco(5, 95, 110)
    second = t.sent[1].handle
    t.cancel(second)
    assert asked(t.report(second, O.EXEC_CANCELED)) == [("cancel", first)]
    t.report(first, O.EXEC_CANCELED)
    assert int(t.h.live) == 0
    t.check()


def test_a_leg_outlives_the_memory_of_the_other():
    t = trader(capacity=16)
    first = t.oco(5, 95, 110)
    second = t.sent[1].handle
    t.report(first, O.EXEC_CANCELED)
    for _ in range(16):
        t.report(t.market(1), O.EXEC_CANCELED)
    assert t.order(first) is None
    t.report(second, O.EXEC_CANCEL_REJECTED)
    assert t.fill(second, 5, 110) == [] and int(t.h.c_flatten) == 0
    t.check()


def test_a_target_does_not_count_what_only_protects():
    t, take, stop = bracketed()
    assert t.target(10) == 0  # both exits work, and still ten are meant to be held
    t = trader()
    t.fill(t.bracket(10, 100, 0, 95), 10, 100)
    more = t.target(14)
    assert more > 0 and (t.sent[-1].side, t.sent[-1].qty) == (1, 4)
    assert t.target(14) == 0
    t.fill(more, 4, 102)
    assert t.stop(-4, 90) > 0 and t.place(-4, T.STOP_LIMIT, 91, 90) > 0 and t.oco(-4, 120, 90) > 0
    assert t.target(14) == 0
    assert t.limit(-3, 130) > 0 and t.target(11) == 0  # a plain limit order is on its way
    t.check()


def test_a_target_counts_the_entry_of_a_bracket_and_announced_fills():
    t = trader(strategies=2)
    entry = t.bracket(10, 100, 110, 95)
    assert t.target(10) == 0 and t.limit(-5, 130, strategy=1) > 0
    t.report(entry, O.EXEC_CANCELED, cum=6)
    assert t.target(6) == 0
    t.fill(entry, 6, 100)
    assert t.target(6) == 0
    t.check()


@pytest.mark.parametrize("which", [0, 1])
def test_a_child_given_up_does_not_hide_the_other(which):
    t = trader(capacity=16)
    entry = t.bracket(10, 100, 110, 95)
    children = int(t.order(entry).sibling), int(t.order(entry).second)
    assert t.cancel(children[which]) == 0
    for _ in range(16):
        t.report(t.market(1), O.EXEC_CANCELED)
    assert t.order(children[which]) is None
    (left,) = t.fill(entry, 10, 100)
    assert left.handle == children[1 - which] and t.state(left.handle) == "SUBMITTED" and int(t.h.live) == 1
    t.check()


def test_late_fills_of_the_entry_add_to_what_was_asked_for():
    t = trader()
    entry = t.bracket(10, 100, 110, 95)
    take, stop = (c.handle for c in t.fill(entry, 3, 100))
    assert t.report(entry, O.EXEC_CANCELED, cum=7) == []
    assert t.replace(stop, 3, 96) == 0  # the price moves, too
    assert asked(t.fill(entry, 2, 100)) == [("replace", take, 5)]
    assert asked(t.fill(entry, 2, 100)) == []
    (more,) = t.report(take, O.EXEC_REPLACED, 5, 110)
    assert (more.qty, more.px) == (7, 110)
    (more,) = t.report(stop, O.EXEC_REPLACED, 3, 0)
    assert (more.qty, more.stop_px) == (7, 96)
    t.check()


def test_exits_count_with_what_the_entry_has_traded():
    t = trader(limits=Limits(max_position=Decimal(10)))
    entry = t.bracket(10, 100, 110, 95)
    t.fill(entry, 6, 100)
    assert int(t.view().selling) == 6
    assert t.limit(-11, 105) < 0 and t.figures == (11, 10)  # from +6 past the 6 that are to go out
    assert t.limit(-10, 105) > 0
    t.check()


def test_held_exits_given_up_count_no_more():
    t = trader()
    entry = t.bracket(10, 100, 110, 95)
    for k in (1, 2):
        t.cancel((entry >> T.SLOT_BITS) + k << T.SLOT_BITS | (entry & T.SLOT_MASK) + k)
    assert t.fill(entry, 6, 100) == [] and t.fill(entry, 4, 100) == []
    assert int(t.view().selling) == 0
    t.check()


def test_of_a_pair_the_larger_leg_counts():
    t = trader()
    limit = t.oco(-2, 110, 95)
    stop = t.sent[-1].handle
    for handle in (limit, stop):
        t.ack(handle)
    t.replace(limit, 1, 110)
    t.report(limit, O.EXEC_REPLACED, qty=1, px=110)
    assert int(t.view().selling) == 2
    t.replace(stop, 5, 95)
    assert int(t.view().selling) == 5
    t.report(stop, O.EXEC_REPLACE_REJECTED)
    assert int(t.view().selling) == 2
    t.check()


def growing():
    """An entry of 10 that has filled 4: (trader, entry, take-profit, stop-loss)."""
    t = trader()
    entry = t.bracket(10, 100, 110, 95)
    return t, entry, *(c.handle for c in t.fill(entry, 4, 100))


def flat(t, engine=0):
    """Let every request be granted and the engine's orders trade, until nothing more is asked."""
    for _ in range(20):
        waits = [o for o in t.arena.region("orders") if int(o.state) in (O.SUBMITTED, O.ACCEPTED, O.PARTIAL)]
        for o in waits:
            if int(o.request) == T.CANCELING:
                t.report(int(o.handle), O.EXEC_CANCELED, cum=int(o.cum))
            elif int(o["flags"]) & T.ENGINE:
                t.fill(int(o.handle), int(o.qty - o.cum), 100)
    t.check()
    return int(t.position().qty), int(t.h.live)


def test_an_exit_that_trades_ends_what_is_left_of_its_entry():
    t, entry, take, stop = growing()
    assert asked(t.fill(stop, 4, 94)) == [("cancel", entry), ("cancel", take)]
    (back,) = t.fill(entry, 2, 100)  # it crossed the cancel: nothing protects it any more
    assert (back.side, back.qty, back.type, back.flags) == (-1, 2, T.MARKET, T.ENGINE)
    assert flat(t) == (0, 0)


def test_a_fill_of_the_entry_that_is_taken_back_makes_its_exits_smaller():
    t, entry, take, stop = growing()
    bust = t.exec_id
    assert asked(t.report(entry, O.EXEC_BUST, 4, 100, exec_id=bust)) == [("cancel", take), ("cancel", stop)]
    t.check()


def test_an_exit_grows_while_halted_and_is_asked_again_where_the_venue_refuses():
    t, entry, take, stop = growing()
    t.control(3)
    t.fill(entry, 2, 100)
    t.fill(entry, 4, 100)
    assert asked(t.report(take, O.EXEC_REPLACED, 6, 110)) == [("replace", take, 10)]
    assert asked(t.report(stop, O.EXEC_REPLACE_REJECTED)) == [("replace", stop, 10)]
    assert t.report(stop, O.EXEC_REPLACE_REJECTED) == []
    t.at(2)
    assert asked(due(t)) == [("replace", stop, 10)]
    t.check()


def due(t):
    """The earliest timer fires."""
    top = t.arena.region("timers")[0]
    return t.step(ev.TIMER, ident=int(top.timer_id), a=int(top.strategy))


def test_an_exit_that_is_done_before_it_could_grow_closes_the_rest():
    t, entry, take, stop = growing()
    t.fill(entry, 6, 100)
    t.fill(stop, 4, 94)
    left = t.report(stop, O.EXEC_REPLACE_REJECTED)
    assert [(c.side, c.qty, c.type, c.flags) for c in left if c.kind == T.CMD_NEW] == [(-1, 6, T.MARKET, T.ENGINE)]
    t.report(take, O.EXEC_REPLACE_REJECTED)
    assert flat(t) == (0, 0)


@pytest.mark.parametrize("close", [lambda t: t.target(0), lambda t: t.market(-10), lambda t: t.bracket(-20, 0, 90, 120)])
def test_what_closes_a_position_ends_its_exits_first(close):
    t, take, stop = bracketed()
    t.sent.clear()
    h = close(t)
    assert h > 0 and asked(t.sent)[:2] == [("cancel", take), ("cancel", stop)] and t.sent[2].handle == h
    t.fill(h, 10, 100)
    t.report(stop, O.EXEC_CANCELED)
    t.report(take, O.EXEC_CANCELED)
    assert int(t.position().qty) == 0 and int(t.h.c_flatten) == 0
    t.check()


def test_what_closes_a_part_leaves_exits_for_the_rest():
    t, take, stop = bracketed()
    t.sent.clear()
    assert t.target(4) > 0 and asked(t.sent)[:2] == [("replace", take, 4), ("replace", stop, 4)]
    assert t.target(0) > 0
    t.check()


def test_a_limit_order_that_closes_takes_the_exits_along_as_it_trades():
    t, take, stop = bracketed()
    h = t.limit(-10, 105)
    assert asked(t.fill(h, 3, 105)) == [("replace", take, 7), ("replace", stop, 7)]
    assert asked(t.fill(h, 7, 105)) == []
    assert asked(t.report(stop, O.EXEC_REPLACED, 7, 0)) == [("cancel", stop)]
    t.check()


def test_of_two_brackets_the_older_ones_exits_go_first():
    t, take, stop = bracketed()
    second = t.bracket(10, 0, 111, 96)
    newer = [c.handle for c in t.fill(second, 10, 102)]
    t.sent.clear()
    assert t.target(10) > 0
    assert {c.handle for c in t.sent if c.kind == T.CMD_CANCEL} == {take, stop}
    t.sent.clear()
    assert t.target(0) > 0 and {c.handle for c in t.sent if c.kind == T.CMD_CANCEL} == set(newer)


def test_a_position_that_exits_protect_is_closed_in_a_halt():
    t, take, stop = bracketed(limits=Limits(max_position=Decimal(10)))
    t.control(3)
    assert t.target(0) > 0


def test_a_stop_that_trades_beside_what_closes_is_traded_back_until_flat():
    t, take, stop = bracketed()
    h = t.target(0)
    t.fill(h, 10, 94)
    (back,) = [c for c in t.fill(stop, 10, 94) if c.kind == T.CMD_NEW]  # reached before the cancel came
    assert (back.side, back.qty) == (1, 10)
    assert t.report(back.handle, O.EXEC_REJECTED) == []
    for s in (2, 4):
        t.at(s).quote()
        (back,) = [c for c in due(t) if c.kind == T.CMD_NEW]
        t.report(back.handle, O.EXEC_EXPIRED)
    t.at(6)
    (back,) = [c for c in due(t) if c.kind == T.CMD_NEW]
    t.fill(back.handle, 4, 95)
    t.report(back.handle, O.EXEC_CANCELED, cum=4)
    t.at(8)
    (back,) = [c for c in due(t) if c.kind == T.CMD_NEW]
    assert back.qty == 6
    assert flat(t) == (0, 0)


def test_a_pair_of_reduce_only_exits_ends_with_the_position():
    t = trader()
    t.bought(10, 102)
    take, stop = t.limit(-10, 110, flags=T.REDUCE_ONLY), t.stop(-10, 95, flags=T.REDUCE_ONLY)
    assert take > 0 and stop > 0 and t.target(10) == 0
    assert asked(t.fill(stop, 4, 94)) == [("replace", take, 6)]
    t.report(take, O.EXEC_REPLACED, 6, 110)
    assert asked(t.fill(stop, 6, 94)) == [("cancel", take)]
    t.check()
