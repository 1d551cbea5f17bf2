"""Runs at the edges of the rings: nothing is lost, nothing is written beyond them."""

from decimal import Decimal

import numpy as np
import pytest

from replay import Strategy, compiled
from replay import events as ev
from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.engine import FRAME_ROWS, Engine
from replay.errors import BadInput
from replay.journal import verify
from replay.strategy import load
from replay.venue.setup import Leg, Profile

T0 = 1_772_461_800_000_000_000


@compiled
class Once(Strategy):
    """One market order of `qty` on the second book it sees."""

    qty: int = 700
    at: int = 2

    def on_book(self, ctx, b):
        if ctx.account_position(0) == 0 and ctx.book(0).ask_sz > 0 and ctx.now % 1_000 == self.at:
            ctx.market(0, self.qty)


@compiled
class Late(Strategy):
    """Two orders in the last instants of the data."""

    rows: int = 0

    def on_quote(self, ctx, q):
        if q.seq >= self.rows:
            ctx.market(0, 1)


def rows_of(n):
    r = ev.empty(n)
    r.ts_event[:] = T0 + np.arange(n) * 1_000
    r.ts_recv[:] = r.ts_event + 2
    r["flags"][:] = ev.LAST
    return r


def test_an_order_that_walks_more_levels_than_the_ring_first_held():
    levels = 700
    r = rows_of(levels + 40)
    r.kind[:], r.side[:], r.b[:], r.c[:] = ev.DEPTH, -1, 1, ev.SET
    r.a[:levels] = 1_000 + np.arange(levels)
    r.side[levels:], r.a[levels:], r.b[levels:] = 1, 900, np.arange(40) + 1
    session = Session.from_rows(r, [Instrument(symbol="A", tick_size="0.01")])
    profile = Profile(taker_fee_ppm=100, response=Leg.parse("1us", "response"), entry=Leg.parse("1us", "entry"))
    engine = Engine(session, [load(Once)], profile, capital={"USD": Decimal(100_000)})
    engine.advance(levels)
    engine.run()
    h, v = engine.trader.header, engine.venue.header
    assert int(engine.trader.region("positions")[0].qty) == int(engine.venue.region("books")[0].position) != 0
    assert (int(h.c_duplicate), int(h.c_illegal), int(h.c_unknown), int(v.overrun)) == (0, 0, 0, 0)
    assert int(engine.trader.region("positions")[0].fees) > 0


@pytest.mark.parametrize("short", range(4))
def test_the_journal_at_the_end_of_its_ring(short):
    n = FRAME_ROWS - short
    r = rows_of(n)
    r.kind[:], r.a[:], r.b[:], r.c[:], r.d[:], r.id[:] = ev.QUOTE, 100, 50, 101, 50, np.arange(n)
    session = Session.from_rows(r, [Instrument(symbol="A", tick_size="0.01")])
    engine = Engine(session, [load(Late, {"rows": n - 2})], journal=True).run()
    journal = engine.journal()
    assert len(journal.frames) == int(engine.trader.header.seq) > n
    assert verify(journal).identical


def test_times_that_cannot_be_ordered():
    r = rows_of(2)
    r.kind[:], r.a[:], r.b[:], r.c[:], r.d[:] = ev.QUOTE, 100, 50, 101, 50
    r.ts_event[0] = 0
    with pytest.raises(BadInput, match="more than a year after it happened at 0"):
        Session.from_rows(r, [Instrument(symbol="A", tick_size="0.01")])
    r.ts_event[:] = [0, 40 * 365 * 86_400 * 10**9]
    r.ts_recv[:] = r.ts_event
    with pytest.raises(BadInput, match="more than 30 years"):
        Engine(Session.from_rows(r, [Instrument(symbol="A", tick_size="0.01")]), [load(Late)])


@pytest.mark.parametrize("kind", [ev.REPORT, ev.FEE, ev.TIMER])
def test_rows_no_market_sends(kind):
    r = rows_of(1)
    r.kind[:] = kind
    with pytest.raises(BadInput, match="not recorded from a market"):
        Session.from_rows(r, [Instrument(symbol="A", tick_size="0.01")])
