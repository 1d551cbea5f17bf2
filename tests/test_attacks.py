"""A slice of ``python tests/attacks.py``, and the kinds of fault that it found."""

import json
import os
import shutil
import socket
import time

import pytest

pytest.importorskip("alpaca")
pytest.importorskip("aiohttp")

import desks  # noqa: E402
import hangs  # noqa: E402
import lives  # noqa: E402
import mutated  # noqa: E402
from commands import command  # noqa: E402

from replay.data import store  # noqa: E402
from replay.data.session import Session  # noqa: E402
from replay.data.synth import equity_day  # noqa: E402
from replay.errors import BadInput  # noqa: E402
from replay.live import recovery, status, uptime  # noqa: E402
from replay.live.disk import Disk  # noqa: E402
from replay.runs.result import Result  # noqa: E402


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacks") / "journal"
    desks.write(folder, desks.engine(400)[1]).close()
    return folder


def test_damaged_folders_are_refused_or_make_no_difference(tmp_path):
    said = []
    found = mutated.series(40, 1, tmp_path, say=said.append)
    assert not found["WRONG"], said
    assert found["refused"] > 10 and found["equal"] > 2, found


@pytest.mark.parametrize("damage", [mutated.flip, mutated.cut, mutated.zero, mutated.value])
def test_each_kind_of_damage_to_a_text_is_one(tmp_path, damage):
    path = tmp_path / "a.json"
    text = json.dumps({"a": [1, 2, {"b": "c"}], "d": 3.5}, indent=1)
    rng, made = mutated.random.Random(2), set()
    for _ in range(30):
        path.write_text(text)
        damage(path, bytearray(text.encode()), rng, [path])
        made.add(path.read_bytes())
    assert len(made) > 10


def test_a_journal_whose_end_is_torn_says_so_wherever_it_is_read(journal, tmp_path):
    torn = tmp_path / "torn"
    shutil.copytree(journal, torn)
    segment = torn / "segment-000001.log"
    segment.write_bytes(segment.read_bytes()[:-7])
    assert Result.open(journal).unread == "" and "bytes are not used" in Result.open(torn).unread
    assert "journal_bytes_not_used" not in recovery.session_of(Disk(journal)).manifest.anomalies
    assert recovery.session_of(Disk(torn)).manifest.anomalies["journal_bytes_not_used"] > 0
    for args in (["sql", torn, "select count(*) from fills"], ["diff", torn, torn], ["report", torn]):
        code, _, err = command([*map(str, args), "--trust"])
        assert code == 0 and "warning: " in err and "bytes are not used" in err, (args, err)


def test_a_journal_that_is_damaged_before_its_end_is_no_session(journal, tmp_path):
    shutil.copytree(journal, tmp_path / "damaged")
    segment = tmp_path / "damaged" / "segment-000001.log"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    with pytest.raises(BadInput, match="replay verify says more"):
        recovery.session_of(Disk(tmp_path / "damaged"))


def test_a_pipe_is_no_file_of_a_session(tmp_path):
    rows = equity_day(("A",), 300, seed=3).events.copy()
    rows.ts_event[200] = rows.ts_event[199] - 1  # so that there is an order.bin
    day = Session.from_rows(rows, equity_day(("A",), 300, seed=3).instruments)
    for format, names in (("bin", (store.ROWS, store.ORDER)), ("parquet", (store.ARCHIVE,))):
        for name in names:
            day.save(tmp_path / name, format)
            (tmp_path / name / name).unlink()
            os.mkfifo(tmp_path / name / name)
            with pytest.raises(BadInput, match="pipe"):
                Session.open(tmp_path / name)


def test_a_status_that_was_changed_is_refused_and_its_minutes_begun_anew(tmp_path):
    crash = mutated.crashing
    life = crash.Life(mutated.SimulatedDisk(tmp_path / "killed"))
    life.start(crash.strategies())
    life.trade(crash.KILL_AT)
    folder = tmp_path / "killed"
    assert status.read_status(folder)["state"] == "killed" and uptime.Uptime.read(folder).at
    for name, other in ((status.FILE, b'"state":"killed"'), (uptime.FILE, b'"at":1')):
        text = (folder / name).read_bytes()
        assert text.count(other) == 1
        (folder / name).write_bytes(text.replace(other, other.replace(b"killed", b"active").replace(b":1", b":2")))
    with pytest.raises(BadInput, match="changed since it was written"):
        status.read_status(folder)
    assert uptime.Uptime.read(folder) == uptime.Uptime()


def test_hangs_and_crashes_end_safe(tmp_path):
    """Three of the two hundred that ``python tests/attacks.py kill 200`` does."""
    safe, _, wrong = hangs.series(3, 7, 2, tmp_path)
    assert not wrong and sum(safe.values()) == 3


def test_a_client_that_goes_before_its_stream_is_answered_makes_no_traceback(caplog):
    with lives.serving(equity_day(n_events=500, seed=4), speed=1.0) as (server, url):
        host, port = url.removeprefix("http://").split(":")
        for _ in range(40):
            peer = socket.create_connection((host, int(port)))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closed by a reset
            key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            peer.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + key)
            peer.close()
        time.sleep(0.5)
        assert not server.trade_streams
    assert "Traceback" not in caplog.text
