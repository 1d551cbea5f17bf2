"""Attacks that take longer than a test may: ``python tests/attacks.py kill 200``, ``mutate 10000``, ``canary``, ``disk-full``, or ``all``.

Each prints what it counted and ends with 1 where something got through.

- `kill` (`hangs.py`): strategies that hang, raise or die at a random moment with an order at the broker, plain and compiled, with and without
  supervisor; an operator kills, a signal ends, the watchdog sees it, the process is shot. Afterwards nothing works at the broker, every
  restart comes up killed, and nothing was sent twice.
- `mutate`: damaged folders of sessions, runs and journals (`mutated.py`).
- `canary`: a stranger's folder in which every file that could be code says so when it runs.
- `disk-full`: a disk that is full at every write of `run`, `import`, `record` and `paper` (`full.py`); needs Linux and `unshare`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import full  # noqa: E402
import hangs  # noqa: E402
import mutated  # noqa: E402

from replay.data.synth import equity_day  # noqa: E402


# --- kill ----------------------------------------------------------------------------------------------------------------------
def kill(n: int, seed: int, jobs: int) -> bool:
    """`n` attacks, so many at once; what was done, how often, and the longest time to safety."""
    with tempfile.TemporaryDirectory() as name:
        safe, worst, wrong = hangs.series(n, seed, jobs, Path(name))
    for what in sorted(safe):
        print(f"  {what:50} {safe[what]:4}   safe within {worst[what]:.1f} s")
    print(f"kill  {sum(safe.values())} of {n} safe, {len(wrong)} wrong")
    return not wrong


# --- mutate --------------------------------------------------------------------------------------------------------------------
def mutate(n: int, seed: int, jobs: int) -> bool:
    """`n` damaged folders; how many were refused, made no difference, or were read as far as they are whole."""
    total, lock = Counter(), threading.Lock()

    def say(text):
        with lock:
            print(text, flush=True)

    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(jobs) as pool:
        places = [Path(name) / str(k) for k in range(jobs)]
        for place in places:
            place.mkdir()
        for found in pool.map(lambda k: mutated.series(n, seed, places[k], k, jobs, say), range(jobs)):
            total += found
    print(f"mutate  {sum(total.values())} folders: " + ", ".join(f"{v} {k}" for k, v in sorted(total.items())))
    return not total["WRONG"]


# --- canary --------------------------------------------------------------------------------------------------------------------
CANARY = "import pathlib\npathlib.Path({mark!r}).write_text('ran')\n"
CODE = ("mine.py", "conftest.py", "sitecustomize.py", "usercustomize.py", "numpy.py", "replay.py", "strategies.py", "json.py", "setup.py",
        "__init__.py", "__main__.py", "strategies/__init__.py", "replay/__init__.py", "strategies/ema_cross.py", "numba.py", "pyarrow.py", "duckdb.py",
        "r/strategy.py", "r/__init__.py", "r/mine.py", "s/__init__.py", "s/x.pth", "j/__init__.py", "j/conftest.py", "x.pth",
        ".env", "pyproject.toml")  # fmt: skip
READ = (["explain", "r", "1"], ["report", "r"], ["report", "r", "--features"], ["report", "r", "--what-if"], ["sql", "r", "select 1"], ["diff", "r", "r"],
        ["run", "--fork", "r@14:40", "--latency", "5ms"], ["validate", "s"], ["catalog", "."], ["verify", "j"], ["status", "j"], ["explain", "j", "1"], ["report", "j"],
        ["diff", "j", "r"],
        ["sql", "j", "select 1"], ["run", "j", "-s", "ema_cross", "--out", "new"], ["run", "s", "-s", "ema_cross", "--out", "new"],
        ["import", "r/orders.parquet", "new"], ["sweep", "s", "-s", "ema_cross", "-p", "fast=5"], ["kill", "j"])  # fmt: skip


def canary() -> bool:
    """A stranger's folder, entered and given to every command that reads; what ran."""
    import desks

    from replay.engine import Engine
    from replay.strategy import load

    with tempfile.TemporaryDirectory() as name:
        place, mark = Path(name) / "place", Path(name) / "mark"
        place.mkdir()
        own = CANARY.format(mark=str(mark)) + (
            "from replay import Strategy\nclass Mine(Strategy):\n    def on_quote(self, ctx, q):\n"
            "        if ctx.position(q.instrument) == 0:\n            ctx.market(q.instrument, 1)\n"
        )
        (place / "mine.py").write_text(own)
        environment = os.environ | {"XDG_STATE_HOME": str(Path(name) / "state"), "PYTHONPATH": str(HERE.parent)}
        replay = [sys.executable, "-P", "-m", "replay"]
        equity_day(("A",), 1_000, seed=2).save(place / "s")
        subprocess.run(
            [*replay, "run", "s", "-s", "mine.py", "--out", "r"], cwd=place, env=environment, check=True, capture_output=True
        )
        ran = Engine(equity_day(("A",), 500, seed=2), [load(str(place / "mine.py"))], journal=True).run()
        desks.write(place / "j", ran.journal()).close()
        shutil.rmtree(Path(name) / "state")
        for code in CODE:
            path = place / code
            path.parent.mkdir(exist_ok=True)
            if code != "mine.py":
                path.write_text(CANARY.format(mark=str(mark)))
        tried, wrong = 0, []
        for args in READ:
            mark.unlink(missing_ok=True)
            done = subprocess.run([*replay, *args], cwd=place, env=environment, capture_output=True, text=True)
            tried += 1
            if mark.exists() or "Traceback" in done.stderr or done.returncode not in (0, 1, 2):
                wrong.append(
                    f"{' '.join(args)}: exit code {done.returncode}, {'the canary ran' if mark.exists() else done.stderr[-300:]}"
                )
    print(
        *wrong,
        f"canary  {tried} commands in a folder with {len(CODE)} files that say when they run, {len(wrong)} wrong",
        sep="\n",
    )
    return not wrong


# --- disk-full -----------------------------------------------------------------------------------------------------------------
def disk_full() -> bool:
    """In a mount of its own, so that nobody else's disk is full."""
    inside = [sys.executable, __file__, "disk-full", "--inside"]
    return subprocess.run(["unshare", "--mount", "--map-root-user", *inside]).returncode == 0


def disk_full_inside() -> bool:
    wrong = full.everywhere()
    print(*wrong, f"disk-full  {len(wrong)} wrong", sep="\n")
    return not wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kill", "mutate", "canary", "disk-full", "all"])
    parser.add_argument("n", nargs="?", type=int, help="how many (kill 200, mutate 10000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args()
    attacks = {
        "kill": lambda: kill(told.n or 200, told.seed, 2 * told.jobs),
        "mutate": lambda: mutate(told.n or 10_000, told.seed, told.jobs),
        "canary": canary,
        "disk-full": disk_full_inside if told.inside else disk_full,
    }
    chosen = list(attacks) if told.what == "all" else [told.what]
    sys.exit(0 if not [name for name in chosen if not attacks[name]()] else 1)
