"""A paced market, a broker that fails in every way it can, and what becomes of the trader: nothing twice, nothing lost, no limit broken."""

import time
from pathlib import Path

import pytest

pytest.importorskip("alpaca")
pytest.importorskip("aiohttp")

import lives  # noqa: E402

from replay.data.synth import equity_day  # noqa: E402
from replay.live.alpaca import adapter  # noqa: E402
from replay.trader.orders import TERMINAL  # noqa: E402

PINGER = [(str(Path(__file__).with_name("pinger.py")), {"every": "8"})]
SYMBOLS = ["AAPL", "MSFT"]
MINUTE = 60 * 10**9


@pytest.fixture(scope="module")
def day():
    whole = equity_day(n_events=20_000, seed=4)
    start = whole.manifest.start_ns
    return whole.slice(start, start + 60 * MINUTE)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(adapter, "LOOK_S", (0.05, 0.1, 0.2, 0.3))
    monkeypatch.setattr(adapter, "SETTLE_S", 1.0)


def until(what, seconds=40.0):
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


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


def trade(day, tmp_path, monkeypatch, fail, speed=60.0, fills=12, **kw):
    """Trade, let `fail(url, server, runner)` do its worst, trade on, end in order; gives (runner, what was told)."""
    lines = []
    with (
        lives.serving(day, speed=speed, **kw) as (server, url),
        lives.living(lives.order(url, tmp_path, PINGER, SYMBOLS), monkeypatch, lines) as runner,
    ):
        with lives.aside(runner) as raised:
            until(lambda: runner.desk.header.n_fills >= 2 or raised)
            fail(url, server, runner)
            before = runner.desk.header.n_fills
            until(lambda: runner.desk.header.n_fills >= before + fills or runner.desk.header.state or raised)
        assert not raised, raised
        settled(runner, server)
    lives.verified(tmp_path / "journal")
    return runner, lines


def test_paced(day, tmp_path, monkeypatch):
    runner, lines = trade(day, tmp_path, monkeypatch, lambda *a: None)
    h = runner.desk.header
    assert h.c_replace > 0 and h.c_cancel > 0 and (h.c_illegal, h.c_unknown) == (0, 0)
    assert runner.status()["state"] == "active"


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH"])
@pytest.mark.parametrize("kind", ["lost_answer", "lost_request", "reset", "rate_limited", "html", "unavailable"])
def test_requests_that_fail(day, kind, method, tmp_path, monkeypatch):
    """Whatever becomes of a request or of its answer, the order's fate is found out and nothing is sent twice."""
    runner, lines = trade(day, tmp_path, monkeypatch, lambda url, *a: lives.fault(url, kind, method=method, path="/v2/orders", count=2))
    h = runner.desk.header
    assert h.c_illegal == 0 and h.state == 0
    if method == "POST" and kind in ("lost_answer", "reset"):
        assert any(line["what"] == "answer" for line in lines)
