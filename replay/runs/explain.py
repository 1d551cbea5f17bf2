"""Why an order was sent, or refused, and what became of it: the run is made again up to the event that caused it, and looked at there.

recorded run ──► rebuilt up to input n - 1 ──► one input ──► the strategy's state before and after, features, risk figures
                                                   └──► the venue alone, up to the order's arrival ──► queue, what it met
tables of the recorded run ──► reports, fills, costs; the rebuilt run goes on for the markouts
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec
import numpy as np

from replay.data.instruments import Instrument
from replay.data.times import utc_text
from replay.engine import Engine
from replay.errors import BadInput
from replay.kernel.arena import Arena
from replay.runs.checks import Asked, Check, checks
from replay.runs.cost import Cost, cost
from replay.runs.features import values
from replay.runs.rebuild import Told, agree, name_of, reach, rebuild, records
from replay.runs.result import Result
from replay.runs.way import Way, way
from replay.runs.wording import ORDER_FLAGS, event_text, report_texts
from replay.show import ORD_TYPES
from replay.summary import money, refusal_text, strategy_names
from replay.trader import layout as T
from replay.trader import reasons as R
from replay.trader import risk
from replay.trader.output import OUT_CANCEL, OUT_NEW, OUT_REFUSED, OUT_REPLACE, OUT_SEEN

TIFS = ("DAY", "GTC", "IOC", "FOK")
FLOORS = {R.DAILY_LOSS: "max_daily_loss", R.TOTAL_LOSS: "max_total_loss", R.DRAWDOWN: "max_drawdown"}


class Why(msgspec.Struct, frozen=True):
    """The input that caused it: its number, when the trader took it, what it was, and which handler it woke (None: the engine's own)."""

    input: int
    at: str
    event: str
    handler: str | None


class Feature(msgspec.Struct, frozen=True):
    """A feature as the strategy could read it then: prices in ticks. `value` None: not ready."""

    name: str
    spec: str
    symbol: str
    value: float | None


class Field(msgspec.Struct, frozen=True):
    """A field of the strategy's annotated state before and after the event; `symbol` where there is one value an instrument."""

    name: str
    symbol: str | None
    before: int | float | bool
    after: int | float | bool


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one order or refusal. `checked`: records of the rebuilt run that were found equal to the recorded ones.

    `risk` None: no check was asked, `risk_note` says why. `way`, `reports`, `cost` are an order's.
    """

    run: str
    order: int | None
    refusal: int | None
    strategy: str
    symbol: str
    side: str
    order_qty: Decimal
    ord_type: str
    time_in_force: str
    flags: tuple[str, ...]
    limit_px: Decimal | None
    stop_px: Decimal | None
    group: str | None
    why: Why
    parameters: dict[str, bool | int | float | str]
    features: tuple[Feature, ...]
    state: tuple[Field, ...]
    refused: str | None
    risk: tuple[Check, ...] | None
    risk_note: str
    way: Way | None
    reports: tuple[str, ...]
    cost: Cost | None
    checked: int


def explain(
    run: Result,
    order: int | None = None,
    *,
    refusal: int | None = None,
    compiling: Callable[[str, int, int], None] | None = None,
    told: Told | None = None,
) -> Explanation:
    """What caused an order, by its number in the table `orders`, or a refusal, by its place in `refusals` (1: the first).

    Raises `BadInput` where there is no such order, and as `replay.runs.rebuild.rebuild`.

    >>> import replay
    >>> run = replay.run(strategy="ema_cross")
    >>> explain(run, 1).why.handler
    'on_quote'
    """
    recorded = records(run.table("events"))
    row, seq = _subject(run, recorded, order, refusal)
    engine = rebuild(run, compiling)
    if seq > 0:
        reach(engine, seq - 1, told)
    else:
        engine.reach(0)
    strategy = int(row.ts_event)
    before, said_before = _state(engine, strategy), len(engine.output()) if seq > 0 else 0
    engine.reach(seq)
    agree(engine, run)
    now = engine.output()[said_before:]
    k = int(np.flatnonzero(np.ascontiguousarray(now).view("V64") == np.asarray(row).view("V64"))[0])
    return _Explaining(run, engine, row, now, k).whole(order, refusal, seq, before, recorded)


def _subject(run: Result, recorded: np.recarray, order: int | None, refusal: int | None) -> tuple[np.record, int]:
    """The record to explain, and the number of the input that caused it."""
    if refusal is not None:
        rows = recorded[recorded.kind == OUT_REFUSED]
        if not 1 <= refusal <= len(rows):
            raise BadInput(
                f"{name_of(run)}: no refusal {refusal}: " + (f"it has 1 to {len(rows)}" if len(rows) else "nothing was refused")
            )
        return rows[refusal - 1], int(rows[refusal - 1].d)
    new = recorded[recorded.kind == OUT_NEW]
    ordinals = new.a >> T.SLOT_BITS
    found = np.flatnonzero(ordinals == order)
    if not len(found):
        known = f"it has {len(new)}, {ordinals.min()} to {ordinals.max()}" if len(new) else "it sent none"
        raise BadInput(f"{name_of(run)}: no order {order}: {known}; replay sql RUN 'select * from orders' lists them")
    seen = recorded[(recorded.kind == OUT_SEEN) & (recorded.side == 0)]
    return new[found[0]], int(seen.id[seen.a == new[found[0]].a][0])


def _state(engine: Engine, k: int) -> dict[str, object]:
    """A strategy's annotated state, arrays aside."""
    strategy = engine.strategies[k]
    found = strategy.save() if strategy.kind == "plain" else strategy.state(engine.trader, k)
    return {name: value for name, value in found.items() if name not in strategy.fields.arrays}


class _Explaining:
    """One record of the trader, with the engine just behind the input that caused it. `now`: what was said at that input."""

    def __init__(self, run: Result, engine: Engine, row: np.record, now: np.recarray, k: int):
        self.run, self.engine, self.row, self.now, self.k = run, engine, row, now, k
        self.instruments = engine.session.instruments
        self.strategy, self.instrument = int(row.ts_event), int(row.instrument)
        self.i: Instrument = self.instruments[self.instrument]
        self.new = int(row.kind) == OUT_NEW
        flags = int(row["flags"])
        if self.new:
            self.kind, self.tif, self.flags = flags >> 8, flags >> 4 & 15, flags & 15
            self.qty, self.px, self.stop_px = int(row.b), int(row.c), int(row.d)
        else:
            self.kind, self.tif, self.flags = T.LIMIT if row.id else T.MARKET, T.DAY, 0
            self.qty, self.px, self.stop_px = abs(int(row.c)), int(row.id), 0

    def whole(self, order: int | None, refusal: int | None, seq: int, before: dict, recorded: np.recarray) -> Explanation:
        trader = self.engine.trader
        event = trader.region("current")[0]
        of_event = int(event.instrument) if seq > 0 else self.instrument
        shown = [k for k in dict.fromkeys((self.instrument, of_event)) if k < len(self.instruments)]
        group, stop_loss, first = self._group(trader)
        found, note = self._risk(trader, stop_loss, first)
        handler = None if self._engines() else T.HOOKS[int(trader.header.hook)]
        explanation = {
            "features": tuple(self._features(shown)),
            "state": tuple(self._fields(before, _state(self.engine, self.strategy), shown)),
            "why": Why(
                seq, utc_text(self.row.ts_recv), event_text(event, self.instruments, trader) if seq else "the start", handler
            ),
        }
        arrival = way(self.engine, int(self.row.a), self.instrument) if self.new else None
        mine = recorded[(recorded.a == self.row.a) & (recorded.kind != OUT_REFUSED)] if self.new else recorded[:0]
        spent = cost(self.run, self.engine, order, self.i, arrival) if self.new else None
        return Explanation(
            run=name_of(self.run),
            order=order if self.new else None,
            refusal=refusal,
            strategy=strategy_names(self.engine)[self.strategy],
            symbol="" if refusal is not None and self.row["flags"] in R.OF_NOBODY else self.i.symbol,
            side="buy" if self.row.side > 0 else "sell",
            order_qty=self.i.qty(self.qty),
            ord_type=ORD_TYPES[self.kind],
            time_in_force=TIFS[self.tif],
            flags=tuple(name for bit, name in ORDER_FLAGS.items() if self.flags & bit),
            limit_px=self.i.price(self.px) if self.kind in (T.LIMIT, T.STOP_LIMIT) else None,
            stop_px=self.i.price(self.stop_px) if self.kind in (T.STOP, T.STOP_LIMIT) else None,
            group=group,
            parameters=self.engine.strategies[self.strategy].values,
            refused=None if self.new else self._refused(),
            risk=found,
            risk_note=note,
            way=arrival,
            reports=tuple(report_texts(mine, self.instruments)),
            cost=spent,
            checked=agree(self.engine, self.run),
            **explanation,
        )

    def _engines(self) -> bool:
        """Whether the engine sent it by itself: a flattener, or an exit of a bracket whose entry has filled."""
        return bool(self.flags & T.ENGINE) or self.slot_group in (T.TAKE_PROFIT, T.STOP_LOSS)

    @property
    def slot_group(self) -> int:
        return int(self.engine.trader.region("orders")[int(self.row.a) & T.SLOT_MASK].group) if self.new else T.NO_GROUP

    def _group(self, trader: Arena) -> tuple[str | None, int, int]:
        """What it is part of, the stop-loss the check was told of, and the first ordinal the check did not know."""
        later = self.now[self.k :]
        opened = later.a[later.kind == OUT_NEW] >> T.SLOT_BITS
        first = int(opened.min()) if len(opened) else 1 << 40
        group, table = self.slot_group, trader.region("orders")
        if group == T.NO_GROUP:
            return None, 0, first
        o = table[int(self.row.a) & T.SLOT_MASK]
        number = {name: int(o[name]) >> T.SLOT_BITS for name in ("sibling", "second")}
        if group in (T.ENTRY, T.ENDED):
            exits = [table[int(o[name]) & T.SLOT_MASK] for name in ("sibling", "second") if o[name]]
            stops = [int(x.stop_px) for x in exits if x.type == T.STOP]
            return "entry of a bracket, exits " + " and ".join(str(n) for n in number.values() if n), *(stops or [0]), first
        if group == T.OCO_LEG:
            return f"one of a pair with {number['sibling']}", 0, min(int(self.row.a) >> T.SLOT_BITS, number["sibling"])
        return {T.TAKE_PROFIT: "take-profit", T.STOP_LOSS: "stop-loss"}[group] + " of a bracket", 0, first

    def _risk(self, trader: Arena, stop_loss: int, first: int) -> tuple[tuple[Check, ...] | None, str]:
        if self.flags & T.ENGINE:
            return None, "not asked: the engine's own order, which only reduces"
        if self._engines():
            return None, "not asked: the check was of its bracket's entry"
        if not self.new and not self.qty:
            return None, "not asked: a request about an order, not a new one"
        pair = risk.PAIR if self.slot_group == T.OCO_LEG else 0
        limit = self._limit_leg(trader) if pair else self.row
        sent = self.now[self.k :] if not pair else self.now[np.flatnonzero(self.now.a >> T.SLOT_BITS >= first)[0] :]
        asked = Asked(
            strategy=self.strategy,
            instrument=self.instrument,
            side=int(self.row.side),
            qty=self.qty,
            px=int(limit.c) if pair else self.px,
            stop_px=0 if pair else self.stop_px,
            kind=T.LIMIT if pair else self.kind,
            tif=self.tif,
            flags=self.flags & (T.POST_ONLY | T.REDUCE_ONLY | T.OUTSIDE) | pair,
            stop_loss=stop_loss,
            first=first,
            messages=int(np.isin(sent.kind, (OUT_NEW, OUT_CANCEL, OUT_REPLACE)).sum()),
            orders=int((sent.kind == OUT_NEW).sum()),
        )
        found = tuple(checks(trader, asked))
        if not self.new and not self._consistent(found):
            return None, "the other figures are not known: it was a replace, a stop or part of a group"
        return found, self._floor(trader) if found else "no limit of orders is in force" + self._floor(trader, "; ")

    def _limit_leg(self, trader: Arena) -> np.record:
        rows = self.now[(self.now.kind == OUT_NEW) & (self.now["flags"] >> 8 == T.LIMIT)]
        o = trader.region("orders")[int(self.row.a) & T.SLOT_MASK]
        return next(r for r in rows if r.a in (int(self.row.a), int(o.sibling)))

    def _consistent(self, found: tuple[Check, ...]) -> bool:
        """Whether the check that refused has, asked again as of a plain order, the figure it had."""
        code, figure = int(self.row["flags"]), int(self.row.a)
        if code not in R.SENTENCES:
            return True
        values = {int(c.figure * 10**8) if c.unit == "money" else c.figure for c in found if c.figure is not None}
        return figure in values

    def _floor(self, trader: Arena, lead: str = "") -> str:
        h = trader.header
        if h.floor == risk.NOTHING:
            return ""
        return f"{lead}equity {money(h.equity):,} ≥ {money(h.floor):,} ({FLOORS[int(h.floor_reason)]})"

    def _refused(self) -> str:
        name = R.REASON_NAMES[int(self.row["flags"])]
        text = refusal_text(self.row, self.instruments)
        return f"{name}: {text}" if text else name

    def _features(self, shown: list[int]):
        for k, name, spec, n, value in values(self.engine):
            if k == self.strategy and n in shown:
                yield Feature(name, str(spec), self.instruments[n].symbol, value)

    def _fields(self, before: dict, after: dict, shown: list[int]):
        for name, was in before.items():
            if isinstance(was, list):
                yield from (Field(name, self.instruments[k].symbol, was[k], after[name][k]) for k in shown)
            else:
                yield Field(name, None, was, after[name])
