"""The Alpaca adapter and the runner against the local server, through the unmodified alpaca-py."""

import time
from pathlib import Path

import pytest

pytest.importorskip("alpaca")
pytest.importorskip("aiohttp")

import lives  # noqa: E402
from recordings import recording  # noqa: E402

from replay.data.lean import import_lean  # noqa: E402
from replay.data.session import Session  # noqa: E402
from replay.data.synth import equity_day  # noqa: E402
from replay.engine import Engine  # noqa: E402
from replay.live.disk import Disk  # noqa: E402
from replay.live.recovery import session_of  # noqa: E402
from replay.strategy import load  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
CROSS = ("ema_cross", {"fast": "20", "slow": "50", "warmup": "50", "qty": "3"})
SYMBOLS = ["AAPL", "MSFT"]


@pytest.fixture(scope="module")
def day():
    return equity_day(n_events=3_000, seed=2)


def adapted(tmp_path, path):
    """A strategy without the flags that Alpaca has no order for."""
    text = (ROOT / path).read_text()
    for flag in ("POST_ONLY", "REDUCE_ONLY"):
        text = text.replace(f", flags={flag})", ")").replace(f", {flag})", ")")
    (tmp_path / Path(path).name).write_text(text)
    return str(tmp_path / Path(path).name)


@pytest.mark.parametrize("what", ["cross", "passive", "timed", "busy", "two"])
def test_lockstep_parity(day, what, tmp_path, monkeypatch):
    """The same decisions as a replay, digest for digest: market orders, quotes that are moved, timers, every type of order, two
    strategies."""
    passive = adapted(tmp_path, "strategies/passive_quoting.py"), {"qty": "5"}
    strategies = {
        "cross": [CROSS],
        "passive": [passive],
        "timed": [(str(ROOT / "tests/timed.py"), {})],
        "busy": [(adapted(tmp_path, "tests/busy.py") + ":Busy", {})],
        "two": [CROSS, passive],
    }[what]
    replayed = Engine(day, [load(name, dict(p)) for name, p in strategies], limits=lives.RULES).run()
    with (
        lives.serving(day) as (server, url),
        lives.living(lives.order(url, tmp_path, strategies, SYMBOLS), monkeypatch) as runner,
    ):
        runner.run()
        account = next(iter(server.accounts.values()))
        h = runner.desk.header
        assert h.c_new > 5 and h.n_fills > 3
        assert runner.status()["digest"] == replayed.digest
        assert (h.c_duplicate, h.c_illegal, h.c_unknown) == (0, 0, 0)
        assert h.equity - h.initial == replayed.trader.header.equity - replayed.trader.header.initial
        for k in range(2):
            assert account.portfolio.qty(k) == runner.desk.trader.region("positions")[k].qty
    assert lives.verified(tmp_path / "journal").digest == h.digest


def alike(session, strategies, symbols, tmp_path, monkeypatch):
    """Replay it, trade it in lockstep, replay the journal of that: one digest. Gives the runner."""
    loaded = [load(name, dict(p)) for name, p in strategies]
    replayed = Engine(session, loaded, limits=lives.RULES).run()
    with lives.serving(session) as (_, url), lives.living(lives.order(url, tmp_path, strategies, symbols), monkeypatch) as runner:
        runner.run()
    assert runner.status()["digest"] == replayed.digest
    lives.verified(tmp_path / "journal")
    journal = session_of(Disk(tmp_path / "journal"))
    assert journal.manifest.n_events == session.manifest.n_events and journal.manifest.clock_shift_ns == 0
    loaded = [load(name, dict(p)) for name, p in strategies]
    assert Engine(journal, loaded, limits=lives.RULES).run().digest == replayed.digest
    return runner


def test_the_fixture_day(tmp_path, monkeypatch):
    runner = alike(Session.open(ROOT / "fixtures/equity-day"), [("ema_cross", {})], SYMBOLS, tmp_path, monkeypatch)
    assert (
        runner.desk.header.n_fills == 16
    )  # ten orders in a replay without the broker's rules; each turn of a position is two here


@pytest.mark.real
def test_a_real_day(tmp_path, monkeypatch):
    """IBM on 2013-10-07: trades and quotes as they were."""
    day = import_lean(recording("us_equity_lean/Data/equity/usa/tick"), ["IBM"], ["2013-10-07"])
    runner = alike(day, [("ema_cross", {"fast": "20", "slow": "80", "warmup": "80"})], ["IBM"], tmp_path, monkeypatch)
    assert runner.desk.header.n_fills > 10


def test_bars_are_heard_where_they_are_wanted(day, tmp_path, monkeypatch):
    """Minute bars of the server's own making: one message a minute for all symbols."""
    source = tmp_path / "bars.py"
    source.write_text(BARS)
    with lives.serving(day, speed=60.0) as (_, url):
        order = lives.order(url, tmp_path, [str(source)], SYMBOLS)
        with lives.living(order, monkeypatch) as runner, lives.aside(runner) as raised:
            end = time.monotonic() + 300
            while runner.desk.header.c_new < 3 and time.monotonic() < end and not raised:
                time.sleep(0.05)
        assert runner.desk.header.c_new >= 3 and not raised
    lives.verified(order.journal)


BARS = """
from replay import Strategy

class Bars(Strategy):
    n: int = 0

    def on_bars(self, ctx):
        ctx.market(0, 1)
"""
