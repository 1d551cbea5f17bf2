"""A parent that starts the process that trades, and starts it again when it was killed or crashed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence

IN_ORDER = (0, 2, 130)  #: it ended, refused to begin or to go on, or was interrupted: nothing that a restart would mend
FIRST_S, MOST_S = 1.0, 60.0  #: between two starts; doubled where one lived for less than `MOST_S`


def supervise(args: Sequence[str]) -> int:
    """Run ``replay ARGS`` until it ends in order; SIGTERM and SIGINT are passed on. Returns its exit code."""
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
        child = subprocess.Popen([sys.executable, "-m", "replay", *args], start_new_session=True)
        code = child.wait()
        if code in IN_ORDER or asked:
            return max(code, 0)
        pause = FIRST_S if time.monotonic() - began > MOST_S else pause
        what = f"signal {-code}" if code < 0 else f"exit code {code}"
        print(f"ended by {what}; started again in {pause:.0f} s", file=sys.stderr, flush=True)
        time.sleep(pause)
        if asked:
            return 0
        pause = min(2 * pause, MOST_S)
