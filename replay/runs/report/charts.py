"""The charts, as the descriptions plotly draws: colours are names (@gain, @loss, @fg, @mute) that the page's theme fills in."""

from __future__ import annotations

from html import escape

import numpy as np

from replay.runs.report.numbers import Columns, duration, number, price
from replay.runs.report.parts import Orders
from replay.runs.report.series import bars, instants, kept, packed

LINE_POINTS = 4_000  #: samples drawn of a line
PRICE_BARS = 20_000  #: price bars drawn, all symbols together
FILL_MARKS = 6_000  #: fills drawn, all symbols together
TRIP_LINES = 400  #: round trips drawn, of a symbol
MOST_SYMBOLS = 12  #: symbols that have a chart
FAULT_BANDS = 200  #: times at which faults struck that are told apart
TIME_AXIS = {"type": "date", "hoverformat": "%Y-%m-%d %H:%M:%S.%L"}


def chart(data: list[dict], height: int, **layout: object) -> dict:
    """What the page's script hands to plotly, with the height the page keeps free for it."""
    return {"data": data, "layout": layout, "height": height}


def line(name: str, ts: np.ndarray, value: np.ndarray, colour: str = "@fg", shape: str = "linear", **more: object) -> dict:
    """A line over time, thinned."""
    rows = kept(ts, value, LINE_POINTS)
    style = {"color": colour, "width": 1.5, "shape": shape}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": instants(ts[rows]),
        "y": packed(value[rows]),
        "line": style,
        **more,
    }


def equity(table: Columns, money: str, faults: Columns) -> dict | None:
    """Equity, and how far it is under its peak; where faults struck, shaded."""
    if table.n == 0:
        return None
    ts, hover = table["ts"], "%{y:,.2f}"
    under = line(
        "drawdown",
        ts,
        -np.abs(table["drawdown"]),
        "@loss",
        yaxis="y2",
        fill="tozeroy",
        fillcolor="@lossfill",
        hovertemplate=hover,
    )
    return chart(
        [line("equity", ts, table["equity"], hovertemplate=hover), under],
        430,
        hovermode="x unified",
        xaxis={**TIME_AXIS, "anchor": "y2"},
        yaxis={"domain": [0.36, 1], "title": {"text": f"equity {money}"}},
        yaxis2={"domain": [0, 0.3], "title": {"text": f"drawdown {money}"}, "nticks": 4},
        showlegend=False,
        shapes=struck(faults),
    )


def features(table: Columns) -> dict[str, dict]:
    """A chart a strategy's feature, with a line a symbol."""
    of_strategy, strategies = table.codes("strategy")
    of_feature, names = table.codes("feature")
    of_symbol, symbols = table.codes("symbol")
    found = {}
    for k, strategy in enumerate(strategies):
        for j, name in enumerate(names):
            lines = []
            for n, symbol in enumerate(symbols[:MOST_SYMBOLS]):
                mine = table.where((of_strategy == k) & (of_feature == j) & (of_symbol == n))
                if mine.n:
                    shade = {"color": None, "width": 1}  # plotly's own colours: symbols are neither gain nor loss
                    lines.append(line(escape(symbol), mine["ts"], mine["value"]) | {"line": shade})
            if lines:
                found[f"{strategy} {name}"] = chart(
                    lines, 300, hovermode="x unified", xaxis=TIME_AXIS, yaxis={"title": {"text": escape(name)}}
                )
    return found


def struck(faults: Columns) -> list[dict]:
    """Bands over the times at which faults of the plan struck; strikes that no eye could tell apart are one band."""
    ts = np.sort(faults["ts"])
    if not len(ts):
        return []
    apart = np.flatnonzero(np.diff(ts) > max(1, (ts[-1] - ts[0]) // FAULT_BANDS))
    bands = zip(ts[np.r_[0, apart + 1]] / 1e6, ts[np.r_[apart, len(ts) - 1]] / 1e6, strict=True)
    style = {"type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    return [{**style, "x0": a, "x1": b, "fillcolor": "@lossfill", "line": {"color": "@lossfill", "width": 1}} for a, b in bands]


def exposure(table: Columns, money: str) -> dict | None:
    """Gross and net exposure: each sample holds until the next."""
    if table.n == 0:
        return None
    ts, hover = table["ts"], "%{y:,.2f}"
    return chart(
        [
            line("gross", ts, table["gross"], "@mute", "hv", fill="tozeroy", fillcolor="@mutefill", hovertemplate=hover),
            line("net", ts, table["net"], "@fg", "hv", hovertemplate=hover),
        ],
        260,
        hovermode="x unified",
        xaxis=TIME_AXIS,
        yaxis={"title": {"text": money}, "zeroline": True},
    )


def prices(tables: dict[str, Columns], orders: Orders) -> tuple[dict[str, dict], list[str]]:
    """A chart a symbol, those with most fills first, and what was left out of them."""
    fills, quotes, trips = tables["fills"], tables["prices"], tables["trips"]
    of_fill, traded = fills.codes("symbol")
    of_quote, quoted = quotes.codes("symbol")
    of_trip, tripped = trips.codes("symbol")
    count = dict(zip(traded, np.bincount(of_fill, minlength=len(traded)), strict=True)) if traded else {}
    symbols = sorted(set(traded) | set(quoted), key=lambda s: (-count.get(s, 0), s))
    shown, left_out = symbols[:MOST_SYMBOLS], []
    if len(symbols) > len(shown):
        left_out.append(f"{len(symbols) - len(shown):,} of {len(symbols):,} symbols have no chart: those with the fewest fills.")
    found, drawn = {}, 0
    for symbol in shown:
        ours = fills.where(np.flatnonzero(of_fill == traded.index(symbol)) if symbol in traded else np.array([], np.int64))
        quote = quotes.where(np.flatnonzero(of_quote == quoted.index(symbol)) if symbol in quoted else np.array([], np.int64))
        trip = trips.where(np.flatnonzero(of_trip == tripped.index(symbol)) if symbol in tripped else np.array([], np.int64))
        marks = [m for side in ("buy", "sell") if (m := _marks(ours, side, orders, FILL_MARKS // len(shown) // 2))]
        drawn += sum(len(m["customdata"]) for m in marks)
        line_ = _price_line(quote, PRICE_BARS // len(shown)) if quote.n else []
        found[symbol] = chart(
            [*line_, *_trips(trip), *marks],
            460,
            hovermode="closest",
            xaxis=TIME_AXIS,
            yaxis={"title": {"text": f"{escape(symbol)} price"}},
            shapes=struck(tables["faults"]),
        )
    if drawn < (total := sum(count[s] for s in shown if s in count)):
        left_out.append(
            f"{drawn:,} of {total:,} fills are marked: of each span of time and side the first, lowest, highest and last."
        )
    if quotes.n > PRICE_BARS or any(np.bincount(of_quote) > PRICE_BARS // max(1, len(shown))):
        left_out.append(f"Prices are merged to {PRICE_BARS // len(shown):,} bars a symbol, each drawn from its low to its high.")
    return found, left_out


def _price_line(quote: Columns, n: int) -> list[dict]:
    x, y = bars(quote["ts"], quote["open"], quote["high"], quote["low"], quote["close"], n)
    style = {"color": "@mute", "width": 1}
    return [{"type": "scatter", "mode": "lines", "name": "price, low to high", "x": instants(x), "y": packed(y), "line": style, "hovertemplate": "%{y}<extra></extra>"}]  # fmt: skip


def _marks(fills: Columns, side: str, orders: Orders, n: int) -> dict | None:
    """The fills of a side as triangles; full for buys, hollow for sells."""
    mine = fills.where(fills.text("side") == side)
    if mine.n == 0:
        return None
    mine = mine.where(kept(mine["ts_event"], mine["last_px"], n))
    who = mine.text("strategy")
    columns = zip(
        mine["order"], mine["last_qty"], mine["last_px"], mine["maker"], mine["fee"], mine["position"], who, strict=True
    )
    told = [
        [
            int(order),
            f"order {order} · {side} {price(qty)} @ {price(px)}<br>{'maker' if maker else 'taker'}, fee {number(fee)}, "
            f"position after {price(position)}<br>{escape(orders.text(int(order)))}<br>{escape(str(name))}",
        ]
        for order, qty, px, maker, fee, position, name in columns
    ]
    up = side == "buy"
    marker = {
        "symbol": "triangle-up" if up else "triangle-down-open",
        "size": 10,
        "color": "@fg",
        "line": {"width": 1.5, "color": "@bg" if up else "@fg"},
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{side}s",
        "x": instants(mine["ts_event"]),
        "y": packed(mine["last_px"]),
        "customdata": told,
        "marker": marker,
        "hovertemplate": "%{customdata[1]}<extra></extra>",
    }


def _trips(trips: Columns) -> list[dict]:
    """Round trips from entry to exit, gains and losses apart; the largest, if there are too many."""
    if trips.n == 0:
        return []
    closed = trips.where(~trips["open"].astype(bool))
    closed = closed.where(np.sort(np.argsort(-np.abs(closed["net"]), kind="stable")[:TRIP_LINES]))
    found = []
    for name, colour, mask in (("gained", "@gain", closed["net"] > 0), ("lost", "@loss", closed["net"] <= 0)):
        some = closed.where(mask)
        if some.n:
            x = np.column_stack([some["ts_in"], some["ts_out"], some["ts_out"]]).ravel()
            y = np.column_stack([some["px_in"], some["px_out"], np.full(some.n, np.nan)]).ravel()
            style = {"color": colour, "width": 2.5, "dash": "solid" if name == "gained" else "dot"}
            found.append({"type": "scatter", "mode": "lines", "name": f"trip that {name}", "x": instants(x), "y": packed(y), "line": style, "hoverinfo": "skip"})  # fmt: skip
    return found


def latency(table: Columns) -> dict | None:
    """Histograms of the legs over a common logarithmic axis, one under the other."""
    codes, legs = table.codes("leg")
    if table.n == 0:
        return None
    lo, hi, count = np.log10(np.maximum(table["ns_from"], 1)), np.log10(np.maximum(table["ns_to"], 1)), table["count"]
    layout: dict[str, object] = {"showlegend": False, "bargap": 0, "hovermode": "closest"}
    data, high = [], 1 / len(legs)
    for k, leg in enumerate(legs):
        mine = codes == k
        axis = "" if k == 0 else str(k + 1)
        top = 1 - k * high
        layout[f"yaxis{axis}"] = {
            "domain": [top - high * 0.72, top],
            "title": {"text": escape(leg)},
            "nticks": 3,
            "rangemode": "tozero",
        }
        said = [
            f"{duration(a)} to {duration(b)}: {n:,}"
            for a, b, n in zip(table["ns_from"][mine], table["ns_to"][mine], count[mine], strict=True)
        ]
        data.append({
            "type": "bar",
            "x": packed((lo + hi)[mine] / 2),
            "width": packed(np.maximum((hi - lo)[mine], 0.01)),
            "y": packed(count[mine]),
            "yaxis": f"y{axis}",
            "customdata": said,
            "hovertemplate": f"{escape(leg)}: %{{customdata}}<extra></extra>",
            "marker": {"color": "@mute"},
        })  # fmt: skip
    ticks = list(range(int(np.floor(lo.min())), int(np.ceil(hi.max())) + 1))
    layout["xaxis"] = {
        "tickvals": ticks,
        "ticktext": [duration(10.0**t) for t in ticks],
        "range": [lo.min() - 0.2, hi.max() + 0.2],
        "anchor": f"y{len(legs)}" if len(legs) > 1 else "y",
    }
    return chart(data, 90 + 110 * len(legs), **layout)
