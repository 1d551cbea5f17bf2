"""A desk crashes behind every operation on its disk, in every way a disk allows, and goes on: ``python tests/crashes.py 5000 --seed 1``.

What is checked of every crash: the trader that comes back is the one there was after some input, holding every write that `durable` had
returned for; it knows every order that the broker got; a killed one is killed. Then it goes on to the end of its day, or crashes again
on the way. No order is sent twice, both sides' books agree at the end, and where nothing was lost the run is the undisturbed one.
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from crashing import KILL_AT, STEPS, Life, strategies  # noqa: E402

from replay.errors import BadInput  # noqa: E402
from replay.faults.disk import (  # noqa: E402
    SYNC,
    WRITE,
    Kept,
    Op,
    SimulatedDisk,
    after,
    broken,
    full,
    survivors,
    torn,
)
from replay.live import recovery  # noqa: E402
from replay.live.ids import parse  # noqa: E402
from replay.live.log import Reader  # noqa: E402
from replay.trader.layout import ACTIVE, HALTED, KILLED  # noqa: E402
from replay.trader.output import OUT_NEW  # noqa: E402

# the process dies, in front of the operation or within it; an error instead of it; the process dies, and then something rots; or the machine
# dies, as `Kept` says
BEFORE, TORN, ERROR, ROT = "before", "torn", "error", "rot"
CUTS = 4
DRAWS = 4
SECOND = 3  #: of so many crashes one is followed by another, while the process that came after goes on


class Crash(NamedTuple):
    """Which day (an operator kills in the second), which operation of it, and how."""

    day: int
    number: int
    how: str
    draw: int = 0

    def __str__(self) -> str:
        return f"day {self.day}, operation {self.number}, {self.how} {self.draw}"


class Days:
    """The undisturbed days, and every crash of them there is."""

    def __init__(self, folder: Path):
        self.folder, self.strategies, self.lives = folder, strategies(), []
        for k, kill_at in enumerate((-1, KILL_AT)):
            life = Life(SimulatedDisk(folder / f"day{k}"))
            life.start(self.strategies)
            life.trade(kill_at)
            assert not life.differences(), life.differences()
            self.lives.append((life, kill_at))

    def crashes(self) -> list[Crash]:
        """Everything but further draws: behind every operation, and instead of it."""
        out = []
        for day, (life, _) in enumerate(self.lives):
            for number, op in enumerate(life.disk.ops):
                out += [Crash(day, number, BEFORE)]
                out += [Crash(day, number, kept.value) for kept in (Kept.SYNCED, Kept.NAMES, Kept.BYTES)]
                out += [Crash(day, number, Kept.SOME.value, draw) for draw in range(DRAWS)]
                if op.kind == WRITE:
                    out += [Crash(day, number, TORN, cut) for cut in range(CUTS)]
                out += [Crash(day, number, ROT, draw) for draw in range(2)]
                out += [Crash(day, number, ERROR, written) for written in range(2 if op.kind == WRITE else 1)]
            out += [Crash(day, len(life.disk.ops), kept) for kept in (BEFORE, *(k.value for k in Kept if k is not Kept.ALL))]
        return out

    def more(self, seed: int):
        """Further draws, for ever."""
        rng = random.Random(seed)
        for draw in itertools.count(DRAWS):
            day = rng.randrange(len(self.lives))
            yield Crash(day, rng.randrange(len(self.lives[day][0].disk.ops) + 1), Kept.SOME.value, draw)

    def try_one(self, crash: Crash) -> Counter:
        """Crash, go on, check. Returns what came of it, to be counted; raises AssertionError with the crash in front."""
        rng = random.Random(repr(crash))
        try:
            return {ERROR: self._error, ROT: self._rot}.get(crash.how, self._crash)(crash, rng)
        except (AssertionError, BadInput) as e:
            raise AssertionError(f"{crash}: {e}") from e
        finally:
            for name in ("first", "second", "third"):
                shutil.rmtree(self.folder / name, ignore_errors=True)

    def _crash(self, crash: Crash, rng: random.Random) -> Counter:
        life, kill_at = self.lives[crash.day]
        ops = left(life.disk.ops, crash.number, crash.how, crash.draw, rng)
        point = life.points[crash.number] if crash.number < len(life.points) else last(life)
        next_life, seen = self._go_on("second", ops, point, life, kill_at)
        if (crash.how == BEFORE or rng.randrange(SECOND) == 0) and next_life.points:
            seen += self._crash_again(next_life, kill_at, rng)
        return seen

    def _crash_again(self, life: Life, kill_at: int, rng: random.Random) -> Counter:
        number = rng.choice([rng.randrange(len(life.points)), min(len(life.points) - 1, rng.randrange(12))])
        how = rng.choice([BEFORE, TORN, *(k.value for k in Kept if k is not Kept.ALL)])
        ops = left(life.disk.ops, life.base + number, how, rng.randrange(CUTS), rng)
        _, seen = self._go_on("third", ops, life.points[number], life, kill_at)
        return seen + Counter(again=1)

    def _error(self, crash: Crash, rng: random.Random) -> Counter:
        """The operation fails: nothing is sent any more; then the process ends, or the machine."""
        whole, kill_at = self.lives[crash.day]
        op = whole.disk.ops[crash.number]
        life = Life(SimulatedDisk(self.folder / "first"), digests=whole.digests)
        failed: list[int] = []

        def fail(number: int, op: Op) -> None:
            if failed:
                assert op.kind not in (WRITE, SYNC) or op.file != failed[0], f"{op} after one that failed"
            elif number == crash.number:
                failed.append(op.file if op.kind in (WRITE, SYNC) else -2)
                life.venue.broken = True
                raise broken() if op.kind != WRITE else full(crash.draw * (len(op.data) // 2))

        life.fault = fail
        try:
            life.start(self.strategies)
            life.trade(kill_at)
        except (OSError, BadInput):
            pass  # before it traded, or while it ended
        assert failed, f"{op} was not reached"
        kept = rng.choice(list(Kept))
        ops = life.disk.ops if kept is Kept.ALL else after(survivors(life.disk.ops, kept, rng))
        point = last(life)
        point = point._replace(memory=point.memory._replace(due=()))
        _, seen = self._go_on("second", ops, point, life, kill_at)
        return seen

    def _rot(self, crash: Crash, rng: random.Random) -> Counter:
        """What was durable is not any more: then a beginning is trusted, no name is used twice, and if more than the last block is gone, the
        trader comes up killed; or it is refused in one line."""
        life, kill_at = self.lives[crash.day]
        point = life.points[crash.number]
        files = survivors(life.disk.ops[: crash.number])
        files, cut = rot(files, rng)
        disk = SimulatedDisk(self.folder / "second", after(files))
        next_life = Life(disk, point.memory, min(point.step + 1, STEPS), life.digests)
        next_life.venue.strangers = []
        try:
            prefix = recovery.recover(disk).prefix if recovery.begun(disk) else None
            next_life.start(self.strategies)
        except BadInput as e:
            return Counter(refused=bool(e))
        if cut and (prefix is None or prefix.inputs < point.kept):
            next_life.venue.killed = False  # what is cut off looks as if it had never been
        if prefix:
            assert next_life.digests[prefix.inputs] == life.digests[prefix.inputs], f"not the trader there was after {prefix}"
        if prefix and prefix.damaged:
            assert next_life.desk.header.state == KILLED, f"not killed by {prefix}"
            how = rng.choice([BEFORE, Kept.SYNCED.value, Kept.SOME.value])  # and again, while the damage is dealt with
            ops = left(disk.ops, next_life.base + rng.randrange(len(next_life.points)), how, 0, rng)
            r = recovery.recover(SimulatedDisk(self.folder / "third", ops))
            assert r.prefix.damaged or r.trader.header.state == KILLED, f"not killed any more by {prefix}, after {r.prefix}"
        next_life.trade(kill_at)
        assert next_life.desk.header.state != ACTIVE or not next_life.differences(), next_life.differences()
        verdict = recovery.verify(disk)
        assert verdict.identical and not verdict.prefix.fault, str(verdict)
        return Counter({"with strangers": bool(next_life.venue.strangers), "halted": next_life.desk.header.state == HALTED})

    def _go_on(self, name: str, ops: list[Op], point, life: Life, kill_at: int) -> tuple[Life, Counter]:
        """Start again on what a crash left, check what comes back, and go on to the end."""
        disk = SimulatedDisk(self.folder / name, ops)
        seen = Counter(begun=1)
        known, inputs = point.memory.orders, 0
        if recovery.begun(disk):
            r = recovery.recover(disk)
            inputs = r.prefix.inputs
            assert point.kept <= inputs <= point.taken, f"{inputs} inputs, {point.kept} were durable, {point.taken} were taken"
            assert int(r.trader.header.digest) == life.digests[inputs], f"not the trader there was after input {inputs}"
            assert not point.memory.killed or int(r.trader.header.state) == KILLED, "was killed, is not any more"
            said = np.concatenate([b.outputs for b in Reader(disk)])
            names = {
                (r.starts, h) and f"{r.head.run_id}-{epoch_of(r.starts, h):x}-{h:x}"
                for h in said["a"][said["kind"] == OUT_NEW].tolist()
            }
            assert set(known) <= names, f"sent, but not in the journal: {set(known) - names}"
            seen = Counter(recovered=1, lost=inputs < point.taken, faulty=bool(r.prefix.fault))
        else:
            assert not point.kept and not known, "the journal is gone, and something was durable or sent"
        nothing_lost = (
            inputs == life.ends.get(point.step) and not point.memory.due and life is self.lives[0 if kill_at < 0 else 1][0]
        )
        first = min(point.step + 1, STEPS) if inputs or known else 0
        next_life = Life(disk, point.memory, first, life.digests, inputs, point.kept)
        next_life.start(self.strategies)
        seen["killed by damage"] += kill_at < 0 and next_life.desk.header.state == KILLED
        next_life.trade(kill_at)
        assert not next_life.differences(), next_life.differences()
        verdict = recovery.verify(disk)
        assert verdict.identical and not verdict.prefix.fault, str(verdict)
        if nothing_lost and point.memory.sent == next_life_sent(life, point.step):
            assert next_life.desk.header.digest == life.desk.header.digest, "nothing was lost, and it is another run"
            seen["equal"] += 1
        return next_life, seen


def left(ops: list[Op], number: int, how: str, draw: int, rng: random.Random) -> list[Op]:
    """What a crash in front of operation `number` leaves, as the history of the next disk."""
    if how == TORN and number < len(ops) and ops[number].kind == WRITE:
        n = len(ops[number].data)
        return torn(ops, number, [1, n // 2, n - 1, rng.randrange(n)][draw])
    if how in (BEFORE, TORN):
        return ops[:number]
    return after(survivors(ops[:number], Kept(how), rng))


def rot(files: dict[str, bytes], rng: random.Random) -> tuple[dict[str, bytes], bool]:
    """The files with one bit flipped, or with the end of one, or one, cut off; and whether something was."""
    files = dict(files)
    name, how = rng.choice(sorted(files) or [""]), rng.randrange(4)
    data = bytearray(files.pop(name, b""))
    if how == 3 or not data:
        return files, True
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    files[name] = bytes(data[:at] if how == 2 else data)
    return files, how == 2


def last(life: Life):
    """The point behind a life's last operation."""
    taken = life.desk.header.seq if life.desk else life.taken
    return life.points[-1]._replace(memory=life.venue.memory(), step=life.step, taken=taken, kept=life.kept)


def next_life_sent(life: Life, step: int) -> int:
    """How many commands had been sent when a step was over."""
    return next((p.memory.sent for p in life.points if p.step > step), life.venue.sent)


def epoch_of(starts, handle: int) -> int:
    return next(s.epoch for s in reversed(starts) if parse(f"{0:010x}-1-{handle:x}").handle >> 20 > s.ordinal)


def run(n: int, seed: int, folder: Path, say=lambda text: None) -> Counter:
    """`n` crashes: all there are and further draws, or a sample of all."""
    days = Days(folder)
    every = days.crashes()
    chosen = (
        random.Random(seed).sample(every, n) if n < len(every) else [*every, *itertools.islice(days.more(seed), n - len(every))]
    )
    seen: Counter = Counter()
    for k, crash in enumerate(chosen):
        seen += days.try_one(crash) + Counter({crash.how: 1})
        say(f"crash {k + 1:,} of {n:,}")
    return seen


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crashes", type=int)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crashes-") as where:
        seen = run(args.crashes, args.seed, Path(where), say=lambda text: print(text, end="\r", flush=True))
    print(
        f"{args.crashes:,} crashes, nothing lost, nothing twice: " + ", ".join(f"{n:,} {what}" for what, n in seen.most_common())
    )
