"""REST through the SDK's client: a timeout on every call, none of its own retries, one packet a request, and what an answer means."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import select
import ssl
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import NamedTuple
from urllib.parse import urlsplit

import certifi
import msgspec
import requests
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from alpaca.trading.client import TradingClient
from requests.auth import _basic_auth_str
from requests.structures import CaseInsensitiveDict
from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy

from replay.errors import UNREADABLE
from replay.live.alpaca.lanes import Turn
from replay.live.broker import Leave
from replay.live.hops import stamp

NO_CONNECTION = "no connection"  #: the text of an answer where nobody answers
#: what became of a request: done, refused for good, refused because its ClOrdID is known, to be sent again later, not known, withheld
DONE, REFUSED, DUPLICATE, LATER, UNKNOWN, MISSING, UNAUTHORIZED, WITHHELD = range(8)
CONNECT_S = 5.0
_JSON = msgspec.json.Encoder()


class Answer(NamedTuple):
    """The outcome of one request; `body` is what came with DONE, `text` a sentence without anything secret."""

    outcome: int
    body: object = None
    text: str = ""
    after_s: float = 0.0


class Withheld(Exception):
    """It was not to leave: nothing was sent."""


class NotConnected(Exception):
    """There is no connection: nothing was sent."""


class Redirected(HTTPException):
    """The answer points elsewhere. It is not followed, and what became of the request is not known."""


class Session:
    """What the SDK's client sends by, in the place of `requests.Session`, whose preparing of a request took longer than everything else
    on the way: one connection kept open, a timeout on everything, no retries, no redirects. One request at a time.

    `leave` and `turn` are what the next request waits for; `prepared` and `written` are its stamps, ns.
    """

    def __init__(self, base: str, seconds: float):
        self.leave: Leave | None = None
        self.turn: Turn | None = None
        self.prepared = self.written = 0
        self.seconds = seconds
        self._connection = _connection(base, min(CONNECT_S, seconds))
        self._base, self._host = base.rstrip("/"), urlsplit(base).netloc
        self._lock = threading.Lock()
        weakref.finalize(self, self._connection.close)

    def request(self, method: str, url: str, headers: dict, allow_redirects: bool, params=None, json=None) -> requests.Response:
        """As the SDK calls it. Raises `NotConnected`, `Withheld`, and where the answer was lost `OSError` or `HTTPException`."""
        where = url.removeprefix(self._base)
        if params:
            where += "?" + requests.PreparedRequest._encode_params(params)
        lines = [f"{method} {where} HTTP/1.1", f"Host: {self._host}", "Accept-Encoding: gzip"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        body = b""
        if json is not None:
            body = _JSON.encode(json)
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        head = "\r\n".join(lines)
        if len(head.splitlines()) != len(lines):
            raise ValueError("a line break within a header")
        with self._lock:
            return self._exchange(method, url, f"{head}\r\n\r\n".encode() + body)

    def _exchange(self, method: str, url: str, data: bytes) -> requests.Response:
        connection = self._connection
        try:
            self._open(connection)
        except OSError as e:
            raise NotConnected(type(e).__name__) from None
        self.prepared = stamp()
        if self.leave is not None and not self.leave.wait():
            raise Withheld("not sent: the journal could not be written")
        if self.turn is not None:
            self.turn.wait()
        try:
            connection.sock.sendall(data)
            self.written = stamp()
            if self.turn is not None:
                self.turn.over()
            got = HTTPResponse(connection.sock, method=method)
            got.begin()
            out = requests.Response()
            content = got.read()
            if got.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            out._content, out.encoding, out.url = content, "utf-8", url
        except BaseException:
            connection.close()
            raise
        if got.will_close:
            connection.close()
        if 300 <= got.status < 400:  # somebody between us and the broker: the keys go nowhere else
            raise Redirected
        out.status_code, out.reason, out.headers = got.status, got.reason, CaseInsensitiveDict(got.headers.items())
        return out

    def _open(self, connection: HTTPConnection) -> None:
        """Connected, and not to a peer that has hung up since the last answer."""
        if connection.sock is not None:
            look = select.poll()
            look.register(connection.sock, select.POLLIN)
            if look.poll(0):
                connection.close()
        if connection.sock is None:
            connection.connect()
            connection.sock.settimeout(self.seconds)

    def close(self) -> None:
        self._connection.close()


def _connection(base: str, timeout: float) -> HTTPConnection:
    """To the host of `base`, through the proxy that the environment names for it; certificates are those of the SDK, or the environment's.
    Plain HTTP is for a server on this machine, which is behind no proxy."""
    to = urlsplit(base)
    if to.scheme != "https":
        return HTTPConnection(to.hostname, to.port, timeout)
    proxy = select_proxy(base, get_environ_proxies(base))
    via = urlsplit(proxy) if proxy else to
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    made = HTTPSConnection(via.hostname, via.port, timeout=timeout, context=ssl.create_default_context(cafile=bundle))
    if proxy:
        user, password = get_auth_from_url(proxy)
        made.set_tunnel(to.hostname, to.port, {"Proxy-Authorization": _basic_auth_str(user, password)} if user else {})
    return made


class Rest:
    """One client with its own connection, for one thread: cancels have one to themselves, so that no hung order delays them."""

    def __init__(self, key: str, secret: str, paper: bool, url: str | None, timeout_s: float = 10.0):
        self.client = TradingClient(key, secret, paper=paper, raw_data=True, url_override=url)
        self.session = tame(self.client, timeout_s)
        self.answered: Callable[[Answer], None] = lambda answer: None

    def call(self, method: str, path: str, data: dict | None = None, leave: Leave | None = None) -> Answer:
        """One request, once; its first byte leaves when `leave` says so. Never raises for what the network or the broker does."""
        self.session.leave = leave
        a = once(getattr(self.client, method), path, data)
        if a.outcome == DONE and a.body is None and method != "delete":
            a = Answer(UNKNOWN, None, "an empty answer")
        self.answered(a)
        return a

    def insist(self, path: str, seconds: float) -> Answer:
        """A query that is made again for so long while it has no answer, or a refusal that may pass."""
        until = time.monotonic() + seconds
        while (a := self.call("get", path)).outcome not in (DONE, MISSING) and time.monotonic() < until:
            time.sleep(0.5)
        return a

    def connect(self) -> None:
        """Make the connection, so that the first request need not."""
        self.call("get", "/clock")

    def close(self) -> None:
        """Let go of its connections."""
        self.session.close()


def tame(client: RESTClient, timeout_s: float) -> Session:
    """Any client of the SDK: a timeout on every call, and none of its own retries, which repeat a POST on 504, in our thread."""
    client._retry = 0
    base = client._base_url
    client._session = Session(getattr(base, "value", base), timeout_s)
    return client._session


def once(call: Callable[..., object], path: str, data: dict | None) -> Answer:
    """`call`, a method of a tame client, and what became of it."""
    try:
        return Answer(DONE, call(path, data))
    except Withheld as e:
        return Answer(WITHHELD, None, str(e))
    except APIError as e:
        return judge(e.status_code, _headers(e), str(e._error))
    except NotConnected:
        return Answer(LATER, None, NO_CONNECTION, 1.0)
    except (HTTPException, OSError, EOFError, zlib.error, *UNREADABLE) as e:  # the connection broke, or an answer that is no JSON
        return Answer(UNKNOWN, None, type(e).__name__)


def _headers(e: APIError) -> Mapping[str, str]:
    return e.response.headers if e.response is not None else {}


def judge(status: int | None, headers: Mapping[str, str], text: str) -> Answer:
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


def _wait_s(headers: Mapping[str, str]) -> float:
    """How long a 429 asks us to wait: its headers may be missing.

    >>> _wait_s({"Retry-After": "7"}), _wait_s({}), _wait_s({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})
    (7.0, 1.0, 1.0)
    """
    for name, since in (("Retry-After", 0.0), ("X-RateLimit-Reset", time.time())):
        with contextlib.suppress(KeyError, ValueError):
            return min(60.0, max(0.2, float(headers[name]) - since))
    return 1.0


def sentence(text: str) -> str:
    """The message of an error body that may be JSON, HTML or nothing.

    >>> sentence('{"message": "no"}'), sentence("<html>"), sentence("[" * 100_000)
    ('no', '', '')
    """
    try:
        said = json.loads(text)
    except UNREADABLE:
        return ""
    return str(said.get("message", ""))[:200] if isinstance(said, dict) else ""
