"""The two streams of Alpaca, sans sockets: what a connection answers, and what it is sent.

A connection is fed with `receive` and tells what to send by putting frames into its queue (`out`); whoever owns the socket writes them.
Market data goes out as msgpack arrays, trade updates as JSON in binary frames.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

import msgpack

from replay.serve.account import Account
from replay.serve.wire import CHANNELS

if TYPE_CHECKING:
    from replay.serve.server import Server

STOCK_CHANNELS = tuple(c for c in CHANNELS if c != "orderbooks")
CRYPTO_CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "orderbooks")
MESSAGES = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    500: "internal error",
}
Encoded = tuple[int, str, int, bytes]  #: row, channel, instrument, message
AUTH_SECONDS = 10
SLOW_FRAMES = 4096  #: frames waiting for a client of a paced market before it is called slow
MOST_WAITING = 32 << 20  #: bytes waiting for a client, of any stream and market, before it is dropped
FRAME_BYTES = 64  #: what a frame that waits takes beside its own bytes
FULL_FRAMES = 64  #: frames waiting for a client before a market at full speed waits for it


class Connection:
    """A websocket of a client: frames to be written, and whether it is to be closed behind them."""

    def __init__(self, server: Server):
        self.server = server
        self.account: Account | None = None
        self.out: deque[bytes] = deque()
        self.waiting = 0  # bytes of what is to be written
        self.closing = False
        self.muted = False

    def put(self, frame: bytes) -> None:
        """Have a frame written. A client for which too many bytes wait is told nothing more, and dropped."""
        if self.muted or self.closing:
            return
        if self.waiting + len(frame) > MOST_WAITING:
            self.forget()
            self.close()
            return
        self.out.append(frame)
        self.waiting += len(frame) + FRAME_BYTES
        self.server.written(self)

    def next(self) -> bytes:
        """Take the oldest frame to write it."""
        frame = self.out.popleft()
        self.waiting -= len(frame) + FRAME_BYTES
        return frame

    def forget(self) -> None:
        """Nothing of what waits is written."""
        self.out.clear()
        self.waiting = 0

    def close(self) -> None:
        self.closing = True
        self.server.written(self)


class DataStream(Connection):
    """``/v2/iex``, ``/v2/sip``, ``/v1beta3/crypto/us``: authenticate, subscribe, listen; in lockstep also acknowledge."""

    def __init__(self, server: Server, path: str):
        super().__init__(server)
        self.path = path
        self.channels = CRYPTO_CHANNELS if "crypto" in path else STOCK_CHANNELS
        self.subscribed: dict[str, list[str]] = {c: [] for c in self.channels}
        self.wants: dict[str, frozenset[int]] = {}  # by channel: instruments
        self.driving = False  # has acknowledged a step
        self.say({"T": "success", "msg": "connected"})

    def say(self, *messages: dict) -> None:
        self.put(msgpack.packb(list(messages)))

    def refuse(self, code: int) -> None:
        self.say({"T": "error", "code": code, "msg": MESSAGES[code]})

    def receive(self, data: bytes | str) -> None:
        """One message of the client."""
        try:
            m = msgpack.unpackb(data) if isinstance(data, bytes) else json.loads(data)
        except (ValueError, RecursionError):
            m = None
        if not isinstance(m, dict):
            self.refuse(400)
            return
        action = m.get("action")
        if action == "auth":
            self._authenticate(m)
        elif self.account is None:
            self.refuse(401)
        elif action in ("subscribe", "unsubscribe"):
            self._subscribe(m, action == "subscribe")
        elif action == "ack" and self.server.lockstep:
            self.driving = True
            complaint = self.server.lockstep.acknowledge(m)
            if complaint:
                self.say({"T": "error", "code": 400, "msg": complaint})
        else:
            self.refuse(400)

    def _authenticate(self, m: dict) -> None:
        if self.account is not None:
            self.refuse(403)
            return
        account = self.server.authenticate(m.get("key"), m.get("secret"))
        if account is None:
            self.refuse(402)
            self.close()
        elif not self.server.admit(self, account):
            self.refuse(406)
            self.close()
        else:
            self.account = account
            self.say({"T": "success", "msg": "authenticated"})

    def _subscribe(self, m: dict, add: bool) -> None:
        lists = {c: m[c] for c in CHANNELS if m.get(c)}
        if any(not isinstance(v, list) or not all(isinstance(s, str) for s in v) for v in lists.values()):
            self.refuse(400)
            return
        if set(lists) - set(self.channels):
            self.refuse(410)
            return
        after = {c: list(v) for c, v in self.subscribed.items()}
        for channel, symbols in lists.items():
            kept = [s for s in after[channel] if s not in symbols]
            after[channel] = kept + list(dict.fromkeys(symbols)) if add else kept
        if "trades" in lists and "corrections" in after:
            after["corrections"] = after["cancelErrors"] = list(after["trades"])
        limit = self.server.faults.symbol_limit
        if limit is not None and len({s for v in after.values() for s in v}) > limit:
            self.refuse(405)
            return
        fresh = set(after.get("orderbooks", ())) - set(self.subscribed.get("orderbooks", ()))
        self.subscribed = after
        every = frozenset(range(len(self.server.assets.symbols)))
        found = {s: self.server.assets.find(s) for v in after.values() for s in v}
        self.wants = {
            c: every if "*" in v else frozenset(found[s] for s in v if found[s] is not None) for c, v in after.items() if v
        }
        self.say({"T": "subscription", **after})
        for k in sorted(self.server.assets.find(s) for s in fresh if self.server.assets.find(s) is not None):
            self.say(self.server.book_snapshot(k))
        if add:
            self.server.wake()

    def offer(self, encoded: list[Encoded]) -> None:
        """Send what it wants of encoded messages, in one frame."""
        wants = self.wants
        chosen = [m for _, channel, k, m in encoded if k in wants.get(channel, ())]
        if chosen:
            self.put(frame(chosen))


class TradeStream(Connection):
    """``/stream``: authenticate, listen to ``trade_updates``."""

    def __init__(self, server: Server):
        super().__init__(server)
        self.listening = False

    def say(self, stream: str, data: dict) -> None:
        self.put(json.dumps({"stream": stream, "data": data}).encode())

    def receive(self, data: bytes | str) -> None:
        """One message of the client."""
        try:
            m = json.loads(data)
        except (ValueError, RecursionError):
            m = None
        if not isinstance(m, dict):
            self.say("error", {"code": 400, "error": MESSAGES[400]})
            return
        action, body = m.get("action"), m.get("data") if isinstance(m.get("data"), dict) else {}
        if action in ("authenticate", "auth"):
            key = body.get("key_id") or m.get("key")
            account = self.server.authenticate(key, body.get("secret_key") or m.get("secret"))
            refused = account is not None and not self.server.admit_updates(self, account)
            self.account = None if refused else account
            status = "authorized" if self.account else "unauthorized"
            why = {"message": "connection limit exceeded: one order stream an account"} if refused else {}
            self.say("authorization", {"status": status, "action": action, **why})
            if self.account is None:
                self.close()
        elif action == "listen" and self.account is not None:
            streams = body.get("streams") if isinstance(body.get("streams"), list) else []
            known = [s for s in streams if s == "trade_updates"]
            self.listening = bool(known)
            self.say("listening", {"streams": known})
        elif self.account is None:
            self.say("authorization", {"status": "unauthorized", "action": str(action)})
        else:
            self.say("error", {"code": 400, "error": MESSAGES[400]})


def frame(messages: list[bytes]) -> bytes:
    """One msgpack array of messages that are encoded already."""
    return msgpack.Packer().pack_array_header(len(messages)) + b"".join(messages)
