"""The durable journal: whatever happens to its files, what is trusted is a prefix of what was written, and it is said where it ends."""

import shutil

import desks
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay.errors import BadInput
from replay.journal import Stepper
from replay.live import recovery, snapshots
from replay.live.desk import Desk
from replay.live.disk import Disk
from replay.live.log import BATCH, Log, Reader, segment_name


@pytest.fixture(scope="module")
def run():
    return desks.engine()


@pytest.fixture(scope="module")
def short(run, tmp_path_factory):
    """A journal of 60 inputs in batches of 7, and where each of its blocks ends, with the digest there."""
    folder = tmp_path_factory.mktemp("short") / "j"
    desk = desks.write(folder, run[1], every=7, until=60)
    desk.close()
    ends, stepper, inputs = [(0, 0, 0)], None, 0
    reader = Reader(Disk(folder))
    for block in reader:
        if stepper is None and block.kind == BATCH:
            head, starts, *_ = recovery.survey(Disk(folder))
            stepper = Stepper(head.build(folder))
            stepper.start(starts[0].now)
        if len(block.frames):
            stepper.feed(block.frames)
            inputs += len(block.frames)
        ends.append((reader.place.size, inputs, int(stepper.trader.header.digest) if stepper else 0))
    return folder, ends


def copy(folder, tmp_path, name="copy"):
    shutil.rmtree(tmp_path / name, ignore_errors=True)
    shutil.copytree(folder, tmp_path / name)
    return tmp_path / name


def test_verifies_and_equals_the_run(run, tmp_path):
    engine, journal = run
    desk = desks.write(tmp_path / "j", journal, snapshot_every=1_000)
    assert (desk.header.digest, desk.trader.digest()) == (journal.digest, _before_stop(journal))
    desk.stop()
    desk.close()
    verdict = recovery.verify(Disk(tmp_path / "j"))
    assert verdict.identical and verdict.snapshots == 3 and verdict.marks > 3, verdict
    assert f"{verdict}".endswith(engine.digest)
    blocks = [b for b in Reader(Disk(tmp_path / "j")) if b.kind == BATCH]
    assert np.array_equal(np.concatenate([b.outputs for b in blocks]).view("V64"), np.asarray(journal.outputs).view("V64"))


def _before_stop(journal):
    stepper = Stepper(journal.build)
    stepper.start(journal.start_ns)
    stepper.feed(journal.frames)
    return stepper.trader.digest()


def test_what_leaves_is_durable_first(run, tmp_path):
    """Every command `durable` hands over stands in a synced file at that moment."""

    class Watching(Disk):
        synced = 0

        def sync(self, file):
            super().sync(file)
            Watching.synced = (self.folder / segment_name(1)).stat().st_size

    disk = Watching(tmp_path / "j")
    desk = desks.write(tmp_path / "j", run[1], until=0)
    desk.disk = desk.log.disk = disk
    sent = 0
    with desk:
        for now, event in zip(run[1].frames["now"][:400].tolist(), run[1].frames["event"][:400], strict=True):
            desk.take(np.ascontiguousarray(event).tobytes(), now)
            if desk.waiting:
                desk.durable()
                out = desk.claim()
                sent += len(out)
                assert Watching.synced == (disk.folder / segment_name(1)).stat().st_size
                said = np.concatenate([b.outputs for b in Reader(disk)])
                orders = said[(said["kind"] >= 32) & (said["kind"] <= 34)]
                assert orders["a"][-len(out) :].tolist() == [c.handle for c in out]
    assert sent > 50


def test_torn_at_every_byte(short, tmp_path):
    folder, ends = short
    data = (folder / segment_name(1)).read_bytes()
    target = copy(folder, tmp_path)
    disk = Disk(target)
    first = next(k for k, (_, inputs, _) in enumerate(ends) if inputs)
    for cut in range(len(data) - 1, ends[first][0] - 1, -1):
        (target / segment_name(1)).write_bytes(data[:cut])
        *_, prefix, _, places = recovery.survey(disk)
        size, inputs, _ = max(e for e in ends if e[0] <= cut)
        assert (prefix.place.size, prefix.inputs, bool(prefix.fault)) == (size, inputs, cut > size)
        assert prefix.lost == cut - size and (prefix.torn or cut == size)


def test_torn_journals_go_on(short, run, tmp_path):
    """From any tear: recovered to the digest of the prefix, the rest put aside, and with the inputs given again the same end."""
    folder, ends = short
    data = (folder / segment_name(1)).read_bytes()
    for k, (size, inputs, digest) in enumerate(ends):
        if not inputs:
            continue
        target = copy(folder, tmp_path, f"c{k}")
        (target / segment_name(1)).write_bytes(data[: size + 11])
        disk = Disk(target)
        r = recovery.recover(disk)
        assert (int(r.trader.header.digest), r.prefix.inputs) == (digest, inputs)
        desk = desks.write(target, run[1], until=60, desk=Desk.resume(disk, r, 0))
        assert desk.header.digest == ends[-1][2] and desk.starts[-1].epoch == 2
        desk.close()
        verdict = recovery.verify(disk)
        assert verdict.identical and not verdict.prefix.fault, verdict
        assert (target / f"{segment_name(1)}.{size}.untrusted").exists() == (size + 11 <= len(data) or size < len(data))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_found(short, tmp_path, data):
    folder, ends = short
    whole = (folder / segment_name(1)).read_bytes()
    at = data.draw(st.integers(ends[2][0], len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    target = tmp_path / "flipped"
    if not target.exists():
        shutil.copytree(folder, target)
    (target / segment_name(1)).write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    reader = Reader(Disk(target))
    list(reader)
    size, *_ = max(e for e in ends if e[0] <= at)
    assert reader.fault and reader.place.size == size
    assert reader.torn == (size == ends[-2][0]), "only damage to the last block can be a crash's"


def test_segments_rotate_and_a_missing_one_is_found(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Log.__init__, "__defaults__", (None, 20_000))
    desk = desks.write(tmp_path / "j", run[1], every=20)
    desk.close()
    disk = Disk(tmp_path / "j")
    names = [n for n in disk.names() if n.startswith("segment")]
    assert len(names) > 10
    assert recovery.verify(disk).identical
    (tmp_path / "j" / names[4]).unlink()
    *_, prefix, _, _ = recovery.survey(disk)
    assert prefix.place.segment == 4 and f"{names[4]} is missing" in prefix.fault and not prefix.torn and prefix.lost > 0
    (tmp_path / "j" / names[5]).rename(tmp_path / "j" / names[4])  # another in its place does not follow the one before
    assert "does not follow" in recovery.survey(disk)[2].fault


def test_a_bad_snapshot_is_passed_over(run, tmp_path):
    desk = desks.write(tmp_path / "j", run[1], snapshot_every=1_000)
    desk.close()
    disk = Disk(tmp_path / "j")
    want = int(desk.header.digest), desk.trader.digest()
    shots = sorted(p for p in (tmp_path / "j").glob("snapshot-*"))
    assert len(shots) == snapshots.KEEP
    for k, shot in enumerate(reversed(shots)):
        data = bytearray(shot.read_bytes())
        data[len(data) // 2] ^= 4
        shot.write_bytes(data)
        r = recovery.recover(disk)
        assert (int(r.trader.header.digest), r.trader.digest()) == want
        assert len(r.bad) == k + 1
    assert recovery.verify(disk).snapshots == 0


def test_a_snapshot_beyond_the_trusted_prefix_is_not_used(run, tmp_path):
    desk = desks.write(tmp_path / "j", run[1], snapshot_every=1_000)
    desk.close()
    name = tmp_path / "j" / segment_name(1)
    whole = bytearray(name.read_bytes())
    whole[len(whole) // 3] ^= 1
    name.write_bytes(whole)
    r = recovery.recover(Disk(tmp_path / "j"))
    assert r.prefix.fault and not r.prefix.torn and len(r.bad) >= 2
    assert int(r.trader.header.seq) == r.prefix.inputs


def test_a_killed_trader_comes_up_killed(run, tmp_path):
    from replay import events as ev
    from replay.live.desk import pack
    from replay.trader.layout import KILLED

    desk = desks.write(tmp_path / "j", run[1], until=300)
    now = desk.header.now
    with desk:
        desk.take(pack(ev.CONTROL, now, now, side=ev.OP_KILL), now)
    desk.durable()  # and no more: the process dies
    r = recovery.recover(Disk(tmp_path / "j"))
    assert r.trader.header.state == KILLED
    desk = Desk.resume(Disk(tmp_path / "j"), r, now)
    assert desk.header.state == KILLED


def test_changed_source_limits_and_output_are_refused(run, tmp_path):
    folder = tmp_path / "j"
    desk = desks.write(folder, run[1], until=300)
    desk.close()
    head = recovery.read_head(Disk(folder))
    assert head.differences(desks.strategies(), desks.LIMITS) == []
    assert head.differences(desks.strategies()[:1], desks.LIMITS) == ["strategies or their parameters"]
    assert head.differences(desks.strategies(), type(desks.LIMITS)()) == ["limits"]
    source = folder / head.strategies[0].file
    source.write_text(source.read_text() + "\n# changed\n")
    with pytest.raises(BadInput, match="not the source the journal was written with"):
        recovery.recover(Disk(folder))


def test_no_journal(tmp_path):
    with pytest.raises(BadInput, match="no journal here"):
        recovery.recover(Disk(tmp_path))


def test_a_full_disk_stops_the_sending(run, tmp_path):
    class Full(Disk):
        def append(self, file, data):
            raise OSError(28, "No space left on device")

    desk = desks.write(tmp_path / "j", run[1], until=0)
    desk.log.disk = Full(tmp_path / "j")
    with desk:
        for now, event in zip(run[1].frames["now"].tolist(), run[1].frames["event"], strict=True):
            desk.take(np.ascontiguousarray(event).tobytes(), now)
            if desk.waiting:
                break
        with pytest.raises(OSError):
            desk.durable()
        desk.log.disk = Disk(tmp_path / "j")  # space again: what the file holds is not known all the same
        with pytest.raises(BadInput, match="nothing more may be sent"):
            desk.durable()
    assert desk.waiting


def test_the_session_of_a_journal_replays(run, tmp_path):
    from replay.engine import Engine

    engine, journal = run
    desk = desks.write(tmp_path / "j", journal)
    desk.close()
    session = recovery.session_of(Disk(tmp_path / "j"))
    assert session.manifest.n_events == 3_000 and session.manifest.clock_shift_ns == 0
    again = Engine(session, desks.strategies(), limits=desks.LIMITS).run()
    assert again.digest == engine.digest


def test_an_empty_folder_is_begun_once(run, tmp_path):
    desks.write(tmp_path / "j", run[1], until=10)
    with pytest.raises(BadInput, match="holds a journal already"):
        desks.write(tmp_path / "j", run[1], until=10)
