"""An explanation against what the strategy itself logged, a plain reading of the session, and arithmetic; and what cannot be explained."""

import hashlib
import json
import shutil
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import without_seal
from runs import engine as engine_of

import replay
from replay import cli
from replay.data.synth import bar_days, equity_day, l2_book
from replay.data.times import utc_text
from replay.errors import BadInput
from replay.events import QUOTE
from replay.runs.cost import HORIZONS
from replay.runs.explain import explain
from replay.runs.result import Result

TELLS = '''
from replay import Each, State, Strategy, compiled, zscore

@compiled
class Tells(Strategy):
    """Buys three times in one call now and then, and logs what it saw."""
    qty: int = 10
    calls: State[int] = 0
    heard: Each[float] = 0.0

    def features(self):
        return {"z": zscore("mid", "60s")}

    def on_quote(self, ctx, q):
        i = q.instrument
        self.heard[i] += 0.5
        if q.bid_sz == 0 or q.ask_sz == 0:
            return
        self.calls += 1
        if self.calls % 300 == 0:
            for k in range(3):
                ctx.limit(i, self.qty, q.bid_px - k)
            ctx.log(1, ctx.z(i), self.heard[i], float(self.calls))
'''
LIMITS = {
    "max_position": 75,
    "max_order_qty": 10,
    "max_order_notional": 10_000,
    "max_gross": 100_000,
    "max_leverage": 4,
    "max_position_share": 0.5,
    "collar_bps": 50,
    "max_quote_age_s": 600,
    "max_orders": 4,
    "order_window_s": 1_800,
    "max_messages": 100,
    "max_daily_loss": 5_000,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a session, a strategy that tells, and its run."""
    folder = tmp_path_factory.mktemp("explain")
    equity_day(n_events=6_000, seed=4).save(folder / "day")
    (folder / "tells.py").write_text(TELLS)
    options = {"limits": LIMITS, "latency": "40ms", "commission": "1bps", "initial_capital": 100_000}
    replay.run(folder / "day", folder / "tells.py", out=folder / "run", **options)
    return folder


@pytest.fixture
def run(place):
    return Result.open(place / "run")


@pytest.fixture
def copy(place, tmp_path):
    """Another folder with the same, to be spoilt; its run knows the copies."""
    folder = tmp_path / "place"
    shutil.copytree(place, folder)
    manifest = folder / "run" / "manifest.json"
    manifest.write_text(without_seal(manifest.read_text()).replace(str(place), str(folder)))
    return folder


def rows(result, name):
    return result.table(name).to_pylist()


# --- why --------------------------------------------------------------------------------------------------------------------
def test_the_cause_is_what_the_strategy_saw(run, place):
    logs = {row["ts"]: row for row in rows(run, "logs")}
    session = replay.data.session.Session.open(place / "day")
    orders = rows(run, "orders")
    assert len(orders) > 5
    for order in orders[:3] + orders[-3:]:
        found, log = explain(run, order["order"]), logs[order["ts_sent"]]
        k = session.index(order["symbol"])
        quotes = session.events[(session.events.instrument == k) & (session.events.kind == QUOTE)]
        e = quotes[quotes.ts_recv == order["ts_sent"].value][-1]
        assert found.why.handler == "on_quote" and found.why.at == utc_text(e.ts_recv)
        i = session.instruments[k]
        assert found.why.event == f"quote {i.symbol} {i.price(e.a)} x {e.b} / {i.price(e.c)} x {e.d}"
        z = next(f for f in found.features if f.symbol == i.symbol)
        assert (z.name, z.value) == ("z", log["a"])
        state = {(f.name, f.symbol): (f.before, f.after) for f in found.state}
        assert state["heard", i.symbol] == (log["b"] - 0.5, log["b"]) and state["calls", None] == (log["c"] - 1, log["c"])
        assert found.checked > 0 and found.parameters == {"qty": 10}


def test_every_limit_in_force_has_its_figure(run):
    first = [explain(run, n) for n in (1, 2, 3)]
    for k, found in enumerate(first):
        figures = {c.limit: c.figure for c in found.risk}
        px = found.limit_px
        assert figures["max_order_qty"] == 10 and figures["max_position"] == 10 * (k + 1) and figures["max_orders"] == k + 1
        assert figures["max_messages"] == k + 1
        mid = Decimal(str(round(rows(run, "orders")[k]["decision_mid"], 4)))
        assert figures["max_order_notional"] == max(mid, px) * 10
        assert figures["max_gross"] == figures["max_leverage"] == mid * 10 * (k + 1)
        assert figures["max_quote_age"] == 1 and next(c for c in found.risk if c.limit == "max_quote_age").at_most
        bounds = {c.limit: c.bound for c in found.risk}
        assert bounds["max_position"] == 75 and bounds["max_leverage"] == 400_000 and bounds["max_position_share"] == 50_000
        assert set(figures) == set(LIMITS) - {"order_window_s", "max_quote_age_s", "max_daily_loss"} | {"max_quote_age"}
        assert "max_daily_loss" in found.risk_note and all(c.figure <= c.bound for c in found.risk)


def test_a_refusal_has_the_figure_that_was_recorded(run):
    refusals = rows(run, "refusals")
    assert {r["reason"] for r in refusals} >= {"max_position", "order_rate"}
    for n, refusal in enumerate(refusals, 1):
        if n > 40:
            break
        found = explain(run, refusal=n)
        assert found.order is None and found.way is None and found.refused.startswith(refusal["reason"])
        limit = {"max_position": "max_position", "order_rate": "max_orders"}[refusal["reason"]]
        check = next(c for c in found.risk if c.limit == limit)
        assert check.figure == refusal["figure"] > check.bound == refusal["bound"]


# --- what became of it ------------------------------------------------------------------------------------------------------
def test_the_way_to_the_venue_and_the_queue_there(run, place):
    session = replay.data.session.Session.open(place / "day")
    found = explain(run, 1)
    k = session.index(found.symbol)
    sent = rows(run, "orders")[0]["ts_sent"].value
    assert (found.way.latency_ns, found.way.arrived) == (40_000_000, utc_text(sent + 40_000_000))
    quotes = session.events[(session.events.kind == QUOTE) & (session.events.instrument == k)]
    met = quotes[quotes.ts_event < sent + 40_000_000][-1]
    i = session.instruments[k]
    assert (found.way.bid, found.way.bid_qty) == (i.price(met.a), int(met.b))
    assert (found.way.ask, found.way.ask_qty) == (i.price(met.c), int(met.d))
    ahead = {found.limit_px == found.way.bid: float(met.b), found.limit_px > found.way.bid: 0.0}.get(True)
    assert found.way.queue_ahead == ahead and found.way.did == ("new",)
    assert [r.split(" ", 1)[1].split(",")[0] for r in found.reports][0] == "new"


def test_costs_are_those_of_the_tables_and_markouts_those_of_the_session(run, place):
    session = replay.data.session.Session.open(place / "day")
    filled = [o["order"] for o in rows(run, "orders") if o["cum_qty"] > 0]
    assert len(filled) > 3
    for order in filled[:4]:
        found = explain(run, order)
        fills = [f for f in rows(run, "fills") if f["order"] == order]
        qty = sum(f["last_qty"] for f in fills)
        assert found.cost.fees == pytest.approx(sum(f["fee"] for f in fills)) and found.cost.fees > 0
        assert found.cost.slippage == pytest.approx(sum(f["slippage"] for f in fills)) and found.cost.cum_qty == qty
        k = session.index(found.symbol)
        q = session.events[(session.events.kind == QUOTE) & (session.events.instrument == k)]
        mids = (q.a + q.c) / 2 * float(session.instruments[k].tick_size)
        for name, h in HORIZONS.items():
            after = [mids[np.searchsorted(q.ts_recv, f["ts_event"].value + h, "right") - 1] for f in fills]
            bps = sum((m - f["last_px"]) / f["last_px"] * f["last_qty"] for m, f in zip(after, fills, strict=True)) / qty * 1e4
            if found.cost.markout_bps[name] is not None:
                assert found.cost.markout_bps[name] == pytest.approx(bps)
        assert found.cost.markout_bps["1s"] is not None
        assert sum("fill" in r for r in found.reports) == len(fills)


# --- all kinds of runs ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [
        {"latency": "feed=2ms,entry=5ms,response=lognormal:3ms:0.5"},
        {"from_": "2026-03-02T16:00", "warmup": "30m", "latency": "20ms"},
        {"fill": "hftbacktest", "queue": "power2", "to": "2026-03-02T18:00"},
        {"limits": {"max_total_loss": 1, "flatten": True}, "commission": "50bps"},
    ],
)
def test_every_order_of_a_busy_run_is_explained(options, tmp_path):
    equity_day(n_events=3_000, seed=11).save(tmp_path / "day")
    run = replay.run(tmp_path / "day", str(Path(__file__).parent / "busy.py") + ":Busy", initial_capital=10**6, **options)
    orders = rows(run, "orders")
    assert len(orders) > 30 or "limits" in options
    groups, handlers = set(), set()
    for order in orders[: None if "limits" in options else 60]:
        found = explain(run, order["order"])
        assert found.why.at == utc_text(order["ts_sent"].value) and found.why.input == order["input"]
        assert (found.side, found.ord_type.lower()) == (order["side"], order["ord_type"])
        # it is explained as it was sent; the table has what replaces made of it
        assert order["n_replaced"] or float(found.order_qty) == order["order_qty"]
        assert found.way is not None and found.way.latency_ns > 0
        groups.add((found.group or "").split(",")[0].split(" with")[0])
        handlers.add(found.why.handler)
    if "limits" in options:
        assert "engine" in explain(run, orders[-1]["order"]).flags and "not asked" in explain(run, orders[-1]["order"]).risk_note
    else:
        assert {"entry of a bracket", "one of a pair", ""} <= groups and len(handlers) > 1


def test_refusals_of_a_busy_run_are_explained(tmp_path):
    day = equity_day(n_events=3_000, seed=11)
    day.save(tmp_path / "day")
    options = {"strategy": str(Path(__file__).parent / "busy.py") + ":Busy", "limits": {"max_position": 12}}
    run = replay.run(tmp_path / "day", **options)
    recorded = rows(run, "refusals")
    assert len(recorded) > 10
    for n, row in enumerate(recorded[:40], 1):
        found = explain(run, refusal=n)
        figures = {c.limit: c.figure for c in found.risk or ()}
        if row["reason"] == "max_position":
            assert figures.get("max_position", row["figure"]) == row["figure"] and (found.risk or "not known" in found.risk_note)
    with pytest.raises(BadInput, match="has changed since"):  # a session that was given as an object is nowhere
        explain(replay.run(day, **options), refusal=1)


def test_orders_on_bars(tmp_path):
    bar_days(n_events=1_000, seed=5).save(tmp_path / "bars")
    run = replay.run(tmp_path / "bars", "sma_cross", {"fast": 5, "slow": 20}, initial_capital=10**6, commission="1bps")
    orders = rows(run, "orders")
    assert len(orders) > 20
    for order in orders[:20]:
        found = explain(run, order["order"])
        assert found.why.handler == "on_bar" and found.why.event.startswith(f"bar {order['symbol']} open ")
        assert {f.name for f in found.state} >= {"bars", "fast_sum"} and "fast_closes" not in {f.name for f in found.state}
        assert found.risk == () and found.risk_note == "no limit of orders is in force"
        assert [text.split(" ")[0] for text in found.way.did] == ["new", "fill"] and found.way.mid is None


def test_a_plain_strategy_and_an_order_of_the_start(tmp_path):
    (tmp_path / "early.py").write_text(
        "from replay import State, Strategy\nclass Early(Strategy):\n    n: State[int] = 0\n    def on_start(self, ctx):\n"
        "        self.n = 7\n        ctx.limit(0, 5, 100)\n    def on_quote(self, ctx, q):\n        self.n += 1\n        self.unnamed = q.seq\n"
    )
    l2_book(2_000, seed=3).save(tmp_path / "book")
    run = replay.run(tmp_path / "book", tmp_path / "early.py")
    if run.summary.orders == 0:
        assert run.summary.refused == 1
        found = explain(run, refusal=1)
    else:
        found = explain(run, 1)
        assert found.way is not None
    assert found.why.input == 0 and found.why.event == "the start" and found.why.handler == "on_start"
    assert [(f.name, f.after) for f in found.state] == [("n", 7)]


def test_a_generated_session_and_a_run_without_orders():
    run = replay.run(strategy="ema_cross", seed=3)
    assert explain(run, 1).order == 1
    with pytest.raises(BadInput, match="no order 1: it sent none"):
        explain(replay.run(strategy="ema_cross", parameters={"warmup": 10**6}), 1)


def test_a_run_its_strategy_stopped(tmp_path, replay_cli):
    body = "        if ctx.now % 7 == 0 and ctx.position(0) == 0:\n            ctx.market(0, 1)\n        if ctx.position(0):\n            1 / 0\n"
    Path("stops.py").write_text("from replay import Strategy\nclass Stops(Strategy):\n    def on_quote(self, ctx, q):\n" + body)
    assert replay_cli("run", "-s", "stops.py", "--out", "stopped")[0] == 2
    found = json.loads(replay_cli("explain", "stopped", "1", "--json")[1])
    assert found["order"] == 1 and found["cost"]["markout_bps"]["5m"] is None


# --- the engine ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["l1-busy", "l2-busy", "l1-plainbusy", "l1-busy-feed"])
def test_reaching_any_input_changes_nothing(name):
    whole = engine_of(name).run()
    n = int(whole.trader.header.seq)
    again = engine_of(name)
    for seq in (0, 1, 2, 100, 101, n // 2, n - 1):
        again.reach(seq)
        assert again.trader.header.seq == seq
    again.reach(n + 5)
    assert again.stopped and (again.digest, again.state_digest) == (whole.digest, whole.state_digest)


# --- what cannot be explained -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: shutil.move(p / "day", p / "away"), "no session here"),
        (
            lambda p: (shutil.rmtree(p / "day"), equity_day(n_events=6_000, seed=5).save(p / "day")),
            "session .* has changed since that run",
        ),
        (
            lambda p: (p / "tells.py").write_text(TELLS.replace("- k", "- 2 * k")),
            "tells.py has changed since that run, or is a stranger's",
        ),
        (lambda p: (p / "tells.py").unlink(), "tells.py, which is not there any more"),
        (
            lambda p: (p / "tells.py").write_text("from replay import compiled\n" + TELLS.replace("- k", "- k - 0")),
            "has changed since",
        ),
        (lambda p: edit(p, '"version": 1', '"version": 9'), "run version 1 expected, got 9: run again"),
        (lambda p: edit(p, '"slippage_ppm": 500', '"slippage_ppm": 501'), "venue profile means something else"),
        (lambda p: tamper(p / "run" / "events.parquet"), "record 0 was .*qty_lots 11.* and is .*qty_lots 10"),
    ],
)
def test_what_changed_is_named_in_one_line(copy, spoil, message):
    assert explain(Result.open(copy / "run"), 1).order == 1
    spoil(copy)
    with pytest.raises(BadInput, match=message) as found:
        explain(Result.open(copy / "run"), 1)
    assert "\n" not in str(found.value)


def edit(place, old, new):
    manifest = place / "run" / "manifest.json"
    assert old in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(old, new))


def tamper(path):
    table = pq.read_table(path)
    b = table["b"].to_pylist()
    b[0] += 1
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    pq.write_table(table.set_column(table.column_names.index("b"), "b", pa.array(b)), path)
    edit(path.parents[1], before, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["9999"], "no order 9999: it has "),
        (["--refusal", "0"], "no refusal 0: it has 1 to "),
        (["1", "--refusal", "1"], "name one order"),
        ([], "name one order"),
    ],
)
def test_the_command_says_what_is_wrong(place, replay_cli, args, message):
    code, out, err = replay_cli("explain", place / "run", *args)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1


def test_a_folder_that_is_no_run(replay_cli, tmp_path):
    code, _, err = replay_cli("explain", tmp_path, "1")
    assert code == 2 and "no run is here" in err


def test_the_command_prints_each_part(place, replay_cli):
    code, out, err = replay_cli("explain", place / "run", "1")
    assert (code, err) == (0, "")
    for label in ("order 1", "why", "with", "features", "state", "risk", "sent", "venue", "reports", "checked"):
        assert any(line.startswith(label) for line in out.splitlines()), label
    assert json.loads(replay_cli("explain", place / "run", "1", "--json")[1])["order"] == 1
    code, out, _ = replay_cli("explain", place / "run", "--refusal", "1")
    assert code == 0 and out.startswith("refusal 1") and " > " in out


@pytest.fixture
def replay_cli(monkeypatch, capsys, tmp_path):
    """Run a command line in an empty folder; gives (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["replay", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run
