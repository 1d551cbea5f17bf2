"""Folders of a session, a run and a journal, damaged at random, given to the commands that read them: each says so in one line, or answers
what it answers of the whole one. Used by ``python tests/attacks.py mutate`` and, a slice of it, by the tests.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import desks

from replay.data.synth import equity_day
from replay.live.disk import Disk
from replay.live.log import Reader

HERE = Path(__file__).parent
WORST_S = 60  #: a command that takes longer hangs
WILD = (0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 1e308, -0.0, True, None, "", "x", "\x00[/b]" * 50, [], {}, [[]], {"a": {}})
VARYING = re.compile(r'"(elapsed_s|events_per_s|path|folder|out)": [^,\n]*|in [0-9.]+ m?s\b|[0-9.,]+ M?/s|replayed in .*|\d+ ms')
#: what reads each folder; {} is its copy
READERS = {
    "session": (["run", "{}", "-s", "ema_cross", "-p", "fast=5", "-p", "slow=9", "-p", "warmup=9", "--json"], ["validate", "{}"]),
    "run": (["sql", "{}", "select count(*), sum(last_qty_lots) from fills"], ["diff", "{}", "{}"], ["explain", "{}", "1"], ["report", "{}"]),
    "journal": (["verify", "{}", "--json"], ["sql", "{}", "select count(*), sum(last_qty_lots) from fills"], ["status", "{}", "--json"]),
}  # fmt: skip


class Reading:
    """A process that runs commands (`commands.py`), started again when it dies."""

    def __init__(self, folder: Path):
        self.folder, self.process = folder, None

    def ask(self, args: list[str]) -> tuple[int, str, str]:
        """(exit code, stdout, stderr); a code of None where it died or hung."""
        if self.process is None:
            state = {"XDG_STATE_HOME": str(self.folder / "state"), "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
            self.process = subprocess.Popen(
                ["timeout", "3600", sys.executable, str(HERE / "commands.py")], cwd=self.folder, env=os.environ | state,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        try:
            self.process.stdin.write(json.dumps(args) + "\n")
            self.process.stdin.flush()
            line = self._line()
        except OSError:
            line = ""
        if line:
            return tuple(json.loads(line))
        self.end()
        return None, "", "it died or hung"

    def _line(self) -> str:
        import select

        ready, _, _ = select.select([self.process.stdout], [], [], WORST_S)
        return self.process.stdout.readline() if ready else ""

    def end(self) -> None:
        if self.process is not None:
            with self.process:  # which closes its pipes
                self.process.kill()
            self.process = None


def damage(folder: Path, rng: random.Random) -> str:
    """Do one thing to one file of a folder; what it was."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    path = rng.choice(paths)
    data = bytearray(path.read_bytes())
    ways = [flip, cut, zero, insert, empty, remove, swap, folder_instead, nowhere]
    if path.suffix == ".json":
        ways += [value] * 12
    how = rng.choice(ways)
    how(path, data, rng, paths)
    return f"{how.__name__} of {path.name}"


def flip(path, data, rng, paths):
    for _ in range(rng.choice((1, 1, 3, 50))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path, data, rng, paths):
    path.write_bytes(data[: rng.randrange(len(data) + 1)])


def zero(path, data, rng, paths):
    at = rng.randrange(len(data) + 1)
    n = min(rng.choice((1, 8, 64, 512, 4096)), len(data) - at)
    data[at : at + n] = bytes(n)
    path.write_bytes(data)


def insert(path, data, rng, paths):
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice((1, 8, 64, 1000)))
    path.write_bytes(data)


def empty(path, data, rng, paths):
    path.write_bytes(b"")


def remove(path, data, rng, paths):
    path.unlink()


def swap(path, data, rng, paths):
    other = rng.choice(paths)
    path.write_bytes(other.read_bytes())


def folder_instead(path, data, rng, paths):
    path.unlink()
    path.mkdir()


def nowhere(path, data, rng, paths):
    path.unlink()
    path.symlink_to(rng.choice(("/dev/zero", "/dev/null", "missing", str(path))))


def value(path, data, rng, paths):
    """One value of a JSON text, wherever it stands: another one, or none."""
    try:
        whole = json.loads(data)
    except ValueError:
        return empty(path, data, rng, paths)
    at = whole
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return path.write_text(json.dumps(whole))
        key = rng.choice(keys)
        if isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.85:
            at = at[key]
            continue
        if rng.random() < 0.15:
            del at[key]
        else:
            at[key] = rng.choice((*WILD, at[key] * -1 if isinstance(at[key], (int, float)) else "y"))
        return path.write_text(json.dumps(whole))


class Mutants:
    """The three folders, and what is right of each: made once in `place`."""

    def __init__(self, place: Path):
        self.place, self.reading = place, Reading(place)
        equity_day(("A", "B"), 500, seed=3).save(place / "whole/session")
        ran = desks.engine(300)[1]
        desks.write(place / "whole/journal", ran, every=40, snapshot_every=150).close()
        args = [a.format("whole/session") for a in READERS["session"][0] if a != "--json"]
        code, out, err = self.reading.ask([*args, "--out", "whole/run"])
        assert code == 0, err
        for source in sorted((place / "whole/journal").glob("strategy-*.py")):  # named, so that they are the user's own
            code, _, err = self.reading.ask(["run", "whole/session", "-s", str(source), "--out", "again"])
            assert code == 0, err
        self.right = {name: [self.ask("whole", name, k) for k in range(len(of))] for name, of in READERS.items()}
        assert (
            all(right[0] == 0 for name in ("session", "run") for right in self.right[name]) and self.right["journal"][0][0] == 0
        )
        self.prefixes = self._prefixes(place / "whole/journal")

    def _prefixes(self, journal: Path) -> dict[int, str]:
        """The digest of a journal cut behind each of its blocks, by inputs."""
        found, reader, short = {}, Reader(Disk(journal)), self.place / "short"
        whole = (journal / "segment-000001.log").read_bytes()
        for size in [reader.place.size for _ in reader]:
            shutil.rmtree(short, ignore_errors=True)
            shutil.copytree(journal, short, ignore=shutil.ignore_patterns("snapshot-*"))
            (short / "segment-000001.log").write_bytes(whole[:size])
            _, out, _ = self.reading.ask(["verify", "short", "--json"])
            if out:
                told = json.loads(out)
                found[inputs(told["prefix"])] = told["digest"]
        return found

    def ask(self, where: str, name: str, k: int) -> tuple[int, str, str]:
        """The answer of reader `k` of a folder, without what differs from run to run."""
        args = [a.format(f"{where}/{name}") for a in READERS[name][k]]
        if args[0] == "run":
            args += ["--out", "again"]
        code, out, err = self.reading.ask(args)
        return code, VARYING.sub("", out.replace(f"{where}/", "")), err

    def attack(self, number: int, seed: int) -> tuple[str, str]:
        """What came of one: (``refused``, ``equal``, ``torn`` or ``WRONG``, what was done)."""
        rng = random.Random(f"{seed}-{number}")
        name = rng.choice(("session", "run", "run", "journal"))
        copy = self.place / "other" / name
        shutil.rmtree(self.place / "other", ignore_errors=True)
        shutil.copytree(self.place / "whole" / name, copy)
        done = damage(copy, rng)
        k = rng.randrange(len(READERS[name]))
        code, out, err = self.ask("other", name, k)
        said = f"{number}: {done}, then {READERS[name][k][0]}: exit code {code} {err[-300:]}"
        if code == 2 and err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err:
            return "refused", said
        right = self.right[name][k]
        if (code, out) == right[:2]:
            return "equal", said
        if name == "session" and READERS[name][k][0] == "validate" and code == 1 and "Traceback" not in err:
            return "refused", said
        if READERS[name][k][0] == "verify" and out.startswith("{"):
            return self._verified(code, json.loads(out)), said
        return "WRONG", said + f"\n  {out[:400]}\n  expected {right[0]} {right[1][:400]}"

    def _verified(self, code: int, told: dict) -> str:
        """What `verify` says of a journal: a snapshot that is damaged is not used, and one whose end is damaged is read as far as it is
        whole, which is said."""
        right = json.loads(self.right["journal"][0][1])
        if told["difference"]:
            return "refused" if code == 1 else "WRONG"
        if not told["fault"] and told | {"snapshots": 0} == right | {"snapshots": 0}:
            return "equal"
        known = self.prefixes.get(inputs(told["prefix"])) == told["digest"]
        return "torn" if known and told["fault"] else "WRONG"

    def close(self) -> None:
        self.reading.end()


def inputs(prefix: str) -> int:
    """How many inputs a prefix says there are."""
    return int(prefix.split(" ")[0].replace(",", ""))


def series(n: int, seed: int, place: Path, first: int = 0, step: int = 1, say=print) -> Counter:
    """Attacks `first`, `first` + `step`... below `n`; how many came to what. Wrong ones are said."""
    mutants, found = Mutants(place), Counter()
    try:
        for number in range(first, n, step):
            what, said = mutants.attack(number, seed)
            found[what] += 1
            if what == "WRONG":
                say(said)
    finally:
        mutants.close()
    return found
