"""The results of measurements, for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from replay.bench.latency import TOTAL, floors
from replay.live.hops import SHARES

MEANING = {
    "parsed": "last byte of the message from the socket, to the event in the queue: websocket, msgpack, decoding",
    "waited": "in the queue, for the runner's thread",
    "stepped": "journal in memory, strategy, risk, OMS",
    "durable": "journal written and on disk",
    "begun": "meanwhile: until the thread of the requests has taken it up",
    "prepared": "meanwhile: alpaca-py, requests and urllib3, until the request is bytes",
    "left": "from durable and prepared, to the first byte at the server",
    "written": "of which: until the kernel has taken the request",
    "market data written to first byte": "as the server alone sees it: its event written, to the order's first byte",
    TOTAL: "",
}


def show(results: list[dict]) -> RenderableType:
    """A table for each case, us."""
    return Group(*map(_table, results))


def _table(r: dict) -> Table:
    table = Table(
        title=f"{r['case']}, journal {'durable' if r['durable'] else 'not durable'}, {r['orders']:,} orders, us",
        box=None,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        padding=(0, 2, 0, 0),
    )
    table.add_column("")
    for name, _ in (*SHARES, ("max", 1)):
        table.add_column(name, justify="right")
    table.add_column("floor")
    for name, of in r["ns"].items():
        said = MEANING[name]
        if name == TOTAL:
            said = "  ".join(f"{p} < {ns / 1000:,.0f}: {'met' if of[p] < ns else 'MISSED'}" for p, ns in floors(r).items())
        table.add_row(name, *(f"{v / 1000:,.0f}" for v in of.values()), said)
    return table


def show_soak(r: dict, held: dict[str, bool]) -> RenderableType:
    """What was done, and whether what had to hold did."""
    lines = [
        f"{r['messages_heard']:,} of {r['messages_sent']:,} messages in {r['seconds']:,} s, {r['events_a_second']:,} a second; at most {r['most_behind']:,} behind",
        f"{r['orders']:,} orders, {r['fills']:,} fills; tradable {r['minutes_tradable']:,} of {r['minutes_open']:,} minutes open",
        *(
            f"memory of the {who}, MB at each tenth: {' '.join(f'{mb:,.0f}' for mb in r['memory_mb'][who])}; grew by {mb} after the first fifth"
            for who, mb in r["growth_mb"].items()
        ),
        r["verify"],
        *(f"{'ok  ' if good else 'FAIL'} {what}" for what, good in held.items()),
    ]
    return Text("\n".join(lines))
