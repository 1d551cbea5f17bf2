"""The Alpaca adapter and the runner against the local server, through the unmodified alpaca-py."""

from pathlib import Path

import pytest

pytest.importorskip("alpaca")
pytest.importorskip("aiohttp")

import lives  # noqa: E402

from replay.data.synth import equity_day  # noqa: E402
from replay.engine import Engine  # noqa: E402
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
    replayed = Engine(day, [load(name, dict(p)) for name, p in strategies]).run()
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
