"""The operator's door: a unix socket in the journal's folder, one JSON object a line each way."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from replay.errors import UNREADABLE, BadInput
from replay.events import OP_HALT, OP_KILL, OP_RESUME
from replay.live.broker import Control

if TYPE_CHECKING:
    from replay.live.safety import Safety

SOCKET = "control"
OPS = {"kill": OP_KILL, "halt": OP_HALT, "resume": OP_RESUME, "status": 0, "stop": 0}
ANSWER_S = 30.0  #: the safety path answers long before
LINE = 4096  #: characters of what an operator says


class Door:
    """Listens in a thread; what operators ask goes to `put` as `Control`, and what it replies goes back."""

    def __init__(self, folder: Path, put: Callable[[object], None], safety: Safety | None = None):
        self.path, self.put, self.safety = folder / SOCKET, put, safety
        self.path.unlink(missing_ok=True)  # the lock says that nobody else listens
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)  # from its first moment nobody else may connect
        try:
            with _short(self.path) as name:
                self._server.bind(name)
        finally:
            os.umask(mask)
        self._server.listen()
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), name="operator", daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            lines = peer.makefile("r", errors="replace")
            while line := lines.readline(LINE):
                peer.sendall(json.dumps(self._answer(line)).encode() + b"\n")

    def _answer(self, line: str) -> dict:
        try:
            word = json.loads(line)["do"]
        except (*UNREADABLE, KeyError, TypeError):
            return {"error": 'expected {"do": "kill"}'}
        if not isinstance(word, str) or word not in OPS:
            return {"error": f"expected one of {', '.join(OPS)}, got {word!r}"}
        answer: queue.SimpleQueue = queue.SimpleQueue()
        unmarked = {}
        if word == "kill" and self.safety is not None:
            try:
                self.safety.ask_kill(word, answer.put, OPS[word])
            except OSError as e:
                unmarked = {"unmarked": f"the kill mark could not be written ({e.strerror})"}
        elif word == "stop" and self.safety is not None:
            self.safety.ask_stop(word)
            return {"stopping": True}
        else:
            self.put(Control(OPS[word], word, answer.put))
        end = time.monotonic() + ANSWER_S
        while time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                return answer.get(timeout=0.1) | unmarked
            if self.safety is not None and (done := self.safety.acted(0.0)) is not None:
                left = list(done.left)
                return {"safety": str(done), "cancelled": done.cancelled, "closed": done.closed, "left": left} | unmarked
        return {"error": f"no answer within {ANSWER_S:.0f} s: the strategy may hang; it was asked"} | unmarked

    def close(self) -> None:
        """Stop listening."""
        self._server.close()
        self.path.unlink(missing_ok=True)


def ask(folder: Path, word: str) -> dict:
    """Say a word to the process that runs the journal. Raises `BadInput` where none does."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(ANSWER_S + 5)
    with peer:
        try:
            with _short(folder / SOCKET) as name:
                peer.connect(name)
        except OSError:
            raise BadInput(f"{folder}: no process runs this journal: check the path, or start it with replay paper") from None
        peer.sendall(json.dumps({"do": word}).encode() + b"\n")
        answer = json.loads(peer.makefile("r").readline() or '{"error": "the process ended"}')
    if "error" in answer:
        raise BadInput(f"{folder}: {answer['error']}")
    return answer


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for a socket within the hundred bytes that the system allows."""
    if len(str(path)) < 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
