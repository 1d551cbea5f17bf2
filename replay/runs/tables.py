"""A run as tables: what the trader said, put into columns. One Arrow table a question; the same that a run folder holds.

Prices, quantities and money are floats in natural units, for reading and plotting; exact integers (ticks, lots) stand beside fills, and
`events` holds every record as it was said. Times are ns UTC. Everything here is derived: no figure is known to the tables alone.

==========  =====================================================================================================
table       one row for each
==========  =====================================================================================================
orders      order that was sent: when, what the last replace made of it, how and why it ended, what our view was when it was decided
fills       fill: at the venue and at us, fee, position after it, slippage against the price it was meant to have, our view then
trips       round trip, from flat to flat, of one strategy in one symbol; the last one may be open
equity      full minute at or behind a change of equity: what it was from then on, with exposure; the start, and the end
unprotected  time in which a position had lost its stop
prices      symbol and bucket of time: mids (trades where only depth is recorded, closes of bars)
refusals    order that risk refused, with the figures of the check
latency     bucket of one leg's histogram
states      change of the trader's state: halts, kills, recoveries
logs        ``ctx.log`` of a strategy
faults      fault that struck: when, which of the plan, the order or how many rows of the feed
events      record of the trader, in order, undecoded
==========  =====================================================================================================
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute  # noqa: F401  (pa.compute)

from replay.engine import Engine
from replay.faults import plan
from replay.runs.prices import prices
from replay.runs.protection import losses
from replay.runs.terms import Terms
from replay.runs.trips import Units, trips
from replay.summary import refusal_text, strategy_names
from replay.trader import layout as T
from replay.trader.limits import MONEY
from replay.trader.orders import (
    EXEC_BUST,
    EXEC_CORRECT,
    EXEC_NAMES,
    EXEC_NEW,
    EXEC_TRADE,
    FILLED,
    STATE_NAMES,
    SUBMITTED,
    TERMINAL,
    WHY_MASK,
    WHY_NAMES,
)
from replay.trader.output import (
    OUT_EQUITY,
    OUT_FEE,
    OUT_LOG,
    OUT_NAMES,
    OUT_NEW,
    OUT_REFUSED,
    OUT_REPLACE,
    OUT_REPORT,
    OUT_SEEN,
    OUT_STATE,
)
from replay.trader.reasons import OF_NOBODY, REASON_NAMES

TYPES = ["market", "limit", "stop", "stop_limit"]
TIFS = ["day", "gtc", "ioc", "fok"]
SIDES = ["buy", "sell"]
TRADER_STATES = ["active", "halted", "killed"]
TIME = pa.timestamp("ns", tz="UTC")
NO_TIME = np.iinfo(np.int64).min
EXPLAINED = 1000  #: refusals of one reason whose figures are put into a sentence
_FLAGS = ["", "post_only", "reduce_only", "post_only reduce_only"]


def tables(engine: Engine) -> dict[str, pa.Table]:
    """All tables of a run so far, by name. Cost: about 1 us an order; memory in proportion to orders and fills."""
    return _Tables(engine).all()


def equity(engine: Engine) -> pa.Table:
    """The table `equity` alone."""
    return _Tables(engine).equity()


def times(ns: np.ndarray) -> pa.Array:
    """ns as Arrow times; `NO_TIME` becomes null."""
    return pa.array(ns, pa.int64(), mask=ns == NO_TIME).cast(TIME)


def texts(codes: np.ndarray, names: list[str]) -> pa.Array:
    """Codes as a dictionary column."""
    return pa.DictionaryArray.from_arrays(np.asarray(codes, np.int32), pa.array(names, pa.string()))


def reasons(codes: np.ndarray, unknown: np.ndarray) -> pa.Array:
    """Why the venue ended orders, null where it is `unknown`."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=unknown.astype(bool)), pa.array(WHY_NAMES))


class _Tables:
    def __init__(self, engine: Engine):
        self.engine, self.said = engine, engine.output()
        self.kind = np.asarray(self.said["kind"])
        self.instruments = engine.session.instruments
        self.symbols = [i.symbol for i in self.instruments]
        self.names = strategy_names(engine)
        self.tick = np.array([float(i.tick_size) for i in self.instruments])
        self.lot = np.array([float(i.lot_size) for i in self.instruments])
        # an inverse contract cannot be traded
        money = (0.0 if i.inverse else float(Fraction(*i.tick_value()) / int(MONEY)) for i in self.instruments)
        self.units = Units(self.tick, self.lot, np.array(list(money)))

    def of(self, kind: int) -> np.ndarray:
        return self.said[self.kind == kind]

    def all(self) -> dict[str, pa.Table]:
        self.terms = Terms(self.said, self.kind)
        fills = self.fills()
        orders = self.orders(fills)
        own = {"orders": orders, "fills": fills, "trips": trips(fills, self._marks(), self.units), "equity": self.equity()}
        traded = sorted({*fills["symbol"].unique().to_pylist(), *orders["symbol"].unique().to_pylist()}) or self.symbols[:1]
        own["prices"] = prices(self.engine.session, traded)
        own["refusals"], own["states"], own["logs"] = self.refusals(), self.states(), self.logs()
        own["unprotected"] = self.unprotected()
        own["latency"], own["faults"], own["events"] = self.latency(orders, fills), self.faults(), self.events()
        return own

    def _marks(self) -> np.ndarray:
        """Price in ticks at which the run's end values each instrument."""
        return np.asarray(self.engine.trader.region("views")["mark2"]) / 2

    def price(self, instrument: np.ndarray, ticks: np.ndarray, known: np.ndarray | None = None) -> pa.Array:
        return pa.array(ticks * self.tick[instrument], pa.float64(), mask=None if known is None else ~known)

    # --- fills ------------------------------------------------------------------------------------------------------------
    def fills(self) -> pa.Table:
        reports, seen = self.of(OUT_REPORT), self.of(OUT_SEEN)
        exec_type = reports["flags"] >> 8
        trades, seen = reports[exec_type == EXEC_TRADE], seen[seen["side"] == 1]
        at = np.flatnonzero(self.kind == OUT_REPORT)[exec_type == EXEC_TRADE]
        news = (trades["d"] & 1) == 1
        busted = reports["id"][exec_type == EXEC_BUST]
        keep = news & ~np.isin(trades["id"], busted)
        t, s, at = trades[keep].copy(), seen[keep], at[keep]
        for c in reports[exec_type == EXEC_CORRECT]:
            corrected = t["id"] == c["id"]
            t["b"][corrected], t["c"][corrected] = c["b"], c["c"]
        instrument, strategy, side = t["instrument"].astype(np.int64), t["ts_event"], t["side"].astype(np.int64)
        group = strategy * len(self.symbols) + instrument
        intended = self._intended(t["a"], at)
        known = ~np.isnan(intended)
        worse = 0.0 + side * (t["c"] - np.where(known, intended, t["c"])) * t["b"]
        return pa.table(
            {
                "exec_id": t["id"],
                "order": t["a"] >> T.SLOT_BITS,
                "strategy": texts(strategy, self.names),
                "symbol": texts(instrument, self.symbols),
                "side": texts((1 - side) // 2, SIDES),
                "last_qty": t["b"] * self.lot[instrument],
                "last_px": self.price(instrument, t["c"]),
                "last_qty_lots": t["b"],
                "last_px_ticks": t["c"],
                "maker": pa.array((t["flags"] & 64) != 0),
                "fee": self._fees(t),
                "notional": np.abs(t["c"] * t["b"]) * self.units.money[instrument],
                "intended_px": self.price(instrument, np.where(known, intended, 0), known),
                "slippage": worse * self.units.money[instrument],
                "mid": self.price(instrument, s["b"] / 2),
                "ts_event": times(s["c"]),
                "ts_recv": times(t["ts_recv"]),
                "position": _running(group, side * t["b"]) * self.lot[instrument],
            }
        )

    def _intended(self, handles: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The price, in ticks, that each order was meant to have at the record `at`: the mid at its decision of a market order, the limit
        of a limit order, the stop price of a stop; NaN for a market order decided without a price."""
        new, seen = self.of(OUT_NEW), self.of(OUT_SEEN)
        seen = seen[seen["side"] == 0]  # one behind each order sent
        rank = np.argsort(new["a"], kind="stable")
        row = rank[np.searchsorted(new["a"], handles, sorter=rank)]
        terms = self.terms.rows(handles >> T.SLOT_BITS, at)
        mid = np.where(seen["b"][row] == 0, np.nan, seen["b"][row] / 2)
        kind = new["flags"][row] >> 8
        return np.select([kind == T.MARKET, kind == T.LIMIT], [mid, self.terms.limit[terms]], self.terms.stop[terms])

    def _fees(self, fills: np.ndarray) -> np.ndarray:
        """Money charged for each fill; a fee taken in the base asset is valued at the fill's price."""
        fees, total = self.of(OUT_FEE), np.zeros(len(fills))
        if len(fees) and len(fills):
            by_id = np.argsort(fills["id"], kind="stable")
            at = np.searchsorted(fills["id"], fees["id"], sorter=by_id)
            row = by_id[np.minimum(at, len(fills) - 1)]
            known = fills["id"][row] == fees["id"]
            instrument = fees["instrument"].astype(np.int64)
            amount = np.where(
                fees["c"] >= 0, fees["b"] / float(MONEY), fees["b"] * fills["c"][row] * self.units.money[instrument]
            )
            np.add.at(total, row[known], amount[known])
        return total

    # --- orders -----------------------------------------------------------------------------------------------------------
    def orders(self, fills: pa.Table) -> pa.Table:
        new, seen, reports = self.of(OUT_NEW), self.of(OUT_SEEN), self.of(OUT_REPORT)
        seen = seen[seen["side"] == 0]
        order = new["a"] >> T.SLOT_BITS
        n, sorter = len(new), np.argsort(order, kind="stable")

        def row_of(ordinals: np.ndarray) -> np.ndarray:
            return sorter[np.searchsorted(order, ordinals, sorter=sorter)]

        ack, end, state = np.full(n, NO_TIME), np.full(n, NO_TIME), np.full(n, SUBMITTED)
        row, exec_type, news = row_of(reports["a"] >> T.SLOT_BITS), reports["flags"] >> 8, (reports["d"] & 1) == 1
        first = exec_type == EXEC_NEW
        ack[row[first][::-1]] = reports["ts_recv"][first][::-1]
        state[row[news]] = (reports["d"] >> 1)[news]
        end[row[news]] = reports["ts_recv"][news]
        why = np.zeros(n, np.int64)
        why[row[news]] = reports["flags"][news] & WHY_MASK
        unended = (TERMINAL[state] == 0) | (state == FILLED)
        end[TERMINAL[state] == 0] = NO_TIME
        asked = np.bincount(row_of(self.of(OUT_REPLACE)["a"] >> T.SLOT_BITS), minlength=n)
        terms = self.terms.last(order)
        row, qty = row_of(np.asarray(fills["order"])), np.asarray(fills["last_qty"])
        cum, paid, fees = (np.bincount(row, w, n) for w in (qty, qty * np.asarray(fills["last_px"]), np.asarray(fills["fee"])))
        instrument, kind, flags = new["instrument"].astype(np.int64), new["flags"] >> 8, new["flags"] & 3
        with np.errstate(invalid="ignore"):
            avg = paid / cum
        return pa.table(
            {
                "order": order,
                "strategy": texts(new["ts_event"], self.names),
                "symbol": texts(instrument, self.symbols),
                "side": texts((1 - new["side"].astype(np.int64)) // 2, SIDES),
                "ord_type": texts(kind, TYPES),
                "time_in_force": texts(new["flags"] >> 4 & 15, TIFS),
                "flags": texts(flags, _FLAGS),
                "order_qty": self.terms.qty[terms] * self.lot[instrument],
                "limit_px": self.price(instrument, self.terms.limit[terms], (kind & 1) == 1),
                "stop_px": self.price(instrument, self.terms.stop[terms], kind >= T.STOP),
                "ts_sent": times(new["ts_recv"]),
                "ts_ack": times(ack),
                "ts_end": times(end),
                "state": texts(state, STATE_NAMES),
                "reason": reasons(why, unended | (why == 0)),
                "cum_qty": cum,
                "avg_px": pa.array(avg, mask=cum == 0),
                "fees": fees,
                "replaces": asked,
                "n_replaced": self.terms.replaced(order),
                "input": seen["id"],
                "decision_mid": self.price(instrument, seen["b"] / 2),
                "decision_bid": self.price(instrument, seen["c"], seen["c"] != 0),
                "decision_ask": self.price(instrument, seen["d"], seen["d"] != 0),
            }
        )

    # --- the rest ---------------------------------------------------------------------------------------------------------
    def equity(self) -> pa.Table:
        h, samples, views = self.engine.trader.header, self.of(OUT_EQUITY), self.engine.trader.region("views")
        value = np.asarray(views["value"])
        start = int(self.engine.session.manifest.start_ns)
        now, due = max(int(h.now), start), int(h.sample_at)
        last = [due, now] if start < due < now else [now]  # the minute behind the last change was not told yet
        ts = np.concatenate([[start], samples["id"], last])
        money = np.r_[h.initial, samples["a"], [h.equity] * len(last)] / float(MONEY)
        gross = np.r_[0, samples["b"], [np.abs(value).sum()] * len(last)] / float(MONEY)
        net = np.r_[0, samples["c"], [value.sum()] * len(last)] / float(MONEY)
        return pa.table(
            {"ts": times(ts), "equity": money, "gross": gross, "net": net, "drawdown": np.maximum.accumulate(money) - money}
        )

    def refusals(self) -> pa.Table:
        rows = self.of(OUT_REFUSED)
        instrument, code = rows["instrument"].astype(np.int64), rows["flags"]
        sentences: list[str | None] = [None] * len(rows)
        for reason in np.unique(code):
            for k in np.flatnonzero(code == reason)[:EXPLAINED]:
                sentences[k] = refusal_text(rows[k], self.instruments)
        return pa.table(
            {
                "ts": times(rows["ts_recv"]),
                "strategy": texts(rows["ts_event"], self.names),
                "symbol": texts(np.where(np.isin(code, OF_NOBODY), len(self.symbols), instrument), [*self.symbols, ""]),
                "side": texts((1 - rows["side"].astype(np.int64)) // 2, SIDES),
                "qty": np.abs(rows["c"]) * self.lot[instrument],
                "px": self.price(instrument, rows["id"]),
                "reason": texts(code, REASON_NAMES),
                "figure": rows["a"],
                "bound": rows["b"],
                "input": rows["d"],
                "text": pa.array(sentences, pa.string()),
            }
        )

    def unprotected(self) -> pa.Table:
        found = losses(self.said, self.kind, self.terms, len(self.symbols))
        columns = zip(*found, strict=True) if found else [[]] * 8
        group, side, lots, order, state, why, since, until = (np.array(c, object) for c in columns)
        strategy, instrument = np.divmod(group.astype(np.int64), len(self.symbols))
        return pa.table(
            {
                "strategy": texts(strategy, self.names),
                "symbol": texts(instrument, self.symbols),
                "side": texts((1 - side.astype(np.int64)) // 2, SIDES),
                "qty": lots.astype(np.int64) * self.lot[instrument],
                "order": order.astype(np.int64),
                "state": texts(state, STATE_NAMES),
                "reason": reasons(why.astype(np.int64), why == 0),
                "since": times(since.astype(np.int64)),
                "until": times(np.array([NO_TIME if t is None else t for t in until], np.int64)),
            }
        )

    def states(self) -> pa.Table:
        rows = self.of(OUT_STATE)
        return pa.table(
            {
                "ts": times(rows["ts_recv"]),
                "state": texts(rows["side"], TRADER_STATES),
                "reason": texts(rows["id"], REASON_NAMES),
                "equity": rows["a"] / float(MONEY),
            }
        )

    def logs(self) -> pa.Table:
        rows = self.of(OUT_LOG)
        values = {w: np.ascontiguousarray(rows[w]).view(np.float64) for w in "abc"}
        return pa.table(
            {"ts": times(rows["ts_recv"]), "strategy": texts(rows["ts_event"], self.names), "code": rows["id"], **values}
        )

    def latency(self, orders: pa.Table, fills: pa.Table) -> pa.Table:
        """How long each leg took: feed over a sample of rows; the others over every order and fill that has both ends."""
        rows = self.engine.feed.ours
        rows = rows[:: max(1, len(rows) // 200_000)]
        sent, acked = (orders[c].cast(pa.int64()) for c in ("ts_sent", "ts_ack"))
        at, told = (np.asarray(fills[c].cast(pa.int64())) for c in ("ts_event", "ts_recv"))
        legs = {
            "feed": np.asarray(rows["ts_recv"]) - np.asarray(rows["ts_event"]),
            "order to ack": np.asarray(pa.compute.subtract(acked, sent).drop_null()),
            "fill to us": told - at,
        }
        found = {"leg": [], "ns_from": [], "ns_to": [], "count": []}
        for leg, ns in legs.items():
            for low, high, count in _histogram(ns):
                for name, value in zip(found, (leg, low, high, count), strict=True):
                    found[name].append(value)
        return pa.table(
            found, pa.schema([("leg", pa.string()), ("ns_from", pa.int64()), ("ns_to", pa.int64()), ("count", pa.int64())])
        )

    def faults(self) -> pa.Table:
        rows = self.engine.faults_struck()
        of_order = rows["a"] > 0
        request = np.isin(rows["kind"], plan.OF_REQUESTS)
        what = np.where(request, rows["flags"], len(plan.COMMANDS) + rows["flags"])
        return pa.table(
            {
                "ts": times(rows["ts_event"]),
                "fault": rows["id"],
                "kind": texts(rows["kind"].astype(np.int64), plan.KIND_NAMES),
                "symbol": texts(rows["instrument"].astype(np.int64), [*self.symbols, ""]),
                "what": pa.DictionaryArray.from_arrays(
                    pa.array(what.astype(np.int32), mask=~of_order), pa.array([*plan.COMMANDS, *EXEC_NAMES])
                ),
                "order": pa.array(rows["a"] >> T.SLOT_BITS, pa.int64(), mask=~of_order),
                "rows": pa.array(rows["b"], pa.int64(), mask=of_order),
            }
        )

    def events(self) -> pa.Table:
        rows = self.said
        fields = {name: np.asarray(rows[name]) for name in ("side", "flags", "instrument", "id", "a", "b", "c", "d")}
        return pa.table(
            {
                "ts": times(np.asarray(rows["ts_recv"])),
                "what": texts(self.kind.astype(np.int64) - OUT_NEW, OUT_NAMES),
                "strategy": np.asarray(rows["ts_event"]),
                **fields,
            }
        )


def _running(group: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Sum so far of `amount` within each group, in order."""
    if not len(group):
        return amount
    order = np.argsort(group, kind="stable")
    total = np.cumsum(amount[order])
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) != 0])
    before = np.r_[0, total[starts[1:] - 1]]
    total -= np.repeat(before, np.diff(np.r_[starts, len(group)]))
    out = np.empty_like(total)
    out[order] = total
    return out


def _histogram(ns: np.ndarray):
    """(from, to, count) of the buckets in use, four to every doubling; what is below 1 ns is its own."""
    if not len(ns):
        return
    bucket = np.where(ns < 1, -1, np.floor(4 * np.log2(np.maximum(ns, 1))).astype(np.int64))
    for k, count in zip(*np.unique(bucket, return_counts=True), strict=True):
        yield (int(min(ns.min(), 0)), 1, int(count)) if k < 0 else (int(2 ** (k / 4)), int(2 ** ((k + 1) / 4)) or 1, int(count))
