"""A trader is killed with SIGKILL at random moments with orders in flight, and started again each time: ``python tests/kills.py 200``.

The local server runs in a process of its own, the trader in another; both are forked from this one, so that a start takes a fraction of
a second. After the last kill it is ended in order, and both sides are compared to the last lot and the last ClOrdID.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import requests

sys.path.insert(0, str(Path(__file__).parent))
import lives  # noqa: E402

from replay.data.synth import equity_day  # noqa: E402
from replay.live import recovery  # noqa: E402
from replay.live.disk import Disk  # noqa: E402
from replay.live.ids import parse  # noqa: E402
from replay.live.log import Reader  # noqa: E402
from replay.trader import orders as O  # noqa: E402
from replay.trader.output import OUT_NEW, OUT_REPORT  # noqa: E402

SYMBOLS = ["AAPL", "MSFT"]
PINGER = [(str(Path(__file__).with_name("pinger.py")), {"every": "2"})]


def warm():
    """Everything that both processes need, imported and compiled before they are forked."""
    import replay.live.alpaca.adapter  # noqa: F401
    import replay.serve.app  # noqa: F401
    from replay.engine import compile_all
    from replay.kernel.memory import link
    from replay.serve.venue import KERNELS
    from replay.strategy import load

    compile_all([load(name, params) for name, params in PINGER])
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
        server = Server(day, speed=speed, strict=False, rate=0)
        _, url, clock = await app.listen(server, "127.0.0.1", 0)
        port_file.write_text(url)
        await clock

    asyncio.run(main())


def trade(order, log):
    from replay.live import paper

    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    paper.run(order, lines=True)


def trading(log):
    """How often a process has come as far as to trade."""
    return log.read_text().count('"stream":"market data","up":true') if log.exists() else 0


def series(n, seed, folder, speed=25.0, say=lambda text: None):
    """`n` kills; returns figures, raises AssertionError where anything is twice, lost or different."""
    rng = random.Random(seed)
    warm()
    os.environ.update(APCA_API_KEY_ID="PKTEST", APCA_API_SECRET_KEY="SECRETSECRET")
    day = equity_day(n_events=60_000, seed=seed)
    url_file, log = folder / "url", folder / "log"
    server = fork(lambda: serve(day, speed, url_file))
    try:
        while not url_file.exists() or not url_file.read_text():
            assert os.waitpid(server, os.WNOHANG) == (0, 0), "the server has ended"
            time.sleep(0.02)
        url = url_file.read_text()
        order = lives.order(url, folder, PINGER, SYMBOLS)
        for k in range(n):
            up = trading(log)
            pid = fork(lambda: trade(order, log))
            if rng.random() < 0.85:  # while it trades; the others while it starts
                while trading(log) == up and os.waitpid(pid, os.WNOHANG) == (0, 0):
                    time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 1.2))
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status), f"kill {k}: it had ended by itself: {log.read_text()[-600:]}"
            say(f"kill {k + 1} of {n}")
        pid = fork(lambda: trade(order, log))
        time.sleep(3)
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, log.read_text()[-600:]
        return {"while trading": trading(log), **compare(url, folder / "journal")}
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)


def compare(url, journal):
    """Both sides' books; see `series`."""
    verdict = recovery.verify(Disk(journal))
    assert verdict.identical and not verdict.prefix.fault, verdict
    r = recovery.recover(Disk(journal))
    said = np.concatenate([b.outputs for b in Reader(Disk(journal))])
    new = said[said["kind"] == OUT_NEW]
    ours = {
        str(parse(f"{r.head.run_id}-{epoch:x}-{handle:x}")) for handle, epoch in ((h, _epoch(r, h)) for h in new["a"].tolist())
    }
    theirs = requests.get(
        f"{url}/v2/orders", headers=lives.HEADERS, params={"status": "all", "limit": 500, "direction": "asc"}, timeout=10
    ).json()
    while len(theirs) % 500 == 0 and theirs:
        more = requests.get(
            f"{url}/v2/orders",
            headers=lives.HEADERS,
            params={"status": "all", "limit": 500, "direction": "asc", "after": theirs[-1]["created_at"]},
            timeout=10,
        ).json()
        if not more:
            break
        theirs += more
    roots = [o["client_order_id"] for o in theirs if not o["replaces"]]
    assert len(roots) == len(set(roots)) and set(roots) <= ours, "an order that the journal does not hold"
    working = [o["client_order_id"] for o in theirs if o["status"] in ("new", "partially_filled", "accepted", "pending_new")]
    assert not working, f"left at the broker: {working}"
    trades = said[(said["kind"] == OUT_REPORT) & (said["flags"] >> 8 == O.EXEC_TRADE) & (said["d"] & 1 == 1)]
    traded = sum(int(float(o["filled_qty"])) for o in theirs)
    assert int(trades["b"].sum()) == traded, "a fill is lost or twice"
    positions = {
        p["symbol"]: int(float(p["qty"])) for p in requests.get(f"{url}/v2/positions", headers=lives.HEADERS, timeout=10).json()
    }
    mine = {s: int(p.qty) for s, p in zip(SYMBOLS, r.trader.region("positions"), strict=False) if int(p.qty)}
    assert positions == mine, (positions, mine)
    assert int(r.trader.header.state) == 0, "it was halted or killed on the way"
    return {"orders": len(roots), "commands": len(new), "lots": traded, "epochs": len(r.starts), "inputs": verdict.prefix.inputs}


def _epoch(r, handle):
    from replay.trader.layout import SLOT_BITS

    return next(s.epoch for s in reversed(r.starts) if handle >> SLOT_BITS > s.ordinal)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    where = Path(tempfile.mkdtemp(prefix="kills-"))
    print(series(args.kills, args.seed, where, say=lambda text: print(text, end="\r", flush=True)), where)
