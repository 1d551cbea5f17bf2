"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from replay.errors import BadInput
from replay.progress import LOADING_S, progress

if TYPE_CHECKING:
    from decimal import Decimal

    from replay.data.session import Session
    from replay.venue.setup import Profile

DEFAULT_STRATEGY = "ema_cross"
Trust = Annotated[bool, typer.Option("--trust", help="Do not verify the session's hash and rows.")]
Seed = Annotated[int, typer.Option(help="Seed of everything drawn at random.")]
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


def generate(kind: str, events: int, seed: int) -> Session:
    from replay.data import synth

    if kind == "l2":
        return synth.l2_book(events, seed)
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


def pair(text: str) -> tuple[str, str]:
    name, sep, value = text.partition("=")
    if not sep or not name:
        raise BadInput(f"-p: expected NAME=VALUE, got {text!r}")
    return name, value


def names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def money(text: str) -> Decimal:
    from decimal import Decimal, InvalidOperation

    try:
        value = Decimal(text.replace(",", "").replace("_", ""))
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value <= 10**10):
        raise BadInput(f"--initial-capital: expected an amount of 0 to 10,000,000,000, got {text!r}")
    return value


def time_ns(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    import datetime

    from replay.data.times import ns_of

    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option}: expected a time such as 2026-03-02T14:30 or 2026-03-02T09:30-05:00, got {text!r}") from None
    return ns_of(when if when.tzinfo else when.replace(tzinfo=datetime.UTC))


def as_dict(value) -> dict:
    import msgspec

    return {name: getattr(value, name) for name in msgspec.structs.asdict(value)}


def print_json(value) -> None:
    from replay.summary import to_json

    sys.stdout.write(to_json(value) + "\n")
