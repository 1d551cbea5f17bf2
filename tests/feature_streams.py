"""Random event streams for the tests of features, and a digest of what features make of them (run as a script)."""

import hashlib
import random

import numpy as np

from replay import events as ev
from replay.trader.specs import (
    YEAR_US_EQUITY,
    FeatureTable,
    bar,
    ema,
    highest,
    lowest,
    mean,
    microprice,
    ofi,
    queue_imbalance,
    realised_vol,
    relative_spread,
    ret,
    ret_zscore,
    session_return,
    spread,
    trade_flow,
    trade_imbalance,
    variance,
    volume,
    vwap,
    zscore,
)

SPECS = [
    ema("mid", 10), ema("trade", 7, seed="mean"), mean("mid", "6.4s"), mean("trade", 1_000_000_007), mean("spread", "2s"),
    mean("microprice", "3s"), mean("mid", count=1), mean("trade", count=13), variance("mid", "6.4s"), variance("bar", "12s"),
    variance("mid", count=2), variance("ask", count=40), zscore("mid", "4s"), zscore("bid", count=30), session_return(),
    session_return("bar"), ret("5s"), ret(3_000_000_001, "trade"), ret("bar", count=3), ret(count=20), ret("9s", "bar"),
    ret_zscore("1s", "4s"), ret_zscore("300ms", "3s", "trade"), ret_zscore("2s", "700ms", "bid"),
    ret_zscore(source="trade", count=2, among=9), highest("mid", "3s"), lowest("bid", "2s"), highest("bar", "12s"), lowest("bar", "9s"),
    lowest("trade", "700ms"), highest("trade", count=8), lowest("bar", count=3), volume("2s"), volume("9s", "bar"), volume(count=5),
    realised_vol("mid", "5s"), realised_vol("trade", "8s", year=YEAR_US_EQUITY), realised_vol("bar", "12s"),
    realised_vol("trade", count=6), spread(), relative_spread(), queue_imbalance(), microprice(), ofi("3s"),
    ofi(count=4), trade_flow("4s"), trade_flow(count=3), trade_imbalance("6.4s"), trade_imbalance(count=7), vwap(), vwap("bar"),
    bar("trade", "1s", "close"), bar("trade", "1s", "volume"), bar("mid", "700ms", "high"), bar("mid", "700ms", "low"),
    bar("mid", "700ms", "count"), bar("mid", "700ms", "open"), bar("trade", "2s", "current_high"), bar("mid", "1s", "current_count"),
]  # fmt: skip
BAR_NS = 10**9  #: the interval of the streams' bars; they come later than they close


def stream(seed: int, n: int, start_px: int = 1_000_000, instruments: int = 1) -> np.ndarray:
    """`n` events: quotes with sides that come and go, prints with and without a side that count, set the last price, or neither, bars
    received after their close, sessions that open and close, gaps of all sizes."""
    r = random.Random(seed)
    rows = ev.empty(n)
    phase, closed = ev.CLOSED, [0] * instruments
    now = 1_700_000_000_000_000_000 + r.randrange(10**9)
    px = start_px
    for k in range(n):
        now += (
            r.choice([0, 1, 10**6, 30 * 10**6, 10**8, 3 * 10**8])
            if r.random() < 0.98
            else r.choice([10**9, 10**9, 7 * 10**9, 7 * 10**9, 10**11, 4 * 10**12])
        )
        px = max(5, px + r.choice([-3, -1, -1, 0, 0, 0, 1, 1, 3]))
        e = rows[k]
        e.ts_event = e.ts_recv = now
        e.instrument = r.randrange(instruments)
        what = r.random()
        if what < 0.6:
            e.kind = ev.QUOTE
            e.a, e.b, e.c, e.d = px, r.choice([0, 5, 9, 100]), px + r.choice([1, 1, 2, 5]), r.choice([1, 5, 9, 0])
            if r.random() < 0.8:
                e.b, e.d = max(1, e.b), max(1, e.d)
        elif what < 0.9:
            e.kind, e.side = ev.TRADE, r.choice([-1, 0, 0, 1])
            e.a, e.b = px + r.choice([-1, 0, 1, 2]), r.choice([1, 2, 100, 10**9])
            e["flags"] = ev.LAST | r.choice([ev.PRINT, ev.PRINT, ev.PRINT, ev.COUNTS, ev.SETS_LAST, 0])
        elif what < 0.993 and now // BAR_NS > closed[e.instrument]:
            e.kind = ev.BAR
            closed[e.instrument] = now // BAR_NS
            e.ts_event = now // BAR_NS * BAR_NS
            e.a, e.b, e.c, e.d, e.id = px, px + 4, px - 3, px + 1, r.randrange(1, 1000)
        elif what >= 0.993:
            phase = ev.OPEN if phase == ev.CLOSED else ev.CLOSED
            e.kind, e.side = ev.PHASE, phase
        else:
            e.kind = ev.CUSTOM
    return rows


def digest() -> str:
    h = hashlib.sha256()
    for seed, px in ((1, 1_000_000), (2, 40), (3, 10**9)):
        table = FeatureTable([(i, s) for i in range(2) for s in SPECS], [BAR_NS] * 2)
        values, ready = table.play(stream(seed, 400, px, 2))
        h.update(values.tobytes() + ready.tobytes() + table.words.tobytes())
    return h.hexdigest()


if __name__ == "__main__":
    print(digest())
