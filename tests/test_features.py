"""Every built-in feature against a naive twin that recomputes it from the whole history at every event."""

import math
import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from feature_streams import SPECS, digest, stream

from replay import events as ev
from replay.kernel.fixed import log
from replay.trader import rows as R
from replay.trader.specs import (
    COMPONENTS,
    FeatureTable,
    Spec,
    bar,
    duration_ns,
    ema,
    mean,
    ofi,
    ret,
    trade_flow,
    volume,
    vwap,
    zscore,
)

K = 64


def width(span: int) -> int:
    return -(-span // K)


def quote_value(source: int, e) -> float | None:
    bid, bid_sz, ask, ask_sz = int(e.a), int(e.b), int(e.c), int(e.d)
    if source == R.BID:
        return float(bid) if bid_sz else None
    if source == R.ASK:
        return float(ask) if ask_sz else None
    if not (bid_sz and ask_sz):
        return None
    return {R.MID: (bid + ask) / 2, R.WIDTH: float(ask - bid), R.MICRO: bid + (ask - bid) * (bid_sz / (bid_sz + ask_sz))}.get(
        source
    )


def observed(history: list, source: int, extreme: int = 0) -> list[tuple[int, float, int]]:
    """(time, value, size) of each observation of a source; of bars the close, or the high (`extreme` 1) or low (-1)."""
    out = []
    for e in history:
        x = size = None
        if e.kind == ev.QUOTE:
            x, size = quote_value(source, e), 0
        elif e.kind == ev.TRADE and source == R.LAST_TRADE:
            x, size = float(e.a), int(e.b)
        elif e.kind == ev.BAR and source == R.BAR_CLOSE:
            x, size = float(e.d), int(e.id)
        if e.kind == ev.BAR and source == R.BAR_CLOSE and extreme:
            x = float(e.b if extreme > 0 else e.c)
        if x is not None:
            out.append((int(e.ts_recv), x, size))
    return out


def since_open(history: list) -> list:
    opens = [k for k, e in enumerate(history) if e.kind == ev.PHASE]
    return history[opens[-1] :] if opens else history


def deviation(code: int, xs: list[float]) -> float:
    exact = [Fraction(x) for x in xs]
    m = sum(exact) / len(exact)
    var = sum((x - m) ** 2 for x in exact) / len(exact)
    if code in (R.VARIANCE, R.VARIANCE_N):
        return float(var)
    return float(exact[-1] - m) / math.sqrt(var) if var else 0.0


def series(spec: Spec, history: list, now: int):
    """(value or None, ready): None keeps the value before."""
    anchored = spec.code in (R.SESSION_RETURN, R.RETURN_ZSCORE)
    extreme = {R.HIGHEST: 1, R.LOWEST: -1}.get(spec.code, 0)
    obs = observed(since_open(history) if anchored else history, spec.source, extreme)
    if spec.code == R.RETURN_ZSCORE:
        obs = returns(obs, width(spec.p1))
    if not obs:
        return None, False
    xs = [x for _, x, _ in obs]
    if spec.code == R.SESSION_RETURN:
        return xs[-1] / xs[0] - 1.0, True
    if spec.code == R.EMA:
        alpha, n = 2.0 / (spec.p0 + 1.0), spec.p0
        v, rest = (xs[0], xs[1:]) if not spec.p1 else (sum(xs[:n]) / len(xs[:n]), xs[n:])
        for x in rest:
            v += alpha * (x - v)
        return v, len(xs) >= n
    if spec.code in (R.MEAN_N, R.VARIANCE_N, R.ZSCORE_N):
        held = xs[-spec.p0 :]
        value = math.fsum(held) / len(held) if spec.code == R.MEAN_N else deviation(spec.code, held)
        return value, len(xs) >= spec.p0
    w = width(spec.p0)
    b, b0 = now // w, obs[0][0] // w
    if spec.code == R.RETURN:
        old = [x for t, x, _ in obs if t < (b - 64) * w]
        return xs[-1] / (old[-1] if old else xs[0]) - 1.0, b - b0 >= 65
    if spec.code == R.REALISED_VOL:
        return realised(spec, obs, b, w), b - b0 >= 63
    held = [(t, x) for t, x, _ in obs if t // w >= b - 63]
    if not held:
        return None, False
    if extreme:
        return (max if extreme > 0 else min)(x for _, x in held), b - b0 >= 63
    if spec.code != R.MEAN:
        # z-score after the window rolled without an observation still speaks of the newest one
        return deviation(spec.code, [x for _, x in held]), b - b0 >= 63
    total = 0.0
    for bucket in range(b - 63, b + 1):
        part = 0.0
        for t, x in held:
            if t // w == bucket:
                part += x
        total += part
    return total / len(held), b - b0 >= 63


def returns(obs: list, w: int) -> list:
    """(time, return, 0) of each observation that has a price 64 buckets of `w` ns ago."""
    out = []
    for k, (t, x, _) in enumerate(obs):
        b = t // w
        if b - obs[0][0] // w >= 65:
            out.append((t, x / [y for s, y, _ in obs[:k] if s < (b - 64) * w][-1] - 1.0, 0))
    return out


def realised(spec: Spec, obs: list, b: int, w: int) -> float:
    close = obs[0][1]
    squares = {}
    by_bucket: dict[int, float] = {t // w: x for t, x, _ in obs}
    for bucket in sorted(by_bucket):
        r = log(by_bucket[bucket] / close)
        squares[bucket] = r * r
        close = by_bucket[bucket]
    total = 0.0
    for bucket in range(b - 63, b + 1):
        total += squares.get(bucket, 0.0)
    return math.sqrt(total) * (math.sqrt(spec.p1 / (K * w)) if spec.p1 else 1.0)


def signed(history: list) -> list[tuple[int, int, int]]:
    """(time, sign, size) of each trade."""
    out, quote, last_px, last_sign = [], None, None, 0
    for e in history:
        if e.kind == ev.QUOTE:
            quote = e
        elif e.kind == ev.TRADE:
            sign = int(e.side)
            if not sign and quote is not None and quote.b and quote.d:
                sign = int(np.sign(2 * int(e.a) - int(quote.a) - int(quote.c)))
            if not sign and last_px is not None:
                sign = int(np.sign(int(e.a) - last_px)) or last_sign
            last_px, last_sign = int(e.a), sign
            out.append((int(e.ts_recv), sign, int(e.b)))
    return out


def flow(spec: Spec, history: list, now: int):
    w = width(spec.p0)
    quotes = [e for e in history if e.kind == ev.QUOTE]
    starts = quotes if spec.code == R.OFI else [e for e in history if e.kind in (ev.QUOTE, ev.TRADE)]
    if not starts:
        return None, False
    b, ready = now // w, now // w - int(starts[0].ts_recv) // w >= 63
    if spec.code == R.OFI:
        parts = [(int(q.ts_recv), cont(p, q)) for p, q in pairwise(quotes)]
        return float(sum(x for t, x in parts if t // w >= b - 63)), ready
    held = [(s, n) for t, s, n in signed(history) if t // w >= b - 63]
    bought, sold = (sum(n for s, n in held if s == sign) for sign in (1, -1))
    if spec.code == R.TRADE_FLOW:
        return float(bought - sold), ready
    return ((bought - sold) / (bought + sold) if bought + sold else 0.0), ready


def traded(spec: Spec, history: list, now: int):
    w = width(spec.p0)
    obs = observed(history, spec.source)
    if not obs:
        return None, False
    return float(sum(n for t, _, n in obs if t // w >= now // w - 63)), now // w - obs[0][0] // w >= 63


def cont(p, q) -> int:
    """The published formula, an absent side priced infinitely far away."""
    pb, pb0 = (float(x.a) if x.b else -math.inf for x in (q, p))
    pa, pa0 = (float(x.c) if x.d else math.inf for x in (q, p))
    return (pb >= pb0) * int(q.b) - (pb <= pb0) * int(p.b) - (pa <= pa0) * int(q.d) + (pa >= pa0) * int(p.d)


def micro_bar(spec: Spec, history: list, now: int):
    groups: dict[tuple[int, int], list] = {}
    session = 0
    for e in history:
        session += e.kind == ev.PHASE
        for t, x, n in observed([e], spec.source):
            groups.setdefault((session, t // spec.p0), []).append((x, n))
    building = None
    done = list(groups)
    if done and done[-1] == (session, now // spec.p0):
        building = done.pop()
    key = building if spec.p1 >= R.CURRENT else (done[-1] if done else None)
    if key is None:
        return None, False
    xs = [x for x, _ in groups[key]]
    values = [xs[0], max(xs), min(xs), xs[-1], float(sum(n for _, n in groups[key])), float(len(xs))]
    return values[spec.p1 % R.CURRENT], True


def instant(spec: Spec, history: list):
    quotes = [e for e in history if e.kind == ev.QUOTE]
    if not quotes or not (quotes[-1].b and quotes[-1].d):
        return None, False
    q = quotes[-1]
    bid, nb, ask, na = int(q.a), int(q.b), int(q.c), int(q.d)
    values = {
        R.SPREAD: float(ask - bid),
        R.RELATIVE_SPREAD: (ask - bid) / ((ask + bid) / 2),
        R.QUEUE_IMBALANCE: (nb - na) / (nb + na),
        R.MICROPRICE: float(Fraction(ask * nb + bid * na, nb + na)),
    }
    return values[spec.code], True


def session_vwap(spec: Spec, history: list):
    volume = total = 0
    for e in since_open(history):
        if spec.source == R.LAST_TRADE and e.kind == ev.TRADE:
            volume, total = volume + int(e.b), total + int(e.a) * int(e.b)
        elif spec.source == R.BAR_CLOSE and e.kind == ev.BAR:
            volume, total = volume + 3 * int(e.id), total + (int(e.b) + int(e.c) + int(e.d)) * int(e.id)
    return (float(Fraction(total, volume)), True) if volume else (None, False)


def twin(spec: Spec, history: list):
    now = int(history[-1].ts_recv)
    if spec.code <= R.LAST_SERIES:
        return series(spec, history, now)
    if spec.code <= R.LAST_INSTANT:
        return instant(spec, history)
    if spec.code <= R.TRADE_IMBALANCE:
        return flow(spec, history, now)
    if spec.code == R.TRADED:
        return traded(spec, history, now)
    return session_vwap(spec, history) if spec.code == R.VWAP else micro_bar(spec, history, now)


BIT_EQUAL = {R.MEAN, R.EMA, R.RETURN, R.REALISED_VOL, R.SESSION_RETURN, R.SPREAD, R.RELATIVE_SPREAD, R.QUEUE_IMBALANCE, R.OFI}
BIT_EQUAL |= {R.HIGHEST, R.LOWEST, R.TRADED, R.TRADE_FLOW, R.TRADE_IMBALANCE, R.MICRO_BAR}


@pytest.mark.parametrize(("seed", "px"), [(1, 1_000_000), (2, 50), (3, 10**7)])
def test_against_the_naive_twin(seed, px):
    events = stream(seed, 260, px)
    values, ready = FeatureTable([(0, s) for s in SPECS]).play(events)
    history = [events[k] for k in range(len(events))]
    seen_ready = set()
    for j, spec in enumerate(SPECS):
        before = 0.0
        for k in range(len(events)):
            want, want_ready = twin(spec, history[: k + 1])
            want = before if want is None else want
            got = values[k, j]
            assert ready[k, j] == want_ready, (str(spec), k)
            if spec.code in BIT_EQUAL:
                assert got == want, (str(spec), k)
            else:
                # of returns the spread may be a millionth of their size
                assert got == pytest.approx(want, rel=1e-8 if spec.code == R.RETURN_ZSCORE else 1e-12, abs=1e-12), (str(spec), k)
            before = got
            seen_ready |= {spec} if want_ready else set()
    assert seen_ready == set(SPECS)


def test_later_events_change_nothing_before():
    a, b = stream(5, 300), stream(6, 300)
    cut = 150
    b[:cut] = a[:cut]
    shift = max(0, int(a[cut - 1].ts_recv) - int(b[cut].ts_recv))
    b.ts_recv[cut:] += shift
    va, ra = FeatureTable([(0, s) for s in SPECS]).play(a)
    vb, rb = FeatureTable([(0, s) for s in SPECS]).play(b)
    assert va[:cut].tobytes() == vb[:cut].tobytes() and (ra[:cut] == rb[:cut]).all()
    assert (va[cut:] != vb[cut:]).any()


def test_instruments_do_not_mix():
    events = stream(7, 400, instruments=3)
    table = FeatureTable([(i, s) for s in SPECS for i in (2, 0, 1)])
    values, ready = table.play(events)
    for i in range(3):
        own = events[events.instrument == i]
        own.instrument[:] = 0
        alone, alone_ready = FeatureTable([(0, s) for s in SPECS]).play(own)
        rows = [table.row(i, s) for s in SPECS]
        assert values[events.instrument == i][:, rows].tobytes() == alone.tobytes()
        assert (ready[events.instrument == i][:, rows] == alone_ready).all()


def test_the_bits_depend_on_the_window_only():
    """After a gap longer than the window nothing of the past is left, not even in the last bit."""
    specs = [s for s in SPECS if s.code in (R.MEAN, R.REALISED_VOL, R.OFI, R.TRADE_FLOW, R.TRADE_IMBALANCE)]
    events = stream(8, 400)
    events.ts_recv[200:] += 10**12
    whole, _ = FeatureTable([(0, s) for s in specs]).play(events)
    warm = FeatureTable([(0, s) for s in specs])
    # carried state (closes, last quote, last sign) needs a past: a short one, ending in the same events
    part, _ = warm.play(events[100:])
    assert whole[200:].tobytes() == part[100:].tobytes()


def test_compiled_and_interpreted_agree_to_the_bit():
    root = Path(__file__).resolve().parents[1]
    env = dict(os.environ, PYTHONPATH=str(root))
    env["NUMBA_DISABLE_JIT"] = "0" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else "1"
    out = subprocess.run([sys.executable, str(root / "tests" / "feature_streams.py")], env=env, capture_output=True, text=True)
    assert out.stdout.strip() == digest(), out.stderr


def test_a_bar_is_not_seen_before_it_is_complete():
    rows = ev.empty(3)
    rows.kind[:] = ev.TRADE
    rows.ts_recv[:] = [10**9, 2 * 10**9 - 1, 2 * 10**9]
    rows.a[:], rows.b[:] = [10, 11, 50], 1
    table = FeatureTable([(0, bar("trade", "1s", "close"))])
    values, ready = table.play(rows)
    assert ready[:, 0].tolist() == [False, False, True] and values[2, 0] == 11.0


def test_session_sums_pass_int64():
    rows = ev.empty(40)
    rows.kind[:] = ev.TRADE
    rows.a[:], rows.b[:] = 9_000_000_007, 1_000_000_000
    table = FeatureTable([(0, vwap())])
    assert table.play(rows)[0][-1, 0] == 9_000_000_007.0


def test_equal_specs_share_a_row():
    table = FeatureTable([(0, ema("mid", 5)), (0, zscore("mid", "60s")), (0, ema("mid", 5)), (3, zscore("mid", 60 * 10**9))])
    assert len(table.features) == 3 and table.first.tolist() == [0, -1, -1, 2]
    assert table.features.next.tolist() == [1, -1, -1] and table.n_words == sum(s.n_words for _, s in table.index)
    assert len({zscore("mid", "60s"), zscore("mid", "1m")}) == 1
    assert table.value(0, ema("mid", 5)) == 0.0 and not table.ready(0, ema("mid", 5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean("mid"), "mean: window: expected either a window or a count, got neither"),
        (lambda: mean("mid", "1s", count=3), "got both"),
        (lambda: ema("mid", 0), "ema: n: expected an int from 1 to"),
        (lambda: ema("mid", 3, seed="x"), "ema: seed: expected one of first, mean, got 'x'"),
        (lambda: ret("-5m"), "ret: interval: expected a positive duration"),
        (lambda: ret(0), "got 0"),
        (lambda: ret(True), "got True"),
        (lambda: duration_ns("0.3ns"), "expected a positive duration"),
        (lambda: ofi("5 parsecs"), "ofi: window"),
        (lambda: trade_flow(None), "trade_flow: window"),
        (lambda: bar("bar", "1m"), "bar: source: expected one of mid, bid"),
        (lambda: bar("mid", "1m", "vwap"), "bar: component: expected one of open, high"),
        (lambda: FeatureTable([(0, "ema")]), "features: expected a Spec"),
        (lambda: FeatureTable([(0, ema("price", 3))]), "features: ema('price', 3, seed='first'): outside a run"),
        (lambda: volume("1s", "mid"), "volume: source: expected one of trade, bar, price"),
        (lambda: FeatureTable([(-1, ema("mid", 3))]), "instrument: expected an int from 0"),
    ],
)
def test_errors_are_one_line_with_what_was_expected(call, message):
    with pytest.raises(ValueError, match="(?s).") as caught:
        call()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_component_names():
    assert COMPONENTS["current_open"] == R.CURRENT and bar("mid", "1m", "count").component == R.COUNT
