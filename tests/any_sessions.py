"""Sessions of any shape, as a Hypothesis strategy: any first row, any order of kinds, times on every
boundary, several intervals, symbols that never trade or begin late, with a calendar or without."""

import numpy as np
from hypothesis import strategies as st

from replay import events as ev
from replay.data.instruments import Instrument
from replay.data.session import Session, end_bar_messages

SECOND = 10**9
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
INTERVALS = (MINUTE, 5 * MINUTE, HOUR, DAY)
#: a Monday, 09:30 in New York; midnight UTC; the epoch; one before it; the first of a month
STARTS = (1_772_461_800 * SECOND, 1_772_409_600 * SECOND, 0, -DAY, 1_772_323_200 * SECOND + 1)
STEPS = (0, 0, 1, SECOND, MINUTE - 1, MINUTE, HOUR, 6 * HOUR, DAY)
MARKET = (ev.QUOTE, ev.TRADE, ev.DEPTH, ev.ORDER, ev.BAR)
REST = (
    ev.PHASE, ev.STATUS, ev.CONTROL, ev.CUSTOM, ev.TEXT, ev.INTENT, ev.ACCOUNT, ev.CORPORATE, ev.FUNDING, ev.MARK,
    ev.INSTRUMENT, ev.BAR_EXT,
)  # fmt: skip


@st.composite
def sessions(draw, most_rows=60):
    """A `Session` that an importer could have written: the rows prove, whatever they are."""
    n = draw(st.integers(1, 3))
    kinds = draw(st.lists(st.sampled_from(MARKET), min_size=1, max_size=3, unique=True))
    kinds += draw(st.lists(st.sampled_from(REST), max_size=2, unique=True))
    intervals = draw(st.lists(st.sampled_from(INTERVALS), min_size=1, max_size=2, unique=True))
    busy = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n, unique=True))
    count = draw(st.integers(1, most_rows))
    seed = draw(st.integers(0, 2**32 - 1))
    rows = _rows(np.random.default_rng(seed), draw(st.sampled_from(STARTS)), count, kinds, busy, len(intervals))
    if draw(st.booleans()):
        rows = _closed_each_day(rows)
    instruments = [Instrument(symbol=f"S{k}", tick_size="0.01") for k in range(n)]
    return Session.from_rows(rows, instruments, name="any", bar_intervals_ns=intervals)


def _rows(rng, start, count, kinds, busy, n_intervals):
    rows = ev.empty(count)
    steps = rng.choice(STEPS, count)
    if rng.integers(2):
        steps = np.full(count, MINUTE)  # whole minutes, as an ordinary file of bars has them
    rows.ts_event[:] = start + np.cumsum(steps)
    rows.ts_recv[:] = rows.ts_event + rng.choice((0, 0, 0, 1, 1_000_000, SECOND), count)
    rows.kind[:] = rng.choice(kinds, count)
    rows.instrument[:] = rng.choice(busy, count)
    rows["flags"][:] = ev.LAST | rng.choice((0, ev.PRINT, ev.PRINT, ev.GAP, ev.SNAPSHOT), count)
    px, size = 100 + rng.integers(-5, 6, count), rng.integers(0, 50, count)
    for k in range(count):
        r = rows[k]
        if r.kind == ev.QUOTE:
            r.a, r.b, r.c, r.d = px[k], size[k], px[k] + rng.integers(-1, 4), rng.integers(0, 50)
        elif r.kind == ev.TRADE:
            r.a, r.b, r.side = px[k], size[k], rng.integers(-1, 2)
        elif r.kind == ev.DEPTH:
            r.a, r.b, r.side, r.c = px[k], size[k], rng.choice((-1, 1)), rng.choice((ev.SET, ev.SET, ev.SET, ev.CLEAR))
        elif r.kind == ev.ORDER:
            r.a, r.b, r.c, r.id = px[k], size[k], rng.integers(0, 6), rng.integers(1, 9)
            r.side = 0 if r.c == ev.CLEAR else rng.choice((-1, 1))
        elif r.kind == ev.BAR:
            o, c = px[k], px[k] + rng.integers(-3, 4)
            r.a, r.b, r.c, r.d = o, max(o, c) + rng.integers(0, 3), min(o, c) - rng.integers(0, 3), c
            r.id, r.side = rng.choice((0, size[k])), rng.integers(0, n_intervals)
        elif r.kind == ev.PHASE:
            r.side, r.id = rng.integers(0, 4), rng.integers(0, 3)
        elif r.kind == ev.STATUS:
            r.side = rng.integers(0, 2)
        elif r.kind == ev.CONTROL:
            r.side = rng.integers(1, 5)
        elif r.kind == ev.INTENT:
            r.a, r.b, r.c, r.d = rng.integers(-2, 5), px[k], px[k], rng.integers(0, 1 << 12)
            r.id, r.side = rng.integers(0, 3), rng.choice((-1, 1))
        elif r.kind == ev.ACCOUNT:
            r.a, r.b, r.c, r.d, r.id = rng.integers(-1, 3), rng.integers(-9, 9), rng.integers(-2, 3), px[k], rng.integers(-1, 3)
        else:
            r.a, r.b, r.c, r.d, r.id = rng.integers(-9, 9, 5)
    return _in_order(rows)


def _closed_each_day(rows):
    """The market opens and closes at times of bars and between them."""
    first, last = int(rows.ts_event.min()), int(rows.ts_event.max())
    days = range(first // DAY, min(last // DAY, first // DAY + 9) + 1)
    phases = ev.empty(2 * len(days))
    for k, day in enumerate(days):
        for at, (hours, phase) in enumerate(((14 * HOUR + 30 * MINUTE, ev.OPEN), (21 * HOUR, ev.CLOSED))):
            r = phases[2 * k + at]
            r.kind, r.side, r.id, r.ts_event, r.ts_recv = ev.PHASE, phase, day, day * DAY + hours, day * DAY + hours
    phases["flags"][:] = ev.LAST
    return _in_order(np.concatenate([rows, phases]).view(np.recarray))


def _in_order(rows):
    rows = rows[np.lexsort((rows["kind"] == ev.PHASE, rows["ts_event"], rows["ts_recv"]))].view(np.recarray)
    end_bar_messages(rows)
    return rows
