"""Money conserves to the last unit, and equals a ledger of plain fractions."""

from fractions import Fraction

import pytest
from drive import CENT, MONEY, Trader
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twins import Position

from replay import events as ev
from replay.trader import orders as O

CALM = settings(deadline=None, max_examples=80)
STEPS = {  # tick, lot: one tick on one lot in 1e-8 of the currency
    "whole": ("0.01", "1"),
    "tenths": ("0.01", "0.0000001"),
    "thirds": ("0.00003", "0.00007"),
}


def trader(steps="whole", strategies=2, n=1):
    tick, lot = STEPS[steps]
    t = Trader(n, strategies=strategies, capacity=256, lot_size=lot, base="X", **({} if tick == "0.01" else {}))
    row = t.arena.region("instruments")[0]
    unit = Fraction(tick) * Fraction(lot) * MONEY
    row.num, row.den = unit.as_integer_ratio()
    row.value_num, row.value_den = row.num, 2 * row.den
    t.quote()
    return t, unit


def fee(t, handle, amount, currency):
    t.step(ev.FEE, ident=1, a=handle, b=amount, c=currency)


def usd(t):
    """The row of the currency that is traded in; the other is the base asset."""
    return int(t.arena.region("instruments")[0].currency)


FILLS = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), st.integers(0, 1), st.integers(-9, 9).filter(bool), st.integers(1, 400)),
        st.tuples(st.just("fee"), st.integers(0, 1), st.integers(-50, 50)),
        st.tuples(st.just("kind"), st.integers(0, 1), st.integers(0, 4)),
        st.tuples(st.just("bust"), st.integers(0, 30)),
        st.tuples(st.just("correct"), st.integers(0, 30), st.integers(1, 9), st.integers(1, 400)),
        st.tuples(st.just("mark"), st.integers(50, 400)),
    ),
    max_size=40,
)


@CALM
@given(st.sampled_from(list(STEPS)), FILLS)
@example("whole", [("fill", 0, 9, 100), ("fill", 0, -4, 110), ("fill", 1, -9, 120), ("fill", 0, -9, 90), ("fill", 0, 4, 80)])
@example("thirds", [("fill", 0, 7, 101), ("fill", 0, -3, 103), ("bust", 0), ("kind", 1, 3), ("fee", 0, -5)])
def test_against_the_twin(steps, ops):
    t, unit = trader(steps)
    account, own = Position(unit), [Position(unit), Position(unit)]
    fees, fills, last, who = 0, [], None, 0
    c = t.fields["currencies"][usd(t)]

    def book(k, signed, px):
        account.fill(signed, px)
        own[k].fill(signed, px)

    for op, *rest in ops:
        if op == "fill":
            k, signed, px = rest
            h = t.market(signed, strategy=k)
            if h < 0:
                continue
            t.fill(h, abs(signed), px)
            fills.append([h, k, signed, px, t.exec_id])
            book(k, signed, px)
            last, who = h, k
        elif op == "fee" and last:
            fee(t, last, rest[1], usd(t))
            fees += rest[1]
        elif op == "kind" and last:
            fee(t, last, rest[1], -1)
            book(who, -rest[1], 0)
        elif op in ("bust", "correct") and fills:
            f = fills[rest[0] % len(fills)]
            qty, px = (0, 0) if op == "bust" else (min(rest[1], abs(f[2])), rest[2])
            f_side = int(t.order(f[0]).side)
            t.report(f[0], O.EXEC_BUST if op == "bust" else O.EXEC_CORRECT, qty, px, exec_id=f[4])
            if (abs(f[2]), f[3]) == (qty, px):
                continue
            if f[2]:
                book(f[1], -f[2], f[3])
            if qty:
                book(f[1], f_side * qty, px)
            if qty == 0:
                fills.remove(f)
            else:
                f[2], f[3] = f_side * qty, px
        elif op == "mark":
            t.quote(rest[0], 1, rest[0] + 1, 1)
        t.check()
        rows = [t.position(), t.position(0, 0), t.position(0, 1)]
        for row, twin in zip(rows, [account, *own], strict=True):
            assert (int(row.qty), int(row.cost), int(row.realised)) == (twin.qty, twin.cost, twin.realised)
        assert int(c.cash) == int(c.initial) + account.cash - fees
        assert (int(c.cost), int(c.realised), int(c.fees)) == (account.cost, account.realised, fees)
        assert int(rows[0].fees) == int(rows[1].fees) + int(rows[2].fees) == fees
        assert int(rows[1].cash) + int(rows[2].cash) == own[0].cash + own[1].cash - fees
    value = int(account.qty * int(t.view().mark2) * unit // 2)
    assert int(t.h.equity) == int(c.cash) + value


def test_a_round_trip_by_hand():
    t, _ = trader(strategies=1)
    h = t.bought(10, 102)
    fee(t, h, 7, usd(t))
    p = t.position()
    assert (int(p.qty), int(p.cost), int(p.cash)) == (10, 1020 * CENT, -1020 * CENT)
    assert int(t.h.equity) == 10_000 * MONEY - 10 * CENT - 7  # bought a tick above the mid
    t.bought(-4, 100)
    assert (int(p.qty), int(p.cost), int(p.realised)) == (6, 612 * CENT, -8 * CENT)
    t.bought(-10, 90)  # closes 6 and opens 4 short
    assert (int(p.qty), int(p.cost), int(p.realised)) == (-4, -360 * CENT, (-8 - 72) * CENT)
    assert (int(p.bought), int(p.sold), int(p.fills)) == (10, 14, 3)
    t.check()


@pytest.mark.parametrize("held", [10, -10, 0])
def test_a_fee_in_kind_leaves_the_position(held):
    t, _ = trader(strategies=1)
    h = t.bought(held, 102) if held else t.limit(1, 90)
    cash = int(t.fields["currencies"][usd(t)].cash)
    fee(t, h, 3, -1)
    assert int(t.position().qty) == int(t.view().pos) == held - 3
    assert int(t.fields["currencies"][usd(t)].cash) == cash
    t.check()


def test_a_fee_of_an_order_long_gone_is_still_charged():
    t, _ = trader()
    fee(t, 12 << 20, 5, usd(t))
    assert int(t.fields["currencies"][usd(t)].fees) == int(t.position(0, 0).fees) == 5
    t.check()


def test_other_currencies_are_converted():
    t, _ = trader(strategies=1)
    c = t.fields["currencies"][usd(t)]
    c.rate = MONEY // 2
    fee(t, t.limit(1, 90), 5, usd(t))
    assert int(t.h.equity) == 10_000 * MONEY - 2  # floor(5 / 2)


def test_a_position_without_a_quote_is_valued_at_its_fill():
    t = Trader()
    t.bought(10, 102)
    assert int(t.view().mark2) == 204 and int(t.h.equity) == 10_000 * MONEY
    t.trade(103)
    assert int(t.h.equity) == 10_000 * MONEY + 10 * CENT
    t.bar(100)
    assert int(t.h.equity) == 10_000 * MONEY - 20 * CENT
    t.quote(100, 1, 102, 1)
    t.trade(50)
    t.bar(50)
    assert int(t.view().mark2) == 202  # a print or a close moves no mark that a quote sets
    t.quote(105, 1, 104, 1)
    assert int(t.view().mark2) == 202 and int(t.h.c_crossed) == 1
    t.check()


def test_an_odd_half_tick_is_floored_once():
    t, unit = trader("thirds", strategies=1)
    t.bought(3, 101)
    t.quote(100, 1, 101, 1)
    assert int(t.view().value) == 3 * 201 * unit // 2
    t.check()


def transfer(t, amount=0, lots=0, px=0, strategy=0, instrument=0):
    t.step(ev.ACCOUNT, instrument, ident=strategy, a=usd(t), b=amount, c=lots, d=px)


@CALM
@given(
    st.lists(
        st.tuples(st.integers(-500, 500), st.integers(-9, 9), st.integers(1, 400), st.integers(0, 1), st.integers(50, 400)),
        max_size=20,
    )
)
def test_transfers_are_capital(moves):
    """Money and lots that come in without a trade: the ledger conserves, and the figures limits are measured from move along."""
    t, _ = trader()
    base = [int(t.h[name]) for name in ("peak", "day_base", "initial")]
    for amount, lots, px, strategy, mark in moves:
        before, peak = int(t.h.equity), int(t.h.peak)
        transfer(t, amount * CENT, lots, px, strategy)
        change = int(t.h.equity) - before
        assert int(t.h.peak) == peak + change
        base[1:] = [b + change for b in base[1:]]
        assert [int(t.h.day_base), int(t.h.initial)] == base[1:]
        t.check()
        t.quote(mark, 5, mark + 2, 5)
        t.check()
    assert t.position().qty == sum(m[1] for m in moves)
    assert [int(t.position(strategy=k).qty) for k in (0, 1)] == [sum(m[1] for m in moves if m[3] == k) for k in (0, 1)]
    assert int(t.h.drawdown) >= 0 and t.status[0] == "active"


def test_a_transfer_of_what_there_is_not_halts():
    for bad in ({"strategy": 2}, {"strategy": -1}, {"instrument": 1}):
        t, _ = trader()
        transfer(t, CENT, **bad)
        assert (t.status, int(t.h.c_illegal)) == (("halted", "illegal_report"), 1)
        t.check()
    for currency in (-1, len(t.fields["currencies"])):
        t, _ = trader()
        t.step(ev.ACCOUNT, 0, ident=0, a=currency, b=CENT)
        assert (t.status, int(t.h.c_illegal)) == (("halted", "illegal_report"), 1)
