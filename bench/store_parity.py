"""Print what hftbacktest gives on our own events: the constants of tests/test_hftbacktest_parity.py.

python -m bench.store_parity ~/venvs/hft
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench import walks
from bench.peer import Peer

EVENTS = 200_000
SEEDS = (11, 12, 13, 14, 15)
FIELDS = ("orders", "fills", "canceled", "expired", "position", "pnl_ticks")


def main() -> int:
    """One line a case and seed; both depth types must say the same."""
    python = Path(sys.argv[1]).expanduser()
    python = python / "bin" / "python" if python.is_dir() else python
    for case, level, make in (("w2", "l1", walks.l1), ("w3", "l2", walks.l2)):
        for seed in SEEDS:
            session = make(EVENTS, seed)
            said = []
            for depth in ("hash", "roi"):
                with Peer(python, "hft", session.events, case=case, level=level, depth=depth) as peer:
                    said.append(peer.run()[1])
                    versions = peer.versions
            assert said[0] == said[1], (case, seed, said)
            values = tuple(said[0].get(k, 0) for k in FIELDS)
            print(
                f'    ("{case}", {seed}): {values},  # {session.manifest.sha256[:16]}, hftbacktest {versions["hftbacktest"]}',
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
