"""A run's plan of faults through the server: decisions under it equal a replay's, and clients meet what it says, repeatably."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

import lives
from lockstep import Driver
from runs import LEGS, LIMITS
from test_live_alpaca import adapted
from test_live_faults import PINGER, SYMBOLS, settled

from replay.data import synth
from replay.data.times import utc_text
from replay.engine import Engine
from replay.errors import BadInput
from replay.faults import Plan
from replay.serve.server import Server
from replay.strategy import load
from replay.venue.setup import Profile

BUSY = (Path(__file__).parent / "busy.py").read_text().replace(", POST_ONLY)", ")").replace(", REDUCE_ONLY)", ")")
FEED = [
    {"kind": "feed_outage", "from": "+10m", "to": "+30m", "symbols": ["A"]},
    {"kind": "feed_gap", "share": 0.02},
    {"kind": "feed_mute", "from": "+1h", "to": "+70m"},
    {"kind": "feed_twice", "share": 0.05},
    {"kind": "feed_late", "share": 0.05, "delay": "20s"},
    {"kind": "feed_slow", "share": 0.2},
    {"kind": "feed_outlier", "share": 0.01, "factor": 2},
    {"kind": "halt", "from": "+2h", "to": "+130m", "symbols": ["B"]},
]


def plan(*faults, seed=7):
    return Plan.of({"seed": seed, "fault": list(faults)})


@pytest.fixture(scope="module")
def day():
    return synth.equity_day(("A", "B"), 2_500, seed=11)


@pytest.mark.parametrize("faults", [FEED, *([f] for f in FEED)], ids=["all", *(f["kind"] for f in FEED)])
@pytest.mark.parametrize("batch", [1, 64])
def test_decisions_under_faults_of_the_feed_are_those_of_a_replay(day, faults, batch, tmp_path):
    (tmp_path / "busy_plain_orders.py").write_text(BUSY)
    build = lambda: Engine(  # noqa: E731
        day, [load(f"{tmp_path}/busy_plain_orders.py:Busy")], Profile(**LEGS), LIMITS,
        capital={day.manifest.instruments[0].currency: Decimal(10**6)}, faults=plan(*faults),
    )  # fmt: skip
    replayed, driven = build().run(), Driver(build(), batch).run()
    assert int(replayed.trader.header.n_fills) > 0
    assert driven.engine.digest == replayed.digest
    server = driven.server
    struck = [f["struck"] for f in server.planned.told(server.market.feed.hits, server.market.now)]
    assert all(struck) or faults is FEED


@pytest.mark.parametrize("kind", ["report_bust", "report_correct"])
@pytest.mark.parametrize("batch", [1, 64])
def test_decisions_where_every_fill_is_taken_back_or_corrected(day, kind, batch, tmp_path):
    (tmp_path / "busy_plain_orders.py").write_text(BUSY)
    build = lambda: Engine(  # noqa: E731
        day, [load(f"{tmp_path}/busy_plain_orders.py:Busy")], Profile(**LEGS), LIMITS,
        capital={day.manifest.instruments[0].currency: Decimal(10**6)}, faults=plan({"kind": kind, "delay": "3s"}),
    )  # fmt: skip
    replayed, driven = build().run(), Driver(build(), batch).run()
    a, b, portfolio = replayed.trader.header, driven.h, driven.account.portfolio
    assert driven.engine.digest == replayed.digest and int(a.c_busts) == int(b.c_busts) == int(b.n_fills) > 50
    assert int(a.state) == int(b.c_illegal) == 0
    for k in range(2):
        assert portfolio.qty(k) == int(driven.trader.region("positions")[k].qty)
    moved = int(driven.trader.region("currencies")[0].cash) - 10**14
    assert moved == (portfolio.cash - portfolio.initial) * 10**8 and (moved != 0) == (kind == "report_correct")


def bought(day, *faults, n=12, seed=7):
    """Limits that trade at once, one a minute: (what the stream said, how they stand, how often each fault struck)."""
    import requests

    said = []
    with lives.serving(day, faults=plan(*faults, seed=seed)) as (server, url):
        lives.broker(url, "account")
        account = next(iter(server.accounts.values()))
        answers = []
        server.send_update = lambda _, data: said.append((data["event"], data["order"]["client_order_id"]))
        now = day.manifest.start_ns + 1800 * 10**9
        lives.control(url, "advance", {"until_ns": now})
        for k in range(n):
            body = {"symbol": "A", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day", "client_order_id": str(k)}
            answers.append(requests.post(f"{url}/v2/orders", headers=lives.HEADERS, json=body, timeout=60).status_code)
            now += 60 * 10**9
            lives.control(url, "advance", {"until_ns": now})
        orders = {o.client_order_id: o.status for o in account.orders.values()}
        struck = [f["struck"] for f in lives.control(url, "state")["faults"]]
    return said, orders, struck, answers


def test_requests_that_are_lost(day):
    said, orders, struck, answers = bought(day, {"kind": "request_lost", "share": 0.4, "requests": ["new"]})
    assert 0 < struck[0] < 12 and answers.count(504) == struck[0] and len(orders) == 12 - struck[0]
    again = bought(day, {"kind": "request_lost", "share": 0.4, "requests": ["new"]})
    assert again == (said, orders, struck, answers)
    assert bought(day, {"kind": "request_lost", "share": 0.4}, seed=8)[3] != answers


def test_reports_that_are_lost(day):
    said, orders, struck, _ = bought(day, {"kind": "report_lost", "reports": ["trade"], "share": 0.5})
    fills = [o for event, o in said if event == "fill"]
    assert set(orders.values()) == {"filled"} and 0 < struck[0] < 12 and len(fills) == 12 - struck[0]


def test_reports_that_come_twice_late_or_garbled(day):
    said, orders, struck, _ = bought(day, {"kind": "report_twice", "reports": ["trade"]})
    assert struck == [12] and all(said.count(("fill", o)) == 2 for o in orders)
    said, _, struck, _ = bought(day, {"kind": "report_late", "reports": ["new"], "delay": "30s"})
    assert struck == [12] and said[:2] == [("fill", "0"), ("new", "0")]
    said, _, struck, _ = bought(day, {"kind": "report_garbled", "reports": ["new"]})
    assert struck == [12] and said[:3] == [("new", "0"), ("moon_phase", "0"), ("fill", "0")]


def test_a_fill_that_is_taken_back(day):
    said, orders, struck, _ = bought(day, {"kind": "report_bust", "delay": "10s"}, n=3)
    assert said == [(event, str(k)) for k in range(3) for event in ("new", "fill", "trade_bust", "expired")]
    assert set(orders.values()) == {"expired"} and struck == [3]
    # said after what is late of its order, and itself never lost
    others = {"kind": "report_late", "reports": ["trade"], "delay": "40s"}, {"kind": "report_lost", "reports": ["expired"]}
    said, orders, struck, _ = bought(day, {"kind": "report_bust", "delay": "1ms"}, *others, n=3)
    assert said == [(event, str(k)) for k in range(3) for event in ("new", "fill", "trade_bust")] and struck == [3, 3, 3]


@pytest.mark.parametrize("kind", ["report_bust", "report_correct"])
def test_the_books_of_a_fill_that_is_taken_back_or_corrected(day, kind):
    """What every endpoint and the unmodified client say of it."""
    from alpaca.trading.client import TradingClient
    from alpaca.trading.models import TradeUpdate
    from alpaca.trading.requests import MarketOrderRequest

    with lives.serving(day, faults=plan({"kind": kind, "delay": "10s"})) as (server, url):
        client, said, start = TradingClient("key", "secret", url_override=url), [], day.manifest.start_ns + 1800 * 10**9
        client.get_account()
        server.send_update = lambda _, data: said.append(data)
        lives.control(url, "advance", {"until_ns": start})
        order = client.submit_order(MarketOrderRequest(symbol="A", qty=2, side="buy", time_in_force="day"))
        lives.control(url, "advance", {"until_ns": start + 5 * 10**9})
        before = client.get_order_by_id(order.id)
        (activity,) = client.get("/account/activities/FILL")
        assert before.status == "filled" and activity["qty"] == activity["cum_qty"] == "2"
        lives.control(url, "advance", {"until_ns": start + 15 * 10**9})
        after, account = client.get_order_by_id(order.id), client.get_account()
        (told,) = [data for data in said if data["event"].startswith("trade_")]
        (fill,) = [data for data in said if data["event"] == "fill"]
        assert told["previous_execution_id"] == fill["execution_id"] != told["execution_id"]
        assert TradeUpdate(**told).event == told["event"] and told["order"]["id"] == str(order.id)
        (shown,) = client.get("/account/activities/FILL")
        assert shown["id"] == activity["id"]
        if kind == "report_bust":
            assert (told["event"], told["qty"], "price" in told) == ("trade_bust", "-2", False)
            assert (after.status, after.filled_qty, after.filled_avg_price, after.filled_at) == ("expired", "0", None, None)
            assert client.get_all_positions() == [] and account.cash == "100000"
            assert (shown["qty"], shown["cum_qty"], shown["leaves_qty"]) == ("0", "0", "2")
        else:
            px = Decimal(fill["price"]) + Decimal("0.01")
            assert (told["event"], told["qty"], told["price"]) == ("trade_correct", "2", str(px))
            assert (after.status, after.filled_qty, Decimal(after.filled_avg_price)) == ("filled", "2", px)
            (position,) = client.get_all_positions()
            assert (position.qty, Decimal(position.avg_entry_price)) == ("2", px) and Decimal(account.cash) == 100_000 - 2 * px
            assert (shown["qty"], Decimal(shown["price"])) == ("2", px)


def test_what_the_venue_does(day):
    said, orders, struck, _ = bought(day, {"kind": "reject", "share": 0.5})
    assert 0 < struck[0] < 12 and list(orders.values()).count("rejected") == struck[0]
    for kind in ("request_slow", "report_slow"):
        said, orders, struck, _ = bought(day, {"kind": kind, "factor": 1000, "to": "+31m"})
        assert struck[0] > 0 and set(orders.values()) == {"filled"}


def test_pull(day):
    import requests

    with lives.serving(day, faults=plan({"kind": "pull", "at": "+40m"})) as (_, url):
        lives.broker(url, "account")
        start = day.manifest.start_ns
        lives.control(url, "advance", {"until_ns": start + 1800 * 10**9})
        body = {"symbol": "A", "qty": "1", "side": "buy", "type": "limit", "limit_price": "1", "time_in_force": "day"}
        sent = [requests.post(f"{url}/v2/orders", headers=lives.HEADERS, json=body, timeout=60).json()["id"] for _ in range(2)]
        lives.control(url, "advance", {"until_ns": start + 2400 * 10**9 - 1_500_000})
        # a cancel that the venue gets after its own: refused, and the order canceled
        requests.delete(f"{url}/v2/orders/{sent[0]}", headers=lives.HEADERS, timeout=60)
        lives.control(url, "advance", {"until_ns": start + 2401 * 10**9})
        assert [lives.broker(url, f"orders/{i}")["status"] for i in sent] == ["canceled", "canceled"]
        requests.post(f"{url}/v2/orders", headers=lives.HEADERS, json=body, timeout=60)
        state = lives.control(url, "advance", {})
        assert state["done"] and state["faults"][0]["struck"] >= 1


def test_the_broker_knows_what_its_clients_miss(day):
    with lives.serving(day, faults=plan({"kind": "feed_outage", "from": "+1h"})) as (server, url):
        lives.broker(url, "account")
        lives.control(url, "advance", {"until_ns": day.manifest.start_ns + 7200 * 10**9})
        latest = lives.broker(url, "stocks/quotes/latest", symbols="A")["quotes"]["A"]
        assert latest["t"] > utc_text(day.manifest.start_ns + 6600 * 10**9)
        assert server.market.known == int((day.events.ts_recv <= server.market.now).sum()) > server.market.i


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "halt", "from": "+9h"},
        {"kind": "pull", "at": "+3d"},
        {"kind": "reject", "symbols": ["Z"]},
    ],
)
def test_refused(day, fault):
    with pytest.raises(BadInput, match=fault["kind"]) as e:
        Server(day, faults=plan(fault))
    assert "\n" not in str(e.value)


def test_what_is_ours_is_left_to_the_run(day):
    """One plan for the server and the run: each does its own."""
    ours = (
        {"kind": "operator", "at": "+1h"},
        {"kind": "pause", "from": "+1h", "to": "+2h"},
        {"kind": "disk_full", "from": "+1h"},
    )
    server = Server(day, faults=plan({"kind": "reject"}, *ours))
    assert server.planned.left == ["disk_full", "operator", "pause"] and [f.kind for f in server.planned.plan.faults] == [
        "reject"
    ]


def test_refused_at_the_command_line(tmp_path):
    day = str(Path(__file__).parents[1] / "fixtures" / "equity-day")
    (tmp_path / "p.toml").write_text("[[fault]]\nkind = 'pull'\nat = '+3d'\n")
    for path in (tmp_path / "p.toml", tmp_path / "none.toml"):
        command = [sys.executable, "-m", "replay", "serve", day, "--port", "0", "--faults", str(path)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert (told.returncode, told.stdout) == (2, "") and told.stderr.splitlines()[-1].startswith("error: ")


LOST = (
    {"kind": "request_lost", "share": 0.2, "to": "+60m"},
    {"kind": "report_lost", "share": 0.2, "to": "+60m"},
    {"kind": "report_twice", "share": 0.3},
    {"kind": "feed_outage", "share": 0.1},
)
AMENDED = ({"kind": "report_bust", "share": 0.4, "to": "+10m"}, {"kind": "report_correct", "to": "+10m", "delay": "20s"})


@pytest.mark.parametrize("faults", [LOST, AMENDED], ids=["lost", "amended"])
def test_the_live_runner_under_a_plan(faults, tmp_path, monkeypatch):
    pytest.importorskip("alpaca")
    from replay.live.alpaca import jobs

    monkeypatch.setattr(jobs, "LOOK_S", (0.05, 0.1, 0.2, 0.3))
    monkeypatch.setattr(jobs, "SETTLE_S", 1.0)
    session = synth.equity_day(n_events=20_000, seed=4)
    with (
        lives.serving(session, speed=60.0, faults=plan(*faults)) as (server, url),
        lives.living(lives.order(url, tmp_path, PINGER, SYMBOLS), monkeypatch) as runner,
    ):
        h = runner.desk.header
        with lives.aside(runner) as raised:
            struck = lambda: [f["struck"] for f in lives.control(url, "state")["faults"]]  # noqa: E731
            lives.until(lambda: (h.n_fills >= 6 and all(struck())) or raised, 120)
            if faults is AMENDED:
                passed = lambda minutes: server.market.now > session.manifest.start_ns + minutes * 60 * 10**9  # noqa: E731
                lives.until(lambda: passed(11) or raised)  # nothing more is on its way
                runner.due["books"] = 0.0  # and the broker's agree with ours
                lives.until(lambda: (passed(15) and not runner.differences) or raised)
        assert not raised, raised
        settled(runner, server)
        assert faults is LOST or (h.c_busts >= 4 and (h.state, h.c_illegal) == (0, 0))
    lives.verified(tmp_path / "journal")


@pytest.mark.parametrize("kind", ["report_bust", "report_correct"])
def test_the_live_runner_in_lockstep(kind, tmp_path, monkeypatch):
    """One plan for the replay, the server and the run: one digest, and the broker's books are the trader's."""
    pytest.importorskip("alpaca")
    session, faults = synth.equity_day(n_events=3_000, seed=2), plan({"kind": kind, "delay": "10s"})
    strategies = [(adapted(tmp_path, "tests/busy.py") + ":Busy", {})]
    replayed = Engine(session, [load(name, dict(p)) for name, p in strategies], limits=lives.RULES, faults=faults).run()
    with (
        lives.serving(session, faults=faults) as (server, url),
        lives.living(lives.order(url, tmp_path, strategies, SYMBOLS), monkeypatch) as runner,
    ):
        runner.run()
        h = runner.desk.header
        assert h.c_busts == h.n_fills > 3 and h.c_replace > 0 and (h.state, h.c_illegal) == (0, 0)
        assert runner.status()["digest"] == replayed.digest
        account = next(iter(server.accounts.values()))
        for k in range(2):
            assert account.portfolio.qty(k) == int(runner.desk.trader.region("positions")[k].qty)
        assert int(runner.desk.trader.region("currencies")[0].cash) == int(account.portfolio.cash * 10**8)
    assert lives.verified(tmp_path / "journal").digest == h.digest
