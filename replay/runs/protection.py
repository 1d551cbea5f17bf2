"""Positions that lost their stop: when, for how long, and what became of the stop.

A strategy's position in a symbol is protected by its working stops of the other side, and while a market order is on its way to close
it. It has lost protection where such an order ends without having traded (canceled, expired, rejected) and more of the position is
left unprotected than before, until that much is protected again, or gone. A position that never had a stop has lost none. What is put
right at the same moment is no loss.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from replay.runs.terms import Terms
from replay.trader import layout as T
from replay.trader.orders import CANCELED, EXEC_BUST, EXEC_TRADE, EXPIRED, REJECTED, WHY_MASK
from replay.trader.output import OUT_NEW, OUT_REPORT

OVER = (CANCELED, REJECTED, EXPIRED)


class Loss(NamedTuple):
    """`group`: strategy x number of instruments + instrument; `side`: of the position; `until_ns` None: to the end of the run."""

    group: int
    side: int
    lots: int
    order: int
    state: int
    why: int
    since_ns: int
    until_ns: int | None


def losses(said: np.ndarray, kind: np.ndarray, terms: Terms, n_instruments: int) -> list[Loss]:
    """Every loss of protection in a run's records, in order of time. Cost: in proportion to the records of groups in which a stop ended
    without trading, nothing to speak of where there is none."""
    new, reports = np.flatnonzero(kind == OUT_NEW), np.flatnonzero(kind == OUT_REPORT)
    types = np.zeros(int(terms.first[-1]) + 1 if len(terms.first) else 1, np.int8)
    types[said["a"][new] >> T.SLOT_BITS] = said["flags"][new] >> 8
    reports = reports[said["d"][reports] & 1 == 1]  # news
    state = said["d"][reports] >> 1
    ended = reports[np.isin(state, OVER) & (said["flags"][reports] >> 8 != EXEC_TRADE)]
    stops = ended[types[said["a"][ended] >> T.SLOT_BITS] >= T.STOP]
    groups = np.unique(_group(said[stops], n_instruments))
    found: list[Loss] = []
    for group in groups.tolist():
        mine = np.sort(np.concatenate([rows[_group(said[rows], n_instruments) == group] for rows in (new, reports)]))
        found += _of_group(group, said[mine], mine, kind[mine], types, terms)
    return sorted(found, key=lambda x: (x.since_ns, x.group))


def _group(rows: np.ndarray, n_instruments: int) -> np.ndarray:
    return rows["ts_event"].astype(np.int64) * n_instruments + rows["instrument"]


def _of_group(group: int, rows: np.ndarray, at: np.ndarray, kind: np.ndarray, types: np.ndarray, terms: Terms) -> list[Loss]:
    order, side = rows["a"] >> T.SLOT_BITS, rows["side"].astype(np.int64)
    exec_type, state, is_new = rows["flags"] >> 8, rows["d"] >> 1, kind == OUT_NEW
    trade, bust = (~is_new & (exec_type == e) for e in (EXEC_TRADE, EXEC_BUST))
    over = ~is_new & np.isin(state, OVER)
    end = over & ~trade & ~bust
    position = np.cumsum(np.where(trade, side * rows["b"], np.where(bust, -side * rows["b"], 0)))
    protects = (types[order] == T.MARKET) | (types[order] >= T.STOP)
    # lots that each order can still trade, record by record: its version's quantity less what has traded
    rank = np.argsort(order, kind="stable")
    begins = np.r_[True, np.diff(order[rank]) != 0]
    traded = np.cumsum(np.where(trade, rows["b"], np.where(bust, -rows["b"], 0))[rank])
    traded -= np.repeat(np.r_[0, traded][np.flatnonzero(begins)], np.diff(np.r_[np.flatnonzero(begins), len(rank)]))
    open_ = np.maximum(terms.qty[terms.rows(order[rank], at[rank])] - traded, 0)
    open_[over[rank]] = 0
    before = np.where(begins, 0, np.r_[0, open_[:-1]])
    change = np.empty_like(open_)
    change[rank] = open_ - before
    change[~protects] = 0
    selling, buying = (np.cumsum(np.where(side == s, change, 0)) for s in (-1, 1))
    bare = np.where(position > 0, np.maximum(position - selling, 0), np.maximum(-position - buying, 0))
    i = np.arange(len(rows))
    flat = np.maximum.accumulate(np.where(position == 0, i, -1))
    stop_ended = np.maximum.accumulate(np.where(end & (types[order] >= T.STOP), i, -1))
    more = np.diff(np.r_[0, bare]) > 0
    found, ts, after = [], rows["ts_recv"], -1
    for k in np.flatnonzero(end & protects & more & (position != 0) & (stop_ended > flat)).tolist():
        if k < after:
            continue
        was = int(bare[k - 1]) if k else 0
        back = np.flatnonzero((bare[k:] <= was) | (np.sign(position[k:]) != np.sign(position[k])))
        after = k + int(back[0]) if len(back) else len(rows)
        until = int(ts[after]) if after < len(rows) else None
        if until is None or until > ts[k]:
            lots = int(bare[k:after].max()) - was
            sign = 1 if position[k] > 0 else -1
            found.append(
                Loss(group, sign, lots, int(order[k]), int(state[k]), int(rows["flags"][k]) & WHY_MASK, int(ts[k]), until)
            )
    return found
