"""Fills to position, cash, fees, realised and unrealised PnL; conserves to the last unit.

A position holds total cost, not an average price. For every currency cash + cost - realised + fees = initial cash after every
fill: opening moves cash into cost; closing moves floor(cost x closed / quantity) out and realises the difference.

Every amount stays within MOST: one that would not is not booked, and stops the run (`uncountable`). So no sum of two wraps.
"""

from __future__ import annotations

from replay.kernel.fixed import OVERFLOW, money, mul_div
from replay.kernel.memory import apart, fn, hot
from replay.trader.layout import RATE_ONE, currencies, instruments, positions, views
from replay.trader.output import FAULT_MONEY

MOST = (1 << 62) - 1  #: of an amount of money, in either direction


# --- what no integer holds ----------------------------------------------------------------------------------------------------
@fn
def uncountable(h, instrument):
    """An amount of an instrument is beyond what is counted: whoever drives the trader ends the run."""
    apart()
    h.fault = FAULT_MONEY
    h.uncounted = instrument
    h.attend = 1


@hot
def added(h, instrument, total, amount):
    """The sum of two amounts, checked; the total as it was where it cannot be counted."""
    s = total + amount
    if amount > MOST or amount < -MOST or s > MOST or s < -MOST:  # `OVERFLOW` is less
        uncountable(h, instrument)
        return total
    return s


@fn
def add_fill(h, p, instrument, i, signed, px):
    """Book `signed` lots at `px` into one position; returns (cash change, cost change, realised)."""
    apart()
    notional = money(px, signed, i.num, i.den)
    if notional == OVERFLOW or abs(notional) > MOST:
        uncountable(h, instrument)
        return 0, 0, 0
    realised = 0
    before = p.cost
    if p.qty != 0 and (p.qty > 0) != (signed > 0):
        closed = min(abs(signed), abs(p.qty))
        cost_out = mul_div(p.cost, closed, abs(p.qty))
        closed_notional = notional if closed == abs(signed) else money(px, closed if signed > 0 else -closed, i.num, i.den)
        realised = -closed_notional - cost_out
        p.cost = added(h, instrument, p.cost - cost_out, notional - closed_notional)
    else:
        p.cost = added(h, instrument, p.cost, notional)
    p.qty = added(h, instrument, p.qty, signed)
    p.bought = added(h, instrument, p.bought, max(signed, 0))
    p.sold = added(h, instrument, p.sold, max(-signed, 0))
    p.realised = added(h, instrument, p.realised, realised)
    p.cash = added(h, instrument, p.cash, -notional)
    return -notional, p.cost - before, realised


@fn
def on_fill(tb, h, instrument, strategy, signed, px):
    """Book a fill for the account and for its strategy."""
    apart()
    i = instruments(tb, h)[instrument]
    rows = positions(tb, h)
    account = rows[instrument]
    cash, cost, realised = add_fill(h, account, instrument, i, signed, px)
    account.fills += 1
    own = rows[(1 + strategy) * h.n_instruments + instrument]
    add_fill(h, own, instrument, i, signed, px)
    own.fills += 1
    c = currencies(tb, h)[i.currency]
    c.cash = added(h, instrument, c.cash, cash)
    c.cost = added(h, instrument, c.cost, cost)
    c.realised = added(h, instrument, c.realised, realised)
    h.equity = added(h, instrument, h.equity, in_base(c, cash))
    v = views(tb, h)[instrument]
    hold(i, v, account.qty)
    if not v.marked:
        v.mark2 = 2 * px
        v.marked = 1
    revalue(h, instrument, i, v)


@fn
def on_transfer(tb, h, e):
    """An ACCOUNT event: money of currency `a` comes in (`b`, negative: leaves), and `c` lots of its instrument at a price of `d` ticks,
    for strategy `id`, without a trade: what was deposited, or found at the broker. It is capital, neither profit nor loss: the
    figures that limits are measured from move with it. False where it names what there is not."""
    apart()
    k = e.instrument
    if e.a < 0 or e.a >= h.currencies_n or k >= h.n_instruments or e.id < 0 or e.id >= max(1, h.n_strategies):
        return False
    before = h.equity
    c = currencies(tb, h)[e.a]
    c.cash = added(h, k, c.cash, e.b)
    c.initial = added(h, k, c.initial, e.b)
    h.equity = added(h, k, h.equity, in_base(c, e.b))
    if e.c != 0:
        on_fill(tb, h, k, e.id, e.c, e.d)
        i = instruments(tb, h)[k]
        paid = money(e.d, e.c, i.num, i.den)
        c = currencies(tb, h)[i.currency]
        c.cash = added(h, k, c.cash, paid)
        c.initial = added(h, k, c.initial, paid)
        h.equity = added(h, k, h.equity, in_base(c, paid))
    change = h.equity - before
    h.peak = added(h, k, h.peak, change)
    h.day_base = added(h, k, h.day_base, change)
    h.initial = added(h, k, h.initial, change)
    return True


@fn
def on_fee(tb, h, instrument, strategy, amount, currency):
    """Charge a fee; `currency` -1 means `amount` lots of the instrument's own base asset, which leave the position."""
    apart()
    rows = positions(tb, h)
    if currency < 0:
        i = instruments(tb, h)[instrument]
        account = rows[instrument]
        _, cost, realised = add_fill(h, account, instrument, i, -amount, 0)
        add_fill(h, rows[(1 + strategy) * h.n_instruments + instrument], instrument, i, -amount, 0)
        c = currencies(tb, h)[i.currency]
        c.cost = added(h, instrument, c.cost, cost)
        c.realised = added(h, instrument, c.realised, realised)
        v = views(tb, h)[instrument]
        hold(i, v, account.qty)
        revalue(h, instrument, i, v)
        return
    rows[instrument].fees = added(h, instrument, rows[instrument].fees, amount)
    own = rows[(1 + strategy) * h.n_instruments + instrument]
    own.fees = added(h, instrument, own.fees, amount)
    c = currencies(tb, h)[currency]
    c.fees = added(h, instrument, c.fees, amount)
    if h.fault == FAULT_MONEY:
        return  # an amount that none of these held is no amount to take off
    own.cash = added(h, instrument, own.cash, -amount)
    c.cash = added(h, instrument, c.cash, -amount)
    h.equity = added(h, instrument, h.equity, -in_base(c, amount))


@hot
def in_base(c, amount):
    """An amount of a currency in the base currency."""
    return amount if c.rate == RATE_ONE else mul_div(amount, c.rate, RATE_ONE)


@fn
def hold(i, v, lots):
    """The position is `lots` from now on: up to which price its worth can be counted follows from it."""
    apart()
    v.pos = lots
    v.most2 = MOST
    if lots != 0:
        most = mul_div(MOST, i.value_den, i.value_num)
        v.most2 = min(MOST, most if most != OVERFLOW else MOST) // abs(lots)


@hot
def revalue(h, instrument, i, v):
    """Value the position at its mark and carry the change into equity."""
    if v.mark2 > v.most2 or v.mark2 < -v.most2:
        uncountable(h, instrument)
        return
    lots2 = v.pos * v.mark2
    if i.value_den == 2:
        value = (lots2 * i.value_num) >> 1
    else:
        value = mul_div(lots2, i.value_num, i.value_den)
    h.equity += value - v.value
    v.value = value
