"""A day's raw frames become a session: the events a live trader would have been given, in the order and at the times they came.

- messages become events as they do live (`replay.live.alpaca.wire`): trades, quotes, minute bars, trading statuses. Prices between ticks are
  rounded and counted (`rounded_prices`). Corrections and cancellations of trades are counted (`corrections`, `cancel_errors`): what was seen
  stands, the raw frames hold the rest;
- bars of one minute are held until every symbol's is in, or `BARS_S` after the first, and are one message then, as live;
- whenever the connection was lost, or a recording ended and another began on the same day, rows may be missing: each symbol's next row
  carries `GAP`, and `gaps` counts them. ``recording.json`` lists them;
- `ts_recv` is our clock's, which is never let go back (`clock_went_back`), moved by one shift where it lies before `ts_event`
  (`clock_shift_ns`). A local server has a time of its own: in lockstep it says when a row reaches us; at any other speed our clock means
  nothing there, so that rows count as received when they happened (`ts_recv` is recorded as inferred);
- stocks have the calendar XNYS with its phases; in lockstep the server's own phases.

A day can be made again from its raw frames at any time; it comes out the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from replay.collect import raw
from replay.collect.download import STOCKS, replace_session
from replay.data.arrange import arrange
from replay.data.hours import market_hours
from replay.data.instruments import Instrument
from replay.data.manifest import Source
from replay.data.receive import put_events_right
from replay.data.session import Session, blocks
from replay.data.store import MANIFEST, read_manifest
from replay.data.tables import sha256_of_file
from replay.data.times import utc_text
from replay.events import EVENT, GAP
from replay.live.alpaca import wire
from replay.live.alpaca.bars import BARS_S
from replay.live.alpaca.wire import Scale
from replay.live.disk import Disk
from replay.live.head import BAR_NS
from replay.progress import progress

OURS, SERVED, LOCKSTEP = "ours", "served", "lockstep"  #: whose clock says when a row was received
RECORDING = "recording.json"
HELD_NS = int(BARS_S * 1e9)
_COUNTED = {"c": "corrections", "x": "cancel_errors"}
_SPOOL = 1 << 22


class Began(msgspec.Struct, frozen=True, kw_only=True):
    """The note a file of raw frames begins with."""

    instruments: tuple[Instrument, ...]
    kinds: tuple[str, ...]
    feed: str
    crypto: bool
    clock: str
    what: str = "began"


class Gap(msgspec.Struct):
    """From the last that was heard to the first that is heard again; "" where nothing was before or after."""

    start: str
    end: str
    why: str


class _Maker:
    """Entries in, events out, into `spool`."""

    def __init__(self, spool: BinaryIO):
        self.spool, self._out = spool, bytearray()
        self.found: Counter[str] = Counter()
        self.gaps: list[Gap] = []
        self.began: Began | None = None
        self.kinds: set[str] = set()
        self.scales: dict[str, Scale] = {}
        self.rows = 0
        self._gapped: set[int] = set()
        self._heard = self._recv = 0  # when the newest frame came; the newest row's receive time
        self._bars: list[bytes] = []
        self._bars_at = 0  # when the first of them came
        self._head: dict | None = None

    def take(self, e: raw.Entry) -> None:
        """One entry."""
        if e.what == raw.NOTE:
            self._note(e)
            return
        if self._bars and e.at > self._bars_at + HELD_NS:
            self._give_bars(self._bars_at + HELD_NS)
        found = raw.messages(e.data)
        self.found["malformed_frames"] += not found
        for m in found:
            self._message(m, e.at)
        self._heard = e.at

    def close(self) -> None:
        """Nothing more comes."""
        self._give_bars(self._bars_at + HELD_NS)
        self.spool.write(self._out)
        self.spool.flush()
        self.found["rounded_prices"] += sum(s.off_tick for s in self.scales.values())
        self.found["gaps"] += len(self.gaps)
        self.found = +self.found

    def _note(self, e: raw.Entry) -> None:
        said = msgspec.json.decode(e.data)
        if said["what"] == "began":
            if self.began is not None:
                self._gap(e.at, "the recording ended and began again")
            self.began = msgspec.convert(said, Began)
            self.kinds |= {*self.began.kinds}
            for i in self.began.instruments:
                known = self.scales.get(i.symbol)
                self.scales[i.symbol] = Scale(len(self.scales) if known is None else known.index, i)
                self.found["rounded_prices"] += known.off_tick if known else 0
        elif said["what"] == "down":
            self._gap(e.at, said["why"])

    def _gap(self, at: int, why: str) -> None:
        self._give_bars(at)
        self._gapped = {s.index for s in self.scales.values()}
        if self.gaps and not self.gaps[-1].end:
            return  # still the same one
        self.gaps.append(Gap(utc_text(self._heard) if self._heard else "", "", why))

    def _message(self, m: dict, at: int) -> None:
        kind = m.get("T")
        if kind == "replay":  # what lockstep adds: when the next message reaches us, or a row that has no message
            self._head = m
            if "row" in m:
                self._row(m["row"], m["ts"])
            return
        head, self._head = self._head, None
        scale = self.scales.get(m.get("S", ""))
        if kind in _COUNTED:
            self.found[_COUNTED[kind]] += 1
        if scale is None or kind not in ("t", "q", "b", "s"):
            return
        flags = GAP if scale.index in self._gapped else 0
        try:
            event = wire.market_event(m, scale, at, head, flags)
        except (KeyError, ValueError, TypeError, ArithmeticError, AttributeError):
            self.found["malformed_messages"] += 1
            return
        if event is None:
            self.found["statuses_without_meaning"] += 1
            return
        self._gapped.discard(scale.index)
        if self.gaps and not self.gaps[-1].end:
            self.gaps[-1].end = utc_text(at)
        if head:
            self._row(_flagged(event, flags), head["ts"])
        elif kind == "b":
            self._hold(event, at)
        else:
            self._row(event, at)

    def _hold(self, event: bytes, at: int) -> None:
        if self._bars and self._bars[0][:8] != event[:8]:
            self._give_bars(at)
        self._bars_at = self._bars_at if self._bars else at
        self._bars.append(event)
        if len(self._bars) == len(self.scales):
            self._give_bars(at)

    def _give_bars(self, at: int) -> None:
        bars, self._bars = self._bars, []
        for event in bars:
            self._row(event, at)

    def _row(self, event: bytes, at: int) -> None:
        """An event received at `at`, or, of a server whose clock is not ours, when it happened."""
        if self.began.clock == SERVED:
            at = int.from_bytes(event[:8], "little")
        if at < self._recv:
            self.found["clock_went_back"] += self.began.clock == OURS
            at = self._recv
        self._recv = at
        self._out += event[:8] + at.to_bytes(8, "little", signed=True) + event[16:]
        self.rows += 1
        if len(self._out) >= _SPOOL:
            self.spool.write(self._out)
            self._out.clear()


def _flagged(event: bytes, flags: int) -> bytes:
    return event[:18] + (int.from_bytes(event[18:20], "little") | flags).to_bytes(2, "little") + event[20:] if flags else event


def close_day(folder: Path) -> Session | None:
    """Make the session of a day's folder and save it there; None where the frames hold no event. Raises `BadInput`, `OSError`."""
    with tempfile.TemporaryFile() as spool:
        maker, sources, cut = _Maker(spool), [], 0
        every = raw.files(folder)
        with progress(f"making {folder.name} of its raw frames", "events") as told:
            for n, path in enumerate(every):
                before, reader = maker.rows, raw.Reader(path)
                for k, entry in enumerate(reader):
                    maker.take(entry)
                    if k & 0xFFF == 0:
                        told(n, len(every))
                sources.append(Source(path.name, sha256_of_file(path), maker.rows - before))
                cut += reader.cut
            maker.close()
        if cut:
            maker.found["raw_bytes_cut_off"] = cut
        if not maker.rows:
            return None
        rows = np.memmap(spool, EVENT, "r+").view(np.recarray)
    session = _session(rows, maker, folder, sources)
    told_of = {"gaps": [msgspec.structs.asdict(g) for g in maker.gaps], "raw_bytes_cut_off": cut, "clock": maker.began.clock}
    with Disk(folder).replacing(RECORDING) as f:
        f.write(msgspec.json.format(msgspec.json.encode(told_of), indent=1) + b"\n")
    replace_session(session, folder)
    return session


def _session(rows: np.recarray, maker: _Maker, folder: Path, sources: list[Source]) -> Session:
    began, shift = maker.began, 0
    if began.clock == OURS:
        shift = put_events_right(rows, maker.found)
    hours = None
    if not began.crypto and began.clock != LOCKSTEP:
        hours = market_hours(
            STOCKS, min(int(b.ts_event.min()) for b in blocks(rows)), max(int(b.ts_event.max()) for b in blocks(rows))
        )
    bars = [BAR_NS] if "bars" in maker.kinds else []
    return Session.from_rows(
        arrange(rows, hours, bars, maker.found),
        [s.instrument for s in maker.scales.values()],
        name=f"{folder.parent.name}-{folder.name}",
        clock_shift_ns=shift,
        bar_intervals_ns=bars,
        anomalies=dict(maker.found),
        inferred=["ts_recv"] if began.clock == SERVED else [],
        sources=sources,
        calendar=hours,
    )


def close_apart(folders: list[Path]) -> None:
    """`close_day` of each, for a process of its own: whoever watches the recorder, or stops it, means another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        for folder in folders:
            close_day(folder)


def unfinished(out: Path) -> list[Path]:
    """The days of a recording whose session is missing, or was made before the last of its raw frames."""
    return [day for day in sorted(out.iterdir()) if raw.files(day) and not whole(day)] if out.is_dir() else []


def whole(day: Path) -> bool:
    """Whether a day's folder holds the session of all its raw frames."""
    if not (day / MANIFEST).exists():
        return False
    return [s.name for s in read_manifest(day).sources] == [p.name for p in raw.files(day)]
