"""Ctrl-C while compiled code runs: Python's own handler would wait for it, and it may never end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

GRACE_S = 3.0  #: how long a command may take to end in order


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within, a command that has not ended `GRACE_S` after SIGINT is ended, with one line and exit code 130.

    A strategy's compiled handler may loop for ever, and so may a timer that arms itself: no Python runs in
    the main thread then. The signal is seen by a thread of its own, through the descriptor that the
    interpreter's C handler writes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = socket.socketpair()
    write.setblocking(False)
    over = threading.Event()
    before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read, over), name="interrupt", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        write.close()


def _watch(read: socket.socket, over: threading.Event) -> None:
    with read:
        while numbers := read.recv(64):
            if signal.SIGINT in numbers:
                break
        else:
            return
        if not over.wait(GRACE_S):  # further signals have somewhere to go meanwhile
            print("error: interrupted inside a step that does not end: what was not written is lost", file=sys.stderr, flush=True)
            os._exit(130)
