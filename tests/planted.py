"""Bugs planted on purpose, and how many schedules the fuzzer takes to find each: ``python tests/planted.py [NAME...]``.

A bug is a piece of source and what stands in its place. The package is copied, changed and run interpreted, in a process of its own.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: name -> (file, what stands there, what is put there)
BUGS = {
    "fills are not deduplicated": (
        "trader/reports.py",
        "        if f.exec_id == exec_id:\n            return s & (h.fills_n - 1)\n",
        "",
    ),
    "position limit off by one": (
        "trader/risk.py",
        "reach > l.max_position:",
        "reach > l.max_position + 1:",
    ),
    "position limit forgets what works": (
        "trader/risk.py",
        "reach = abs(pos + side * (qty + working))",
        "reach = abs(pos + side * qty)",
    ),
    "order quantity limit off by one": ("trader/risk.py", "qty > l.max_order_qty:", "qty > l.max_order_qty + 1:"),
    "order rate window one short": ("trader/risk.py", "times[(sent + new - 1) % most] > since", "False"),
    "a kill does not latch": (
        "trader/risk.py",
        "    if h.state == KILLED:\n        return R.IS_KILLED\n",
        "",
    ),
    "a kill does not cancel": (
        "trader/step.py",
        "    enter(h, KILLED, reason)\n    cancel_all(tb, h, -1, -1)\n",
        "    enter(h, KILLED, reason)\n",
    ),
    "halted, and yet risk is added": (
        "trader/risk.py",
        "        if h.state == HALTED:\n            return R.IS_HALTED\n",
        "",
    ),
    "gapped books are traded": ("trader/risk.py", "        if v.gapped:\n            return R.GAPPED\n", ""),
    "crossed quotes are traded": (
        "trader/risk.py",
        "v.bid_px > v.ask_px:\n            return R.CROSSED",
        "v.bid_px > v.ask_px + 1000:\n            return R.CROSSED",
    ),
    "a second request while one is out": (
        "trader/oms.py",
        "    elif o.request == NO_REQUEST:\n        o.request = CANCELING\n",
        "    elif o.request != CANCELING:\n        o.request = CANCELING\n",
    ),
    "a stale view after a replace": ("trader/reports.py", "    o.px = px\n    if o.type == STOP:", "    if o.type == STOP:"),
    "quantity kept after a replace": ("trader/reports.py", "    o.qty = o.new_qty\n", ""),
    "unknown orders do not count": (
        "trader/reports.py",
        "    o.state = PARTIAL if to == ACCEPTED and o.cum > 0 else to\n",
        "    o.state = PARTIAL if to == ACCEPTED and o.cum > 0 else to\n    if to == UNKNOWN:\n        expose(tb, h, o, 0)\n",
    ),
    "an ack behind a fill takes the fill's state": (
        "trader/reports.py",
        "PARTIAL if to == ACCEPTED and o.cum > 0 else to",
        "to",
    ),
    "late fills of a canceled order are dropped": (
        "trader/orders.py",
        "        t[s, EXEC_TRADE] = ILLEGAL if s in (FILLED, REJECTED) else SAME\n",
        "        t[s, EXEC_TRADE] = ILLEGAL\n",
    ),
    "exposure leaks at a cancel": (
        "trader/reports.py",
        "expose(tb, h, o, max(0, min(e.d, most_of(o)) - o.cum))",
        "expose(tb, h, o, max(0, o.qty - o.cum))",
    ),
    "cost of a partial close rounds the other way": (
        "trader/ledger.py",
        "        p.cost += (notional - closed_notional) - cost_out\n",
        "        p.cost += (notional - closed_notional) - cost_out + (1 if closed < abs(p.qty) else 0)\n",
    ),
    "fees are not taken from cash": ("trader/ledger.py", "    c.cash -= amount\n    c.fees += amount\n", "    c.fees += amount\n"),
    "equity forgets a fee": ("trader/ledger.py", "    h.equity -= in_base(c, amount)\n", ""),
    "the floor is not looked at after a fill": (
        "trader/step.py",
        "        watch(tb, h)\n        # a flattener",
        "        # a flattener",
    ),
    "a peak does not raise the floor": ("trader/risk.py", "    h.peak = h.equity\n    set_floor(tb, h)\n", "    h.peak = h.equity\n"),
    "a timer stays": ("trader/step.py", "            pop_timer(tb, h)\n", "            pass\n"),
    "the newest timer first": ("trader/intents.py", "        if heap[up].ts <= when:", "        if heap[up].ts <= when - 1000000000000:"),
    "slots are taken too soon": (
        "trader/oms.py",
        "    return o.exposed != 0 or o.request != NO_REQUEST\n",
        "    return False\n",
    ),
    "a freed slot leaves its list": ("trader/oms.py", "        table[o.next].prev = o.prev\n", "        pass\n"),
    "self-trade is not looked for": ("trader/risk.py", "    if crosses_own(tb, h, v, side, px, kind):\n        return R.SELF_TRADE\n", ""),
    "orders after the end of the data": (
        "trader/risk.py",
        "    if h.mode == DRAIN:\n        return R.SESSION_OVER\n",
        "",
    ),
    "a rejection spike is lifted at once": (
        "trader/risk.py",
        "        if h.now - times[(h.n_rejects - 1) % h.reject_times_n] >= l.reject_window_ns:\n",
        "        if True:\n",
    ),
    "a halt by hand clears itself": (
        "trader/risk.py",
        "    if h.state_reason == R.STALE_FEED and instrument == h.stale:\n",
        "    if instrument == h.stale:\n",
    ),
    "a pair counts with one leg's lots": (
        "trader/oms.py",
        "return 0 if o.handle > o.sibling else max(left(o), left(orders(tb, h)[slot]))",
        "return 0 if o.handle > o.sibling else left(o)",
    ),
    "held exits do not count": ("trader/groups.py", "0 if counted else entry.cum", "0"),
    "the venue forgets a resting order": (
        "venue/resting.py",
        "    b.n_resting += 1\n    v.resting += 1\n    o.live = 1\n    bound_resting(b, table, k, o)\n",
        "    b.n_resting += 1\n    v.resting += 1\n    o.live = o.leaves != 3\n    bound_resting(b, table, k, o)\n",
    ),
    "the venue fills a tick beyond the limit": (
        "venue/matching.py",
        "o.side * (o.px - px_of(b, other)) >= 0:\n        px = ",
        "o.side * (o.px - px_of(b, other)) >= -1:\n        px = ",
    ),
    "a lost request is never looked up": (
        "kernel/loop.py",
        "        ask(vb, v, at(address, 1, EVENT)[0])\n",
        "        pass\n",
    ),
    "a recycled order's report halts": (
        "trader/reports.py",
        "    if slot < 0 and forgotten(tb, h, e, kind):\n        h.c_late += 1\n        return False\n",
        "",
    ),
    "a decision is left out of the digest": (
        "trader/risk.py",
        "    chain(h, state << 8 | reason, 0, 0, 0, 0)\n",
        "",
    ),
}
_RUN = """
import json, sys
from replay.data.session import Session
from replay.data.synth import l2_book
from replay.fuzz.runner import Runner
from replay.runs.config import Chosen, RunConfig
base = RunConfig(session=sys.argv[1], commission="2bps", strategies=(Chosen(source="ema_cross", parameters=dict(fast=5, slow=20, warmup=20, qty=2)),))
runners = [Runner(s, base) for s in (Session.open(sys.argv[1], trust=True), l2_book(1500, seed=12))]
for k in range(int(sys.argv[2])):
    found = runners[k % 2].number(1, k // 2, 200)
    if found.broken:
        print(json.dumps([k + 1, found.broken.name]))
        break
else:
    print(json.dumps([0, ""]))
"""


def found(name: str, schedules: int = 400) -> tuple[int, str]:
    """How many schedules it took to find a bug, and what broke; 0 where none of `schedules` did. Without a name: as the sources are."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("replay", "strategies"):
            shutil.copytree(ROOT / part, Path(folder) / part, ignore=shutil.ignore_patterns("__pycache__"))
        if name:
            file, old, new = BUGS[name]
            path = Path(folder) / "replay" / file
            text = path.read_text()
            assert text.count(old) == 1, f"{name}: {file} holds {text.count(old)} times {old!r}"
            path.write_text(text.replace(old, new))
        env = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", _RUN, str(ROOT / "fixtures" / "equity-day"), str(schedules)], env=env, capture_output=True, text=True, cwd=folder
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return tuple(json.loads(done.stdout))


if __name__ == "__main__":
    for bug in sys.argv[1:] or BUGS:
        print(*found(bug), bug, sep="\t", flush=True)
