"""Figures that need a sample, each beside the size of its sample and null where there is none.

Money is in the account's currency. A trip is a round trip from flat to flat (`replay.runs.trips`); an open one counts for money, not
for win rate, profit factor and expectancy. What a day is says `replay.runs.days`.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute  # noqa: F401  (pa.compute)

from replay.data.times import utc_text
from replay.runs.days import Days

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


def statistics(tables: dict[str, pa.Table], days: int, strategy: str | None = None, symbol: str | None = None) -> Statistics:
    """Of the run's trading in `days`, or the part of it that `strategy` did in `symbol`."""
    trips, fills = (_only(tables[t], strategy, symbol) for t in ("trips", "fills"))
    net, is_open = np.asarray(trips["net"]), np.asarray(trips["open"])
    closed = net[~is_open]
    won, lost = closed[closed > 0], closed[closed < 0]
    notional, slip = float(np.asarray(fills["notional"]).sum()), float(np.asarray(fills["slippage"]).sum())
    initial = tables["equity"]["equity"][0].as_py()
    held = _held(trips, tables)
    spans = (np.asarray(trips["ts_out"].cast(pa.int64()).fill_null(0)) - np.asarray(trips["ts_in"].cast(pa.int64())))[~is_open]
    return Statistics(
        trips=len(closed),
        wins=len(won),
        win_rate=len(won) / len(closed) if len(closed) else None,
        profit_factor=float(won.sum() / -lost.sum()) if len(lost) and len(won) else None,
        expectancy=_mean(closed),
        average_win=_mean(won),
        average_loss=_mean(lost),
        gross=float(np.asarray(trips["gross"]).sum()),
        fees=float(np.asarray(trips["fees"]).sum()),
        net=float(net.sum()),
        slippage=slip,
        slippage_bps=slip / notional * 1e4 if notional else None,
        notional=notional,
        turnover=notional / initial if initial else None,
        trips_a_day=len(closed) / days if days else None,
        exposure=held,
        holding_s=_mean(spans / 1e9),
    )


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


def _only(table: pa.Table, strategy: str | None, symbol: str | None) -> pa.Table:
    for column, value in (("strategy", strategy), ("symbol", symbol)):
        if value is not None:
            table = table.filter(pa.compute.equal(table[column].cast(pa.string()), value))
    return table


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _held(trips: pa.Table, tables: dict[str, pa.Table]) -> float | None:
    """Share of the price buckets (any symbol) in whose last moment a trip was under way."""
    at = np.unique(np.asarray(tables["prices"]["ts"].cast(pa.int64())))
    if not len(at):
        return None
    starts = np.asarray(trips["ts_in"].cast(pa.int64()))
    ends = np.asarray(trips["ts_out"].cast(pa.int64()).fill_null(at[-1] + 1))
    under_way = np.searchsorted(np.sort(starts), at, "right") - np.searchsorted(np.sort(ends), at, "right")
    return float((under_way > 0).mean())
