"""hftbacktest and ours on real Binance captures: the same passive quoting on the same rows, compared order by order count.

    python -m bench.captures --hft ~/venvs/hft [--data FOLDER] [--as-received]

The captures are imported by `replay.data.binance`; best bid and ask tickers are left out (neither engine's book uses them). Each row is
made a message of its own: venue times, in venue order, and receive times are moved forward by single ns until both rise strictly, since
hftbacktest applies rows one by one and wakes its strategy once a receive time. `--as-received` keeps messages and times as they are.
Prices are ticks and sizes lots in both, so that no rounding of decimals is compared.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import workloads
from bench.peer import Peer
from replay.data.binance import import_binance
from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.events import CLEAR, DEPTH, LAST, QUOTE
from replay.strategy import load

FILES = ("usdm/btcusdt_20240808.gz", "cm/btcusd_perp_20240808.gz", "spot/btcusdt_20240808.gz", "spot/ethusdt_20240808.gz")
FIELDS = ("orders", "fills", "canceled", "expired", "position")
#: prices in ticks and sizes in lots are all that is compared; a lot is worth so little that no product overflows
UNIT = Instrument(symbol="CAPTURE", tick_size="0.01", lot_size="0.000001")
CASE = workloads.Case("passive quoting on a capture", "passive_quoting", import_binance)


def rising(t: np.ndarray) -> np.ndarray:
    """The smallest strictly rising times that are nowhere before `t`."""
    k = np.arange(len(t))
    return np.maximum.accumulate(t - k) + k


def prepare(session: Session, as_received: bool) -> Session:
    """Depth and trades only, without the clearing of the empty book; each row a message unless `as_received`."""
    rows = session.events
    rows = rows[(rows["kind"] != QUOTE) & ~((rows["kind"] == DEPTH) & (rows["c"] == CLEAR))].copy()
    if not as_received:
        by_venue = np.argsort(rows["ts_event"], kind="stable")
        rows["ts_event"][by_venue] = rising(rows["ts_event"][by_venue])
        # a receive time stays behind its venue time
        rows["ts_recv"] = rising(np.maximum(rows["ts_recv"], rows["ts_event"] + 1))
        rows["flags"] |= LAST
    return Session.from_rows(rows, [UNIT], name=session.manifest.name)


def compare(session: Session, python: Path) -> tuple[dict, dict]:
    """Outcomes of ours and hftbacktest's."""
    engine = workloads.build(CASE, session, False, load(CASE.strategy))
    engine.run()
    ours = workloads.counts(engine)
    with Peer(python, "hft", session.events, case="w3", level="l2", depth="hash", tick=1.0) as peer:
        theirs = peer.run()[1]
    return ours, {k: theirs[k] for k in FIELDS}


def main(argv: list[str] | None = None) -> int:
    """Exit status 1 when anything differs."""
    p = argparse.ArgumentParser(prog="python -m bench.captures", description=__doc__.partition("\n")[0])
    p.add_argument("--hft", type=Path, required=True, help="interpreter or virtual environment of hftbacktest")
    default = Path(os.environ.get("REPLAY_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    p.add_argument("--data", type=Path, default=default / "crypto_raw_hftbacktest" / "examples")
    p.add_argument("--as-received", action="store_true")
    a = p.parse_args(argv)
    python = a.hft.expanduser()
    python = python / "bin" / "python" if python.is_dir() else python
    table = Table("capture", "rows", "engine", *FIELDS, "equal")
    wrong = 0
    for name in FILES:
        session = prepare(import_binance(a.data / name), a.as_received)
        ours, theirs = compare(session, python)
        wrong += ours != theirs
        table.add_row(name, f"{len(session.events):,}", "ours", *(f"{x:,}" for x in ours.values()), "")
        table.add_row("", "", "hftbacktest", *(f"{x:,}" for x in theirs.values()), "yes" if ours == theirs else "NO")
    Console().print(table)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
