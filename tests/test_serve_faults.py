"""What goes wrong on request, seen through the unmodified alpaca-py, and every error of the streams."""

import json

import msgpack
import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest
from serving import KEY, SECRET, site, wait
from websockets.sync.client import connect

from replay.data import synth
from replay.errors import BadInput
from replay.serve.app import listen, running
from replay.serve.server import Server
from replay.serve.stream import SLOW_FRAMES, DataStream


@pytest.fixture(scope="module")
def day():
    return synth.equity_day(("AAPL", "MSFT"), 20_000, seed=5)


@pytest.fixture
def at(day):
    with site(day) as s:
        s.advance(rows=2_000)
        yield s


def buy(at, coid=None, symbol="AAPL", **more):
    return at.trading.submit_order(
        MarketOrderRequest(symbol=symbol, qty=1, side="buy", time_in_force="day", client_order_id=coid, **more)
    )


def orders(at):
    return at.server.accounts[KEY].orders.values()


# --- requests ------------------------------------------------------------------------------------------------------------------
def test_an_answer_is_lost_and_the_client_library_orders_again(at):
    at.fault("lost_answer", method="POST", path="/v2/orders")
    buy(at)
    assert len(orders(at)) == 2  # without an id of its own it ordered twice


def test_with_an_id_of_its_own_it_meets_its_own_order(at):
    at.fault("lost_answer", method="POST", path="/v2/orders")
    with pytest.raises(APIError) as e:
        buy(at, "mine")
    assert (e.value.status_code, e.value.code) == (422, 40010001) and "must be unique" in e.value.message
    assert len(orders(at)) == 1 and at.trading.get_order_by_client_id("mine").client_order_id == "mine"


def test_a_request_is_lost(at):
    at.fault("lost_request", method="POST", path="/v2/orders")
    buy(at, "mine")
    assert len(orders(at)) == 1


def test_refusals_without_headers_and_pages_instead_of_answers(at):
    at.fault("rate_limited", count=4)
    with pytest.raises(APIError) as e:
        at.trading.get_account()
    assert e.value.status_code == 429 and not [h for h in e.value.response.headers if h.startswith("X-RateLimit")]
    at.fault("html")
    with pytest.raises(APIError) as e:
        at.trading.get_account()
    assert e.value.status_code == 500 and e.value._error.startswith("<html>")
    with pytest.raises(json.JSONDecodeError):
        _ = e.value.code
    at.fault("unavailable")
    with pytest.raises(APIError) as e:
        at.trading.get_account()
    assert e.value.status_code == 503


def test_a_connection_is_reset_behind_an_order(at):
    at.fault("reset", method="POST")
    with pytest.raises(requests.ConnectionError):
        buy(at, "mine")
    assert at.trading.get_order_by_client_id("mine").status.value == "pending_new"


def test_the_rate_limit_is_told(day):
    with site(day, rate=6) as s:
        for _ in range(6):
            s.trading.get_clock()
        with pytest.raises(APIError) as e:
            s.trading.get_clock()
        headers = e.value.response.headers
        assert e.value.status_code == 429 and (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("6", "0")
        assert s.client(TradingClient, key="OTHER").get_clock()


def test_a_fill_before_the_answer(day):
    with site(day, speed=600.0) as s:
        heard = s.updates()
        s.post("start")
        assert wait(lambda: s.server.market.i > 500)
        s.fault("fill_first", method="POST")
        order = buy(s, "mine")
        assert order.status.value == "pending_new"
        assert s.trading.get_order_by_id(order.id).status.value == "filled"  # had filled before it was answered
        assert wait(lambda: [u.event for u in heard][-1:] == ["fill"])


def test_a_cancel_meets_a_fill_nobody_has_heard_of(at):
    heard = at.updates()
    at.fault("hold")
    order = buy(at)
    at.advance(0.01)
    with pytest.raises(APIError) as e:
        at.trading.cancel_order_by_id(order.id)
    assert (e.value.status_code, e.value.code) == (422, 42210000) and '"filled"' in e.value.message
    assert heard == []
    at.fault("release")
    assert wait(lambda: [u.event for u in heard] == ["new", "fill"])


def test_a_cancel_under_way_crosses_a_fill(at):
    heard = at.updates()
    order = buy(at)
    at.trading.cancel_order_by_id(order.id)  # both reach the venue, the order first
    at.advance(0.01)
    assert wait(lambda: len(heard) == 3)
    assert [u.event for u in heard] == ["new", "fill", "order_cancel_rejected"]
    assert at.trading.get_order_by_id(order.id).status.value == "filled"


# --- streams ------------------------------------------------------------------------------------------------------------------
def test_updates_are_mangled(at):
    heard = at.updates(raw=True)
    at.fault("duplicate", count=2)
    buy(at)
    at.advance(0.01)
    assert wait(lambda: len(heard) == 4)
    assert [m["data"]["event"] for m in heard] == ["new", "new", "fill", "fill"]
    assert heard[2]["data"]["execution_id"] == heard[3]["data"]["execution_id"]
    at.post("faults", faults=[{"kind": "unknown_event"}, {"kind": "unknown_status"}])
    buy(at)
    at.advance(0.01)
    assert wait(lambda: len(heard) == 6)
    assert heard[4]["data"]["event"] == "moon_phase" and heard[5]["data"]["order"]["status"] == "in_limbo"


def test_fills_are_missed_while_the_stream_is_down(at):
    heard = at.updates()
    at.fault("drop", stream="/stream")
    assert wait(lambda: not at.server.trade_streams)
    order = buy(at)
    at.advance(0.01)
    assert wait(lambda: at.server.trade_streams and at.server.trade_streams[0].listening)
    assert heard == [] and at.trading.get_order_by_id(order.id).status.value == "filled"
    buy(at)
    at.advance(0.01)
    assert wait(lambda: [u.event for u in heard] == ["new", "fill"])


@pytest.mark.parametrize("how", ["drop", "abort"])
def test_a_dropped_market_data_stream_meets_the_connection_limit_first(at, how):
    stream, got = at.market_data(quotes=["AAPL"])
    assert wait(lambda: at.server.data_streams and at.server.data_streams[0].wants)
    at.fault("connection_limit", count=2, stream="/v2/iex")
    at.fault(how, stream="/v2/")
    assert wait(lambda: not at.server.faults.armed)
    assert wait(lambda: at.server.data_streams and at.server.data_streams[0].wants)
    assert got["quotes"] == []
    at.advance(rows=100)
    assert wait(lambda: got["quotes"])


def test_a_mute_socket_is_told_by_the_silence(at):
    stream, got = at.market_data(quotes=["*"])
    assert wait(lambda: at.server.data_streams and at.server.data_streams[0].wants)
    first = at.server.data_streams[0]
    stream._data_timeout = 0.3
    at.fault("mute", stream="/v2/")
    at.advance(rows=100)
    assert wait(lambda: at.server.data_streams and at.server.data_streams[0] is not first and at.server.data_streams[0].wants)
    assert got["quotes"] == []
    stream._data_timeout = None
    at.advance(rows=100)
    assert wait(lambda: got["quotes"])


def test_a_malformed_fault_is_refused(at):
    for body in ({"faults": [{"kind": "plague"}]}, {"faults": 1}, {"faults": [{"kind": "html", "wrath": 1}]}):
        r = requests.post(f"{at.url}/replay/v1/faults", json=body, timeout=10)
        assert r.status_code == 400 and "faults" in r.json()["message"]
    assert requests.get(f"{at.url}/replay/v1/faults", timeout=10).status_code == 404
    assert requests.post(f"{at.url}/replay/v1/advance", json={"rows": -1}, timeout=10).status_code == 400
    assert requests.post(f"{at.url}/replay/v1/ack", json={"seq": 5}, timeout=10).status_code == 409
    assert requests.post(f"{at.url}/replay/v1/ack", data="{", timeout=10).status_code == 400


def test_faults_are_drawn_from_their_seed(at):
    def failed(seed):
        at.post("faults", clear=True, seed=seed, faults=[{"kind": "unavailable", "probability": 0.5, "count": None}])
        out = [requests.get(f"{at.url}/v2/clock", headers=HEADERS, timeout=10).status_code for _ in range(12)]
        at.post("faults", clear=True)
        return out

    assert failed(3) == failed(3) != failed(4) and set(failed(3)) == {200, 503}


HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}


class Raw:
    """A market-data connection byte by byte."""

    def __init__(self, at, path="/v2/iex"):
        self.ws = at.stack.enter_context(connect(f"{at.ws}{path}", compression=None))
        assert self.read() == {"T": "success", "msg": "connected"}

    def read(self):
        (m,) = msgpack.unpackb(self.ws.recv(10))
        return m

    def ask(self, **m):
        self.ws.send(msgpack.packb(m))
        return self.read()

    def auth(self, secret=SECRET):
        return self.ask(action="auth", key=KEY, secret=secret)


def error(m):
    assert m["T"] == "error" and m["msg"]
    return m["code"]


def test_every_error_of_the_market_data_stream(at):
    a = Raw(at)
    assert error(a.ask(action="subscribe", quotes=["AAPL"])) == 401
    a.ws.send(b"\xc1")
    assert error(a.read()) == 400
    assert error(a.ask(action="auth", key=KEY, secret="")) == 402
    a = Raw(at)
    assert a.auth() == {"T": "success", "msg": "authenticated"}
    assert error(a.auth()) == 403
    assert error(a.ask(action="dance")) == 400
    assert error(a.ask(action="subscribe", quotes="AAPL")) == 400
    assert error(a.ask(action="subscribe", orderbooks=["AAPL"])) == 410
    assert error(a.ask(action="ack", seq=7)) == 400
    told = a.ask(action="subscribe", trades=["AAPL", "ZZZ"], quotes=["MSFT"])
    assert told["trades"] == told["corrections"] == told["cancelErrors"] == ["AAPL", "ZZZ"] and told["quotes"] == ["MSFT"]
    assert a.ask(action="unsubscribe", trades=["AAPL"])["trades"] == ["ZZZ"]
    at.fault("symbol_limit", n=2)
    assert error(a.ask(action="subscribe", quotes=["AAPL"])) == 405
    assert error(Raw(at).auth()) == 406
    assert Raw(at, "/v2/sip").auth()["msg"] == "authenticated"
    at.fault("slow_client", stream="/v2/iex")
    assert error(a.read()) == 407
    long = msgpack.packb({"action": "auth", "key": KEY, "secret": SECRET})
    b = Raw(at)
    b.ws.send([long[:9], long[9:20], long[20:], b""])  # fragments, as the client library sends them
    assert b.read()["msg"] == "authenticated"
    c = Raw(at, "/v2/delayed_sip")
    c.ws.send(json.dumps({"action": "auth", "key": KEY, "secret": SECRET}))
    assert c.read()["msg"] == "authenticated"


def test_nobody_waits_for_authentication_for_ever(at, monkeypatch):
    from replay.serve import app

    monkeypatch.setattr(app, "AUTH_SECONDS", 0.05)
    assert error(Raw(at).read()) == 404


def test_trade_updates_need_authentication(at):
    with connect(f"{at.ws}/stream", compression=None) as ws:
        ask = lambda m: (ws.send(json.dumps(m)), json.loads(ws.recv(10)))[1]  # noqa: E731
        listen_to = {"action": "listen", "data": {"streams": ["trade_updates", "weather"]}}
        assert ask(listen_to)["data"]["status"] == "unauthorized"
        answer = ask({"action": "auth", "key": KEY, "secret": SECRET})
        assert answer == {"stream": "authorization", "data": {"status": "authorized", "action": "auth"}}
        assert ask(listen_to) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        assert ask({"action": "sing"})["stream"] == "error"


def test_a_slow_client_is_told_and_dropped(day):
    server = Server(day)
    stream = DataStream(server, "/v2/iex")
    server.data_streams.append(stream)
    stream.out.extend([b"waiting"] * (SLOW_FRAMES + 1))
    server._drop_slow()
    (m,) = msgpack.unpackb(stream.out[-1])
    assert m["code"] == 407 and stream.closing and len(stream.out) == 1


# --- who may -------------------------------------------------------------------------------------------------------------------
def test_a_token_is_everybodys_secret(day):
    with site(day, token="open sesame") as s:
        with pytest.raises(APIError) as e:
            s.trading.get_account()
        assert e.value.status_code == 401
        assert s.client(TradingClient, secret="open sesame").get_account().cash == "100000"
        assert requests.get(f"{s.url}/replay/v1/state", timeout=10).status_code == 401
        bearer = {"Authorization": "Bearer open sesame"}
        assert requests.get(f"{s.url}/replay/v1/state", headers=bearer, timeout=10).json()["row"] == 0
        assert error(Raw(s).auth()) == 402


def test_others_than_this_machine_need_a_token(day):
    import asyncio

    with pytest.raises(BadInput, match="add --token"):
        asyncio.run(listen(Server(day), "0.0.0.0", 0))
    with running(Server(day)) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(BadInput, match=f"port {port} of 127.0.0.1"):
            asyncio.run(listen(Server(day), "127.0.0.1", port))


def test_the_wrong_speed_is_refused(day):
    with pytest.raises(BadInput, match="speed: expected"):
        Server(day, speed="fast")


def test_at_full_speed_nobody_misses_a_message(day):
    with site(day, speed="max") as s:
        stream, got = s.market_data(raw=True, quotes=["*"], trades=["*"])
        assert wait(lambda: s.server.market.done, 60)
        counts = day.manifest.counts
        assert wait(lambda: (len(got["quotes"]), len(got["trades"])) == (counts["quote"], counts["trade"]), 60)
        with pytest.raises(APIError) as e:
            s.trading.submit_order(LimitOrderRequest(symbol="AAPL", qty=1, side="buy", time_in_force="day", limit_price=1))
        assert "session is over" in e.value.message
