"""The same inputs give the same decisions and the same state, bit for bit, however the run is made."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from runs import digests, engine

HERE = Path(__file__).parent
RUNS = [
    "l1-busy",
    "l1-busy-slow",
    "l2-busy",
    "l1-two",
    "l1-cross",
    "l2-passive",
    "l2-busy-hft",
    "l1-busy-feed",
    "bars-busy",
    "bars-busy-feed",
    "l1-busy-late",
    "l2-busy-late",
    "l2-passive-soon",
    "bars-busy-late",
    "l1-busy-far",
    "w4-sma",
]


def elsewhere(*names, **environment):
    env = {**os.environ, "PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}", **environment}
    done = subprocess.run([sys.executable, str(HERE / "runs.py"), *names], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Error" not in done.stderr, done.stderr[-2000:]  # an exception in a compiled entry is printed, not raised
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def here():
    """Each run once, with enough going on in it to mean something."""
    got = {name: digests(name) for name in RUNS}
    for name, (_, _, orders, fills) in got.items():
        assert orders > 30 and fills > 10, (name, orders, fills)
    assert len({d[0] for d in got.values()}) == len(RUNS)
    return got


def test_again_in_the_same_process(here):
    assert {name: digests(name) for name in RUNS} == here


def test_interpreted_and_compiled_agree(here):
    other = "0" if os.environ.get("NUMBA_DISABLE_JIT") == "1" else "1"
    assert elsewhere(*RUNS, NUMBA_DISABLE_JIT=other, PYTHONHASHSEED="1") == here


def test_another_process_with_another_hash_seed(here):
    assert elsewhere(*RUNS, PYTHONHASHSEED="4242") == here


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="bounds are always checked when interpreted")
def test_no_index_out_of_bounds(here):
    assert elsewhere(*RUNS, NUMBA_BOUNDSCHECK="1") == here


@pytest.mark.parametrize("name", RUNS)
def test_one_row_at_a_time(here, name):
    e = engine(name)
    while not e.advance(1):
        pass
    assert [e.digest, e.state_digest] == here[name][:2]


@pytest.mark.parametrize("name", RUNS)
def test_blocks_of_any_size(here, name):
    r, e = random.Random(name), engine(name)
    while not e.advance(r.choice([1, 2, 3, 10, 100, 500])):
        pass
    assert [e.digest, e.state_digest] == here[name][:2]


@pytest.mark.parametrize("name", [*RUNS, "l1-plainbusy", "bars-plainbusy"])
def test_a_snapshot_taken_up_again(here, name):
    r = random.Random(name)
    want = here[name][:2] if name in here else digests(name)[:2]
    e = engine(name)
    cuts, done = [], False
    while not done and len(cuts) < 6:
        done = e.advance(r.randrange(1, 700))
        cuts.append((e.snapshot(), e.digest, e.state_digest))
    e.run()
    assert [e.digest, e.state_digest] == want
    for state, digest, state_digest in r.sample(cuts, len(cuts)):
        e.restore(state)
        assert (e.digest, e.state_digest) == (digest, state_digest)
        e.run()
        assert [e.digest, e.state_digest] == want
    fresh = engine(name)
    fresh.restore(cuts[0][0])
    fresh.run()
    assert [fresh.digest, fresh.state_digest] == want


def test_plain_and_compiled_strategies_decide_alike(here):
    assert digests("l1-plaincross")[0] == here["l1-cross"][0]
    assert digests("l1-plainbusy")[0] == here["l1-busy"][0]
    assert digests("l2-plainbusy")[0] == here["l2-busy"][0]
    assert digests("bars-plainbusy")[0] == here["bars-busy"][0]
    assert digests("w4-plainsma")[0] == here["w4-sma"][0]


def test_the_sessions_of_the_runs_reach_what_they_should(here):
    reached = [engine(name).run().trader.header for name in RUNS]
    for counter in ("c_new", "c_cancel", "c_replace", "c_refused", "c_canceled", "c_expired", "c_rejected", "c_filled"):
        assert sum(int(h[counter]) for h in reached) > 0, counter
    assert all(int(h.c_illegal) == int(h.c_unknown) == int(h.c_late) == 0 for h in reached)
