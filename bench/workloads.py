"""The workloads: what runs, on which events, and what must come out before any time is taken.

W1 to W4 are defined as in the peers' harness (its README): W1 touches both sides of the local view on every row; W2 is an EMA
cross (1000 and 5000 quotes, after 5000) turned by market orders; W3 quotes passively at both touches, one post-only order a side;
W4 is an SMA cross (20 and 50 closes of 5-minute bars), 100 or nothing, changed by a market order at the next open.
Orders take 1 ms to the venue and reports 1 ms back. W5 is ours: 500 symbols and one strategy on all of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import bars, reference, walks
from bench.null_strategies import NullBook, NullQuotes
from bench.plain_strategies import EmaCrossPlain, NullPlain, PassiveQuotingPlain
from replay.data import synth
from replay.data.session import Session
from replay.engine import Engine
from replay.events import DEPTH, LAST, PRINT, QUOTE, TRADE, empty
from replay.strategy import load
from replay.trader.limits import Limits
from replay.trader.orders import EXEC_CANCELED, EXEC_EXPIRED, EXEC_TRADE
from replay.trader.output import OUT_REFUSED, OUT_REPORT
from replay.trader.reasons import SELF_TRADE
from replay.venue.setup import Profile

LATENCY_NS = 1_000_000
EVENTS = 2_000_000
SEED = 20261120
PROFILE = Profile(name="hftbacktest")
FREE = Profile(slippage_ppm=0, participation_ppm=0)  # W4's: whole orders at the open
#: W3 runs with every one of these on and none of them in the way
RISK = Limits(
    max_order_qty=Decimal(1000),
    max_position=Decimal(100_000),
    collar_bps=500,
    max_order_notional=Decimal(10**9),
    max_orders=100_000,
    max_drawdown=Decimal(10**6),
)
#: hftbacktest 2.4.4 on the harness's own files (its RESULTS.md), by the hash of our rows of them
KNOWN_W3 = {"orders": 127_991, "canceled": 106_478, "expired": 119, "fills": 21_392, "position": 600, "pnl_cents": 686_000}
KNOWN_W2 = {"orders": 445, "fills": 445, "position": 100, "pnl_cents": -104_100}
KNOWN_W4 = {"orders": 22_142, "fills": 22_142, "pnl_cents": 1_152_700}
HARNESS_L1, HARNESS_L2, HARNESS_BARS = "1df5f524dd76fb1c", "a0d880ba1d466628", "d1b569ff1de39c4d"


class Source(NamedTuple):
    """Events and where they come from."""

    session: Session
    text: str
    known: dict[str, int] | None  # a stored result of another engine on exactly these events


def _harness(name: str) -> tuple[Path, str] | None:
    folder = os.environ.get("PEERS_DATA")
    path = Path(folder).expanduser() / name if folder else None
    if path is None or not path.is_file():
        return None
    return path, hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def l1_source(n: int = EVENTS, seed: int = SEED) -> Source:
    """L1: the harness's `l1.npy` where ``$PEERS_DATA`` holds it, else our own events."""
    found = _harness("l1.npy")
    if not found:
        return Source(walks.l1(n, seed), f"bench/walks.py v{walks.VERSION}, seed {seed}", None)
    a = np.load(found[0])[:n]
    r, quote = empty(len(a)), a["kind"] == 0
    r.ts_event[:], r.ts_recv[:] = a["exch_ts"], a["local_ts"]
    r.kind[:], r.side[:] = np.where(quote, QUOTE, TRADE), np.where(quote, 0, a["side"])
    r["flags"][:] = np.where(quote, LAST, LAST | PRINT)
    r.a[:], r.b[:] = np.where(quote, a["bid"], a["px"]), np.where(quote, a["bid_sz"], a["sz"])
    r.c[:], r.d[:] = np.where(quote, a["ask"], 0), np.where(quote, a["ask_sz"], 0)
    whole = len(a) == EVENTS and found[1] == HARNESS_L1
    return Source(
        Session.from_rows(r, [walks.INSTRUMENT], name="l1"), f"the harness's l1.npy ({found[1]})", KNOWN_W2 if whole else None
    )


def l2_source(n: int = EVENTS, seed: int = SEED) -> Source:
    """L2: the harness's `l2.npy` and its snapshot where ``$PEERS_DATA`` holds them, else our own events."""
    found = _harness("l2.npy")
    if not found:
        return Source(walks.l2(n, seed), f"bench/walks.py v{walks.VERSION}, seed {seed}", None)
    a = np.concatenate([np.load(found[0].with_name("l2_snap.npy")), np.load(found[0])[:n]])
    r, level = empty(len(a)), a["kind"] == 0
    r.ts_event[:], r.ts_recv[:] = a["exch_ts"], a["local_ts"]
    r.kind[:], r.side[:] = np.where(level, DEPTH, TRADE), a["side"]
    ends = np.r_[np.diff(a["local_ts"]) != 0, True]  # its snapshot is one message, its other rows one each
    r["flags"][:] = np.where(ends, LAST, 0) | np.where(level, 0, PRINT)
    r.a[:], r.b[:] = a["px"], a["sz"]
    whole = len(a) == EVENTS + 40 and found[1] == HARNESS_L2
    return Source(
        Session.from_rows(r, [walks.INSTRUMENT], name="l2"), f"the harness's l2.npy ({found[1]})", KNOWN_W3 if whole else None
    )


def bars_source(n: int = EVENTS, seed: int = SEED) -> Source:
    """W4's bars: the harness's, or as many whole days as make at most `n` rows."""
    days = min(bars.DAYS, n // (bars.SYMBOLS * bars.PER_DAY))
    made = bars.walk(days, seed + 4)
    known = bars.hash_of(made) == HARNESS_BARS
    text = f"the harness's bars5m.npy ({HARNESS_BARS})" if known else f"bench/bars.py, {days} days, seed {seed + 4}"
    return Source(bars.session(made), text, KNOWN_W4 if known else None)


def many_source(n: int = EVENTS, seed: int = 1, n_symbols: int = 500) -> Source:
    """W5's events."""
    return Source(synth.many_symbols(n_symbols, n, seed), f"replay.data.synth.many_symbols({n_symbols}, {n}, {seed})", None)


class Case(NamedTuple):
    """A workload: its strategy, its events, its limits."""

    title: str
    strategy: object
    source: Callable[..., Source]
    limits: Limits = Limits()
    profile: Profile = PROFILE


CASES = {
    "w1_l1": Case("W1 null, L1", NullQuotes, l1_source),
    "w1_l2": Case("W1 null, L2", NullBook, l2_source),
    "w2": Case("W2 EMA cross, L1", "ema_cross", l1_source),
    "w3": Case("W3 passive quoting, L2", "passive_quoting", l2_source, RISK),
    "w4": Case("W4 SMA cross, 5-minute bars", "sma_cross", bars_source, RISK, FREE),
    "w5_null": Case("W5 null, 500 symbols, L1", NullQuotes, many_source),
    "w5_ema": Case("W5 EMA cross, 500 symbols, L1", "ema_cross", many_source),
    "w1_plain": Case("W1 null, L1, plain Python", NullPlain, l1_source),
    "w2_plain": Case("W2 EMA cross, L1, plain Python", EmaCrossPlain, l1_source),
    "w3_plain": Case("W3 passive quoting, L2, plain Python", PassiveQuotingPlain, l2_source, RISK),
}


def build(case: Case, session: Session, keep_output: bool = True, strategy: object = None) -> Engine:
    """An engine ready to run. The account starts with no cash and no limit forbids anything."""
    capital = {session.instruments[0].currency: Decimal(0)}
    return Engine(session, [strategy or load(case.strategy)], case.profile, case.limits, capital, keep_output=keep_output)


def counts(engine: Engine) -> dict[str, int]:
    """Orders and what became of them, and the final position of all instruments together."""
    h = engine.trader.header
    return {
        "orders": int(h.c_new),
        "fills": int(h.c_filled),
        "canceled": int(h.c_canceled),
        "expired": int(h.c_expired),
        "position": int(engine.trader.region("views").pos.sum()),
    }


def late(engine: Engine) -> dict[str, int]:
    """What arrived with or after the session's last row, while draining: hftbacktest ends with that row and never counts it.

    Read from the output records, so the engine must keep them. Raises `AssertionError` for a late fill: it would change the position.
    """
    out = engine.output()
    what = out["flags"][(out.kind == OUT_REPORT) & (out.ts_recv >= engine.session.manifest.end_ns)] >> 8
    assert not (what == EXEC_TRADE).any(), "an order filled after the last row: choose another seed or number of events"
    return {"canceled": int((what == EXEC_CANCELED).sum()), "expired": int((what == EXEC_EXPIRED).sum())}


def self_trades(engine: Engine) -> int:
    """Intents our risk refused because they could have traded with our own orders, from the output records; hftbacktest has no such check."""
    out = engine.output()
    return int((out["flags"][out.kind == OUT_REFUSED] == SELF_TRADE).sum())


def outcome(engine: Engine) -> dict[str, int]:
    """What a finished run gave, in whole numbers."""
    s, equity = engine.strategies[0], int(engine.trader.header.equity)
    assert equity % 1_000_000 == 0, "prices and sizes are whole cents and shares"
    out = counts(engine) | {"pnl_cents": equity // 1_000_000}
    if "checksum" in s.fields.state:
        own = s.instance.__dict__ if s.kind == "plain" else _record(engine)
        out |= {name: int(own[name]) for name in ("wakes", "checksum")}
    return out


def _record(engine: Engine) -> np.ndarray:
    s = engine.strategies[0]
    start = int(engine.trader.region("strategies")[0].self_at)
    return engine.trader.bytes[start : start + s.self_dtype.itemsize].view(s.self_dtype)[0]


def expected(name: str, source: Source) -> dict[str, int]:
    """What the case must give on these events: from the engine-free reference, and from another engine's stored result if there is one."""
    rows = source.session.events
    if name.startswith("w1") or name == "w5_null":
        want = reference.null(rows)
        return {k: want[k] for k in ("wakes", "checksum")} | {"orders": 0}
    if name.startswith("w2"):
        want = reference.ema_cross(rows, LATENCY_NS)
        last = reference.touches(rows)[-1]
        pnl2 = 2 * want["cash"] + want["position"] * int(last.sum())
        assert pnl2 % 2 == 0, "a position of whole hundreds"
        out = {"orders": want["orders"], "fills": want["orders"], "position": want["position"], "pnl_cents": pnl2 // 2}
        assert source.known in (None, out), f"the reference disagrees with the stored result: {out}, {source.known}"
        return out
    if name == "w4":
        out = bars.sma_cross(rows)
        assert source.known is None or source.known.items() <= out.items(), f"not the known result: {out}, {source.known}"
        return out
    if name == "w5_ema":
        want = reference.ema_cross(rows, LATENCY_NS)
        return {"orders": want["orders"], "fills": want["orders"], "position": want["position"]}
    return dict(source.known or {})


def check(name: str, engine: Engine, want: dict[str, int]) -> dict[str, int]:
    """Assert that a finished run gave what it must; returns the whole outcome."""
    got = outcome(engine)
    wrong = {k: (got[k], v) for k, v in want.items() if got[k] != v}
    assert not wrong, f"{name}: got and expected differ, no time is reported: {wrong}"
    return got
