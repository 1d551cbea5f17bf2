"""Digests that must never change by accident: the bundled day and a made-up book, on every Python, compiled and interpreted.

A change of a rule changes them: then say so in the commit, and write the new ones.
"""

from decimal import Decimal
from pathlib import Path

import pytest

from replay.data.session import Session
from replay.data.synth import l2_book
from replay.engine import Engine
from replay.strategy import load
from replay.trader.limits import Limits
from replay.venue.setup import Leg, Profile

DAY = Path(__file__).parents[1] / "fixtures" / "equity-day"
LIMITS = Limits(max_position=Decimal(300), max_drawdown=Decimal(500), max_orders=30, collar_bps=50, max_quote_age_s=Decimal(30))
JITTER = Profile(entry=Leg.parse("lognormal:1ms:0.5", "entry"), response=Leg.parse("lognormal:2ms:0.4", "response"), seed=7)

CASES = {
    "day-cross": ("day", "ema_cross", {"fast": 50, "slow": 200, "warmup": 200}, Profile(), Limits(), 12_000, "2c3dc93e6e9ac275"),
    "day-quoting": ("day", "passive_quoting", {}, JITTER, LIMITS, 8_000, "3a9aeef70936beb3"),
    "book-quoting": ("book", "passive_quoting", {}, Profile(), Limits(), 4_000, "0dff35ba7aca2a48"),
    "book-hft": ("book", "passive_quoting", {}, Profile(name="hftbacktest", queue="power2", queue_n=2.0), Limits(), 4_000, "c8f3ae90dcd1e4e4"),
}


@pytest.mark.parametrize("case", CASES)
def test_digest(case):
    source, strategy, given, profile, limits, rows, want = CASES[case]
    session = Session.open(DAY) if source == "day" else l2_book(n_events=4_000, seed=5)
    engine = Engine(session, [load(strategy, given)], profile, limits)
    engine.advance(rows)
    assert engine.digest == want
