"""What brokers of US stocks refuse an account: refused in the call, and a position turned by closing it first."""

import pytest
from drive import Trader

from replay.events import OP_HALT, OP_KILL
from replay.trader import layout as T
from replay.trader import orders as O
from replay.trader import reasons as R
from replay.trader.limits import Limits


def trader(lots=0, **limits):
    t = Trader(limits=Limits(account_rules=True, **limits))
    t.quote()
    if lots:
        t.bought(lots, 100)
        t.sent.clear()
    return t


def sent(commands):
    return [(c.side * c.qty, c.type) for c in commands if c.kind == T.CMD_NEW]


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("ask", ["market", "target"])
def test_a_position_is_turned_in_two(side, ask):
    """One that closes, and the order itself when that has traded: at no moment does the strategy see more or less than there is."""
    t = trader(100 * side)
    order = t.market(-200 * side) if ask == "market" else t.target(-100 * side)
    (close,) = t.sent
    assert (close.side * close.qty, close.handle != order) == (-100 * side, True)
    v = t.view()
    assert (int(v.selling) if side > 0 else int(v.buying)) == 200
    assert t.target(-100 * side) == 0 and t.state(order) == "NEW"  # it is on its way there already
    assert sent(t.fill(close.handle, 40, 100)) == []
    assert int(v.pos) == 60 * side and t.target(-100 * side) == 0
    assert sent(t.fill(close.handle, 60, 100)) == [(-100 * side, T.MARKET)]
    assert int(v.pos) == 0 and t.state(order) == "SUBMITTED" and t.target(-100 * side) == 0
    t.fill(order, 100, 100)
    assert int(v.pos) == -100 * side and t.state(order) == "FILLED" and t.target(-100 * side) == 0
    t.check()


@pytest.mark.parametrize(("end", "closed"), [(O.EXEC_REJECTED, 0), (O.EXEC_CANCELED, 30), (O.EXEC_EXPIRED, 30)])
def test_what_could_not_be_closed_opens_nothing(end, closed):
    t = trader(100)
    order = t.target(-100)
    (close,) = t.sent
    if closed:
        t.fill(close.handle, closed, 100)
    assert sent(t.report(close.handle, end, cum=closed)) == []
    assert t.state(order) == "CANCELED" and (int(t.view().selling), int(t.view().pos)) == (0, 100 - closed)
    t.check()


@pytest.mark.parametrize("stop", ["halt", "kill", "cancel"])
def test_what_stops_the_trader_stops_the_second_half(stop):
    t = trader(100)
    order = t.target(-100)
    (close,) = t.sent
    t.cancel(order) if stop == "cancel" else t.control(OP_HALT if stop == "halt" else OP_KILL)
    t.fill(close.handle, 100, 100)
    assert t.state(order) == "CANCELED" and int(t.view().pos) == 0 and int(t.view().selling) == 0
    t.check()


@pytest.mark.parametrize("side", [1, -1])
def test_no_other_order_goes_through_zero(side):
    t = trader(100 * side)
    for answer in (t.limit(-101 * side, 101), t.stop(-101 * side, 100 - 5 * side)):
        assert answer == -R.THROUGH_ZERO
    assert t.limit(-60 * side, 100 + 5 * side) > 0
    assert t.limit(-41 * side, 100 + 5 * side) == -R.THROUGH_ZERO  # 40 are free
    assert t.limit(-40 * side, 100 + 5 * side) > 0
    assert t.market(-1 * side) == -R.THROUGH_ZERO  # none is
    assert t.limit(50 * side, 100 - 5 * side) > 0  # it adds


def test_a_replace_goes_through_zero_neither():
    t = trader(100)
    order = t.limit(-60, 105)
    assert t.replace(order, 50, 105) == -R.NOT_WORKING  # not acknowledged yet: the broker would refuse it
    t.report(order, O.EXEC_NEW)
    assert t.replace(order, 101, 105) == -R.THROUGH_ZERO and t.replace(order, 100, 105) == 0


def test_what_the_broker_has_no_order_for():
    t = trader(100)
    assert t.oco(-100, 110, 90) == -R.NOT_OFFERED
    assert t.bracket(10, 0, 110, 90) == t.bracket(10, 0, 0, 90) == -R.NOT_OFFERED
    assert t.limit(10, 99, flags=T.POST_ONLY) == -R.NOT_OFFERED


def test_whole_cents_from_one_dollar_on():
    """SEC rule 612: finer steps are for prices below one dollar."""
    t = Trader(limits=Limits(account_rules=True), tick_size="0.001")
    t.quote(bid=999, ask=1010)
    assert t.limit(10, 999) > 0 and t.limit(10, 1000) > 0
    assert t.limit(10, 1001) == t.stop(10, 1019) == -R.BAD_PRICE


def test_wash_trades():
    """Alpaca: opposite sides, one of them a market or stop order, or limits that cross; whichever came first."""
    t = trader()
    assert t.limit(10, 95) > 0
    assert t.market(-1) == t.stop(-1, 90) == t.limit(-1, 95) == -R.SELF_TRADE
    assert t.limit(-1, 96) > 0
    t = trader(100)
    assert t.stop(-100, 90) > 0
    assert t.limit(10, 80) == -R.SELF_TRADE  # a stop may trade anywhere


def test_a_flattener_waits_for_what_holds_the_shares():
    t = trader(100, flatten=True)
    resting = t.limit(-100, 110)
    t.ack(resting)
    assert sent(t.control(OP_KILL)) == []
    assert sent(t.report(resting, O.EXEC_CANCELED)) == [(-100, T.MARKET)]
    t.check()


def test_without_the_rules_nothing_is_split():
    t = Trader()
    t.quote()
    t.bought(100, 100)
    t.target(-100)
    assert sent(t.sent[1:]) == [(-200, T.MARKET)]
