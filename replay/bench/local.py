"""The local server in a process of its own, as ``replay serve`` starts it, and a run against it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import requests

from replay.data.session import Session
from replay.errors import BadInput
from replay.live.paper import Order

KEYS = {"APCA-API-KEY-ID": "bench", "APCA-API-SECRET-KEY": "bench"}
STARTED = re.compile(r" at (http://\S+), speed")


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A scratch folder for session and journal, on the disk of the working directory, so that what is durable is so on it."""
    with tempfile.TemporaryDirectory(prefix=".replay-bench-", dir=".") as name:
        yield Path(name)


class Served(NamedTuple):
    """The address of the server, its process, and the folder of the session it serves."""

    url: str
    pid: int
    session: Path


@contextlib.contextmanager
def serving(session: Session, into: Path, speed: str) -> Iterator[Served]:
    """Serve a session from `into`. Raises `BadInput` where the server does not come up."""
    path, log = into / "session", into / "server.log"
    session.save(path)
    del session
    command = [sys.executable, "-m", "replay", "serve", str(path), "--trust", "--port", "0"]
    command += ["--speed", speed, "--rules", "open", "--rate-limit", "0"]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        while (found := STARTED.search(log.read_text())) is None:
            if process.poll() is not None:
                raise BadInput(f"the local server did not start: {log.read_text()[-200:]}")
            time.sleep(0.05)
        yield Served(found[1], process.pid, path)
    finally:
        process.terminate()
        process.wait(30)


def asked(url: str, what: str) -> dict | list:
    """An answer of the server: ``replay/v1/state``, ``v2/positions``."""
    return requests.get(f"{url}/{what}", headers=KEYS, timeout=60).json()


def order(into: Path, url: str, symbols: list[str], strategy: str, params: dict[str, str]) -> Order:
    """What `replay paper` is asked for."""
    keys, limits = into / "keys.toml", into / "limits.toml"
    keys.write_text("".join(f'{name.replace("-", "_")} = "{value}"\n' for name, value in KEYS.items()))
    keys.chmod(0o600)
    limits.write_text("max_position = 1000000000\n")
    return Order(
        strategies=[(strategy, params)],
        symbols=symbols,
        limits=limits,
        journal=into / "journal",
        keys=keys,
        url=url,
        rate_limit=0,
    )
