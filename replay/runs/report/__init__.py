"""``report.html``: a run on one page that needs nothing else, neither network nor folder.

The page is `page.html` filled in, with `page.css` and `page.js` inside, and the chart library out of the installed plotly package. A content
security policy in it lets the browser load nothing and run these scripts only. What is long, the library and what charts draw, is compressed;
long series are thinned (`series`) and long lists cut (`shortened`), and the page says so: its size is bounded whatever the run's.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
from importlib.resources import files

import msgspec
from markupsafe import Markup

from replay.runs.features import LOOKS
from replay.runs.report import charts, numbers, parts, words
from replay.runs.report.headline import advice, headline
from replay.runs.report.numbers import Columns
from replay.runs.result import Result
from replay.summary import to_json
from replay.trader.limits import Limits

MOST_ROWS = 60  #: rows of a table by symbol or reason; the rest is counted
BEST_TRIPS = 5  #: largest gains, and as many losses, shown


def render(run: Result) -> str:
    """The page of a run. The same run gives the same bytes. Cost: 1 s for a million fills; the page is some 2 MB, nearly all of it the
    chart library.

    >>> import replay
    >>> render(replay.run(strategy="ema_cross")).startswith("<!DOCTYPE html>")
    True
    """
    manifest = msgspec.json.decode(to_json(run.manifest))
    columns = {name: Columns(table) for name, table in run.tables.items()}
    orders = parts.Orders(columns["orders"])
    summary, trips = manifest["summary"], columns["trips"]
    costs, by_symbol = parts.Costs(columns["fills"]), parts.by_symbol(summary)
    price_charts, price_notes = charts.prices(columns, orders)
    drawn = {
        "equity": charts.equity(columns["equity"], summary["currency"], columns["faults"]),
        "exposure": charts.exposure(columns["equity"], summary["currency"]),
        "latency": charts.latency(columns["latency"]),
    }
    return _template().render(
        m=manifest,
        s=summary,
        money=summary["currency"],
        how=words.HOW,
        charts={name: c for name, c in drawn.items() if c},
        prices=price_charts,
        price_notes=price_notes,
        features=charts.features(columns["features"]) if "features" in columns else {},
        whatif=parts.whatif(columns["whatif"]) if "whatif" in columns else [],
        headline=headline(manifest),
        advice=advice(manifest),
        by_symbol=by_symbol,
        largest=parts.largest(by_symbol, MOST_ROWS),
        symbols=parts.cells(by_symbol, len(manifest["strategies"]) > 1),
        by_hour=parts.by_hour(trips),
        by_holding=parts.by_holding(trips),
        best=parts.extremes(trips, BEST_TRIPS),
        costs=costs.split(),
        refusals=parts.refusals(columns["refusals"], summary["refusals"]),
        faults=parts.faults(columns["faults"], summary["faults"]),
        unknown=parts.unknown(columns["events"]) if summary["faults"] else None,
        endings=parts.endings(columns["orders"]),
        unprotected=parts.unprotected(columns["unprotected"]),
        legs=parts.legs(columns["latency"]),
        assumptions=words.PROFILES[manifest["profile"]["name"]] + (() if run.lived else words.COMMON),
        limits=set_limits(run),
        most_rows=MOST_ROWS,
        looks=LOOKS,
        manifest_text=json.dumps(shortened(manifest), indent=1),
        thinned=columns["equity"].n > charts.LINE_POINTS,
        line_points=charts.LINE_POINTS,
        **_static(),
    )


def set_limits(run: Result) -> dict[str, object]:
    """The limits that say something, as they were written."""
    given, open_ = msgspec.to_builtins(run.manifest.config.limits), msgspec.to_builtins(Limits())
    return {name: value for name, value in given.items() if value != open_[name]}


@functools.cache
def _static() -> dict[str, Markup | str]:
    """Style and scripts, and the policy that names the scripts by hash."""
    from plotly.offline import get_plotlyjs

    script, library = _text("page.js"), get_plotlyjs()
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in (library, script))
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    return {"policy": policy, "style": Markup(_text("page.css")), "script": Markup(script), "library": compressed(library)}


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def compressed(text: str) -> Markup:
    """Text as base64 of its gzip, which may stand in a script element.

    >>> gzip.decompress(base64.b64decode(compressed("a page")))
    b'a page'
    """
    return Markup(base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode())


def shortened(value: object) -> object:
    """A manifest whose lists end after `MOST_ROWS`, with how many more there are; the folder's has them all.

    >>> shortened({"n": list(range(62))})["n"][-2:]
    [59, 'and 2 more: see manifest.json']
    """
    if isinstance(value, dict):
        return {name: shortened(x) for name, x in value.items()}
    if not isinstance(value, list):
        return value
    more = [f"and {len(value) - MOST_ROWS:,} more: see manifest.json"] if len(value) > MOST_ROWS else []
    return [*map(shortened, value[:MOST_ROWS]), *more]


@functools.cache
def _template():
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for f in (numbers.number, numbers.price, numbers.percent, numbers.duration, numbers.time_text):
        environment.filters[f.__name__] = f
    environment.filters["packed"] = lambda value: compressed(json.dumps(value, separators=(",", ":")))
    return environment.from_string(_text("page.html"))
