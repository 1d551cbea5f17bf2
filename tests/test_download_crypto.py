"""Candles through the unmodified ccxt, from a local server that speaks Binance's and Bitget's public endpoints."""

import json
import sys

import pytest

pytest.importorskip("ccxt")

import exchanges  # noqa: E402

from replay import cli  # noqa: E402
from replay.collect.asked import UTC, moment  # noqa: E402
from replay.data.session import Session  # noqa: E402
from replay.events import BAR  # noqa: E402

START, END = (moment(day, "", UTC) // 10**6 for day in ("2026-02-27", "2026-03-03"))
STEP = exchanges.STEPS["5m"]
TIMES = ("--from", "2026-02-27", "--to", "2026-03-03")


@pytest.fixture
def replay(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("replay.collect.asking.LONGEST_S", 0.01)

    def call(url, broker, *args):
        monkeypatch.setattr(
            sys, "argv", ["replay", "download", "--broker", broker, "--url", url, "--out", "got", "--json", *args]
        )
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return stop.value.code, json.loads(out) if out else {}, err

    return call


@pytest.mark.parametrize(
    ("broker", "symbol"), [("binance", "BTC/USDT:USDT"), ("binance", "ETH/USDT"), ("bitget", "BTC/USDT:USDT")]
)
def test_candles_are_those_that_were_served(replay, broker, symbol):
    """Every candle at its close, on the exchange's ticks and lots; one that is missing is counted, one that runs is left out."""
    venue = exchanges.Venue(now=END - STEP // 2, gone={START + 500 * STEP})
    with exchanges.serving(venue) as url:
        code, said, err = replay(url, broker, "--symbols", symbol, *TIMES)
        assert (code, err) == (0, ""), err
        assert replay(url, broker, "--symbols", symbol, *TIMES)[1]["parts_kept"] >= 1
    got = Session.open("got")
    got.check()
    i = got.instruments[0]
    assert (i.symbol, i.tick_size, i.lot_size, i.currency, i.base) == (
        symbol,
        "0.1",
        "0.001",
        "USDT",
        None if ":" in symbol else symbol[:3],
    )
    wanted = venue.candles("", "5m", START, END - 2 * STEP)
    rows = got.events[got.events.kind == BAR]
    assert (rows.ts_event // 10**6 - STEP).tolist() == [c[0] for c in wanted] and len(wanted) == 4 * 288 - 2
    for name, k, step in (("a", 1, 10), ("b", 2, 10), ("c", 3, 10), ("d", 4, 10), ("id", 5, 1000)):
        assert rows[name].tolist() == [round(float(c[k]) * step) for c in wanted], name
    assert said["anomalies"] == {"unfinished_bars": 1, "missing_bars": 1} and got.manifest.calendar.name == "24/7"
    assert any("funding" in note for note in said["notes"]) == (":" in symbol)


def test_before_it_was_listed_there_is_nothing(replay):
    """Empty pages are passed over, not taken for the end."""
    venue = exchanges.Venue(now=END, begins=END - 100 * STEP)
    with exchanges.serving(venue) as url:
        code, said, err = replay(url, "bitget", "--symbols", "ETH/USDT:USDT", *TIMES)
    assert (code, said["counts"]["bar"]) == (0, 100), err


def test_faults_are_waited_out(replay, monkeypatch):
    slept = []
    monkeypatch.setattr("replay.collect.asking.Asking.__init__.__defaults__", (slept.append,))
    venue = exchanges.Venue(now=END)
    venue.answers = [(429, {"Retry-After": "7"}), (418, {}), (500, {}), (504, {})]
    with exchanges.serving(venue) as url:
        code, said, err = replay(url, "binance", "--symbols", "BTC/USDT:USDT", *TIMES)
    assert (code, err) == (0, ""), err
    assert (code, said["throttled"], said["failed"], said["counts"]["bar"]) == (0, 2, 2, 4 * 288), err
    assert slept[:2] == [7.0, 10.0]


@pytest.mark.parametrize(
    ("broker", "args", "words"),
    [
        ("binance", ("--symbols", "BTCUSDT"), "bars of pairs such as BTC/USDT"),
        ("binance", ("--symbols", "BTC/USDT:USDT", "--kind", "trades"), "bars of pairs such as BTC/USDT"),
        ("binance", ("--symbols", "BTX/USDT:USDT"), "BTX/USDT:USDT: binance has no such pair, such as BTC/USDT:USDT"),
        ("bitget", ("--symbols", "BTC/USDT:USDT", "--frequency", "20m"), "--frequency: bitget has no bars of 20m"),
    ],
)
def test_refused(replay, broker, args, words):
    with exchanges.serving(exchanges.Venue(now=END)) as url:
        code, _, err = replay(url, broker, *args, *TIMES)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and words in err


def test_nobody_answers(replay):
    code, _, err = replay("http://127.0.0.1:9", "binance", "--symbols", "BTC/USDT", *TIMES)
    assert code == 2 and err.count("\n") == 1 and "8 times in a row" in err
