"""How a peer's process is driven: it reads one JSON line with the job, converts and warms up, and answers; then each line ``run``
makes one run, answered by one JSON line. What the peer prints goes to stderr, so that answers stay alone on the pipe."""

import json
import os
import sys
import time

import numpy as np

#: the record type of `replay.events.EVENT`, written out, since a peer's interpreter has no replay
EVENT = np.dtype([("ts_event", "i8"), ("ts_recv", "i8"), ("kind", "u1"), ("side", "i1"), ("flags", "u2"), ("instrument", "u4"),
                  ("id", "i8"), ("a", "i8"), ("b", "i8"), ("c", "i8"), ("d", "i8")])  # fmt: skip
QUOTE, TRADE, DEPTH = 1, 2, 3
LAST, SNAPSHOT = 1, 2
CLEAR = 5
FAST, SLOW, WARMUP, QTY, MAX_POSITION = 1000, 5000, 5000, 100, 1000


def serve(versions, prepare):
    """`prepare(job)` gives a function that makes one run and returns (seconds, outcome)."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(x):
        answers.write(json.dumps(x) + "\n")
        answers.flush()

    job = json.loads(sys.stdin.readline())
    t = time.perf_counter()
    run = prepare(job)
    answer({"versions": versions, "prepare_s": time.perf_counter() - t})
    for line in sys.stdin:
        if line.strip() == "run":
            seconds, outcome = run()
            answer({"seconds": seconds, "outcome": outcome})


def load_rows(path):
    rows = np.load(path)
    assert rows.dtype.itemsize == EVENT.itemsize and rows.dtype.names == EVENT.names
    return rows.view(EVENT)
