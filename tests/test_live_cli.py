"""`replay paper` and its companions: everything wrong is one line, before anything is sent; no key is ever shown."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("alpaca")
pytest.importorskip("aiohttp")

import lives  # noqa: E402
import requests  # noqa: E402

from replay import cli  # noqa: E402
from replay.data.synth import equity_day  # noqa: E402
from replay.live import lock  # noqa: E402

KEY, SECRET = "PKPLANTEDKEY", "PLANTEDSECRETPLANTED"
PINGER = str(Path(__file__).with_name("pinger.py"))


@pytest.fixture(scope="module")
def url():
    """A server to be refused at: its market need not be open any more."""
    with lives.serving(equity_day(n_events=20_000, seed=4), speed=30.0) as (_, url):
        yield url


@pytest.fixture
def market():
    """A server whose day has just begun: 13 minutes of wall time are left to trade in."""
    with lives.serving(equity_day(n_events=20_000, seed=4), speed=30.0) as (_, url):
        yield url


def read(log, process, enough):
    """Wait until what the process has said is enough; a process that ends before has failed."""
    end = time.monotonic() + 300
    while not enough(text := log.read_text()):
        assert process.poll() is None and time.monotonic() < end, text
        time.sleep(0.1)
    return text


@pytest.fixture
def replay(monkeypatch, capsys, tmp_path):
    """Run a command line; gives (exit code, stdout, stderr)."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limits.toml").write_text("max_position = 1000\n")
    (tmp_path / "other.toml").write_text("max_position = 2000\n")
    (tmp_path / "none.toml").write_text("")
    (tmp_path / "plan.toml").write_text("[[fault]]\nkind = 'disk_full'\n")

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["replay", *args])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert KEY not in out + err and SECRET not in out + err
        return stop.value.code, out, err

    yield call
    lock.release()


def refused(replay, *args):
    code, out, err = replay("paper", *args)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err
    assert not list(Path.cwd().glob("journals/**/segment-*"))
    return err


def asked(url, /, **kw):
    given = {"strategy": "ema_cross", "symbols": "AAPL,MSFT", "limits": "limits.toml", "url": url, "journal": "journals/x"} | kw
    return [part for name, value in given.items() if value for part in (f"--{name.replace('_', '-')}", value)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strategy": None}, "--strategy: name one"),
        ({"symbols": None}, "--symbols: name what to trade"),
        ({"limits": None}, "live trading needs limits"),
        ({"limits": "none.toml"}, "none of its limits is set"),
        ({"limits": "nowhere.toml"}, "nowhere.toml"),
        ({"symbols": "AAPL,NOSUCH"}, "NOSUCH: Alpaca knows no such symbol"),
        ({"strategy": "nosuch"}, "no such file and no such example"),
        ({"url": "http://127.0.0.1:9"}, "no server answers there"),
        ({"config": "nowhere.toml"}, "--config nowhere.toml"),
        ({"real_money": "123"}, "the keys are of another account"),
        ({"keys": "nowhere.toml"}, "nowhere.toml"),
        ({"faults": "nowhere.toml"}, "--faults nowhere.toml"),
        ({"faults": "plan.toml", "url": None}, "--faults: nothing is broken on purpose at a broker"),
        ({"faults": "plan.toml", "real_money": "123"}, "--faults: nothing is broken on purpose at a broker"),
    ],
)
def test_refused(replay, url, change, words):
    assert words in refused(replay, *asked(url, **change))


def test_no_keys(replay, url, monkeypatch):
    monkeypatch.delenv("APCA_API_SECRET_KEY")
    assert "no keys: set APCA_API_KEY_ID" in refused(replay, *asked(url))


def test_keys_that_others_may_read(replay, url):
    Path("keys.toml").write_text(f'APCA_API_KEY_ID = "{KEY}"\nAPCA_API_SECRET_KEY = "{SECRET}"\n')
    Path("keys.toml").chmod(0o644)
    assert "others may read it" in refused(replay, *asked(url, keys="keys.toml"))
    Path("keys.toml").chmod(0o600)
    Path("keys.toml").write_text("APCA_API_KEY_ID = ")
    assert "not a TOML file" in refused(replay, *asked(url, keys="keys.toml"))


def test_keys_that_are_wrong(replay):
    day = equity_day(n_events=500, seed=1)
    with lives.serving(day, token="right") as (_, url):
        assert "the keys are not accepted (401)" in refused(replay, *asked(url))


def test_a_config_file(replay, url):
    Path("run.toml").write_text('strategy = "ema_cross"\nsymbols = ["AAPL"]\nnonsense = 1\n')
    assert "nonsense" in refused(replay, "--config", "run.toml")
    Path("run.toml").write_text('strategy = "ema_cross"\nsymbols = ["NOSUCH"]\nlimits = "limits.toml"\n[params]\nfast = 3\n')
    assert "NOSUCH" in refused(replay, "--config", "run.toml", "--url", url)
    Path("run.toml").write_text('strategy = "ema_cross"\nsymbols = ["NOSUCH"]\nlimits = "limits.toml"\n[params]\nnosuch = 3\n')
    assert "no parameter 'nosuch'" in refused(replay, "--config", "run.toml", "--url", url, "--symbols", "AAPL")


def test_nobody_is_running(replay):
    for word in ("kill", "halt", "resume", "status"):
        code, _, err = replay(word, "journals/none")
        assert (code, "no process runs this journal" in err) == (2, True)


def test_doctor(replay, url):
    code, out, _ = replay("doctor", "--url", url, "--symbols", "MSFT", "--json")
    checks = {c["check"]: c["ok"] for c in json.loads(out)}
    assert code == 0 and checks == dict.fromkeys(("keys", "permissions", "clock", "market", "order"), True)


def test_a_run_from_another_terminal(replay, market, tmp_path):
    """One process trades; others look, are refused, kill; it ends in order, and goes on only as it was."""
    url = market
    args = [sys.executable, "-W", "ignore", "-m", "replay", "paper", *asked(url, strategy=PINGER), "-p", "every=4", "--json"]
    with open(tmp_path / "log", "w") as log:
        first = subprocess.Popen(args, stdout=log, stderr=subprocess.STDOUT)
    try:
        read(tmp_path / "log", first, lambda text: '"what":"new"' in text and '"what":"report"' in text)
        assert "is in use by process" in replay("paper", *asked(url))[2]
        assert "is in use by process" in replay("paper", *asked(url, journal="journals/y"))[2]
        code, out, _ = replay("status", "journals/x", "--json")
        assert code == 0 and json.loads(out)["state"] == "active"
        assert "KILLED" in replay("kill", "journals/x")[1]
    finally:
        first.terminate()
        assert first.wait(180) == 0, (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines[-1]["state"] == "killed" and {"new", "report", "state", "operator", "stopping"} <= {
        line["what"] for line in lines
    }
    assert replay("verify", "journals/x")[1].startswith("identical")
    for change, words in (
        ({"limits": "other.toml"}, "written with other limits"),
        ({"strategy": "ema_cross"}, "written with other strategies or their parameters"),
        ({"symbols": "AAPL"}, "the run trades AAPL, MSFT"),
    ):
        lock.release()
        err = replay(
            "paper", *asked(url, **({"strategy": PINGER} | change)), "-p", "every=4" if "strategy" not in change else "fast=5"
        )[2]
        assert words in err
    for path in Path("journals").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert KEY.encode() not in data and SECRET.encode() not in data, path
    assert KEY not in (tmp_path / "log").read_text() and SECRET not in (tmp_path / "log").read_text()


@contextlib.contextmanager
def supervised(replay, tmp_path, args):
    """A run under its supervisor: (its log, the supervisor). It ends well, and its journal verifies."""
    log = tmp_path / "log"
    command = [sys.executable, "-W", "ignore", "-m", "replay", "paper", *args, "--json", "--supervise"]
    with open(log, "w") as file:
        parent = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield log, parent
    finally:
        parent.terminate()
        assert parent.wait(180) == 0, log.read_text()
    assert replay("verify", "journals/x")[1].startswith("identical")


def test_a_supervisor_starts_it_again(replay, market, tmp_path, monkeypatch):
    """The process that trades is killed with SIGKILL: another goes on with its journal; SIGTERM ends both in order."""
    monkeypatch.setenv("APCA_API_KEY_ID", "PKSUPERVISED")
    with supervised(replay, tmp_path, asked(market, strategy=PINGER)) as (log, parent):
        for k in range(2):
            read(log, parent, lambda text, k=k: text.count('"stream":"market data","up":true') > k)
            if k == 0:
                os.kill(int(Path("journals/x/lock").read_text()), signal.SIGKILL)
        assert "ended by signal 9; started again in 1 s" in log.read_text() and '"what":"resumed"' in log.read_text()


def test_a_plan_crashes_it_and_the_supervisor_starts_it_again(replay, market, tmp_path, monkeypatch):
    """The process kills itself at the planned time, once; what goes on has the same journal, and says whose the other faults are."""
    monkeypatch.setenv("APCA_API_KEY_ID", "PKPLANNED")
    (tmp_path / "plan.toml").write_text("[[fault]]\nkind = 'crash'\nat = '+8s'\n[[fault]]\nkind = 'feed_gap'\n")
    Path("run.toml").write_text('faults = "plan.toml"\n')
    with supervised(replay, tmp_path, asked(market, strategy=PINGER, config="run.toml")) as (log, parent):
        read(log, parent, lambda text: text.count('"stream":"market data","up":true') > 1)
        text = log.read_text()
        assert "ended by signal 9; started again in 1 s" in text and '"what":"resumed"' in text
        assert "feed_gap: left to the server: replay serve --faults" in text and text.count('"kind":"crash"') == 1
        until = text.count('"what":"report"')
        read(log, parent, lambda text: text.count('"what":"report"') > until)


def test_a_plan_fills_the_disk(replay, market, tmp_path, monkeypatch):
    """With orders working: nothing new goes out, they are cancelled, the run ends in one line, and can be gone on with."""
    monkeypatch.setenv("APCA_API_KEY_ID", "PKFULLDISK")
    headers = lives.HEADERS | {"APCA-API-KEY-ID": "PKFULLDISK"}
    (tmp_path / "plan.toml").write_text("[[fault]]\nkind = 'disk_full'\nfrom = '+8s'\n")
    args = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "replay",
        "paper",
        *asked(market, strategy=PINGER, faults="plan.toml"),
        "--json",
    ]
    done = subprocess.run(args, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 2 and '"what":"new"' in done.stdout, done.stderr
    assert done.stderr.count("\n") == 1 and "error: the journal could not be written (No space left on device)" in done.stderr

    def working():
        return requests.get(f"{market}/v2/orders", headers=headers, params={"status": "open"}, timeout=60).json()

    lives.until(lambda: not working(), 10)
    v = json.loads(replay("verify", "journals/x", "--json")[1])
    assert v["identical"]
