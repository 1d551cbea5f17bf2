"""One process at a time on a journal, and one on an account."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from replay.errors import BadInput

_held: list[int] = []


def hold(path: Path, what: str, how: str = "replay status, replay kill") -> int:
    """Take the lock at `path` until this process ends, however it ends. Raises `BadInput` naming who holds it, and `how`
    that is stopped. Returns the lock's file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(file, 32).decode(errors="replace").strip()
        os.close(file)
        raise BadInput(f"{what} is in use by process {owner or 'unknown'}: stop that one first ({how})") from None
    os.ftruncate(file, 0)
    os.write(file, f"{os.getpid()}\n".encode())
    _held.append(file)
    return file


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """One process at a time on a folder of data that it adds to. Raises `BadInput`."""
    file = hold(folder / "lock", f"the folder {folder}", "or choose another --out")
    try:
        yield
    finally:
        _held.remove(file)
        os.close(file)


def hold_journal(folder: Path) -> None:
    """One process on a journal."""
    hold(folder / "lock", f"the journal {folder}")


def hold_account(broker: str, account: str, url: str | None) -> None:
    """One process on an account, of this user on this machine, whatever journals they have."""
    name = hashlib.sha256(f"{broker} {account} {url}".encode()).hexdigest()[:16]
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # not the environment's, which two shells may have different
    hold(home / ".local" / "state" / "replay" / "accounts" / name, f"account {account}")


def release() -> None:
    """Let go of every lock, for processes that go on afterwards."""
    while _held:
        os.close(_held.pop())
