"""``replay paper`` as an operator has it: a process of its own against the local server, its strategy one that hangs (`hanging.py`)."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import lives
import requests

HANGING = Path(__file__).with_name("hanging.py")
HERE = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])


class Paper:
    """``replay paper`` in a process, its strategy from `hanging.py`."""

    def __init__(self, folder, url, strategy, *options, limits="max_position = 1000\n", keys=lives.HEADERS, journal=None):
        (folder / "limits.toml").write_text(limits)
        self.folder, self.url, self.journal, self.keys = folder, url, journal or folder / "journal", keys
        self.args = [
            "paper", "-s", f"{HANGING}:{strategy}", "--symbols", "AAPL", "--limits", "limits.toml", "--url", url,
            "--journal", str(self.journal), "--rate-limit", "0", "--json", *options,
        ]  # fmt: skip
        self.start()

    def start(self):
        keys = dict(zip(("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"), self.keys.values(), strict=True))
        with open(self.folder / "log", "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "replay", *self.args],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, **keys, "PYTHONPATH": HERE},
            )

    def operate(self, word, *options):
        return subprocess.run(
            [sys.executable, "-m", "replay", word, str(self.journal), *options],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=90,
        )

    def hung(self):
        """Wait until its order works and it hangs: its journal no longer grows."""
        wait(lambda: working(self.url, self.keys), self)
        wait(lambda: (self.journal / "control").exists(), self)
        size, since = 0, time.monotonic()
        while time.monotonic() - since < 5:  # a hundred seconds of the session
            now = sum(path.stat().st_size for path in self.journal.glob("segment-*"))
            size, since = now, since if now == size else time.monotonic()
            time.sleep(0.1)

    def said(self):
        return (self.folder / "log").read_text()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)


def working(url, keys=lives.HEADERS):
    """The orders of an account that work at the broker."""
    return requests.get(f"{url}/v2/orders", headers=keys, timeout=10).json()


def wait(what, paper=None, seconds=120):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, paper.said()[-3000:] if paper else what
        assert paper is None or paper.process.poll() is None, paper.said()[-3000:]
        time.sleep(0.1)
    return found


def restarted_killed(p):
    """The next process on the journal comes up killed, and nothing works."""
    p.start()
    wait(lambda: '"resumed"' in p.said(), p)
    status = wait(lambda: (r := p.operate("status", "--json")).returncode == 0 and json.loads(r.stdout), p)
    assert status["state"] == "killed" and not working(p.url, p.keys)
