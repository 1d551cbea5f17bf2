"""Alpaca as a `replay.live.broker.Broker`: streams in, requests out, and what is done about answers that never came.

A request's own answer is news only where it is a refusal: what the market does with an order is told by the order-update stream. An
answer that was lost (504, timeout, reset) makes the order's fate unknown: the trader is told so, counts it against every limit, and the
order is looked up by its ClOrdID until the broker knows it or has not known it for long enough. Nothing is ever sent twice but
cancels.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from replay.data.times import utc_text
from replay.errors import BadInput
from replay.events import CUSTOM, EVENT, GAP, PHASE
from replay.live import broker as B
from replay.live.alpaca import wire
from replay.live.alpaca.bars import INSTRUMENT, Bars, close_of
from replay.live.alpaca.jobs import LOOK_S, Cancel, Look, New, NoAnswer, Replace, Route
from replay.live.alpaca.lanes import Bucket, Job, Lane
from replay.live.alpaca.rescue import rescue
from replay.live.alpaca.rest import DONE, DUPLICATE, LATER, MISSING, REFUSED, UNAUTHORIZED, UNKNOWN, Answer, Rest
from replay.live.alpaca.streams import DATA, UPDATES, Logins, Streams
from replay.live.alpaca.wire import Scale
from replay.live.broker import Books, Failed, Leave, Link, Looked, Mark, Row, Update
from replay.live.desk import Command
from replay.live.hops import stamp
from replay.live.ids import parse
from replay.live.safety import Rescued
from replay.trader.layout import CMD_CANCEL, CMD_NEW
from replay.trader.orders import EXEC_BUST, EXEC_CORRECT, EXEC_NAMES, EXEC_REPLACE_REJECTED, EXEC_REPLACED

RESCUE_S = 5.0  #: timeout of a request of the safety path
ORDERS, CANCELS = 4, 2  #: connections of each
PULL_S = 5.0  #: how long a run that has to end waits until its cancels are asked for
SETTLE_EARLIER_S = 1.0  #: how long an order of an earlier process may be on its way
BATCH = 512  #: rows in one frame in lockstep
KIND = EVENT.fields["kind"][1]  #: of an event's bytes
OF_ALL = (PHASE, CUSTOM)  #: kinds of rows that are not of one instrument
PAGE = 500  #: orders a page, activities a page: their maxima
ACTIVITIES = 100


@contextlib.contextmanager
def _collected(unread: list[str], what: str) -> Iterator[None]:
    """One figure that cannot be understood is said, and the rest of the books is read all the same."""
    try:
        yield
    except (wire.Unknown, BadInput, ArithmeticError, KeyError, TypeError, ValueError) as e:
        unread.append(f"{what}: not understood: {e}")


class Alpaca:
    """See the module. `scales` are the instruments by symbol, in the trader's order."""

    name = "alpaca"

    def __init__(
        self,
        access,
        scales: dict[str, Scale],
        *,
        run_id: str,
        crypto: bool,
        feed: str = "iex",
        bars: bool = False,
        mute_s: float | None = 60.0,
        now: Callable[[], int] = time.time_ns,
        extended: Callable[[], bool] = lambda: False,
    ):
        self.access, self.feed = access, feed
        self.account, self.lockstep = access.account, bool(access.session_ns)
        self.scales, self.run_id, self.crypto, self.bars, self.extended = scales, run_id, crypto, bars, extended
        self.now = now
        self.by_index = {s.index: s for s in scales.values()}
        #: in lockstep: our index of an instrument by its index in the server's session
        self.sessions = {
            k: scales[i["symbol"]].index for k, i in enumerate(access.local.get("instruments", ())) if i["symbol"] in scales
        }
        self.routes: dict[str, Route] = {}
        self.rate_limited = 0
        self.skipped: dict[str, int] = {}  # messages by kind that the trader has no use for
        self.gapped: set[int] = set()  # instruments whose next row is the first after a gap
        self.put: Callable[[object], None] = lambda item: None
        self.queries, self.logins = access.rest(), Logins()
        bucket = Bucket(access.rate * 0.95, max(10.0, access.rate * 0.95)) if access.rate else None
        room = access.rate * 0.15
        lanes = {"orders": (ORDERS, 2 * room), "cancels": (CANCELS, 0)}  # cancels have connections to themselves
        self.lanes = [
            *(Lane(name, [access.rest() for _ in range(n)], bucket, spare, self._failed) for name, (n, spare) in lanes.items()),
            Lane("queries", [self.queries], bucket, room, self._failed),
        ]
        for lane in self.lanes:
            for rest in lane.rests:
                rest.answered = self._answered
        self.streams = Streams(
            access.key, access.secret, access.paper, self._on_market, self._on_update, self._on_link,
            updates_url=access.updates_url, data_url=access.data_url, feed=feed, crypto=crypto, mute_s=None if self.lockstep else mute_s,
        )  # fmt: skip
        self.minutes = Bars(self.streams, lambda row: self.put(row), len(scales))
        self._frame: list[object] = []
        self._head: dict | None = None

    # --- the broker's side of the runner ----------------------------------------------------------------------------------------
    def start(self, put: Callable[[object], None]) -> None:
        self.put = put
        for lane in self.lanes:
            lane.start()
        self.streams.start()

    def listen(self, behind: Callable[[], int]) -> None:
        self.streams.subscribe(list(self.scales), self.bars, self.crypto)
        self.streams.listen(behind)

    def stop(self) -> None:
        for lane in self.lanes:
            lane.stop()
        self.streams.stop()

    def done(self, step: int, sent: bool, wake_ns: int | None) -> None:
        self.streams.send_data({"action": "ack", "seq": step, "wake_ns": wake_ns, "batch": BATCH})

    def send(self, commands: list[tuple[Command, str, str]], leave: Leave) -> None:
        for command, cl_ord_id, new_id in commands:
            if command.kind == CMD_NEW:
                job = New(self, command, cl_ord_id, leave)
                self.routes[cl_ord_id] = Route(posting=job)
                self._do(0, job)
            elif command.kind == CMD_CANCEL:
                self._do(1, Cancel(self, cl_ord_id, leave))
            else:
                self._do(0, Replace(self, command, cl_ord_id, new_id, leave))

    def _failed(self, e: Exception) -> None:
        self.put(Link(UPDATES, True, f"a request went wrong: {type(e).__name__}", fatal=True))

    def _do(self, lane: int, job: Job) -> None:
        """Hand a request to its lane; in lockstep the world waits for it."""
        if not self.lockstep:
            self.lanes[lane].put(job)
            return
        while (again := job(self.lanes[lane].rests[0])) is not None:
            time.sleep(again)

    def reconnect(self, stream: str) -> None:
        self.streams.reconnect(stream)

    def drop(self, seen: B.Seen) -> None:
        self.lanes[1].put(lambda rest: self._drop(rest, seen))

    def _drop(self, rest: Rest, seen: B.Seen) -> float | None:
        a = rest.call("delete", f"/orders/{seen.order_id}")
        return a.after_s or 1.0 if a.outcome in (LATER, UNKNOWN) else None

    def look(self, cl_ord_id: str) -> None:
        route = self.routes.setdefault(cl_ord_id, Route())
        if route.posting is None and not route.looking:  # what is still to be sent cannot be missing
            route.looking = True
            self.lanes[2].put(Look(self, cl_ord_id), LOOK_S[0])

    def pull(self, cl_ord_ids: list[str]) -> None:
        for name in cl_ord_ids:
            self.lanes[1].put(Cancel(self, name, None))
        self.lanes[1].settle(PULL_S)

    def rescue(self, flatten: bool) -> Rescued:
        self.lanes[0].shut()
        with contextlib.closing(self.access.rest(RESCUE_S)) as rest:
            return rescue(rest, self.run_id, self.scales, flatten)

    def ask(self, cl_ord_ids: list[str]) -> None:
        def job(_: Rest) -> None:
            try:
                self.put(self.books(cl_ord_ids))
            except (NoAnswer, BadInput, wire.Unknown) as e:
                self.put(Failed(str(e)))

        self.lanes[2].put(job)

    def hours(self) -> None:
        def job(_: Rest) -> None:
            before = time.time_ns()
            with contextlib.suppress(NoAnswer):
                self.put(wire.hours(self.get("/clock"), before, time.time_ns()))

        self.lanes[2].put(job)

    # --- what is heard ----------------------------------------------------------------------------------------------------------
    def _on_link(self, link: Link) -> None:
        if link.stream == DATA and not link.up:
            self.gapped = {s.index for s in self.scales.values()}
            self.minutes.cut()
        self.put(link)
        if link.stream == DATA and link.up and self.gapped and self.bars:
            since = self.minutes.gap()
            if since:
                self.lanes[2].put(lambda _: self._missed_bars(since))
            else:
                self.minutes.fill({})

    def _on_market(self, m: dict, heard: int = 0) -> None:
        """One message of the market-data stream; in lockstep each stands behind its header."""
        recv = time.time_ns()
        if m["T"] == "replay":
            self._on_step(m)
            return
        scale = self.scales.get(m.get("S", ""))
        if scale is None:
            self._skip("a symbol nobody asked for")
            return
        flags = 0
        if self.gapped and scale.index in self.gapped:
            self.gapped.discard(scale.index)
            flags = GAP
        head, self._head = self._head, None
        try:
            event = wire.market_event(m, scale, head["ts"] if head else recv, head, flags)
        except (KeyError, ValueError, TypeError, ArithmeticError, AttributeError) as e:
            self._skip(f"malformed {m.get('T')!r}: {type(e).__name__}")
            event = None
        if head:
            step = head["seq"]
            self._framed(Row(event, head["ts"], step) if event else Mark("skipped", head["ts"], step))
        elif event and self.lockstep:
            self._skip(
                "not a step of the session"
            )  # bars that the server makes of prints: its session has none, nor has the replay
        elif event and m["T"] == "b":
            self.minutes.hear(event, heard)
        elif event:
            self.put(Row(event, 0, 0, heard, stamp()))
        else:
            self._skip(str(m["T"]))

    def _missed_bars(self, since: int) -> None:
        """The bars that a gap has swallowed, from the historical API; quotes and trades of a gap are history, and stay away."""
        recv, minutes = time.time_ns(), {}
        try:
            missed = self.access.bars(list(self.scales), since, self.crypto, self.feed)
            for symbol, bars in missed.items():
                for bar in bars:
                    event = wire.market_event({**bar, "T": "b", "S": symbol}, self.scales[symbol], recv, None, GAP)
                    minutes.setdefault(close_of(event), []).append(event)
        except Exception as e:  # whatever the SDK raises: the gap stays, and is said
            self.put(Failed(f"bars of the gap: {type(e).__name__}"))
        self.streams.soon(lambda: self.minutes.fill(minutes))

    def _on_step(self, m: dict) -> None:
        if "row" in m:
            row = self._ours(m["row"])
            self._framed(Row(row, m["ts"], m["seq"]) if row else Mark("skipped", m["ts"], m["seq"]))
        elif m["kind"] in ("timer", "end", "done"):
            self._framed(Mark(m["kind"], m["ts"], m["seq"]))
        else:
            self._head = m

    def _ours(self, row: bytes) -> bytes | None:
        """A row of the session with our index of its instrument; None where that is not traded here."""
        if row[KIND] in OF_ALL or not self.sessions:
            return row
        index = self.sessions.get(int.from_bytes(row[INSTRUMENT], "little"))
        return None if index is None else row[: INSTRUMENT.start] + index.to_bytes(4, "little") + row[INSTRUMENT.stop :]

    def _framed(self, item: object) -> None:
        """Collect the rows of a frame: the SDK gives messages one by one, and goes back to the loop between two frames."""
        if not self._frame:
            self.streams.later(0, self._flush)
        self._frame.append(item)

    def _flush(self) -> None:
        frame, self._frame = self._frame, []
        self.put(frame)

    def _skip(self, what: str) -> None:
        self.skipped[what] = self.skipped.get(what, 0) + 1

    def _on_update(self, data: dict) -> None:
        """One message of the order-update stream."""
        head = data.get("replay")
        at, step = (head["ts"], head["seq"]) if head else (0, 0)
        try:
            item = self._update(data)
        except (wire.Unknown, BadInput, KeyError, ValueError, ArithmeticError) as e:
            item = Link(UPDATES, True, f"not understood: {e}", fatal=True)
        if isinstance(item, Update):
            kind = EXEC_NAMES.index(head["exec"]) if head else item.exec_type
            item = item._replace(at=at, step=step, exec_type=kind)
        elif step and item is None:
            item = Mark("skipped", at, step)
        if item is not None:
            self.put(item)

    def _update(self, data: dict) -> object | None:
        order = data["order"]
        name = parse(order["client_order_id"])
        scale = self.scales.get(order["symbol"])
        if name is None or name.run_id != self.run_id or scale is None:
            return Link(UPDATES, True, f"an order that is not ours: {data['event']} {order['symbol']}")
        root = str(name._replace(seq=0))
        route = self.routes.setdefault(root, Route())
        if name.seq and data["event"] in ("new", "rejected", "accepted", "pending_new"):
            if data["event"] == "rejected":
                return Update(root, EXEC_REPLACE_REJECTED, cum=route.cum)
            return None  # the replacement's own beginning: `replaced` of the order before it has told
        ident = order["id"]
        base = route.base(ident)
        u = wire.update(data, scale, base)
        if u is None:
            return None
        route.order_id = route.order_id or ident
        least = 0 if u.exec_type in (EXEC_BUST, EXEC_CORRECT) else route.filled.get(ident, 0)
        route.filled[ident] = max(least, u.cum - base)
        if u.exec_type == EXEC_REPLACED:
            route.order_id = order["replaced_by"]
        return u._replace(cl_ord_id=root)

    # --- look-ups ---------------------------------------------------------------------------------------------------------------
    def get(self, path: str, data: dict | None = None, rest: Rest | None = None) -> object:
        """A query that must have an answer, by the connection of queries or another. Raises `NoAnswer`."""
        a = (rest or self.queries).call("get", path, data)
        if a.outcome != DONE:
            raise NoAnswer(a, path)
        return a.body

    def seen(self, order: dict, settled: bool, activities: list[dict] | None = None, rest: Rest | None = None) -> B.Seen:
        """An order with its chain and fills; `settled`: nothing about it was under way when it was asked for. Raises `NoAnswer`."""
        while order["status"] == "replaced" and order.get("replaced_by"):
            order = self.get(f"/orders/{order['replaced_by']}", rest=rest)
        scale = self.scales[order["symbol"]]
        chain, before = [order], order
        while before.get("replaces"):
            before = self.get(f"/orders/{before['replaces']}", rest=rest)
            chain.append(before)
        earlier = [wire.seen(o, scale) for o in chain[1:]]
        base, paid = sum(s.cum for s in earlier), sum(s.paid for s in earlier)
        bases, total = {}, 0
        for o in reversed(chain):
            bases[o["id"]] = total
            total += scale.exact_lots(o["filled_qty"])
        fills = []
        if total:
            if activities is None:
                activities = self.activities(chain[-1]["created_at"], rest)
            fills = [wire.execution(a, scale, bases[a["order_id"]]) for a in activities if a["order_id"] in bases]
        root = str(parse(order["client_order_id"])._replace(seq=0))
        route = self.routes.setdefault(root, Route())
        if not route.order_id or route.order_id in bases:  # else the stream knows of a newer one
            route.order_id = order["id"]
            for o in chain:
                route.filled[o["id"]] = max(route.filled.get(o["id"], 0), scale.exact_lots(o["filled_qty"]))
        out = wire.seen(order, scale, base, paid, tuple(sorted(fills, key=lambda f: (f.cum, f.exec_id))))
        return out._replace(cl_ord_id=root, settled=settled)

    def settled(self, root: str) -> bool:
        """Whether every request about an order has its answer."""
        route = self.routes.get(root)
        return route is None or (route.posting is None and route.asking == 0)

    def quiet(self) -> set[str]:
        """The orders about which every request has its answer. Meanwhile other threads begin to ask about new ones."""
        return {root for root in list(self.routes) if self.settled(root)}

    def activities(self, after: str, rest: Rest | None = None) -> list[dict]:
        """Every fill of the account since a time (text), oldest first. Raises `NoAnswer`."""
        out: list[dict] = []
        earlier = utc_text(wire.stamp_ns(after) - 10**9)[:19] + "Z"  # whole seconds are asked for, and what is later than they
        query = {"after": earlier, "direction": "asc", "page_size": ACTIVITIES}
        while True:
            page = self.get("/account/activities/FILL", query, rest)
            out += page
            if len(page) < ACTIVITIES:
                return out
            query["page_token"] = page[-1]["id"]

    def books(self, cl_ord_ids: list[str]) -> Books:
        """The broker's books, and what became of the orders asked about that are no longer open. Raises `NoAnswer`."""
        asked_ns, account = self.now(), self.get("/account")
        quiet = self.quiet()
        earlier = [root for root in cl_ord_ids if root not in self.routes]  # of a process before this one
        raw, query = [], {"status": "open", "limit": PAGE, "direction": "asc", "nested": False}
        while True:
            page = self.get("/orders", query)
            raw += page
            if len(page) < PAGE:
                break
            query["after"] = page[-1]["submitted_at"]
        ours, foreign, besides = [], [], []
        for o in {o["id"]: o for o in raw}.values():
            name = parse(o["client_order_id"])
            if name is None or name.run_id != self.run_id or o["symbol"] not in self.scales:
                where = foreign if o["symbol"] in self.scales else besides
                where.append(f"order {o['client_order_id']} {o['side']} {o['qty']} {o['symbol']}")
            else:
                ours.append(o)
        filled = [o["created_at"] for o in ours if float(o["filled_qty"])]
        activities = self.activities(min(filled)) if filled else None
        opened, roots, unread = [], set(), []
        for o in ours:
            root = str(parse(o["client_order_id"])._replace(seq=0))
            known = None if o.get("replaces") else activities  # one it replaced is older, and so are its fills
            roots.add(root)
            with _collected(unread, f"order {root}"):
                opened.append(self.seen(o, root in quiet or root not in self.routes, known))
        looked = self._looked(set(cl_ord_ids) - roots, unread)
        if any(found.seen is None and found.cl_ord_id in earlier for found in looked):
            time.sleep(SETTLE_EARLIER_S)  # the process before may have sent it in its last moment
            again = self._looked({found.cl_ord_id for found in looked if found.seen is None}, unread)
            looked = [found for found in looked if found.seen is not None] + again
        for found in [found for found in looked if found.seen is None and found.cl_ord_id not in earlier]:
            looked.remove(found)  # this process sent it, or is about to: that is found out apart
        positions, unknown = {}, set()
        by_position = {symbol.replace("/", ""): scale for symbol, scale in self.scales.items()}
        for p in self.get("/positions"):
            scale = by_position.get(p["symbol"].replace("/", ""))
            if scale is None:
                besides.append(f"position {p['qty']} {p['symbol']}")
                continue
            unknown.add(scale.index)
            with _collected(unread, f"position in {p['symbol']}"):
                lots, rest = scale.whole_lots(p["qty"])
                positions[scale.index] = (lots, scale.ticks(p.get("avg_entry_price") or 0))
                unknown.discard(scale.index)
                if rest:
                    besides.append(f"{rest} {p['symbol']}: less than a lot, which is not traded here")
        cash = wire.money(account["cash"])
        return Books(cash, positions, opened, foreign, besides, looked, asked_ns, tuple(unread), frozenset(unknown))

    def _looked(self, roots: Iterable[str], unread: list[str]) -> list[Looked]:
        """Orders by their ClOrdIDs; those that cannot be understood go to `unread`. Raises `NoAnswer`."""
        out = []
        for root in sorted(roots):
            with _collected(unread, f"order {root}"):
                out.append(self.looked(root))
        return out

    def looked(self, root: str, rest: Rest | None = None) -> Looked:
        """One order by its ClOrdID. Raises `NoAnswer`."""
        asked_ns, settled = self.now(), self.settled(root)
        try:
            order = self.get("/orders:by_client_order_id", {"client_order_id": root}, rest)
        except NoAnswer as e:
            if e.answer.outcome != MISSING:
                raise
            return Looked(root, None, asked_ns)
        return Looked(root, self.seen(order, settled, rest=rest), asked_ns)

    def tell(self, root: str, exec_type: int, text: str) -> None:
        """What a request's own answer says, into the queue."""
        route = self.routes.get(root)
        self.put(Update(root, exec_type, cum=route.cum if route else 0, text=text))

    def _answered(self, a: Answer) -> None:
        """Every request's answer: keys that are refused may be accepted again, and the other way round."""
        if a.outcome == UNAUTHORIZED:
            self.put(Link("requests", False, a.text, fatal=self.logins.refused()))
        elif a.outcome in (DONE, MISSING, REFUSED, DUPLICATE) and self.logins.accepted():
            self.put(Link("requests", True))
