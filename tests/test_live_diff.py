"""A live run against its replay: the journal's folder is a run's."""

import json
import sys

import lives
import pytest

from replay.data.session import Session
from replay.errors import BadInput
from replay.events import PHASE
from replay.live.disk import Disk
from replay.live.recovery import session_of
from replay.runs import api
from replay.runs.diff import diff
from replay.runs.rebuild import rebuild
from replay.runs.result import Result

CROSS = ("ema_cross", {"fast": "50", "slow": "200", "warmup": "200"})
SYMBOLS = ["AAPL", "MSFT"]
PARTS = ("slippage", "missed", "extra", "valuation", "fees", "rounding")


@pytest.fixture(scope="module")
def lived(fixture_day, tmp_path_factory):
    """(the session that was served at 600 times its pace, the journal of the run, what a replay of the session does)."""
    place = tmp_path_factory.mktemp("lived")
    morning = fixture_day.slice(end=fixture_day.manifest.start_ns + 40 * 60 * 10**9)
    with pytest.MonkeyPatch.context() as patch, lives.serving(morning, speed=600.0) as (server, url):
        order = lives.order(url, place, [CROSS], SYMBOLS)
        with lives.living(order, patch) as runner, lives.aside(runner) as raised:
            lives.until(lambda: server.market.done or raised)
            lives.until(lambda: runner.desk.header.n_fills == len(next(iter(server.accounts.values())).fills) or raised)
        assert not raised
    replayed = api.run(morning, *CROSS, initial_capital=100_000, out=place / "replayed")
    return morning, order.journal, replayed


@pytest.fixture(scope="module")
def fixture_day():
    return Session.open("fixtures/equity-day")


@pytest.fixture
def replay_cli(monkeypatch, capsys):
    """The command line: (exit code, stdout, stderr)."""

    def call(*args):
        from replay.cli.app import main

        monkeypatch.setattr(sys, "argv", ["replay", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def test_the_gap_is_put_down_to_its_parts(lived):
    _, journal, replayed = lived
    live = Result.open(journal)
    assert live.lived and not replayed.lived and live.summary.fills == live.table("fills").num_rows > 0
    found = diff(live, replayed, tolerance=10**6)
    total = found.gaps[-1]
    assert total.matched_lots > 0 and found.within and found.share == abs(total.gap / total.pnl_b)
    for g in found.gaps:
        assert g.gap == g.pnl_b - g.pnl_a == sum(getattr(g, name) for name in PARTS)
        assert g.slippage == g.decided + g.on_the_way
    lots = [sum(run.table("fills")["last_qty_lots"].to_pylist()) for run in (live, replayed)]
    assert lots == [total.matched_lots + total.missed_lots, total.matched_lots + total.extra_lots]


def test_a_journal_is_a_run(lived, replay_cli):
    """The command line on its folder."""
    _, journal, replayed = lived
    place = journal.parent
    n = json.loads(replay_cli("sql", journal, "select count(*) n from orders", "--json")[1])[0]["n"]
    assert n == Result.open(journal).summary.orders
    assert replay_cli("diff", journal, replayed.path, "--tolerance", "100000")[0] == 0
    assert replay_cli("diff", journal, replayed.path)[0] == 1
    code, out, _ = replay_cli("run", journal, "-s", "ema_cross", *(x for k, v in CROSS[1].items() for x in ("-p", f"{k}={v}")),
                              "--out", place / "again", "--json")  # fmt: skip
    assert code == 0 and json.loads(out)["fills"] > 0
    assert replay_cli("diff", journal, place / "again", "--tolerance", "100000")[0] == 0
    with pytest.raises(BadInput, match="traded live"):
        rebuild(Result.open(journal))


def test_rows_of_another_clock_count_as_received_when_they_happened(lived):
    morning, journal, _ = lived
    heard = session_of(Disk(journal))
    assert heard.manifest.anomalies["received_by_venue_clock"] == heard.manifest.n_events
    ours, theirs = heard.events, morning.events
    wanted, taken = (e[e.kind != PHASE] for e in (theirs, ours))
    assert len(taken) == len(wanted) and (taken.ts_event == wanted.ts_event).all()
    assert (ours.ts_recv >= ours.ts_event).all() and int((ours.ts_recv - ours.ts_event).max()) < 10**9
