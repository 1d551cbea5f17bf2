"""NautilusTrader 2.0.0rc7, a pre-release with another API, Python strategies. Run by its own interpreter; see serve.py.

Jobs as for naut.py. Order state is kept by the strategy from its events, and the touch read by `top_of_book`, which copies no book.
"""

import gc
import sys
import time
from decimal import Decimal

from nautilus_trader.backtest import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common import LoggerConfig, LogLevel
from nautilus_trader.execution import MakerTakerFeeModel, StaticLatencyModel
from nautilus_trader.model import (
    AccountType,
    AggressorSide,
    BookAction,
    BookOrder,
    BookType,
    Currency,
    Equity,
    InstrumentId,
    Money,
    OmsType,
    OrderBookDelta,
    OrderSide,
    Price,
    Quantity,
    QuoteTick,
    RecordFlag,
    Symbol,
    TradeId,
    TradeTick,
    Venue,
)
from nautilus_trader.trading import Strategy, StrategyConfig
from serve import FAST, LAST, MAX_POSITION, QTY, QUOTE, SLOW, SNAPSHOT, TRADE, WARMUP, load_rows, serve

USD = Currency.from_str("USD")
IID = InstrumentId(Symbol("SYN"), Venue("SIM"))
BUY, SELL = OrderSide.BUY, OrderSide.SELL
EMPTY, SENT, WORKING, CANCELING = range(4)


class Cached(dict):
    """Prices and sizes made once each."""

    def __init__(self, make):
        self.make = make

    def __missing__(self, x):
        self[x] = made = self.make(x)
        return made


size_of = Cached(lambda x: Quantity(x, 0))


def objects_of(rows, tick):
    price_of = Cached(lambda x: Price(round(x * tick, 2), 2))
    live, out = set(), []
    for n, r in enumerate(rows.tolist()):
        event, recv, kind, side, flags, _, _, a, b, c, d = r
        if kind == QUOTE:
            out.append(QuoteTick(IID, price_of[a], price_of[c], size_of[b], size_of[d], event, recv))
        elif kind == TRADE:
            aggressor = AggressorSide.BUY if side > 0 else AggressorSide.SELL
            out.append(TradeTick(IID, price_of[a], size_of[b], aggressor, TradeId(str(n)), event, recv))
        else:
            level = (side, a)
            action = BookAction.DELETE if b == 0 else BookAction.UPDATE if level in live else BookAction.ADD
            (live.discard if b == 0 else live.add)(level)
            marks = (RecordFlag.F_SNAPSHOT.value if flags & SNAPSHOT else 0) | (RecordFlag.F_LAST.value if flags & LAST else 0)
            order = BookOrder(BUY if side > 0 else SELL, price_of[a], size_of[b], 0)
            out.append(OrderBookDelta(IID, action, order, marks, n, event, recv))
    return out


class Base(Strategy):
    level = "l1"

    def __init__(self, config):
        super().__init__(config)
        self.handled = self.quotes = self.sent = self.fill_reports = self.canceled = self.rejected = 0
        self.total = self.cash = self.held = 0.0
        self.prepare()

    def prepare(self):
        pass

    def on_start(self):
        if self.level == "l1":
            self.subscribe_quotes(IID)
        else:
            self.subscribe_book_deltas(IID, BookType.L2_MBP, managed=True)
        self.subscribe_trades(IID)

    def on_trade(self, t):
        self.handled += 1

    def on_order_filled(self, e):
        qty = e.last_qty.as_double() if e.order_side == BUY else -e.last_qty.as_double()
        self.held += qty
        self.cash -= qty * e.last_px.as_double()
        self.fill_reports += 1

    def top(self):
        """Best bid and ask, None where there is none."""
        b = self.cache.top_of_book(IID)
        if b is None:
            return None, None
        return (b[0], b[2]) if isinstance(b, tuple) else (_value(b.best_bid_price), _value(b.best_ask_price))


def _value(x):
    return x() if callable(x) else x


class Null(Base):
    def on_quote(self, t):
        self.total += t.bid_price.as_double() + t.ask_price.as_double()
        self.handled += 1

    def on_book_deltas(self, d):
        bid, ask = self.top()
        if bid is not None and ask is not None:
            self.total += bid.as_double() + ask.as_double()
        self.handled += 1


class EmaCross(Base):
    def prepare(self):
        self.fast = self.slow = 0.0
        self.wanted = 0

    def on_quote(self, t):
        self.handled += 1
        mid = 0.5 * (t.bid_price.as_double() + t.ask_price.as_double())
        self.quotes += 1
        if self.quotes == 1:
            self.fast = self.slow = mid
        else:
            self.fast += 2.0 / (FAST + 1.0) * (mid - self.fast)
            self.slow += 2.0 / (SLOW + 1.0) * (mid - self.slow)
        if self.quotes <= WARMUP:
            return
        want = QTY if self.fast > self.slow else -QTY
        if want != self.wanted:
            side = BUY if want > self.wanted else SELL
            self.submit_order(self.order_factory.market(IID, side, size_of[abs(want - self.wanted)]))
            self.sent += 1
            self.wanted = want


class Passive(Base):
    def prepare(self):
        self.touch = (None, None)
        self.slots = [[EMPTY, None, None], [EMPTY, None, None]]  # state, price, client order id
        self.slot_of = {}

    def on_trade(self, t):
        self.handled += 1
        self.quote()

    def on_book_deltas(self, d):
        self.handled += 1
        self.touch = self.top()
        self.quote()

    def quote(self):
        if self.touch[0] is None or self.touch[1] is None:
            return
        for k, side in enumerate((BUY, SELL)):
            slot = self.slots[k]
            if slot[0] == WORKING:
                if slot[1] != self.touch[k]:
                    slot[0] = CANCELING
                    self.cancel_order(slot[2])
            elif slot[0] == EMPTY and (self.held + QTY <= MAX_POSITION if k == 0 else self.held - QTY >= -MAX_POSITION):
                o = self.order_factory.limit(IID, side, size_of[QTY], self.touch[k], post_only=True)
                slot[:] = [SENT, self.touch[k], o.client_order_id]
                self.slot_of[o.client_order_id] = slot
                self.sent += 1
                self.submit_order(o)

    def ended(self, e):
        slot = self.slot_of.pop(e.client_order_id, None)
        if slot is not None:
            slot[0] = EMPTY
        self.quote()

    def on_order_accepted(self, e):
        slot = self.slot_of.get(e.client_order_id)
        if slot is not None and slot[0] == SENT:
            slot[0] = WORKING
        self.quote()

    def on_order_canceled(self, e):
        self.canceled += 1
        self.ended(e)

    def on_order_rejected(self, e):
        self.rejected += 1
        self.ended(e)

    on_order_denied = on_order_rejected

    def on_order_filled(self, e):
        super().on_order_filled(e)
        self.ended(e)  # every print and every order is a multiple of QTY: no partial fill


STRATEGIES = {"w1": Null, "w2": EmaCross, "w3": Passive}
QUIET = {"stdout_level": LogLevel.OFF, "fileout_level": LogLevel.OFF, "bypass_logging": True}


def prepare(job):
    level, tick = job["level"], job["tick"]
    Base.level = level
    objects = objects_of(load_rows(job["rows"]), tick)

    def run():
        engine = BacktestEngine(BacktestEngineConfig(bypass_logging=True, run_analysis=False, logging=LoggerConfig(**QUIET)))
        orders = {} if job["case"] == "w1" else {"latency_model": StaticLatencyModel(base_latency_nanos=job["latency_ns"])}
        engine.add_venue(
            venue=IID.venue,
            oms_type=OmsType.NETTING,
            account_type=AccountType.MARGIN,
            starting_balances=[Money(100_000_000.0, USD)],
            base_currency=USD,
            book_type=BookType.L1_MBP if level == "l1" else BookType.L2_MBP,
            queue_position=job["case"] == "w3",
            fee_model=MakerTakerFeeModel(Decimal(0), Decimal(0)),
            **orders,
        )
        engine.add_instrument(Equity(IID, IID.symbol, USD, 2, Price(tick, 2), 0, 0, lot_size=Quantity.from_int(1)))
        engine.add_data(objects, sort=True)
        s = STRATEGIES[job["case"]](StrategyConfig(log_events=False, log_commands=False))
        engine.add_strategy(s)
        t = time.perf_counter()
        engine.run()
        seconds = time.perf_counter() - t
        out = {
            "handled": s.handled,
            "orders": s.sent,
            "fill_reports": s.fill_reports,
            "canceled": s.canceled,
            "expired": s.rejected,
        }
        out |= {"position": round(s.held), "cash_ticks": round(s.cash / tick), "checksum": s.total / tick}
        engine.dispose()
        del engine, s
        gc.collect()
        return seconds, out

    return run


if __name__ == "__main__":
    from importlib.metadata import version

    serve({"nautilus_trader": version("nautilus_trader"), "python": sys.version.split()[0]}, prepare)
