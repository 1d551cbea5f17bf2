"""``replay sweep``: one strategy, many parameters, one session."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replay.cli.app import app
from replay.cli.options import Json, Trust, compile_scan, open_session, pair, print_json
from replay.cli.run import chosen
from replay.errors import BadInput
from replay.progress import LOADING_S, progress


@app.command()
def sweep(
    session: Annotated[Path, typer.Argument(help="Folder of a session.")],
    strategy: Annotated[str, typer.Option("--strategy", "-s", help="Name of an example, FILE.py or FILE.py:Class.")],
    param: Annotated[list[str] | None, typer.Option("-p", metavar="NAME=VALUES", help="What a parameter takes: 5:50:5 (both ends), 5,10,20 or one value. Again for more: every combination is run.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Runs at the same time.")] = 1,
    sort: Annotated[str, typer.Option(help="Show the best by this column.")] = "net",
    show: Annotated[int, typer.Option(min=1, help="Rows shown; --out keeps all.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Write every row to this file: .parquet or .csv, or .html for a heat map.", show_default=False)] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of everything else: latency, fill, limits; replay run --show-config prints one.", show_default=False)] = None,
    trust: Trust = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Run a strategy with every combination of parameters; each row is what replay run gives, digest for digest.

    Examples:

        replay sweep fixtures/equity-day -s ema_cross -p fast=100:500:100 -p slow=1000:5000:1000 --jobs 2

        replay sweep fixtures/equity-day -s ema_cross -p fast=50,100,200 --sort drawdown --out sweep.html
    """
    from replay.runs import sweep as sweeping
    from replay.runs.sweep_view import heat_map, render, write
    from replay.strategy import class_of, load

    if out is not None and out.suffix not in (".parquet", ".csv", ".html"):
        raise BadInput(f"--out {out}: expected a name that ends in .parquet, .csv or .html")
    grid = {}
    for name, text in map(pair, param or []):
        grid[name] = sweeping.values(text, name)
    if not grid:
        raise BadInput("a sweep needs a parameter to vary: give -p NAME=FIRST:LAST:STEP")
    wanted = chosen(config, {}, named=True)
    first = load(class_of(strategy), {name: taken[0] for name, taken in grid.items()})
    compile_scan()
    data = open_session(session, trust)
    with progress("compiling kernels, once on this machine", patience_s=LOADING_S) as told:
        wanted.engine(data, [first], compiling=lambda _, done, total: told(done, total))
    with progress(f"sweeping {data.manifest.name}", "runs") as told:
        table = sweeping.sweep(wanted, data, strategy, grid, jobs, told)
    if sort not in table.column_names:
        raise BadInput(f"--sort {sort}: expected one of {', '.join(table.column_names)}")
    if out is not None:
        write(table, list(grid), sort, out)
    if json:
        print_json({"session": data.manifest.name, "combinations": table.num_rows, "rows": table.to_pylist()})
        return
    from replay.show import console

    console().print(render(table, list(grid), sort, show))
    varied = [name for name, taken in grid.items() if len(taken) > 1]
    if len(varied) == 2:
        console().print(heat_map(table, *varied, sort))
    if out is not None:
        console().print(f"wrote     {out}")
