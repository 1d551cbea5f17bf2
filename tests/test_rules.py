"""What rules charge on US equities: by date, on sales and on both sides, with the most a trade; against a plain computation."""

import datetime
from decimal import Decimal

import pytest

import replay
from replay.data.instruments import Instrument
from replay.data.synth_bars import bars_month
from replay.errors import BadInput
from replay.runs import rules

TRADES = """
from replay import Strategy, compiled

@compiled
class Trades(Strategy):
    qty: int = 100

    def on_bar(self, ctx, b):
        ctx.target(b.instrument, self.qty if ctx.position(b.instrument) <= 0 else -self.qty)
"""
#: sales of 2026: SEC a dollar, TAF a share and its cap; CAT a share of either side
BY_DAY = {
    "2026-01-01": ("0", "0.000195", "9.79", "0"),
    "2026-04-04": ("0.0000206", "0.000195", "9.79", "0"),
    "2026-05-01": ("0.0000206", "0.000195", "9.79", "0.000003"),
    "2026-10-01": ("0.0000206", "0", "0", "0.000003"),
}


def due(day, side, qty, notional):
    sec, taf, most, cat = (Decimal(x) for x in BY_DAY[max(d for d in BY_DAY if d <= day)])
    sale = sec * notional + min(taf * qty, most) if side == "sell" else 0
    return sale + cat * qty


@pytest.mark.parametrize("month", ["2026-04", "2026-05", "2026-10"])
@pytest.mark.parametrize("qty", [100, 60_000])
def test_fees_of_every_fill(tmp_path, month, qty):
    source = tmp_path / "trades.py"
    source.write_text(TRADES)
    run = replay.run(bars_month(month), source, {"qty": qty}, commission="alpaca", participation=Decimal(0), to=f"{month}-10")
    fills = run.table("fills").to_pylist()
    seen = set()
    for f in fills:
        day = f["ts_event"].astimezone(datetime.timezone(datetime.timedelta(hours=-4))).date().isoformat()
        notional = Decimal(str(f["notional"]))
        assert float(f["fee"]) == pytest.approx(float(due(day, f["side"], Decimal(str(f["last_qty"])), notional)), abs=2e-8)
        seen.add((max(d for d in BY_DAY if d <= day), f["side"]))
    assert len(fills) > 1000 and {side for _, side in seen} == {"buy", "sell"}
    assert len({d for d, _ in seen}) == (2 if month == "2026-04" else 1)
    assert float(run.summary.fees) == pytest.approx(sum(float(f["fee"]) for f in fills))


def test_every_day_a_rule_changed_is_a_row():
    rows = rules.charges([])
    assert [r.from_ns for r in rows] == sorted({r.from_ns for r in rows})
    assert rows[0].sale_e8 == 1840 and rows[0].sale_per_lot == 11_900 and rows[0].sale_most == 595_000_000
    assert rules.charges([_shares("100")])[0].sale_per_lot == 1_190_000


@pytest.mark.parametrize(("month", "words"), [("2012-02", "known from 2015-02-14"), ("2027-02", "known from 2015-02-14")])
def test_times_whose_rules_are_not_known_are_refused(month, words):
    with pytest.raises(BadInput, match=words):
        replay.run(bars_month(month), "buy_and_hold", commission="alpaca")


def test_lots_that_are_no_shares_are_refused():
    with pytest.raises(BadInput, match="whole shares of one lot size"):
        rules.charges([_shares("0.5")])
    with pytest.raises(BadInput, match="whole shares of one lot size"):
        rules.charges([_shares("1"), _shares("100")])


def _shares(lot):
    return Instrument(symbol="X", tick_size="0.01", lot_size=lot, currency="USD")
