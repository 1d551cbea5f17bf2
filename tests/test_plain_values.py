"""What a plain strategy is handed may be kept, and nothing it reaches is writable memory of the trader."""

import ctypes

import numpy as np
import pytest

import replay
from replay import Strategy, zscore
from replay.data.synth import equity_day

DAY = equity_day(("A", "B"), 2_000, seed=5)
SEEN = {}


class Keeper(Strategy):
    """Keeps every event, and the fields that it had when it came."""

    def on_start(self, ctx):
        SEEN.clear()

    def on_quote(self, ctx, q):
        SEEN.setdefault("quotes", []).append((q, (q.instrument, q.bid_px, q.bid_sz, q.ask_px, q.ask_sz, q.ts_event)))
        if len(SEEN["quotes"]) % 50 == 1:
            ctx.market(q.instrument, 1)

    def on_trade(self, ctx, t):
        SEEN.setdefault("trades", []).append((t, (t.instrument, t.px, t.size, t.side, t.ts_event)))

    def on_order(self, ctx, r):
        SEEN.setdefault("reports", []).append((r, (r.handle, r.last_qty, r.last_px, r.flags)))


def test_a_kept_event_stays_what_it_was():
    replay.run(DAY, Keeper)
    for q, was in SEEN["quotes"]:
        assert (q.instrument, q.bid_px, q.bid_sz, q.ask_px, q.ask_sz, q.ts_event) == was
    for t, was in SEEN["trades"]:
        assert (t.instrument, t.px, t.size, t.side, t.ts_event) == was
    for r, was in SEEN["reports"]:
        assert (r.handle, r.last_qty, r.last_px, r.flags) == was
    assert len({id(q) for q, _ in SEEN["quotes"]}) == len(SEEN["quotes"]) > 100 and SEEN["reports"]


class Forgetful(Strategy):
    """Keeps nothing: the object is used again."""

    def on_start(self, ctx):
        SEEN["ids"] = set()

    def on_quote(self, ctx, q):
        SEEN["ids"].add(id(q))


def test_an_event_that_is_not_kept_costs_no_object():
    replay.run(DAY, Forgetful)
    assert len(SEEN["ids"]) == 1


class Tamperer(Strategy):
    """Writes to everything it can reach from its arguments."""

    def features(self):
        return {"z": zscore("mid", "10s")}

    def on_quote(self, ctx, q):
        q.bid_px = 1  # its own copy: nobody else sees that
        for thing in reached(ctx):
            tamper(thing)
        tamper(ctx.book(q.instrument))


def reached(x, depth=0):
    """Everything behind the attributes of `x`, private ones too."""
    if depth > 3 or isinstance(x, int | float | str | bytes | type(None)):
        return
    yield x
    for part in x if isinstance(x, list | tuple) else getattr(x, "__dict__", {}).values():
        yield from reached(part, depth + 1)


def tamper(x):
    if isinstance(x, ctypes.Structure):
        for name, *_ in type(x).__mro__[1]._fields_:
            with pytest.raises(AttributeError, match="read only"):
                setattr(x, name, 7)
    if isinstance(x, np.ndarray) and x.size:
        with pytest.raises(ValueError, match="read-only"):
            x[0] = x[0]
    if isinstance(x, memoryview):
        assert x.readonly


class Reader(Strategy):
    def features(self):
        return {"z": zscore("mid", "10s")}

    def on_quote(self, ctx, q):
        ctx.book(q.instrument)


def test_nothing_that_a_strategy_reaches_is_writable():
    told = replay.run(DAY.slice(end=DAY.manifest.start_ns + 600 * 10**9), Tamperer)
    plain = replay.run(DAY.slice(end=DAY.manifest.start_ns + 600 * 10**9), Reader)
    assert told.digest == plain.digest
