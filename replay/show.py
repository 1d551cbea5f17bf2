"""What the command line prints: a summary and a journal for people to read. Right-aligned, thousands separated, nothing hidden."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from replay.data.instruments import Instrument
from replay.data.manifest import Manifest
from replay.data.times import utc_text
from replay.runs.statistics import FEWEST_DAYS, Statistics
from replay.summary import Summary, money, refusal_text
from replay.terminal import consoles
from replay.trader import layout as T
from replay.trader.orders import EXEC_NAMES, EXEC_TRADE
from replay.trader.output import OUT_EQUITY, OUT_FEE, OUT_LOG, OUT_NAMES, OUT_NEW, OUT_REFUSED, OUT_REPORT, OUT_SEEN, OUT_STATE
from replay.trader.reasons import OF_NOBODY, REASON_NAMES

ORD_TYPES = ("MARKET", "LIMIT", "STOP", "STOP_LIMIT")
RULE = Text("─" * 100, "dim")
MOST_ROWS = 30  #: holdings shown; all of them are in --json


def number(value: int | Decimal, signed: bool = False) -> str:
    """Thousands separated; money to the cent, finer only where it is finer.

    >>> number(1234567), number(Decimal("1234.5"), signed=True), number(Decimal("-0.00012"))
    ('1,234,567', '+1,234.50', '-0.00012')
    """
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}" if value == round(value, 2) else f"{value:,f}"
    return f"+{text}" if signed and value > 0 else text


def rate(per_s: float) -> str:
    """Events per second in words.

    >>> rate(31_400_000.0), rate(48_000.0)
    ('31 M/s', '48 k/s')
    """
    return f"{per_s / 1e6:.2g} M/s" if per_s >= 1e6 else f"{per_s / 1e3:.3g} k/s"


def labelled(label: str, *parts: object) -> Text:
    """A line under a label."""
    return Text.assemble((f"{label:<10}", "dim"), "   ".join(str(p) for p in parts if p not in ("", None)))


def _counts(counts: dict[str, int]) -> str:
    return " · ".join(f"{name} {n:,}" for name, n in counts.items())


def render(s: Summary) -> RenderableType:
    """The summary as rich prints it."""
    of = s.session
    symbols = " ".join(of.symbols[:6]) + (f" and {len(of.symbols) - 6} more" if len(of.symbols) > 6 else "")
    top = [
        labelled("session", of.name, f"{of.start} to {of.end}", symbols),
        labelled("events", _counts(s.events), f"replayed in {s.elapsed_s:.3f} s, {rate(s.events_per_s)}"),
        labelled("venue", f"profile {s.profile}", "latency " + " / ".join(f"{k} {v}" for k, v in s.latency.items())),
    ]
    for part in s.strategies:
        top.append(labelled("strategy", f"{part.name} ({part.kind})", *(f"{k} {v}" for k, v in part.parameters.items())))
    notes = [
        labelled("orders", f"sent {s.orders:,}", f"filled {s.filled:,}", f"canceled {s.canceled:,}", f"expired {s.expired:,}",
              f"rejected {s.rejected:,}", f"refused {s.refused:,}", f"open at the end {len(s.open):,}"),
        *(labelled("", f"{how}: {_counts(of)}") for how, of in (("rejected", s.rejections), ("expired", s.expirations)) if of),
        *(labelled("", f"refused: {name} {r.count:,}", f"(first: {r.first})" if r.first else "") for name, r in s.refusals.items()),
        *(labelled("", f"open: {o.strategy} {o.side} {o.leaves_lots:,} {o.symbol} @ {o.px} {o.state}") for o in s.open[:MOST_ROWS]),
        labelled("halts", *([f"now {s.state}"] if s.stops else ["none"])),
        *(labelled("", f"{x.at} {x.state}: {x.reason}, equity {number(x.equity)}") for x in s.stops[:MOST_ROWS]),
        *_quality(s),
        labelled("account", "cash " + ", ".join(f"{number(v)} {k}" for k, v in s.cash.items()), f"equity {number(s.equity)} {s.currency}",
              f"PnL {number(s.pnl, True)}"),
        *(labelled("faults" if k == 0 else "", f"{x.kind} {x.when}", f"struck {x.count:,} {x.of}") for k, x in enumerate(s.faults)),
        *(labelled("warnings" if k == 0 else "", text) for k, text in enumerate(s.warnings)),
        labelled("left out", "; ".join(s.left_out) or "nothing"),
        labelled("digest", s.digest, "" if s.complete else "INCOMPLETE: the run ended before the session did"),
    ]  # fmt: skip
    return Group(*top, RULE, _trading(s), RULE, *notes)


def _trading(s: Summary) -> RenderableType:
    """One row for each strategy and symbol that traded, and the total."""
    if not s.positions:
        return Text("no fills")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("strategy", "symbol"):
        table.add_column(name)
    for name in (
        "fills",
        "trips",
        "win",
        f"gross\n{s.currency}",
        f"fees\n{s.currency}",
        f"net\n{s.currency}",
        "slippage\nbps",
        "in market",
        "position\nlots",
    ):
        table.add_column(name, justify="right")
    for p, part in list(zip(s.positions, s.parts, strict=True))[:MOST_ROWS]:
        table.add_row(p.strategy, p.symbol, f"{p.fills:,}", *_figures(part.statistics), f"{p.position_lots:,}")
    if len(s.positions) > MOST_ROWS:
        table.add_row(f"and {len(s.positions) - MOST_ROWS} more", "")
    if len(s.positions) > 1:
        table.add_row("total", "", f"{s.fills:,}", *_figures(s.statistics), "")
    return table


def _figures(x: Statistics) -> Iterator[str]:
    yield f"{x.trips:,}"
    yield _or(x.win_rate, "{:.0%}")
    yield from (f"{x.gross:+,.2f}", f"{x.fees:,.2f}", f"{x.net:+,.2f}")
    yield _or(x.slippage_bps, "{:+.2f}")
    yield _or(x.exposure, "{:.0%}")


def _or(value: float | None, pattern: str) -> str:
    return "-" if value is None else pattern.format(value)


def _quality(s: Summary) -> Iterator[Text]:
    """The figures that need a sample, each with what it was drawn from, or why it is not shown."""
    x, r = s.statistics, s.returns
    if x.trips:
        yield labelled(
            "trips",
            f"{x.trips:,}",
            f"win rate {_or(x.win_rate, '{:.1%}')}",
            f"profit factor {_or(x.profit_factor, '{:.2f}')}",
            f"expectancy {_or(x.expectancy, '{:+,.2f}')}",
            f"{_or(x.trips_a_day, '{:,.1f}')} a day",
            f"held {_or(x.holding_s, '{:,.1f}')} s on average",
            f"turnover {_or(x.turnover, '{:,.1f}')} x capital",
        )
    yearly = (
        ("Sharpe", r.sharpe, "{:.2f}"),
        ("Sortino", r.sortino, "{:.2f}"),
        ("a month", r.monthly_return, "{:+.2%}"),
        ("a year", r.annualised_return, "{:+.2%}"),
    )
    known = [f"{name} {pattern.format(value)}" for name, value, pattern in yearly if value is not None]
    days = f"{r.days} day{'s' if r.days != 1 else ''}"
    if known:
        known.append(f"by {r.days_a_year} days a year, of {r.days_by}")
    elif r.days < FEWEST_DAYS:
        known = [f"Sharpe, Sortino, monthly and annualised return not shown: {days} is no sample"]
    else:
        known = ["Sharpe, Sortino, monthly and annualised return not shown: equity was not above zero at every day's end"]
    yield labelled("returns", f"total {_or(r.total_return, '{:+.2%}')} in {days}", *known)
    if r.drawdown:
        yield labelled(
            "drawdown",
            f"{r.drawdown:,.2f} {s.currency} ({_or(r.drawdown_share, '{:.2%}')} of the peak)",
            f"{r.drawdown_from} to {r.drawdown_to}",
        )


def written(folder: Path) -> RenderableType:
    """Where a run is, the last line of the command."""
    return labelled("wrote", f"{folder}/", "open report.html")


def render_manifest(m: Manifest) -> RenderableType:
    """A session's manifest: symbols, counts by kind, times, what was found."""
    lines = [
        labelled("session", m.name, f"{utc_text(m.start_ns)} to {utc_text(m.end_ns)}"),
        labelled("events", f"{m.n_events:,}:", _counts(m.counts)),
        *([labelled("hours", m.calendar.name, f"{len(m.calendar.days):,} trading days")] if m.calendar else []),
        labelled("clock", f"shift {m.clock_shift_ns:,} ns added to receive times" if m.clock_shift_ns else "as recorded"),
        *(labelled("found" if k == 0 else "", f"{name} {n:,}") for k, (name, n) in enumerate(m.anomalies.items())),
        labelled("inferred", " ".join(m.inferred)) if m.inferred else labelled("inferred", "nothing"),
        *(labelled("source", f"{x.name}: {x.rows:,} rows, sha256 {x.sha256[:16]}…") for x in m.sources[:MOST_ROWS]),
        labelled("sha256", m.sha256),
    ]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("symbol", "level", "currency"):
        table.add_column(name)
    for name in ("tick", "lot", "lowest", "highest"):
        table.add_column(name, justify="right")
    for k, i in enumerate(m.instruments[:MOST_ROWS]):
        low, high = (number(i.price(px)) for px in (m.min_px[k], m.max_px[k]))
        table.add_row(i.symbol, m.levels[k], i.currency, i.tick_size, i.lot_size, low, high)
    if len(m.instruments) > MOST_ROWS:
        table.add_row(f"and {len(m.instruments) - MOST_ROWS} more")
    return Group(*lines, RULE, table)


def render_catalog(found: dict[Path, Manifest]) -> RenderableType:
    """One line a session: where it is, what it holds."""
    if not found:
        return Text("no sessions here: import one, or make one with replay synth")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("session", "from", "to", "symbols", "kinds"):
        table.add_column(name)
    table.add_column("events", justify="right")
    for path, m in found.items():
        symbols = " ".join(i.symbol for i in m.instruments[:4]) + (
            f" +{len(m.instruments) - 4}" if len(m.instruments) > 4 else ""
        )
        table.add_row(str(path), utc_text(m.start_ns), utc_text(m.end_ns), symbols, " ".join(m.counts), f"{m.n_events:,}")
    return table


def said_by(rows: np.recarray, instruments: Sequence[Instrument], names: Sequence[str]) -> Iterator[dict[str, object]]:
    """What a trader said (its output records), in order: orders, cancels, replaces, refusals, reports, fees, logs, changes of state.
    `names` are its strategies'."""
    for row in rows[rows.kind < OUT_SEEN]:
        yield said(row, instruments, names)


def line(said: dict[str, object]) -> str:
    """One record of the journal as a line of text.

    >>> line({"at": "10:00", "what": "new", "side": "buy"})
    '10:00 new side buy'
    """
    return " ".join(str(v) if k in ("at", "what") else f"{k} {v}" for k, v in said.items())


def said(row: np.record, instruments: Sequence[Instrument], names: Sequence[str]) -> dict[str, object]:
    """One output record of the trader (`replay.trader.output`) by the names of its fields; `names` are the strategies'."""
    what, side, i = int(row.kind), int(row.side), instruments[int(row.instrument)]
    said = {"at": utc_text(row.ts_recv), "what": OUT_NAMES[what - 32]}
    if what in (OUT_NEW, OUT_REFUSED, OUT_LOG):
        said["strategy"] = names[int(row.ts_event)]
    if what == OUT_STATE:
        said |= {"state": ("active", "halted", "killed")[side], "reason": REASON_NAMES[int(row.id)], "equity": money(row.a)}
    elif what == OUT_REFUSED:
        symbol = "" if row["flags"] in OF_NOBODY else i.symbol
        said |= {"symbol": symbol, "qty_lots": int(row.c), "px": i.price(row.id), "reason": REASON_NAMES[int(row["flags"])]}
        said |= {"why": text} if (text := refusal_text(row, instruments)) else {}
    elif what == OUT_LOG:
        said |= {"code": int(row.id), "values": [float(np.int64(row[w]).view(np.float64)) for w in "abc"]}
    elif what == OUT_SEEN:
        said |= {"order": int(row.a) >> T.SLOT_BITS, "mark_ticks": int(row.b) / 2, "input": int(row.id)}
    elif what == OUT_EQUITY:
        said |= {"equity": money(row.a), "gross": money(row.b), "net": money(row.c)}
    else:
        said |= {"order": int(row.a) >> T.SLOT_BITS, "side": "buy" if side > 0 else "sell", "symbol": i.symbol}
        if what == OUT_FEE:
            said |= {"fee": money(row.b)}
        elif what == OUT_REPORT:
            exec_type = int(row["flags"]) >> 8
            said |= {"exec_type": EXEC_NAMES[exec_type]}
            if exec_type == EXEC_TRADE:
                said |= {"last_qty_lots": int(row.b), "last_px": i.price(row.c)}
        else:
            said |= {"qty_lots": int(row.b)}
            kind = int(row["flags"]) >> 8 if what == OUT_NEW else T.LIMIT
            said |= {"ord_type": ORD_TYPES[kind]} if what == OUT_NEW else {}
            said |= {"px": i.price(row.c)} if kind in (T.LIMIT, T.STOP_LIMIT) else {}
            said |= {"stop_px": i.price(row.d)} if kind in (T.STOP, T.STOP_LIMIT) else {}
    return said


def console() -> Console:
    """Where results are printed; never so narrow that a figure would be cut short."""
    return consoles(soft_wrap=True, width=max(Console().width, 140))
