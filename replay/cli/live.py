"""``replay paper | kill | halt | resume | status | doctor | verify``."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replay.cli.app import app
from replay.cli.options import Json, RunCommand, TrustCode, file_at, finite, names, pair, print_json
from replay.errors import BadInput
from replay.progress import LOADING_S, progress

if TYPE_CHECKING:
    from replay.live.alpaca.account import Access
    from replay.live.alpaca.wire import Scale


class BrokerName(StrEnum):
    alpaca = "alpaca"


class Policy(StrEnum):
    halt = "halt"
    adopt = "adopt"


class OnStop(StrEnum):
    cancel = "cancel"
    leave = "leave"


class OnHang(StrEnum):
    kill = "kill"
    halt = "halt"


Symbols = Annotated[str | None, typer.Option(help="What to trade, such as AAPL,SPY; or BTC/USD.", show_default=False)]
Url = Annotated[
    str | None, typer.Option(help="Address of a local server (replay serve), such as http://127.0.0.1:8470.", show_default=False)
]
Keys = Annotated[
    Path | None,
    typer.Option(
        help="TOML file of APCA_API_KEY_ID and APCA_API_SECRET_KEY that only you may read; else the environment.",
        show_default=False,
    ),
]
Crypto = Annotated[
    bool, typer.Option("--crypto", help="The symbols are crypto pairs; not needed where they are written as BTC/USD.")
]
Feed = Annotated[str, typer.Option(help="Feed of stock data: iex or sip.")]
JournalDir = Annotated[Path, typer.Option("--journal", help="Folder of the journal. One that holds a run is gone on with.")]
Running = Annotated[Path, typer.Argument(help="Folder of the journal of a process that runs.")]


@app.command(cls=RunCommand)
def paper(
    ctx: typer.Context,
    symbols: Symbols = None,
    strategy: Annotated[list[str] | None, typer.Option("--strategy", "-s", help="Name of an example, FILE.py or FILE.py:Class. Again for more on one account.", show_default=False)] = None,
    param: Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="Parameter of the --strategy before it.")] = None,
    limits: Annotated[Path | None, typer.Option(help="TOML file of limits: docs/limits.md. Mandatory.", show_default=False)] = None,
    journal: JournalDir = Path("journals/paper"),
    broker: Annotated[BrokerName, typer.Option(help="Whose account.")] = BrokerName.alpaca,
    keys: Keys = None,
    url: Url = None,
    feed: Feed = "iex",
    crypto: Crypto = False,
    market_hours_only: Annotated[bool, typer.Option("--market-hours-only", help="Trade only while the broker's market is open.")] = False,
    extended_hours: Annotated[bool, typer.Option("--extended-hours", help="Limit orders that are sent while the market is closed are for the extended session; else they wait for the open.")] = False,
    policy: Annotated[Policy, typer.Option(help="Positions and cash that no order explains: halt, or adopt as a transfer.")] = Policy.halt,
    on_stop: Annotated[OnStop, typer.Option(help="Working orders when the process is told to end.")] = OnStop.cancel,
    on_hang: Annotated[OnHang, typer.Option(help="When a step of the strategy does not end: kill cancels its orders and ends the process, halt waits.")] = OnHang.kill,
    hang_s: Annotated[float, typer.Option("--hang", metavar="SECONDS", help="How long a step may take.", min=1.0, max=3600.0, callback=finite)] = 10.0,
    config: Annotated[Path | None, typer.Option(help="TOML file with any of these options; the command line comes first.", show_default=False)] = None,
    rate_limit: Annotated[int, typer.Option(help="Requests a minute the broker takes; 0: no limit (a local server).", min=0)] = 200,
    real_money: Annotated[str | None, typer.Option(metavar="ACCOUNT", help="Trade real money on this account, whose number must be given.", show_default=False)] = None,
    as_journaled: Annotated[bool, typer.Option("--as-journaled", help="Go on with the journal's own strategy and limits although the files or versions have changed.")] = False,
    faults: Annotated[Path | None, typer.Option(help="TOML file of what goes wrong with process, clock and disk; only with --url: docs/faults.md.", show_default=False)] = None,
    supervise: Annotated[bool, typer.Option("--supervise", help="Start the run again, on its journal, when its process was killed or crashed.")] = False,
    json: Json = False,
) -> int:  # fmt: skip
    """Trade a broker's paper account: the trader of replay run, on the broker's clock. SIGTERM or Ctrl-C ends it in order.

    Keys come from APCA_API_KEY_ID and APCA_API_SECRET_KEY. Every input is journaled before what follows from it is sent; started again on
    the same journal, the run goes on. docs/live.md.

    Examples:

        replay paper --strategy ema_cross --symbols AAPL,SPY --limits limits.toml --market-hours-only

        replay paper -s my.py -p qty=10 --symbols AAPL --limits limits.toml --url http://127.0.0.1:8470 --journal journals/local
    """
    if supervise:
        from replay.live.supervise import supervise as until_it_ends

        return until_it_ends([a for a in sys.argv[1:] if a != "--supervise"])
    from replay.live import config as options

    o = options.merge(ctx, config)
    found = (
        ctx.meta["strategies"]
        if o["strategy"] is None or ctx.params["strategy"]
        else [(o["strategy"], [f"{k}={v}" for k, v in o["params"].items()])]
    )
    if not (ctx.params["strategy"] or o["strategy"]):
        raise BadInput("--strategy: name one, such as ema_cross or my.py: nothing is traded by default")
    if not o["symbols"]:
        raise BadInput("--symbols: name what to trade, such as AAPL,SPY")
    if not o["limits"]:
        raise BadInput("--limits: live trading needs limits: name a TOML file; docs/limits.md lists them")
    file_at(o["limits"], "--limits")
    from replay.live.paper import Order, run
    from replay.live.runner import Ended
    from replay.live.safety import EXIT_HUNG

    try:
        run(Order(strategies=[(name, dict(pair(p) for p in params)) for name, params in found], **options.of_paper(o)), json)
    except Ended as e:
        sys.stderr.write(f"error: {e}\n")
        return EXIT_HUNG
    return 0


@app.command()
def kill(journal: Running, json: Json = False) -> int:
    """Kill a running trader: everything working is cancelled, nothing new goes out until `replay resume`, not even after a restart.

    Examples:

        replay kill journals/paper
    """
    return _operate(journal, "kill", json)


@app.command()
def halt(journal: Running, json: Json = False) -> None:
    """Halt a running trader: only orders that reduce risk pass until `replay resume`.

    Examples:

        replay halt journals/paper
    """
    _operate(journal, "halt", json)


@app.command()
def resume(journal: Running, json: Json = False) -> None:
    """Let a halted or killed trader trade again; its running limits start anew from here.

    Examples:

        replay resume journals/paper
    """
    _operate(journal, "resume", json)


@app.command()
def status(journal: Running, json: Json = False) -> None:
    """What a running trader holds and does; of one that has ended, how it stood then.

    Examples:

        replay status journals/paper --json
    """
    _operate(journal, "status", json)


def _operate(journal: Path, word: str, json: bool) -> int:
    from replay.live.control import ask
    from replay.live.status import read_status

    try:
        answer = ask(journal, word)
    except BadInput:
        answer = read_status(journal) if word == "status" else None
        if answer is None:
            raise
        sys.stderr.write("no process runs this journal: how it stood when the last one ended\n")
    if unmarked := answer.pop("unmarked", ""):
        sys.stderr.write(f"warning: {unmarked}\n")
    if json:
        print_json(answer)
    elif "safety" in answer:
        typer.echo(f"the run did not answer, so it was ended without it: {answer['safety']}; it stays killed")
    else:
        from replay.live.screen import render
        from replay.show import console

        console().print(render(answer))
    return int(bool(answer.get("left")))


@app.command()
def doctor(
    symbols: Symbols = "AAPL",
    broker: Annotated[BrokerName, typer.Option(help="Whose account.")] = BrokerName.alpaca,
    keys: Keys = None,
    url: Url = None,
    feed: Feed = "iex",
    crypto: Crypto = False,
    json: Json = False,
) -> int:
    """Check the way to a broker: keys, permissions, clock, and one order far from the market, taken and cancelled. Paper accounts only.

    Exit code 1 where a check fails.

    Examples:

        replay doctor

        replay doctor --url http://127.0.0.1:8470 --symbols MSFT
    """
    from replay.live.paper import importing

    with importing():
        from replay.live.alpaca import account
    crypto = crypto or "/" in symbols
    access: Access = account.enter(*account.keys(keys), url=url, feed=feed, crypto=crypto)
    scales: dict[str, Scale] = account.instruments(access, names(symbols), crypto, feed)[0]
    found = list(account.checks(access, scales))
    if json:
        print_json([{"check": what, "ok": good, "said": said} for what, good, said in found])
    else:
        for what, good, said in found:
            typer.echo(f"{'ok  ' if good else 'FAIL'} {what:<12} {said}")
    return int(not all(good for _, good, _ in found))


@app.command()
def verify(
    journal: Annotated[Path, typer.Argument(help="Folder of a journal.")],
    trust: TrustCode = False,
    json: Json = False,
) -> int:
    """Re-step a journal: build its trader anew, feed it every input, compare all it says with what the journal holds.

    Damage is named, and what stands before it is verified. Exit code 1 where anything differs or the journal is damaged.

    Examples:

        replay verify journals/paper
    """
    from replay.live import recovery
    from replay.live.disk import Disk
    from replay.trust import everything

    with everything(trust), progress(f"re-stepping {journal}", "inputs", patience_s=LOADING_S) as told:
        v = recovery.verify(Disk(journal), told)
    if json:
        print_json(
            {**v._asdict(), "prefix": str(v.prefix), "fault": v.prefix.fault, "digest": f"{v.digest & (1 << 64) - 1:016x}"}
        )
    else:
        typer.echo(str(v))
    return int(not v.identical or (bool(v.prefix.fault) and not v.prefix.torn))
