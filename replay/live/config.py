"""Options of ``replay paper`` from a file: a TOML table with the command line's own names."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from replay.errors import UNREADABLE, BadInput
from replay.files import whole


class Config(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a file may say; every field is optional. Paths are relative to where the command runs. Keys do not belong here."""

    strategy: str | None = None
    params: dict[str, bool | int | float | str] = {}
    symbols: list[str] | None = None
    limits: str | None = None
    journal: str | None = None
    broker: str | None = None
    feed: str | None = None
    url: str | None = None
    crypto: bool | None = None
    market_hours_only: bool | None = None
    extended_hours: bool | None = None
    policy: str | None = None
    on_stop: str | None = None
    on_hang: str | None = None
    hang_s: float | None = None
    rate_limit: int | None = None
    faults: str | None = None


def load(path: Path) -> Config:
    """Read a file. Raises `BadInput`."""
    try:
        return msgspec.convert(tomllib.loads(whole(path).decode()), Config)
    except OSError as e:
        raise BadInput(f"--config {path}: {e.strerror}: name a TOML file, or leave it out") from None
    except UNREADABLE as e:
        raise BadInput(f"--config {path}: {e}: correct it; docs/live.md lists what it may say") from None


def merge(ctx, path: Path | None) -> dict:
    """The options of a command: the command line's, then the file's, then the defaults."""
    given = dict(ctx.params)
    if isinstance(given["symbols"], str):
        given["symbols"] = [s.strip() for s in given["symbols"].split(",") if s.strip()]
    given["strategy"] = None
    given["params"] = {}
    config = load(path) if path else Config()
    for name, value in msgspec.structs.asdict(config).items():
        typed = name in ctx.params and ctx.get_parameter_source(name).name != "DEFAULT"
        if value is not None and not typed:
            given[name] = Path(value) if name in ("limits", "journal", "faults") else value
    return given


def of_paper(o: dict) -> dict:
    """The fields of `replay.live.paper.Order` but its strategies."""
    names = (
        "symbols",
        "limits",
        "journal",
        "keys",
        "url",
        "feed",
        "crypto",
        "market_hours_only",
        "extended_hours",
        "hang_s",
        "rate_limit",
        "real_money",
        "as_journaled",
        "faults",
    )
    crypto = o["crypto"] or any("/" in symbol for symbol in o["symbols"])  # no stock is written so
    return (
        {name: o[name] for name in names} | {"crypto": crypto} | {name: str(o[name]) for name in ("policy", "on_stop", "on_hang")}
    )
