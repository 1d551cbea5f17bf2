"""A paced market, a broker that fails in every way it can, and what becomes of the trader: nothing twice, nothing lost, no limit broken."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("alpaca")
pytest.importorskip("aiohttp")

import lives  # noqa: E402

from replay.data.synth import equity_day  # noqa: E402
from replay.live.alpaca import jobs  # noqa: E402
from replay.trader.layout import HALTED, KILLED  # noqa: E402
from replay.trader.orders import TERMINAL  # noqa: E402

PINGER = [(str(Path(__file__).with_name("pinger.py")), {"every": "8"})]
SYMBOLS = ["AAPL", "MSFT"]


@pytest.fixture(scope="module")
def day():
    """Six and a half minutes of wall time at speed 60: longer than any of these waits."""
    return equity_day(n_events=20_000, seed=4)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(jobs, "LOOK_S", (0.05, 0.1, 0.2, 0.3))
    monkeypatch.setattr(jobs, "SETTLE_S", 1.0)


def settled(runner, server):
    """Stop asking for orders, let everything come to rest, and compare both sides to the last lot."""
    h = runner.desk.header
    account = next(iter(server.accounts.values()))
    ours = [o for o in runner.desk.trader.region("orders") if int(o.state) and not TERMINAL[int(o.state)]]
    assert not ours, ours
    assert not [o for o in account.working() if not o.ended]
    for k in range(2):
        assert account.portfolio.qty(k) == int(runner.desk.trader.region("positions")[k].qty)
    names = [o.client_order_id for o in account.orders.values()]
    assert len(names) == len(set(names))
    assert len([o for o in account.orders.values() if not o.replaces]) <= h.c_new, "an order came twice"
    cash = int(runner.desk.trader.region("currencies")[0].cash)
    assert cash == int(account.portfolio.cash * 10**8)


def trade(day, tmp_path, monkeypatch, fail, speed=60.0, fills=6, **kw):
    """Trade, let `fail(url, server, runner)` do its worst, trade on, end in order; gives (runner, what was told)."""
    lines = []
    with (
        lives.serving(day, speed=speed, **kw) as (server, url),
        lives.living(lives.order(url, tmp_path, PINGER, SYMBOLS), monkeypatch, lines) as runner,
    ):
        with lives.aside(runner) as raised:
            lives.until(lambda: runner.desk.header.n_fills >= 2 or raised)
            fail(url, server, runner)
            before = runner.desk.header.n_fills
            lives.until(lambda: runner.desk.header.n_fills >= before + fills or runner.desk.header.state or raised)
        assert not raised, raised
        settled(runner, server)
    lives.verified(tmp_path / "journal")
    return runner, lines


def test_paced(day, tmp_path, monkeypatch):
    runner, lines = trade(day, tmp_path, monkeypatch, lambda *a: None)
    h = runner.desk.header
    assert h.c_replace > 0 and h.c_cancel > 0 and (h.c_illegal, h.c_unknown) == (0, 0)
    assert runner.status()["state"] == "active"


@pytest.mark.parametrize("kind", ["lost_answer", "lost_request", "reset", "rate_limited", "html", "unavailable"])
def test_requests_that_fail(day, kind, tmp_path, monkeypatch):
    """Whatever becomes of a request or of its answer, the order's fate is found out and nothing is sent twice."""

    def fail(url, *_):
        for method in ("POST", "DELETE", "PATCH"):
            lives.fault(url, kind, method=method, path="/v2/orders", count=2)

    runner, lines = trade(day, tmp_path, monkeypatch, fail)
    h = runner.desk.header
    assert h.c_illegal == 0 and h.state == 0
    if kind in ("lost_answer", "reset", "lost_request"):
        assert any(line["what"] == "answer" for line in lines)
    if kind == "rate_limited":
        assert runner.broker.rate_limited >= 1


@pytest.mark.parametrize("kind", ["duplicate", "fill_first"])
def test_order_updates_that_come_oddly(day, kind, tmp_path, monkeypatch):
    runner, _ = trade(day, tmp_path, monkeypatch, lambda url, *_: lives.fault(url, kind, count=10))
    h = runner.desk.header
    assert (h.c_illegal, h.state) == (0, 0)
    assert h.c_duplicate > 0 or kind != "duplicate"


@pytest.mark.parametrize("stream", ["/stream", "/v2/"])
@pytest.mark.parametrize("kind", ["drop", "abort"])
def test_a_stream_that_breaks(day, kind, stream, tmp_path, monkeypatch):
    """It comes back by itself; what was missed in between is declared as a gap, or found by reconciling."""
    runner, lines = trade(day, tmp_path, monkeypatch, lambda url, *_: lives.fault(url, kind, stream=stream))
    down = [line for line in lines if line["what"] == "link" and not line["up"]]
    assert down and runner.desk.header.state == 0
    name = "market data" if stream == "/v2/" else "order updates"
    assert any(line["what"] == "link" and line["up"] and line["stream"] == name for line in lines[lines.index(down[0]) :])
    assert runner.gaps == (1 if stream == "/v2/" else 0)


def test_updates_that_stay_away(day, tmp_path, monkeypatch):
    """The order-update stream goes mute, pings and all: look-ups find what it does not tell, and it is connected anew."""
    runner, lines = trade(day, tmp_path, monkeypatch, lambda url, *_: lives.fault(url, "mute", stream="/stream"))
    assert (runner.desk.header.c_illegal, runner.desk.header.state) == (0, 0)
    assert any(line["what"] == "mute" for line in lines)


def test_a_cancel_races_a_fill(day, tmp_path, monkeypatch):
    """Updates are held back; cancels of orders that have long been filled meet 422; then everything comes at once."""

    def fail(url, server, runner):
        lives.fault(url, "hold")
        time.sleep(3)
        lives.fault(url, "release")

    runner, _ = trade(day, tmp_path, monkeypatch, fail)
    assert (runner.desk.header.c_illegal, runner.desk.header.state) == (0, 0)


@pytest.mark.parametrize("kind", ["unknown_event", "unknown_status"])
def test_a_word_nobody_knows_halts(day, kind, tmp_path, monkeypatch):
    with (
        lives.serving(day, speed=60.0) as (server, url),
        lives.living(lives.order(url, tmp_path, PINGER, SYMBOLS), monkeypatch, lines := []) as runner,
    ):
        with lives.aside(runner) as raised:
            lives.until(lambda: runner.desk.header.n_fills >= 2)
            lives.fault(url, kind)
            lives.until(lambda: runner.desk.header.state == HALTED)
            assert not raised
        assert any("not understood" in line.get("text", "") for line in lines)
    lives.verified(tmp_path / "journal")


def test_the_connection_limit_at_a_reconnect(day, tmp_path, monkeypatch):
    def fail(url, *_):
        lives.fault(url, "connection_limit", stream="/v2/", count=1)
        lives.fault(url, "drop", stream="/v2/")

    runner, lines = trade(day, tmp_path, monkeypatch, fail)
    assert any("406" in line.get("text", "") or "connection limit" in line.get("text", "") for line in lines)
    assert runner.desk.header.state == 0


def test_a_kill_reaches_the_broker(day, tmp_path, monkeypatch):
    """From another terminal: everything is cancelled, nothing new goes out, and a restart comes up killed."""
    from replay.live.control import Door, ask

    order = lives.order(None, tmp_path, PINGER, SYMBOLS)
    with lives.serving(day, speed=60.0) as (server, url):
        order.url = url
        with lives.living(order, monkeypatch) as runner:
            door = Door(order.journal, runner.inbox.put)
            with lives.aside(runner):
                lives.until(lambda: runner.desk.header.n_fills >= 2)
                assert ask(order.journal, "kill")["state"] == "killed"
                account = next(iter(server.accounts.values()))
                lives.until(lambda: not [o for o in account.working() if not o.ended])
                sent = runner.desk.header.c_new
                time.sleep(1)
                assert runner.desk.header.c_new == sent and ask(order.journal, "status")["state"] == "killed"
            door.close()
        with lives.living(order, monkeypatch) as again:
            assert again.desk.header.state == KILLED
            with lives.aside(again):
                lives.until(lambda: again.heard_ns)
                time.sleep(1)
                assert again.desk.header.c_new == sent
    lives.verified(order.journal)


def test_killed_at_any_moment(tmp_path):
    """Three of the two hundred that ``python tests/kills.py 200`` does."""
    kills = tmp_path / "kills"
    kills.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("kills.py")), "3"],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
