"""``replay run``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replay.cli.app import app
from replay.cli.options import (
    DEFAULT_STRATEGY,
    Json,
    RunCommand,
    Seed,
    Trust,
    as_dict,
    compile_scan,
    generate,
    make_profile,
    money,
    open_session,
    pair,
    print_json,
    time_ns,
)
from replay.errors import ReplayError
from replay.progress import LOADING_S, progress

if TYPE_CHECKING:
    from replay.engine import Engine


class Fill(StrEnum):
    realistic = "realistic"
    hftbacktest = "hftbacktest"


@app.command(cls=RunCommand)
def run(
    ctx: typer.Context,
    session: Annotated[Path | None, typer.Argument(help="Folder of a session, or of a journal; left out: a small generated one.", show_default=False)] = None,
    strategy: Annotated[list[str] | None, typer.Option("--strategy", "-s", help="Name of an example, FILE.py or FILE.py:Class. Again for more on one account.", show_default=DEFAULT_STRATEGY)] = None,
    param: Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="Parameter of the --strategy before it (the first one, where none is before it).")] = None,
    latency: Annotated[str, typer.Option(help="Entry and response leg, as 1ms; or legs by name: feed=recorded,entry=1ms,response=lognormal:1ms:0.5")] = "1ms",
    fill: Annotated[Fill, typer.Option(help="Fill profile: docs/assumptions.md.")] = Fill.realistic,
    queue: Annotated[str, typer.Option(help="Queue model of the hftbacktest profile: risk_averse, log, log2, or power, power2, power3 with an exponent as power3:2.")] = "risk_averse",
    limits: Annotated[Path | None, typer.Option(help="TOML file of limits: docs/limits.md. Left out: none.", show_default=False)] = None,
    initial_capital: Annotated[str, typer.Option(metavar="MONEY", help="Cash at the start, in the currency of the session's first symbol.")] = "10000",
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Replay from this time on, such as 2026-03-02T14:30 (UTC unless it says otherwise).", show_default=False)] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Replay up to before this time.", show_default=False)] = None,
    seed: Seed = 1,
    trust: Trust = False,
    json: Json = False,
    journal: Annotated[bool, typer.Option("--journal", help="Also print what the trader said: orders, refusals, reports, changes of state.")] = False,
) -> None:  # fmt: skip
    """Replay a session through strategies and print what they did. Without arguments: ema_cross on a generated session.

    Examples:

        replay run

        replay run fixtures/equity-day --strategy ema_cross -p fast=200 -p slow=1000

        replay run sessions/ibm -s my.py -s my.py:Other -p qty=10 --limits limits.toml --latency 5ms --json
    """
    from replay.engine import Engine
    from replay.strategy import load
    from replay.trader.limits import Limits

    profile = make_profile(fill.value, queue, latency, seed)
    loaded = [load(name, dict(pair(p) for p in params)) for name, params in ctx.meta["strategies"]]
    rules = Limits.load(limits) if limits else Limits()
    capital = money(initial_capital)
    compile_scan()
    data = open_session(session, trust) if session else generate("equity", 50_000, seed)
    if from_ or to:
        data = data.slice(time_ns(from_, "--from"), time_ns(to, "--to"))
    with progress("compiling kernels, once on this machine", patience_s=LOADING_S) as told:
        engine = Engine(
            data,
            loaded,
            profile,
            rules,
            {data.instruments[0].currency: capital},
            compiling=lambda _, done, total: told(done, total),
        )
    try:
        with progress(f"replaying {data.manifest.name}", "events") as told:
            engine.run(told)
    except (ReplayError, KeyboardInterrupt):
        _report(engine, json, journal, complete=False)
        raise
    _report(engine, json, journal)


def _report(engine: Engine, json: bool, journal: bool, complete: bool = True) -> None:
    from replay import show
    from replay.summary import Summary

    summary = Summary.of(engine, complete)
    if json:
        print_json({**as_dict(summary), "journal": list(show.journal(engine))} if journal else as_dict(summary))
        return
    if journal:
        for said in show.journal(engine):
            print(*(v if k in ("at", "what") else f"{k} {v}" for k, v in said.items()))
    show.console().print(show.render(summary))
