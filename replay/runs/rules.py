"""What rules charge on US equities, by the day they came into force: SEC section 31 and FINRA TAF on sales, CAT on both sides.

The broker passes them on; a schedule is named in ``--commission alpaca``. Sources: the SEC's fee rate advisories, FINRA's schedule A to the
by-laws, FINRA CAT's fee notices. Charged on each fill and never rounded; a broker sums them by kind, account and day and rounds up to the
cent, which is up to three cents a day more.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from zoneinfo import ZoneInfo

from replay.data.instruments import Instrument
from replay.data.times import ns_of, utc_text
from replay.errors import BadInput
from replay.venue.setup import Charge

MONEY = 10**8
#: dollars per million of sales (SEC section 31)
SEC = (
    ("2015-02-14", "18.40"), ("2016-02-16", "21.80"), ("2017-07-04", "23.10"), ("2018-05-22", "13.00"), ("2019-04-16", "20.70"),
    ("2020-02-18", "22.10"), ("2021-02-25", "5.10"), ("2022-05-14", "22.90"), ("2023-02-27", "8.00"), ("2024-05-22", "27.80"),
    ("2025-05-14", "0"), ("2026-04-04", "20.60"),
)  # fmt: skip
#: dollars per share sold, and the most a trade (FINRA trading activity fee)
TAF = (
    ("2012-07-01", "0.000119", "5.95"), ("2022-01-01", "0.000130", "6.49"), ("2023-01-01", "0.000145", "7.27"),
    ("2024-01-01", "0.000166", "8.30"), ("2026-01-01", "0.000195", "9.79"), ("2026-10-01", "0", "0"),
)  # fmt: skip
#: dollars per share of either side (consolidated audit trail); what it was in 2025 varied by month and is not known here
CAT = (("2015-02-14", "0"), ("2026-05-01", "0.000003"))
FIRST, AFTER = "2015-02-14", "2027-01-01"  #: what is known


def charges(instruments: Sequence[Instrument]) -> tuple[Charge, ...]:
    """The rules as rows of a venue, one a day on which something changed. Raises `BadInput` for lots that are not whole shares of one size.

    >>> charges(())[-1]
    Charge(from_ns=1790827200000000000, sale_e8=2060, sale_per_lot=0, sale_most=0, per_lot=300)
    """
    lots = {Decimal(i.lot_size) for i in instruments} or {Decimal(1)}
    if len(lots) > 1 or lots != {Decimal(int(min(lots)))}:
        raise BadInput(
            f"--commission alpaca: whole shares of one lot size expected, the session has lots of {', '.join(map(str, sorted(lots)))}"
        )
    lot = lots.pop()
    found = []
    for day in sorted({row[0] for table in (SEC, TAF, CAT) for row in table if row[0] >= FIRST}):
        (sec,), (taf, most), (cat,) = (_in_force(table, day) for table in (SEC, TAF, CAT))
        amounts = (sec * MONEY / 1_000_000, taf * lot * MONEY, most * MONEY, cat * lot * MONEY)
        assert all(a == int(a) for a in amounts), (day, amounts)
        found.append(Charge(_midnight(day), *map(int, amounts)))
    return tuple(found)


def check_known(start_ns: int, end_ns: int) -> None:
    """Raise `BadInput` for a time whose rules are not known here."""
    if start_ns < _midnight(FIRST) or end_ns > _midnight(AFTER):
        raise BadInput(
            f"--commission alpaca: its rules are known from {FIRST} to before {AFTER}, the session lasts from {utc_text(start_ns)} to "
            f"{utc_text(end_ns)}: name rates, such as 0.0002/share"
        )


def _in_force(table: tuple[tuple[str, ...], ...], day: str) -> list[Decimal]:
    return [Decimal(x) for x in max(row for row in table if row[0] <= day)[1:]]


def _midnight(day: str) -> int:
    return ns_of(datetime.datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("America/New_York")))
