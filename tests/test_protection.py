"""Positions that lost their stop: what is said of scripted ones, and random trading against a walk record by record."""

import pandas as pd
import pytest

import replay
from replay import DAY, GTC, Strategy
from replay.data.synth import by_hand, equity_day
from replay.engine import Engine
from replay.fuzz.trader import RandomTrader
from replay.runs.tables import tables
from replay.strategy import load
from replay.trader import layout as T
from replay.trader.orders import CANCELED, EXEC_BUST, EXEC_REPLACED, EXEC_TRADE, EXPIRED, REJECTED
from replay.trader.output import OUT_NEW, OUT_REPLACE, OUT_REPORT


class Scripted(Strategy):
    acts = {}

    def on_start(self, ctx):
        self.n, self.h = 0, {}

    def on_quote(self, ctx, q):
        self.n += 1
        if self.n in self.acts:
            self.acts[self.n](ctx, self.h)


def stopped_out(side=1, tif=GTC, **acts):
    """Buys (or sells) 5 at the first quote, with a stop far away; what is done later is given by `at_N`."""

    def start(ctx, h):
        ctx.market(0, 5 * side)
        h["stop"] = ctx.stop(0, -5 * side, 1000 - 100 * side, tif)

    at = {1: start} | {int(k[3:]): v for k, v in acts.items()}
    run = replay.run(by_hand([1000] * 20), type("Scripted", (Scripted,), {"acts": at}))
    return run, run.to_pandas("unprotected")


@pytest.mark.parametrize("side", [1, -1])
def test_a_stop_that_is_gone_while_the_position_stays_is_said(side):
    run, lost = stopped_out(side, at_5=lambda ctx, h: ctx.cancel(h["stop"]))
    (row,) = lost.to_dict("records")
    canceled = run.to_pandas("orders").set_index("order").ts_end[2]
    assert (row["side"], row["qty"], row["order"], row["state"]) == ("buy" if side > 0 else "sell", 5, 2, "CANCELED")
    assert row["since"] == canceled and pd.isna(row["until"])
    (text,) = run.summary.warnings[:1]
    assert (
        f"{'long' if side > 0 else 'short'} 5 held without one since {canceled.isoformat()[:19]}" in text and "to the end" in text
    )


@pytest.mark.parametrize("side", [1, -1])
def test_the_loss_ends_with_a_new_stop_or_with_the_position(side):
    for act in (lambda ctx, h: ctx.stop(0, -5 * side, 1000 - 50 * side), lambda ctx, h: ctx.market(0, -5 * side)):
        run, lost = stopped_out(side, at_5=lambda ctx, h: ctx.cancel(h["stop"]), at_10=act)
        (row,) = lost.to_dict("records")
        seconds = (row["until"] - row["since"]).total_seconds()
        assert 4.5 < seconds < 5.5 and "until" in run.summary.warnings[0]


def test_what_is_meant_is_no_loss():
    def close(ctx, h):
        ctx.cancel(h["stop"])
        ctx.market(0, -5)

    def swap(ctx, h):
        ctx.stop(0, -5, 950)
        ctx.cancel(h["stop"])

    for acts in (
        {"at_5": close},
        {"at_5": swap},
        {"at_5": lambda ctx, h: ctx.replace(h["stop"], 5, 950)},
        {"at_5": lambda ctx, h: ctx.stop(0, 5, 1100, DAY)},
        {},
    ):
        run, lost = stopped_out(1, **acts)
        assert not len(lost) and not any("stop" in text for text in run.summary.warnings), acts


def test_a_part_that_is_left_without_counts_by_its_lots():
    def second(ctx, h):
        ctx.market(0, 3)
        h["other"] = ctx.stop(0, -3, 900)

    _, lost = stopped_out(1, at_3=second, at_6=lambda ctx, h: ctx.cancel(h["other"]))
    assert lost[["qty", "order"]].to_numpy().tolist() == [[3, 4]]


def walk(said):
    """(strategy, instrument, side, lots, order, since, until) of every loss, by going through the records one by one."""
    found, state = [], {}
    for e in said:
        if e.kind not in (OUT_NEW, OUT_REPLACE, OUT_REPORT):
            continue
        s = state.setdefault((int(e.ts_event), int(e.instrument)), {"pos": 0, "orders": {}, "stop_ended": False, "loss": None})
        o = s["orders"].get(e.a)
        bare = lambda s: max(  # noqa: E731
            0, abs(s["pos"]) - sum(max(0, x["qty"] - x["cum"]) for x in s["orders"].values() if x["live"] and x["covers"] and x["side"] * s["pos"] < 0)
        )  # fmt: skip
        before, ended = bare(s), None
        if e.kind == OUT_NEW:
            kind = int(e["flags"]) >> 8
            s["orders"][e.a] = {
                "qty": int(e.b),
                "cum": 0,
                "side": int(e.side),
                "live": True,
                "covers": kind != T.LIMIT,
                "stop": kind >= T.STOP,
            }
        elif e.kind == OUT_REPLACE:
            o["wanted"] = int(e.b)
        elif e.d & 1:
            what, now = int(e["flags"]) >> 8, int(e.d) >> 1
            if what in (EXEC_TRADE, EXEC_BUST):
                lots = int(e.b) if what == EXEC_TRADE else -int(e.b)
                o["cum"] += lots
                s["pos"] += o["side"] * lots
            elif what == EXEC_REPLACED:
                o["qty"] = o["wanted"]
            if now in (CANCELED, REJECTED, EXPIRED):
                o["live"] = False
                ended = o if what not in (EXEC_TRADE, EXEC_BUST) else None
        if s["pos"] == 0:
            s["stop_ended"] = False
        elif ended is not None and ended["stop"]:
            s["stop_ended"] = True
        after, loss = bare(s), s["loss"]
        if loss is not None and (after <= loss["was"] or loss["side"] * s["pos"] <= 0):
            loss["until"] = int(e.ts_recv)
            s["loss"] = loss = None
        elif loss is not None:
            loss["lots"] = max(loss["lots"], after - loss["was"])
        if loss is None and ended is not None and ended["covers"] and after > before and s["pos"] and s["stop_ended"]:
            side = 1 if s["pos"] > 0 else -1
            s["loss"] = {
                "was": before,
                "side": side,
                "lots": after - before,
                "order": int(e.a) >> T.SLOT_BITS,
                "since": int(e.ts_recv),
                "until": None,
            }
            found.append((int(e.ts_event), int(e.instrument), s["loss"]))
    return [(k, i, x["side"], x["lots"], x["order"], x["since"], x["until"]) for k, i, x in found if x["until"] != x["since"]]


@pytest.mark.parametrize("seed", range(4))
def test_random_trading_against_a_walk(seed):
    engine = Engine(
        equity_day(("A", "B"), 1_500, seed=seed),
        [load(RandomTrader, {"seed": 10 + seed, "every": 4}), load(RandomTrader, {"seed": 20 + seed, "every": 9, "qty": 2})],
    ).run()
    made = tables(engine)["unprotected"]
    names, symbols = ["RandomTrader#1", "RandomTrader#2"], ["A", "B"]
    ns = {c: made[c].cast("int64").to_pylist() for c in ("since", "until")}
    got = [
        (names.index(r["strategy"]), symbols.index(r["symbol"]), 1 if r["side"] == "buy" else -1, int(r["qty"]), r["order"], a, b)
        for r, a, b in zip(made.drop_columns(["since", "until"]).to_pylist(), ns["since"], ns["until"], strict=True)
    ]  # fmt: skip
    wanted = walk(engine.output())
    assert sorted(got, key=str) == sorted(wanted, key=str)
    assert len(got) > 3
