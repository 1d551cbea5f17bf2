"""Whatever promises to survive a crash, over a disk that crashes: a slice of ``python tests/crashes.py 5000``, and its hard cases by name."""

import random
import time

import crashes
import numpy as np
import pyarrow as pa
import pytest
from crashing import Life

import replay
from replay.collect.asked import Span
from replay.collect.parts import Parts
from replay.data import store
from replay.data.session import Session
from replay.data.synth import equity_day
from replay.errors import BadInput
from replay.faults.disk import CREATE, SYNC, SYNC_NAMES, WRITE, Kept, SimulatedDisk, after, broken, full, survivors, torn
from replay.live import recovery, snapshots
from replay.live.log import segment_name


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    return crashes.Days(tmp_path_factory.mktemp("days"))


def test_a_slice_of_all_crashes(days):
    seen = sum((days.try_one(c) for c in random.Random(3).sample(days.crashes(), 150)), crashes.Counter())
    assert seen["recovered"] > 100 and seen["lost"] > 40 and seen["faulty"] > 15 and seen["again"] > 15, seen
    assert seen["equal"] and seen["begun"] and seen["refused"], seen


def test_every_way_to_crash_is_enumerated(days):
    every = days.crashes()
    assert len(every) == len(set(every)) > 4_000
    hit = {(c.day, c.number) for c in every if c.how in (crashes.BEFORE, Kept.SYNCED.value)}
    assert hit == {(d, k) for d, (life, _) in enumerate(days.lives) for k in range(len(life.disk.ops) + 1)}
    kinds = {op.kind for life, _ in days.lives for op in life.disk.ops}
    assert {CREATE, WRITE, SYNC, SYNC_NAMES} <= kinds
    assert sum(op.name.startswith("segment") for op in days.lives[0][0].disk.ops if op.kind == CREATE) > 3, "segments rotate"


def test_a_segment_whose_name_was_not_durable_when_its_process_died(days, tmp_path):
    """The next process goes on in it; then the machine dies. Its writes were acknowledged."""
    life, kill_at = days.lives[0]
    made = [k for k, op in enumerate(life.disk.ops) if op.kind == CREATE and op.name == segment_name(3)][0]
    assert survivors(life.disk.ops[: made + 2]).keys() - survivors(life.disk.ops[: made + 2], Kept.NAMES).keys() == set()
    disk = SimulatedDisk(tmp_path / "second", life.disk.ops[: made + 2])
    point = life.points[made + 2]
    second = Life(disk, point.memory, point.step + 1, life.digests, point.taken, point.kept)
    second.start(days.strategies)
    kept = second.kept
    third = SimulatedDisk(tmp_path / "third", after(survivors(disk.ops, Kept.SYNCED)))
    assert segment_name(3) in third.names() and recovery.recover(third).prefix.inputs >= kept


def test_names_and_bytes_are_kept_apart(tmp_path):
    disk = SimulatedDisk(tmp_path)
    f = disk.open("a")
    disk.append(f, b"x" * 700)
    assert survivors(disk.ops, Kept.NAMES) == {"a": b""} and survivors(disk.ops, Kept.BYTES) == {}
    disk.sync(f)
    disk.sync_names()
    disk.rename("a", "b")
    assert survivors(disk.ops) == {"b": b"x" * 700} and survivors(disk.ops, Kept.SYNCED) == {"a": b"x" * 700}
    disk.truncate("b", 3)
    disk.append(f, b"yy")
    assert disk.read("b") == b"xxxyy" and survivors(disk.ops, Kept.SYNCED) == {"a": b"xxx"}
    disk.remove("b")
    rng = random.Random(1)
    states = {tuple(survivors(disk.ops, Kept.SOME, rng).items()) for _ in range(60)}
    names = {name for state in states for name, _ in state}
    assert names == {"a", "b"} and () in states and len(states) >= 6
    assert survivors(torn(disk.ops, 1, 5)[:2]) == {"a": b"xxxxx"}


def test_a_failed_sync_is_lost_even_where_a_later_one_succeeds(tmp_path):
    failing = []
    disk = SimulatedDisk(tmp_path, before=lambda k, op: failing and op.kind == SYNC and (_ for _ in ()).throw(failing.pop()))
    f = disk.open("a")
    disk.sync_names()
    disk.append(f, b"one")
    failing.append(broken())
    with pytest.raises(OSError, match="Input/output"):
        disk.sync(f)
    disk.sync(f)
    assert survivors(disk.ops, Kept.SYNCED) == {"a": b""} and survivors(disk.ops) == {"a": b"one"}


def test_after_begins_with_what_is_durable(tmp_path):
    files = {"a": b"1", "in/b": b"22", "in/c": b""}
    assert survivors(after(files), Kept.SYNCED) == files
    disk = SimulatedDisk(tmp_path / "d", after(files))
    assert disk.within("in").read("b") == b"22" and disk.names() == ["a"]


def test_older_snapshots_and_the_log_serve_where_the_newest_is_bad(days, tmp_path):
    life, _ = days.lives[0]
    files = survivors(life.disk.ops)
    shots = sorted(name for name in files if name.startswith("snapshot-"))
    assert len(shots) == snapshots.KEEP
    for k, name in enumerate(reversed(shots)):
        files[name] = files[name][:-1]
        r = recovery.recover(SimulatedDisk(tmp_path / str(k), after(files)))
        assert len(r.bad) == k + 1 and int(r.trader.header.digest) == life.desk.header.digest


def test_segments_that_are_gone_are_missed(days, tmp_path):
    life, _ = days.lives[0]
    files = survivors(life.disk.ops)
    segments = sorted(name for name in files if name.startswith("segment-"))
    shot = max(name for name in files if name.startswith("snapshot-"))
    cut = {name: data for name, data in files.items() if name not in segments[2:]}
    r = recovery.recover(SimulatedDisk(tmp_path / "end", after(cut)))
    assert f"{shot} was taken after its end" in r.prefix.fault and not r.prefix.torn
    cut = {name: data for name, data in files.items() if name not in segments}
    with pytest.raises(BadInput, match="snapshots of a journal that is not there"):
        Life(SimulatedDisk(tmp_path / "all", after(cut))).start(days.strategies)
    cut = {name: data for name, data in files.items() if name != segments[0]}
    with pytest.raises(BadInput, match="beginning cannot be read .segment-000001.log is missing"):
        Life(SimulatedDisk(tmp_path / "first", after(cut))).start(days.strategies)


def test_a_slow_disk_is_seen_and_breaks_nothing(days, tmp_path):
    life = Life(SimulatedDisk(tmp_path / "slow"))
    life.start(days.strategies)
    life.fault = lambda number, op: time.sleep(0.03) if op.kind == SYNC and number % 10 == 0 else None
    life.trade(-1)
    assert not life.differences() and life.desk.header.digest == days.lives[0][0].desk.header.digest
    assert life.runner.hops.summary()["durable"]["max"] > 20_000_000


@pytest.mark.parametrize("written", [0, 1])
def test_a_full_disk_cancels_what_works_and_says_so(days, tmp_path, written):
    life, sent = Life(SimulatedDisk(tmp_path / "full")), []

    def fail(number, op):
        if op.kind == WRITE and life.step > 20:
            life.venue.broken = True
            sent.append(life.venue.sent)
            raise full(written * len(op.data) // 2)

    life.fault = fail
    life.start(days.strategies)
    life.trade(-1)
    life.end()
    assert life.runner.problem.startswith("the journal could not be written (No space left on device)")
    assert life.venue.sent == sent[0] and not [o for o in life.venue.orders.values() if o.state == 0]


SESSION = equity_day(n_events=300, seed=4)


@pytest.mark.parametrize("format", ["bin", "parquet"])
def test_a_session_is_whole_or_not_there(tmp_path, format):
    """Written into an empty folder, a crash anywhere leaves the session, or none, or one that says that it is damaged: never another."""
    disk = SimulatedDisk(tmp_path / "s")
    store.write(SESSION, disk, format)
    assert Session.open(tmp_path / "s").manifest == SESSION.manifest
    rng, found = random.Random(1), []
    for number in range(len(disk.ops) + 1):
        for kept in (*Kept, *[Kept.SOME] * 4):
            folder = tmp_path / "left" / str(len(found))
            SimulatedDisk(folder, after(survivors(disk.ops[:number], kept, rng)))
            try:
                found.append(np.array_equal(Session.open(folder).events, SESSION.events))
            except BadInput as e:
                assert "no session here" in str(e)
                found.append(None)
    assert None in found and True in found and False not in found
    assert found[-1] is True, "when writing it has returned it is durable"


def test_a_run_is_whole_or_the_one_before_it(tmp_path, monkeypatch):
    """Saved where another stands: at every moment one of both is there, under its name or put aside, with every file."""
    from replay.runs import report

    monkeypatch.setattr(report, "render", lambda result: "page")
    disk, whole, ends = SimulatedDisk(tmp_path / "s"), [], []
    for k in (1, 2):
        replay.run(equity_day(n_events=400, seed=k), "ema_cross")._write(disk, "r")
        whole.append({p.name: p.read_bytes() for p in (tmp_path / "s" / "r").iterdir()})
        ends.append(len(disk.ops))
    rng, found = random.Random(1), []
    for number in range(len(disk.ops) + 1):
        for kept in (*Kept, *[Kept.SOME] * 3):
            folders = {}
            for path, data in survivors(disk.ops[:number], kept, rng).items():
                folder, _, name = path.partition("/")
                folders.setdefault(folder, {})[name] = data
            found.append([k for k, files in enumerate(whole) if files in folders.values()])
            assert number < ends[0] or found[-1], f"operation {number}, {kept}: neither run is there"
            assert folders.get("r", whole[0]) in whole, f"operation {number}, {kept}: half a run stands under its name"
    assert [] in found and [0] in found and [0, 1] in found and found[-1][-1] == 1


def test_a_part_of_a_download_that_the_index_names_is_whole(tmp_path):
    """A crash anywhere leaves each part whole and named, or to be fetched again; what was entered before it stays."""
    table, span = pa.table({"low": [2.0, 1.0]}), Span(0, 1, "x")
    disk = SimulatedDisk(tmp_path / "s")
    parts, ends = Parts(disk), []
    for symbol in ("A", "B"):
        parts.write(symbol, "bars", span, table.schema, [table, table])
        ends.append(len(disk.ops))
    rng, found = random.Random(1), []
    for number in range(len(disk.ops) + 1):
        for kept in (*Kept, *[Kept.SOME] * 4):
            left = Parts(SimulatedDisk(tmp_path / "left" / str(len(found)), after(survivors(disk.ops[:number], kept, rng))))
            whole = [left.find(symbol, "bars", span) is not None for symbol in ("A", "B")]
            assert whole >= [number >= end for end in ends], f"operation {number}, {kept}"
            left.write("A", "bars", span, table.schema, [table])
            assert left.find("A", "bars", span).rows == 2 == Parts(left.disk).find("A", "bars", span).rows
            found.append(whole)
    assert [False, False] in found and [True, False] in found and found[-1] == [True, True]
