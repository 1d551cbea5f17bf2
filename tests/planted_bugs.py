"""Bugs to plant in a copy of the project, one at a time: what is wrong -> the file, the text that is replaced, what stands in its place.

The first list was written from the trader's code alone, without a look at the fuzzer that has to find them; the second beside it.
"""

REPORTS, LEDGER, OMS, RISK = "trader/reports.py", "trader/ledger.py", "trader/oms.py", "trader/risk.py"
STEP, GROUPS, INTENTS = "trader/step.py", "trader/groups.py", "trader/intents.py"

BY_A_STRANGER = {
    # reports
    "a fill told twice is booked twice": (REPORTS, "    if fill_row(tb, h, o, e.id) >= 0:", "    if fill_row(tb, h, o, e.id) >= h.fills_n:"),
    "a fill leaves the exposure": (REPORTS, "    else:\n        expose(tb, h, o, worst(tb, h, o))\n\n\n@fn\ndef illegal", "\n\n@fn\ndef illegal"),
    "a late fill leaves the exposure": (REPORTS, "        expose(tb, h, o, max(0, o.exposed - e.b))\n", ""),
    "fills in flight behind a cancel are forgotten": (REPORTS, "expose(tb, h, o, max(0, told(o, e) - o.cum))", "expose(tb, h, o, 0)"),
    "a granted replace keeps the old quantity": (REPORTS, "    o.qty = o.new_qty\n", "    o.qty = o.qty\n"),
    "a granted replace keeps the old price": (REPORTS, "    o.px = px\n    if o.type == STOP:", "    if o.type == STOP:"),
    "rejections are not counted": (REPORTS, "            on_reject(tb, h)", "            h.c_rejected += 0"),
    "unknown is taken for accepted": (REPORTS, "o.state = PARTIAL if to == ACCEPTED and o.cum > 0 else to", "o.state = PARTIAL if o.cum > 0 else ACCEPTED"),
    "an answered request frees the exposure": (REPORTS, "    else:\n        answered(tb, h, o)\n", "    else:\n        answered(tb, h, o)\n        expose(tb, h, o, 0)\n"),
    "the cumulative quantity is the last one": (REPORTS, "    o.cum += qty\n    o.paid", "    o.cum = qty\n    o.paid"),
    "an impossible report does not halt": (REPORTS, "    halt(tb, h, reason)\n    return False", "    return False"),
    "a finished order takes a second fill for nothing": (REPORTS, "    book_fill(tb, h, o, e.id, e.b, e.c)\n    if finished", "    if not finished(o.state):\n        book_fill(tb, h, o, e.id, e.b, e.c)\n    if finished"),
    # ledger
    "cost stays when a position closes": (LEDGER, "p.cost = added(h, instrument, p.cost - cost_out, notional - closed_notional)", "p.cost = added(h, instrument, p.cost, notional - closed_notional)"),
    "buying brings cash": (LEDGER, "p.cash = added(h, instrument, p.cash, -notional)", "p.cash = added(h, instrument, p.cash, notional)"),
    "equity misses the cash of fills": (LEDGER, "    h.equity = added(h, instrument, h.equity, in_base(c, cash))\n", ""),
    "a strategy's own position is booked the other way": (LEDGER, "    add_fill(h, own, instrument, i, signed, px)", "    add_fill(h, own, instrument, i, -signed, px)"),
    "marks add up": (LEDGER, "    h.equity += value - v.value", "    h.equity += value"),
    "a flip closes more than there was": (LEDGER, "closed = min(abs(signed), abs(p.qty))", "closed = abs(signed)"),
    "cash of the account moves twice": (LEDGER, "c.cash = added(h, instrument, c.cash, cash)", "c.cash = added(h, instrument, c.cash, 2 * cash)"),
    # oms
    "a replace that grows is not counted until granted": (OMS, "total = max(total, o.new_qty)", "total = min(total, o.new_qty)"),
    "a sent order is not exposed": (OMS, "    expose(tb, h, o, worst(tb, h, o))\n    send(tb, o.handle & SLOT_MASK, CMD_NEW", "    send(tb, o.handle & SLOT_MASK, CMD_NEW"),
    "a cancel goes out again while one is out": (OMS, "    elif o.request == NO_REQUEST:\n        o.request = CANCELING", "    elif o.request != REPLACING:\n        o.request = CANCELING"),
    "a replace goes out while one is out": (OMS, "    if o.request == NO_REQUEST:\n        o.request = REPLACING", "    if o.request != CANCELING:\n        o.request = REPLACING"),
    "sells are counted as buys": (OMS, "        v.selling += change", "        v.buying += change"),
    "a strategy's buys are counted down": (OMS, "        p.buying += change", "        p.buying -= change"),
    "cancel_all leaves the sells": (OMS, "        if (instrument < 0 or o.instrument == instrument)", "        if o.side > 0 and (instrument < 0 or o.instrument == instrument)"),
    "only new orders are messages": (OMS, "    h.n_messages += 1", "    h.n_messages += 1 if kind == CMD_NEW else 0"),
    "ordinals are used again": (OMS, "    h.ordinal += 1", "    h.ordinal += h.now & 1"),
    "what waited is sent after a kill": (OMS, "(wanted == REPLACING and (h.state == KILLED or o.next_qty <= o.cum)):\n        cancel(tb, h, o)  # of a total that has traded meanwhile nothing is left\n    elif wanted == REPLACING and (h.state == ACTIVE or o.next_qty < o.qty or ENDED < o.group < OCO_LEG):", "(wanted == REPLACING and o.next_qty <= o.cum):\n        cancel(tb, h, o)\n    elif wanted == REPLACING:"),
    "a closed order stays in the list": (OMS, "        v.orders = o.next\n    if o.next >= 0", "        v.orders = v.orders\n    if o.next >= 0"),
    # risk
    "the position limit is one too high": (RISK, "if l.max_position > 0 and reach > l.max_position:", "if l.max_position > 0 and reach > l.max_position + 1:"),
    "working orders do not count": (RISK, "    reach = abs(pos + side * (qty + working))", "    reach = abs(pos + side * qty)"),
    "the order limit is one too high": (RISK, "qty > l.max_order_qty:", "qty > l.max_order_qty + 1:"),
    "killed lets orders pass": (RISK, "    if h.state == KILLED:\n        return R.IS_KILLED\n", ""),
    "halted lets orders pass": (RISK, "        if h.state == HALTED:\n            return R.IS_HALTED\n", ""),
    "a gap lets orders pass": (RISK, "        if v.gapped:\n            return R.GAPPED\n", ""),
    "a crossed quote lets orders pass": (RISK, "        if v.bid_sz > 0 and v.ask_sz > 0 and v.bid_px > v.ask_px:\n            return R.CROSSED\n", ""),
    "a stale quote is fresh": (RISK, "(limit == 0 or h.now - v.ts <= limit)", "(limit == 0 or v.ts > 0)"),
    "the throttle looks the wrong way": (RISK, "times[(sent + new - 1) % most] > since", "times[(sent + new - 1) % most] < since"),
    "the throttle lets one more through": (RISK, "if most == 0 or sent + new <= most:", "if most == 0 or sent + new <= 2 * most:"),
    "the gross limit is twice as high": (RISK, "if l.max_gross > 0 and gross > l.max_gross:", "if l.max_gross > 0 and gross > 2 * l.max_gross:"),
    "orders at our own price pass": (RISK, "if not known or o.type == MARKET or side * (px - o.px) >= 0:", "if not known or o.type == MARKET or side * (px - o.px) > 0:"),
    "the daily loss is twice as much": (RISK, "h.floor = h.day_base - l.max_daily_loss", "h.floor = h.day_base - 2 * l.max_daily_loss"),
    "a flip passes as a reduction": (RISK, "    reducing = qty + working <= -side * v.pos", "    reducing = side * v.pos < 0"),
    "a halt weakens a kill": (RISK, "    if h.state == ACTIVE:\n        h.halts += 1", "    if h.state != HALTED:\n        h.halts += 1"),
    # step
    "a kill cancels nothing": (STEP, "or nothing does\n    cancel_all(tb, h, -1, -1)", "or nothing does"),
    "what comes alive after a kill stays": (STEP, "        if h.state == KILLED and h.mode != DRAIN:\n            if o.flags", "        if h.state == KILLED and h.mode == DRAIN:\n            if o.flags"),
    "the peak forgets": (RISK, "    h.peak = h.equity\n    set_floor(tb, h)", "    h.peak = h.equity - 1\n    set_floor(tb, h)"),
    # groups
    "both legs may trade": (GROUPS, "    return leg.group_qty - leg.cum - (orders(tb, h)[k].cum if k >= 0 else 0)", "    return leg.group_qty - leg.cum"),
    "the other leg is never cancelled": (GROUPS, "            cancel(tb, h, other)  # done", "            expose(tb, h, other, worst(tb, h, other))  # done"),
    "children go out for the whole entry": (GROUPS, "            c.qty = entry.cum\n", "            c.qty = entry.qty\n"),
    "an excess is flattened again and again": (GROUPS, "        leg.group_qty -= left  # both traded; or a fill of an exit that is done was taken back\n", ""),
    "the flattener doubles the position": (GROUPS, "    side = -1 if v.pos > 0 else 1", "    side = 1 if v.pos > 0 else -1"),
    # intents
    "an intent sent twice is two orders": (INTENTS, "        if rows[row].intent_id == intent_id:\n            if", "        if rows[row].intent_id == intent_id and rows[row].content != content:\n            if"),
    "a replaced quantity is asked of risk without what has traded": (INTENTS, "o.side, qty - o.cum, limit_px", "o.side, 1, limit_px"),
}  # fmt: skip

BY_THE_FUZZERS_AUTHOR = {
    "fills are not deduplicated": (
        "trader/reports.py",
        "        if f.exec_id == exec_id:\n            return s & (h.fills_n - 1)\n",
        "",
    ),
    "position limit off by one": (
        "trader/risk.py",
        "reach > l.max_position:",
        "reach > l.max_position + 1:",
    ),
    "position limit forgets what works": (
        "trader/risk.py",
        "reach = abs(pos + side * (qty + working))",
        "reach = abs(pos + side * qty)",
    ),
    "order quantity limit off by one": ("trader/risk.py", "qty > l.max_order_qty:", "qty > l.max_order_qty + 1:"),
    "order rate window one short": ("trader/risk.py", "times[(sent + new - 1) % most] > since", "False"),
    "a kill does not latch": (
        "trader/risk.py",
        "    if h.state == KILLED:\n        return R.IS_KILLED\n",
        "",
    ),
    "a kill does not cancel": (STEP, "or nothing does\n    cancel_all(tb, h, -1, -1)\n", "or nothing does\n"),
    "halted, and yet risk is added": (
        "trader/risk.py",
        "        if h.state == HALTED:\n            return R.IS_HALTED\n",
        "",
    ),
    "gapped books are traded": ("trader/risk.py", "        if v.gapped:\n            return R.GAPPED\n", ""),
    "crossed quotes are traded": (
        "trader/risk.py",
        "v.bid_px > v.ask_px:\n            return R.CROSSED",
        "v.bid_px > v.ask_px + 1000:\n            return R.CROSSED",
    ),
    "a second request while one is out": (
        "trader/oms.py",
        "    elif o.request == NO_REQUEST:\n        o.request = CANCELING\n",
        "    elif o.request != CANCELING:\n        o.request = CANCELING\n",
    ),
    "a stale view after a replace": ("trader/reports.py", "    o.px = px\n    if o.type == STOP:", "    if o.type == STOP:"),
    "quantity kept after a replace": ("trader/reports.py", "    o.qty = o.new_qty\n", ""),
    "unknown orders do not count": (
        "trader/reports.py",
        "    o.state = PARTIAL if to == ACCEPTED and o.cum > 0 else to\n",
        "    o.state = PARTIAL if to == ACCEPTED and o.cum > 0 else to\n    if to == UNKNOWN:\n        expose(tb, h, o, 0)\n",
    ),
    "an ack behind a fill takes the fill's state": (
        "trader/reports.py",
        "PARTIAL if to == ACCEPTED and o.cum > 0 else to",
        "to",
    ),
    "late fills of a canceled order are dropped": (
        "trader/orders.py",
        "        t[s, EXEC_TRADE] = ILLEGAL if s in (FILLED, REJECTED) else SAME\n",
        "        t[s, EXEC_TRADE] = ILLEGAL\n",
    ),
    "exposure leaks at a cancel": (
        "trader/reports.py",
        "expose(tb, h, o, max(0, told(o, e) - o.cum))",
        "expose(tb, h, o, max(0, o.qty - o.cum))",
    ),
    "cost of a partial close rounds the other way": (
        LEDGER,
        "        p.cost = added(h, instrument, p.cost - cost_out, notional - closed_notional)\n",
        "        p.cost = added(h, instrument, p.cost - cost_out, notional - closed_notional + (1 if closed < abs(p.qty) else 0))\n",
    ),
    "fees are not taken from cash": (LEDGER, "    c.cash = added(h, instrument, c.cash, -amount)\n", ""),
    "equity forgets a fee": (LEDGER, "    h.equity = added(h, instrument, h.equity, -in_base(c, amount))\n", ""),
    "the floor is not looked at after a fill": (
        "trader/step.py",
        "        watch(tb, h)\n        # a flattener",
        "        # a flattener",
    ),
    "a peak does not raise the floor": (
        "trader/risk.py",
        "    h.peak = h.equity\n    set_floor(tb, h)\n",
        "    h.peak = h.equity\n",
    ),
    "a timer stays": ("trader/step.py", "            pop_timer(tb, h)\n", "            pass\n"),
    "the newest timer first": ("trader/timers.py", "if heap[up].ts < ts or (", "if heap[up].ts < ts - 1000000000000 or ("),
    "slots are taken too soon": (
        "trader/oms.py",
        "    return o.exposed != 0 or o.request != NO_REQUEST\n",
        "    return False\n",
    ),
    "a freed slot leaves its list": ("trader/oms.py", "        table[o.next].prev = o.prev\n", "        pass\n"),
    "self-trade is not looked for": (
        RISK,
        "    if crosses_own(tb, h, v, side, px, kind, price2):\n        return R.SELF_TRADE\n",
        "",
    ),
    "orders after the end of the data": (
        "trader/risk.py",
        "    if h.mode == DRAIN:\n        return R.SESSION_OVER\n",
        "",
    ),
    "a rejection spike is lifted at once": (
        "trader/risk.py",
        "        if h.now - times[(h.n_rejects - 1) % h.reject_times_n] >= l.reject_window_ns:\n",
        "        if True:\n",
    ),
    "a halt by hand clears itself": (
        "trader/risk.py",
        "    if h.state_reason == R.STALE_FEED and instrument == h.stale:\n",
        "    if instrument == h.stale:\n",
    ),
    "a pair counts with one leg's lots": (
        "trader/oms.py",
        "return 0 if o.handle > o.sibling else max(left(o), left(orders(tb, h)[slot]))",
        "return 0 if o.handle > o.sibling else left(o)",
    ),
    "exits that make way count as nothing": (GROUPS, "            expose(tb, h, o, counted)", "            expose(tb, h, o, 0)"),
    "the venue forgets a resting order": (
        "venue/resting.py",
        "    o.live = 1\n    b.attends |= takes_displays(o)\n",
        "    o.live = o.leaves != 3\n    b.attends |= takes_displays(o)\n",
    ),
    "the venue fills a tick beyond the limit": (
        "venue/matching.py",
        "o.side * (o.px - px_of(b, other)) >= 0:\n        px = ",
        "o.side * (o.px - px_of(b, other)) >= -1:\n        px = ",
    ),
    "a lost request is never looked up": (
        "kernel/loop.py",
        "        ask(vb, v, at(address, 1, EVENT)[0])\n",
        "        pass\n",
    ),
    "a recycled order's report halts": (
        "trader/reports.py",
        "    if slot < 0 and forgotten(tb, h, e, kind):\n        h.c_late += 1\n        return False\n",
        "",
    ),
    "a decision is left out of the digest": (
        "trader/risk.py",
        "    chain(h, state << 8 | reason, 0, 0, 0, 0)\n",
        "",
    ),
}

BUGS = BY_A_STRANGER | BY_THE_FUZZERS_AUTHOR
assert len(BUGS) == len(BY_A_STRANGER) + len(BY_THE_FUZZERS_AUTHOR)
