"""Which code may run that a file names: a run's manifest or a journal is data, and may be a stranger's.

Code runs where the user names it: a strategy on the command line, in a configuration he gives, in a
call from Python. Its file is remembered then, by the hash of its bytes. What only a run folder or a
journal names runs where its file is an example of ours, or one remembered, byte for byte; anything
else is refused before it is imported, unless the user says `--trust` (`everything`).
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import importlib.machinery
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from replay.errors import BadInput

_everything: contextvars.ContextVar[bool] = contextvars.ContextVar("trust_everything", default=False)


def folder() -> Path:
    """Where hashes are remembered: ``$XDG_STATE_HOME/replay/trusted``, else ``~/.local/state/replay/trusted``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "replay" / "trusted"


def remember(path: Path) -> None:
    """The user has named the code in `path`. Where it cannot be kept, it is asked for again."""
    with contextlib.suppress(OSError):
        mark = folder() / _sha256(path)
        if not mark.exists():
            mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            mark.touch(0o600)


@contextlib.contextmanager
def everything(trusted: bool = True) -> Iterator[None]:
    """Within, whatever a run or journal names may run, if `trusted`."""
    token = _everything.set(trusted or _everything.get())
    try:
        yield
    finally:
        _everything.reset(token)


def verify(source: str, who: str) -> None:
    """Raise `BadInput` unless the code that `source` means (as for ``--strategy``) may run, although only `who` names it.

    Nothing is imported to find out.
    """
    if _everything.get():
        return
    path = file_of(source)
    if path is None:
        raise BadInput(f"{who} names the strategy {source}, which is not there any more: run it again")
    with contextlib.suppress(OSError):
        if path.parent == _examples() or (folder() / _sha256(path)).exists():
            return
    raise BadInput(
        f"{who}: its strategy {source} has changed since that run, or is a stranger's: nothing of it was run. Run it "
        f"again, or look at {path} and add --trust"
    )


def file_of(source: str | type) -> Path | None:
    """The file that a strategy's name means, found without importing anything, or in which a class is defined; None where there is none."""
    if isinstance(source, type):
        module = sys.modules.get(source.__module__)
        source = getattr(module, "__file__", None) or ""
    path = source.partition(":")[0]
    if path.endswith(".py") or "/" in path:
        return Path(path) if Path(path).is_file() else None
    parts = path.split(".") if "." in path else ["strategies", path]
    where: list[str] | None = None
    for part in parts:
        spec = importlib.machinery.PathFinder.find_spec(part, where)
        if spec is None:
            return None
        where = list(spec.submodule_search_locations or [])
    return Path(spec.origin) if spec.origin else None


def _examples() -> Path | None:
    """The folder of our own examples: the one beside this package."""
    beside = Path(__file__).resolve().parents[1] / "strategies"
    return beside if beside.is_dir() else None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
