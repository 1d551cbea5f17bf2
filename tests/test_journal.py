"""The journal of a run re-steps to the same decisions and the same state; a changed input does not."""

import numpy as np
import pytest

from replay import Each, Strategy, compiled
from replay.data.synth import equity_day, l2_book
from replay.engine import Engine
from replay.errors import BadInput
from replay.journal import verify
from replay.strategy import load
from replay.trader.limits import Limits
from replay.venue.setup import Leg, Profile


class Timed(Strategy):
    """A plain strategy with timers and state: buys one lot a minute, sells after three."""

    every_s: int = 60
    count: Each[int] = 0

    def on_start(self, ctx):
        ctx.timer(ctx.now + self.every_s * 10**9, 7)

    def on_timer(self, ctx, t):
        self.count[0] += 1
        if ctx.market(0, 1 if self.count[0] % 4 else -3) >= 0:
            ctx.timer(ctx.now + self.every_s * 10**9, 7)


@compiled
class Busy(Strategy):
    """Buys one lot a quote."""

    def on_quote(self, ctx, q):
        ctx.market(q.instrument, 1)


def run(session, **kw):
    strategies = [
        load("passive_quoting", {"qty": 5}),
        load("ema_cross", {"fast": 20, "slow": 50, "warmup": 50, "qty": 3}),
        load(Timed),
    ]
    return Engine(session, strategies, journal=True, **kw).run()


@pytest.mark.parametrize("make", [equity_day, l2_book])
def test_identical(make):
    engine = run(make(n_events=6_000, seed=2), limits=Limits(max_drawdown=5, max_orders=50))
    journal = engine.journal()
    assert len(journal.frames) == int(engine.trader.header.seq) > 6_000
    assert (np.diff(journal.frames["seq"]) == 1).all() and (np.diff(journal.frames["now"]) >= 0).all()
    verdict = verify(journal)
    assert verdict.identical, verdict
    assert str(verdict) == f"identical: {len(journal.frames):,} inputs, digest {engine.digest}"


def test_partial_run():
    """A journal cut anywhere is a prefix that verifies."""
    strategies = [load("ema_cross", {"fast": 20, "slow": 50, "warmup": 50, "qty": 3})]
    engine = Engine(equity_day(n_events=4_000, seed=2), strategies, journal=True)
    for _ in range(7):
        engine.advance(311)
        assert verify(engine.journal()).identical


def test_changed_input_is_found():
    journal = run(equity_day(n_events=6_000, seed=2)).journal()
    frame = next(k for k in range(len(journal.frames)) if journal.frames["event"][k, 2] & 0xFF == 7)  # a report
    journal.frames["event"][frame, 6] += 1  # its price
    verdict = verify(journal)
    assert not verdict.identical
    assert "DIFFERENT" in str(verdict)


def test_long_response_leg_needs_more_room():
    """Far more reports in flight than the ring first holds: it grows, nothing is lost, in one go or in pieces."""
    profile = Profile(response=Leg.parse("600s", "response"))
    session = equity_day(n_events=12_000, seed=2)
    whole = Engine(session, [load(Busy)], profile, order_capacity=8_192).run()
    assert int(whole.venue.header.reports_n) > 1_024
    pieces = Engine(session, [load(Busy)], profile, order_capacity=8_192)
    while not pieces.advance(997):
        pass
    assert (whole.digest, whole.state_digest) == (pieces.digest, pieces.state_digest)
    h = whole.trader.header
    assert int(h.c_new) == int(h.c_filled) + int(h.c_canceled) + int(h.c_expired) + int(h.c_rejected) > 5_000


def test_no_journal_kept():
    engine = Engine(equity_day(n_events=500), [load("ema_cross")]).run()
    with pytest.raises(BadInput, match="journal=True"):
        engine.journal()


class Tired(Strategy):
    """Raises at its third quote, where it is told to."""

    ready: bool = False
    seen: int = 0

    def on_quote(self, ctx, q):
        self.seen += 1
        if self.ready and self.seen == 3:
            raise RuntimeError("enough")


def test_a_strategy_that_raises_when_it_is_stepped_again():
    engine = Engine(equity_day(n_events=200, seed=2), [load(Tired)], journal=True).run()
    journal = engine.journal()
    assert verify(journal).identical
    again = journal._replace(build=journal.build._replace(strategies=[load(Tired, {"ready": True})]))
    with pytest.raises(BadInput, match="a strategy raised in on_quote at input"):
        verify(again)
