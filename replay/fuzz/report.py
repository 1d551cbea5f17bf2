"""What a fuzz came to, as one value; and the way there: schedules, then, where one breaks something, the smallest that still does."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from replay.data.session import Session
from replay.data.times import utc_text
from replay.faults.plan import KIND_NAMES
from replay.fuzz.kernel import rules as B
from replay.fuzz.runner import Runner
from replay.fuzz.schedule import schedule
from replay.fuzz.shrink import shrink
from replay.fuzz.story import Story, tell
from replay.fuzz.swarm import Swarm
from replay.fuzz.worker import Finding, Setup
from replay.runs.config import RunConfig
from replay.trader.orders import EXEC_NAMES, STATE_NAMES

Told = Callable[[int, int], None]
NO_ORDER = "no order"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The first schedule that broke something: its number, what broke, how many `faults` are left of it, the file it was written to,
    the `command` that runs it again, and its story (None where a process died or two disagreed)."""

    schedule: int
    what: str
    faults: tuple[str, ...]
    plan: str | None
    command: str
    story: Story | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Schedules `first` to before `first + schedules` of `seed` over a session. `struck`: kind of fault -> state of the order -> how often;
    `arrived`: kind of report -> state of the order -> how often. `digest`: over all schedules, in order."""

    session: str
    session_sha256: str
    strategies: tuple[str, ...]
    seed: int
    first: int
    schedules: int
    events: int
    inputs: int
    elapsed_s: float
    per_s: float
    digest: str
    source: str
    struck: dict[str, dict[str, int]]
    arrived: dict[str, dict[str, int]]
    failure: Failure | None

    @property
    def ok(self) -> bool:
        return self.failure is None

    def log(self) -> str:
        """The line of a log: what was run, when, how fast, with which sources, and its digest."""
        names = (
            "session",
            "session_sha256",
            "strategies",
            "seed",
            "first",
            "schedules",
            "events",
            "inputs",
            "elapsed_s",
            "per_s",
        )
        kept = {"at": utc_text(time.time_ns()), **{n: getattr(self, n) for n in (*names, "digest", "source")}}
        kept["broken"] = self.failure.what if self.failure else None
        return msgspec.json.encode(kept).decode()


def source_sha256() -> str:
    """A hash of everything the package is made of."""
    root, h = Path(__file__).resolve().parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        h.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return h.hexdigest()[:16]


def fuzzed(
    data: Session, base: RunConfig, seed: int, first: int, schedules: int, events: int, jobs: int, told: Told, shrinking: Told
) -> Report:
    """Run schedules on `jobs` processes, up to the first that breaks something, which is made small. Raises `BadInput`."""
    done = Swarm(Setup(base, seed, events), first, schedules, jobs).run(told)
    failure = None
    if done.finding:
        failure = _failure(data, base, seed, events, done.finding, shrinking)
    return _report(
        data,
        base,
        seed,
        first,
        done.schedules,
        events,
        done.inputs,
        done.elapsed_s,
        done.digest,
        done.struck,
        done.arrived,
        failure,
    )


def replayed(data: Session, base: RunConfig, wanted: RunConfig | int, seed: int, events: int, told: Told) -> Report:
    """Run one schedule in this process: by its number, made small where it breaks something, or as it is written in a file."""
    runner, began = Runner(data, base), time.perf_counter()
    config = schedule(base, data, seed, wanted, events) if isinstance(wanted, int) else wanted
    outcome = runner.run(config)
    elapsed, number, failure = time.perf_counter() - began, wanted if isinstance(wanted, int) else 0, None
    counts = runner.struck.copy(), runner.arrived.copy()
    if outcome.broken:
        finding = Finding(number, *outcome.broken, outcome.text)
        if isinstance(wanted, int):
            failure = _failure(data, base, seed, events, finding, told)
        else:
            failure = _told(runner, config, finding, None, None)
    return _report(data, config, seed, number, 1, events, outcome.inputs, elapsed, outcome.digest, *counts, failure)


def _report(data, base, seed, first, schedules, events, inputs, elapsed_s, digest, struck, arrived, failure) -> Report:
    return Report(
        session=data.manifest.name,
        session_sha256=data.manifest.sha256,
        strategies=tuple(c.source for c in base.strategies),
        seed=seed,
        first=first,
        schedules=schedules,
        events=events,
        inputs=inputs,
        elapsed_s=elapsed_s,
        per_s=schedules / elapsed_s if elapsed_s else 0.0,
        digest=digest,
        source=source_sha256(),
        struck=_named(struck, KIND_NAMES),
        arrived=_named(arrived, EXEC_NAMES),
        failure=failure,
    )


def _named(counts: np.ndarray, names: list[str]) -> dict[str, dict[str, int]]:
    states = [NO_ORDER, *STATE_NAMES[1:]]
    return {name: {states[s]: int(n) for s, n in enumerate(counts[k, : len(states)]) if n} for k, name in enumerate(names)}


def _failure(data: Session, base: RunConfig, seed: int, events: int, finding: Finding, told: Told) -> Failure:
    """Make the schedule small, where this process can: one that kills its process, or differs between two, stays as it is."""
    command = f"replay fuzz {base.session} {_options(base)} --seed {seed} --events {events} --only {finding.number}"
    if finding.rule in (B.DIED, B.DIFFERENT):
        return _told(None, None, finding, None, command)
    runner = Runner(data, base)
    config = schedule(base, data, seed, finding.number, events)
    outcome = runner.run(config)
    if not outcome.broken:  # in a process that has run nothing before it does not break
        return _told(None, None, finding, None, command)
    config, outcome = shrink(runner, config, outcome, told)
    path = Path(f"fuzz-{seed}-{finding.number}.toml")
    path.write_text(config.to_toml())
    smallest = Finding(finding.number, *outcome.broken, outcome.text)
    return _told(runner, config, smallest, path, f"replay fuzz {base.session} --plan {path}")


def _options(base: RunConfig) -> str:
    return " ".join(f"-s {c.source}" + "".join(f" -p {k}={v}" for k, v in c.parameters.items()) for c in base.strategies)


def _told(runner: Runner | None, config: RunConfig | None, finding: Finding, plan: Path | None, command: str | None) -> Failure:
    from replay.fuzz.watch import Broken

    broken = Broken(*(getattr(finding, name) for name in Broken._fields))
    what = f"{B.RULES[finding.rule][2]}: {finding.text}" if finding.text else str(broken)
    story = tell(runner, config, broken) if runner and finding.seq else None
    return Failure(
        schedule=finding.number,
        what=what,
        faults=tuple(f"{f.kind} {f.when()}" for f in config.faults.faults) if config else (),
        plan=str(plan) if plan else None,
        command=command or "",
        story=story,
    )
