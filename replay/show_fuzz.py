"""What ``replay fuzz`` prints."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from replay.fuzz.report import Failure, Report
from replay.show import labelled


def render(r: Report) -> RenderableType:
    """The report for people to read: coverage, then what broke."""
    per = f"{r.per_s:,.0f} a second" if r.schedules > 1 else ""
    last = f" to {r.first + r.schedules - 1:,}" if r.schedules > 1 else ""
    head = [
        labelled("session", r.session, " ".join(r.strategies)),
        labelled("schedules", f"{r.first:,}{last} of seed {r.seed}", f"{r.inputs:,} inputs in {r.elapsed_s:.1f} s", per),
        labelled("digest", r.digest, f"sources {r.source}"),
    ]
    tables = [_counts("fault struck an order that was", r.struck), _counts("report reached an order that was", r.arrived)]
    end = [*_failure(r.failure)] if r.failure else [Text("PASS   nothing broke")]
    return Group(*head, *tables, *end)


def _counts(title: str, counts: dict[str, dict[str, int]]) -> Table:
    states = list(dict.fromkeys(s for row in counts.values() for s in row))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(title)
    for state in states:
        table.add_column(state, justify="right")
    for name, row in counts.items():
        table.add_row(name, *(f"{row.get(s, 0):,}" if row.get(s) else "" for s in states))
    return table


def _failure(f: Failure):
    yield Text(f"FAIL   schedule {f.schedule}: {f.what}")
    if f.plan:
        yield labelled("plan", f.plan, f"{len(f.faults)} faults left", "; ".join(f.faults))
    if f.story:
        s = f.story
        yield labelled("input", f"{s.input:,} at {s.at}", s.event)
        for k, text in enumerate(s.before):
            yield labelled("before" if k == 0 else "", text)
        for k, text in enumerate(s.said):
            yield labelled("said" if k == 0 else "", text)
        if s.struck:
            yield labelled("struck", " · ".join(f"{kind} {n:,}" for kind, n in s.struck.items()))
    if f.command:
        yield labelled("again", f.command)
    if f.plan and f.story and f.story.order:
        folder = "runs/" + f.plan.removesuffix(".toml")
        yield labelled("explain", f"replay run --config {f.plan} --out {folder}; replay explain {folder} {f.story.order}")
