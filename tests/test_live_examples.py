"""A day of every example strategy, with ticks and with bars, compiled and plain: lived in lockstep under the broker's rules it is the replay
with the same rules, order by order, and the broker refuses nothing."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("alpaca")
pytest.importorskip("aiohttp")

import lives  # noqa: E402

from replay import events as ev  # noqa: E402
from replay.data.instruments import Instrument  # noqa: E402
from replay.data.session import Session  # noqa: E402
from replay.data.synth import equity_day  # noqa: E402
from replay.engine import Engine  # noqa: E402
from replay.live.disk import Disk  # noqa: E402
from replay.live.recovery import session_of  # noqa: E402
from replay.runs.result import REPORT, Result  # noqa: E402
from replay.strategy import load  # noqa: E402
from replay.trader import reasons as R  # noqa: E402
from replay.trader.reasons import N_REASONS  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SYMBOLS = ["AAPL", "MSFT"]
MINUTE = 60 * 10**9
#: parameters by which each trades on a day of ticks, and on one of bars
EXAMPLES = {
    "breakout": (
        {"window": "10m", "trail": "3m", "recent": "3m", "expand": 0.9},
        {"window": "20m", "trail": "5m", "recent": "4m", "expand": 0.9},
    ),
    "buy_and_hold": ({}, {}),
    "ema_cross": ({"fast": 20, "slow": 50, "warmup": 50}, {"fast": 20, "slow": 50, "warmup": 50}),
    "mean_reversion": ({"horizon": "1m", "window": "10m", "entry_z": 1.5}, {"horizon": "2m", "window": "20m", "entry_z": 1.5}),
    "micro_momentum": (
        {"burst": "1m", "window": "10m", "entry_z": 1.5, "surge": 1.0},
        {"burst": "1m", "window": "20m", "entry_z": 1.5, "surge": 1.0},
    ),
    "passive_quoting": ({"qty": 5}, {"qty": 5}),
    "sma_cross": ({"fast": 5, "slow": 20}, {"fast": 5, "slow": 20}),
}
TRADES = {
    "ticks": {"breakout", "buy_and_hold", "ema_cross", "mean_reversion"},
    "bars": {"breakout", "buy_and_hold", "mean_reversion", "sma_cross"},
}
#: what the broker has no order for: pairs of exits, post-only orders
NOT_OFFERED = {"ticks": {"micro_momentum", "passive_quoting"}, "bars": {"micro_momentum"}}


def bars_of_a_day(step=MINUTE):
    """Bars of two stocks from open to close, on a seeded walk; no quotes, no prints."""
    start, n = 1_772_461_800 * 10**9, 390 * MINUTE // step
    rng = np.random.default_rng(7)
    rows = ev.empty(2 * n + 2)
    rows["flags"][:] = 0
    for r, (t, phase) in zip((rows[0], rows[-1]), ((start, ev.OPEN), (start + n * step, ev.CLOSED)), strict=True):
        r.ts_event, r.ts_recv, r.kind, r.side, r.id = t, t, ev.PHASE, phase, 20260302
        r["flags"] = ev.LAST
    for k, px in enumerate((18_900, 41_500)):
        closes = px + np.cumsum(rng.integers(-12, 13, n))
        opens = np.concatenate([[px], closes[:-1]]) + rng.integers(-2, 3, n)
        body = rows[1 + k : 2 * n + 1 : 2]
        body["ts_event"] = body["ts_recv"] = start + (1 + np.arange(n)) * step
        body["kind"], body["instrument"], body["id"] = ev.BAR, k, rng.integers(20_000, 60_000, n)
        body["a"], body["d"] = opens, closes
        body["b"] = np.maximum(opens, closes) + rng.integers(0, 5, n)
        body["c"] = np.minimum(opens, closes) - rng.integers(0, 5, n)
        body["flags"] = ev.LAST if k else 0
    instruments = [Instrument(symbol=s, tick_size="0.01") for s in SYMBOLS]
    return Session.from_rows(rows, instruments, name="bars", bar_intervals_ns=[step])


@pytest.fixture(scope="module")
def days():
    return {"ticks": equity_day(n_events=6_000, seed=2), "bars": bars_of_a_day(), "fives": bars_of_a_day(5 * MINUTE)}


@pytest.mark.parametrize("made", ["compiled", "plain"])
@pytest.mark.parametrize("data", ["ticks", "bars"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_day_lived_is_the_day_replayed(days, name, data, made, tmp_path, monkeypatch):
    source = tmp_path / f"{name}.py"
    text = (ROOT / "strategies" / f"{name}.py").read_text()
    source.write_text(text if made == "compiled" else text.replace("@compiled\n", ""))
    parameters = {k: str(v) for k, v in EXAMPLES[name][data == "bars"].items()}
    fills, refused = lived(days[data], str(source), parameters, made, tmp_path, monkeypatch)
    assert (name in TRADES[data]) == (fills > 0)
    assert (name in NOT_OFFERED[data]) == (refused[R.NOT_OFFERED] > 0)


def test_bars_of_another_interval(days, tmp_path, monkeypatch):
    """Features, closes and fills of five-minute bars: nobody takes them for bars of a minute."""
    source = tmp_path / "means.py"
    source.write_text(MEANS)
    fills, _ = lived(days["fives"], str(source), {}, "plain", tmp_path, monkeypatch)
    assert fills > 10


def test_the_journal_of_a_day_of_bars(days, tmp_path, monkeypatch):
    """Its folder is a run's: tables of every minute, a page beside it, and a session that is replayed to the same digest."""
    source = tmp_path / "means.py"
    source.write_text(MEANS)
    lived(days["bars"], str(source), {}, "plain", tmp_path, monkeypatch)
    journal = tmp_path / "journal"
    before = Result.open(journal)
    assert before.lived and before.table("prices").num_rows >= 2 * 389 and before.summary.fills > 10
    before.save_report(journal)
    assert (journal / REPORT).stat().st_size > 10_000
    again = Engine(session_of(Disk(journal)), [load(str(source))], limits=lives.RULES).run()
    assert again.digest == before.digest == Result.open(journal).digest
    lives.verified(journal)


MEANS = """
from replay import Strategy, mean

class Means(Strategy):
    def features(self):
        return {"near": mean("price", count=2), "far": mean("price", "30m")}

    def on_bar(self, ctx, b):
        i = b.instrument
        ctx.target(i, 10 if ctx.near(i) > ctx.far(i) else -10)
"""


def lived(day, source, parameters, made, tmp_path, monkeypatch):
    """Replay a day and live it: the same to the last bit. Gives fills and refusals by reason."""
    strategies, loaded = [(source, parameters)], [load(source, dict(parameters))]
    assert (loaded[0].kind == "plain") == (made == "plain")
    replayed = Engine(day, loaded, limits=lives.RULES).run()
    with (
        lives.serving(day) as (server, url),
        lives.living(lives.order(url, tmp_path, strategies, SYMBOLS), monkeypatch) as runner,
    ):
        runner.run()
        h, account = runner.desk.header, next(iter(server.accounts.values()))
        lots = [int(p.qty) for p in runner.desk.trader.region("positions")[:2]]
        assert [account.portfolio.qty(k) for k in range(2)] == lots
        assert not [o for o in account.orders.values() if o.status == "rejected"]
    theirs = replayed.trader
    assert f"{int(h.digest) & (1 << 64) - 1:016x}" == replayed.digest
    assert lots == [int(p.qty) for p in theirs.region("positions")[:2]]
    assert (int(h.c_rejected), int(h.c_new), int(h.state)) == (0, int(theirs.header.c_new), 0)
    refused = runner.desk.trader.region("refusals")[:N_REASONS].tolist()
    assert refused == theirs.region("refusals")[:N_REASONS].tolist()
    return int(h.n_fills), refused
