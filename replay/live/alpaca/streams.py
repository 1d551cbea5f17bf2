"""The two streams, in one thread with one event loop: market data and order updates.

The SDK reconnects by itself, for ever and without a word; what is heard here says when a stream went down, came up, was refused or
fell mute, so that the runner can declare the gap and reconcile. Subscriptions are its own; messages are taken before it casts them,
because its models cut times to microseconds and prices to floats that are not theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

import msgpack
from alpaca.data.enums import DataFeed
from alpaca.data.live import CryptoDataStream, StockDataStream
from alpaca.trading.stream import TradingStream
from websockets.legacy.client import WebSocketClientProtocol

from replay.live.broker import Link
from replay.live.hops import stamp

MOST_BEHIND, REST_S = 50_000, 0.002  #: events that may wait for the trader before no more are read, and how often it is asked
LOGIN_S = 60.0  #: how long refused logins are tried again
AGAIN_S = 2.0  #: between two tries, at most
LISTEN_S = 5.0  #: between two looks whether to stop
STOP_S, CANCELS = 1.5, 3  #: how long one end of a connection is waited for, and how often its task is told to end
#: the SDK's socket settings, but a peer that answers no ping is dropped after 20 s instead of 180
SOCKET = {"ping_interval": 10, "ping_timeout": 20, "max_queue": 4096, "max_size": 1 << 24}
HOPELESS = ("insufficient subscription",)  #: refusals of a login that trying again does not mend
REFUSED = ("auth failed", "failed to authenticate", "not authenticated", "HTTP 401", "HTTP 403")  #: those that it may
PERMANENT = {
    405: "the data plan has fewer symbols than are asked for: name fewer, or change the plan",
    409: "",
    410: "",
    412: "",
    413: "",
}
LOGIN_CODES = (401, 402)
DATA, UPDATES = "market data", "order updates"

# what the SDK logs goes to `Link`; its tracebacks would carry what was sent, keys included
logging.getLogger("alpaca").addHandler(logging.NullHandler())
logging.getLogger("alpaca").propagate = False


class Logins:
    """Valid keys are refused for minutes now and then: one refusal is no fact, a minute of them without one success is.

    >>> now = [0.0]
    >>> logins = Logins(lambda: now[0])
    >>> logins.refused(), now.append(now.pop() + LOGIN_S), logins.refused(), logins.hopeless
    (False, None, True, True)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._since = clock, None
        self.hopeless = False

    def refused(self) -> bool:
        """One more was refused; whether that has gone on for `LOGIN_S`."""
        now = self._clock()
        self._since = now if self._since is None else self._since
        self.hopeless = now - self._since >= LOGIN_S
        return self.hopeless

    @property
    def waiting(self) -> bool:
        """Whether the last was refused."""
        return self._since is not None

    def accepted(self) -> bool:
        """One was accepted; whether others had been refused before it."""
        ended, self._since, self.hopeless = self._since is not None, None, False
        return ended


class Socket(WebSocketClientProtocol):
    """The SDK's websocket. Where `each` is set it is called with every message, at once, and when its last byte came from the socket:
    `recv` takes two more tasks and four turns of the loop, as much CPU as everything else about a message. While `behind` says that too
    many wait, nothing is read, and the server waits with what it sends."""

    def __init__(self, *a, **kw):
        super().__init__(*a, **kw)
        self.each: Callable[[bytes | str, int], None] | None = None
        self.behind: Callable[[], int] = lambda: 0
        self._got, self._pieces = 0, deque()

    def data_received(self, data: bytes) -> None:
        self._got += len(data)
        self._pieces.append((self._got, stamp()))
        super().data_received(data)

    async def read_message(self):
        while True:
            message = await super().read_message()
            read, pieces = self._got - len(self.reader._buffer), self._pieces
            while len(pieces) > 1 and pieces[0][0] < read:
                pieces.popleft()
            if self.each is None or message is None:
                return message
            self.each(message, pieces[0][1])
            while self.behind() > MOST_BEHIND:
                await asyncio.sleep(REST_S)


class _Telling:
    """Mixed into a stream of the SDK: says when it is up, when it is down, and why. The SDK tries a refused login again by itself."""

    def told(self, label: str, on_message: Callable[[dict], None], on_link: Callable[[Link], None]) -> None:
        self.label, self.on_message, self.on_link = label, on_message, on_link
        self.up, self.logins = False, Logins()

    def _reconnect_delay(self, retries: int) -> float:
        """Seconds until the SDK tries again: its own, but while logins are refused a minute is to hold more than a few tries."""
        return min(AGAIN_S, super()._reconnect_delay(retries)) if self.logins.waiting else super()._reconnect_delay(retries)

    async def _start_ws(self) -> None:
        try:
            await super()._start_ws()
        except Exception as e:
            text = str(e) or type(e).__name__
            refused = any(word in text for word in REFUSED) and self.logins.refused()
            self.on_link(Link(self.label, False, text, refused or any(word in text for word in HOPELESS)))
            raise
        self.up = True
        self.logins.accepted()

    async def close(self) -> None:
        if self.up:
            self.up = False
            self.on_link(Link(self.label, False, "the connection was lost"))
        await super().close()


class _Market:
    behind: Callable[[], int]  #: set before it runs: how much of what was told is not dealt with yet

    async def _consume(self) -> bool:
        """Until the connection ends, which raises; True where it fell mute. As the SDK's, but messages are dealt with where they are read."""
        ws, loop = self._ws, asyncio.get_running_loop()
        self._data_received, self._newest = False, loop.time()
        while ws.messages:
            self._frame(ws.messages.popleft(), stamp())
        ws.each, ws.behind = self._frame, self.behind
        while not ws.transfer_data_task.done():
            if not self._stop_stream_queue.empty():
                self._stop_stream_queue.get(timeout=1)
                await self.close()
                return False
            wait = LISTEN_S
            if self._data_timeout is not None:
                wait = min(wait, self._newest + self._data_timeout - loop.time())
                if wait <= 0:
                    await self.close()
                    return True
            await asyncio.wait([ws.transfer_data_task], timeout=wait)
        await ws.ensure_open()
        return False

    def _frame(self, data: bytes | str, heard: int) -> None:
        for msg in msgpack.unpackb(data):
            kind = msg.get("T")
            if kind == "error":
                code, why = msg.get("code"), PERMANENT.get(msg.get("code"))
                text = f"{msg.get('msg')} ({code})" + (f": {why}" if why else "")
                fatal = why is not None or (code in LOGIN_CODES and self.logins.refused())
                self.on_link(Link(self.label, False, text, fatal))
            elif kind == "subscription":
                self.on_link(Link(self.label, True))
            else:
                self._data_received, self._newest = True, self._loop.time()
                self.on_message(msg, heard)


class Stocks(_Telling, _Market, StockDataStream):
    """Trades, quotes, bars, statuses, corrections of US stocks."""


class Crypto(_Telling, _Market, CryptoDataStream):
    """The same of crypto pairs, without statuses and corrections."""


class Updates(_Telling, TradingStream):
    """What happens to the account's orders."""

    async def _dispatch(self, msg: dict) -> None:
        if msg.get("stream") == "trade_updates":
            self.on_message(msg["data"])
        elif msg.get("stream") == "listening":
            self.on_link(Link(self.label, True))


async def _never(_: object) -> None:
    """The SDK sends a subscription only for what has a handler; ours is `_dispatch`."""


class Streams:
    """Both streams in their thread. `on_market` is called there with each message and when it was heard, `on_update` with each message,
    `on_link` with each change."""

    def __init__(
        self,
        key: str,
        secret: str,
        paper: bool,
        on_market,
        on_update,
        on_link,
        *,
        updates_url=None,
        data_url=None,
        feed="iex",
        crypto=False,
        mute_s=None,
    ):
        common = {"raw_data": True, "websocket_params": {**SOCKET, "create_protocol": Socket}}
        self.updates = Updates(key, secret, paper=paper, url_override=updates_url, **common)
        self.updates.told(UPDATES, on_update, on_link)
        self.updates.subscribe_trade_updates(_never)
        if crypto:
            self.data = Crypto(key, secret, url_override=data_url, data_timeout=mute_s, **common)
        else:
            self.data = Stocks(key, secret, feed=DataFeed(feed), url_override=data_url, data_timeout=mute_s, **common)
        self.data.told(DATA, on_market, on_link)
        self.on_link = on_link
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="streams", daemon=True)
        self._tasks: list = []

    def subscribe(self, symbols: list[str], bars: bool, crypto: bool) -> None:
        """Choose what to hear, before `listen`."""
        self.data.subscribe_trades(_never, *symbols)
        self.data.subscribe_quotes(_never, *symbols)
        if bars:
            self.data.subscribe_bars(_never, *symbols)
        if not crypto:
            self.data.subscribe_trading_statuses(_never, *symbols)

    def start(self) -> None:
        """Connect for order updates."""
        self._thread.start()
        self._run(self.updates)

    def listen(self, behind: Callable[[], int]) -> None:
        """Connect for market data; `behind` says how much of it waits to be dealt with."""
        self.data.behind = behind
        self._run(self.data)

    def send_data(self, message: dict) -> None:
        """Send on the market-data socket; from any thread."""
        data = msgpack.packb(message)

        async def send() -> None:
            await self.data._ws.send(data)

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(10)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call from the streams' own thread, which this must be called from; 0: once what has been received is dealt with."""
        self._loop.call_soon(call) if seconds == 0 else self._loop.call_later(seconds, call)

    def soon(self, call: Callable[[], None]) -> None:
        """Call from the streams' own thread; from any thread."""
        self._loop.call_soon_threadsafe(call)

    def reconnect(self, label: str) -> None:
        """Break a connection, so that the SDK makes it anew."""

        async def close() -> None:
            stream = self.updates if label == UPDATES else self.data
            if stream._ws is not None:
                await stream._ws.close(4000, "mute")

        asyncio.run_coroutine_threadsafe(close(), self._loop)

    def stop(self) -> None:
        """Close both, without the SDK's five seconds."""

        async def close() -> None:
            for stream in (self.data, self.updates):
                stream._should_run = False
            running = set(self._tasks)
            for _ in range(CANCELS):
                for task in running:
                    task.cancel()  # a reconnect of the SDK that is under way may swallow one
                if running:
                    _, running = await asyncio.wait(running, timeout=STOP_S)
            for stream in (self.data, self.updates):
                stream.up = False
                with contextlib.suppress(Exception):  # a broken connection has no close to wait for
                    await asyncio.wait_for(stream.close(), STOP_S)

        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
        self._loop.close()

    def _run(self, stream) -> None:
        def begin() -> None:
            self._tasks.append(self._loop.create_task(stream._run_forever()))

        self._loop.call_soon_threadsafe(begin)
