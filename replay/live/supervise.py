"""A parent that starts the process that trades, and starts it again when it was killed, crashed, or hangs.

The child beats through a pipe: first its journal's folder, then a byte a second, from its safety
thread. Where that stops, nothing in the process runs any more: its run is marked as killed, so that
the next one cancels everything and waits for an operator, and the process is ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from replay.live import kill_mark
from replay.live.disk import Disk
from replay.live.safety import HEARTBEAT

IN_ORDER = (0, 2, 130)  #: it ended, refused to begin or to go on, or was interrupted: nothing that a restart would mend
FIRST_S, MOST_S = 1.0, 60.0  #: between two starts; doubled where one lived for less than `MOST_S`
SILENT_S = 20.0  #: without a heartbeat


def supervise(args: Sequence[str], silent_s: float = SILENT_S) -> int:
    """Run ``replay ARGS`` until it ends in order; SIGTERM and SIGINT are passed on.

    Returns its exit code; 128 + N where signal N ended it. Only a run that ended in order gives 0.
    """
    pause, asked = FIRST_S, False
    child: subprocess.Popen | None = None

    def passed_on(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        if child is not None:
            child.send_signal(signal.SIGTERM)

    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, passed_on)
    while True:
        began = time.monotonic()
        read, write = os.pipe()
        child = subprocess.Popen(
            [sys.executable, "-m", "replay", *args], start_new_session=True, pass_fds=[write],
            env={**os.environ, HEARTBEAT: str(write)},
        )  # fmt: skip
        os.close(write)
        code = _watched(child, read, silent_s)
        os.close(read)
        code = code if code >= 0 else 128 - code
        if code in IN_ORDER or asked:
            return code
        pause = FIRST_S if time.monotonic() - began > MOST_S else pause
        what = f"signal {code - 128}" if code > 128 else f"exit code {code}"
        print(f"ended by {what}; started again in {pause:.0f} s", file=sys.stderr, flush=True)
        time.sleep(pause)
        if asked:
            return code
        pause = min(2 * pause, MOST_S)


def _watched(child: subprocess.Popen, read: int, silent_s: float) -> int:
    """Wait for the child's end; one whose heart has stopped is killed. Returns its exit code."""
    heard, last = b"", 0.0
    while True:
        ready, _, _ = select.select([read], [], [], 1.0)
        data = os.read(read, 4096) if ready else b""
        if data:
            heard, last = (heard + data)[:4096] if b"\n" not in heard else heard, time.monotonic()
        elif ready or child.poll() is not None:
            return child.wait()
        if last and time.monotonic() - last > silent_s:
            last = 0.0
            print(f"no heartbeat for {silent_s:g} s: killed", file=sys.stderr, flush=True)
            with contextlib.suppress(OSError):
                folder = Path(heard.split(b"\n")[0].decode())
                kill_mark.write(Disk(folder), kill_mark.KillMark(f"no heartbeat for {silent_s:g} s"))
            child.kill()
