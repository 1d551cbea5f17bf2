"""What the commands print that read a recorded run: an explanation, a difference, a table."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pyarrow as pa
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from replay.data.times import utc_text
from replay.runs.checks import Check
from replay.runs.cost import INTENDED, Cost
from replay.runs.diff import Difference, Divergence
from replay.runs.explain import Explanation, Field
from replay.runs.result import Result
from replay.runs.tracking import Gap
from replay.runs.way import Way
from replay.show import RULE, labelled, number

SECOND = 10**9
MOST = 200  #: rows of an answer, or settings, that are printed


def explanation(x: Explanation) -> RenderableType:
    """An order from its cause to its cost, a line or a few for each."""
    subject = f"order {x.order}" if x.order is not None else f"refusal {x.refusal}"
    px = [f"{x.limit_px}" if x.limit_px is not None else "", f"stop {x.stop_px}" if x.stop_px is not None else ""]
    what = " ".join(p for p in (x.side.upper(), f"{x.order_qty}", x.symbol, x.ord_type, *px, x.time_in_force, *x.flags) if p)
    lines = [labelled(subject, what, x.strategy, x.group)]
    woke = f"woke {x.why.handler}" if x.why.handler else "the engine's own order"
    lines.append(labelled("why", f"{x.why.at} {x.why.event}", f"{woke}, input {x.why.input:,}"))
    lines.append(labelled("with", *(f"{name} {value}" for name, value in x.parameters.items())))
    for k, f in enumerate(x.features):
        value = "not ready" if f.value is None else f"{f.value:.6g}"
        lines.append(labelled("features" if k == 0 else "", f"{f.name} {f.symbol} {value}", f.spec))
    lines += [labelled("state" if k == 0 else "", text) for k, text in enumerate(_fields(x.state))]
    if x.refused:
        lines.append(labelled("refused", x.refused))
    checked = [_check(c) for c in x.risk or ()]
    lines += [
        labelled("risk" if k == 0 else "", text) for k, text in enumerate([*checked, *([x.risk_note] if x.risk_note else [])])
    ]
    if x.way:
        lines += _way(x.way)
    elif x.order is not None:
        lines.append(labelled("sent", "it never left: the run ended"))
    lines += [labelled("reports" if k == 0 else "", text) for k, text in enumerate(x.reports)]
    if x.cost:
        lines += _cost(x.cost)
    lines.append(labelled("checked", f"run again, its first {x.checked:,} records are the recorded ones"))
    return Group(*lines)


def _fields(fields: tuple[Field, ...]) -> Iterator[str]:
    for f in fields:
        where = f" {f.symbol}" if f.symbol else ""
        yield (
            f"{f.name}{where} {_plain(f.after)}"
            if f.before == f.after
            else f"{f.name}{where} {_plain(f.before)} → {_plain(f.after)}"
        )


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _check(c: Check) -> str:
    bound = _amount(c.bound, c.unit)
    if c.figure is None:
        return f"{c.limit} {bound}: {c.note}"
    return (
        f"{c.limit}: {'at most ' if c.at_most else ''}{_amount(c.figure, c.unit)} {'≤' if c.figure <= c.bound else '>'} {bound}"
    )


def _amount(value: int | Decimal, unit: str) -> str:
    if unit == "ns":
        return duration(int(value))
    return f"{number(value)} {unit}" if unit in ("bps", "lots") else number(value)


def duration(ns: int) -> str:
    """A length of time in the unit that suits it.

    >>> duration(900_000), duration(1_500_000_000), duration(7)
    ('0.9 ms', '1.5 s', '7 ns')
    """
    size, unit = next((s, u) for s, u in ((SECOND, "s"), (10**5, "ms"), (100, "us"), (1, "ns")) if ns >= s or s == 1)
    size = {"ms": 10**6, "us": 1000}.get(unit, size)
    return f"{Decimal(ns) / size:,.6g} {unit}"


def _way(w: Way) -> Iterator[Text]:
    met = " / ".join("none" if px is None else f"{px} x {qty}" for px, qty in ((w.bid, w.bid_qty), (w.ask, w.ask_qty)))
    yield labelled(
        "sent",
        w.sent,
        f"arrived {w.arrived} ({duration(w.latency_ns)})",
        f"met {met}" if w.bid is not None or w.ask is not None else "",
    )
    queue = f"queue ahead {w.queue_ahead:,g}" if w.queue_ahead is not None else w.queue
    yield labelled("venue", " → ".join(w.did) or "nothing at once", queue)


def _cost(c: Cost) -> Iterator[Text]:
    intended = (
        ""
        if c.slippage_bps is None
        else f"{c.slippage_bps:+.2f} bps ({c.slippage:+,.2f}) against {c.intended} {c.intended_px:,.6g}"
    )
    decision = (
        ""
        if c.decision_bps is None or c.intended == INTENDED["market"]
        else f"{c.decision_bps:+.2f} bps against mid at decision {c.decision_mid:,.6g}"
    )
    arrival = "" if c.arrival_bps is None else f"{c.arrival_bps:+.2f} bps against mid at arrival {c.arrival_mid:,.6g}"
    yield labelled(
        "cost",
        f"{c.cum_qty:,g} @ {c.avg_px:,.6g}",
        intended,
        decision,
        arrival,
        f"fees {c.fees:,.2f}",
    )
    marks = (f"{name} {'-' if bps is None else f'{bps:+.2f}'}" for name, bps in c.markout_bps.items())
    yield labelled("markout", "bps after " + " · ".join(marks))


def difference(x: Difference) -> RenderableType:
    """Two runs compared."""
    verdict = "the same: every record and every table" if x.same else f"different: digest {x.digest_a}, {x.digest_b}"
    lines: list[RenderableType] = [labelled("A", x.a), labelled("B", x.b), labelled("verdict", verdict)]
    if x.within is not None:
        gap = "" if x.share is None else f"the gap is {100 * x.share:.1f} % of the PnL expected: "
        lines.append(labelled("tracking", gap + ("within the tolerance" if x.within else "NOT within the tolerance")))
    for k, c in enumerate(x.configured[:MOST]):
        lines.append(labelled("settings" if k == 0 else "", f"{c.name}: {_or(c.a)} → {_or(c.b)}"))
    if x.first:
        lines += _divergence("record", x.first)
        if x.first_decision is None:
            lines.append(labelled("decisions", "all the same: what differs is what became of them"))
        elif (x.first_decision.a, x.first_decision.b) != (x.first.a, x.first.b):
            lines += _divergence("decision", x.first_decision)
    for k, t in enumerate(x.tables):
        what = f"in {', '.join(t.columns)}" if t.columns else ""
        lines.append(labelled("tables" if k == 0 else "", f"{t.table}: {t.rows_a:,} → {t.rows_b:,} rows", what))
    if not x.same:
        lines += [RULE, gaps(x.gaps)]
        if x.gaps[-1].slippage:
            total = x.gaps[-1]
            way = f"{total.decided:+,.2f} between the two decisions, {total.on_the_way:+,.2f} from there to the fills"
            lines.append(labelled("slippage", way))
    return Group(*lines)


def _divergence(what: str, first: Divergence) -> Iterator[Text]:
    yield labelled("parted", f"first at {what} {first.record:,}, {first.at}")
    yield from (labelled("  both", text) for text in first.before)
    yield labelled("  A", _or(first.a))
    yield labelled("  B", _or(first.b))


def gaps(found: tuple[Gap, ...]) -> Table:
    """The gap between two runs' PnL by strategy and symbol, and what it is made of, to the cent (the rest is in --json)."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("strategy")
    table.add_column("symbol")
    counts = ("fills_a", "fills_b", "matched_lots", "missed_lots", "extra_lots")
    sums = [name for name in Gap.__struct_fields__[7:] if name not in ("rounding", "decided", "on_the_way")]
    for name in (*counts, *sums):
        table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    for g in found:
        cells = (f"{getattr(g, name):,}" for name in counts), (f"{getattr(g, name):+,.2f}" for name in sums)
        table.add_row(g.strategy or "total", g.symbol, *cells[0], *cells[1])
    return table


def _or(value: str | None) -> str:
    return "nothing" if value is None else value


def forked(base: Result, run: Result, found: Difference) -> RenderableType:
    """A fork beside the run it continues."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for name in ("orders", "fills", "refused", "net", "fees", "drawdown", "equity"):
        table.add_column(name, justify="right")
    table.add_column("digest")
    for name, s in (("base", base.summary), ("fork", run.summary)):
        counts = (f"{n:,}" for n in (s.orders, s.fills, s.refused))
        table.add_row(name, *counts, number(s.pnl, signed=True), *(number(x) for x in (s.fees, s.drawdown, s.equity)), s.digest)
    return Group(labelled("fork", f"{base.path} at {run.manifest.fork.at}"), table, RULE, difference(found))


def tables(found: dict[str, dict]) -> Table:
    """The tables of a run."""
    out = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    out.add_column("table")
    out.add_column("rows", justify="right")
    out.add_column("columns")
    for name, t in found.items():
        out.add_row(name, f"{t['rows']:,}", " ".join(t["columns"]))
    return out


def table(answer: pa.Table) -> RenderableType:
    """The answer to a query: numbers to the right, times to the last ns that is not zero."""
    out = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for field in answer.schema:
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
        out.add_column(field.name, justify="right" if numeric else "left")
    for row in rows(answer.slice(0, MOST)):
        out.add_row(*(_cell(value) for value in row.values()))
    if answer.num_rows <= MOST:
        return out
    return Group(out, Text(f"and {answer.num_rows - MOST:,} more rows: --csv and --json print all", "dim"))


def whatif(found: pa.Table) -> RenderableType:
    """A line a variant (`replay.runs.whatif`), money to the cent."""
    out = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    counts = ("orders", "fills", "refused", "rejected", "halts")
    for name in ("changed", "net", "change", "drawdown", "exposure", *counts, "blind", "ended"):
        out.add_column(name, justify="left" if name in ("changed", "ended") else "right")
    for r in found.to_pylist():
        money = f"{r['net']:+,.2f}", f"{r['change']:+,.2f}", f"{r['drawdown']:,.2f}", f"{r['gross']:,.2f}"
        out.add_row(r["what"], *money, *(f"{r[name]:,}" for name in counts), f"{r['blind_s']:.0f} s", r["error"] or r["state"])
    return out


def rows(answer: pa.Table) -> list[dict[str, object]]:
    """An answer row by row; times as text, as they have more digits than Python's."""
    columns = {name: _values(answer[name]) for name in answer.column_names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(column: pa.ChunkedArray) -> list:
    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()
    return [None if ns is None else utc_text(ns) for ns in column.cast(pa.timestamp("ns")).cast(pa.int64()).to_pylist()]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.10g}" if isinstance(value, float) else str(value)
