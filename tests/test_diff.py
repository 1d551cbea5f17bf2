"""Two runs compared, against a plain comparison; the gap between them adds up to the last unit; tables asked with SQL."""

import json
import sys
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import replay
from replay import cli
from replay.data.synth import equity_day
from replay.errors import BadInput
from replay.runs.diff import diff, share
from replay.runs.result import Result
from replay.runs.tracking import WITHIN_NS, Fill, match, track

STRATEGIES = [
    ("ema_cross", {"fast": 20, "slow": 60, "warmup": 60, "qty": 30}),
    ("passive_quoting", {"qty": 20, "max_position": 100}),
]
DAY = equity_day(n_events=6_000, seed=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("diff")
    replay.run(DAY, STRATEGIES, commission="2bps", out=place / "a")
    replay.run(DAY, STRATEGIES, commission="2bps", out=place / "same")
    replay.run(DAY, STRATEGIES, commission="2bps", latency="80ms", out=place / "late")
    replay.run(DAY, STRATEGIES, commission="1bps", to="2026-03-02T19:00", limits={"max_position": 60}, out=place / "other")
    replay.run(DAY, "ema_cross", {"warmup": 10**6}, out=place / "idle")
    return place


def opened(folder, *names):
    return [Result.open(folder / name) for name in names]


# --- what differs -------------------------------------------------------------------------------------------------------------
def test_a_run_made_twice_is_the_same(folder):
    found = diff(*opened(folder, "a", "same"))
    assert found.same and found.first is found.first_decision is None and not found.tables and not found.configured
    assert found.gaps[-1].gap == 0 and found.gaps[-1].missed_lots == found.gaps[-1].extra_lots == 0 < found.gaps[-1].matched_lots


@pytest.mark.parametrize("other", ["late", "other", "idle"])
def test_the_first_difference_is_the_first(folder, other):
    a, b = opened(folder, "a", other)
    found = diff(a, b)
    left, right = ([tuple(row.values()) for row in run.table("events").to_pylist()] for run in (a, b))
    k = next(k for k in range(max(len(left), len(right))) if left[k : k + 1] != right[k : k + 1])
    assert found.first.record == k and len(found.first.before) == min(k, 5)
    decisions = [[row for row in rows if row[1] in ("new", "cancel", "replace", "refused")] for rows in (left, right)]
    k = next(k for k in range(max(map(len, decisions))) if decisions[0][k : k + 1] != decisions[1][k : k + 1])
    assert found.first_decision.record == k
    assert (found.first_decision.b is None) == (k >= len(decisions[1]))


def test_settings_and_tables_that_differ_are_named(folder):
    found = diff(*opened(folder, "a", "other"))
    settings = {c.name: (c.a, c.b) for c in found.configured}
    assert settings["commission"] == ("2bps", "1bps") and settings["to"] == (None, "2026-03-02T19:00")
    assert settings["limits.max_position"] == ("0", "60") and "session_sha256" in settings and "latency" not in settings
    assert {t.table for t in found.tables} >= {"orders", "fills", "events", "equity", "refusals"}
    rows = {t.table: (t.rows_a, t.rows_b) for t in found.tables}
    assert rows["orders"] == tuple(r.summary.orders for r in opened(folder, "a", "other"))
    late = {t.table: t.columns for t in diff(*opened(folder, "a", "late")).tables}
    assert "ts_ack" in late["orders"] or late["orders"] == ()


# --- the gap ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("other", ["same", "late", "other", "idle"])
def test_the_parts_of_the_gap_add_up(folder, other):
    a, b = opened(folder, "a", other)
    *parts, total = track(a, b)
    for g in (*parts, total):
        assert g.gap == g.pnl_b - g.pnl_a == g.slippage + g.missed + g.extra + g.valuation + g.fees + g.rounding
        assert abs(g.rounding) <= Decimal("1e-7")
    assert (total.pnl_a, total.pnl_b) == (a.summary.pnl, b.summary.pnl)
    lots = [sum(run.table("fills")["last_qty_lots"].to_pylist()) for run in (a, b)]
    assert [total.matched_lots + total.missed_lots, total.matched_lots + total.extra_lots] == lots
    assert total.fees == a.summary.fees - b.summary.fees
    if other == "idle":
        assert total.matched_lots == 0 and total.gap == -a.summary.pnl


FILLS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 4 * WITHIN_NS), st.integers(1, 9), st.integers(90, 110)), max_size=12
)


@given(FILLS, FILLS)
def test_matching_loses_no_lot_and_pairs_only_what_is_near(a, b):
    a, b = ([Fill(*x) for x in sorted(fills, key=lambda x: x[1])] for fills in (a, b))
    pairs = list(match(a, b))
    for k, fills in enumerate((a, b)):
        counted: dict[Fill, int] = {}
        for pair in pairs:
            if pair[k] is not None:
                key = pair[k]._replace(lots=0)
                counted[key] = counted.get(key, 0) + pair[k].lots
        wanted: dict[Fill, int] = {}
        for fill in fills:
            wanted[fill._replace(lots=0)] = wanted.get(fill._replace(lots=0), 0) + fill.lots
        assert counted == wanted
    for x, y in pairs:
        if x and y:
            assert x.lots == y.lots and (x.decided == y.decided or abs(x.ts - y.ts) <= WITHIN_NS)


def test_a_missed_fill_is_missed_and_the_others_keep_their_partners():
    a = [Fill(k, k * 10, 5, 100 + k) for k in range(4)]
    b = [a[0], a[2], a[3]._replace(px=90)]
    assert [(x.px, y.px if y else None) for x, y in match(a, b)] == [(100, 100), (102, 102), (103, 90), (101, None)]


def test_the_tolerance(folder):
    a, b = opened(folder, "a", "late")
    gap, pnl = track(a, b)[-1].gap, a.summary.pnl
    exact = abs(gap / pnl)
    assert diff(a, b, exact * 2).within and not diff(a, b, exact / 2).within and diff(a, b).within is None
    assert share("20%") == share("0.2") == Decimal("0.2")
    for text in ("much", "-1", "nan", "1e999999999", ""):
        with pytest.raises(BadInput, match="expected a share"):
            share(text)


def test_runs_whose_symbols_have_other_steps_are_not_compared(folder):
    a, b = opened(folder, "a", "same")
    coarse = tuple(msgspec.structs.replace(i, tick_size="0.05") for i in b.manifest.instruments)
    b.manifest = msgspec.structs.replace(b.manifest, instruments=coarse)
    with pytest.raises(BadInput, match="its tick or lot differs"):
        track(a, b)


# --- the commands -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def replay_cli(monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr(sys, "argv", ["replay", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def test_the_exit_code_says_whether_they_are_the_same(folder, replay_cli):
    assert replay_cli("diff", folder / "a", folder / "same")[0] == 0
    code, out, err = replay_cli("diff", folder / "a", folder / "late")
    assert (code, err) == (1, "") and "latency: 1ms → 80ms" in out and "parted" in out
    assert replay_cli("diff", folder / "a", folder / "late", "--tolerance", "100000%")[0] == 0
    code, out, _ = replay_cli("diff", folder / "a", folder / "late", "--json")
    assert code == 1 and json.loads(out)["first"]["record"] > 0
    code, _, err = replay_cli("diff", folder / "a", folder / "late", "--tolerance", "few")
    assert code == 2 and "expected a share" in err
    assert replay_cli("diff", folder / "a", folder)[0] == 2


def test_sql(folder, replay_cli):
    query = "select symbol, count(*) as n, min(ts_recv) as first from fills group by symbol order by symbol"
    code, out, _ = replay_cli("sql", folder / "a", query, "--json")
    fills = Result.open(folder / "a").to_pandas("fills")
    expected = fills.groupby("symbol", observed=True).ts_recv.agg(["size", "min"])
    assert code == 0 and [(r["symbol"], r["n"]) for r in json.loads(out)] == list(expected["size"].items())
    assert all(r["first"].rstrip("Z") in str(expected["min"][r["symbol"]]).replace(" ", "T") for r in json.loads(out))
    code, out, _ = replay_cli("sql", folder / "a", query, "--csv")
    assert code == 0 and out.splitlines()[0] == '"symbol","n","first"' and len(out.splitlines()) == 3
    code, out, _ = replay_cli("sql", folder / "a", query)
    assert code == 0 and "AAPL" in out and len(out.splitlines()) == 3
    code, out, _ = replay_cli("sql", folder / "a", "select * from events")
    assert code == 0 and "more rows: --csv and --json print all" in out
    code, out, _ = replay_cli("sql", folder / "a")
    assert code == 0 and all(name in out for name in ("orders", "fills", "equity", "last_px_ticks"))
    assert json.loads(replay_cli("sql", folder / "a", "--json")[1])["orders"]["rows"] == Result.open(folder / "a").summary.orders


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["select nothing from fills"], "sql: "),
        (["select * from trades"], "sql: "),
        (["selec"], "sql: "),
        [["", "--csv"], "sql: "],
        (["select 1", "--csv", "--json"], "one of --csv and --json"),
        (["--csv"], "--csv needs a query"),
    ],
)
def test_sql_says_what_is_wrong_in_one_line(folder, replay_cli, args, message):
    code, out, err = replay_cli("sql", folder / "a", *args)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
