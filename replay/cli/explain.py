"""``replay explain``, ``replay report``, ``replay diff``, ``replay sql``: questions about runs that are over."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replay.cli.app import app
from replay.cli.options import Json, TrustCode, as_dict, print_json
from replay.errors import BadInput
from replay.progress import LOADING_S, progress

if TYPE_CHECKING:
    from replay.runs.result import Result

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/last.")]


@app.command()
def explain(
    run: RunFolder,
    order: Annotated[int | None, typer.Argument(help="Number of an order: column `order` of the table orders.", show_default=False)] = None,
    refusal: Annotated[int | None, typer.Option(help="Instead of an order: which refusal, 1 the first of the table refusals.", show_default=False)] = None,
    trust: TrustCode = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Say why an order was sent or refused, what became of it, and what it cost.

    The run is made again up to that moment, so its session and strategies must be what they were.

    Examples:

        replay explain runs/last 17

        replay explain runs/last --refusal 1 --json
    """
    from replay import show, show_runs
    from replay.runs.explain import explain
    from replay.trust import everything

    if (order is None) == (refusal is None):
        raise BadInput("explain: name one order, as in replay explain runs/last 17, or one refusal with --refusal 1")
    recorded = opened(run)
    with everything(trust), progress("making the run again", patience_s=LOADING_S) as told:
        found = explain(recorded, order, refusal=refusal, compiling=lambda _, done, total: told(done, total), told=told)
    if json:
        print_json(as_dict(found))
        return
    show.console().print(show_runs.explanation(found))


@app.command()
def report(
    run: RunFolder,
    features: Annotated[bool, typer.Option("--features", help="Add charts of the strategies' features over the run.")] = False,
    whatif: Annotated[bool, typer.Option("--what-if", help="Add what the run hangs on: run again with slower legs, higher costs, and with what goes wrong.")] = False,
    trust: TrustCode = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Write a run's report.html anew, with what takes further replays.

    They become tables of the run: features and whatif. The run is made again, so its session and strategies must be what they were.

    Examples:

        replay report runs/last --features

        replay report runs/last --what-if
    """
    from replay import show, show_runs
    from replay.runs.features import sampled
    from replay.runs.result import REPORT
    from replay.runs.whatif import whatif as hangs_on
    from replay.trust import everything

    found = opened(run)
    more = {}
    if found.lived and (features or whatif):
        raise BadInput(f"{run}: a live run is not run again: replay run {run} -s STRATEGY --out FOLDER, and report that")
    if features:
        with everything(trust), progress("looking at its features", "looks") as told:
            more["features"] = sampled(found, told)
    if whatif:
        with everything(trust), progress("running it again with one thing changed", "runs") as told:
            more["whatif"] = hangs_on(found, told=told)
    if found.lived:
        found.save_report(run)
    else:
        found.with_tables(more).save(run.resolve())
    if json:
        print_json({"report": str(run / REPORT), **({"whatif": more["whatif"].to_pylist()} if whatif else {})})
        return
    if whatif:
        show.console().print(show_runs.whatif(more["whatif"]))
    show.console().print(show.written(run))


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run, or of a live run's journal.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Folder of the run it is compared with.")],
    tolerance: Annotated[str | None, typer.Option(metavar="SHARE", help="Pass if the gap between their PnL is at most this share of what was expected, such as 20%: of A's, or of B's where A was lived and B replayed.", show_default=False)] = None,
    trust: TrustCode = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Compare two runs: settings, the first decision that differs, tables, and what the gap between their PnL is made of.

    Exit code 0 where they are the same, or with --tolerance close enough; 1 where they are not.

    Examples:

        replay diff runs/last runs/2026-03-02T160000-EmaCross

        replay diff journals/paper runs/replayed --tolerance 20%
    """
    from replay import show, show_runs
    from replay.runs.diff import diff, share
    from replay.trust import everything

    allowed = share(tolerance) if tolerance is not None else None
    with everything(trust), progress("comparing") as told:
        found = diff(opened(a), opened(b), allowed, told)
    if json:
        print_json(as_dict(found))
    else:
        show.console().print(show_runs.difference(found))
    if not (found.same if found.within is None else found.within):
        raise typer.Exit(1)


@app.command()
def sql(
    run: RunFolder,
    query: Annotated[str | None, typer.Argument(help="A query in DuckDB's SQL; left out: the tables there are.", show_default=False)] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print all rows as CSV.")] = False,
    trust: TrustCode = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Ask a run's tables: orders, fills, trips, equity, prices, refusals, latency, states, logs, events.

    Examples:

        replay sql runs/last

        replay sql runs/last "select symbol, sum(last_qty) from fills group by symbol" --csv
    """
    from replay import show, show_runs
    from replay.trust import everything

    if csv and json:
        raise BadInput("sql: one of --csv and --json")
    with everything(trust):
        result = opened(run)
    if query is None:
        tables = {name: {"rows": n, "columns": result.table(name).column_names} for name, n in result.manifest.tables.items()}
        if csv:
            raise BadInput("sql: --csv needs a query")
        if json:
            print_json(tables)
        else:
            show.console().print(show_runs.tables(tables))
        return
    answer = result.sql(query)
    if csv:
        import pyarrow.csv

        pyarrow.csv.write_csv(answer, sys.stdout.buffer)
    elif json:
        print_json(show_runs.rows(answer))
    else:
        show.console().print(show_runs.table(answer))


def opened(run: Path) -> Result:
    """A run, or a journal as one; on stderr what of it was not read."""
    from replay.runs.result import Result

    result = Result.open(run)
    if result.unread:
        sys.stderr.write(f"warning: {run}: {result.unread}\n")
    return result
