"""``replay verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replay.cli.app import app
from replay.cli.options import Json, print_json
from replay.progress import progress


@app.command()
def verify(
    journal: Annotated[Path, typer.Argument(help="Folder of a journal.")],
    json: Json = False,
) -> int:
    """Re-step a journal: build its trader anew, feed it every input, compare all it says with what the journal holds.

    Damage is named, and what stands before it is verified. Exit code 1 where anything differs or the journal is damaged.

    Examples:

        replay verify journals/ema

        replay run journals/ema --strategy ema_cross
    """
    from replay.live import recovery
    from replay.live.disk import Disk

    with progress(f"re-stepping {journal}", "inputs") as told:
        v = recovery.verify(Disk(journal), told)
    if json:
        print_json({**v._asdict(), "prefix": v.prefix._asdict(), "digest": f"{v.digest & (1 << 64) - 1:016x}"})
    else:
        typer.echo(str(v))
    return int(not v.identical or (bool(v.prefix.fault) and not v.prefix.torn))
