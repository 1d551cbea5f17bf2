"""Every built-in feature against a naive twin that recomputes it from the whole history at every event."""

import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from feature_streams import BAR_NS, SPECS, digest, stream

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

K = 256
DAY, HOUR = 86_400 * 10**9, 3600 * 10**9


class Watched:
    """A window of `span` ns, naively: since when it is watched, what it holds; observations of one grain leave together."""

    def __init__(self, span: int, bars: bool, lead: int = 0):
        self.span, self.lead = span, lead
        self.grain = min(span, BAR_NS // 2) if bars else -(-span // K)
        self.begun, self.first, self.seen, self.cells = False, 0, 0, {}

    def open(self):
        if self.span < DAY:
            self.begun, self.cells = False, {}

    def hear(self, t: int):
        if self.begun:
            self.arrive(t)

    def arrive(self, t: int):
        if not self.begun or t - self.seen > self.span:
            self.begun, self.first = True, t - self.lead
        self.seen = t

    def add(self, t: int, x):
        self.arrive(t)
        self.cells.setdefault(t // self.grain, []).append((t, x))

    def held(self) -> list:
        return [x for cell in self.cells.values() if cell[0][0] > self.seen - self.span for _, x in cell]

    def ready(self) -> bool:
        return self.begun and self.seen - self.first >= self.span


class Counted:
    """The last `n` observations, whatever the time between."""

    def __init__(self, n: int):
        self.n, self.xs, self.first, self.begun = n, [], -math.inf, False

    def open(self):
        pass

    def hear(self, t):
        pass

    arrive = hear

    def add(self, t, x):
        self.begun = True
        self.xs.append(x)

    def held(self):
        return self.xs[-self.n :]

    def ready(self):
        return len(self.xs) >= self.n


class Closes:
    """The price an interval, or a number of observations, ago."""

    def __init__(self, span: int, count: bool, bars: bool):
        self.span, self.count = span, count
        self.grain = 0 if count else min(span, BAR_NS // 2) if bars else -(-span // K)
        self.seen, self.cells = None, []

    def open(self):
        if self.span < DAY and not self.count:
            self.seen, self.cells = None, []

    def hear(self, t: int):
        if self.count or self.seen is None:
            return
        if t - self.seen > max(self.span, HOUR):
            self.seen, self.cells = None, []
        else:
            self.seen = t

    def add(self, t: int, x: float):
        self.hear(t)
        self.seen = t
        if self.cells and not self.count and self.cells[-1][0] // self.grain == t // self.grain:
            self.cells.pop()
        self.cells.append((t, x))

    def ago(self) -> float | None:
        if self.count:
            return self.cells[-self.span - 1][1] if len(self.cells) > self.span else None
        old = [x for t, x in self.cells if t <= self.seen - self.span]
        return old[-1] if old else None


def window(spec: Spec, span: int | None = None):
    bars = spec.source == R.BAR_CLOSE and spec.code not in (R.OFI, R.TRADE_FLOW, R.TRADE_IMBALANCE)
    lead = BAR_NS if bars and spec.code != R.REALISED_VOL else 0
    return Counted(spec.p0) if spec.count else Watched(spec.p0, bars, lead)


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


def observation(e, source: int, extreme: int = 0) -> float | None:
    """What an event shows of a source; of bars the close, or the high (`extreme` 1) or low (-1)."""
    if e.kind == ev.QUOTE:
        return quote_value(source, e)
    if e.kind == ev.TRADE and source == R.LAST_TRADE and e["flags"] & ev.SETS_LAST:
        return float(e.a)
    if e.kind == ev.BAR and source == R.BAR_CLOSE:
        return float(e.b if extreme > 0 else e.c if extreme < 0 else e.d)
    return None


def opens(events) -> list[tuple[bool, bool]]:
    """Of each event whether a session opens with it, and whether the market had been closed for any time."""
    out, closed = [], 0
    for e in events:
        first = gap = False
        if e.kind == ev.PHASE and e.side == ev.OPEN:
            first, gap, closed = closed is not None, closed is not None and int(e.ts_recv) > closed, None
        elif e.kind == ev.PHASE and closed is None:
            closed = int(e.ts_recv)
        out.append((first, gap))
    return out


def deviation(code: int, xs: list[float]) -> float:
    exact = [Fraction(x) for x in xs]
    m = sum(exact) / len(exact)
    var = sum((x - m) ** 2 for x in exact) / len(exact)
    if code == R.VARIANCE:
        return float(var)
    return float(exact[-1] - m) / math.sqrt(var) if var else 0.0


def series(spec: Spec, events):
    """(value or None, ready) after each event: None keeps the value before."""
    extreme = {R.HIGHEST: 1, R.LOWEST: -1}.get(spec.code, 0)
    bars = spec.source == R.BAR_CLOSE
    if spec.code in (R.RETURN, R.RETURN_ZSCORE):
        closes = Closes(spec.p0 if spec.code == R.RETURN else spec.p1, bool(spec.count), bars)
    w = None if spec.code in (R.EMA, R.SESSION_RETURN, R.RETURN) else window(spec)
    xs, last, last_at, newest, anchor, out = [], None, -1, None, None, (None, False)
    for e, (opened, gap) in zip(events, opens(events), strict=True):
        x, t = observation(e, spec.source, extreme), int(e.ts_event if bars and e.kind == ev.BAR else e.ts_recv)
        if e.kind == ev.PHASE:
            if opened and spec.code == R.SESSION_RETURN:
                anchor, out = None, (None, False)
            if gap and w is not None:
                w.open()
                out = (None, False) if not spec.count and spec.p0 < DAY else out
            if gap and spec.code in (R.RETURN, R.RETURN_ZSCORE):
                closes.open()
                out = (None, False) if not spec.count else out
            yield out
            continue
        if e.kind == ev.CUSTOM or (bars and x is None):
            yield out
            continue
        if spec.code == R.EMA:
            if x is not None:
                xs.append(x)
                alpha, n = 2.0 / (spec.p0 + 1.0), spec.p0
                v, rest = (xs[0], xs[1:]) if not spec.p1 else (sum(xs[:n]) / len(xs[:n]), xs[n:])
                for y in rest:
                    v += alpha * (y - v)
                out = v, len(xs) >= n
        elif spec.code == R.SESSION_RETURN:
            if x is not None:
                anchor = (float(e.a) if bars else x) if anchor is None else anchor
                out = x / anchor - 1.0, True
        elif spec.code == R.RETURN:
            if x is not None:
                closes.add(t, x)
            else:
                closes.hear(t)
            ago = closes.ago() if closes.seen is not None or spec.count else None
            out = (None, False) if ago is None else (closes.cells[-1][1] / ago - 1.0, True)
        elif spec.code == R.RETURN_ZSCORE:
            ago = None
            if x is None:
                if closes.seen is not None and t - closes.seen <= max(spec.p1, HOUR):
                    closes.seen = t
            else:
                closes.add(t, x)
                ago = closes.ago()
            if ago is not None:
                newest = x / ago - 1.0
                w.add(t, newest)
            else:
                w.hear(t)
            held = w.held()
            value = None
            if held:
                value = deviation(spec.code, held) if held[-1] == newest else deviation(spec.code, [*held])
            out = value, bool(held) and w.ready() and (x is None or ago is not None)
            if x is None and spec.count:
                out = value, out[1]
        elif spec.code == R.REALISED_VOL:
            if x is None:
                w.hear(t)
            else:
                w.arrive(t)
                if last is not None and w.first <= last_at:
                    r = log(x / last)
                    w.add(t, r * r)
                last, last_at = x, t
            total = sum(w.held()) if w.begun else None
            scale = math.sqrt(spec.p1 / spec.p0) if spec.p1 else 1.0
            out = (None if total is None else math.sqrt(total) * scale), w.ready()
        else:
            if x is None:
                w.hear(t)
            else:
                w.add(t, x)
            held = w.held() if w.begun else []
            if not held:
                out = None, False
            elif extreme:
                out = (max if extreme > 0 else min)(held), w.ready()
            elif spec.code == R.MEAN:
                out = math.fsum(held) / len(held), w.ready()
            else:
                out = deviation(spec.code, held), w.ready()
        yield out


def signs(events):
    """The sign of each trade, None of other events."""
    quote, last_px, last_sign = None, None, 0
    for e in events:
        sign = None
        if e.kind == ev.QUOTE:
            quote = e
        elif e.kind == ev.TRADE:
            sign = int(e.side)
            if not sign and quote is not None and quote.b and quote.d:
                sign = int(np.sign(2 * int(e.a) - int(quote.a) - int(quote.c)))
            if not sign and last_px is not None:
                sign = int(np.sign(int(e.a) - last_px)) or last_sign
            if e["flags"] & ev.SETS_LAST:
                last_px, last_sign = int(e.a), sign
        yield sign


def flow(spec: Spec, events):
    w, before, before_at, out = window(spec), None, -1, (None, False)
    bars = spec.code == R.TRADED and spec.source == R.BAR_CLOSE
    for e, sign, (_, gap) in zip(events, signs(events), opens(events), strict=True):
        t = int(e.ts_event if bars and e.kind == ev.BAR else e.ts_recv)
        if e.kind == ev.PHASE:
            if gap:
                w.open()
                out = out if spec.count else (None, False)
            yield out
            continue
        if e.kind == ev.CUSTOM or (bars and e.kind != ev.BAR):
            yield out
            continue
        counts = e.kind == ev.TRADE and e["flags"] & ev.COUNTS
        if spec.code == R.OFI and e.kind == ev.QUOTE:
            w.arrive(t)
            if before is not None and w.first <= before_at:
                w.add(t, cont(before, e))
            before, before_at = e, t
        elif spec.code == R.TRADED and (e.kind == ev.BAR if bars else counts):
            w.add(t, int(e.id) if bars else int(e.b))
        elif spec.code in (R.TRADE_FLOW, R.TRADE_IMBALANCE) and counts:
            w.add(t, (sign, int(e.b)))
        elif spec.code in (R.TRADE_FLOW, R.TRADE_IMBALANCE) and e.kind == ev.QUOTE:
            w.arrive(t)
        else:
            w.hear(t)
        if not w.begun:
            out = None, False
        elif spec.code in (R.OFI, R.TRADED):
            out = float(sum(w.held())), w.ready()
        else:
            bought, sold = (sum(n for s, n in w.held() if s == sign) for sign in (1, -1))
            total = bought + sold if spec.code == R.TRADE_IMBALANCE else 1
            out = ((bought - sold) / total if total else 0.0), w.ready()
        yield out


def cont(p, q) -> int:
    """The published formula, an absent side priced infinitely far away."""
    pb, pb0 = (float(x.a) if x.b else -math.inf for x in (q, p))
    pa, pa0 = (float(x.c) if x.d else math.inf for x in (q, p))
    return (pb >= pb0) * int(q.b) - (pb <= pb0) * int(p.b) - (pa <= pa0) * int(q.d) + (pa >= pa0) * int(p.d)


def micro_bar(spec: Spec, events):
    groups: dict[tuple[int, int], list] = {}
    session = 0
    done, shown = [], (None, False)
    for e, (opened, _) in zip(events, opens(events), strict=True):
        session += opened
        t = int(e.ts_recv)
        if e.kind == ev.QUOTE and quote_value(spec.source, e) is not None:
            groups.setdefault((session, t // spec.p0), []).append((quote_value(spec.source, e), 0))
        elif e.kind == ev.TRADE and spec.source == R.LAST_TRADE:
            px = float(e.a) if e["flags"] & ev.SETS_LAST else None
            groups.setdefault((session, t // spec.p0), []).append((px, int(e.b) if e["flags"] & ev.COUNTS else 0))
        looked = opened or e.kind not in (ev.PHASE, ev.CUSTOM)
        priced = [k for k, g in groups.items() if any(x is not None for x, _ in g)]
        done = [k for k in priced if looked and k != (session, t // spec.p0)] if looked else done
        now = [k for k in priced if k not in done]
        key = (now or [None])[-1] if spec.p1 >= R.CURRENT else (done or [None])[-1]
        if key is None:
            shown = None, False
        else:
            xs = [x for x, _ in groups[key] if x is not None]
            values = [xs[0], max(xs), min(xs), xs[-1], float(sum(n for _, n in groups[key])), float(len(xs))]
            shown = values[spec.p1 % R.CURRENT], True
        yield shown


def instant(spec: Spec, events):
    out = None, False
    for e in events:
        if e.kind == ev.QUOTE:
            out = None, False
            if e.b and e.d:
                bid, nb, ask, na = int(e.a), int(e.b), int(e.c), int(e.d)
                values = {
                    R.SPREAD: float(ask - bid),
                    R.RELATIVE_SPREAD: (ask - bid) / ((ask + bid) / 2),
                    R.QUEUE_IMBALANCE: (nb - na) / (nb + na),
                    R.MICROPRICE: float(Fraction(ask * nb + bid * na, nb + na)),
                }
                out = values[spec.code], True
        yield out


def session_vwap(spec: Spec, events):
    volume = total = 0
    for e, (opened, _) in zip(events, opens(events), strict=True):
        if opened:
            volume = total = 0
        if spec.source == R.LAST_TRADE and e.kind == ev.TRADE and e["flags"] & ev.COUNTS:
            volume, total = volume + int(e.b), total + int(e.a) * int(e.b)
        elif spec.source == R.BAR_CLOSE and e.kind == ev.BAR:
            volume, total = volume + 3 * int(e.id), total + (int(e.b) + int(e.c) + int(e.d)) * int(e.id)
        yield (float(Fraction(total, volume)), True) if volume else (None, False)


def twin(spec: Spec, events):
    if spec.code <= R.LAST_SERIES:
        return series(spec, events)
    if spec.code <= R.LAST_INSTANT:
        return instant(spec, events)
    if spec.code <= R.TRADED:
        return flow(spec, events)
    return session_vwap(spec, events) if spec.code == R.VWAP else micro_bar(spec, events)


BIT_EQUAL = {R.EMA, R.RETURN, R.SESSION_RETURN, R.SPREAD, R.RELATIVE_SPREAD, R.QUEUE_IMBALANCE, R.OFI}
BIT_EQUAL |= {R.HIGHEST, R.LOWEST, R.TRADED, R.TRADE_FLOW, R.TRADE_IMBALANCE, R.MICRO_BAR}


@pytest.mark.parametrize(("seed", "px"), [(1, 1_000_000), (2, 50), (3, 10**7)])
def test_against_the_naive_twin(seed, px):
    events = stream(seed, 700, px)
    values, ready = FeatureTable([(0, s) for s in SPECS], [BAR_NS]).play(events)
    seen_ready = set()
    for j, spec in enumerate(SPECS):
        before = 0.0
        for k, (want, want_ready) in enumerate(twin(spec, events)):
            want = before if want is None else want
            got = values[k, j]
            assert ready[k, j] == want_ready, (str(spec), k)
            if spec.code in BIT_EQUAL:
                assert got == want, (str(spec), k)
            else:
                # of returns the spread may be a millionth of their size
                assert got == pytest.approx(want, rel=1e-8 if spec.code == R.RETURN_ZSCORE else 1e-11, abs=1e-12), (str(spec), k)
            before = got
            seen_ready |= {spec} if want_ready else set()
    assert seen_ready == set(SPECS)


def test_later_events_change_nothing_before():
    a, b = stream(5, 300), stream(6, 300)
    cut = 150
    b[:cut] = a[:cut]
    shift = max(0, int(a[cut - 1].ts_recv) - int(b[cut].ts_recv))
    b.ts_recv[cut:] += shift
    va, ra = FeatureTable([(0, s) for s in SPECS], [BAR_NS]).play(a)
    vb, rb = FeatureTable([(0, s) for s in SPECS], [BAR_NS]).play(b)
    assert va[:cut].tobytes() == vb[:cut].tobytes() and (ra[:cut] == rb[:cut]).all()
    assert (va[cut:] != vb[cut:]).any()


def test_instruments_do_not_mix():
    events = stream(7, 400, instruments=3)
    table = FeatureTable([(i, s) for s in SPECS for i in (2, 0, 1)], [BAR_NS] * 3)
    values, ready = table.play(events)
    for i in range(3):
        own = events[events.instrument == i]
        own.instrument[:] = 0
        alone, alone_ready = FeatureTable([(0, s) for s in SPECS], [BAR_NS]).play(own)
        rows = [table.row(i, s) for s in SPECS]
        assert values[events.instrument == i][:, rows].tobytes() == alone.tobytes()
        assert (ready[events.instrument == i][:, rows] == alone_ready).all()


def test_nothing_of_the_past_is_left_behind_a_silence():
    """After a gap longer than the window nothing of the past is left, not even in the last bit."""
    sums = (R.MEAN, R.REALISED_VOL, R.OFI, R.TRADE_FLOW, R.TRADE_IMBALANCE)
    specs = [s for s in SPECS if s.code in sums and not s.count and s.source != R.BAR_CLOSE]
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
    rows.a[:], rows.b[:], rows["flags"][:] = [10, 11, 50], 1, ev.PRINT
    table = FeatureTable([(0, bar("trade", "1s", "close"))])
    values, ready = table.play(rows)
    assert ready[:, 0].tolist() == [False, False, True] and values[2, 0] == 11.0


def test_session_sums_pass_int64():
    rows = ev.empty(40)
    rows.kind[:] = ev.TRADE
    rows.a[:], rows.b[:], rows["flags"][:] = 9_000_000_007, 1_000_000_000, ev.PRINT
    table = FeatureTable([(0, vwap())])
    assert table.play(rows)[0][-1, 0] == 9_000_000_007.0


def test_equal_specs_share_a_row():
    table = FeatureTable([(0, ema("mid", 5)), (0, zscore("mid", "60s")), (0, ema("mid", 5)), (3, zscore("mid", 60 * 10**9))])
    assert len(table.features) == 3 and table.first.tolist() == [0, -1, -1, 2]
    assert table.features.next.tolist() == [1, -1, -1] and table.n_words == int(table.features.n_words.sum())
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
