"""A recorded run continued from a moment with other parameters, limits or latency, beside what it was."""

from __future__ import annotations

from collections.abc import Callable

from replay.data.times import utc_text
from replay.errors import BadInput
from replay.runs.config import RunConfig
from replay.runs.halfway import apply, moment
from replay.runs.rebuild import name_of, part, rebuild
from replay.runs.result import Fork, Result


def fork(base: Result, at: str, config: RunConfig, compiling: Callable[[str, int, int], None] | None = None) -> Result:
    """The run that `base`, a run's folder, becomes if it goes on with `config` from the time `at` (`replay.runs.halfway.moment`).

    The base is made again too, to its end: its digest must be the recorded one. Both are made from the beginning, not from a snapshot,
    so that a plain strategy may keep what it likes. Raises `BadInput` where that fails, or where `config` changes what cannot change.
    """
    if base.path is None or not base.manifest.complete:
        raise BadInput(f"--fork: {name_of(base)} must be a folder of a run that went to its end")
    if config == base.manifest.config:
        raise BadInput("--fork: nothing changes: give -p, --limits or --latency")
    again = rebuild(base, compiling)
    ns = moment(at, again.session)
    part(again, base, ns)
    digest = again.run().digest
    if digest != base.digest:
        raise BadInput(
            f"--fork: {name_of(base)} has digest {base.digest}, and {digest} run again: the version or the machine differs"
        )
    engine = rebuild(base)
    part(engine, base, ns)
    apply(engine, base.manifest.config, config)
    return Result.of(engine.run(), config, fork=Fork(str(base.path), utc_text(ns)))
