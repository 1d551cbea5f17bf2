"""The SDK's market-data streams, overheard: every frame of the server as it came, before the SDK looks at it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from replay.live.alpaca.streams import Crypto, Stocks

Heard = Callable[[int, bytes], Awaitable[bool]]
NOTHING = b"\x90"  #: a frame without messages


class _Tap:
    """Stands before a websocket; what is received goes to `heard` first, with the time. The SDK gets what that says is not the market's:
    it would decode the rest once more, for nobody."""

    def __init__(self, ws, heard: Heard):
        self._ws, self._heard = ws, heard

    async def recv(self) -> bytes:
        data = await self._ws.recv()
        return NOTHING if await self._heard(time.time_ns(), data) else data

    def __getattr__(self, name: str):
        return getattr(self._ws, name)


class _Tapped:
    """Mixed into a stream; `heard` is set before it runs."""

    heard: Heard

    async def _connect(self) -> None:
        await super()._connect()
        self._ws = _Tap(self._ws, self.heard)


class TappedStocks(_Tapped, Stocks):
    """Of US stocks."""


class TappedCrypto(_Tapped, Crypto):
    """Of crypto pairs."""
