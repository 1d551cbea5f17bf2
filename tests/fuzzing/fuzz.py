"""Every parser of foreign input under atheris, so many seconds each: ``python tests/fuzzing/fuzz.py 60 [TARGET ...]``.

Needs atheris (``pip install atheris``; it has wheels for Linux). Each target runs in a process of its own, which ends at the first
exception that is not `BadInput`, after 20 s over one input, or at 2 GB.
"""

import argparse
import gc
import random
import subprocess
import sys
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import targets  # noqa: E402
from mutator import mutated  # noqa: E402

PARSERS = ("data", "faults", "journal", "live", "runs", "serve", "trader.limits")
#: whose functions tell of coverage: what parses, in Python. All that is loaded takes minutes a target
READERS = (*(f"replay.{name}" for name in PARSERS), "tomllib", "json", "csv", "zipfile")
#: that do not: what is compiled, and where checksums are compared, of which atheris learns the right one
SILENT = ("replay.data.scan", "replay.data.walks", "replay.runs.prices", "replay.live.log")


def one(name: str, seconds: int) -> None:
    """Fuzz one target in this process; atheris ends it."""
    import atheris

    found = {t.name: t for t in targets.targets(targets.scratch())}[name]
    for f in gc.get_objects():
        if isinstance(f, types.FunctionType) and f"{f.__module__}".startswith(READERS) and not f.__module__.startswith(SILENT):
            atheris.instrument_func(f)
    rng = random.Random(1)

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        """Half by our own grammar of damage, half by libFuzzer's."""
        made = mutated(bytes(data), random.Random(seed)) if rng.random() < 0.5 else atheris.Mutate(data, max_size)
        return made[:max_size]

    corpus = targets.scratch()
    (corpus / "good").write_bytes(found.good)
    limits = [
        f"-max_total_time={seconds}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        f"-max_len={max(8192, 2 * len(found.good))}",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], found, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=int)
    parser.add_argument("target", nargs="*")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        one(args.target[0], args.seconds)
    names = args.target or [t.name for t in targets.targets(targets.scratch())]
    failed = []
    for name in names:
        ran = subprocess.run([sys.executable, __file__, str(args.seconds), name, "--here"], capture_output=True, text=True)
        runs = next((line.split()[-1] for line in ran.stderr.splitlines() if "number_of_executed_units" in line), "0")
        print(f"{name}: {int(runs):,} inputs, {'nothing found' if ran.returncode == 0 else 'FAILED'}", flush=True)
        if ran.returncode:
            failed.append(name)
            print(ran.stdout[-2000:] + ran.stderr[-4000:])
    sys.exit(bool(failed))
