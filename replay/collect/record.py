"""``replay record``: a broker's market data, written down as it comes, a folder a day.

OUT/2026-03-02/0001.raw      frames as they came (`replay.collect.raw`); another file for every time a recording began
               manifest.json, events.bin   the day's session, made of them when the day, or the recording, is over (`replay.collect.days`)
               recording.json              the gaps

While it records nothing is computed but counts: memory does not grow, and a frame is at the disk `FLUSH_S` later at the latest. That is what
a crash costs; the next recording of the same day declares the gap and goes on. Days that a crash left without their session get it when a
recording begins again.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgpack
import msgspec
from alpaca.data.enums import DataFeed

from replay.collect import days, raw
from replay.collect.asked import UTC
from replay.collect.tap import TappedCrypto, TappedStocks
from replay.data.hours import Hours, market_hours
from replay.data.times import NEW_YORK, SECOND, utc_text
from replay.errors import BadInput
from replay.live.alpaca import account
from replay.live.alpaca.adapter import BATCH
from replay.live.alpaca.streams import DATA, SOCKET, STOP_S
from replay.live.broker import Link
from replay.live.lock import holding

KINDS = ("trades", "quotes", "bars")
FLUSH_S = 1.0  #: how long a frame may wait to be written: what a crash loses at most
FLUSH_BYTES = 1 << 20  #: and how many bytes of them
MUTE_S = 60.0  #: silence while the market is open, after which the connection is made anew
TOLD_S = 5.0  #: between two lines of progress
DAY_NS = 86_400 * SECOND
_FEED_KINDS = {"t": "trades", "q": "quotes", "b": "bars", "s": "statuses", "c": "corrections", "x": "cancel errors"}


class Ordered(msgspec.Struct, kw_only=True):
    """Everything a recording is asked for."""

    symbols: list[str]
    kinds: tuple[str, ...]
    out: Path
    keys: Path | None = None
    url: str | None = None
    feed: str = "iex"


class Recorder:
    """See the module. `told` gets what happens, as it happens. Raises `BadInput` before anything is written."""

    def __init__(self, order: Ordered, told: Callable[[dict], None] = lambda line: None):
        self.order, self.told = order, told
        self.crypto = "/" in order.symbols[0]
        key, secret = account.keys(order.keys)
        access = account.enter(key, secret, url=order.url, feed=order.feed, crypto=self.crypto)
        speed = access.local.get("speed")
        self.clock = days.OURS if speed is None else days.LOCKSTEP if speed == "lockstep" else days.SERVED
        scales, _ = account.instruments(access, order.symbols, self.crypto, order.feed)
        rest = access.rest()
        now = access.session_ns or time.time_ns() + account.clock(rest).offset_ns
        rest.close()
        self.began = days.Began(
            instruments=tuple(s.instrument for s in scales.values()),
            kinds=order.kinds,
            feed=order.feed,
            crypto=self.crypto,
            clock=self.clock,
        )
        self.counts: Counter[str] = Counter()
        self.gaps, self.up, self.lag_ms, self.at = 0, False, 0.0, now
        self.made: list[Path] = []  # days whose session is made
        self._apart: list[tuple[multiprocessing.Process, list[Path]]] = []
        self._day = self._day_of(now)
        self._raw: raw.Writer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._failed: BaseException | None = None
        self._full: OSError | None = None  # what the disk said
        self._disk = ThreadPoolExecutor(1, "disk")  # one thread: what is handed to it is written in that order
        self._step = 0
        self._heard_s = time.monotonic()
        common = {"raw_data": True, "websocket_params": dict(SOCKET), "url_override": access.data_url}
        self._stream = (
            TappedCrypto(key, secret, **common) if self.crypto else TappedStocks(key, secret, feed=DataFeed(order.feed), **common)
        )
        self._stream.heard = self._heard
        self._stream.told(DATA, lambda message, heard: None, self._on_link)

    # --- from outside ---------------------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Record until told to stop, then make the sessions of what was recorded. Raises `BadInput`."""
        with holding(self.order.out):
            self._make_apart([day for day in days.unfinished(self.order.out) if day.name != self._day.isoformat()])
            try:
                asyncio.run(self._record())
            except OSError as e:
                self._full = e
            self._disk.shutdown()
            for process, made in self._apart:
                process.join()
                self.made += [day for day in made if days.whole(day)]
            if self._full is not None:
                raise BadInput(
                    f"{self.order.out}: {self._full.strerror or self._full}: what was received up to {utc_text(self.at)} or a second before "
                    f"is kept as raw frames; make room, and record again to go on"
                )
            for day in days.unfinished(self.order.out):
                session = days.close_day(day)
                if session is not None:
                    self.made.append(day)
                    self.told({"what": "session", "path": str(day), "events": session.manifest.n_events})
            if self._failed is not None:
                raise self._failed

    def stop(self) -> None:
        """End in order; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)

    def status(self) -> dict:
        """Where it stands; figures for a screen or a line."""
        return {
            "day": self._day.isoformat(),
            "up": self.up,
            "events": sum(self.counts.values()),
            **{kind: self.counts[kind] for kind in _FEED_KINDS.values() if self.counts[kind]},
            "gaps": self.gaps,
            "lag_ms": round(self.lag_ms, 1) if self.clock == days.OURS else None,
            "raw_bytes": self._raw.bytes,
            "feed_time": utc_text(self.at),
        }

    # --- its life ---------------------------------------------------------------------------------------------------------------
    async def _record(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: whoever runs us stops us
                self._loop.add_signal_handler(number, self.stop)
        self._subscribe()
        tasks = [asyncio.create_task(t) for t in (self._stream._run_forever(), self._flush_often(), self._tell())]
        if self.clock != days.LOCKSTEP:  # there it is we who are waited for
            tasks.append(asyncio.create_task(self._watch()))
        stopped = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            self._failed = self._failed or task.exception()
        self._stream._should_run = False
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.wait(tasks, timeout=STOP_S)
        self._stream.up = False
        with contextlib.suppress(Exception):  # a broken connection has no close to wait for
            await asyncio.wait_for(self._stream.close(), STOP_S)
        if self._full is None:
            self._raw.note(time.time_ns(), what="ended")
            await self._loop.run_in_executor(self._disk, self._raw.close)

    def _subscribe(self) -> None:
        async def never(_: object) -> None:
            """The SDK subscribes only to what has a handler; frames are taken before it sees them."""

        symbols = self.order.symbols
        for kind in self.order.kinds:
            getattr(self._stream, f"subscribe_{kind}")(never, *symbols)
        if not self.crypto:
            self._stream.subscribe_trading_statuses(never, *symbols)

    def _open(self) -> None:
        self._raw = raw.Writer(self.order.out / self._day.isoformat())
        self._raw.add(time.time_ns(), raw.NOTE, msgspec.json.encode(self.began))

    # --- what is heard ----------------------------------------------------------------------------------------------------------
    async def _heard(self, at: int, data: bytes) -> bool:
        """A frame; whether it holds nothing but market data."""
        newest, step, counts, others = 0, None, self.counts, 0
        for m in raw.messages(data):
            kind = m.get("T")
            if kind in _FEED_KINDS:
                counts[_FEED_KINDS[kind]] += 1
                t = m.get("t")
                if isinstance(t, msgpack.Timestamp):
                    newest = max(newest, t.seconds * SECOND + t.nanoseconds)
            elif kind == "replay":
                step = m
            else:
                others += 1
                if kind == "subscription" and self.clock == days.LOCKSTEP:
                    step = {"seq": self._step, "kind": "begin"}
        if newest > self.at:
            self.at = newest
            if self._day_of(newest) > self._day:
                await self._next_day(self._day_of(newest))
        if newest:
            self.lag_ms, self._heard_s = (at - newest) / 1e6, time.monotonic()
            self._stream._data_received = True  # the SDK begins its pauses between attempts anew
        self._raw.add(at, raw.FRAME, data)
        if len(self._raw) >= FLUSH_BYTES:
            await self._flush()
        if step is not None and step["kind"] == "done":
            self._stop.set()
        elif step is not None:
            self._step = step["seq"]
            await self._stream._ws.send(msgpack.packb({"action": "ack", "seq": step["seq"], "wake_ns": None, "batch": BATCH}))
        return not others

    def _on_link(self, link: Link) -> None:
        self.told({"what": "link", "up": link.up, "text": link.text})
        now = time.time_ns()
        if link.up and not self.up:
            self.up, self._heard_s = True, time.monotonic()
            self._raw.note(now, what="up")
        elif not link.up and self.up:
            self.up = False
            self.gaps += 1
            self._raw.note(now, what="down", why=link.text)
        if link.fatal or "(405)" in link.text:
            self._failed = BadInput(f"{DATA}: {link.text}: check the keys, the feed and how many symbols the account may hear")
            self._stop.set()

    # --- what goes on beside it -------------------------------------------------------------------------------------------------
    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S / 2)
            await self._flush()

    async def _flush(self) -> None:
        writing = self._loop.run_in_executor(self._disk, self._raw.write, self._raw.take())
        try:
            await asyncio.shield(writing)  # whoever waits may be told to end; the disk is not
        except OSError as e:
            self._full = e
            self._stop.set()

    async def _watch(self) -> None:
        """A connection that says nothing while the market is open is made anew."""
        while True:
            await asyncio.sleep(min(1.0, MUTE_S / 4))
            if self.up and time.monotonic() - self._heard_s > MUTE_S and self._market_is_open():
                self._heard_s = time.monotonic()
                await self._stream._ws.close(4000, "mute")

    def _market_is_open(self) -> bool:
        if self.crypto or self.clock != days.OURS:
            return True
        now = time.time_ns()
        hours = Hours(market_hours(days.STOCKS, now - DAY_NS, now + DAY_NS))
        return bool(((hours.opens <= now) & (now < hours.closes)).any())

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TOLD_S)
            self.told({"what": "progress", **self.status()})

    # --- days ---------------------------------------------------------------------------------------------------------------------
    def _day_of(self, ns: int) -> datetime.date:
        return datetime.datetime.fromtimestamp(ns / SECOND, UTC if self.crypto else NEW_YORK).date()

    async def _next_day(self, day: datetime.date) -> None:
        """Go on in the next day's folder; the session of the one before is made in a process of its own."""
        over, before = self._raw, self.order.out / self._day.isoformat()
        try:
            over.note(time.time_ns(), what="ended")
            self._day = day
            self._open()
            await self._loop.run_in_executor(self._disk, over.close)
        except OSError as e:
            self._full = e
            self._stop.set()
            return
        self._make_apart([before])
        self.told({"what": "day", "ended": before.name, "began": day.isoformat()})

    def _make_apart(self, folders: list[Path]) -> None:
        """Make the sessions of days that are over in a process of its own, while we go on."""
        if folders:
            process = multiprocessing.get_context("spawn").Process(target=days.close_apart, args=(folders,))
            process.start()
            self._apart.append((process, folders))
