"""Plant bugs in copies of the project, one at a time, and count how many random schedules it takes until one is found.

    python tests/planted.py [--schedules 10000] [--jobs 2] [--only TEXT] [--seed 1]

Prints a line a bug: the number of the first schedule that broke an invariant, which one, and how long it took; at the end how many of
them were found. Exit code 1 where one was not. Compiling the changed trader is most of the time: half a minute a bug and core.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from planted_bugs import BUGS

ROOT = Path(__file__).resolve().parents[1]
STRATEGIES = ("ema_cross", "passive_quoting", "mean_reversion")
EVENTS = 600


def plant(name: str, folder: Path) -> None:
    """A copy of the project with one bug in it."""
    for part in ("replay", "strategies", "fixtures"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    file, was, instead = BUGS[name]
    path = folder / "replay" / file
    text = path.read_text()
    assert text.count(was) == 1, f"{name}: its text stands {text.count(was)} times in {file}: correct tests/planted_bugs.py"
    path.write_text(text.replace(was, instead))


def hunt(schedules: int, seed: int) -> None:
    """Run schedules until one breaks; prints its number and what broke. Runs in the copy."""
    from replay.fuzz.runner import Runner

    from replay.data.session import Session
    from replay.runs.config import Chosen, RunConfig

    day = Session.open("fixtures/equity-day")
    runners = [Runner(day, RunConfig(session="fixtures/equity-day", strategies=(Chosen(source=s),))) for s in STRATEGIES]
    for number in range(schedules):
        found = runners[number % len(runners)].number(seed, number, EVENTS)
        if found.broken:
            print(number + 1, found.broken.name, found.text or "", sep="\t")
            return
    print("-", "", "", sep="\t")


def found(name: str, schedules: int, seed: int) -> tuple[str, list[str], float]:
    """What became of one bug: (its name, what `hunt` printed, seconds)."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        plant(name, Path(folder))
        environment = os.environ | {"PYTHONPATH": folder, "REPLAY_CACHE": f"{folder}/cache"}
        command = [sys.executable, __file__, "--hunt", "--schedules", str(schedules), "--seed", str(seed)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        return name, ["?", done.stderr.strip().splitlines()[-1], ""], time.monotonic() - started
    return name, done.stdout.rstrip("\n").split("\t"), time.monotonic() - started


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--schedules", type=int, default=10_000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--only", default="", help="bugs whose name has this text")
    p.add_argument("--hunt", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.hunt:
        hunt(a.schedules, a.seed)
        return 0
    names = [name for name in BUGS if a.only in name]
    missed = []
    with ThreadPoolExecutor(a.jobs) as pool:
        for name, (number, rule, text), seconds in pool.map(lambda n: found(n, a.schedules, a.seed), names):
            print(f"{number:>6}  {rule:<28} {name}  ({seconds:.0f} s) {text[:100]}", flush=True)
            if not number.isdigit():
                missed.append(name)
    print(f"{len(names) - len(missed)} of {len(names)} planted bugs found within {a.schedules:,} schedules of seed {a.seed}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
