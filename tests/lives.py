"""Live runs to test with: the local server in a thread, a runner in ours."""

import contextlib
import resource
import threading
import time

import requests

from replay.live import lock, recovery
from replay.live.disk import Disk
from replay.live.paper import Order, assemble
from replay.trader.limits import Limits

RULES = Limits(account_rules=True)  #: of a replay that is compared with a live run
HEADERS = {"APCA-API-KEY-ID": "PKTEST", "APCA-API-SECRET-KEY": "SECRETSECRET"}


@contextlib.contextmanager
def serving(session, speed="lockstep", **kw):
    """(server, its address)."""
    from replay.kernel.memory import link
    from replay.serve.app import running
    from replay.serve.server import Server
    from replay.serve.venue import KERNELS

    link(*KERNELS)
    server = Server(session, speed=speed, strict=kw.pop("strict", True), rate=kw.pop("rate", 0), **kw)
    with running(server) as url:
        yield server, url


def order(url, tmp_path, strategies, symbols, **kw):
    limits = tmp_path / "limits.toml"
    limits.write_text("max_position = 1000000\n")
    strategies = [(s, {}) if isinstance(s, str) else s for s in strategies]
    return Order(strategies=strategies, symbols=symbols, limits=limits, journal=tmp_path / "journal", url=url, rate_limit=0, **kw)


@contextlib.contextmanager
def living(order, monkeypatch, lines=None):
    """A runner whose locks are let go of afterwards."""
    for name, value in zip(("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"), HEADERS.values(), strict=True):
        monkeypatch.setenv(name, value)
    try:
        yield assemble(order, lines.append if lines is not None else (lambda line: None))
    finally:
        lock.release()


@contextlib.contextmanager
def aside(runner):
    """Run it in a thread of its own while the test looks on; stopped in order at the end."""
    raised = []

    def work():
        try:
            runner.run()
        except BaseException as e:
            raised.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield raised
    finally:
        runner.stop("test")
        thread.join(180)
        assert not thread.is_alive()


def until(what, seconds=300.0):
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def full_disk(size):
    """No file may grow beyond `size` bytes: the system refuses it as it does where no room is left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def control(url, what, body=None):
    """The server's own endpoints."""
    call = requests.get if body is None else requests.post
    return call(f"{url}/replay/v1/{what}", headers=HEADERS, json=body, timeout=60).json()


def fault(url, kind, **kw):
    return control(url, "faults", {"faults": [{"kind": kind, **kw}]})


def broker(url, path, **query):
    return requests.get(f"{url}/v2/{path}", headers=HEADERS, params=query, timeout=60).json()


def verified(folder):
    v = recovery.verify(Disk(folder))
    assert v.identical and not v.prefix.fault, v
    return v
