"""The runner over a broker that is a script: no sockets, no threads but its own, every order of events."""

import json
import os
import queue
import socket
import stat
import time
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from replay import events as ev
from replay.data.instruments import Instrument
from replay.errors import BadInput
from replay.events import OP_KILL
from replay.faults import Fault, Plan
from replay.faults.live import Faults, FaultyDisk
from replay.live import broker as B
from replay.live import recovery, reports
from replay.live.broker import Books, Control, Execution, Failed, Hours, Link, Looked, Row, Seen, Update
from replay.live.clock import Clock
from replay.live.control import SOCKET, Door
from replay.live.desk import Desk, pack
from replay.live.disk import Disk
from replay.live.head import head_of, manifest_of
from replay.live.ids import parse
from replay.live.runner import Runner, Settings
from replay.strategy import load
from replay.trader import layout as T
from replay.trader import orders as O
from replay.trader.layout import CMD_CANCEL, CMD_NEW, CMD_REPLACE, HALTED, KILLED, MARKET
from replay.trader.limits import Limits

STEPS = str(Path(__file__).with_name("steps.py"))
LIMITS = Limits(max_position=1000)
CASH = 10_000 * 10**8
LATER = 1 << 62  # asked after everything


class Script:
    """A broker whose every word is the test's."""

    name, account, lockstep, skipped = "script", "A1", False, {}

    def __init__(self):
        self.handed, self.asked, self.looks, self.drops, self.reconnected, self.stopped = [], [], [], [], [], False
        self.books = Books(CASH, {}, [], [], [], [], LATER)

    def start(self, put):
        self.put = put
        put(Link("order updates", True))

    def listen(self, behind):
        self.put(Link("market data", True))

    def ask(self, cl_ord_ids):
        self.asked.append(list(cl_ord_ids))
        if self.books:
            self.put(self.books)

    def hours(self):
        self.put(Hours(True, 20260302, 10**12, 0, 0))

    def look(self, cl_ord_id):
        self.looks.append(cl_ord_id)

    def send(self, commands, leave):
        self.handed += [(c, leave) for c in commands]

    @property
    def sent(self):
        return [c for c, leave in self.handed if leave.durable]

    def reconnect(self, stream):
        self.reconnected.append(stream)

    def drop(self, seen):
        self.drops.append(seen)

    def pull(self, cl_ord_ids):
        self.pulled = cl_ord_ids

    def done(self, step, sent, wake_ns):
        raise AssertionError("no lockstep")

    def stop(self):
        self.stopped = True


def desk_of(folder, limits=LIMITS, disk=None):
    strategies = [load(STEPS)]
    m = manifest_of("test", [Instrument(symbol="A", tick_size="0.01")], [1000], 1, True)
    return Desk.new(
        disk or Disk(folder), head_of(strategies, m, limits, {"USD": Decimal(10_000)}, "script", "A1", 1), strategies, 1
    )


class Run:
    """A runner driven by hand: `say` puts something into its queue and lets it take it."""

    def __init__(self, folder, desk=None, **settings):
        self.broker, self.lines, self.folder = Script(), [], folder
        self.desk = desk or desk_of(folder)
        head = recovery.read_head(Disk(folder))
        self.r = Runner(self.desk, self.broker, head.run_id, Settings(**settings), Clock(), self.lines.append)
        self.desk.__enter__()

    def begin(self):
        self.broker.start(self.r.inbox.put)
        self.r._begin()
        self.broker.listen(self.r.inbox.qsize)
        self.r.due = {"flush": 1e18, "durable": 1e18, "snapshot": 1e18, "books": 1e18, "confirm": 1e18}
        self.broker.hours()
        return self.say()

    def say(self, *items):
        for item in items:
            self.r.inbox.put(item)
        while not self.r.inbox.empty():
            self.r._turn()
        return self

    def quote(self, what, bid=100):
        now = self.r.clock.now()
        return self.say(Row(pack(ev.QUOTE, now, now, 0, a=bid, b=what, c=bid + 2, d=100)))

    def sent(self, kind):
        return [x for x in self.broker.sent if x[0].kind == kind]

    @property
    def order(self):
        """The newest order: (ClOrdID, row of the trader)."""
        command, name, _ = self.broker.sent[-1]
        return name, reports.order_of(self.desk, command.handle)

    def state(self):
        return O.STATE_NAMES[int(self.order[1].state)]

    def end(self):
        self.desk.__exit__(None, None, None)
        self.desk.close()
        v = recovery.verify(Disk(self.folder))
        assert v.identical, v


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "j").begin()
    yield run
    run.end()


def filled(name, qty, px, cum, exec_id=7):
    return Update(name, O.EXEC_TRADE, qty, px, cum, exec_id)


def seen(name, state, qty=10, px=100, cum=0, paid=0, fills=()):
    return Seen(name, "id", 0, state, qty, px, 0, cum, paid, fills)


def test_an_order_lives_and_dies(run):
    run.quote(1)
    name, o = run.order
    assert str(parse(name)) == name and parse(name).epoch == 1 and run.state() == "SUBMITTED"
    run.say(Update(name, O.EXEC_NEW), filled(name, 4, 100, 4))
    assert (run.state(), int(o.cum)) == ("PARTIAL", 4)
    run.quote(3)
    ((command, root, new),) = run.sent(CMD_REPLACE)
    assert (root, command.qty, command.px) == (name, 12, 99) and parse(new).seq == command.seq > 0
    run.say(Update(name, O.EXEC_REPLACED, cum=4))
    assert (int(o.qty), int(o.px)) == (12, 99)
    run.quote(4)
    assert run.sent(CMD_CANCEL)
    run.say(Update(name, O.EXEC_CANCELED, cum=4))
    assert run.state() == "CANCELED" and run.desk.header.c_illegal == 0


def test_nothing_leaves_before_the_books_agree(tmp_path):
    run = Run(tmp_path / "j")
    run.broker.books = None
    run.broker.start(run.r.inbox.put)
    run.r._ask()
    run.r.subscribed = True
    now = run.r.clock.now()
    for item in (Hours(True, 20260302, 10**12, 0, 0), Row(pack(ev.QUOTE, now, now, 0, a=100, b=2, c=102, d=100))):
        run.r.due = {"books": 1e18}
        run.r._take(item)
    assert run.desk.waiting and not run.broker.sent
    run.broker.books = Books(CASH, {}, [], [], [], [], LATER)
    run.r.inbox.put(run.broker.books)
    run.r._begin()
    assert len(run.broker.sent) == 1
    run.end()


def test_the_first_books_become_ours(tmp_path):
    """A new run on an account that holds something: positions and cash come in as a transfer, no profit."""
    run = Run(tmp_path / "j")
    run.broker.books = Books(8_000 * 10**8, {0: (25, 99)}, [], [], ["position 3 SPY"], [], LATER)
    run.begin()
    h = run.desk.header
    assert int(run.desk.trader.region("positions")[0].qty) == 25 and h.state == 0
    assert (h.equity, h.drawdown) == (8_000 * 10**8 + 25 * 99 * 10**6, 0) and h.equity == h.initial
    assert any("position 3 SPY" in line.get("besides", "") for line in run.lines)
    run.end()


@pytest.mark.parametrize("policy", ["halt", "adopt"])
def test_a_difference_that_stays(tmp_path, policy):
    """What no order explains: looked at twice, then halted or taken over."""
    run = Run(tmp_path / "j", policy=policy).begin()
    run.quote(9)
    odd = Books(CASH, {0: (5, 100)}, [], [], [], [], LATER)
    run.say(odd)
    assert run.desk.header.state == 0 and int(run.desk.trader.region("positions")[0].qty) == 0
    run.say(odd)
    assert run.desk.header.state == (HALTED if policy == "halt" else 0)
    assert int(run.desk.trader.region("positions")[0].qty) == (0 if policy == "halt" else 5)
    found = [line["found"] for line in run.lines if line["what"] == "reconciled"]
    assert found == [["A: the trader has 0 lots, the broker 5"]]
    assert run.r.status()["cause"] == (found[0][0] if policy == "halt" else "")
    run.end()


def test_hours(tmp_path):
    """Only while the market is open, where so wished; a restart into a closed market does not believe what was before."""
    run = Run(tmp_path / "j", market_hours_only=True).begin()
    run.quote(2)
    assert len(run.sent(CMD_NEW)) == 1
    run.r.is_open = None  # as a new process knows it
    run.say(Hours(False, 20260302, 10**12, 0, 0))
    run.quote(2)
    assert len(run.sent(CMD_NEW)) == 1 and run.desk.header.c_refused == 1
    run.say(Hours(True, 20260303, 10**12, 0, 0))
    run.quote(2)
    assert len(run.sent(CMD_NEW)) == 2
    run.end()


def test_a_restart_looks_twice_at_a_difference(tmp_path):
    """A fill between the questions for orders and for positions is no difference."""
    first = Run(tmp_path / "j").begin()
    first.quote(9)
    first.desk.flush()
    again = Run(tmp_path / "j", Desk.resume(Disk(tmp_path / "j"), recovery.recover(Disk(tmp_path / "j")), 0))
    good = again.broker.books
    again.broker.books = None
    again.broker.start(again.r.inbox.put)
    for books in (good._replace(positions={0: (3, 100)}), good):
        again.r.inbox.put(books)
    again.r._begin()
    assert again.desk.header.state == 0
    again.end()


def test_somebody_elses_order_halts(tmp_path):
    run = Run(tmp_path / "j").begin()
    run.say(Books(CASH, {}, [], ["order x buy 1 A"], [], [], LATER))
    assert run.desk.header.state == HALTED
    run.end()


def test_an_answer_that_is_lost(run):
    """Unknown, counted against the limits, and then what the look-up says."""
    run.quote(1)
    name, o = run.order
    run.say(Update(name, O.EXEC_UNKNOWN, text="504"))
    assert run.state() == "UNKNOWN" and int(o.exposed) == 10
    fills = (Execution(-5, 6, 100, 6, 1), Execution(-9, 2, 99, 8, 2))
    run.say(Looked(name, seen(name, B.OPEN, cum=8, paid=798, fills=fills), LATER))
    assert (run.state(), int(o.cum), int(o.paid)) == ("PARTIAL", 8, 798)
    run.say(filled(name, 6, 100, 6, 1), filled(name, 2, 99, 8, 2))  # the stream tells the same, late and by other names
    assert (int(o.cum), run.desk.header.c_illegal) == (8, 0)
    run.say(filled(name, 2, 100, 10, 3))
    assert run.state() == "FILLED"


def test_a_fill_that_is_taken_back_or_corrected(run):
    """What we know of is undone; what we have not heard of was never done, and comes as it stands with a look-up, or not at all."""
    run.quote(1)
    name, o = run.order
    amended = lambda kind, qty, px, cum, exec_id: Update(name, kind, qty, px, cum, exec_id)  # noqa: E731
    run.say(filled(name, 2, 100, 2, 1), amended(O.EXEC_CORRECT, 2, 101, 2, 1))
    assert (int(o.cum), int(o.paid)) == (2, 202)
    run.say(amended(O.EXEC_BUST, 0, 0, 0, 1), amended(O.EXEC_BUST, 0, 0, 0, 1))
    assert (run.state(), int(o.cum), int(o.paid), int(o.exposed)) == ("ACCEPTED", 0, 0, 10)
    run.say(filled(name, 3, 99, 7, 3))  # 4 have gone before, unheard
    run.say(amended(O.EXEC_CORRECT, 4, 98, 7, 2), amended(O.EXEC_BUST, 0, 0, 3, 2))
    assert (int(o.cum), run.desk.header.c_illegal, run.desk.header.c_busts) == (3, 0, 2)
    gone = (Execution(-5, 0, 98, 0, 1), Execution(-7, 3, 99, 7, 3))  # a broker that still counts them has no fill for us
    run.say(Looked(name, seen(name, B.OPEN, cum=3, paid=297, fills=gone), LATER))
    assert (int(o.cum), int(o.paid)) == (3, 297)
    run.say(Looked(name, seen(name, B.OPEN, cum=5, paid=497, fills=(Execution(-9, 2, 100, 5, 4),)), LATER))
    assert int(o.cum) == 5 and run.desk.header.state == 0
    run.say(amended(O.EXEC_BUST, 0, 0, 3, 8))  # of one that only a look-up told, by another name
    assert (int(o.cum), run.desk.header.state) == (5, HALTED)


def test_an_order_that_never_arrived(run):
    run.quote(2)
    name, o = run.order
    run.say(Update(name, O.EXEC_UNKNOWN), Looked(name, None, LATER))
    assert run.state() == "CANCELED" and int(o.exposed) == 0
    run.quote(2)
    assert run.order[0] != name


def test_fills_nobody_itemises(run):
    """A look-up without executions: whole ticks that sum to what the broker says was paid."""
    run.quote(1)
    name, o = run.order
    run.say(Looked(name, seen(name, B.FILLED, cum=10, paid=1003), LATER))
    assert (run.state(), int(o.cum), int(o.paid)) == ("FILLED", 10, 1003)
    run.say(filled(name, 10, 100, 10, 4))
    assert (int(o.cum), run.desk.header.c_illegal) == (10, 0)


@pytest.mark.parametrize(
    ("state", "cum", "ends"),
    [(B.OPEN, 0, "ACCEPTED"), (B.FILLED, 10, "FILLED"), (B.CANCELED, 0, "CANCELED"), (B.EXPIRED, 0, "EXPIRED")],
)
@pytest.mark.parametrize("request_", [3, 4])
def test_a_request_without_an_answer(run, request_, state, cum, ends):
    """A cancel or replace whose answer is lost: the look-up decides, and no slot waits for ever."""
    run.quote(1)
    name, o = run.order
    run.say(Update(name, O.EXEC_NEW))
    run.quote(request_)
    run.say(Looked(name, seen(name, state, cum=cum, paid=100 * cum), LATER))
    assert (run.state(), int(o.request)) == (ends, 0)
    assert run.desk.header.c_illegal == 0


@pytest.mark.parametrize("why", ["asked before", "under way"])
def test_a_look_up_that_knows_nothing_of_a_request(run, why):
    """A replace that was asked for after the look-up, or has no answer yet, is not taken for refused; its grant still counts."""
    run.quote(1)
    name, o = run.order
    run.say(Update(name, O.EXEC_NEW))
    run.quote(3)
    old = seen(name, B.OPEN)
    run.say(Looked(name, old, 0) if why == "asked before" else Looked(name, old._replace(settled=False), LATER))
    assert int(o.request) == T.REPLACING
    run.say(Update(name, O.EXEC_REPLACED))
    assert (int(o.qty), int(o.px), run.desk.header.c_duplicate) == (12, 99, 0)


def test_books_that_are_old_are_not_believed(run):
    """Fills that came after the books were asked for: no difference is judged."""
    run.quote(2)
    name, _ = run.order
    old = Books(CASH, {}, [], [], [], [], LATER)
    run.say(filled(name, 10, 102, 10))
    run.say(old)
    run.r.fills_asked = 0
    run.say(old)
    assert run.desk.header.state == 0


def test_what_has_no_answer_is_looked_up(tmp_path):
    run = Run(tmp_path / "j", confirm_s=0.5).begin()
    run.quote(1)
    name, _ = run.order
    run.r._confirm()
    assert run.broker.looks == []
    time.sleep(0.6)
    run.r._confirm()
    assert run.broker.looks == [name]
    run.say(Update(name, O.EXEC_NEW))
    time.sleep(0.6)
    run.r._confirm()
    assert run.broker.looks == [name]
    run.end()


def test_a_mute_stream_is_connected_anew(run):
    """What look-ups find, the stream should have told."""
    for _ in range(3):
        run.quote(1)
        run.say(Looked(run.order[0], seen(run.order[0], B.OPEN), LATER))
    assert run.broker.reconnected == ["order updates"]


def test_a_replace_that_was_granted_unheard(run):
    run.quote(1)
    name, o = run.order
    run.say(Update(name, O.EXEC_NEW))
    run.quote(3)
    run.say(Looked(name, seen(name, B.OPEN, qty=12, px=99), LATER))
    assert (int(o.qty), int(o.px), int(o.request)) == (12, 99, 0)


def test_a_fill_in_between_is_missing(run):
    run.quote(1)
    name, o = run.order
    run.say(filled(name, 3, 100, 7, 2))
    assert int(o.cum) == 3 and run.r.due["books"] < 1e18
    run.say(filled(name, 4, 100, 4, 1))  # it was only late
    assert int(o.cum) == 7


def test_a_strategy_that_raises(run):
    run.quote(1)
    run.quote(5)
    assert run.desk.header.state == KILLED and len(run.sent(CMD_CANCEL)) == 1
    assert [line for line in run.lines if line["what"] == "strategy_raised"][0]["error"] == "ValueError: no"
    run.quote(2)
    assert len(run.sent(CMD_NEW)) == 1


def test_a_timer(run):
    run.quote(6)
    time.sleep(0.005)
    run.r.fire()
    assert len(run.sent(CMD_NEW)) == 1


def test_what_is_not_understood_halts(run):
    asked = len(run.broker.asked)
    run.say(Link("order updates", True, "not understood: status 'odd'", fatal=True))
    assert run.desk.header.state == HALTED and len(run.broker.asked) == asked + 1


def test_refused_keys_end_it(run):
    run.say(Link("order updates", False, "failed to authenticate", fatal=True))
    assert "failed to authenticate" in run.r.problem


def test_keys_that_stay_refused_end_it_with_nothing_working(run):
    """What works is cancelled before the run ends, and its last line says so."""
    run.quote(1)
    name, _ = run.order
    run.say(Link("market data", False, "auth failed"))
    assert not run.r.problem
    run.say(Link("market data", False, "auth failed", fatal=True))
    assert run.broker.pulled == [name] and "auth failed; every working order was asked to be cancelled (1)" in run.r.problem


def test_nothing_is_sent_before_market_data_is_subscribed_to(tmp_path):
    """A new run whose subscription is refused has traded nothing."""
    run = Run(tmp_path / "j")
    run.broker.start(run.r.inbox.put)
    run.r._begin()
    run.r.due = {"flush": 1e18, "durable": 1e18, "snapshot": 1e18, "books": 1e18, "confirm": 1e18}
    run.broker.hours()
    run.say()
    run.quote(2)
    assert run.desk.waiting and not run.broker.sent
    run.say(Link("market data", False, "symbol limit exceeded (405)", fatal=True))
    assert "405" in run.r.problem and not run.broker.sent
    run.end()


def protected(run):
    """A position of 10 with a stop behind it: (ClOrdID of the stop, its row)."""
    run.quote(7)
    run.say(Update(run.order[0], O.EXEC_NEW), filled(run.order[0], 10, 100, 10))
    name, o = run.order
    assert int(o.type) == T.STOP and int(o.group) == T.STOP_LOSS
    return name, o


def rejected(name):
    return Update(name, O.EXEC_REJECTED, text="insufficient qty")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (rejected, "the stop-loss was rejected (insufficient qty)"),
        (lambda name: Update(name, O.EXEC_CANCELED), "the stop-loss was canceled"),
        (lambda name: Update(name, O.EXEC_EXPIRED), "the stop-loss was expired"),
        (lambda name: Looked(name, None, LATER), "the stop-loss was canceled (as a look-up shows)"),
        (lambda name: Looked(name, seen(name, B.CANCELED), LATER), "the stop-loss was canceled (as a look-up shows)"),
    ],
)
def test_a_position_that_lost_its_stop_halts(run, end, words):
    name, _ = protected(run)
    run.say(end(name))
    assert run.desk.header.state == HALTED
    cause = run.r.status()["cause"]
    assert words in cause and "A: " in cause and "10 lots are held without it" in cause
    run.say(Control(ev.OP_RESUME, "resume"))
    assert run.r.status()["cause"] == "" and run.desk.header.state == 0


def test_a_stop_that_we_cancel_or_that_trades_is_not_lost(run):
    name, o = protected(run)
    run.say(filled(name, 10, 89, 10, 11))
    assert run.desk.header.state == 0
    name, o = protected(run)
    run.say(Update(name, O.EXEC_NEW))
    now = run.r.clock.now()
    run.r.event(pack(ev.CONTROL, now, now, side=ev.OP_CANCEL_ALL), now)
    run.say(Update(name, O.EXEC_CANCELED))
    assert run.desk.header.state == 0


def test_figures_that_cannot_be_read_halt_once(run):
    """And everything else is compared all the same."""
    odd = run.broker.books._replace(unread=("position in A: not understood",), unknown=frozenset({0}), positions={0: (5, 100)})
    run.say(odd)
    assert run.desk.header.state == HALTED and "not understood" in run.r.status()["cause"]
    run.say(Control(ev.OP_RESUME, "resume"), odd, odd)
    assert run.desk.header.state == 0 and not run.r.differences
    run.say(odd._replace(cash=0), odd._replace(cash=0))
    assert run.desk.header.state == HALTED and "the broker 0.00" in run.r.status()["cause"]


def test_what_the_account_holds_besides_is_said_when_it_changes(run):
    for _ in range(2):
        run.say(run.broker.books._replace(besides=["0.5 A: less than a lot"]))
    assert [line["besides"] for line in run.lines if line["what"] == "reconciled"] == [["0.5 A: less than a lot"]]


def test_the_operator(run):
    answers = []
    run.quote(1)
    run.say(Control(OP_KILL, "kill", answers.append))
    assert answers[0]["state"] == "killed" and run.sent(CMD_CANCEL)
    run.say(Control(ev.OP_RESUME, "resume", answers.append), Control(0, "status", answers.append))
    assert answers[2]["state"] == "active" and answers[2]["orders"][0]["symbol"] == "A"


def test_stop_cancels(run):
    run.quote(1)
    name, _ = run.order
    run.say(Control(0, "stop: SIGTERM"))
    assert run.sent(CMD_CANCEL) and not run.r._stopped()
    run.say(Update(name, O.EXEC_CANCELED))
    assert run.r._stopped()


def test_a_restart_asks_before_it_sends(tmp_path):
    """kill -9 with an order in flight: the same trader comes up, asks about exactly that order, and names the next ones anew."""
    first = Run(tmp_path / "j").begin()
    first.quote(1)
    name, _ = first.order
    first.quote(9)
    digest = first.desk.header.digest
    first.desk.flush()
    del first  # no close, no snapshot
    r = recovery.recover(Disk(tmp_path / "j"))
    assert int(r.trader.header.digest) == digest
    again = Run(tmp_path / "j", Desk.resume(Disk(tmp_path / "j"), r, 0))
    again.broker.books = again.broker.books._replace(
        looked=[Looked(name, seen(name, B.FILLED, cum=10, paid=1000), LATER)], cash=CASH - 1000 * 10**6, positions={0: (10, 100)}
    )
    again.begin()
    assert again.broker.asked == [[name]] and not again.broker.sent
    assert int(again.desk.trader.region("positions")[0].qty) == 10 and again.desk.header.state == 0
    again.quote(2)
    assert parse(again.order[0]).epoch == 2
    again.end()


def test_a_stranger_of_our_own_is_cancelled(tmp_path):
    """The end of a journal was lost with an order in it: the broker shows it, the trader does not know it."""
    run = Run(tmp_path / "j").begin()
    name = str(parse(f"{run.r.run_id}-1-300005"))
    run.say(Books(CASH, {}, [seen(name, B.OPEN)], [], [], [], LATER))
    assert [s.cl_ord_id for s in run.broker.drops] == [name]
    run.end()


def test_books_that_cannot_be_had(tmp_path, monkeypatch):
    from replay.live import runner

    monkeypatch.setattr(runner, "START_S", 0.05)
    run = Run(tmp_path / "j")
    run.broker.books = None
    run.broker.start(run.r.inbox.put)
    run.r.inbox.put(Failed("no connection"))
    with pytest.raises(BadInput, match="books could not be had"):
        run.r._begin()
    run.end()


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    run = Run(tmp_path / "j").begin()
    run.quote(1)
    monkeypatch.setattr(run.desk.log.disk, "append", full)
    run.quote(2)
    assert "No space left" in run.r.problem and len(run.broker.sent) == 1
    assert len(run.broker.pulled) == 2 and run.broker.sent[0][1] in run.broker.pulled
    run.desk.__exit__(None, None, None)


def test_the_door_is_the_owners_and_takes_any_line(tmp_path):
    """Its socket is nobody else's, whatever the umask; what is no word is answered, and the door stays open."""
    mask, put = os.umask(0), queue.SimpleQueue()
    try:
        door = Door(tmp_path, put.put)
    finally:
        assert os.umask(mask) == 0
    try:
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(tmp_path / SOCKET))
        with peer, peer.makefile("rw") as lines:
            for said in ("", "7", "[]", "[" * 4000, '{"do": []}', '{"do": "buy"}', '{"do": {"kill": 1}}'):
                lines.write(said + "\n")
                lines.flush()
                assert "expected" in json.loads(lines.readline())["error"], said
        assert put.empty()
    finally:
        door.close()


# --- faults by plan -----------------------------------------------------------------------------------------------------------
def planned(folder, *faults):
    """A run under a plan, its books agreed on."""
    disk = FaultyDisk(folder)
    run = Run(folder, desk_of(folder, disk=disk))
    run.desk.starts[0] = msgspec.structs.replace(run.desk.starts[0], now=run.r.clock.now())
    Faults(Plan(faults=tuple(Fault(**f) for f in faults)), disk).begin(run.r)
    return run.begin()


@pytest.mark.parametrize(("kind", "words"), [("disk_full", "No space left"), ("disk_error", "Input/output error")])
def test_a_disk_that_fails_by_plan(tmp_path, kind, words):
    """Nothing new leaves, what works is cancelled, the run ends in one line; it can be gone on with."""
    run = planned(tmp_path / "j", {"kind": kind, "from_": "+300ms"})
    run.quote(1)
    assert len(run.broker.sent) == 1
    time.sleep(0.4)
    run.quote(2)
    assert (
        words in run.r.problem and "every working order was asked to be cancelled" in run.r.problem and "\n" not in run.r.problem
    )
    assert len(run.broker.sent) == 1 and run.broker.sent[0][1] in run.broker.pulled
    run.desk.__exit__(None, None, None)
    again = Run(tmp_path / "j", Desk.resume(Disk(tmp_path / "j"), recovery.recover(Disk(tmp_path / "j")), 0))
    assert again.begin().desk.header.state == 0
    again.end()


def test_a_slow_disk_by_plan(tmp_path):
    """An order leaves when it is durable, however long that takes."""
    run = planned(tmp_path / "j", {"kind": "disk_slow", "delay": "200ms"})
    began = time.monotonic()
    run.quote(1)
    assert time.monotonic() - began > 0.2 and len(run.broker.sent) == 1 and not run.r.problem
    run.desk.log.disk._planned = lambda kind: None
    run.end()


@pytest.mark.parametrize("back", [False, True])
def test_the_systems_clock_jumps(tmp_path, back):
    """Ours does not, whichever way."""
    run = planned(tmp_path / "j", {"kind": "clock_jump", "at": "+50ms", "delay": "1h", "back": back})
    before = run.r.clock.now()
    time.sleep(0.1)
    run.quote(1)
    assert abs(run.r.clock.skew_ns() - (-1 if back else 1) * 3600 * 10**9) < 10**9
    assert 0 < run.r.clock.now() - before < 60 * 10**9 and run.r.status()["clock_skew_ms"]
    run.quote(2)
    assert len(run.broker.sent) == 2
    run.end()


def test_a_pause_by_plan(tmp_path):
    """The thread stands still, and goes on with what waited."""
    run = planned(tmp_path / "j", {"kind": "pause", "from_": "+50ms", "to": "+400ms"})
    time.sleep(0.1)
    began = time.monotonic()
    run.quote(9)
    assert 0.15 < time.monotonic() - began < 5
    run.quote(1)
    assert len(run.broker.sent) == 1
    run.end()


def test_a_crash_by_plan(tmp_path, monkeypatch):
    """The process kills itself, once: after a restart the instant is over. An operator's word by plan is one like any other."""
    killed = []
    monkeypatch.setattr("os.kill", lambda pid, number: killed.append(number))
    plan = ({"kind": "crash", "at": "+50ms"}, {"kind": "operator", "at": "+50ms", "act": "halt"}, {"kind": "reject"})
    run = planned(tmp_path / "j", *plan)
    assert [line["text"] for line in run.lines if line["what"] == "faults"][
        -1
    ] == "reject: left to the server: replay serve --faults"
    time.sleep(0.1)
    run.quote(1)
    assert killed == [9] and run.desk.header.state == HALTED
    Faults(Plan(faults=tuple(Fault(**f) for f in plan)), run.desk.disk).begin(run.r)
    run.quote(1)
    assert killed == [9]
    run.end()


def test_an_order_from_outside_by_plan_is_one_order(tmp_path):
    run = planned(tmp_path / "j", {"kind": "intent_twice", "at": "+50ms", "delay": "60ms"})
    for _ in range(3):
        time.sleep(0.1)
        run.quote(1)
    kinds = [line["kind"] for line in run.lines if line["what"] == "fault"]
    assert kinds == ["intent_twice"] * 2 and [c.type for c, *_ in run.broker.sent].count(MARKET) == 1
    run.end()


def test_an_hour_without_data_halts_kills_and_flattens(tmp_path):
    """Nothing is said any more, by the market or by a connection that would know it is dead: the clock alone goes on."""
    limits = Limits(max_quote_age_s=Decimal(5), halt_escalate_s=Decimal(30), flatten=True)
    run = Run(tmp_path / "j", desk_of(tmp_path / "j", limits)).begin()
    at = [run.r.clock.now()]
    run.r.clock.now = lambda: at[0]
    start = at[0]
    run.quote(2)
    run.say(filled(run.order[0], 10, 102, 10))
    states = []
    for s in range(1, 3600):
        at[0] = start + s * 10**9
        run.r._turn() if run.r._pause() == 0 else None
        state = int(run.desk.header.state)
        if not states or states[-1][1] != state:
            states.append((s, state))
    assert states == [(1, T.ACTIVE), (6, HALTED), (36, KILLED)]
    command = run.broker.sent[-1][0]
    assert (command.kind, command.side, command.qty, command.type) == (CMD_NEW, -1, 10, MARKET)
    run.say(filled(run.order[0], 10, 90, 10, 8))
    assert int(run.desk.trader.region("views")[0].pos) == 0
    run.end()
