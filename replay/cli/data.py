"""``replay synth | import | catalog | validate``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from replay.cli.app import app
from replay.cli.options import Json, Seed, as_dict, compile_scan, generate, names, open_session, print_json, save_session
from replay.errors import BadInput


class Kind(StrEnum):
    equity = "equity"
    l2 = "l2"
    many = "many"
    bars = "bars"


class Format(StrEnum):
    lean = "lean"
    binance = "binance"


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    kind: Annotated[Kind, typer.Option(help="equity: two US stocks, a day of quotes and trades; l2: the book of one pair; many: 500 stocks; bars: two US stocks, five-minute bars.")] = Kind.equity,
    events: Annotated[int, typer.Option(help="Rows to make.")] = 50_000,
    seed: Seed = 1,
) -> None:  # fmt: skip
    """Make a session up: the same everywhere from the same seed. A strategy that earns money on it has shown nothing.

    Examples:

        replay synth sessions/day

        replay synth sessions/book --kind l2 --events 1000000 --seed 7
    """
    compile_scan()
    save_session(generate(kind.value, events, seed), out)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="lean: a folder of tick zips; binance: one capture file.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[Format, typer.Option(help="What the source holds.", show_default=False)],
    symbols: Annotated[str | None, typer.Option(help="lean: only these, such as IBM,SPY.", show_default=False)] = None,
    dates: Annotated[
        str | None, typer.Option(help="lean: only these days, such as 2013-10-07,2013-10-08.", show_default=False)
    ] = None,
) -> None:
    """Import recorded market data into a session; what was dropped or inferred is counted in its manifest.

    Examples:

        replay import --format lean equity/usa/tick sessions/ibm --symbols IBM --dates 2013-10-07

        replay import --format binance btcusdt_20230405.gz sessions/btcusdt
    """
    if format is Format.binance and (symbols or dates):
        raise BadInput("--symbols and --dates select among LEAN files; a Binance capture holds one symbol: leave them out")
    if not source.exists():
        raise BadInput(f"{source}: nothing is there: check the path")
    compile_scan()
    if format is Format.lean:
        from replay.data.lean import import_lean

        data = import_lean(source, names(symbols), names(dates), name=out.name)
    else:
        from replay.data.binance import import_binance

        data = import_binance(source, name=out.name)
    save_session(data, out)


@app.command()
def catalog(
    folder: Annotated[Path, typer.Argument(help="Folder that holds session folders.")],
    json: Json = False,
) -> None:
    """List the sessions under a folder, from their manifests; their rows are not read.

    Examples:

        replay catalog fixtures
    """
    from replay.data.store import MANIFEST, read_manifest

    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder: check the path")
    found = {path.parent: read_manifest(path.parent) for path in sorted(folder.rglob(MANIFEST))}
    if json:
        print_json([{"path": str(path), **as_dict(m)} for path, m in found.items()])
        return
    from replay.show import console, render_catalog

    console().print(render_catalog(found))


@app.command()
def validate(
    session: Annotated[Path, typer.Argument(help="Folder of a session.")],
    json: Json = False,
) -> None:
    """Open a session, verify its hash and every row, and show its manifest. Exit code 2 where anything does not match.

    Examples:

        replay validate fixtures/equity-day
    """
    compile_scan()
    m = open_session(session, trust=False).manifest
    if json:
        print_json(as_dict(m))
        return
    from replay.show import console, render_manifest

    console().print(render_manifest(m))
