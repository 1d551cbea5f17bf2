"""`replay download` against the project's own server: what arrives is what was served, whatever goes wrong on the way."""

import datetime
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import requests

pytest.importorskip("alpaca")
pytest.importorskip("aiohttp")

import lives  # noqa: E402
from alpaca.common.exceptions import APIError  # noqa: E402

from replay import cli  # noqa: E402
from replay.collect import alpaca  # noqa: E402
from replay.collect import asked as A  # noqa: E402
from replay.collect.asking import TRIES, Asking  # noqa: E402
from replay.data.session import Session  # noqa: E402
from replay.data.synth_bars import bars_month  # noqa: E402
from replay.data.times import in_new_york  # noqa: E402
from replay.engine import Engine  # noqa: E402
from replay.errors import BadInput  # noqa: E402
from replay.events import BAR, COUNTS, PRINT, QUOTE, TRADE  # noqa: E402
from replay.strategy import load  # noqa: E402

DAY = Path(__file__).parents[1] / "fixtures" / "equity-day"
TICKS = ("--symbols", "AAPL,MSFT", "--kind", "trades,quotes", "--from", "2026-03-02", "--to", "2026-03-03")
BARS = ("--symbols", "AAPL,SPY", "--frequency", "5min", "--from", "2026-02-02")


@pytest.fixture(scope="module")
def day():
    """(the fixture's day, the address it is served at, all of it over)."""
    session = Session.open(DAY, trust=True)
    with lives.serving(session) as (_, url):
        lives.control(url, "advance", {})
        yield session, url


@pytest.fixture(scope="module")
def month():
    session = bars_month()
    with lives.serving(session) as (_, url):
        lives.control(url, "advance", {})
        yield session, url


@pytest.fixture
def replay(monkeypatch, capsys, tmp_path):
    """Run a command line; gives (exit code, stdout as JSON where it is, stderr)."""
    for name, value in zip(("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"), lives.HEADERS.values(), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["replay", *args])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert lives.HEADERS["APCA-API-SECRET-KEY"] not in out + err
        return stop.value.code, json.loads(out) if out.startswith("{") else out, err

    return call


def get(replay, url, *args):
    code, out, err = replay("download", *args, "--url", url, "--rate-limit", "0", "--out", "got", "--json")
    assert (code, err) == (0, ""), err
    return out


def columns(session, kind, *names):
    rows = session.events[session.events.kind == kind]
    symbols = [i.symbol for i in session.instruments]
    return [[symbols[k] for k in rows.instrument], *(rows[n].tolist() for n in names)]


def test_trades_and_quotes_are_those_that_were_served(replay, day):
    """All of each row but what Alpaca's history has no word for: receive times, and who the aggressor was."""
    served, url = day
    said = get(replay, url, *TICKS)
    got = Session.open("got")
    got.check()
    assert (said["parts_fetched"], said["counts"]) == (4, {"phase": 2, "quote": 42_805, "trade": 7_193})
    for s in ("AAPL", "MSFT"):  # the order among symbols within one ns is lost with the receive times
        for kind, names in ((QUOTE, "ts_event a b c d"), (TRADE, "ts_event a b id flags")):
            one = [session.slice(symbols=[s]) for session in (served, got)]
            assert columns(one[1], kind, *names.split()) == columns(one[0], kind, *names.split())
    assert got.manifest.calendar.days == (
        (20260302, in_new_york(datetime.date(2026, 3, 2), 9, 30), in_new_york(datetime.date(2026, 3, 2), 16)),
    )
    assert got.manifest.inferred == ("ts_recv",) and {i.tick_size for i in got.instruments} == {"0.01"}


def test_bars_are_those_that_were_served(replay, month):
    """Alpaca stamps a bar's start; in the session it stands at its close, 78 of five minutes a day, and runs as the served ones do."""
    served, url = month
    said = get(replay, url, *BARS, "--market-hours-only")
    got = Session.open("got")
    got.check()
    assert said["counts"]["bar"] == 2 * 19 * 78 and "missing_bars" not in said["anomalies"]
    fives = served.slice(symbols=["AAPL", "SPY"])
    rows = fives.events[(fives.events.kind == BAR) & (fives.events.side == 1)]
    mine = got.events[got.events.kind == BAR]
    for name in ("ts_event", "id", "a", "b", "c", "d"):
        assert mine[name].tolist() == rows[name].tolist(), name
    first = in_new_york(datetime.date(2026, 2, 2), 9, 35)
    assert mine.ts_event[0] == first and got.manifest.finest_bar_ns == (A.frequency("5min"),) * 2
    assert Engine(got, [load("sma_cross", {})]).run().digest != 0


def test_bars_of_two_lengths(replay, month):
    """In one session: those of one close time are one message, the shorter ones execute."""
    get(replay, month[1], "--symbols", "AAPL,SPY", "--frequency", "1min,5min", *BARS[4:], "--market-hours-only")
    got, served = Session.open("got"), month[0].slice(symbols=["AAPL", "SPY"])
    mine, theirs = (s.events[s.events.kind == BAR] for s in (got, served))
    for name in ("ts_event", "side", "id", "a", "b", "c", "d", "flags"):
        assert mine[name].tolist() == theirs[name].tolist(), name
    assert got.manifest.bar_intervals_ns == (A.MINUTE, 5 * A.MINUTE)


def test_bars_that_are_missing_are_counted(replay, month, monkeypatch):
    """No trade, no bar: nothing is made up."""
    whole = alpaca._table
    monkeypatch.setattr(
        alpaca, "_table", lambda kind, found: whole(kind, [m for m in found if not m["t"].endswith(("15:00:00Z", "15:05:00Z"))])
    )
    said = get(replay, month[1], *BARS, "--market-hours-only")
    assert said["anomalies"]["missing_bars"] == 2 * 2 * 19


def test_what_is_there_is_not_fetched_again(replay, month):
    """By hash: a part that was damaged is fetched anew; more time or symbols cost only what is new."""
    url, first = month[1], "2026-02-10"
    assert get(replay, url, *BARS, "--to", first)["parts_fetched"] == 2
    again = get(replay, url, *BARS, "--to", first)
    assert (again["parts_fetched"], again["parts_kept"], again["requests"]) == (0, 2, 2)
    path = Path("got/parts/SPY/bars-5m-2026-02.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    again = get(replay, url, *BARS, "--to", first)
    assert (again["parts_fetched"], again["parts_kept"]) == (1, 1)
    more = get(replay, url, *BARS[:1], "AAPL,SPY,XLF", *BARS[2:], "--to", first)
    assert (more["parts_fetched"], more["parts_kept"], more["instruments"][2]["symbol"]) == (1, 2, "XLF")
    code, _, err = replay("download", *BARS[:3], "1min", *BARS[4:], "--url", url, "--out", "got")
    assert code == 2 and "holds a download of other data (alpaca bars 5m iex raw, asked for now: alpaca bars 1m iex raw)" in err


def test_an_index_line_that_was_cut_off(replay, month):
    url = month[1]
    get(replay, url, *BARS, "--to", "2026-02-10")
    index = Path("got/parts/index.jsonl")
    index.write_bytes(index.read_bytes()[:-20])
    again = get(replay, url, *BARS, "--to", "2026-02-10")
    assert (again["parts_fetched"], again["parts_kept"]) == (1, 1)
    assert get(replay, url, *BARS, "--to", "2026-02-10")["parts_kept"] == 2


@pytest.mark.parametrize(
    ("kind", "throttled", "failed"),
    [("rate_limited", 1, 0), ("html", 0, 1), ("unavailable", 0, 1), ("lost_answer", 0, 1), ("reset", 0, 1)],
)
def test_faults_are_waited_out(replay, month, kind, throttled, failed, monkeypatch):
    monkeypatch.setattr("replay.collect.asking.LONGEST_S", 0.01)
    lives.fault(month[1], kind, path="/v2/stocks/bars")
    said = get(replay, month[1], *BARS)
    assert (said["requests"], said["throttled"], said["failed"]) == (5, throttled, failed)
    assert said["counts"]["bar"] == 2 * 19 * 78


def test_faults_that_last_end_it_in_one_line_and_it_goes_on_later(replay, month, monkeypatch):
    monkeypatch.setattr("replay.collect.asking.LONGEST_S", 0.01)
    get(replay, month[1], "--symbols", "AAPL", *BARS[2:], "--to", "2026-02-20")
    lives.fault(month[1], "unavailable", path="/v2/stocks/bars", count=TRIES)
    code, _, err = replay("download", *BARS, "--to", "2026-02-20", "--url", month[1], "--rate-limit", "0", "--out", "got")
    assert code == 2 and err.count("\n") == 1 and f"SPY bars 2026-02: service unavailable, {TRIES} times in a row" in err
    assert (get(replay, month[1], *BARS, "--to", "2026-02-20")["parts_kept"]) == 1


def test_the_rate_limit_is_kept():
    """Never more in a minute than the account may; the broker's own word, with its wait, comes on top."""
    now, sent, slept = [0.0], [], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    asking = Asking(60, sleep)
    asking._bucket.clock, asking._bucket._at = lambda: now[0], 0.0
    for _ in range(200):
        assert asking.answer("x", lambda: sent.append(now[0]) or 1) == 1
    assert max(sum(t <= s < t + 60 for s in sent) for t in sent) <= 60
    answers = iter([(429, {"Retry-After": "7"}), (500, {}), None, (403, {})])

    def get(path, query):
        found = next(answers)
        if found:
            response = requests.Response()
            response.status_code, response.headers = found
            raise APIError('{"message": "said"}', requests.HTTPError(response=response))
        return 2

    slept.clear()
    assert asking.answer("x", partial(alpaca._answer, "x", get, "", {})) == 2 and {7.0, 2.0} <= set(slept)
    assert (asking.throttled, asking.failed) == (1, 1)
    with pytest.raises(BadInput, match="x: said: correct the request"):
        asking.answer("x", partial(alpaca._answer, "x", get, "", {}))


def test_killed_in_the_middle(replay, month, tmp_path):
    """SIGKILL while parts are fetched: the next start fetches the rest and no more."""
    args = [*BARS[:3], "5min", "--period", "6months", "--url", month[1], "--rate-limit", "0", "--out", "got", "--json"]
    lives.fault(month[1], "slow", path="/v2/stocks/bars", seconds=0.2, count=None)
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "replay", "download", *args], stdout=subprocess.DEVNULL)
    index, end = Path("got/parts/index.jsonl"), time.monotonic() + 120
    while not (index.exists() and index.read_text().count('"part"') >= 3):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lives.control(month[1], "faults", {"faults": [{"kind": "slow", "count": 0}]})
    done = index.read_text().count('"part"')
    code, said, _ = replay("download", *args)
    assert (code, said["parts_kept"], said["parts_fetched"], said["requests"]) == (0, done, 14 - done, 2 + 14 - done)
    assert said["counts"]["bar"] == 2 * 19 * 78 and not list(Path("got").rglob("*.part"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "--symbols: name what to download"),
        (("--symbols", "AAPL"), "--period or --from"),
        (("--symbols", "AAPL,BTC/USD", "--period", "1d"), "download them apart"),
        (("--symbols", "NOSUCH", "--period", "1d"), "NOSUCH: Alpaca knows no such symbol"),
        (("--symbols", "AAPL", "--period", "soon"), "--period: expected a length such as 6months"),
        (("--symbols", "AAPL", "--frequency", "7min", "--period", "1d"), "--frequency: expected a part of a day"),
        (("--symbols", "AAPL", "--kind", "bars,trades", "--period", "1d"), "--kind: expected bars"),
        (("--symbols", "AAPL", "--kind", "trades", "--frequency", "5m", "--period", "1d"), "only bars have one"),
        (("--symbols", "AAPL", "--from", "tomorrow"), "--from: expected a day"),
        (("--symbols", "AAPL", "--from", "2030-01-01"), "a time before --to and before now"),
        (("--symbols", "AAPL", "--from", "2026-01-03", "--to", "2026-01-04"), "none of AAPL has any bars"),
        (("--symbols", "AAPL", "--kind", "quotes", "--from", "2026-01-03", "--to", "2026-01-04"), "no trading day"),
    ],
)
def test_refused(replay, month, args, words):
    code, out, err = replay("download", *args, "--url", month[1])
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1 and words in err


def test_no_room_left(replay, month):
    """A disk that is full, as the system says it: one line, and what is finished stays."""
    with lives.full_disk(20_000):
        code, _, err = replay("download", *BARS, "--url", month[1], "--rate-limit", "0", "--out", "got")
    assert code == 2 and err.startswith("error: got: ") and err.count("\n") == 1, err
    assert "what is finished is kept" in err
    assert get(replay, month[1], *BARS)["counts"]["bar"] == 2 * 19 * 78


def test_spans():
    a = A.Asked(
        broker="alpaca",
        symbols=("AAPL",),
        kinds=("quotes",),
        start=in_new_york(datetime.date(2025, 7, 3), 12),
        end=in_new_york(datetime.date(2025, 7, 8)),
    )
    assert [s.label for s in A.spans(a, "quotes")] == ["2025-07-03", "2025-07-07"]  # the 4th, and a weekend
    assert [s.label for s in A.spans(a, "bars")] == ["2025-07"]
    first = next(A.spans(a, "quotes"))
    assert (first.start, first.end) == (a.start, in_new_york(datetime.date(2025, 7, 4)))


def test_what_is_between_ticks(tmp_path):
    """As live: a bid is rounded down, an ask up; a print that was rounded sets no last price; a correction of later is left out."""
    import pyarrow as pa

    from replay.collect.alpaca import SCHEMAS, _table
    from replay.collect.columns import table_of
    from replay.collect.parts import Parts
    from replay.data.canonical import assemble
    from replay.data.columns import Columns
    from replay.data.reading import Reading
    from replay.live.disk import Disk

    parts, span = Parts(Disk(tmp_path / "parts")), A.Span(0, 1, "x")
    t = [f"2026-03-02T15:00:0{k}.123456789Z" for k in range(4)]
    quotes = [{"t": t[0], "bp": 189.119, "bs": 3, "ap": 189.131, "as": 200, "bx": "V", "ax": "V", "c": ["R"]}]
    trades = [
        {"t": t[1], "p": 189.1225, "s": 100, "i": 2**64 - 1, "c": ["@"], "x": "V"},
        {"t": t[2], "p": 189.12, "s": 7.5, "i": 8, "c": ["@", "I"], "x": "V", "u": "canceled"},
        {"t": t[3], "p": 189.12, "s": 100, "i": 9, "c": ["@"], "x": "V", "u": "corrected"},
    ]
    reader = Columns(Reading(instruments={"AAPL": {"tick_size": "0.01", "lot_size": "1"}}))
    tables = []
    for kind, messages in (("quotes", quotes), ("trades", trades)):
        part = parts.write("AAPL", kind, span, SCHEMAS[kind], [_table(kind, messages)])
        tables.append(table_of(part.file, parts.path(part), reader, "AAPL", kind, 0, 1))
    s = assemble(tables, reader, "x", None)
    q, one, two = s.events
    assert (q.a, q.b, q.c, q.d) == (18911, 3, 18914, 200)
    assert (one.a, one.b, one["flags"] & PRINT) == (18912, 100, COUNTS) and (two.b, two["flags"] & PRINT) == (7, COUNTS)
    assert s.manifest.anomalies == {"rounded_prices": 2, "rounded_sizes": 1, "later_corrections": 1}
    assert one.ts_event % 10**9 == 123456789 and np.all(s.events.ts_recv == s.events.ts_event)
    assert isinstance(SCHEMAS["quotes"], pa.Schema)
