"""Traders are killed with SIGKILL at random moments with orders and fills in flight, and started again each time: ``python tests/kills.py 200``.

The local server runs in a process of its own, and each of several traders, with an account and a journal of its own, in another; all are
forked from this one, so that a start takes a fraction of a second. A kill comes within 0.3 s of a trader's first turn, or, one time in
four, anywhere between its start and that: while it recovers, connects, reconciles. Half-way an operator kills the first trader. After the
last SIGKILL all are ended in order, and both sides are compared to the last lot and the last ClOrdID.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import requests

sys.path.insert(0, str(Path(__file__).parent))
import lives  # noqa: E402

from replay.data.synth import equity_day  # noqa: E402
from replay.live import recovery  # noqa: E402
from replay.live.control import ask  # noqa: E402
from replay.live.disk import Disk  # noqa: E402
from replay.live.ids import parse  # noqa: E402
from replay.live.log import Reader  # noqa: E402
from replay.trader import orders as O  # noqa: E402
from replay.trader.layout import ACTIVE, KILLED  # noqa: E402
from replay.trader.output import OUT_NEW, OUT_REPORT  # noqa: E402

SYMBOLS = ["AAPL", "MSFT"]
DEALER = [(str(Path(__file__).with_name("dealer.py")), {"away": "1"})]
DAY_S = 23_400  #: of the session
ROWS_S = 60  #: rows a second of wall time
KILL_S = 2.5  #: at most so long a kill takes on a busy machine, by which the day's speed is chosen
TRADERS = 4


def warm():
    """Everything that both processes need, imported and compiled before they are forked."""
    import replay.live.alpaca.adapter  # noqa: F401
    import replay.serve.app  # noqa: F401
    from replay.engine import compile_all
    from replay.kernel.memory import link
    from replay.serve.venue import KERNELS
    from replay.strategy import load

    compile_all([load(name, params) for name, params in DEALER])
    link(*KERNELS)


def fork(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as e:
            print(f"{type(e).__name__}: {e}", flush=True)
            os._exit(1)
    return pid


def serve(day, speed, port_file):
    import asyncio

    from replay.serve import app
    from replay.serve.server import Server

    async def main():
        server = Server(day, speed=speed, rate=0)
        _, url, clock = await app.listen(server, "127.0.0.1", 0)
        port_file.write_text(url)
        await clock

    asyncio.run(main())


class Trader:
    """One account, one journal, and the process that trades on it at the moment."""

    def __init__(self, number, url, folder, rng):
        self.rng, self.folder, self.log = rng, folder / f"trader{number}", folder / f"trader{number}.log"
        self.folder.mkdir()
        self.keys = {"APCA-API-KEY-ID": f"PKTEST{number}", "APCA-API-SECRET-KEY": "SECRETSECRET"}
        self.order = lives.order(url, self.folder, DEALER, SYMBOLS)
        self.pid = self.kills = self.recovering = 0
        self.took, self.orders_when_killed = 1.0, None

    def trading(self):
        """How often a process has come as far as to trade."""
        return self.log.read_text().count('"stream":"market data","up":true') if self.log.exists() else 0

    def start(self):
        self.up, self.began, self.at = self.trading(), time.monotonic(), None
        self.pid = fork(self._trade)
        if self.rng.random() < 0.25:
            self.at = self.began + self.rng.uniform(0.0, self.took)

    def _trade(self):
        from replay.live import paper

        os.environ.update(APCA_API_KEY_ID=self.keys["APCA-API-KEY-ID"], APCA_API_SECRET_KEY=self.keys["APCA-API-SECRET-KEY"])
        os.dup2(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
        paper.run(self.order, lines=True)

    def look(self):
        """Kill the process where it is time for that; whether it was."""
        assert os.waitpid(self.pid, os.WNOHANG) == (0, 0), f"it has ended by itself: {self.log.read_text()[-600:]}"
        now = time.monotonic()
        up = self.trading() > self.up
        if self.at is None and up:
            self.took = 0.7 * self.took + 0.3 * (now - self.began)
            self.at = now + self.rng.uniform(0.0, 0.3)
        if self.at is None or now < self.at:
            return False
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        assert os.WIFSIGNALED(status), status
        self.kills, self.recovering = self.kills + 1, self.recovering + (not up)
        return True

    def kill_switch(self, url):
        """An operator kills it, while it trades; from then on nothing new may come from it."""
        while self.trading() == self.up:
            time.sleep(0.01)
        ask(self.order.journal, "kill")
        time.sleep(1.0)  # what was sent before has arrived
        self.orders_when_killed = len(orders_of(url, self.keys))

    def end(self):
        """In order."""
        while self.trading() == self.up:
            time.sleep(0.01)
        time.sleep(2)
        os.kill(self.pid, signal.SIGTERM)
        _, status = os.waitpid(self.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, self.log.read_text()[-600:]


def series(n, seed, folder, traders=TRADERS, say=lambda text: None):
    """`n` kills; returns figures, raises AssertionError where anything is twice, lost or different."""
    rng = random.Random(seed)
    warm()
    seconds = max(200, 120 + n * KILL_S)
    day = equity_day(n_events=int(ROWS_S * seconds), seed=seed)
    url_file = folder / "url"
    server = fork(lambda: serve(day, DAY_S / seconds, url_file))
    all_of = []
    try:
        while not url_file.exists() or not url_file.read_text():
            assert os.waitpid(server, os.WNOHANG) == (0, 0), "the server has ended"
            time.sleep(0.02)
        url = url_file.read_text()
        all_of += [Trader(k, url, folder, random.Random(rng.random())) for k in range(traders)]
        began, done = time.monotonic(), 0
        for t in all_of:
            t.start()
        while done < n:
            for t in all_of:
                if t is all_of[0] and t.orders_when_killed is None and done >= n // 2:
                    t.kill_switch(url)
                if t.look():
                    done += 1
                    say(f"kill {done} of {n}")
                    t.start()
            time.sleep(0.005)
        took = time.monotonic() - began
        for t in all_of:
            t.end()
        figures = sum((Counter(compare(url, t)) for t in all_of), Counter())
        figures.update(kills=done, recovering=sum(t.recovering for t in all_of), trading=done - sum(t.recovering for t in all_of))
        return {"seconds a kill": round(took / n, 2), **figures}
    finally:
        for pid in [server, *(t.pid for t in all_of)]:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def orders_of(url, keys):
    """Every order the account ever had at the broker."""
    found, query = [], {"status": "all", "limit": 500, "direction": "asc"}
    while more := requests.get(f"{url}/v2/orders", headers=keys, params=query, timeout=10).json():
        found += more
        query["after"] = more[-1]["created_at"]
    return found


def compare(url, t):
    """Both sides' books of one trader; see `series`."""
    journal = t.order.journal
    verdict = recovery.verify(Disk(journal))
    assert verdict.identical and not verdict.prefix.fault, verdict
    r = recovery.recover(Disk(journal))
    said = np.concatenate([b.outputs for b in Reader(Disk(journal))])
    new = said[said["kind"] == OUT_NEW]
    ours = {
        str(parse(f"{r.head.run_id}-{epoch:x}-{handle:x}")) for handle, epoch in ((h, _epoch(r, h)) for h in new["a"].tolist())
    }
    theirs = orders_of(url, t.keys)
    roots = [o["client_order_id"] for o in theirs if not o["replaces"]]
    assert len(roots) == len(set(roots)) and set(roots) <= ours, "an order that the journal does not hold"
    working = [o["client_order_id"] for o in theirs if o["status"] in ("new", "partially_filled", "accepted", "pending_new")]
    assert not working, f"left at the broker: {working}"
    trades = said[(said["kind"] == OUT_REPORT) & (said["flags"] >> 8 == O.EXEC_TRADE) & (said["d"] & 1 == 1)]
    traded = sum(int(float(o["filled_qty"])) for o in theirs)
    assert int(trades["b"].sum()) == traded, "a fill is lost or twice"
    positions = {
        p["symbol"]: int(float(p["qty"])) for p in requests.get(f"{url}/v2/positions", headers=t.keys, timeout=10).json()
    }
    mine = {s: int(p.qty) for s, p in zip(SYMBOLS, r.trader.region("positions"), strict=False) if int(p.qty)}
    assert positions == mine, (positions, mine)
    if t.orders_when_killed is None:
        assert int(r.trader.header.state) == ACTIVE, "it was halted or killed on the way"
    else:
        assert int(r.trader.header.state) == KILLED, "was killed by an operator, is not any more"
        assert len(theirs) == t.orders_when_killed, "a killed trader sent something new"
    unsent = len(new) - len(roots)
    return {
        "orders": len(roots),
        "unsent": unsent,
        "fills": len(trades),
        "lots": traded,
        "epochs": len(r.starts),
        "inputs": verdict.prefix.inputs,
    }


def _epoch(r, handle):
    from replay.trader.layout import SLOT_BITS

    return next(s.epoch for s in reversed(r.starts) if handle >> SLOT_BITS > s.ordinal)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--traders", type=int, default=TRADERS)
    args = parser.parse_args()
    where = Path(tempfile.mkdtemp(prefix="kills-"))
    print(series(args.kills, args.seed, where, args.traders, say=lambda text: print(text, end="\r", flush=True)), where)
