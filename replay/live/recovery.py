"""From a journal back to the trader, and the proof that it says what the trader would say again."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec
import numpy as np

from replay.data.manifest import Manifest
from replay.data.session import Session
from replay.errors import UNREADABLE, BadInput
from replay.events import BAR, BAR_EXT, CUSTOM, DEPTH, EVENT, FUNDING, N_KINDS, PHASE, QUOTE, STATUS, TRADE
from replay.events import MARK as MARK_KIND
from replay.journal import Build, Stepper, first_difference
from replay.kernel.arena import Arena
from replay.live.disk import Disk
from replay.live.head import Head
from replay.live.log import BATCH, HEAD, KIND_NAMES, MARK, NOTE, START, STOP, Block, Place, Reader
from replay.live.snapshots import read_all

Natural = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
DAMAGED = ".damaged"  #: behind the name of what was put aside of a damaged journal whose trader is not killed yet


class Start(msgspec.Struct, frozen=True):
    """A START block: a process took the journal over. Orders with an ordinal above `ordinal` carry `epoch` in their ClOrdID."""

    epoch: Natural
    ordinal: Natural
    now: Natural


class Mark(msgspec.Struct, frozen=True):
    """A MARK block: the decision digest after input `seq`, and the hash of the state."""

    seq: int
    digest: int
    state: int


class Prefix(NamedTuple):
    """The part of a journal that can be trusted: everything before `place`. `fault` says what is wrong there, "" if nothing is.

    `torn`: the unfinished last write of a crash, which nothing had been sent on. `lost`: bytes behind the prefix.
    """

    place: Place
    inputs: int
    fault: str
    torn: bool
    lost: int

    @property
    def damaged(self) -> bool:
        """Whether more is wrong than a crash explains: what was behind the prefix may have been sent on, or was a kill."""
        return bool(self.fault) and not self.torn

    def __str__(self) -> str:
        whole = f"{self.inputs:,} inputs in {self.place.segment} segment{'s' if self.place.segment > 1 else ''}"
        return whole if not self.fault else f"{whole} are whole; then {self.fault}; {self.lost:,} bytes are not used"


class Recovered(NamedTuple):
    """A trader taken back from its journal; `bad` names snapshots that could not be used."""

    head: Head
    build: Build
    trader: Arena
    starts: list[Start]
    prefix: Prefix
    stopped: bool
    bad: list[str]
    unsaid: np.ndarray  # what on_start said, where no batch holds it yet


def read_head(disk: Disk) -> Head:
    """The head of the journal in `disk`'s folder. Raises `BadInput` where there is none."""
    for block in Reader(disk):
        if block.kind == HEAD:
            return Head.decode(block.payload, disk.folder)
    raise BadInput(f"{disk.folder}: the journal has no readable head: nothing was sent under it, remove the folder")


def begun(disk: Disk) -> bool:
    """Whether a run was begun in `disk`'s folder. A crash before the first START was durable leaves one that nothing was sent under; where
    the beginning is damaged in another way, one was."""
    if not any(name.startswith("segment-") for name in disk.names()):
        return False
    reader = Reader(disk)
    return any(block.kind == START for block in reader) or bool(reader.fault and not reader.torn)


def survey(disk: Disk) -> tuple[Head, list[Start], Prefix, bool, dict[tuple[int, int], bytes]]:
    """Read every block without stepping: (head, starts, trusted prefix, on_stop has run, hash at every block's end)."""
    reader, head, starts, inputs, stopped, places = Reader(disk), None, [], 0, False, {}
    for block in reader:
        if block.kind == HEAD:
            head = Head.decode(block.payload, disk.folder)
        elif block.kind == START:
            starts.append(_decoded(block, Start, disk))
        elif block.kind == STOP:
            stopped = True
        inputs += len(block.frames)
        places[reader.place.segment, reader.place.size] = reader.place.chain
    if head is None or not starts:
        raise BadInput(
            f"{disk.folder}: the journal's beginning cannot be read ({reader.fault or 'it ends there'}): restore it from a copy, or look at the "
            f"broker for orders of it and start a new journal"
        )
    prefix = Prefix(reader.place, inputs, reader.fault, reader.torn, reader.lost)
    if evidence := [n for n in disk.names() if n.endswith(DAMAGED)]:
        prefix = prefix._replace(fault=prefix.fault or f"{evidence[0]} was put aside, and a crash came", torn=False)
    return head, starts, prefix, stopped, places


def _decoded(block: Block, type_: type, disk: Disk) -> object:
    try:
        return msgspec.json.decode(block.payload, type=type_)
    except UNREADABLE as e:
        raise BadInput(
            f"{disk.folder}: a {KIND_NAMES[block.kind]} record cannot be read ({e}): it was not written by a run"
        ) from None


def sound(frames: np.ndarray, m: Manifest, disk: Disk) -> np.ndarray:
    """The frames of a batch, or `BadInput` where one speaks of what the trader does not have: the kernel does not look."""
    e = np.ascontiguousarray(frames["event"]).view(EVENT).reshape(-1)
    wrong = (e["kind"] < 1) | (e["kind"] >= N_KINDS) | (e["instrument"] >= len(m.instruments))
    wrong |= ((e["kind"] == BAR) | (e["kind"] == BAR_EXT)) & ((e["side"] < 0) | (e["side"] >= max(1, len(m.bar_intervals_ns))))
    if wrong.any():
        seq = int(frames["seq"][np.flatnonzero(wrong)[0]])
        raise BadInput(
            f"{disk.folder}: input {seq:,} is of an instrument or a kind that the run does not have: it was not written by a run"
        )
    return frames


def recover(disk: Disk) -> Recovered:
    """The trader as the trusted prefix leaves it: the newest whole snapshot, or an older one, or none, and the inputs behind it.

    Raises `BadInput` where the trader no longer says what the journal holds: other code than it was written with.
    """
    head, starts, prefix, stopped, places = survey(disk)
    build = head.build(disk.folder)
    stepper = Stepper(build)
    snapshots, bad = read_all(disk)
    after = None
    for s in snapshots:
        if places.get((s.place.segment, s.place.size)) == s.place.chain and s.fits(stepper.trader, build.strategies):
            after = s.place
            stepper.trader.restore(s.state())
            for strategy, own in zip(build.strategies, s.plain, strict=True):
                if own is not None:
                    strategy.load(own)
            break
        bad.append(s.name)
    end = (prefix.place.segment, prefix.place.size)
    beyond = next((s.name for s in snapshots if (s.place.segment, s.place.size) > end), None)
    if beyond is not None and not prefix.damaged:  # it was taken when all before it was durable
        prefix = prefix._replace(fault=prefix.fault or f"{beyond} was taken after its end", torn=False)
    said = stepper.out[:0]
    if after is None:
        said = stepper.start(starts[0].now)
    batches = _feed(disk, stepper, after, head.manifest)
    return Recovered(head, build, stepper.trader, starts, prefix, stopped, bad, said[:0] if batches else said)


def _feed(disk: Disk, stepper: Stepper, after: Place | None, m: Manifest) -> int:
    """Feed every input behind `after`; returns how many batches there were."""
    batches = 0
    for block in Reader(disk, after):
        batches += block.kind == BATCH
        if block.kind == STOP:
            stepper.stop()
        elif block.kind == BATCH and len(block.frames):
            if first_difference(stepper.feed(sound(block.frames, m, disk)), block.outputs) >= 0:
                seq = int(block.frames["seq"][0])
                raise BadInput(
                    f"{disk.folder}: from input {seq:,} on the trader says other things than the journal holds: it was written by other "
                    f"code; go on with that code, or start a new journal"
                )
    return batches


class Verification(NamedTuple):
    """What re-stepping a journal from its start gave."""

    identical: bool
    prefix: Prefix
    digest: int
    marks: int
    snapshots: int
    difference: str
    faults: int

    def __str__(self) -> str:
        text = f"{self.digest & (1 << 64) - 1:016x}"
        if not self.identical:
            return f"DIFFERENT: {self.difference}"
        checked = f"{self.marks} marks, {self.snapshots} snapshots"
        return f"identical: {self.prefix}, {checked}, digest {text}"


def verify(disk: Disk, told=lambda done, total: None) -> Verification:
    """Build the trader anew, feed it every input of the trusted prefix, and compare all it says, every mark and every snapshot."""
    head, starts, prefix, _, _ = survey(disk)
    stepper = Stepper(head.build(disk.folder))
    at = {(s.place.segment, s.place.size): s for s in read_all(disk)[0]}
    reader, marks, shots, done, difference = Reader(disk), 0, 0, 0, ""
    h = stepper.trader.header
    pending = stepper.start(starts[0].now)
    for block in reader:
        if difference:
            break
        if block.kind == STOP:
            pending = stepper.stop()
        elif block.kind == BATCH:
            said = np.concatenate([pending, stepper.feed(sound(block.frames, head.manifest, disk))])
            pending = said[:0]
            k = first_difference(said, block.outputs)
            if k >= 0:
                difference = f"output record {k} of inputs {done + 1:,} to {done + len(block.frames):,}"
            done += len(block.frames)
            told(done, prefix.inputs)
        elif block.kind == MARK:
            mark = _decoded(block, Mark, disk)
            marks += 1
            if (mark.seq, mark.digest, mark.state) != (int(h.seq), int(h.digest), stepper.trader.digest()):
                difference = f"the digest or the state at input {mark.seq:,}"
        shot = at.get((reader.place.segment, reader.place.size))
        if shot is not None:
            shots += 1
            if bytes(stepper.trader.snapshot()) != shot.arena:
                difference = f"{shot.name}: not the state the inputs lead to"
    return Verification(not difference, prefix, int(h.digest), marks, shots, difference, len(stepper.faults))


#: how late everything has to be for the venue's clock to be another than ours
ANOTHER_CLOCK_NS = 3600 * 10**9
#: inputs that were the market's, not ours
MARKET = (QUOTE, TRADE, DEPTH, BAR, BAR_EXT, PHASE, STATUS, FUNDING, MARK_KIND, CUSTOM)


def session_of(disk: Disk) -> Session:
    """The market data of a journal as a session, in the order the trader took it, received when it was taken from the queue.

    Where the venue's clock runs ahead of ours the receive times are shifted, and the manifest says by how much. Where it is another clock
    altogether, as that of a local server that replays a day, rows count as received when they happened, and the manifest says so
    (`received_by_venue_clock`). Raises `BadInput` where the journal is damaged; of one whose end a crash has torn the manifest
    says how much is not used (`journal_bytes_not_used`).
    """
    head, rows, reader = read_head(disk), [], Reader(disk)
    for block in reader:
        events = np.ascontiguousarray(block.frames["event"]).view(EVENT).reshape(-1)
        taken = np.isin(events["kind"], MARKET)
        market = events[taken].copy()
        market["ts_recv"] = block.frames["now"][taken]
        rows.append(market)
    if reader.fault and not reader.torn:
        raise BadInput(f"{disk.folder}: {reader.fault}: replay verify says more")
    market = np.concatenate(rows) if rows else np.zeros(0, EVENT)
    if not len(market):
        raise BadInput(f"{disk.folder}: the journal holds no market data: there is nothing to replay")
    theirs = market["kind"] != PHASE  # those are made of the answer to a question, by our clock
    ahead = (market["ts_event"] - market["ts_recv"])[theirs]
    shift, anomalies = max(0, int(ahead.max(initial=0))), {}
    if len(ahead) and ahead.max() < -ANOTHER_CLOCK_NS:
        _receive_by_venue_clock(market, theirs)
        anomalies = {"received_by_venue_clock": len(market)}
    if reader.torn:
        anomalies["journal_bytes_not_used"] = reader.lost
    market["ts_recv"] += shift
    m = head.manifest
    return Session.from_rows(
        market,
        m.instruments,
        name=disk.folder.name,
        clock_shift_ns=shift,
        bar_intervals_ns=m.bar_intervals_ns,
        anomalies=anomalies,
    )


def _receive_by_venue_clock(market: np.ndarray, theirs: np.ndarray) -> None:
    when = np.where(theirs, market["ts_event"], 0)
    when[0] = when[np.argmax(theirs)]
    market["ts_recv"] = np.maximum.accumulate(when)
    market["ts_event"][~theirs] = market["ts_recv"][~theirs]


def notes(disk: Disk) -> list[dict]:
    """Every NOTE of a journal, in order."""
    return [_decoded(b, dict, disk) for b in Reader(disk) if b.kind == NOTE]


__all__ = [
    "KIND_NAMES",
    "Prefix",
    "Recovered",
    "Start",
    "Verification",
    "begun",
    "read_head",
    "recover",
    "session_of",
    "sound",
    "survey",
    "verify",
]
