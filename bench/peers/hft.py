"""hftbacktest 2.4.4, strategies compiled with numba. Run by its own interpreter; see serve.py.

Jobs: case w1, w2 or w3; level l1 or l2; depth hash or roi; tick (money a tick, which is also its tick size); for w3 also alone (a
self-trade check in the strategy) and log (the most sent orders to give back: time, side, price).
Exchange: no partial fills, risk-averse queue, no fees, constant order latency both ways.
"""

import sys
import time

import numba
import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTC,
    GTX,
    LIMIT,
    LOCAL_EVENT,
    MARKET,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.order import CANCELED, EXPIRED, FILLED
from hftbacktest.types import event_dtype
from serve import CLEAR, DEPTH, FAST, MAX_POSITION, QTY, QUOTE, SLOW, TRADE, WARMUP, load_rows, serve

FOREVER = np.int64(10**17)  # it adds this to a time unchecked: the largest int64 would wrap
BID, ASK = int(DEPTH_EVENT | BUY_EVENT), int(DEPTH_EVENT | SELL_EVENT)


def level_rows(rows, tick):
    """Each quote as the levels it changes, a new level before the old one is removed; a quote that changes nothing sets its bid again."""
    quote = rows["kind"] == QUOTE
    at_quote = np.flatnonzero(quote)
    parts = []

    def put(where, order, event, px, size):
        r = np.zeros(len(where), event_dtype)
        r["ev"], r["px"], r["qty"] = event, np.round(px * tick, 8), size
        r["exch_ts"], r["local_ts"], r["ival"] = rows["ts_event"][where], rows["ts_recv"][where], 8 * where + order
        parts.append(r)

    idle = np.ones(len(at_quote), bool)
    for order, event, px, size in ((2, ASK, "c", "d"), (0, BID, "a", "b")):
        new_px, new_size = rows[px][at_quote], rows[size][at_quote]
        was_px, was_size = np.r_[0, new_px[:-1]], np.r_[0, new_size[:-1]]
        changed = (new_px != was_px) | (new_size != was_size)
        idle &= ~changed
        put_now = changed | idle if order == 0 else changed
        put(at_quote[put_now], order, event, new_px[put_now], new_size[put_now])
        gone = changed & (new_px != was_px) & (was_px > 0)
        put(at_quote[gone], order + 1, event, was_px[gone], 0)
    trade = np.flatnonzero(rows["kind"] == TRADE)
    side = np.where(rows["side"][trade] > 0, int(BUY_EVENT), int(SELL_EVENT))
    put(trade, 4, int(TRADE_EVENT) | side, rows["a"][trade], rows["b"][trade])
    out = np.concatenate(parts)
    return out[np.argsort(out["ival"], kind="stable")]


def book_rows(rows, tick):
    """Levels and trades one to one. A clearing of an empty book at the start is left out."""
    if rows["kind"][0] == DEPTH and rows["c"][0] == CLEAR:
        rows = rows[1:]
    assert np.isin(rows["kind"], (DEPTH, TRADE)).all() and not (rows["c"][rows["kind"] == DEPTH] == CLEAR).any()
    out = np.zeros(len(rows), event_dtype)
    kind = np.where(rows["kind"] == TRADE, int(TRADE_EVENT), int(DEPTH_EVENT))
    out["ev"] = kind | np.where(rows["side"] > 0, int(BUY_EVENT), int(SELL_EVENT))
    out["px"], out["qty"] = np.round(rows["a"] * tick, 8), rows["b"]
    out["exch_ts"], out["local_ts"] = rows["ts_event"], rows["ts_recv"]
    return out


def engine_rows(rows, level, tick):
    out = level_rows(rows, tick) if level == "l1" else book_rows(rows, tick)
    out["ival"] = 0
    both = np.uint64(EXCH_EVENT | LOCAL_EVENT)
    if (np.diff(out["exch_ts"]) >= 0).all():
        out["ev"] |= both
        return np.ascontiguousarray(out)
    # the venue saw them in another order than we did: the same rows once for each side
    venue = out[np.argsort(out["exch_ts"], kind="stable")]
    venue["ev"] |= np.uint64(EXCH_EVENT)
    out["ev"] |= np.uint64(LOCAL_EVENT)
    return np.concatenate([venue, out])


@numba.njit
def null(hbt, alone, log):
    wakes = 0
    checksum = 0
    while hbt.wait_next_feed(False, FOREVER) == 2:
        d = hbt.depth(0)
        checksum += d.best_bid_tick + d.best_ask_tick
        wakes += 1
    return wakes, checksum, 0, 0, 0, 0


@numba.njit
def ema_cross(hbt, alone, log):
    quotes = 0
    orders = 0
    held = 0
    fast = 0.0
    slow = 0.0
    while hbt.wait_next_feed(False, FOREVER) == 2:
        if len(hbt.last_trades(0)) > 0:
            hbt.clear_last_trades(0)
            continue
        d = hbt.depth(0)
        mid = 0.5 * (d.best_bid_tick + d.best_ask_tick)
        quotes += 1
        if quotes == 1:
            fast = mid
            slow = mid
            continue
        fast += 2.0 / (FAST + 1.0) * (mid - fast)
        slow += 2.0 / (SLOW + 1.0) * (mid - slow)
        if quotes <= WARMUP:
            continue
        want = QTY if fast > slow else -QTY
        if want == held:
            continue
        orders += 1
        if want > held:
            hbt.submit_buy_order(0, orders, d.best_ask, float(want - held), GTC, MARKET, False)
        else:
            hbt.submit_sell_order(0, orders, d.best_bid, float(held - want), GTC, MARKET, False)
        held = want
        hbt.clear_inactive_orders(0)
    return 0, 0, orders, 0, 0, 0


@numba.njit
def passive(hbt, alone, log):
    """`alone`: never send what could trade with the other side's order, as our risk checks do. `log`: room for sent orders, or none."""
    sent = 0
    ends = np.zeros(3, np.int64)  # filled, canceled, expired
    slots = np.zeros(2, np.int64)  # order of the bid, of the ask
    px = np.zeros(2, np.int64)
    while True:
        status = hbt.wait_next_feed(True, FOREVER)
        if status != 2 and status != 3:
            break
        d = hbt.depth(0)
        if not (d.best_bid > 0.0 and d.best_ask < 1e12):
            continue
        working = hbt.orders(0)
        for k in range(2):
            if slots[k] == 0:
                continue
            o = working.get(slots[k])
            end = 0 if o.status == FILLED else 1 if o.status == CANCELED else 2 if o.status == EXPIRED else -1
            if end >= 0:
                ends[end] += 1
                slots[k] = 0
            elif o.cancellable and o.price_tick != (d.best_bid_tick if k == 0 else d.best_ask_tick):
                hbt.cancel(0, slots[k], False)
        if slots[0] != 0 and slots[1] != 0:
            continue
        hbt.clear_inactive_orders(0)
        position = hbt.position(0)
        for k in range(2):
            side = 1 - 2 * k
            if slots[k] != 0 or side * position + QTY > MAX_POSITION:
                continue
            touch = d.best_bid_tick if k == 0 else d.best_ask_tick
            if alone and slots[1 - k] != 0 and side * (touch - px[1 - k]) >= 0:
                continue
            if sent < len(log):
                log[sent, 0] = hbt.current_timestamp
                log[sent, 1] = side
                log[sent, 2] = touch
            sent += 1
            slots[k] = sent
            px[k] = touch
            if k == 0:
                hbt.submit_buy_order(0, sent, d.best_bid, float(QTY), GTX, LIMIT, False)
            else:
                hbt.submit_sell_order(0, sent, d.best_ask, float(QTY), GTX, LIMIT, False)
    return 0, 0, sent, ends[0], ends[1], ends[2]


STRATEGIES = {"w1": null, "w2": ema_cross, "w3": passive}


def prepare(job):
    tick = job["tick"]
    data = engine_rows(load_rows(job["rows"]), job["level"], tick)
    strategy = STRATEGIES[job["case"]]
    alone, log = bool(job.get("alone")), np.zeros((job.get("log", 0), 3), np.int64)
    kind = ROIVectorMarketDepthBacktest if job["depth"] == "roi" else HashMapMarketDepthBacktest

    def run():
        asset = BacktestAsset().data(data).linear_asset(1.0).tick_size(tick).lot_size(1.0)
        asset = asset.constant_order_latency(job["latency_ns"], job["latency_ns"]).risk_adverse_queue_model()
        asset = asset.no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
        asset = asset.roi_lb(5000 * tick).roi_ub(25000 * tick).last_trades_capacity(64 if job["case"] == "w2" else 0)
        hbt = kind([asset])
        t = time.perf_counter()
        wakes, checksum, orders, fills, canceled, expired = strategy(hbt, alone, log)
        seconds = time.perf_counter() - t
        d, state = hbt.depth(0), hbt.state_values(0)
        position, touch2 = int(hbt.position(0)), int(d.best_bid_tick + d.best_ask_tick)
        cents = round((float(state.balance) + position * 0.5 * touch2 * tick) * (1 / tick))
        out = {"orders": int(orders), "position": position, "pnl_ticks": int(cents), "trades": int(state.num_trades)}
        out |= {"wakes": int(wakes), "checksum": int(checksum)} if job["case"] == "w1" else {}
        if job["case"] == "w2":
            out["fills"] = int(state.num_trades)
        if job["case"] == "w3":
            out |= {"fills": int(fills), "canceled": int(canceled), "expired": int(expired)}
        if len(log):
            assert orders <= len(log)
            out["sent"] = log[:orders].tolist()
        hbt.close()
        return seconds, out

    run()  # compiles
    return run


if __name__ == "__main__":
    from importlib.metadata import version

    serve({"hftbacktest": version("hftbacktest"), "numba": numba.__version__, "python": sys.version.split()[0]}, prepare)
