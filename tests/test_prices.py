"""The prices kept with a run: every price a symbol had, from the first row to the last, wherever the session begins."""

from hypothesis import given, settings
from hypothesis import strategies as st

from replay import events as ev
from replay.data.instruments import Instrument
from replay.data.session import Session, end_bar_messages
from replay.runs.prices import prices

MINUTE = 60 * 10**9
SPACING = (1, 10**9, MINUTE, 5 * MINUTE, 60 * MINUTE, 24 * 60 * MINUTE)
ROW = st.tuples(st.sampled_from([ev.BAR, ev.BAR, ev.QUOTE, ev.TRADE]), st.integers(0, 1), st.integers(1, 999), st.integers(0, 3))
#: what a first row's time is counted from: a midnight, a whole minute, before and after the epoch
START = st.sampled_from([1_772_409_600 * 10**9, 1_772_461_800 * 10**9, 0, -MINUTE])


def session_of(start, spacing, offset, drawn):
    rows, t = ev.empty(len(drawn)), start + offset
    for r, (kind, instrument, px, gap) in zip(rows, drawn, strict=True):
        t += gap * spacing
        r.ts_event = r.ts_recv = t
        r.kind, r.instrument = kind, instrument
        r["flags"] = ev.LAST | (ev.SETS_LAST if kind == ev.TRADE else 0)
        r.a, r.b, r.c, r.d = {ev.QUOTE: (px, 1, px, 1), ev.TRADE: (px, 1, 0, 0)}.get(kind, (px, px, px, px))
    end_bar_messages(rows)
    instruments = [Instrument(symbol=s, tick_size="1") for s in "AB"]
    return Session.from_rows(rows, instruments, name="prices", bar_intervals_ns=[spacing])


def heard(session, column):
    """The rows whose prices are kept for a symbol: quotes or trades of an L1 symbol, bars of one that has nothing finer."""
    kind = {"l1": ev.QUOTE, "bars": ev.BAR}.get(session.manifest.levels[column])
    e = session.events
    return e[(e.instrument == column) & (e.kind == kind)]


@settings(deadline=None)
@given(START, st.sampled_from(SPACING), st.sampled_from([0, 1, -1, 10**9]), st.lists(ROW, min_size=1, max_size=40), st.data())
def test_every_price_is_kept_from_the_first_row_on(start, spacing, offset, drawn, data):
    whole = session_of(start, spacing, offset, drawn)
    m = whole.manifest
    session = whole.slice(start=data.draw(st.integers(m.start_ns, m.end_ns)) if data.draw(st.booleans()) else m.start_ns)
    got = prices(session, ["A", "B"]).to_pandas()
    for column, symbol in enumerate("AB"):
        rows, kept = heard(session, column), got[got.symbol == symbol]
        assert len(kept) <= len(rows) and (len(kept) > 0) == (len(rows) > 0)
        if len(rows):
            assert (kept.open.iloc[0], kept.close.iloc[-1]) == (rows.a[0], rows.a[-1])
            assert (kept.high.max(), kept.low.min()) == (rows.a.max(), rows.a.min())
            ends = kept.ts.astype("int64")
            assert ends.is_monotonic_increasing and ends.iloc[0] >= rows.ts_recv[0] and ends.iloc[-1] >= rows.ts_recv[-1]
