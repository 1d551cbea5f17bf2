"""REST through the SDK's client: a timeout on every call, none of its own retries, and what an answer means."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import NamedTuple

import requests
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from alpaca.trading.client import TradingClient
from requests.adapters import HTTPAdapter

NO_CONNECTION = "no connection"  #: the text of an answer where nobody answers
#: what became of a request: done, refused for good, refused because its ClOrdID is known, to be sent again later, not known
DONE, REFUSED, DUPLICATE, LATER, UNKNOWN, MISSING, UNAUTHORIZED = range(7)


class Answer(NamedTuple):
    """The outcome of one request; `body` is what came with DONE, `text` a sentence without anything secret."""

    outcome: int
    body: object = None
    text: str = ""
    after_s: float = 0.0


class _Timeouts(HTTPAdapter):
    """The SDK sets no timeout at all."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        super().__init__(pool_connections=1, pool_maxsize=4)

    def send(self, request, **kw):
        kw["timeout"] = (min(5.0, self.seconds), self.seconds)
        return super().send(request, **kw)


class Rest:
    """One client with its own connection: cancels have one to themselves, so that no hung order delays them."""

    def __init__(self, key: str, secret: str, paper: bool, url: str | None, timeout_s: float = 10.0):
        self.client = TradingClient(key, secret, paper=paper, raw_data=True, url_override=url)
        tame(self.client, timeout_s)

    def call(self, method: str, path: str, data: dict | None = None) -> Answer:
        """One request, once. Never raises for what the network or the broker does."""
        return once(getattr(self.client, method), path, data)

    def close(self) -> None:
        """Let go of its connections."""
        self.client._session.close()


def tame(client: RESTClient, timeout_s: float) -> None:
    """Any client of the SDK: a timeout on every call, and none of its own retries, which repeat a POST on 504, in our thread."""
    client._retry = 0
    for scheme in ("http://", "https://"):
        client._session.mount(scheme, _Timeouts(timeout_s))


def once(call: Callable[..., object], path: str, data: dict | None) -> Answer:
    """`call`, a method of a tame client, and what became of it."""
    try:
        return Answer(DONE, call(path, data))
    except APIError as e:
        return judge(e.status_code, _headers(e), str(e._error))
    except (requests.ConnectionError, requests.Timeout) as e:
        refused = "refused" in str(e) or "Failed to resolve" in str(e)
        return Answer(LATER if refused else UNKNOWN, None, NO_CONNECTION if refused else type(e).__name__, 1.0)
    except (requests.RequestException, ValueError) as e:  # an answer that is no JSON
        return Answer(UNKNOWN, None, type(e).__name__)


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
    """How long a 429 asks us to wait: its headers may be missing.

    >>> _wait_s({"Retry-After": "7"}), _wait_s({}), _wait_s({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})
    (7.0, 1.0, 1.0)
    """
    for name, since in (("Retry-After", 0.0), ("X-RateLimit-Reset", time.time())):
        with contextlib.suppress(KeyError, ValueError):
            return min(60.0, max(0.2, float(headers[name]) - since))
    return 1.0


def sentence(text: str) -> str:
    """The message of an error body that may be JSON, HTML or nothing."""
    try:
        said = json.loads(text)
    except ValueError:
        return ""
    return str(said.get("message", ""))[:200] if isinstance(said, dict) else ""
