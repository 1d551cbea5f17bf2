"""A crypto pair, end to end: trades, quotes and bars from the stream, orders in fractions of a coin, the broker's books at the end."""

import json
import os
import signal
import subprocess
import sys
from decimal import Decimal

import lives
import numpy as np
import pytest

from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.data.synth import equity_day
from replay.errors import BadInput
from replay.events import BAR, EVENT, PHASE, QUOTE, TRADE
from replay.live.alpaca import wire
from replay.live.desk import Command
from replay.live.disk import Disk
from replay.live.log import Reader
from replay.trader import layout as T

BTC = Instrument(symbol="BTCUSD", tick_size="0.01", lot_size="0.01", currency="USD", base="BTC", min_qty=10)
SOURCE = """
from replay import GTC, IOC, Strategy

class Coins(Strategy):
    n: int = 0
    bars: int = 0

    def on_quote(self, ctx, q):
        self.n += 1
        if q.bid_sz == 0 or q.ask_sz == 0 or self.n % 20:
            return
        turn = self.n // 20 % 4
        if turn == 0:
            ctx.market(0, 15)
        elif turn == 1:
            ctx.limit(0, 25, q.ask_px, IOC)
        elif turn == 2:
            ctx.limit(0, 11, q.bid_px - 500, GTC)
        elif ctx.position(0) > 12:
            ctx.market(0, -12)

    def on_bar(self, ctx, b):
        self.bars += 1
"""


@pytest.fixture(scope="module")
def day():
    """A pair that trades around the clock: no phases."""
    rows = equity_day(["X"], 6_000).events
    return Session.from_rows(rows[rows.kind != PHASE].copy(), [BTC], name="coins")


def run_by_command(url, place):
    """`replay paper --symbols BTC/USD` in a process of its own."""
    (place / "limits.toml").write_text("max_position = 1000000\n")
    (place / "coins.py").write_text(SOURCE)
    command = [sys.executable, "-m", "replay", "paper", "-s", "coins.py", "--symbols", "BTC/USD", "--limits", "limits.toml"]
    command += ["--journal", "journal", "--url", url, "--rate-limit", "0", "--json"]
    keys = dict(zip(("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"), lives.HEADERS.values(), strict=True))
    return subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, text=True, env={**os.environ, **keys, "PYTHONPATH": os.getcwd()}
    )


def test_a_pair_end_to_end(day, tmp_path):
    with lives.serving(day, speed=240.0, capital=Decimal(1_000_000)) as (server, url):
        process = run_by_command(url, tmp_path)
        account = lives.until(lambda: next(iter(server.accounts.values()), None))
        lives.until(lambda: len(account.fills) > 20 or server.market.done or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in process.communicate(timeout=120)[0].splitlines()]
        assert process.returncode == 0, lines[-3:]
        ended = lines[-1]
        (position,) = lives.broker(url, "positions")
        cash = Decimal(lives.broker(url, "account")["cash"])
    assert position["symbol"] == "BTCUSD" and Decimal(position["qty"]) == ended["positions"][0]["lots"] * Decimal("0.01") > 0
    assert abs(float(cash) - (ended["equity"] - ended["positions"][0]["value"])) < 0.01 and ended["fills"] == len(account.fills)
    tifs = {(o.type, o.tif) for o in account.orders.values()}
    assert tifs == {("market", "gtc"), ("limit", "ioc"), ("limit", "gtc")} and ended["rejected"] == 0
    lives.verified(tmp_path / "journal")
    events = np.concatenate([b.frames["event"] for b in Reader(Disk(tmp_path / "journal"))])
    kinds = np.ascontiguousarray(events).view(EVENT).reshape(-1)["kind"]
    assert {QUOTE, TRADE, BAR} <= set(kinds.tolist())


def test_what_a_pair_has_no_order_for():
    scale = wire.Scale(0, Instrument(symbol="BTC/USD", tick_size="0.01", lot_size="0.0001", currency="USD", base="BTC"))

    def body(kind, tif, qty=15):
        return wire.new_order(Command(1, 0, qty, 100, 90, 0, 1, kind, tif, 0, 0, 0), scale, "name", False)

    assert (body(T.MARKET, T.DAY)["time_in_force"], body(T.LIMIT, T.GTC)["qty"]) == ("gtc", "0.0015")
    for kind, tif in ((T.LIMIT, T.FOK), (T.STOP, T.DAY)):
        with pytest.raises(BadInput, match="crypto pairs"):
            body(kind, tif)
