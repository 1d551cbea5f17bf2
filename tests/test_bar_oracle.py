"""Bars against backtesting.py: random brackets and stops on the same bars, fill by fill. Where it answers otherwise a written rule of
docs/assumptions.md says why; prices of orders are odd and those of bars even, so that nobody argues about a touch."""

import collections
import random
import warnings

import pytest
from test_bar_bounds import fills_of
from test_bars import MINUTE, T0, session_of

from replay import GTC, Strategy
from replay.engine import Engine
from replay.strategy import load
from replay.venue.setup import Profile

LENGTH = 12  #: bars of one scenario: eight of a walk, two that reach every price, two quiet ones
N = 300
FREE = Profile(slippage_ppm=0, participation_ppm=0)


def bars_of(r):
    out = []
    for _ in range(N):
        px = 1000
        for _ in range(8):
            opens, closes = px + 2 * r.randint(-4, 4), px + 2 * r.randint(-6, 6)
            out.append((opens, max(opens, closes) + 2 * r.randint(0, 5), min(opens, closes) - 2 * r.randint(0, 5), closes))
            px = closes
        out += [(1000, 1400, 600, 1000)] * 2 + [(1000, 1000, 1000, 1000)] * 2
    return out


def scenarios(r, bars):
    """(kind, side, entry price, target, stop) of each, decided at the close of its second bar."""
    out = []
    for k in range(N):
        close, side, kind = bars[k * LENGTH + 1][3], r.choice([1, -1]), r.choice(["market", "limit", "stop"])
        away = 2 * r.randint(0, 7) + 1
        entry = close + away * {"market": 0, "limit": -side, "stop": side}[kind]
        odd = 1 if kind == "market" else 0
        out.append((kind, side, entry, entry + side * (2 * r.randint(1, 12) + odd), entry - side * (2 * r.randint(1, 12) + odd)))
    return out


class Ours(Strategy):
    def on_start(self, ctx):
        self.n = -1

    def on_bar(self, ctx, b):
        self.n += 1
        k, step = divmod(self.n, LENGTH)
        kind, side, entry, target, stop = self.todo[k]
        if step == 1 and kind == "stop":
            ctx.stop(0, 10 * side, entry, GTC)
        elif step == 1:
            ctx.bracket(0, 10 * side, 0 if kind == "market" else entry, target, stop, GTC)
        elif step in (6, 9) and kind == "stop" and ctx.position(0) != 0:
            ctx.market(0, -ctx.position(0))


def ours(bars, todo, cls=Ours, length=LENGTH):
    """{scenario: [(bar, price)]} of our fills; a scenario is `length` bars."""
    strategy = load(cls)
    strategy.instance.todo = todo
    session = session_of([(0, 0, k * MINUTE, *bar, 100_000) for k, bar in enumerate(bars)])
    fills = fills_of(Engine(session, [strategy], FREE).run())
    out = collections.defaultdict(list)
    for ts, _, _, px in fills:
        out[(ts - T0) // MINUTE // length].append(((ts - T0) // MINUTE, px))
    return out


def theirs(bars, todo):
    backtesting = pytest.importorskip("backtesting")
    import pandas as pd

    class Theirs(backtesting.Strategy):
        def init(self):
            pass

        def next(self):
            k, step = divmod(len(self.data) - 1, LENGTH)
            kind, side, entry, target, stop = todo[k]
            send = self.buy if side > 0 else self.sell
            if step == 1:
                given = {"market": {}, "limit": {"limit": entry}, "stop": {"stop": entry}}[kind]
                send(size=10, **given, **({} if kind == "stop" else {"tp": target, "sl": stop}))
            elif step in (6, 9) and kind == "stop" and self.position:
                self.position.close()

    columns = dict(zip(("Open", "High", "Low", "Close"), zip(*bars, strict=True), strict=True))
    index = pd.date_range("2026-03-02", periods=len(bars), freq="min")
    data = pd.DataFrame(columns, index=index, dtype=float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trades = backtesting.Backtest(data, Theirs, cash=1e9, commission=0).run()._trades
    out = collections.defaultdict(list)
    for t in trades.itertuples():
        out[t.EntryBar // LENGTH] += [(t.EntryBar, int(t.EntryPrice)), (t.ExitBar, int(t.ExitPrice))]
    return out


def why(bars, scenario, fills):
    """The rule by which a scenario ends otherwise there, None where there is none."""
    kind, side, _, target, stop = scenario
    (entered, px), (left, _) = fills
    opens, high, low, _ = bars[entered]
    reached = low < target < high or low < stop < high
    if kind == "limit" and px == opens and reached:
        return "exits of an entry that filled at the open are in time for the same bar"
    opens, high, low, _ = bars[left]
    if side * (opens - target) > 0 and low < stop < high:
        return "what the open reaches trades at the open, before what is inside of the bar"
    return None


def test_random_orders_against_backtesting_py():
    r = random.Random(7)
    bars = bars_of(r)
    todo = scenarios(r, bars)
    want, got = theirs(bars, todo), ours(bars, todo)
    reasons = collections.Counter()
    for k, scenario in enumerate(todo):
        assert len(got[k]) == 2, (k, scenario, got[k])
        if got[k] != want[k]:
            reason = why(bars, scenario, got[k])
            assert reason and got[k][0] == want[k][0], (k, scenario, bars[k * LENGTH : (k + 1) * LENGTH], got[k], want[k])
            reasons[reason] += 1
    assert sum(reasons.values()) < N // 5, reasons
