"""The way of an order, hop by hop: nothing leaves before the journal is durable, orders leave in their order, and every hop is stamped."""

import json
import socket
import threading
import time

import lives
import pytest

from replay.bench import latency as L
from replay.live.alpaca.lanes import Lane, Turn
from replay.live.alpaca.rest import DONE, LATER, UNKNOWN, WITHHELD, Rest
from replay.live.broker import Leave
from replay.live.hops import Hops, stamp
from replay.live.uptime import MINUTE, Uptime


class Peer:
    """A server that keeps what it is sent, and says what it is told to."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.heard, self.answers, self.hold = [], [], threading.Event()
        self.hold.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                peer, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer):
        with peer:
            while data := peer.recv(1 << 16):
                self.heard.append(data)
                self.hold.wait()
                answer = self.answers.pop(0) if self.answers else b'{"id": "1", "status": "new"}'
                if answer is None:
                    return
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)

    def close(self):
        self.listening.close()


@pytest.fixture
def peer():
    p = Peer()
    yield p
    p.close()


@pytest.fixture
def rest(peer):
    r = Rest("KEY", "SECRET", True, peer.url, 5.0)
    yield r
    r.close()


def test_a_request_is_one_packet_and_the_connection_is_kept(peer, rest):
    for n in range(3):
        assert rest.call("post", "/orders", {"n": n}).outcome == DONE
    head, _, body = peer.heard[2].partition(b"\r\n\r\n")
    assert len(peer.heard) == 3 and json.loads(body) == {"n": 2}
    assert head.startswith(b"POST /v2/orders HTTP/1.1\r\nHost: 127.0.0.1:") and b"APCA-API-KEY-ID: KEY" in head
    assert rest.session.prepared <= rest.session.written <= stamp()


def test_a_peer_that_hung_up_is_called_again_and_a_lost_answer_is_not_known(peer, rest):
    assert rest.call("get", "/clock", {"a": "1", "b": True}).outcome == DONE
    assert peer.heard[0].startswith(b"GET /v2/clock?a=1&b=True HTTP/1.1")
    peer.answers[:] = [None]
    assert rest.call("post", "/orders", {}).outcome == UNKNOWN
    assert rest.call("post", "/orders", {}).outcome == DONE
    peer.answers[:] = [b"no json"]
    assert rest.call("post", "/orders", {}).outcome == UNKNOWN
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    gone = Rest("KEY", "SECRET", True, f"http://127.0.0.1:{port}", 5.0)
    assert gone.call("post", "/orders", {}).outcome == LATER, "nothing was sent"


def test_a_header_of_two_lines_is_refused(peer):
    bad = Rest("KEY\r\nX: 1", "SECRET", True, peer.url, 5.0)
    assert bad.call("get", "/clock").outcome == UNKNOWN and peer.heard == []


def test_nothing_leaves_before_it_may(peer, rest):
    leave, answers = Leave(Hops(), (1, 2, 3), 4), []
    thread = threading.Thread(target=lambda: answers.append(rest.call("post", "/orders", {}, leave)))
    thread.start()
    while not rest.session.prepared:
        time.sleep(0.001)
    assert peer.heard == []
    leave.give(stamp())
    thread.join(10)
    assert answers[0].outcome == DONE and rest.session.written >= leave.durable and len(peer.heard) == 1
    refused = Leave(Hops(), (1, 2, 3), 4)
    refused.refuse()
    assert rest.call("post", "/orders", {}, refused).outcome == WITHHELD and len(peer.heard) == 1


def test_orders_leave_in_order_while_answers_are_waited_for(peer):
    rests = [Rest("KEY", "SECRET", True, peer.url, 5.0) for _ in range(3)]
    raised, written = [], {}
    lane = Lane("orders", rests, None, 0, raised.append)
    lane.start()
    while len(peer.heard) < 3:  # the connections are made before any order
        time.sleep(0.001)
    peer.hold.clear()

    def job(n):
        def do(rest):
            time.sleep(0.02 * (n % 2 == 0))  # every other one takes longer to prepare
            rest.call("post", "/orders", {"n": n})
            written[n] = rest.session.written

        return do

    for n in range(3):
        lane.put(job(n))
    while len(peer.heard) < 6:  # all three are under way, and none has its answer
        time.sleep(0.001)
    peer.hold.set()
    lane.put(lambda rest: 1 / 0)
    lane.put(job(3))
    lane.settle(10)
    lane.stop()
    assert sorted(json.loads(data.partition(b"\r\n\r\n")[2])["n"] for data in peer.heard[3:]) == [0, 1, 2, 3]
    assert sorted(written, key=written.get) == [0, 1, 2, 3]  # its threads may hear them in another order
    assert [type(e) for e in raised] == [ZeroDivisionError]


def test_a_turn_that_sends_nothing_lets_the_next_go():
    first = Turn()
    second = Turn(first)
    first.over()
    second.wait()


def test_every_hop_of_a_run_against_the_server_process(tmp_path, monkeypatch):
    """Two processes, one steady clock: the first byte of no order came before its input was durable."""
    monkeypatch.chdir(tmp_path)
    kept = []
    monkeypatch.setattr(L, "_result", lambda case, sent, stamps, orders, state: kept.append((sent, stamps, state)) or {})
    L.measure(L.Case(0, True), 50)
    sent, stamps, state = kept[0]
    assert len(sent) == len({s.cl_ord_id for s in sent}) == 55 == state["fills"] and state["uptime"] is not None
    for s in sent:
        assert s.heard <= s.queued <= s.taken <= s.stepped <= s.durable and s.stepped <= s.begun <= s.prepared
        market, first = stamps[s.cl_ord_id]
        assert market > 0 and max(s.durable, s.prepared) < first
    assert state["hops_us"]["heard to written"]["n"] == 55
    monkeypatch.undo()
    made = L._result(L.Case(0, True), sent, stamps, 50, state)
    assert made["ns"][L.TOTAL]["p50"] > 0 and made["fills"] == 55
    with pytest.raises(L.BadInput, match="of 60 orders arrived"):
        L._result(L.Case(0, True), sent, stamps, 60, state)


def test_floors():
    quick = {"load": 0, "durable": True, "ns": {L.TOTAL: {"p50": 999_999, "p99": 1_999_999}}}
    assert L.met(quick) and not L.met({**quick, "ns": {L.TOTAL: {"p50": 999_999, "p99": 2_000_000}}})
    assert not L.met({**quick, "load": 2000, "ns": {L.TOTAL: {"p99": 5_000_000}}}) and L.met({**quick, "durable": False})


def test_time_between_two_processes_is_time_that_was_not_tradable(tmp_path):
    u = Uptime.read(tmp_path)
    u.resume(0, True, 20260302, False)
    u.count(1 * MINUTE, True, 20260302, True)
    u.count(9 * MINUTE, True, 20260302, True)
    u.write(tmp_path)
    again = Uptime.read(tmp_path)
    again.resume(19 * MINUTE, True, 20260302, False)
    assert (again.tradable_ns, again.open_ns) == (8 * MINUTE, 18 * MINUTE)


def test_a_night_without_a_process_counts_the_mornings_minutes(tmp_path):
    from datetime import date

    from replay.data.times import in_new_york

    evening, morning = in_new_york(date(2025, 7, 2), 15, 50), in_new_york(date(2025, 7, 3), 10)
    u = Uptime(at=evening, open=True, day=20250702)
    u.resume(morning, True, 20250703, False)
    assert u.open_ns == 40 * MINUTE and u.tradable_ns == 0
    crypto = Uptime(at=evening, open=True, day=0)
    crypto.resume(morning, True, 0, True)
    assert crypto.open_ns == morning - evening


def test_what_is_left_of_a_run(tmp_path, monkeypatch):
    """status.json: how the last process ended, with every hop's histogram."""
    from replay.bench.latency import market
    from replay.live.status import read_status

    session, _ = market(L.Case(0, True), 20)
    with lives.serving(session, speed=20.0) as (_, url):
        order = lives.order(url, tmp_path, [("ema_cross", {"fast": "2", "slow": "5", "warmup": "5"})], ["A"])
        with lives.living(order, monkeypatch) as runner, lives.aside(runner):
            lives.until(lambda: runner.desk.header.seq > 20 and runner.uptime.tradable_ns)
    left = read_status(order.journal)
    hops = left["hops_ns"]["heard to stepped"]
    assert sum(hops.values()) == left["hops_us"]["heard to stepped"]["n"] > 0
    assert left["minutes_open"] >= left["minutes_tradable"] and 0 < left["uptime"] <= 1
