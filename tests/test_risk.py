"""Every reason of refusal at its boundary: allowed at the limit, refused one beyond, with the figures the check saw."""

from decimal import Decimal as D

import pytest
from drive import CENT, MONEY, SECOND, Trader

from replay import events as ev
from replay.data.instruments import Instrument
from replay.errors import BadInput
from replay.trader import layout as T
from replay.trader import orders as O
from replay.trader import reasons as R
from replay.trader.limits import Limits

MOST = ((1 << 62) - 1) // 10**6 // 2  #: ticks of 0.01 times lots of 1 that an order may lead to


def trader(n=1, quote=True, **limits):
    own = limits.pop("own", None)
    kw = {k: limits.pop(k) for k in ("capacity", "tombstone", "levels", "phased", "capital", "strategies") if k in limits}
    t = Trader(n, Limits(**limits), own=own, **kw)
    for k in range(n if quote else 0):
        t.quote(instrument=k)  # 100 / 102, mid 101
    return t


def refused(t, answer, code, figure=None, bound=None):
    """The answer is this refusal, nothing left, and the figures are these."""
    assert answer == -code, (R.REASON_NAMES[-answer] if answer < 0 else answer, R.REASON_NAMES[code])
    if figure is not None:
        assert t.figures == (figure, bound)
    t.check()


def passed(answer):
    assert answer > 0, R.REASON_NAMES[-answer]
    return answer


# --- size ---------------------------------------------------------------------------------------------------------------------
def test_order_qty():
    t = trader(max_order_qty=10)
    passed(t.limit(10, 100))
    refused(t, t.limit(11, 100), R.MAX_ORDER_QTY, 11, 10)
    refused(t, t.limit(-11, 110), R.MAX_ORDER_QTY, 11, 10)


def test_a_small_limit_is_a_limit():
    t = trader(max_order_notional=D("0.000000001"))
    refused(t, t.limit(1, 100), R.MAX_ORDER_NOTIONAL, 101 * CENT, 1)


@pytest.mark.parametrize(
    ("name", "code"),
    {
        "max_order_notional": R.MAX_ORDER_NOTIONAL,
        "max_position_notional": R.MAX_POSITION_NOTIONAL,
        "max_position_share": R.MAX_POSITION_SHARE,
        "max_gross": R.MAX_GROSS,
        "max_net": R.MAX_NET,
        "max_leverage": R.BUYING_POWER,
        "max_risk_per_trade": R.RISK_PER_TRADE,
        "max_risk_share": R.RISK_PER_TRADE,
    }.items(),
)
def test_the_smallest_limit_there_is_binds(name, code):
    t = trader()
    t.arena.region("limits")[0][name] = 1  # of what is counted, not of dollars
    refused(t, t.bracket(10_000, 100, 110, 50), code)
    t.arena.region("limits")[0][name] = 0
    passed(t.bracket(10_000, 100, 110, 50))


def test_order_notional():
    t = trader(max_order_notional=D("10.10"))
    passed(t.market(10))
    refused(t, t.limit(-11, 104), R.MAX_ORDER_NOTIONAL, 11 * 104 * CENT, 1010 * CENT)
    refused(t, t.market(11), R.MAX_ORDER_NOTIONAL, 11 * 101 * CENT, 1010 * CENT)
    refused(t, t.stop(10, 102), R.MAX_ORDER_NOTIONAL, 10 * 102 * CENT, 1010 * CENT)  # at what it may cost once elected
    passed(t.limit(10, 101))


def test_position_counts_working_orders():
    t = trader(max_position=100)
    first = passed(t.limit(60, 100))
    refused(t, t.limit(41, 100), R.MAX_POSITION, 101, 100)
    passed(t.limit(40, 99))
    t.fill(first, 60, 100)
    refused(t, t.limit(1, 100), R.MAX_POSITION, 101, 100)
    passed(t.limit(-160, 105))  # in the worst case all of it trades and no buy order does
    refused(t, t.limit(-1, 105), R.MAX_POSITION, 101, 100)


def test_a_position_beyond_its_limit_may_shrink():
    t = trader(max_position=100)
    h = passed(t.market(100))
    t.fill(h, 100, 102)
    t.report(h, O.EXEC_CORRECT, 90, 102, exec_id=1)
    rest = passed(t.limit(10, 100))
    refused(t, t.market(1), R.MAX_POSITION, 101, 100)
    t.report(rest, O.EXEC_CANCELED)
    t.view().pos = 300  # however it came about
    passed(t.market(-50))
    t.view().pos = 90


def test_position_notional():
    t = trader(max_position_notional=D("101.00"))
    passed(t.market(40))
    refused(t, t.market(61), R.MAX_POSITION_NOTIONAL, 101 * 101 * CENT, 100 * 101 * CENT)
    passed(t.market(60))


def test_position_share():
    t = trader(max_position_share=D("0.01"))  # of 10,000
    refused(t, t.limit(101, 101), R.MAX_POSITION_SHARE, 101 * 101 * CENT, 100 * MONEY)
    passed(t.limit(99, 101))


@pytest.mark.parametrize("name", ["max_position_share", "max_position_notional", "max_order_notional", "collar_bps"])
def test_no_reference(name):
    t = trader(quote=False, **{name: 1})
    refused(t, t.market(1), R.NO_REFERENCE)


def test_limits_of_one_strategy():
    t = trader(strategies=2, own=[Limits(max_position=10), Limits()])
    passed(t.limit(10, 100))
    refused(t, t.limit(1, 100), R.MAX_POSITION, 11, 10)
    passed(t.limit(50, 100, strategy=1))
    t.fields["strategies"][1].state = T.KILLED
    refused(t, t.limit(1, 100, strategy=1), R.STRATEGY_KILLED)


def test_gross():
    t = trader(2, max_gross=D("202"))
    passed(t.market(100))
    passed(t.limit(-60, 105, instrument=1))
    refused(t, t.limit(-41, 105, instrument=1), R.MAX_GROSS, 201 * 101 * CENT, 202 * MONEY)
    passed(t.limit(60, 100, instrument=1))  # the other side of a pair does not add to its worst case
    passed(t.limit(-40, 105, instrument=1))


def test_net_counts_working_orders():
    t = trader(2, max_net=D("101"))
    first = passed(t.market(60))
    refused(t, t.market(41), R.MAX_NET, 101 * 101 * CENT, 101 * MONEY)
    refused(t, t.limit(41, 100, instrument=1), R.MAX_NET, 101 * 101 * CENT, 101 * MONEY)
    t.fill(first, 60, 102)
    passed(t.limit(-100, 105, instrument=1))
    refused(t, t.limit(41, 100, instrument=1), R.MAX_NET, 101 * 101 * CENT, 101 * MONEY)  # the sale may not happen
    passed(t.limit(40, 100, instrument=1))


def test_net_short():
    t = trader(2, max_net=D("101"))
    passed(t.market(-60))
    refused(t, t.limit(-41, 105, instrument=1), R.MAX_NET, 101 * 101 * CENT, 101 * MONEY)
    passed(t.limit(-40, 105, instrument=1))


def test_exposure_without_quotes_uses_what_is_known():
    t = trader(2, quote=False, max_gross=D("110"))
    t.trade(100)
    t.step(ev.TRADE, 1, flags=ev.LAST | ev.SETS_LAST, a=100, b=1)
    t.quote(bid_sz=0, instrument=1)
    passed(t.limit(100, 100))
    refused(t, t.limit(11, 100, instrument=1), R.MAX_GROSS, 111 * MONEY, 110 * MONEY)
    t = trader(quote=False, max_gross=D("110"))
    refused(t, t.limit(100, 100), R.NO_REFERENCE)


def test_a_one_sided_book_is_worth_its_mark():
    t = trader(2, max_gross=D("202"))
    t.bought(100, 101, instrument=1)
    t.quote(bid=1, ask=102, ask_sz=0, instrument=1)
    passed(t.limit(99, 101))
    refused(t, t.limit(2, 101), R.MAX_GROSS, 201 * 101 * CENT, 202 * MONEY)
    t.quote(bid=300, bid_sz=0, ask=302, instrument=1)
    refused(t, t.limit(2, 101), R.MAX_GROSS, 201 * 101 * CENT, 202 * MONEY)


@pytest.mark.parametrize("name", ["max_gross", "max_net", "max_leverage"])
def test_exposure_needs_a_reference(name):
    t = trader(quote=False, **{name: 1})
    refused(t, t.market(1), R.NO_REFERENCE)
    refused(t, t.limit(1, 100), R.NO_REFERENCE)
    t.bar(100)  # a close, which no quote follows
    assert t.view().mark2 == 200
    if name == "max_leverage":
        passed(t.limit(10_000, 100))
        refused(t, t.limit(1, 100), R.BUYING_POWER, 10_001 * MONEY, 10_000 * MONEY)
    else:
        passed(t.limit(1, 100))
        refused(t, t.limit(1, 100), R.MAX_GROSS if name == "max_gross" else R.MAX_NET, 2 * MONEY, MONEY)


def test_a_sale_without_a_reference_has_no_price():
    t = trader(quote=False, max_order_notional=1)
    refused(t, t.limit(-1000, 1), R.NO_REFERENCE)
    passed(t.limit(1, 100))


def test_a_flip_is_judged_by_where_it_ends():
    t = trader(max_position_notional=D("101.00"))
    t.bought(90, 102)
    t.quote(bid=150, ask=152)
    refused(t, t.market(-180), R.MAX_POSITION_NOTIONAL, 90 * 151 * CENT, 101 * MONEY)
    passed(t.market(-90))
    refused(t, t.market(-67), R.MAX_POSITION_NOTIONAL, 67 * 151 * CENT, 101 * MONEY)
    passed(t.market(-66))


def test_negative_prices_are_worth_their_size():
    t = Trader(1, Limits(max_order_notional=D("1.00")), allow_negative_px=True)
    t.quote(bid=-11, ask=-9)
    passed(t.limit(10, -10))
    refused(t, t.limit(1, -101), R.MAX_ORDER_NOTIONAL, 101 * CENT, 100 * CENT)
    refused(t, t.limit(11, -5), R.MAX_ORDER_NOTIONAL, 110 * CENT, 100 * CENT)


def test_what_cannot_be_counted_is_refused_at_whatever_price_it_may_come_to():
    t = trader(max_gross=D("1000000"))
    t.quote(bid=1 << 60, ask=1 << 60)
    refused(t, t.limit(1, 100), R.OUT_OF_RANGE)
    refused(t, t.market(1), R.OUT_OF_RANGE)


def test_buying_power():
    t = trader(max_leverage=2)
    passed(t.market(10_000))
    refused(t, t.limit(9_802, 100), R.BUYING_POWER, 19_802 * 101 * CENT, 20_000 * MONEY)
    passed(t.limit(9_801, 100))


def test_risk_per_trade():
    t = trader(max_risk_per_trade=D("1.00"))
    refused(t, t.bracket(21, 100, 110, 95), R.RISK_PER_TRADE, 105 * CENT, 100 * CENT)
    passed(t.bracket(20, 100, 110, 95))
    refused(t, t.bracket(21, 0, 110, 96), R.RISK_PER_TRADE, 105 * CENT, 100 * CENT)  # a market entry at the mid
    refused(t, t.bracket(-21, 103, 90, 108), R.RISK_PER_TRADE, 105 * CENT, 100 * CENT)
    t = trader(max_risk_share=D("0.0001"), max_risk_per_trade=D("5"))
    refused(t, t.bracket(21, 100, 0, 95), R.RISK_PER_TRADE, 105 * CENT, 100 * CENT)
    t = trader(max_risk_share=D("0.0001"))
    passed(t.bracket(20, 100, 0, 95))
    refused(t, t.bracket(21, 100, 0, 95), R.RISK_PER_TRADE, 105 * CENT, 100 * CENT)
    t = trader(quote=False, max_risk_share=D("0.0001"))
    refused(t, t.bracket(20, 0, 0, 95), R.NO_REFERENCE)


def test_without_equity_no_share_of_it_may_be_risked():
    t = trader(capital="1", max_risk_share=1)
    t.bought(100, 102)
    assert int(t.h.equity) == 0
    refused(t, t.bracket(10, 100, 110, 95), R.RISK_PER_TRADE, 50 * CENT, 0)


def test_what_works_counts_for_what_can_be_counted():
    t = trader()
    most = MOST // 101
    passed(t.limit(most, 100))
    refused(t, t.limit(1, 100), R.OUT_OF_RANGE, 101, MOST)  # at the mid
    passed(t.limit(-most // 2, 103))
    t = trader()
    t.bought(MOST // 102, 102)
    t.quote(bid=150, ask=152)
    refused(t, t.market(1), R.OUT_OF_RANGE)
    passed(t.market(-(MOST // 102)))  # what reduces may be at twice the price


def test_a_leverage_that_no_number_holds_allows_everything():
    t = trader(max_leverage=10**9)
    passed(t.limit(100, 100))


def test_distances_of_any_price_are_compared_exactly():
    t = trader(max_spread_bps=10_000, collar_bps=10**6)
    t.quote(bid=1 << 40, ask=3 << 40)
    passed(t.market(1))
    t = trader(max_spread_bps=10_000, collar_bps=10**6)
    t.quote(bid=1 << 40, ask=(3 << 40) + 2)
    refused(t, t.market(1), R.MAX_SPREAD, 10_000, 10_000)


# --- price --------------------------------------------------------------------------------------------------------------------
def test_collar():
    t = trader(quote=False, collar_bps=200)
    t.quote(bid=199, ask=201)  # reference 200
    passed(t.limit(1, 196))
    passed(t.limit(1, 204))
    refused(t, t.limit(1, 205), R.COLLAR, 250, 200)
    refused(t, t.limit(1, 1_000), R.COLLAR, 40_000, 200)
    t.quote(bid=196, ask=204)
    passed(t.market(1))
    t.quote(bid=195, ask=205)
    refused(t, t.market(1), R.COLLAR, 250, 200)  # it would trade at the ask
    refused(t, t.stop(-1, 190), R.COLLAR, 250, 200)
    t.quote(bid=200, ask=0, ask_sz=0)
    t.at(1).bar(200)
    passed(t.market(1))  # nothing offered: judged at the bid


def test_spread():
    t = trader(quote=False, max_spread_bps=100)
    t.quote(bid=199, ask=201)
    passed(t.market(1))
    t.quote(bid=199, ask=202)
    refused(t, t.market(1), R.MAX_SPREAD, 149, 100)
    passed(t.limit(1, 202))
    t.quote(bid_sz=0)
    passed(t.market(1))


def test_stale_feed_halts_and_a_fresh_quote_clears():
    t = trader(max_quote_age_s=5)
    passed(t.at(5).limit(1, 100))
    refused(t, t.at(5, ns=1).limit(1, 100), R.STALE_FEED, 5 * SECOND + 1, 5 * SECOND)
    assert t.status == ("halted", "stale_feed")
    refused(t, t.limit(1, 100), R.IS_HALTED)
    t.trade(100)
    assert t.status == ("halted", "stale_feed")
    t.quote(bid_sz=0)
    assert t.status == ("halted", "stale_feed")
    t.quote()
    assert t.status == ("active", "stale_feed")
    passed(t.limit(1, 100))


def test_a_stale_feed_is_not_cleared_by_another():
    t = trader(2, max_quote_age_s=5)
    for k in (0, 1):
        t.at(6 + 20 * k).quote(instrument=1 - k)
        refused(t, t.limit(1, 100, instrument=k), R.STALE_FEED)
        t.quote(instrument=1 - k)
        t.trade(100, instrument=k)
        assert t.status == ("halted", "stale_feed")
        t.quote(instrument=k)
        assert t.status == ("active", "stale_feed")


@pytest.mark.parametrize(
    "name",
    [
        f
        for f in Limits.__struct_fields__
        if not f.startswith("max_position") and f not in ("max_order_qty", "max_order_notional")
    ],
)
def test_a_limit_that_a_strategy_cannot_have_is_an_error(name):
    with pytest.raises(BadInput, match=f"strategy limits: {name} is a limit of the account"):
        Trader(strategies=2, own=[Limits(), Limits(**{name: ("A",) if name == "allow" else 1})])


def test_never_heard_is_no_reference_and_does_not_halt():
    t = trader(quote=False, max_quote_age_s=5)
    refused(t, t.limit(1, 100), R.NO_REFERENCE)
    assert t.status[0] == "active"


def test_a_close_is_a_reference_for_two_intervals():
    t = trader(quote=False, max_quote_age_s=5, levels=["bars"], max_order_notional=1)
    t.bar(100)
    passed(t.at(120).market(1))
    refused(t, t.at(120, ns=1).market(1), R.NO_REFERENCE)
    t.at(121).bar(100)
    refused(t, t.market(2), R.MAX_ORDER_NOTIONAL, 200 * CENT, 100 * CENT)


def test_the_last_print_is_a_reference_where_no_age_is_asked_for():
    t = trader(quote=False, max_order_notional=1)
    t.trade(100)
    passed(t.market(1))
    refused(t, t.market(2), R.MAX_ORDER_NOTIONAL, 200 * CENT, 100 * CENT)


def test_crossed_and_gapped_refuse_only_what_adds_risk():
    t = trader()
    t.bought(10, 102)
    t.quote(bid=103, ask=102)
    refused(t, t.market(1), R.CROSSED)
    passed(t.market(-4))
    t.quote()
    t.view().gapped = 1
    refused(t, t.market(1), R.GAPPED)
    passed(t.market(-6))
    refused(t, t.market(-1), R.GAPPED)  # the position is spoken for
    t.quote()
    assert t.view().gapped == 0


def test_a_lot_on_each_side_is_enough_to_be_crossed():
    t = trader()
    t.quote(bid=103, bid_sz=1, ask=102, ask_sz=1)
    refused(t, t.market(1), R.CROSSED)
    t = trader(max_quote_age_s=5)
    refused(t, t.at(6).limit(1, 100), R.STALE_FEED)
    for sizes in ((0, 1), (1, 0)):
        t.quote(100, sizes[0], 102, sizes[1])
        assert t.status == ("halted", "stale_feed")
    t.quote(100, 1, 102, 1)
    assert t.status == ("active", "stale_feed")


def test_limits_of_each_instrument_and_strategy():
    t = trader(3, strategies=2)
    table = t.arena.region("limits")
    table.max_order_qty[:] = 0
    for k in range(3):
        for s in (-1, 0, 1):
            row = (1 + s) * 3 + k
            table[row]["max_position"] = 4
            for s2 in (0, 1):
                for k2 in range(3):
                    if k2 == k and s in (-1, s2):
                        refused(t, t.limit(5, 100, instrument=k2, strategy=s2), R.MAX_POSITION, 5, 4)
                    else:
                        t.cancel(passed(t.limit(5, 100, instrument=k2, strategy=s2)))
                        t.report(t.sent[-1].handle, O.EXEC_CANCELED)
            table[row]["max_position"] = 0


def test_positions_of_each_instrument_and_strategy():
    t = trader(3, strategies=2)
    t.bought(4, 100, instrument=1, strategy=1)
    t.bought(2, 100, instrument=1, strategy=0)
    table = t.arena.region("limits")
    table["max_position"][3:] = 5  # of strategies
    for k in range(3):
        for s in (0, 1):
            if (k, s) == (1, 1):
                refused(t, t.limit(2, 100, instrument=k, strategy=s), R.MAX_POSITION, 6, 5)
            elif (k, s) == (1, 0):
                refused(t, t.limit(4, 100, instrument=k, strategy=s), R.MAX_POSITION, 6, 5)
            else:
                passed(t.limit(5, 100, instrument=k, strategy=s))


def test_locked_is_not_crossed():
    t = trader()
    t.quote(bid=102, ask=102)
    passed(t.market(1))


# --- form ---------------------------------------------------------------------------------------------------------------------
def test_bad_orders():
    t = trader()
    refused(t, t.limit(0, 100), R.BAD_ORDER)
    refused(t, t.place(1, kind=4), R.BAD_ORDER)
    refused(t, t.place(1, kind=15), R.BAD_ORDER)
    refused(t, t.limit(1, 100, tif=T.FOK + 1), R.BAD_ORDER)
    refused(t, t.limit(1, 100, tif=T.IOC, flags=T.POST_ONLY), R.BAD_ORDER)
    refused(t, t.limit(1, 100, tif=T.FOK, flags=T.POST_ONLY), R.BAD_ORDER)
    refused(t, t.market(1, flags=T.POST_ONLY), R.BAD_ORDER)
    passed(t.limit(1, 100, flags=T.POST_ONLY))


def test_nobody_else_claims_to_be_the_engine():
    t = trader(max_order_qty=1)
    refused(t, t.market(100, flags=T.ENGINE), R.BAD_ORDER)
    refused(t, t.bracket(100, 0, 110, 90, flags=T.ENGINE), R.BAD_ORDER)
    refused(t, t.oco(-100, 110, 90, flags=T.ENGINE), R.BAD_ORDER)
    t = trader(max_orders=1)  # nor does a bit beyond the flags pass as a replace
    passed(t.market(1, flags=64))
    refused(t, t.market(1, flags=64), R.ORDER_RATE)


def test_bad_quantity_and_range():
    t = Trader(min_qty=10)
    t.quote()
    refused(t, t.limit(9, 100), R.BAD_QTY)
    passed(t.limit(10, 100))
    px = int(t.arena.region("instruments")[0].max_px)
    refused(t, t.limit(MOST // 200 + 1, 200), R.OUT_OF_RANGE)
    passed(t.limit(-(MOST // 200), 200))
    refused(t, t.limit(-10, px + 1), R.OUT_OF_RANGE)
    refused(t, t.stop(10, px + 1), R.OUT_OF_RANGE)
    t = Trader(min_qty=1)
    t.quote()
    passed(t.limit(-1, px))
    refused(t, t.bracket(10, 100, px // 10 + 1, 95), R.OUT_OF_RANGE)


def test_bounds_do_not_depend_on_the_sessions_extremes():
    assert Instrument(symbol="A", tick_size="0.01").max_product() // 2 == MOST
    for levels in (("l1",), ("bars",)):
        assert int(Trader(levels=levels).arena.region("instruments")[0].max_px) == MOST


def test_an_instrument_without_data_that_execute_is_refused_by_name():
    t = Trader(levels=("l3",))
    refused(t, t.market(1), R.NO_EXECUTION)
    refused(t, t.bracket(1, 100, 110, 90), R.NO_EXECUTION)


def test_bad_price():
    t = trader()
    for answer in (
        t.limit(1, 0),
        t.limit(1, -1),
        t.stop(1, 0),
        t.place(1, T.STOP_LIMIT, 100, 0),
        t.place(1, T.STOP_LIMIT, 0, 100),
    ):
        refused(t, answer, R.BAD_PRICE)
    passed(t.place(1, T.STOP_LIMIT, 100, 100))
    t = Trader(allow_negative_px=True)
    t.quote()
    passed(t.limit(1, -5))
    refused(t, t.limit(1, -int(t.arena.region("instruments")[0].max_px) - 1), R.OUT_OF_RANGE)


def test_bad_exits():
    t = trader()
    px = int(t.arena.region("instruments")[0].max_px)
    refused(t, t.bracket(1, 100, 0, 0), R.BAD_PRICE)
    refused(t, t.bracket(1, 100, 95, 95), R.BAD_PRICE)
    refused(t, t.bracket(1, 100, -5, 0), R.BAD_PRICE)
    refused(t, t.bracket(1, 100, 110, -5), R.BAD_PRICE)
    refused(t, t.bracket(1, 100, px + 1, 95), R.OUT_OF_RANGE)
    refused(t, t.oco(-1, 110, 0), R.BAD_PRICE)
    refused(t, t.oco(-1, 110, 110), R.BAD_PRICE)
    refused(t, t.oco(1, 100, px + 1), R.OUT_OF_RANGE)
    passed(t.oco(-1, 110, 109))
    for signed in (0, -1):
        t.bracket(signed, 100, 110, 95)


def test_unknown_instrument_and_not_allowed():
    t = trader(2, allow=("B",))
    refused(t, t.limit(1, 100, instrument=2), R.UNKNOWN_INSTRUMENT)
    refused(t, t.limit(1, 100, instrument=-1), R.UNKNOWN_INSTRUMENT)
    refused(t, t.target(5, instrument=2), R.UNKNOWN_INSTRUMENT)
    refused(t, t.target(5, instrument=-1), R.UNKNOWN_INSTRUMENT)
    refused(t, t.limit(1, 100), R.NOT_ALLOWED)
    passed(t.limit(1, 100, instrument=1))


def test_venue_closed_and_market_halted():
    t = trader(phased=True)
    refused(t, t.limit(1, 100), R.VENUE_CLOSED)
    t.phase(ev.OPEN, 1)
    passed(t.limit(1, 100))
    t.step(ev.STATUS, side=ev.HALTED)
    refused(t, t.limit(1, 100), R.MARKET_HALTED)
    t.step(ev.STATUS, side=ev.TRADING)
    passed(t.limit(1, 100))
    t.phase(ev.POST_CLOSE, 1)
    refused(t, t.limit(1, 100), R.VENUE_CLOSED)


def test_reduce_only():
    t = trader()
    refused(t, t.market(-1, flags=T.REDUCE_ONLY), R.REDUCES_NOTHING)
    t.bought(10, 102)
    refused(t, t.market(-11, flags=T.REDUCE_ONLY), R.REDUCES_NOTHING)
    passed(t.market(-6, flags=T.REDUCE_ONLY))
    passed(t.market(-5, flags=T.REDUCE_ONLY))  # each alone only reduces, and what trades last is cut to what is left
    refused(t, t.market(1, flags=T.REDUCE_ONLY), R.REDUCES_NOTHING)


def test_self_trade():
    t = trader()
    sell = passed(t.limit(-10, 105))
    t.report(passed(t.market(1)), O.EXEC_CANCELED)  # it takes the 102 that are displayed
    t.quote(ask=105)
    refused(t, t.market(1), R.SELF_TRADE)
    t.quote(ask_sz=0)
    refused(t, t.market(1), R.SELF_TRADE)  # nothing is displayed and no price known: it might meet us
    t.bar(104)
    t.report(passed(t.market(1)), O.EXEC_CANCELED)
    t.quote()
    refused(t, t.limit(1, 105), R.SELF_TRADE)
    below = passed(t.limit(1, 104))
    passed(t.stop(1, 110))  # trades later, if at all: the venue judges then
    t.ack(sell)
    assert t.replace(sell, 10, 104) == -R.SELF_TRADE
    t.report(below, O.EXEC_CANCELED)
    assert t.replace(sell, 10, 103) == -R.OK
    refused(t, t.limit(1, 103), R.SELF_TRADE)  # at the price asked for, too
    t = trader()
    stop = passed(t.stop(-10, 95))
    passed(t.limit(1, 90))  # a stop of ours has no price
    t.ack(stop)
    t = trader()
    passed(t.market(5))
    refused(t, t.limit(-1, 300), R.SELF_TRADE)


def test_self_trade_with_a_price_that_waits():
    t = trader()
    sell = passed(t.limit(-10, 105))
    t.replace(sell, 10, 108)
    t.replace(sell, 10, 103)  # waits behind the first
    refused(t, t.limit(1, 103), R.SELF_TRADE)
    passed(t.limit(1, 102))


# --- rates --------------------------------------------------------------------------------------------------------------------
def test_order_rate_over_a_sliding_window():
    t = trader(max_orders=3, order_window_s=10)
    for s in (0, 4, 8):
        passed(t.at(s).limit(1, 100))
    refused(t, t.at(9, ns=SECOND - 1).limit(1, 100), R.ORDER_RATE, 4, 3)
    last = passed(t.at(10).limit(1, 100))
    refused(t, t.at(13).limit(1, 100), R.ORDER_RATE, 4, 3)
    assert t.cancel(last) == 0  # never held back
    passed(t.at(14).limit(1, 100))


def test_message_rate_counts_replaces_and_cancels():
    t = trader(max_messages=3, message_window_s=10, max_orders=100)
    h = passed(t.limit(1, 100))
    assert t.at(1).replace(h, 1, 99) == 0
    t.report(h, O.EXEC_REPLACED, 1, 99)
    assert t.at(2).cancel(h) == 0
    refused(t, t.at(3).limit(1, 100), R.MESSAGE_RATE, 4, 3)
    t.report(h, O.EXEC_CANCEL_REJECTED)
    refused(t, t.replace(h, 1, 98), R.MESSAGE_RATE, 4, 3)
    assert t.cancel(h) == 0
    assert t.at(10).replace(h, 1, 98) == -R.NOT_WORKING


def test_a_pair_counts_twice():
    t = trader(max_orders=1)
    refused(t, t.oco(-1, 110, 90), R.ORDER_RATE, 2, 1)
    t = trader(max_orders=3)
    passed(t.at(0).market(1))
    passed(t.at(20).market(1))
    refused(t, t.at(59).oco(1, 100, 110), R.ORDER_RATE, 4, 3)
    passed(t.at(60).oco(1, 100, 110))
    t = trader(max_messages=1)
    refused(t, t.oco(-1, 110, 90), R.MESSAGE_RATE, 2, 1)


# --- identity, room -----------------------------------------------------------------------------------------------------------
def test_the_same_intent_gets_the_same_answer():
    t = trader(max_order_qty=10)
    first = passed(t.limit(5, 100, intent=7))
    assert t.limit(5, 100, intent=7) == first and len(t.sent) == 1
    refused(t, t.limit(6, 100, intent=7), R.DUPLICATE_INTENT, 7, 0)
    assert t.limit(11, 100, intent=8) == t.limit(11, 100, intent=8) == -R.MAX_ORDER_QTY
    assert int(t.h.c_refused) == 2  # the remembered answer is not another refusal


def test_a_full_table_of_intents_refuses():
    t = trader(capacity=16)
    for k in range(1, 33):
        t.limit(0, 100, intent=k)
    refused(t, t.limit(1, 100, intent=33), R.CAPACITY, 32, 32)
    passed(t.limit(1, 100))


def test_capacity_never_blocks_a_cancel():
    t = trader(capacity=16)
    handles = [passed(t.limit(1, 100)) for _ in range(15)]
    refused(t, t.bracket(1, 100, 110, 90), R.CAPACITY, 15, 16)
    refused(t, t.oco(-1, 110, 90), R.CAPACITY, 15, 16)
    assert t.target(16) > 0
    refused(t, t.market(1), R.CAPACITY, 16, 16)
    refused(t, t.target(20), R.CAPACITY, 16, 16)
    assert t.cancel(handles[0]) == 0
    t.report(handles[0], O.EXEC_CANCELED)
    passed(t.market(1))


def test_a_slot_rests_for_its_tombstone():
    t = trader(capacity=16, tombstone=SECOND)
    h = [passed(t.limit(1, 100)) for _ in range(16)][0]
    t.fill(h, 1, 100)
    refused(t, t.at(0, ns=SECOND - 1).market(1), R.CAPACITY)
    passed(t.at(1).market(1))
    assert t.order(h) is None
    assert t.cancel(h) == -R.UNKNOWN_ORDER and t.replace(h, 5, 5) == -R.UNKNOWN_ORDER


def test_requests_about_finished_orders():
    t = trader()
    h = passed(t.limit(2, 100))
    assert t.cancel(12345 << 20) == -R.UNKNOWN_ORDER and t.cancel(0) == -R.UNKNOWN_ORDER and t.cancel(1000) == -R.UNKNOWN_ORDER
    t.fill(h, 1, 100)
    assert t.replace(h, 1, 100) == 0 and t.order(h).request == T.CANCELING  # has traded as much: it ends with that
    t.fill(h, 1, 100)
    assert t.cancel(h) == -R.NOT_WORKING and t.replace(h, 5, 100) == -R.NOT_WORKING


def test_warmup_and_drain():
    t = trader()
    h = passed(t.limit(1, 100))
    t.h.mode = T.WARMUP
    refused(t, t.market(1), R.IN_WARMUP)
    assert t.cancel(h) == -R.IN_WARMUP and t.cancel_all() == 0
    t.h.mode = T.DRAIN
    refused(t, t.market(1), R.SESSION_OVER)
    assert t.cancel(h) == -R.SESSION_OVER and t.replace(h, 2, 100) == -R.SESSION_OVER


def test_target():
    t = trader(max_order_qty=10)
    assert t.target(0) == 0
    h = passed(t.target(4))
    assert t.target(4) == 0
    t.fill(h, 4, 102)
    refused(t, t.target(15), R.MAX_ORDER_QTY, 11, 10)
    assert t.sent[-1].qty == 4 and passed(t.target(-3)) and (t.sent[-1].side, t.sent[-1].qty) == (-1, 7)
