"""``replay bench``: what the live path takes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replay.cli.app import app
from replay.cli.options import DEFAULT_STRATEGY, Json, open_session, print_json
from replay.errors import BadInput
from replay.progress import progress

bench = typer.Typer(help="Measure the live path on this machine: docs/live.md.", no_args_is_help=True)
app.add_typer(bench, name="bench")


@bench.command()
def latency(
    orders: Annotated[int, typer.Option(min=100, help="Orders measured; a tenth more come before them and do not count.")] = 10_000,
    load: Annotated[int | None, typer.Option(min=0, help="Events a second around the orders; 0: an event now and then.", show_default="0, then 2000")] = None,
    durable: Annotated[bool | None, typer.Option("--durable/--no-durable", help="Whether the journal waits for the disk.", show_default="both")] = None,
    json: Json = False,
) -> int:  # fmt: skip
    """Event received to first byte of the order as the server stamps it, hop by hop. About 100 s a case at 10,000 orders.

    Starts the local server in a process of its own, and trades against it with the whole live path: alpaca-py's streams and client, runner,
    journal. Exit code 1 where a floor is missed.

    Examples:

        replay bench latency

        replay bench latency --orders 2000 --load 0 --durable --json
    """
    from replay.live.paper import importing

    with importing():
        from replay.bench import latency as of
    cases = [
        of.Case(n, d) for d in ([True, False] if durable is None else [durable]) for n in ([0, 2000] if load is None else [load])
    ]
    results = []
    for case in cases:
        with progress(f"{case.name}, journal {'durable' if case.durable else 'not durable'}", "orders") as told:
            results.append(of.measure(case, orders, told))
    if json:
        print_json(results)
    else:
        from replay.bench.show import show
        from replay.show import console

        console().print(show(results))
    return int(not all(map(of.met, results)))


@bench.command()
def soak(
    session: Annotated[Path | None, typer.Argument(help="Folder of a session of quotes and trades; left out: a generated day.", show_default=False)] = None,
    events: Annotated[int, typer.Option(min=10_000, help="Events of the generated day.")] = 1_000_000,
    speed: Annotated[str, typer.Option(help="As of replay serve.")] = "max",
    strategy: Annotated[str, typer.Option("--strategy", "-s", help="Name of an example, FILE.py or FILE.py:Class.")] = DEFAULT_STRATEGY,
    json: Json = False,
) -> int:  # fmt: skip
    """The whole live path over a session: memory flat, no message missed, every order once, positions and cash the broker's, journal verified.

    Starts the local server in a process of its own. Exit code 1 where one of these does not hold.

    Examples:

        replay bench soak --events 10000000

        replay bench soak fixtures/equity-day --speed 60
    """
    from replay.live.paper import importing

    with importing():
        from replay.bench import soak as of
    from replay.data.synth import equity_day

    if speed == "lockstep":
        raise BadInput("--speed lockstep: the clocks of both would be one: give max, or a number such as 60")
    with progress("events through the live path", "inputs") as told:
        result = of.soak(equity_day(n_events=events) if session is None else open_session(session, False), speed, strategy, told)
    held = of.passed(result)
    if json:
        print_json(result | {"passed": held})
    else:
        from replay.bench.show import show_soak
        from replay.show import console

        console().print(show_soak(result, held))
    return int(not all(held.values()))
