"""The local server in a process of its own, as ``replay serve`` starts it, and a run against it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

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


@contextlib.contextmanager
def serving(session: Session, into: Path, speed: str) -> Iterator[str]:
    """Serve a session; yields the address. Raises `BadInput` where the server does not come up."""
    path = into / "session"
    session.save(path)
    command = [sys.executable, "-m", "replay", "serve", str(path), "--trust", "--port", "0"]
    command += ["--speed", speed, "--rules", "open", "--rate-limit", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    try:
        found = STARTED.search(process.stdout.readline())
        if found is None:
            process.kill()
            raise BadInput(f"the local server did not start: {process.stderr.read()[-200:]}")
        yield found[1]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def asked(url: str, what: str) -> dict:
    """An answer of the server's own endpoints."""
    return requests.get(f"{url}/replay/v1/{what}", headers=KEYS, timeout=60).json()


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
