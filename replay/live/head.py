"""A journal's first record: everything the trader was built from, so that the folder alone can build it again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import platform
import secrets
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec

from replay.data.instruments import MAX_INT, MONEY, Instrument
from replay.data.manifest import Manifest, currencies_of
from replay.engine import compile_all
from replay.errors import UNREADABLE, BadInput
from replay.journal import Build
from replay.kernel.memory import KERNEL_HASH
from replay.live.disk import Disk
from replay.strategy import load
from replay.trader.layout import SLOT_BITS
from replay.trader.limits import Limits

FORMAT = 1
BAR_NS = 60_000_000_000  #: brokers' bars are of a minute
ROOM = 10
NO_PRICE = Decimal(10_000)


class Source(msgspec.Struct, frozen=True):
    """A strategy: the copy of its file in the journal's folder, the hash of that file, the class and its parameters."""

    file: str
    sha256: str
    cls: str
    values: dict[str, bool | int | float | str]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is: `run_id` goes into every ClOrdID; `account` names the broker's account, never a key."""

    format: int = FORMAT
    run_id: str
    created_ns: int
    broker: str
    account: str
    manifest: Manifest
    strategies: tuple[Source, ...]
    limits: Limits
    capital: dict[str, Decimal]
    order_capacity: Annotated[int, msgspec.Meta(ge=1, lt=1 << SLOT_BITS)]
    versions: dict[str, str]

    def encode(self) -> bytes:
        """The JSON of the HEAD block."""
        return msgspec.json.encode(self)

    @staticmethod
    def decode(payload: bytes, where: object) -> Head:
        """Read a HEAD block. Raises `BadInput` for another format."""
        try:
            head = msgspec.json.decode(payload, type=Head)
        except UNREADABLE as e:
            raise BadInput(
                f"{where}: the journal's first record cannot be read ({e}): it was written by another version"
            ) from None
        if head.format != FORMAT:
            raise BadInput(
                f"{where}: journal format {FORMAT} expected, got {head.format}: read it with the version that wrote it"
            )
        head.manifest.check(where)
        if not all(s.file == Path(s.file).name and s.file.endswith(".py") and s.cls.isidentifier() for s in head.strategies):
            raise BadInput(f"{where}: the journal names strategies outside its folder: it was not written by a run")
        if not all(c.is_finite() and abs(c) < MAX_INT // MONEY for c in head.capital.values()):
            raise BadInput(f"{where}: the journal's capital is no amount of money: it was not written by a run")
        return head

    def build(self, folder: Path) -> Build:
        """All the trader is made from, compiled; strategies are loaded from their copies in `folder`. Raises `BadInput` where a copy
        has changed."""
        strategies = []
        for s in self.strategies:
            if not (folder / s.file).is_file() or _sha(folder / s.file) != s.sha256:
                raise BadInput(
                    f"{folder / s.file}: not the source the journal was written with (sha256 {s.sha256[:8]}…): restore it"
                )
            strategies.append(load(f"{folder / s.file}:{s.cls}", dict(s.values), named_by=str(folder)))
        compile_all(strategies)
        own = [Limits()] * len(strategies)
        return Build(self.manifest, strategies, self.limits, own, self.capital, self.order_capacity)

    def differences(self, strategies: Sequence, limits: Limits) -> list[str]:
        """What differs between this run and one that is asked to go on with `strategies` (loaded) and `limits`."""
        out = []
        asked = [(_sha(file_of(s)), s.name, s.values) for s in strategies]
        if asked != [(s.sha256, s.cls, s.values) for s in self.strategies]:
            out.append("strategies or their parameters")
        if limits != self.limits:
            out.append("limits")
        out += [name for name, version in versions().items() if self.versions.get(name) != version]
        return out


def head_of(
    strategies: Sequence, manifest: Manifest, limits: Limits, capital: dict[str, Decimal], broker: str, account: str, now: int, order_capacity: int = 1024
) -> Head:  # fmt: skip
    """The head of a new run, with a run id of its own; `copy_sources` puts the files it names where it says."""
    sources = []
    for k, s in enumerate(strategies):
        path = file_of(s)
        sources.append(Source(f"strategy-{k}-{path.name}", _sha(path), s.name, s.values))
    return Head(
        run_id=secrets.token_hex(5),
        created_ns=now,
        broker=broker,
        account=account,
        manifest=manifest,
        strategies=tuple(sources),
        limits=limits,
        capital=capital,
        order_capacity=order_capacity,
        versions=versions(),
    )


def manifest_of(
    name: str,
    instruments: Sequence[Instrument],
    prices: Sequence[int],
    now: int,
    phased: bool,
    levels: tuple[str, ...] = (),
    intervals_ns: tuple[int, ...] = (BAR_NS,),
    finest_ns: tuple[int, ...] = (),
) -> Manifest:
    """What a live trader is built from in place of a session's manifest. `prices`: the last of each instrument in ticks, 0 where there is
    none; up to `ROOM` times as much is provided for. `phased`: the market opens and closes, and is closed until it is said to be open.
    `levels`, `intervals_ns`, `finest_ns`: what is heard of each instrument (`Manifest`); quotes and bars of a minute where not given."""
    n = len(instruments)
    levels, finest_ns = levels or ("l1",) * n, finest_ns or (BAR_NS,) * n
    most = tuple((px or int(NO_PRICE / Decimal(i.tick_size))) * ROOM // 4 for px, i in zip(prices, instruments, strict=True))
    return Manifest(
        name=name, instruments=tuple(instruments), levels=levels, n_events=0, counts={"phase": 1} if phased else {}, start_ns=now,
        end_ns=now, clock_shift_ns=0, bar_intervals_ns=intervals_ns, finest_bar_ns=finest_ns, max_levels=((0, 0),) * n, max_orders=(0,) * n, min_px=(0,) * n,
        max_px=most, max_size=(0,) * n, currencies=currencies_of(tuple(instruments)), anomalies={}, inferred=(), sources=(), sha256="",
        order_sha256=None,
    )  # fmt: skip


def copy_sources(strategies: Sequence, head: Head, disk: Disk) -> None:
    """Put the source of every strategy beside the journal, durably."""
    for s, source in zip(strategies, head.strategies, strict=True):
        with disk.replacing(source.file) as file:
            file.write(file_of(s).read_bytes())


def file_of(strategy) -> Path:
    """The file a loaded strategy's class is defined in."""
    return Path(inspect.getfile(strategy.cls))


def versions() -> dict[str, str]:
    """What decides how a journal re-steps, beside its head."""
    return {"kernel": KERNEL_HASH, "python": platform.python_version(), "numpy": importlib.metadata.version("numpy")}


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
