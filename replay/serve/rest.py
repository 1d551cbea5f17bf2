"""The trading REST of Alpaca, sans sockets: a request in, a status and a body out."""

from __future__ import annotations

import datetime
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from decimal import Decimal

from replay.data.hours import DAY_NS
from replay.serve import parameters as P
from replay.serve.account import Account
from replay.serve.calendar import FIRST_YEAR, LAST_YEAR, Calendar, Day, local, ns_of_text
from replay.serve.equity import Equity
from replay.serve.errors import NOT_SERVED, ApiError
from replay.serve.market_data import MarketData
from replay.serve.orders import ENDED, Order, view
from replay.serve.parameters import bad, yes
from replay.serve.routes import Answer, Call, Route
from replay.serve.server import Server
from replay.serve.ticket import number
from replay.serve.watchlists import Watchlist

#: what the newer clock and calendar call the US exchanges of stocks: their name and their ISO 10383 code
MARKETS = {
    "NYSE": ("New York Stock Exchange", "XNYS"),
    "NASDAQ": ("Nasdaq Stock Market", "XNAS"),
    "IEX": ("Investors Exchange", "IEXG"),
}
ACRONYMS = {name: name for name in MARKETS} | {mic: name for name, (_, mic) in MARKETS.items()}


class Rest:
    """Every endpoint is a method taking a `Call`; `ROUTES` says which."""

    def __init__(self, server: Server):
        self.server, self.assets = server, server.assets
        self.calendar = Calendar(server.market)
        self.equity = Equity(self.calendar)
        self.data = MarketData(server)

    # --- orders --------------------------------------------------------------------------------------------------------------
    def submit(self, c: Call) -> Answer:
        o = c.account.submit(c.body)
        o.first_byte_ns, o.market_ns = c.first_byte_ns, c.account.market_ns
        self.server.wake()
        return 200, view(self.assets, o)

    def orders(self, c: Call) -> Answer:
        q, limit, status = c.query, int(c.query.get("limit") or 50), c.query.get("status") or "open"
        nested, rising = yes(q, "nested"), q.get("direction") == "asc"
        symbols = {self.assets.find(s) for s in q.get("symbols", "").split(",") if s}
        classes = {s for s in q.get("asset_class", "").split(",") if s}
        after, until = (self._time(q.get(name)) for name in ("after", "until"))
        every = c.account.open_orders() if status == "open" else list(c.account.orders.values())
        every = self._page(c, every, after is not None or until is not None)
        chosen = [
            o
            for o in every
            if (status == "all" or (o.status in ENDED) == (status == "closed"))
            and (not symbols or o.instrument in symbols)
            and (not classes or "all" in classes or self.assets.asset_class(o.instrument) in classes)
            and (q.get("side") in (None, "", "buy" if o.side > 0 else "sell"))
            and (after is None or o.created_at > after)
            and (until is None or o.created_at < until)
        ]
        if nested:
            parents = {o.id for o in chosen}
            chosen = [o for o in chosen if o.parent is None or o.parent.id not in parents]
        if not rising:
            chosen.reverse()
        return 200, [view(self.assets, o, nested) for o in chosen[:limit]]

    def _page(self, c: Call, every: list[Order], by_time: bool) -> list[Order]:
        """Those before or behind an order of the account's, in the order in which they came."""
        before, after = c.query.get("before_order_id"), c.query.get("after_order_id")
        if not (before or after):
            return every
        if (before and after) or by_time:
            raise bad("before_order_id, after_order_id, and after with until, do not go together")
        edge = c.account.find(before or after).number
        return [o for o in every if (o.number < edge if before else o.number > edge)]

    def _time(self, text: str | None) -> int | None:
        try:
            return ns_of_text(text) if text else None
        except (ValueError, OverflowError):
            raise bad(f"invalid time: {text[:64]}") from None

    def order(self, c: Call) -> Answer:
        return 200, view(self.assets, c.account.find(c.args["id"]), yes(c.query, "nested"))

    def order_by_client_id(self, c: Call) -> Answer:
        coid = c.query.get("client_order_id", "")
        o = c.account.by_client_id.get(coid)
        if o is None:
            raise ApiError.missing(f"order not found for {coid[:128]}")
        return 200, view(self.assets, o, nested=False)

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
        if (qty is not None and share is not None) or (share or 0) > 100:
            raise ApiError.field("only one of qty or percentage, of at most 100, is accepted")
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
        cancels = yes(c.query, "cancel_orders")
        if cancels:
            self.cancel_all(c)
        out = []
        for k in sorted(c.account.portfolio.positions):
            symbol = self.assets.position_symbol(k)
            qty = self.assets.instruments[k].qty(abs(c.account.portfolio.qty(k)))
            try:
                o = self._close(c.account, k, qty, forced=cancels)
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
        a, q = c.account, c.query
        if q.get("category") and q.get("activity_types"):
            raise bad("activity_types and category do not go together")
        category = "" if q.get("category") == "non_trade_activity" else "FILL"
        kinds = (c.args.get("type") or q.get("activity_types") or category).split(",")
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
        size = int(q.get("page_size") or 100)
        if rising:
            return 200, a.fills[first : min(end, first + size)]
        return 200, a.fills[max(first, end - size) : end][::-1]

    def portfolio_history(self, c: Call) -> Answer:
        return 200, self.equity.history(c.account, c.query)

    # --- watchlists ----------------------------------------------------------------------------------------------------------
    def _watchlist(self, c: Call) -> Watchlist:
        """The one that a path's id or the parameter `name` says."""
        return c.account.watchlists.find(c.args.get("id"), c.query.get("name") if "id" not in c.args else None)

    def watchlists(self, c: Call) -> Answer:
        lists = c.account.watchlists
        return 200, [lists.view(w, assets=False) for w in lists.every.values()]

    def watchlist(self, c: Call) -> Answer:
        return 200, c.account.watchlists.view(self._watchlist(c))

    def create_watchlist(self, c: Call) -> Answer:
        lists = c.account.watchlists
        return 200, lists.view(lists.create(c.body))

    def change_watchlist(self, c: Call) -> Answer:
        lists = c.account.watchlists
        return 200, lists.view(lists.change(self._watchlist(c), c.body))

    def watch(self, c: Call) -> Answer:
        lists = c.account.watchlists
        return 200, lists.view(lists.add(self._watchlist(c), c.body))

    def watch_no_more(self, c: Call) -> Answer:
        lists = c.account.watchlists
        return 200, lists.view(lists.remove(self._watchlist(c), c.args["symbol"]))

    def drop_watchlist(self, c: Call) -> Answer:
        c.account.watchlists.drop(self._watchlist(c))
        return 204, None

    # --- market ---------------------------------------------------------------------------------------------------------------
    def clock(self, c: Call) -> Answer:
        return 200, self.calendar.clock()

    def _dates(self, c: Call, start: datetime.date, end: datetime.date | None) -> tuple[datetime.date, datetime.date]:
        try:
            start = datetime.date.fromisoformat(c.query["start"][:10]) if c.query.get("start") else start
            if c.query.get("end"):
                end = datetime.date.fromisoformat(c.query["end"][:10])
            end = end or start + datetime.timedelta(days=7)
        except (ValueError, OverflowError):
            raise bad("start and end must be dates") from None
        if (end - start).days > 3660 or any(not FIRST_YEAR < d.year < LAST_YEAR for d in (start, end)):
            raise bad(f"start and end must lie within ten years of one another, between {FIRST_YEAR} and {LAST_YEAR}")
        return start, end

    def days(self, c: Call) -> Answer:
        today = local(self.server.market.now).date()
        start, end = self._dates(c, today.replace(month=1, day=1), today.replace(month=12, day=31))
        return 200, self.calendar.days(start, end, settling=c.query.get("date_type") == "SETTLEMENT")

    def _market(self, text: str) -> dict:
        acronym = ACRONYMS.get(text.upper())
        if acronym is None:
            raise ApiError(501, NOT_SERVED, f"the hours of {text[:16]} are not served: there are {', '.join(ACRONYMS)}")
        name, mic = MARKETS[acronym]
        return {"acronym": acronym, "mic": mic, "name": name, "timezone": "America/New_York"}

    def newer_clock(self, c: Call) -> Answer:
        """The clocks of several exchanges, now or at a time; all are those of the session."""
        time = c.query.get("time")
        if time and not FIRST_YEAR < int(time[:4]) < LAST_YEAR:
            raise bad(f"time must lie between {FIRST_YEAR} and {LAST_YEAR}")
        now = self._time(time) if time else self.server.market.now
        today = self.calendar.day(local(now).date())
        edges = [] if today is None else [today.pre_opens, today.opens, today.closes, today.post_closes]
        opens, closes = self.calendar.nexts(now)
        passed = sum(t <= now for t in edges)
        if passed in (0, 4):
            following = self.calendar.day(local(opens).date())
            until = edges[0] if edges and passed == 0 else following.pre_opens if following else opens
        else:
            until = edges[passed]
        told = {
            "timestamp": local(now).isoformat(),
            "is_market_day": today is not None,
            "next_market_open": local(opens).isoformat(),
            "next_market_close": local(closes).isoformat(),
            "phase": ("closed", "pre", "core", "post", "closed")[passed],
            "phase_until": local(until).isoformat(),
        }
        names = [m for m in (c.query.get("markets") or "NYSE").split(",") if m]
        return 200, {"clocks": [{"market": self._market(name), **told} for name in names]}

    def newer_days(self, c: Call) -> Answer:
        market = self._market(c.args["market"])
        start, end = self._dates(c, local(self.server.market.now).date(), None)
        zone = datetime.UTC if c.query.get("timezone") == "UTC" else None

        def told(d: Day) -> dict:
            when = lambda ns: (local(ns).astimezone(zone) if zone else local(ns)).isoformat()  # noqa: E731
            return {
                "date": d.date.isoformat(),
                "settlement_date": d.settles.isoformat(),
                "pre_start": when(d.pre_opens),
                "pre_end": when(d.opens),
                "core_start": when(d.opens),
                "core_end": when(d.closes),
                "post_start": when(d.closes),
                "post_end": when(d.post_closes),
            }

        return 200, {"market": market, "calendar": [told(d) for d in self.calendar.span(start, end)]}

    def asset_list(self, c: Call) -> Answer:
        every = [self.assets.view(k) for k in range(len(self.assets.symbols))]
        q = c.query
        return 200, [
            a
            for a in every
            if q.get("asset_class") in (None, "", a["class"])
            and q.get("status") in (None, "", "all", a["status"])
            and q.get("exchange") in (None, "", a["exchange"])
        ]

    def asset(self, c: Call) -> Answer:
        k = self.assets.find(c.args["symbol"])
        if k is None:
            raise ApiError.missing(f"asset not found for {c.args['symbol'][:64]}")
        return 200, self.assets.view(k)

    def routes(self) -> list[Route]:
        """Every path that is served."""
        by_name = {"name": None}
        table: list[tuple[str, str, Callable[[Call], Answer], P.Rules]] = [
            ("POST", "/v2/orders", self.submit, {}),
            ("GET", "/v2/orders", self.orders, P.ORDERS),
            ("DELETE", "/v2/orders", self.cancel_all, {}),
            ("GET", "/v2/orders:by_client_order_id", self.order_by_client_id, {"client_order_id": None}),
            ("GET", "/v2/orders/{id}", self.order, {"nested": P.YES_NO}),
            ("PATCH", "/v2/orders/{id}", self.replace, {}),
            ("DELETE", "/v2/orders/{id}", self.cancel, {}),
            ("GET", "/v2/positions", self.positions, {}),
            ("DELETE", "/v2/positions", self.close_all, {"cancel_orders": P.YES_NO}),
            ("GET", "/v2/positions/{symbol:.+}", self.position, {}),
            ("DELETE", "/v2/positions/{symbol:.+}", self.close_position, {"qty": None, "percentage": None}),
            ("GET", "/v2/account", self.account, {}),
            ("GET", "/v2/account/configurations", self.configuration, {}),
            ("PATCH", "/v2/account/configurations", self.configure, {}),
            ("GET", "/v2/account/activities", self.activities, P.EVERY_ACTIVITY),
            ("GET", "/v2/account/activities/{type}", self.activities, P.ACTIVITIES),
            ("GET", "/v2/account/portfolio/history", self.portfolio_history, P.PORTFOLIO),
            ("GET", "/v2/watchlists", self.watchlists, {}),
            ("POST", "/v2/watchlists", self.create_watchlist, {}),
            ("GET", "/v2/watchlists:by_name", self.watchlist, by_name),
            ("PUT", "/v2/watchlists:by_name", self.change_watchlist, by_name),
            ("POST", "/v2/watchlists:by_name", self.watch, by_name),
            ("DELETE", "/v2/watchlists:by_name", self.drop_watchlist, by_name),
            ("GET", "/v2/watchlists/{id}", self.watchlist, {}),
            ("PUT", "/v2/watchlists/{id}", self.change_watchlist, {}),
            ("POST", "/v2/watchlists/{id}", self.watch, {}),
            ("DELETE", "/v2/watchlists/{id}", self.drop_watchlist, {}),
            ("DELETE", "/v2/watchlists/{id}/{symbol:.+}", self.watch_no_more, {}),
            ("GET", "/v2/clock", self.clock, {}),
            ("GET", "/v2/calendar", self.days, P.CALENDAR),
            ("GET", "/v3/clock", self.newer_clock, {"markets": None, "time": P.TIME}),
            ("GET", "/v3/calendar/{market}", self.newer_days, {"start": P.DAY, "end": P.DAY, "timezone": ("UTC",)}),
            ("GET", "/v2/assets", self.asset_list, P.ASSETS),
            ("GET", "/v2/assets/{symbol:.+}", self.asset, {}),
        ]
        dated = (self.clock, self.days, self.newer_clock, self.newer_days, self.portfolio_history)
        return [Route(*row, dated=row[2] in dated) for row in table] + self.data.routes()
