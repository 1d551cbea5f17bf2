"""The command line: ``replay run | synth | import | catalog | validate``. Results on stdout, progress and errors on stderr.

Anything wrong is one line ``error: ...`` and exit code 2. What a command needs is imported inside it, so that ``--help`` is fast.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from replay.errors import BadInput, ReplayError
from replay.progress import LOADING_S, progress

if TYPE_CHECKING:
    from replay.data.session import Session
    from replay.engine import Engine
    from replay.venue.setup import Profile

app = typer.Typer(
    help="Deterministic event replay for trading.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


class Fill(StrEnum):
    realistic = "realistic"
    hftbacktest = "hftbacktest"


class Kind(StrEnum):
    equity = "equity"
    l2 = "l2"
    many = "many"


class Format(StrEnum):
    lean = "lean"
    binance = "binance"


class RunCommand(TyperCommand):
    """Keeps what click forgets: which --strategy a -p stands behind."""

    def parse_args(self, ctx, args):
        opts, _, order = self.make_parser(ctx).parse_args(args=list(args))
        given, strategies, params = [], iter(opts.get("strategy") or ()), iter(opts.get("param") or ())
        before: list[str] = []
        for option in order:
            if option.name == "strategy":
                given.append((next(strategies), []))
            elif option.name == "param":
                (given[-1][1] if given else before).append(next(params))
        given = given or [(DEFAULT_STRATEGY, [])]
        given[0][1][:0] = before
        ctx.meta["strategies"] = given
        return super().parse_args(ctx, args)


DEFAULT_STRATEGY = "ema_cross"
Trust = Annotated[bool, typer.Option("--trust", help="Do not verify the session's hash and rows.")]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn at random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command(cls=RunCommand)
def run(
    ctx: typer.Context,
    session: Annotated[Path | None, typer.Argument(help="Folder of a session; left out: a small generated one.", show_default=False)] = None,
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
    loaded = [load(name, dict(_pair(p) for p in params)) for name, params in ctx.meta["strategies"]]
    rules = Limits.load(limits) if limits else Limits()
    capital = _money(initial_capital)
    _compile_scan()
    data = _open(session, trust) if session else _generate("equity", 50_000, seed)
    if from_ or to:
        data = data.slice(_time(from_, "--from"), _time(to, "--to"))
    with progress("compiling kernels, once on this machine", patience_s=LOADING_S) as told:
        engine = Engine(
            data, loaded, profile, rules, {data.instruments[0].currency: capital}, compiling=lambda _, done, total: told(done, total)
        )
    try:
        with progress(f"replaying {data.manifest.name}", "events") as told:
            engine.run(told)
    except (ReplayError, KeyboardInterrupt):
        _report(engine, json, journal, complete=False)
        raise
    _report(engine, json, journal)


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    kind: Annotated[Kind, typer.Option(help="equity: two US stocks, a day of quotes and trades; l2: the book of one pair; many: 500 stocks.")] = Kind.equity,
    events: Annotated[int, typer.Option(help="Rows to make.")] = 50_000,
    seed: Seed = 1,
) -> None:  # fmt: skip
    """Make a session up: the same everywhere from the same seed. A strategy that earns money on it has shown nothing.

    Examples:

        replay synth sessions/day

        replay synth sessions/book --kind l2 --events 1000000 --seed 7
    """
    _compile_scan()
    _save(_generate(kind.value, events, seed), out)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="lean: a folder of tick zips; binance: one capture file.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    format: Annotated[Format, typer.Option(help="What the source holds.", show_default=False)],
    symbols: Annotated[str | None, typer.Option(help="lean: only these, such as IBM,SPY.", show_default=False)] = None,
    dates: Annotated[str | None, typer.Option(help="lean: only these days, such as 2013-10-07,2013-10-08.", show_default=False)] = None,
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
    _compile_scan()
    if format is Format.lean:
        from replay.data.lean import import_lean

        data = import_lean(source, _list(symbols), _list(dates), name=out.name)
    else:
        from replay.data.binance import import_binance

        data = import_binance(source, name=out.name)
    _save(data, out)


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
        _print_json([{"path": str(path), **_as_dict(m)} for path, m in found.items()])
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
    _compile_scan()
    m = _open(session, trust=False).manifest
    if json:
        _print_json(_as_dict(m))
        return
    from replay.show import console, render_manifest

    console().print(render_manifest(m))


def make_profile(name: str, queue: str, latency: str, seed: int) -> Profile:
    """The venue profile the options of ``replay run`` describe. Raises `BadInput`.

    >>> make_profile("hftbacktest", "power3:2", "feed=recorded,entry=2ms", 7).entry.ns
    2000000
    """
    from replay.venue.setup import QUEUES, Leg, Profile

    model, _, exponent = queue.partition(":")
    if model not in QUEUES:
        raise BadInput(f"--queue: expected one of {', '.join(QUEUES)}, got {model!r}")
    if exponent and (not exponent.isdigit() or not 1 <= int(exponent) <= 20 or not model.startswith("power")):
        raise BadInput(f"--queue: power, power2 and power3 take a whole exponent of 1 to 20, as power3:2; got {queue!r}")
    if name != "hftbacktest" and model != "risk_averse":
        raise BadInput(f"--queue {model}: a model of the hftbacktest profile: add --fill hftbacktest")
    legs: dict[str, Leg] = {}
    for part in latency.split(",") if "=" in latency else (f"entry={latency}", f"response={latency}"):
        leg, _, text = part.partition("=")
        if leg not in ("feed", "entry", "response"):
            raise BadInput(f"--latency: expected feed=..., entry=... or response=..., got {part!r}")
        try:
            legs[leg] = Leg.parse(text, leg)
        except ValueError as e:
            raise BadInput(str(e)) from None
    return Profile(name=name, queue=model, queue_n=float(exponent or 1), seed=seed, **legs)


def _report(engine: Engine, json: bool, journal: bool, complete: bool = True) -> None:
    from replay import show
    from replay.summary import Summary

    summary = Summary.of(engine, complete)
    if json:
        _print_json({**_as_dict(summary), "journal": list(show.journal(engine))} if journal else _as_dict(summary))
        return
    if journal:
        for said in show.journal(engine):
            print(*(v if k in ("at", "what") else f"{k} {v}" for k, v in said.items()))
    show.console().print(show.render(summary))


def _generate(kind: str, events: int, seed: int) -> Session:
    from replay.data import synth

    if kind == "l2":
        return synth.l2_book(events, seed)
    return synth.many_symbols(500, events, seed) if kind == "many" else synth.equity_day(n_events=events, seed=seed)


def _compile_scan() -> None:
    """What proves rows, compiled with progress where this machine has not done it before."""
    from replay.data import scan
    from replay.kernel.memory import link

    with progress("compiling the row check, once on this machine", patience_s=LOADING_S) as told:
        link(scan.scan, scan.rehash, progress=lambda _, done, total: told(done, total))


def _open(path: Path, trust: bool) -> Session:
    from replay.data.session import Session

    return Session.open(path, trust)


def _save(data: Session, out: Path) -> None:
    from replay.show import console, render_manifest

    data.save(out)
    console().print(render_manifest(data.manifest))


def _pair(text: str) -> tuple[str, str]:
    name, sep, value = text.partition("=")
    if not sep or not name:
        raise BadInput(f"-p: expected NAME=VALUE, got {text!r}")
    return name, value


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _money(text: str):
    from decimal import Decimal, InvalidOperation

    try:
        value = Decimal(text.replace(",", "").replace("_", ""))
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value <= 10**10):
        raise BadInput(f"--initial-capital: expected an amount of 0 to 10,000,000,000, got {text!r}")
    return value


def _time(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    import datetime

    from replay.data.times import ns_of

    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option}: expected a time such as 2026-03-02T14:30 or 2026-03-02T09:30-05:00, got {text!r}") from None
    return ns_of(when if when.tzinfo else when.replace(tzinfo=datetime.UTC))


def _as_dict(value) -> dict:
    import msgspec

    return {name: getattr(value, name) for name in msgspec.structs.asdict(value)}


def _print_json(value) -> None:
    from replay.summary import to_json

    sys.stdout.write(to_json(value) + "\n")


def main() -> None:
    """The entry point: runs the command, turns what went wrong into one line and an exit code."""
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except ReplayError as e:
        code = _error(e)
    except BrokenPipeError:  # the reader of our output has gone
        sys.stdout = None
        code = 1
    except OSError as e:
        code = _error(e)
    except Exception as e:
        if not hasattr(e, "format_message"):  # not the command line's own: a fault of ours, to be seen whole
            raise
        code = _error(e.format_message())
    sys.exit(code if isinstance(code, int) else 0)


def _error(what: object) -> int:
    sys.stdout.flush()
    print("error:", " ".join(str(what).split()), file=sys.stderr)
    return 2
