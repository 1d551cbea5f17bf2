"""What each thing in the runner's queue does. Functions of a runner: what they change of it is public there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from replay.events import CLOSED, CONTROL, OP_END, OP_KILL, OP_RESUME, OPEN, PHASE
from replay.live import reconcile, reports
from replay.live.broker import Books, Control, Failed, Hours, Link, Looked, Mark, Row, Update
from replay.live.desk import pack
from replay.live.hops import NOWHERE, stamp
from replay.live.ids import parse
from replay.live.status import status_of
from replay.trader.layout import CANCELING, ENTRY, KILLED, OCO_LEG, REPLACING, STOP, STOP_LIMIT, STOP_LOSS, TAKE_PROFIT
from replay.trader.orders import EXEC_TRADE, EXPIRED, FILLED, STATE_NAMES, TERMINAL, UNKNOWN

if TYPE_CHECKING:
    from replay.live.runner import Runner

SECOND = 1_000_000_000
NAMES = {TAKE_PROFIT: "take-profit", STOP_LOSS: "stop-loss", OCO_LEG: "exit of a pair"}
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
    with protecting(r, o, u.text):
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
    with protecting(r, o, "as a look-up shows"):
        for event in reports.of_look(r.desk, name.handle, looked, now):
            r.event(event, now)
            news = True
    return news and not asked


@contextlib.contextmanager
def protecting(r: Runner, o, why: str) -> Iterator[None]:
    """Around what is told of an order: where it was to protect a position that is held, and nobody has asked for its end, the trader
    halts and says what is lost. So it does where an exit cannot be made as large as what it protects."""
    exit_, stop = int(o.group) > ENTRY, int(o.type) in (STOP, STOP_LIMIT)
    if not (exit_ or stop):
        yield
        return
    handle, over = int(o.handle), TERMINAL[int(o.state)]
    asked = CANCELING in (int(o.request), int(o.waiting))
    growing = int(o.new_qty) if int(o.request) == REPLACING and int(o.new_qty) > int(o.qty) else 0
    yield
    desk, instrument = r.desk, int(o.instrument)
    row = (1 + int(o.strategy)) * len(desk.build.manifest.instruments) + instrument
    lots = -int(o.side) * int(desk.trader.region("positions")[row].qty)
    if over or asked or lots <= 0 or int(o.handle) != handle or desk.header.state == KILLED or r.stopping:
        return
    state, what = int(o.state), NAMES.get(int(o.group), "stop")
    lost = (
        TERMINAL[state] and state != FILLED and (exit_ or state != EXPIRED)
    )  # a stop by itself ends when its time in force says
    refused = growing and not TERMINAL[state] and int(o.request) != REPLACING and int(o.qty) < min(growing, lots)
    if lost or refused:
        said = STATE_NAMES[state].lower() if lost else "not made larger"
        symbol = desk.build.manifest.instruments[instrument].symbol
        r.halt(f"{symbol}: the {what} was {said} ({why or 'no reason given'}): {lots:,} lots are held without it", r.now(0))


def on_books(r: Runner, books: Books) -> None:
    """The broker's books: orders are brought to what they say; the rest by policy, once two looks agree."""
    r.asked = False
    now = r.now(0)
    for looked in (*(Looked(seen.cl_ord_id, seen, books.asked_ns) for seen in books.open), *books.looked):
        brought(r, looked)
    for seen in reconcile.strangers(r.desk, books):
        r.note("stranger_cancelled", cl_ord_id=seen.cl_ord_id)
        r.broker.drop(seen)
    unread = sorted(set(books.unread) - r.unread)
    r.unread = set(books.unread)
    if unread:  # once: an operator who resumes has seen it
        r.halt("; ".join(unread), now)
    first = not r.reconciled
    policy = reconcile.ADOPT if first and r.desk.header.seq == 0 else r.settings.policy
    out = reconcile.balances(r.desk, books, policy, now, r.settings.cash_tolerance)
    same = out.differences == r.differences and r.desk.header.n_fills == r.fills_asked
    r.differences = out.differences
    if out.differences and not same:  # a fill may be on its way
        r.due["books"] = time.monotonic() + CONFIRM_S
        return
    new = sorted(set(books.besides) - r.besides)
    r.besides = set(books.besides)
    if out.found or new:
        r.note("reconciled", policy=policy, found=out.found, besides=new)
    for event in out.events:
        r.event(event, now)
    if out.halts:
        r.halt("; ".join(out.found), now)
    if first:
        r.reconciled = True


def on_failed(r: Runner, failed: Failed) -> None:
    r.asked = False
    r.note("books", text=failed.text)
    if not r.links["requests"]:
        r.due["books"] = min(r.due.get("books", 0.0), time.monotonic() + CONFIRM_S)


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
        r.halt(link.text, r.now(0))
        r.due["books"] = 0.0
    elif link.fatal:
        r.give_up(f"{link.stream}: {link.text}")
    elif link.stream == "market data" and was and not link.up:
        r.gaps += 1
    elif link.stream == "order updates" and link.up and not was and r.reconciled:
        r.due["books"] = 0.0
    if link.stream == "market data" and link.up and not r.subscribed:
        r.subscribed = True
        r.send()
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
    elif c.word == "hang":
        r.halt(f"a step took longer than {r.settings.hang_s:g} s", now)
    elif c.op:
        if c.op == OP_RESUME:
            r.differences, r.cause = {}, ""
        if c.op == OP_KILL:
            r.subscribed = True  # what a kill sends waits for no market data
        r.note("operator", word=c.word)
        r.event(pack(CONTROL, now, now, side=c.op), now)
        r.desk.mark()  # a block behind the word, so that damage to it never looks like the unfinished end of a journal
        r.durable()
        if c.op == OP_KILL and r.safety is not None:
            r.safety.answered("kill")
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
