"""Plant bugs in copies of the project, one at a time, and count how many random schedules it takes until one is found.

    python tests/planted.py [--schedules 10000] [--jobs 2] [--only TEXT]

Prints a line a bug: the number of the first schedule that broke an invariant, which one, and how long it took; at the end how many of
them were found. Exit code 1 where one was not. The first schedules run interpreted, which spares compiling the changed trader; a bug that
lives through them is compiled.
"""

import argparse
import json
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
INTERPRETED = 40  #: schedules


def hunt(schedules: int) -> tuple[int, str]:
    """Run schedules of 200 events, L1 and L2 in turn; the number of the first that broke, and the rule; 0 where none did."""
    from replay.data.session import Session
    from replay.data.synth import l2_book
    from replay.fuzz.runner import Runner
    from replay.runs.config import Chosen, RunConfig

    day = ROOT / "fixtures" / "equity-day"
    ema = Chosen(source="ema_cross", parameters={"fast": 5, "slow": 20, "warmup": 20, "qty": 2})
    base = RunConfig(session=str(day), commission="2bps", strategies=(ema,))
    runners = [Runner(s, base) for s in (Session.open(day, trust=True), l2_book(1500, seed=12))]
    for k in range(schedules):
        found = runners[k % 2].number(1, k // 2, 200)
        if found.broken:
            return k + 1, found.broken.name
    return 0, ""


def found(name: str, schedules: int, interpreted: bool = True) -> tuple[int, str]:
    """What `hunt` says of a copy with one bug in it, "": none."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("replay", "strategies"):
            shutil.copytree(ROOT / part, Path(folder) / part, ignore=shutil.ignore_patterns("__pycache__"))
        if name:
            file, was, instead = BUGS[name]
            path = Path(folder) / "replay" / file
            text = path.read_text()
            assert text.count(was) == 1, (
                f"{name}: its text stands {text.count(was)} times in {file}: correct tests/planted_bugs.py"
            )
            path.write_text(text.replace(was, instead))
        environment = os.environ | {"PYTHONPATH": folder, "REPLAY_CACHE": f"{folder}/cache", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, __file__, "--hunt", "--schedules", str(schedules)]
        jit = {"NUMBA_DISABLE_JIT": "1"} if interpreted else {}
        done = subprocess.run(command, cwd=folder, env=environment | jit, capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stderr[-2000:]}"
        return tuple(json.loads(done.stdout))


def judged(name: str, schedules: int) -> tuple[str, int, str, float]:
    """(the bug, the schedule that found it, the rule that broke, seconds)."""
    started = time.monotonic()
    number, rule = found(name, min(schedules, INTERPRETED))
    if not number and schedules > INTERPRETED:
        number, rule = found(name, schedules, interpreted=False)
    return name, number, rule, time.monotonic() - started


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--schedules", type=int, default=10_000)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--only", default="", help="bugs whose name has this text")
    p.add_argument("--hunt", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.hunt:
        print(json.dumps(hunt(a.schedules)))
        return 0
    names = [name for name in BUGS if a.only in name]
    missed = 0
    with ThreadPoolExecutor(a.jobs) as pool:
        for name, number, rule, seconds in pool.map(lambda n: judged(n, a.schedules), names):
            print(f"{number or '-':>6}  {rule:<16} {name}  ({seconds:.0f} s)", flush=True)
            missed += not number
    print(f"{len(names) - missed} of {len(names)} planted bugs found within {a.schedules:,} schedules")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
