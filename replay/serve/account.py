"""One account: its orders from request to the last report, as Alpaca tells of them. No sockets.

Requests come as JSON; what leaves for the venue stands in `outbox`, what clients are to be told in `updates`. An account knows what its
reports have told it and no more, as the broker's own books would.
"""

from __future__ import annotations

import uuid
from collections import deque
from decimal import Decimal

from replay.data.instruments import MONEY
from replay.data.times import utc_text
from replay.events import OPEN
from replay.serve import groups
from replay.serve.checks import exits, held, lots_for, may_send
from replay.serve.errors import ApiError
from replay.serve.market import Market
from replay.serve.orders import CANNOT_REPLACE, ENDED, NAMESPACE, TIFS, Assets, Fill, Order, activity, text, view
from replay.serve.portfolio import Portfolio
from replay.serve.ticket import Ticket, choice, client_id, lots, parse, ticks
from replay.serve.venue import CAPACITY, Report, Request, Venue
from replay.serve.watchlists import Watchlists
from replay.trader.layout import CMD_CANCEL, CMD_NEW, CMD_REPLACE, DAY, FOK, GTC, IOC, LIMIT, MARKET, STOP, STOP_LIMIT
from replay.trader.orders import (
    EXEC_BUST,
    EXEC_CANCEL_REJECTED,
    EXEC_CANCELED,
    EXEC_CORRECT,
    EXEC_EXPIRED,
    EXEC_NEW,
    EXEC_REJECTED,
    EXEC_REPLACE_REJECTED,
    EXEC_REPLACED,
    EXEC_TRADE,
)

TYPE_CODES = {"market": MARKET, "limit": LIMIT, "stop": STOP, "stop_limit": STOP_LIMIT}
TIF_CODES = {"day": DAY, "gtc": GTC, "ioc": IOC, "fok": FOK}


class Account:
    """See the module. `strict`: Alpaca's rules on money, shares, short sales, wash trades and replaces apply."""

    def __init__(self, number: str, assets: Assets, market: Market, venue: Venue, capital: Decimal, strict: bool = True):
        self.number, self.assets, self.market, self.venue, self.strict = number, assets, market, venue, strict
        self.id = str(uuid.uuid5(NAMESPACE, number))
        self.portfolio = Portfolio(assets, market, capital)
        self.orders: dict[str, Order] = {}  # by id, in order of arrival
        self.by_client_id: dict[str, Order] = {}
        self.outbox: list[Request] = []
        self.updates: deque[dict] = deque()
        self.fills: list[dict] = []  # account activities, oldest first
        self.filled_ns: list[int] = []  # when each was made
        self.fill_of: dict[str, int] = {}  # place of each by its id
        self.history: list[tuple[int, Decimal]] = []  # equity by session time
        self.market_ns = 0  # steady clock: when market data was last written to a socket of this account
        self.configuration = {
            "trade_confirm_email": "all",
            "suspend_trade": False,
            "no_shorting": False,
            "fractional_trading": True,
            "max_margin_multiplier": "4",
            "max_options_trading_level": 0,
            "ptp_no_exception_entry": False,
            "disable_overnight_trading": True,
        }
        self.watchlists = Watchlists(self.id, assets, lambda: market.now, self.uuid)
        self._by_handle: dict[int, Order] = {}  # the newest order of each chain, finished or not
        self._fills: dict[int, Fill] = {}  # by the venue's exec_id
        self._replacing: dict[int, Order] = {}  # the order that is to take over a handle
        self._asked: dict[int, deque[str]] = {}  # by handle, requests that the venue has yet to answer: it answers in order
        self._open: dict[str, Order] = {}
        self._named = 0

    # --- requests ------------------------------------------------------------------------------------------------------------
    def submit(self, body: object, forced: bool = False) -> Order:
        """A new order, with its legs. `forced` passes the account's checks (liquidation). Raises `ApiError`."""
        self._room()
        t = parse(self.assets, body)
        if t.client_order_id is not None and t.client_order_id in self.by_client_id:
            raise ApiError.field("client_order_id must be unique")
        if self.market.done:
            raise ApiError.refused("the replayed session is over")
        if self.configuration["suspend_trade"]:
            raise ApiError.forbidden("new orders are rejected by user request")
        o = self._order(t)
        if self.strict and not forced:
            if self.configuration["no_shorting"] and o.side < 0 and self.portfolio.qty(o.instrument) <= 0:
                raise ApiError.forbidden("account is not allowed to short")
            exits(self.portfolio, o, t)
            may_send(self.portfolio, o, self.working())
        groups.attach(self, o, t)
        for each in (o, *o.legs):
            self.orders[each.id] = self.by_client_id[each.client_order_id] = self._open[each.id] = each
        if self.market.phase() == OPEN:
            self.route(o)
        else:
            o.status = "accepted"
        return o

    def _room(self) -> None:
        """Raises `ApiError` where as many orders are open, or requests under way, as the venue has room for; a cancel of every order
        always finds some."""
        if not self.venue.slots():
            raise ApiError.forbidden("too many open orders")
        if self.venue.room() - len(self.outbox) <= CAPACITY:
            raise ApiError.forbidden("too many requests under way")

    def _order(self, t: Ticket) -> Order:
        qty = t.qty if t.notional is None else lots_for(self.portfolio, t.instrument, t.notional)
        if qty < 1:
            raise ApiError.refused("notional buys less than the smallest quantity")
        o = self.name(t.instrument, t.side, t.type, t.tif, qty, t.limit_px, t.stop_px, t.client_order_id)
        o.cls, o.notional, o.extended_hours = t.cls, t.notional, t.extended_hours
        return o

    def name(self, k, side, kind, tif, qty, limit_px, stop_px, coid=None) -> Order:
        """An order with an id of its own, known to nobody yet."""
        ident = self.uuid()
        o = Order(ident, coid or self.uuid(), k, side, kind, tif, qty, limit_px, stop_px, self.market.now, self._named)
        o.opening = self.portfolio.qty(k) * side >= 0
        o.lot_cost = self.portfolio.lot_cost(k, side, limit_px or stop_px)
        return o

    def uuid(self) -> str:
        self._named += 1
        return str(uuid.uuid5(NAMESPACE, f"{self.number} {self._named}"))

    def route(self, o: Order) -> None:
        """Send an order to the venue; one that it has no room for is rejected."""
        handle = self.venue.open_handle()
        if handle is None:
            self.end(o, "rejected")
            groups.after(self, o)
            return
        o.handle = handle
        if o.status != "held":
            o.status = "pending_new"
        self._by_handle[handle] = o
        self._asked[handle] = deque()
        self._send(CMD_NEW, o, o.qty, o.limit_px, o.stop_px)

    def _send(self, kind: int, o: Order, qty: int, limit_px: int | None, stop_px: int | None) -> None:
        self.outbox.append(
            Request(kind, o.handle, o.instrument, o.side, TYPE_CODES[o.type], TIF_CODES[o.tif], qty, limit_px or 0, stop_px or 0)
        )

    def find(self, ident: str) -> Order:
        """The order of an id. Raises `ApiError`."""
        try:
            key = str(uuid.UUID(ident))
        except ValueError:
            raise ApiError(400, 40010000, f"order_id is missing or malformed: {ident[:64]}") from None
        o = self.orders.get(key)
        if o is None:
            raise ApiError.missing(f"order not found for {ident}")
        return o

    def cancel(self, o: Order) -> None:
        """Ask for an order's cancellation. Raises `ApiError` where it has ended, or is being replaced."""
        if o.ended:
            raise ApiError.refused(f'order is already in "{o.status}" state')
        if (o.status == "pending_replace" and self.strict) or self._replacing.get(o.handle) is o:
            raise ApiError.refused("unable to cancel order: replace is pending")
        self.withdraw(o)

    def withdraw(self, o: Order) -> None:
        """Cancel an order that has not ended, once."""
        if not o.handle:
            self.end(o, "canceled")
            groups.after(self, o)
            return
        if "cancel" in self._asked[o.handle]:
            return
        if o.status != "pending_replace":
            o.before, o.status = o.status, "pending_cancel"
        self._asked[o.handle].append("cancel")
        self._send(CMD_CANCEL, o, 0, None, None)

    def replace(self, o: Order, body: object) -> Order:
        """Ask for an order's replacement by a new one, which is returned. Raises `ApiError`.

        `qty` is the new order's own quantity; what has traded of the old one does not count into it. What trades while the
        replace is under way is taken off it.
        """
        if not isinstance(body, dict):
            raise ApiError(400, 40010000, "request body format is invalid")
        if o.ended or (self.strict and o.status in CANNOT_REPLACE) or not o.handle or o.handle in self._replacing:
            raise ApiError.refused(f"cannot replace order in {o.status} status")
        if o.notional is not None:
            raise ApiError.refused("notional orders cannot be replaced")
        self._room()
        k, coid = o.instrument, client_id(body)
        if coid in self.by_client_id:
            raise ApiError.field("client_order_id must be unique")
        tif = choice(body, "time_in_force", TIFS, o.tif)
        qty = lots(self.assets, k, body.get("qty"), tif) or o.qty
        limit_px = ticks(self.assets, k, body.get("limit_price"), "limit_price") or o.limit_px
        stop_px = ticks(self.assets, k, body.get("stop_price"), "stop_price") or o.stop_px
        if (limit_px is None) != (o.limit_px is None) or (stop_px is None) != (o.stop_px is None):
            raise ApiError.field(f"{o.type} orders have no such price")
        if (qty, limit_px, stop_px, tif) == (o.qty, o.limit_px, o.stop_px, o.tif) and coid is None:
            raise ApiError.refused("order parameters are not changed")
        if tif != o.tif:
            raise ApiError.refused("replacing time_in_force is not simulated")
        new = self.name(k, o.side, o.type, tif, qty, limit_px, stop_px, coid)
        new.cls, new.extended_hours, new.opening = o.cls, o.extended_hours, o.opening
        new.replaces, new.handle, new.base = o.id, o.handle, o.base + o.cum
        if self.strict and not o.entry and not o.other:
            may_send(self.portfolio, new, self.working(), replaced=o)
        o.before, o.status = o.status, "pending_replace"
        self.orders[new.id] = self.by_client_id[new.client_order_id] = new
        self._open[new.id] = new
        self._replacing[o.handle] = new
        self._asked[o.handle].append("replace")
        self._send(CMD_REPLACE, o, new.base + qty, limit_px, stop_px)
        return new

    def amend(self, o: Order, qty: int) -> None:
        """The broker makes an order smaller by itself: the other leg of a pair has traded."""
        if o.ended or qty >= o.qty or o.handle in self._replacing:
            return
        o.qty = qty
        if o.handle:
            self._asked[o.handle].append("amend")
            self._send(CMD_REPLACE, o, o.base + qty, o.limit_px, o.stop_px)

    def open_orders(self) -> list[Order]:
        """Orders that have not ended, oldest first."""
        for ident in [ident for ident, o in self._open.items() if o.ended]:
            del self._open[ident]
        return list(self._open.values())

    def working(self) -> list[Order]:
        """Orders that may still trade, oldest first: not the legs of an entry that has not been filled, nor what is to replace another."""
        return [o for o in self.open_orders() if self._replacing.get(o.handle) is not o and not (o.entry and not o.handle)]

    def on_open(self) -> None:
        """The session opens: what was accepted before is routed."""
        for o in [o for o in self.orders.values() if o.status == "accepted"]:
            self.route(o)

    # --- reports --------------------------------------------------------------------------------------------------------------
    def on_report(self, r: Report) -> None:
        """Take in what the venue says."""
        if r.exec_type < 0:
            self.portfolio.cash -= Decimal(r.last_qty) / MONEY
            return
        o, kind = self._by_handle[r.handle], r.exec_type
        if kind == EXEC_NEW:
            self._acknowledged(o, r)
        elif kind == EXEC_TRADE:
            self._traded(o, r)
        elif kind in (EXEC_CANCELED, EXEC_EXPIRED, EXEC_REJECTED):
            if kind == EXEC_CANCELED and not r.why:
                self._asked[r.handle].popleft()
            cancels = kind == EXEC_CANCELED or (kind == EXEC_EXPIRED and o.tif in ("ioc", "fok"))
            if not o.ended or (o.status == "filled" and o.cum < o.qty):  # it may have ended before a fill of it was taken back
                self.end(o, "canceled" if cancels else "expired" if kind == EXEC_EXPIRED else "rejected", r)
        elif kind in (EXEC_BUST, EXEC_CORRECT):
            self._amended(o, r)
        else:
            assert kind in (EXEC_REPLACED, EXEC_CANCEL_REJECTED, EXEC_REPLACE_REJECTED), r
            asked = self._asked[r.handle].popleft()
            if kind == EXEC_REPLACED and asked == "replace":
                o = self._replaced(o, r)
            elif kind != EXEC_REPLACED and asked != "amend":
                self._refused(o, r, asked)
        groups.after(self, o)
        if o.ended and self._asked.get(r.handle) == deque():
            del self._asked[r.handle]
            self.venue.close_handle(r.handle)

    def _acknowledged(self, o: Order, r: Report) -> None:
        o.updated_at = r.ts
        if o.status == "pending_new":
            o.status = "new"
        elif "held" in (o.status, o.before):
            return
        else:
            o.before = "new"
        self.tell("new", o, r)

    def _traded(self, o: Order, r: Report) -> None:
        o.cum += r.last_qty
        o.paid += r.last_qty * r.last_px
        o.updated_at = r.ts
        self.portfolio.fill(o.instrument, o.side * r.last_qty, r.last_px)
        done = o.cum >= o.qty
        if done:
            o.status, o.filled_at = "filled", r.ts
        elif o.status in ("pending_cancel", "pending_replace"):
            o.before = "partially_filled"
        else:
            o.status = "partially_filled"
        ident = f"{utc_text(r.ts)[:19].translate(str.maketrans('', '', '-T:'))}000::{self.uuid()}"
        self.fill_of[ident] = len(self.fills)
        self.filled_ns.append(r.ts)
        self.fills.append(activity(self.assets, o, ident, r.ts, r.last_qty, r.last_px))
        i = self.assets.instruments[o.instrument]
        name = self.tell(
            "fill" if done else "partial_fill",
            o,
            r,
            price=text(i.price(r.last_px)),
            qty=text(i.qty(r.last_qty)),
            position_qty=text(i.qty(self.portfolio.qty(o.instrument))),
        )
        fill = Fill(o, name, self.fills[-1], r.last_qty, r.last_px)
        o.fills.append(fill)
        self._fills[r.exec_id] = fill

    def _amended(self, newest: Order, r: Report) -> None:
        """The venue takes a fill back, or names another price for it: the books are as if it had never been otherwise. What was taken back
        may trade again where an order of the chain still works; of one that was filled the venue says next that it has expired."""
        fill = self._fills[r.exec_id]
        o, k, i = fill.order, fill.order.instrument, self.assets.instruments[fill.order.instrument]
        bust = r.exec_type == EXEC_BUST
        gone, px = fill.qty if bust else 0, fill.px if bust else r.last_px
        left = fill.qty - gone
        self.portfolio.fill(k, -o.side * fill.qty, fill.px)
        if left:
            self.portfolio.fill(k, o.side * left, px)
        o.cum -= gone
        o.paid += left * px - fill.qty * fill.px
        o.updated_at = r.ts
        fill.qty, fill.px = left, px
        fill.activity |= {"qty": text(i.qty(left)), "price": text(i.price(px))}
        for later in o.fills[o.fills.index(fill) :]:
            for name, sign in (("cum_qty", -1), ("leaves_qty", 1)):
                later.activity[name] = text(Decimal(later.activity[name]) + sign * i.qty(gone))
        if bust and o.status == "filled":
            o.filled_at = None
        elif o is not newest and not newest.ended:
            newest.base -= gone
            newest.qty += gone
        elif not o.ended and o.cum == 0:
            if o.status == "partially_filled":
                o.status = "new"
            else:
                o.before = "new"
        if bust:
            self.tell("trade_bust", o, r, qty=text(-i.qty(gone)), previous_execution_id=fill.execution_id)
        else:
            qty, price = text(i.qty(left)), text(i.price(px))
            self.tell("trade_correct", o, r, qty=qty, price=price, previous_execution_id=fill.execution_id)

    def _replaced(self, o: Order, r: Report) -> Order:
        new = self._replacing.pop(r.handle)
        new.base, new.qty = r.cum_qty, r.last_qty - r.cum_qty
        o.status, o.replaced_by, o.replaced_at, o.updated_at = "replaced", new.id, r.ts, r.ts
        new.status, new.updated_at = "held" if o.before == "held" else "new", r.ts
        self._by_handle[r.handle] = new
        groups.hand_over(o, new)
        self.tell("replaced", o, r)
        if new.status == "new":
            self.tell("new", new, r)
        return new

    def _refused(self, o: Order, r: Report, request: str) -> None:
        o.updated_at = r.ts
        if request == "replace":
            new = self._replacing.pop(r.handle)
            new.status, new.failed_at, new.updated_at, new.handle = "rejected", r.ts, r.ts, 0
        if not o.ended:
            o.status = o.before or o.status
        self.tell(f"order_{request}_rejected", o, r)

    def end(self, o: Order, status: str, r: Report | None = None) -> None:
        """An order ends without having been filled."""
        assert status in ENDED and status not in ("filled", "replaced")
        at = r.ts if r else self.market.now
        o.status = status
        o.updated_at = at
        setattr(o, {"canceled": "canceled_at", "expired": "expired_at", "rejected": "failed_at"}[status], at)
        self.tell(status, o, r)

    def tell(self, event: str, o: Order, r: Report | None = None, **more: str) -> str:
        """Put an update in front of the account's listeners; returns its execution_id."""
        at, name = utc_text(r.ts if r else self.market.now), self.uuid()
        order = view(self.assets, o)
        self.updates.append({"event": event, "execution_id": name, "order": order, "timestamp": at, "at": at, **more})
        return name

    # --- JSON ------------------------------------------------------------------------------------------------------------------
    def view(self) -> dict:
        return self.portfolio.account_view(self.number, self.id, self.working())

    def position_view(self, k: int) -> dict:
        """A position. Raises `ApiError`."""
        qty = self.portfolio.qty(k)
        if qty == 0:
            raise ApiError.missing("position does not exist")
        free = abs(qty) - held(k, -1 if qty > 0 else 1, self.working())
        return self.portfolio.position_view(k, max(0, free) * (1 if qty > 0 else -1))

    def sample(self) -> None:
        """Keep the equity of this moment for the portfolio's history; once a minute."""
        minute = self.market.now // 60_000_000_000
        if not self.history or self.history[-1][0] // 60_000_000_000 < minute:
            self.history.append((self.market.now, self.portfolio.equity()))
