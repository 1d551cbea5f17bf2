"""What an order cost, against the prices it could be measured by."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from replay.data.instruments import Instrument
from replay.engine import Engine
from replay.runs.halfway import rows_by
from replay.runs.result import Result
from replay.runs.way import Way

SECOND = 10**9
INTENDED = {"market": "mid at decision", "limit": "its limit", "stop": "its stop price", "stop_limit": "its stop price"}
HORIZONS = {"1s": SECOND, "5s": 5 * SECOND, "30s": 30 * SECOND, "1m": 60 * SECOND, "5m": 300 * SECOND}


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Of the fills of one order, weighted by quantity, in bps (1e-4) of the price it is measured by. Slippage is against the price the
    order was meant to have: `intended` says which, `intended_px` its mean over the fills. It is positive where it cost; a markout positive where the price went the order's way after the fill at the venue, as we saw it then. None: not known."""

    fills: int
    cum_qty: float
    avg_px: float
    intended: str
    intended_px: float | None
    decision_mid: float | None
    decision_bps: float | None
    arrival_mid: float | None
    slippage: float | None
    slippage_bps: float | None
    arrival_bps: float | None
    fees: float
    markout_bps: dict[str, float | None]


def cost(run: Result, engine: Engine, order: int, i: Instrument, arrival: Way | None) -> Cost | None:
    """The cost of an order's fills, None where it has none. `engine` stands where the order was sent, and is advanced for the markouts,
    no further than the recorded run went."""
    fills = run.table("fills").filter(pc.field("order") == order)
    if not fills.num_rows:
        return None
    row = run.table("orders").filter(pc.field("order") == order).to_pylist()[0]
    side = 1 if row["side"] == "buy" else -1
    qty, px = np.asarray(fills["last_qty"]), np.asarray(fills["last_px"])
    when = np.asarray(fills["ts_event"].cast(pa.int64()))
    paid, mid = float((qty * px).sum() / qty.sum()), row["decision_mid"] or None
    priced = fills["intended_px"].null_count == 0
    meant = float((qty * np.asarray(fills["intended_px"])).sum() / qty.sum()) if priced else None
    met = None if arrival is None or arrival.mid is None else float(arrival.mid)
    return Cost(
        fills=len(qty),
        cum_qty=float(qty.sum()),
        avg_px=paid,
        intended=INTENDED[row["ord_type"]],
        intended_px=meant,
        decision_mid=mid,
        decision_bps=None if mid is None else side * (paid - mid) / abs(mid) * 1e4,
        arrival_mid=met,
        slippage=float(np.asarray(fills["slippage"]).sum()) if priced else None,
        slippage_bps=side * (paid - meant) / abs(meant) * 1e4 if meant else None,
        arrival_bps=None if met is None else side * (paid - met) / abs(met) * 1e4,
        fees=float(np.asarray(fills["fee"]).sum()),
        markout_bps=_markouts(run, engine, i, side, when, qty, px),
    )


def _markouts(run, engine: Engine, i: Instrument, side: int, when: np.ndarray, qty: np.ndarray, px: np.ndarray) -> dict:
    rows = engine.feed.ours
    known = len(rows) if run.manifest.complete else run.summary.session.replayed
    end = int(rows[known - 1].ts_recv) if known else 0
    k = engine.session.index(i.symbol)
    marks = {}
    for t in sorted({int(w) + h for w in when for h in HORIZONS.values()}):
        if t < end:
            engine.advance(rows_by(engine, t))
            marks[t] = int(engine.trader.region("views")[k].mark2) * float(i.tick_size) / 2
    out = {}
    for name, h in HORIZONS.items():
        after = [marks.get(int(w) + h) for w in when]
        out[name] = None if None in after else float((side * (np.array(after) - px) / np.abs(px) * qty).sum() / qty.sum() * 1e4)
    return out
