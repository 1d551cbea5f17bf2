"""The report: one page that loads nothing, says what the run's figures say, and copes with runs that hold little or very much."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser

import msgspec
import numpy as np
import pyarrow as pa
import pytest

import replay
from replay.data.synth import equity_day, many_symbols
from replay.errors import StrategyError
from replay.runs.config import RunConfig
from replay.runs.report import render
from replay.runs.report.charts import FILL_MARKS
from replay.runs.result import Result
from replay.strategy import Strategy, load

DAY = equity_day(n_events=6_000, seed=4)
VOID = {"meta", "link", "br", "img", "input", "hr", "rect", "line"}


class Page(HTMLParser):
    """Checks nesting and ids while it reads; keeps text, attributes and what a browser would load."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.loads, self.text, self.script = [], [], [], [], False
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        self.loads += [attrs[k] for k in ("src", "href", "data", "poster") if attrs.get(k, "#")[0] != "#"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)


def read(run):
    page = Page(render(run))
    assert len(set(page.ids)) == len(page.ids) and page.loads == []
    return page, " ".join(" ".join(page.text).split())


class Evil(Strategy):
    """Orders once a symbol; its text parameter wants out of the page."""

    text: str = "</script><script>alert(1)</script>"
    done: replay.Each[int] = 0

    def on_quote(self, ctx, q):
        if not self.done[q.instrument]:
            self.done[q.instrument] = 1
            ctx.market(q.instrument, 10)


def test_the_page_says_what_the_summary_says():
    run = replay.run(DAY, "passive_quoting", {"qty": 20, "max_position": 100}, limits={"max_position": 90})
    page, text = read(run)
    s = run.summary
    for figure in (
        f"{s.statistics.net:+,.2f}",
        f"{s.statistics.win_rate * 100:.1f}",
        f"{s.returns.drawdown:,.2f}",
        run.digest,
        s.session.sha256,
    ):
        assert figure in text, figure
    assert f"{s.orders:,} · filled {s.filled:,}" in text and "max position 90" in text
    for title in (
        "Equity and drawdown",
        "Price and fills",
        "Where the money came from",
        "What it cost",
        "What was refused",
        "Latency",
        "What is assumed",
    ):
        assert title in text
    assert "not shown: 1 of 20 days" in text and {"equity", "price", "exposure", "latency"} <= set(page.ids)


def test_the_same_run_gives_the_same_page():
    run = replay.run(DAY, "ema_cross", {"fast": 20, "slow": 60, "warmup": 60})
    assert render(run) == render(run)


def test_text_of_others_stays_text():
    page, text = read(replay.run(DAY, Evil))
    assert "</script><script>alert(1)</script>" in text  # as text, or the parser had seen a script end
    html = render(replay.run(DAY, Evil))
    assert [html[m.start() - 300 : m.end()] for m in re.finditer("<script>alert", html)] == []
    assert "default-src &#39;none&#39;" in html
    assert not re.search(r"(src|href)\s*=\s*[\"']https?:", html.split("<script>")[0])


def test_a_run_without_orders_says_what_to_look_at():
    class Silent(Strategy):
        def on_quote(self, ctx, q):
            pass

    _, text = read(replay.run(DAY, Silent))
    assert "Nothing was traded" in text and "No order was asked for" in text
    _, text = read(replay.run(DAY, "ema_cross", {"fast": 20, "slow": 60, "warmup": 60}, limits={"max_order_qty": 1}))
    assert "Nothing was traded" in text and "Most refusals were" in text


def test_an_incomplete_run_says_so_first():
    class Broken(Strategy):
        n: replay.State[int] = 0

        def on_quote(self, ctx, q):
            self.n += 1
            if self.n == 500:
                raise ValueError("no")

    config = RunConfig()
    engine = config.engine(DAY, [load(Broken)])
    with pytest.raises(StrategyError):
        engine.run()
    _, text = read(Result.of(engine, config, complete=False))
    assert text.index("This run is incomplete") < text.index("Figures")


def test_a_very_long_run_stays_small_and_says_what_it_left_out():
    run = replay.run(DAY, "passive_quoting", {"qty": 20, "max_position": 100})
    n, fills, equity = 300_000, run.table("fills"), run.table("equity")
    start = DAY.manifest.start_ns
    big = pa.table({name: fills[name].take(pa.array(np.arange(n) % len(fills))) for name in fills.column_names})
    times = pa.array(start + np.arange(n) * 70_000_000, pa.int64()).cast(pa.timestamp("ns", tz="UTC"))
    big = big.set_column(big.column_names.index("ts_event"), "ts_event", times)
    walk = np.cumsum(np.random.default_rng(1).normal(size=n))
    long = pa.table({"ts": times, "equity": walk, "gross": walk, "net": walk, "drawdown": np.maximum.accumulate(walk) - walk})
    huge = Result(run.manifest, {**run.tables, "fills": big, "equity": long})
    page, text = read(huge)
    assert len(render(huge)) < 9_000_000 and equity.num_rows < 1000
    assert "Thinned to some 4,000 samples" in text
    marked = int(re.search(r"([\d,]+) of 300,000 fills are marked", text)[1].replace(",", ""))
    assert 0 < marked <= 2 * FILL_MARKS


def test_a_killed_run_says_when_and_why():
    run = replay.run(DAY, "passive_quoting", {"qty": 50, "max_position": 300}, limits={"max_drawdown": 5})
    assert run.summary.state == "killed"
    _, text = read(run)
    assert "Trading ended killed" in text and "drawdown" in text
    assert msgspec.to_builtins(run.manifest)["summary"]["stops"]


def test_a_page_s_size_does_not_grow_with_the_number_of_symbols():
    """Of many symbols it shows those that gained and lost most, and has all for its search; its manifest says where the rest is."""
    day = many_symbols(400, 20_000)
    run = replay.run(day, "ema_cross", {"fast": 2, "slow": 5, "warmup": 5})
    held = sorted(run.summary.positions, key=lambda h: (-h.pnl, h.strategy, h.symbol))
    assert len(held) > 300
    html = render(run)
    page = Page(html)
    text = " ".join(" ".join(page.text).split())
    assert len(html) < 3_000_000 and "and 340 more: see manifest.json" in text
    first = html.split('id="symbols"')[1].split("</tbody>")[0]
    shown = re.findall(r'<th scope="row" class="text">(\w+)</th>', first)
    assert shown == [h.symbol for h in (*held[:30], *held[-30:])]
    rows = packed(html, "symbols-data")
    assert [r[0] for r in rows] == [h.symbol for h in held]
    for h, row in zip(held, rows, strict=True):
        (part,) = (p.statistics for p in run.summary.parts if p.symbol == h.symbol)
        assert (row[1], row[5]) == (f"{part.trips:,}", f"{h.pnl:+,.2f}" if h.pnl else "0.00")


def packed(html, ident):
    """What a script element of the page holds, unpacked."""
    text = re.search(f'<script type="application/gzip" id="{ident}">([^<]*)</script>', html)[1]
    return json.loads(gzip.decompress(base64.b64decode(text)))
