"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from replay.errors import BadInput
from replay.progress import LOADING_S, progress

if TYPE_CHECKING:
    from replay.data.session import Session

DEFAULT_STRATEGY = "ema_cross"
MOST_SEED = (1 << 63) - 1
TrustCode = Annotated[
    bool, typer.Option("--trust", help="Run the strategies that it names although they were never named here: docs/security.md.")
]
Trust = Annotated[bool, typer.Option("--trust", help="Do not verify the session's hash and rows.")]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn at random.", min=0, max=MOST_SEED)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


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


def generate(kind: str, events: int, seed: int) -> Session:
    from replay.data import synth

    if kind == "l2":
        return synth.l2_book(events, seed)
    if kind == "bars":
        from replay.data.synth_bars import bars_month

        return bars_month(seed=seed)
    return synth.many_symbols(500, events, seed) if kind == "many" else synth.equity_day(n_events=events, seed=seed)


def compile_scan() -> None:
    """What proves rows, compiled with progress where this machine has not done it before."""
    from replay.data import scan
    from replay.kernel.memory import link

    with progress("compiling the row check, once on this machine", patience_s=LOADING_S) as told:
        link(scan.scan, scan.rehash, progress=lambda _, done, total: told(done, total))


def open_session(path: Path, trust: bool) -> Session:
    """The session in a folder, or the market data of the journal in it."""
    if (path / "segment-000001.log").exists():
        from replay.live.disk import Disk
        from replay.live.recovery import session_of

        return session_of(Disk(path))
    from replay.data.session import Session

    return Session.open(path, trust)


def save_session(data: Session, out: Path) -> None:
    from replay.show import console, render_manifest

    data.save(out)
    console().print(render_manifest(data.manifest))


def file_at(path: Path, option: str) -> Path:
    """A path that can be read to its end. Raises `BadInput`."""
    from replay.files import checked

    try:
        return Path(checked(path))
    except OSError as e:
        raise BadInput(f"{option} {path}: {e.strerror or e}: name a TOML file") from None


def finite(value: float | None) -> float | None:
    """What click's bounds let through: no number at all."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"expected a number, got {value}")
    return value


def pair(text: str) -> tuple[str, str]:
    name, sep, value = text.partition("=")
    if not sep or not name:
        raise BadInput(f"-p: expected NAME=VALUE, got {text!r}")
    return name, value


def names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def duration(text: str, option: str) -> int:
    from replay.trader.specs import duration_ns

    try:
        return duration_ns(text, option)
    except ValueError as e:
        raise BadInput(str(e)) from None


def as_dict(value) -> dict:
    import msgspec

    return {name: getattr(value, name) for name in msgspec.structs.asdict(value)}


def print_json(value) -> None:
    from replay.summary import to_json
    from replay.terminal import exact

    sys.stdout.write(exact(to_json(value)) + "\n")
