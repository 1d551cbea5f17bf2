"""What a run did, in figures: computed from the trader's state, so that it is as right half-way as at the end.

Money is exact: integers of 1e-8 in the state, `Decimal` here. Figures that need a sample come from `replay.runs.statistics`.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pyarrow as pa

from replay.data.instruments import Instrument
from replay.data.times import utc_text
from replay.engine import Engine
from replay.events import KIND_NAMES
from replay.runs.statistics import Returns, Statistics, day_ends, returns, statistics
from replay.trader import layout as T
from replay.trader.limits import MONEY, Limits
from replay.trader.orders import FREE, STATE_NAMES, TERMINAL
from replay.trader.output import OUT_REFUSED, OUT_STATE
from replay.trader.reasons import N_REASONS, REASON_NAMES, SENTENCES
from replay.venue.setup import Leg


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy's trading in one symbol. Money in `currency`; `pnl` = `realised` + `unrealised` - `fees`; the position is valued at
    `mark`."""

    strategy: str
    symbol: str
    fills: int
    bought_lots: int
    sold_lots: int
    position_lots: int
    mark: Decimal
    currency: str
    realised: Decimal
    unrealised: Decimal
    fees: Decimal
    pnl: Decimal


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was still working when the run ended."""

    strategy: str
    symbol: str
    side: str
    state: str
    leaves_lots: int
    px: Decimal


class Refusal(msgspec.Struct, frozen=True):
    """How often risk refused for one reason, and the figures of the first time where that check has figures."""

    count: int
    first: str | None


class Stop(msgspec.Struct, frozen=True):
    """A change of the trader's state: ``halted``, ``killed``, or ``active`` again."""

    at: str
    state: str
    reason: str
    equity: Decimal


class Struck(msgspec.Struct, frozen=True):
    """A fault of the plan: its place there, what it is, how often it struck; `of`: requests, reports, messages of the feed, ..."""

    fault: int
    kind: str
    when: str
    count: int
    of: str


class Part(msgspec.Struct, frozen=True):
    """What one strategy's trading in one symbol came to."""

    strategy: str
    symbol: str
    statistics: Statistics


class SessionPart(msgspec.Struct, frozen=True, kw_only=True):
    """The session that was replayed, and how much of it."""

    name: str
    symbols: tuple[str, ...]
    start: str
    end: str
    rows: int
    replayed: int
    sha256: str
    anomalies: dict[str, int]


class StrategyPart(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy with the values of its parameters."""

    name: str
    kind: str
    parameters: dict[str, int | float | bool | str]
    orders: int
    refused: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a run. `orders` were sent; `fills` are trades, `filled` orders that traded whole; `refused` by our risk,
    `rejected` by the venue. `events` are those the trader consumed, by kind: the session's, then reports, fees, timers and
    the control that says that no more data will come.

    >>> from replay.data.synth import equity_day
    >>> from replay.runs.tables import tables
    >>> from replay.strategy import load
    >>> engine = Engine(equity_day(n_events=2000), [load("ema_cross", {"warmup": 100})]).run()
    >>> summary = Summary.of(engine, tables(engine))
    >>> summary.events["phase"], summary.complete, sum(h.fills for h in summary.positions) == summary.fills
    (2, True, True)
    """

    session: SessionPart
    strategies: tuple[StrategyPart, ...]
    profile: str
    latency: dict[str, str]
    events: dict[str, int]
    orders: int
    replaces: int
    cancels: int
    fills: int
    filled: int
    refused: int
    refusals: dict[str, Refusal]
    rejected: int
    canceled: int
    expired: int
    open: tuple[OpenOrder, ...]
    state: str
    stops: tuple[Stop, ...]
    positions: tuple[Holding, ...]
    currency: str
    cash: dict[str, Decimal]
    fees: Decimal
    equity: Decimal
    pnl: Decimal
    drawdown: Decimal
    parts: tuple[Part, ...]
    statistics: Statistics
    returns: Returns
    faults: tuple[Struck, ...] = ()
    left_out: tuple[str, ...]
    elapsed_s: float
    events_per_s: float
    digest: str
    complete: bool

    @staticmethod
    def of(engine: Engine, tables: dict[str, pa.Table], complete: bool = True) -> Summary:
        """The summary of an engine's run so far and its tables; `complete` is False where it ended before the session did."""
        h, m, p = engine.trader.header, engine.session.manifest, engine.profile
        names, ends = strategy_names(engine), day_ends(engine.session, tables)
        currencies = engine.trader.region("currencies")
        replayed, elapsed = int(engine.venue.header.local_i), engine.elapsed_s
        rows, said = engine.trader.region("strategies"), engine.output()
        return Summary(
            session=SessionPart(
                name=m.name,
                symbols=tuple(i.symbol for i in m.instruments),
                start=utc_text(m.start_ns),
                end=utc_text(m.end_ns),
                rows=m.n_events,
                replayed=replayed,
                sha256=m.sha256,
                anomalies=m.anomalies,
            ),
            strategies=tuple(
                StrategyPart(name=n, kind=s.kind, parameters=s.values, orders=int(r.orders), refused=int(r.refused))
                for n, s, r in zip(names, engine.strategies, rows, strict=True)
            ),
            profile=", ".join(_profile(engine)),
            latency={leg: leg_text(getattr(p, leg)) for leg in ("feed", "entry", "response")},
            events={name: int(n) for name, n in zip(KIND_NAMES, h.kinds, strict=False) if n},
            orders=int(h.c_new),
            replaces=int(h.c_replace),
            cancels=int(h.c_cancel),
            fills=int(h.n_fills),
            filled=int(h.c_filled),
            refused=int(h.c_refused),
            refusals=_refusals(engine, said),
            rejected=int(h.c_rejected),
            canceled=int(h.c_canceled),
            expired=int(h.c_expired),
            open=tuple(_open(engine, names)),
            state=_STATES[int(h.state)],
            stops=tuple(_stops(said)),
            positions=tuple(_holdings(engine, names)),
            currency=m.instruments[0].currency,
            cash={name: money(c.cash) for name, c in zip(m.currencies, currencies, strict=True)},
            fees=sum((money(c.fees) for c in currencies), Decimal(0)),
            equity=money(h.equity),
            pnl=money(h.equity - h.initial),
            drawdown=money(h.drawdown),
            parts=tuple(
                Part(h.strategy, h.symbol, statistics(tables, len(ends), h.strategy, h.symbol)) for h in _holdings(engine, names)
            ),
            statistics=statistics(tables, len(ends)),
            returns=returns(tables, ends, float(money(h.drawdown))),
            faults=tuple(_struck(engine)),
            left_out=tuple(_left_out(engine, replayed)),
            elapsed_s=elapsed,
            events_per_s=replayed / elapsed if elapsed else 0.0,
            digest=engine.digest,
            complete=complete,
        )

    def to_json(self) -> str:
        """One JSON object, fields in the order of the class; money as exact decimal numbers."""
        return to_json(self)


def to_json(value: object) -> str:
    """JSON text of records, decimals written as numbers.

    >>> print(to_json({"cash": Decimal("0.10")}))
    {
     "cash": 0.10
    }
    """
    return msgspec.json.format(_ENCODER.encode(value), indent=1).decode()


_ENCODER = msgspec.json.Encoder(decimal_format="number")
_STATES = {T.ACTIVE: "active", T.HALTED: "halted", T.KILLED: "killed"}


def money(units: int) -> Decimal:
    """An integer of 1e-8 as a decimal without trailing zeros beyond cents.

    >>> money(1_000_000_000_000), money(-150_000), money(1)
    (Decimal('10000.00'), Decimal('-0.0015'), Decimal('1E-8'))
    """
    value = Decimal(int(units)) / MONEY
    return value.quantize(Decimal("0.01")) if int(units) % 1_000_000 == 0 else value.normalize()


def leg_text(leg: Leg) -> str:
    """A latency leg as it is written on the command line.

    >>> leg_text(Leg("constant", 1_500_000)), leg_text(Leg("recorded", 0)), leg_text(Leg("lognormal", 2000, 0.5))
    ('1.5ms', 'recorded', 'lognormal:2us:0.5')
    """
    if leg.kind == "recorded":
        return "recorded"
    size, unit = next((s, u) for s, u in ((10**9, "s"), (10**6, "ms"), (10**3, "us"), (1, "ns")) if leg.ns >= s)
    text = f"{(Decimal(leg.ns) / size).normalize():f}{unit}"
    return text if leg.kind == "constant" else f"lognormal:{text}:{leg.sigma:g}"


def strategy_names(engine: Engine) -> list[str]:
    """The strategies' names, numbered where one runs more than once."""
    names = [s.name for s in engine.strategies]
    return [f"{n}#{names[: k + 1].count(n)}" if names.count(n) > 1 else n for k, n in enumerate(names)]


def refusal_text(row: np.record, instruments: tuple[Instrument, ...]) -> str | None:
    """What a refusal's check saw and what it allows, from its output record; None where the check has no figures."""
    sentence = SENTENCES.get(int(row["flags"]))
    if sentence is None:
        return None
    figure, bound = int(row.a), int(row.b)
    return sentence.format(
        symbol=instruments[int(row.instrument)].symbol,
        figure=f"{figure:,}",
        bound=f"{bound:,}",
        figure_money=f"{money(figure):,}",
        bound_money=f"{money(bound):,}",
    )


def _refusals(engine: Engine, said: np.recarray) -> dict[str, Refusal]:
    counts = engine.trader.region("refusals").reshape(-1, N_REASONS).sum(axis=0)
    refused = said[said.kind == OUT_REFUSED]
    found = {}
    for code in np.argsort(-counts, kind="stable"):
        if counts[code]:
            of = refused[refused["flags"] == code]
            text = refusal_text(of[0], engine.session.instruments) if len(of) else None
            found[REASON_NAMES[code]] = Refusal(int(counts[code]), text)
    return found


def _stops(said: np.recarray):
    for row in said[said.kind == OUT_STATE]:
        yield Stop(utc_text(row.ts_recv), _STATES[int(row.side)], REASON_NAMES[int(row.id)], money(row.a))


def _struck(engine: Engine):
    rows = engine.faults_struck()
    for k, fault in enumerate(engine.faults.faults):
        yield Struck(k, fault.kind, fault.when(), int((rows["id"] == k).sum()), fault.of)


def _open(engine: Engine, names: list[str]):
    instruments = engine.session.instruments
    for o in engine.trader.region("orders"):
        if o.state != FREE and not TERMINAL[o.state]:
            i = instruments[o.instrument]
            yield OpenOrder(
                strategy=names[o.strategy],
                symbol=i.symbol,
                side="buy" if o.side > 0 else "sell",
                state=STATE_NAMES[o.state],
                leaves_lots=int(o.qty - o.cum),
                px=i.price(o.px or o.stop_px),
            )


def _holdings(engine: Engine, names: list[str]):
    """One row for each strategy and symbol that traded."""
    instruments, views = engine.session.instruments, engine.trader.region("views")
    rows = engine.trader.region("positions").reshape(-1, len(instruments))
    for k, name in enumerate(names):
        for i, v, p in zip(instruments, views, rows[1 + k], strict=True):
            if p.fills == 0 and p.qty == 0:
                continue
            num, den = i.tick_value()
            value = int(p.qty) * int(v.mark2) * num // (2 * den)
            realised, unrealised, fees = int(p.realised), value - int(p.cost), int(p.fees)
            yield Holding(
                strategy=name,
                symbol=i.symbol,
                fills=int(p.fills),
                bought_lots=int(p.bought),
                sold_lots=int(p.sold),
                position_lots=int(p.qty),
                mark=i.price(v.mark2) / 2,
                currency=i.currency,
                realised=money(realised),
                unrealised=money(unrealised),
                fees=money(fees),
                pnl=money(realised + unrealised - fees),
            )


def _profile(engine: Engine):
    """The fill profile, and what of it these data bring into play."""
    p = engine.profile
    yield p.name
    if p.name != "realistic":
        yield f"queue {p.queue}"
    if "bars" in engine.session.manifest.levels:
        yield f"slippage {p.slippage_ppm / 100:g} bps"
        yield f"participation {p.participation_ppm / 10_000:g} %" if p.participation_ppm else "any participation"


def _left_out(engine: Engine, replayed: int):
    """What a reader may think is in these figures, and is not."""
    m, p = engine.session.manifest, engine.profile
    reaching = len(engine.feed.ours)
    if replayed < reaching:
        yield f"{reaching - replayed:,} of {reaching:,} events were not replayed"
    for name, n in m.anomalies.items():
        if name.startswith("dropped_"):
            yield f"{n:,} {name.removeprefix('dropped_').replace('_', ' ')} dropped at import"
    if spared := int(engine.venue.header.c_spared):
        yield f"{spared:,} faults that found no room to keep what comes of them"
    if engine.limits == Limits():
        yield "limits: none, not even buying power"
    if not (p.maker_fee_ppm or p.taker_fee_ppm or p.fee_per_lot):
        yield "fees: the venue charges none"
