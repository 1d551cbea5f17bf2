"""Journals that were not written by a run, or by another one: built block by block, with good checksums."""

import msgspec
import numpy as np
import pytest

from replay import Each, Strategy
from replay.data.synth import equity_day
from replay.engine import Engine
from replay.errors import BadInput
from replay.journal import verify as verify_journal
from replay.live import recovery, snapshots
from replay.live.desk import Desk, pack
from replay.live.disk import LARGEST, Disk
from replay.live.head import head_of, manifest_of
from replay.live.log import BATCH, HEAD, MARK, NOTE, SEGMENT, START, Log, Reader, segment_name
from replay.strategy import load
from replay.trader.limits import Limits


class Starter(Strategy):
    """Buys at the start and at every quote; raises in a handler when told to."""

    raising: str = ""
    n: Each[int] = 0

    def on_start(self, ctx):
        ctx.log(1, 2.0)
        self._maybe("on_start")

    def on_quote(self, ctx, q):
        self.n[q.instrument] += 1
        ctx.market(q.instrument, 1)
        if self.n[q.instrument] == 3:
            self._maybe("on_quote")

    def on_stop(self, ctx):
        ctx.log(3, 4.0)

    def _maybe(self, hook):
        if self.raising == hook:
            raise ValueError(hook)


@pytest.fixture
def run():
    engine = Engine(equity_day(n_events=40, seed=2), [load(Starter)], journal=True).run()
    return engine.journal()


def new(folder, journal):
    b = journal.build
    head = head_of(b.strategies, b.manifest, Limits(max_orders=1000), b.capital, "none", "test", journal.start_ns)
    return Desk.new(Disk(folder), head, b.strategies, journal.start_ns)


def feed(desk, journal, first=0, until=None):
    frames = journal.frames[first:until]
    with desk:
        for now, event in zip(frames["now"].tolist(), frames["event"], strict=True):
            desk.take(np.ascontiguousarray(event).tobytes(), now)
    desk.durable()
    desk.claim()
    return desk


def again(folder, to, changed):
    """The journal's blocks, each as `changed(kind, payload, frames, outputs)` returns it, under good checksums."""
    disk = Disk(to)
    disk.make()
    for name in Disk(folder).names():
        if name.startswith("strategy-"):
            (to / name).write_bytes((folder / name).read_bytes())
    log = Log(disk)
    for b in Reader(Disk(folder)):
        if b.kind != SEGMENT:
            block = changed(b.kind, b.payload, len(b.frames), len(b.outputs))
            if block is not None:
                log.append(*block)
    log.close()
    return disk


def test_a_stopped_journal_and_what_it_says_at_the_start(run, tmp_path):
    desk = feed(new(tmp_path / "j", run), run, 0, 20)
    desk.note("remark", of=1)
    desk.stop()
    assert not desk.waiting
    desk.close()
    verdict = recovery.verify(Disk(tmp_path / "j"))
    assert verdict.identical and f"{verdict}".startswith("identical: 20 inputs in 1 segment, ")
    r = recovery.recover(Disk(tmp_path / "j"))
    assert r.stopped and not len(r.unsaid) and int(r.trader.header.digest) == verdict.digest
    assert recovery.notes(Disk(tmp_path / "j")) == [{"what": "remark", "seq": 20, "now": int(r.trader.header.now), "of": 1}]


def test_what_on_start_said_is_kept_where_a_crash_lost_it(run, tmp_path):
    desk = new(tmp_path / "j", run)
    said = desk.log.place
    desk.close()
    d = again(tmp_path / "j", tmp_path / "k", lambda kind, *b: (kind, *b) if kind in (HEAD, START) else None)
    assert recovery.begun(d)
    r = recovery.recover(d)
    assert len(r.unsaid) == 1
    desk = Desk.resume(d, r, 0)
    desk.close()
    assert recovery.verify(d).identical and not len(recovery.recover(d).unsaid) and said.size > 0


def test_a_strategy_that_raises_stands_in_the_journal(run, tmp_path):
    for hook in ("on_start", "on_quote"):
        strategies = [load(Starter, {"raising": hook})]
        build = run.build._replace(strategies=strategies)
        desk = feed(new(tmp_path / hook, run._replace(build=build)), run, 0, 20)
        assert [(f.hook, str(f.error)) for f in desk.faults] == [(hook, hook)]
        desk.close()
        verdict = recovery.verify(Disk(tmp_path / hook))
        assert verdict.identical and verdict.faults == 1
        with pytest.raises(BadInput, match=f"a strategy raised in {hook}"):
            verify_journal(run._replace(build=build))


def test_plain_strategies_that_keep_state_elsewhere_have_no_snapshots(run, tmp_path):
    desk = feed(new(tmp_path / "j", run), run, 0, 20)
    assert desk.snapshot() is True and desk.snapshot() is True  # nothing came in between
    desk.build.strategies[0].instance.hidden = 1
    assert snapshots.plain_state(desk.build.strategies) is None and desk.snapshot() is False
    desk.close()
    assert len(snapshots.read_all(desk.disk)[0]) == 1
    assert recovery.verify(desk.disk).snapshots == 1
    r = recovery.recover(desk.disk)
    assert r.build.strategies[0].instance.n == desk.build.strategies[0].instance.n


def test_other_words_than_the_trader_says_are_found(run, tmp_path):
    feed(new(tmp_path / "j", run), run, 0, 20).close()

    def other_outputs(kind, payload, frames, outputs):
        if kind == BATCH and frames:
            payload = payload[:-1] + bytes([payload[-1] ^ 1])
        return kind, payload, frames, outputs

    d = again(tmp_path / "j", tmp_path / "out", other_outputs)
    with pytest.raises(BadInput, match="the trader says other things than the journal holds"):
        recovery.recover(d)
    assert f"{recovery.verify(d)}".startswith("DIFFERENT: output record ")

    def other_mark(kind, payload, frames, outputs):
        return kind, msgspec.json.encode({"seq": 20, "digest": 1, "state": 1}) if kind == MARK else payload, frames, outputs

    d = again(tmp_path / "j", tmp_path / "mark", other_mark)
    assert f"{recovery.verify(d)}" == "DIFFERENT: the digest or the state at input 20"


def test_a_snapshot_of_another_state_is_found(run, tmp_path):
    desk = feed(new(tmp_path / "j", run), run, 0, 20)
    assert desk.snapshot()
    desk.close()
    good = snapshots.read_all(desk.disk)[0][0]
    snapshots.write(desk.disk, msgspec.structs.replace(good, arena=good.arena[:-8] + b"\1" * 8))
    assert "not the state the inputs lead to" in recovery.verify(desk.disk).difference
    for wrong in (good.arena[:-8], b"\xff" * len(good.arena)):
        snapshots.write(desk.disk, msgspec.structs.replace(good, arena=wrong))
        assert recovery.recover(desk.disk).bad == [good.name]
    snapshots.write(desk.disk, msgspec.structs.replace(good, plain=[{"another": 1}]))
    assert recovery.recover(desk.disk).bad == [good.name]


@pytest.mark.parametrize(
    ("kind", "payload", "words"),
    [
        (HEAD, b"{}", "first record cannot be read"),
        (HEAD, b'{"format": 9', "first record cannot be read"),
        (START, b'{"epoch": -1, "ordinal": 0, "now": 0}', "a start record cannot be read"),
        (START, b"[" * 5000, "a start record cannot be read"),
        (MARK, b"no", "a mark record cannot be read"),
        (NOTE, b"1", "a note record cannot be read"),
    ],
)
def test_records_that_no_run_wrote(run, tmp_path, kind, payload, words):
    desk = feed(new(tmp_path / "j", run), run, 0, 20)
    desk.note("remark")
    desk.close()
    d = again(tmp_path / "j", tmp_path / "k", lambda k, *b: (k, payload, 0, 0) if k == kind else (k, *b))
    with pytest.raises(BadInput, match=words):
        recovery.notes(d), recovery.verify(d)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("format", 9, "journal format 1 expected, got 9"),
        ("order_capacity", 1 << 40, "first record cannot be read"),
        ("strategies", [{"file": "../x.py", "sha256": "", "cls": "X", "values": {}}], "names strategies outside its folder"),
        ("capital", {"USD": "1e999999"}, "no amount of money"),
    ],
)
def test_heads_that_no_run_wrote(run, tmp_path, field, value, words):
    new(tmp_path / "j", run).close()

    def changed(kind, payload, *n):
        if kind == HEAD:
            payload = msgspec.json.encode({**msgspec.json.decode(payload), field: value})
        return kind, payload, *n

    with pytest.raises(BadInput, match=words):
        recovery.recover(again(tmp_path / "j", tmp_path / "k", changed))


@pytest.mark.parametrize(("at", "value"), [(24 + 8, 99), (28 + 8, 7)])
def test_inputs_that_no_run_took(run, tmp_path, at, value):
    """An instrument or a kind that is not there: the kernel would read beside its tables."""
    feed(new(tmp_path / "j", run), run, 0, 20).close()
    events = np.frombuffer(
        next(b for b in Reader(Disk(tmp_path / "j")) if len(b.frames)).frames["event"].tobytes(), np.uint8
    ).copy()
    assert len(events) == 20 * 64

    def changed(kind, payload, frames, outputs):
        if kind == BATCH and frames:
            rows = np.frombuffer(payload[: frames * 80], np.uint8).copy().reshape(frames, 80)
            field = "kind" if at == 32 else "instrument"
            from replay.events import EVENT

            rows[1, 16 + EVENT.fields[field][1]] = value
            payload = rows.tobytes() + payload[frames * 80 :]
        return kind, payload, frames, outputs

    d = again(tmp_path / "j", tmp_path / "k", changed)
    for read in (recovery.recover, recovery.verify):
        with pytest.raises(BadInput, match="input 2 is of an instrument or a kind that the run does not have"):
            read(d)


def test_blocks_in_the_wrong_place_and_lengths_that_do_not_fit(run, tmp_path):
    feed(new(tmp_path / "j", run), run, 0, 20).close()
    d = again(tmp_path / "j", tmp_path / "k", lambda kind, *b: (SEGMENT, b"{}", 0, 0) if kind == MARK else (kind, *b))
    assert "a segment's first block in another's place" in recovery.survey(d)[2].fault
    d = again(tmp_path / "j", tmp_path / "l", lambda k, p, f, o: (k, p, f, o + (k == BATCH and f > 0)))
    assert "20 inputs and " in recovery.survey(d)[2].fault
    (tmp_path / "j" / segment_name(2)).write_bytes(b"")
    prefix = recovery.survey(Disk(tmp_path / "j"))[2]
    assert prefix.fault == f"{segment_name(2)} is empty" and prefix.torn
    with (tmp_path / "j" / segment_name(3)).open("wb") as f:
        f.truncate(LARGEST + 1)
    with pytest.raises(BadInput, match="no file of a journal is larger"):
        list(Reader(Disk(tmp_path / "j")))


def test_journals_without_a_beginning_or_a_market(run, tmp_path):
    new(tmp_path / "j", run).close()
    with pytest.raises(BadInput, match="no market data"):
        recovery.session_of(Disk(tmp_path / "j"))
    d = again(tmp_path / "j", tmp_path / "k", lambda *b: None)
    assert not recovery.begun(d)
    with pytest.raises(BadInput, match="no readable head"):
        recovery.read_head(d)
    with pytest.raises(BadInput, match="beginning cannot be read .it ends there"):
        recovery.survey(d)
    assert [b.kind for b in Reader(new(tmp_path / "k", run).disk)] == [SEGMENT, HEAD, START, BATCH], "it can be begun there"


def test_more_than_one_event_may_say(run, tmp_path):
    """Commands and outputs go to the journal before their buffers are full, and instruments without a price get room all the same."""
    desk = feed(new(tmp_path / "j", run), run)
    assert desk.header.journal_n == desk.header.out_n == 0
    m = manifest_of("x", desk.build.manifest.instruments, [0] * len(desk.build.manifest.instruments), 1, True)
    m.check("x")
    assert min(m.max_px) >= 1_000_000 and m.counts == {"phase": 1}
    now = desk.header.now
    with desk:
        desk.take(pack(10, now, now, side=99), now)  # a control nobody knows
    desk.close()
    assert recovery.verify(desk.disk).identical
