"""The SDK's market-data streams, overheard: every frame of the server as it came, before anything looks at it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from replay.live.alpaca.streams import Crypto, Stocks
from replay.live.hops import stamp


class _Tapped:
    """Mixed into a stream; `heard` is set before it runs. It gets every frame and when it came, and says whether it is the market's
    alone: the stream would decode that once more, for nobody. While it waits, for its disk say, no further frame is read."""

    heard: Callable[[int, bytes], Awaitable[bool]]

    async def _consume(self) -> bool:
        while True:
            data = await self._ws.recv()
            if not await self.heard(time.time_ns(), data):
                self._frame(data, stamp())


class TappedStocks(_Tapped, Stocks):
    """Of US stocks."""


class TappedCrypto(_Tapped, Crypto):
    """Of crypto pairs."""
