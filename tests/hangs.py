"""Traders that hang, raise or die at a random moment with an order at the broker, and what then makes them safe. Used by
``python tests/attacks.py kill``.

All processes are forked from one that has everything imported and compiled, so that a start takes a fraction of a second; only what a
supervisor starts begins at the beginning, as it does for an operator.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import kills
import requests
from papers import HANGING, HERE, Paper, working

from replay.cli import main
from replay.data.synth import equity_day
from replay.errors import BadInput
from replay.live.control import ask
from replay.live.safety import STACK

SPEED = 20.0  #: of the day
ACCOUNTS = 60  #: a server holds 64
WATCHDOG_S, NEVER_S = 2, 600  #: how long a step may take, where the watchdog is what kills and where it is not
SAFE_S = 15.0  #: stated: 3 s until the run counts as hung, then one round of cancels; the rest is for a busy machine
RESTART_S = 90.0  #: a process comes up within it, on a busy machine
HANG, RAISE = ("Sleeps", "Spins", "Loops"), ("Raises", "Divides")
DEEDS = ("operator", "watchdog", "SIGTERM", "SIGKILL", "operator and SIGKILL")


class Process:
    """A forked one, as `subprocess` has them."""

    def __init__(self, work):
        sys.stdout.flush()
        self.pid, self.code = kills.fork(work), None

    def poll(self):
        if self.code is None and (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.code = os.waitstatus_to_exitcode(found[1])
        return self.code

    def wait(self, seconds):
        until(lambda: self.poll() is not None, "a process ends", seconds)
        return self.code

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Forked(Paper):
    """``replay paper`` by its command line, in a forked process; a supervisor's child is a process of its own."""

    def start(self):
        self.process = Process(self._work)

    def _work(self):
        os.chdir(self.folder)
        os.environ.update(zip(("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"), self.keys.values(), strict=True), PYTHONPATH=HERE)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv = ["replay", *self.args]
        try:
            main()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code or 0)

    @property
    def supervised(self):
        return "--supervise" in self.args

    def trader(self):
        """The process that trades, None while there is none."""
        if self.process.poll() is not None:
            return None
        if not self.supervised:
            return self.process.pid
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else None

    def shoot(self):
        """SIGKILL for the process that trades."""
        if pid := self.trader():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def end(self):
        """SIGKILL for all of it; the supervisor stands still first, so that it starts nothing in between."""
        self.process.send_signal(signal.SIGSTOP)
        child = self.trader()
        if child and child != self.process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.process.kill()
        self.process.wait(60)

    def up(self):
        """How often a process has gone on with the journal, and lives."""
        return self.said().count('"resumed"')

    def status(self):
        with contextlib.suppress(BadInput, OSError, ValueError):
            return ask(self.journal, "status")
        return {}


def until(what, said, seconds):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"waited {seconds:g} s in vain: {said}"
        time.sleep(0.05)
    return found


def drawn(rng):
    """(strategy, what ends it, whether there is a supervisor)."""
    supervised = rng.random() < 0.3
    strategy = rng.choice((*HANG, *HANG, *RAISE, "Dies", *(("Holds",) if supervised else ())))
    deed = {"Raises": "itself", "Divides": "itself", "Holds": "supervisor", "Dies": "operator"}.get(strategy)
    return strategy, deed or rng.choice(DEEDS), supervised


def attack(number, seed, url, place):
    """One: (what was done, seconds until nothing worked any more). Raises `AssertionError` with what got through."""
    rng = random.Random(f"{seed}-{number}")
    strategy, deed, supervised = drawn(rng)
    keys = {"APCA-API-KEY-ID": f"attack-{number}", "APCA-API-SECRET-KEY": "s"}
    folder = place / str(number)
    folder.mkdir()
    hang = WATCHDOG_S if deed == "watchdog" else NEVER_S
    options = [f"--hang={hang}", "-p", f"after={rng.randrange(6, 120)}", *(["--supervise"] if supervised else [])]
    p = Forked(folder, url, strategy, *options, keys=keys)
    what = (
        f"{'compiled' if strategy in ('Loops', 'Divides') else 'plain'} {strategy}, {deed}{', supervised' if supervised else ''}"
    )
    try:
        until(lambda: again(p) or orders(url, keys), "its order is at the broker", RESTART_S)
        time.sleep(rng.random() * 4)
        began = do(deed, p)
        until(lambda: not working(url, keys), "nothing works any more", SAFE_S)
        took = time.monotonic() - began
        if deed == "SIGTERM":
            persist(p)
        for _ in range(1 if supervised else 2):
            restarted(p, url, keys)
        return what, took
    except AssertionError as e:
        raise AssertionError(f"{number}: {what}: {e}\n{p.said()[-2000:]}") from None
    finally:
        p.end()


def do(deed, p):
    """Do it; since when the trader has to become safe."""
    if deed == "SIGTERM":
        p.process.send_signal(signal.SIGTERM)
    elif deed == "SIGKILL":
        p.shoot()
        persist(p)
    elif deed.startswith("operator"):
        began = persist(p)
        if deed == "operator":
            return began
        up = p.up()
        p.shoot()
        until(lambda: p.up() > up or not working(p.url, p.keys) or again(p), "it comes up again", RESTART_S)
    elif deed == "watchdog":
        until((p.journal / STACK).exists, "the watchdog sees it", RESTART_S)
    elif deed == "supervisor":
        until(lambda: "no heartbeat" in p.said(), "its supervisor sees it", RESTART_S)
        up = p.up()
        until(lambda: p.up() > up or not working(p.url, p.keys), "it comes up again", RESTART_S)
    else:  # what it raises ends it
        until(lambda: p.status().get("state") == "killed" or not working(p.url, p.keys), "the trader kills itself", RESTART_S)
    return time.monotonic()


def again(p):
    """Start it, where nobody else does and nothing runs."""
    if p.process.poll() is not None:
        p.start()
        time.sleep(0.5)


def persist(p):
    """An operator's kill, asked for until it is taken: of a process that ends or starts just then there is nobody to take it. Returns
    when it was asked for the last time."""

    def taken():
        nonlocal began
        again(p)
        began = time.monotonic()
        with contextlib.suppress(BadInput, OSError, ValueError):
            return ask(p.journal, "kill")

    began = 0.0
    until(taken, "a kill is taken", RESTART_S)
    return began


def restarted(p, url, keys):
    """Shot and started again, it is killed, nothing works, and nothing was sent a second time."""
    p.end()
    p.start()
    status = until(p.status, "it comes up again", RESTART_S)
    time.sleep(0.5)  # ten seconds of the session, in which it could send something
    assert status["state"] == p.status().get("state") == "killed", f"{status['state']} after a restart"
    assert not working(url, keys), "an order works after a restart"
    sent = orders(url, keys)
    assert len(sent) == 1, f"{len(sent)} orders, one expected"
    assert not requests.get(f"{url}/v2/positions", headers=keys, timeout=10).json(), "a position"


def orders(url, keys):
    """All that an account ever sent."""
    return requests.get(f"{url}/v2/orders", params={"status": "all", "limit": 500}, headers=keys, timeout=10).json()


def warm():
    """What every process needs, compiled before they are forked."""
    kills.warm()
    from replay.engine import compile_all
    from replay.strategy import load

    compile_all([load(f"{HANGING}:{name}") for name in (*HANG, *RAISE)])


def series(n, seed, jobs, place):
    """`n` attacks, so many at once: (how often each was safe, the longest it took, what got through)."""
    warm()
    day, safe, worst, wrong = equity_day(n_events=20_000, seed=4), Counter(), Counter(), []
    for first in range(0, n, ACCOUNTS):
        numbers = range(first, min(n, first + ACCOUNTS))
        address = place / f"url-{first}"
        server = Process(lambda address=address: kills.serve(day, SPEED, address))
        try:
            url = until(lambda address=address: address.exists() and address.read_text(), "the server", RESTART_S)
            requests.get(f"{url}/replay/v1/state", timeout=60)  # the first answer takes longer than a trader waits for
            for told in _at_once(numbers, seed, jobs, url, place):
                if "wrong" in told:
                    wrong.append(told["wrong"])
                    print(told["wrong"], flush=True)
                else:
                    safe[told["what"]] += 1
                    worst[told["what"]] = max(worst[told["what"]], told["took"])
        finally:
            server.kill()
            server.wait(60)
        print(f"kill  {numbers.stop} of {n}, {len(wrong)} wrong", flush=True)
    return safe, worst, wrong


def _at_once(numbers, seed, jobs, url, place):
    """What came of each attack, from `jobs` forked processes that share them."""
    out = [place / f"job-{numbers.start}-{k}" for k in range(jobs)]

    def work(k):
        with out[k].open("w") as file:
            for number in numbers[k::jobs]:
                try:
                    what, took = attack(number, seed, url, place)
                    told = {"what": what, "took": took}
                except Exception as e:
                    told = {"wrong": f"{type(e).__name__}: {e}"}
                print(json.dumps(told), file=file, flush=True)

    workers = [Process(lambda k=k: work(k)) for k in range(jobs)]
    try:
        for worker in workers:
            worker.wait(3600)
    finally:
        for worker in workers:
            worker.kill()
    told = [json.loads(line) for path in out for line in path.read_text().splitlines()]
    assert len(told) == len(numbers), f"{len(numbers) - len(told)} attacks without an answer"
    return told
