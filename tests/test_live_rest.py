"""Answers that no broker gives: what stands between us and it may."""

import contextlib
import http.server
import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("alpaca")

from replay.data.instruments import Instrument  # noqa: E402
from replay.errors import BadInput  # noqa: E402
from replay.live.alpaca import account, jobs, rest, streams, wire  # noqa: E402
from replay.live.alpaca.adapter import Alpaca  # noqa: E402
from replay.live.alpaca.jobs import Route  # noqa: E402
from replay.live.desk import Command  # noqa: E402
from replay.trader import layout as T  # noqa: E402
from replay.trader import orders as O  # noqa: E402


@contextlib.contextmanager
def answering(status, body=b"", **headers):
    """A server with one answer to everything; yields its address and what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_keys_follow_no_redirect(status):
    with answering(200, b"{}") as (elsewhere, theirs), answering(status, Location=f"{elsewhere}/v2/account") as (url, ours):
        with pytest.raises(BadInput, match="Redirected: check the keys, the address"):
            account.enter("KEY", "SECRET", url=url)
        with contextlib.closing(rest.Rest("KEY", "SECRET", True, url)) as r:
            for method in ("get", "post", "patch", "delete"):
                assert r.call(method, "/orders", {}).outcome == rest.UNKNOWN
        assert len(ours) >= 6 and theirs == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"\xff"])
def test_an_order_whose_answer_is_none_is_not_known(body):
    with answering(200, body) as (url, _), contextlib.closing(rest.Rest("KEY", "SECRET", True, url)) as r:
        assert r.call("post", "/orders", {}).outcome == rest.UNKNOWN
        with pytest.raises(BadInput):
            account.enter("KEY", "SECRET", url=url)


def test_what_is_asked_before_a_run_begins_is_asked_again():
    """One refusal of valid keys is no fact; the last answer stands when time is up."""
    answers = [rest.Answer(rest.UNAUTHORIZED), rest.Answer(rest.REFUSED), rest.Answer(rest.DONE, {})]
    r = rest.Rest.__new__(rest.Rest)
    r.call = lambda method, path: answers.pop(0)
    assert r.insist("/account", 5.0).outcome == rest.DONE and not answers
    r.call = lambda method, path: rest.Answer(rest.UNAUTHORIZED)
    assert r.insist("/account", 0.1).outcome == rest.UNAUTHORIZED


@pytest.mark.parametrize("job", [jobs.New, jobs.Replace, jobs.Cancel])
def test_a_request_whose_keys_are_refused_is_sent_again(job):
    """Until they have been refused for a minute."""
    told = []
    adapter = SimpleNamespace(
        lockstep=False, logins=SimpleNamespace(hopeless=False), routes={"a": Route(order_id="id")}, extended=lambda: False,
        by_index={0: wire.Scale(0, Instrument(symbol="A", tick_size="0.01"))}, tell=lambda *a: told.append(a[1]), look=told.append,
    )  # fmt: skip
    command = Command(1, 1, 10, 100, 0, 0, 1, T.LIMIT, T.DAY, 0, 0, 0)
    made = job(adapter, *{jobs.New: (command, "a", None), jobs.Replace: (command, "a", "b", None), jobs.Cancel: ("a", None)}[job])
    client = SimpleNamespace(call=lambda *a, **kw: rest.Answer(rest.UNAUTHORIZED, None, "401"))
    assert made(client) == jobs.REFUSED_S and not told
    adapter.logins.hopeless = True
    want = {jobs.New: [O.EXEC_REJECTED], jobs.Replace: [O.EXEC_REPLACE_REJECTED], jobs.Cancel: []}[job]
    assert made(client) is None and told == want


def test_a_refused_login_is_tried_often_within_its_minute():
    stream = streams.Updates.__new__(streams.Updates)
    stream.logins, stream._reconnect_min_backoff, stream._reconnect_max_backoff = streams.Logins(), 1.0, 30.0
    assert stream._reconnect_delay(9) > streams.AGAIN_S
    stream.logins.refused()
    assert stream._reconnect_delay(9) <= streams.AGAIN_S
    assert stream.logins.accepted() and stream._reconnect_delay(9) > streams.AGAIN_S


def test_a_cancel_has_no_body():
    with answering(204) as (url, _), contextlib.closing(rest.Rest("KEY", "SECRET", True, url)) as r:
        assert r.call("delete", "/orders/1").outcome == rest.DONE


def test_orders_may_be_sent_while_the_books_are_asked_for():
    """The books are read in a thread of their own."""
    adapter = Alpaca.__new__(Alpaca)
    adapter.routes = {"a": Route(), "b": Route(asking=1)}

    def settled(root):
        adapter.routes[f"{root} and another"] = Route()
        return Alpaca.settled(adapter, root)

    adapter.settled = settled
    assert adapter.quiet() == {"a"}
