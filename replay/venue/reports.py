"""What the venue tells us: reports and fees, in the order it says them, each with its own arrival time."""

from __future__ import annotations

from replay.events import FEE, MAKER, REPORT
from replay.kernel.fixed import OVERFLOW, money, mul_div
from replay.kernel.memory import apart, at, fn
from replay.trader.layout import INSTRUMENT
from replay.trader.orders import EXEC_TRADE
from replay.venue.faults import keep_lost, place_report, spoil_report
from replay.venue.latency import arrival
from replay.venue.layout import NOT_SAID, RESPONSE, charges, reports

UNPAYABLE = 1 << 61  # no account has it: taken off, it ends the run


@fn
def report(vb, v, o, ts, exec_type, last_qty, last_px, flags):
    """Append one report; its room was reserved before the event that caused it."""
    apart()
    if v.report_tail - v.report_head >= v.reports_n - 1:
        v.overrun = 1
        return
    ring = reports(vb, v)
    e = ring[v.report_tail & (v.reports_n - 1)]
    v.report_tail += 1
    v.exec_id += 1
    e.ts_event = ts
    e.ts_recv = arrival(v, RESPONSE, ts)
    e.kind = REPORT
    e.side = o.side
    e.flags = exec_type << 8 | flags
    e.instrument = o.instrument
    e.id = v.exec_id
    e.a = o.handle
    e.b = last_qty
    e.c = last_px
    e.d = o.cum
    v.said_recv = e.ts_recv
    if v.windows_n != 0:
        if v.answering == 0:
            spoil_report(vb, v, ts)
        else:
            place_report(vb, v)


@fn
def of_lots(qty, amount):
    """An amount a lot, for so many lots; what is larger than half of all that can be counted is as much, which nobody can pay."""
    apart()
    x = mul_div(qty, amount, 1)
    return min(max(x, -UNPAYABLE), UNPAYABLE) if x != OVERFLOW else UNPAYABLE


@fn
def charged(vb, v, side, qty, notional, ts):
    """What the rules in force at `ts` charge on a fill."""
    apart()
    table = charges(vb, v)
    k = v.charges_n - 1
    while k >= 0 and table[k].from_ns > ts:
        k -= 1
    if k < 0:
        return 0
    c = table[k]
    if side > 0:
        return qty * c.per_lot
    return mul_div(notional, c.sale_e8, 100_000_000) + min(of_lots(qty, c.sale_per_lot), c.sale_most) + of_lots(qty, c.per_lot)


@fn
def fill(vb, v, o, ts, qty, px, maker):
    """Our order trades: a report, and a fee record behind it if the profile charges one. The caller removes a finished order."""
    apart()
    o.leaves -= qty
    o.cum += qty
    v.c_fills += 1
    report(vb, v, o, ts, EXEC_TRADE, qty, px, MAKER if maker else 0)
    rate = v.maker_fee_ppm if maker else v.taker_fee_ppm
    if rate == 0 and v.fee_per_lot == 0 and v.charges_n == 0:
        return
    i = at(vb + v.instruments_at, v.instruments_n, INSTRUMENT)[o.instrument]
    notional = abs(money(px, qty, i.num, i.den))
    amount = mul_div(notional, rate, 1_000_000) + of_lots(qty, v.fee_per_lot)
    if v.charges_n != 0:
        amount += charged(vb, v, o.side, qty, notional, ts)
    ring = reports(vb, v)
    e = ring[v.report_tail & (v.reports_n - 1)]
    v.report_tail += 1
    e.ts_event = ts
    e.ts_recv = v.said_recv
    e.kind = FEE
    e.side = o.side
    e.flags = MAKER if maker else 0
    e.instrument = o.instrument
    e.id = v.exec_id
    e.a = o.handle
    e.b = amount
    e.c = i.currency
    e.d = 0
    if v.windows_n != 0:
        if v.said_recv == NOT_SAID:
            keep_lost(vb, v)
        else:
            place_report(vb, v)
