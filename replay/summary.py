"""What a run did, in figures: computed from the trader's state, so that it is as right half-way as at the end.

Money is exact: integers of 1e-8 in the state, `Decimal` here. Figures that need a sample come from `replay.runs.statistics`.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pyarrow as pa

from replay.data.hours import has_days
from replay.data.instruments import Instrument
from replay.data.times import utc_text
from replay.engine import Engine
from replay.events import KIND_NAMES
from replay.runs.days import days_of
from replay.runs.statistics import Returns, Statistics, Trading, returns
from replay.runs.warnings import warnings
from replay.trader import layout as T
from replay.trader.limits import MONEY, Limits
from replay.trader.orders import FREE, STATE_NAMES, TERMINAL, WHY_NAMES
from replay.trader.output import OUT_REFUSED, OUT_STATE
from replay.trader.reasons import N_REASONS, REASON_NAMES, SENTENCES
from replay.trader.setup import executes
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
    `rejected` by the venue. `rejections` and `expirations` count those orders by the venue's reason (`WHY_NAMES`; `not_said` of a
    broker's). `stops` are halts and kills of the trader; `warnings` what a reader must know beside the figures. `events` are those the trader consumed, by kind: the session's, then reports, fees, timers and
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
    rejections: dict[str, int]
    canceled: int
    expired: int
    expirations: dict[str, int]
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
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...]
    elapsed_s: float
    events_per_s: float
    digest: str
    complete: bool

    @staticmethod
    def of(engine: Engine, tables: dict[str, pa.Table], complete: bool = True) -> Summary:
        """The summary of an engine's run so far and its tables; `complete` is False where it ended before the session did."""
        h, m, p = engine.trader.header, engine.session.manifest, engine.profile
        names, days = strategy_names(engine), days_of(engine.session, None if complete else int(h.now))
        currencies = engine.trader.region("currencies")
        replayed, elapsed = int(engine.venue.header.local_i), engine.elapsed_s
        rows, said = engine.trader.region("strategies"), engine.output()
        ended = _counted(tables["orders"])
        holdings = tuple(_holdings(engine, names, tables["fills"]))
        trading = Trading(tables, len(days))
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
            fills=tables["fills"].num_rows,
            filled=sum(ended["FILLED"].values()),
            refused=int(h.c_refused),
            refusals=_refusals(engine, said),
            rejected=sum(ended["REJECTED"].values()),
            rejections=ended["REJECTED"],
            canceled=sum(ended["CANCELED"].values()),
            expired=sum(ended["EXPIRED"].values()),
            expirations=ended["EXPIRED"],
            open=tuple(_open(engine, names)),
            state=_STATES[int(h.state)],
            stops=tuple(_stops(said)),
            positions=holdings,
            currency=m.instruments[0].currency,
            cash={name: money(c.cash) for name, c in zip(m.currencies, currencies, strict=True)},
            fees=sum((money(c.fees) for c in currencies), Decimal(0)),
            equity=money(h.equity),
            pnl=money(h.equity - h.initial),
            drawdown=money(h.drawdown),
            parts=tuple(Part(h.strategy, h.symbol, trading.of(h.strategy, h.symbol)) for h in holdings),
            statistics=trading.all(),
            returns=returns(tables, days, float(money(h.drawdown))),
            faults=tuple(_struck(engine)),
            warnings=warnings(engine, tables),
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
    return msgspec.json.format(encoded(value), indent=1).decode()


def encoded(value: object) -> bytes:
    """The same without space between its parts."""
    return _ENCODER.encode(value)


_ENCODER = msgspec.json.Encoder(decimal_format="number")
LIVE = "live"  #: the name of the venue's profile where the venue was none of ours
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


def _counted(orders: pa.Table) -> dict[str, dict[str, int]]:
    """Orders that have ended, by state and reason."""
    found: dict[str, dict[str, int]] = {name: {} for name, terminal in zip(STATE_NAMES, TERMINAL, strict=True) if terminal}
    for row in orders.group_by(["state", "reason"]).aggregate([([], "count_all")]).to_pylist():
        if row["state"] in found:
            found[row["state"]][row["reason"] or WHY_NAMES[0]] = row["count_all"]
    return {state: dict(sorted(of.items(), key=lambda x: (-x[1], x[0]))) for state, of in found.items()}


def _holdings(engine: Engine, names: list[str], fills: pa.Table):
    """One row for each strategy and symbol that traded, or that holds something; its fills those of the table."""
    instruments, views = engine.session.instruments, engine.trader.region("views")
    traded: dict[tuple[str, str], list[int]] = {}
    by = fills.group_by(["strategy", "symbol", "side"]).aggregate([([], "count_all"), ("last_qty_lots", "sum")])
    for r in by.to_pylist():
        of = traded.setdefault((r["strategy"], r["symbol"]), [0, 0, 0])
        of[0] += r["count_all"]
        of[1 if r["side"] == "buy" else 2] += r["last_qty_lots_sum"]
    rows, marks = engine.trader.region("positions").reshape(-1, len(instruments)), views["mark2"].tolist()
    for k, name in enumerate(names):
        own = rows[1 + k]
        (held,) = np.nonzero((own["fills"] != 0) | (own["qty"] != 0))
        figures = (own[c][held].tolist() for c in ("qty", "cost", "realised", "fees"))
        for at, qty, cost, realised, fees in zip(held.tolist(), *figures, strict=True):
            i, mark2 = instruments[at], marks[at]
            count, bought, sold = traded.get((name, i.symbol), (0, 0, 0))
            num, den = i.tick_value()
            unrealised = qty * mark2 * num // (2 * den) - cost
            yield Holding(
                strategy=name,
                symbol=i.symbol,
                fills=count,
                bought_lots=bought,
                sold_lots=sold,
                position_lots=qty,
                mark=i.price(mark2) / 2,
                currency=i.currency,
                realised=money(realised),
                unrealised=money(unrealised),
                fees=money(fees),
                pnl=money(realised + unrealised - fees),
            )


def some(symbols: list[str]) -> str:
    """The first three of a list, and how many more there are.

    >>> some(["A", "B"]), some(["A", "B", "C", "D"])
    ('A, B', 'A, B, C and 1 more')
    """
    return ", ".join(symbols[:3]) + (f" and {len(symbols) - 3} more" if len(symbols) > 3 else "")


def _profile(engine: Engine):
    """The fill profile, and what of it these data bring into play."""
    p = engine.profile
    yield p.name
    m, found = engine.session.manifest, {}
    for k, (i, level) in enumerate(zip(m.instruments, m.levels, strict=True)):
        if level == "l1" and not m.has(k, "quote"):
            found.setdefault("prints alone execute in" if p.name == "realistic" else "no quotes in", []).append(i.symbol)
        elif level in ("l1", "l2") and not m.has(k, "trade"):
            shown = "quotes elect" if level == "l1" else "the book elects"
            found.setdefault(f"without prints {shown} stops in", []).append(i.symbol)
    for what, symbols in found.items():
        yield f"{what} {some(symbols)}"
    if p.name != "realistic":
        yield f"queue {p.queue}"
    if "bars" in engine.session.manifest.levels:
        yield f"slippage {p.slippage_ppm / 100:g} bps"
        yield f"participation {p.participation_ppm / 10_000:g} %" if p.participation_ppm else "any participation"


def _left_out(engine: Engine, replayed: int):
    """What a reader may think is in these figures, and is not."""
    m, p = engine.session.manifest, engine.profile
    reaching = len(engine.feed.ours)
    if dead := [i.symbol for k, i in enumerate(m.instruments) if not executes(m, k)]:
        yield f"{some(dead)}: no data that execute orders, which are refused (no_execution)"
    if replayed < reaching:
        yield f"{reaching - replayed:,} of {reaching:,} events were not replayed"
    for name, n in m.anomalies.items():
        if name.startswith("dropped_"):
            yield f"{n:,} {name.removeprefix('dropped_').replace('_', ' ')} dropped at import"
    if m.calendar is not None and m.calendar.days and not has_days(m.calendar):
        yield f"ends of days: {m.calendar.name} has none, DAY orders work until cancelled"
    if spared := int(engine.venue.header.c_spared):
        yield f"{spared:,} faults that found no room to keep what comes of them"
    capped = engine.venue.region("bars") if p.name != LIVE and p.participation_ppm else ()
    if silent := [m.instruments[k].symbol for k, b in enumerate(capped) if b.ns and b.uncapped]:
        yield f"participation: the bars of {some(silent)} have no volume, so orders trade whole"
    rows = engine.trader.region("limits")
    if all((rows[name] == value).all() for name, value in Limits().row(m.instruments[0]).items()):
        yield "limits: none, not even buying power"
    charged = any(c.fees for c in engine.trader.region("currencies"))
    if not (charged or p.maker_fee_ppm or p.taker_fee_ppm or p.fee_per_lot or p.charges):
        yield "fees: " + ("none were charged" if p.name == LIVE else "the venue charges none")
