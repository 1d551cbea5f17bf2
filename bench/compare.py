"""Ours and the peers, side by side, in one run on the same events.

    python -m bench.compare --peers hft=~/venvs/hft,naut=~/venvs/naut,naut2=~/venvs/naut2,vbt=~/venvs/vbt

Runs alternate (ours, theirs, theirs, ours, ...), so that a drift of the machine touches both alike. Every run's result is checked before
its time counts: ours against an engine-free reference, the peer's against ours. A peer that is not given is `not measured`.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from bench import reference, workloads
from bench.machine import conditions
from bench.peer import Peer, PeerError
from replay.data.session import Session
from replay.events import LAST
from replay.runs.config import RunConfig
from replay.runs.sweep import sweep
from replay.strategy import load

GROUPS = {
    "w1": ("w1_l1", "w1_l2"),
    "w2": ("w2",),
    "w3": ("w3",),
    "w4": ("w4", "w4_sweep"),
    "w5": ("w5_null", "w5_ema"),
    "plain": ("w1_plain", "w2_plain", "w3_plain"),
}
#: opponent -> (key of --peers, depth type)
HFT = {"hftbacktest HashMap": ("hft", "hash"), "hftbacktest ROIVector": ("hft", "roi")}
VECTORBT = {"vectorbt, vectorised": ("vbt", "")}
NAUTILUS = {"NautilusTrader 1.231": ("naut", ""), "NautilusTrader 2.0.0rc7": ("naut2", "")}
#: the promised ratios, in the order of the opponents (DESIGN, budgets); None where nothing is promised
FLOORS: dict[str, tuple[float | None, float | None]] = {
    "w1_l1": (7.0, 5.0),
    "w1_l2": (None, None),
    "w2": (6.0, 4.5),
    "w3": (5.0, 5.0),
    "w4": (3.0,),
    "w4_sweep": (3.0,),
    "w1_plain": (15.0, 4.0),
    "w2_plain": (12.0, 3.0),
    "w3_plain": (None, None),
}
#: the lengths of each combination of W4's sweep
LENGTHS = {"fast": list(range(5, 51, 5)), "slow": list(range(60, 241, 20))}
W5_FLOOR = 0.5  #: of W1's rate on L1
INCLUDED = (
    "A time covers the replay from the first event to the last report, with both books, order management and risk; ours also the draining of "
    "its output records{output}. Not covered on either side: reading or converting events, building the engine (ours: its column), "
    "compilation. hftbacktest records nothing; NautilusTrader keeps its orders, its logging and analysis are off. "
    "One event is one quote, trade or level of the session, whatever number of rows a peer makes of it."
)


class Row(msgspec.Struct):
    """One comparison. Seconds of each run; `ratio` is their median over ours, `pairs` the smallest and largest ratio of neighbours."""

    case: str
    title: str
    opponent: str
    source: str
    events: int
    ours_s: list[float] = []
    theirs_s: list[float] = []
    build_s: float = 0.0
    ratio: float | None = None
    pairs: tuple[float, float] | None = None
    floor: float | None = None
    agreement: str = ""
    note: str = ""
    versions: dict[str, str] = {}

    @property
    def verdict(self) -> str:
        """met, missed, no floor, or why there is no time."""
        if self.ratio is None:
            return self.note or "not measured"
        if self.floor is None:
            return "no floor"
        return "met" if self.ratio >= self.floor else "MISSED"

    def settle(self) -> None:
        """Work out the ratio."""
        pairs = [b / a for a, b in zip(self.ours_s, self.theirs_s, strict=True)]
        self.ratio = statistics.median(self.theirs_s) / statistics.median(self.ours_s)
        self.pairs = (min(pairs), max(pairs))


class Ours:
    """Our side of a case: built anew and checked for every run."""

    def __init__(self, name: str, source: workloads.Source, keep_output: bool):
        self.name, self.source, self.keep_output = name, source, keep_output
        self.case = workloads.CASES[name]
        self.strategy = load(self.case.strategy)
        self.want = workloads.expected(name, source)
        self.builds: list[float] = []
        self.outcome: dict[str, int] = {}
        self.digest = ""
        self.late: dict[str, int] = {}
        self.alone = (
            False  # our self-trade check refused something: hftbacktest's strategy gets the same check, and the table says so
        )
        self.run(first=True)  # compiles, or loads from the cache
        self.builds.clear()

    def run(self, first: bool = False) -> float:
        gc.collect()
        t = time.perf_counter()
        engine = workloads.build(self.case, self.source.session, self.keep_output or first, self.strategy)
        self.builds.append(time.perf_counter() - t)
        engine.run()
        self.outcome = workloads.check(self.name, engine, self.want)
        assert self.digest in ("", engine.digest), f"{self.name}: two runs made different decisions"
        self.digest = engine.digest
        if first:
            self.late = workloads.late(engine)
            self.alone = self.source.known is None and workloads.self_trades(engine) > 0
        return engine.elapsed_s


class OurSweep:
    """Our side of W4's sweep: every combination on the first symbol, one thread, engines built anew for each."""

    name, case, late, alone = "w4_sweep", workloads.CASES["w4"]._replace(title="W4 sweep of 100, one thread"), {}, False

    def __init__(self, source: workloads.Source):
        rows = source.session.events
        one = Session.from_rows(
            _alone(rows),
            source.session.instruments[:1],
            name="bars5m-1",
            bar_intervals_ns=source.session.manifest.bar_intervals_ns,
        )
        self.source = workloads.Source(one, source.text + ", first symbol, 100 combinations", None)
        self.builds, self.outcome = [0.0], {}
        self.table = None
        self.run()

    def run(self) -> float:
        gc.collect()
        config = RunConfig(slippage="0bps", participation=Decimal(0), initial_capital=Decimal(0), limits=self.case.limits)
        t = time.perf_counter()
        table = sweep(config, self.source.session, self.case.strategy, LENGTHS)
        seconds = time.perf_counter() - t
        assert self.table is None or table.equals(self.table), "two sweeps made different decisions"
        self.table = table
        self.outcome = {"orders": sum(table["orders"].to_pylist()), "pnl_cents": round(sum(table["net"].to_pylist()) * 100)}
        return seconds


def _alone(rows: np.ndarray) -> np.ndarray:
    """The bars of the first symbol, each a message of its own."""
    first = rows[rows.instrument == 0].copy()
    first["flags"] = LAST
    return first


def alternate(ours: Callable[[], float], theirs: Callable[[], float], reps: int) -> tuple[list[float], list[float]]:
    """`reps` runs of each, neighbours in turn first."""
    a, b = [], []
    for k in range(reps):
        if k % 2 == 0:
            a.append(ours())
            b.append(theirs())
        else:
            b.append(theirs())
            a.append(ours())
    return a, b


def agree(
    case: str, key: str, ours: dict[str, int], late: dict[str, int], theirs: dict, null: dict[str, int], events: int
) -> str:
    """What agrees, as text. Raises `AssertionError` where something that must agree does not."""
    kind = case[:2]
    if key == "vbt":
        assert abs(theirs["orders"] / ours["orders"] - 1) < 0.01, (theirs, ours)
        return (
            f"ours exact: {ours['orders']:,} orders, PnL {ours['pnl_cents'] / 100:,.2f}; "
            f"it decides ties of its averages by rounding: {theirs['orders']:,}, {theirs['pnl_cents'] / 100:,.2f}"
        )
    if key == "hft":
        if kind == "w1":
            assert (theirs["wakes"], theirs["checksum"]) == (null["hft_wakes"], null["hft_checksum"]), (theirs, null)
            return "checksum equal (less the last event, which it never delivers)"
        want = {k: ours[k] for k in ("orders", "fills", "position")} | {"pnl_ticks": ours["pnl_cents"]}
        if kind == "w3":
            want |= {k: ours[k] - late[k] for k in ("canceled", "expired")}
        got = {k: theirs[k] for k in want}
        assert got == want, f"hftbacktest {got}, ours {want}"
        return f"equal: {want['orders']:,} orders, {want['fills']:,} fills, position {want['position']:+,}, PnL {want['pnl_ticks'] / 100:,.2f}"
    assert theirs["handled"] == events, f"it saw {theirs['handled']} of {events} events"
    if kind == "w1":
        assert abs(theirs["checksum"] / null["nautilus_checksum"] - 1) < 1e-9, (theirs, null)
        return "checksum of quotes equal to 1e-9 (its prices are summed as floats)"
    if kind == "w2":
        assert (theirs["orders"], theirs["position"]) == (ours["orders"], ours["position"]), (theirs, ours)
        return f"{ours['orders']:,} orders and position equal; its fills differ by rule ({theirs['fill_reports']:,} reports for {ours['fills']:,} orders)"
    return f"differs by rule: {theirs['orders']:,} orders, {theirs['fill_reports']:,} fills; ours {ours['orders']:,}, {ours['fills']:,}"


class Comparison:
    """One invocation: sessions, references and rows."""

    def __init__(self, events: int, reps: int, keep_output: bool, peers: dict[str, Path], say: Callable[[str], None]):
        self.events, self.reps, self.keep_output, self.peers, self.say = events, reps, keep_output, peers, say
        self.sources: dict[Callable, workloads.Source] = {}
        self.nulls: dict[Callable, dict[str, int]] = {}
        self.rows: list[Row] = []

    def source(self, name: str) -> workloads.Source:
        make = workloads.CASES[name].source
        if make not in self.sources:
            self.sources[make] = make(self.events)
            self.nulls[make] = reference.null(self.sources[make].session.events)
        return self.sources[make]

    def case(self, name: str) -> None:
        """Measure one case against all its opponents."""
        self.say(f"{name}: events, reference, first run")
        source = self.source("w4" if name == "w4_sweep" else name)
        ours = OurSweep(source) if name == "w4_sweep" else Ours(name, source, self.keep_output)
        if name.startswith("w5"):
            self._against_w1(ours)
            return
        opponents = NAUTILUS if name.endswith("plain") else VECTORBT if name.startswith("w4") else HFT
        for (opponent, (key, depth)), floor in zip(opponents.items(), FLOORS[name], strict=True):
            row = self._row(ours, opponent, floor)
            if key not in self.peers:
                row.note = "not measured"
                row.ours_s = [ours.run() for _ in range(self.reps)]
                row.build_s = statistics.median(ours.builds)
            else:
                self._measure(ours, row, key, depth)

    def _row(self, ours: Ours | OurSweep, opponent: str, floor: float | None) -> Row:
        source = ours.source
        runs = 100 if ours.name == "w4_sweep" else 1
        row = Row(ours.name, ours.case.title, opponent, source.text, len(source.session.events) * runs, floor=floor)
        self.rows.append(row)
        return row

    def _measure(self, ours: Ours, row: Row, key: str, depth: str) -> None:
        self.say(f"{row.title}: {row.opponent}")
        level = "l2" if ours.case.source is workloads.l2_source else "l1"
        null = self.nulls[ours.case.source]
        lengths = LENGTHS if row.case == "w4_sweep" else {"fast": [20], "slow": [50]}

        def theirs() -> float:
            seconds, out = peer.run()
            row.agreement = agree(row.case, key, ours.outcome, ours.late, out, null, row.events)
            if key == "hft" and ours.alone:
                row.agreement += " (with our self-trade check in its strategy)"
            return seconds

        try:
            with Peer(
                self.peers[key],
                key,
                ours.source.session.events,
                case="sweep" if row.case == "w4_sweep" else row.case[:2],
                level=level,
                depth=depth,
                alone=ours.alone,
                **lengths,
            ) as peer:
                row.versions = peer.versions
                row.ours_s, row.theirs_s = alternate(ours.run, theirs, self.reps)
        except (PeerError, OSError) as e:
            row.note = f"failed: {str(e).strip().splitlines()[-1]}"
            return
        except AssertionError as e:
            row.note = f"DISAGREES: {e}"
            return
        row.build_s = statistics.median(ours.builds)
        row.settle()

    def _against_w1(self, ours: Ours) -> None:
        w1 = Ours("w1_l1", self.source("w1_l1"), self.keep_output)
        row = self._row(ours, "our W1 null, L1 (per event)", W5_FLOOR)
        scale = len(ours.source.session.events) / len(w1.source.session.events)
        row.ours_s, theirs = alternate(ours.run, w1.run, self.reps)
        row.theirs_s = [t * scale for t in theirs]
        row.build_s = statistics.median(ours.builds)
        row.agreement = f"ours equals the reference: {ours.outcome['orders']:,} orders" + (
            ", checksum" if "checksum" in ours.want else ""
        )
        row.settle()


HEADINGS = (
    "case",
    "against",
    "ours M ev/s",
    "theirs M ev/s",
    "ratio",
    "pairs",
    "floor",
    "verdict",
    "runs",
    "build ms",
    "results",
)


def _rate(events: int, seconds: list[float]) -> str:
    if not seconds:
        return "-"
    rate = [events / s / 1e6 for s in seconds]
    return f"{statistics.median(rate):.3g} ({min(rate):.3g}-{max(rate):.3g})"


def cells(row: Row) -> list[str]:
    """A row of the table, as text."""
    return [
        row.title,
        row.opponent,
        _rate(row.events, row.ours_s),
        _rate(row.events, row.theirs_s),
        f"{row.ratio:.2f}" if row.ratio else "-",
        f"{row.pairs[0]:.2f}-{row.pairs[1]:.2f}" if row.pairs else "-",
        f"{row.floor:g}" if row.floor else "-",
        row.verdict,
        f"{len(row.ours_s)} / {len(row.theirs_s)}",
        f"{row.build_s * 1e3:.1f}",
        row.agreement or "-",
    ]


def markdown(rows: list[Row], about: dict[str, str], included: str) -> str:
    """The report for README.md."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(cells(r)) + " |" for r in rows]
    lines += ["", included, "", "; ".join(f"{k} {v}" for k, v in about.items()) + ".", ""]
    lines += [f"Events: {text}." for text in dict.fromkeys(r.source for r in rows)]
    return "\n".join(lines)


def show(rows: list[Row], about: dict[str, str], included: str, console: Console) -> None:
    """The report for a terminal."""
    table = Table(*HEADINGS, title="ratio = median time of theirs / median time of ours; in brackets the slowest and fastest run")
    for r in rows:
        table.add_row(*cells(r))
    console.print(table)
    console.print(included)
    for k, v in about.items():
        console.print(f"  {k:9} {v}")
    for text in dict.fromkeys(r.source for r in rows):
        console.print(f"  events    {text}")
    for text in dict.fromkeys(", ".join(f"{k} {v}" for k, v in r.versions.items()) for r in rows if r.versions):
        console.print(f"  peer      {text}")


def _peers(text: str) -> dict[str, Path]:
    out = {}
    for part in filter(None, text.split(",")):
        key, _, path = part.partition("=")
        if key not in ("hft", "naut", "naut2", "vbt") or not path:
            raise argparse.ArgumentTypeError(f"expected hft=PATH,naut=PATH,naut2=PATH,vbt=PATH, got {part!r}")
        where = Path(path).expanduser()
        where = where / "bin" / "python" if where.is_dir() else where
        if not where.is_file():
            raise argparse.ArgumentTypeError(f"{key}: neither an interpreter nor a virtual environment at {where}")
        out[key] = where
    return out


def main(argv: list[str] | None = None) -> int:
    """See the module's text. Exit status 1 when a result disagrees or a peer failed; a missed floor alone is not an error."""
    p = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__.partition("\n")[0])
    p.add_argument("--cases", default=",".join(GROUPS), help=f"of {', '.join(GROUPS)} (default: all)")
    p.add_argument("--reps", type=int, default=5, help="runs of each side (default 5)")
    p.add_argument("--events", type=int, default=workloads.EVENTS, help="events a session (default 2,000,000)")
    p.add_argument(
        "--peers", type=_peers, default={}, help="hft=PATH,naut=PATH,naut2=PATH,vbt=PATH: interpreters or virtual environments"
    )
    p.add_argument("--no-output", action="store_true", help="do not keep our output records")
    p.add_argument("--json", type=Path, help="write everything measured to this file")
    p.add_argument("--markdown", action="store_true", help="print the table for README.md")
    a = p.parse_args(argv)
    wanted = a.cases.split(",")
    unknown = set(wanted) - set(GROUPS)
    if unknown or a.reps < 1 or a.events < 10_000:
        p.error(f"unknown cases: {', '.join(unknown)}" if unknown else "at least 1 repetition and 10,000 events")
    about, errors = conditions(), Console(stderr=True)
    c = Comparison(a.events, a.reps, not a.no_output, a.peers, lambda what: errors.print(f"[dim]{what}[/dim]"))
    for group in wanted:
        for name in GROUPS[group]:
            c.case(name)
    included = INCLUDED.format(output="" if a.no_output else ", which are kept")
    if a.json:
        rows = [msgspec.to_builtins(r) | {"verdict": r.verdict} for r in c.rows]
        a.json.write_text(json.dumps({"conditions": about, "included": included, "rows": rows}, indent=1))
    if a.markdown:
        print(markdown(c.rows, about, included))
    else:
        show(c.rows, about, included, Console(width=None if sys.stdout.isatty() else 250))
    return int(any(r.note and r.note != "not measured" for r in c.rows))


if __name__ == "__main__":
    sys.exit(main())
