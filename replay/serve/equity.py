"""The history of an account's equity: windows of a period, as of the end of each."""

from __future__ import annotations

import bisect
import datetime
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from replay.data.times import NEW_YORK, ns_of
from replay.serve.bars import HOUR, MINUTE, midnight
from replay.serve.calendar import Calendar, Day, local, ns_of_text
from replay.serve.orders import rounded
from replay.serve.parameters import bad, yes

if TYPE_CHECKING:
    from replay.serve.account import Account

DAYS = {"D": 1, "W": 7, "M": 30, "A": 365}
STEPS = {"1Min": MINUTE, "5Min": 5 * MINUTE, "15Min": 15 * MINUTE, "1H": HOUR, "1D": 24 * HOUR}
INTRADAY_DAYS = 30  #: longer periods have daily windows only


class Equity:
    """See the module. Windows are those of the calendar: of the market's hours, of its longer ones, or all."""

    def __init__(self, calendar: Calendar):
        self.calendar = calendar

    def history(self, account: Account, query: Mapping[str, str]) -> dict:
        """What ``/v2/account/portfolio/history`` answers. Raises `ApiError`."""
        account.sample()
        start, end, days = self._span(query)
        frame = query.get("timeframe") or ("1Min" if days < 7 else "15Min" if days < INTRADAY_DAYS else "1D")
        if frame != "1D" and end - start > (INTRADAY_DAYS + 1) * 24 * HOUR:
            raise bad("only 1D timeframe is allowed for more than 30 days")
        start = max(start, midnight(self.calendar.market.session.manifest.start_ns))  # there was no account before
        resets = frame != "1D" and query.get("pnl_reset") != "no_reset"
        times = [t for t, _ in account.history]
        value = lambda ns: account.history[k - 1][1] if (k := bisect.bisect_left(times, ns)) else None  # noqa: E731
        first = value(start)
        base = account.portfolio.initial if first is None else first
        out: dict[str, list] = {"timestamp": [], "equity": [], "profit_loss": [], "profit_loss_pct": []}
        against, day = base, None
        for stamp, upto, date in self._windows(start, end, frame, query):
            equity = value(upto)
            if equity is None:  # there was no account yet
                continue
            if resets and date != day:
                before = value(stamp)
                against, day = base if before is None else before, date
            out["timestamp"].append(stamp // 10**9)
            out["equity"].append(float(round(equity, 2)))
            out["profit_loss"].append(float(round(equity - against, 2)))
            out["profit_loss_pct"].append(float(rounded((equity - against) / against)) if against else 0.0)
        asof = local(start).date() - datetime.timedelta(days=1)
        return out | {"base_value": float(round(Decimal(base), 2)), "base_value_asof": asof.isoformat(), "timeframe": frame}

    def _span(self, query: Mapping[str, str]) -> tuple[int, int, float]:
        """From when to when, ns, and how many days the period has."""
        period, start, end = (query.get(name) or None for name in ("period", "start", "end"))
        if period and start and end:
            raise bad("only two of start, end and period can be specified at the same time")
        now = self.calendar.market.now
        try:
            upto = min(now, ns_of_text(end, NEW_YORK)) if end else now
            begins = ns_of_text(start, NEW_YORK) if start else None
        except (ValueError, OverflowError):
            raise bad("start and end must be dates or RFC 3339 times") from None
        days = int((period or "1M")[:-1]) * DAYS[(period or "1M")[-1]]
        if begins is None:
            begins = self._days_before(upto, days)
        elif period:
            upto = min(upto, begins + days * 24 * HOUR)
        if begins > upto:
            raise bad("end should not be before start")
        return begins, upto, (upto - begins) / (24 * HOUR) if start and not period else days

    def _days_before(self, upto: int, days: int) -> int:
        """The midnight from which on a period of so many days lasts: of one day that is the trading day's own, or the last one's."""
        day = local(upto).date()
        while self.calendar.hours(day) is None:
            day -= datetime.timedelta(days=1)
        day -= datetime.timedelta(days=days - 1)
        return midnight(ns_of(datetime.datetime(day.year, day.month, day.day, 12, tzinfo=NEW_YORK)), NEW_YORK)

    def _windows(self, start: int, end: int, frame: str, query: Mapping[str, str]) -> Iterator[tuple[int, int, datetime.date]]:
        """(beginning, end, day) of each window, oldest first; a day's beginning is the midnight UTC of its date."""
        step, reporting = STEPS[frame], query.get("intraday_reporting") or "market_hours"
        if yes(query, "extended_hours"):
            reporting = "extended_hours"
        if frame != "1D" and reporting == "continuous":
            for t in range(start - start % step, end + 1, step):
                yield t, t + step, local(t).date()
            return
        for d in self.calendar.span(local(start).date(), local(end).date()):
            if frame == "1D":
                stamp = ns_of(datetime.datetime(d.date.year, d.date.month, d.date.day, tzinfo=datetime.UTC))
                yield stamp, d.post_closes, d.date
                continue
            opens, closes = _hours(d, reporting)
            for t in range(max(opens, start - start % step), min(closes, end + 1), step):
                yield t, t + step, d.date


def _hours(d: Day, reporting: str) -> tuple[int, int]:
    return (d.pre_opens, d.post_closes) if reporting == "extended_hours" else (d.opens, d.closes)
