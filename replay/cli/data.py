"""``replay synth | import | catalog | validate``."""

from __future__ import annotations

import csv
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from replay.cli.app import app
from replay.cli.options import (
    Json,
    Seed,
    as_dict,
    compile_scan,
    duration,
    generate,
    names,
    open_session,
    print_json,
    save_session,
)
from replay.errors import BadInput


class Kind(StrEnum):
    equity = "equity"
    l2 = "l2"
    many = "many"
    bars = "bars"


class Format(StrEnum):
    canonical = "canonical"
    lean = "lean"
    binance = "binance"


class RowKind(StrEnum):
    quote = "quote"
    trade = "trade"
    depth = "depth"
    order = "order"
    bar = "bar"


class DateOrder(StrEnum):
    mdy = "mdy"
    dmy = "dmy"


class Label(StrEnum):
    open = "open"
    close = "close"


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    kind: Annotated[Kind, typer.Option(help="equity: two US stocks, a day of quotes and trades; l2: the book of one pair; many: 500 stocks; bars: a month of 1- and 5-minute bars of five.")] = Kind.equity,
    events: Annotated[int | None, typer.Option(min=1, max=10**10, help="Rows to make; 50,000 unless said. Bars have as many as their month.", show_default=False)] = None,
    seed: Seed = 1,
) -> None:  # fmt: skip
    """Make a session up: the same everywhere from the same seed. A strategy that earns money on it has shown nothing.

    Examples:

        replay synth sessions/day

        replay synth sessions/book --kind l2 --events 1000000 --seed 7

        replay synth sessions/month --kind bars
    """
    if kind is Kind.bars and events is not None:
        raise BadInput("--events: a month of bars has as many rows as its days: leave it out")
    compile_scan()
    save_session(generate(kind.value, events or 50_000, seed), out)


@app.command("import")
def import_(
    sources: Annotated[list[Path], typer.Argument(help="canonical: .parquet, .csv, .csv.gz, .arrow, .feather files, or folders of them; lean: a folder tick, second, minute, hour or daily; binance: one capture.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    format: Annotated[Format, typer.Option(help="What the sources hold.")] = Format.canonical,
    columns: Annotated[str | None, typer.Option(help="Names in the file and what they are: date=ts_event,Open=open; NAME= leaves a column out, *= all others.", show_default=False)] = None,
    symbol: Annotated[str | None, typer.Option(help="The symbol of all rows; else the column symbol, or the file's name less intervals, dates and kinds.", show_default=False)] = None,
    timezone: Annotated[str | None, typer.Option(help="Of times without one: America/New_York, UTC.", show_default=False)] = None,
    interval: Annotated[str | None, typer.Option(help="How long the bars are: 1m, 5m, 1h, 1d; else the column interval, or what the rows tell.", show_default=False)] = None,
    label: Annotated[Label | None, typer.Option(help="Whether a bar's time is its start or its end; ts_event is its end.", show_default=False)] = None,
    kind: Annotated[RowKind | None, typer.Option(help="What the rows are, where their columns do not tell.", show_default=False)] = None,
    date_order: Annotated[DateOrder | None, typer.Option(help="Of dates such as 1/2/2024, where the file does not tell.", show_default=False)] = None,
    price_unit: Annotated[str | None, typer.Option(help="What 1 in a column of prices is worth: 1e-9 of raw integers.", show_default=False)] = None,
    round_prices: Annotated[str | None, typer.Option(help="Round prices to this step, such as 0.01, which becomes the tick.", show_default=False)] = None,
    round_sizes: Annotated[str | None, typer.Option(help="Round sizes and volumes to this step, which becomes the lot.", show_default=False)] = None,
    calendar: Annotated[str | None, typer.Option(help="Market hours, with holidays and early closes: XNYS, XLON, 24/7.", show_default=False)] = None,
    market_hours_only: Annotated[bool, typer.Option("--market-hours-only", help="Drop what lies outside the calendar's hours.")] = False,
    instruments: Annotated[Path | None, typer.Option(help="TOML file: a table a symbol with tick_size, lot_size, currency...", show_default=False)] = None,
    symbols: Annotated[str | None, typer.Option(help="lean: only these, such as IBM,SPY.", show_default=False)] = None,
    dates: Annotated[str | None, typer.Option(help="lean: only these days, such as 2013-10-07,2013-10-08.", show_default=False)] = None,
) -> None:  # fmt: skip
    """Import recorded market data into a session; what was dropped or inferred is counted in its manifest.

    Examples:

        replay import ticks.parquet sessions/ticks

        replay import bars/*.csv sessions/bars --columns datetime=ts_event --timezone America/New_York --interval 5m --label open --calendar XNYS

        replay import --format lean equity/usa/tick sessions/ibm --symbols IBM --dates 2013-10-07

        replay import --format binance btcusdt_20230405.gz sessions/btcusdt
    """
    of_canonical = {
        "--columns": columns, "--symbol": symbol, "--timezone": timezone, "--interval": interval, "--label": label, "--kind": kind,
        "--date-order": date_order, "--price-unit": price_unit, "--round-prices": round_prices, "--round-sizes": round_sizes, "--calendar": calendar,
        "--market-hours-only": market_hours_only or None, "--instruments": instruments,
    }  # fmt: skip
    if format is not Format.canonical and any(value is not None for value in of_canonical.values()):
        raise BadInput(
            f"--format {format.value}: its files say themselves what they hold: leave all options but --symbols and --dates out"
        )
    if format is not Format.lean and (symbols or dates):
        raise BadInput("--symbols and --dates select among LEAN files: leave them out")
    if format is not Format.canonical and len(sources) > 1:
        raise BadInput(f"--format {format.value}: expected one source, got {len(sources)}: import them apart")
    for source in sources:
        if not source.exists():
            raise BadInput(f"{source}: nothing is there: check the path")
    compile_scan()
    if format is Format.lean:
        from replay.data.lean import import_lean
        from replay.data.lean_bars import bars_of, import_lean_bars

        read = import_lean if bars_of(sources[0]) is None else import_lean_bars
        data = read(sources[0], names(symbols), names(dates), name=out.name)
    elif format is Format.binance:
        from replay.data.binance import import_binance

        data = import_binance(sources[0], name=out.name)
    else:
        from replay.data.canonical import import_canonical
        from replay.data.questions import Question

        renamed = _renamed(columns)
        try:
            data = import_canonical(
                sources,
                name=out.name,
                columns=renamed,
                symbol=symbol,
                timezone=timezone,
                interval_ns=0 if interval is None else duration(interval, "--interval"),
                label=label,
                kind=kind,
                date_order=date_order,
                price_unit=price_unit,
                round_prices=round_prices,
                round_sizes=round_sizes,
                calendar=calendar,
                market_hours_only=market_hours_only,
                instruments=instruments,
            )
        except Question as e:
            raise BadInput(f"{e}{_again(sources, out, of_canonical, renamed, e.options, e.renamed)}") from None
    save_session(data, out)


def _again(
    sources: list[Path],
    out: Path,
    given: dict[str, object],
    renamed: dict[str, str],
    said: dict[str, str | None],
    names: dict[str, str],
) -> str:
    """The command to repeat with what was asked for, as it may be: "" where no option says it."""
    if not said and not names:
        return ""
    options = given | said
    if columns := renamed | names:
        options["--columns"] = ",".join(f"{name}={to}" for name, to in columns.items())
    parts = ["replay import", *(shlex.quote(str(source)) for source in sources), shlex.quote(str(out))]
    for option, value in options.items():
        if value is True:
            parts.append(option)
        elif value is not None:
            text = str(value)
            parts.append(f"{option} " + (f"'{text}'" if option == "--columns" and "'" not in text else shlex.quote(text)))
    return f"; where that is right, repeat: {' '.join(parts)}"


def _renamed(text: str | None) -> dict[str, str]:
    renamed: dict[str, str] = {}
    for part in next(csv.reader([text or ""]), []):
        name, sep, to = part.rpartition("=")
        name, to = name.strip(), to.strip()
        if not sep or renamed.get(name, to) != to:
            raise BadInput(f"--columns: expected NAME=COLUMN once a name, such as date=ts_event,Open=open, got {part!r}")
        renamed[name] = to
    return renamed


@app.command()
def catalog(
    folder: Annotated[Path, typer.Argument(help="Folder that holds session folders.")],
    json: Json = False,
) -> None:
    """List the sessions under a folder, from their manifests; their rows are not read. One that cannot be read is named.

    Examples:

        replay catalog fixtures
    """
    from replay.data.store import MANIFEST, read_manifest

    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder: check the path")
    found, unread = {}, {}
    for path in (at.parent for at in sorted(folder.rglob(MANIFEST))):
        try:
            found[path] = read_manifest(path)
        except BadInput as e:
            unread[path] = " ".join(str(e).split())
    for said in unread.values():
        sys.stderr.write(f"warning: {said}\n")
    if json:
        listed = [{"path": str(path), **as_dict(m)} for path, m in found.items()]
        print_json([*listed, *({"path": str(path), "error": said} for path, said in unread.items())])
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
