"""What each thing in the runner's queue does. Functions of a runner: what they change of it is public there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from replay.events import CLOSED, CONTROL, OP_END, OP_HALT, OP_RESUME, OPEN, PHASE
from replay.live import reconcile, reports
from replay.live.broker import Books, Control, Failed, Hours, Link, Looked, Mark, Row, Update
from replay.live.desk import pack
from replay.live.hops import NOWHERE, stamp
from replay.live.ids import parse
from replay.live.status import status_of
from replay.trader.orders import EXEC_TRADE, UNKNOWN

if TYPE_CHECKING:
    from replay.live.runner import Runner

SECOND = 1_000_000_000
MUTE = 3  #: news by look-up, and none by the stream, after which its connection is made anew
CONFIRM_S = 2.0  #: how long a fill may be missing in between, or a difference stand, before the books are asked for again


def on_row(r: Runner, row: Row) -> None:
    if r.stopping:  # the market goes on without us
        return
    now = r.now(row.at)
    r.heard_ns = now
    if row.heard:
        r.came = (row.heard, row.queued, stamp())
        r.event(row.event, now)
        r.came = NOWHERE
        if not r.sent:
            r.hops.add("heard to stepped", stamp() - row.heard)
    else:
        r.event(row.event, now)


def on_update(r: Runner, u: Update) -> None:
    now, name = r.now(u.at), parse(u.cl_ord_id)
    if u.text:
        r.note("answer", cl_ord_id=u.cl_ord_id, text=u.text)
    o = reconcile.known(r.desk, name)
    if o is None:
        r.note("report_of_an_order_not_known", cl_ord_id=u.cl_ord_id, exec_type=u.exec_type)
        r.due["books"] = 0.0
        return
    for event in reports.of_update(r.desk, name.handle, u, now):
        r.event(event, now)
    r.untold = 0
    if u.exec_type == EXEC_TRADE and int(o.handle) == name.handle and int(o.cum) < u.cum:
        r.due["books"] = min(r.due.get("books", 0.0), time.monotonic() + CONFIRM_S)  # one before it is missing


def on_looked(r: Runner, looked: Looked) -> None:
    """A look-up's answer. What it finds of an order whose request was answered, the stream should have told: it may be mute."""
    before = r.untold
    r.untold += brought(r, looked)
    if r.untold >= MUTE and r.untold > before and r.links["order updates"]:
        r.untold = 0
        r.note("mute", stream="order updates")
        r.broker.reconnect("order updates")


def brought(r: Runner, looked: Looked) -> bool:
    """Bring an order to what a look-up shows; whether that was news the stream should have told."""
    name = parse(looked.cl_ord_id)
    o = None if name is None else reconcile.known(r.desk, name)
    if o is None:
        return False
    now, asked, news = r.now(0), int(o.state) == UNKNOWN, False
    for event in reports.of_look(r.desk, name.handle, looked, now):
        r.event(event, now)
        news = True
    return news and not asked


def on_books(r: Runner, books: Books) -> None:
    """The broker's books: orders are brought to what they say; the rest by policy, once two looks agree."""
    r.asked = False
    now = r.now(0)
    for looked in (*(Looked(seen.cl_ord_id, seen, books.asked_ns) for seen in books.open), *books.looked):
        brought(r, looked)
    for seen in reconcile.strangers(r.desk, books):
        r.note("stranger_cancelled", cl_ord_id=seen.cl_ord_id)
        r.broker.drop(seen)
    first = not r.reconciled
    policy = reconcile.ADOPT if first and r.desk.header.seq == 0 else r.settings.policy
    out = reconcile.balances(r.desk, books, policy, now, r.settings.cash_tolerance)
    same = out.differences == r.differences and r.desk.header.n_fills == r.fills_asked
    r.differences = out.differences
    if out.differences and not same:  # a fill may be on its way
        r.due["books"] = time.monotonic() + CONFIRM_S
        return
    if out.found or (first and books.besides):
        r.note("reconciled", policy=policy, found=out.found, besides=books.besides if first else [])
    for event in out.events:
        r.event(event, now)
    if first:
        r.reconciled = True


def on_failed(r: Runner, failed: Failed) -> None:
    r.asked = False
    r.note("books", text=failed.text)


def on_hours(r: Runner, hours: Hours) -> None:
    now = r.now(0)
    r.offset_ns = hours.offset_ns
    r.due["hours"] = time.monotonic() + min(60.0, max(1.0, hours.next_ns / SECOND))
    opened = hours.is_open or not r.settings.market_hours_only
    if hours.is_open != r.is_open:
        r.count()
        r.is_open, r.day = hours.is_open, hours.day
        r.count()
        r.event(pack(PHASE, now, now, side=OPEN if opened else CLOSED, ident=hours.day), now)


def on_link(r: Runner, link: Link) -> None:
    was = r.links.get(link.stream)
    r.links[link.stream] = link.up
    if was != link.up or link.text:
        r.note("link", stream=link.stream, up=link.up, text=link.text)
    if link.fatal and link.up:  # a message that may mean anything
        now = r.now(0)
        r.event(pack(CONTROL, now, now, side=OP_HALT), now)
        r.due["books"] = 0.0
    elif link.fatal:
        r.problem = f"{link.stream}: {link.text}: orders at the broker stay as they are; correct it and start again"
    elif link.stream == "market data" and was and not link.up:
        r.gaps += 1
    elif link.stream == "order updates" and link.up and not was and r.reconciled:
        r.due["books"] = 0.0
    if r.broker.lockstep and link.up and not was and r.links["market data"] and r.links["order updates"]:
        r.done(0)


def on_mark(r: Runner, mark: Mark) -> None:
    now = r.now(mark.at)
    if mark.what == "timer":
        r.fire()
    elif mark.what == "end":
        r.event(pack(CONTROL, now, now, side=OP_END, flags=0), now)
    elif mark.what == "done":
        r.desk.stop()
        r.over = True


def on_control(r: Runner, c: Control) -> None:
    now = r.now(0)
    if c.word.startswith("stop"):
        r.begin_stop(c.word)
    elif c.op:
        if c.op == OP_RESUME:
            r.differences = {}
        r.note("operator", word=c.word)
        r.event(pack(CONTROL, now, now, side=c.op), now)
        r.desk.mark()  # a block behind the word, so that damage to it never looks like the unfinished end of a journal
        r.durable()
    if c.reply:
        c.reply(status_of(r))


HANDLE: dict[type, Callable] = {
    Row: on_row,
    Update: on_update,
    Looked: on_looked,
    Books: on_books,
    Failed: on_failed,
    Hours: on_hours,
    Link: on_link,
    Mark: on_mark,
    Control: on_control,
}
