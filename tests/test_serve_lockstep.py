"""Decisions through the server in lockstep equal those of a replay, digest for digest."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("aiohttp")
from lockstep import Driver
from runs import LEGS, LIMITS

from replay.data import synth
from replay.engine import Engine
from replay.strategy import load
from replay.trader.limits import Limits
from replay.venue.setup import Leg, Profile

BUSY = (Path(__file__).parent / "busy.py").read_text().replace(", POST_ONLY)", ")").replace(", REDUCE_ONLY)", ")")

PAIR = '''
from replay import GTC, IOC, Each, Strategy, compiled

@compiled
class Pair(Strategy):
    """What a broker of pairs takes: limits that rest until they are moved or cancelled, and IOC."""
    rested: Each[int] = 0
    n: Each[int] = 0

    def on_book(self, ctx, b):
        i = b.instrument
        self.n[i] += 1
        side = 1 if self.n[i] // 40 % 2 == 0 else -1
        if self.n[i] % 20 == 1:
            self.rested[i] = ctx.limit(i, side * 3, ctx.book(i).bid_px if side > 0 else ctx.book(i).ask_px, GTC)
        elif self.n[i] % 20 == 9 and self.rested[i] > 0:
            ctx.replace(self.rested[i], 5, ctx.order_px(self.rested[i]) - side)
        elif self.n[i] % 20 == 15:
            ctx.limit(i, -side * 2, ctx.book(i).bid_px if side > 0 else ctx.book(i).ask_px, IOC)
        elif self.n[i] % 20 == 18 and self.rested[i] > 0:
            ctx.cancel(self.rested[i])
'''


@pytest.fixture(scope="module")
def day():
    return synth.equity_day(("A", "B"), 2_500, seed=11)


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    path = tmp_path_factory.mktemp("strategies") / "busy_plain_orders.py"
    path.write_text(BUSY)
    return f"{path}:Busy"


def twins(session, make, profile, batch, limits=LIMITS, rules=True):
    """The digest of a replay and of the same trader through the server, both under the broker's rules unless `rules` is False."""
    limits = msgspec.structs.replace(limits, account_rules=rules)
    capital = {session.manifest.instruments[0].currency: Decimal(10**6)}
    build = lambda: Engine(session, [load(*make)], profile, limits, capital=capital)  # noqa: E731
    replayed = build().run()
    driven = Driver(build(), batch).run()
    a, b = replayed.trader.header, driven.h
    assert int(a.c_new) > 0 and int(a.n_fills) > 0
    assert (int(b.c_new), int(b.c_cancel), int(b.c_replace), int(b.n_fills)) == (
        int(a.c_new), int(a.c_cancel), int(a.c_replace), int(a.n_fills),
    )  # fmt: skip
    assert driven.engine.digest == replayed.digest
    return replayed, driven


@pytest.mark.parametrize("rules", [True, False], ids=["rules", "open"])
@pytest.mark.parametrize(
    ("profile", "batch"),
    [
        (Profile(), 1),
        (Profile(**LEGS), 64),
        (Profile(name="hftbacktest", queue="power2", queue_n=2.0, **LEGS), 1),
        (Profile(**LEGS, feed=Leg("lognormal", 500_000, 0.4)), 1),
        (Profile(feed=Leg("constant", 2_000_000)), 64),
        (Profile(**LEGS, maker_fee_ppm=100, taker_fee_ppm=300), 64),
        (Profile(entry=Leg("constant", 1_200_000_000_000)), 64),
    ],
    ids=["plain", "legs", "hftbacktest", "feed", "feed-batched", "fees", "slow"],
)
def test_busy(day, busy, profile, batch, rules):
    replayed, driven = twins(day, (busy,), profile, batch, rules=rules)
    unheard = rules and profile.entry.ns > 10**12  # what is not acknowledged yet, the broker replaces not
    assert (int(replayed.trader.header.c_replace) > 0) != unheard and int(replayed.trader.header.c_cancel) > 10
    assert batch == 1 or driven.void > 0


def test_a_book(tmp_path):
    (tmp_path / "pair.py").write_text(PAIR)
    twins(synth.l2_book(1_500, seed=12), (f"{tmp_path}/pair.py:Pair",), Profile(**LEGS), 16, Limits(), rules=False)  # sold short


def test_bars():
    session = synth.bar_days(n_events=3_000, seed=3)
    twins(session, ("sma_cross", {"fast": 5, "slow": 20}), Profile(**LEGS), 32, Limits())


def test_the_fixture_day():
    from replay.data.session import Session

    day = Session.open(Path(__file__).parents[1] / "fixtures" / "equity-day", trust=True)
    replayed, driven = twins(day, ("ema_cross", {"fast": 200, "slow": 1000, "warmup": 1000}), Profile(), 256, Limits())
    held = {k: int(p.qty) for k, p in enumerate(replayed.trader.region("positions")[:2])}
    assert {k: driven.account.portfolio.qty(k) for k in held} == held
    assert driven.frames < 1_000
