"""`replay serve` as a process: its address, its log, its end; what it refuses; and that no key is ever written."""

import datetime
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
requests = pytest.importorskip("requests")

ROOT = Path(__file__).parents[1]
DAY = str(ROOT / "fixtures" / "equity-day")
KEY, SECRET, TOKEN = "PKPLANTEDKEY", "planted-secret-4711", "planted-token-0815"


def start(*args, **env):
    return subprocess.Popen(
        [sys.executable, "-m", "replay", "serve", DAY, "--port", "0", "--trust", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **env},
    )


def address(process):
    line = process.stdout.readline()
    found = re.search(r"http://\S+:\d+", line)
    assert found, (line, process.stderr.read())
    return found[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop_and_writes_no_key(number):
    process = start("--speed", "600", REPLAY_TOKEN=TOKEN)
    url = address(process)
    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": TOKEN}
    body = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
    answers = [
        requests.post(f"{url}/v2/orders", json=body, headers=headers, timeout=180),
        requests.get(f"{url}/v2/account", headers={**headers, "APCA-API-SECRET-KEY": SECRET}, timeout=180),
        requests.get(f"{url}/replay/v1/state", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=180),
        requests.get(f"{url}/v2/account", headers=headers, timeout=180),
    ]
    assert [a.status_code for a in answers] == [200, 401, 200, 200]
    process.send_signal(number)
    out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, "")
    written = out + err + "".join(a.text for a in answers)
    assert not [secret for secret in (KEY, SECRET, TOKEN) if secret in written]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--speed", "-1"], "--speed: expected a number above 0"),
        (["--now", "--speed", "60"], "leave --speed at 1"),
        (["--host", "0.0.0.0"], "add --token"),
        (["--latency", "soon"], "latency"),
        (["--initial-capital", "much"], "--initial-capital"),
        (["--fill", "realistic", "--queue", "log"], "hftbacktest"),
        (["--from", "2030-01-01"], "no event between"),
    ],
)
def test_what_it_refuses(args, words):
    process = start(*args)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2 and out == ""
    assert err.startswith("error: ") and words in err and err.count("\n") == 1


def test_a_port_that_is_taken_is_one_line():
    first = start()
    url = address(first)
    second = start("--port", url.rpartition(":")[2])
    out, err = second.communicate(timeout=120)
    first.terminate()
    first.communicate(timeout=180)
    assert second.returncode == 2 and err.startswith("error: port ") and "--port" in err


def test_a_session_moved_to_now():
    """Session time is this machine's from the beginning, though nobody has asked for anything; and what is not as usual is said."""
    process = start("--now", "--rules", "open")
    url = address(process)
    rules = process.stdout.readline()
    keys = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    for _ in range(2):
        time.sleep(0.2)
        timestamp = requests.get(f"{url}/v2/clock", headers=keys, timeout=180).json()["timestamp"]
        assert abs(datetime.datetime.fromisoformat(timestamp).timestamp() - time.time()) < 5
    assert requests.get(f"{url}/v1beta1/news", headers=keys, timeout=180).status_code == 501
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, "")
    assert rules.startswith("rules     open: ") and "not served GET /v1beta1/news: a session holds no news" in out
