"""The local server on a port, driven by the unmodified alpaca-py: clients, collected stream messages, every HTTP exchange."""

import asyncio
import contextlib
import json
import os
import threading
import time
from pathlib import Path

import pytest
import requests

pytest.importorskip("aiohttp")
pytest.importorskip("alpaca")

from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

from replay.serve.app import running
from replay.serve.server import Server

SPECS = Path(os.environ.get("REPLAY_SPECS") or Path(__file__).resolve().parents[2] / "shared" / "specs")
KEY, SECRET = "PKPLANTEDKEY", "planted-secret-4711"


def wait(what, seconds=60.0):
    """Until `what()` is true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.005)


def refused(call, words, status=None, code=None):
    """The call fails with these words, this status and this code; its body."""
    with pytest.raises(APIError) as e:
        call()
    body = json.loads(e.value._error)
    assert words in body["message"], body
    assert (status, code) in ((None, None), (e.value.status_code, body["code"])), body
    return body


class Site:
    """A running server and what its clients saw."""

    def __init__(self, session, url, server):
        self.session, self.url, self.server = session, url, server
        self.ws = url.replace("http", "ws")
        self.exchanges = []  # (method, path, status, body)
        self.trading = self.client(TradingClient)
        self.historical = self.client(StockHistoricalDataClient)
        self._stops = []
        self.stack = contextlib.ExitStack()  # what else is to be closed

    def client(self, kind, key=KEY, secret=SECRET, **more):
        c = kind(key, secret, url_override=self.url, **more)
        c._retry_wait = 0  # its own retries, without its three seconds between them
        c._session.hooks["response"].append(self._record)
        return c

    def _record(self, response, *args, **kwargs):
        path = response.request.path_url.partition("?")[0]
        try:
            body = response.json()
        except ValueError:
            body = None
        self.exchanges.append((response.request.method, path, response.status_code, body))

    def post(self, what, **body):
        bearer = {"Authorization": f"Bearer {self.server.token}"}
        r = requests.post(f"{self.url}/replay/v1/{what}", json=body, headers=bearer, timeout=60)
        assert r.status_code == 200, r.text
        return r.json()

    def fault(self, kind, **more):
        self.post("faults", faults=[{"kind": kind, **more}])

    def advance(self, seconds=None, rows=None):
        if rows is not None:
            return self.post("advance", rows=rows)
        return self.post("advance", until_ns=self.server.market.now + round(seconds * 1e9))

    def updates(self, key=KEY, raw=False):
        """Trade updates, collected as they come."""
        got = []

        async def take(u):
            got.append(u)

        stream = TradingStream(key, SECRET, url_override=f"{self.ws}/stream", raw_data=raw)
        stream.subscribe_trade_updates(take)
        self._run(stream)
        assert wait(lambda: any(c.listening for c in self.server.trade_streams))
        return got

    def market_data(self, raw=False, path="/v2/iex", **channels):
        """Stream messages by channel, collected as they come: ``market_data(quotes=["AAPL"])``."""
        got = {name: [] for name in channels}
        stream = StockDataStream(KEY, SECRET, url_override=f"{self.ws}{path}", raw_data=raw)
        for name, symbols in channels.items():

            async def take(m, name=name):
                got[name].append(m)

            getattr(stream, f"subscribe_{name}")(take, *symbols)
        self._run(stream)
        return stream, got

    def _run(self, stream):
        stream._reconnect_min_backoff = 0.05
        thread = threading.Thread(target=stream.run, daemon=True)
        thread.start()
        self._stops.append((stream, thread))

    def close(self):
        self.stack.close()
        for stream, _ in self._stops:  # they look up only when something comes, or after five seconds
            asyncio.run_coroutine_threadsafe(stream.stop_ws(), stream._loop).result(60)
        self.post("faults", faults=[{"kind": "unmute"}, {"kind": "drop"}])
        for _, thread in self._stops:
            thread.join(10)


@contextlib.contextmanager
def site(session, **options):
    """A server of `session` on a free port."""
    server = Server(session, **{"speed": "lockstep", "rate": 0, **options})
    with running(server) as url:
        s = Site(session, url, server)
        try:
            yield s
        finally:
            s.close()


# --- the broker's own description of its answers --------------------------------------------------------------------------------
def spec(name):
    """An OpenAPI document as JSON schemas."""
    path = SPECS / name
    if not path.exists():
        pytest.skip(f"{name} is not in {SPECS}; set REPLAY_SPECS to the folder that holds it")
    return _converted(json.loads(path.read_text()))


def _converted(node):
    """OpenAPI 3.0's `nullable` in words of JSON schema. Its `oneOf` holds alternatives without required fields, which overlap: any will do."""
    if isinstance(node, list):
        return [_converted(v) for v in node]
    if not isinstance(node, dict):
        return node
    out = {"anyOf" if k == "oneOf" else k: _converted(v) for k, v in node.items()}
    if out.pop("nullable", None) is True:
        return {"anyOf": [out, {"type": "null"}]}
    return out


def answers(document, exchanges):
    """(exchange, error or None) of every exchange whose path and status the document describes with a schema."""
    import re

    from jsonschema import Draft202012Validator

    patterns = []
    for path, operations in document["paths"].items():
        pattern = re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path)) + "$")
        patterns.append((path.count("{"), pattern, operations))
    patterns.sort(key=lambda p: p[0])
    for method, path, status, body in exchanges:
        operations = next((ops for _, pattern, ops in patterns if pattern.match(path)), None)
        response = ((operations or {}).get(method.lower()) or {}).get("responses", {}).get(str(status))
        schema = ((response or {}).get("content") or {}).get("application/json", {}).get("schema")
        if schema is None:
            continue
        validator = Draft202012Validator({"allOf": [schema], "components": document["components"]})
        error = next(validator.iter_errors(body), None)
        yield (method, path, status), error and f"{error.message} at {'/'.join(map(str, error.absolute_path))}"
