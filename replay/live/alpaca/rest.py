"""REST through the SDK's client: a timeout on every call, none of its own retries, one packet a request, and what an answer means."""

from __future__ import annotations

import functools
import json
import os
from typing import NamedTuple
from urllib.parse import urlencode

import certifi
import msgspec
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from requests.utils import get_environ_proxies, select_proxy
from urllib3 import PoolManager, ProxyManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from replay.live.alpaca.lanes import Turn
from replay.live.broker import Leave
from replay.live.hops import stamp

#: what became of a request: done, refused for good, refused because its ClOrdID is known, to be sent again later, not known, withheld
DONE, REFUSED, DUPLICATE, LATER, UNKNOWN, MISSING, UNAUTHORIZED, WITHHELD = range(8)


_JSON = msgspec.json.Encoder()


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

    def __init__(self, *a, session: Session, **kw):
        super().__init__(*a, **kw)
        self._session, self._pieces = session, None

    def request(self, *a, **kw) -> None:
        self._pieces = pieces = []
        try:
            super().request(*a, **kw)
        finally:
            self._pieces = None
        session = self._session
        session.prepared = stamp()
        if session.leave is not None and not session.leave.wait():
            raise Withheld("not sent: the journal could not be written")
        if session.turn is not None:
            session.turn.wait()
        self.send(b"".join(pieces))
        session.written = stamp()
        if session.turn is not None:
            session.turn.over()

    def send(self, data) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)


class _Plain(_Held, HTTPConnection):
    pass


class _Secure(_Held, HTTPSConnection):
    pass


class Session:
    """What the SDK's client sends by, in the place of `requests.Session`, whose preparing of a request took longer than everything else
    on the way: urllib3, connections kept open, a timeout on everything, no retries. For one thread.

    `leave` and `turn` are what the next request waits for; `prepared` and `written` are its stamps, ns.
    """

    def __init__(self, base: str, seconds: float):
        self.leave: Leave | None = None
        self.turn: Turn | None = None
        self.prepared = self.written = 0
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
        proxy = select_proxy(base, get_environ_proxies(base))
        options = {
            "timeout": Timeout(connect=min(5.0, seconds), read=seconds), "retries": False, "maxsize": 4, "ca_certs": bundle,
        }  # fmt: skip
        self._pools = ProxyManager(proxy, **options) if proxy else PoolManager(**options)
        pool = self._pools.connection_from_url(base)
        pool.ConnectionCls = functools.partial(_Secure if pool.scheme == "https" else _Plain, session=self)

    def request(self, method: str, url: str, headers: dict, allow_redirects: bool, params=None, json=None) -> requests.Response:
        """As the SDK calls it; redirects are never followed."""
        body = None
        if params:
            url += "?" + urlencode(params)
        if json is not None:
            body, headers = _JSON.encode(json), headers | {"Content-Type": "application/json"}
        got = self._pools.urlopen(method, url, body=body, headers=headers, redirect=False)
        out = requests.Response()
        out.status_code, out.reason, out.headers, out.url = got.status, got.reason, got.headers, url
        out._content, out.encoding = got.data, "utf-8"
        return out

    def close(self) -> None:
        self._pools.clear()


class Rest:
    """One client with its own connection, for one thread: cancels have one to themselves, so that no hung order delays them."""

    def __init__(self, key: str, secret: str, paper: bool, url: str | None, timeout_s: float = 10.0):
        self.client = TradingClient(key, secret, paper=paper, raw_data=True, url_override=url)
        self.client._retry = 0  # it repeats a POST on 504, in our thread
        self.client._session = self.session = Session(url or self.client._base_url.value, timeout_s)

    def call(self, method: str, path: str, data: dict | None = None, leave: Leave | None = None) -> Answer:
        """One request, once; its first byte leaves when `leave` says so. Never raises for what the network or the broker does."""
        self.session.leave = leave
        try:
            return Answer(DONE, getattr(self.client, method)(path, data))
        except Withheld as e:
            return Answer(WITHHELD, None, str(e))
        except APIError as e:
            return judge(e.status_code, _headers(e), str(e._error))
        except (NewConnectionError, ConnectTimeoutError):
            return Answer(LATER, None, "no connection", 1.0)
        except (HTTPError, OSError, ValueError) as e:  # the connection broke, or an answer that is no JSON
            return Answer(UNKNOWN, None, type(e).__name__)

    def connect(self) -> None:
        """Make the connection, so that the first request need not."""
        self.call("get", "/clock")

    def close(self) -> None:
        """Let go of its connections."""
        self.session.close()


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
