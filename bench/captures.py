"""hftbacktest and ours on real Binance captures: the same passive quoting on the same rows, compared order by order.

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
from typing import NamedTuple

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
from replay.trader.output import OUT_NEW, OUT_REFUSED
from replay.trader.reasons import SELF_TRADE, SESSION_OVER

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


class Side(NamedTuple):
    """One engine's counts, and each order sent: time, side, price."""

    counts: dict[str, int]
    sent: np.ndarray


def run_ours(session: Session) -> tuple[Side, int]:
    """Ours, and how many intents its self-trade check refused."""
    engine = workloads.build(CASE, session, True, load(CASE.strategy))
    engine.run()
    out = engine.output()
    new = out[out.kind == OUT_NEW]
    refused = out[out.kind == OUT_REFUSED]
    h = engine.trader.header
    assert int(h.c_illegal) == int(h.c_unknown) == 0
    assert set(refused["flags"].tolist()) <= {SELF_TRADE, SESSION_OVER}
    return Side(workloads.counts(engine), np.stack([new.ts_recv, new.side, new.c], axis=1)), int(
        (refused["flags"] == SELF_TRADE).sum()
    )


def run_theirs(session: Session, python: Path, alone: bool, depth: str = "hash") -> Side:
    """hftbacktest; `alone`: with our self-trade check in its strategy."""
    job = {"case": "w3", "level": "l2", "depth": depth, "tick": 1.0, "alone": alone, "log": 1 << 20}
    with Peer(python, "hft", session.events, **job) as peer:
        said = peer.run()[1]
    return Side({k: said[k] for k in FIELDS}, np.array(said["sent"], np.int64))


def main(argv: list[str] | None = None) -> int:
    """Exit status 1 when anything differs that the self-trade check does not explain."""
    p = argparse.ArgumentParser(prog="python -m bench.captures", description=__doc__.partition("\n")[0])
    p.add_argument("--hft", type=Path, required=True, help="interpreter or virtual environment of hftbacktest")
    default = Path(os.environ.get("REPLAY_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    p.add_argument("--data", type=Path, default=default / "crypto_raw_hftbacktest" / "examples")
    p.add_argument("--as-received", action="store_true")
    a = p.parse_args(argv)
    python = a.hft.expanduser()
    python = python / "bin" / "python" if python.is_dir() else python
    table = Table("capture", "rows", "engine", *FIELDS, "refused: self-trade", "orders equal to ours, one by one")
    wrong = 0
    for name in FILES:
        session = prepare(import_binance(a.data / name), a.as_received)
        ours, refused = run_ours(session)
        table.add_row(name, f"{len(session.events):,}", "ours", *(f"{x:,}" for x in ours.counts.values()), str(refused), "")
        for alone in (False, True):
            theirs = run_theirs(session, python, alone)
            equal = theirs.counts == ours.counts and np.array_equal(theirs.sent, ours.sent)
            wrong += alone and not equal
            label = "hftbacktest, self-trade check in its strategy" if alone else "hftbacktest"
            table.add_row("", "", label, *(f"{x:,}" for x in theirs.counts.values()), "", "yes" if equal else "no")
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
