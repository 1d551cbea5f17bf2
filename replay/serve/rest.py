"""The trading and historical REST of Alpaca, sans sockets: a request in, a status and a body out."""

from __future__ import annotations

import datetime
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from replay.data.hours import DAY_NS
from replay.serve import history as history_module
from replay.serve.account import Account
from replay.serve.calendar import Calendar, local, ns_of_text
from replay.serve.errors import ApiError
from replay.serve.history import History
from replay.serve.orders import ENDED, Order, rounded, view
from replay.serve.server import Server
from replay.serve.ticket import number

PERIODS = {"D": 1, "W": 7, "M": 31, "A": 366}


class Call(NamedTuple):
    """A request of an authenticated client; `args` are the parts of the path, `first_byte_ns` of the steady clock when it began to come."""

    account: Account
    args: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    first_byte_ns: int = 0


Answer = tuple[int, Any]


class Rest:
    """Every endpoint is a method taking a `Call`; `ROUTES` says which."""

    def __init__(self, server: Server):
        self.server, self.assets = server, server.assets
        self.calendar = Calendar(server.market)
        self.history = History(server)

    # --- orders --------------------------------------------------------------------------------------------------------------
    def submit(self, c: Call) -> Answer:
        o = c.account.submit(c.body)
        o.first_byte_ns, o.market_ns = c.first_byte_ns, c.account.market_ns
        self.server.wake()
        return 200, view(self.assets, o)

    def orders(self, c: Call) -> Answer:
        q, limit = c.query, c.query.get("limit", "50")
        if not limit.isdigit() or int(limit) > 500:
            raise ApiError.field("limit must be a number of at most 500")
        status = q.get("status", "open")
        if status not in ("open", "closed", "all"):
            raise ApiError.field(f"invalid status: {status}")
        nested = q.get("nested", "").lower() == "true"
        symbols = {self.assets.find(s) for s in q.get("symbols", "").split(",") if s}
        after, until = (self._time(q.get(name)) for name in ("after", "until"))
        chosen = [
            o
            for o in (c.account.open_orders() if status == "open" else c.account.orders.values())
            if (status == "all" or (o.status in ENDED) == (status == "closed"))
            and (not symbols or o.instrument in symbols)
            and (q.get("side") in (None, "", "buy" if o.side > 0 else "sell"))
            and (after is None or o.created_at > after)
            and (until is None or o.created_at <= until)
            and not (nested and (o.entry or (o.other and o.other.legs == [o])))
        ]
        if q.get("direction", "desc") != "asc":
            chosen.reverse()
        return 200, [view(self.assets, o, nested) for o in chosen[: int(limit)]]

    def _time(self, text: str | None) -> int | None:
        try:
            return ns_of_text(text) if text else None
        except ValueError:
            raise ApiError.field(f"invalid time: {text}") from None

    def order(self, c: Call) -> Answer:
        return 200, view(self.assets, c.account.find(c.args["id"]))

    def order_by_client_id(self, c: Call) -> Answer:
        coid = c.query.get("client_order_id", "")
        o = c.account.by_client_id.get(coid)
        if o is None:
            raise ApiError.missing(f"order not found for {coid[:128]}")
        return 200, view(self.assets, o)

    def replace(self, c: Call) -> Answer:
        return 200, view(self.assets, c.account.replace(c.account.find(c.args["id"]), c.body))

    def cancel(self, c: Call) -> Answer:
        c.account.cancel(c.account.find(c.args["id"]))
        return 204, None

    def cancel_all(self, c: Call) -> Answer:
        out = []
        for o in c.account.working():
            try:
                c.account.cancel(o)
                out.append({"id": o.id, "status": 200, "body": None})
            except ApiError as e:
                out.append({"id": o.id, "status": e.status, "body": e.body()})
        return 207, out

    # --- positions -----------------------------------------------------------------------------------------------------------
    def positions(self, c: Call) -> Answer:
        return 200, [c.account.position_view(k) for k in sorted(c.account.portfolio.positions)]

    def _held(self, c: Call) -> int:
        k = self.assets.find(c.args["symbol"])
        if k is None:
            raise ApiError.missing(f"symbol not found: {c.args['symbol'][:32]}")
        return k

    def position(self, c: Call) -> Answer:
        return 200, c.account.position_view(self._held(c))

    def close_position(self, c: Call) -> Answer:
        k = self._held(c)
        held = c.account.portfolio.qty(k)
        if held == 0:
            raise ApiError.missing("position does not exist")
        i = self.assets.instruments[k]
        qty, share = number(c.query.get("qty"), "qty"), number(c.query.get("percentage"), "percentage")
        if qty is None:
            whole = int(Decimal(abs(held)) * (share if share is not None else 100) / 100)
            qty = i.qty(whole)
        elif qty > i.qty(abs(held)):
            raise ApiError.forbidden("qty is larger than the position", existing_qty=str(i.qty(abs(held))))
        return 200, view(self.assets, self._close(c.account, k, qty, forced=False))

    def _close(self, account: Account, k: int, qty: Decimal, forced: bool) -> Order:
        side = "sell" if account.portfolio.qty(k) > 0 else "buy"
        tif = "gtc" if self.assets.is_crypto(k) else "day"
        body = {"symbol": self.assets.symbols[k], "qty": str(qty), "side": side, "type": "market", "time_in_force": tif}
        o = account.submit(body, forced)
        self.server.wake()
        return o

    def close_all(self, c: Call) -> Answer:
        if c.query.get("cancel_orders", "").lower() == "true":
            self.cancel_all(c)
        out = []
        for k in sorted(c.account.portfolio.positions):
            symbol = self.assets.position_symbol(k)
            qty = self.assets.instruments[k].qty(abs(c.account.portfolio.qty(k)))
            try:
                o = self._close(c.account, k, qty, forced=c.query.get("cancel_orders", "").lower() == "true")
                out.append({"symbol": symbol, "status": 200, "body": view(self.assets, o)})
            except ApiError as e:
                out.append({"symbol": symbol, "status": e.status, "body": e.body()})
        return 207, out

    # --- account -------------------------------------------------------------------------------------------------------------
    def account(self, c: Call) -> Answer:
        return 200, c.account.view()

    def configuration(self, c: Call) -> Answer:
        return 200, c.account.configuration

    def configure(self, c: Call) -> Answer:
        if not isinstance(c.body, dict):
            raise ApiError(400, 40010000, "request body format is invalid")
        known = {name: v for name, v in c.body.items() if v is not None}
        for name, value in known.items():
            if name not in c.account.configuration or type(value) is not type(c.account.configuration[name]):
                raise ApiError.field(f"invalid {name}")
        c.account.configuration.update(known)
        return 200, c.account.configuration

    def activities(self, c: Call) -> Answer:
        kinds = (c.args.get("type") or c.query.get("activity_types") or "FILL").split(",")
        a, q = c.account, c.query
        after, until, day = (self._time(q.get(name)) for name in ("after", "until", "date"))
        token, rising = q.get("page_token"), q.get("direction", "desc") == "asc"
        if "FILL" not in kinds or (token and token not in a.fill_of):
            return 200, []
        first, end = 0, len(a.fills)
        if after is not None:
            first = bisect_right(a.filled_ns, after)
        if until is not None:
            end = bisect_left(a.filled_ns, until)
        if day is not None:
            first, end = max(first, bisect_left(a.filled_ns, day)), min(end, bisect_left(a.filled_ns, day + DAY_NS))
        if token:  # the last of the page before
            first, end = (max(first, a.fill_of[token] + 1), end) if rising else (first, min(end, a.fill_of[token]))
        size = min(int(q.get("page_size", "100")), 100) if q.get("page_size", "100").isdigit() else 100
        if rising:
            return 200, a.fills[first : min(end, first + size)]
        return 200, a.fills[max(first, end - size) : end][::-1]

    def portfolio_history(self, c: Call) -> Answer:
        a = c.account
        a.sample()
        base = a.portfolio.initial
        equity = [e for _, e in a.history]
        return 200, {
            "timestamp": [t // 10**9 for t, _ in a.history],
            "equity": [float(round(e, 2)) for e in equity],
            "profit_loss": [float(round(e - base, 2)) for e in equity],
            "profit_loss_pct": [float(rounded((e - base) / base)) if base else 0.0 for e in equity],
            "base_value": float(base),
            "base_value_asof": local(self.server.session.manifest.start_ns).date().isoformat(),
            "timeframe": "1Min",
        }

    def nowhere(self, c: Call) -> Answer:
        raise ApiError.missing("endpoint not found.")

    # --- market ---------------------------------------------------------------------------------------------------------------
    def clock(self, c: Call) -> Answer:
        return 200, self.calendar.clock()

    def days(self, c: Call) -> Answer:
        today = local(self.server.market.now).date()
        try:
            start = datetime.date.fromisoformat(c.query["start"][:10]) if c.query.get("start") else today.replace(month=1, day=1)
            end = datetime.date.fromisoformat(c.query["end"][:10]) if c.query.get("end") else today.replace(month=12, day=31)
        except ValueError:
            raise ApiError.field("start and end must be dates") from None
        if (end - start).days > 3660:
            raise ApiError.field("start and end must lie within ten years")
        return 200, self.calendar.days(start, end)

    def asset_list(self, c: Call) -> Answer:
        every = [self.assets.view(k) for k in range(len(self.assets.symbols))]
        q = c.query
        return 200, [
            a
            for a in every
            if q.get("asset_class") in (None, "", a["class"])
            and q.get("status") in (None, "", a["status"])
            and q.get("exchange") in (None, "", a["exchange"])
        ]

    def asset(self, c: Call) -> Answer:
        k = self.assets.find(c.args["symbol"])
        if k is None:
            raise ApiError.missing(f"asset not found for {c.args['symbol'][:64]}")
        return 200, self.assets.view(k)

    # --- history ---------------------------------------------------------------------------------------------------------------
    def _names(self, c: Call) -> list[str]:
        names = [s for s in c.query.get("symbols", "").split(",") if s]
        if not names:
            raise history_module.bad("symbols is required")
        return names

    def pages(self, what: str) -> Callable[[Call], Answer]:
        return lambda c: (200, self.history.page(what, c.query, c.args.get("symbol")))

    def latest(self, what: str) -> Callable[[Call], Answer]:
        return lambda c: (200, {what: self.history.latest(what, self._names(c))})

    def snapshots(self, wrapped: bool) -> Callable[[Call], Answer]:
        def answer(c: Call) -> Answer:
            found = {name: self.history.snapshot(name) for name in self._names(c)}
            found = {name: s for name, s in found.items() if s}
            return 200, {"snapshots": found} if wrapped else found

        return answer

    def orderbooks(self, c: Call) -> Answer:
        return 200, {"orderbooks": self.history.orderbooks(self._names(c))}

    def routes(self) -> list[tuple[str, str, Callable[[Call], Answer]]]:
        """(method, path, endpoint)."""
        trading = [
            ("POST", "/v2/orders", self.submit),
            ("GET", "/v2/orders", self.orders),
            ("DELETE", "/v2/orders", self.cancel_all),
            ("GET", "/v2/orders:by_client_order_id", self.order_by_client_id),
            ("GET", "/v2/orders/{id}", self.order),
            ("PATCH", "/v2/orders/{id}", self.replace),
            ("DELETE", "/v2/orders/{id}", self.cancel),
            ("GET", "/v2/positions", self.positions),
            ("DELETE", "/v2/positions", self.close_all),
            ("GET", "/v2/positions/{symbol:.+}", self.position),
            ("DELETE", "/v2/positions/{symbol:.+}", self.close_position),
            ("GET", "/v2/account", self.account),
            ("GET", "/v2/account/configurations", self.configuration),
            ("PATCH", "/v2/account/configurations", self.configure),
            ("GET", "/v2/account/activities", self.activities),
            ("GET", "/v2/account/activities/{type}", self.activities),
            ("GET", "/v2/account/portfolio/history", self.portfolio_history),
            ("GET", "/v2/clock", self.clock),
            ("GET", "/v2/calendar", self.days),
            ("GET", "/v2/assets", self.asset_list),
            ("GET", "/v2/assets/{symbol:.+}", self.asset),
        ]
        data = []
        for what in ("bars", "trades", "quotes"):
            data += [
                ("GET", f"/v2/stocks/{what}", self.pages(what)),
                ("GET", f"/v2/stocks/{what}/latest", self.latest(what)),
                ("GET", f"/v2/stocks/{{symbol}}/{what}", self.pages(what)),
                ("GET", f"/v1beta3/crypto/us/{what}", self.pages(what)),
                ("GET", f"/v1beta3/crypto/us/latest/{what}", self.latest(what)),
            ]
        data += [
            ("GET", "/v2/stocks/snapshots", self.snapshots(False)),
            ("GET", "/v1beta3/crypto/us/snapshots", self.snapshots(True)),
            ("GET", "/v1beta3/crypto/us/latest/orderbooks", self.orderbooks),
        ]
        return trading + data
