"""The manifest: everything about a session that can be known without reading its rows again."""

from __future__ import annotations

import msgspec

from replay.data.instruments import MAX_INT, Instrument
from replay.errors import UNREADABLE, BadInput
from replay.events import CLOSED, OPEN
from replay.seal import intact, sealed

FORMAT = 1  #: raised when an older reader would misread a newer session

MOST_INTERVALS = 127  #: the `side` of a BAR row is an index of them
MOST_INSTRUMENTS = 1 << 16
MOST_EVENTS = 1 << 40
LEVELS = ("l3", "l2", "l1", "bars", "none")  #: finest first; the finest an instrument has executes it


class Source(msgspec.Struct, frozen=True):
    """A file the session was made from: its name, the sha256 of its bytes, and how many rows it held."""

    name: str
    sha256: str
    rows: int


class Calendar(msgspec.Struct, frozen=True):
    """The market hours a session was imported with: the calendar's name, and (trading day, open, close) of each day; ns UTC."""

    name: str
    days: tuple[tuple[int, int, int], ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a session holds. Tuples without another remark have one entry per instrument.

    - `counts`: rows by kind name; `start_ns`, `end_ns`: first and last `ts_recv`;
    - `clock_shift_ns`: what the import added to every recorded receive time (the rows already contain it);
    - `bar_intervals_ns`: what the `side` of a BAR row is an index of;
    - `kinds`: which kinds of market data it has, by kind name; empty where nobody noted it, and then every kind is taken to come;
    - `finest_bar_ns`: the shortest interval of the instrument's bars, 0 where it has none;
    - `max_levels`: most live price levels at any moment, (bid, ask); `max_orders`: most live L3 orders;
    - `min_px`, `max_px`, `max_size`: extremes in ticks and lots over every row that can set them, 0 where there are none;
    - `anomalies`: what was found and let through, or dropped (``dropped_...``), by name;
    - `inferred`: fields nobody stated, as ``SYMBOL.field``, or ``ts_recv``; `sources`: the files imported;
    - `calendar`: the market hours its PHASE rows come from, None where none were asked for;
    - `sliced_phase`: of a slice, the phase its market was in before its first row; None for a session that is whole;
    - `sha256` of the 64-byte rows in arrival order; `order_sha256` of the venue-order index, None where none is needed.
    """

    version: int = FORMAT
    name: str
    instruments: tuple[Instrument, ...]
    levels: tuple[str, ...]
    n_events: int
    counts: dict[str, int]
    start_ns: int
    end_ns: int
    clock_shift_ns: int
    bar_intervals_ns: tuple[int, ...]
    finest_bar_ns: tuple[int, ...]
    max_levels: tuple[tuple[int, int], ...]
    max_orders: tuple[int, ...]
    min_px: tuple[int, ...]
    max_px: tuple[int, ...]
    max_size: tuple[int, ...]
    currencies: tuple[str, ...]
    anomalies: dict[str, int]
    inferred: tuple[str, ...]
    sources: tuple[Source, ...]
    sha256: str
    order_sha256: str | None
    sliced_phase: int | None = None
    calendar: Calendar | None = None
    kinds: tuple[tuple[str, ...], ...] = ()

    @property
    def phase_at_start(self) -> int:
        """The phase before the first row: without a calendar the market is open, with one it is closed until told."""
        if self.sliced_phase is not None:
            return self.sliced_phase
        return CLOSED if self.counts.get("phase", 0) else OPEN

    def has(self, instrument: int, kind: str) -> bool:
        """Whether data of this kind (``quote``, ``trade``) come for an instrument: what a feed delivers is known when it is subscribed."""
        return not self.kinds or kind in self.kinds[instrument]

    def encode(self) -> bytes:
        """The text of manifest.json: keys in a fixed order, sealed, indented, ending in a newline."""
        return msgspec.json.format(sealed(msgspec.json.encode(self, order="deterministic")), indent=1) + b"\n"

    @staticmethod
    def decode(text: bytes, where: str) -> Manifest:
        """Read manifest.json. Raises `BadInput`, naming `where`, for another version, a malformed text, or one that was changed."""
        try:
            version = msgspec.json.decode(text, type=_Version).version
            if version != FORMAT:
                raise BadInput(f"{where}: manifest version {FORMAT} expected, got {version}: import the session again")
            found = msgspec.json.decode(text, type=Manifest)
            whole = intact(msgspec.json.encode(found, order="deterministic"), text)
        except UNREADABLE as e:
            raise BadInput(f"{where}: manifest.json is not a session's manifest ({e}): import the session again") from None
        if not whole:
            raise BadInput(f"{where}: manifest.json has been changed since it was written: import the session again")
        found.check(where)
        return found

    def check(self, where: object) -> None:
        """Raise `BadInput`, naming `where`, if its numbers cannot be those of one session: they decide how much memory is asked for, and what
        is an index of what."""
        n, most = len(self.instruments), self.n_events
        ranges = (("n_events", (most,), 0, MOST_EVENTS), ("start_ns, end_ns", (self.start_ns, self.end_ns), -MAX_INT, MAX_INT))
        ranges += (
            ("clock_shift_ns", (self.clock_shift_ns,), 0, MAX_INT),
            ("bar_intervals_ns", self.bar_intervals_ns, 1, MAX_INT),
        )
        ranges += (
            ("max_levels", tuple(k for pair in self.max_levels for k in pair), 0, most),
            ("max_orders", self.max_orders, 0, most),
        )
        ranges += (
            ("min_px", self.min_px, -MAX_INT, MAX_INT),
            ("max_px", self.max_px, -MAX_INT, MAX_INT),
            ("max_size", self.max_size, 0, MAX_INT),
        )
        wrong = [name for name, values, low, high in ranges if not all(low <= v <= high for v in values)]
        each = ("levels", "finest_bar_ns", "max_levels", "max_orders", "min_px", "max_px", "max_size")
        wrong += [name for name in each if len(getattr(self, name)) != n]
        wrong += ["kinds"] if self.kinds and len(self.kinds) != n else []
        wrong += ["instruments"] if not 0 < n <= MOST_INSTRUMENTS or len({i.symbol for i in self.instruments}) < n else []
        wrong += ["levels"] if not set(self.levels) <= set(LEVELS) else []
        wrong += ["finest_bar_ns"] if not set(self.finest_bar_ns) <= {0, *self.bar_intervals_ns} else []
        wrong += ["bar_intervals_ns"] if len(self.bar_intervals_ns) > MOST_INTERVALS else []
        wrong += ["currencies"] if self.currencies != currencies_of(self.instruments) else []
        wrong += ["sliced_phase"] if self.sliced_phase is not None and not 0 <= self.sliced_phase <= 127 else []
        if wrong:
            raise BadInput(f"{where}: the manifest's {wrong[0]} cannot be what an importer wrote: import the session again")


class _Version(msgspec.Struct):
    version: int


def currencies_of(instruments: tuple[Instrument, ...]) -> tuple[str, ...]:
    """Every currency cash can be held in, sorted.

    >>> currencies_of((Instrument(symbol="BTCUSDT", tick_size="0.01", currency="USDT", base="BTC"),))
    ('BTC', 'USDT')
    """
    return tuple(sorted({i.currency for i in instruments} | {i.base for i in instruments if i.base}))
