"""Fills to position, cash, fees, realised and unrealised PnL; conserves to the last unit.

A position holds total cost, not an average price. For every currency cash + cost - realised + fees = initial cash after every
fill: opening moves cash into cost; closing moves floor(cost x closed / quantity) out and realises the difference.
"""

from __future__ import annotations

from replay.kernel.fixed import money, mul_div
from replay.kernel.memory import apart, fn, hot
from replay.trader.layout import RATE_ONE, currencies, instruments, positions, views


@fn
def add_fill(p, i, signed, px):
    """Book `signed` lots at `px` into one position; returns (cash change, cost change, realised)."""
    apart()
    notional = money(px, signed, i.num, i.den)
    realised = 0
    before = p.cost
    if p.qty != 0 and (p.qty > 0) != (signed > 0):
        closed = min(abs(signed), abs(p.qty))
        cost_out = mul_div(p.cost, closed, abs(p.qty))
        closed_notional = notional if closed == abs(signed) else money(px, closed if signed > 0 else -closed, i.num, i.den)
        realised = -closed_notional - cost_out
        p.cost += (notional - closed_notional) - cost_out
    else:
        p.cost += notional
    p.qty += signed
    p.bought += max(signed, 0)
    p.sold += max(-signed, 0)
    p.realised += realised
    p.cash -= notional
    return -notional, p.cost - before, realised


@fn
def on_fill(tb, h, instrument, strategy, signed, px):
    """Book a fill for the account and for its strategy."""
    apart()
    i = instruments(tb, h)[instrument]
    rows = positions(tb, h)
    account = rows[instrument]
    cash, cost, realised = add_fill(account, i, signed, px)
    account.fills += 1
    own = rows[(1 + strategy) * h.n_instruments + instrument]
    add_fill(own, i, signed, px)
    own.fills += 1
    c = currencies(tb, h)[i.currency]
    c.cash += cash
    c.cost += cost
    c.realised += realised
    h.equity += in_base(c, cash)
    v = views(tb, h)[instrument]
    v.pos = account.qty
    if not v.marked:
        v.mark2 = 2 * px
        v.marked = 1
    revalue(h, i, v)


@fn
def on_transfer(tb, h, e):
    """An ACCOUNT event: money of currency `a` comes in (`b`, negative: leaves), and `c` lots of its instrument at a price of `d` ticks,
    for strategy `id`, without a trade: what was deposited, or found at the broker. It is capital, neither profit nor loss: the
    figures that limits are measured from move with it. False where it names what there is not."""
    apart()
    if e.a < 0 or e.a >= h.currencies_n or e.instrument >= h.n_instruments or e.id < 0 or e.id >= max(1, h.n_strategies):
        return False
    before = h.equity
    c = currencies(tb, h)[e.a]
    c.cash += e.b
    c.initial += e.b
    h.equity += in_base(c, e.b)
    if e.c != 0:
        on_fill(tb, h, e.instrument, e.id, e.c, e.d)
        i = instruments(tb, h)[e.instrument]
        paid = money(e.d, e.c, i.num, i.den)
        c = currencies(tb, h)[i.currency]
        c.cash += paid
        c.initial += paid
        h.equity += in_base(c, paid)
    change = h.equity - before
    h.peak += change
    h.day_base += change
    h.initial += change
    return True


@fn
def on_fee(tb, h, instrument, strategy, amount, currency):
    """Charge a fee; `currency` -1 means `amount` lots of the instrument's own base asset, which leave the position."""
    apart()
    rows = positions(tb, h)
    if currency < 0:
        i = instruments(tb, h)[instrument]
        account = rows[instrument]
        _, cost, realised = add_fill(account, i, -amount, 0)
        add_fill(rows[(1 + strategy) * h.n_instruments + instrument], i, -amount, 0)
        c = currencies(tb, h)[i.currency]
        c.cost += cost
        c.realised += realised
        v = views(tb, h)[instrument]
        v.pos = account.qty
        revalue(h, i, v)
        return
    rows[instrument].fees += amount
    own = rows[(1 + strategy) * h.n_instruments + instrument]
    own.fees += amount
    own.cash -= amount
    c = currencies(tb, h)[currency]
    c.cash -= amount
    c.fees += amount
    h.equity -= in_base(c, amount)


@hot
def in_base(c, amount):
    """An amount of a currency in the base currency."""
    return amount if c.rate == RATE_ONE else mul_div(amount, c.rate, RATE_ONE)


@hot
def revalue(h, i, v):
    """Value the position at its mark and carry the change into equity."""
    lots2 = v.pos * v.mark2
    if i.value_den == 2:
        value = (lots2 * i.value_num) >> 1
    else:
        value = mul_div(lots2, i.value_num, i.value_den)
    h.equity += value - v.value
    v.value = value
