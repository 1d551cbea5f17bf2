"""A sweep to look at: the best rows, a heat map in the terminal, and one in a page that needs no network."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from replay.runs.sweep import FIGURES

LOWER_IS_BETTER = {"drawdown", "fees", "refused"}
WIDEST = 24  #: columns of a heat map in a terminal
GAIN, LOSS = (0, 114, 178), (213, 94, 0)  #: blue and vermilion: told apart by the colour-blind
_SHOWN = [name for name, _ in FIGURES if name != "error"]


def ranked(table: pa.Table, sort: str) -> pa.Table:
    """Best first; runs that their strategy stopped come last."""
    order = "ascending" if sort in LOWER_IS_BETTER else "descending"
    stopped = pa.array([e is not None for e in table["error"].to_pylist()])
    return table.append_column("stopped", stopped).sort_by([("stopped", "ascending"), (sort, order)]).drop_columns(["stopped"])


def render(table: pa.Table, names: list[str], sort: str, show: int) -> RenderableType:
    """The best rows, and what to think of them."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in (*names, *_SHOWN):
        shown.add_column(name, justify="left" if name == "digest" else "right")
    for row in ranked(table, sort).slice(0, show).to_pylist():
        shown.add_row(*(str(row[n]) for n in names), *(_cell(n, row[n]) for n in _SHOWN))
    stopped = table.num_rows - table["error"].null_count
    left = f"   and {table.num_rows - show:,} more" if table.num_rows > show else ""
    profit = sum(x > 0 for x in table["net"].to_pylist())
    notes = [
        Text(f"{table.num_rows:,} combinations, by {sort}{left}", "dim"),
        Text(
            f"net above zero in {profit:,} of {table.num_rows:,}: the best of many is good by choice; try it on days it was not chosen on"
        ),
    ]
    if stopped:
        first = next(e for e in table["error"].to_pylist() if e)
        notes.append(Text(f"{stopped:,} were stopped by their strategy; the first: {first}"))
    return Group(shown, *notes)


def _cell(name: str, value: object) -> str:
    return (
        f"{value:+,.2f}"
        if name in ("gross", "net")
        else f"{value:,.2f}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def grid_of(table: pa.Table, down: str, across: str, figure: str) -> tuple[list, list, np.ndarray]:
    """Values of both parameters and the figure at each pair; where further parameters vary, the best of them."""
    rows, columns = (sorted(set(table[name].to_pylist())) for name in (down, across))
    best = min if figure in LOWER_IS_BETTER else max
    cells = np.full((len(rows), len(columns)), np.nan)
    at = {**{("r", v): k for k, v in enumerate(rows)}, **{("c", v): k for k, v in enumerate(columns)}}
    for r, c, value in zip(table[down].to_pylist(), table[across].to_pylist(), table[figure].to_pylist(), strict=True):
        k = at["r", r], at["c", c]
        cells[k] = value if np.isnan(cells[k]) else best(cells[k], value)
    return rows, columns, cells


def heat_map(table: pa.Table, down: str, across: str, figure: str) -> RenderableType:
    """A coloured table: blue above zero, orange below, the stronger the further."""
    rows, columns, cells = grid_of(table, down, across, figure)
    if len(columns) > WIDEST:
        return Text(
            f"{across} takes {len(columns)} values: too many to draw here, write the picture with --out sweep.html", "dim"
        )
    largest = np.nanmax(np.abs(cells)) or 1.0
    shown = Table(title=f"{figure}: {down} down, {across} across", title_justify="left", title_style="dim", box=None, padding=0)
    shown.add_column("", style="dim", justify="right")
    for column in columns:
        shown.add_column(f" {column} ", justify="right", header_style="dim")
    for row, line in zip(rows, cells, strict=True):
        shown.add_row(f"{row} ", *(Text(f" {value:,.0f} ", _style(value / largest)) for value in line))
    return shown


def _style(strength: float) -> str:
    """White text on the colour, black near zero where the colour is pale."""
    share = min(1.0, abs(strength))
    r, g, b = (round(255 - share * (255 - x)) for x in (GAIN if strength >= 0 else LOSS))
    return f"{'white' if share > 0.5 else 'black'} on rgb({r},{g},{b})"


def write(table: pa.Table, names: list[str], figure: str, path: Path) -> None:
    """All rows as Parquet or CSV, or a page with a heat map, by the name's ending."""
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        pc.write_csv(table, path)
    else:
        path.write_text(page(table, names, figure))


def page(table: pa.Table, names: list[str], figure: str) -> str:
    """One file that needs no network: a heat map over the two parameters that vary most, or a line over one."""
    from plotly.offline import get_plotlyjs

    varied = sorted(names, key=lambda n: -len(set(table[n].to_pylist())))[:2]
    shades = [[0.0, f"rgb{LOSS}"], [0.5, "rgb(240,240,240)"], [1.0, f"rgb{GAIN}"]]
    if len(varied) == 2 and len(set(table[varied[1]].to_pylist())) > 1:
        rows, columns, cells = grid_of(table, varied[1], varied[0], figure)
        z = [[None if np.isnan(x) else x for x in line] for line in cells.tolist()]
        data = [
            {
                "type": "heatmap",
                "x": columns,
                "y": rows,
                "z": z,
                "colorscale": shades,
                "zmid": 0,
                "colorbar": {"title": {"text": figure}},
            }
        ]
        layout = {"xaxis": {"title": {"text": varied[0]}}, "yaxis": {"title": {"text": varied[1]}}}
    else:
        ordered = table.sort_by(varied[0])
        data = [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": ordered[varied[0]].to_pylist(),
                "y": ordered[figure].to_pylist(),
                "line": {"color": f"rgb{GAIN}"},
            }
        ]
        layout = {"xaxis": {"title": {"text": varied[0]}}, "yaxis": {"title": {"text": figure}}}
    layout |= {"margin": {"t": 20}, "font": {"family": "system-ui, sans-serif"}}
    drawn = json.dumps([data, layout]).replace("<", "\\u003c")
    title = html.escape(f"{figure} over {' and '.join(varied)}")
    note = (
        f"{table.num_rows:,} runs on the same session. The best of many is good by choice: try it on days it was not chosen on."
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>body{{font:16px system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem}}#map{{height:70vh}}</style>
<h1>{title}</h1><p>{note}</p><div id="map"></div><script>{get_plotlyjs()}</script>
<script>const [data, layout] = {drawn}; Plotly.newPlot("map", data, layout, {{responsive: true, displaylogo: false}});</script></html>
"""
