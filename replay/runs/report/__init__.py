"""``report.html``: a run on one page that needs nothing else, neither network nor folder.

The page is `page.html` filled in, with `page.css` and `page.js` inside, and the chart library out of the installed plotly package. A content
security policy in it lets the browser load nothing and run these scripts only. Long series are thinned (`series`), and the page says so.
"""

from __future__ import annotations

import base64
import functools
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
    """The page of a run. The same run gives the same bytes. Cost: 1 s for a million fills; the page is some 5 MB, of which the chart
    library is 4.8.

    >>> import replay
    >>> render(replay.run(strategy="ema_cross")).startswith("<!DOCTYPE html>")
    True
    """
    manifest = msgspec.json.decode(to_json(run.manifest))
    columns = {name: Columns(table) for name, table in run.tables.items()}
    orders = parts.Orders(columns["orders"])
    summary, trips = manifest["summary"], columns["trips"]
    costs = parts.Costs(columns["fills"])
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
        by_symbol=parts.by_symbol(trips, summary["positions"], costs.bps),
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
        manifest_text=json.dumps(manifest, indent=1),
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

    script, library = _text("page.js"), get_plotlyjs().replace("</script", "<\\/script")
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in (library, script))
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    return {"policy": policy, "style": Markup(_text("page.css")), "script": Markup(script), "library": Markup(library)}


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def as_json(value: object) -> Markup:
    """JSON that may stand in a script element, whatever is in its texts.

    >>> as_json("</script>")
    Markup('"\\\\u003c/script\\\\u003e"')
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@functools.cache
def _template():
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for f in (numbers.number, numbers.price, numbers.percent, numbers.duration, numbers.time_text):
        environment.filters[f.__name__] = f
    environment.filters["json"] = as_json
    return environment.from_string(_text("page.html"))
