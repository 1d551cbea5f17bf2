"""``replay serve``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from replay.cli.app import app
from replay.cli.options import Trust, compile_scan, open_session
from replay.cli.run import Fill
from replay.errors import BadInput
from replay.progress import LOADING_S, progress


class Protocol(StrEnum):
    alpaca = "alpaca"


class Rules(StrEnum):
    alpaca = "alpaca"
    open = "open"


@app.command()
def serve(
    session: Annotated[Path, typer.Argument(help="Folder of a session.")],
    as_: Annotated[Protocol, typer.Option("--as", help="Whose protocol to speak.")] = Protocol.alpaca,
    port: Annotated[int, typer.Option(help="Port; 0: any free one, printed.", min=0, max=65535)] = 8470,
    speed: Annotated[str, typer.Option(help="Session seconds a second, such as 1 or 60; max: as fast as clients take it; lockstep: at a client's acknowledgements.")] = "1",
    latency: Annotated[str | None, typer.Option(help="Entry and response leg, as 1ms; or legs by name, as for replay run.", show_default="1ms")] = None,
    fill: Annotated[Fill | None, typer.Option(help="Fill profile: docs/assumptions.md.", show_default="realistic")] = None,
    queue: Annotated[str | None, typer.Option(help="Queue model of the hftbacktest profile.", show_default="risk_averse")] = None,
    commission: Annotated[str | None, typer.Option(help="Such as 0.005/share or 2bps.", show_default="0")] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Serve from this time on, such as 2026-03-02T14:30 (UTC unless it says otherwise).", show_default=False)] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Serve up to before this time.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything drawn at random.", show_default="1")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file as for replay run: what it says of the venue and the time.", show_default=False)] = None,
    faults: Annotated[Path | None, typer.Option(help="TOML file of what goes wrong, by session time: docs/faults.md.", show_default=False)] = None,
    now: Annotated[bool, typer.Option("--now", help="Move the session to now: for bots that look at their own clock.")] = False,
    rules: Annotated[Rules, typer.Option(help="alpaca: what the broker refuses is refused; open: the venue's own rules only, for parity experiments.")] = Rules.alpaca,
    initial_capital: Annotated[str | None, typer.Option(metavar="MONEY", help="Cash of every account at the start.", show_default="100000, or the file's")] = None,
    rate_limit: Annotated[int, typer.Option(help="Requests a minute of an account; 0: no limit.", min=0)] = 200,
    host: Annotated[str, typer.Option(help="Address to listen on; anything but this machine's own needs --token.")] = "127.0.0.1",
    token: Annotated[str | None, typer.Option(envvar="REPLAY_TOKEN", help="The secret clients must present. Left out: any key and secret will do.", show_default=False)] = None,
    trust: Trust = False,
) -> None:  # fmt: skip
    """Serve a session as a broker would: REST, market-data stream and trade updates, filled by the simulated venue. docs/serve.md.

    At a pace the clock starts with the first request or connection of a client. Every key is an account.

    Examples:

        replay serve fixtures/equity-day --speed 60

        replay serve sessions/ibm --port 0 --speed max --fill hftbacktest --latency 5ms

        replay serve sessions/ibm --now
    """
    try:
        from replay.serve import app as serve_app
        from replay.serve.redate import moved
        from replay.serve.server import Server
        from replay.serve.venue import KERNELS
    except ModuleNotFoundError as e:
        raise BadInput(f"{e.name} is not installed: pip install 'replay-engine[serve]'") from None
    import time
    from decimal import Decimal

    from replay.cli.run import chosen
    from replay.faults.plan import Plan
    from replay.kernel.memory import link
    from replay.runs.config import money

    pace = _speed(speed)
    if now and pace != 1:
        raise BadInput(f"--now --speed {speed}: session time is then this machine's clock: leave --speed at 1")
    given = {
        "latency": latency,
        "fill": fill and fill.value,
        "queue": queue,
        "commission": commission,
        "from_": from_,
        "to": to,
        "seed": seed,
        "faults": Plan.load(faults) if faults else None,
    }
    wanted = chosen(config, given, named=True)
    capital = money(initial_capital) if initial_capital is not None else wanted.initial_capital if config else Decimal(100_000)
    serve_app.check_host(host, token)
    compile_scan()
    data, _ = wanted.rows(open_session(session, trust))
    with progress("compiling kernels, once on this machine", patience_s=LOADING_S) as told:
        link(*KERNELS, progress=lambda _, done, total: told(done, total))
    if now:
        data = moved(data, time.time_ns())
    profile = wanted.profile(data.instruments)
    server = Server(
        data,
        profile,
        speed=pace,
        capital=capital,
        strict=rules is Rules.alpaca,
        rate=rate_limit,
        token=token,
        faults=wanted.faults,
        live=now,
        say=print,
    )
    serve_app.serve(server, host, port, print)


def _speed(text: str) -> float | str:
    if text in ("max", "lockstep"):
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100_000:
        raise BadInput(f"--speed: expected a number above 0 such as 1 or 60, max or lockstep, got {text!r}")
    return value
