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

import crashing
import desks

from replay.data.session import Session
from replay.data.synth import equity_day
from replay.faults.disk import SimulatedDisk
from replay.live.disk import Disk
from replay.live.log import Reader, segment_name

HERE = Path(__file__).parent
WORST_S = 60  #: a command that takes longer hangs
WILD = (0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 1e308, -0.0, True, None, "", "x", "\x00[/b]" * 50, [], {}, [[]], {"a": {}})
VARYING = re.compile(r'"(elapsed_s|events_per_s|path|folder|out)": [^,\n]*|in [0-9.]+ m?s\b|[0-9.,]+ M?/s|replayed in .*|\d+ ms')
RUN = ["run", "{}", "-s", "ema_cross", "-p", "fast=5", "-p", "slow=9", "-p", "warmup=9", "--out", "again"]
SESSION = ([*RUN, "--json"], ["validate", "{}", "--json"], ["catalog", "{}", "--json"])
FILLS = ["sql", "{}", "select count(*), sum(last_qty_lots) from fills", "--json"]
JOURNAL = (["verify", "{}", "--json"], FILLS, ["diff", "{}", "{}", "--json"], ["explain", "{}", "1"], ["report", "{}", "--json"],
           ["run", "{}", *RUN[2:], "--json"])  # fmt: skip
#: what reads each folder; {} is its copy
READERS = {
    "session": SESSION,
    "archive": SESSION,
    "run": (FILLS, ["diff", "{}", "whole/run", "--json"], ["explain", "{}", "1", "--json"], ["report", "{}", "--json"],
            ["run", "--fork", "{}@17:00", "--latency", "5ms", "--out", "again", "--json"]),
    "journal": JOURNAL,
    "killed": (*JOURNAL, ["status", "{}", "--json"], ["status", "{}"]),
}  # fmt: skip
JOURNALS = ("journal", "killed")


class Reading:
    """A process that runs commands (`commands.py`), started again when it dies."""

    def __init__(self, folder: Path):
        self.folder, self.process = folder, None

    def ask(self, args: list[str]) -> tuple[int, str, str]:
        """(exit code, stdout, stderr); a code of None where it died or hung."""
        if self.process is None:
            state = {"XDG_STATE_HOME": str(self.folder / "state"), "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "commands.py")], cwd=self.folder, env=os.environ | state,
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
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.parent.name != "__pycache__")
    path = rng.choice(paths)
    data = bytearray(path.read_bytes())
    ways = [flip, cut, zero, insert, empty, remove, swap, folder_instead, nowhere, pipe]
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


def pipe(path, data, rng, paths):
    """One that nobody writes into."""
    path.unlink()
    os.mkfifo(path)


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
    """The folders, and what is right of each: made once in `place`."""

    def __init__(self, place: Path):
        self.place, self.reading, self.shorter = place, Reading(place), {}
        self._make(place / "whole")
        self.right = {name: [self.ask("whole", name, k) for k in range(len(of))] for name, of in READERS.items()}
        for name, answers in self.right.items():
            for args, (code, _, err) in zip(READERS[name], answers, strict=True):
                assert code == 0 or (name in JOURNALS and args[0] == "explain"), (args, code, err)

    def _make(self, whole: Path) -> None:
        day = equity_day(("A", "B"), 500, seed=3)
        rows = day.events.copy()
        rows.ts_event[200] = rows.ts_event[199] - 1  # the venue saw it first, so that there is an order.bin
        day = Session.from_rows(rows, day.instruments)
        day.save(whole / "session")
        day.save(whole / "archive", "parquet")
        desks.write(whole / "journal", desks.engine(300)[1], every=40, snapshot_every=150).close()
        life = crashing.Life(SimulatedDisk(whole / "killed"))
        life.start(crashing.strategies())
        life.trade(crashing.KILL_AT)
        for k, source in enumerate(
            ["ema_cross", *map(str, sorted(whole.glob("*/strategy-*.py")))]
        ):  # named, so that they are the user's own
            args = (
                [a.format("whole/session") for a in RUN] if k == 0 else ["run", "whole/session", "-s", source, "--out", "again"]
            )
            code, _, err = self.reading.ask([*args[:-1], "whole/run" if k == 0 else "again"])
            assert code == 0, err

    def ask(self, where: str, name: str, k: int) -> tuple[int, str, str]:
        """The answer of reader `k` of a folder, without what differs from run to run."""
        args = [a.replace("{}", f"{where}/{name}") for a in READERS[name][k]]
        code, out, err = self.reading.ask(args)
        return code, VARYING.sub("", out.replace(f"{where}/", "").replace("whole/", "")), err

    def attack(self, number: int, seed: int) -> tuple[str, str]:
        """What came of one: (``refused``, ``equal``, ``beginning`` or ``WRONG``, what was done)."""
        rng = random.Random(f"{seed}-{number}")
        name = rng.choice(sorted(READERS))
        copy = self.place / "other" / name
        shutil.rmtree(self.place / "other", ignore_errors=True)
        shutil.copytree(self.place / "whole" / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
        done = damage(copy, rng)
        k = rng.randrange(len(READERS[name]))
        code, out, err = answer = self.ask("other", name, k)
        right = self.right[name][k]
        said = f"{number}: {done} in {name}, then {' '.join(READERS[name][k])}: exit code {code} {err[-300:]}"
        if (
            code == 2
            and err.splitlines()[-1:] == [x for x in err.splitlines() if x.startswith("error: ")]
            and "Traceback" not in err
        ):
            return "refused", said
        if (code, out) == right[:2]:
            return "equal", said
        if READERS[name][k][0] == "catalog" and code == 0 and ('"error": ' in out or out.strip() == "[]"):
            return "refused", said
        if name in JOURNALS and code in (0, 1) and self._beginning(name, k, copy, answer):
            return "beginning", said
        return "WRONG", said + f"\n  {out[:400]}\n  expected {right[0]} {right[1][:400]}"

    def _beginning(self, name: str, k: int, copy: Path, answer: tuple[int, str, str]) -> bool:
        """Whether that is the answer of a journal that ends where this one is whole, and says that it is not used to its end."""
        reader = Reader(Disk(copy))
        for _ in reader:
            pass
        place, whole = reader.place, self.place / "whole" / name
        names = [segment_name(k + 1) for k in range(place.segment)]
        sizes = [(whole / n).stat().st_size for n in names[:-1]] + [place.size]
        if any((copy / n).read_bytes()[:size] != (whole / n).read_bytes()[:size] for n, size in zip(names, sizes, strict=True)):
            return False
        if (name, k, place) not in self.shorter:
            short = self.place / "short" / name
            shutil.rmtree(short.parent, ignore_errors=True)
            shutil.copytree(whole, short, ignore=shutil.ignore_patterns("snapshot-*", "segment-*"))
            for n, size in zip(names, sizes, strict=True):
                (short / n).write_bytes((whole / n).read_bytes()[:size])
            self.shorter[name, k, place] = self.ask("short", name, k)
        expected = self.shorter[name, k, place]
        if READERS[name][k][0] == "verify":
            return self._verified(answer, expected, reader)
        code, out, err = answer
        said = "journal_bytes_not_used" in out if READERS[name][k][0] == "run" else reader.fault in err
        return (code, without(out)) == (expected[0], without(expected[1])) and (said or not reader.fault)

    def _verified(self, answer: tuple[int, str, str], expected: tuple[int, str, str], reader: Reader) -> bool:
        """A snapshot that is damaged is not used; one that disagrees is named."""
        told, right = json.loads(answer[1]), json.loads(expected[1])
        if told["difference"]:
            return answer[0] == 1
        if told["fault"] != reader.fault or (reader.fault and not reader.torn and answer[0] != 1):
            return False
        return all(told[what] == right[what] for what in ("identical", "digest", "marks", "faults"))

    def close(self) -> None:
        self.reading.end()


def without(text: str) -> str:
    """An answer but for what is odd in its session."""
    return re.sub(r'"anomalies": {[^}]*}', "", text)


def series(n: int, seed: int, place: Path, first: int = 0, step: int = 1, say=print) -> Counter:
    """Attacks `first`, `first` + `step`... below `n`; how many came to what. Wrong ones are said."""
    mutants, found = Mutants(place), Counter()
    try:
        for number in range(first, n, step):
            what, said = mutants.attack(number, seed)
            found[what] += 1
            if what == "WRONG":
                say(said)
            if number // step % 500 == 499:
                say(f"mutate  {number + 1:,} of {n:,}: {dict(found)}")
    finally:
        mutants.close()
    return found
