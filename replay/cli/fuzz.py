"""``replay fuzz``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replay.cli.app import app
from replay.cli.options import (
    DEFAULT_STRATEGY,
    MOST_SEED,
    Json,
    RunCommand,
    Trust,
    as_dict,
    compile_scan,
    open_session,
    pair,
    print_json,
)
from replay.cli.run import chosen
from replay.errors import BadInput
from replay.progress import LOADING_S, progress

if TYPE_CHECKING:
    from replay.fuzz.report import Report


@app.command(cls=RunCommand)
def fuzz(
    ctx: typer.Context,
    session: Annotated[Path, typer.Argument(help="Folder of a session.")],
    strategy: Annotated[list[str] | None, typer.Option("--strategy", "-s", help="As for replay run.", show_default=DEFAULT_STRATEGY)] = None,
    param: Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="As for replay run.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of a run, as for replay run: its limits, capital and commission hold in every schedule.", show_default=False)] = None,
    schedules: Annotated[int, typer.Option(min=1, help="How many schedules.")] = 1000,
    seed: Annotated[int, typer.Option(metavar="K", help="Seed of the schedules.", min=0, max=MOST_SEED)] = 1,
    first: Annotated[int, typer.Option(min=0, help="Number of the first schedule.")] = 0,
    events: Annotated[int, typer.Option(min=8, help="About how many rows of the session a schedule has at most.")] = 600,
    jobs: Annotated[int, typer.Option(min=2, help="Processes, in pairs: both of a pair run every schedule.")] = 2,
    only: Annotated[int | None, typer.Option(metavar="N", help="Run schedule N alone, in this process, and say what breaks.", show_default=False)] = None,
    plan: Annotated[Path | None, typer.Option(help="Run the schedule in this file alone: one that an earlier fuzz has written.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="Append one line of JSON to this file: what was run, how fast, and its digest.", show_default=False)] = None,
    trust: Trust = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Run a strategy through random schedules of faults, and check after every event that the engine is right. Exit code 0: it was, 1: not.

    A schedule is a slice of the session with random faults, latencies and limits, and most have random orders beside the strategy's.
    Each runs in two processes that must agree. One that breaks an invariant is made as small as it gets, written to a file, and told.

    Examples:

        replay fuzz fixtures/equity-day -s ema_cross --schedules 500

        replay fuzz fixtures/equity-day -s my.py -p qty=10 --schedules 10000 --seed 7 --out fuzz-log.jsonl

        replay fuzz fixtures/equity-day -s my.py --plan fuzz-7-123.toml
    """
    from replay.fuzz.report import fuzzed, replayed
    from replay.runs.config import Chosen, RunConfig

    if only is not None and plan is not None:
        raise BadInput("fuzz: one of --only and --plan")
    strategies = tuple(Chosen(source=name, parameters=dict(pair(p) for p in params)) for name, params in ctx.meta["strategies"])
    base = chosen(config, {"session": str(session), "strategies": strategies}, named=bool(strategy))
    compile_scan()
    data = open_session(session, trust)
    with progress("compiling kernels, once on this machine", patience_s=LOADING_S) as told:
        base.engine(data, compiling=lambda _, done, total: told(done, total))
    if only is not None or plan is not None:
        wanted = RunConfig.load(plan) if plan else only
        with progress("shrinking", "runs") as told:
            report = replayed(data, base, wanted, seed, events, told)
    else:
        with progress("fuzzing", "schedules") as told, progress("shrinking", "runs") as shrinking:
            report = fuzzed(data, base, seed, first, schedules, events, jobs, told, shrinking)
    if out is not None:
        with out.open("a") as f:
            f.write(report.log() + "\n")
    print_json(as_dict(report)) if json else _print(report)
    raise typer.Exit(0 if report.ok else 1)


def _print(r: Report) -> None:
    from replay.show import console
    from replay.show_fuzz import render

    console().print(render(r))
