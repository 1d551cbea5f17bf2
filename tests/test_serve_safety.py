"""The local server against those who should not steer it: strangers, web pages, wrong types, readers that do not read."""

import json
import os
import socket
import time

import msgpack
import pytest
import requests
from serving import KEY, SECRET, site, wait
from websockets.sync.client import connect

from replay.data import synth
from replay.errors import BadInput
from replay.serve import stream as streams
from replay.serve.app import check_host
from replay.serve.faults import KINDS, Faults
from replay.serve.server import Server
from replay.serve.stream import DataStream, TradeStream


@pytest.fixture(scope="module")
def day():
    return synth.equity_day(("AAPL", "MSFT"), 20_000, seed=5)


@pytest.fixture
def at(day):
    with site(day) as s:
        yield s


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.1", "example.com"])
def test_an_empty_token_is_no_token(day, host):
    for token in (None, ""):
        with pytest.raises(BadInput, match="add --token"):
            check_host(host, token)
    check_host("127.0.0.1", "")
    check_host(host, "secret")
    assert Server(day, token="").token is None


@pytest.mark.parametrize("args", [["--token", ""], ["--token="], []])
def test_the_command_line_refuses_it(args):
    from test_serve_cli import start

    process = start("--host", "0.0.0.0", *args, REPLAY_TOKEN="")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "") and err.startswith("error: ") and "--token" in err


def own(at):
    return at.url.removeprefix("http://")


def asked(at, method, path, **headers):
    return requests.request(
        method, f"{at.url}{path}", json={} if method == "POST" else None, headers=headers, timeout=60
    ).status_code


ENDPOINTS = [("GET", "/replay/v1/state"), ("POST", "/replay/v1/faults"), ("POST", "/replay/v1/advance"), ("GET", "/v2/clock"),
             ("POST", "/v2/orders"), ("GET", "/nowhere")]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_a_web_page_cannot_steer_it(at, method, path):
    port = own(at).rpartition(":")[2]
    for headers in (
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": f"http://localhost:{port}"}, {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"}, {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"}, {"Host": "["}, {"Host": ""},
        {"Host": f"127.0.0.1.evil.example:{port}"},
    ):  # fmt: skip
        assert asked(at, method, path, **headers) in (400, 403), headers
    for headers in ({}, {"Host": f"localhost:{port}"}, {"Origin": at.url}, {"Host": "[::1]"}):
        assert asked(at, method, path, **headers) != 403, headers


def test_nor_listen_on_a_socket(at):
    from websockets.exceptions import InvalidStatus

    for path in ("/v2/iex", "/stream"):
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"{at.ws}{path}", origin="http://evil.example")
        with connect(f"{at.ws}{path}", origin=at.url):
            pass


def test_with_a_token_it_may_be_called_by_any_name(day):
    with site(day, token="secret") as s:
        bearer = {"Authorization": "Bearer secret"}
        assert asked(s, "GET", "/replay/v1/state", Host="trader.lan", **bearer) == 200
        assert asked(s, "GET", "/replay/v1/state", Origin="http://evil.example", **bearer) == 403
        assert asked(s, "GET", "/replay/v1/state", Host="trader.lan") == 401


WRONG = [None, True, "1", "x", -1, 0.5, 2**70, 1e400, float("nan"), [], {}, [1]]


@pytest.mark.parametrize("what", ["advance", "ack", "faults"])
def test_every_field_of_the_control_endpoints_is_of_its_type(at, what):
    good = {
        "advance": {"until_ns": [None], "rows": [None]},
        "ack": {"seq": [], "wake_ns": [None, -1], "batch": []},
        "faults": {"clear": [True], "seed": [-1, 2**70], "faults": [[]]},
    }[what]
    for field, fine in good.items():
        for value in WRONG:
            if any(value is f or value == f and type(value) is type(f) for f in fine):
                continue
            body = {**({"seq": 0} if what == "ack" else {}), field: value}
            r = requests.post(f"{at.url}/replay/v1/{what}", data=json.dumps(body), timeout=60)
            assert r.status_code in (400, 409) and r.json()["message"], (body, r.text)
    for body in (b"[]", b"5", b"null", b"{", b"\xff", b'"x"', b"[" * 100_000, b"9" * 5000):
        assert requests.post(f"{at.url}/replay/v1/{what}", data=body, timeout=60).status_code == 400, body
    assert at.post("advance", rows=1)["row"] >= 1


def test_every_field_of_a_fault_is_of_its_type():
    wrong = {
        "kind": [None, 1, [], "nothing"], "count": ["1", 0, -1, 0.5, True, [], 10**30], "method": [1, True, []], "path": [None, 1, []],
        "probability": [None, "1", -0.1, 1.1, True, float("nan"), float("inf")], "stream": [None, 1, {}],
        "seconds": [None, "1", -1, 1e9, float("nan"), True], "n": ["1", -1, 0.5, True, []],
    }  # fmt: skip
    for kind in KINDS:
        for field, values in wrong.items():
            for value in values:
                armed = Faults()
                with pytest.raises(BadInput):
                    armed.arm({"clear": True, "seed": 5, "faults": [{"kind": kind}, {"kind": kind, field: value}]})
                assert not armed.armed and armed.symbol_limit is None and armed.held is None
    assert len(Faults().arm({"seed": 1, "faults": [{"kind": "drop", "stream": "/v2/"}]})) == 1


def test_a_stream_takes_any_message(at):
    for path, pack in (("/v2/iex", msgpack.packb), ("/stream", json.dumps)):
        with connect(f"{at.ws}{path}", compression=None) as ws:
            if path != "/stream":
                ws.recv(10)
            ws.send(pack({"action": "auth", "key": KEY, "secret": SECRET}))
            ws.recv(10)
            for m in ({"action": "listen", "data": {"streams": 5}}, {"action": "listen", "data": {"streams": {"a": 1}}}, {"action": []},
                      {"action": "subscribe", "trades": 5}, {"action": "ack", "seq": 2**70}, {"action": {}, "data": []}, [], 5):  # fmt: skip
                ws.send(pack(m) if path == "/stream" or not isinstance(m, dict) or m.get("seq") is None else json.dumps(m))
                assert ws.recv(10)


@pytest.mark.parametrize("kind", [lambda s: DataStream(s, "/v2/iex"), TradeStream])
def test_what_waits_for_a_reader_is_bounded(day, kind, monkeypatch):
    monkeypatch.setattr(streams, "MOST_WAITING", 10_000)
    c = kind(Server(day))
    for n in range(1_000):
        c.put(bytes(n % 50))
        assert c.waiting <= 10_000 + 200 and sum(map(len, c.out)) <= c.waiting
    assert c.closing and not c.out


@pytest.mark.parametrize("path", ["/v2/iex", "/stream"])
def test_a_reader_that_does_not_read_is_dropped(at, path, monkeypatch):
    """Its socket is full: neither frames nor the closing handshake get through, so the connection is cut."""
    from replay.serve import app

    monkeypatch.setattr(streams, "MOST_WAITING", 1 << 20)
    monkeypatch.setattr(app, "CLOSE_S", 0.2)
    host, port = own(at).split(":")
    raw = socket.create_connection((host, int(port)))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {own(at)}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    every = at.server.data_streams if path == "/v2/iex" else at.server.trade_streams
    assert wait(lambda: len(every) == 1, 10)
    mask, message = os.urandom(4), b"x" * 100
    frame = bytes([0x82, 0x80 | len(message)]) + mask + bytes(b ^ mask[k % 4] for k, b in enumerate(message))
    raw.settimeout(0.5)
    end = time.monotonic() + 60
    while every and time.monotonic() < end:  # each is answered with an error that nobody reads
        try:
            raw.send(frame * 200)
        except OSError:
            continue
    assert not every
    raw.close()
