"""The disk is full at every write of a command: a file system of its own, filled up to some pages. Used by ``python tests/attacks.py
disk-full``; needs Linux and ``unshare``.

What runs to its end (`run`, `import`) says so in one line, with exit code 2, and leaves what was there as it was. What goes on until it is
told to end (`record`, `paper`) begins on a full disk, and meets one while it writes: it ends with one line and exit code 2, no order works
any more, what it has written is whole, and with the space given back it goes on.
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import kills
import requests
from commands import command
from hangs import RESTART_S, SPEED, Forked, Process, orders, until
from papers import working

from replay.data.synth import equity_day
from replay.live import recovery
from replay.live.disk import Disk

PAGE = 4096
#: of room left: each page up to where the tables of a run end, then steps within its page of a report, which is one write
PAGES = (*range(80), *range(80, 640, 40))
BEGINNING, GOING_ON = (0, 1, 2, 4, 8, 16, 32), (0, 1, 2, 4)
RUN = ["run", "s", "-s", "ema_cross", "-p", "fast=5", "-p", "slow=9", "-p", "warmup=9", "--out"]


def fill(place: Path, free: int) -> None:
    """Leave so many bytes of the disk free."""
    left = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
    with open(place / "filler", "wb") as f:
        os.posix_fallocate(f.fileno(), 0, max(1, left - free))


def contents(place: Path) -> dict[str, bytes]:
    return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def short_works(place: Path) -> list[str]:
    """`run`, into a new folder and over a run that stands there, and `import`; what was wrong."""
    equity_day(("A", "B"), 3_000, seed=3).save(place / "s")
    bars = [f"2026-03-02T{14 + k // 60:02}:{k % 60:02}:00Z,A,10,11,9,10,100\n" for k in range(400)]
    (place / "bars.csv").write_text("ts_event,symbol,open,high,low,close,volume\n" + "".join(bars))
    (place / "others").write_text("somebody else's")
    assert command([*RUN, "old"])[0] == 0
    (place / "old" / "notes.md").write_text("somebody else's")
    wrong = []
    for name, args in (
        ("run", [*RUN, "new"]),
        ("import", ["import", "bars.csv", "new", "--interval", "1m"]),
        ("run over a run", [*RUN, "old"]),
    ):
        wrong += _each_page(place, name, args)
    return wrong


def _each_page(place: Path, name: str, args: list[str]) -> list[str]:
    before, wrong = contents(place), []
    for page in PAGES:
        fill(place, page * PAGE)
        code, _, err = command(args)
        (place / "filler").unlink()
        if code == 0:
            break
        if code != 2 or err.count("\n") != 1 or "Traceback" in err:
            wrong.append(f"{name}, {page} pages left: exit code {code}: {err[-300:]}")
        if (now := contents(place)) != before:
            wrong.append(
                f"{name}, {page} pages left: changed: {sorted(k for k in {*now, *before} if now.get(k) != before.get(k))}"
            )
            break
    else:
        wrong.append(f"{name}: not done with {page} pages left")
    print(f"  {name}: full at {PAGES.index(page)} places, then done", flush=True)
    shutil.rmtree(place / "new", ignore_errors=True)
    return wrong


class Recording(Forked):
    """``replay record`` in a forked process."""

    def start(self):
        self.args = ["record", "--symbols", "AAPL", "--url", self.url, "--out", str(self.journal), "--json"]
        super().start()


def long_works(place: Path, elsewhere: Path) -> list[str]:
    """`record` and `paper`; what was wrong."""
    day, address, wrong = equity_day(n_events=20_000, seed=4), elsewhere / "url", []
    server = Process(lambda: kills.serve(day, SPEED, address))
    try:
        url = until(lambda: address.exists() and address.read_text(), "the server", RESTART_S)
        requests.get(f"{url}/replay/v1/state", timeout=60)
        for kind in (Forked, Recording):
            cases = [(True, pages) for pages in BEGINNING] + [(False, pages) for pages in GOING_ON]
            for beginning, pages in cases:
                number = len(list(elsewhere.iterdir()))
                what = f"{'paper' if kind is Forked else 'record'}, {pages} pages left {'at its start' if beginning else 'on the way'}"
                try:
                    _one(kind, url, place, elsewhere / str(number), beginning, pages)
                except Exception as e:
                    wrong.append(f"{what}: {type(e).__name__}: {e}")
            print(f"  {'paper' if kind is Forked else 'record'}: full at {len(cases)} places", flush=True)
    finally:
        server.kill()
        server.wait(60)
    return wrong


def _one(kind, url: str, place: Path, folder: Path, beginning: bool, pages: int) -> None:
    folder.mkdir()
    keys = {"APCA-API-KEY-ID": f"full-{folder.name}", "APCA-API-SECRET-KEY": "s"}
    if beginning:
        fill(place, pages * PAGE)
    p = kind(folder, url, "Sleeps", "-p", "after=1000000", keys=keys, journal=place / f"of-{folder.name}")
    try:
        if not beginning:
            ready = (lambda: orders(url, keys)) if kind is Forked else (lambda: any(p.journal.rglob("*.raw")))
            until(ready, "it writes", RESTART_S)
            fill(place, pages * PAGE)
        code = p.process.wait(RESTART_S)
        said = [line for line in p.said().splitlines() if not line.startswith("{")]
        assert code == 2 and "Traceback" not in p.said(), f"exit code {code}: {p.said()[-1500:]}"
        assert len([line for line in said if line.startswith("error: ")]) == 1, said
        (place / "filler").unlink()
        if kind is Forked:
            assert not working(url, keys), "an order works"
            _goes_on(p)
        else:
            p.start()
            until(lambda: p.said().count('"what"') > 1 and p.process.poll() is None, "it records again", RESTART_S)
    finally:
        p.end()
        (place / "filler").unlink(missing_ok=True)
        shutil.rmtree(p.journal, ignore_errors=True)


def _goes_on(p: Forked) -> None:
    """With room again the journal is whole, and a trader goes on with it or begins it."""
    if recovery.begun(Disk(p.journal)):
        assert recovery.verify(Disk(p.journal)).identical
    p.start()
    until(p.status, "it goes on", RESTART_S)
    p.process.send_signal(signal.SIGTERM)
    assert p.process.wait(RESTART_S) == 0, p.said()[-1500:]
    assert recovery.verify(Disk(p.journal)).identical


def everywhere() -> list[str]:
    """What was wrong, in a mount that this process sees alone."""
    import subprocess

    import hangs

    hangs.warm()
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as elsewhere:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", name], check=True)
        os.chdir(name)
        tempfile.tempdir = name  # what a run spools is on it too
        try:
            return [*long_works(Path(name), Path(elsewhere)), *short_works(Path(name))]
        finally:
            tempfile.tempdir = None
            os.chdir("/")
            subprocess.run(["umount", name], check=True)
