"""Time to the first result of a fresh process, and of the first one ever.

    python -m bench.startup [--reps 5] [--first-reps 3] [--json FILE]

Each sample is a new interpreter that imports the engine, makes a session of 10,000 events, builds an engine with the EMA cross and runs it.
It is timed from outside, from before its start to after its end. `cached`: the kernels are in the cache. `first ever`: ``$REPLAY_CACHE``
is a new empty folder, so that everything is compiled; the page cache is warm.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.machine import conditions

ROOT = Path(__file__).resolve().parents[1]
FLOOR_S = {"cached": 1.0, "first ever": 30.0}
CHILD = """
import json, time
t = [time.perf_counter()]
from replay.engine import Engine
from replay.strategy import load
from replay.data.synth import equity_day
t.append(time.perf_counter())
session = equity_day(n_events=10_000)
t.append(time.perf_counter())
engine = Engine(session, [load("ema_cross", {"fast": 100, "slow": 500, "warmup": 500})])
t.append(time.perf_counter())
engine.run()
t.append(time.perf_counter())
parts = dict(zip(("import", "session", "build", "run"), (b - a for a, b in zip(t, t[1:]))))
print(json.dumps({"digest": engine.digest, "orders": int(engine.trader.header.c_new), "parts": parts}))
"""


def sample(cache: Path) -> tuple[float, dict]:
    """One fresh process with this cache: seconds, and what it said."""
    env = os.environ | {"REPLAY_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    t = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CHILD], env=env, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - t
    if done.returncode:
        raise RuntimeError(f"a fresh process failed: {done.stderr.strip()[-800:]}")
    return seconds, json.loads(done.stdout.splitlines()[-1])


def measure(reps: int, first_reps: int) -> dict[str, dict]:
    """Seconds of both kinds of sample. Every sample must make the same decisions."""
    first: list[tuple[float, dict]] = []
    with tempfile.TemporaryDirectory(prefix="replay-startup-") as folder:
        for k in range(first_reps):
            first.append(sample(Path(folder) / str(k)))
        warm = Path(folder) / "0"
        sample(warm)
        cached = [sample(warm) for _ in range(reps)]
    said = [x for _, x in first + cached]
    assert said[0]["orders"] > 0 and {x["digest"] for x in said} == {said[0]["digest"]}, "two processes made different decisions"
    out = {}
    for name, samples in (("cached", cached), ("first ever", first)):
        parts = {k: statistics.median(x["parts"][k] for _, x in samples) for k in samples[0][1]["parts"]}
        out[name] = {"seconds": [s for s, _ in samples], "median": statistics.median(s for s, _ in samples), "parts": parts}
    return out


def main(argv: list[str] | None = None) -> int:
    """See the module's text."""
    p = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__.partition("\n")[0])
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--first-reps", type=int, default=3)
    p.add_argument("--json", type=Path)
    a = p.parse_args(argv)
    if a.reps < 1 or a.first_reps < 1:
        p.error("at least one sample of each")
    about = conditions()
    result = measure(a.reps, a.first_reps)
    table = Table("process", "median s", "range", "samples", "of which (medians)", "floor s", "verdict")
    for name, r in result.items():
        parts = ", ".join(f"{k} {v:.2f}" for k, v in r["parts"].items())
        low, high = min(r["seconds"]), max(r["seconds"])
        verdict = "met" if r["median"] < FLOOR_S[name] else "MISSED"
        table.add_row(
            name, f"{r['median']:.2f}", f"{low:.2f}-{high:.2f}", str(len(r["seconds"])), parts, f"< {FLOOR_S[name]:g}", verdict
        )
    console = Console()
    console.print(table)
    for k, v in about.items():
        console.print(f"  {k:9} {v}")
    if a.json:
        a.json.write_text(json.dumps({"conditions": about, "startup": result}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
