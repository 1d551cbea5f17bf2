"""``replay run --fork``: a recorded run continued from a moment with something changed."""

from __future__ import annotations

from pathlib import Path

from replay.cli.options import print_json
from replay.cli.run import remember, saved
from replay.errors import BadInput
from replay.progress import LOADING_S, progress

CHANGEABLE = ("strategies", "limits", "latency")


def continued(text: str, given: dict, others: dict, *, named: bool, out: Path | None, json: bool) -> None:
    """Make the fork, write its folder, print it beside its base. `given` and `others` are what else ``replay run`` was told."""
    from replay import show, show_runs
    from replay.runs.diff import diff
    from replay.runs.fork import fork
    from replay.runs.halfway import changed
    from replay.runs.result import Result, check_place

    path, at, time = text.rpartition("@")
    if not at or not path:
        raise BadInput(f"--fork: expected RUN@TIME such as runs/last@15:31, got {text!r}")
    said = [name for name, value in {**given, **others}.items() if value and name not in CHANGEABLE]
    if said:
        names = ", ".join(name if name.startswith("--") else f"--{name.rstrip('_').replace('_', '-')}" for name in said)
        raise BadInput(f"--fork: {names}: stays as it was in the run that is continued; -p, --limits and --latency can change")
    if out is not None:
        check_place(out)
    base = Result.open(_kept(Path(path)))
    parameters = {(c.source if named else ""): c.parameters for c in given["strategies"]}
    config = changed(base.manifest.config, parameters, given["limits"], given["latency"])
    with progress("making both runs", patience_s=LOADING_S) as told:
        run = fork(base, time, config, lambda _, done, total: told(done, total))
    folder = saved(run, out, run.manifest.strategies[0].name)
    remember(folder)
    found = diff(base, run)
    if json:
        print_json({"run": str(folder), "base": base.summary, "fork": run.summary, "diff": found})
        return
    show.console().print(show_runs.forked(base, run, found))
    show.console().print(show.written(folder))


def _kept(path: Path) -> Path:
    """The folder itself, where a name such as runs/last will soon mean another one; below here it stays relative."""
    real = path.resolve()
    return real.relative_to(Path.cwd()) if real.is_relative_to(Path.cwd()) else real
