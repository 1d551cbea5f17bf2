"""Begin a run, or go on with the one in a journal."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from replay.data.instruments import MONEY
from replay.data.manifest import Manifest
from replay.errors import BadInput
from replay.events import CONTROL, OP_KILL
from replay.live import kill_mark
from replay.live.desk import Desk, dealt_with, pack
from replay.live.disk import Disk
from replay.live.head import Head, head_of
from replay.live.recovery import recover
from replay.trader.layout import KILLED
from replay.trader.limits import Limits


def begin(
    disk: Disk, strategies: Sequence, manifest: Manifest, limits: Limits, cash: int, broker: str, account: str, now: int
) -> tuple[Desk, Head]:
    """A new run in a folder without one; `cash` (1e-8) is what the account holds. `on_start` has run."""
    capital = {manifest.instruments[0].currency: Decimal(cash) / MONEY}
    head = head_of(strategies, manifest, limits, capital, broker, account, now)
    desk = Desk.new(disk, head, strategies, now)
    if kill_mark.read(disk) is not None:
        kill(desk)
    return desk, head


def kill(desk: Desk) -> None:
    """Kill a trader that does not run yet, durably."""
    at = desk.header.now
    with desk:
        desk.take(pack(CONTROL, at, at, side=OP_KILL), at)
    desk.flush()
    desk.log.durable()


def go_on(
    disk: Disk, strategies: Sequence, limits: Limits, symbols: Sequence[str], account: str, now: int, accept: bool = False
) -> tuple[Desk, Head, list[str]]:
    """The run in `disk`'s folder, taken up where its journal ends, and what there is to say about that.

    Raises `BadInput` where the journal is another account's, or of other code, limits or symbols and `accept` is not given. A journal whose
    middle is damaged comes up killed: what the lost part held is not known.
    """
    folder, r = disk.folder, recover(disk)
    if r.head.account != account:
        raise BadInput(f"{folder}: the journal of account {r.head.account}, the keys are of {account}: name another --journal")
    if r.stopped:
        raise BadInput(f"{folder}: its session is over: name another --journal")
    known = [i.symbol for i in r.head.manifest.instruments]
    if list(symbols) != known:
        raise BadInput(f"{folder}: the run trades {', '.join(known)}, asked for {', '.join(symbols)}: name another --journal")
    changed = r.head.differences(strategies, limits)
    if changed and not accept:
        raise BadInput(
            f"{folder}: written with other {', '.join(changed)}: go back to those, name another --journal, or --as-journaled to go on with the journal's own"
        )
    said = [f"went on after {r.prefix}", *(f"{name} could not be used" for name in r.bad)]
    desk = Desk.resume(disk, r, now)
    if (mark := kill_mark.read(disk)) is not None and desk.header.state != KILLED:
        said.append(f"marked as killed ({mark.why}): killed until an operator resumes")
        kill(desk)
    desk.note("resumed", prefix=str(r.prefix), bad_snapshots=r.bad, changed=changed)
    if r.prefix.damaged:
        if desk.header.state != KILLED:
            kill(desk)
        dealt_with(disk)
        said.append("the journal is damaged before its end: killed until an operator resumes")
    return desk, r.head, said
