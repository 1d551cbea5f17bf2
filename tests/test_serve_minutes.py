"""Minute bars that the server makes of a day's prints, against the vendor's own minute bars of that day. What differs, differs by class:

- *sweeps*: the vendor's open, high, low and close leave out intermarket sweeps (condition bit 5) and its volume counts them. By the rules of
  the consolidated tape a sweep sets every price of a bar (condition F), and so it does here;
- *auctions*: the vendor puts the prints of the opening and the closing auction into a minute of its own choosing, or into none;
- *away*: a print whose price was not made here and now (averages, derivatively priced, sold late) sets no price here; the vendor lets one in
  ten set a high or a low.
"""

import datetime
import zipfile

import numpy as np
import pytest

pytest.importorskip("aiohttp")
from recordings import recording

from replay.data import lean
from replay.data.session import Session
from replay.data.times import in_new_york, utc_text
from replay.events import PHASE, SETS_LAST, TRADE
from replay.serve.history import History
from replay.serve.server import Server

EQUITY = "us_equity_lean/Data/equity/usa"
MINUTE = 60 * 10**9
SWEEP = 1 << 5
AUCTIONS = (0, 1, 389)  #: minutes of the day in which auctions are printed


def vendors(symbol, day):
    """{beginning: (open, high, low, close, volume)}; prices in dollars."""
    path = recording(f"{EQUITY}/minute/{symbol.lower()}/{day:%Y%m%d}_trade.zip")
    with zipfile.ZipFile(path) as z:
        lines = z.read(z.namelist()[0]).decode().split()
    rows = (tuple(map(int, line.split(",")[:6])) for line in lines)
    return {in_new_york(day) + ms * 10**6: (*(px / 10_000 for px in bar), volume) for ms, *bar, volume in rows}


def served(session, opens, closes):
    """The same of ``/v2/stocks/bars`` once the day is over."""
    server = Server(session, speed="lockstep", rate=0)
    server.market.i, server.market.now = server.market.n, session.manifest.end_ns + MINUTE
    (symbol,) = server.assets.symbols
    asked = {"symbols": symbol, "timeframe": "1Min", "start": utc_text(opens), "end": utc_text(closes - 1), "limit": "10000"}
    bars = History(server).page("bars", asked)["bars"][symbol]
    when = lambda text: int(datetime.datetime.fromisoformat(text).timestamp()) * 10**9  # noqa: E731
    return {when(b["t"]): (b["o"], b["h"], b["l"], b["c"], b["v"]) for b in bars}


@pytest.mark.real
@pytest.mark.parametrize(("symbol", "day"), [("IBM", 7), ("IBM", 8), ("SPY", 8)])
def test_served_minutes_are_the_vendor_s(symbol, day):
    day = datetime.date(2013, 10, day)
    session = lean.import_lean(recording(f"{EQUITY}/tick"), [symbol], [day.isoformat()])
    rows = session.events[np.isin(session.events.kind, (TRADE, PHASE))].copy()
    trades = Session.from_rows(rows, session.instruments, calendar=session.manifest.calendar)
    ((_, opens, closes),) = session.manifest.calendar.days
    theirs = {t: bar for t, bar in vendors(symbol, day).items() if opens <= t < closes}
    ours = served(trades, opens, closes)
    assert ours.keys() == theirs.keys() and len(ours) == 390

    swept = rows[(rows.kind == TRADE) & (rows.c & SWEEP != 0)]
    without = rows.copy()
    without["flags"][(rows.kind == TRADE) & (rows.c & SWEEP != 0)] &= np.uint16(0xFFFF ^ SETS_LAST)
    unswept = served(Session.from_rows(without, session.instruments, calendar=session.manifest.calendar), opens, closes)

    minutes = {t: (t - opens) // MINUTE for t in ours}
    volumes = [t for t in ours if ours[t][4] != theirs[t][4]]
    assert {minutes[t] for t in volumes} <= set(AUCTIONS)
    sweeps = [t for t in ours if ours[t][:4] != unswept[t][:4]]
    assert set(sweeps) <= set((swept.ts_event // MINUTE * MINUTE).tolist()) and len(sweeps) > 50
    rest = [t for t in unswept if unswept[t] != theirs[t] and minutes[t] not in AUCTIONS]
    assert len(rest) <= 1, [(minutes[t], unswept[t], theirs[t]) for t in rest]
    for t in rest:
        within = rows[(rows.kind == TRADE) & (rows.ts_event >= t) & (rows.ts_event < t + MINUTE)]
        away = within[(within.c & lean.AWAY != 0) | (within.c & (1 << 20) != 0)]
        low, high = sorted((theirs[t][1], theirs[t][2]))
        assert len(away) and {low, high} & {float(session.instruments[0].price(int(px))) for px in away.a}
