"""NautilusTrader 1.231, Python strategies on its low-level BacktestEngine. Run by its own interpreter; see serve.py.

Jobs: case w1, w2 or w3; level l1 or l2. Logging and post-run analysis off, a margin account without fees, queue position on for W3.
What it reports in `handled` is what its own callbacks saw, checked against an engine-free reference.
"""

import gc
import sys
import time

import numpy as np
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.models import LatencyModel
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import BookOrder, OrderBookDelta, QuoteTick, TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, BookAction, BookType, OmsType, OrderSide, RecordFlag
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy
from serve import DEPTH, FAST, LAST, MAX_POSITION, QTY, QUOTE, SLOW, SNAPSHOT, TRADE, WARMUP, load_rows, serve

IID = InstrumentId(Symbol("SYN"), Venue("SIM"))
BUY, SELL = OrderSide.BUY, OrderSide.SELL


def l1_objects(rows, tick):
    def column(name, mask, scale=None):
        x = rows[name][mask]
        return np.ascontiguousarray(np.round(x * scale, 2) if scale else x.astype(np.float64))

    def times(mask):
        return (np.ascontiguousarray(rows[n][mask].astype(np.uint64)) for n in ("ts_event", "ts_recv"))

    q, t = rows["kind"] == QUOTE, rows["kind"] == TRADE
    quotes = QuoteTick.from_raw_arrays_to_list(
        IID, 2, 0, column("a", q, tick), column("c", q, tick), column("b", q), column("d", q), *times(q)
    )
    sides = np.where(rows["side"][t] > 0, int(AggressorSide.BUYER), int(AggressorSide.SELLER)).astype(np.uint8)
    ids = [str(k) for k in range(int(t.sum()))]
    trades = TradeTick.from_raw_arrays_to_list(IID, 2, 0, column("a", t, tick), column("b", t), sides, ids, *times(t))
    return [quotes, trades]


def l2_objects(rows, tick):
    prices = {p: Price(round(p * tick, 2), 2) for p in np.unique(rows["a"]).tolist()}
    sizes = {z: Quantity(z, 0) for z in np.unique(rows["b"]).tolist()}
    live, deltas, trades = set(), [], []
    for n, r in enumerate(rows.tolist()):
        event, recv, kind, side, flags, _, _, px, size = r[:9]
        if kind == TRADE:
            aggressor = AggressorSide.BUYER if side > 0 else AggressorSide.SELLER
            trades.append(TradeTick(IID, prices[px], sizes[size], aggressor, TradeId(str(n)), event, recv))
            continue
        assert kind == DEPTH
        level = (side, px)
        action = BookAction.DELETE if size == 0 else BookAction.UPDATE if level in live else BookAction.ADD
        (live.discard if size == 0 else live.add)(level)
        marks = (int(RecordFlag.F_SNAPSHOT) if flags & SNAPSHOT else 0) | (int(RecordFlag.F_LAST) if flags & LAST else 0)
        order = BookOrder(BUY if side > 0 else SELL, prices[px], sizes[size], 0)
        deltas.append(OrderBookDelta(IID, action, order, marks, n, event, recv))
    return [deltas, trades]


class Base(Strategy):
    def __init__(self, level):
        super().__init__(StrategyConfig(strategy_id=f"B-{level}"))
        self.level = level
        self.handled = self.quotes = self.sent = self.fill_reports = self.canceled = self.rejected = 0
        self.total = self.cash = self.held = 0.0

    def on_start(self):
        if self.level == "l1":
            self.subscribe_quote_ticks(IID)
        else:
            self.book = None
            self.subscribe_order_book_deltas(IID, BookType.L2_MBP)
        self.subscribe_trade_ticks(IID)

    def on_trade_tick(self, t):
        self.handled += 1

    def on_order_filled(self, e):
        qty = e.last_qty.as_double() if e.order_side == BUY else -e.last_qty.as_double()
        self.held += qty
        self.cash -= qty * e.last_px.as_double()
        self.fill_reports += 1


class Null(Base):
    def on_quote_tick(self, t):
        self.total += t.bid_price.as_double() + t.ask_price.as_double()
        self.handled += 1

    def on_order_book_deltas(self, d):
        b = self.book
        if b is None:
            b = self.book = self.cache.order_book(IID)
        bid, ask = b.best_bid_price(), b.best_ask_price()
        if bid is not None and ask is not None:
            self.total += bid.as_double() + ask.as_double()
        self.handled += 1


class EmaCross(Base):
    def on_start(self):
        super().on_start()
        self.fast = self.slow = 0.0
        self.wanted = 0

    def on_quote_tick(self, t):
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
            self.submit_order(self.order_factory.market(IID, side, Quantity(abs(want - self.wanted), 0)))
            self.sent += 1
            self.wanted = want


class Passive(Base):
    def on_start(self):
        super().on_start()
        self.lot = Quantity(QTY, 0)
        self.touch = [None, None]
        self.slots = [None, None]

    def on_trade_tick(self, t):
        self.handled += 1
        self.quote()

    def on_order_book_deltas(self, d):
        self.handled += 1
        b = self.book
        if b is None:
            b = self.book = self.cache.order_book(IID)
        self.touch = [b.best_bid_price(), b.best_ask_price()]
        self.quote()

    def quote(self):
        if self.touch[0] is None or self.touch[1] is None:
            return
        for k, side in enumerate((BUY, SELL)):
            o = self.slots[k]
            if o is not None:
                if o.is_closed:
                    self.slots[k] = o = None
                elif o.is_open and not o.is_pending_cancel and o.price != self.touch[k]:
                    self.cancel_order(o)
            if o is None and (self.held + QTY <= MAX_POSITION if k == 0 else self.held - QTY >= -MAX_POSITION):
                self.slots[k] = o = self.order_factory.limit(IID, side, self.lot, self.touch[k], post_only=True)
                self.sent += 1
                self.submit_order(o)

    def on_order_accepted(self, e):
        self.quote()

    def on_order_canceled(self, e):
        self.canceled += 1
        self.quote()

    def on_order_rejected(self, e):
        self.rejected += 1
        self.quote()

    def on_order_filled(self, e):
        super().on_order_filled(e)
        self.quote()


STRATEGIES = {"w1": Null, "w2": EmaCross, "w3": Passive}


def prepare(job):
    level, tick = job["level"], job["tick"]
    objects = (l1_objects if level == "l1" else l2_objects)(load_rows(job["rows"]), tick)

    def run():
        engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False))
        orders = {} if job["case"] == "w1" else {"latency_model": LatencyModel(base_latency_nanos=job["latency_ns"])}
        engine.add_venue(
            IID.venue,
            OmsType.NETTING,
            AccountType.MARGIN,
            [Money(100_000_000, USD)],
            base_currency=USD,
            book_type=BookType.L1_MBP if level == "l1" else BookType.L2_MBP,
            queue_position=job["case"] == "w3",
            **orders,
        )
        step = Price(tick, 2)
        engine.add_instrument(
            Equity(
                IID,
                IID.symbol,
                USD,
                price_precision=2,
                price_increment=step,
                lot_size=Quantity.from_int(1),
                ts_event=0,
                ts_init=0,
            )
        )
        for part in objects:
            engine.add_data(part, sort=False)
        engine.sort_data()
        s = STRATEGIES[job["case"]](level)
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
    import nautilus_trader

    serve({"nautilus_trader": nautilus_trader.__version__, "python": sys.version.split()[0]}, prepare)
