"""What no fill on quotes, depth or prints may ever be, whatever the orders: better than what is displayed or printed, more than it, or
worse than its limit. The bounds are read off the session's rows, not off an engine; and money is conserved."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay import DAY, FOK, GTC, IOC, POST_ONLY, Strategy
from replay import events as ev
from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.engine import Engine
from replay.plain import PlainStrategy
from replay.runs.tables import tables
from replay.trader import orders as O
from replay.venue.setup import Profile

T0, STEP = 1_780_000_000 * 10**9, 10**7
CALM = settings(deadline=None, max_examples=int(os.environ.get("REPLAY_TEST_EXAMPLES", "60")))
KINDS = ("both", "quotes", "prints", "l2")


class Asks(Strategy):
    """Sends what it is given, by the number of the event that wakes it."""

    def __init__(self, asks=()):
        self.asks, self.n, self.answers = dict(asks), 0, []

    def act(self, ctx):
        for name, *args in self.asks.get(self.n, ()):
            self.answers.append(getattr(ctx, name)(0, *args))
        self.n += 1

    def on_quote(self, ctx, q):
        self.act(ctx)

    def on_trade(self, ctx, t):
        self.act(ctx)

    def on_book(self, ctx, d):
        self.act(ctx)


def session(kind, moves):
    """A walk of `moves` (step of the mid, half spread, size, size, print's place, print's size), by the kind of data that shows it."""
    mid, rows = 1000, []
    for k, (step, half, near, far, place, printed) in enumerate(moves):
        mid = max(50, mid + step)
        bid, ask, t = mid - half, mid + half, T0 + k * STEP
        if kind in ("both", "quotes"):
            rows.append((t, ev.QUOTE, 0, bid, near, ask, far, ev.LAST))
        if kind == "l2":
            rows.append((t, ev.DEPTH, 0, 0, 0, ev.CLEAR, 0, 0))
            for n in range(3):
                rows.append((t, ev.DEPTH, 1, bid - n, near + n, ev.SET, 0, 0))
                rows.append((t, ev.DEPTH, -1, ask + n, far + n, ev.SET, 0, ev.LAST if n == 2 else 0))
        if kind != "quotes" and (printed or kind == "prints"):
            side = (-1, 0, 1)[place % 3]
            px = bid - place if side < 0 else ask + place if side > 0 else mid
            rows.append((t + STEP // 2, ev.TRADE, side, px, max(printed, 1), 0, 0, ev.LAST | ev.PRINT))
    out = ev.empty(len(rows))
    for r, (t, k, side, a, b, c, d, flags) in zip(out, rows, strict=True):
        r.ts_event = r.ts_recv = t
        r.kind, r.side, r.a, r.b, r.c, r.d, r["flags"] = k, side, a, b, c, d, flags
    return Session.from_rows(out, [Instrument(symbol="A", tick_size="0.01")], name="bounds")


def engine(data, asks, name="realistic"):
    strategy = PlainStrategy(Asks, Asks(asks), {}, {})
    return Engine(data, [strategy], Profile(name=name), capital={"USD": Decimal(10**6)}).run()


class World:
    """What the rows say of a time: what was displayed of a side then, or at that very time; what was printed then."""

    def __init__(self, data):
        self.rows = data.events

    def displayed(self, side, t):
        """(price, size) of a side's displays at `t`."""
        r = self.rows
        book, before = {}, r[r.ts_event <= t]
        for x in before:
            if x.kind == ev.QUOTE:
                px, size = (x.a, x.b) if side > 0 else (x.c, x.d)
                book = {int(px): int(size)} if size else {}
            elif x.kind == ev.DEPTH and x.c == ev.CLEAR:
                book = {}
            elif x.kind == ev.DEPTH and x.side == side:
                book[int(x.a)] = int(x.b)
        return book

    def printed(self, t):
        r = self.rows[(self.rows.kind == ev.TRADE) & (self.rows.ts_event == t)]
        return [(int(x.a), int(x.b)) for x in r]


def bounded(data, run):
    """Every fill of a run against the rows."""
    world, said = World(data), run.output()
    orders = {int(o.a): o for o in said[said.kind == 32]}  # OUT_NEW
    fills = [(int(f.ts_event), f) for f in said[(said.kind == 36) & (said["flags"] >> 8 == O.EXEC_TRADE)]]
    book = tables(run)["fills"]
    times = book["ts_event"].cast("int64").to_pylist()
    assert len(times) == len(fills)
    by_time = {}
    for t, (_, f) in zip(times, fills, strict=True):
        side, qty, px = int(f.side), int(f.b), int(f.c)
        new = orders[int(f.a)]
        shown, prints = world.displayed(-side, t), world.printed(t)
        offers = [*shown, *(p for p, _ in prints)]
        assert offers, "nobody to trade with"
        assert side * (px - min(offers, key=lambda p: side * p)) >= 0, f"better than anybody's price: {px} of {offers}"
        kind, limit, stop = int(new["flags"]) >> 8, int(new.c), int(new.d)
        if kind in (1, 3):
            assert side * (limit - px) >= 0, "worse than its limit"
            assert px in offers or px == limit, "a price that nobody named"
        else:
            assert px in offers, "a price that nobody named"
        elected = [p for p, _ in prints if side * (p - stop) >= 0 and shown]
        if kind in (2, 3) and elected:
            assert side * (px - elected[0]) >= 0, "better than the print that elected it"
        by_time.setdefault((t, side), []).append(qty)
        most = sum(shown.values()) + sum(size for _, size in prints)
        assert sum(by_time[t, side]) <= most, "more than is there"
    conserved(run)
    return len(fills)


def conserved(run):
    h = run.trader.header
    (c,) = run.trader.region("currencies")
    assert int(c.cash) + int(c.cost) - int(c.realised) + int(c.fees) == int(c.initial)
    v, i = run.trader.region("views")[0], run.trader.region("instruments")[0]
    assert int(h.equity) == int(c.cash) + int(v.pos) * int(v.mark2) * int(i.num) // (2 * int(i.den))
    assert int(v.pos) == int(run.venue.region("books")[0].position)


side = st.sampled_from([-1, 1])
lots = st.builds(lambda s, n: s * n, side, st.integers(1, 40))
near = st.integers(985, 1015)
ASK = st.one_of(
    st.tuples(st.just("market"), lots, st.sampled_from([DAY, GTC, IOC, FOK])),
    st.tuples(st.just("limit"), lots, near, st.sampled_from([DAY, GTC, IOC, FOK])),
    st.tuples(st.just("limit"), lots, near, st.just(DAY), st.sampled_from([0, POST_ONLY])),
    st.tuples(st.just("stop"), lots, near),
    st.tuples(st.just("stop_limit"), lots, near, near),
)
MOVE = st.tuples(
    st.integers(-4, 4), st.integers(1, 3), st.integers(1, 30), st.integers(1, 30), st.integers(0, 5), st.integers(0, 30)
)
MOVES = st.lists(MOVE, min_size=4, max_size=25)
ASKS = st.dictionaries(st.integers(0, 20), st.lists(ASK, min_size=1, max_size=2), max_size=8)


@pytest.mark.parametrize("kind", KINDS)
@CALM
@given(moves=MOVES, asks=ASKS)
def test_no_fill_is_better_than_displayed_or_printed_nor_more(kind, moves, asks):
    data = session(kind, moves)
    bounded(data, engine(data, asks))


def drawn(seed):
    """One of the sessions above and its orders, from a number."""
    r = np.random.Generator(np.random.PCG64(seed))

    def n(lo, hi):
        return int(r.integers(lo, hi + 1))

    moves = [(n(-4, 4), n(1, 3), n(1, 30), n(1, 30), n(0, 5), n(0, 30)) for _ in range(60)]
    asks = {}
    for _ in range(25):
        lots = n(1, 40) * (1 if n(0, 1) else -1)
        ask = (
            ("market", lots),
            ("limit", lots, n(985, 1015)),
            ("stop", lots, n(985, 1015)),
            ("stop_limit", lots, n(985, 1015), n(985, 1015)),
        )[n(0, 3)]
        asks.setdefault(n(0, 50), []).append(ask)
    return session(KINDS[seed % 4], moves), asks


def digests():
    out = []
    for seed in range(16):
        run = engine(*drawn(seed))
        out.append([run.digest, run.state_digest, int(run.trader.header.n_fills)])
    return out


def test_interpreted_and_compiled_agree_on_them():
    here = digests()
    assert sum(fills for _, _, fills in here) > 100
    other = "0" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else "1"
    root = Path(__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}", "NUMBA_DISABLE_JIT": other}
    command = [sys.executable, "-c", "import json, test_book_bounds as t; print(json.dumps(t.digests()))"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == here
