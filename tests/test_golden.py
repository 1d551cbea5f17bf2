"""Digests that must never change by accident: the bundled day and a made-up book, on every Python, compiled and interpreted.

``python tests/test_golden.py`` prints them.

A change of a rule changes them: then say so in the commit, and write the new ones.
"""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from replay.data.session import Session
from replay.data.synth import l2_book
from replay.engine import Engine
from replay.strategy import examples, load
from replay.trader.limits import Limits
from replay.venue.setup import Leg, Profile

FIXTURES = Path(__file__).parents[1] / "fixtures"
DAY, MONTH = FIXTURES / "equity-day", FIXTURES / "bars-month"
LIMITS = Limits(max_position=Decimal(300), max_drawdown=Decimal(500), max_orders=30, collar_bps=50, max_quote_age_s=Decimal(30))
JITTER = Profile(entry=Leg.parse("lognormal:1ms:0.5", "entry"), response=Leg.parse("lognormal:2ms:0.4", "response"), seed=7)

ALL = 1 << 30  # rows
#: what makes lengths of time hold a few one-minute bars
BARS = {
    "mean_reversion": {"horizon": "5m", "window": "1h", "max_hold": "30m", "stop_bps": 100.0},
    "micro_momentum": {"burst": "2m", "window": "1h", "surge": 1.5, "take_bps": 30.0, "stop_bps": 20.0, "max_hold": "15m"},
    "breakout": {},
}
CASES = {
    "day-cross": ("day", "ema_cross", {"fast": 50, "slow": 200, "warmup": 200}, Profile(), Limits(), 12_000, "2c3dc93e6e9ac275"),
    "day-quoting": ("day", "passive_quoting", {}, JITTER, LIMITS, 8_000, "3a9aeef70936beb3"),
    "day-reversion": ("day", "mean_reversion", {}, Profile(), Limits(), ALL, "6b81ae43ce763ce6"),
    "day-momentum": ("day", "micro_momentum", {}, Profile(), Limits(), ALL, "1c24623a0ee03d81"),
    "day-breakout": ("day", "breakout", {}, Profile(), Limits(), ALL, "21906a9c4b0560b8"),
    "day-hold": ("day", "buy_and_hold", {}, Profile(), Limits(), ALL, "07952eff40ae4906"),
    "bars-sma": ("bars", "sma_cross", {}, Profile(), Limits(), ALL, "e93972ee81598ee4"),
    "bars-reversion": ("bars", "mean_reversion", BARS["mean_reversion"], Profile(), Limits(), ALL, "9b87151135174a11"),
    "bars-momentum": ("bars", "micro_momentum", BARS["micro_momentum"], Profile(), Limits(), ALL, "a702393a237bc8e9"),
    "bars-breakout": ("bars", "breakout", BARS["breakout"], Profile(), Limits(), ALL, "ac04b099037283b8"),
    "bars-hold": ("bars", "buy_and_hold", {}, Profile(), Limits(), ALL, "93f5b11a779df93f"),
    "book-quoting": ("book", "passive_quoting", {}, Profile(), Limits(), 4_000, "0dff35ba7aca2a48"),
    "book-hft": (
        "book",
        "passive_quoting",
        {},
        Profile(name="hftbacktest", queue="power2", queue_n=2.0),
        Limits(),
        4_000,
        "c8f3ae90dcd1e4e4",
    ),
}


def digest(case):
    source, strategy, given, profile, limits, rows, _ = CASES[case]
    session = {"day": lambda: Session.open(DAY), "book": lambda: l2_book(4_000, seed=5), "bars": lambda: Session.open(MONTH)}
    engine = Engine(session[source](), [load(strategy, given)], profile, limits)
    engine.advance(rows)
    return engine.digest


WANTED = {case: row[-1] for case, row in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_digest(case):
    assert digest(case) == WANTED[case]


def test_digests_of_the_other_way_to_run():
    other = "0" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else "1"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "NUMBA_DISABLE_JIT": other}
    done = subprocess.run([sys.executable, __file__], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == WANTED


def test_every_example_is_here():
    assert {row[1] for row in CASES.values()} >= set(examples())


if __name__ == "__main__":
    print(json.dumps({case: digest(case) for case in CASES}))
