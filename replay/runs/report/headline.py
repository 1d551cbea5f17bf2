"""The figures at the top of the page with the size of their sample, and what to do with a run that did not trade."""

from __future__ import annotations

from typing import Any, NamedTuple

from replay.runs.report.numbers import number, percent
from replay.runs.report.words import FEW_TRIPS, FIGURES, MISSING, Figure

REJECTED_SHARE = 0.5  #: refusals beyond this share of intents are worth a word


class Told(NamedTuple):
    """A figure as it stands on the page; `sign` is -1, 0 or 1 where the colour says gain or loss."""

    label: str
    unit: str
    text: str
    sample: str
    how: str
    sign: int


def headline(manifest: dict[str, Any]) -> list[Told]:
    """The figures in their order."""
    summary = manifest["summary"]
    stats = summary["statistics"] | summary["returns"]
    return [_told(f, stats, summary) for f in FIGURES]


def _told(f: Figure, stats: dict[str, Any], summary: dict[str, Any]) -> Told:
    value = stats[f.key]
    text = {
        "signed": lambda: number(value, 2, signed=True),
        "plain": lambda: number(value),
        "part": lambda: percent(value),
        "share": lambda: percent(value, signed=True),
    }[f.form]()
    sign = 0 if value is None or f.form not in ("signed", "share") else (value > 0) - (value < 0)
    days, trips = stats["days"], stats["trips"]
    if value is None:
        sample = MISSING[f.sample].format(days=f"{days:,}", day="day" if days == 1 else "days")
    elif f.sample == "trips":
        sample = f"{trips:,} round trip{'s' * (trips != 1)}" + (", few" if trips < FEW_TRIPS else "")
    elif f.sample == "fills":
        sample = f"{summary['fills']:,} fill{'s' * (summary['fills'] != 1)}"
    elif f.sample == "drawdown":
        sample = " to ".join(str(stats[k])[5:16].replace("T", " ") for k in ("drawdown_from", "drawdown_to") if stats.get(k))
        sample = f"{percent(stats['drawdown_share'])} %, {sample}" if sample else ""
    else:
        sample = f"{days:,} day{'s' * (days != 1)}"
    return Told(f.label, summary["currency"] if f.unit == "money" else f.unit, text, sample, f.how, sign)


def advice(manifest: dict[str, Any]) -> list[str]:
    """What to try where nothing was traded; empty where something was."""
    s = manifest["summary"]
    if s["fills"]:
        return []
    intents, top = s["orders"] + s["refused"], next(iter(s["refusals"]), None)
    found = [
        f"The strategies were woken by {sum(s['events'].values()):,} events and asked for {intents:,} orders: {s['refused']:,} were refused by our own limits, {s['orders']:,} sent."
    ]
    if not intents:
        found.append(
            "No order was asked for. Look at what the strategy waits for: a warm-up longer than the session, a threshold nothing reaches, a handler for a kind of data this session does not have."
        )
        found.append("The session has " + ", ".join(f"{n:,} {kind}" for kind, n in s["events"].items()) + ".")
    if top and s["refused"] > REJECTED_SHARE * intents:
        said = s["refusals"][top].get("first")
        found.append(
            f"Most refusals were {top} ({s['refusals'][top]['count']:,})"
            + (f", the first: {said}." if said else ".")
            + " Compare it with the limits below."
        )
    if s["orders"]:
        found.append(
            f"Of the orders sent {s['canceled']:,} were canceled, {s['expired']:,} expired, {s['rejected']:,} were rejected by the venue, {len(s['open']):,} were still open at the end. "
            "Orders that wait and never trade are too far from the market, or too far behind in its queue: replay explain RUN 1 shows what became of the first."
        )
    return found
