"""Real depth through the whole engine: at every pause the venue's book and our view equal a reference kept in sorted dictionaries."""

import numpy as np
import pytest
from recordings import recording
from sortedcontainers import SortedDict

from replay import State, Strategy, compiled
from replay import events as ev
from replay.data.binance import import_binance
from replay.data.synth import l2_book
from replay.engine import Engine
from replay.kernel import ladder
from replay.strategy import load

CAPTURES = [
    "crypto_raw_hftbacktest/examples/spot/btcusdt_20240808.gz",
    "crypto_raw_hftbacktest/examples/spot/ethusdt_20240808.gz",
    "crypto_raw_hftbacktest/examples/usdm/btcusdt_20240808.gz",
    "crypto_raw_hftbacktest/examples/cm/btcusd_perp_20240808.gz",
]


@compiled
class Watcher(Strategy):
    """Counts messages whose book is crossed or one-sided when it wakes."""

    books: State[int] = 0
    wrong: State[int] = 0

    def on_book(self, ctx, b):
        t = ctx.book(b.instrument)
        self.books += 1
        if t.bid_sz <= 0 or t.ask_sz <= 0 or t.bid_px >= t.ask_px:
            self.wrong += 1


def reference(rows, n, in_venue_order=None):
    """The book after `n` rows: a sorted dictionary a side, rank -> size."""
    sides = {1: SortedDict(), -1: SortedDict()}
    for k in range(n) if in_venue_order is None else in_venue_order[:n]:
        r = rows[k]
        if r.kind != ev.DEPTH:
            continue
        if r.c == ev.CLEAR:
            for side in (1, -1):
                if r.side != -side:
                    sides[side].clear()
            continue
        book, rank = sides[int(r.side)], int(r.side) * int(r.a)
        if r.b:
            book[rank] = int(r.b)
        else:
            book.pop(rank, None)
    return sides


def same(arena, want):
    for k, side in ((0, 1), (1, -1)):
        ladder.check(arena, k)
        assert ladder.levels(arena, k) == [(r, s) for r, s in reversed(want[side].items())]


def replay_and_compare(session, pauses):
    engine = Engine(session, [load(Watcher)])
    n = len(session.events)
    for k in range(1, pauses + 1):
        engine.advance(n * k // pauses - int(engine.venue.header.local_i))
        same(engine.trader, reference(session.events, n * k // pauses))
    engine.run()
    same(engine.trader, reference(session.events, n))
    same(engine.venue, reference(session.events, n, session.order))
    row = engine.trader.region("strategies")[0]
    me = engine.trader.bytes[int(row.self_at) :][: engine.strategies[0].self_dtype.itemsize].view(
        engine.strategies[0].self_dtype
    )[0]
    return int(me["books"]), int(me["wrong"])


def test_synthetic_depth():
    session = l2_book(n_events=6_000, seed=3)
    books, wrong = replay_and_compare(session, 7)
    assert books == np.count_nonzero((session.events.kind == ev.DEPTH) & (session.events["flags"] & ev.LAST > 0))
    assert wrong == 0


@pytest.mark.real
@pytest.mark.parametrize("capture", CAPTURES)
def test_binance_capture(capture):
    """Every message leaves a book that is right, two-sided and not crossed."""
    session = import_binance(recording(capture))
    if len(session.events) > 170_000:
        session = session.slice(end=int(session.events.ts_recv[170_000]))
    books, wrong = replay_and_compare(session, 2)
    assert books > 1_000
    assert wrong == 0
