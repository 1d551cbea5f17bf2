"""``replay run``: replay a session, print what happened, leave a folder with everything about it."""

from __future__ import annotations

import contextlib
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replay.cli.app import app
from replay.cli.options import (
    DEFAULT_STRATEGY,
    Json,
    RunCommand,
    Trust,
    as_dict,
    compile_scan,
    file_at,
    generate,
    open_session,
    pair,
    print_json,
)
from replay.errors import BadInput, ReplayError
from replay.progress import LOADING_S, progress

if TYPE_CHECKING:
    from replay.engine import Engine
    from replay.runs.config import RunConfig
    from replay.runs.result import Result

RUNS = Path("runs")
LAST = RUNS / "last"


class Fill(StrEnum):
    realistic = "realistic"
    hftbacktest = "hftbacktest"


@app.command(cls=RunCommand)
def run(
    ctx: typer.Context,
    session: Annotated[Path | None, typer.Argument(help="Folder of a session, or of a journal; left out: a small generated one.", show_default=False)] = None,
    strategy: Annotated[list[str] | None, typer.Option("--strategy", "-s", help="Name of an example, FILE.py or FILE.py:Class. Again for more on one account.", show_default=DEFAULT_STRATEGY)] = None,
    param: Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="Parameter of the --strategy before it (the first one, where none is before it).")] = None,
    latency: Annotated[str | None, typer.Option(help="Entry and response leg, as 1ms; or legs by name: feed=recorded,entry=1ms,response=lognormal:1ms:0.5", show_default="1ms")] = None,
    fill: Annotated[Fill | None, typer.Option(help="Fill profile: docs/assumptions.md.", show_default="realistic")] = None,
    queue: Annotated[str | None, typer.Option(help="Queue model of the hftbacktest profile: risk_averse, log, log2, or power, power2, power3 with an exponent as power3:2.", show_default="risk_averse")] = None,
    slippage: Annotated[str | None, typer.Option(help="Of market orders and stops that trade on bars, against us.", show_default="5bps")] = None,
    participation: Annotated[float | None, typer.Option(metavar="SHARE", help="Most of a bar's volume that our orders may have; 0: any.", show_default="0.1")] = None,
    commission: Annotated[str | None, typer.Option(help="Such as 0.005/share, 2bps, maker=1bps,taker=5bps, or alpaca: what rules charge on US equities, by date.", show_default="0")] = None,
    limits: Annotated[Path | None, typer.Option(help="TOML file of limits: docs/limits.md. Left out: none.", show_default=False)] = None,
    faults: Annotated[Path | None, typer.Option(help="TOML file of what goes wrong on the way between the market, the venue and us: docs/faults.md.", show_default=False)] = None,
    initial_capital: Annotated[str | None, typer.Option(metavar="MONEY", help="Cash at the start, in the currency of the session's first symbol.", show_default="10000")] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Replay from this time on, such as 2026-03-02T14:30 (UTC unless it says otherwise).", show_default=False)] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Replay up to before this time.", show_default=False)] = None,
    warmup: Annotated[str | None, typer.Option(metavar="TIME", help="Run this much before --from (or of the start) through the strategy with its orders blocked, such as 5d.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything drawn at random.", show_default="1")] = None,
    order_capacity: Annotated[int | None, typer.Option(metavar="N", help="Slots for orders, at least 16: where all are taken, new orders are refused.", show_default="1024")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of all of the above; what the command line says goes before it.", show_default=False)] = None,
    show_config: Annotated[bool, typer.Option("--show-config", help="Print what the options come to, as such a file, and end.")] = False,
    fork: Annotated[str | None, typer.Option(metavar="RUN@TIME", help="Continue a recorded run from a time (10:31, UTC on its first day, or a full one) with other -p, --limits or --latency, and compare.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/TIME-STRATEGY")] = None,
    trust: Trust = False,
    json: Json = False,
    journal: Annotated[bool, typer.Option("--journal", help="Also print what the trader said: orders, refusals, reports, changes of state.")] = False,
) -> None:  # fmt: skip
    """Replay a session through strategies, print what they did, and write it all into a folder with a page to look at.

    Examples:

        replay run fixtures/equity-day --strategy mean_reversion

        replay run sessions/ibm -s my.py -p qty=10 -s my.py:Other --limits limits.toml --latency 5ms --json

        replay run --config run.toml --from 2026-03-02T15:00 --warmup 30m

        replay run fixtures/equity-day --faults plan.toml

        replay run --fork runs/last@15:31 -p qty=200
    """
    from decimal import Decimal

    from replay.faults.plan import Plan
    from replay.runs.config import Chosen, money
    from replay.trader.limits import Limits

    given = {
        "session": str(session) if session else None,
        "strategies": tuple(
            Chosen(source=name, parameters=dict(pair(p) for p in params)) for name, params in ctx.meta["strategies"]
        ),
        "latency": latency,
        "fill": fill and fill.value,
        "queue": queue,
        "slippage": slippage,
        "participation": Decimal(str(participation)) if participation is not None else None,
        "commission": commission,
        "limits": Limits.load(file_at(limits, "--limits")) if limits else None,
        "faults": Plan.load(faults) if faults else None,
        "initial_capital": money(initial_capital) if initial_capital is not None else None,
        "from_": from_,
        "to": to,
        "warmup": warmup,
        "seed": seed,
        "order_capacity": order_capacity,
    }
    if fork is not None:
        from replay.cli.fork import continued
        from replay.trust import everything

        others = {"--config": config, "--show-config": show_config, "--journal": journal}
        with everything(trust):
            continued(fork, given, others, named=bool(strategy), out=out, json=json)
        return
    wanted = chosen(config, given, named=bool(strategy))
    if show_config:
        print(wanted.to_toml(), end="")
        return
    engine = prepare(wanted, trust, out)
    try:
        with progress(f"replaying {engine.session.manifest.name}", "events") as told:
            engine.run(told)
    except (ReplayError, KeyboardInterrupt):
        finish(engine, wanted, out, json, journal, complete=False)
        raise
    finish(engine, wanted, out, json, journal)


def chosen(config: Path | None, given: dict, named: bool) -> RunConfig:
    """The file's values, or the defaults, with what the command line gave before them."""
    import msgspec

    from replay.runs.config import RunConfig

    base = RunConfig.load(config) if config else RunConfig()
    if not named and config:
        parameters = given.pop("strategies")[0].parameters
        first, *rest = base.strategies
        given["strategies"] = (msgspec.structs.replace(first, parameters=first.parameters | parameters), *rest)
    try:
        return msgspec.structs.replace(base, **{name: value for name, value in given.items() if value is not None})
    except ValueError as e:
        raise BadInput(f"options: {e}") from None


def prepare(wanted: RunConfig, trust: bool, out: Path | None) -> Engine:
    """The engine of a configuration, compiled with progress; what it says goes to a file, so that a long run needs no memory."""
    import tempfile

    from replay.runs.result import check_place

    if out is not None:
        check_place(out)
    compile_scan()
    data = open_session(Path(wanted.session), trust) if wanted.session else generate("equity", 50_000, wanted.seed)
    remove_dead_spools()
    spool = Path(tempfile.mkstemp(prefix=f"replay-{os.getpid()}-", suffix=".spool")[1])
    try:
        with progress("compiling kernels, once on this machine", patience_s=LOADING_S) as told:
            return wanted.engine(data, spool=spool, compiling=lambda _, done, total: told(done, total))
    except BaseException:
        spool.unlink()
        raise


def finish(engine: Engine, wanted: RunConfig, out: Path | None, json: bool, journal: bool, complete: bool = True) -> None:
    """Print the summary, then write the folder."""
    from replay import show
    from replay.runs.result import Result
    from replay.summary import strategy_names

    try:
        result = Result.of(engine, wanted, complete)
        said = list(show.said_by(engine.output(), engine.session.instruments, strategy_names(engine))) if journal else []
        folder = saved(result, out, engine.strategies[0].name)
    finally:
        engine.outputs.remove()
    remember(folder)
    if json:
        print_json({**as_dict(result.summary), "run": str(folder), **({"journal": said} if journal else {})})
        return
    for row in said:
        print(show.line(row))
    show.console().print(show.render(result.summary))
    show.console().print(show.written(folder))


def saved(result: Result, out: Path | None, strategy: str) -> Path:
    """The run in its folder: `out`, or a new one, which is given up again where it cannot be written."""
    if out is not None:
        return result.save(out)
    folder = new_folder(strategy)
    try:
        return result.save(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


def new_folder(strategy: str) -> Path:
    """``runs/2026-11-20T164100-MeanReversion``, made and so claimed; where that is taken, with a number behind it."""
    import datetime
    import itertools

    name = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H%M%S}-{strategy}"
    RUNS.mkdir(parents=True, exist_ok=True)
    for k in itertools.count(1):
        folder = RUNS / (name if k == 1 else f"{name}-{k}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError


def remove_dead_spools() -> None:
    """Delete what runs that were killed left in the temporary folder: only ours, and only of processes that are no more."""
    import tempfile

    for path in Path(tempfile.gettempdir()).glob("replay-*-*.spool"):
        number = path.name.split("-")[1]
        with contextlib.suppress(OSError):
            if number.isdecimal() and path.stat().st_uid == os.getuid() and _dead(int(number)):
                path.unlink()


def _dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def remember(folder: Path) -> None:
    """Point ``runs/last`` at the newest run of ``runs``."""
    if folder.parent.resolve() == RUNS.resolve() and (LAST.is_symlink() or not LAST.exists()):
        draft = LAST.with_name(f".last.{os.getpid()}")
        draft.unlink(missing_ok=True)
        draft.symlink_to(folder.name)
        draft.replace(LAST)  # two runs that end at once leave one of both
