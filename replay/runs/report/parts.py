"""The page's tables: where the money came from, what it cost, what was refused, how long it took."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from replay.runs.report.numbers import Columns, duration, number, percent, price, time_text
from replay.trader.orders import EXEC_UNKNOWN
from replay.trader.output import OUT_NAMES, OUT_NEW, OUT_REPORT

HOUR_NS = 3_600 * 10**9
HOLDING = ((10**9, "under 1 s"), (10 * 10**9, "1 to 10 s"), (60 * 10**9, "10 to 60 s"), (5 * 60 * 10**9, "1 to 5 min"), (30 * 60 * 10**9, "5 to 30 min"), (2 * HOUR_NS, "30 min to 2 h"), (24 * HOUR_NS, "2 h to a day"), (1 << 62, "over a day"))  # fmt: skip
QUANTILES = (0.5, 0.9, 0.99, 1.0)


class Orders:
    """The orders of a run, looked up by number."""

    def __init__(self, table: Columns):
        self.table, self.order = table, table["order"]

    def rows(self, order: np.ndarray) -> np.ndarray:
        """The row of each order number; -1 where there is none."""
        if not self.table.n:
            return np.full(len(order), -1)
        at = np.minimum(np.searchsorted(self.order, order), self.table.n - 1)
        return np.where(self.order[at] == order, at, -1)

    @functools.cached_property
    def _said(self) -> dict[str, np.ndarray]:
        numbers = {name: self.table[name] for name in ("limit_px", "stop_px", "decision_mid", "ts_sent")}
        return numbers | {name: self.table.text(name) for name in ("ord_type", "time_in_force", "flags")}

    def text(self, order: int) -> str:
        """What was asked for, and when."""
        (row,) = self.rows(np.array([order]))
        if row < 0:
            return ""
        o = {name: column[row] for name, column in self._said.items()}
        limit, stop, mid = o["limit_px"], o["stop_px"], o["decision_mid"]
        what = [o["ord_type"], price(limit) if limit == limit else "", f"stop {price(stop)}" if stop == stop else ""]
        what += [o["time_in_force"], o["flags"], f"decided {time_text(o['ts_sent'], 'milliseconds')}"]
        return " ".join(str(x) for x in [*what, f"at mid {price(mid)}" if mid == mid else ""] if x)


class Costs:
    """What each fill cost: its notional, fee, and shortfall against the price its order was meant to have, in money."""

    def __init__(self, fills: Columns):
        self.notional, self.fee, self.shortfall = fills["notional"], fills["fee"], fills["slippage"]
        self.maker = fills["maker"].astype(bool)

    def row(self, mask: np.ndarray) -> dict[str, float]:
        """The sums over some fills."""
        notional, fee, shortfall = (float(x[mask].sum()) for x in (self.notional, self.fee, self.shortfall))
        share = 1e4 / notional if notional else np.nan
        return {
            "n": int(mask.sum()),
            "notional": notional,
            "fee": fee,
            "fee_bps": fee * share,
            "shortfall": shortfall,
            "bps": shortfall * share,
        }

    def split(self) -> list[tuple[str, dict[str, float]]]:
        """By what gave and took liquidity."""
        rows = [(name, self.row(mask)) for name, mask in (("taker", ~self.maker), ("maker", self.maker))]
        return [r for r in rows if r[1]["n"]] + [("all", self.row(np.ones(len(self.fee), bool)))]


class Slice(NamedTuple):
    """The round trips of one hour, holding time, or symbol; those still open at the end not among them."""

    label: str
    trips: int
    win: float | None
    gross: float
    fees: float
    net: float


def slices(trips: Columns, which: np.ndarray, labels: list[str]) -> list[Slice]:
    """The closed round trips by the code each has in `which`; empty ones left out."""
    closed = ~trips["open"].astype(bool)
    found = []
    for k, label in enumerate(labels):
        mine = closed & (which == k)
        if n := int(mine.sum()):
            net = trips["net"][mine]
            found.append(
                Slice(
                    label,
                    n,
                    float((net > 0).mean()),
                    float(trips["gross"][mine].sum()),
                    float(trips["fees"][mine].sum()),
                    float(net.sum()),
                )
            )
    return found


def by_hour(trips: Columns) -> list[Slice]:
    """By the hour of the exit, UTC."""
    return slices(trips, trips["ts_out"] // HOUR_NS % 24, [f"{h:02d}:00" for h in range(24)])


def by_holding(trips: Columns) -> list[Slice]:
    """By the time from entry to exit."""
    return slices(
        trips, np.searchsorted([h[0] for h in HOLDING], trips["ts_out"] - trips["ts_in"], side="right"), [h[1] for h in HOLDING]
    )


def by_symbol(summary: dict) -> list[dict]:
    """One row for each strategy and symbol that traded: the exact money of the summary, the trips, the slippage; largest net first."""
    figures = {(p["strategy"], p["symbol"]): p["statistics"] for p in summary["parts"]}
    rows = []
    for h in summary["positions"]:
        f = figures[h["strategy"], h["symbol"]]
        gross, fees = float(h["realised"]) + float(h["unrealised"]), float(h["fees"])
        rows.append({"strategy": h["strategy"], "symbol": h["symbol"], "trips": f["trips"], "win": f["win_rate"], "gross": gross, "fees": fees, "net": float(h["pnl"]), "position_lots": int(h["position_lots"]), "bps": f["slippage_bps"]})  # fmt: skip
    return sorted(rows, key=lambda r: (-r["net"], r["strategy"], r["symbol"]))


def largest(rows: list[dict], n: int) -> list[dict]:
    """Of rows from the largest net to the smallest the `n` that matter most: half of them from either end.

    >>> [r["net"] for r in largest([{"net": x} for x in (9, 5, 1, 0, -7)], 3)]
    [9, 5, -7]
    """
    return rows if len(rows) <= n else rows[: n - n // 2] + rows[-(n // 2) :]


def cells(rows: list[dict], named: bool) -> list[list[str]]:
    """The rows of `by_symbol` as the page writes them, for its search; with the strategy's name where there are several."""
    return [
        [
            r["symbol"],
            *([r["strategy"]] if named else []),
            number(r["trips"], 0),
            percent(r["win"]),
            number(r["gross"], 2, True),
            number(r["fees"]),
            number(r["net"], 2, True),
            "",
            number(r["bps"], 1),
            number(r["position_lots"], 0),
        ]
        for r in rows
    ]


def extremes(trips: Columns, n: int) -> list[dict]:
    """The `n` closed round trips that gained most and the `n` that lost most."""
    closed = trips.where(~trips["open"].astype(bool))
    net = closed["net"]
    order = np.argsort(-net, kind="stable")
    gained, lost = order[net[order] > 0][:n], order[net[order] < 0][-n:]
    some = closed.where(np.concatenate([gained, lost]))
    names = ("strategy", "symbol", "side")
    text = {name: some.text(name) for name in names}
    figures = {name: some[name] for name in ("qty", "px_in", "px_out", "ts_in", "ts_out", "fees", "net")}
    return [{k: v[j] for k, v in (text | figures).items()} for j in range(some.n)]


def refusals(table: Columns, counts: dict[str, dict]) -> list[dict]:
    """One row a reason: how often, the first time, the figures of the first."""
    codes, reasons = table.codes("reason")
    ts, text = table["ts"], table.text("text")
    total = sum(c["count"] for c in counts.values())
    rows = []
    for reason, c in counts.items():
        at = np.flatnonzero(codes == reasons.index(reason)) if reason in reasons else []
        first = at[np.argmin(ts[at])] if len(at) else None
        said = c.get("first") or (text[first] if first is not None else None)
        rows.append(
            {
                "reason": reason,
                "count": c["count"],
                "share": c["count"] / total,
                "first": said,
                "when": None if first is None else time_text(ts[first]),
            }
        )
    return sorted(rows, key=lambda r: (-r["count"], r["reason"]))


def endings(orders: Columns) -> list[dict]:
    """How the orders ended, and why where the venue said it: rows of state, reason and count."""
    rows = orders.table.group_by(["state", "reason"]).aggregate([([], "count_all")]).to_pylist()
    found = ({"state": r["state"], "reason": r["reason"], "count": r["count_all"]} for r in rows)
    return sorted(found, key=lambda r: (-r["count"], r["state"], r["reason"] or ""))


def unprotected(table: Columns) -> list[dict]:
    """Positions that were held without the stop they had; times in ns, `until` None: to the end."""
    rows = table.table.drop_columns(["since", "until"]).to_pylist()
    times = (table.table[c].cast("int64").to_pylist() for c in ("since", "until"))
    return [{**r, "since": a, "until": b} for r, a, b in zip(rows, *times, strict=True)]


def legs(table: Columns) -> list[dict]:
    """Quantiles of each latency leg, as the upper edges of the buckets that hold them."""
    codes, names = table.codes("leg")
    found = []
    for k, name in enumerate(names):
        mine = np.flatnonzero(codes == k)
        mine = mine[np.argsort(table["ns_to"][mine], kind="stable")]
        total = np.cumsum(table["count"][mine])
        at = [int(np.searchsorted(total, np.ceil(q * total[-1]))) for q in QUANTILES]
        found.append({"leg": name, "n": int(total[-1]), "quantiles": [duration(table["ns_to"][mine][a]) for a in at]})
    return found


def faults(table: Columns, summary: list[dict]) -> list[dict]:
    """The faults of the plan, with the times at which they first and last struck."""
    found = []
    for row in summary:
        ts = table["ts"][table["fault"] == row["fault"]]
        found.append({**row, "first": ts.min() if len(ts) else None, "last": ts.max() if len(ts) else None})
    return found


def whatif(table: Columns) -> list[dict]:
    """The run as it was, and with one thing changed: the rows of `replay.runs.whatif`."""
    return table.table.to_pylist()


def unknown(events: Columns) -> dict[str, object] | None:
    """Orders that were unknown to us for a time: how often, and until the next word of them in ns (None where none came)."""
    report = events.text("what") == OUT_NAMES[OUT_REPORT - OUT_NEW]
    order, ts, exec_type = events["a"][report], events["ts"][report], events["flags"][report] >> 8
    rank = np.argsort(order, kind="stable")
    order, ts, exec_type = order[rank], ts[rank], exec_type[rank]
    asked = np.flatnonzero((exec_type == EXEC_UNKNOWN) & (events["d"][report][rank] & 1 == 1))
    if not len(asked):
        return None
    answered = asked[(asked + 1 < len(order)) & (order[np.minimum(asked + 1, len(order) - 1)] == order[asked])]
    waits = ts[answered + 1] - ts[answered]
    return {"times": len(asked), "open": len(asked) - len(answered), "longest": int(waits.max()) if len(waits) else None}
