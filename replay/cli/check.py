"""``replay check``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replay.cli.app import app
from replay.cli.options import DEFAULT_STRATEGY, Json, RunCommand, Trust, as_dict, compile_scan, pair, print_json
from replay.cli.run import chosen
from replay.progress import LOADING_S, progress

if TYPE_CHECKING:
    from replay.check import Report


@app.command(cls=RunCommand)
def check(
    ctx: typer.Context,
    session: Annotated[Path, typer.Argument(help="Folder of a session.")],
    strategy: Annotated[list[str] | None, typer.Option("--strategy", "-s", help="As for replay run.", show_default=DEFAULT_STRATEGY)] = None,
    param: Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="As for replay run.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of the run: latency, fills, limits and all else that replay run can be told; replay run --show-config prints one.", show_default=False)] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Check from this time on, such as 2026-03-02T14:30.", show_default=False)] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Check up to before this time.", show_default=False)] = None,
    cuts: Annotated[int, typer.Option(min=2, help="Times at which the session is cut: half 1 ns before a decision, half at random; and half as many again at a decision.")] = 200,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at a time.", show_default="one a processor")] = os.cpu_count() or 1,
    trust: Trust = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Is a run the same every time, and does it know nothing of the future? Exit code 0: yes, 1: no.

    Repeats the run in other processes, interpreted, step by step and from a snapshot; then on copies of the session that are cut, or
    go on otherwise, after many a time. What a check sees and what it cannot: docs/check.md.

    Examples:

        replay check fixtures/equity-day --strategy ema_cross

        replay check sessions/ibm -s my.py -p qty=10 --config run.toml --from 2013-10-07T14:00 --to 2013-10-07T15:00
    """
    from replay.check import Check
    from replay.runs.config import Chosen

    strategies = tuple(Chosen(source=name, parameters=dict(pair(p) for p in params)) for name, params in ctx.meta["strategies"])
    given = {"session": str(session), "strategies": strategies, "from_": from_, "to": to}
    wanted = chosen(config, given, named=bool(strategy))
    compile_scan()
    with progress("compiling kernels, once on this machine", patience_s=LOADING_S) as told:
        checking = Check(wanted, trust=trust, compiling=lambda _, done, total: told(done, total))
    with progress("checking", "runs") as told:
        report = checking.run(cuts, jobs, told)
    if json:
        print_json(as_dict(report))
    else:
        _print(report)
    raise typer.Exit(0 if report.ok else 1)


def _print(r: Report) -> None:
    from rich.table import Table

    from replay.show import console

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for part in r.parts:
        table.add_row(part.name, part.verdict, part.done)
        for text in part.found:
            table.add_row("", "", text)
    out = console()
    out.print(f"{r.session}   {r.events:,} events, {r.start} to {r.end}   {' '.join(r.strategies)}   {r.decisions:,} decisions")
    out.print(table)
    out.print(f"{'PASS' if r.ok else 'FAIL'}   in {r.elapsed_s:.1f} s")
