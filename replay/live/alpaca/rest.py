"""REST through the SDK's client: a timeout on every call, none of its own retries, one packet a request, and what an answer means."""

from __future__ import annotations

import functools
import json
import os
from typing import NamedTuple

import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection

from replay.live.broker import Leave
from replay.live.hops import stamp

#: what became of a request: done, refused for good, refused because its ClOrdID is known, to be sent again later, not known, withheld
DONE, REFUSED, DUPLICATE, LATER, UNKNOWN, MISSING, UNAUTHORIZED, WITHHELD = range(8)


class Answer(NamedTuple):
    """The outcome of one request; `body` is what came with DONE, `text` a sentence without anything secret."""

    outcome: int
    body: object = None
    text: str = ""
    after_s: float = 0.0


class Withheld(Exception):
    """It was not to leave: nothing was sent."""


class _Held:
    """Mixed into a connection: a request leaves as one piece, and not before it may."""

    def __init__(self, *a, transport: Transport, **kw):
        super().__init__(*a, **kw)
        self.transport, self._pieces = transport, None

    def request(self, *a, **kw) -> None:
        self._pieces = pieces = []
        try:
            super().request(*a, **kw)
        finally:
            self._pieces = None
        transport = self.transport
        transport.prepared = stamp()
        if transport.leave is not None and not transport.leave.wait():
            raise Withheld("not sent: the journal could not be written")
        self.send(b"".join(pieces))
        transport.written = stamp()

    def send(self, data) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)


class _Plain(_Held, HTTPConnection):
    pass


class _Secure(_Held, HTTPSConnection):
    pass


class Transport(HTTPAdapter):
    """Under the SDK's session, which sets no timeout at all. One request at a time: `leave` is what it waits for, `prepared` and
    `written` are its stamps."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.leave: Leave | None = None
        self.prepared = self.written = 0
        super().__init__(pool_connections=1, pool_maxsize=4)

    def send(self, request, **kw):
        kw["timeout"] = (min(5.0, self.seconds), self.seconds)
        return super().send(request, **kw)

    def get_connection_with_tls_context(self, *a, **kw):
        pool = super().get_connection_with_tls_context(*a, **kw)
        pool.ConnectionCls = functools.partial(_Secure if pool.scheme == "https" else _Plain, transport=self)
        return pool


class Rest:
    """One client with its own connection, for one thread: cancels have one to themselves, so that no hung order delays them."""

    def __init__(self, key: str, secret: str, paper: bool, url: str | None, timeout_s: float = 10.0):
        self.client = TradingClient(key, secret, paper=paper, raw_data=True, url_override=url)
        self.client._retry = 0  # it repeats a POST on 504, in our thread
        self.transport = Transport(timeout_s)
        session = self.client._session
        for scheme in ("http://", "https://"):
            session.mount(scheme, self.transport)
        # what the environment says is looked up once, instead of with every request
        session.trust_env = False
        session.proxies.update(get_environ_proxies(url or self.client._base_url.value))
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True

    def call(self, method: str, path: str, data: dict | None = None, leave: Leave | None = None) -> Answer:
        """One request, once; its first byte leaves when `leave` says so. Never raises for what the network or the broker does."""
        self.transport.leave = leave
        try:
            return Answer(DONE, getattr(self.client, method)(path, data))
        except Withheld as e:
            return Answer(WITHHELD, None, str(e))
        except APIError as e:
            return judge(e.status_code, _headers(e), str(e._error))
        except (requests.ConnectionError, requests.Timeout) as e:
            refused = "refused" in str(e) or "Failed to resolve" in str(e)
            return Answer(LATER if refused else UNKNOWN, None, "no connection" if refused else type(e).__name__, 1.0)
        except (requests.RequestException, ValueError) as e:  # an answer that is no JSON
            return Answer(UNKNOWN, None, type(e).__name__)

    def close(self) -> None:
        """Let go of its connections."""
        self.client._session.close()


def _headers(e: APIError) -> dict:
    return dict(e.response.headers) if e.response is not None else {}


def judge(status: int | None, headers: dict, text: str) -> Answer:
    """What an error answer means.

    >>> judge(422, {}, '{"code": 40010001, "message": "client_order_id must be unique"}').outcome == DUPLICATE
    True
    >>> judge(504, {}, "<html>").outcome == UNKNOWN, judge(403, {}, '{"code": 40310000, "message": "insufficient buying power"}')
    (True, Answer(outcome=1, body=None, text='insufficient buying power', after_s=0.0))
    """
    message = sentence(text) or f"HTTP {status}"
    if status == 429:
        return Answer(LATER, None, message, _wait_s(headers))
    if status in (401,):
        return Answer(UNAUTHORIZED, None, "the keys are not accepted (401)")
    if status == 404:
        return Answer(MISSING, None, message)
    if status is None or status >= 500 or status == 408:
        return Answer(UNKNOWN, None, message)
    return Answer(DUPLICATE if "must be unique" in message else REFUSED, None, message)


def _wait_s(headers: dict) -> float:
    """How long a 429 asks us to wait: its headers may be missing."""
    import time

    try:
        return min(60.0, max(0.2, float(headers["X-RateLimit-Reset"]) - time.time()))
    except (KeyError, ValueError):
        return 1.0


def sentence(text: str) -> str:
    """The message of an error body that may be JSON, HTML or nothing."""
    try:
        said = json.loads(text)
    except ValueError:
        return ""
    return str(said.get("message", ""))[:200] if isinstance(said, dict) else ""
