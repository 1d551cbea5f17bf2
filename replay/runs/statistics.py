"""Figures that need a sample, each beside the size of its sample and null where there is none.

Money is in the account's currency. A trip is a round trip from flat to flat (`replay.runs.trips`); an open one counts for money, not
for win rate, profit factor and expectancy. What a day is says `replay.runs.days`.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa

from replay.data.times import utc_text
from replay.runs.days import LATER, Days

FEWEST_DAYS = 20  #: below, daily returns say nothing about a year


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Of one strategy in one symbol, of one strategy, or of the run. Shares are fractions of 1, prices of trading in money.

    - `trips`: closed round trips; `win_rate`: share with net > 0; `profit_factor`: net won over net lost; `expectancy`: mean net;
    - `gross`: before fees; `fees`; `net`: after, open trips valued at the end;
    - `slippage`: what fills cost against the price that the order was meant to have (mid at the decision of a market order, limit price
      of a limit order, last stop price of a stop), in money, and in bps of the notional: part of `gross`;
    - `notional`: price x quantity of all fills; `turnover`: that over initial equity; `trips_a_day`;
    - `exposure`: share of recorded time in which a position was held; `holding_s`: mean time of a closed trip.
    """

    trips: int
    wins: int
    win_rate: float | None
    profit_factor: float | None
    expectancy: float | None
    average_win: float | None
    average_loss: float | None
    gross: float
    fees: float
    net: float
    slippage: float
    slippage_bps: float | None
    notional: float
    turnover: float | None
    trips_a_day: float | None
    exposure: float | None
    holding_s: float | None


class Returns(msgspec.Struct, frozen=True, kw_only=True):
    """Of the account. `drawdown` is the largest fall of equity from its peak, looked at after every event; its times are the full
    minutes nearest to it. Sharpe and Sortino are annualised from daily returns without a risk-free rate, by `days_a_year`: 252, or 365
    where the market trades at weekends, as `days_by` says (`replay.runs.days`); they and the returns a month (21 or 30 days) and a year
    are null under 20 days, and where equity was not above zero at every day's end.
    """

    days: int
    days_a_year: int
    days_by: str
    total_return: float | None
    drawdown: float
    drawdown_share: float | None
    drawdown_from: str | None
    drawdown_to: str | None
    sharpe: float | None
    sortino: float | None
    monthly_return: float | None
    annualised_return: float | None


class Trading:
    """A run's trips and fills as columns, and which rows of them each strategy has in each symbol: read once, asked for many parts.

    `days` are those of the run. Cost: one pass over the tables, then a part costs what it has of them.

    >>> import replay
    >>> run = replay.run(strategy="ema_cross")
    >>> Trading(run.tables, 1).all() == run.summary.statistics
    True
    """

    def __init__(self, tables: dict[str, pa.Table], days: int):
        self.days = days
        self.initial = tables["equity"]["equity"][0].as_py()
        self.at = np.unique(np.asarray(tables["prices"]["ts"].cast(pa.int64())))
        self.trips = {name: np.asarray(tables["trips"][name]) for name in ("net", "open", "gross", "fees")}
        self.trips |= {name: np.asarray(tables["trips"][name].cast(pa.int64()).fill_null(LATER)) for name in ("ts_in", "ts_out")}
        self.fills = {name: np.asarray(tables["fills"][name]) for name in ("notional", "slippage")}
        self._rows = {name: _rows_by(tables[name]) for name in ("trips", "fills")}

    def of(self, strategy: str, symbol: str) -> Statistics:
        """What `strategy` did in `symbol`."""
        trips, fills = (self._rows[t].get((strategy, symbol), np.zeros(0, np.int64)) for t in ("trips", "fills"))
        return self._figures({k: v[trips] for k, v in self.trips.items()}, {k: v[fills] for k, v in self.fills.items()})

    def all(self) -> Statistics:
        """What the run did."""
        return self._figures(self.trips, self.fills)

    def _figures(self, trips: dict[str, np.ndarray], fills: dict[str, np.ndarray]) -> Statistics:
        closed = trips["net"][~trips["open"]]
        won, lost = closed[closed > 0], closed[closed < 0]
        notional, slip = float(fills["notional"].sum()), float(fills["slippage"].sum())
        spans = (trips["ts_out"] - trips["ts_in"])[~trips["open"]]
        return Statistics(
            trips=len(closed),
            wins=len(won),
            win_rate=len(won) / len(closed) if len(closed) else None,
            profit_factor=float(won.sum() / -lost.sum()) if len(lost) and len(won) else None,
            expectancy=_mean(closed),
            average_win=_mean(won),
            average_loss=_mean(lost),
            gross=float(trips["gross"].sum()),
            fees=float(trips["fees"].sum()),
            net=float(trips["net"].sum()),
            slippage=slip,
            slippage_bps=slip / notional * 1e4 if notional else None,
            notional=notional,
            turnover=notional / self.initial if self.initial else None,
            trips_a_day=len(closed) / self.days if self.days else None,
            exposure=held(self.at, trips["ts_in"], trips["ts_out"]),
            holding_s=_mean(spans / 1e9),
        )


def _rows_by(table: pa.Table) -> dict[tuple[str, str], np.ndarray]:
    """The rows of each strategy and symbol, in their order."""
    (who, strategies), (what, symbols) = (_codes(table[name]) for name in ("strategy", "symbol"))
    part = who * len(symbols) + what
    order = np.argsort(part, kind="stable")
    parts, starts = np.unique(part[order], return_index=True)
    rows = np.split(order, starts[1:])
    return {(strategies[p // len(symbols)], symbols[p % len(symbols)]): r for p, r in zip(parts.tolist(), rows, strict=False)}


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    whole = column.combine_chunks()
    whole = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    return whole.indices.to_numpy().astype(np.int64), whole.dictionary.to_pylist()


def returns(tables: dict[str, pa.Table], days: Days, drawdown: float) -> Returns:
    """Of the account over these days; `drawdown` as the trader saw it, after every event."""
    ts, equity = np.asarray(tables["equity"]["ts"].cast(pa.int64())), np.asarray(tables["equity"]["equity"])
    initial = float(equity[0])
    ends = equity[np.maximum(np.searchsorted(ts, days.ends_ns, "left") - 1, 0)]
    daily = np.diff(np.r_[initial, ends]) / np.r_[initial, ends[:-1]] if initial > 0 and (ends > 0).all() else np.zeros(0)
    enough = len(daily) >= FEWEST_DAYS
    down = np.sqrt(np.mean(np.minimum(daily, 0) ** 2)) if len(daily) else 0.0
    growth = ends[-1] / initial if enough else None
    trough = int(np.argmax(np.asarray(tables["equity"]["drawdown"])))
    peak = int(np.argmax(equity[: trough + 1]))
    peak_value = equity[peak]
    return Returns(
        days=len(days),
        days_a_year=days.a_year,
        days_by=days.by,
        total_return=float(equity[-1] / initial - 1) if initial > 0 else None,
        drawdown=drawdown,
        drawdown_share=float(drawdown / peak_value) if peak_value > 0 else None,
        drawdown_from=utc_text(ts[peak]) if drawdown else None,
        drawdown_to=utc_text(ts[trough]) if drawdown else None,
        sharpe=float(daily.mean() / daily.std(ddof=1) * np.sqrt(days.a_year)) if enough and daily.std(ddof=1) > 0 else None,
        sortino=float(daily.mean() / down * np.sqrt(days.a_year)) if enough and down > 0 else None,
        monthly_return=float(growth ** (days.a_month / len(daily)) - 1) if growth else None,
        annualised_return=float(growth ** (days.a_year / len(daily)) - 1) if growth else None,
    )


def _mean(values: np.ndarray) -> float | None:
    return float(values.sum() / len(values)) if len(values) else None


def held(at: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> float | None:
    """Share of the moments `at` (ascending, different) at which one of the trips from `starts` to before `ends` was under way; None
    without moments. Cost: that of sorting the trips.

    >>> held(np.array([10, 20, 30, 40]), np.array([15, 18]), np.array([30, 35]))
    0.5
    """
    if not len(at):
        return None
    moments = np.searchsorted(at, np.concatenate([starts, ends]))  # the first at which each start and end has been
    order = np.argsort(moments, kind="stable")
    under_way = np.cumsum(np.where(order < len(starts), 1, -1))
    lasts = np.diff(np.append(moments[order], len(at)))
    return float(lasts[under_way > 0].sum() / len(at))
