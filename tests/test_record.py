"""`replay record` against the project's own server: what is recorded is what was served; what was lost is declared."""

import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgpack
import numpy as np
import pytest

pytest.importorskip("alpaca")
pytest.importorskip("aiohttp")

import lives  # noqa: E402
from serving import wait  # noqa: E402

from replay import cli  # noqa: E402
from replay.collect import days, raw, record  # noqa: E402
from replay.collect.record import Ordered, Recorder  # noqa: E402
from replay.data import synth  # noqa: E402
from replay.data.instruments import Instrument  # noqa: E402
from replay.data.session import Session  # noqa: E402
from replay.data.synth_bars import bars_month  # noqa: E402
from replay.data.times import in_new_york  # noqa: E402
from replay.engine import Engine  # noqa: E402
from replay.errors import BadInput  # noqa: E402
from replay.events import BAR, GAP, HALTED, LAST, PHASE, QUOTE, STATUS, TRADE  # noqa: E402
from replay.live.alpaca import account  # noqa: E402
from replay.strategy import load  # noqa: E402

MORNING = in_new_york(datetime.date(2026, 3, 2), 10)
BOTH = ["AAPL", "MSFT"]
CROSS = ("ema_cross", {"fast": "20", "slow": "80", "warmup": "80"})


@pytest.fixture(scope="module")
def morning():
    """The fixture's first half hour."""
    return Session.open(Path(__file__).parents[1] / "fixtures" / "equity-day", trust=True).slice(end=MORNING)


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name, value in zip(("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"), lives.HEADERS.values(), strict=True):
        monkeypatch.setenv(name, value)


@contextlib.contextmanager
def recording(out, url, symbols=BOTH, kinds=("trades", "quotes")):
    """A recorder in a thread; stopped in order at the end."""
    r, raised = Recorder(Ordered(symbols=symbols, kinds=kinds, out=out, url=url), lambda line: None), []

    def work():
        try:
            r.run()
        except BaseException as e:
            raised.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield r
    finally:
        r.stop()
        thread.join(180)
        assert not thread.is_alive()
    if raised:
        raise raised[0]


def market(session):
    return session.events[np.isin(session.events.kind, (QUOTE, TRADE, BAR))]


def keyed(rows):
    """Rows by all that the wire carries: times of the feed, kinds, prices, sizes."""
    return [rows[n].tolist() for n in ("ts_event", "kind", "instrument", "a", "b", "c", "d")]


def test_in_lockstep_it_is_the_served_session(morning, tmp_path):
    """To the last bit: its rows, their hash, and so every decision on them."""
    with lives.serving(morning) as (_, url), recording(tmp_path / "r", url) as r:
        assert wait(lambda: (tmp_path / "r/2026-03-02/manifest.json").exists())  # it ends when the day is over
    got = Session.open(tmp_path / "r" / "2026-03-02")
    got.check()
    assert got.manifest.sha256 == morning.manifest.sha256 and got.manifest.counts == morning.manifest.counts
    assert r.gaps == 0 and got.manifest.anomalies == {}
    digests = {Engine(s, [load(*CROSS)]).run().digest for s in (got, morning)}
    assert len(digests) == 1


def test_at_a_pace_nothing_is_lost(morning, tmp_path):
    """All that the wire carries; it has no word for receive times, for the aggressor of a stock's print, for numbers of quotes."""
    with lives.serving(morning, "max") as (_, url), recording(tmp_path / "r", url) as r:
        assert wait(lambda: sum(r.counts.values()) == len(market(morning)))
    got = Session.open(tmp_path / "r" / "2026-03-02")
    got.check()
    assert keyed(market(got)) == keyed(market(morning))
    trades = [s.events[s.events.kind == TRADE] for s in (got, morning)]
    assert all(trades[0][n].tolist() == trades[1][n].tolist() for n in ("id", "flags"))
    assert got.manifest.inferred == ("ts_recv",) and got.manifest.calendar.name == "XNYS" and got.manifest.anomalies == {}
    fills = [replayed(s) for s in (got, morning)]
    assert fills[0] == fills[1] and fills[0]


def replayed(session):
    """Orders as they left, without the times at which the strategy knew."""
    from replay.trader.output import OUT_NEW

    said = Engine(session, [load(*CROSS)]).run().outputs.rows()
    new = said[said.kind == OUT_NEW]
    return [(int(n.instrument), int(n.side), int(n.b)) for n in new]


def lost(got, served):
    """How many served rows are missing; every recorded one is as served, and what is missing lies where a gap is declared."""
    mine, theirs = (list(zip(*keyed(market(s)), strict=True)) for s in (got, served))
    first, last = theirs.index(mine[0]), theirs.index(mine[-1])
    missing, k, flagged = 0, 0, market(got)["flags"] & GAP != 0
    pending: set[int] = set()
    for row in theirs[first : last + 1]:
        if k < len(mine) and mine[k] == row:
            if flagged[k]:
                pending.discard(row[2])
            assert row[2] not in pending, f"row {k} of {got} comes after lost ones and does not say so"
            k += 1
        else:
            missing += 1
            pending.add(row[2])
    assert k == len(mine)
    return missing


@pytest.mark.parametrize("kind", ["drop", "abort", "mute"])
def test_a_lost_connection_is_a_declared_gap(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(record, "MUTE_S", 0.5)
    served = synth.equity_day(n_events=20_000, seed=4)
    with lives.serving(served, 120.0) as (server, url), recording(tmp_path / "r", url) as r:
        assert wait(lambda: sum(r.counts.values()) > 300)
        at = server.market.i
        lives.fault(url, kind)
        assert wait(lambda: r.gaps and r.up and sum(r.counts.values()) > 600)
        assert server.market.i > at
    got = Session.open(tmp_path / "r" / "2026-03-02")
    assert lost(got, served) > 0 and got.manifest.anomalies["gaps"] == r.gaps >= 1
    told = json.loads((tmp_path / "r" / "2026-03-02" / days.RECORDING).read_bytes())["gaps"]
    assert len(told) == r.gaps and all(g["start"] < g["end"] and g["why"] for g in told)


@contextlib.contextmanager
def process(url, out, log):
    """``replay record`` in a process of its own, writing to `log`."""
    args = ["record", "--symbols", "AAPL,MSFT", "--url", url, "--out", str(out), "--json"]
    with (
        open(log, "a") as file,
        subprocess.Popen([sys.executable, "-W", "ignore", "-m", "replay", *args], stdout=file, stderr=subprocess.STDOUT) as p,
    ):
        try:
            yield p
        finally:
            p.kill()


def grown(path, p, log):
    assert wait(lambda: (path.exists() and path.stat().st_size > 2_500) or p.poll() is not None)
    assert p.poll() is None, log.read_text()


def test_killed_and_begun_again(tmp_path):
    """SIGKILL costs what was not yet written; the same day goes on with a declared gap; SIGTERM closes it."""
    served = synth.equity_day(n_events=20_000, seed=4)
    day, log = tmp_path / "r" / "2026-03-02", tmp_path / "log"
    with lives.serving(served, 120.0) as (_, url):
        with process(url, tmp_path / "r", log) as p:
            grown(day / "0001.raw", p, log)
            os.kill(p.pid, signal.SIGKILL)
        size = (day / "0001.raw").stat().st_size
        with (day / "0001.raw").open("ab") as f:
            f.write(b"\x10\0\0\0half a block")  # what a crash of the machine may leave
        assert not (day / "manifest.json").exists()
        with process(url, tmp_path / "r", log) as p:
            grown(day / "0002.raw", p, log)
            p.terminate()
            assert p.wait(120) == 0, log.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[-1]["what"] == "ended" and lines[-1]["days"] == [str(day)]
    got = Session.open(day)
    assert (day / "0001.raw").stat().st_size == size + 16 and got.manifest.anomalies["raw_bytes_cut_off"] == 16
    assert lost(got, served) > 0 and got.manifest.anomalies["gaps"] == 1
    everything = log.read_bytes() + b"".join(e.data for path in raw.files(day) for e in raw.Reader(path))
    assert not any(secret.encode() in everything for secret in lives.HEADERS.values())


def test_no_room_left(morning, tmp_path):
    """One line; what was written before is whole, and the same day can be gone on with."""
    day = tmp_path / "r" / "2026-03-02"
    with lives.serving(morning, "max") as (_, url):
        said = "File too large: what was received up to 2026.* is kept as raw frames; make room"
        with pytest.raises(BadInput, match=said), lives.full_disk(9_000), recording(tmp_path / "r", url) as r:
            assert wait(lambda: r._full or r._failed)
        assert not (day / "manifest.json").exists()
        with recording(tmp_path / "r", url) as r:
            assert wait(lambda: r.up)
    assert [p.name for p in raw.files(day)] == ["0001.raw", "0002.raw"]
    assert days.unfinished(tmp_path / "r") == [day]  # nothing could be heard any more: no event, no session


def test_bars_and_days(tmp_path):
    """Minute bars of two days: a folder each, every bar at its close, those of one minute one message."""
    month = bars_month()
    first, second = (in_new_york(datetime.date(2026, 2, day), 16, 1) for day in (2, 3))
    served = month.slice(end=second, symbols=["AAPL", "SPY"])
    with lives.serving(served, "max") as (_, url), recording(tmp_path / "r", url, ["AAPL", "SPY"], ("bars",)) as r:
        assert wait(lambda: r.counts["bars"] == 2 * 2 * 390)
    for day, lo, hi in (("2026-02-02", 0, first), ("2026-02-03", first, second)):
        got = Session.open(tmp_path / "r" / day)
        got.check()
        ours = got.events[got.events.kind == BAR]
        rows = served.slice(start=lo, end=hi).events
        theirs = rows[(rows.kind == BAR) & (rows.side == 0)]
        for name in ("ts_event", "id", "a", "b", "c", "d"):
            assert ours[name].tolist() == theirs[name].tolist(), name
        assert ours["flags"].tolist() == [0, LAST] * 390 and "missing_bars" not in got.manifest.anomalies
        assert got.manifest.counts == {"bar": 780, "phase": 2} and got.manifest.bar_intervals_ns == (60 * 10**9,)
    assert r.made == [tmp_path / "r" / day for day in ("2026-02-02", "2026-02-03")]


def test_a_pair(tmp_path):
    served = synth.l2_book(2_000, seed=12)
    trades = served.events[served.events.kind == TRADE]
    with lives.serving(served, "max") as (_, url), recording(tmp_path / "r", url, ["BTC/USDT"], ("trades",)) as r:
        assert wait(lambda: r.counts["trades"] == len(trades))
    (day,) = r.made  # the server's clock stood before midnight: a day with no event has no session
    got = Session.open(day)
    assert got.instruments[0].base == "BTC" and got.manifest.calendar is None
    for name in ("ts_event", "a", "b", "side", "id"):
        assert got.events[name].tolist() == trades[name].tolist(), name


def written(folder, *entries, kinds=("trades", "quotes", "bars"), clock=days.OURS):
    """A day's raw frames, made up: (ns, [messages]) and (ns, note)."""
    symbols = tuple(Instrument(symbol=s, tick_size="0.01") for s in BOTH)
    w = raw.Writer(folder)
    began = days.Began(instruments=symbols, kinds=kinds, feed="iex", crypto=False, clock=clock)
    w.note(0, **{n: getattr(began, n) for n in began.__struct_fields__})
    for at, what in entries:
        w.note(at, **what) if isinstance(what, dict) else w.add(at, raw.FRAME, msgpack.packb(what))
        w.write(w.take())
    w.close()
    return days.close_day(folder)


def at(ns):
    return msgpack.Timestamp(ns // 10**9, ns % 10**9)


def test_what_frames_mean(tmp_path):
    """Statuses, corrections, rounding, a clock that is behind the feed's, bars that wait for each other."""
    t = in_new_york(datetime.date(2026, 3, 2), 10)
    ms, minute = 10**6, 60 * 10**9
    bar = {"T": "b", "o": 1.0, "h": 1.2, "l": 1.0, "c": 1.1, "v": 5, "n": 1, "vw": 1.1, "t": at(t - minute)}
    s = written(
        tmp_path / "r" / "2026-03-02",
        (t + 5 * ms, [{"T": "success", "msg": "connected"}]),
        (t + 5 * ms, {"what": "up"}),
        (t + 6 * ms, [{"T": "q", "S": "AAPL", "bp": 189.119, "bs": 3, "ap": 189.131, "as": 2, "t": at(t + 7 * ms)}]),
        (t + 8 * ms, [{**bar, "S": "AAPL"}]),
        (t + 9 * ms, [{"T": "t", "S": "MSFT", "i": 1, "p": 400.0, "s": 10, "c": ["@"], "t": at(t + 8 * ms)}]),
        (t + 10 * ms, [{**bar, "S": "MSFT"}, {"T": "c", "S": "AAPL", "t": at(t)}, {"T": "x", "S": "AAPL", "t": at(t)}]),
        (t + 20 * ms, [{"T": "s", "S": "AAPL", "sc": "H", "t": at(t + 19 * ms)}, {"T": "s", "S": "AAPL", "sc": "E", "t": at(t + 19 * ms)}]),
        (t + 30 * ms, {"what": "down", "why": "the connection was lost"}),
        (t + 30 * ms, {"what": "down", "why": "again"}),
        (t + 40 * ms, [{"T": "t", "S": "AAPL", "i": 2, "p": 189.0, "s": 1, "c": ["@"], "t": at(t + 39 * ms)}]),
        (t + 39 * ms, [{"T": "t", "S": "AAPL", "i": 3, "p": 189.0, "s": 1, "c": ["@"], "t": at(t + 38 * ms)}]),
        (t + 41 * ms, [{**bar, "S": "AAPL", "t": at(t - 2 * minute)}]),
        (t + 9000 * ms, 5),
        (t + 9000 * ms, [{"T": "q", "S": "NOSUCH"}, {"T": "t", "S": "MSFT", "p": 1.0}]),
    )  # fmt: skip
    m = s.manifest
    known = {"rounded_prices": 2, "corrections": 1, "cancel_errors": 1, "statuses_without_meaning": 1, "gaps": 1}
    known |= {"clock_went_back": 1, "malformed_messages": 1, "malformed_frames": 1}
    assert {k: n for k, n in m.anomalies.items() if k != "venue_time_backwards"} == known
    rows = s.events[s.events.kind != PHASE]
    kinds = list(
        zip(
            rows.kind.tolist(),
            rows.instrument.tolist(),
            ((rows.ts_recv - t - m.clock_shift_ns) // ms).tolist(),
            (rows["flags"] & (LAST | GAP)).tolist(),
            strict=True,
        )
    )
    assert kinds == [
        (QUOTE, 0, 6, LAST),
        (TRADE, 1, 9, LAST),
        (BAR, 0, 10, 0),
        (BAR, 1, 10, LAST),
        (STATUS, 0, 20, LAST),
        (TRADE, 0, 40, LAST | GAP),
        (TRADE, 0, 40, LAST),
        (BAR, 0, 41 + 2000, LAST),
    ]
    assert m.clock_shift_ns == ms + 1 and rows[0].a == 18911 and rows[0].c == 18914 and rows[4].side == HALTED
    told = json.loads((tmp_path / "r" / "2026-03-02" / days.RECORDING).read_bytes())["gaps"]
    assert [g["why"] for g in told] == ["the connection was lost"] and told[0]["end"].endswith("15:00:00.04Z")


def test_on_a_clock_that_is_ours(tmp_path, monkeypatch):
    """As a broker's own feed comes: at its own pace, received when it is received; 10,000 events in about two seconds."""
    monkeypatch.setattr(account, "local_state", lambda url, key, secret: {})
    day = synth.equity_day(n_events=10_000, seed=4)
    rows = market(day).copy().view(np.recarray)
    start = time.time_ns() + 10**9
    for name in ("ts_event", "ts_recv"):
        rows[name] = start + (rows[name] - day.manifest.start_ns) // 12_000
    served = Session.from_rows(rows, day.instruments, name="now")
    with lives.serving(served, 1.0) as (_, url):
        lives.control(url, "state")  # the clock waits for the recorder, which does not ask
        with recording(tmp_path / "r", url) as r:
            assert wait(lambda: sum(r.counts.values()) == len(rows))
            assert r.status()["lag_ms"] is not None
    got = Session.open(r.made[0]) if len(r.made) == 1 else None
    assert got is not None, r.made  # midnight in New York has just passed
    got.check()
    assert keyed(market(got)) == keyed(rows) and got.manifest.inferred == ()
    assert (np.diff(got.events.ts_recv) >= 0).all() and got.events.ts_recv[0] < got.events.ts_recv[-1]


def test_whatever_a_crash_leaves_is_a_beginning(tmp_path):
    """Cut anywhere, or changed anywhere in its last block, a file gives the entries of its whole blocks and says what it does not give."""
    w = raw.Writer(tmp_path)
    ends = [0, w.bytes]
    for k in range(6):
        w.add(k, k % 2, bytes([k]) * (50 + k))
        w.write(w.take())
        ends.append(w.bytes)
    w.close()
    path = tmp_path / w.name
    data, whole = path.read_bytes(), list(raw.Reader(path))
    assert [e.at for e in whole] == list(range(6))
    for n in range(len(data)):
        path.write_bytes(data[:n])
        reader = raw.Reader(path)
        assert (found := list(reader)) == whole[: len(found)] and len(found) < 6
        assert reader.cut == n - max(end for end in ends if end <= n)
    for n in range(ends[-2], len(data)):
        path.write_bytes(data[:n] + bytes([data[n] ^ 0x41]) + data[n + 1 :])
        reader = raw.Reader(path)
        assert list(reader) == whole[:5] and reader.cut == ends[-1] - ends[-2]


def test_a_folder_that_is_no_recording(tmp_path):
    (tmp_path / "0001.raw").write_bytes(b"something else")
    with pytest.raises(BadInput, match="not a file of raw frames"):
        days.close_day(tmp_path)
    (tmp_path / "0001.raw").write_bytes(b"RPL")  # a crash in the first moment
    assert days.close_day(tmp_path) is None and list(raw.Reader(tmp_path / "0001.raw")) == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "--symbols: name what to record"),
        (("--symbols", "AAPL,BTC/USD"), "record them apart"),
        (("--symbols", "AAPL", "--kinds", "books"), "--kinds: expected some of trades, quotes, bars"),
        (("--symbols", "NOSUCH"), "NOSUCH: Alpaca knows no such symbol"),
    ],
)
def test_refused(morning, args, words, monkeypatch, capsys, tmp_path):
    with lives.serving(morning) as (_, url):
        monkeypatch.setattr(sys, "argv", ["replay", "record", *args, "--url", url, "--out", str(tmp_path / "r")])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1 and words in err
    assert not (tmp_path / "r").exists()


def test_what_the_account_may_not_hear_ends_it(morning, tmp_path):
    with lives.serving(morning) as (_, url):
        lives.fault(url, "symbol_limit", n=1)
        with pytest.raises(BadInput, match="symbol limit exceeded"), recording(tmp_path / "r", url) as r:
            assert wait(lambda: r._full or r._failed)
