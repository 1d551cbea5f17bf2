"""The durable journal: whatever happens to its files, what is trusted is a prefix of what was written, and it is said where it ends."""

import re
import shutil

import desks
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replay import State, Strategy
from replay.errors import BadInput
from replay.events import EVENT
from replay.journal import Stepper
from replay.live import recovery, snapshots
from replay.live.desk import Desk
from replay.live.disk import Disk
from replay.live.log import BATCH, HASH, HEAD, HEADER, MAGIC, MARK, SEGMENT, START, Log, Reader, segment_name
from replay.live.log import _seal as seal_of
from replay.strategy import load
from replay.trader.layout import FRAME


class Hoarder(Strategy):
    """Keeps one number where it is known."""

    known: State[int] = 0

    def on_quote(self, ctx, q):
        self.known += 1


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


def forged(folder, change):
    """Write the journal's blocks anew, each as `change(kind, frames, outputs, payload)` has it, None to leave it out, with hashes that fit:
    somebody wrote it who knows the format."""
    path = folder / segment_name(1)
    data, out, chain, at = path.read_bytes(), b"", bytes(HASH), 0
    while at < len(data):
        _, kind, frames, outputs, length, _ = HEADER.unpack_from(data, at)
        payload = data[at + HEADER.size : at + HEADER.size + length]
        at += HEADER.size + length
        block = change(kind, frames, outputs, payload)
        if block is not None:
            kind, frames, outputs, payload = block
            head = HEADER.pack(MAGIC, kind, frames, outputs, len(payload), bytes(HASH))[:-HASH]
            chain = seal_of(chain, head, payload)
            out += head + chain + payload
    path.write_bytes(out)
    return Disk(folder)


def instead(which, payload=None, **more):
    """A change of every block of one kind."""

    def change(kind, frames, outputs, old):
        if kind != which:
            return kind, frames, outputs, old
        new = payload(old) if payload else old
        return None if new is None else (more.get("kind", kind), more.get("frames", frames), more.get("outputs", outputs), new)

    return change


def test_a_forged_journal_changes_nothing(short, tmp_path):
    target = copy(short[0], tmp_path)
    before = (target / segment_name(1)).read_bytes()
    forged(target, lambda *block: block)
    assert (target / segment_name(1)).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (instead(HEAD, lambda p: None), "no readable head"),
        (instead(HEAD, lambda p: b"{"), "head"),
        (instead(HEAD, lambda p: p.replace(b"{", b"[", 1)), "head"),
    ],
)
def test_a_head_that_cannot_be_read(short, tmp_path, change, what):
    disk = forged(copy(short[0], tmp_path), change)
    with pytest.raises(BadInput, match=what):
        recovery.read_head(disk)
    with pytest.raises(BadInput):
        recovery.recover(disk)


def spoiled(payload):
    """A batch whose first input is of the hundredth instrument."""
    frames = np.frombuffer(payload[: FRAME.itemsize], FRAME).copy()
    event = frames["event"].view(EVENT)
    event["instrument"] = 99
    return frames.tobytes() + payload[FRAME.itemsize :]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (instead(START, lambda p: b"no json"), "start record cannot be read"),
        (instead(BATCH, spoiled), "of an instrument or a kind that the run does not have"),
        (instead(MARK, lambda p: b"[]"), "mark record cannot be read"),
    ],
)
def test_a_journal_that_no_run_wrote_is_refused(run, tmp_path, change, what):
    desks.write(tmp_path / "j", run[1], until=1_500).close()
    disk = forged(tmp_path / "j", change)
    with pytest.raises(BadInput, match=what):
        recovery.recover(disk)
        recovery.verify(disk)


def other_output(payload):
    """The last output record of a batch, where it has one, says something else."""
    return payload[:-1] + bytes([payload[-1] ^ 1])


def test_outputs_that_the_inputs_do_not_give(short, tmp_path):
    seen = []

    def change(kind, frames, outputs, payload):
        if kind == BATCH and outputs and not seen:
            seen.append(frames)
            payload = other_output(payload)
        return kind, frames, outputs, payload

    disk = forged(copy(short[0], tmp_path), change)
    assert seen
    with pytest.raises(BadInput, match="says other things than the journal holds"):
        recovery.recover(disk)
    verdict = recovery.verify(disk)
    assert not verdict.identical and str(verdict).startswith("DIFFERENT: output record")


def test_a_mark_and_a_snapshot_of_another_state(run, tmp_path):
    desks.write(tmp_path / "j", run[1], snapshot_every=1_000).close()
    disk = forged(copy(tmp_path / "j", tmp_path), instead(MARK, lambda p: re.sub(rb'"digest":-?[0-9]+', b'"digest":1', p)))
    verdict = recovery.verify(disk)
    assert not verdict.identical and "the digest or the state at input" in verdict.difference
    held = snapshots.read_all(Disk(tmp_path / "j"))[0][0]
    other = bytearray(held.arena)
    other[-1] ^= 1
    held.arena = bytes(other)
    (tmp_path / "j" / held.name).unlink()
    snapshots.write(Disk(tmp_path / "j"), held)
    verdict = recovery.verify(Disk(tmp_path / "j"))
    assert not verdict.identical and "not the state the inputs lead to" in verdict.difference


def test_blocks_where_none_belongs(short, tmp_path):
    disk = forged(copy(short[0], tmp_path, "a"), instead(START, lambda p: p, kind=SEGMENT))
    reader = Reader(disk)
    list(reader)
    assert "a segment's first block in another's place" in reader.fault
    disk = forged(copy(short[0], tmp_path, "b"), instead(BATCH, lambda p: p, frames=1_000))
    reader = Reader(disk)
    list(reader)
    assert "1000 inputs and" in reader.fault


def test_a_stop_stands_behind_the_snapshot(run, tmp_path):
    desk = desks.write(tmp_path / "j", run[1], snapshot_every=1_000)
    desk.note("hello", who="me")
    desk.stop()
    desk.close()
    r = recovery.recover(Disk(tmp_path / "j"))
    assert r.stopped and (int(r.trader.header.digest), r.trader.digest()) == (int(desk.header.digest), desk.trader.digest())
    assert [n["what"] for n in recovery.notes(Disk(tmp_path / "j"))].count("hello") == 1


def test_a_journal_without_a_market_is_no_session(run, tmp_path):
    desks.write(tmp_path / "j", run[1], until=0).close()
    with pytest.raises(BadInput, match="holds no market data"):
        recovery.session_of(Disk(tmp_path / "j"))


def test_a_strategy_that_keeps_state_of_its_own_has_no_snapshot():
    s = load(Hoarder)
    assert snapshots.plain_state([s]) == [{"known": 0}]
    s.instance.elsewhere = 1
    assert snapshots.plain_state([s]) is None
