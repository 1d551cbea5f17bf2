"""vectorbt, vectorised: whole arrays at once. Run by its own interpreter; see serve.py.

Jobs: case w4, or sweep with fast and slow, the lengths whose every combination is tried. A signal at a close trades at the next bar's open.
A run covers the averages, the signals, the simulation and the total profit; not the making of the arrays.
"""

import sys
import time
import warnings

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import vectorbt as vbt  # noqa: E402
from serve import load_rows, serve  # noqa: E402

QTY = 100


def portfolio(fast, slow, opening, close):
    want = fast > slow
    nothing = np.zeros((1, want.shape[1]), bool)
    held = np.vstack([nothing, want[:-1]])
    before = np.vstack([nothing, held[:-1]])
    frame = {"index": close.index, "columns": close.columns}
    entries, exits = pd.DataFrame(held & ~before, **frame), pd.DataFrame(~held & before, **frame)
    return vbt.Portfolio.from_signals(
        close, entries, exits, price=opening, size=QTY, size_type="amount", init_cash=1e9, fees=0.0, freq="5min"
    )


def prepare(job):
    rows = load_rows(job["rows"])
    n = int(rows["instrument"].max()) + 1
    at = pd.to_datetime(rows["ts_event"][rows["instrument"] == 0])
    opening, close = (pd.DataFrame(rows[word].reshape(-1, n) * job["tick"], index=at) for word in ("a", "d"))

    def w4():
        fast, slow = (vbt.MA.run(close, job[name][0]).ma.values for name in ("fast", "slow"))
        return portfolio(fast, slow, opening, close)

    def sweep():
        averages = {k: vbt.MA.run(close[0], k).ma.values.reshape(-1) for k in {*job["fast"], *job["slow"]}}
        pairs = [(f, s) for f in job["fast"] for s in job["slow"]]
        fast, slow = (np.column_stack([averages[pair[j]] for pair in pairs]) for j in (0, 1))
        wide = [pd.DataFrame(np.repeat(x.values, len(pairs), axis=1), index=at) for x in (opening, close)]
        return portfolio(fast, slow, *wide)

    def run():
        t = time.perf_counter()
        made = (w4 if job["case"] == "w4" else sweep)()
        profit = made.total_profit()
        seconds = time.perf_counter() - t
        return seconds, {"orders": int(made.orders.count().sum()), "pnl_cents": round(float(profit.sum()) * 100)}

    run()  # compiles
    return run


serve({"vectorbt": vbt.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}, prepare)
