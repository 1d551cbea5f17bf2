"""Bars against NautilusTrader's bar execution, fill by fill: ``python tests/nautilus_oracle.py 400``.

Needs NautilusTrader beside this project (``pip install nautilus_trader==1.221.0``). Random entries (market, limit, stop) with a bracket's exits, or without
and closed by a market order, are sent to both engines at the same closes. The bars are continuous, each opens where the last closed: it
trades a market order at the last close, we at the next open. Prices of orders are odd and those of bars even, so that nobody argues about a touch.
It walks a bar from open over high and low to close; where that decides otherwise, a written rule of docs/assumptions.md says why.
"""

import argparse
import collections
import random
import sys
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from test_bar_oracle import ours  # noqa: E402
from test_bars import MINUTE, T0  # noqa: E402

from replay import GTC, Strategy  # noqa: E402

LENGTH = 14  #: bars of a scenario: twelve of a walk, with the tenth of which orders are cancelled, with the next all is closed, and two that go back to where it began
CLOSE = 10
QTY = 10


def bars_of(r, n):
    """Continuous bars, prices in cents, all even."""
    out = []
    for _ in range(n):
        px = 10_000
        for _ in range(12):
            closes = px + 2 * r.randint(-6, 6)
            out.append((px, max(px, closes) + 2 * r.randint(0, 5), min(px, closes) - 2 * r.randint(0, 5), closes))
            px = closes
        out += [(px, max(px, 10_000), min(px, 10_000), 10_000), (10_000, 10_000, 10_000, 10_000)]
    return out


def scenarios(r, n, bars):
    """(kind, whether bracketed, side, entry, target, stop), decided at the close of the second bar."""
    out = []
    for k in range(n):
        close, side, kind = bars[k * LENGTH + 1][3], r.choice([1, -1]), r.choice(["market", "limit", "stop"])
        entry = close + (2 * r.randint(0, 7) + 1) * {"market": 0, "limit": -side, "stop": side}[kind]
        odd = 1 if kind == "market" else 0
        bracketed = kind != "stop" and r.random() < 0.6
        out.append(
            (
                kind,
                bracketed,
                side,
                entry,
                entry + side * (2 * r.randint(1, 12) + odd),
                entry - side * (2 * r.randint(1, 12) + odd),
            )
        )
    return out


class Ours(Strategy):
    def on_start(self, ctx):
        self.n = -1

    def on_bar(self, ctx, b):
        self.n += 1
        k, step = divmod(self.n, LENGTH)
        kind, bracketed, side, entry, target, stop = self.todo[k]
        if step == 1 and bracketed:
            ctx.bracket(0, QTY * side, 0 if kind == "market" else entry, target, stop, GTC)
        elif step == 1 and kind == "market":
            ctx.market(0, QTY * side)
        elif step == 1:
            (ctx.limit if kind == "limit" else ctx.stop)(0, QTY * side, entry, GTC)
        elif step == CLOSE - 1:
            ctx.cancel_all(0)
        elif step == CLOSE and ctx.position(0) != 0:
            ctx.market(0, -ctx.position(0))


def theirs(bars, todo):
    """{scenario: [(bar, price in cents)]} of NautilusTrader; a fill at the close of a bar, of a market order, counts as one at the next one's open."""
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, StrategyConfig
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, TimeInForce
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy as Theirs

    instrument = TestInstrumentProvider.equity(symbol="A", venue="X")
    bar_type = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
    found = collections.defaultdict(list)
    px = lambda cents: Price(Decimal(cents) / 100, 2)  # noqa: E731

    class Walk(Theirs):
        def __init__(self):
            super().__init__(StrategyConfig(manage_contingent_orders=True))
            self.n = -1

        def on_start(self):
            self.subscribe_bars(bar_type)

        def on_bar(self, bar):
            self.n += 1
            k, step = divmod(self.n, LENGTH)
            kind, bracketed, side, entry, target, stop = todo[k]
            way, qty, f = OrderSide.BUY if side > 0 else OrderSide.SELL, Quantity.from_int(QTY), self.order_factory
            gtc = TimeInForce.GTC
            if step == 1 and bracketed:
                from nautilus_trader.model.enums import OrderType

                given = {} if kind == "market" else {"entry_order_type": OrderType.LIMIT, "entry_price": px(entry)}
                self.submit_order_list(f.bracket(instrument.id, way, qty, sl_trigger_price=px(stop), tp_price=px(target), tp_post_only=False, entry_post_only=False, time_in_force=gtc, **given))  # fmt: skip
            elif step == 1 and kind == "market":
                self.submit_order(f.market(instrument.id, way, qty, gtc))
            elif step == 1 and kind == "limit":
                self.submit_order(f.limit(instrument.id, way, qty, px(entry), gtc))
            elif step == 1:
                self.submit_order(f.stop_market(instrument.id, way, qty, px(entry), time_in_force=gtc))
            elif step == CLOSE - 1:
                self.cancel_all_orders(instrument.id)
            elif step == CLOSE:
                self.close_all_positions(instrument.id)

        def on_order_filled(self, e):
            bar = (e.ts_event - T0) // MINUTE
            from nautilus_trader.model.enums import OrderType

            at_close = e.order_type == OrderType.MARKET
            found[(bar + at_close) // LENGTH].append((bar + at_close, int(round(float(e.last_px) * 100))))

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(Venue("X"), OmsType.NETTING, AccountType.MARGIN, [Money(10**8, USD)], base_currency=USD, bar_execution=True)
    engine.add_instrument(instrument)
    one = Quantity.from_int(100_000)
    engine.add_data([
        Bar(bar_type, *(px(x) for x in bar), one, T0 + k * MINUTE, T0 + k * MINUTE) for k, bar in enumerate(bars)
    ])  # fmt: skip
    engine.add_strategy(Walk())
    engine.run()
    engine.dispose()
    return found


def why(bars, scenario, got, want):
    """The rule by which a scenario ends otherwise there, None where there is none. `bars` are all, numbered as the fills are."""
    kind, bracketed, side, entry, target, stop = scenario
    if not bracketed or len(got) != 2 or len(want) != 2 or got[0] != want[0]:
        return None
    (entered, _), (there, _), (here, px) = got[0], want[-1], got[-1]
    _, high, low, _ = bars[here]
    if there == here and px == stop and low < target < high and low < stop < high:
        return "one bar that reaches stop and target fills the stop alone"
    _, high, low, _ = bars[entered]
    if kind == "limit" and (low < stop < high or low < target < high):
        return "exits inside the bar of their entry: there they meet the extreme that the path has jumped to, and a stop behind it is refused"
    return None


def compare(n, seed):
    """Fills compared, and how many scenarios ended otherwise by which rule. Raises `AssertionError` for one without a rule."""
    r = random.Random(seed)
    bars = bars_of(r, n)
    todo = scenarios(r, n, bars)
    got, want = ours(bars, todo, Ours, LENGTH), theirs(bars, todo)
    reasons, fills = collections.Counter(), 0
    for k, scenario in enumerate(todo):
        fills += len(got[k])
        if got[k] != want[k]:
            reason = why(bars, scenario, got[k], want[k])
            assert reason, (k, scenario, bars[k * LENGTH : (k + 1) * LENGTH], got[k], want[k])
            reasons[reason] += 1
    return fills, reasons


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n", nargs="?", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    fills, reasons = compare(told.n, told.seed)
    print(f"{told.n} scenarios, {fills} fills of ours, {sum(reasons.values())} scenarios end otherwise:")
    for reason, count in reasons.most_common():
        print(f"  {count:4}  {reason}")
