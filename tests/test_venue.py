"""The simulated venue: scenario files, a naive twin, and what no fill may ever do."""

import os
from pathlib import Path

import pytest
import twins
from floor import TIFS, Scenario, Venue
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replay import events as ev
from replay.data import synth
from replay.engine import Engine
from replay.strategy import load
from replay.trader import layout as T
from replay.trader import orders as O
from replay.trader.output import OUT_NEW, OUT_REPORT
from replay.venue.setup import Leg, Profile

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_scenario(path):
    Scenario(path.read_text()).run()


# --- against the naive twin -----------------------------------------------------------------------------------------------------
CALM = settings(deadline=None, max_examples=int(os.environ.get("REPLAY_TEST_EXAMPLES", "150")))
px, size = st.integers(98, 104), st.integers(0, 12)
QUOTE = st.tuples(st.just("quote"), px, size, px, size)
OPS = st.one_of(
    QUOTE,
    QUOTE,
    st.tuples(st.just("quote"), st.integers(98, 100), st.integers(1, 12), st.integers(101, 104), st.integers(1, 12)),
    st.tuples(st.just("print"), st.sampled_from([-1, 0, 1]), px, st.integers(1, 12)),
    st.tuples(
        st.just("new"), st.sampled_from([-1, 1]), st.integers(1, 12), st.one_of(px, px, st.none()),
        st.sampled_from(["day", "day", "ioc", "fok"]), st.booleans(), st.sampled_from([False, False, False, True]),
    ),
    st.tuples(st.just("new"), st.sampled_from([-1, 1]), st.integers(1, 12), px, st.just("day"), st.just(False), st.just(False)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("replace"), st.integers(0, 9), st.integers(1, 14), px),
)  # fmt: skip


@CALM
@given(st.lists(OPS, max_size=40))
@example([("quote", 100, 9, 102, 9), ("new", 1, 5, 100, "day", False, False), ("quote", 99, 9, 102, 9), ("print", -1, 100, 3)])
@example([("quote", 100, 9, 102, 9), ("new", -1, 5, 103, "day", False, False), ("quote", 100, 9, 102, 0), ("print", 1, 103, 3)])
def test_l1_against_the_twin(ops):
    fast, naive, handles = Venue("l1"), twins.Venue(), []
    displayed = printed = 0
    traded = {}
    for k, (op, *args) in enumerate(ops):
        naive.out = []
        if op == "new":
            side, qty, limit, tif, post, reduce = args
            post = post and limit is not None and tif == "day"
            if len(handles) == 40:
                continue
            handles.append((k + 1) << T.SLOT_BITS | len(handles) + 1)
            flags = (T.POST_ONLY if post else 0) | (T.REDUCE_ONLY if reduce else 0)
            kind = T.MARKET if limit is None else T.LIMIT
            got = fast.new(handles[-1], side, qty, kind, limit or 0, tif=TIFS[tif], flags=flags)
            naive.new(handles[-1], side, qty, limit, k, tif, post, reduce)
        elif op in ("cancel", "replace"):
            handle = handles[args[0] % len(handles)] if handles else 7 << T.SLOT_BITS | 50
            got = getattr(fast, op)(handle, *args[1:])
            getattr(naive, op)(handle, *args[1:], *([k] if op == "replace" else []))
        elif op == "quote":
            got = fast.quote(*args)
            displayed += args[1] + args[3]
            naive.quote(*args)
        else:
            got = fast.trade(*args)
            printed += args[2]
            naive.print(*args)
        assert [r[:4] for r in got] == naive.out, op
        for handle, kind, qty, _, cum in got:
            traded[handle] = traded.get(handle, 0) + (qty if kind == "trade" else 0)
            assert cum == traded[handle] or kind.endswith("_rejected")
        buys, sells, _ = fast.resting()
        assert (buys, sells) == tuple([o["handle"] for o in naive.best(side)] for side in (1, -1))
        assert sum(traded.values()) <= displayed + printed  # I9


# --- a whole run ----------------------------------------------------------------------------------------------------------------
def fills_of(engine):
    out = engine.output()
    sent = {int(r.a): int(r.ts_recv) for r in out[out.kind == OUT_NEW]}
    fills = out[(out.kind == OUT_REPORT) & (out["flags"] >> 8 == O.EXEC_TRADE)]
    return sent, fills


@pytest.mark.parametrize(("name", "level"), [("passive_quoting", "l1"), ("passive_quoting", "l2"), ("ema_cross", "l1")])
def test_no_fill_before_its_order_could_be_there(name, level):
    session = synth.equity_day(("A",), 6_000, seed=3) if level == "l1" else synth.l2_book(6_000, seed=3)
    given = {"fast": 20, "slow": 80, "warmup": 100} if name == "ema_cross" else {}
    legs = {"entry": Leg("lognormal", 3_000_000, 0.5), "response": Leg("constant", 2_000_000)}
    engine = Engine(session, [load(name, given)], Profile(**legs)).run()
    sent, fills = fills_of(engine)
    assert len(fills) > 20
    entry = min(int(r.ts_recv) - sent[int(r.a)] for r in fills)
    assert entry > 2_000_000  # there and back, and the way there takes at least a nanosecond
    engine = Engine(
        session, [load(name, given)], Profile(entry=Leg("constant", 3_000_000), response=Leg("constant", 2_000_000))
    ).run()
    sent, fills = fills_of(engine)
    assert min(int(r.ts_recv) - sent[int(r.a)] for r in fills) >= 5_000_000
    rows = session.events
    depth, trades = rows[rows.kind == ev.DEPTH], rows[rows.kind == ev.TRADE]
    quotes = rows[rows.kind == ev.QUOTE]
    there = int(quotes.b.sum() + quotes.d.sum() + trades.b.sum() + depth.b.sum())
    assert int(fills.b.sum()) <= there
    h = engine.trader.header
    assert int(h.c_illegal) == int(h.c_unknown) == 0
